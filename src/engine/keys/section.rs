//! Sections: tables with a fixed set of keys, each defined once.
//!
//! [`section!`] takes one definition per key: field, documentation, type and [`KeyRule`] (default,
//! bounds, example). From it come the struct, its reader, its writer and its [`Shape`], and from
//! the shape the reference, the commented file and the JSON Schema.
//!
//! Invariant: reading never stops at the first mistake. A value that cannot be read is reported and
//! comes back as `None`, and its neighbours are read all the same.

use std::ops::RangeInclusive;

use super::item::{Item, ItemKind};
use super::path::PathStep;
use super::plain::{CanBeOff, Limit};
use super::shape::{KeyShape, Section, Shape};
use super::value::Value;
use super::walk::{ReadTable, Walk};
use super::written::Written;

/// Defines a section: `field: Type => rule;`, or `field = "key": Type => rule;` where the key is
/// not the field's name. The doc comments are the text of the reference.
///
/// In `settings` every key has a default, and so has the struct. A section with `short field` may
/// also be written as the value of that field alone.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $(#[derive($($derived:ident),+)])?
        $vis:vis settings $name:ident {
            $($(#[doc = $doc:literal])+ $field:ident $(= $key:literal)? : $type:ty => $rule:expr;)+
        }
    ) => {
        $crate::keys::section! {
            $(#[doc = $about])+
            $(#[derive($($derived),+)])?
            $vis $name {
                $($(#[doc = $doc])+ $field $(= $key)? : $type => $rule;)+
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::keys::DefaultRule::<$type>::default_value($rule)),+ }
            }
        }
    };
    (
        $(#[doc = $about:literal])+
        $(#[derive($($derived:ident),+)])?
        $vis:vis $name:ident $(short $short:ident)? {
            $($(#[doc = $doc:literal])+ $field:ident $(= $key:literal)? : $type:ty => $rule:expr;)+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq $($(, $derived)+)?)]
        $vis struct $name {
            $($(#[doc = $doc])+ $vis $field: $type,)+
        }

        impl $crate::keys::SectionValue for $name {
            const SHORT: &'static [&'static str] = &[$(stringify!($short))?];

            fn section() -> $crate::keys::Section {
                use $crate::keys::{FieldRule, key};
                let mut section = $crate::keys::Section::new(concat!($($about, "\n"),+));
                $(FieldRule::<$type>::describe(
                    $rule,
                    key!($field $($key)?),
                    concat!($($doc, "\n"),+),
                    &mut section,
                );)+
                section
            }
        }

        impl $crate::keys::Value for $name {
            fn expected() -> std::borrow::Cow<'static, str> {
                $crate::keys::expected_section::<Self>().into()
            }

            fn shape() -> $crate::keys::Shape {
                $crate::keys::section_shape::<Self>()
            }

            fn read<'n>(
                item: &'n $crate::keys::Item<'n>,
                walk: &mut $crate::keys::Walk<'n>,
            ) -> Option<Self> {
                use $crate::keys::{FieldRule, key, keys_of};
                static KEYS: std::sync::OnceLock<Vec<&'static str>> = std::sync::OnceLock::new();
                let table = $crate::keys::read_table::<Self>(item, walk, KEYS.get_or_init(keys_of::<Self>))?;
                // All fields first, then the verdict: see the invariant.
                $(let $field = FieldRule::<$type>::read(
                    $rule,
                    key!($field $($key)?),
                    &table,
                    walk,
                );)+
                Some(Self { $($field: $field?,)+ })
            }

            fn write(&self) -> $crate::keys::Written {
                use $crate::keys::{FieldRule, key};
                let mut entries = Vec::new();
                $(FieldRule::<$type>::write(
                    &$rule,
                    key!($field $($key)?),
                    &self.$field,
                    &mut entries,
                );)+
                $crate::keys::written_section::<Self>(entries)
            }
        }
    };
}

/// The key of a field.
macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

pub(crate) use {key, section};

/// A value that is a section: `section!` implements it.
pub trait SectionValue: Value {
    /// The field whose value alone may stand for the section, if there is one.
    const SHORT: &'static [&'static str];

    /// Its keys.
    fn section() -> Section;
}

/// The names of the keys of a section.
pub fn keys_of<T: SectionValue>() -> Vec<&'static str> {
    T::section().keys.iter().map(|key| key.name).collect()
}

/// The form of a section, and of its short form.
pub fn section_shape<T: SectionValue>() -> Shape {
    let section = T::section();
    let short = section.keys.iter().find(|key| T::SHORT.contains(&key.name));
    let short = short.map(|key| Box::new(key.shape.clone()));
    let section = Shape::Section(section);
    match short {
        Some(short) => Shape::Either(short, Box::new(section)),
        None => section,
    }
}

/// An example of a section: with the keys that it must have, or with one that it may have.
pub fn expected_section<T: SectionValue>() -> String {
    let section = T::section();
    let required: Vec<_> = section.keys.iter().filter_map(|key| key.entry(true)).collect();
    let first = || section.keys.iter().find_map(|key| key.entry(false));
    let entries = if required.is_empty() { Vec::from_iter(first()) } else { required };
    let table = format!("a table such as {{ {} }}", entries.join(", "));
    let short = section.keys.iter().find(|key| T::SHORT.contains(&key.name));
    match short.and_then(|key| key.example) {
        Some(example) => format!("{example}, or {table}"),
        None => table,
    }
}

/// The item as the table of a section, or as its short form.
pub fn read_table<'n, T: SectionValue>(
    item: &'n Item<'n>,
    walk: &mut Walk<'n>,
    keys: &[&str],
) -> Option<ReadTable<'n>> {
    if let (Some(&key), false) = (T::SHORT.first(), item.is_table()) {
        return Some(ReadTable { span: item.span, entries: &[], short: Some((key, item)) });
    }
    // `reply = 404` is meant as `reply = { status = 404 }`.
    let around = |written: &str| {
        let section = T::section();
        let key = section.keys.iter().find(|key| key.required)?;
        let fits = match key.shape {
            Shape::Integer | Shape::Integers(_) => matches!(item.kind, ItemKind::Integer(_)),
            Shape::Text { .. } => matches!(item.kind, ItemKind::Text(_)),
            _ => false,
        };
        fits.then(|| format!("write {{ {} = {written} }}", key.name))
    };
    walk.table(item, keys, |written| (T::expected().into_owned(), written.and_then(around)))
}

/// A section as it is written: in its short form if all other keys have their defaults.
pub fn written_section<T: SectionValue>(mut entries: Vec<(String, Written)>) -> Written {
    let Some(short) = T::SHORT.first() else { return Written::Table(entries) };
    let keys = T::section().keys;
    let is_default = |(name, value): &(String, Written)| {
        let key = keys.iter().find(|key| key.name == name);
        *value == Written::Absent || key.is_some_and(|key| key.default.as_ref() == Some(value))
    };
    match entries.iter().position(|(name, _)| name == short) {
        Some(at) if entries.iter().enumerate().all(|(it, entry)| it == at || is_default(entry)) => {
            entries.swap_remove(at).1
        }
        _ => Written::Table(entries),
    }
}

/// How a field of a section is read, written and described. A field has one key, or one of several
/// keys that exclude each other.
pub trait FieldRule<T> {
    /// Reads it; `None` after a mistake, which has been reported.
    fn read<'n>(self, key: &'static str, table: &ReadTable<'n>, walk: &mut Walk<'n>) -> Option<T>;

    /// Adds its keys to the form of the section.
    fn describe(self, key: &'static str, doc: &'static str, section: &mut Section);

    /// Adds it to the entries that are written.
    fn write(&self, key: &'static str, value: &T, entries: &mut Vec<(String, Written)>);
}

/// A rule of a field that has a default.
pub trait DefaultRule<T> {
    /// The value when no key of the field is there.
    fn default_value(self) -> T;
}

/// The values that a key may hold, and the one that holds when it is absent.
pub struct KeyRule<T, A = Absent<T>> {
    absent: A,
    bounds: Option<RangeInclusive<T>>,
    /// Whether a value lies in the bounds.
    is_inside: fn(&T, &RangeInclusive<T>) -> bool,
    example: Option<&'static str>,
    in_sample: bool,
}

/// The value of a key that may be absent.
pub enum Absent<T> {
    /// This one.
    Default(T),
    /// An empty section.
    Section(fn() -> T),
    /// A section in which every key has a default. It also stands in after a mistake in it.
    Settings(fn() -> T),
}

/// The key must be there. The example shows how to write it.
pub struct Required(&'static str);

/// The value that holds when a key is absent.
pub trait WhenAbsent<T> {
    /// The value.
    ///
    /// # Errors
    /// The key must be there, and this is an example of its value.
    fn value(self) -> Result<T, &'static str>;

    /// The value that stands in for one with a mistake in it.
    fn stand_in(self) -> Option<T>;

    /// Whether the key must be there.
    fn is_required(&self) -> bool;

    /// The default, for the reference.
    fn default(&self) -> Option<&T>;
}

impl<T> WhenAbsent<T> for Absent<T> {
    fn value(self) -> Result<T, &'static str> {
        Ok(match self {
            Self::Default(value) => value,
            Self::Section(make) | Self::Settings(make) => make(),
        })
    }

    fn stand_in(self) -> Option<T> {
        match self {
            Self::Settings(make) => Some(make()),
            Self::Default(_) | Self::Section(_) => None,
        }
    }

    fn is_required(&self) -> bool {
        false
    }

    fn default(&self) -> Option<&T> {
        match self {
            Self::Default(value) => Some(value),
            Self::Section(_) | Self::Settings(_) => None,
        }
    }
}

impl<T> WhenAbsent<T> for Required {
    fn value(self) -> Result<T, &'static str> {
        Err(self.0)
    }

    fn stand_in(self) -> Option<T> {
        None
    }

    fn is_required(&self) -> bool {
        true
    }

    fn default(&self) -> Option<&T> {
        None
    }
}

impl<T> KeyRule<T> {
    /// The value when the key is absent.
    pub fn default(value: T) -> Self {
        Self::new(Absent::Default(value), None)
    }
}

impl<T: Default> KeyRule<T> {
    /// A section that may be absent; then it is the default.
    pub fn section() -> Self {
        Self::new(Absent::Section(T::default), None)
    }

    /// A section in which every key has a default. After a mistake, which has been reported, the
    /// defaults stand in, so that the object around it takes part in the checks of several objects.
    pub fn settings() -> Self {
        Self::new(Absent::Settings(T::default), None)
    }

    /// Objects by name, maybe none. `example` is a name for the reference.
    pub fn named(example: &'static str) -> Self {
        Self::new(Absent::Section(T::default), Some(example))
    }
}

impl<T> KeyRule<Option<T>> {
    /// The key may be absent. `example` shows its value as it is written.
    pub fn optional(example: &'static str) -> Self {
        Self::new(Absent::Default(None), Some(example))
    }

    /// The section may be absent, and that means something else than an empty one.
    pub fn optional_section() -> Self {
        Self::new(Absent::Default(None), None)
    }
}

impl<T> KeyRule<T, Required> {
    /// The key must be there. `example` shows its value as it is written.
    pub fn required(example: &'static str) -> Self {
        Self::new(Required(example), Some(example))
    }
}

impl<T, A> KeyRule<T, A> {
    fn new(absent: A, example: Option<&'static str>) -> Self {
        Self { absent, bounds: None, is_inside: |_, _| true, example, in_sample: false }
    }

    /// An example for the reference that says more than the default.
    pub fn example(self, example: &'static str) -> Self {
        Self { example: Some(example), ..self }
    }

    /// The commented file has the example in effect.
    pub fn in_sample(self) -> Self {
        Self { in_sample: true, ..self }
    }
}

impl<T: PartialOrd, A> KeyRule<T, A> {
    /// The smallest and the largest value.
    pub fn within(self, bounds: RangeInclusive<T>) -> Self {
        Self { bounds: Some(bounds), is_inside: |value, bounds| bounds.contains(value), ..self }
    }
}

impl<T: PartialOrd + CanBeOff, A> KeyRule<Limit<T>, A> {
    /// The smallest and the largest limit. Off lies outside of them and is allowed too.
    pub fn within_or_off(self, bounds: RangeInclusive<T>) -> Self {
        let (min, max) = bounds.into_inner();
        Self {
            bounds: Some(Limit::at(min)..=Limit::at(max)),
            is_inside: |value, bounds| value.is_off() || bounds.contains(value),
            ..self
        }
    }
}

impl<T: PartialOrd + CanBeOff, A> KeyRule<Option<Limit<T>>, A> {
    /// The smallest and the largest limit, if there is one. Off lies outside of them and is allowed
    /// too.
    pub fn within_or_off(self, bounds: RangeInclusive<T>) -> Self {
        let (min, max) = bounds.into_inner();
        Self {
            bounds: Some(Some(Limit::at(min))..=Some(Limit::at(max))),
            is_inside: |value, bounds| value.is_none_or(Limit::is_off) || bounds.contains(value),
            ..self
        }
    }
}

impl<T> DefaultRule<T> for KeyRule<T> {
    fn default_value(self) -> T {
        match self.absent {
            Absent::Default(value) => value,
            Absent::Section(make) | Absent::Settings(make) => make(),
        }
    }
}

impl<T: Value, A: WhenAbsent<T>> FieldRule<T> for KeyRule<T, A> {
    fn read<'n>(self, key: &'static str, table: &ReadTable<'n>, walk: &mut Walk<'n>) -> Option<T> {
        let item = match (table.short, table.entries.iter().find(|entry| entry.key == key)) {
            // The value stands in the place of the table, so no key leads to it.
            (Some((short, item)), _) if short == key => return T::read(item, walk),
            (_, Some(entry)) => &entry.value,
            (_, None) => {
                return match self.absent.value() {
                    Ok(value) => Some(value),
                    Err(example) => {
                        walk.missing_key(table.span, key, example);
                        None
                    }
                };
            }
        };
        let range = self.bounds.as_ref().map(written_range);
        let read = |walk: &mut Walk<'n>| walk.in_range(range, |walk| T::read(item, walk));
        let Some(value) = walk.inside(PathStep::Key(key), read) else {
            return self.absent.stand_in();
        };
        if let Some(bounds) = self.bounds.filter(|bounds| !(self.is_inside)(&value, bounds)) {
            let (min, max) = written_range(&bounds);
            let why = if item.is_secret() {
                format!("expected {min} to {max}")
            } else {
                format!("{} is not between {min} and {max}", value.write())
            };
            let what = format!("`{key}` is out of range");
            let cure = format!("write {min} to {max}");
            walk.report(item.span, what, |it| it.because(why).cured_by(cure));
            return None;
        }
        Some(value)
    }

    fn describe(self, key: &'static str, doc: &'static str, section: &mut Section) {
        let default = self.absent.default();
        section.keys.push(KeyShape {
            name: key,
            doc,
            shape: T::shape(),
            required: self.absent.is_required(),
            optional_section: default.is_some(),
            default: default.map(Value::write).filter(|it| *it != Written::Absent),
            range: self.bounds.as_ref().map(written_range),
            example: self.example,
            in_sample: self.in_sample,
        });
    }

    fn write(&self, key: &'static str, value: &T, entries: &mut Vec<(String, Written)>) {
        entries.push((key.to_owned(), value.write()));
    }
}

/// The smallest and the largest value, as they are written.
fn written_range<T: Value>(bounds: &RangeInclusive<T>) -> (Written, Written) {
    (bounds.start().write(), bounds.end().write())
}
