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
use super::direct;
use super::sources::{Span, Texts};
use super::variables::Variables;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node<'t> {
    pub(super) span: Span,
    pub(super) kind: Kind<'t>,
}

/// What kind of value.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Text<'t> {
    pub(super) value: Cow<'t, str>,
    /// Whether a variable is in it: then the value is shown to nobody.
    pub(super) secret: bool,
}

/// A key of a table, with its value.
#[derive(Clone, Debug, PartialEq)]
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
    match without_variables(source, text) {
        Ok(mut entries) => {
            // Most texts have none, and need not be walked through.
            if text.contains("${") {
                entries.iter_mut().for_each(|it| replace(&mut it.value, texts, variables));
            }
            Ok(entries)
        }
        // Only now is it worth to go on behind a mistake, and to keep all of them.
        Err(_) if text.len() <= RECOVERED_BYTES_MAX => {
            let (_, errors) = DeTable::parse_recoverable(text);
            Err(torn(texts, source, text, &errors))
        }
        Err(first) => Err(torn(texts, source, text, &[first])),
    }
}

/// The same, with variables as they are written.
///
/// # Errors
/// The first mistake.
pub(super) fn without_variables(
    source: u32,
    text: &str,
) -> Result<Vec<Entry<'_>>, toml::de::Error> {
    match direct::entries(source, text) {
        Some(entries) => Ok(entries),
        None => DeTable::parse(text).map(|table| entries(source, table.into_inner())),
    }
}

/// Puts values in the place of variables.
fn replace(node: &mut Node<'_>, texts: &Texts, variables: &mut Variables<'_>) {
    match &mut node.kind {
        Kind::Text(text) if text.value.contains("${") => {
            let replaced = variables.replace(&text.value, texts, node.span);
            node.kind = replaced.map_or(Kind::Broken, Kind::Text);
        }
        Kind::List(items) => items.iter_mut().for_each(|it| replace(it, texts, variables)),
        Kind::Table(entries) => {
            entries.iter_mut().for_each(|it| replace(&mut it.value, texts, variables));
        }
        Kind::Text(_) | Kind::Integer(_) | Kind::Other(_) | Kind::Broken => {}
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

/// A table of the `toml` crate.
fn entries<'t>(source: u32, table: DeTable<'t>) -> Vec<Entry<'t>> {
    let entry = |(key, value): (Spanned<Cow<'t, str>>, Spanned<DeValue<'t>>)| {
        let key_span = Span::new(source, key.span());
        Entry { key: key.into_inner(), key_span, value: node(source, value) }
    };
    let mut entries: Vec<Entry<'t>> = table.into_iter().map(entry).collect();
    // Diagnostics come in the order of the text.
    entries.sort_unstable_by_key(|entry| entry.key_span);
    entries
}

fn node(source: u32, value: Spanned<DeValue<'_>>) -> Node<'_> {
    let span = Span::new(source, value.span());
    let kind = match value.into_inner() {
        DeValue::String(value) => Kind::Text(Text { value, secret: false }),
        DeValue::Integer(number) => {
            Kind::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
        }
        DeValue::Array(items) => {
            Kind::List(items.into_iter().map(|item| node(source, item)).collect())
        }
        DeValue::Table(table) => Kind::Table(entries(source, table)),
        DeValue::Float(_) => Kind::Other("a number with a fraction"),
        DeValue::Boolean(_) => Kind::Other("a boolean"),
        DeValue::Datetime(_) => Kind::Other("a date"),
    };
    Node { span, kind }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether it is read directly; what is read directly is what the `toml` crate says.
    fn is_direct(text: &str) -> bool {
        let Some(direct) = direct::entries(7, text) else { return false };
        let table = DeTable::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(direct, entries(7, table.into_inner()), "{text}");
        true
    }

    #[test]
    fn what_people_write_is_read_directly() {
        for text in [
            "",
            "a = 1\n\"b c\" = 'x'\nc.d = 31\nc.e.f = 0\n",
            "[a]\nx = [1, \"ü\\n\", { y = 2, z.w = 3, z.v = 4 }, []]\n[b]\n[a.c]\n",
            "[a.b.c]\nx = 1\n[a]\ny = 2\n[a.b]\nz = -3\n",
            "x = true # so\r\n\r\ny = \"\"\n[ \"\" . 'b' ]#\nz='\\d'",
            include_str!("../../../config/ringway.toml"),
            include_str!("../../../config/minimal.toml"),
        ] {
            assert!(is_direct(text), "{text}");
        }
    }

    #[test]
    fn the_rest_is_not() {
        let many: String = (0..100).map(|key| format!("k{key} = 1\n")).collect();
        let deep = format!("x = {}{}", "[".repeat(20), "]".repeat(20));
        for text in [
            "[[a]]\nb = 1\n",
            "a = 1\na = 2\n",
            "a = 1\na.b = 2\n",
            "[a]\n[a]\n",
            "a.b = 1\n[a]\n",
            "a = {}\n[a.b]\n",
            "[a.b]\n[a]\nb = 1\n",
            "a = { b = 1, b.c = 2 }\n",
            "[a]\nb.c = 1\n[a.b]\n",
            "a = 1999-01-01\n",
            "a = 0x1f\n",
            "a = 01\n",
            "a = \"\"\"x\"\"\"\n",
            "a = \"\"\"\"\"\"\n",
            "a =  \n",
            "a = \"\\u0041\"\n",
            "a = 1 b = 2\n",
            "a = 1\r",
            "a = [1 2]\n",
            "a = [,]\n",
            "a = 1 # \u{1}\n",
            "a =\n",
            "[a] b = 1\n",
            "a = \"x\n",
            &many,
            &deep,
        ] {
            assert!(!is_direct(text), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn read_directly_a_text_says_the_same(
            lines in prop::collection::vec(
                prop_oneof![
                    "\\[[ab]( ?\\. ?[abc]){0,2}\\]",
                    "[abcd](\\.[abcd]){0,2} = (1|-2|0x3|007|\"x\"|\"\\\\t\"|'y'|1.5|true|9999999999999999999|\"\"\"a\"\"\"|\"\"|\\[\\]|\\{\\})",
                    "[abcd] = \\{ ?[ab](\\.[ab])? = 1, [bc] = \\[ ?2, \\{ x = 3 \\},? ?\\] \\}",
                    "(\\[\\[a\\]\\]|# x|\\[a|x = |x = \\[|1,|\\] ?#|)",
                    "[\\[\\]{}a.=,\"'# 0\r\t\\\\]{0,9}",
                ],
                0..7,
            ),
        ) {
            is_direct(&lines.join("\n"));
        }
    }
}
