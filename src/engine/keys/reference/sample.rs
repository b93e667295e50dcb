//! The commented file: every key at its default, with the text of the reference.
//!
//! A line that begins with `# ` is text. One that begins with `#` alone is a key without a default,
//! with an example.

use std::fmt::Write as _;

use super::{choice, paragraph, range};
use crate::keys::shape::{KeyShape, Section, Shape, TAG, Tagged};

/// Lines of text are at most this long.
const COLUMNS: usize = 100;

/// The text of the commented file, with an introduction in front.
#[must_use]
pub fn sample(root: &Section, introduction: &str) -> String {
    let mut text = introduction.to_owned();
    let is_section = |key: &&KeyShape| {
        matches!(key.shape, Shape::Section(_) | Shape::Named(_) | Shape::Tagged(_))
    };
    let (sections, keys): (Vec<_>, Vec<_>) = root.keys.iter().partition(is_section);
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
        if let Shape::Tagged(tables) = shape {
            tagged(&mut text, key.name, tables);
        }
        let Shape::Section(section) = shape else { continue };
        let on = !key.optional_section;
        text.push('\n');
        about(&mut text, section);
        let _ = writeln!(text, "{}[{header}]", mark(on));
        body(&mut text, "", section, on);
    }
    text
}

/// Each of the tables of `section` that are told by their `type`, as a comment and under a name like
/// its type.
fn tagged(text: &mut String, section: &str, tables: &Tagged) {
    text.push('\n');
    comment(text, &paragraph(tables.about));
    for (tag, table) in &tables.tables {
        text.push('\n');
        about(text, table);
        let _ = writeln!(text, "#[{section}.{tag}]\n#{TAG} = \"{tag}\"");
        body(text, "", table, false);
    }
}

fn about(text: &mut String, section: &Section) {
    comment(text, &paragraph(section.about));
    for keys in &section.choices {
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

fn value(text: &mut String, path: &str, key: &KeyShape, on: bool) {
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
