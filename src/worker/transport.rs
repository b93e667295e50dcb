//! The bytes of a connection, in the order in which the two ends wrote them: a socket, or the bytes
//! inside TLS records on a socket. Everything above works on a [`Transport`].
//!
//! A transport is a [`Stream`] of the bytes that the protocol above it sees. So its methods speak
//! of those: [`Stream::is_quiet`] means that there is nothing to read for the protocol and that
//! neither end has closed; [`Stream::try_write`] sends bytes of the protocol; and
//! [`Stream::unacknowledged`] counts bytes of the protocol.

use std::io;

use crate::net::buffer::Buf;
use crate::net::{Net, Stream, StreamState};
use crate::tls::stream::TlsStream;

/// See the module.
#[derive(Debug)]
pub enum Transport<N: Net> {
    /// The protocol's bytes go over the socket as they are.
    Plain(N::Stream),
    /// They go in TLS records. Boxed: a quiet connection keeps its transport in its future.
    Tls(Box<TlsStream<N::Stream>>),
}

impl<N: Net> Stream for Transport<N> {
    async fn read(&self, buf: Buf) -> (io::Result<usize>, Buf) {
        match self {
            Self::Plain(stream) => stream.read(buf).await,
            Self::Tls(stream) => stream.read(buf).await,
        }
    }

    async fn read_cancelable(&self, buf: Buf) -> (io::Result<usize>, Buf) {
        match self {
            Self::Plain(stream) => stream.read_cancelable(buf).await,
            Self::Tls(stream) => stream.read_cancelable(buf).await,
        }
    }

    fn cancel_read(&self) {
        match self {
            Self::Plain(stream) => stream.cancel_read(),
            Self::Tls(stream) => stream.cancel_read(),
        }
    }

    async fn write(&self, buf: Buf) -> (io::Result<usize>, Buf) {
        match self {
            Self::Plain(stream) => stream.write(buf).await,
            Self::Tls(stream) => stream.write(buf).await,
        }
    }

    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.readable().await,
            Self::Tls(stream) => stream.readable().await,
        }
    }

    fn state(&self) -> StreamState {
        match self {
            Self::Plain(stream) => stream.state(),
            Self::Tls(stream) => stream.state(),
        }
    }

    fn is_quiet(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_quiet(),
            Self::Tls(stream) => stream.is_quiet(),
        }
    }

    fn unacknowledged(&self) -> Option<u64> {
        match self {
            Self::Plain(stream) => stream.unacknowledged(),
            Self::Tls(stream) => stream.unacknowledged(),
        }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_write(bytes),
            Self::Tls(stream) => stream.try_write(bytes),
        }
    }

    async fn shutdown_write(&self) {
        match self {
            Self::Plain(stream) => stream.shutdown_write().await,
            Self::Tls(stream) => stream.shutdown_write().await,
        }
    }

    fn abort(&self) {
        match self {
            Self::Plain(stream) => stream.abort(),
            Self::Tls(stream) => stream.abort(),
        }
    }
}
