//! Values around values: with a place, absent, in a list, by name.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use super::item::{Item, ItemKind};
use super::mistake::Mistake;
use super::path::PathStep;
use super::shape::Shape;
use super::source::Span;
use super::value::Value;
use super::walk::Walk;
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
    /// A value in the place of `item`.
    pub fn new(item: &Item<'_>, value: T) -> Self {
        Self { span: item.span, secret: item.is_secret(), value }
    }

    /// A value that is not written anywhere.
    pub const fn unwritten(value: T) -> Self {
        Self { span: Span::START, secret: false, value }
    }

    /// The value without its place.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Whether it came from a variable.
    pub const fn is_secret(&self) -> bool {
        self.secret
    }

    /// The value itself, for messages: masked if it came from a variable.
    pub fn shown(&self) -> &str
    where
        T: AsRef<str>,
    {
        if self.secret { MASK } else { self.value.as_ref() }
    }
}

impl<T: Default> Default for Spanned<T> {
    fn default() -> Self {
        Self::unwritten(T::default())
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

impl<T: Eq> Eq for Spanned<T> {}

impl<T: Value> Value for Spanned<T> {
    fn expected() -> Cow<'static, str> {
        T::expected()
    }

    fn shape() -> Shape {
        T::shape()
    }

    fn read<'n>(item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        T::read(item, walk).map(|value| Self::new(item, value))
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

    fn read<'n>(item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        T::read(item, walk).map(Some)
    }

    fn write(&self) -> Written {
        self.as_ref().map_or(Written::Absent, T::write)
    }
}

/// A list, read to its end whatever is wrong in it.
impl<T: Value> Value for Vec<T> {
    fn expected() -> Cow<'static, str> {
        format!("a list, each of it {}", T::expected()).into()
    }

    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }

    fn read<'n>(item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        let ItemKind::List(items) = &item.kind else {
            let one = walk.written(item).filter(|_| matches!(item.kind, ItemKind::Text(_)));
            let cure = one.map(|written| format!("write [{written}]"));
            walk.mistake(item, Mistake::Kind { cure }, &Self::expected());
            return None;
        };
        let mut read =
            |(index, item)| walk.inside(PathStep::Index(index), |walk| T::read(item, walk));
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
    pub names: Vec<Spanned<Name>>,
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

/// A name that is made of the sound parts of another one.
fn near_name(name: &str) -> String {
    let sound = |letter: char| match letter.to_ascii_lowercase() {
        letter @ ('a'..='z' | '0'..='9' | '_' | '-') => letter,
        _ => '-',
    };
    let near: String = name.chars().map(sound).take(NAME_BYTES_MAX).collect();
    let near = near.trim_matches('-');
    if near.is_empty() { "a name such as web".to_owned() } else { near.to_owned() }
}

/// Names are at most this long: they become labels of metrics.
pub const NAME_BYTES_MAX: usize = 64;

impl<T: Value> Value for Named<T> {
    fn expected() -> Cow<'static, str> {
        "a table of named objects".into()
    }

    fn shape() -> Shape {
        Shape::Named(Box::new(T::shape()))
    }

    fn read<'n>(item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        let key = walk.key();
        let cure = || format!("write [{key}.NAME] above each, with a name of your own");
        let entries = walk.entries(item, |_| (Self::expected().into_owned(), Some(cure())))?;
        let mut named = Self {
            names: Vec::with_capacity(entries.len()),
            objects: Vec::with_capacity(entries.len()),
        };
        for entry in entries {
            let sound = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
            if !entry.key.bytes().all(sound) || !(1..=NAME_BYTES_MAX).contains(&entry.key.len()) {
                let what = format!("`{}` cannot be a name", entry.key);
                let why = format!("names have 1 to {NAME_BYTES_MAX} of a-z, 0-9, _ and -");
                let near = near_name(&entry.key);
                walk.report(entry.key_span, what, |it| {
                    it.because(why).cured_by(format!("write {near}"))
                });
            }
            let value = Name(entry.key.to_string());
            let name = Spanned { span: entry.key_span, secret: false, value };
            named.names.push(name.clone());
            let read = |walk: &mut Walk<'n>| T::read(&entry.value, walk);
            if let Some(object) = walk.inside(PathStep::Key(&entry.key), read) {
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
