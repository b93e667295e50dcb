//! A value that can be switched off by the word "off".
//!
//! A number that can be so large that it limits nothing is a [`Limit`](super::Limit).

use std::borrow::Cow;

use super::item::{Item, ItemKind};
use super::mistake::Mistake;
use super::shape::Shape;
use super::value::Value;
use super::walk::Walk;
use super::written::Written;

/// A value, or "off".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrOff<T> {
    /// This value.
    On(T),
    /// None.
    Off,
}

/// The word.
const OFF: &str = "off";

impl<T> OrOff<T> {
    /// The value, unless it is off.
    #[must_use]
    pub const fn on(&self) -> Option<&T> {
        match self {
            Self::On(value) => Some(value),
            Self::Off => None,
        }
    }
}

impl<T: Default> Default for OrOff<T> {
    fn default() -> Self {
        Self::On(T::default())
    }
}

impl<T: Value> Value for OrOff<T> {
    fn expected() -> Cow<'static, str> {
        format!("{}, or \"{OFF}\"", T::expected()).into()
    }

    fn shape() -> Shape {
        Shape::Either(Box::new(Shape::Words(vec![OFF])), Box::new(T::shape()))
    }

    fn read<'n>(item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        match &item.kind {
            ItemKind::Text(text) if text.value == OFF => Some(Self::Off),
            // Other formats write switches this way.
            ItemKind::Boolean(false) => {
                walk.mistake(item, Mistake::kind("write \"off\""), &Self::expected());
                None
            }
            _ => T::read(item, walk).map(Self::On),
        }
    }

    fn write(&self) -> Written {
        match self {
            Self::On(value) => value.write(),
            Self::Off => Written::text(OFF),
        }
    }
}
