//! The parts of the simulated clients and endpoints. Like the gateway, they never drop an operation
//! that is under way.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Poll, Waker};

use worker::net::buffer::{Buf, BufferPool, Size};
use worker::net::sim::{Random, SimNet, SimStream};
use worker::net::{Net, Stream};

/// Runs both to their ends.
pub(crate) async fn join(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut one_done, mut other_done) = (false, false);
    poll_fn(|cx| {
        one_done = one_done || one.as_mut().poll(cx).is_ready();
        other_done = other_done || other.as_mut().poll(cx).is_ready();
        if one_done && other_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Wakes the tasks that wait for a condition.
#[derive(Default)]
pub(crate) struct Notifier(RefCell<Vec<Waker>>);

impl Notifier {
    pub(crate) fn ring(&self) {
        self.0.take().into_iter().for_each(Waker::wake);
    }

    pub(crate) async fn until(&self, met: impl Fn() -> bool) {
        poll_fn(|cx| {
            if met() {
                return Poll::Ready(());
            }
            self.0.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

pub(crate) async fn sleep(net: &SimNet, micros: u64) {
    net.sleep_until(net.now().plus_micros(micros)).await;
}

/// A stream and its state, for one reader and one writer.
pub(crate) struct TestStream {
    pub(crate) net: SimNet,
    pub(crate) stream: SimStream,
    pub(crate) buffers: BufferPool,
    /// An operation failed: the connection did not end, it broke.
    pub(crate) broken: Cell<bool>,
    /// We want no more of it.
    pub(crate) over: Cell<bool>,
    writing: Cell<bool>,
    /// Bytes written.
    pub(crate) written: Cell<usize>,
}

impl TestStream {
    pub(crate) fn new(net: SimNet, stream: SimStream, buffers: BufferPool) -> Self {
        let (broken, over, writing) = (Cell::new(false), Cell::new(false), Cell::new(false));
        Self { net, stream, buffers, broken, over, writing, written: Cell::new(0) }
    }

    /// Writes all of `bytes`; `None` when the connection is broken or given up.
    pub(crate) async fn write(&self, bytes: &[u8]) -> Option<()> {
        for piece in bytes.chunks(Size::Large.bytes()) {
            let mut buf = self.buffers.take_at_least(piece.len());
            assert!(buf.append(piece));
            while !buf.is_empty() {
                if self.over.get() {
                    return None;
                }
                self.writing.set(true);
                let written;
                (written, buf) = self.stream.write(buf).await;
                self.writing.set(false);
                match written {
                    Ok(n) => self.written.set(self.written.get() + n),
                    Err(_) => {
                        self.broken.set(true);
                        return None;
                    }
                }
            }
        }
        Some(())
    }

    /// Writes `bytes` in pieces as `random` cuts them, with pauses.
    pub(crate) async fn write_in_pieces(&self, bytes: &[u8], random: &Random) -> Option<()> {
        let typical = 1 + random.below(if random.chance(500) { 100 } else { 64 << 10 });
        let mut rest = bytes;
        while !rest.is_empty() {
            let size = (1 + random.below(typical)).max(rest.len() / 32).min(rest.len());
            let (now, later) = rest.split_at(size);
            self.write(now).await?;
            rest = later;
            if random.chance(100) {
                sleep(&self.net, 1 << random.below(17)).await;
            }
        }
        Some(())
    }

    /// Reads once, waiting for at most `micros`.
    pub(crate) async fn read(&self, micros: u64) -> ReadResult {
        let buf = self.buffers.take(Size::Large);
        let mut read = pin!(self.stream.read_cancelable(buf));
        let mut sleep = pin!(sleep(&self.net, micros));
        let mut late = false;
        let (result, buf): (io::Result<usize>, Buf) = poll_fn(|cx| {
            if let Poll::Ready(done) = read.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            if !late && sleep.as_mut().poll(cx).is_ready() {
                late = true;
                self.stream.cancel_read();
            }
            Poll::Pending
        })
        .await;
        match result {
            Ok(0) => ReadResult::End,
            Ok(_) => ReadResult::Bytes(buf),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => ReadResult::Nothing,
            Err(_) => {
                self.broken.set(true);
                ReadResult::End
            }
        }
    }

    /// Closes, as a program does that ends: pending operations end first.
    pub(crate) fn close(&self) {
        self.over.set(true);
        if self.writing.get() {
            self.stream.abort();
        } else {
            self.stream.cancel_read();
        }
    }

    /// Resets the connection.
    pub(crate) fn reset(&self) {
        self.over.set(true);
        self.broken.set(true);
        self.stream.abort();
    }
}

pub(crate) enum ReadResult {
    Bytes(Buf),
    /// The stream ended; [`TestStream::broken`] tells whether it broke.
    End,
    /// No byte came in time, or the read was cancelled.
    Nothing,
}
