//! The facilities of one core: network, buffers, deadlines, counts, the way to the control thread.
//!
//! They know no configuration, so every other module of the data plane may use them. The state that
//! follows the configuration stands above them, in [`CoreState`](crate::state::CoreState). No other core
//! sees any of it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use engine::request_id::Generator;
use engine::time::Instant;
use proto::date::{Date, imf_fixdate};
use proto::head::{RequestHead, ResponseHead};

use crate::deadline::Wheel;
use crate::net::Net;
use crate::net::buffer::BufferPool;
use crate::spares::Spares;
use crate::telemetry::reporter::{Outbox, Reporter};
use crate::telemetry::{Counters, Totals};
use crate::tls::turns::Turns;

/// How often a core does its regular work that no task waits for, in microseconds.
pub const SWEEP_MICROS: u64 = 1_000_000;

/// Which core of how many, and its part of the limits of the node.
#[derive(Clone, Copy, Debug)]
pub struct CoreShare {
    /// Which of the workers this is, from 0.
    pub core: usize,
    /// How many workers there are.
    pub cores: usize,
    /// Its part of the node's buffers, in bytes.
    pub buffer_bytes_max: usize,
    /// Its part of the process's descriptors, for connections; `usize::MAX` when that is not
    /// bounded.
    pub descriptors_max: usize,
    /// Differs from worker to worker; request ids start from it.
    pub seed: u64,
    /// The same on all cores of the node, another one at each start; balancing starts from it.
    pub node_seed: u64,
}

impl CoreShare {
    /// This core's part of a limit per node: an equal share, at least one unless the limit is 0,
    /// since the kernel may send any connection to any core. `usize::MAX` stands for "off".
    #[must_use]
    pub fn of(self, per_node: usize) -> usize {
        let cores = self.cores.max(1);
        match per_node {
            0 | usize::MAX => per_node,
            _ => (per_node / cores + usize::from(self.core < per_node % cores)).max(1),
        }
    }
}

/// See the module.
pub struct Core<N: Net> {
    /// Its network.
    pub net: N,
    /// Its buffers.
    pub buffers: BufferPool,
    /// Its deadlines.
    pub wheel: Wheel,
    /// Its counts.
    pub counters: Counters,
    /// Request heads that are not in use.
    pub request_heads: Spares<RequestHead>,
    /// Response heads that are not in use.
    pub response_heads: Spares<ResponseHead>,
    /// Makes request ids.
    pub request_ids: RefCell<Generator>,
    /// Its way to the control thread.
    pub reporter: Rc<Reporter>,
    /// The order in which TLS handshakes compute.
    pub turns: Turns,
    /// Its part of the node.
    pub share: CoreShare,
    /// Client connections open now.
    pub connections: Cell<usize>,
    /// Connections to endpoints that exist.
    pub(crate) endpoint_connections: Rc<Cell<usize>>,
    /// Accepting had to wait in the last second or so. No connection stays busy while nothing comes
    /// on it, so that it can be closed for another.
    pub(crate) pressed: Cell<bool>,
    /// Listeners that wait for one of their connections to end.
    pub(crate) paused_for_room: Cell<u64>,
    /// Listeners that wait for descriptors or memory.
    pub(crate) paused_for_resources: Cell<u64>,
    /// Requests of filters that run and that nobody waits for.
    pub(crate) later: Cell<usize>,
    /// The core takes no new request; running ones may finish.
    pub draining: Cell<bool>,
    /// The drain deadline has passed: everything that can be ended ends.
    pub cut: Cell<bool>,
    /// The time of day at the zero of the core's clock, in microseconds since 1970. Looked up once a
    /// second, so that a record costs no look at the clock.
    pub(crate) unix_micros_at_zero: Cell<u64>,
    /// The parties that speak the test protocol.
    #[cfg(feature = "mux")]
    pub mux: crate::mux::MuxSwitch,
    /// The second since 1970 whose date was written out last, and that date.
    date: Cell<(u64, Date)>,
}

impl<N: Net> Core<N> {
    /// A core with nothing open.
    #[must_use]
    pub fn new(net: N, share: CoreShare, outbox: Outbox) -> Self {
        let zero = unix_micros_at_zero(&net);
        Self {
            net,
            buffers: BufferPool::new(share.buffer_bytes_max),
            wheel: Wheel::default(),
            counters: Counters::default(),
            request_heads: Spares::default(),
            response_heads: Spares::default(),
            request_ids: RefCell::new(Generator::new(share.seed)),
            reporter: Rc::new(Reporter::new(share.core, outbox)),
            turns: Turns::default(),
            share,
            connections: Cell::new(0),
            endpoint_connections: Rc::default(),
            pressed: Cell::new(false),
            paused_for_room: Cell::new(0),
            paused_for_resources: Cell::new(0),
            later: Cell::new(0),
            draining: Cell::new(false),
            cut: Cell::new(false),
            unix_micros_at_zero: Cell::new(zero),
            #[cfg(feature = "mux")]
            mux: crate::mux::MuxSwitch::default(),
            date: Cell::new((0, imf_fixdate(0))),
        }
    }

    /// Whether all connections, also those that are about to be made, are within this core's part of
    /// the descriptors.
    pub(crate) fn has_descriptors(&self) -> bool {
        self.connections.get() + self.endpoint_connections.get() <= self.share.descriptors_max
    }

    /// Follows the time of day, which may be set.
    pub(crate) fn set_clock(&self) {
        self.unix_micros_at_zero.set(unix_micros_at_zero(&self.net));
    }

    /// The value of Date now. A second is written out once, however many responses need it.
    pub(crate) fn date(&self) -> Date {
        let Instant(now) = self.net.now();
        let second = (self.unix_micros_at_zero.get() + now) / 1_000_000;
        match self.date.get() {
            (of, date) if of == second => date,
            _ => {
                let date = imf_fixdate(second);
                self.date.set((second, date));
                date
            }
        }
    }

    /// Its counts since it started.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let panics = self.net.panics() + self.counters.panics.total();
        Totals { panics, timers: self.wheel.sleeps(), ..self.counters.totals() }
    }
}

/// Frees a descriptor where the core is short of them, by closing an idle connection.
pub trait Shed {
    /// Frees one for a connection to an endpoint; `false` when no connection is idle. Closing takes
    /// a turn.
    fn for_endpoint(&self) -> bool;
}

/// The time of day at the zero of a network's clock, in microseconds since 1970.
fn unix_micros_at_zero<N: Net>(net: &N) -> u64 {
    let Instant(now) = net.now();
    net.unix_micros().saturating_sub(now)
}
