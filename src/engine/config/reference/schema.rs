//! `config/ringway.schema.json`: a JSON Schema, for editors that know TOML.
//!
//! It takes whatever `parse` takes, and refuses what a schema can refuse: unknown keys, wrong
//! types, words and numbers out of range. Names that point nowhere, and what concerns several
//! objects, are for `ringway check`.

use serde_json::{Map, Value as Json, json};

use super::{paragraph, range};
use crate::config::Document;
use crate::config::collection::NAME_BYTES_MAX;
use crate::config::section::Value;
use crate::config::shape::{Choice, Key, Section, Shape};
use crate::config::written::Written;

/// The text of `config/ringway.schema.json`.
#[must_use]
pub fn schema() -> String {
    let mut root = of(&Document::shape(), None);
    if let Some(root) = root.as_object_mut() {
        let variable = json!({
            "description": "A string with ${env:NAME}, ${env:NAME:-default} or ${file:PATH} in it.",
            "type": "string",
            "pattern": "\\$\\{",
        });
        root.insert("$defs".to_owned(), json!({ "variable": variable }));
        root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.insert("title".to_owned(), json!("Ringway configuration"));
    }
    format!("{root:#}\n")
}

/// The schema of a value; `key` is the key that it stands behind.
fn of(shape: &Shape, key: Option<&Key>) -> Json {
    match shape {
        Shape::Text { pattern: None, .. } => json!({ "type": "string" }),
        Shape::Text { pattern: Some(pattern), .. } => {
            or_variable(&json!({ "type": "string", "pattern": pattern }))
        }
        Shape::Words(words) => or_variable(&json!({ "enum": words })),
        Shape::Integers(numbers) => or_variable(&json!({ "enum": numbers })),
        Shape::Integer => {
            let bounds = match key.and_then(|key| key.range.as_ref()) {
                Some((Written::Integer(min), Written::Integer(max))) => {
                    json!({ "type": "integer", "minimum": min, "maximum": max })
                }
                _ => json!({ "type": "integer", "minimum": 0 }),
            };
            or_variable(&bounds)
        }
        Shape::Either(..) => {
            let mut alternatives = Vec::new();
            flatten(shape, key, &mut alternatives);
            json!({ "anyOf": alternatives })
        }
        Shape::List(inner) => json!({ "type": "array", "items": of(inner, None) }),
        Shape::Section(section) => of_section(section),
        Shape::Named(inner) => json!({
            "type": "object",
            "propertyNames": { "pattern": format!("^[a-z0-9_-]{{1,{NAME_BYTES_MAX}}}$") },
            "additionalProperties": of(inner, None),
        }),
        Shape::Map(_, inner) => {
            json!({ "type": "object", "additionalProperties": of(inner, None) })
        }
    }
}

fn of_section(section: &Section) -> Json {
    let mut properties = Map::new();
    for key in &section.keys {
        let mut property = of(&key.shape, Some(key));
        if let Some(property) = property.as_object_mut() {
            let range = range(key).map_or_else(String::new, |range| format!(" Range: {range}."));
            let description = format!("{}{range}", paragraph(key.doc));
            property.insert("description".to_owned(), json!(description));
            if let Some(default) = &key.default {
                property.insert("default".to_owned(), to_json(default));
            }
        }
        properties.insert(key.name.to_owned(), property);
    }
    let required: Vec<_> =
        section.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json!({
        "type": "object",
        "description": paragraph(section.about),
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    if let (Some(choice), Some(schema)) = (section.choice, schema.as_object_mut()) {
        let each = |keys: &[&str]| -> Vec<Json> {
            keys.iter().map(|key| json!({ "required": [key] })).collect()
        };
        match choice {
            Choice::ExactlyOne(keys) => schema.insert("oneOf".to_owned(), json!(each(keys))),
            Choice::AtMostOne(keys) => schema.insert("not".to_owned(), json!({ "required": keys })),
        };
    }
    schema
}

/// The alternatives of nested choices side by side, the variable once.
fn flatten(shape: &Shape, key: Option<&Key>, into: &mut Vec<Json>) {
    if let Shape::Either(one, other) = shape {
        flatten(one, key, into);
        flatten(other, key, into);
        return;
    }
    match of(shape, key) {
        Json::Object(mut object) if object.contains_key("anyOf") => {
            if let Some(Json::Array(alternatives)) = object.remove("anyOf") {
                into.retain(|it| !alternatives.contains(it));
                into.extend(alternatives);
            }
        }
        schema => into.push(schema),
    }
}

/// A string may come from variables.
fn or_variable(schema: &Json) -> Json {
    json!({ "anyOf": [schema, { "$ref": "#/$defs/variable" }] })
}

fn to_json(value: &Written) -> Json {
    match value {
        Written::Absent => Json::Null,
        Written::Text(text) => json!(text),
        Written::Integer(number) => json!(number),
        Written::List(items) => items.iter().map(to_json).collect(),
        Written::Table(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), to_json(value))).collect()
        }
    }
}
