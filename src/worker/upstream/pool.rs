//! The connections of one endpoint on one core: those that are idle, and how many there are.
//!
//! A connection that returns, and the room that a closed one leaves, go to the first call in the
//! upstream's queue ([`queue`](super::queue)) where one waits.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::task::Poll;

use engine::address::Address;
use engine::snapshot::PoolLimits;
use engine::stage::Stage;
use engine::time::{Instant, Micros};

use super::h1::{self, LentConnection};
use super::health::FollowsHealth;
use super::label::{EndpointId, EndpointLabel};
use super::lease::Lent;
use super::queue::WaitQueue;
use crate::core::{Core, CoreShare};
use crate::deadline::Deadline;
use crate::failure::{Failure, Kind};
use crate::net::{Net, Stream, StreamState};
use crate::pressure::exhausted;
use crate::transport::Transport;

/// The idle connections of one endpoint on one core, the one used last on top.
pub struct Pool<N: Net> {
    address: Address,
    /// The address as text, for reports.
    name: Box<str>,
    idle: RefCell<Vec<Idle<N>>>,
    /// Connections may stay idle: the endpoint gets new requests.
    keeps_idle: Cell<bool>,
    /// This core's share of the most idle connections.
    idle_max: Cell<usize>,
    idle_micros: Cell<u64>,
    /// The way in which connections are made now: with or without TLS, and with which.
    generation: Cell<u32>,
    room: Rc<Room<N>>,
    share: CoreShare,
    /// Connections that carry several requests at once.
    #[cfg(feature = "mux")]
    pub(super) shared: super::mux::SharedLinks<N>,
}

/// A thing that lets a call send its request.
pub enum Offer<N: Net> {
    /// An idle connection.
    Lent(Lent<N>),
    /// The room for a new connection.
    Room(Counted<N>),
    /// A share in the connection that another call is making.
    #[cfg(feature = "mux")]
    Follow,
}

/// An offer, and the endpoint that it is of.
pub type Handed<N> = (EndpointId, Offer<N>);

impl<N: Net> Offer<N> {
    /// Whether it is an idle connection.
    pub(super) const fn is_lent(&self) -> bool {
        matches!(self, Self::Lent(_))
    }
}

/// How many connections an endpoint has and may have on one core.
struct Room<N: Net> {
    endpoint: EndpointId,
    /// Connections that exist, idle or lent, or that are being made.
    open: Cell<usize>,
    /// This core's share of the most connections.
    connections_max: Cell<usize>,
    /// Requests may go to the endpoint: it is not one that has left its upstream.
    in_use: Cell<bool>,
    /// Connections of the core to all endpoints.
    of_core: Rc<Cell<usize>>,
    /// The calls of the upstream that wait.
    queue: Rc<WaitQueue<Handed<N>>>,
}

impl<N: Net> Room<N> {
    /// Room for one more connection, if there is any.
    fn take(self: &Rc<Self>) -> Option<Counted<N>> {
        (self.open.get() < self.connections_max.get()).then(|| {
            self.open.set(self.open.get() + 1);
            self.of_core.set(self.of_core.get() + 1);
            Counted(Rc::clone(self))
        })
    }

    /// Hands room to the next call that waits; `false` where none waits or none is left.
    fn offer(self: &Rc<Self>) -> bool {
        if self.queue.is_empty() || !self.in_use.get() {
            return false;
        }
        let Some(next) = self.queue.first_for(self.endpoint) else { return false };
        let Some(counted) = self.take() else { return false };
        self.queue.hand(&next, (self.endpoint, Offer::Room(counted)));
        true
    }
}

/// Counts a connection for as long as it lives, among those of its endpoint and those of its core.
pub struct Counted<N: Net>(Rc<Room<N>>);

impl<N: Net> Drop for Counted<N> {
    fn drop(&mut self) {
        let Self(room) = self;
        room.open.set(room.open.get() - 1);
        room.of_core.set(room.of_core.get() - 1);
        room.offer();
    }
}

struct Idle<N: Net> {
    connection: Box<h1::Connection<N>>,
    since: Instant,
}

impl<N: Net> std::fmt::Debug for Pool<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("address", &self.address).field("idle", &self.len()).finish()
    }
}

impl<N: Net> FollowsHealth for Pool<N> {
    fn follow_health(&self, usable: bool) {
        self.set_in_use(usable);
        self.keep_idle(usable);
    }
}

