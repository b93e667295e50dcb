//! The state of one core: its facilities, its version of the configuration, and the slots that
//! outlive a version.
//!
//! The operations in this file need several of these at once: to switch, drain, sweep and report,
//! and to close idle connections where others need their descriptors. No other core sees any of it.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use engine::limit::{LimitId, ToBorrower};
use engine::names::Answers;
use engine::snapshot::{ListenerId, ListenerSettings, Snapshot};
use engine::time::Instant;

use crate::core::{Core, CoreShare, Shed};
use crate::filter::Filters;
use crate::limit::Limits;
use crate::listener::{ListenerSlot, Seat};
use crate::message::Fact;
use crate::net::{Listener, Net};
use crate::slots::{Kept, KeptSlot};
use crate::snapshot::CoreSnapshot;
use crate::telemetry::report::{Gauges, ListenerBlock, ListenerGauges, RouteBlock};
use crate::telemetry::reporter::Outbox;
use crate::upstream::Upstreams;

/// See the module.
pub struct CoreState<N: Net> {
    /// Its facilities.
    pub core: Core<N>,
    snapshot: RefCell<Rc<CoreSnapshot<N>>>,
    listeners: Kept<ListenerId, BoundListener<N>>,
    upstreams: Rc<Upstreams<N>>,
    filters: Rc<Filters>,
    limits: Rc<Limits>,
}

/// A listener and its socket. The accept task owns the socket, and closes it when it ends.
struct BoundListener<N: Net> {
    slot: Rc<ListenerSlot>,
    socket: Weak<N::Listener>,
}

impl<N: Net> BoundListener<N> {
    /// Makes the accept task look whether it must end, or may go on.
    fn wake_accept(&self) {
        self.slot.wake_accept();
        if let Some(socket) = self.socket.upgrade() {
            socket.cancel_accept();
        }
    }
}

impl<N: Net> KeptSlot for BoundListener<N> {
    type Settings = ListenerSettings;

    fn follow(&self, settings: &ListenerSettings) {
        self.slot.follow(settings);
    }

    fn retire(&self) {
        self.slot.closing.set(true);
        self.wake_accept();
    }

    fn is_done(&self) -> bool {
        self.slot.connections() == 0 && self.socket.strong_count() == 0
    }
}

impl<N: Net> Shed for CoreState<N> {
    fn for_endpoint(&self) -> bool {
        self.shed(true)
    }
}

impl<N: Net> CoreState<N> {
    /// The state of a core with nothing open.
    #[must_use]
    pub fn new(net: N, table: Box<Snapshot>, share: CoreShare, outbox: Outbox) -> Rc<Self> {
        let core = Core::new(net, share, outbox);
        let upstreams =
            Rc::new(Upstreams::new(share, table.number, Rc::clone(&core.endpoint_connections)));
        let filters = Rc::new(Filters::new(share, table.number));
        let limits = Rc::new(Limits::new(share, table.number, Rc::clone(&core.reporter)));
        let slots = (Rc::clone(&upstreams), Rc::clone(&filters), Rc::clone(&limits));
        let snapshot = CoreSnapshot::new(table, slots, Rc::clone(&core.reporter));
        let snapshot = RefCell::new(Rc::new(snapshot));
        let listeners = Kept::default();
        Rc::new(Self { core, snapshot, listeners, upstreams, filters, limits })
    }

    /// The present version. An exchange keeps the version that it starts with to its end.
    #[must_use]
    pub fn snapshot(&self) -> Rc<CoreSnapshot<N>> {
        Rc::clone(&self.snapshot.borrow())
    }

    /// Begins to listen. The caller runs the accept task with the returned socket and slot.
    pub(crate) fn listen(
        &self,
        snapshot: &CoreSnapshot<N>,
        id: ListenerId,
        socket: N::Listener,
    ) -> Option<(Rc<N::Listener>, Rc<ListenerSlot>)> {
        let settings = snapshot.table().listener(id)?;
        let slot = Rc::new(ListenerSlot::new(settings, socket.port(), self.core.share));
        let socket = Rc::new(socket);
        let bound = BoundListener { slot: Rc::clone(&slot), socket: Rc::downgrade(&socket) };
        self.listeners.put(id, Rc::new(bound));
        Some((socket, slot))
    }

