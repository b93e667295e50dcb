//! The bytes of a client's HTTP/2 connection: one task reads and writes them ([`H2Link::drive`]), and the task
//! of each exchange has its [`H2Stream`].
//!
//! The protocol is `proto`'s. This moves frames: data that has come waits with its stream, and what is to be
//! sent waits in one queue of buffers, so that the frames of one turn leave in one write. The queue is bounded:
//! a stream that has data to send waits while [`QUEUE_BYTES_MAX`] are in it, and then all waiting streams have
//! one frame each in turn.
//!
//! Invariant: a stream that its owner drops is released, and reset unless it has ended.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use engine::stage::Stage;
use engine::time::Instant;
use proto::h2::{ClientFrames as Protocol, ErrorCode, FrameNews, PAYLOAD_BYTES_MAX, data_header};
use proto::head::{BodySize, Headers, RequestHead, ResponseHead};
use proto::violation::Violation;

use crate::conn::Connection;
use crate::deadline::Deadline;
use crate::failure::Kind;
use crate::net::buffer::{Buf, HEADROOM, Size};
use crate::net::{Net, Stream as _};
use crate::side::empty;

/// Bytes that wait to be written while streams may still add to them. Two buffers of the largest size: one is
/// written while the next one fills.
const QUEUE_BYTES_MAX: usize = 128 << 10;
/// How long the client may take to close after we have, in microseconds: it reads GOAWAY before a reset could
/// destroy it.
const LINGER_MICROS: u64 = 2_000_000;
/// Heads that are kept for their capacity.
const HEADS_KEPT: usize = 32;

/// A connection. See the module.
pub(super) struct H2Link<N: Net> {
    pub(super) connection: Connection<N>,
    protocol: RefCell<Protocol>,
    streams: RefCell<BTreeMap<u32, StreamInput>>,
    heads: RefCell<Vec<Box<RequestHead>>>,
    queue: RefCell<VecDeque<Buf>>,
    queue_bytes: Cell<usize>,
    writer: RefCell<Option<Waker>>,
    write_deadline: Deadline,
    linger: Deadline,
    /// It takes no further stream, and closes when its last one has ended.
    ends: Cell<bool>,
    /// The client broke the protocol: what it sends is not looked at any more.
    broken: Cell<bool>,
    /// All is written, and our direction has ended.
    closed: Cell<bool>,
    /// Nothing goes in or out any more.
    dead: Cell<bool>,
    /// When a stream last began or ended.
    active_at: Cell<Instant>,
}

/// A stream on its way in.
#[derive(Default)]
pub(super) struct StreamInput {
    pub(super) data: VecDeque<Buf>,
    pub(super) trailers: Option<Box<Headers>>,
    /// The client has sent all.
    pub(super) ended: bool,
    /// The stream is over.
    reset: bool,
    /// The reader of the body is to give up.
    pub(super) cancelled: bool,
    waker: Option<Waker>,
}

impl<N: Net> H2Link<N> {
    pub(super) fn new(connection: Connection<N>, protocol: Protocol) -> Rc<Self> {
        let core = connection.core();
        let (write_deadline, linger) = (core.wheel.deadline(), core.wheel.deadline());
        let active_at = Cell::new(core.net.now());
        Rc::new(Self {
            connection,
            protocol: RefCell::new(protocol),
            streams: RefCell::default(),
            heads: RefCell::default(),
            queue: RefCell::default(),
            queue_bytes: Cell::new(0),
            writer: RefCell::default(),
            write_deadline,
            linger,
            ends: Cell::new(false),
            broken: Cell::new(false),
            closed: Cell::new(false),
            dead: Cell::new(false),
            active_at,
        })
    }

