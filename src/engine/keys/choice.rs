//! Keys that exclude each other: one field of a section that is one of several keys.

use super::path::PathStep;
use super::section::{DefaultRule, FieldRule};
use super::shape::{Choice, Section};
use super::walk::{ReadTable, Walk};
use super::written::Written;
use super::{Item, Spanned};

/// Defines an enum with a key for each variant: `Variant = "key": Type => rule;`. The rule is that of
/// a key that may be absent. The section has one field for all of them, with the rule
/// [`ExactlyOne`] or [`AtMostOne`].
macro_rules! one_of {
    (
        $(#[doc = $about:literal])+
        $(#[derive($($derived:ident),+)])?
        $vis:vis $name:ident {
            $($(#[doc = $doc:literal])+ $variant:ident = $key:literal : $type:ty => $rule:expr;)+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq $($(, $derived)+)?)]
        $vis enum $name {
            $($(#[doc = $doc])+ $variant($type),)+
        }

        impl $crate::keys::OneKeyOf for $name {
            const KEYS: &'static [&'static str] = &[$($key),+];

            fn describe(section: &mut $crate::keys::Section) {
                use $crate::keys::FieldRule;
                $(FieldRule::<Option<$type>>::describe(
                    $rule,
                    $key,
                    concat!($($doc, "\n"),+),
                    section,
                );)+
            }

            fn read<'n>(
                key: &str,
                item: &'n $crate::keys::Item<'n>,
                walk: &mut $crate::keys::Walk<'n>,
            ) -> Option<Self> {
                match key {
                    $($key => <$type as $crate::keys::Value>::read(item, walk).map(Self::$variant),)+
                    _ => None,
                }
            }

            fn write(&self) -> (&'static str, $crate::keys::Written) {
                match self {
                    $(Self::$variant(value) => ($key, $crate::keys::Value::write(value)),)+
                }
            }
        }
    };
}

pub(crate) use one_of;

/// A value behind one of several keys: `one_of!` implements it.
pub trait OneKeyOf: Sized {
    /// The keys.
    const KEYS: &'static [&'static str];

    /// Adds the keys to the form of a section.
    fn describe(section: &mut Section);

    /// Reads the value behind `key`.
    fn read<'n>(key: &str, item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<Self>;

    /// Its key and its value.
    fn write(&self) -> (&'static str, Written);
}

/// The rule of a field of which exactly one key must be there. It holds the cure when none is.
pub struct ExactlyOne(pub(crate) &'static str);

/// The rule of a field of which one key may be there.
pub struct AtMostOne;

/// The value of the first key that is there. `Err` after a mistake, which has been reported.
fn first<'n, T: OneKeyOf>(
    table: &ReadTable<'n>,
    walk: &mut Walk<'n>,
) -> Result<Option<Spanned<T>>, ()> {
    let mut entries = table.entries.iter().filter(|entry| T::KEYS.contains(&&*entry.key));
    let Some(first) = entries.next() else { return Ok(None) };
    let read = |walk: &mut Walk<'n>| T::read(&first.key, &first.value, walk);
    let value = walk.inside(PathStep::Key(&first.key), read);
    let mut is_sound = true;
    for other in entries {
        let texts = walk.texts;
        let what = format!("`{}` has both `{}` and `{}`", walk.path(), first.key, other.key);
        walk.report(other.key_span, what, |it| {
            it.because("excludes the other")
                .also(texts, first.key_span, "the first of them")
                .cured_by("leave one of them out")
        });
        // Its own mistakes count too.
        let read = |walk: &mut Walk<'n>| T::read(&other.key, &other.value, walk);
        walk.inside(PathStep::Key(&other.key), read);
        is_sound = false;
    }
    let value = value.filter(|_| is_sound).ok_or(())?;
    Ok(Some(Spanned::new(&first.value, value)))
}

impl<T: OneKeyOf> FieldRule<T> for ExactlyOne {
    fn read<'n>(self, _: &'static str, table: &ReadTable<'n>, walk: &mut Walk<'n>) -> Option<T> {
        match first::<T>(table, walk) {
            Ok(Some(value)) => Some(value.into_inner()),
            Ok(None) => {
                let what = format!("`{}` has none of {}", walk.path(), list(T::KEYS));
                walk.missing(table.span, what, self.0.to_owned());
                None
            }
            Err(()) => None,
        }
    }

    fn describe(self, _: &'static str, _: &'static str, section: &mut Section) {
        T::describe(section);
        section.choices.push(Choice { keys: T::KEYS, required: true });
    }

    fn write(&self, _: &'static str, value: &T, entries: &mut Vec<(String, Written)>) {
        entries.push(entry(value));
    }
}

impl<T: OneKeyOf> FieldRule<Option<Spanned<T>>> for AtMostOne {
    fn read<'n>(
        self,
        _: &'static str,
        table: &ReadTable<'n>,
        walk: &mut Walk<'n>,
    ) -> Option<Option<Spanned<T>>> {
        first(table, walk).ok()
    }

    fn describe(self, _: &'static str, _: &'static str, section: &mut Section) {
        T::describe(section);
        section.choices.push(Choice { keys: T::KEYS, required: false });
    }

    fn write(
        &self,
        _: &'static str,
        value: &Option<Spanned<T>>,
        entries: &mut Vec<(String, Written)>,
    ) {
        entries.extend(value.as_deref().map(entry));
    }
}

impl<T> DefaultRule<Option<T>> for AtMostOne {
    fn default_value(self) -> Option<T> {
        None
    }
}

fn entry<T: OneKeyOf>(value: &T) -> (String, Written) {
    let (key, value) = value.write();
    (key.to_owned(), value)
}

/// "`a`, `b` and `c`", for keys.
fn list(keys: &[&str]) -> String {
    let quoted: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}
