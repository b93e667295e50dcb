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
use super::trace::{self, Entry};
use super::world::{Event, World};

/// One of the two sides of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Side {
    /// The one that connected.
    Dialer,
    /// The one that accepted.
    Acceptor,
}

impl Side {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Acceptor,
            Self::Acceptor => Self::Dialer,
        }
    }
}

/// What is sent from one side to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum What {
    Bytes(usize),
    End,
    Reset,
}

/// What a task waits for on its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Read,
    Readable,
    Write,
}

/// The read that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    No,
    Plain,
    Cancelable,
    /// Cancelable, and cancelled.
    Cancelled,
}

/// A connection, shared by its two streams and by what is under way.
pub(super) struct Connection {
    pub(super) number: u64,
    dialer: RefCell<End>,
    acceptor: RefCell<End>,
    dialer_addr: SocketAddr,
    acceptor_addr: SocketAddr,
}

/// One side's socket, with what is on its way to it.
struct End {
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
    reading: Reading,
    writing: bool,
    reader: Option<Waker>,
    readable: Option<Waker>,
    writer: Option<Waker>,
}

struct Segment {
    due: u64,
    what: What,
}

impl End {
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
            reading: Reading::No,
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

    /// What can be read can not be read any more.
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

impl Connection {
    pub(super) fn new(world: &World, dialer: SocketAddr, acceptor: SocketAddr) -> Rc<Self> {
        let number = world.new_connection_number();
        world.note(Entry::Connected(number, dialer.port(), acceptor.port()));
        Rc::new(Self {
            number,
            dialer: RefCell::new(End::new(world)),
            acceptor: RefCell::new(End::new(world)),
            dialer_addr: dialer,
            acceptor_addr: acceptor,
        })
    }

    pub(super) const fn addr(&self, side: Side) -> SocketAddr {
        match side {
            Side::Dialer => self.dialer_addr,
            Side::Acceptor => self.acceptor_addr,
        }
    }

    fn end(&self, side: Side) -> RefMut<'_, End> {
        match side {
            Side::Dialer => self.dialer.borrow_mut(),
            Side::Acceptor => self.acceptor.borrow_mut(),
        }
    }

    /// Notes that a read has started; one at a time.
    pub(super) fn start_read(&self, side: Side, cancelable: bool) {
        let mut end = self.end(side);
        assert!(end.reading == Reading::No, "two reads of one stream at a time");
        end.reading = if cancelable { Reading::Cancelable } else { Reading::Plain };
    }

    /// Notes that a write has started; one at a time.
    pub(super) fn start_write(&self, side: Side) {
        let mut end = self.end(side);
        assert!(!end.writing, "two writes of one stream at a time");
        end.writing = true;
    }

    /// Whether a write is under way.
    pub(super) fn is_writing(&self, side: Side) -> bool {
        self.end(side).writing
    }

    /// The task waits no more.
    pub(super) fn finish(&self, side: Side, wait: Wait) {
        let mut end = self.end(side);
        *end.waiter(wait) = None;
        match wait {
            Wait::Read => end.reading = Reading::No,
            Wait::Write => end.writing = false,
            Wait::Readable => {}
        }
    }

    pub(super) fn wait(&self, side: Side, wait: Wait, context: &Context<'_>) {
        *self.end(side).waiter(wait) = Some(context.waker().clone());
    }

    pub(super) fn is_readable(&self, side: Side) -> bool {
        self.end(side).is_readable()
    }

