//! Chooses an endpoint of an upstream.
//!
//! Each core has one balancer per upstream, and the cores do not compare notes. The balancer knows
//! endpoints by their index in a list, and follows changes of the list. The caller decides which
//! endpoints are usable: it knows which were tried, and which drain.

mod round_robin;

pub use round_robin::RoundRobin;

/// Whether an endpoint gets new requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointState {
    /// It does.
    #[default]
    Ready,
    /// It does not: its requests finish, and its connections close.
    Draining,
}

impl EndpointState {
    /// The word for it in the admin API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Draining => "drain",
        }
    }

    /// The state with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Ready, Self::Draining].into_iter().find(|it| it.word() == word)
    }
}

/// An endpoint of the new list; see [`RoundRobin::follow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighted {
    /// Its share of the requests, relative to the others; at least 1.
    pub weight: u32,
    /// Its index in the old list; `None` for a new endpoint.
    pub was: Option<usize>,
}
