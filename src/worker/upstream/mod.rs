//! The endpoint side: a core's pools of connections, and the leases that it lends to exchanges.
//!
//! A pool belongs to one endpoint on one core. It lends [`Lease`]s: today a lease is a whole h1
//! connection; over h2 it is one stream of a connection that several leases share. An exchange
//! cannot tell.
//!
//! Invariant: a connection returns to its pool only from the clean end state (see
//! [`Lease::give_back`]); dropping a lease closes the connection.

pub mod h1;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use engine::address::Address;
use engine::balance::RoundRobin;
use engine::snapshot::Upstream;
use engine::stage::Stage;
use proto::head::{BodyLength, Method, RequestHead, ResponseHead};

use crate::deadline::Deadline;
use crate::failure::{Failure, Kind};
use crate::net::buffer::Buf;
use crate::net::{Instant, Net, Quiet, Stream};
use crate::pressure::exhausted;
use crate::state::{Core, Place};
use crate::wire::Chunk;

pub use h1::Lease;

/// Where a request goes and its response comes from. An exchange uses the two directions at the
/// same time, as [`EndpointSide::split`] hands them out.
pub trait EndpointSide {
    /// The direction that the request goes out in.
    type Sink<'a>: RequestSink
    where
        Self: 'a;
    /// The direction that the response comes in.
    type Source<'a>: ResponseSource
    where
        Self: 'a;
    /// Tells while both directions are under way.
    type Handle<'a>: EndpointHandle
    where
        Self: 'a;

    /// Both directions and the handle. `upload` is the deadline of the first, `download` that of
    /// the second.
    fn split<'a>(
        &'a mut self,
        upload: &'a Deadline,
        download: &'a Deadline,
    ) -> (Self::Sink<'a>, Self::Source<'a>, Self::Handle<'a>);

    /// What the connection or stream is once the endpoint has agreed to another protocol.
    type Raw: Stream;

    /// The bare bytes of it, and those that came behind the head that agreed.
    fn raw(&mut self) -> (&Self::Raw, Option<Buf>);
}

/// The lent connection or stream, beside its two directions.
pub trait EndpointHandle {
    /// Ends whatever is pending, in both directions; the connection or stream is not used again.
    fn abort(&self);
}

/// A request that could not be sent.
#[derive(Debug)]
pub struct Unsent {
    /// Why.
    pub failure: Failure,
    /// Bytes of it that the kernel took.
    pub bytes_out: u64,
    /// The body's first chunk, when it can still be sent elsewhere.
    pub chunk: Option<Chunk>,
}

/// The outgoing direction of an exchange with an endpoint.
pub trait RequestSink {
    /// Sends the head and the first of the body, in one piece. Where the connection may turn out
    /// dead, a body that went out whole comes back, to be sent once more.
    fn head(
        &mut self,
        head: &RequestHead,
        length: BodyLength,
        first: Chunk,
    ) -> impl Future<Output = Result<Option<Chunk>, Unsent>>;

    /// Sends more of the body.
    fn chunk(&mut self, chunk: Chunk) -> impl Future<Output = Result<(), Failure>>;
}

/// The incoming direction of an exchange with an endpoint.
pub trait ResponseSource {
    /// Waits for a head, final or interim. `while_waiting` is called every 0.4 s: it says
    /// whether to go on.
    fn head(
        &mut self,
        request_method: Method,
        into: &mut ResponseHead,
        while_waiting: impl FnMut() -> bool,
    ) -> impl Future<Output = Result<(), Failure>>;

    /// Whether any byte of a response has arrived.
    fn has_begun(&self) -> bool;

    /// What of the body arrived with the final head.
    fn begin(&mut self, length: BodyLength) -> Result<Chunk, Failure>;

    /// More of the body.
    fn next(&mut self) -> impl Future<Output = Result<Chunk, Failure>>;
}

/// An upstream as one core sees it, for as long as a version has it unchanged or an exchange uses
/// it.
#[derive(Debug)]
pub struct UpstreamSlot<N: Net> {
    name: Box<str>,
    /// Which endpoint is next.
    pub balance: RefCell<RoundRobin>,
    /// One pool per endpoint, in the order of the table.
    pub pools: Vec<Rc<Pool<N>>>,
}