    /// What the read under way resolves with; `None` when it has to wait. `aborted_before` says
    /// that the connection had been given up when it started.
    pub(super) fn read(
        &self,
        world: &World,
        side: Side,
        buf: &mut Buf,
        aborted_before: bool,
    ) -> Option<io::Result<usize>> {
        let mut end = self.end(side);
        let bytes_win = end.arrived > 0
            && if end.aborted {
                !aborted_before && world.choose()
            } else {
                end.reading != Reading::Cancelled || !world.choose()
            };
        if bytes_win {
            let read = read_arrived(world, &mut end, buf);
            drop(end);
            self.end(side.other()).wake(Wait::Write);
            world.note(Entry::Read(self.number, side, read));
            return Some(Ok(read));
        }
        if end.aborted {
            let plain = !world.choose();
            return Some(if plain { Err(ErrorKind::ConnectionAborted.into()) } else { Ok(0) });
        }
        if end.reading == Reading::Cancelled && end.arrived > 0 {
            return Some(Err(ErrorKind::Interrupted.into()));
        }
        if end.ended {
            return Some(Ok(0));
        }
        if let Some(error) = end.error.take() {
            return Some(Err(error.into()));
        }
        if end.reset {
            return Some(Ok(0));
        }
        (end.reading == Reading::Cancelled).then(|| Err(ErrorKind::Interrupted.into()))
    }

    /// Takes from the front of `bytes` what fits, or by fault less; `None` when nothing fits.
    pub(super) fn write(
        self: &Rc<Self>,
        world: &World,
        side: Side,
        bytes: &[u8],
    ) -> Option<io::Result<usize>> {
        {
            let mut end = self.end(side);
            if end.aborted {
                return Some(Err(ErrorKind::ConnectionAborted.into()));
            }
            if let Some(error) = end.error.take() {
                return Some(Err(error.into()));
            }
            if end.reset || end.shut {
                return Some(Err(ErrorKind::BrokenPipe.into()));
            }
        }
        let written = {
            let mut to = self.end(side.other());
            let used = to.bytes.len() + to.lost;
            let fits = to.capacity.saturating_sub(used).min(bytes.len());
            if fits == 0 {
                return None;
            }
            let short = world.random.chance(world.faults.short_write_permille);
            let written = if short { 1 + world.random.below(fits) } else { fits };
            let bytes = bytes.get(..written).unwrap_or_default();
            world.note(Entry::Wrote(self.number, side, written, trace::hash_of(bytes)));
            to.bytes.extend(bytes);
            to.sent += written as u64;
            written
        };
        self.send(world, side, What::Bytes(written));
        Some(Ok(written))
    }

    pub(super) fn shutdown_write(self: &Rc<Self>, world: &World, side: Side) {
        {
            let mut end = self.end(side);
            if end.shut || end.reset || end.aborted {
                return;
            }
            end.shut = true;
            end.wake(Wait::Write);
        }
        self.send(world, side, What::End);
    }

    pub(super) fn cancel_read(&self, side: Side) {
        let mut end = self.end(side);
        if end.reading == Reading::Cancelable {
            end.reading = Reading::Cancelled;
            end.wake(Wait::Read);
        }
    }

    pub(super) fn abort(&self, world: &World, side: Side) {
        world.note(Entry::Abort(self.number, side));
        let mut end = self.end(side);
        end.aborted = true;
        end.wake_all();
    }

    pub(super) fn is_aborted(&self, side: Side) -> bool {
        self.end(side).aborted
    }

    /// Bytes that `side` has sent and that the other has not taken.
    pub(super) fn unacknowledged(&self, side: Side) -> u64 {
        let to = self.end(side.other());
        to.sent - to.taken
    }

    pub(super) fn state(&self, side: Side) -> StreamState {
        let end = self.end(side);
        if end.reset || end.aborted || (end.ended && end.shut) {
            StreamState::Gone
        } else if end.ended {
            StreamState::HalfClosed
        } else if end.arrived > 0 {
            StreamState::Readable
        } else {
            StreamState::Quiet
        }
    }

    /// The side's owner is done with it.
    pub(super) fn close(self: &Rc<Self>, world: &World, side: Side) {
        world.note(Entry::Close(self.number, side));
        let (send, unsent) = {
            let mut end = self.end(side);
            let unread = end.arrived > 0;
            end.closed = true;
            end.lose_arrived();
            if end.reset || end.refused {
                (None, false)
            } else if end.aborted || unread {
                end.refused = true;
                (Some(What::Reset), world.choose())
            } else if end.shut {
                (None, false)
            } else {
                end.shut = true;
                (Some(What::End), false)
            }
        };
        if unsent {
            unsend(world, &mut self.end(side.other()));
        }
        if let Some(what) = send {
            self.send(world, side, what);
        }
    }

