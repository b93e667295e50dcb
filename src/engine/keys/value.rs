//! A value of a key: how it is read, written and described.
//!
//! Most values are one string or number and say how to [`parse`](Value::parse) it. Values with
//! parts of their own (sections, lists, objects by name) [`read`](Value::read) them from the walk.

use std::borrow::Cow;

use super::item::{Item, ItemKind};
use super::mistake::Mistake;
use super::shape::Shape;
use super::walk::Walk;
use super::written::Written;

/// A value of a key.
pub trait Value: Sized {
    /// The values that are right, for messages: `a duration such as "300ms"`.
    fn expected() -> Cow<'static, str>;

    /// Its form, for the reference and the schema.
    fn shape() -> Shape;

    /// Makes it from one string or number.
    ///
    /// # Errors
    /// The mistake. The caller adds the place and [`Self::expected`].
    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let _ = kind;
        Err(Mistake::KIND)
    }

    /// Reads it; `None` after a mistake, which has been reported.
    fn read<'n>(item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        if item.is_secret() {
            walk.keep_secret();
        }
        match Self::parse(&item.kind) {
            Ok(value) => Some(value),
            Err(mistake) => {
                walk.mistake(item, mistake, &Self::expected());
                None
            }
        }
    }

    /// Writes it as it is read.
    fn write(&self) -> Written;
}
