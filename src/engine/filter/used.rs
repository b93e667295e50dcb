//! How a route or a listener names the filters that it uses.

use std::borrow::Cow;

use super::FilterSettings;
use crate::keys::{Item, ItemKind, Shape, Value, Walk, Written};

/// A filter in the list of a route or a listener.
#[derive(Clone, Debug, PartialEq)]
pub enum FilterUse {
    /// The filter of this name.
    Named(String),
    /// A filter of its own.
    Own(Box<FilterSettings>),
}

impl Value for FilterUse {
    fn expected() -> Cow<'static, str> {
        format!("the name of a filter, or {}", FilterSettings::expected()).into()
    }

    fn shape() -> Shape {
        let name = Shape::Text { noun: "name of a filter", pattern: None };
        Shape::Either(Box::new(name), Box::new(FilterSettings::shape()))
    }

    fn read<'n>(item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        match &item.kind {
            ItemKind::Text(_) => String::read(item, walk).map(Self::Named),
            _ => FilterSettings::read(item, walk).map(|settings| Self::Own(Box::new(settings))),
        }
    }

    fn write(&self) -> Written {
        match self {
            Self::Named(name) => name.write(),
            Self::Own(settings) => settings.write(),
        }
    }
}

/// The number of a filter within its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilterId(pub u32);

/// A filter of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedFilter {
    /// Its name in the configuration; of a filter without one, its place: `routes.users.filters[0]`.
    pub name: Box<str>,
    /// Its settings.
    pub settings: FilterSettings,
}
