//! The forms in which a configuration describes a value: of a header, a query parameter, a cookie, a
//! path, a claim. Routes use them for their predicates, and filters for their rules.
//!
//! Which value of a request is looked at is left to the module that asks.
//!
//! Invariant: a comparison takes time linear in the value, whatever the pattern, and allocates
//! nothing once the pattern has been used on its core.

use std::borrow::Cow;
use std::fmt;

use memchr::memmem;
use regex::bytes::{Regex, RegexBuilder};

use crate::keys::{
    ExactlyOne, FieldRule, Item, ItemKind, KeyRule, Mistake, OneKeyOf, Section, Shape, Value, Walk,
    Written, one_of,
};

one_of! {
    /// The form of a value.
    #[derive(Eq)]
    pub ValuePattern {
        /// It is this, byte for byte. The string alone means the same.
        Exact = "exact": String => KeyRule::optional("\"acme\"");
        /// It begins with this.
        Prefix = "prefix": ValuePart => KeyRule::optional("\"v2.\"");
        /// It ends with this.
        Suffix = "suffix": ValuePart => KeyRule::optional("\".example.org\"");
        /// This stands somewhere in it.
        Contains = "contains": ValuePart => KeyRule::optional("\"bot\"");
        /// This regular expression matches somewhere in it: write ^ and $ for the whole value. There
        /// are no look-arounds and no back-references, so that the time is linear in the value. `(?i)`
        /// in front ignores the case of ASCII letters.
        Regex = "regex": BytesRegex => KeyRule::optional("\"^(beta|canary)$\"");
        /// There is one.
        Present = "present": Always => KeyRule::optional("true");
        /// There is none.
        Absent = "absent": Always => KeyRule::optional("true");
    }
}

impl ValuePattern {
    /// Whether `value` has this form; `None` where there is no value.
    #[must_use]
    pub fn matches(&self, value: Option<&[u8]>) -> bool {
        let Some(value) = value else { return matches!(self, Self::Absent(_)) };
        match self {
            Self::Exact(text) => value == text.as_bytes(),
            Self::Prefix(part) => value.starts_with(part.0.as_bytes()),
            Self::Suffix(part) => value.ends_with(part.0.as_bytes()),
            Self::Contains(part) => memmem::find(value, part.0.as_bytes()).is_some(),
            Self::Regex(regex) => regex.is_match(value),
            Self::Present(_) => true,
            Self::Absent(_) => false,
        }
    }

    /// Whether it is certain that no value has both forms.
    pub(crate) fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent(_), Self::Absent(_)) => false,
            (Self::Absent(_), _) | (_, Self::Absent(_)) => true,
            (Self::Exact(text), form) | (form, Self::Exact(text)) => {
                !form.matches(Some(text.as_bytes()))
            }
            (Self::Prefix(ValuePart(one)), Self::Prefix(ValuePart(other))) => {
                !one.starts_with(other) && !other.starts_with(one)
            }
            (Self::Suffix(ValuePart(one)), Self::Suffix(ValuePart(other))) => {
                !one.ends_with(other) && !other.ends_with(one)
            }
            _ => false,
        }
    }

    /// Whether one of `values` has this form, or there are none and there must be none: for headers
    /// and parameters that may be there several times.
    #[must_use]
    pub fn matches_any<'v>(&self, values: impl IntoIterator<Item = &'v [u8]>) -> bool {
        let mut values = values.into_iter();
        match self {
            Self::Absent(_) => values.next().is_none(),
            _ => values.any(|value| self.matches(Some(value))),
        }
    }
}

/// The keys of the table.
const CURE: &str = "add exact, prefix, suffix, contains, regex, present or absent";

impl Value for ValuePattern {
    fn expected() -> Cow<'static, str> {
        "a string, or a table such as { prefix = \"v2.\" } or { present = true }".into()
    }

    fn shape() -> Shape {
        let mut section = Section::new("The form of a value.");
        FieldRule::<Self>::describe(ExactlyOne(CURE), "", "", &mut section);
        Shape::Either(Box::new(String::shape()), Box::new(Shape::Section(section)))
    }

    fn read<'n>(item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        if let ItemKind::Text(_) = item.kind {
            return String::read(item, walk).map(Self::Exact);
        }
        // A number or a boolean is meant as its text.
        let quoted = |written: &str| match item.kind {
            ItemKind::Integer(_) | ItemKind::Fraction(_) | ItemKind::Boolean(_) => {
                Some(format!("write \"{written}\""))
            }
            _ => None,
        };
        let instead =
            |written: Option<&str>| (Self::expected().into_owned(), written.and_then(quoted));
        let table = walk.table(item, Self::KEYS, instead)?;
        FieldRule::<Self>::read(ExactlyOne(CURE), "", &table, walk)
    }

    fn write(&self) -> Written {
        match self {
            Self::Exact(text) => text.write(),
            other => {
                let (key, value) = OneKeyOf::write(other);
                Written::Table(vec![(key.to_owned(), value)])
            }
        }
    }
}

