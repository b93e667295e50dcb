//! The worker's network: streams, listeners, a clock, tasks.
//!
//! This is the only module that names monoio. The code above it uses [`Net`], which has two
//! implementations: [`monoio`] (io_uring, or epoll) and [`sim`] (a simulated network with virtual
//! time and seeded faults). Dispatch is static, and an operation allocates nothing.
//!
//! One rule holds everywhere here: **an operation owns its buffer and its descriptor until it
//! completes.** To give up, request the cancellation ([`Stream::cancel_read`], [`Stream::abort`]),
//! then await the operation. It resolves with an error, or with the bytes that won the race. A task
//! may drop only a wait that holds no bytes ([`Stream::readable`], [`Net::connect`],
//! [`Net::sleep_until`], [`Net::yield_now`]).

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

    /// Connects to `to`. May be dropped, which closes the half-open socket.
    fn connect(&self, to: impl Into<Address>) -> impl Future<Output = io::Result<Self::Stream>>;

    /// Runs `task` on this core. A panic in it drops the task with everything it owns and adds to
    /// [`Net::panics`]; the core serves on.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);

    /// The number of tasks that have panicked on this core.
    fn panics(&self) -> u64;

    /// Resolves at `at` or up to 1 ms later. May be dropped. Only the deadline wheel's ticker calls
    /// this; all other code arms a [`crate::deadline::Deadline`].
    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()>;

    /// Lets every other runnable task go first, and every completion that has arrived.
    fn yield_now(&self) -> impl Future<Output = ()>;
}

/// A listening socket.
pub trait Listener: 'static {
    /// The streams that it accepts.
    type Stream: Stream;

    /// The port that clients connect to; none behind a Unix socket.
    fn port(&self) -> Option<u16>;

    /// The next connection and its client's address. Never drop this: call
    /// [`Listener::cancel_accept`], then await it. It resolves with `Interrupted`, or with a
    /// connection that won the race.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, ClientAddress)>>;

    /// Makes a pending [`Listener::accept`] resolve. Does nothing if none is pending.
    fn cancel_accept(&self);

    /// The next connection in the queue; `None`, without waiting, if the queue is empty.
    fn try_accept(&self) -> io::Result<Option<(Self::Stream, ClientAddress)>>;
}

/// The state of a stream, as far as one can learn it without a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamState {
    /// No byte to read, and both directions are open.
    Quiet,
    /// There are bytes to read.
    Readable,
    /// The other side has ended its direction, perhaps behind bytes that we have not read. It may
    /// still read.
    HalfClosed,
    /// Reset, or closed in both directions.
    Gone,
}

/// A connected byte stream. At most one read and one write may be under way at a time, and the two
/// directions are independent. Dropping the stream closes it.
pub trait Stream: 'static {
    /// Reads into the free end of `buf` (see [`Buf`]), which must not be full. `Ok(0)` is the end
    /// of the stream. After [`Stream::cancel_read`], the read resolves with
    /// [`io::ErrorKind::Interrupted`] and has taken no byte. After [`Stream::abort`], it resolves with
    /// `Ok(0)` or an error.
    fn read(&self, buf: Buf) -> impl Future<Output = (io::Result<usize>, Buf)>;

    /// As [`Stream::read`], for a read that [`Stream::cancel_read`] may end. It costs a little more.
    fn read_cancelable(&self, buf: Buf) -> impl Future<Output = (io::Result<usize>, Buf)>;

    /// Makes a pending [`Stream::read_cancelable`] resolve, leaving the stream usable.
    fn cancel_read(&self);

    /// Writes from the front of the filled part of `buf`, which must not be empty. Waits until the
    /// kernel takes some bytes, removes those from `buf`, and returns their number. After an error, `buf` holds
    /// the bytes that the kernel surely has not taken.
    fn write(&self, buf: Buf) -> impl Future<Output = (io::Result<usize>, Buf)>;

    /// Resolves when a read would not wait (bytes, end, or error), and sometimes without cause. May be
    /// dropped.
    fn readable(&self) -> impl Future<Output = io::Result<()>>;

    /// The state of the stream, without waiting (one system call).
    fn state(&self) -> StreamState;

    /// Whether [`Stream::state`] is `Quiet`, at the lowest cost. Call this on an idle stream, and at
    /// most once between a read that brought bytes and the next read. It may consume an error that the
    /// kernel reports only once.
    fn is_quiet(&self) -> bool;

    /// The number of bytes written that the other side's kernel has not acknowledged; `None` if the
    /// kernel cannot tell. A reset does not change it.
    fn unacknowledged(&self) -> Option<u64>;

    /// Writes as many of `bytes` as the kernel takes without waiting: for a message of a few bytes
    /// that may get lost. Without bytes, returns an error that is pending. No [`Stream::write`] may be
    /// under way.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Ends our direction. Reading goes on. It may have to send something first, and then waits like
    /// a write.
    fn shutdown_write(&self) -> impl Future<Output = ()>;

    /// Ends the stream at once, in both directions: pending operations resolve, and the other side
    /// sees a reset instead of an end, so that no unfinished message looks complete.
    fn abort(&self);
}