    /// Serves by `table` from now on, whose names have these answers. Listeners, upstreams and endpoints that stay keep their
    /// connections and counts; a listener that is gone ends with the requests under way on it.
    /// Returns whether a listener is gone: then the caller must wake its connections.
    #[must_use]
    pub(crate) fn switch(&self, table: Box<Snapshot>, answers: Answers) -> bool {
        let retiring = self.listeners.switch(|id| table.listener(*id));
        self.upstreams.switch(&table, answers);
        self.filters.switch(&table);
        self.limits.switch(&table);
        let slots = (Rc::clone(&self.upstreams), Rc::clone(&self.filters), Rc::clone(&self.limits));
        let snapshot = CoreSnapshot::new(table, slots, Rc::clone(&self.core.reporter));
        let snapshot = Rc::new(snapshot);
        self.snapshot.replace(snapshot).retire();
        retiring > 0
    }

    /// Sets the answers for the names of the first version, before any request.
    pub(crate) fn start_with(&self, answers: Answers) {
        self.upstreams.start_with(answers);
    }

    /// Takes in a fact.
    pub(crate) fn learn(&self, fact: &Fact) {
        match fact {
            Fact::Endpoint { upstream, address, state } => {
                let snapshot = self.snapshot();
                self.upstreams.set_endpoint_state(snapshot.table(), upstream, address, *state);
            }
            Fact::Checked { upstream, address, passes } => {
                let snapshot = self.snapshot();
                self.upstreams.set_endpoint_checks(snapshot.table(), upstream, address, *passes);
            }
            Fact::Name { name, places } => {
                self.upstreams.learn_name(self.snapshot().table(), name, places);
            }
        }
    }

    /// Takes in news about the credit of a limit.
    pub(crate) fn hear(&self, limit: LimitId, news: ToBorrower) {
        self.limits.hear(self.snapshot().table(), limit, news, self.core.net.now());
    }

    /// Counts the end of an exchange that began on the route of this name, in a version that may be
    /// gone.
    pub(crate) fn count_by_name(&self, route: &str, count: impl FnOnce(&mut RouteBlock)) {
        let snapshot = self.snapshot();
        if let Some(route) = snapshot.table().route_by_name(route) {
            return snapshot.count(Some(route), count);
        }
        let mut block = self.core.reporter.block();
        block.route.push_str(route);
        count(&mut block);
        self.core.reporter.keep(|kept| kept.push(block));
    }

    /// The drain deadline has passed. The caller must wake the open connections.
    pub(crate) fn cut(&self) {
        self.core.cut.set(true);
    }

    /// Takes no more connections. The caller must wake the open ones.
    pub(crate) fn drain(&self) {
        self.core.draining.set(true);
        self.listeners.for_each(|bound| bound.wake_accept());
        self.upstreams.close_idle();
    }

    /// Makes the listeners that wait for descriptors look whether they may go on.
    pub(crate) fn wake_paused_listeners(&self) {
        if self.core.paused_for_resources.get() > 0 {
            self.listeners.for_each(|bound| bound.slot.wake_accept());
        }
    }

    /// Whether connections still come in.
    pub(crate) fn accepts(&self) -> bool {
        let mut accepts = false;
        self.listeners.for_each(|bound| accepts |= bound.socket.strong_count() > 0);
        accepts
    }

    /// Closes idle endpoint connections that are too old or that their endpoint has closed, and
    /// forgets slots that have ended.
    pub fn sweep(&self) {
        let core = &self.core;
        core.pressed.set(core.paused_for_room.get() + core.paused_for_resources.get() > 0);
        self.upstreams.sweep(core.net.now());
        self.limits.sweep();
        self.listeners.forget_done();
    }

    /// Closes every idle endpoint connection.
    pub fn close_idle(&self) {
        self.upstreams.close_idle();
    }

