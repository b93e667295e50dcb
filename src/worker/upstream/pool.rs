//! The connections of one endpoint on one core: those that are idle, and how many there are.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;

use engine::address::Address;
use engine::snapshot::PoolLimits;
use engine::stage::Stage;
use engine::time::{Instant, Micros};

use super::h1::{self, LentConnection};
use super::lease::Lent;
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
    /// Connections that exist, idle or lent.
    open: Rc<Cell<usize>>,
    /// This core's share of the most connections.
    connections_max: Cell<usize>,
    share: CoreShare,
}

/// Counts a connection for as long as it lives.
pub(super) struct Counted([Rc<Cell<usize>>; 2]);

impl Counted {
    /// Among those of its endpoint and those of its core.
    fn new(open: &Rc<Cell<usize>>, of_core: &Rc<Cell<usize>>) -> Self {
        let counts = [Rc::clone(open), Rc::clone(of_core)];
        counts.iter().for_each(|count| count.set(count.get() + 1));
        Self(counts)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.iter().for_each(|count| count.set(count.get() - 1));
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

impl<N: Net> Pool<N> {
    /// An empty pool for the endpoint at `address`, on a core with this `share`.
    #[must_use]
    pub fn new(address: &Address, limits: &PoolLimits, share: CoreShare) -> Self {
        let pool = Self {
            address: address.clone(),
            name: address.to_string().into(),
            idle: RefCell::default(),
            keeps_idle: Cell::new(true),
            idle_max: Cell::new(0),
            idle_micros: Cell::new(0),
            open: Rc::default(),
            connections_max: Cell::new(0),
            share,
        };
        pool.follow(limits);
        pool
    }

    /// Takes over these limits. Idle connections beyond them close, the oldest first.
    pub(crate) fn follow(&self, limits: &PoolLimits) {
        self.idle_max.set(self.share.of(limits.idle_max as usize));
        self.idle_micros.set(limits.idle_timeout.0);
        self.connections_max.set(self.share.of(limits.connections_max.count()));
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

    /// Whether a new connection may be made.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.open.get() < self.connections_max.get()
    }

    /// A new connection.
    ///
    /// # Errors
    ///
    /// `Timeout` after `timeout`, `Exhausted` where the gateway itself has run short of something,
    /// else the error of the kernel.
    pub async fn connect(
        self: &Rc<Self>,
        core: &Core<N>,
        deadline: &Deadline,
        timeout: Micros,
    ) -> Result<Lent<N>, Failure> {
        // A connect may be dropped: it holds no bytes.
        deadline.arm(core.net.now(), timeout.0);
        let counted = Counted::new(&self.open, &core.endpoint_connections);
        let late = Cell::new(false);
        let connected = {
            let mut connect = std::pin::pin!(core.net.connect(&self.address));
            std::future::poll_fn(|cx| {
                if let std::task::Poll::Ready(connected) = connect.as_mut().poll(cx) {
                    return std::task::Poll::Ready(Some(connected));
                }
                late.set(deadline.poll_fired(cx));
                if late.get() { std::task::Poll::Ready(None) } else { std::task::Poll::Pending }
            })
            .await
        };
        deadline.clear();
        match connected {
            Some(Ok(stream)) => {
                core.counters.endpoint_opened.add(1);
                let connection =
                    Box::new(h1::Connection::new(core, Transport::Plain(stream), counted));
                Ok(Lent::H1(LentConnection::new(Rc::clone(self), connection)))
            }
            Some(Err(error)) if exhausted(&error).is_some() => {
                core.counters.connects_exhausted.add(1);
                Err(Failure::endpoint(Stage::Connect, Kind::Exhausted))
            }
            Some(Err(error)) => Err(Failure::endpoint(Stage::Connect, error.into())),
            None => Err(Failure::endpoint(Stage::Connect, Kind::Timeout)),
        }
    }

    /// Keeps a connection that may be used again, if there is room for it.
    pub(super) fn give_back(&self, connection: Box<h1::Connection<N>>, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        if self.keeps_idle.get() && idle.len() < self.idle_max.get() {
            idle.push(Idle { connection, since: now });
        }
    }

    /// Closes connections that have been idle for too long, and those that the endpoint has closed or
    /// written to.
    pub fn sweep(&self, now: Instant) {
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

    /// Closes every idle connection.
    pub fn close_idle(&self) {
        self.idle.borrow_mut().clear();
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
        self.open.get()
    }

    /// Connections that are idle, and those that are lent or being made.
    pub(crate) fn idle_and_active(&self) -> [u64; 2] {
        let (open, idle) = (self.open.get(), self.len());
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
