//! `include`: further files to read.

use std::borrow::Cow;
use std::fmt;

use crate::keys::{Item, ItemKind, Mistake, Shape, Spanned, Value, Walk, Written};

/// The key under which a file names further ones.
pub(super) const INCLUDE: &str = "include";

/// A pattern of files to include, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub(super) String);

impl AsRef<str> for Pattern {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Value for Pattern {
    fn expected() -> Cow<'static, str> {
        "the path of a file, in which * stands for any part of a name".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "path", pattern: None }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        match kind {
            ItemKind::Text(text) if text.secret => Err(Mistake::KIND),
            ItemKind::Text(text) if text.value.is_empty() => {
                Err(Mistake::value("no file is named"))
            }
            ItemKind::Text(text) => Ok(Self(text.value.to_string())),
            _ => Err(Mistake::KIND),
        }
    }

    fn write(&self) -> Written {
        Written::text(&self.0)
    }
}

/// The patterns of all files. They are not written back: the files have been merged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Includes(pub Vec<Spanned<Pattern>>);

impl Value for Includes {
    fn expected() -> Cow<'static, str> {
        "a list of paths".into()
    }

    fn shape() -> Shape {
        Vec::<Spanned<Pattern>>::shape()
    }

    fn read<'n>(item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        Value::read(item, walk).map(Self)
    }

    fn write(&self) -> Written {
        Written::Absent
    }
}
