//! Texts that are made from the definitions of keys: the pages of the reference, the commented file
//! and the JSON Schema.
//!
//! Invariant: each key is described once, where it is defined.

mod markdown;
mod sample;
mod schema;

pub use markdown::{Page, pages};
pub use sample::sample;
pub use schema::schema;

use super::shape::{Choice, KeyShape};
use super::written::Written;

/// A doc comment as one line.
pub(crate) fn paragraph(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// "1 to 1000", for keys with bounds.
fn range(key: &KeyShape) -> Option<String> {
    key.range.as_ref().map(|(min, max)| format!("{} to {}", bare(min), bare(max)))
}

/// A value without quotes around it.
fn bare(value: &Written) -> String {
    value.to_string().trim_matches('"').to_owned()
}

/// The sentence about keys that exclude each other.
fn choice(choice: &Choice) -> String {
    let words = if choice.required { "Exactly one of" } else { "At most one of" };
    let keys: Vec<_> = choice.keys.iter().map(|key| format!("`{key}`")).collect();
    format!("{words} {}.", keys.join(", "))
}
