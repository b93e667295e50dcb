//! A configuration as workers use it: numbered, compiled, immutable.
//!
//! [`compile()`] makes a [`Table`] from a model; each core gets its own copy, moved to it. Nothing
//! in it is shared or counted, so a lookup touches the memory of one core only. What lives longer
//! than a table (pools, balancers, counters) is kept by the worker, in slots keyed by
//! [`Upstream::identity`].
//!
//! Invariant: every [`UpstreamId`] in a table is an index into that table's upstreams.

mod compile;

use std::net::SocketAddr;
use std::time::Duration;

pub use compile::compile;

use crate::router::Router;

/// Stands for "off" where a time limit is off: a year, longer than any connection. A number
/// rather than an option, so that arming a deadline stays one addition.
pub const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// One version of the configuration.
#[derive(Clone, Debug)]
pub struct Table {
    /// The version, counted from 1 by the control thread.
    pub number: u64,
    /// The listeners, in the order in which they are written.
    pub listeners: Vec<ListenerSettings>,
    /// The routes, in the order of their names.
    pub routes: Vec<Route>,
    /// The upstreams, in the order of their names. An [`UpstreamId`] is an index into them.
    pub upstreams: Vec<Upstream>,
    router: Router,
}

impl Table {
    /// The route for a request: `host` as sent, without port (case does not matter; empty when
    /// there is none), `path` as sent, without query.
    #[must_use]
    pub fn route(&self, host: &[u8], path: &[u8]) -> Option<&Route> {
        let number = self.router.find(host, path)?;
        self.routes.get(usize::try_from(number).ok()?)
    }

    /// The upstream that a route of this table names.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "ids come from this table only: see the invariant")]
    pub fn upstream(&self, id: UpstreamId) -> &Upstream {
        &self.upstreams[id.0 as usize]
    }
}

/// A listener for as long as it is bound to the same address: the same in every version. Not used
/// again for another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u32);

/// A bound address and its protocol settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// Where it listens. Port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// What a request may ask of memory.
    pub limits: Limits,
    /// How long a client may keep us waiting.
    pub timeouts: ListenerTimeouts,
}

/// What a request may ask of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request head, from the first byte to the empty line.
    pub head_bytes_max: usize,
    /// Header fields in a request head.
    pub headers_max: usize,
}

/// How long a client may keep us waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerTimeouts {
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// Between two reads of a request body.
    pub body_idle: Duration,
    /// Between two requests on one connection.
    pub idle: Duration,
    /// Between two writes of a response that the client does not read.
    pub write_idle: Duration,
    /// For exchanges to finish, once the gateway is told to stop.
    pub drain: Duration,
}

/// A match rule and its destination. The rule itself is in the table's router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// Where its requests go.
    pub upstream: UpstreamId,
}

/// Which upstream of a [`Table`].
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
    /// What of its connections may stay open unused.
    pub pool: PoolLimits,
    /// How long its endpoints may keep us waiting.
    pub timeouts: UpstreamTimeouts,
}

/// One address of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share of the requests, relative to the other endpoints; at least 1.
    pub weight: u32,
}

/// What of an upstream's connections may stay open unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolLimits {
    /// Idle connections per node and endpoint. The worker divides it among the cores.
    pub idle_max: usize,
    /// How long a connection may stay idle before we close it.
    pub idle_timeout: Duration,
}

/// How long an upstream's endpoints may keep us waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamTimeouts {
    /// For a connection to be made.
    pub connect: Duration,
    /// From the last byte of the request to the first of the response.
    pub first_byte: Duration,
    /// Between two reads of a response.
    pub between_bytes: Duration,
}
