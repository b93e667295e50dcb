//! A configuration file as a tree of values, each with its place, and how TOML becomes one.
//!
//! The sections read this tree, not TOML, so that another syntax is one more function here.
//!
//! Invariant: a variable is replaced after the text was taken apart, and in strings only, so its
//! value can never become a key or a table.

use std::borrow::Cow;
use std::collections::HashSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{DIAGNOSTICS_SHOWN_MAX, Diagnostic};
use super::sources::{Span, Texts};
use super::variables::Variables;

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node<'t> {
    pub(super) span: Span,
    pub(super) kind: Kind<'t>,
}

/// What kind of value.
#[derive(Clone, Debug)]
pub(super) enum Kind<'t> {
    Text(Text<'t>),
    /// `None` when it is beyond 64 bits.
    Integer(Option<i64>),
    List(Vec<Node<'t>>),
    Table(Vec<Entry<'t>>),
    /// A kind that no key takes, by its name: "a boolean", "a date".
    Other(&'static str),
    /// What it would be is not known, and why has been reported.
    Broken,
}

/// A string, in which variables have been replaced.
#[derive(Clone, Debug)]
pub(super) struct Text<'t> {
    pub(super) value: Cow<'t, str>,
    /// Whether a variable is in it: then the value is shown to nobody.
    pub(super) secret: bool,
}

/// A key of a table, with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry<'t> {
    pub(super) key: Cow<'t, str>,
    pub(super) key_span: Span,
    pub(super) value: Node<'t>,
}

impl Node<'_> {
    /// Whether the value came from a variable.
    pub(super) fn is_secret(&self) -> bool {
        matches!(&self.kind, Kind::Text(text) if text.secret)
    }
}

impl Kind<'_> {
    /// The kind as a noun for messages.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "a number",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(name) => name,
            Self::Broken => "broken",
        }
    }
}

/// Reads the text with number `source` as TOML.
///
/// # Errors
/// What is not TOML in it. A torn text has keys in wrong tables and tables without keys, so none
/// of it is given: what could be said about it would mislead.
pub(super) fn from_toml<'t>(
    texts: &Texts,
    source: u32,
    text: &'t str,
    variables: &mut Variables<'_>,
) -> Result<Vec<Entry<'t>>, Vec<Diagnostic>> {
    match DeTable::parse(text) {
        Ok(table) => Ok(Maker { source, texts, variables }.entries(table.into_inner())),
        // Only now is it worth to go on behind a mistake, and to keep all of them.
        Err(_) if text.len() <= RECOVERED_BYTES_MAX => {
            let (_, errors) = DeTable::parse_recoverable(text);
            Err(torn(texts, source, text, &errors))
        }
        Err(first) => Err(torn(texts, source, text, &[first])),
    }
}

/// What is not TOML. Where the parser stumbles over one thing several times, it is said once; and
/// where it gave up, that alone.
fn torn(texts: &Texts, source: u32, text: &str, errors: &[toml::de::Error]) -> Vec<Diagnostic> {
    // An error without a place is about the end of the text.
    let place =
        |error: &toml::de::Error| Span::new(source, error.span().unwrap_or(text.len()..text.len()));
    if let Some(error) =
        errors.iter().find(|it| TOO_DEEP.iter().any(|too| it.message().starts_with(too)))
    {
        let what = "lists and tables are nested too deeply";
        let cure = "the deepest configuration nests them five deep";
        return vec![texts.error(place(error), what).cured_by(cure)];
    }
    let mut seen = HashSet::new();
    let new = errors.iter().filter(|error| seen.insert((place(error), error.message())));
    let new = new.take(DIAGNOSTICS_SHOWN_MAX);
    let diagnostic = |error: &toml::de::Error| {
        let what = error.message().replace('\n', ", ");
        let diagnostic = texts.error(place(error), what.as_str());
        match CURES.iter().find(|(begins, _)| what.starts_with(begins)) {
            Some((_, cure)) => diagnostic.cured_by(*cure),
            None => diagnostic,
        }
    };
    new.map(diagnostic).collect()
}

/// In longer texts only the first mistake of the syntax is said. A text can have one in every byte,
/// and each of them costs some hundred bytes.
const RECOVERED_BYTES_MAX: usize = 1024 * 1024;

/// How the parser says that it does not go deeper.
const TOO_DEEP: [&str; 2] = ["cannot recurse further", "recursion limit"];

/// What the parser says, and what to do about it. The diagnostic says the first without these too.
const CURES: &[(&str, &str)] = &[
    ("string values must be quoted", "write it in double quotes"),
    ("invalid basic string, expected `\"`", "close it with a double quote"),
    ("duplicate key", "leave one of them out"),
    ("key with no value", "write key = value"),
    ("unclosed table", "close it with ]"),
    ("unclosed array", "close it with ]"),
    ("unclosed inline table", "close it with }"),
];

struct Maker<'m, 's> {
    source: u32,
    texts: &'m Texts,
    variables: &'m mut Variables<'s>,
}

impl Maker<'_, '_> {
    fn node<'t>(&mut self, value: Spanned<DeValue<'t>>) -> Node<'t> {
        let span = Span::new(self.source, value.span());
        let kind = match value.into_inner() {
            DeValue::String(text) if text.contains("${") => {
                let replaced = self.variables.replace(&text, self.texts, span);
                replaced.map_or(Kind::Broken, Kind::Text)
            }
            DeValue::String(value) => Kind::Text(Text { value, secret: false }),
            DeValue::Integer(number) => {
                Kind::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
            }
            DeValue::Array(items) => {
                Kind::List(items.into_iter().map(|item| self.node(item)).collect())
            }
            DeValue::Table(table) => Kind::Table(self.entries(table)),
            DeValue::Float(_) => Kind::Other("a number with a fraction"),
            DeValue::Boolean(_) => Kind::Other("a boolean"),
            DeValue::Datetime(_) => Kind::Other("a date"),
        };
        Node { span, kind }
    }

    fn entries<'t>(&mut self, table: DeTable<'t>) -> Vec<Entry<'t>> {
        let entry = |(key, value): (Spanned<Cow<'t, str>>, Spanned<DeValue<'t>>)| {
            let key_span = Span::new(self.source, key.span());
            Entry { key: key.into_inner(), key_span, value: self.node(value) }
        };
        let mut entries: Vec<Entry<'t>> = table.into_iter().map(entry).collect();
        // Diagnostics come in the order of the text.
        entries.sort_unstable_by_key(|entry| entry.key_span);
        entries
    }
}
