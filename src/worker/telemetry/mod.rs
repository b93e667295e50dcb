//! The counts of a core. Plain cells, core-local; the control thread gets sums.
//!
//! A metric is a row: of [`CORE`] here, or of a table in [`report`]. [`metric`] says what follows
//! from it.

pub mod endpoint;
pub mod histogram;
pub mod metric;
pub mod record;
pub mod report;
pub mod reporter;
pub mod tls;

use std::fmt;

use metric::metrics;

pub use metric::Counter;

metrics! {
    /// A core's counts.
    pub cells Counters;
    /// Counts as they stood at one moment, on one core or added up over several.
    pub numbers Totals;
    pub rows CORE;

    "ringway_core_requests_total" by Core
    "Requests that ended on a core, however they ended" { requests }

    "ringway_replies_total"
    "Requests that the gateway answered itself because of a reason; see ringway_requests_total for it" { replies }

    "ringway_limited_total"
    "Requests that a filter refused because its limit was reached; see ringway_requests_total for the routes" {
        rate_limited [filter = "rate_limit"],
        concurrency_limited [filter = "concurrency"],
    }

    "ringway_broken_total"
    "Exchanges that ended without a complete response" { broken }

    "ringway_retries_total"
    "Further tries of a request; ringway_upstream_retries_total tells why" { retries }

    "ringway_mirror_dropped_total"
    "Copies of requests that the filter mirror did not send, because too many were under way or the core was draining" { copies_dropped }

    "ringway_client_connections_total"
    "Client connections accepted" { client_connections }

    "ringway_client_connections_refused_total"
    "Client connections closed at once; per_client: limits.connections_per_client_max"
    trouble "client connections refused" {
        client_refused [reason = "per_client"],
    }

    "ringway_client_connections_shed_total"
    "Client connections closed while they were idle, because descriptors had run out or the listener was full"
    trouble "idle client connections closed for room" { client_shed }

    "ringway_h2_protocol_errors_total"
    "Client connections in HTTP/2 that ended with GOAWAY, because the client broke the protocol or flooded it"
    trouble "HTTP/2 clients that broke the protocol" { client_protocol_errors }

    "ringway_accept_errors_total"
    "Accepts that failed because descriptors or the memory of the kernel had run out, or because the client was gone (other)"
    trouble "accepts failed" {
        accept_errors_descriptors [kind = "descriptors"],
        accept_errors_memory [kind = "memory"],
        accept_errors_other [kind = "other"],
    }

    "ringway_accept_pauses_total"
    "Times that accepting paused because descriptors or memory had run out; if it grows, raise the limit of descriptors"
    trouble "pauses of accepting" { accept_pauses }

    "ringway_tunnels_total"
    "Tunnels that began" { tunnels }

    "ringway_tunnel_bytes_total"
    "Bytes that tunnels have passed on, from clients (in) and to clients (out), while they do; by route they are counted when a tunnel ends" {
        tunnel_bytes_in [direction = "in"],
        tunnel_bytes_out [direction = "out"],
    }

    "ringway_upstream_connects_total"
    "Connections opened to endpoints" { endpoint_opened }

    "ringway_upstream_connects_exhausted_total"
    "Connections to endpoints that could not be made because the gateway itself had no descriptor, memory or local port"
    trouble "connects without descriptor, memory or port" { connects_exhausted }

    "ringway_upstream_reused_total"
    "Requests sent on a connection from a pool" { endpoint_reused }

    "ringway_panics_total"
    "Connections that ended by a mistake of ours; the log has the message"
    trouble "panics" { panics }

    "ringway_timers_total"
    "Timers that the deadlines of all connections have asked of the runtime; grows with busy time, not with requests" { timers }
}

impl Totals {
    /// Accepts that failed.
    #[must_use]
    pub const fn accept_errors(&self) -> u64 {
        self.accept_errors_descriptors + self.accept_errors_memory + self.accept_errors_other
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sends = self.endpoint_opened + self.endpoint_reused;
        #[expect(clippy::cast_precision_loss, reason = "a share for people to read")]
        let share = if sends == 0 { 0.0 } else { self.endpoint_reused as f64 / sends as f64 };
        write!(
            f,
            "{} requests ({} answered by the gateway, {} broken, {} retried) on {} client \
             connections; {} endpoint connections opened, {:.3} % of requests on a reused one; {} \
             panics, {} accept errors, {} timers",
            self.requests,
            self.replies,
            self.broken,
            self.retries,
            self.client_connections,
            self.endpoint_opened,
            share * 100.0,
            self.panics,
            self.accept_errors(),
            self.timers,
        )
    }
}
