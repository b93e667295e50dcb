//! The network as the worker sees it: streams, listeners, a clock, tasks.
//!
//! This is the only module that names monoio. Everything above is written against [`Net`], which
//! has two implementations: [`monoio`] (io_uring, or epoll) and [`sim`] (a simulated network with
//! virtual time and seeded faults). Dispatch is static; an operation costs no allocation.
//!
//! The rule that everything here keeps: **an operation owns its buffer and its descriptor until it
//! completes.** Whoever wants to give up asks for it ([`Stream::cancel_read`], [`Stream::abort`])
//! and then awaits the operation, which resolves with an error or with the bytes that won the
//! race. Only readiness waits ([`Stream::readable`], [`Net::connect`], [`Net::sleep_until`],
//! [`Net::yield_now`]) may be dropped: they hold no bytes.

pub mod buffer;
pub mod monoio;
pub mod sim;

use std::future::Future;
use std::io;

use buffer::Buf;
use engine::address::{Address, ClientAddress};
use engine::time::Instant;

/// One core's network: a cheap handle, cloned freely within its core.
pub trait Net: Clone + 'static {
    /// A connected byte stream.
    type Stream: Stream;
    /// A bound, listening socket.
    type Listener: Listener<Stream = Self::Stream>;

    /// The present moment, read from the system at most once per batch of completions.
    fn now(&self) -> Instant;

    /// The time of day: microseconds since 1970.
    fn unix_micros(&self) -> u64;

    /// CPU time that this core's thread has used, in microseconds.
    fn cpu_micros(&self) -> u64;

    /// Connects to `to`. May be dropped: the half-open socket is then closed.
    fn connect(&self, to: impl Into<Address>) -> impl Future<Output = io::Result<Self::Stream>>;

    /// Runs `task` on this core. A panic inside it is caught: the task is dropped, with
    /// everything it owns, [`Net::panics`] counts it, and the core serves on.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);

    /// How many tasks have panicked on this core.
    fn panics(&self) -> u64;

    /// Resolves at `at` or up to 1 ms later. May be dropped. Only the deadline wheel's ticker
    /// calls this: everything else arms a [`crate::deadline::Deadline`].
    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()>;

    /// Lets every other runnable task, and completions that have arrived, go first.
    fn yield_now(&self) -> impl Future<Output = ()>;
}

/// A listening socket.
pub trait Listener: 'static {
    /// What it accepts.
    type Stream: Stream;

    /// The port that clients connect to; none behind a Unix socket.
    fn port(&self) -> Option<u16>;

    /// The next connection and its client's address. Never dropped: end it by
    /// [`Listener::cancel_accept`], and await it; it then resolves with `Interrupted`, or with a
    /// connection that won the race.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, ClientAddress)>>;

    /// Makes a pending [`Listener::accept`] resolve. Does nothing when none is pending.
    fn cancel_accept(&self);

    /// A connection that already waits in the queue, without waiting; `None` when it is empty.
    fn try_accept(&self) -> io::Result<Option<(Self::Stream, ClientAddress)>>;
}

/// What can be learned of a stream without reading from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamState {
    /// Nothing to read, both directions open.
    Quiet,
    /// There are bytes to read.
    Readable,
    /// The other side has sent its end, perhaps behind bytes that are still to be read; it may
    /// still read.
    HalfClosed,
    /// Reset, or closed in both directions.
    Gone,
}

/// A connected byte stream. At most one read and one write may be under way at a time; the two
/// directions are independent. Dropping it closes it.
pub trait Stream: 'static {
    /// Reads into the free end of `buf` (see [`Buf`]), which must not be full. `Ok(0)` is the end
    /// of the stream. A read ended by [`Stream::cancel_read`] resolves with
    /// [`io::ErrorKind::Interrupted`] and has taken no byte; one ended by [`Stream::abort`]
    /// resolves with `Ok(0)` or an error.
    fn read(&self, buf: Buf) -> impl Future<Output = (io::Result<usize>, Buf)>;

    /// As [`Stream::read`], for a read that [`Stream::cancel_read`] may end. It costs a little more.
    fn read_cancelable(&self, buf: Buf) -> impl Future<Output = (io::Result<usize>, Buf)>;

    /// Makes a pending [`Stream::read_cancelable`] resolve, leaving the stream usable.
    fn cancel_read(&self);

    /// Writes from the front of the filled part of `buf`, which must not be empty, waiting until
    /// the kernel takes some; returns how much it took, which is gone from `buf`. After an error
    /// nothing was taken, and `buf` is as it was.
    fn write(&self, buf: Buf) -> impl Future<Output = (io::Result<usize>, Buf)>;

    /// Resolves when a read would not wait (bytes, end, or error), sometimes without cause.
    /// May be dropped.
    fn readable(&self) -> impl Future<Output = io::Result<()>>;

    /// What the other side has done, asked without waiting (one system call).
    fn state(&self) -> StreamState;

    /// Whether [`Stream::state`] says `Quiet`, at the least price: for a stream that lies in wait,
    /// once between a read that brought bytes and the next. An error may be told only here.
    fn is_quiet(&self) -> bool;

    /// Bytes written that the other side's kernel has not said to have; `None` when that cannot be
    /// known. Stays what it was when the connection is reset.
    fn unacknowledged(&self) -> Option<u64>;

    /// Writes what the kernel takes of `bytes` without waiting, for a message of a few bytes that
    /// may be lost; with no bytes, tells of an error that waits. No [`Stream::write`] may be under
    /// way.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Sends the end of our direction; reading goes on.
    fn shutdown_write(&self);

    /// Gives the stream up, in both directions and now: pending operations resolve, and the other
    /// side sees a reset and no end, so that nothing unfinished looks complete.
    fn abort(&self);
}
