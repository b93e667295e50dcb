//! `docs/configuration.md`: a section for each table, a row for each key.

use std::fmt::Write as _;

use super::{choice, paragraph, range};
use crate::config::Document;
use crate::config::section::Value;
use crate::config::shape::{Key, Section, Shape};

const INTRODUCTION: &str = r#"# Configuration

<!-- Generated from src/engine/config. Do not edit: run `UPDATE=1 cargo test -p engine`. -->

A configuration is a TOML file. `ringway check FILE` says everything that is wrong with it, each
mistake with its place and a cure, and starts nothing. [minimal.toml](../config/minimal.toml) is the
smallest useful one, [ringway.toml](../config/ringway.toml) has every key with its default, and
[ringway.schema.json](../config/ringway.schema.json) is for editors.

- Unknown keys are errors, and so are names that nothing has.
- Durations are written `"300ms"`, `"2s"`, `"1m"`, `"1h"`; sizes `"16KiB"`, `"1MiB"`, or a number of
  bytes. `"off"` switches a limit off; 0 never does.
- Objects (listeners, upstreams, routes) have names of `a-z`, `0-9`, `_` and `-`, at most 64.
- Limits per node are divided among the cores.

**Variables.** In strings, `${env:NAME}` stands for an environment variable, `${env:NAME:-default}`
for the same or a default if it is not set, `${file:PATH}` for the content of a file without the line
feed at its end. They are put in after the TOML was read, so a value cannot change anything but its
string. `$${` stands for `${` itself. Values that came from variables are secret: no message and no
output shows them. A number may be given by a variable too: `headers_max = "${env:HEADERS_MAX}"`.

**Several files.** `include` names further files, which may name further ones. What they hold is
merged; an object, or a section without names such as `[runtime]`, that is given twice is an error.
A pattern with a star that fits no file is a warning, a path that names none is an error.

**Bounds.** A file has at most 8 MiB, a configuration at most 1,000 files, the value of a variable at
most 64 KiB.
"#;

/// The text of `docs/configuration.md`.
#[must_use]
pub fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    let Shape::Section(root) = Document::shape() else { return text };
    let (sections, keys): (Vec<_>, Vec<_>) =
        root.keys.into_iter().partition(|key| inner(&key.shape).is_some());
    text.push_str("\n## At the top\n\n");
    table(&mut text, &keys);
    for key in sections {
        let name = match key.shape {
            Shape::Named(_) => format!("{}.NAME", key.name),
            _ => key.name.to_owned(),
        };
        if let Some(section) = inner(&key.shape) {
            describe(&mut text, 2, &format!("`[{name}]`"), &name, section);
        }
    }
    text
}

/// The section that a key holds, alone or by name.
fn inner(shape: &Shape) -> Option<&Section> {
    match shape {
        Shape::Section(section) => Some(section),
        Shape::Named(inner) => self::inner(inner),
        _ => None,
    }
}

/// The section that elements of a list may be written as.
fn element(shape: &Shape) -> Option<&Section> {
    match shape {
        Shape::List(inner) => element(inner),
        Shape::Either(one, other) => element(one).or_else(|| element(other)),
        Shape::Section(section) => Some(section),
        _ => None,
    }
}

/// A heading, what the section is about, its keys, and the sections in it.
fn describe(text: &mut String, level: usize, heading: &str, path: &str, section: &Section) {
    let _ = write!(text, "\n{} {heading}\n\n{}\n", "#".repeat(level), prose(section.about));
    if let Some(keys) = section.choice {
        let _ = write!(text, "\n{}\n", choice(keys));
    }
    text.push('\n');
    table(text, &section.keys);
    for key in &section.keys {
        let below = format!("{path}.{}", key.name);
        if let Some(section) = inner(&key.shape) {
            describe(text, level + 1, &format!("`{below}`"), &below, section);
        } else if let Some(section) = element(&key.shape) {
            describe(text, level + 1, &format!("`{below}[]`"), &below, section);
        }
    }
}

fn table(text: &mut String, keys: &[Key]) {
    text.push_str("| key | type | default | range | example | what it does |\n");
    text.push_str("|---|---|---|---|---|---|\n");
    for key in keys {
        let code = |it: String| format!("`{}`", it.replace('|', "\\|"));
        let default = match &key.default {
            Some(value) => code(value.to_string()),
            None if key.required => "required".to_owned(),
            None => String::new(),
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {default} | {} | {} | {} |",
            key.name,
            kind(&key.shape),
            range(key).unwrap_or_default(),
            key.example.map(|it| code(it.to_owned())).unwrap_or_default(),
            prose(key.doc).replace('|', "\\|"),
        );
    }
}

/// What kind of value.
fn kind(shape: &Shape) -> String {
    match shape {
        Shape::Text { noun, .. } => (*noun).to_owned(),
        Shape::Words(words) => {
            words.iter().map(|it| format!("`\"{it}\"`")).collect::<Vec<_>>().join(" or ")
        }
        Shape::Integer => "integer".to_owned(),
        Shape::Integers(numbers) => {
            numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
        }
        Shape::Either(one, other) => format!("{} or {}", kind(one), kind(other)),
        Shape::List(inner) => format!("list of: {}", kind(inner)),
        Shape::Section(_) => "table".to_owned(),
        Shape::Named(_) => "tables by name".to_owned(),
        Shape::Map(key, value) => format!("table of {key} = {}", kind(value)),
    }
}

/// A doc comment as a line of Markdown: what it quotes becomes code, so that a star is a star.
fn prose(doc: &str) -> String {
    let mut text = String::new();
    // Odd pieces stand between backticks already.
    for (index, piece) in paragraph(doc).split('`').enumerate() {
        if index % 2 == 1 {
            let _ = write!(text, "`{piece}`");
            continue;
        }
        for (index, piece) in piece.split('"').enumerate() {
            if index % 2 == 1 {
                let _ = write!(text, "`\"{piece}\"`");
            } else {
                text.push_str(piece);
            }
        }
    }
    text
}
