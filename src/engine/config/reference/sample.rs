//! `config/ringway.toml`: every key with what it does, at its default.
//!
//! A line that begins with `# ` is text; one that begins with `#` alone is a key that has no
//! default or is not wanted by everybody, with an example.

use std::fmt::Write as _;

use super::{choice, paragraph, range};
use crate::config::Document;
use crate::config::section::Value;
use crate::config::shape::{Key, Section, Shape};

const INTRODUCTION: &str = "\
# Every key of the configuration, with what it does. Values are the defaults. Behind a # without a
# space are examples of keys that have no default. Start from minimal.toml, and take from here what
# you need: what is left out keeps its default.
#
# Generated from src/engine/config. Do not edit: run UPDATE=1 cargo test -p engine.
";

/// Lines of text are at most this long.
const COLUMNS: usize = 100;

/// The text of `config/ringway.toml`.
#[must_use]
pub fn sample() -> String {
    let mut text = INTRODUCTION.to_owned();
    let Shape::Section(root) = Document::shape() else { return text };
    let (sections, keys): (Vec<_>, Vec<_>) =
        root.keys.iter().partition(|key| matches!(key.shape, Shape::Section(_) | Shape::Named(_)));
    for key in keys {
        value(&mut text, "", key, true);
    }
    for key in sections {
        let (shape, header) = match &key.shape {
            Shape::Named(inner) => {
                (&**inner, format!("{}.{}", key.name, key.example.unwrap_or("name")))
            }
            shape => (shape, key.name.to_owned()),
        };
        let Shape::Section(section) = shape else { continue };
        let on = !key.optional_section;
        text.push('\n');
        about(&mut text, section);
        let _ = writeln!(text, "{}[{header}]", mark(on));
        body(&mut text, "", section, on);
    }
    text
}

fn about(text: &mut String, section: &Section) {
    comment(text, &paragraph(section.about));
    if let Some(keys) = section.choice {
        comment(text, &choice(keys).replace('`', ""));
    }
}

/// The keys of a section behind `path`; `on` if they are in effect.
fn body(text: &mut String, path: &str, section: &Section, on: bool) {
    for key in &section.keys {
        if let Shape::Section(inner) = &key.shape {
            text.push('\n');
            about(text, inner);
            body(text, &format!("{path}{}.", key.name), inner, on && !key.optional_section);
        } else {
            value(text, path, key, on);
        }
    }
}

fn value(text: &mut String, path: &str, key: &Key, on: bool) {
    text.push('\n');
    comment(text, &paragraph(key.doc).replace('`', ""));
    if let Some(range) = range(key) {
        comment(text, &format!("Range: {range}."));
    }
    let active = key.default.is_some() || key.required || key.in_sample;
    let on = on && active;
    let example = key.example.map(str::to_owned);
    let default = key.default.as_ref().map(ToString::to_string);
    let value = if on { default.or(example) } else { example.or(default) };
    let _ = writeln!(text, "{}{path}{} = {}", mark(on), key.name, value.unwrap_or_default());
}

const fn mark(on: bool) -> &'static str {
    if on { "" } else { "#" }
}

/// Text in lines.
fn comment(text: &mut String, sentence: &str) {
    let mut line = "#".to_owned();
    for word in sentence.split(' ') {
        if line.len() + 1 + word.len() > COLUMNS {
            let _ = writeln!(text, "{line}");
            "#".clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}
