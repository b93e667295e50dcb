//! A simulated TCP connection: two directions, their ends and resets, as Linux has them.
//!
//! This is RFC 9293 as far as a program can see it. Where the RFC leaves a choice, it does as Linux
//! does (each rule was tried on 6.18):
//!
//! - A program can read bytes that arrived before a reset (with [`Faults::seeded_choices`] they may be
//!   lost, as on a real network). Then **one** read or write gets the error. From then on, reads return
//!   the end (`Ok(0)`) and writes `BrokenPipe`.
//! - If the other side's end had arrived before the reset, writes fail with `BrokenPipe`, and reads
//!   return the bytes that had arrived, then the end.
//! - A close with unread bytes sends a reset, and so does a close after `abort`. A segment that arrives
//!   at a closed socket also causes a reset, once for each side.
//!
//! Every direction is first in, first out: bytes, then the end or a reset.
//!
//! [`Faults::seeded_choices`]: super::Faults::seeded_choices

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::mem;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Waker};

use super::super::StreamState;
use super::super::buffer::Buf;
use super::trace::{self, TraceEntry};
use super::world::{SimEvent, World};

/// One of the two sides of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ConnectionSide {
    /// The one that connected.
    Dialer,
    /// The one that accepted.
    Acceptor,
}

impl ConnectionSide {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Acceptor,
            Self::Acceptor => Self::Dialer,
        }
    }
}

/// The content of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Payload {
    Bytes(usize),
    End,
    Reset,
}

/// The kind of operation that a task waits for on its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Read,
    Readable,
    Write,
}

/// The state of the read on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadState {
    No,
    Plain,
    Cancelable,
    /// A cancelable read after its cancellation.
    Cancelled,
}

/// A connection. Its two streams and the segments under way share it.
pub(super) struct SimConnection {
    pub(super) number: u64,
    dialer: RefCell<SimSocket>,
    acceptor: RefCell<SimSocket>,
    dialer_addr: SocketAddr,
    acceptor_addr: SocketAddr,
}

/// One side's socket, with the segments on their way to it.
struct SimSocket {
    /// First the `arrived` bytes that a read can take, then the bytes that are still under way.
    bytes: VecDeque<u8>,
    arrived: usize,
    /// The number of bytes that the other side ever sent.
    sent: u64,
    /// The number of those that arrived while this socket could take them.
    taken: u64,
    /// The number of bytes that no read can ever take, because the socket is closed or reset. The window
    /// does not open again for them.
    lost: usize,
    /// The largest sum of `bytes` and `lost`.
    capacity: usize,
    under_way: VecDeque<Segment>,
    /// The time at which the last of `under_way` arrives. No segment overtakes another.
    last_due: u64,
    /// Whether the other side's end has arrived.
    ended: bool,
    /// Whether a reset has arrived.
    reset: bool,
    /// The error of the reset, until an operation returns it.
    error: Option<ErrorKind>,
    /// Whether this side has sent its end.
    shut: bool,
    /// Whether the owner has aborted the stream.
    aborted: bool,
    /// Whether the owner has closed the stream.
    closed: bool,
    /// Whether this side has sent a reset.
    reset_sent: bool,
    reading: ReadState,
    writing: bool,
    reader: Option<Waker>,
    readable: Option<Waker>,
    writer: Option<Waker>,
}

struct Segment {
    due: u64,
    payload: Payload,
}

impl SimSocket {
    fn new(world: &World) -> Self {
        let capacity = &world.faults.capacity_bytes;
        let span = capacity.end().saturating_sub(*capacity.start());
        let extra = if span == 0 { 0 } else { world.random.below(span.saturating_add(1)) };
        Self {
            bytes: VecDeque::new(),
            arrived: 0,
            sent: 0,
            taken: 0,
            lost: 0,
            capacity: capacity.start().saturating_add(extra).max(1),
            under_way: VecDeque::new(),
            last_due: 0,
            ended: false,
            reset: false,
            error: None,
            shut: false,
            aborted: false,
            closed: false,
            reset_sent: false,
            reading: ReadState::No,
            writing: false,
            reader: None,
            readable: None,
            writer: None,
        }
    }

    /// Whether a read would resolve without waiting.
    fn is_readable(&self) -> bool {
        self.arrived > 0 || self.ended || self.reset || self.aborted
    }

