//! Variables in strings: `${env:NAME}`, `${env:NAME:-default}`, `${file:PATH}`; `$${` stands for
//! "${" itself.
//!
//! [`references`] tells which ones a text asks for, together with its includes, so that control
//! can get them; [`Variables`] puts the values in.
//!
//! Invariant: no diagnostic shows a value.

use std::collections::BTreeSet;

use super::include::INCLUDE;
use super::sources::{SOURCE_BYTES_MAX, Sources, VALUE_BYTES_MAX};
use crate::keys::{
    DIAGNOSTICS_KEPT_MAX, Diagnostic, Item, ItemEntry, ItemKind, ItemText, Span, Texts, toml,
};

/// The files and variables that a text needs, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Patterns of files to include, in order, as written; relative to the file they stand in.
    pub includes: Vec<String>,
    /// Names of environment variables.
    pub environment: BTreeSet<String>,
    /// Paths of files with the value of a variable, as written; relative to the file they stand in.
    pub files: BTreeSet<String>,
}

/// The files and variables that the text of one file needs. A text that is not TOML, not UTF-8 or too
/// long needs nothing: [`parse`](super::parse) reports it.
#[must_use]
pub fn references(text: &[u8]) -> References {
    let mut found = References::default();
    let within = text.len() <= SOURCE_BYTES_MAX;
    let Some(text) = std::str::from_utf8(text).ok().filter(|_| within) else {
        return found;
    };
    // Most files ask for nothing, and then need not be taken apart a second time.
    if !text.contains("${") && !text.contains("include") {
        return found;
    }
    for entry in toml::read(0, text).unwrap_or_default() {
        match &entry.value.kind {
            ItemKind::List(items) if entry.key == INCLUDE => {
                found.includes.extend(items.iter().filter_map(|it| match &it.kind {
                    ItemKind::Text(text) => Some(text.value.to_string()),
                    _ => None,
                }));
            }
            _ if entry.key == INCLUDE => {}
            _ => collect(&entry.value, &mut found),
        }
    }
    found
}

fn collect(node: &Item<'_>, found: &mut References) {
    match &node.kind {
        ItemKind::Text(text) => {
            for piece in parts(&text.value) {
                match piece {
                    StringPart::Variable { ask: Ask::Environment { name, .. }, .. } => {
                        found.environment.insert(name.to_owned());
                    }
                    StringPart::Variable { ask: Ask::File(path), .. } => {
                        found.files.insert(path.to_owned());
                    }
                    StringPart::Variable { ask: Ask::Unknown | Ask::Open, .. }
                    | StringPart::Literal(_) => {}
                }
            }
        }
        ItemKind::List(items) => items.iter().for_each(|it| collect(it, found)),
        ItemKind::Table(entries) => entries.iter().for_each(|it| collect(&it.value, found)),
        ItemKind::Integer(_)
        | ItemKind::Fraction(_)
        | ItemKind::Boolean(_)
        | ItemKind::Date
        | ItemKind::Broken => {}
    }
}

/// Puts values in the place of variables.
pub(super) struct Variables<'s> {
    sources: &'s Sources,
    /// The file that is being read.
    pub(super) file: &'s str,
    /// Bytes put in so far. Bounded, or a small text could ask for the same large file thousands
    /// of times.
    spent: usize,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// The mistake in a variable, and the cure.
type Mistake = (String, String);

impl<'s> Variables<'s> {
    pub(super) fn new(sources: &'s Sources) -> Self {
        Self { sources, file: sources.main(), spent: 0, diagnostics: Vec::new() }
    }

