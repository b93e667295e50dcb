//! The hooks of a filter, and what a type of filter is.

use std::any::Any;
use std::fmt;
use std::ops::BitOr;

use super::body::BodyWish;
use super::fetch::{Fetch, FetchResult};
use super::request::{FilterRequest, RequestVerdict};
use super::response::{FilterFinish, FilterResponse, ResponseVerdict};
use crate::keys::{SectionValue, Spanned};

/// A set of hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks(u8);

impl Hooks {
    /// No hook.
    pub const NONE: Self = Self(0);
    /// [`Filter::on_request`], and [`Filter::on_fetched`].
    pub const REQUEST: Self = Self(1);
    /// [`Filter::on_response`].
    pub const RESPONSE: Self = Self(2);
    /// [`Filter::on_finish`].
    pub const FINISH: Self = Self(4);

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any hook of `other` is in the set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Hooks {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.and(other)
    }
}

/// The part of a node that a core has, for filters that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterShare {
    /// The index of the core.
    pub core: usize,
    /// The number of cores.
    pub cores: usize,
    /// Different on each core, and in each process.
    pub seed: u64,
}

/// The keys of a filter, from which a core makes the filter.
pub trait FilterKeys: SectionValue {
    /// The filter as it runs.
    type Running: Filter;

    /// Makes the filter on a core. `before` is the one that it replaces, where only the settings
    /// have changed: its counts go on.
    fn start(&self, share: FilterShare, before: Option<&Self::Running>) -> Self::Running;

    /// The upstreams that the filter sends requests to.
    fn upstreams(&self) -> Vec<&Spanned<String>> {
        Vec::new()
    }

    /// Whether requests pass without the credential that the filter looks for.
    fn opens(&self) -> bool {
        false
    }

    /// The mistake between several of its keys, with its cure.
    fn mistake(&self) -> Option<(String, &'static str)> {
        None
    }
}

/// A filter on one core. It serves all exchanges of the core, one after another, so its state is in
/// cells.
pub trait Filter: Any + fmt::Debug {
    /// The hooks that it has. The worker calls no other.
    fn hooks(&self) -> Hooks;

    /// How much of the request's body it must see before [`Filter::on_request`].
    fn body_wish(&self) -> BodyWish {
        BodyWish::Nothing
    }

    /// The head of a request is here, without the fields that end at this hop and with those that the
    /// gateway adds.
    fn on_request(&self, _request: &mut FilterRequest<'_>) -> RequestVerdict {
        RequestVerdict::Continue
    }

    /// The answer to its [`RequestVerdict::Fetch`] is here.
    fn on_fetched(
        &self,
        _request: &mut FilterRequest<'_>,
        _fetched: FetchResult,
    ) -> RequestVerdict {
        RequestVerdict::Continue
    }

    /// The head of the final response is here, without the fields that end at this hop. Interim responses
    /// and the 101 of an upgrade pass by.
    fn on_response(&self, _response: &mut FilterResponse<'_>) -> ResponseVerdict {
        ResponseVerdict::Continue
    }

    /// The exchange has ended, however it did. A request that is returned goes out with nobody waiting
    /// for it.
    fn on_finish(&self, _finish: FilterFinish<'_>) -> Option<Fetch> {
        None
    }
}
