//! The network on monoio: io_uring, or epoll where the host refuses io_uring.
//!
//! Choices that come from measurements:
//!
//! - Ring flags are `COOP_TASKRUN | SINGLE_ISSUER`. `DEFER_TASKRUN` costs the same and starves a
//!   core that always has a runnable task, because monoio's `submit` does not reap.
//! - A turn of the task queue reads the clock once: the first [`Net::now`] of a turn reads it and
//!   wakes a task at the back of the queue, which marks the reading as stale.
//! - monoio's own timers are off: with one of them armed, every park reads the clock twice. The only
//!   sleeper of a core (the deadline wheel's ticker) waits for a timerfd.
//! - A connect is a non-blocking `connect(2)` and a wait for writability, so that a task can drop it.
//!   monoio's own connect cannot be cancelled.

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell, UnsafeCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use engine::address::{Address, ClientAddress};
use engine::time::Instant;
use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent, CancelableAsyncReadRent, Canceller};
use monoio::net::{TcpListener, TcpStream, UnixListener};
use monoio::utils::is_legacy;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

use super::buffer::Buf;
use super::{Listener, Net, Stream, StreamState};

/// Entries of a core's submission queue. A full one is flushed early, which costs one system call
/// for 256 operations. The queue is written round and round, so a large one is cold memory at
/// every entry: 2048 of them are 128 KiB.
const SUBMISSIONS: u32 = 256;
/// Entries of a core's completion queue. The kernel keeps completions that do not fit in a list, which
/// is slow. This queue holds two completions for each of 2,000 connections that become ready at once.
const COMPLETIONS: u32 = 4096;

/// The kernel interface that a core uses for I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring with `COOP_TASKRUN | SINGLE_ISSUER` (kernel 6.0 or newer).
    IoUring,
    /// io_uring with no flags (kernel 5.6 or newer).
    IoUringPlain,
    /// epoll.
    Epoll,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IoUring => "io_uring",
            Self::IoUringPlain => "io_uring (plain ring)",
            Self::Epoll => "epoll",
        })
    }
}

fn ring(driver: Driver) -> monoio_uring::Builder {
    let mut ring = monoio_uring::IoUring::builder();
    ring.setup_cqsize(COMPLETIONS);
    if driver == Driver::IoUring {
        ring.setup_coop_taskrun().setup_single_issuer();
    }
    ring
}

/// Checks that this host permits `driver`: builds such a ring or poller and drops it.
///
/// # Errors
///
/// The kernel's error: `EPERM` or `EACCES` if a seccomp filter or `kernel.io_uring_disabled` forbids
/// io_uring, `ENOSYS` if the kernel has no io_uring, `EINVAL` if it does not know the flags, `ENOMEM`
/// if `RLIMIT_MEMLOCK` is too low.
pub fn probe(driver: Driver) -> io::Result<()> {
    match driver {
        Driver::IoUring | Driver::IoUringPlain => ring(driver).build(SUBMISSIONS).map(drop),
        Driver::Epoll => RuntimeBuilder::<LegacyDriver>::new().build().map(drop),
    }
}

/// Runs `main` on this thread until it resolves.
///
/// # Errors
///
/// When the driver cannot be built; see [`probe`].
pub fn block_on<F: Future>(
    driver: Driver,
    main: impl FnOnce(MonoioNet) -> F,
) -> io::Result<F::Output> {
    let run = async || Ok(main(MonoioNet::new(driver)?).await);
    match driver {
        Driver::IoUring | Driver::IoUringPlain => RuntimeBuilder::<IoUringDriver>::new()
            .uring_builder(ring(driver))
            .with_entries(SUBMISSIONS)
            .build()?
            .block_on(run()),
        Driver::Epoll => RuntimeBuilder::<LegacyDriver>::new().build()?.block_on(run()),
    }
}

/// A core's network on monoio.
#[derive(Clone)]
pub struct MonoioNet(Rc<CoreNet>);

struct CoreNet {
    clock: CoreClock,
    /// Waits for the wheel's next tick. A timerfd in a `TcpStream`, which the core only polls.
    timer: TcpStream,
    /// An eventfd that is always readable, to yield on io_uring; see [`Net::yield_now`].
    always_ready: Option<TcpStream>,
    panics: Rc<Cell<u64>>,
}

struct CoreClock {
    origin: std::time::Instant,
    now: Cell<Instant>,
    fresh: Cell<bool>,
    staleness_waker: RefCell<Option<Waker>>,
}