    /// Puts values into all strings of a file.
    pub(super) fn replace_all(&mut self, entries: &mut [ItemEntry<'_>], text: &str, texts: &Texts) {
        // Most texts have none, and need not be walked through.
        if text.contains("${") {
            entries.iter_mut().for_each(|it| self.replace_in(&mut it.value, texts));
        }
    }

    fn replace_in(&mut self, item: &mut Item<'_>, texts: &Texts) {
        match &mut item.kind {
            ItemKind::Text(text) if text.value.contains("${") => {
                let replaced = self.replace(&text.value, texts, item.span);
                item.kind = replaced.map_or(ItemKind::Broken, ItemKind::Text);
            }
            ItemKind::List(items) => items.iter_mut().for_each(|it| self.replace_in(it, texts)),
            ItemKind::Table(entries) => {
                entries.iter_mut().for_each(|it| self.replace_in(&mut it.value, texts));
            }
            _ => {}
        }
    }

    /// The text with values in it; `None` after a mistake, which has been reported.
    fn replace(&mut self, text: &str, texts: &Texts, span: Span) -> Option<ItemText<'static>> {
        let mut replaced = String::with_capacity(text.len());
        let mut secret = false;
        let mut sound = true;
        for piece in parts(text) {
            let (written, ask) = match piece {
                StringPart::Literal(literal) => {
                    replaced.push_str(literal);
                    continue;
                }
                StringPart::Variable { written, ask } => (written, ask),
            };
            secret = true;
            match self.value(written, ask).and_then(|value| self.spend(value)) {
                Ok(value) => replaced.push_str(value),
                Err(_) if self.diagnostics.len() >= DIAGNOSTICS_KEPT_MAX => sound = false,
                Err((what, cure)) => {
                    let place = place(written, texts, span);
                    self.diagnostics.push(Diagnostic::error(texts, place, what).cured_by(cure));
                    sound = false;
                }
            }
        }
        sound.then(|| ItemText { value: replaced.into(), secret })
    }

    fn value<'v>(&self, written: &str, ask: Ask<'v>) -> Result<&'v str, Mistake>
    where
        's: 'v,
    {
        match ask {
            Ask::Environment { name, default } => match (self.sources.environment(name), default) {
                (Some(Ok(value)), _) => Ok(value),
                (Some(Err(why)), _) => Err((
                    format!("the environment variable {name} cannot be used: {why}"),
                    format!("give {name} another value"),
                )),
                (None, Some(default)) => Ok(default),
                (None, None) => Err((
                    format!("the environment variable {name} is not set"),
                    format!("set {name}, or write ${{env:{name}:-default}} to do without"),
                )),
            },
            Ask::File(path) => match self.sources.value(self.file, path) {
                Some(Ok(value)) => {
                    let line = value.strip_suffix('\n');
                    Ok(line.map_or(&**value, |line| line.strip_suffix('\r').unwrap_or(line)))
                }
                Some(Err(why)) => Err((
                    format!("cannot read {path}: {why}"),
                    "name a file that the gateway may read".to_owned(),
                )),
                None => Err((
                    format!("{path} did not come with this text"),
                    "write the value here, or read the configuration from a file".to_owned(),
                )),
            },
            Ask::Unknown => Err((
                format!("{written} is not a variable"),
                "write ${env:NAME}, ${env:NAME:-default} or ${file:PATH}; $${ stands for ${ itself"
                    .to_owned(),
            )),
            Ask::Open => Err((
                "a variable does not end".to_owned(),
                "close it with }, or write $${ for ${ itself".to_owned(),
            )),
        }
    }

    /// Counts a value against the bounds.
    fn spend<'v>(&mut self, value: &'v str) -> Result<&'v str, Mistake> {
        if value.len() > VALUE_BYTES_MAX {
            let what = format!("the value of this variable has {} bytes", value.len());
            return Err((what, format!("give it at most {VALUE_BYTES_MAX}")));
        }
        self.spent = self.spent.saturating_add(value.len());
        if self.spent > SOURCE_BYTES_MAX {
            let what = "the values of all variables together are too long".to_owned();
            return Err((what, format!("give them at most {SOURCE_BYTES_MAX} bytes")));
        }
        Ok(value)
    }
}

/// Where a variable stands inside the string at `span`. Where escapes hide it, the whole string is
/// the place.
fn place(written: &str, texts: &Texts, span: Span) -> Span {
    texts.written(span).find(written).map_or(span, |at| {
        let start = span.range().start + at;
        Span::new(span.source, start..start + written.len())
    })
}

/// A part of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StringPart<'t> {
    Literal(&'t str),
    Variable { written: &'t str, ask: Ask<'t> },
}

/// The source of the value of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask<'t> {
    Environment {
        name: &'t str,
        default: Option<&'t str>,
    },
    File(&'t str),
    Unknown,
    /// "${" without an end.
    Open,
}

/// Takes a string apart.
fn parts(text: &str) -> impl Iterator<Item = StringPart<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, behind) = next(rest)?;
        rest = behind;
        Some(piece)
    })
}

