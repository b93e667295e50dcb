//! `[upstreams.NAME]`: a named group of endpoints, their pool and their timeouts.

use super::balance::Balance;
use super::health::{EjectRules, HealthCheck};
use super::in_flight::InFlight;
use super::retry::Retry;
use super::tls::UpstreamTls;
use crate::balance::EndpointShare;
use crate::keys::{KeyRule, LONGEST, Limit, OrOff, SHORTEST, Spanned, section};
use crate::names::AddressOrName;
use crate::time::Micros;

section! {
    /// A named group of endpoints. Requests are balanced over them.
    pub Upstream {
        /// Its endpoints: "IP:port", "name:port", "srv:name", "unix:/path", or a table with
        /// `address`, `weight`, `priority` and `backup`. A name stands for all its addresses, and is
        /// followed while the gateway runs.
        endpoints: Spanned<Vec<Spanned<Endpoint>>>
            => KeyRule::required("[\"127.0.0.1:9000\"]");
        /// How an endpoint is chosen for a request. "round_robin": in turn. "least_requests": the one
        /// with the fewest requests in flight for its weight. "p2c_ewma": of two that are drawn by
        /// weight, the one with the lower latency times requests in flight; the latency is an
        /// average that rises at once and falls slowly. "random": drawn by weight. Or a hash of the
        /// request. Each core chooses for itself, and counts its own requests.
        balance: Balance => KeyRule::default(Balance::RoundRobin);
        /// The connections to its endpoints.
        pool: PoolLimits => KeyRule::settings();
        /// How long its endpoints may keep us waiting.
        timeouts: UpstreamTimeouts => KeyRule::settings();
        /// When a request goes to another try, and how often.
        retry: Retry => KeyRule::settings();
        /// Checks that the gateway itself makes of each endpoint. Without, there are none.
        health: Option<HealthCheck> => KeyRule::optional_section();
        /// When an endpoint gets no requests for a while because it fails those that it gets. "off":
        /// failures are not remembered.
        eject: OrOff<EjectRules> => KeyRule::default(OrOff::On(EjectRules::default()));
        /// How many requests its endpoints may have at once, all of them together.
        in_flight: InFlight => KeyRule::settings();
        /// TLS towards its endpoints.
        tls: Option<UpstreamTls> => KeyRule::optional_section();
    }
}

section! {
    /// The connections to the endpoints of an upstream.
    #[derive(Copy, Eq, Hash)]
    pub settings PoolLimits {
        /// Connections at once, per node and endpoint, divided among the cores. When no endpoint has
        /// a connection left, a request waits if `queue_max` allows it, and is answered 503
        /// otherwise.
        connections_max: Limit<u32> => KeyRule::default(Limit::OFF).within_or_off(1..=10_000_000);
        /// Requests that wait at once because no endpoint has a connection left, per node, divided
        /// among the cores. The next free connection goes to the request that came first. "off": no
        /// request waits.
        queue_max: Limit<u32> => KeyRule::default(Limit::OFF).within_or_off(1..=1_000_000);
        /// How long a request may wait for a connection. Then it is answered 503.
        queue_timeout: Micros => KeyRule::default(Micros::secs(1)).within(SHORTEST..=LONGEST);
        /// Idle connections, per node and endpoint, divided among the cores.
        idle_max: u32 => KeyRule::default(1024).within(0..=1_000_000);
        /// For an idle connection. Then it is closed. Keep it below the endpoint's own keep-alive
        /// timeout.
        idle_timeout: Micros => KeyRule::default(Micros::secs(55)).within(SHORTEST..=LONGEST);
    }
}

section! {
    /// How long an upstream's endpoints may keep us waiting.
    #[derive(Copy, Eq, Hash)]
    pub settings UpstreamTimeouts {
        /// For a connection to an endpoint. Then another endpoint is tried, or 504.
        connect: Micros => KeyRule::default(Micros::secs(1)).within(SHORTEST..=LONGEST);
        /// From the end of the request to the first byte of the response. Then 504.
        first_byte: Limit<Micros> => KeyRule::default(Limit::at(Micros::secs(30)))
            .within_or_off(SHORTEST..=LONGEST);
        /// Between two pieces of a response. Then the client's connection is closed.
        between_bytes: Limit<Micros> => KeyRule::default(Limit::at(Micros::secs(30)))
            .within_or_off(SHORTEST..=LONGEST);
        /// For the whole of a request at the upstream: from the choice of the first endpoint, over all
        /// tries, to the last byte of the response. Then 504; where the response has begun, the
        /// client's connection is closed. A tunnel ends it.
        total: Limit<Micros> => KeyRule::default(Limit::OFF).within_or_off(SHORTEST..=LONGEST);
    }
}

section! {
    /// One address of an upstream.
    #[derive(Eq, Hash)]
    pub Endpoint short address {
        /// Its address: IP address and port, or "unix:/path". Or a name and a port ("dns:name:port"
        /// means the same): an endpoint for each IPv4 and IPv6 address of the name. Or "srv:" and a
        /// name: an endpoint for each place that its SRV records list, with the weights of the
        /// records, of the smallest priority that has addresses. See [Names](../operations.md#names).
        address: AddressOrName => KeyRule::required("\"127.0.0.1:9000\"");
        /// Its share of the requests, relative to the other endpoints. Of a name: the share of each
        /// of its addresses; the weight of an SRV record is multiplied by it. With 0 it gets none.
        weight: u32 => KeyRule::default(1).within(0..=WEIGHT_MAX);
        /// Endpoints of a larger number get requests when none of a smaller number is usable: all
        /// drain, have failed, or have no connection left.
        priority: u32 => KeyRule::default(0).within(0..=PRIORITY_MAX);
        /// Used when no endpoint is that is no backup, whatever its priority.
        backup: bool => KeyRule::default(false);
    }
}

impl Endpoint {
    /// Its share of the requests.
    #[must_use]
    pub const fn share(&self) -> EndpointShare {
        let behind_all = if self.backup { PRIORITY_MAX + 1 } else { 0 };
        EndpointShare { weight: self.weight, group: behind_all + self.priority }
    }
}

/// Nobody has more places for endpoints than this.
const PRIORITY_MAX: u32 = 100;

/// Larger ratios are not load balancing any more.
const WEIGHT_MAX: u32 = 1000;