    /// The connection is reset on its way: `side` learns of it now, the other side later.
    pub(super) fn break_now(self: &Rc<Self>, world: &World, side: Side) {
        let destroys = world.choose();
        self.reset_from_outside(world, side, destroys);
    }

    /// As [`Connection::break_now`], for an operation that has to fail: whatever had arrived, its
    /// result is the error.
    pub(super) fn force_reset(self: &Rc<Self>, world: &World, side: Side) {
        self.reset_from_outside(world, side, true);
        let mut end = self.end(side);
        end.ended = false;
        end.error = Some(ErrorKind::ConnectionReset);
    }

    fn reset_from_outside(self: &Rc<Self>, world: &World, side: Side, destroys: bool) {
        {
            let mut end = self.end(side);
            if end.closed || end.reset {
                return;
            }
            world.note(Entry::Deliver(self.number, side, What::Reset));
            end.receive_reset(destroys);
        }
        self.send(world, side, What::Reset);
    }

    /// What was sent to `side` and is due arrives there.
    pub(super) fn deliver(self: &Rc<Self>, world: &World, side: Side) {
        loop {
            let mut end = self.end(side);
            let due = end.under_way.pop_front_if(|segment| segment.due <= world.now());
            let Some(Segment { what, .. }) = due else { return };
            world.note(Entry::Deliver(self.number, side, what));
            match what {
                What::Bytes(count) if end.closed || end.reset => {
                    let from = end.arrived;
                    end.bytes.drain(from..from + count);
                    end.lost += count;
                    let refuse = end.closed && !end.reset && !end.refused;
                    end.refused |= refuse;
                    drop(end);
                    if refuse {
                        self.send(world, side, What::Reset);
                    }
                }
                What::Bytes(count) => {
                    end.arrived += count;
                    end.taken += count as u64;
                    end.wake(Wait::Read);
                    end.wake(Wait::Readable);
                }
                What::End if !end.reset => {
                    end.ended = true;
                    end.wake(Wait::Read);
                    end.wake(Wait::Readable);
                }
                What::End => {}
                What::Reset => {
                    let destroys = world.choose();
                    end.receive_reset(destroys);
                }
            }
        }
    }

    fn send(self: &Rc<Self>, world: &World, from: Side, what: What) {
        let due = {
            let mut to = self.end(from.other());
            let due = world.now().saturating_add(world.latency()).max(to.last_due);
            to.last_due = due;
            to.under_way.push_back(Segment { due, what });
            due
        };
        world.schedule(due, Event::Deliver(self.clone(), from.other()));
    }
}

/// Moves bytes that have arrived into `buf`: all that fit or, by fault, fewer.
fn read_arrived(world: &World, end: &mut End, buf: &mut Buf) -> usize {
    let fits = end.arrived.min(buf.room());
    let short = world.random.chance(world.faults.short_read_permille);
    let read = if short { 1 + world.random.below(fits) } else { fits };
    let (first, second) = end.bytes.as_slices();
    let split = read.min(first.len());
    for part in [first.get(..split), second.get(..read - split)].into_iter().flatten() {
        let fitted = buf.append(part);
        debug_assert!(fitted, "what was taken fits");
    }
    end.bytes.drain(..read);
    end.arrived -= read;
    read
}

/// Takes back some of the last that is under way: it had not left the sender yet.
fn unsend(world: &World, to: &mut End) {
    for _ in 0..world.random.below(to.under_way.len() + 1) {
        if let Some(Segment { what: What::Bytes(count), .. }) = to.under_way.pop_back() {
            to.bytes.truncate(to.bytes.len() - count);
        }
    }
}
