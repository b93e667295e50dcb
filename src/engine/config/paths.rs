//! What a listener makes of paths, as written: `path` and `encoded_slash`. The rules themselves are
//! those of [`proto::path`].

use std::borrow::Cow;

use proto::path::{EncodedSlash, Form};

use super::section::{Mistake, Scalar};
use super::shape::Shape;
use super::tree::Kind;
use super::written::Written;

/// The forms of a path, as they are written.
const FORMS: [(&str, Form); 2] = [("normalise", Form::Normalise), ("keep", Form::Keep)];

/// What becomes of encoded slashes, as it is written.
const ENCODED_SLASHES: [(&str, EncodedSlash); 2] =
    [("keep", EncodedSlash::Keep), ("reject", EncodedSlash::Reject)];

impl Scalar for Form {
    fn wanted() -> Cow<'static, str> {
        "\"normalise\" or \"keep\"".into()
    }

    fn form() -> Shape {
        Shape::Words(FORMS.map(|(name, _)| name).to_vec())
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        named(kind, &FORMS, "a form of a path")
    }

    fn show(&self) -> Written {
        Written::text(name_of(*self, &FORMS))
    }
}

impl Scalar for EncodedSlash {
    fn wanted() -> Cow<'static, str> {
        "\"keep\" or \"reject\"".into()
    }

    fn form() -> Shape {
        Shape::Words(ENCODED_SLASHES.map(|(name, _)| name).to_vec())
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        named(kind, &ENCODED_SLASHES, "a policy for encoded slashes")
    }

    fn show(&self) -> Written {
        Written::text(name_of(*self, &ENCODED_SLASHES))
    }
}

fn named<T: Copy>(kind: &Kind, names: &[(&str, T)], noun: &str) -> Result<T, Mistake> {
    let Kind::Text(text) = kind else {
        return Err(Mistake::Kind);
    };
    let named = names.iter().find(|(name, _)| *name == text.value);
    let mistake = || Mistake::value(format!("\"{}\" is not {noun}", text.value));
    named.map(|(_, value)| *value).ok_or_else(mistake)
}

fn name_of<T: Copy + PartialEq>(value: T, names: &[(&'static str, T)]) -> &'static str {
    // Every value has a name.
    names.iter().find(|(_, it)| *it == value).map_or("", |(name, _)| name)
}
