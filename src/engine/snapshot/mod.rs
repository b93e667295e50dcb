//! A configuration as workers use it: numbered, compiled, immutable.
//!
//! [`compile()`] makes a [`Snapshot`] from a model; each core gets its own copy, moved to it. Nothing
//! in it is shared or counted, so a lookup touches the memory of one core only. What lives longer
//! than a table (pools, balancers, counters) is kept by the worker, in slots keyed by
//! [`Upstream::identity`]; sockets are kept by [`ListenerId`]. [`Identities`] is what compiling
//! remembers from version to version.
//!
//! Invariant: every [`UpstreamId`] and [`RouteId`] in a table is an index into that table.

mod action;
mod compile;
mod identity;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use foldhash::fast::FixedState;
use proto::path;
use proto::upgrade::is_same;

pub use action::{Action, Redirect, StaticReply};
pub use compile::compile;
pub use identity::Identities;

use crate::address::{Address, Network};
pub use crate::config::{
    Endpoint, ListenerLimits, ListenerTimeouts, PoolLimits, ProxyProtocol, UpstreamTimeouts,
};
use crate::router::{Hit, Router};

/// One version of the configuration.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The version, counted from 1 by the control thread.
    pub number: u64,
    /// The listeners, in the order of their ids. Of the first version that is the order in which
    /// they are written.
    pub listeners: Vec<ListenerSettings>,
    /// The routes, in the order of their names. A [`RouteId`] is an index into them.
    pub routes: Vec<Route>,
    /// The upstreams, in the order of their names. An [`UpstreamId`] is an index into them.
    pub upstreams: Vec<Upstream>,
    /// Whether each exchange leaves a record: an access log is configured.
    pub records: bool,
    router: Router,
    by_identity: HashMap<u64, UpstreamId, FixedState>,
}

/// What a table has for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'t> {
    /// This route.
    Route(RouteId, &'t Route),
    /// Nothing, but there are routes for host and path with other methods: those that
    /// [`Snapshot::allow`] names. The answer is 405.
    WrongMethod,
    /// Nothing. The answer is 404.
    None,
}

impl Snapshot {
    /// The route for a request: `host` as sent, without port (case does not matter; empty when
    /// there is none), `path` settled, without query, `method` as sent. The order in which routes
    /// go before each other is that of [`router`](crate::router). Allocates nothing.
    #[must_use]
    pub fn route(&self, host: &[u8], path: &[u8], method: &[u8]) -> Found<'_> {
        match self.router.find(host, path, method) {
            Hit::Route(number) => match self.routes.get(number as usize) {
                Some(route) => Found::Route(RouteId(number), route),
                None => Found::None,
            },
            Hit::WrongMethod => Found::WrongMethod,
            Hit::None => Found::None,
        }
    }

    /// The route of that name.
    #[must_use]
    pub fn route_by_name(&self, name: &str) -> Option<RouteId> {
        let index = self.routes.binary_search_by(|it| (*it.name).cmp(name)).ok()?;
        u32::try_from(index).ok().map(RouteId)
    }

    /// The value of `Allow` (RFC 9110 section 10.2.1) after [`Found::WrongMethod`] for the same
    /// host and path: every method that a route takes there, in the order of the alphabet, with
    /// ", " between. Written at the end of `out`.
    pub fn allow(&self, host: &[u8], path: &[u8], out: &mut Vec<u8>) {
        for (index, method) in self.router.methods(host, path).into_iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(method.as_bytes());
        }
    }

    /// The listener with this id, if this version has it.
    #[must_use]
    pub fn listener(&self, id: ListenerId) -> Option<&ListenerSettings> {
        let index = self.listeners.binary_search_by_key(&id, |it| it.id).ok()?;
        self.listeners.get(index)
    }

    /// The upstream that a route of this table names.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "ids come from this table only: see the invariant")]
    pub fn upstream(&self, id: UpstreamId) -> &Upstream {
        &self.upstreams[id.0 as usize]
    }

    /// The upstream with this [`Upstream::identity`]: the one that another version had, if it is
    /// in this one, unchanged.
    #[must_use]
    pub fn upstream_by_identity(&self, identity: u64) -> Option<UpstreamId> {
        self.by_identity.get(&identity).copied()
    }
}

/// A listener for as long as it is bound to the same address: the same in every version. Not used
/// again for another one, nor for the same one after a version without it. See [`Identities`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u32);

/// A bound address and its protocol settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// The same in every version.
    pub id: ListenerId,
    /// Its name in the configuration.
    pub name: Box<str>,
    /// Where it listens. Port 0 lets the kernel choose.
    pub address: Address,
    /// Whether its connections begin with a PROXY protocol header.
    pub proxy_protocol: ProxyProtocol,
    /// Whose word on who the client is is taken.
    pub trusted_proxies: Box<[Network]>,
    /// What becomes of the paths of requests.
    pub paths: path::Rules,
    /// How much its clients may ask for.
    pub limits: ListenerLimits,
    /// How long a client may keep us waiting.
    pub timeouts: ListenerTimeouts,
}

/// A match rule and what happens to its requests. The rule itself is in the table's router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// What happens to its requests.
    pub action: Action,
    /// Protocols that its clients may switch to.
    pub upgrades: Upgrades,
}

/// Protocols that the clients of a route may switch to (RFC 9110 section 7.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upgrades {
    /// WebSocket (RFC 6455) alone, as where nothing is said of it: most routes.
    WebSocket,
    /// These, perhaps none.
    Listed(Box<[Box<str>]>),
}

impl Upgrades {
    /// Whether clients may switch to `protocol`, as they name it.
    #[must_use]
    pub fn allow(&self, protocol: &[u8]) -> bool {
        match self {
            Self::WebSocket => is_same(protocol, b"websocket"),
            Self::Listed(listed) => listed.iter().any(|it| is_same(protocol, it.as_bytes())),
        }
    }
}

/// Which route of a [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u32);

/// Which upstream of a [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub u32);

/// A named group of endpoints that requests are balanced over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// A hash of its name and all of its settings: the same upstream, unchanged, has the same
    /// identity in the next version, and keeps its pools.
    pub identity: u64,
    /// Its endpoints, at least one.
    pub endpoints: Vec<Endpoint>,
    /// How many connections there may be, and how long they may stay open unused.
    pub pool: PoolLimits,
    /// How long its endpoints may keep us waiting.
    pub timeouts: UpstreamTimeouts,
}
