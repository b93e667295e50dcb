//! Makes the registry of filters: the settings of any filter as one type, told by `type`.

use std::any::Any;
use std::rc::Rc;

use super::{Filter, FilterKeys, FilterShare};

/// Names the file of each filter, its keys, and its `type`.
macro_rules! registry {
    ($($module:ident::$keys:ident = $tag:literal;)+) => {
        $(mod $module;)+

        $crate::keys::tagged! {
            /// A step of the gateway on the way of a request and its response. It runs for the routes and
            /// listeners that name it in `filters`. A filter that several of them name is one filter: it
            /// counts for all of them together.
            pub enum FilterSettings {
                $(#[doc = $tag] $keys($module::$keys) = $tag;)+
            }
        }

        impl FilterSettings {
            /// Makes the filter on a core. `before` is the one that it replaces.
            #[must_use]
            pub fn start(
                &self,
                share: FilterShare,
                before: Option<&dyn Filter>,
            ) -> std::rc::Rc<dyn Filter> {
                match self {
                    $(Self::$keys(keys) => registry::start(keys, share, before),)+
                }
            }

            /// The upstreams that the filter sends requests to.
            #[must_use]
            pub fn upstreams(&self) -> Vec<&Spanned<String>> {
                match self {
                    $(Self::$keys(keys) => keys.upstreams(),)+
                }
            }

            /// Whether requests pass without the credential that the filter looks for.
            #[must_use]
            pub fn opens(&self) -> bool {
                match self {
                    $(Self::$keys(keys) => keys.opens(),)+
                }
            }

            /// The mistake between several of its keys, with its cure.
            #[must_use]
            pub fn mistake(&self) -> Option<(String, &'static str)> {
                match self {
                    $(Self::$keys(keys) => keys.mistake(),)+
                }
            }
        }
    };
}

pub(super) use registry;

/// Makes a filter. One of another type has nothing that it could go on with.
pub(super) fn start<K: FilterKeys>(
    keys: &K,
    share: FilterShare,
    before: Option<&dyn Filter>,
) -> Rc<dyn Filter> {
    let before = before.and_then(|before| (before as &dyn Any).downcast_ref::<K::Running>());
    Rc::new(keys.start(share, before))
}
