//! Chooses an endpoint of an upstream.
//!
//! Each core has one balancer per upstream, and the cores do not compare notes. The balancer knows
//! endpoints by their index in a list, and follows changes of the list. The caller decides which
//! endpoints are usable: it knows which were tried, and which drain. It also knows how busy and how
//! fast they are: see [`Candidates`].
//!
//! Invariant: a pick allocates nothing, and returns an endpoint whenever one is usable that has a
//! weight.

mod draw;
mod facts;
mod hash;
mod latency;
mod least_requests;
mod p2c;
mod round_robin;
#[cfg(test)]
mod tests;

use draw::Draw;
use round_robin::RoundRobin;

pub use facts::{Candidates, CoreStart, EndpointShare, Listed, PickBy, Way};
pub use hash::hash_of;
pub use latency::Latency;

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

/// See the module.
#[derive(Debug)]
pub struct Balancer {
    way: Way,
    endpoints: Vec<Listed>,
    /// The groups of the endpoints, the first one first.
    groups: Vec<u32>,
    turns: RoundRobin,
    draw: Draw,
}

impl Balancer {
    /// No endpoint yet.
    #[must_use]
    pub fn new(start: CoreStart) -> Self {
        Self {
            way: Way::default(),
            endpoints: Vec::new(),
            groups: Vec::new(),
            turns: RoundRobin::new(start),
            draw: Draw::new(start.own_seed()),
        }
    }

    /// Replaces the list, and the way to choose. An endpoint of the old list keeps its turn.
    pub fn follow(&mut self, way: Way, endpoints: impl IntoIterator<Item = Listed>) {
        self.way = way;
        self.endpoints.clear();
        self.endpoints.extend(endpoints);
        self.groups.clear();
        self.groups.extend(self.endpoints.iter().map(|it| it.group));
        self.groups.sort_unstable();
        self.groups.dedup();
        self.turns.follow(&self.endpoints);
        self.draw.follow(&self.endpoints);
    }

    /// The index of the endpoint for a request; `None` when no endpoint is usable.
    pub fn pick(&mut self, by: PickBy, candidates: &impl Candidates) -> Option<usize> {
        // Nearly always there is one group.
        for at in 0..self.groups.len() {
            let group = self.groups.get(at).copied()?;
            let picked = self.pick_in(group, by, candidates);
            if picked.is_some() {
                return picked;
            }
        }
        None
    }

    fn pick_in(&mut self, group: u32, by: PickBy, candidates: &impl Candidates) -> Option<usize> {
        let Self { way, endpoints, turns, draw, .. } = self;
        let usable = |index: usize| {
            endpoints.get(index).is_some_and(|it| it.weight > 0 && it.group == group)
                && candidates.is_usable(index)
        };
        match (*way, by.hash) {
            (Way::RoundRobin, _) | (Way::Hash, None) => turns.take(by.again, usable),
            (Way::LeastRequests, _) => {
                let in_flight = |index| candidates.in_flight(index);
                let least = least_requests::least(endpoints, usable, in_flight)?;
                let has_least = |index| usable(index) && least.has(endpoints, index, in_flight);
                turns.take(by.again, has_least)
            }
            (Way::P2cEwma, _) => p2c::pick(endpoints, draw, usable, candidates),
            (Way::Random, _) => draw.pick(endpoints, usable),
            (Way::Hash, Some(hash)) => {
                hash::pick(endpoints, hash, usable, |index| candidates.in_flight(index))
            }
        }
    }
}
