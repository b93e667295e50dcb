//! What is made from the definitions of keys: the reference, the commented file, the JSON Schema.
//!
//! Invariant: each key is described once, where it is defined. The files on disk are compared with
//! these texts by a test; `UPDATE=1 cargo test -p engine` writes them.

mod markdown;
mod sample;
mod schema;

pub use markdown::reference;
pub use sample::sample;
pub use schema::schema;

use super::shape::{Choice, Key};

/// A doc comment as one line.
fn paragraph(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// "1 to 1000", for keys with bounds.
fn range(key: &Key) -> Option<String> {
    key.range.as_ref().map(|(min, max)| format!("{} to {}", bare(min), bare(max)))
}

/// A value without quotes around it.
fn bare(value: &super::written::Written) -> String {
    value.to_string().trim_matches('"').to_owned()
}

/// What is said about keys that exclude each other.
fn choice(choice: Choice) -> String {
    let (words, keys) = match choice {
        Choice::ExactlyOne(keys) => ("Exactly one of", keys),
        Choice::AtMostOne(keys) => ("At most one of", keys),
    };
    let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
    format!("{words} {}.", keys.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::shape::{Section, Shape};
    use crate::config::{Document, Model, Sources, parse, render, section::Value};

    /// The text on disk; written first if UPDATE is set.
    #[expect(clippy::disallowed_methods, reason = "a test may read what it guards")]
    fn on_disk(name: &str, made: &str) -> String {
        let path = format!("{}/../../{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, made).unwrap();
        }
        std::fs::read_to_string(&path).unwrap_or_default()
    }

    #[test]
    fn the_generated_files_are_up_to_date() {
        for (name, made) in [
            ("docs/configuration.md", reference()),
            ("config/ringway.toml", sample()),
            ("config/ringway.schema.json", schema()),
        ] {
            assert!(on_disk(name, &made) == made, "{name}: run UPDATE=1 cargo test -p engine");
        }
    }

    fn parsed(text: &str) -> Model {
        let mut sources = Sources::new("ringway.toml", text);
        sources.add_include("ringway.toml", "routes/*.toml", Ok(Vec::new()));
        sources.add_environment("RINGWAY_ADMIN_TOKEN", Ok("0123456789abcdef".to_owned()));
        parse(&sources).unwrap_or_else(|it| panic!("{}\n{text}", render(&it, false)))
    }

    #[test]
    fn the_commented_file_says_the_defaults() {
        let text = sample();
        let model = parsed(&text);
        assert!(model.warnings.is_empty(), "{}", render(&model.warnings, false));
        let required = "version = 1\n[listeners.web]\naddress = \"0.0.0.0:8080\"\n\
                        [upstreams.users]\nendpoints = [\"127.0.0.1:9000\"]\n\
                        [routes.users]\nupstream = \"users\"\n";
        assert_eq!(model.document, parsed(required).document);
    }

    #[test]
    fn every_line_that_is_commented_out_is_sound() {
        let text = sample();
        // What belongs together, and what must go when it comes.
        let groups =
            [("#redirect.", "upstream ="), ("#reply.", "upstream ="), ("#[access_log]", "")];
        let mut tried = 0;
        let is_code = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line != "#";
        let lines: Vec<&str> = text.lines().collect();
        let mut index = 0;
        while let Some(line) = lines.get(index) {
            index += 1;
            if !is_code(line) {
                continue;
            }
            let group = groups.iter().find(|(first, _)| line.starts_with(first));
            let mut end = index;
            if let Some((first, _)) = group {
                // The keys of a table stand one after another, up to the next header.
                let belongs = |line: &&&str| {
                    let here = line.starts_with(first) || first.starts_with("#[");
                    !line.starts_with('[') && (here || !is_code(line))
                };
                end += lines[index..].iter().take_while(|line| belongs(line)).count();
            }
            let made: Vec<String> = lines
                .iter()
                .enumerate()
                .filter(|(_, line)| {
                    group.is_none_or(|(_, gone)| gone.is_empty() || !line.starts_with(gone))
                })
                .map(|(at, line)| {
                    let on = (index - 1..end).contains(&at) && is_code(line);
                    line.strip_prefix('#').filter(|_| on).unwrap_or(line).to_owned()
                })
                .collect();
            parsed(&made.join("\n"));
            tried += 1;
            index = end;
        }
        assert!(tried >= 8, "{tried}");
    }

    #[test]
    fn every_key_has_a_sentence_and_can_be_seen_in_every_text() {
        fn keys(shape: &Shape, found: &mut Vec<(&'static str, &'static str)>) {
            match shape {
                Shape::Section(Section { keys: inner, .. }) => {
                    for key in inner {
                        found.push((key.name, key.doc));
                        keys(&key.shape, found);
                    }
                }
                Shape::Named(inner) | Shape::List(inner) | Shape::Map(_, inner) => {
                    keys(inner, found);
                }
                Shape::Either(one, other) => {
                    keys(one, found);
                    keys(other, found);
                }
                _ => {}
            }
        }
        let mut found = Vec::new();
        keys(&Document::shape(), &mut found);
        assert!(found.len() > 40);
        let (reference, sample, schema) = (reference(), sample(), schema());
        for (name, doc) in found {
            let sentence = paragraph(doc);
            assert!(sentence.ends_with('.'), "{name}: {sentence}");
            assert!(reference.contains(name) && schema.contains(&format!("\"{name}\"")), "{name}");
            assert!(sample.contains(name), "{name}");
        }
    }
}