impl CoreClock {
    fn read(&self) -> Instant {
        let micros = self.origin.elapsed().as_micros();
        Instant(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

impl MonoioNet {
    fn new(driver: Driver) -> io::Result<Self> {
        // SAFETY: plain calls that take no pointer; each result is checked and owned at once.
        let (timer, always_ready) = unsafe {
            let timer =
                libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC);
            let timer = owned(timer)?;
            (timer, owned(libc::eventfd(1, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC))?)
        };
        let always_ready = match driver {
            Driver::Epoll => None,
            Driver::IoUring | Driver::IoUringPlain => Some(polled(always_ready)?),
        };
        let shared = Rc::new(CoreNet {
            clock: CoreClock {
                #[expect(clippy::disallowed_methods, reason = "this is the core's clock")]
                origin: std::time::Instant::now(),
                now: Cell::default(),
                fresh: Cell::new(false),
                staleness_waker: RefCell::default(),
            },
            timer: polled(timer)?,
            always_ready,
            panics: Rc::default(),
        });
        // This task never ends. It runs once at the start, to leave its waker, and then once in each
        // turn that read the clock: behind all tasks that were runnable, so that they share a reading.
        let clock = Rc::clone(&shared);
        monoio::spawn(poll_fn(move |cx| {
            clock.clock.fresh.set(false);
            let mut staleness_waker = clock.clock.staleness_waker.borrow_mut();
            if staleness_waker.is_none() {
                *staleness_waker = Some(cx.waker().clone());
            }
            Poll::<()>::Pending
        }));
        Ok(Self(shared))
    }

    /// Takes over a listening socket that the control thread has bound.
    ///
    /// # Errors
    ///
    /// When it cannot be registered with the poller (epoll only).
    pub fn listener(&self, bound: BoundSocket) -> io::Result<MonoioListener> {
        let canceller = RefCell::default();
        Ok(match bound {
            BoundSocket::Tcp(bound) => {
                let (fd, port) = (bound.as_raw_fd(), bound.local_addr()?.port());
                let inner = ListeningSocket::Tcp(TcpListener::from_std(bound)?);
                MonoioListener { inner, fd, port: Some(port), canceller }
            }
            BoundSocket::Unix(bound) => {
                let fd = bound.as_raw_fd();
                let inner = ListeningSocket::Unix(UnixListener::from_std(bound)?);
                MonoioListener { inner, fd, port: None, canceller }
            }
        })
    }

    /// Takes over one end of a socket pair, as a stream of bytes from the control thread.
    ///
    /// # Errors
    ///
    /// When it cannot be registered with the poller (epoll only).
    pub fn stream(&self, socket: impl Into<OwnedFd>) -> io::Result<MonoioStream> {
        Ok(MonoioStream::new(polled(socket.into())?))
    }
}

fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, so it has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Any descriptor as a monoio stream. Reads and writes on it are `recv` and `send`, so only a socket
/// allows them; other descriptors can only be polled.
fn polled(fd: OwnedFd) -> io::Result<TcpStream> {
    TcpStream::from_std(std::net::TcpStream::from(fd))
}

impl Net for MonoioNet {
    type Stream = MonoioStream;
    type Listener = MonoioListener;

    fn now(&self) -> Instant {
        let clock = &self.0.clock;
        if !clock.fresh.get() {
            // Without the waker (the task above has not run yet) the reading must not count as fresh:
            // no task would mark it as stale again.
            clock.now.set(clock.read());
            if let Some(staleness_waker) = clock.staleness_waker.borrow().as_ref() {
                clock.fresh.set(true);
                staleness_waker.wake_by_ref();
            }
        }
        clock.now.get()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the core's clock")]
    fn unix_micros(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    fn cpu_micros(&self) -> u64 {
        let mut used = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `used` is a valid place for the result, and the clock is that of our own thread.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut used) };
        let part = |n: i64| u64::try_from(n).unwrap_or(0);
        part(used.tv_sec) * 1_000_000 + part(used.tv_nsec) / 1_000
    }

    async fn connect(&self, to: impl Into<Address>) -> io::Result<MonoioStream> {
        let kind = socket2::Type::STREAM.nonblocking().cloexec();
        let (socket, to) = match to.into() {
            Address::Ip(to) => {
                let domain = socket2::Domain::for_address(to);
                let socket = socket2::Socket::new(domain, kind, Some(socket2::Protocol::TCP))?;
                socket.set_tcp_nodelay(true)?;
                (socket, to.into())
            }
            Address::Unix(name) => {
                let to = socket2::SockAddr::unix(&*Address::kernel_name(&name))?;
                (socket2::Socket::new(socket2::Domain::UNIX, kind, None)?, to)
            }
        };
        // TCP answers `EINPROGRESS`: the handshake goes on. A Unix socket connects at once, or fails
        // with `EAGAIN` because the listener's queue is full. That is an error, because the kernel does
        // not report when the queue has room again.
        match socket.connect(&to) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        // From here on the stream owns the descriptor: if the task drops the connect, the socket closes.
        let stream = MonoioStream::new(TcpStream::from_std(socket.into())?);
        // Writable means that the handshake ended, well or not; `SO_ERROR` tells which.
        stream.get().writable(true).await?;
        match stream.socket(socket2::Socket::take_error)? {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let panics = Rc::clone(&self.0.panics);
        monoio::spawn(async move {
            // The future sits in a slot without a box. If it panics, it is dropped here at once, under
            // a second catch, so that its descriptors and buffers are free again.
            let mut slot = pin!(Some(task));
            poll_fn(|cx| {
                let polled = catch_unwind(AssertUnwindSafe(|| match slot.as_mut().as_pin_mut() {
                    Some(task) => task.poll(cx),
                    None => Poll::Ready(()),
                }));
                polled.unwrap_or_else(|_| {
                    panics.set(panics.get() + 1);
                    // The drop of a half-finished future may panic too; that counts as a second panic.
                    if catch_unwind(AssertUnwindSafe(|| slot.as_mut().set(None))).is_err() {
                        panics.set(panics.get() + 1);
                    }
                    Poll::Ready(())
                })
            })
            .await;
        });
    }

    fn panics(&self) -> u64 {
        self.0.panics.get()
    }

    async fn sleep_until(&self, at: Instant) {
        // A zero value would disarm the timer instead of firing it.
        let micros = at.micros_since(self.0.clock.read()).max(1);
        let value = libc::timespec {
            tv_sec: libc::time_t::try_from(micros / 1_000_000).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::try_from(micros % 1_000_000 * 1_000).unwrap_or(0),
        };
        let spec = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: value,
        };
        let fd = self.0.timer.as_raw_fd();
        let mut expirations = [0u8; 8];
        // A new setting also clears an expiry that nobody has read.
        // SAFETY: `spec` is a valid timer value that outlives the call; a null pointer means that the
        // old value is not returned. `expirations` has the eight bytes that a timerfd read fills.
        unsafe { libc::timerfd_settime(fd, 0, &raw const spec, std::ptr::null_mut()) };
        loop {
            if self.0.timer.readable(false).await.is_err() {
                return;
            }
            // SAFETY: as above. The read consumes the expiry; EAGAIN means that the wake was stale.
            if unsafe { libc::read(fd, expirations.as_mut_ptr().cast(), 8) } == 8 {
                // On epoll all of this may happen within the turn that read `now` before the sleep.
                self.0.clock.fresh.set(false);
                return;
            }
        }
    }

    async fn yield_now(&self) {
        // monoio puts a task that wakes itself at the front of its queue, ahead of all completions. That
        // would starve the core. On io_uring, a poll of a descriptor that is always ready makes the task
        // wait for a completion. On epoll, a new task goes to the back of the queue and wakes this one.
        if let Some(ready) = &self.0.always_ready {
            let _ = ready.readable(true).await;
            return;
        }
        let mut woken = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut woken, true) {
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            monoio::spawn(async move { waker.wake() });
            Poll::Pending
        })
        .await;
    }
}