impl<N: Net> Pool<N> {
    /// An empty pool for the endpoint with this `label`, on a core with this `share` and so many
    /// connections to all endpoints. Its upstream's calls wait in `queue`.
    #[must_use]
    pub fn new(
        label: &EndpointLabel,
        limits: &PoolLimits,
        (share, of_core): (CoreShare, Rc<Cell<usize>>),
        queue: Rc<WaitQueue<Handed<N>>>,
    ) -> Self {
        let address = &label.address;
        let room = Room {
            endpoint: label.id,
            open: Cell::new(0),
            connections_max: Cell::new(0),
            in_use: Cell::new(true),
            of_core,
            queue,
        };
        let pool = Self {
            address: address.clone(),
            name: address.to_string().into(),
            idle: RefCell::default(),
            keeps_idle: Cell::new(true),
            idle_max: Cell::new(0),
            idle_micros: Cell::new(0),
            generation: Cell::new(0),
            room: Rc::new(room),
            share,
            #[cfg(feature = "mux")]
            shared: super::mux::SharedLinks::default(),
        };
        pool.follow(limits);
        pool
    }

    /// Takes over these limits. Idle connections beyond them close, the oldest first.
    pub(crate) fn follow(&self, limits: &PoolLimits) {
        self.idle_max.set(self.share.of(limits.idle_max as usize));
        self.idle_micros.set(limits.idle_timeout.0);
        self.room.connections_max.set(self.share.of(limits.connections_max.count()));
        let mut idle = self.idle.borrow_mut();
        let beyond = idle.len().saturating_sub(self.idle_max.get());
        idle.drain(..beyond);
    }

    /// An idle connection that is still fit, or none.
    ///
    /// Whether the other side has closed it, or sent bytes that nobody asked for, costs a system
    /// call to ask, and is asked every time: unasked bytes would be the answer to somebody else's
    /// request.
    pub fn checkout(self: &Rc<Self>, core: &Core<N>) -> Option<Lent<N>> {
        #[cfg(feature = "mux")]
        if core.mux.endpoints.get() {
            return self.checkout_stream(core);
        }
        let now = core.net.now();
        loop {
            let idle = self.idle.borrow_mut().pop()?;
            let fit = now.micros_since(idle.since) < self.idle_micros.get()
                && idle.connection.transport.is_quiet();
            if fit {
                core.counters.endpoint_reused.add(1);
                let lent = LentConnection::new(Rc::clone(self), idle.connection);
                return Some(Lent::H1(lent));
            }
        }
    }

    /// Room for a new connection, if there is any. Idle connections close for it where the caller
    /// has no use for them.
    pub(super) fn room(&self, only_new: bool) -> Option<Counted<N>> {
        self.room
            .take()
            .or_else(|| if only_new && self.close_oldest() { self.room.take() } else { None })
    }

    /// Says whether requests may go to the endpoint from now on. If so, calls that wait get the room
    /// that it has.
    pub(super) fn set_in_use(&self, in_use: bool) {
        self.room.in_use.set(in_use);
        while self.room.offer() {}
    }

    /// Connects to the endpoint, within `timeout`.
    ///
    /// # Errors
    ///
    /// `Timeout` after `timeout`, `Exhausted` where the gateway itself has run short of something,
    /// else the error of the kernel.
    pub async fn connect(
        &self,
        core: &Core<N>,
        deadline: &Deadline,
        timeout: Micros,
    ) -> Result<N::Stream, Failure> {
        // A connect may be dropped: it holds no bytes.
        deadline.arm(core.net.now(), timeout.0);
        let connected = {
            let mut connect = std::pin::pin!(core.net.connect(&self.address));
            std::future::poll_fn(|cx| {
                if let Poll::Ready(connected) = connect.as_mut().poll(cx) {
                    return Poll::Ready(Some(connected));
                }
                if deadline.poll_fired(cx) { Poll::Ready(None) } else { Poll::Pending }
            })
            .await
        };
        deadline.clear();
        match connected {
            Some(Ok(stream)) => Ok(stream),
            Some(Err(error)) if exhausted(&error).is_some() => {
                core.counters.connects_exhausted.add(1);
                Err(Failure::endpoint(Stage::Connect, Kind::Exhausted))
            }
            Some(Err(error)) => Err(Failure::endpoint(Stage::Connect, error.into())),
            None => Err(Failure::endpoint(Stage::Connect, Kind::Timeout)),
        }
    }

