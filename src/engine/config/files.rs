//! The files whose content belongs to a configuration, found by the shape of the keys that name
//! them.

use std::collections::BTreeSet;

use super::document::Document;
use super::load;
use super::sources::Sources;
use crate::keys::{FilePath, Item, ItemKind, Shape, Texts, Value};

/// The files that the texts of `sources` name in keys: the file of the configuration that names
/// each, and the path as written there, with its variables replaced. To be asked when all texts and
/// values are there. A text with mistakes names what can be found in it.
#[must_use]
pub fn files(sources: &Sources) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut keys = BTreeSet::new();
    keys_of_files(&Document::shape(), "", &mut keys);
    // Most texts name no file, and need not be taken apart once more.
    let has_key = |text: &[u8]| {
        str::from_utf8(text).is_ok_and(|text| keys.iter().any(|key| text.contains(key)))
    };
    if !sources.files().any(|file| sources.bytes(file).is_some_and(has_key)) {
        return found;
    }
    let loaded = load::load(sources);
    collect(&Document::shape(), &loaded.root, &loaded.texts, &mut found);
    found
}

/// The names of the keys whose values are files; `name` is that of the key around.
fn keys_of_files(shape: &Shape, name: &'static str, found: &mut BTreeSet<&'static str>) {
    match shape {
        Shape::Text { noun: FilePath::NOUN, .. } => {
            found.insert(name);
        }
        Shape::Section(section) => {
            section.keys.iter().for_each(|key| keys_of_files(&key.shape, key.name, found));
        }
        Shape::Tagged(tagged) => {
            let keys = tagged.tables.iter().flat_map(|(_, section)| &section.keys);
            keys.for_each(|key| keys_of_files(&key.shape, key.name, found));
        }
        Shape::Named(inner) | Shape::Map(_, inner) | Shape::List(inner) => {
            keys_of_files(inner, name, found);
        }
        Shape::Either(one, other) => {
            keys_of_files(one, name, found);
            keys_of_files(other, name, found);
        }
        _ => {}
    }
}

fn collect(shape: &Shape, item: &Item<'_>, texts: &Texts, found: &mut BTreeSet<(String, String)>) {
    match (shape, &item.kind) {
        (Shape::Text { noun: FilePath::NOUN, .. }, kind) => {
            if let Ok(FilePath(path)) = FilePath::parse(kind) {
                found.insert((texts.file(item.span).to_owned(), path));
            }
        }
        (Shape::Section(section), ItemKind::Table(entries)) => {
            for entry in entries {
                if let Some(key) = section.keys.iter().find(|key| key.name == entry.key) {
                    collect(&key.shape, &entry.value, texts, found);
                }
            }
        }
        (Shape::Tagged(tagged), ItemKind::Table(entries)) => {
            let keys = tagged.tables.iter().flat_map(|(_, section)| &section.keys);
            for key in keys {
                if let Some(entry) = entries.iter().find(|entry| key.name == entry.key) {
                    collect(&key.shape, &entry.value, texts, found);
                }
            }
        }
        (Shape::Named(inner) | Shape::Map(_, inner), ItemKind::Table(entries)) => {
            entries.iter().for_each(|entry| collect(inner, &entry.value, texts, found));
        }
        (Shape::List(inner), ItemKind::List(items)) => {
            items.iter().for_each(|item| collect(inner, item, texts, found));
        }
        (Shape::Either(one, other), _) => {
            collect(one, item, texts, found);
            collect(other, item, texts, found);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_wherever_a_key_names_one() {
        let text = "[certificates.a]\ncert = \"a/${env:NAME}.pem\"\nkey = \"a.key\"\n\
                    [certificates.b]\ncert = 7\nkey = \"\"\n\
                    [listeners.web]\ntls = { client_ca = \"ca.pem\" }\naddress = \"b.pem\"\n";
        let mut sources = Sources::new("main.toml", text);
        sources.add_environment("NAME", Ok("site".to_owned()));
        let found: Vec<_> = files(&sources).into_iter().collect();
        let path = |path: &str| ("main.toml".to_owned(), path.to_owned());
        assert_eq!(found, ["a.key", "a/site.pem", "ca.pem"].map(path));
    }
}
