//! The facts that a balancer chooses by: about its endpoints, about a request, and about its core.

use crate::mix::{GOLDEN, mix};

/// How a balancer chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// The endpoint with the fewest requests in flight for its weight.
    LeastRequests,
    /// The faster and less busy one of two that are drawn by weight.
    P2cEwma,
    /// Drawn by weight.
    Random,
    /// By a hash of the request: equal requests go to the same endpoint.
    Hash,
}

/// The facts about the endpoints at the moment of a pick, by their index in the list.
pub trait Candidates {
    /// Whether the request may go to this endpoint.
    fn is_usable(&self, index: usize) -> bool;

    /// How many requests run at it, on this core.
    fn in_flight(&self, index: usize) -> u32;

    /// How slow it is, in microseconds: see [`Latency::value`](super::Latency::value).
    fn latency(&self, index: usize) -> Option<f64>;
}

/// The facts about the request of a pick.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickBy {
    /// An endpoint was tried already.
    pub again: bool,
    /// The hash of its key: see [`hash_of`](super::hash_of). Without one, [`Way::Hash`] goes by turn.
    pub hash: Option<u64>,
}

/// The share of an endpoint in the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointShare {
    /// Its part, relative to the others of its group. With 0 it is never picked.
    pub weight: u32,
    /// A group is used when no endpoint of a smaller number is usable.
    pub group: u32,
}

/// An endpoint of the new list; see [`Balancer::follow`](super::Balancer::follow).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// See [`EndpointShare::weight`].
    pub weight: u32,
    /// See [`EndpointShare::group`].
    pub group: u32,
    /// The hash of its address, which is the same on all cores.
    pub identity: u64,
    /// Its index in the old list; `None` for a new endpoint.
    pub was: Option<usize>,
}

/// Where a core begins. Each core begins somewhere else, so that their first requests do not all go
/// to the same endpoint.
#[derive(Clone, Copy, Debug)]
pub struct CoreStart {
    /// Which core, from 0.
    pub core: usize,
    /// Of how many.
    pub cores: usize,
    /// The same on all cores of a node, another one at each start.
    pub seed: u64,
}

impl CoreStart {
    /// A number below `length`. Those of all cores lie evenly apart; `salt` shifts all of them. 0 if
    /// `length` is.
    pub(super) fn point(self, salt: u64, length: u64) -> u64 {
        let common = mix(self.seed.wrapping_add(salt.wrapping_mul(GOLDEN)));
        let own = u128::from(length) * self.core as u128 / self.cores.max(1) as u128;
        let sum = u128::from(common) + own;
        // A remainder of a 64-bit number has 64 bits.
        sum.checked_rem(length.into()).and_then(|it| u64::try_from(it).ok()).unwrap_or(0)
    }

    /// Another beginning, for a second sequence.
    pub(super) const fn other(self) -> Self {
        Self { seed: mix(self.seed), ..self }
    }

    /// A seed for this core alone.
    pub(super) const fn own_seed(self) -> u64 {
        mix(self.seed ^ mix(self.core as u64 + 1))
    }
}