    /// Makes the bytes that have arrived unreadable.
    fn lose_arrived(&mut self) {
        self.bytes.drain(..self.arrived);
        self.lost += mem::take(&mut self.arrived);
    }

    fn waiter(&mut self, wait: Wait) -> &mut Option<Waker> {
        match wait {
            Wait::Read => &mut self.reader,
            Wait::Readable => &mut self.readable,
            Wait::Write => &mut self.writer,
        }
    }

    fn wake(&mut self, wait: Wait) {
        if let Some(waker) = self.waiter(wait).take() {
            waker.wake();
        }
    }

    fn wake_all(&mut self) {
        self.wake(Wait::Read);
        self.wake(Wait::Readable);
        self.wake(Wait::Write);
    }

    /// A reset arrives. If it `destroys`, neither the bytes that had arrived nor their end can be read.
    fn receive_reset(&mut self, destroys: bool) {
        if destroys && self.arrived > 0 {
            self.lose_arrived();
            self.ended = false;
        }
        if !self.reset {
            self.reset = true;
            self.error =
                Some(if self.ended { ErrorKind::BrokenPipe } else { ErrorKind::ConnectionReset });
        }
        self.wake_all();
    }
}

impl SimConnection {
    pub(super) fn new(world: &World, dialer: SocketAddr, acceptor: SocketAddr) -> Rc<Self> {
        let number = world.new_connection_number();
        world.note(TraceEntry::Connected(number, dialer.port(), acceptor.port()));
        Rc::new(Self {
            number,
            dialer: RefCell::new(SimSocket::new(world)),
            acceptor: RefCell::new(SimSocket::new(world)),
            dialer_addr: dialer,
            acceptor_addr: acceptor,
        })
    }

    pub(super) const fn addr(&self, side: ConnectionSide) -> SocketAddr {
        match side {
            ConnectionSide::Dialer => self.dialer_addr,
            ConnectionSide::Acceptor => self.acceptor_addr,
        }
    }

