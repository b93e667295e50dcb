//! `match.headers`, `match.query` and `match.cookies`: names, and the form of their values.

use std::borrow::Cow;
use std::marker::PhantomData;

use proto::head::is_token;

use crate::keys::{Item, PathStep, Shape, Value, Walk, Written};
use crate::pattern::ValuePattern;

/// The form of the values of some names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValuePatterns<K> {
    /// Each name once. Those of headers are in lower case.
    entries: Vec<(String, ValuePattern)>,
    kind: PhantomData<K>,
}

/// A table has at most this many names, since each is looked for in the request.
const NAMES_MAX: usize = 32;

/// The kind of name that a table of values has.
pub trait NameKind {
    /// A noun for it.
    const NOUN: &'static str;

    /// A table as it is written.
    const EXAMPLE: &'static str;

    /// The name as it is compared.
    ///
    /// # Errors
    /// The mistake and its cure.
    fn normal(name: &str) -> Result<String, (&'static str, &'static str)>;
}

/// Names of headers. Case does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedHeader;

impl NameKind for MatchedHeader {
    const NOUN: &'static str = "header";
    const EXAMPLE: &'static str = "{ \"x-beta\" = \"1\" }";

    fn normal(name: &str) -> Result<String, (&'static str, &'static str)> {
        if !is_token(name.as_bytes()) {
            return Err(("has no sound name", "write letters, digits and dashes"));
        }
        if name.eq_ignore_ascii_case("host") {
            return Err(("is the host that routes match by themselves", "write `hosts`"));
        }
        Ok(name.to_ascii_lowercase())
    }
}

/// Names of query parameters, decoded. Case counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedQuery;

impl NameKind for MatchedQuery {
    const NOUN: &'static str = "query parameter";
    const EXAMPLE: &'static str = "{ debug = { present = true } }";

    fn normal(name: &str) -> Result<String, (&'static str, &'static str)> {
        if name.is_empty() {
            return Err(("has no name", "write its name"));
        }
        Ok(name.to_owned())
    }
}

/// Names of cookies. Case counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedCookie;

impl NameKind for MatchedCookie {
    const NOUN: &'static str = "cookie";
    const EXAMPLE: &'static str = "{ group = { prefix = \"beta\" } }";

    fn normal(name: &str) -> Result<String, (&'static str, &'static str)> {
        if !is_token(name.as_bytes()) {
            return Err(("has no sound name", "write letters, digits and dashes"));
        }
        Ok(name.to_owned())
    }
}

impl<K> Default for ValuePatterns<K> {
    fn default() -> Self {
        Self { entries: Vec::new(), kind: PhantomData }
    }
}

impl<K> ValuePatterns<K> {
    /// The number of names.
    pub(crate) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Names and forms, in the order of the text.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &ValuePattern)> {
        self.entries.iter().map(|(name, pattern)| (name.as_str(), pattern))
    }
}

impl<K: NameKind> Value for ValuePatterns<K> {
    fn expected() -> Cow<'static, str> {
        format!("a table such as {}", K::EXAMPLE).into()
    }

    fn shape() -> Shape {
        Shape::Map(K::NOUN, Box::new(ValuePattern::shape()))
    }

    fn read<'n>(item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        let entries = walk.entries(item, |_| (Self::expected().into_owned(), None))?;
        let noun = K::NOUN;
        if entries.len() > NAMES_MAX {
            let what = format!("there are {} names of a {noun}", entries.len());
            walk.report(item.span, what, |it| it.cured_by(format!("give at most {NAMES_MAX}")));
            return None;
        }
        let mut read: Vec<(String, ValuePattern)> = Vec::with_capacity(entries.len());
        let mut is_sound = true;
        for entry in entries {
            let shown = entry.key.escape_debug();
            let name = K::normal(&entry.key).and_then(|name| {
                let twice = read.iter().any(|(other, _)| *other == name);
                if twice { Err(("is given twice", "leave one out")) } else { Ok(name) }
            });
            let pattern = walk
                .inside(PathStep::Key(&entry.key), |walk| ValuePattern::read(&entry.value, walk));
            match (name, pattern) {
                (Ok(name), Some(pattern)) => read.push((name, pattern)),
                (Ok(_), None) => is_sound = false,
                (Err((what, cure)), _) => {
                    let what = format!("the {noun} \"{shown}\" {what}");
                    walk.report(entry.key_span, what, |it| it.cured_by(cure));
                    is_sound = false;
                }
            }
        }
        is_sound.then_some(Self { entries: read, kind: PhantomData })
    }

    fn write(&self) -> Written {
        if self.entries.is_empty() {
            return Written::Absent;
        }
        let entry =
            |(name, pattern): &(String, ValuePattern)| (name.clone(), Value::write(pattern));
        Written::Table(self.entries.iter().map(entry).collect())
    }
}
