//! The language of configuration keys: how a module defines the keys that it reads.
//!
//! A text becomes a tree of [`Item`]s (`toml`, `torn`), and a [`Walk`] through the tree reads
//! [`Value`]s from it and notes every mistake as a [`Diagnostic`]. `section!` defines a table with its
//! keys, `one_of!` keys that exclude each other, `words!` a value that is one of a few words, and
//! `tagged!` tables that are told by their key `type`. The same definitions give the [`Shape`] from
//! which the reference, the commented file and the JSON Schema are made, and a value goes back to text
//! as [`Written`].
//!
//! Which keys there are is left to the modules that define them.
//!
//! Invariant: no message shows a value that came from a variable.

mod address;
mod choice;
mod collection;
mod diagnostic;
mod direct;
mod file;
mod item;
mod mistake;
mod nearest;
mod or_off;
mod path;
mod plain;
pub mod reference;
mod secret;
mod section;
mod shape;
mod source;
mod status;
mod tagged;
#[cfg(test)]
mod tests;
pub(crate) mod toml;
pub(crate) mod torn;
mod units;
mod value;
mod walk;
mod words;
mod written;

pub use address::DnsServer;
pub use choice::{AtMostOne, ExactlyOne, OneKeyOf};
pub use collection::{NAME_BYTES_MAX, Name, Named, Spanned};
pub use diagnostic::{
    DIAGNOSTICS_KEPT_MAX, DIAGNOSTICS_SHOWN_MAX, Diagnostic, Severity, Texts, render, summary,
    to_json,
};
pub use file::FilePath;
pub use item::{Item, ItemEntry, ItemKind, ItemText};
pub use mistake::Mistake;
pub use nearest::nearest;
pub use or_off::OrOff;
pub use path::PathStep;
pub use plain::{CanBeOff, Fraction, Limit};
pub use section::{
    DefaultRule, FieldRule, KeyRule, SectionValue, expected_section, keys_of, read_table,
    section_shape, written_section,
};
pub use shape::{Choice, KeyShape, Section, Shape, TAG, Tagged};
pub use source::Span;
pub use status::StatusRange;
pub use tagged::{TaggedValue, expected_tagged, read_tagged, written_tagged};
pub use units::{ByteSize, EventRate, LONGEST, SHORTEST};
pub use value::Value;
pub use walk::{Advice, ReadTable, Walk};
pub use words::{Words, expected_word, name_of, parse_word, word, word_shape};
pub use written::{MASK, Written};

pub(crate) use {choice::one_of, section::key, section::section, tagged::tagged, words::words};