impl fmt::Display for ValuePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Value::write(self).fmt(f)
    }
}

/// A part of a value; not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValuePart(String);

impl Value for ValuePart {
    fn expected() -> Cow<'static, str> {
        "a string with at least one character".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "string", pattern: Some("^.+") }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = kind.text().ok_or(Mistake::KIND)?;
        if text.value.is_empty() {
            let cure = "write { present = true } for any value";
            return Err(Mistake::with_cure("an empty string is a part of every value", cure));
        }
        Ok(Self(text.value.to_string()))
    }

    fn write(&self) -> Written {
        Written::text(&self.0)
    }
}

/// A switch that can only be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Always;

impl Value for Always {
    fn expected() -> Cow<'static, str> {
        "true".into()
    }

    fn shape() -> Shape {
        Shape::Boolean
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        if bool::parse(kind)? {
            return Ok(Self);
        }
        let cure = "write { present = true } or { absent = true }, or leave it out";
        Err(Mistake::with_cure("false says nothing here", cure))
    }

    fn write(&self) -> Written {
        Written::Boolean(true)
    }
}

/// A regular expression over bytes, whose matching takes linear time.
///
/// A clone has memory of its own for the search, so the copies of a snapshot share nothing that
/// changes.
#[derive(Clone)]
pub struct BytesRegex(Regex);

/// Regular expressions are at most this long.
const REGEX_BYTES_MAX: usize = 1024;

/// The program of a regular expression, and the tables that a core builds while it searches, are each
/// at most this large. `[a-z]{1,1000}` fits, and a nest of such repeats does not.
const PROGRAM_BYTES_MAX: usize = 256 * 1024;

/// Around an expression that must match a whole value.
const ANCHORS: (&str, &str) = (r"\A(?:", r")\z");

impl BytesRegex {
    /// Compiles an expression. Classes such as `\w` and `\d` are those of ASCII, since the values of
    /// HTTP are bytes.
    ///
    /// # Errors
    /// The mistake and the cure.
    pub(crate) fn new(text: &str) -> Result<Self, Mistake> {
        if text.len() > REGEX_BYTES_MAX {
            let what = format!("the regular expression has {} bytes", text.len());
            return Err(Mistake::with_cure(what, format!("write at most {REGEX_BYTES_MAX}")));
        }
        Self::compile(text)
    }

    /// Compiles an expression that must match a value from its first byte to its last.
    ///
    /// # Errors
    /// The mistake and the cure.
    pub(crate) fn whole(text: &str) -> Result<Self, Mistake> {
        // By itself first: "a)|(b" is an expression only between the anchors.
        Self::new(text)?;
        Self::compile(&format!("{}{text}{}", ANCHORS.0, ANCHORS.1))
    }

    fn compile(text: &str) -> Result<Self, Mistake> {
        let built = RegexBuilder::new(text)
            .unicode(false)
            .size_limit(PROGRAM_BYTES_MAX)
            .dfa_size_limit(PROGRAM_BYTES_MAX)
            .build();
        built.map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => Mistake::with_cure(
                format!("\"{text}\" needs more than 256 KiB"),
                "write smaller numbers in {}, and do not nest repeats",
            ),
            error => {
                // The last line of the message says what is wrong; those above show the expression.
                let message = error.to_string();
                let reason = message.lines().last().unwrap_or_default().trim();
                let reason = reason.strip_prefix("error: ").unwrap_or(reason);
                Mistake::with_cure(
                    format!("\"{text}\" is not a regular expression: {reason}"),
                    "write it in the syntax of RE2, without look-around and back-references",
                )
            }
        })
    }

    /// Appends `value` to `out` with the first match replaced by `to`, in which `$1` and `${name}` stand
    /// for groups. Appends nothing and says no where nothing matches.
    pub fn replace(&self, value: &[u8], to: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(found) = self.0.captures(value) else { return false };
        let Some(whole) = found.get(0) else { return false };
        out.extend_from_slice(value.get(..whole.start()).unwrap_or_default());
        found.expand(to, out);
        out.extend_from_slice(value.get(whole.end()..).unwrap_or_default());
        true
    }

    /// The expression, with its anchors if it must match a whole value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The expression as written.
    #[must_use]
    pub fn written(&self) -> &str {
        let inner = self.as_str().strip_prefix(ANCHORS.0);
        inner.and_then(|it| it.strip_suffix(ANCHORS.1)).unwrap_or(self.as_str())
    }

    /// Whether it matches somewhere in `value`.
    pub(crate) fn is_match(&self, value: &[u8]) -> bool {
        self.0.is_match(value)
    }

    /// The bytes that the group with this name matched in `value`. Allocates.
    pub(crate) fn group<'v>(&self, value: &'v [u8], name: &str) -> Option<&'v [u8]> {
        self.0.captures(value)?.name(name).map(|group| group.as_bytes())
    }

    /// The names of its groups.
    pub(crate) fn group_names(&self) -> impl Iterator<Item = &str> {
        self.0.capture_names().flatten()
    }
}

