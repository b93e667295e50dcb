//! Values around values: with a place, absent, in a list, by name.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use super::section::Value;
use super::shape::Shape;
use super::sources::Span;
use super::tree::{Kind, Node};
use super::walk::{Step, Walk};
use super::written::{MASK, Written};

/// A value that remembers its place, for checks that concern several values.
#[derive(Clone, Debug)]
pub struct Spanned<T> {
    /// Where it stands.
    pub span: Span,
    /// Whether it came from a variable.
    secret: bool,
    value: T,
}

impl<T> Spanned<T> {
    /// A value that stands nowhere.
    pub(super) const fn unwritten(value: T) -> Self {
        Self { span: Span::START, secret: false, value }
    }

    /// Another value in the same place.
    pub(super) fn with<U>(&self, value: U) -> Spanned<U> {
        Spanned { span: self.span, secret: self.secret, value }
    }

    /// The value made into another one, in the same place.
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned { span: self.span, secret: self.secret, value: make(self.value) }
    }

    /// The value without its place.
    pub(super) fn into_inner(self) -> T {
        self.value
    }

    /// Whether it came from a variable.
    pub(super) const fn is_secret(&self) -> bool {
        self.secret
    }

    /// The value itself, for messages: masked if it came from a variable.
    pub(super) fn shown(&self) -> &str
    where
        T: AsRef<str>,
    {
        if self.secret { MASK } else { self.value.as_ref() }
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Equal are the values, wherever they stand.
impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Value> Value for Spanned<T> {
    fn expected() -> Cow<'static, str> {
        T::expected()
    }

    fn shape() -> Shape {
        T::shape()
    }

    fn read<'n>(node: &'n Node<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        let secret = node.is_secret();
        Some(Self { span: node.span, secret, value: T::read(node, walk)? })
    }

    fn write(&self) -> Written {
        self.value.write()
    }
}

/// A key that may be absent.
impl<T: Value> Value for Option<T> {
    fn expected() -> Cow<'static, str> {
        T::expected()
    }

    fn shape() -> Shape {
        T::shape()
    }

    fn read<'n>(node: &'n Node<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        T::read(node, walk).map(Some)
    }

    fn write(&self) -> Written {
        self.as_ref().map_or(Written::Absent, T::write)
    }
}

/// A list, read to its end whatever is wrong in it.
impl<T: Value> Value for Vec<T> {
    fn expected() -> Cow<'static, str> {
        "a list".into()
    }

    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }

    fn read<'n>(node: &'n Node<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        let Kind::List(items) = &node.kind else {
            return walk.wrong_kind(node);
        };
        let mut read = |(index, item)| walk.inside(Step::Index(index), |walk| T::read(item, walk));
        let items: Vec<Option<T>> = items.iter().enumerate().map(&mut read).collect();
        items.into_iter().collect()
    }

    fn write(&self) -> Written {
        Written::List(self.iter().map(T::write).collect())
    }
}

/// The name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Objects by name, in the order of the text.
#[derive(Clone, Debug)]
pub struct Named<T> {
    /// Every name, also of objects that could not be read.
    pub(super) names: Vec<Spanned<Name>>,
    /// The objects.
    pub objects: Vec<(Spanned<Name>, T)>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self { names: Vec::new(), objects: Vec::new() }
    }
}

/// Equal are the same objects in the same order.
impl<T: PartialEq> PartialEq for Named<T> {
    fn eq(&self, other: &Self) -> bool {
        self.objects == other.objects
    }
}

/// Names are at most this long: they become labels of metrics.
pub(super) const NAME_BYTES_MAX: usize = 64;

impl<T: Value> Value for Named<T> {
    fn expected() -> Cow<'static, str> {
        "a table of named objects".into()
    }

    fn shape() -> Shape {
        Shape::Named(Box::new(T::shape()))
    }

    fn read<'n>(node: &'n Node<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        let entries = walk.entries(node, "a table of named objects")?;
        let mut named = Self {
            names: Vec::with_capacity(entries.len()),
            objects: Vec::with_capacity(entries.len()),
        };
        for entry in entries {
            let sound = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
            if !entry.key.bytes().all(sound) || !(1..=NAME_BYTES_MAX).contains(&entry.key.len()) {
                let what = format!("`{}` cannot be a name", entry.key);
                walk.report(entry.key_span, what, |it| {
                    it.because(format!("1 to {NAME_BYTES_MAX} of a-z, 0-9, _ and -"))
                });
            }
            let value = Name(entry.key.to_string());
            let name = Spanned { span: entry.key_span, secret: false, value };
            named.names.push(name.clone());
            let read = |walk: &mut Walk<'n>| T::read(&entry.value, walk);
            if let Some(object) = walk.inside(Step::Key(&entry.key), read) {
                named.objects.push((name, object));
            }
        }
        // Objects that failed have been reported; the others are checked against each other.
        Some(named)
    }

    fn write(&self) -> Written {
        let object = |(name, it): &(Spanned<Name>, T)| (name.to_string(), it.write());
        Written::Table(self.objects.iter().map(object).collect())
    }
}
