//! A JSON Schema, for editors that know TOML.
//!
//! It accepts every configuration that is sound. It refuses unknown keys, wrong types, wrong words and
//! numbers out of range. Names that point nowhere, and mistakes between several objects, are left to
//! `ringway check`.

use serde_json::{Map, Value as Json, json};

use super::{paragraph, range};
use crate::keys::collection::NAME_BYTES_MAX;
use crate::keys::shape::{Choice, KeyShape, Section, Shape, TAG};
use crate::keys::written::Written;

/// The text of the schema.
#[must_use]
pub fn schema(root: &Section, title: &str) -> String {
    let mut root = of_section(root);
    if let Some(root) = root.as_object_mut() {
        let variable = json!({
            "description": "A string with ${env:NAME}, ${env:NAME:-default} or ${file:PATH} in it.",
            "type": "string",
            "pattern": "\\$\\{",
        });
        root.insert("$defs".to_owned(), json!({ "variable": variable }));
        root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.insert("title".to_owned(), json!(title));
    }
    format!("{root:#}\n")
}

/// The schema of a value; `key` is the key that it stands behind.
fn of(shape: &Shape, key: Option<&KeyShape>) -> Json {
    match shape {
        Shape::Text { pattern: None, .. } => json!({ "type": "string" }),
        Shape::Text { pattern: Some(pattern), .. } => {
            or_variable(&json!({ "type": "string", "pattern": pattern }))
        }
        Shape::Boolean => or_variable(&json!({ "type": "boolean" })),
        Shape::Fraction => or_variable(&json!({ "type": "number", "minimum": 0, "maximum": 1 })),
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
        Shape::Tagged(tagged) => {
            let tables = tagged.tables.iter().map(|(tag, section)| of_tagged(tag, section));
            json!({ "description": paragraph(tagged.about), "oneOf": tables.collect::<Vec<_>>() })
        }
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
    let choices: Vec<Json> = section.choices.iter().map(of_choice).collect();
    if let Some(schema) = schema.as_object_mut().filter(|_| !choices.is_empty()) {
        schema.insert("allOf".to_owned(), json!(choices));
    }
    schema
}

/// Keys that exclude each other.
fn of_choice(choice: &Choice) -> Json {
    let each: Vec<Json> = choice.keys.iter().map(|key| json!({ "required": [key] })).collect();
    if choice.required {
        json!({ "oneOf": each })
    } else {
        let none = json!({ "not": { "anyOf": each } });
        let one_or_none: Vec<Json> = each.iter().cloned().chain([none]).collect();
        json!({ "oneOf": one_or_none })
    }
}

/// A section with its `type`.
fn of_tagged(tag: &str, section: &Section) -> Json {
    let mut schema = of_section(section);
    if let Some(properties) = schema.get_mut("properties").and_then(Json::as_object_mut) {
        properties.insert(TAG.to_owned(), json!({ "const": tag }));
    }
    if let Some(required) = schema.get_mut("required").and_then(Json::as_array_mut) {
        required.push(json!(TAG));
    }
    schema
}

/// The alternatives of nested choices side by side, the variable once.
fn flatten(shape: &Shape, key: Option<&KeyShape>, into: &mut Vec<Json>) {
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
        Written::Boolean(value) => json!(value),
        Written::List(items) => items.iter().map(to_json).collect(),
        Written::Table(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), to_json(value))).collect()
        }
    }
}
