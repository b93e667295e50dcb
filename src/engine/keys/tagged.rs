//! Tables of several kinds: the key `type` says which one a table is.

use super::item::Item;
use super::mistake::Mistake;
use super::nearest::nearest;
use super::path::PathStep;
use super::shape::TAG;
use super::value::Value;
use super::walk::Walk;
use super::written::Written;

/// Defines an enum of sections: `Variant(Section) = "tag";`. Each is a table whose `type` is the tag.
macro_rules! tagged {
    (
        $(#[doc = $about:literal])+
        $vis:vis enum $name:ident {
            $($(#[doc = $doc:literal])+ $variant:ident($section:ty) = $tag:literal;)+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        $vis enum $name {
            $($(#[doc = $doc])+ $variant($section),)+
        }

        impl $crate::keys::TaggedValue for $name {
            const TAGS: &'static [&'static str] = &[$($tag),+];

            fn read_tagged<'n>(
                tag: &str,
                item: &'n $crate::keys::Item<'n>,
                walk: &mut $crate::keys::Walk<'n>,
            ) -> Option<Self> {
                match tag {
                    $($tag => {
                        <$section as $crate::keys::Value>::read(item, walk).map(Self::$variant)
                    })+
                    _ => None,
                }
            }
        }

        impl $crate::keys::Value for $name {
            fn expected() -> std::borrow::Cow<'static, str> {
                $crate::keys::expected_tagged::<Self>().into()
            }

            fn shape() -> $crate::keys::Shape {
                $crate::keys::Shape::Tagged($crate::keys::Tagged {
                    about: concat!($($about, "\n"),+),
                    tables: vec![$((
                        $tag,
                        <$section as $crate::keys::SectionValue>::section(),
                    )),+],
                })
            }

            fn read<'n>(
                item: &'n $crate::keys::Item<'n>,
                walk: &mut $crate::keys::Walk<'n>,
            ) -> Option<Self> {
                $crate::keys::read_tagged(item, walk)
            }

            fn write(&self) -> $crate::keys::Written {
                match self {
                    $(Self::$variant(section) => $crate::keys::written_tagged(
                        $tag,
                        $crate::keys::Value::write(section),
                    ),)+
                }
            }
        }
    };
}

pub(crate) use tagged;

/// A table of one of several kinds: `tagged!` implements it.
pub trait TaggedValue: Value {
    /// The values of `type`.
    const TAGS: &'static [&'static str];

    /// Reads the table whose `type` is `tag`.
    fn read_tagged<'n>(tag: &str, item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<Self>;
}

/// The tables that are right, for messages.
#[must_use]
pub fn expected_tagged<T: TaggedValue>() -> String {
    let quoted: Vec<_> = T::TAGS.iter().map(|tag| format!("\"{tag}\"")).collect();
    format!("a table with `{TAG}` = {}", quoted.join(", "))
}

/// Reads a table whose key `type` says which one it is.
pub fn read_tagged<'n, T: TaggedValue>(item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<T> {
    let expected = expected_tagged::<T>();
    let entries = walk.entries(item, |_| (expected.clone(), None))?;
    let Some(entry) = entries.iter().find(|entry| entry.key == TAG) else {
        let example = T::TAGS.first().copied().unwrap_or_default();
        walk.missing_key(item.span, TAG, &format!("\"{example}\""));
        return None;
    };
    let tag = entry.value.kind.text().filter(|text| !text.secret);
    let known = tag.and_then(|tag| T::TAGS.iter().find(|known| **known == tag.value));
    if let Some(tag) = known {
        walk.tag_is_read(TAG);
        return T::read_tagged(tag, item, walk);
    }
    let mistake = match tag {
        // A type that comes from a variable would hide which keys are right.
        None => Mistake::kind(format!("write {expected}")),
        Some(tag) => {
            let what = format!("there is no `{TAG}` \"{}\" here", tag.value);
            match nearest(&tag.value, T::TAGS.iter().copied()) {
                Some(near) => Mistake::with_cure(what, format!("did you mean \"{near}\"?")),
                None => Mistake::with_cure(what, format!("write {expected}")),
            }
        }
    };
    walk.inside(PathStep::Key(TAG), |walk| walk.mistake(&entry.value, mistake, &expected));
    None
}

/// The table with its `type` in front.
#[must_use]
pub fn written_tagged(tag: &str, section: Written) -> Written {
    let mut entries = vec![(TAG.to_owned(), Written::text(tag))];
    if let Written::Table(keys) = section {
        entries.extend(keys);
    }
    Written::Table(entries)
}
