//! The streams of a simulated network, and their operations.
//!
//! An operation starts at its first poll. At that moment the world counts it, forces its outcome, or
//! lets a fault happen. [`SimConnection`] decides its result.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::super::buffer::Buf;
use super::super::{Stream, StreamState};
use super::Force;
use super::connection::{ConnectionSide, SimConnection, Wait};
use super::trace::{OperationKind, TraceEntry};
use super::world::{Due, SimEvent, World};

/// One side of a simulated connection.
pub struct SimStream {
    world: Rc<World>,
    connection: Rc<SimConnection>,
    side: ConnectionSide,
    host: usize,
}

impl SimStream {
    pub(super) fn new(
        world: &Rc<World>,
        connection: Rc<SimConnection>,
        side: ConnectionSide,
        host: usize,
    ) -> Self {
        if let Some(host) = world.hosts.borrow_mut().get_mut(host) {
            host.open_streams += 1;
        }
        Self { world: world.clone(), connection, side, host }
    }

    /// Our address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.connection.addr(self.side)
    }

    /// The other side's address.
    #[must_use]
    pub fn remote_addr(&self) -> SocketAddr {
        self.connection.addr(self.side.other())
    }

    /// Starts an operation: counts it, and lets the forced outcome or a fault happen.
    fn start(&self, kind: OperationKind) {
        match self.world.start(kind, self.host, self.connection.number) {
            Some(Force::Cancel) => self.connection.abort(&self.world, self.side),
            Some(Force::Reset) => self.connection.force_reset(&self.world, self.side),
            None => {}
        }
        let faults = &self.world.faults;
        if kind != OperationKind::Readable && self.world.random.chance(faults.reset_permille) {
            let later = self.world.latency();
            self.world.schedule_in(later, SimEvent::Break(self.connection.clone(), self.side));
        }
    }

    /// Records a failed operation in the trace.
    fn note<T>(&self, result: &io::Result<T>) {
        if let Err(error) = result {
            self.world.note(TraceEntry::Failed(self.connection.number, self.side, error.kind()));
        }
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        if let Some(host) = self.world.hosts.borrow_mut().get_mut(self.host) {
            host.open_streams -= 1;
        }
        self.connection.close(&self.world, self.side);
    }
}

impl Stream for SimStream {
    fn read(&self, buf: Buf) -> impl Future<Output = (io::Result<usize>, Buf)> {
        ReadFuture {
            stream: self,
            buf: Some(buf),
            cancelable: false,
            aborted: false,
            phase: OperationPhase::New,
        }
    }

    fn read_cancelable(&self, buf: Buf) -> impl Future<Output = (io::Result<usize>, Buf)> {
        ReadFuture {
            stream: self,
            buf: Some(buf),
            cancelable: true,
            aborted: false,
            phase: OperationPhase::New,
        }
    }

    fn cancel_read(&self) {
        self.connection.cancel_read(self.side);
    }

    fn write(&self, buf: Buf) -> impl Future<Output = (io::Result<usize>, Buf)> {
        WriteFuture { stream: self, buf: Some(buf), phase: OperationPhase::New }
    }

    fn readable(&self) -> impl Future<Output = io::Result<()>> {
        ReadableFuture { stream: self, stale: None, phase: OperationPhase::New }
    }

    fn state(&self) -> StreamState {
        self.connection.state(self.side)
    }

    fn is_quiet(&self) -> bool {
        self.state() == StreamState::Quiet
    }

    fn unacknowledged(&self) -> Option<u64> {
        Some(self.connection.unacknowledged(self.side))
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.connection.is_writing(self.side), "two writes of one stream at a time");
        let written = self.connection.write(&self.world, self.side, bytes);
        let written = written.unwrap_or_else(|| match bytes {
            [] => Ok(0),
            _ => Err(ErrorKind::WouldBlock.into()),
        });
        self.note(&written);
        written
    }

    async fn shutdown_write(&self) {
        self.connection.shutdown_write(&self.world, self.side);
    }

    fn abort(&self) {
        self.connection.abort(&self.world, self.side);
    }
}

/// The progress of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperationPhase {
    New,
    InProgress,
    Done,
}