impl Value for BytesRegex {
    fn expected() -> Cow<'static, str> {
        "a regular expression such as \"^v[0-9]+$\"".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "regular expression", pattern: None }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        Self::new(&kind.text().ok_or(Mistake::KIND)?.value)
    }

    fn write(&self) -> Written {
        Written::text(self.as_str())
    }
}

impl PartialEq for BytesRegex {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for BytesRegex {}

impl fmt::Debug for BytesRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::ItemText;

    fn text(text: &str) -> ItemKind<'_> {
        ItemKind::Text(ItemText { value: text.into(), secret: false })
    }

    fn part(it: &str) -> ValuePart {
        ValuePart::parse(&text(it)).unwrap()
    }

    fn regex(it: &str) -> ValuePattern {
        ValuePattern::Regex(BytesRegex::new(it).unwrap())
    }

    #[test]
    fn each_form_has_its_values() {
        let exact = ValuePattern::Exact("ab".to_owned());
        let (prefix, suffix) = (ValuePattern::Prefix(part("ab")), ValuePattern::Suffix(part("ab")));
        let contains = ValuePattern::Contains(part("ab"));
        for (pattern, value, expected) in [
            (&exact, &b"ab"[..], true),
            (&exact, b"AB", false),
            (&exact, b"abc", false),
            (&exact, b"", false),
            (&prefix, b"ab", true),
            (&prefix, b"abc", true),
            (&prefix, b"cab", false),
            (&suffix, b"cab", true),
            (&suffix, b"abc", false),
            (&contains, b"cabc", true),
            (&contains, b"acb", false),
            (&regex("a.b"), b"xa\xffby", true),
            (&regex("^a.b$"), b"xa\xffby", false),
            (&regex("(?i)^AB$"), b"ab", true),
            (&regex(r"^\w+$"), "ä".as_bytes(), false),
            (&ValuePattern::Present(Always), b"", true),
            (&ValuePattern::Absent(Always), b"", false),
        ] {
            assert_eq!(pattern.matches(Some(value)), expected, "{pattern} {value:?}");
            assert_eq!(pattern.matches(None), matches!(pattern, ValuePattern::Absent(_)));
        }
    }

    #[test]
    fn of_several_values_one_is_enough_and_none_is_absent() {
        let exact = ValuePattern::Exact("b".to_owned());
        assert!(exact.matches_any([&b"a"[..], b"b"]));
        assert!(!exact.matches_any([&b"a"[..]]));
        assert!(!exact.matches_any([]));
        assert!(ValuePattern::Absent(Always).matches_any([]));
        assert!(!ValuePattern::Absent(Always).matches_any([&b"a"[..]]));
        assert!(ValuePattern::Present(Always).matches_any([&b""[..]]));
    }

    #[test]
    fn an_expression_that_is_wrong_or_too_large_is_refused_with_a_cure() {
        for (wrong, reason) in [
            ("(", "unclosed group"),
            ("(?=a)", "look-around"),
            (r"(a)\1", "backreferences"),
            ("((a{50}){50}){50}", "256 KiB"),
            (&"a".repeat(REGEX_BYTES_MAX + 1), "bytes"),
        ] {
            let Err(Mistake::Value { what, cure: Some(_) }) = BytesRegex::new(wrong) else {
                panic!("{wrong} passes")
            };
            assert!(what.contains(reason), "{what}");
        }
    }

    #[test]
    fn forms_exclude_each_other_if_no_value_can_have_both() {
        let exact = |text: &str| ValuePattern::Exact(text.to_owned());
        let prefix = |text: &str| ValuePattern::Prefix(part(text));
        let suffix = |text: &str| ValuePattern::Suffix(part(text));
        for (one, other, expected) in [
            (exact("a"), exact("b"), true),
            (exact("a"), exact("a"), false),
            (exact("ab"), prefix("b"), true),
            (exact("ab"), prefix("a"), false),
            (exact("ab"), regex("^a$"), true),
            (exact("ab"), regex("^a"), false),
            (prefix("ab"), prefix("ac"), true),
            (prefix("ab"), prefix("a"), false),
            (suffix("ab"), suffix("cb"), true),
            (suffix("ab"), suffix("b"), false),
            (prefix("a"), suffix("b"), false),
            (regex("a"), regex("b"), false),
            (ValuePattern::Absent(Always), exact("a"), true),
            (ValuePattern::Absent(Always), ValuePattern::Present(Always), true),
            (ValuePattern::Absent(Always), ValuePattern::Absent(Always), false),
            (ValuePattern::Present(Always), exact("a"), false),
        ] {
            assert_eq!(one.excludes(&other), expected, "{one} {other}");
            assert_eq!(other.excludes(&one), expected, "{other} {one}");
        }
    }

    #[test]
    fn a_form_that_says_nothing_is_refused() {
        assert!(ValuePart::parse(&text("")).is_err());
        assert!(Always::parse(&ItemKind::Boolean(false)).is_err());
        assert_eq!(Always::parse(&ItemKind::Boolean(true)), Ok(Always));
    }
}
