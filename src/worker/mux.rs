//! A test protocol that carries several exchanges on one connection. No shipped binary contains it:
//! it shows in the simulation that exchanges, calls and pools know no version of HTTP.
//!
//! A frame is a stream's number (4 bytes), a kind (1), a length (4), and so many bytes. All numbers
//! are little-endian. A head is written as HTTP/1.1 writes it; an `End` frame ends a message.
//! `Window` lets the other side send more bytes of a stream's body: a reader that is slow stalls its
//! own stream. `Panic` makes the exchange of a stream panic at its next step.
//!
//! A [`Link`] is one connection. One task drives it ([`Link::drive`]); each stream belongs to the
//! task of its exchange ([`MuxStream`]).
//!
//! Invariant: a stream that its owner drops before both directions have ended is reset.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use engine::stage::Stage;
use engine::time::Instant;

use crate::deadline::{Deadline, Wheel};
use crate::failure::{Kind, Side};
use crate::net::buffer::{Buf, BufferPool, HEADROOM, Size};
use crate::net::{Net, Stream};
use crate::side::empty;
use crate::transport::Transport;
use crate::wire::Wire;

/// Bytes of a stream's body that a side may send before the other side asks for more.
pub const WINDOW_BYTES: usize = 6 << 10;
/// Streams that a connection may have at once.
pub const STREAMS_MAX: usize = 6;
/// Bytes of a body in one frame.
const DATA_BYTES_MAX: usize = 4 << 10;
/// Bytes in one frame, whatever its kind: a head of the longest kind that HTTP/1.1 takes.
const PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// Bytes in front of the payload of a frame.
const PREFIX_BYTES: usize = 9;
/// How long the other side may take no byte of what is written, in microseconds.
const WRITE_MICROS: u64 = 10_000_000;
/// How long the other side may take to close after we have, in microseconds.
const LINGER_MICROS: u64 = 2_000_000;

/// Which side of the gateway speaks the protocol. Only tests set this.
#[derive(Debug, Default)]
pub struct MuxSwitch {
    /// Clients do.
    pub clients: Cell<bool>,
    /// Endpoints do.
    pub endpoints: Cell<bool>,
}

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// A head, final or interim.
    Head,
    /// Bytes of a body.
    Data,
    /// The end of a message.
    End,
    /// The stream is over.
    Reset,
    /// The stream is over, and its request was not looked at.
    Refuse,
    /// No more of the body is wanted.
    Stop,
    /// More bytes of the body may come: their number, in 4 bytes.
    Window,
    /// The exchange panics.
    Panic,
}

const KINDS: [FrameKind; 8] = [
    FrameKind::Head,
    FrameKind::Data,
    FrameKind::End,
    FrameKind::Reset,
    FrameKind::Refuse,
    FrameKind::Stop,
    FrameKind::Window,
    FrameKind::Panic,
];

/// The first frame in `bytes`: stream, kind, and length of the payload. An error where none can
/// come.
fn prefix(bytes: &[u8]) -> Result<Option<(u32, FrameKind, usize)>, Kind> {
    let Some(([a, b, c, d, kind, rest @ ..], _)) = bytes.split_first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let kind = KINDS.get(usize::from(*kind)).copied().ok_or(Kind::Closed)?;
    let len = u32::from_le_bytes(*rest) as usize;
    if len > PAYLOAD_BYTES_MAX {
        return Err(Kind::HeadTooLarge);
    }
    Ok(Some((u32::from_le_bytes([*a, *b, *c, *d]), kind, len)))
}

/// A connection. See the module.
pub struct Link<N: Net> {
    net: N,
    buffers: BufferPool,
    transport: Transport<N>,
    write_deadline: Deadline,
    linger: Deadline,
    streams: RefCell<BTreeMap<u32, MuxState>>,
    /// Frames that are to be written, with the streams that they are of.
    out: RefCell<VecDeque<(u32, Buf)>>,
    writer: RefCell<Option<Waker>>,
    /// It takes no further stream, and closes when its last one has ended.
    ends: Cell<bool>,
    /// The writer has closed it in good order. The other side may not have read all yet.
    closed: Cell<bool>,
    /// The other side has had its time to read all.
    over: Cell<bool>,
    /// No frame goes in or out any more.
    dead: Cell<bool>,
    last_stream: Cell<u32>,
}