impl<N: Net> UpstreamSlot<N> {
    /// Empty pools for the endpoints of `upstream`, on the core at `place`.
    #[must_use]
    pub fn new(upstream: &Upstream, place: Place) -> Self {
        let pool = |address: &Address| {
            Rc::new(Pool {
                address: address.clone(),
                idle: RefCell::default(),
                idle_max: Cell::new(place.share(upstream.pool.idle_max)),
                idle_micros: micros(upstream.pool.idle_timeout),
                open: Rc::default(),
                connections_max: place.share(upstream.pool.connections_max),
            })
        };
        Self {
            name: upstream.name.clone(),
            balance: RefCell::new(RoundRobin::new(place.seed)),
            pools: upstream.endpoints.iter().map(|endpoint| pool(&endpoint.address)).collect(),
        }
    }

    /// No version has it any more: keeps no connection idle.
    pub(crate) fn retire(&self) {
        for pool in &self.pools {
            pool.idle_max.set(0);
            pool.close_idle();
        }
    }

    /// Its name, and how many connections are idle and in use.
    pub(crate) fn gauge(&self) -> (String, u64, u64) {
        let idle: usize = self.pools.iter().map(|pool| pool.len()).sum();
        let open: usize = self.pools.iter().map(|pool| pool.open.get()).sum();
        (self.name.to_string(), idle as u64, open.saturating_sub(idle) as u64)
    }
}

/// The idle connections of one endpoint on one core, the one used last on top.
pub struct Pool<N: Net> {
    address: Address,
    idle: RefCell<Vec<Idle<N>>>,
    /// This core's share of the most idle connections.
    idle_max: Cell<usize>,
    idle_micros: u64,
    /// Connections that exist, idle or lent.
    open: Rc<Cell<usize>>,
    /// This core's share of the most connections.
    connections_max: usize,
}

/// Counts a connection for as long as it lives.
struct Counted([Rc<Cell<usize>>; 2]);

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
    /// An idle connection that is still fit, or none.
    ///
    /// Whether the other side has closed it, or sent bytes that nobody asked for, costs a system
    /// call to ask, and is asked every time: unasked bytes would be the answer to somebody else's
    /// request.
    pub fn checkout(self: &Rc<Self>, core: &Core<N>) -> Option<Lease<N>> {
        let now = core.net.now();
        loop {
            let idle = self.idle.borrow_mut().pop()?;
            let fit = now.micros_since(idle.since) < self.idle_micros
                && idle.connection.stream.is_quiet();
            if fit {
                core.counters.endpoint_reused.add(1);
                return Some(Lease::new(Rc::clone(self), idle.connection));
            }
        }
    }

    /// Whether a new connection may be made.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.open.get() < self.connections_max
    }

    /// A new connection.
    ///
    /// # Errors
    ///
    /// `Timeout` after `timeout`, `Exhausted` where the gateway itself has run short of something,
    /// else what the kernel said.
    pub async fn connect(
        self: &Rc<Self>,
        core: &Core<N>,
        deadline: &Deadline,
        timeout: Duration,
    ) -> Result<Lease<N>, Failure> {
        // A connect may be dropped: it holds no bytes.
        deadline.arm(core.net.now(), micros(timeout));
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
                let connection = Box::new(h1::Connection::new(core, stream, counted));
                Ok(Lease::new(Rc::clone(self), connection))
            }
            Some(Err(error)) if exhausted(&error).is_some() => {
                core.counters.connects_exhausted.add(1);
                Err(Failure::endpoint(Stage::Connect, Kind::Exhausted))
            }
            Some(Err(error)) => Err(Failure::endpoint(Stage::Connect, error.into())),
            None => Err(Failure::endpoint(Stage::Connect, Kind::Timeout)),
        }
    }

    fn give_back(&self, connection: Box<h1::Connection<N>>, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.idle_max.get() {
            idle.push(Idle { connection, since: now });
        }
    }

    /// Closes what has been idle for too long, and what the endpoint has closed or written to.
    pub fn sweep(&self, now: Instant) {
        // A connection used in the last second says what it has to say at its next checkout.
        const QUIET_CHECK_AFTER: u64 = 1_000_000;
        self.idle.borrow_mut().retain(|idle| {
            let age = now.micros_since(idle.since);
            age < QUIET_CHECK_AFTER
                || (age < self.idle_micros && idle.connection.stream.quiet() == Quiet::Quiet)
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

/// A configured time in the wheel's unit.
#[must_use]
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