    fn socket(&self, side: ConnectionSide) -> RefMut<'_, SimSocket> {
        match side {
            ConnectionSide::Dialer => self.dialer.borrow_mut(),
            ConnectionSide::Acceptor => self.acceptor.borrow_mut(),
        }
    }

    /// Marks a read as under way. Panics if there is one already.
    pub(super) fn start_read(&self, side: ConnectionSide, cancelable: bool) {
        let mut socket = self.socket(side);
        assert!(socket.reading == ReadState::No, "two reads of one stream at a time");
        socket.reading = if cancelable { ReadState::Cancelable } else { ReadState::Plain };
    }

    /// Marks a write as under way. Panics if there is one already.
    pub(super) fn start_write(&self, side: ConnectionSide) {
        let mut socket = self.socket(side);
        assert!(!socket.writing, "two writes of one stream at a time");
        socket.writing = true;
    }

    /// Whether a write is under way.
    pub(super) fn is_writing(&self, side: ConnectionSide) -> bool {
        self.socket(side).writing
    }

    /// Ends an operation: its task waits no more.
    pub(super) fn finish(&self, side: ConnectionSide, wait: Wait) {
        let mut socket = self.socket(side);
        *socket.waiter(wait) = None;
        match wait {
            Wait::Read => socket.reading = ReadState::No,
            Wait::Write => socket.writing = false,
            Wait::Readable => {}
        }
    }

    pub(super) fn wait(&self, side: ConnectionSide, wait: Wait, context: &Context<'_>) {
        *self.socket(side).waiter(wait) = Some(context.waker().clone());
    }

    pub(super) fn is_readable(&self, side: ConnectionSide) -> bool {
        self.socket(side).is_readable()
    }

    /// The result of the read under way; `None` if it has to wait. `aborted_before` says whether the
    /// stream was aborted before the read started.
    pub(super) fn read(
        &self,
        world: &World,
        side: ConnectionSide,
        buf: &mut Buf,
        aborted_before: bool,
    ) -> Option<io::Result<usize>> {
        let mut socket = self.socket(side);
        // Bytes that have arrived race against an abort or a cancellation, and either may win. But a read
        // that starts after the abort gets no byte.
        let bytes_win = socket.arrived > 0
            && if socket.aborted {
                !aborted_before && world.choose()
            } else {
                socket.reading != ReadState::Cancelled || !world.choose()
            };
        if bytes_win {
            let read = read_arrived(world, &mut socket, buf);
            drop(socket);
            self.socket(side.other()).wake(Wait::Write);
            world.note(TraceEntry::Read(self.number, side, read));
            return Some(Ok(read));
        }
        if socket.aborted {
            let plain = !world.choose();
            return Some(if plain { Err(ErrorKind::ConnectionAborted.into()) } else { Ok(0) });
        }
        if socket.reading == ReadState::Cancelled && socket.arrived > 0 {
            return Some(Err(ErrorKind::Interrupted.into()));
        }
        // The order below is Linux's: an end that arrived before the reset, then the error once, then
        // the end for ever.
        if socket.ended {
            return Some(Ok(0));
        }
        if let Some(error) = socket.error.take() {
            return Some(Err(error.into()));
        }
        if socket.reset {
            return Some(Ok(0));
        }
        (socket.reading == ReadState::Cancelled).then(|| Err(ErrorKind::Interrupted.into()))
    }

    /// Takes as many bytes from the front of `bytes` as fit, or fewer by fault; `None` if none fits.
    pub(super) fn write(
        self: &Rc<Self>,
        world: &World,
        side: ConnectionSide,
        bytes: &[u8],
    ) -> Option<io::Result<usize>> {
        {
            let mut socket = self.socket(side);
            if socket.aborted {
                return Some(Err(ErrorKind::ConnectionAborted.into()));
            }
            if let Some(error) = socket.error.take() {
                return Some(Err(error.into()));
            }
            if socket.reset || socket.shut {
                return Some(Err(ErrorKind::BrokenPipe.into()));
            }
        }
        let written = {
            let mut to = self.socket(side.other());
            let used = to.bytes.len() + to.lost;
            let fits = to.capacity.saturating_sub(used).min(bytes.len());
            if fits == 0 {
                return None;
            }
            let short = world.random.chance(world.faults.short_write_permille);
            let written = if short { 1 + world.random.below(fits) } else { fits };
            let bytes = bytes.get(..written).unwrap_or_default();
            world.note(TraceEntry::Wrote(self.number, side, written, trace::hash_of(bytes)));
            to.bytes.extend(bytes);
            to.sent += written as u64;
            written
        };
        self.send(world, side, Payload::Bytes(written));
        Some(Ok(written))
    }

    pub(super) fn shutdown_write(self: &Rc<Self>, world: &World, side: ConnectionSide) {
        {
            let mut socket = self.socket(side);
            if socket.shut || socket.reset || socket.aborted {
                return;
            }
            socket.shut = true;
            socket.wake(Wait::Write);
        }
        self.send(world, side, Payload::End);
    }

    pub(super) fn cancel_read(&self, side: ConnectionSide) {
        let mut socket = self.socket(side);
        if socket.reading == ReadState::Cancelable {
            socket.reading = ReadState::Cancelled;
            socket.wake(Wait::Read);
        }
    }

    pub(super) fn abort(&self, world: &World, side: ConnectionSide) {
        world.note(TraceEntry::Abort(self.number, side));
        let mut socket = self.socket(side);
        socket.aborted = true;
        socket.wake_all();
    }

    pub(super) fn is_aborted(&self, side: ConnectionSide) -> bool {
        self.socket(side).aborted
    }

    /// The number of bytes that `side` has sent and the other side has not taken.
    pub(super) fn unacknowledged(&self, side: ConnectionSide) -> u64 {
        let to = self.socket(side.other());
        to.sent - to.taken
    }

    pub(super) fn state(&self, side: ConnectionSide) -> StreamState {
        let socket = self.socket(side);
        if socket.reset || socket.aborted || (socket.ended && socket.shut) {
            StreamState::Gone
        } else if socket.ended {
            StreamState::HalfClosed
        } else if socket.arrived > 0 {
            StreamState::Readable
        } else {
            StreamState::Quiet
        }
    }

    /// The owner of this side drops its stream.
    pub(super) fn close(self: &Rc<Self>, world: &World, side: ConnectionSide) {
        world.note(TraceEntry::Close(self.number, side));
        // Decides under the borrow, sends after it. A reset overtakes bytes that Linux still holds: so it
        // may take back segments under way, where an end never does.
        let (send, takes_back) = {
            let mut socket = self.socket(side);
            let unread = socket.arrived > 0;
            socket.closed = true;
            socket.lose_arrived();
            if socket.reset || socket.reset_sent {
                (None, false)
            } else if socket.aborted || unread {
                socket.reset_sent = true;
                (Some(Payload::Reset), world.choose())
            } else if socket.shut {
                (None, false)
            } else {
                socket.shut = true;
                (Some(Payload::End), false)
            }
        };
        if takes_back {
            take_back(world, &mut self.socket(side.other()));
        }
        if let Some(payload) = send {
            self.send(world, side, payload);
        }
    }

    /// The network resets the connection: `side` learns of it now, the other side later.
    pub(super) fn break_now(self: &Rc<Self>, world: &World, side: ConnectionSide) {
        let destroys = world.choose();
        self.reset_from_outside(world, side, destroys);
    }

    /// As [`SimConnection::break_now`], for an operation that has to fail: its result is the error, even
    /// if bytes or the end had arrived.
    pub(super) fn force_reset(self: &Rc<Self>, world: &World, side: ConnectionSide) {
        self.reset_from_outside(world, side, true);
        let mut socket = self.socket(side);
        socket.ended = false;
        socket.error = Some(ErrorKind::ConnectionReset);
    }

    fn reset_from_outside(self: &Rc<Self>, world: &World, side: ConnectionSide, destroys: bool) {
        {
            let mut socket = self.socket(side);
            if socket.closed || socket.reset {
                return;
            }
            world.note(TraceEntry::Deliver(self.number, side, Payload::Reset));
            socket.receive_reset(destroys);
        }
        self.send(world, side, Payload::Reset);
    }

    /// The segments for `side` that are due arrive.
    pub(super) fn deliver(self: &Rc<Self>, world: &World, side: ConnectionSide) {
        loop {
            let mut socket = self.socket(side);
            let due = socket.under_way.pop_front_if(|segment| segment.due <= world.now());
            let Some(Segment { payload, .. }) = due else { return };
            world.note(TraceEntry::Deliver(self.number, side, payload));
            match payload {
                // No read will take these bytes. A closed socket answers with a reset, once.
                Payload::Bytes(count) if socket.closed || socket.reset => {
                    let from = socket.arrived;
                    socket.bytes.drain(from..from + count);
                    socket.lost += count;
                    let answers = socket.closed && !socket.reset && !socket.reset_sent;
                    socket.reset_sent |= answers;
                    drop(socket);
                    if answers {
                        self.send(world, side, Payload::Reset);
                    }
                }
                Payload::Bytes(count) => {
                    socket.arrived += count;
                    socket.taken += count as u64;
                    socket.wake(Wait::Read);
                    socket.wake(Wait::Readable);
                }
                Payload::End if !socket.reset => {
                    socket.ended = true;
                    socket.wake(Wait::Read);
                    socket.wake(Wait::Readable);
                }
                Payload::End => {}
                Payload::Reset => {
                    let destroys = world.choose();
                    socket.receive_reset(destroys);
                }
            }
        }
    }

    fn send(self: &Rc<Self>, world: &World, from: ConnectionSide, payload: Payload) {
        let due = {
            let mut to = self.socket(from.other());
            let due = world.now().saturating_add(world.latency()).max(to.last_due);
            to.last_due = due;
            to.under_way.push_back(Segment { due, payload });
            due
        };
        world.schedule(due, SimEvent::Deliver(self.clone(), from.other()));
    }
}

/// Moves bytes that have arrived into `buf`: as many as fit, or fewer by fault.
fn read_arrived(world: &World, socket: &mut SimSocket, buf: &mut Buf) -> usize {
    let fits = socket.arrived.min(buf.room());
    let short = world.random.chance(world.faults.short_read_permille);
    let read = if short { 1 + world.random.below(fits) } else { fits };
    let (first, second) = socket.bytes.as_slices();
    let split = read.min(first.len());
    for part in [first.get(..split), second.get(..read - split)].into_iter().flatten() {
        let fitted = buf.append(part);
        debug_assert!(fitted, "what was taken fits");
    }
    socket.bytes.drain(..read);
    socket.arrived -= read;
    read
}

/// Takes back some of the last segments under way, as if they had not left the sender yet.
fn take_back(world: &World, to: &mut SimSocket) {
    for _ in 0..world.random.below(to.under_way.len() + 1) {
        if let Some(Segment { payload: Payload::Bytes(count), .. }) = to.under_way.pop_back() {
            to.bytes.truncate(to.bytes.len() - count);
        }
    }
}
