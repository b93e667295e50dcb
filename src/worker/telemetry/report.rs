//! What a worker tells the control thread of its counts, once a second.
//!
//! Counts of a route are kept in a [`RouteBlock`], taken when the route is first used after a
//! report. A report sends the blocks themselves: nothing is copied, and what the control thread
//! adds up is exact, since a count is in one block only.

use engine::reason::Reason;
use engine::snapshot::ListenerId;

use super::histogram::Histogram;

/// Different combinations of listener, status and reason that a block tells apart. An endpoint
/// that answers with made-up statuses fills it; what does not fit is counted in
/// [`RouteBlock::other`].
pub const CELLS_MAX: usize = 64;

/// What exchanges of one route counted.
#[derive(Clone, Debug, Default)]
pub struct RouteBlock {
    /// The name of the route; empty for requests that no route took.
    pub route: String,
    /// Requests by listener, status and reason; at most [`CELLS_MAX`].
    pub cells: Vec<Cell>,
    /// Requests that found no cell.
    pub other: u64,
    /// From the first byte of the request's head to the last byte of the response, in microseconds.
    pub seconds: Histogram,
    /// Bytes of request bodies.
    pub bytes_in: u64,
    /// Bytes of response bodies.
    pub bytes_out: u64,
}

/// Requests that ended alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
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
            |it: &&mut Cell| (it.listener, it.status, it.reason) == (listener, status, reason);
        if let Some(cell) = self.cells.iter_mut().find(alike) {
            cell.count += 1;
        } else if self.cells.len() < CELLS_MAX {
            self.cells.push(Cell { listener, status, reason, count: 1 });
        } else {
            self.other += 1;
        }
    }

    /// Empties it for another route, and keeps what it has allocated.
    pub fn clear(&mut self) {
        self.route.clear();
        self.cells.clear();
        (self.other, self.bytes_in, self.bytes_out) = (0, 0, 0);
        self.seconds = Histogram::default();
    }
}

/// How a core stands at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// The version that it serves by.
    pub version: u64,
    /// Client connections open, by listener.
    pub client_connections: Vec<(ListenerId, u64)>,
    /// Listeners that do not accept because they have as many connections as they may have.
    pub accept_paused_for_room: u64,
    /// Listeners that do not accept for want of descriptors or memory.
    pub accept_paused_for_resources: u64,
    /// Tunnels open, by listener: connections that are counted as client connections too.
    pub tunnels: Vec<(ListenerId, u64)>,
    /// Connections to endpoints by upstream: name, idle, in use.
    pub endpoint_connections: Vec<(String, u64, u64)>,
    /// Bytes of buffers that are lent.
    pub buffer_bytes_lent: u64,
    /// Bytes of buffers that wait in the pool.
    pub buffer_bytes_idle: u64,
    /// CPU time that the worker's thread has used since it started, in microseconds.
    pub cpu_micros: u64,
}