    /// Lends a connection that was just made in the room of `counted`.
    pub(super) fn lend(
        self: &Rc<Self>,
        core: &Core<N>,
        transport: Transport<N>,
        counted: Counted<N>,
    ) -> Lent<N> {
        core.counters.endpoint_opened.add(1);
        let generation = self.generation.get();
        let connection = Box::new(h1::Connection::new(core, transport, counted, generation));
        Lent::H1(LentConnection::new(Rc::clone(self), connection))
    }

    /// Takes a connection back that may be used again: for a call that waits, or else to keep it if
    /// there is room for it.
    pub(super) fn give_back(self: &Rc<Self>, connection: Box<h1::Connection<N>>, now: Instant) {
        let is_old = connection.generation != self.generation.get();
        if is_old || !self.keeps_idle.get() || self.idle_max.get() == 0 {
            return;
        }
        let queue = &self.room.queue;
        if let Some(next) = queue.first_for(self.room.endpoint) {
            // A call that needs a new connection gets the room of this one when it closes.
            if !next.only_new {
                let lent = LentConnection::new(Rc::clone(self), connection);
                queue.hand(&next, (self.room.endpoint, Offer::Lent(Lent::H1(lent))));
            }
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.idle_max.get() {
            idle.push(Idle { connection, since: now });
        }
    }

    /// Hands an offer to the next call that waits for this endpoint, if there is one.
    #[cfg(feature = "mux")]
    pub(super) fn offer(&self, offer: impl FnOnce() -> Offer<N>) {
        let Room { endpoint, queue, in_use, .. } = &*self.room;
        if let Some(next) = queue.first_for(*endpoint).filter(|_| in_use.get()) {
            queue.hand(&next, (*endpoint, offer()));
        }
    }

    /// Its endpoint.
    #[cfg(feature = "mux")]
    pub(super) fn endpoint(&self) -> EndpointId {
        self.room.endpoint
    }

    /// Whether connections may stay idle.
    #[cfg(feature = "mux")]
    pub(super) fn keeps_idle(&self) -> bool {
        self.keeps_idle.get()
    }

    /// Closes connections that have been idle for too long, and those that the endpoint has closed or
    /// written to.
    pub fn sweep(&self, now: Instant) {
        #[cfg(feature = "mux")]
        self.shared.end_idle(Instant(now.0.saturating_sub(self.idle_micros.get())));
        // A connection used in the last second will be looked at by its next checkout.
        const QUIET_CHECK_AFTER: u64 = 1_000_000;
        self.idle.borrow_mut().retain(|idle| {
            let age = now.micros_since(idle.since);
            age < QUIET_CHECK_AFTER
                || (age < self.idle_micros.get()
                    && idle.connection.transport.state() == StreamState::Quiet)
        });
    }

    /// Since when the connection has been idle that has been so for longest.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        self.idle.borrow().first().map(|idle| idle.since)
    }

    /// Closes that one; `false` when none is idle.
    pub(crate) fn close_oldest(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        !idle.is_empty() && {
            idle.remove(0);
            true
        }
    }

    /// Closes every idle connection, and the others when their request has finished: new ones are made
    /// in another way.
    pub(crate) fn renew(&self) {
        self.generation.set(self.generation.get().wrapping_add(1));
        self.close_idle();
    }

    /// Closes every idle connection.
    pub fn close_idle(&self) {
        self.idle.borrow_mut().clear();
        #[cfg(feature = "mux")]
        self.shared.end_idle(Instant(u64::MAX));
    }

    /// Whether connections may stay idle. If not, those that are idle close now, and the others when
    /// their request has finished.
    pub(crate) fn keep_idle(&self, keeps: bool) {
        self.keeps_idle.set(keeps);
        if !keeps {
            self.close_idle();
        }
    }

    /// The address of the endpoint, as in the configuration.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Connections that exist, idle or lent.
    #[must_use]
    pub fn open(&self) -> usize {
        self.room.open.get()
    }

    /// Connections that are idle, and those that are lent or being made.
    pub(crate) fn idle_and_active(&self) -> [u64; 2] {
        let (open, idle) = (self.room.open.get(), self.len());
        [idle as u64, open.saturating_sub(idle) as u64]
    }

    /// Idle connections now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Whether no connection is idle.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty()
    }
}
