//! Keyword values: one of a few words.

use std::borrow::Cow;

use super::item::ItemKind;
use super::mistake::Mistake;
use super::nearest::nearest;
use super::shape::Shape;

/// A value that is one of a few words: `words!` implements it.
pub trait Words: Copy + PartialEq + 'static {
    /// All of them, as they are written.
    const WORDS: &'static [(&'static str, Self)];
}

/// Makes values that are one word each, `Variant = "word"`. Either defines an enum, which can also be
/// parsed and displayed, or takes one that exists: `words! { Form { Keep = "keep" } }`.
macro_rules! words {
    (
        $(#[doc = $about:literal])+
        $vis:vis enum $name:ident {
            $($(#[doc = $doc:literal])+ $(#[$default:ident])? $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        $vis enum $name {
            $($(#[doc = $doc])+ $(#[$default])? $variant,)+
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                $crate::keys::word(text).ok_or_else(|| {
                    format!("\"{text}\" is not {}", $crate::keys::expected_word::<Self>())
                })
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad($crate::keys::name_of(*self))
            }
        }

        $crate::keys::words! { $name { $($variant = $word,)+ } }
    };
    ($name:ident { $($variant:ident = $word:literal,)+ }) => {
        impl $crate::keys::Words for $name {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];
        }

        impl $crate::keys::Value for $name {
            fn expected() -> std::borrow::Cow<'static, str> {
                $crate::keys::expected_word::<Self>()
            }

            fn shape() -> $crate::keys::Shape {
                $crate::keys::word_shape::<Self>()
            }

            fn parse(
                kind: &$crate::keys::ItemKind<'_>,
            ) -> Result<Self, $crate::keys::Mistake> {
                $crate::keys::parse_word(kind)
            }

            fn write(&self) -> $crate::keys::Written {
                $crate::keys::Written::text($crate::keys::name_of(*self))
            }
        }
    };
}

pub(crate) use words;

/// The value of a word.
pub fn word<T: Words>(text: &str) -> Option<T> {
    T::WORDS.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
}

/// The word of a value.
pub fn name_of<T: Words>(value: T) -> &'static str {
    // Every value has a word.
    T::WORDS.iter().find(|(_, it)| *it == value).map_or("", |(word, _)| word)
}

/// The words that are right, for messages.
#[must_use]
pub fn expected_word<T: Words>() -> Cow<'static, str> {
    let quoted: Vec<_> = T::WORDS.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => {
            format!("{} or {last}", others.join(", ")).into()
        }
        _ => quoted.concat().into(),
    }
}

/// The form of a word.
#[must_use]
pub fn word_shape<T: Words>() -> Shape {
    Shape::Words(T::WORDS.iter().map(|(word, _)| *word).collect())
}

/// Reads a word.
///
/// # Errors
/// It is no string, or none of the words. The cure is the nearest one.
pub fn parse_word<T: Words>(kind: &ItemKind<'_>) -> Result<T, Mistake> {
    let text = match kind {
        ItemKind::Text(text) => &text.value,
        // Other formats write switches this way.
        ItemKind::Boolean(false) if word::<T>("off").is_some() => {
            return Err(Mistake::kind("write \"off\""));
        }
        _ => return Err(Mistake::KIND),
    };
    word(text).ok_or_else(|| {
        let what = format!("\"{text}\" is not {}", expected_word::<T>());
        let lower = text.to_ascii_lowercase();
        match nearest(&lower, T::WORDS.iter().map(|(word, _)| *word)) {
            Some(near) => Mistake::with_cure(what, format!("did you mean \"{near}\"?")),
            None => Mistake::value(what),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::item::ItemText;
    use super::super::value::Value;
    use super::super::written::Written;
    use super::*;

    words! {
        /// A policy.
        enum Policy {
            /// No.
            #[default]
            Off = "off",
            /// Perhaps.
            Optional = "optional",
        }
    }

    fn parsed(text: &str) -> Result<Policy, Mistake> {
        Policy::parse(&ItemKind::Text(ItemText { value: text.into(), secret: false }))
    }

    #[test]
    fn a_word_is_written_as_it_is_read() {
        for (word, value) in Policy::WORDS {
            assert_eq!(parsed(word), Ok(*value));
            assert_eq!((value.to_string().as_str(), word.parse()), (*word, Ok(*value)));
            assert_eq!(value.write(), Written::text(*word));
        }
        assert_eq!(Policy::default(), Policy::Off);
        assert!("on".parse::<Policy>().is_err());
    }

    #[test]
    fn a_wrong_word_is_told_the_nearest_one() {
        let near = |text: &str| match parsed(text) {
            Err(Mistake::Value { cure, .. }) => cure,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(near("Optional").as_deref(), Some("did you mean \"optional\"?"));
        assert_eq!(near("optinal").as_deref(), Some("did you mean \"optional\"?"));
        assert_eq!(near("sometimes"), None);
        assert_eq!(Policy::expected(), "\"off\" or \"optional\"");
        let switch = Policy::parse(&ItemKind::Boolean(false));
        assert_eq!(switch, Err(Mistake::kind("write \"off\"")));
        assert_eq!(Policy::parse(&ItemKind::Boolean(true)), Err(Mistake::KIND));
    }
}
