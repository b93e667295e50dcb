//! A configuration file as a tree of values, each with its place, and how TOML becomes one.
//!
//! The sections read this tree, not TOML, so that another syntax is one more function here.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Source, Span};

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) kind: Kind,
}

/// What kind of value.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Text(String),
    /// `None` when it is beyond 64 bits.
    Integer(Option<i64>),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// A kind that no key takes, by its name: "float", "boolean", "datetime".
    Other(&'static str),
}

/// A key of a table, with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: Node,
}

impl Kind {
    /// The kind as a noun for messages.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "a number",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(name) => name,
        }
    }
}

/// Reads TOML. The tree is whole only if there are no diagnostics.
pub(super) fn from_toml(source: &Arc<Source>) -> (Node, Vec<Diagnostic>) {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    let end = source.text.len();
    let diagnostics = errors
        .iter()
        .map(|error| {
            // An error without a place is about the end of the text.
            let span = error.span().unwrap_or(end..end);
            Diagnostic::new(source, span, error.message().replace('\n', ", "))
        })
        .collect();
    (Node { span: 0..0, kind: table_kind(table.get_ref()) }, diagnostics)
}

fn node(value: &Spanned<DeValue<'_>>) -> Node {
    let kind = match value.get_ref() {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Integer(number) => {
            Kind::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
        }
        DeValue::Array(items) => Kind::List(items.iter().map(node).collect()),
        DeValue::Table(table) => table_kind(table),
        DeValue::Float(_) => Kind::Other("a number with a fraction"),
        DeValue::Boolean(_) => Kind::Other("a boolean"),
        DeValue::Datetime(_) => Kind::Other("a date"),
    };
    Node { span: value.span(), kind }
}

fn table_kind(table: &DeTable<'_>) -> Kind {
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let text: &std::borrow::Cow<'_, str> = key.get_ref();
        Entry { key: text.to_string(), key_span: key.span(), value: node(value) }
    };
    let mut entries: Vec<Entry> = table.iter().map(entry).collect();
    // Diagnostics come in the order of the text.
    entries.sort_by_key(|entry| entry.key_span.start);
    Kind::Table(entries)
}
