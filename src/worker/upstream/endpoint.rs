//! An upstream and its endpoints as one core sees them, for longer than one version.

use std::cell::RefCell;
use std::rc::Rc;

use engine::address::Address;
use engine::balance::RoundRobin;
use engine::snapshot::Upstream;

use super::pool::Pool;
use crate::net::Net;
use crate::state::Place;

/// An upstream as one core sees it, for as long as a version has it unchanged or an exchange uses
/// it.
#[derive(Debug)]
pub struct UpstreamSlot<N: Net> {
    name: Box<str>,
    /// Which endpoint is next.
    pub balance: RefCell<RoundRobin>,
    /// One pool per endpoint, in the order of the table.
    pub pools: Vec<Rc<Pool<N>>>,
}

impl<N: Net> UpstreamSlot<N> {
    /// Empty pools for the endpoints of `upstream`, on the core at `place`.
    #[must_use]
    pub fn new(upstream: &Upstream, place: Place) -> Self {
        let pool = |address: &Address| Rc::new(Pool::new(address, &upstream.pool, place));
        Self {
            name: upstream.name.clone(),
            balance: RefCell::new(RoundRobin::new(place.seed)),
            pools: upstream.endpoints.iter().map(|endpoint| pool(&endpoint.address)).collect(),
        }
    }

    /// No version has it any more: keeps no connection idle.
    pub(crate) fn retire(&self) {
        for pool in &self.pools {
            pool.retire();
        }
    }

    /// Its name, and how many connections are idle and in use.
    pub(crate) fn gauge(&self) -> (String, u64, u64) {
        let idle: usize = self.pools.iter().map(|pool| pool.len()).sum();
        let open: usize = self.pools.iter().map(|pool| pool.open()).sum();
        (self.name.to_string(), idle as u64, open.saturating_sub(idle) as u64)
    }
}
