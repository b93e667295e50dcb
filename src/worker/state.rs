//! What the tasks of one core share: its network, buffers, deadlines, table, pools and counts.
//!
//! Nothing in here is seen by another core.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::rc::{Rc, Weak};

use engine::request_id::Generator;
use engine::snapshot::{ListenerId, RouteId, Snapshot};
use engine::time::Instant;
use proto::date::{Date, imf_fixdate};
use proto::head::{RequestHead, ResponseHead};

use crate::deadline::Wheel;
use crate::listener::ListenerSlot;
use crate::net::buffer::BufferPool;
use crate::net::{Listener, Net};
use crate::snapshot::CoreSnapshot;
use crate::telemetry::report::{Gauges, ListenerGauges, RouteBlock};
use crate::telemetry::reporter::{Outbox, Reporter};
use crate::telemetry::{Counters, Totals};
use crate::upstream::Upstreams;

/// Which core of how many, and what of the node is its own.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Which of the workers this is, from 0.
    pub core: usize,
    /// How many workers there are.
    pub cores: usize,
    /// Its part of the node's buffers, in bytes.
    pub buffer_bytes_max: usize,
    /// Its part of the process's descriptors, for connections; `usize::MAX` when that is not
    /// bounded.
    pub descriptors_max: usize,
    /// Differs from worker to worker; request ids and balancing start from it.
    pub seed: u64,
}

impl Place {
    /// This core's part of a limit per node: an equal share, at least one unless the limit is 0,
    /// since the kernel may send any connection to any core. `usize::MAX` stands for "off".
    #[must_use]
    pub fn share(self, per_node: usize) -> usize {
        let cores = self.cores.max(1);
        match per_node {
            0 | usize::MAX => per_node,
            _ => (per_node / cores + usize::from(self.core < per_node % cores)).max(1),
        }
    }
}

/// One core's state.
pub struct Core<N: Net> {
    /// Its network.
    pub net: N,
    /// Its buffers.
    pub buffers: BufferPool,
    /// Its deadlines.
    pub wheel: Wheel,
    /// Its counts.
    pub counters: Counters,
    /// Heads that are not in use.
    pub request_heads: Shelf<RequestHead>,
    /// Heads that are not in use.
    pub response_heads: Shelf<ResponseHead>,
    /// Makes request ids.
    pub request_ids: RefCell<Generator>,
    /// Its way to the control thread.
    pub reporter: Rc<Reporter>,
    /// Client connections open now.
    pub connections: Cell<usize>,
    /// Connections to endpoints that exist.
    pub(crate) endpoint_connections: Rc<Cell<usize>>,
    /// Accepting had to wait in the last second or so: no connection stays busy while nothing comes
    /// on it, so that it can be given up.
    pub(crate) pressed: Cell<bool>,
    /// Listeners that wait for one of their connections to end.
    pub(crate) paused_for_room: Cell<u64>,
    /// Listeners that wait for descriptors or memory.
    pub(crate) paused_for_resources: Cell<u64>,
    /// No new request is taken; what runs may finish.
    pub draining: Cell<bool>,
    /// The drain deadline has come: what still runs and can be ended, ends.
    pub cut: Cell<bool>,
    /// The time of day at the zero of the core's clock, in microseconds since 1970; looked up once a
    /// second, so that a record costs no look at the clock.
    pub(crate) unix_micros_at_zero: Cell<u64>,
    /// The second since 1970 whose date was written out last, and that date.
    date: Cell<(u64, Date)>,
    place: Place,
    snapshot: RefCell<Rc<CoreSnapshot<N>>>,
    listeners: RefCell<Vec<Bound<N>>>,
    upstreams: Rc<Upstreams<N>>,
}

/// A listener and its socket, which its accept task owns: it is closed when that ends.
struct Bound<N: Net> {
    slot: Rc<ListenerSlot>,
    socket: Weak<N::Listener>,
}

impl<N: Net> Core<N> {
    /// The state of a core with nothing open.
    #[must_use]
    pub fn new(net: N, table: Box<Snapshot>, place: Place, outbox: Outbox) -> Rc<Self> {
        let reporter = Rc::new(Reporter::new(place.core, outbox));
        let upstreams = Rc::new(Upstreams::new(place, table.number));
        let snapshot = CoreSnapshot::new(table, Rc::clone(&upstreams), Rc::clone(&reporter));
        let zero = unix_micros_at_zero(&net);
        Rc::new(Self {
            net,
            buffers: BufferPool::new(place.buffer_bytes_max),
            wheel: Wheel::default(),
            counters: Counters::default(),
            request_heads: Shelf::default(),
            response_heads: Shelf::default(),
            request_ids: RefCell::new(Generator::new(place.seed)),
            connections: Cell::new(0),
            endpoint_connections: Rc::default(),
            pressed: Cell::new(false),
            paused_for_room: Cell::new(0),
            paused_for_resources: Cell::new(0),
            draining: Cell::new(false),
            cut: Cell::new(false),
            unix_micros_at_zero: Cell::new(zero),
            date: Cell::new((0, imf_fixdate(0))),
            place,
            snapshot: RefCell::new(Rc::new(snapshot)),
            reporter,
            listeners: RefCell::default(),
            upstreams,
        })
    }