/// One stream of a link.
#[derive(Default)]
pub(crate) struct MuxState {
    pub(crate) heads: VecDeque<Buf>,
    pub(crate) data: VecDeque<Buf>,
    /// The other side has sent all.
    pub(crate) ended: bool,
    /// The stream is over, by either side.
    pub(crate) reset: bool,
    /// The other side has not looked at the request.
    pub(crate) refused: bool,
    /// The other side wants no more of our body.
    pub(crate) stopped: bool,
    /// Our reader of the body is to give up.
    pub(crate) cancelled: bool,
    panics: bool,
    /// Bytes of our body that the other side takes.
    credit: usize,
    /// Bytes that the other side may send.
    granted: usize,
    /// Our frames that were not written yet.
    queued: usize,
    /// Bytes of our frames that the kernel has, or is taking.
    pub(crate) taken: u64,
    sent_end: bool,
    waker: Option<Waker>,
}

impl<N: Net> Link<N> {
    pub(crate) fn new(
        net: N,
        buffers: BufferPool,
        wheel: &Wheel,
        transport: Transport<N>,
    ) -> Rc<Self> {
        Rc::new(Self {
            net,
            buffers,
            transport,
            write_deadline: wheel.deadline(),
            linger: wheel.deadline(),
            streams: RefCell::default(),
            out: RefCell::default(),
            writer: RefCell::default(),
            ends: Cell::new(false),
            closed: Cell::new(false),
            over: Cell::new(false),
            dead: Cell::new(false),
            last_stream: Cell::new(0),
        })
    }

    pub(crate) fn now(&self) -> Instant {
        self.net.now()
    }

    pub(crate) fn buffers(&self) -> &BufferPool {
        &self.buffers
    }

    /// Streams that are open.
    pub(crate) fn len(&self) -> usize {
        self.streams.borrow().len()
    }

    /// Whether a stream can be opened.
    pub(crate) fn has_room(&self) -> bool {
        !self.dead.get() && !self.ends.get() && self.len() < STREAMS_MAX
    }

    /// Takes no further stream, and closes when the last one has ended.
    pub(crate) fn end(&self) {
        if !self.ends.replace(true) {
            self.wake_writer();
        }
    }

    /// Opens a stream that the other side does not know of.
    pub(crate) fn open(self: &Rc<Self>) -> MuxStream<N> {
        self.adopt(self.last_stream.get() + 1)
    }

    fn adopt(self: &Rc<Self>, id: u32) -> MuxStream<N> {
        self.last_stream.set(id);
        let state = MuxState { credit: WINDOW_BYTES, granted: WINDOW_BYTES, ..MuxState::default() };
        self.streams.borrow_mut().insert(id, state);
        MuxStream { link: Rc::clone(self), id }
    }

