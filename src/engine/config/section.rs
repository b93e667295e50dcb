//! How a section of the configuration is defined.
//!
//! [`section!`] takes one definition per key: field, documentation, type and [`Rule`] (default,
//! bounds, example). From it come the struct, its reader, its writer and its [`Shape`], and from
//! the shape the reference, the commented file and the JSON Schema.
//!
//! Invariant: reading never stops at the first mistake. What cannot be read is reported and
//! comes back as `None`, and its neighbours are read all the same.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::shape::{Key, Shape};
use super::tree::{Kind, Node};
use super::value::{CanBeOff, Limit};
use super::walk::Walk;
use super::written::Written;

/// Defines a section: `field: Type => rule;`, or `field = "key": Type => rule;` where the key is
/// not the field's name. The doc comments are the text of the reference. In `settings` every key
/// has a default, and so has the struct.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $(#[derive($($derived:ident),+)])?
        $vis:vis settings $name:ident {
            $($(#[doc = $doc:literal])+ $field:ident $(= $key:literal)? : $type:ty => $rule:expr;)+
        }
    ) => {
        section! {
            $(#[doc = $about])+
            $(#[derive($($derived),+)])?
            $vis $name {
                $($(#[doc = $doc])+ $field $(= $key)? : $type => $rule;)+
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: Rule::<$type>::absent($rule)),+ }
            }
        }
    };
    (
        $(#[doc = $about:literal])+
        $(#[derive($($derived:ident),+)])?
        $vis:vis $name:ident {
            $($(#[doc = $doc:literal])+ $field:ident $(= $key:literal)? : $type:ty => $rule:expr;)+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq $($(, $derived)+)?)]
        $vis struct $name {
            $($(#[doc = $doc])+ $vis $field: $type,)+
        }

        impl $crate::config::section::Value for $name {
            fn expected() -> std::borrow::Cow<'static, str> {
                "a table".into()
            }

            fn shape() -> $crate::config::shape::Shape {
                use $crate::config::section::key;
                $crate::config::shape::Shape::Section($crate::config::shape::Section {
                    about: concat!($($about, "\n"),+),
                    keys: vec![$(
                        Rule::<$type, _>::describe(
                            $rule,
                            key!($field $($key)?),
                            concat!($($doc, "\n"),+),
                        )
                    ),+],
                    choice: None,
                })
            }

            fn read<'n>(
                node: &'n $crate::config::tree::Node<'n>,
                walk: &mut $crate::config::walk::Walk<'n>,
            ) -> Option<Self> {
                use $crate::config::section::key;
                const KEYS: &[&str] = &[$(key!($field $($key)?)),+];
                let table = walk.table(node, KEYS)?;
                // All fields first, then the verdict: see the invariant.
                $(let $field = walk.field(&table, key!($field $($key)?), $rule);)+
                Some(Self { $($field: $field?,)+ })
            }

            fn write(&self) -> $crate::config::written::Written {
                use $crate::config::section::key;
                $crate::config::written::Written::Table(vec![
                    $((key!($field $($key)?).to_owned(), self.$field.write())),+
                ])
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

pub(super) use {key, section};

/// What can stand behind a key.
pub(super) trait Value: Sized {
    /// What to write, for messages: `a duration such as "300ms"`.
    fn expected() -> Cow<'static, str>;

    /// What it looks like, for the reference and the schema.
    fn shape() -> Shape;

    /// Reads it; `None` after a mistake, which has been reported.
    fn read<'n>(node: &'n Node<'n>, walk: &mut Walk<'n>) -> Option<Self>;

    /// Writes it as it is read.
    fn write(&self) -> Written;
}

/// A [`Value`] that is one string or number and needs nothing around it to be read.
pub(super) trait Scalar: Sized {
    /// As [`Value::expected`].
    fn wanted() -> Cow<'static, str>;

    /// As [`Value::shape`].
    fn form() -> Shape;

    /// Reads it.
    ///
    /// # Errors
    /// Says what is wrong; the place, and what was expected, are added to it.
    fn parse(kind: &Kind) -> Result<Self, Mistake>;

    /// As [`Value::write`].
    fn show(&self) -> Written;
}

/// Why a scalar cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// It is a list where a string should be, and the like.
    Kind,
    /// Its value makes no sense.
    Value { what: String, cure: Option<String> },
}

impl Mistake {
    /// The value makes no sense, and the cure is what was expected.
    pub(super) fn value(what: impl Into<String>) -> Self {
        Self::Value { what: what.into(), cure: None }
    }

    /// The value makes no sense; `cure` says what to do.
    pub(super) fn with_cure(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Value { what: what.into(), cure: Some(cure.into()) }
    }
}

impl<T: Scalar> Value for T {
    fn expected() -> Cow<'static, str> {
        T::wanted()
    }

    fn shape() -> Shape {
        T::form()
    }

    fn read<'n>(node: &'n Node<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        if node.is_secret() {
            walk.keep_secret();
        }
        match T::parse(&node.kind) {
            Ok(value) => Some(value),
            Err(Mistake::Kind) => walk.wrong_kind(node),
            Err(Mistake::Value { what, cure }) => walk.bad_value(node, what, cure),
        }
    }

    fn write(&self) -> Written {
        self.show()
    }
}

/// A value with a smallest and a largest.
pub(super) trait Bounded: Scalar + PartialOrd {}

/// What a key may hold, and what holds when it is absent.
pub(super) struct Rule<T, A = Absent<T>> {
    pub(super) absent: A,
    pub(super) bounds: Option<RangeInclusive<T>>,
    /// Whether a value lies in the bounds.
    pub(super) inside: fn(&T, &RangeInclusive<T>) -> bool,
    example: Option<&'static str>,
    in_sample: bool,
}

/// The value of a key that may be absent.
pub(super) enum Absent<T> {
    /// This one.
    Default(T),
    /// An empty section.
    Section(fn() -> T),
    /// A section in which every key has a default. It also stands in after a mistake in it.
    Settings(fn() -> T),
}

/// The key must be there. The example shows how to write it.
pub(super) struct Required(pub(super) &'static str);

/// What holds when a key is absent.
pub(super) trait WhenAbsent<T> {
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

impl<T> Rule<T> {
    /// The value when the key is absent.
    pub(super) fn default(value: T) -> Self {
        Self::new(Absent::Default(value), None)
    }

    /// The value of the key when it is absent, without a look at any text.
    pub(super) fn absent(self) -> T {
        match self.absent {
            Absent::Default(value) => value,
            Absent::Section(make) | Absent::Settings(make) => make(),
        }
    }
}

impl<T: Default> Rule<T> {
    /// A section that may be absent; then it is the default.
    pub(super) fn section() -> Self {
        Self::new(Absent::Section(T::default), None)
    }

    /// A section in which every key has a default. After a mistake, reported, the defaults stand
    /// in, so that the object around it is still there for the checks that concern several.
    pub(super) fn settings() -> Self {
        Self::new(Absent::Settings(T::default), None)
    }

    /// Objects by name, maybe none. `example` is a name for the reference.
    pub(super) fn named(example: &'static str) -> Self {
        Self::new(Absent::Section(T::default), Some(example))
    }
}

impl<T> Rule<T, Required> {
    /// The key must be there. `example` shows its value as it is written.
    pub(super) fn required(example: &'static str) -> Self {
        Self::new(Required(example), Some(example))
    }
}

impl<T, A> Rule<T, A> {
    fn new(absent: A, example: Option<&'static str>) -> Self {
        Self { absent, bounds: None, inside: |_, _| true, example, in_sample: false }
    }

    /// An example for the reference that says more than the default.
    pub(super) fn example(self, example: &'static str) -> Self {
        Self { example: Some(example), ..self }
    }

    /// The commented file has the example in effect.
    pub(super) fn in_sample(self) -> Self {
        Self { in_sample: true, ..self }
    }
}

impl<T: Value, A: WhenAbsent<T>> Rule<T, A> {
    /// The key for the reference.
    pub(super) fn describe(self, name: &'static str, doc: &'static str) -> Key {
        let default = self.absent.default();
        Key {
            name,
            doc,
            shape: T::shape(),
            required: self.absent.is_required(),
            optional_section: default.is_some(),
            default: default.map(Value::write).filter(|it| *it != Written::Absent),
            range: self.bounds.map(|bounds| (bounds.start().write(), bounds.end().write())),
            example: self.example,
            in_sample: self.in_sample,
        }
    }
}

impl<T: Value> Rule<Option<T>> {
    /// The key may be absent. `example` shows its value as it is written.
    pub(super) fn optional(example: &'static str) -> Self {
        Self::new(Absent::Default(None), Some(example))
    }

    /// The section may be absent, and that means something else than an empty one.
    pub(super) fn optional_section() -> Self {
        Self::new(Absent::Default(None), None)
    }
}

impl<T: Bounded, A> Rule<T, A> {
    /// The smallest and the largest value.
    pub(super) fn within(self, bounds: RangeInclusive<T>) -> Self {
        Self { bounds: Some(bounds), inside: |value, bounds| bounds.contains(value), ..self }
    }
}

impl<T: Bounded + CanBeOff, A> Rule<Limit<T>, A> {
    /// The smallest and the largest limit; off lies outside of them and is fine.
    pub(super) fn within_or_off(self, bounds: RangeInclusive<T>) -> Self {
        let (min, max) = bounds.into_inner();
        Self {
            bounds: Some(Limit::at(min)..=Limit::at(max)),
            inside: |value, bounds| value.is_off() || bounds.contains(value),
            ..self
        }
    }
}