    /// Whether a further client can be let in and served. It needs a descriptor, and another one for
    /// its endpoint; so does every client that is not idle.
    pub(crate) fn has_descriptors_for_a_client(&self) -> bool {
        let core = &self.core;
        let clients = core.connections.get();
        let busy = clients.saturating_sub(self.idle_clients());
        let needed = clients + 1 + core.endpoint_connections.get().max(busy + 1);
        needed <= core.share.descriptors_max
    }

    /// Closes the client connection that has been idle for the longest time, and with `pooled` the
    /// endpoint connection that has. Without `pooled`, an endpoint connection closes only where no
    /// client is idle and there are more endpoint connections than the busy clients need. Returns
    /// whether one closes: that takes a turn.
    pub(crate) fn shed(&self, pooled: bool) -> bool {
        let core = &self.core;
        let mut oldest: Option<(Instant, Rc<ListenerSlot>)> = None;
        self.listeners.for_each(|bound| {
            if let Some(since) = bound.slot.idle.oldest()
                && oldest.as_ref().is_none_or(|(before, _)| since < *before)
            {
                oldest = Some((since, Rc::clone(&bound.slot)));
            }
        });
        let client = oldest.is_some_and(|(_, slot)| slot.idle.shed(&core.wheel, core.net.now()));
        let busy = core.connections.get().saturating_sub(self.idle_clients());
        let spare = !client && core.endpoint_connections.get() > busy + 1;
        let endpoint = (pooled || spare) && self.upstreams.close_oldest_idle();
        client || endpoint
    }

    /// Client connections that are idle.
    fn idle_clients(&self) -> usize {
        let mut idle = 0;
        self.listeners.for_each(|bound| idle += bound.slot.idle.len());
        idle
    }

    /// Reports counts and records to the control thread. Nothing is allocated for it, once the
    /// blocks go to and fro. `last`: the core ends.
    pub(crate) fn report(&self, last: bool) {
        let core = &self.core;
        core.reporter.report(last, |block| {
            block.totals = core.totals();
            block.gauges = Gauges {
                accept_paused_for_room: core.paused_for_room.get(),
                accept_paused_for_resources: core.paused_for_resources.get(),
                cpu_micros: core.net.cpu_micros(),
                waiting_for_connection: self.upstreams.waiting(),
                waiting_for_others: self.limits.waiting(),
            };
            block.buffer_bytes_lent = core.buffers.lent_bytes() as u64;
            block.buffer_bytes_idle = core.buffers.idle_bytes() as u64;
            self.listeners.for_each(|bound| {
                let slot = &bound.slot;
                let connections = slot.connections() as u64;
                let gauges = ListenerGauges { connections, tunnels: slot.tunnels() as u64 };
                let tls = slot.settings().tls.is_some().then(|| slot.tls.totals());
                block.listeners.push(ListenerBlock { id: slot.id, gauges, tls });
            });
            self.upstreams.report(&mut block.endpoints);
            let snapshot = self.snapshot();
            core.reporter.put_routes(&mut block.routes, |routes| snapshot.take_blocks(routes));
        });
        core.reporter.flush_records();
    }
}

/// A client's connection that counts as open for as long as this lives.
pub(crate) struct OpenConnection<N: Net> {
    pub(crate) state: Rc<CoreState<N>>,
    pub(crate) seat: Seat,
}

impl<N: Net> OpenConnection<N> {
    /// Counts a connection.
    pub(crate) fn count(state: Rc<CoreState<N>>, seat: Seat) -> Self {
        let core = &state.core;
        core.connections.set(core.connections.get() + 1);
        core.counters.client_connections.add(1);
        Self { state, seat }
    }

    /// The listener that it came in by.
    pub(crate) fn listener(&self) -> &ListenerSlot {
        &self.seat.listener
    }
}

impl<N: Net> Drop for OpenConnection<N> {
    fn drop(&mut self) {
        let connections = &self.state.core.connections;
        connections.set(connections.get() - 1);
        // A descriptor is free, for whatever listener.
        self.state.wake_paused_listeners();
    }
}
