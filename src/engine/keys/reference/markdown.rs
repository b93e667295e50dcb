//! The reference: a page for each section, with a row for each key, and a page for each table that is
//! told by its `type`.

use std::fmt::Write as _;

use super::{choice, paragraph, range};
use crate::keys::shape::{KeyShape, Section, Shape, TAG, Tagged};

/// A page of the reference.
pub struct Page {
    /// Its name without an ending, such as `listeners`. The first page has none.
    pub name: String,
    /// Its text, in Markdown.
    pub text: String,
}

/// The pages of the reference. The first one is `introduction` with the keys at the top and the
/// links to the other pages, which are in the folder `folder` beside it.
#[must_use]
pub fn pages(root: &Section, introduction: &str, folder: &str) -> Vec<Page> {
    let mut text = introduction.to_owned();
    let is_page = |key: &&KeyShape| inner(&key.shape).is_some() || tagged(&key.shape).is_some();
    text.push_str("\n## At the top\n\n");
    table(&mut text, root.keys.iter().filter(|key| !is_page(key)));
    text.push_str("\n## Sections\n\n| section | page | purpose |\n|---|---|---|\n");
    let mut pages = Vec::new();
    for key in root.keys.iter().filter(is_page) {
        let path = match key.shape {
            Shape::Named(_) => format!("{}.NAME", key.name),
            _ => key.name.to_owned(),
        };
        let link = format!("[{folder}/{0}.md]({folder}/{0}.md)", key.name);
        let _ = writeln!(text, "| `[{path}]` | {link} | {} |", cell(key.doc));
        let mut page = String::new();
        if let Some(section) = inner(&key.shape) {
            describe(&mut page, 1, &format!("`[{path}]`"), &path, section);
        } else if let Some(tables) = tagged(&key.shape) {
            types(&mut page, key.name, &path, tables);
            for (tag, section) in &tables.tables {
                let heading = format!("`[{path}]` with `{TAG} = \"{tag}\"`");
                let mut text = String::new();
                describe(&mut text, 1, &heading, &path, section);
                pages.push(Page { name: format!("{}/{tag}", key.name), text });
            }
        }
        pages.push(Page { name: key.name.to_owned(), text: page });
    }
    pages.push(Page { name: String::new(), text });
    pages.sort_by(|one, other| one.name.cmp(&other.name));
    pages
}

/// A page about tables that are told by their `type`, with a row for each type.
fn types(text: &mut String, folder: &str, path: &str, tables: &Tagged) {
    let _ = write!(text, "# `[{path}]`\n\n{}\n\n", prose(tables.about));
    let _ = write!(text, "| `{TAG}` | purpose |\n|---|---|\n");
    for (tag, section) in &tables.tables {
        let link = format!("[`\"{tag}\"`]({folder}/{tag}.md)");
        let _ = writeln!(text, "| {link} | {} |", cell(section.about));
    }
}

/// The tables that a key holds, alone or by name, and that are told by their `type`.
fn tagged(shape: &Shape) -> Option<&Tagged> {
    match shape {
        Shape::Tagged(tables) => Some(tables),
        Shape::Named(inner) => tagged(inner),
        _ => None,
    }
}

/// The section that a key holds, alone or by name.
fn inner(shape: &Shape) -> Option<&Section> {
    match shape {
        Shape::Section(section) => Some(section),
        Shape::Named(inner) => self::inner(inner),
        Shape::Either(one, other) => inner(one).or_else(|| inner(other)),
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

/// A heading, the purpose of the section, its keys, and the sections in it.
fn describe(text: &mut String, level: usize, heading: &str, path: &str, section: &Section) {
    let space = if level > 1 { "\n" } else { "" };
    let marks = "#".repeat(level);
    let _ = write!(text, "{space}{marks} {heading}\n\n{}\n", prose(section.about));
    for keys in &section.choices {
        let _ = write!(text, "\n{}\n", choice(keys));
    }
    text.push('\n');
    table(text, section.keys.iter());
    for key in &section.keys {
        let below = format!("{path}.{}", key.name);
        if let Some(section) = inner(&key.shape) {
            describe(text, level + 1, &format!("`{below}`"), &below, section);
        } else if let Some(section) = element(&key.shape) {
            let many = if matches!(key.shape, Shape::List(_)) { "[]" } else { "" };
            describe(text, level + 1, &format!("`{below}{many}`"), &below, section);
        }
    }
}

fn table<'k>(text: &mut String, keys: impl Iterator<Item = &'k KeyShape>) {
    text.push_str("| key | type | default | range | example | meaning |\n");
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
            cell(key.doc),
        );
    }
}

/// A doc comment as a cell of a table.
fn cell(doc: &str) -> String {
    prose(doc).replace('|', "\\|")
}

/// The kind of a value.
fn kind(shape: &Shape) -> String {
    match shape {
        Shape::Text { noun, .. } => (*noun).to_owned(),
        Shape::Words(words) => {
            words.iter().map(|it| format!("`\"{it}\"`")).collect::<Vec<_>>().join(" or ")
        }
        Shape::Boolean => "`true` or `false`".to_owned(),
        Shape::Integer => "integer".to_owned(),
        Shape::Fraction => "number from 0 to 1".to_owned(),
        Shape::Integers(numbers) => {
            numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
        }
        Shape::Either(one, other) => format!("{} or {}", kind(one), kind(other)),
        Shape::List(inner) => format!("list of: {}", kind(inner)),
        Shape::Section(_) => "table".to_owned(),
        Shape::Tagged(_) => format!("table with `{TAG}`"),
        Shape::Named(_) => "tables by name".to_owned(),
        Shape::Map(key, value) => format!("table of {key} = {}", kind(value)),
    }
}

/// A doc comment as a line of Markdown. Quoted words become code, so that a star is a star.
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