/// A bound, listening, non-blocking socket.
#[derive(Debug)]
pub enum BoundSocket {
    /// A TCP socket; each core has its own.
    Tcp(std::net::TcpListener),
    /// A Unix socket. All cores share it, and the fastest core takes the next connection.
    Unix(std::os::unix::net::UnixListener),
}

/// A listening socket on monoio.
pub struct MonoioListener {
    inner: ListeningSocket,
    fd: RawFd,
    port: Option<u16>,
    canceller: RefCell<Canceller>,
}

enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener for MonoioListener {
    type Stream = MonoioStream;

    fn port(&self) -> Option<u16> {
        self.port
    }

    async fn accept(&self) -> io::Result<(MonoioStream, ClientAddress)> {
        let handle = self.canceller.borrow().handle();
        match &self.inner {
            ListeningSocket::Tcp(listener) => {
                let accepted = listener.cancelable_accept(handle).await;
                let (stream, client) = accepted.map_err(interrupted)?;
                Ok((MonoioStream::new(stream), client.into()))
            }
            ListeningSocket::Unix(listener) => {
                let accepted = listener.cancelable_accept(handle).await;
                let (stream, _) = accepted.map_err(interrupted)?;
                let stream = polled(owned(stream.into_raw_fd())?)?;
                Ok((MonoioStream::new(stream), ClientAddress::Unix))
            }
        }
    }

    fn cancel_accept(&self) {
        // A used canceller stays cancelled. `cancel` returns a new one for the accepts to come.
        let canceller = self.canceller.take().cancel();
        self.canceller.replace(canceller);
    }

    fn try_accept(&self) -> io::Result<Option<(MonoioStream, ClientAddress)>> {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: `try_init` gives room for any address and its length, as accept4(2) asks for;
        // the descriptor is open as long as `self.inner` is.
        let accepted = unsafe {
            socket2::SockAddr::try_init(|address, len| {
                owned(libc::accept4(self.fd, address.cast(), len, flags))
            })
        };
        match accepted {
            Ok((stream, client)) => {
                let client = client.as_socket().map_or(ClientAddress::Unix, ClientAddress::from);
                Ok(Some((MonoioStream::new(polled(stream)?), client)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A connection on monoio, over TCP or a Unix socket.
pub struct MonoioStream {
    inner: UnsafeCell<TcpStream>,
    fd: RawFd,
    canceller: RefCell<Option<Canceller>>,
    reading: Cell<bool>,
    writing: Cell<bool>,
    /// Whether the caller may call [`Stream::is_quiet`]: the last read brought bytes.
    may_ask: Cell<bool>,
}

impl MonoioStream {
    fn new(inner: TcpStream) -> Self {
        let fd = inner.as_raw_fd();
        Self {
            inner: UnsafeCell::new(inner),
            fd,
            canceller: RefCell::default(),
            reading: Cell::new(false),
            writing: Cell::new(false),
            may_ask: Cell::new(false),
        }
    }

    fn get(&self) -> &TcpStream {
        // SAFETY: see `get_mut`.
        unsafe { &*self.inner.get() }
    }

    /// monoio needs `&mut` to read and to write, and permits one of each at a time on one stream
    /// (`unsafe impl Split for TcpStream`): neither touches the stream beyond cloning its descriptor.
    #[expect(clippy::mut_from_ref, reason = "as monoio's own split halves do")]
    fn get_mut(&self) -> &mut TcpStream {
        // SAFETY: single-threaded (`UnsafeCell` is not `Sync`), and monoio's operations only clone
        // the reference-counted descriptor from it, as its own `OwnedReadHalf` and
        // `OwnedWriteHalf` rely on.
        unsafe { &mut *self.inner.get() }
    }

    fn socket<T>(&self, ask: impl FnOnce(&socket2::Socket) -> io::Result<T>) -> io::Result<T> {
        // SAFETY: the descriptor is open as long as `self.inner` is. `ManuallyDrop` leaves it so.
        let socket = std::mem::ManuallyDrop::new(unsafe { socket2::Socket::from_raw_fd(self.fd) });
        ask(&socket)
    }

    fn shutdown(&self, how: std::net::Shutdown) {
        // This fails only if the connection has ended already, and then there is no more to do.
        let _ = self.socket(|socket| socket.shutdown(how));
    }
}

/// Marks a read or a write as under way for as long as it lives.
struct InProgress<'a>(&'a Cell<bool>);

impl<'a> InProgress<'a> {
    fn start(flag: &'a Cell<bool>) -> Self {
        debug_assert!(!flag.get(), "one read and one write at a time");
        flag.set(true);
        Self(flag)
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Stream for MonoioStream {
    async fn read(&self, buf: Buf) -> (io::Result<usize>, Buf) {
        let _reading = InProgress::start(&self.reading);
        let (read, buf) = self.get_mut().read(ReadTarget(buf)).await;
        self.may_ask.set(read.is_ok());
        (read, buf.0)
    }

    async fn read_cancelable(&self, buf: Buf) -> (io::Result<usize>, Buf) {
        let _reading = InProgress::start(&self.reading);
        let handle = self.canceller.borrow_mut().get_or_insert_default().handle();
        let (read, buf) = self.get_mut().cancelable_read(ReadTarget(buf), handle).await;
        (read.map_err(interrupted), buf.0)
    }

    fn cancel_read(&self) {
        // `cancel` returns a new canceller. It is dropped, because its table would take memory; the next
        // cancelable read makes one if needed.
        if let Some(canceller) = self.canceller.take() {
            drop(canceller.cancel());
        }
    }

    async fn write(&self, buf: Buf) -> (io::Result<usize>, Buf) {
        let _writing = InProgress::start(&self.writing);
        let (written, buf) = self.get_mut().write(WriteSource(buf)).await;
        let mut buf = buf.0;
        if let Ok(n) = written {
            buf.consume(n);
        }
        (written, buf)
    }

    async fn readable(&self) -> io::Result<()> {
        // Not relaxed: epoll's readiness is out of date. A connection that has become quiet would wake
        // and take a buffer for no byte. So monoio polls the descriptor once more on a wake.
        self.get().readable(false).await
    }

    fn state(&self) -> StreamState {
        let mut poll =
            libc::pollfd { fd: self.fd, events: libc::POLLIN | libc::POLLRDHUP, revents: 0 };
        // SAFETY: one valid pollfd that outlives the call; a zero timeout does not wait.
        unsafe { libc::poll(&raw mut poll, 1, 0) };
        let says = |event: i16| poll.revents & event != 0;
        if says(libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) {
            StreamState::Gone
        } else if says(libc::POLLRDHUP) {
            StreamState::HalfClosed
        } else if says(libc::POLLIN) {
            StreamState::Readable
        } else {
            StreamState::Quiet
        }
    }

    fn is_quiet(&self) -> bool {
        let may_ask = self.may_ask.take();
        debug_assert!(may_ask && !self.reading.get(), "called at most once after each read");
        if is_legacy() {
            // On epoll, monoio treats a stream as readable until a read finds nothing. A read that
            // brought fewer bytes than it could leaves it so. This one poll(2) resets it, so that the
            // next read waits for its event at once, without a system call in vain. If monoio did not
            // treat the stream as readable, this would not reach the kernel: hence the condition that
            // the last read brought bytes.
            let readable = pin!(self.get().readable(false));
            return readable.poll(&mut Context::from_waker(Waker::noop())).is_pending();
        }
        // Not poll(2): completions interrupt it as signals do, and it starts anew each time.
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        let peeked =
            self.socket(|socket| socket.recv_with_flags(&mut [MaybeUninit::uninit()], flags));
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    fn unacknowledged(&self) -> Option<u64> {
        let mut bytes: libc::c_int = 0;
        // `SIOCOUTQ` of tcp(7) has the number of `TIOCOUTQ`.
        // SAFETY: the descriptor is open as long as `self.inner` is; the answer is an int.
        let answer = unsafe { libc::ioctl(self.fd, libc::TIOCOUTQ, &raw mut bytes) };
        if answer == 0 { u64::try_from(bytes).ok() } else { None }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        debug_assert!(!self.writing.get(), "one write at a time");
        self.socket(|socket| socket.send_with_flags(bytes, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL))
    }

    async fn shutdown_write(&self) {
        self.shutdown(std::net::Shutdown::Write);
    }

    fn abort(&self) {
        self.cancel_read();
        // A TCP connect to no address (the family `AF_UNSPEC` is 0) sends a reset at once and ends the
        // pending operations. A shutdown would end them too, but send a FIN first, and a FIN may look
        // like the end of a message. The descriptor stays open: the operations own it until they
        // complete.
        let no_address = [0u8; 16];
        // SAFETY: the address is valid and 16 bytes long; the descriptor is open as long as
        // `self.inner` is.
        let reset = unsafe { libc::connect(self.fd, no_address.as_ptr().cast(), 16) };
        if reset < 0 {
            // A Unix socket has no reset.
            self.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// Turns `ECANCELED`, for which std has no kind, into [`io::ErrorKind::Interrupted`].
fn interrupted(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ECANCELED) => io::ErrorKind::Interrupted.into(),
        _ => error,
    }
}

/// A buffer that a read fills.
struct ReadTarget(Buf);

// SAFETY: the pointer leads into the buffer's heap memory, which does not move when the `Buf` moves. It
// is valid for the number of bytes that the trait reports, and all of them are initialised.
unsafe impl IoBufMut for ReadTarget {
    fn write_ptr(&mut self) -> *mut u8 {
        self.0.spare_mut().as_mut_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        self.0.room()
    }

    unsafe fn set_init(&mut self, n: usize) {
        self.0.advance(n);
    }
}

/// A buffer that a write empties.
struct WriteSource(Buf);

// SAFETY: as for `ReadTarget`.
unsafe impl IoBuf for WriteSource {
    fn read_ptr(&self) -> *const u8 {
        self.0.filled().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.0.len()
    }
}
