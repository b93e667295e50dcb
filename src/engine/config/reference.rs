//! The texts that are made from the keys: the reference, the commented file and the JSON Schema.
//!
//! A test compares the files on disk with them; `UPDATE=1 cargo test -p engine` writes the files.

use super::document::Document;
use crate::keys::SectionValue;
use crate::keys::reference::{self, Page};

const REFERENCE: &str = r#"# Configuration

<!-- Generated from src/engine/config. Do not edit: run `UPDATE=1 cargo test -p engine`. -->

A configuration is a TOML file. `ringway check FILE` names every mistake in it, with its place and a
cure, and starts nothing. [minimal.toml](../config/minimal.toml) is the
smallest useful one, [ringway.toml](../config/ringway.toml) has every key with its default, and
[ringway.schema.json](../config/ringway.schema.json) is for editors.

- Unknown keys are errors, and so are names that nothing has.
- Durations are written `"300ms"`, `"2s"`, `"1m"`, `"1h"`; sizes `"16KiB"`, `"1MiB"`, or a number of
  bytes. `"off"` switches a limit off; 0 never does.
- Objects (listeners, upstreams, routes) have names of `a-z`, `0-9`, `_` and `-`, at most 64.
- Limits per node are divided among the cores.

**Variables.** In strings, `${env:NAME}` stands for an environment variable, `${env:NAME:-default}`
for the same or a default if it is not set, `${file:PATH}` for the content of a file without the line
feed at its end. They are replaced after the TOML was read, so a value can change nothing but its string. `$${` stands for `${` itself. Values that came from variables are secret: no message and no
output shows them. A number may be given by a variable too: `headers_max = "${env:HEADERS_MAX}"`.

**Several files.** `include` names further files, which may name further ones. All of them are merged.
An object, or a section without names such as `[runtime]`, that stands in two files is an error. A
pattern with a star that fits no file is a warning; a path that names no file is an error.

**Bounds.** A file has at most 8 MiB, a configuration at most 1,000 files, the value of a variable at
most 64 KiB.
"#;

const SAMPLE: &str = "\
# Every key of the configuration, with its meaning. Values are the defaults. Behind a # without a
# space are examples of keys that have no default. Start from minimal.toml, and take from here what
# you need: what is left out keeps its default.
#
# Generated from src/engine/config. Do not edit: run UPDATE=1 cargo test -p engine.
";

/// The folder of the pages beside the first one.
const FOLDER: &str = "configuration";

/// The reference: all of its pages, one below the other.
#[must_use]
pub fn reference() -> String {
    pages().into_iter().map(|page| page.text).collect::<Vec<_>>().join("\n")
}

fn pages() -> Vec<Page> {
    let mut pages = reference::pages(&Document::section(), REFERENCE, FOLDER);
    for page in pages.iter_mut().filter(|page| !page.name.is_empty()) {
        page.text.insert_str(0, GENERATED);
    }
    pages
}

/// The first line of each page but the first one, which says it further down.
const GENERATED: &str =
    "<!-- Generated from src/engine. Do not edit: run `UPDATE=1 cargo test -p engine`. -->\n\n";

/// The text of `config/ringway.toml`.
#[must_use]
pub fn sample() -> String {
    reference::sample(&Document::section(), SAMPLE)
}

/// The text of `config/ringway.schema.json`.
#[must_use]
pub fn schema() -> String {
    reference::schema(&Document::section(), "Ringway configuration")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Model, Sources, parse, render};
    use crate::keys::reference::paragraph;
    use crate::keys::{Section, Shape, Value};

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
        let page = |page: Page| match &*page.name {
            "" => ("docs/configuration.md".to_owned(), page.text),
            name => (format!("docs/{FOLDER}/{name}.md"), page.text),
        };
        let files = [
            ("config/ringway.toml".to_owned(), sample()),
            ("config/ringway.schema.json".to_owned(), schema()),
        ];
        for (name, made) in pages().into_iter().map(page).chain(files) {
            assert!(on_disk(&name, &made) == made, "{name}: run UPDATE=1 cargo test -p engine");
        }
    }

    fn parsed(text: &str) -> Model {
        let mut sources = Sources::new("ringway.toml", text);
        sources.add_include("ringway.toml", "routes/*.toml", Ok(Vec::new()));
        sources.add_environment("ALICE_KEY", Ok("0123456789abcdef".to_owned()));
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

    /// The keys of the filter under this header that exclude an earlier one.
    fn choices_of(header: &str) -> Vec<&'static str> {
        let document = Document::section();
        let filters = document.keys.iter().find(|key| key.name == "filters").unwrap();
        let Shape::Named(inner) = &filters.shape else { panic!("filters have names") };
        let Shape::Tagged(tagged) = &**inner else { panic!("filters have types") };
        let tables = tagged.tables.iter();
        let tables = tables.filter(|(tag, _)| header == format!("#[filters.{tag}]"));
        let choices = tables.flat_map(|(_, section)| &section.choices);
        choices.flat_map(|choice| choice.keys.iter().skip(1).copied()).collect()
    }

    #[test]
    fn every_line_that_is_commented_out_is_sound() {
        let text = sample();
        // Lines that belong together, and the line that they replace.
        let groups = [
            ("#redirect.", "upstream ="),
            ("#reply.", "upstream ="),
            ("#[", ""),
            ("#tls.", ""),
            ("#health.", ""),
        ];
        let mut tried = 0;
        let is_code = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line != "#";
        let lines: Vec<&str> = text.lines().collect();
        let place = |first: &str| lines.iter().position(|line| line.starts_with(first)).unwrap();
        let certificate = place("#[certificates.")..place("[upstreams.");
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
                    let here = line.starts_with(first) != first.starts_with("#[");
                    !line.starts_with('[') && (here || !is_code(line))
                };
                end += lines[index..].iter().take_while(|line| belongs(line)).count();
            }
            // Of keys that exclude each other, the first one of a table is tried.
            let choices = choices_of(lines[index - 1]);
            let excluded = |at: usize| {
                let key = lines[at].strip_prefix('#').and_then(|line| line.split_once(" = "));
                at >= index && choices.iter().any(|it| key.is_some_and(|(key, _)| *it == key))
                    || key.is_some_and(|(key, _)| key == "health.tcp")
            };
            let made: Vec<String> = lines
                .iter()
                .enumerate()
                .filter(|(_, line)| {
                    group.is_none_or(|(_, gone)| gone.is_empty() || !line.starts_with(gone))
                })
                .map(|(at, line)| {
                    let on = (index - 1..end).contains(&at) && is_code(line) && !excluded(at);
                    // TLS needs the certificate that it names.
                    let of_tls = certificate.contains(&at) && is_code(line);
                    let on = on || of_tls && group.is_some_and(|(first, _)| *first == "#tls.");
                    line.strip_prefix('#').filter(|_| on).unwrap_or(line).to_owned()
                })
                .collect();
            // Filters send requests to upstreams of their own.
            let others = ["auth", "shadow"]
                .map(|name| format!("\n[upstreams.{name}]\nendpoints = [\"127.0.0.1:9001\"]"));
            parsed(&(made.join("\n") + &others.concat()));
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