    /// Moves frames in both directions until the connection ends. `ahead` holds its first bytes; `came` gets
    /// each stream with its head, and the verdict on it.
    pub(super) async fn drive(
        self: &Rc<Self>,
        ahead: Buf,
        came: impl Fn(H2Stream<N>, Box<RequestHead>, Result<(), Violation>),
    ) {
        // Also when this task panics, no stream may wait for it.
        let _dies = EndsOnDrop(self);
        let deadline = &self.connection.deadline;
        let mut read = pin!(self.read_frames(ahead, came));
        let mut write = pin!(self.write_frames());
        let (mut has_read, mut has_written) = (false, false);
        self.arm_idle();
        poll_fn(|cx| {
            if deadline.poll_fired(cx) {
                self.look_idle();
            }
            if self.connection.ends() {
                self.end();
            }
            has_read = has_read || read.as_mut().poll(cx).is_ready();
            has_written = has_written || write.as_mut().poll(cx).is_ready();
            if self.closed.get() && !has_read && self.linger.poll_fired(cx) {
                self.dead.set(true);
                self.connection.transport.cancel_read();
                has_read = read.as_mut().poll(cx).is_ready();
            }
            if has_read && has_written { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn idle_micros(&self) -> u64 {
        self.connection.listener().settings().timeouts.idle.0
    }

    fn arm_idle(&self) {
        let now = self.connection.core().net.now();
        let quiet = now.micros_since(self.active_at.get());
        let left = self.idle_micros().saturating_sub(quiet).max(1);
        self.connection.deadline.arm(now, if self.is_idle() { left } else { self.idle_micros() });
    }

    fn is_idle(&self) -> bool {
        self.streams.borrow().is_empty()
    }

    /// Ends a connection that has had no stream for as long as it may.
    fn look_idle(&self) {
        let quiet = self.connection.core().net.now().micros_since(self.active_at.get());
        if self.is_idle() && quiet >= self.idle_micros() {
            self.end();
        }
        self.arm_idle();
    }

    /// Takes no further stream, and closes when the last one has ended.
    fn end(&self) {
        if !self.ends.replace(true) {
            self.protocol.borrow_mut().go_away();
            self.wake_writer();
        }
    }

    async fn read_frames(
        self: &Rc<Self>,
        ahead: Buf,
        came: impl Fn(H2Stream<N>, Box<RequestHead>, Result<(), Violation>),
    ) {
        let core = self.connection.core();
        let mut buf = ahead;
        loop {
            self.take_frames(&mut buf, &came);
            if self.dead.get() {
                break;
            }
            if buf.is_empty() {
                // A connection without streams waits with little memory.
                buf = empty(&core.buffers, if self.is_idle() { Size::Small } else { Size::Large });
            }
            if buf.room() == 0 {
                buf = buf.grown(Size::Large.bytes());
            }
            let read;
            (read, buf) = self.connection.transport.read_cancelable(buf).await;
            match read {
                Ok(n) if n > 0 => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        self.die();
    }

    /// Takes the whole frames off `buf`.
    fn take_frames(
        self: &Rc<Self>,
        buf: &mut Buf,
        came: &impl Fn(H2Stream<N>, Box<RequestHead>, Result<(), Violation>),
    ) {
        let core = self.connection.core();
        let mut head = self.heads.borrow_mut().pop().unwrap_or_default();
        while !self.broken.get() && !buf.is_empty() {
            let now = core.net.now();
            let taken = self.protocol.borrow_mut().receive(buf.filled(), now.0, &mut head);
            let (len, event) = match taken {
                Ok((0, _)) => break,
                Ok(taken) => taken,
                Err(_) => {
                    core.counters.client_protocol_errors.add(1);
                    self.break_off();
                    break;
                }
            };
            match event {
                FrameNews::Nothing => {}
                FrameNews::Head { stream, verdict } => {
                    self.active_at.set(now);
                    self.streams.borrow_mut().insert(stream, StreamInput::default());
                    let next = self.heads.borrow_mut().pop().unwrap_or_default();
                    let head = std::mem::replace(&mut head, next);
                    if matches!(head.body_size(), BodySize::None) {
                        self.with(stream, |state| state.ended = true);
                    }
                    came(H2Stream { link: Rc::clone(self), id: stream }, head, verdict);
                }
                FrameNews::Data { stream, data, end } => {
                    let data = buf.filled().get(data).unwrap_or_default();
                    self.with(stream, |state| {
                        self.keep(&mut state.data, data);
                        state.ended |= end;
                    });
                    self.wake(stream);
                }
                FrameNews::Trailers { stream, trailers } => {
                    self.with(stream, |state| {
                        state.ended = true;
                        state.trailers = Some(trailers).filter(|trailers| !trailers.is_empty());
                    });
                    self.wake(stream);
                }
                FrameNews::Reset { stream } => {
                    self.with(stream, |state| state.reset = true);
                    self.wake(stream);
                }
                FrameNews::Window => self.wake_all(),
            }
            buf.consume(len);
        }
        self.put_back(head);
        if self.broken.get() {
            // Read only so that the client comes to read GOAWAY.
            buf.clear(HEADROOM);
        }
        self.wake_writer();
    }

    /// Keeps data that has come, in as few buffers as it needs: a client that sends a byte in each frame must
    /// not take a buffer for each.
    fn keep(&self, kept: &mut VecDeque<Buf>, mut data: &[u8]) {
        if let Some(last) = kept.back_mut() {
            let (now, later) = data.split_at(data.len().min(last.room()));
            let _ = last.append(now);
            data = later;
        }
        if !data.is_empty() {
            let mut buf = self.connection.core().buffers.take_at_least(data.len() + 2 * HEADROOM);
            buf.clear(HEADROOM);
            let _ = buf.append(data);
            kept.push_back(buf);
        }
    }

    async fn write_frames(&self) {
        loop {
            let next = poll_fn(|cx| {
                if self.dead.get() {
                    return Poll::Ready(None);
                }
                self.gather();
                if let Some(next) = self.queue.borrow_mut().pop_front() {
                    return Poll::Ready(Some(next));
                }
                if self.broken.get() || self.ends.get() && self.is_idle() {
                    return Poll::Ready(None);
                }
                self.writer.replace(Some(cx.waker().clone()));
                Poll::Pending
            });
            let Some(buf) = next.await else { break };
            let len = buf.len();
            let micros = self.connection.listener().settings().timeouts.write_idle.0;
            let wire = self.connection.wire(&self.write_deadline, 0, micros);
            if wire.write(Stage::Respond, buf).await.0.is_err() {
                return self.die();
            }
            let was_full = self.queue_bytes.get() >= QUEUE_BYTES_MAX;
            self.queue_bytes.set(self.queue_bytes.get() - len);
            if was_full {
                self.wake_all();
            }
        }
        if self.dead.get() {
            return;
        }
        self.closed.set(true);
        self.linger.arm(self.connection.core().net.now(), LINGER_MICROS);
        self.connection.transport.shutdown_write().await;
    }

    /// Moves the bytes of the protocol itself into the queue.
    fn gather(&self) {
        let mut protocol = self.protocol.borrow_mut();
        let out = protocol.out();
        self.append(out);
        out.clear();
    }

    /// Appends bytes to the queue.
    fn append(&self, mut bytes: &[u8]) {
        let mut queue = self.queue.borrow_mut();
        self.queue_bytes.set(self.queue_bytes.get() + bytes.len());
        while !bytes.is_empty() {
            if queue.back().is_none_or(|last| last.room() == 0) {
                let size = if queue.is_empty() && bytes.len() < PAYLOAD_BYTES_MAX / 2 {
                    Size::Medium
                } else {
                    Size::Large
                };
                let mut buf = self.connection.core().buffers.take(size);
                buf.clear(0);
                queue.push_back(buf);
            }
            let Some(last) = queue.back_mut() else { return };
            let (now, later) = bytes.split_at(bytes.len().min(last.room()));
            let _ = last.append(now);
            bytes = later;
        }
    }

    fn with<T>(&self, id: u32, act: impl FnOnce(&mut StreamInput) -> T) -> Option<T> {
        self.streams.borrow_mut().get_mut(&id).map(act)
    }

    fn wake(&self, id: u32) {
        if let Some(waker) = self.with(id, |state| state.waker.take()).flatten() {
            waker.wake();
        }
    }

    fn wake_all(&self) {
        for state in self.streams.borrow_mut().values_mut() {
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
    }

    fn wake_writer(&self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    fn put_back(&self, head: Box<RequestHead>) {
        let mut heads = self.heads.borrow_mut();
        if heads.len() < HEADS_KEPT {
            heads.push(head);
        }
    }

    /// The client broke the protocol: its streams end, and it is sent GOAWAY.
    fn break_off(&self) {
        self.broken.set(true);
        self.ends.set(true);
        for state in self.streams.borrow_mut().values_mut() {
            state.reset = true;
        }
        self.wake_all();
    }

    /// The connection is of no more use: everything that waits for it fails.
    fn die(&self) {
        if self.dead.replace(true) {
            return;
        }
        if !self.closed.get() {
            self.connection.transport.abort();
        }
        self.queue.borrow_mut().clear();
        self.wake_all();
        self.wake_writer();
    }
}

struct EndsOnDrop<'a, N: Net>(&'a H2Link<N>);

impl<N: Net> Drop for EndsOnDrop<'_, N> {
    fn drop(&mut self) {
        self.0.die();
    }
}

/// One stream, in the hands of its exchange.
pub(super) struct H2Stream<N: Net> {
    link: Rc<H2Link<N>>,
    id: u32,
}

impl<N: Net> H2Stream<N> {
    pub(super) fn link(&self) -> &Rc<H2Link<N>> {
        &self.link
    }

    pub(super) fn with<T: Default>(&self, act: impl FnOnce(&mut StreamInput) -> T) -> T {
        self.link.with(self.id, act).unwrap_or_default()
    }

    /// Whether the stream can still bring or take anything.
    pub(super) fn is_open(&self) -> bool {
        !self.link.dead.get() && !self.with(|state| state.reset)
    }

    /// Waits, for `micros` at most, until `ready` finds something.
    ///
    /// # Errors
    ///
    /// `Timeout`, or `Closed` when the stream is over before that.
    pub(super) async fn until<T>(
        &self,
        deadline: &Deadline,
        micros: u64,
        mut ready: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T, Kind> {
        deadline.arm(self.link.connection.core().net.now(), micros);
        let found = poll_fn(|cx| {
            if !self.is_open() {
                return Poll::Ready(Err(Kind::Closed));
            }
            if let Some(found) = ready(self) {
                return Poll::Ready(Ok(found));
            }
            if deadline.poll_fired(cx) {
                return Poll::Ready(Err(Kind::Timeout));
            }
            self.with(|state| state.waker = Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        deadline.clear();
        found
    }

    /// Queues a head; `end` where nothing follows.
    pub(super) fn send_head(&self, head: &ResponseHead, size: BodySize, end: bool) {
        self.link.protocol.borrow_mut().send_head(self.id, head, size, end);
        self.link.wake_writer();
    }

    /// Queues the trailers of a response, which end it.
    pub(super) fn send_trailers(&self, trailers: &Headers) {
        self.link.protocol.borrow_mut().send_trailers(self.id, trailers);
        self.link.wake_writer();
    }

    /// Queues bytes of a body, as windows and the queue let them; `end` where nothing follows.
    pub(super) async fn send_data(
        &self,
        mut bytes: &[u8],
        end: bool,
        deadline: &Deadline,
        micros: u64,
    ) -> Result<(), Kind> {
        while !bytes.is_empty() || end {
            let room = |stream: &Self| {
                let link = &stream.link;
                if bytes.is_empty() {
                    return Some(0);
                }
                if link.queue_bytes.get() >= QUEUE_BYTES_MAX {
                    return None;
                }
                Some(link.protocol.borrow().room(stream.id)).filter(|room| *room > 0)
            };
            let room = self.until(deadline, micros, room).await?;
            let (now, later) = bytes.split_at(bytes.len().min(room));
            let is_last = end && later.is_empty();
            // Heads and control frames that were made before go out before.
            self.link.gather();
            self.link.protocol.borrow_mut().sent_data(self.id, now.len(), is_last);
            self.link.append(&data_header(self.id, now.len(), is_last));
            self.link.append(now);
            self.link.wake_writer();
            bytes = later;
            if is_last {
                break;
            }
        }
        Ok(())
    }

    /// Bytes of a body were used: as many more may come.
    pub(super) fn used(&self, bytes: usize) {
        if bytes > 0 {
            self.link.protocol.borrow_mut().used(self.id, bytes);
            self.link.wake_writer();
        }
    }

    /// Makes the owner's waits look again.
    pub(super) fn wake(&self) {
        self.link.wake(self.id);
    }

    /// Ends the stream at once, in both directions: whatever waits for it fails.
    pub(super) fn reset(&self, code: ErrorCode) {
        self.with(|state| state.reset = true);
        self.link.protocol.borrow_mut().reset(self.id, code);
        self.link.wake(self.id);
        self.link.wake_writer();
    }

    /// Gives the head of a request back.
    pub(super) fn put_back(&self, head: Box<RequestHead>) {
        self.link.put_back(head);
    }
}

impl<N: Net> Drop for H2Stream<N> {
    fn drop(&mut self) {
        self.link.protocol.borrow_mut().release(self.id);
        let gone = self.link.streams.borrow_mut().remove(&self.id);
        drop(gone);
        self.link.active_at.set(self.link.connection.core().net.now());
        self.link.wake_writer();
    }
}