    /// The version that an exchange starting now keeps to its end.
    #[must_use]
    pub fn snapshot(&self) -> Rc<CoreSnapshot<N>> {
        Rc::clone(&self.snapshot.borrow())
    }

    /// Begins to listen: the caller runs the accept task of what is returned.
    pub(crate) fn listen(
        &self,
        snapshot: &CoreSnapshot<N>,
        id: ListenerId,
        socket: N::Listener,
    ) -> Option<(Rc<N::Listener>, Rc<ListenerSlot>)> {
        let slot =
            Rc::new(ListenerSlot::new(snapshot.table().listener(id)?, socket.port(), self.place));
        let socket = Rc::new(socket);
        let bound = Bound { slot: Rc::clone(&slot), socket: Rc::downgrade(&socket) };
        self.listeners.borrow_mut().push(bound);
        Some((socket, slot))
    }

    /// Serves by `table` from now on. What it does not change keeps its connections and counts;
    /// listeners that it does not name end with the requests under way on them. Whether there are
    /// such, so that connections must look around.
    #[must_use]
    pub(crate) fn switch(&self, table: Box<Snapshot>) -> bool {
        let mut ends = false;
        for Bound { slot, socket } in self.listeners.borrow().iter() {
            if let Some(settings) = table.listener(slot.id) {
                slot.set(settings, self.place);
            } else if !slot.closing.replace(true) {
                ends = true;
                slot.look_around();
                if let Some(socket) = socket.upgrade() {
                    socket.cancel_accept();
                }
            }
        }
        self.upstreams.switch(&table);
        let (upstreams, reporter) = (Rc::clone(&self.upstreams), Rc::clone(&self.reporter));
        let snapshot = Rc::new(CoreSnapshot::new(table, upstreams, reporter));
        let before = self.snapshot.replace(snapshot);
        // Exchanges may keep it for hours; what it has counted so far is not theirs to keep.
        self.reporter.keep(|kept| before.take_blocks(kept));
        ends
    }

    /// Counts the end of an exchange of `snapshot`.
    pub(crate) fn count(
        &self,
        snapshot: &Rc<CoreSnapshot<N>>,
        route: Option<RouteId>,
        count: impl FnOnce(&mut RouteBlock),
    ) {
        snapshot.count(route, count);
        if !Rc::ptr_eq(&self.snapshot.borrow(), snapshot) {
            self.reporter.keep(|kept| snapshot.take_blocks(kept));
        }
    }

    /// Counts the end of what began as an exchange of a route of that name, in a version that may
    /// be gone.
    pub(crate) fn count_by_name(&self, route: &str, count: impl FnOnce(&mut RouteBlock)) {
        let snapshot = self.snapshot();
        if let Some(route) = snapshot.table().route_by_name(route) {
            return snapshot.count(Some(route), count);
        }
        let mut block = self.reporter.block();
        block.route.push_str(route);
        count(&mut block);
        self.reporter.keep(|kept| kept.push(block));
    }

    /// The drain deadline has come. Those that are open must look around.
    pub(crate) fn cut(&self) {
        self.cut.set(true);
    }