    /// Moves frames in both directions until the connection ends. `came` gets each stream that the
    /// other side opens.
    pub(crate) async fn drive(self: &Rc<Self>, came: impl Fn(MuxStream<N>)) {
        // Also when this task panics, no stream may wait for it.
        let _dies = DiesOnDrop(self);
        let mut read = pin!(self.read_frames(came));
        let mut write = pin!(self.write_frames());
        let (mut has_read, mut has_written) = (false, false);
        poll_fn(|cx| {
            has_read = has_read || read.as_mut().poll(cx).is_ready();
            has_written = has_written || write.as_mut().poll(cx).is_ready();
            if self.closed.get() && !has_read && self.linger.poll_fired(cx) {
                self.over.set(true);
                self.transport.cancel_read();
                has_read = read.as_mut().poll(cx).is_ready();
            }
            if has_read && has_written { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    async fn read_frames(self: &Rc<Self>, came: impl Fn(MuxStream<N>)) {
        let mut buf = empty(&self.buffers, Size::Medium);
        while !self.over.get() && !self.dead.get() {
            let Ok(needed) = self.take_frames(&mut buf, &came) else { break };
            if buf.is_empty() {
                buf.clear(HEADROOM);
            }
            if buf.room() == 0 || buf.room() + buf.len() < needed {
                buf = buf.grown((needed + 2 * HEADROOM).max(Size::Medium.bytes()));
            }
            let read;
            (read, buf) = self.transport.read_cancelable(buf).await;
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.die();
    }

    /// Takes the whole frames off `buf`. Returns the length of the frame that has begun.
    fn take_frames(
        self: &Rc<Self>,
        buf: &mut Buf,
        came: &impl Fn(MuxStream<N>),
    ) -> Result<usize, Kind> {
        while let Some((id, kind, len)) = prefix(buf.filled())? {
            let Some(payload) = buf.filled().get(PREFIX_BYTES..PREFIX_BYTES + len) else {
                return Ok(PREFIX_BYTES + len);
            };
            // A stream that is not known was given up: its frames mean nothing any more.
            if kind == FrameKind::Head && id > self.last_stream.get() {
                if self.has_room() {
                    let stream = self.adopt(id);
                    self.take_frame(id, kind, payload)?;
                    came(stream);
                } else {
                    self.last_stream.set(id);
                    self.push(id, FrameKind::Refuse, &[]);
                }
            } else {
                self.take_frame(id, kind, payload)?;
            }
            buf.consume(PREFIX_BYTES + len);
        }
        Ok(PREFIX_BYTES)
    }

    fn take_frame(&self, id: u32, kind: FrameKind, payload: &[u8]) -> Result<(), Kind> {
        let copy = || {
            let mut buf = self.buffers.take_at_least(payload.len() + 2 * HEADROOM);
            buf.clear(HEADROOM);
            let _ = buf.append(payload);
            buf
        };
        let waker = {
            let mut streams = self.streams.borrow_mut();
            let Some(state) = streams.get_mut(&id) else { return Ok(()) };
            match kind {
                FrameKind::Head => state.heads.push_back(copy()),
                FrameKind::Data => {
                    state.granted = state.granted.checked_sub(payload.len()).ok_or(Kind::Closed)?;
                    state.data.push_back(copy());
                }
                FrameKind::End => state.ended = true,
                FrameKind::Reset => state.reset = true,
                FrameKind::Refuse => (state.reset, state.refused) = (true, true),
                FrameKind::Stop => state.stopped = true,
                FrameKind::Window => {
                    let bytes = payload.first_chunk().ok_or(Kind::Closed)?;
                    state.credit += u32::from_le_bytes(*bytes) as usize;
                }
                FrameKind::Panic => state.panics = true,
            }
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    async fn write_frames(&self) {
        loop {
            let next = poll_fn(|cx| {
                if self.dead.get() {
                    return Poll::Ready(None);
                }
                if let Some(next) = self.out.borrow_mut().pop_front() {
                    return Poll::Ready(Some(next));
                }
                if self.ends.get() && self.streams.borrow().is_empty() {
                    return Poll::Ready(None);
                }
                self.writer.replace(Some(cx.waker().clone()));
                Poll::Pending
            });
            let Some((id, buf)) = next.await else { break };
            self.with(id, |state| state.taken += buf.len() as u64);
            let wire = Wire {
                net: &self.net,
                buffers: &self.buffers,
                transport: &self.transport,
                deadline: &self.write_deadline,
                side: Side::Endpoint,
                read_micros: 0,
                write_micros: WRITE_MICROS,
                give_up_at: Instant(u64::MAX),
            };
            if wire.write(Stage::Forward, buf).await.0.is_err() {
                return self.die();
            }
            self.with(id, |state| state.queued = state.queued.saturating_sub(1));
            self.wake(id);
        }
        self.closed.set(true);
        self.transport.shutdown_write().await;
        self.linger.arm(self.net.now(), LINGER_MICROS);
    }

    fn with<T>(&self, id: u32, act: impl FnOnce(&mut MuxState) -> T) -> Option<T> {
        self.streams.borrow_mut().get_mut(&id).map(act)
    }

    fn wake(&self, id: u32) {
        if let Some(waker) = self.with(id, |state| state.waker.take()).flatten() {
            waker.wake();
        }
    }

    fn wake_writer(&self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    /// Queues a frame.
    fn push(&self, id: u32, kind: FrameKind, payload: &[u8]) {
        if self.dead.get() {
            return;
        }
        let mut buf = self.buffers.take_at_least(PREFIX_BYTES + payload.len() + HEADROOM);
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        // It was taken long enough.
        let _ = buf.append(&id.to_le_bytes())
            && buf.append(&[kind as u8])
            && buf.append(&len.to_le_bytes())
            && buf.append(payload);
        self.out.borrow_mut().push_back((id, buf));
        self.with(id, |state| state.queued += 1);
        self.wake_writer();
    }

    /// The connection is of no more use: everything that waits for it fails.
    fn die(&self) {
        if self.dead.replace(true) {
            return;
        }
        if !self.closed.get() {
            self.transport.abort();
        }
        self.out.borrow_mut().clear();
        let waiting = |state: &mut MuxState| state.waker.take();
        let wakers: Vec<Waker> =
            self.streams.borrow_mut().values_mut().filter_map(waiting).collect();
        wakers.into_iter().for_each(Waker::wake);
        self.wake_writer();
    }
}

struct DiesOnDrop<'a, N: Net>(&'a Link<N>);

impl<N: Net> Drop for DiesOnDrop<'_, N> {
    fn drop(&mut self) {
        self.0.die();
    }
}

/// One stream, in the hands of its owner.
pub(crate) struct MuxStream<N: Net> {
    link: Rc<Link<N>>,
    id: u32,
}

impl<N: Net> MuxStream<N> {
    pub(crate) fn link(&self) -> &Rc<Link<N>> {
        &self.link
    }

    /// Looks at the stream, or changes it.
    pub(crate) fn with<T: Default>(&self, act: impl FnOnce(&mut MuxState) -> T) -> T {
        let panics = self.link.with(self.id, |state| std::mem::take(&mut state.panics));
        assert!(panics != Some(true), "as the other side wants it");
        self.link.with(self.id, act).unwrap_or_default()
    }

    /// Whether the stream can still bring or take anything.
    pub(crate) fn is_open(&self) -> bool {
        !self.link.dead.get() && !self.with(|state| state.reset)
    }

    /// Waits, for `micros` at most, until `ready` finds something.
    ///
    /// # Errors
    ///
    /// `Timeout`, or `Closed` when the stream is over before that.
    pub(crate) async fn until<T>(
        &self,
        deadline: &Deadline,
        micros: u64,
        mut ready: impl FnMut(&mut MuxState) -> Option<T>,
    ) -> Result<T, Kind> {
        deadline.arm(self.link.net.now(), micros);
        let found = poll_fn(|cx| {
            if let Some(found) = self.with(&mut ready) {
                return Poll::Ready(Ok(found));
            }
            if !self.is_open() {
                return Poll::Ready(Err(Kind::Closed));
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

    /// Sends a frame and waits until the kernel has it.
    pub(crate) async fn send(
        &self,
        (kind, payload): (FrameKind, &[u8]),
        deadline: &Deadline,
        micros: u64,
    ) -> Result<(), Kind> {
        if !self.is_open() {
            return Err(Kind::Closed);
        }
        self.link.push(self.id, kind, payload);
        self.with(|state| state.sent_end |= kind == FrameKind::End);
        self.until(deadline, micros, |state| (state.queued == 0 && !state.reset).then_some(()))
            .await
    }

    /// Sends bytes of a body, as the other side lets them come. `false` where it wants no more.
    pub(crate) async fn send_data(
        &self,
        mut bytes: &[u8],
        deadline: &Deadline,
        micros: u64,
    ) -> Result<bool, Kind> {
        while !bytes.is_empty() {
            let most = bytes.len().min(DATA_BYTES_MAX);
            let take = self.until(deadline, micros, |state| {
                if state.stopped {
                    return Some(0);
                }
                let take = if state.reset { 0 } else { state.credit.min(most) };
                state.credit -= take;
                (take > 0).then_some(take)
            });
            let take = take.await?;
            if take == 0 {
                return Ok(false);
            }
            let (now, later) = bytes.split_at(take);
            self.send((FrameKind::Data, now), deadline, micros).await?;
            bytes = later;
        }
        Ok(true)
    }

    /// Sends a frame without waiting.
    pub(crate) fn tell(&self, kind: FrameKind) {
        if self.is_open() {
            self.link.push(self.id, kind, &[]);
        }
    }

    /// Bytes of a body were used: as many more may come.
    pub(crate) fn used(&self, bytes: usize) {
        let open = self.with(|state| {
            state.granted += bytes;
            !state.ended && !state.reset
        });
        if open && bytes > 0 {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            self.link.push(self.id, FrameKind::Window, &bytes.to_le_bytes());
        }
    }

    /// Makes the owner's waits look again.
    pub(crate) fn wake(&self) {
        self.link.wake(self.id);
    }

    /// Ends the stream at once, in both directions: whatever waits for it fails.
    pub(crate) fn reset(&self) {
        self.link.abandon(self.id);
        self.link.wake(self.id);
    }
}

impl<N: Net> Link<N> {
    /// Resets a stream unless both directions have ended.
    fn abandon(&self, id: u32) {
        let unfinished = self.with(id, |state| {
            let whole = state.ended && state.sent_end && state.queued == 0;
            let unfinished = !whole && !state.reset;
            state.reset = true;
            unfinished
        });
        if unfinished == Some(true) {
            // Frames that nobody has seen are not sent any more. One that is on its way stays whole.
            self.out.borrow_mut().retain(|(of, _)| *of != id);
            self.push(id, FrameKind::Reset, &[]);
        }
    }
}

impl<N: Net> Drop for MuxStream<N> {
    fn drop(&mut self) {
        self.link.abandon(self.id);
        let gone = self.link.streams.borrow_mut().remove(&self.id);
        drop(gone);
        self.link.wake_writer();
    }
}