/// [`Stream::read`] and [`Stream::read_cancelable`].
struct ReadFuture<'a> {
    stream: &'a SimStream,
    buf: Option<Buf>,
    cancelable: bool,
    /// Whether the stream was aborted before the read started.
    aborted: bool,
    phase: OperationPhase,
}

impl Future for ReadFuture<'_> {
    type Output = (io::Result<usize>, Buf);

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let SimStream { world, connection, side, .. } = this.stream;
        let Some(mut buf) = this.buf.take() else { unreachable!("polled after it resolved") };
        if this.phase == OperationPhase::New {
            assert!(buf.room() > 0, "a read into a full buffer");
            connection.start_read(*side, this.cancelable);
            this.phase = OperationPhase::InProgress;
            this.stream.start(OperationKind::Read);
            this.aborted = connection.is_aborted(*side);
            if world.choose() {
                this.buf = Some(buf);
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        match connection.read(world, *side, &mut buf, this.aborted) {
            Some(result) => {
                this.phase = OperationPhase::Done;
                connection.finish(*side, Wait::Read);
                this.stream.note(&result);
                Poll::Ready((result, buf))
            }
            None => {
                connection.wait(*side, Wait::Read, context);
                this.buf = Some(buf);
                Poll::Pending
            }
        }
    }
}

impl Drop for ReadFuture<'_> {
    fn drop(&mut self) {
        if self.phase == OperationPhase::InProgress {
            self.stream.connection.finish(self.stream.side, Wait::Read);
            self.stream.world.dropped();
        }
    }
}

/// [`Stream::write`].
struct WriteFuture<'a> {
    stream: &'a SimStream,
    buf: Option<Buf>,
    phase: OperationPhase,
}

impl Future for WriteFuture<'_> {
    type Output = (io::Result<usize>, Buf);

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let SimStream { world, connection, side, .. } = this.stream;
        let Some(mut buf) = this.buf.take() else { unreachable!("polled after it resolved") };
        if this.phase == OperationPhase::New {
            assert!(!buf.is_empty(), "a write of nothing");
            connection.start_write(*side);
            this.phase = OperationPhase::InProgress;
            this.stream.start(OperationKind::Write);
            if world.choose() {
                this.buf = Some(buf);
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        match connection.write(world, *side, buf.filled()) {
            Some(result) => {
                this.phase = OperationPhase::Done;
                connection.finish(*side, Wait::Write);
                this.stream.note(&result);
                if let Ok(written) = result {
                    buf.consume(written);
                }
                Poll::Ready((result, buf))
            }
            None => {
                connection.wait(*side, Wait::Write, context);
                this.buf = Some(buf);
                Poll::Pending
            }
        }
    }
}

impl Drop for WriteFuture<'_> {
    fn drop(&mut self) {
        if self.phase == OperationPhase::InProgress {
            self.stream.connection.finish(self.stream.side, Wait::Write);
            self.stream.world.dropped();
        }
    }
}

/// [`Stream::readable`].
struct ReadableFuture<'a> {
    stream: &'a SimStream,
    /// The time at which the wait resolves without cause.
    stale: Option<Due>,
    phase: OperationPhase,
}

impl ReadableFuture<'_> {
    fn finish(&mut self) {
        self.stream.connection.finish(self.stream.side, Wait::Readable);
        if let Some(due) = self.stale.take() {
            self.stream.world.unschedule(due);
        }
    }
}

impl Future for ReadableFuture<'_> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let SimStream { world, connection, side, .. } = this.stream;
        if this.phase == OperationPhase::New {
            this.phase = OperationPhase::InProgress;
            this.stream.start(OperationKind::Readable);
            if world.random.chance(world.faults.stale_readiness_permille) {
                let later = if world.choose() { world.latency() } else { 0 };
                let wake = SimEvent::Wake(context.waker().clone());
                this.stale = Some(world.schedule_in(later, wake));
            }
        }
        let stale = this.stale.is_some_and(|due| due.at <= world.now());
        if stale || connection.is_readable(*side) {
            this.phase = OperationPhase::Done;
            this.finish();
            return Poll::Ready(Ok(()));
        }
        connection.wait(*side, Wait::Readable, context);
        Poll::Pending
    }
}

impl Drop for ReadableFuture<'_> {
    fn drop(&mut self) {
        if self.phase == OperationPhase::InProgress {
            self.finish();
        }
    }
}
