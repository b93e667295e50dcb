//! Reading and writing on a transport, each operation with a deadline.
//!
//! This knows no protocol: the framing of HTTP/1.1 is in [`h1`](crate::h1).

use std::pin::pin;

use engine::stage::Stage;
use engine::time::Instant;

use crate::deadline::Deadline;
use crate::failure::{Failure, Kind, Side};
use crate::net::buffer::{Buf, BufferPool};
use crate::net::{Net, Stream};
use crate::transport::Transport;

/// A transport with everything that an operation on it needs: the clock, buffers, a deadline, and
/// how long to wait.
///
/// The client's reads are cancelable, because the client must still be answered when the gateway
/// gives one up. It gives up any other operation by an abort of the transport.
pub struct Wire<'a, N: Net> {
    /// The core's network.
    pub net: &'a N,
    /// The core's buffers.
    pub buffers: &'a BufferPool,
    /// The transport of the bytes.
    pub transport: &'a Transport<N>,
    /// The deadline of the direction that waits here.
    pub deadline: &'a Deadline,
    /// The party at its other end.
    pub side: Side,
    /// How long a read may take to bring a byte, in microseconds.
    pub read_micros: u64,
    /// How long a write may take to get a byte out, in microseconds.
    pub write_micros: u64,
    /// When the other party must be done altogether.
    pub give_up_at: Instant,
}

impl<N: Net> Clone for Wire<'_, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N: Net> Copy for Wire<'_, N> {}

impl<N: Net> Wire<'_, N> {
    /// The failure of this side at `stage`.
    pub fn failure(&self, stage: Stage, kind: impl Into<Kind>) -> Failure {
        Failure { stage, side: self.side, kind: kind.into() }
    }

    /// Arms the deadline for an operation that may take `micros`. `false` if the time for the whole
    /// has passed.
    fn arm(&self, micros: u64) -> bool {
        let now = self.net.now();
        let left = self.give_up_at.micros_since(now);
        self.deadline.arm(now, micros.min(left));
        left > 0
    }

    /// The kind of failure of an operation whose deadline fired, or that met an abort by the other
    /// direction whose deadline fired.
    fn late(&self) -> Kind {
        if self.is_over() { Kind::TotalTimeout } else { Kind::Timeout }
    }

    /// Whether the time for the whole has passed.
    pub fn is_over(&self) -> bool {
        self.net.now() >= self.give_up_at
    }

    /// Reads once into `buf`. `Ok(0)` is the end of the stream.
    pub async fn read(&self, stage: Stage, buf: Buf) -> (Result<usize, Failure>, Buf) {
        if !self.arm(self.read_micros) {
            self.deadline.clear();
            return (Err(self.failure(stage, Kind::TotalTimeout)), buf);
        }
        let mut late = false;
        let (read, buf) = match self.side {
            Side::Client => {
                let give_up = || {
                    late = true;
                    self.transport.cancel_read();
                };
                self.deadline.guard(pin!(self.transport.read_cancelable(buf)), give_up).await
            }
            Side::Endpoint => {
                let give_up = || {
                    late = true;
                    self.transport.abort();
                };
                self.deadline.guard(pin!(self.transport.read(buf)), give_up).await
            }
        };
        self.deadline.clear();
        let read = match read {
            Ok(n) if n > 0 || !late => Ok(n),
            _ if late => Err(self.failure(stage, self.late())),
            Ok(n) => Ok(n),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {
                Err(self.failure(stage, Kind::Abandoned))
            }
            // The other direction may have given up first, and the transport with it.
            Err(_) if self.is_over() => Err(self.failure(stage, Kind::TotalTimeout)),
            Err(error) => Err(self.failure(stage, error)),
        };
        (read, buf)
    }

    /// Writes all of `buf`. After a failure, the bytes that the kernel did not take are left
    /// in it.
    pub async fn write(&self, stage: Stage, mut buf: Buf) -> (Result<(), Failure>, Buf) {
        while !buf.is_empty() {
            if !self.arm(self.write_micros) {
                self.deadline.clear();
                return (Err(self.failure(stage, Kind::TotalTimeout)), buf);
            }
            let mut late = false;
            let give_up = || {
                late = true;
                self.transport.abort();
            };
            let written;
            (written, buf) = self.deadline.guard(pin!(self.transport.write(buf)), give_up).await;
            if let Err(error) = written {
                self.deadline.clear();
                let kind = if late || self.is_over() { self.late() } else { error.into() };
                return (Err(self.failure(stage, kind)), buf);
            }
        }
        self.deadline.clear();
        (Ok(()), buf)
    }
}
