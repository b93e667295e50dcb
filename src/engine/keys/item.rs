//! A configuration as a tree of items, each with its place.
//!
//! Sections read this tree, not TOML, so another syntax is one more module that makes items.

use std::borrow::Cow;

use super::source::Span;

/// A value as it is written, with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Item<'t> {
    /// Its place.
    pub span: Span,
    /// The value.
    pub kind: ItemKind<'t>,
}

/// A value as it is written.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemKind<'t> {
    /// A string.
    Text(ItemText<'t>),
    /// A whole number; `None` when it is beyond 64 bits.
    Integer(Option<i64>),
    /// A number with a fraction.
    Fraction(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A list.
    List(Vec<Item<'t>>),
    /// A table.
    Table(Vec<ItemEntry<'t>>),
    /// A date or a time of day.
    Date,
    /// A value that could not be made, such as one with an unknown variable. The mistake has been
    /// reported.
    Broken,
}

/// A string, in which variables have been replaced.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemText<'t> {
    /// The string.
    pub value: Cow<'t, str>,
    /// Whether a variable is in it. No message shows such a value.
    pub secret: bool,
}

/// A key of a table, with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemEntry<'t> {
    /// The key.
    pub key: Cow<'t, str>,
    /// The place of the key.
    pub key_span: Span,
    /// The value.
    pub value: Item<'t>,
}

impl Item<'_> {
    /// Whether the value came from a variable.
    pub fn is_secret(&self) -> bool {
        matches!(&self.kind, ItemKind::Text(text) if text.secret)
    }

    /// Whether it is a table, or would be one but for a mistake.
    pub fn is_table(&self) -> bool {
        matches!(self.kind, ItemKind::Table(_) | ItemKind::Broken)
    }
}

impl ItemKind<'_> {
    /// The kind as a noun for messages.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "a number",
            Self::Fraction(_) => "a number with a fraction",
            Self::Boolean(_) => "a boolean",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Date => "a date",
            Self::Broken => "broken",
        }
    }

    /// The string, if it is one.
    pub fn text(&self) -> Option<&ItemText<'_>> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}
