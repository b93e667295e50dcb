//! A simulated TCP connection: two directions, their ends and resets, as Linux has them.
//!
//! RFC 9293 as far as a program can see it, with Linux's answers where it leaves a choice (each was
//! tried on 6.18):
//!
//! - bytes that arrived before a reset can be read after it (with [`Faults::seeded_choices`] they
//!   may be lost instead, as they may be on a real network); then **one** read or write gets the
//!   error, and from then on reads give the end (`Ok(0)`) and writes `BrokenPipe`;
//! - after the other side's end has arrived, a reset makes writes fail with `BrokenPipe`, and reads
//!   give what had arrived, then the end;
//! - closing with unread bytes sends a reset, as does closing after `abort`; so does, for each
//!   side once, a segment that arrives at a closed socket.
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

/// Payload is sent from one side to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Payload {
    Bytes(usize),
    End,
    Reset,
}

/// Payload a task waits for on its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Read,
    Readable,
    Write,
}

/// The read that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadState {
    No,
    Plain,
    Cancelable,
    /// Cancelable, and cancelled.
    Cancelled,
}

/// A connection, shared by its two streams and by what is under way.
pub(super) struct SimConnection {
    pub(super) number: u64,
    dialer: RefCell<SimSocket>,
    acceptor: RefCell<SimSocket>,
    dialer_addr: SocketAddr,
    acceptor_addr: SocketAddr,
}

/// One side's socket, with what is on its way to it.
struct SimSocket {
    /// `arrived` bytes to be read, then those under way.
    bytes: VecDeque<u8>,
    arrived: usize,
    /// Bytes that were ever sent to us, and those of them that have arrived while we could take
    /// them.
    sent: u64,
    taken: u64,
    /// Bytes that nobody will read, since we are closed or reset; the window does not open again.
    lost: usize,
    /// Most that `bytes` and `lost` may be.
    capacity: usize,
    under_way: VecDeque<Segment>,
    /// When the last of `under_way` arrives: nothing overtakes.
    last_due: u64,
    /// The other side's end has arrived.
    ended: bool,
    /// A reset has arrived.
    reset: bool,
    /// The error of the reset, until it has been told.
    error: Option<ErrorKind>,
    /// We have sent our end.
    shut: bool,
    /// Our owner has given the connection up.
    aborted: bool,
    /// Our owner has closed.
    closed: bool,
    /// We have sent a reset.
    refused: bool,
    reading: ReadState,
    writing: bool,
    reader: Option<Waker>,
    readable: Option<Waker>,
    writer: Option<Waker>,
}

struct Segment {
    due: u64,
    what: Payload,
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
            refused: false,
            reading: ReadState::No,
            writing: false,
            reader: None,
            readable: None,
            writer: None,
        }
    }

    /// Whether a read would not wait.
    fn is_readable(&self) -> bool {
        self.arrived > 0 || self.ended || self.reset || self.aborted
    }

    /// Payload can be read can not be read any more.
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

    /// A reset arrives. One that `destroys` leaves nothing to read, neither bytes nor their end.
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

    /// Notes that a read has started; one at a time.
    pub(super) fn start_read(&self, side: ConnectionSide, cancelable: bool) {
        let mut socket = self.socket(side);
        assert!(socket.reading == ReadState::No, "two reads of one stream at a time");
        socket.reading = if cancelable { ReadState::Cancelable } else { ReadState::Plain };
    }

    /// Notes that a write has started; one at a time.
    pub(super) fn start_write(&self, side: ConnectionSide) {
        let mut socket = self.socket(side);
        assert!(!socket.writing, "two writes of one stream at a time");
        socket.writing = true;
    }

    /// Whether a write is under way.
    pub(super) fn is_writing(&self, side: ConnectionSide) -> bool {
        self.socket(side).writing
    }

    /// The task waits no more.
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

    /// Payload the read under way resolves with; `None` when it has to wait. `aborted_before` says
    /// that the connection had been given up when it started.
    pub(super) fn read(
        &self,
        world: &World,
        side: ConnectionSide,
        buf: &mut Buf,
        aborted_before: bool,
    ) -> Option<io::Result<usize>> {
        let mut socket = self.socket(side);
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

    /// Takes from the front of `bytes` what fits, or by fault less; `None` when nothing fits.
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

    /// Bytes that `side` has sent and that the other has not taken.
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

    /// The side's owner is done with it.
    pub(super) fn close(self: &Rc<Self>, world: &World, side: ConnectionSide) {
        world.note(TraceEntry::Close(self.number, side));
        let (send, unsent) = {
            let mut socket = self.socket(side);
            let unread = socket.arrived > 0;
            socket.closed = true;
            socket.lose_arrived();
            if socket.reset || socket.refused {
                (None, false)
            } else if socket.aborted || unread {
                socket.refused = true;
                (Some(Payload::Reset), world.choose())
            } else if socket.shut {
                (None, false)
            } else {
                socket.shut = true;
                (Some(Payload::End), false)
            }
        };
        if unsent {
            unsend(world, &mut self.socket(side.other()));
        }
        if let Some(what) = send {
            self.send(world, side, what);
        }
    }

    /// The connection is reset on its way: `side` learns of it now, the other side later.
    pub(super) fn break_now(self: &Rc<Self>, world: &World, side: ConnectionSide) {
        let destroys = world.choose();
        self.reset_from_outside(world, side, destroys);
    }

    /// As [`SimConnection::break_now`], for an operation that has to fail: whatever had arrived, its
    /// result is the error.
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

    /// Payload was sent to `side` and is due arrives there.
    pub(super) fn deliver(self: &Rc<Self>, world: &World, side: ConnectionSide) {
        loop {
            let mut socket = self.socket(side);
            let due = socket.under_way.pop_front_if(|segment| segment.due <= world.now());
            let Some(Segment { what, .. }) = due else { return };
            world.note(TraceEntry::Deliver(self.number, side, what));
            match what {
                Payload::Bytes(count) if socket.closed || socket.reset => {
                    let from = socket.arrived;
                    socket.bytes.drain(from..from + count);
                    socket.lost += count;
                    let refuse = socket.closed && !socket.reset && !socket.refused;
                    socket.refused |= refuse;
                    drop(socket);
                    if refuse {
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

    fn send(self: &Rc<Self>, world: &World, from: ConnectionSide, what: Payload) {
        let due = {
            let mut to = self.socket(from.other());
            let due = world.now().saturating_add(world.latency()).max(to.last_due);
            to.last_due = due;
            to.under_way.push_back(Segment { due, what });
            due
        };
        world.schedule(due, SimEvent::Deliver(self.clone(), from.other()));
    }
}

/// Moves bytes that have arrived into `buf`: all that fit or, by fault, fewer.
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

/// Takes back some of the last that is under way: it had not left the sender yet.
fn unsend(world: &World, to: &mut SimSocket) {
    for _ in 0..world.random.below(to.under_way.len() + 1) {
        if let Some(Segment { what: Payload::Bytes(count), .. }) = to.under_way.pop_back() {
            to.bytes.truncate(to.bytes.len() - count);
        }
    }
}