    /// Takes no more connections. Those that are open must look around.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        for Bound { slot, socket } in self.listeners.borrow().iter() {
            slot.look_around();
            if let Some(socket) = socket.upgrade() {
                socket.cancel_accept();
            }
        }
        self.close_idle();
    }

    /// This core's part of the process's descriptors.
    pub(crate) const fn descriptors_max(&self) -> usize {
        self.place.descriptors_max
    }

    /// Client connections that are idle.
    pub(crate) fn idle_clients(&self) -> usize {
        self.listeners.borrow().iter().map(|bound| bound.slot.idle.len()).sum()
    }

    /// The listeners that have sockets or connections.
    pub(crate) fn listener_slots(&self) -> Vec<Rc<ListenerSlot>> {
        self.listeners.borrow().iter().map(|bound| Rc::clone(&bound.slot)).collect()
    }

    /// Makes listeners that do not accept look whether they can.
    pub(crate) fn look_around(&self) {
        if self.paused_for_resources.get() > 0 {
            self.listeners.borrow().iter().for_each(|bound| bound.slot.look_around());
        }
    }

    /// Whether connections still come in.
    pub(crate) fn accepts(&self) -> bool {
        self.listeners.borrow().iter().any(|bound| bound.socket.strong_count() > 0)
    }

    /// Closes idle endpoint connections that are too old or that their endpoint has closed, and
    /// forgets listeners that have ended.
    pub fn sweep(&self) {
        let now = self.net.now();
        let paused = self.paused_for_room.get() + self.paused_for_resources.get();
        self.pressed.set(paused > 0);
        self.upstreams.sweep(now);
        self.listeners.borrow_mut().retain(|Bound { slot, socket }| {
            !slot.closing.get() || slot.connections() > 0 || socket.strong_count() > 0
        });
    }

    /// Closes the endpoint connection that has been idle for the longest time; `false` when none
    /// is idle.
    pub(crate) fn close_oldest_idle(&self) -> bool {
        self.upstreams.close_oldest_idle()
    }

    /// Closes every idle endpoint connection.
    pub fn close_idle(&self) {
        self.upstreams.close_idle();
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

    /// What the core has counted.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let panics = self.net.panics() + self.counters.panics.total();
        Totals { panics, timers: self.wheel.sleeps(), ..self.counters.totals() }
    }

    /// Reports counts and records to the control thread. Nothing is allocated for it, once the
    /// blocks go to and fro. `last`: the core ends.
    pub(crate) fn report(&self, last: bool) {
        self.reporter.report(last, |block| {
            block.totals = self.totals();
            block.gauges = Gauges {
                accept_paused_for_room: self.paused_for_room.get(),
                accept_paused_for_resources: self.paused_for_resources.get(),
                cpu_micros: self.net.cpu_micros(),
            };
            block.buffer_bytes_lent = self.buffers.lent_bytes() as u64;
            block.buffer_bytes_idle = self.buffers.idle_bytes() as u64;
            let listener = |Bound { slot, .. }: &Bound<N>| {
                let connections = slot.connections() as u64;
                (slot.id, ListenerGauges { connections, tunnels: slot.tunnels() as u64 })
            };
            block.listeners.extend(self.listeners.borrow().iter().map(listener));
            self.upstreams.report(&mut block.endpoints);
            let snapshot = self.snapshot();
            self.reporter.put_routes(&mut block.routes, |routes| snapshot.take_blocks(routes));
        });
        self.reporter.flush_records();
    }
}

/// The time of day at the zero of a network's clock, in microseconds since 1970.
fn unix_micros_at_zero<N: Net>(net: &N) -> u64 {
    let Instant(now) = net.now();
    net.unix_micros().saturating_sub(now)
}

/// Heads that are not in use, kept for their capacity; the one used last on top.
#[derive(Debug)]
pub struct Shelf<T>(RefCell<Vec<Box<T>>>);

/// Heads that a shelf keeps. As many as exchanges run at once on a busy core; a head is 1 to 2 KiB.
const SHELF_MAX: usize = 512;

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

/// What can lie on a shelf.
pub trait Blank {
    /// An empty one.
    fn blank() -> Self;
    /// Empties it and keeps its capacity.
    fn wipe(&mut self);
}

impl Blank for RequestHead {
    fn blank() -> Self {
        Self::new()
    }

    fn wipe(&mut self) {
        self.clear();
    }
}

impl Blank for ResponseHead {
    fn blank() -> Self {
        Self::new()
    }

    fn wipe(&mut self) {
        self.clear();
    }
}

impl<T: Blank> Shelf<T> {
    /// An empty head; it comes back when dropped.
    pub fn take(&self) -> Shelved<'_, T> {
        let head = self.0.borrow_mut().pop().unwrap_or_else(|| Box::new(T::blank()));
        Shelved { shelf: self, head: Some(head) }
    }
}

/// A head in use.
pub struct Shelved<'a, T: Blank> {
    shelf: &'a Shelf<T>,
    head: Option<Box<T>>,
}

impl<T: Blank> Deref for Shelved<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.head {
            Some(head) => head,
            None => unreachable!("a head leaves its loan only in drop"),
        }
    }
}

impl<T: Blank> DerefMut for Shelved<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.head {
            Some(head) => head,
            None => unreachable!("a head leaves its loan only in drop"),
        }
    }
}

impl<T: Blank> Drop for Shelved<'_, T> {
    fn drop(&mut self) {
        let Some(mut head) = self.head.take() else { return };
        let mut shelf = self.shelf.0.borrow_mut();
        if shelf.len() < SHELF_MAX {
            head.wipe();
            shelf.push(head);
        }
    }
}
