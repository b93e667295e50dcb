//! The counts that a worker sends to the control thread, once a second.
//!
//! Counts of a route are kept in a [`RouteBlock`], taken when the route is first used after a
//! report. A report sends the blocks themselves: nothing is copied, and the sums of the control thread
//! are exact, since a count is in one block only.

use std::ops::Deref;

use engine::reason::Reason;
use engine::snapshot::ListenerId;

use super::Totals;
use super::endpoint::EndpointCounts;
use super::histogram::Histogram;
use super::metric::metrics;
use super::tls::TlsCounts;
use crate::failure::Failure;

/// Different combinations of listener, status and reason that a block tells apart. An endpoint
/// that answers with made-up statuses fills it; the rest is counted in
/// [`RouteBlock::other`].
pub const ENDED_MAX: usize = 64;

/// The counts of the exchanges of one route.
#[derive(Clone, Debug, Default)]
pub struct RouteBlock {
    /// The name of the route; empty for requests that no route took.
    pub route: String,
    /// Requests by listener, status and reason; at most [`ENDED_MAX`].
    pub ended: Vec<EndCount>,
    /// Requests that found no place there.
    pub other: u64,
    /// From the first byte of the request's head to the last byte of the response, in microseconds.
    pub seconds: Histogram,
    /// Bytes of their bodies.
    pub bytes: RouteBytes,
}

metrics! {
    /// Bytes of the bodies of requests of a route and of their responses.
    pub numbers RouteBytes;
    pub rows ROUTE;

    "ringway_request_bytes_total" by Route
    "Bytes of request bodies, and of what clients have sent in tunnels" { incoming }

    "ringway_response_bytes_total" by Route
    "Bytes of response bodies, and of what clients were sent in tunnels" { outgoing }
}

/// Requests that ended alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndCount {
    /// Where they came in.
    pub listener: ListenerId,
    /// The status that the client was sent, or 499 when nobody was left to send it to.
    pub status: u16,
    /// Why the gateway answered by itself or gave up; none for responses of endpoints.
    pub reason: Option<Reason>,
    /// How many.
    pub count: u64,
}

impl RouteBlock {
    /// Counts one request.
    pub fn count(&mut self, listener: ListenerId, status: u16, reason: Option<Reason>) {
        let alike =
            |it: &&mut EndCount| (it.listener, it.status, it.reason) == (listener, status, reason);
        if let Some(known) = self.ended.iter_mut().find(alike) {
            known.count += 1;
        } else if self.ended.len() < ENDED_MAX {
            self.ended.push(EndCount { listener, status, reason, count: 1 });
        } else {
            self.other += 1;
        }
    }

    /// Empties it for another route, and keeps its memory.
    pub fn clear(&mut self) {
        self.route.clear();
        self.ended.clear();
        self.other = 0;
        self.bytes = RouteBytes::default();
        self.seconds = Histogram::default();
    }
}

metrics! {
    /// How a core stands at one moment.
    pub numbers Gauges;
    pub rows GAUGES;

    "ringway_accept_paused"
    "Listeners, counted on each core, that do not accept now: full (limits.connections_max), or short of descriptors or memory (resources)"
    trouble "listeners do not accept now" {
        accept_paused_for_room [reason = "full"],
        accept_paused_for_resources [reason = "resources"],
    }

    "ringway_waiting_requests"
    "Requests that wait: for a connection, because each pool of the upstream is full (pool_full), or for others to end (in_flight_full)" {
        waiting_for_connection [reason = "pool_full"],
        waiting_for_others [reason = "in_flight_full"],
    }

    "ringway_core_busy_seconds_total" by Core
    "CPU time that a core has used" { cpu_micros }
}

metrics! {
    /// How a listener stands on one core at one moment.
    pub numbers ListenerGauges;
    pub rows LISTENER;

    "ringway_client_connections" by Listener
    "Client connections open" { connections }

    "ringway_tunnels" by Listener
    "Client connections that have become tunnels, by an upgrade to WebSocket or another protocol, and are open" { tunnels }
}