/// The first part of a string, and the rest of it.
fn next(text: &str) -> Option<(StringPart<'_>, &str)> {
    if text.is_empty() {
        return None;
    }
    let Some(at) = text.find("${") else {
        return Some((StringPart::Literal(text), ""));
    };
    let (before, from) = text.split_at_checked(at)?;
    if let Some(literal) = before.strip_suffix('$') {
        // "$${": one dollar goes, and the brace is a brace.
        if literal.is_empty() {
            return Some((StringPart::Literal("${"), from.strip_prefix("${")?));
        }
        return Some((StringPart::Literal(literal), text.get(literal.len()..)?));
    }
    if !before.is_empty() {
        return Some((StringPart::Literal(before), from));
    }
    let Some(end) = from.find('}') else {
        return Some((StringPart::Variable { written: from, ask: Ask::Open }, ""));
    };
    let (written, behind) = from.split_at_checked(end + 1)?;
    Some((StringPart::Variable { written, ask: ask(from.get(2..end)?) }, behind))
}

/// Reads the text between the braces.
fn ask(inside: &str) -> Ask<'_> {
    if let Some(path) = inside.strip_prefix("file:").filter(|path| !path.is_empty()) {
        return Ask::File(path);
    }
    let Some(variable) = inside.strip_prefix("env:") else {
        return Ask::Unknown;
    };
    let (name, default) = match variable.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (variable, None),
    };
    let sound = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    let first = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    if first && name.bytes().all(sound) { Ask::Environment { name, default } } else { Ask::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment<'t>(name: &'t str, default: Option<&'t str>) -> Ask<'t> {
        Ask::Environment { name, default }
    }

    #[test]
    fn a_string_is_taken_apart_into_literals_and_variables() {
        let taken = |text: &'static str| parts(text).collect::<Vec<_>>();
        let variable = |written, ask| StringPart::Variable { written, ask };
        assert_eq!(taken(""), []);
        assert_eq!(taken("a $ b {c}"), [StringPart::Literal("a $ b {c}")]);
        assert_eq!(
            taken("a${env:B}c"),
            [
                StringPart::Literal("a"),
                variable("${env:B}", environment("B", None)),
                StringPart::Literal("c")
            ]
        );
        assert_eq!(
            taken("${env:A:-x:-y}${file:/a b}"),
            [
                variable("${env:A:-x:-y}", environment("A", Some("x:-y"))),
                variable("${file:/a b}", Ask::File("/a b"))
            ]
        );
        let texts = |text: &'static str| {
            let literal = |piece| match piece {
                StringPart::Literal(text) => text,
                StringPart::Variable { .. } => "?",
            };
            parts(text).map(literal).collect::<String>()
        };
        assert_eq!(texts("$${env:A}"), "${env:A}");
        assert_eq!(texts("a$${b$${c}"), "a${b${c}");
        assert_eq!(texts("$$${env:A}"), "$${env:A}");
        assert_eq!(texts("$$"), "$$");
    }

    #[test]
    fn what_is_not_a_variable_is_known_as_such() {
        for inside in ["", "env:", "env:1A", "env:A B", "file:", "HOME", "env:A-B", "vault:x"] {
            assert_eq!(ask(inside), Ask::Unknown, "{inside}");
        }
        assert_eq!(
            parts("${env:A").next(),
            Some(StringPart::Variable { written: "${env:A", ask: Ask::Open })
        );
    }

    #[test]
    fn references_are_those_in_values_and_includes() {
        let found = references(
            b"include = [\"routes/*.toml\", \"b.toml\"]\n# ${env:COMMENT}\n\
              \"${env:KEY}\" = 1\na = \"${env:B}-${env:C:-d}\"\nb = [{ c = '${file:d}' }]\n",
        );
        assert_eq!(found.includes, ["routes/*.toml", "b.toml"]);
        assert_eq!(found.environment.iter().collect::<Vec<_>>(), ["B", "C"]);
        assert_eq!(found.files.iter().collect::<Vec<_>>(), ["d"]);
        for nothing in [&b"a = 1"[..], b"a = \"${env:A}", b"a = \"${env:A}\xff\""] {
            assert_eq!(references(nothing), References::default());
        }
    }
}
