//! Values as they are written: how a configuration goes back to text.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use super::path::{PathStep, path};

/// Stands for a value that came from a variable.
pub const MASK: &str = "***";

/// A value as it is written. `Display` is TOML on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing is written.
    Absent,
    /// A string.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// `true` or `false`.
    Boolean(bool),
    /// A list.
    List(Vec<Self>),
    /// A table.
    Table(Vec<(String, Self)>),
}

impl Written {
    /// A string.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The document as TOML: a header for each table down to the named objects, tables in them on
    /// one line. Values at the paths in `secrets` are masked.
    pub fn document(mut self, secrets: &BTreeSet<String>) -> String {
        if !secrets.is_empty() {
            self.mask(secrets, &mut Vec::new());
        }
        let mut text = String::new();
        let Self::Table(entries) = self else {
            return text;
        };
        let (tables, values): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|(_, value)| matches!(value, Self::Table(_)));
        lines(&mut text, values);
        for (name, table) in tables {
            let Self::Table(entries) = table else { continue };
            let named =
                !entries.is_empty() && entries.iter().all(|(_, it)| matches!(it, Self::Table(_)));
            if !named {
                let _ = writeln!(text, "\n[{name}]");
                lines(&mut text, entries);
                continue;
            }
            for (object, entries) in entries {
                let Self::Table(entries) = entries else { continue };
                let _ = writeln!(text, "\n[{name}.{}]", KeyText(&object));
                lines(&mut text, entries);
            }
        }
        text
    }

    fn mask<'w>(&'w mut self, secrets: &BTreeSet<String>, steps: &mut Vec<PathStep<'w>>) {
        match self {
            Self::Absent => {}
            Self::Text(_) | Self::Integer(_) | Self::Boolean(_) => {
                if is_secret(secrets, &path(steps)) {
                    *self = Self::text(MASK);
                }
            }
            Self::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    steps.push(PathStep::Index(index));
                    item.mask(secrets, steps);
                    steps.pop();
                }
            }
            Self::Table(entries) => {
                for (key, value) in entries {
                    steps.push(PathStep::Key(key));
                    value.mask(secrets, steps);
                    steps.pop();
                }
            }
        }
    }
}

/// Whether a value came from a variable: the one at `path`, or one inside a table there, which is
/// written in its short form.
fn is_secret(secrets: &BTreeSet<String>, path: &str) -> bool {
    let inside = format!("{path}.");
    let next = secrets.range(inside.clone()..).next();
    secrets.contains(path) || next.is_some_and(|secret| secret.starts_with(&inside))
}

/// A line for each value that is there.
fn lines(text: &mut String, entries: Vec<(String, Written)>) {
    for (key, value) in entries.into_iter().filter(|(_, value)| *value != Written::Absent) {
        let _ = writeln!(text, "{} = {value}", KeyText(&key));
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => Ok(()),
            Self::Text(text) => quoted(f, text),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{item}")?;
                }
                f.write_str("]")
            }
            Self::Table(entries) => {
                f.write_str("{")?;
                let mut separator = " ";
                for (key, value) in entries.iter().filter(|(_, value)| *value != Self::Absent) {
                    write!(f, "{separator}{} = {value}", KeyText(key))?;
                    separator = ", ";
                }
                f.write_str(if separator == " " { "}" } else { " }" })
            }
        }
    }
}

/// A key, in quotes where it needs them.
struct KeyText<'k>(&'k str);

impl fmt::Display for KeyText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !self.0.is_empty() && self.0.bytes().all(bare) {
            f.write_str(self.0)
        } else {
            quoted(f, self.0)
        }
    }
}

/// A basic string of TOML. A dollar before a brace is doubled: it is no variable.
fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '$' if rest.peek() == Some(&'{') => f.write_str("$$")?,
            control if control.is_control() => write!(f, "\\u{:04X}", u32::from(control))?,
            other => f.write_char(other)?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_toml() {
        let text = |text: &str| Written::text(text).to_string();
        assert_eq!(text("a \"b\" \\ \n\t\u{7f}ü"), r#""a \"b\" \\ \n\t\u007Fü""#);
        assert_eq!(text("$1 ${env:A}"), "\"$1 $${env:A}\"");
        let table = Written::Table(vec![
            ("a".to_owned(), Written::List(vec![Written::Integer(1), Written::text("x")])),
            ("b".to_owned(), Written::Absent),
            ("c.d".to_owned(), Written::Table(Vec::new())),
        ]);
        assert_eq!(table.to_string(), r#"{ a = [1, "x"], "c.d" = {} }"#);
    }

    #[test]
    fn secrets_are_masked_where_they_stand() {
        let list = Written::List(vec![Written::text("a"), Written::text("b")]);
        let inner = Written::Table(vec![("l".to_owned(), list)]);
        let root = Written::Table(vec![
            ("version".to_owned(), Written::Integer(1)),
            ("objects".to_owned(), Written::Table(vec![("x".to_owned(), inner)])),
        ]);
        let secrets = BTreeSet::from(["objects.x.l[1]".to_owned()]);
        assert_eq!(root.document(&secrets), "version = 1\n\n[objects.x]\nl = [\"a\", \"***\"]\n");
    }
}