metrics! {
    /// How an endpoint stands on one core at one moment.
    pub numbers EndpointGauges;
    pub rows ENDPOINT_GAUGES;

    "ringway_upstream_connections" by Upstream
    "Connections to endpoints that wait in a pool (idle) or carry a request (active)" {
        idle [state = "idle"],
        active [state = "active"],
    }

    "ringway_endpoint_ejected_cores" by Endpoint
    "Cores that send an endpoint no requests now, because tries have failed" { ejected }

    "ringway_in_flight" by Upstream
    "Tries that run: requests that an endpoint has and has not answered to their end" { in_flight }
}

/// An endpoint on one core.
#[derive(Clone, Debug, Default)]
pub struct EndpointBlock {
    /// The name of its upstream.
    pub upstream: String,
    /// Its address, as in the configuration.
    pub endpoint: String,
    /// How it stands, and its counts.
    pub numbers: EndpointNumbers,
}

/// How an endpoint stands on one core, and what has happened since the last report.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndpointNumbers {
    /// How it stands.
    pub gauges: EndpointGauges,
    /// Its tries since the last report.
    pub counts: EndpointCounts,
    /// The last failure since the last report.
    pub last_failure: Option<Failure>,
}

impl EndpointBlock {
    /// Replaces its content, in the memory that it has.
    pub fn set(&mut self, upstream: &str, endpoint: &str, numbers: EndpointNumbers) {
        self.upstream.clear();
        self.upstream.push_str(upstream);
        self.endpoint.clear();
        self.endpoint.push_str(endpoint);
        self.numbers = numbers;
    }
}

/// A listener on one core.
#[derive(Clone, Copy, Debug)]
pub struct ListenerBlock {
    /// Which one.
    pub id: ListenerId,
    /// How it stands.
    pub gauges: ListenerGauges,
    /// Its TLS handshakes since the core knows it; none without TLS.
    pub tls: Option<TlsCounts>,
}

/// The report of a core. It travels to the control thread full and comes back empty, with all the
/// memory that it has.
#[derive(Clone, Debug, Default)]
pub struct CoreBlock {
    /// Which core.
    pub core: usize,
    /// Its counts since it started.
    pub totals: Totals,
    /// How it stands.
    pub gauges: Gauges,
    /// Bytes of buffers that are lent.
    pub buffer_bytes_lent: u64,
    /// Bytes of buffers that wait in the pool.
    pub buffer_bytes_idle: u64,
    /// Its listeners.
    pub listeners: Vec<ListenerBlock>,
    /// The endpoints of the upstreams that it has used.
    pub endpoints: Reused<EndpointBlock>,
    /// The counts of routes since the last report.
    pub routes: Vec<Box<RouteBlock>>,
}

impl CoreBlock {
    /// Empties it.
    pub fn clear(&mut self) {
        self.listeners.clear();
        self.endpoints.clear();
        self.routes.iter_mut().for_each(|block| block.clear());
    }
}

/// A list that keeps its elements when it is cleared, with the memory that they hold.
#[derive(Clone, Debug, Default)]
pub struct Reused<T> {
    all: Vec<T>,
    /// Elements that count.
    used: usize,
}

impl<T: Default> Reused<T> {
    /// Adds an element. `write` may find an earlier content, and replaces all of it.
    pub fn add(&mut self, write: impl FnOnce(&mut T)) {
        match self.all.get_mut(self.used) {
            Some(element) => write(element),
            None => {
                let mut element = T::default();
                write(&mut element);
                self.all.push(element);
            }
        }
        self.used += 1;
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.used = 0;
    }
}

impl<T> Deref for Reused<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.all.get(..self.used).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cleared_list_is_empty_and_keeps_the_memory_of_its_elements() {
        let mut list = Reused::<String>::default();
        list.add(|it| it.push_str("a long text that was allocated"));
        list.add(|it| it.push('b'));
        assert_eq!(list.len(), 2);
        let before = list[0].as_ptr();
        list.clear();
        assert!(list.is_empty());
        list.add(|it| {
            it.clear();
            it.push('c');
        });
        assert_eq!((&*list, list[0].as_ptr()), (&["c".to_owned()][..], before));
    }
}
