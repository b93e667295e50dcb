//! The bytes of a connection, in the order in which the two ends wrote them: a socket. TLS will be
//! one more variant, which is why everything above works on a [`Transport`] and not on a socket.
//!
//! A transport is a [`Stream`] of the bytes that the protocol above it sees. So its methods speak
//! of those: [`Stream::is_quiet`] means that there is nothing to read for the protocol and that
//! neither end has closed; [`Stream::try_write`] sends bytes of the protocol; and
//! [`Stream::unacknowledged`] counts bytes of the protocol.

use std::future::Future;
use std::io;

use crate::net::buffer::Buf;
use crate::net::{Net, Stream, StreamState};

/// See the module.
#[derive(Debug)]
pub enum Transport<N: Net> {
    /// The protocol's bytes go over the socket as they are.
    Plain(N::Stream),
}

impl<N: Net> Stream for Transport<N> {
    fn read(&self, buf: Buf) -> impl Future<Output = (io::Result<usize>, Buf)> {
        match self {
            Self::Plain(stream) => stream.read(buf),
        }
    }

    fn read_cancelable(&self, buf: Buf) -> impl Future<Output = (io::Result<usize>, Buf)> {
        match self {
            Self::Plain(stream) => stream.read_cancelable(buf),
        }
    }

    fn cancel_read(&self) {
        match self {
            Self::Plain(stream) => stream.cancel_read(),
        }
    }

    fn write(&self, buf: Buf) -> impl Future<Output = (io::Result<usize>, Buf)> {
        match self {
            Self::Plain(stream) => stream.write(buf),
        }
    }

    fn readable(&self) -> impl Future<Output = io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.readable(),
        }
    }

    fn state(&self) -> StreamState {
        match self {
            Self::Plain(stream) => stream.state(),
        }
    }

    fn is_quiet(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_quiet(),
        }
    }

    fn unacknowledged(&self) -> Option<u64> {
        match self {
            Self::Plain(stream) => stream.unacknowledged(),
        }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_write(bytes),
        }
    }

    fn shutdown_write(&self) {
        match self {
            Self::Plain(stream) => stream.shutdown_write(),
        }
    }

    fn abort(&self) {
        match self {
            Self::Plain(stream) => stream.abort(),
        }
    }
}
