//! A lease: a connection to an endpoint, or one stream of a shared connection, lent to one try.

use engine::snapshot::UpstreamTimeouts;
use engine::time::Instant;
use proto::head::{BodySize, Method, RequestHead, ResponseHead};

use super::h1;
#[cfg(feature = "mux")]
use super::mux;
use super::outcome::Try;
use crate::deadline::Deadline;
use crate::failure::Failure;
use crate::limit::Permits;
use crate::net::Net;
use crate::net::buffer::Buf;
use crate::side::{Chunk, EndpointHandle, EndpointSide, RequestSink, ResponseSource, Sent, Unsent};
use crate::transport::Transport;

/// See the module. Dropping it ends the try, and closes the connection or resets the stream.
pub struct Lease<N: Net> {
    attempt: Try<N>,
    lent: Lent<N>,
    /// The permits of its request, until the lease ends.
    permits: Permits,
}

/// The thing that is lent.
pub enum Lent<N: Net> {
    /// A whole HTTP/1.1 connection.
    H1(h1::LentConnection<N>),
    /// One stream of a shared connection.
    #[cfg(feature = "mux")]
    Mux(mux::LentStream<N>),
}

impl<N: Net> Lent<N> {
    /// Returns a thing that was lent and not used.
    pub(super) fn put_back(self, now: Instant) {
        match self {
            Self::H1(connection) => connection.put_back(now),
            #[cfg(feature = "mux")]
            Self::Mux(stream) => drop(stream),
        }
    }

    /// Whether a thing that was idle until now may still be used.
    pub(super) fn is_fit(&self) -> bool {
        match self {
            Self::H1(connection) => connection.is_quiet(),
            #[cfg(feature = "mux")]
            Self::Mux(stream) => stream.is_open(),
        }
    }
}

impl<N: Net> Lease<N> {
    pub(super) const fn new(attempt: Try<N>, lent: Lent<N>) -> Self {
        Self { attempt, lent, permits: [None, None] }
    }

    /// The request counts under these limits until the lease ends.
    pub(super) fn keep(&mut self, permits: Permits) {
        self.permits = permits;
    }

    /// The try that it serves.
    #[must_use]
    pub const fn attempt(&self) -> &Try<N> {
        &self.attempt
    }

    /// Whether the connection was made for an earlier request, so that it may turn out dead.
    #[must_use]
    pub const fn is_reused(&self) -> bool {
        match &self.lent {
            Lent::H1(connection) => connection.is_reused(),
            #[cfg(feature = "mux")]
            Lent::Mux(stream) => stream.is_reused(),
        }
    }

    /// Sets how long the endpoint may take for the head of its response and between two moves of a
    /// body, and when it must be done altogether.
    pub const fn set_patience(&mut self, timeouts: &UpstreamTimeouts, give_up_at: Instant) {
        match &mut self.lent {
            Lent::H1(connection) => connection.set_patience(timeouts, give_up_at),
            #[cfg(feature = "mux")]
            Lent::Mux(stream) => stream.set_patience(timeouts, give_up_at),
        }
    }

    /// The endpoint is asked to switch to another protocol. When the gateway gives up, the endpoint
    /// must see a reset: a plain end of the connection would look like the end of its client's
    /// direction.
    pub const fn may_switch(&mut self) {
        match &mut self.lent {
            Lent::H1(connection) => connection.may_switch(),
            // Giving a stream up resets it anyway.
            #[cfg(feature = "mux")]
            Lent::Mux(_) => {}
        }
    }

    /// Whether the endpoint has taken no byte of a request that went out whole, and never will.
    /// Ask when its end has come in place of a response.
    pub async fn is_untaken(&self, deadline: &Deadline) -> bool {
        match &self.lent {
            Lent::H1(connection) => connection.is_untaken(deadline).await,
            #[cfg(feature = "mux")]
            Lent::Mux(stream) => stream.is_untaken(),
        }
    }

    /// Ends the lease. A connection in the clean end state returns to its pool: the request went
    /// out whole, the response came in whole, no byte came behind it, and both ends want to go on.
    /// Any other one closes.
    pub fn give_back(self, now: Instant) {
        match self.lent {
            Lent::H1(connection) => connection.give_back(now),
            // A stream whose directions have both ended leaves its connection as it is.
            #[cfg(feature = "mux")]
            Lent::Mux(stream) => drop(stream),
        }
    }
}

impl<N: Net> EndpointSide for Lease<N> {
    type Sink<'a> = LeaseSink<'a, N>;
    type Source<'a> = LeaseSource<'a, N>;
    type Handle<'a> = LeaseHandle<'a, N>;
    type Raw = Transport<N>;

    fn split<'a>(
        &'a mut self,
        upload: &'a Deadline,
        download: &'a Deadline,
    ) -> (Self::Sink<'a>, Self::Source<'a>, Self::Handle<'a>) {
        let attempt = &self.attempt;
        match &mut self.lent {
            Lent::H1(connection) => {
                let (sink, source, lent) = connection.split(upload, download);
                let handle = LeaseHandle { attempt, lent: LentHandle::H1(lent) };
                (LeaseSink::H1(sink), LeaseSource::H1(source), handle)
            }
            #[cfg(feature = "mux")]
            Lent::Mux(stream) => {
                let (sink, source, lent) = stream.split(upload, download);
                let handle = LeaseHandle { attempt, lent: LentHandle::Mux(lent) };
                (LeaseSink::Mux(sink), LeaseSource::Mux(source), handle)
            }
        }
    }

    fn raw(&mut self) -> Option<(&Self::Raw, Option<Buf>)> {
        match &mut self.lent {
            Lent::H1(connection) => Some(connection.raw()),
            #[cfg(feature = "mux")]
            Lent::Mux(_) => None,
        }
    }
}

/// The direction of the request.
pub enum LeaseSink<'a, N: Net> {
    /// See [`Lent::H1`].
    H1(h1::Sink<'a, N>),
    /// See [`Lent::Mux`].
    #[cfg(feature = "mux")]
    Mux(mux::StreamSink<'a, N>),
}

impl<N: Net> RequestSink for LeaseSink<'_, N> {
    async fn head(
        &mut self,
        head: &RequestHead,
        size: BodySize,
        first: Chunk,
    ) -> Result<Sent, Unsent> {
        match self {
            Self::H1(sink) => sink.head(head, size, first).await,
            #[cfg(feature = "mux")]
            Self::Mux(sink) => Box::pin(sink.head(head, size, first)).await,
        }
    }

    async fn chunk(&mut self, chunk: Chunk) -> Result<(), Failure> {
        match self {
            Self::H1(sink) => sink.chunk(chunk).await,
            #[cfg(feature = "mux")]
            Self::Mux(sink) => Box::pin(sink.chunk(chunk)).await,
        }
    }
}

/// The direction of the response.
pub enum LeaseSource<'a, N: Net> {
    /// See [`Lent::H1`].
    H1(h1::Source<'a, N>),
    /// See [`Lent::Mux`].
    #[cfg(feature = "mux")]
    Mux(mux::StreamSource<'a, N>),
}

impl<N: Net> ResponseSource for LeaseSource<'_, N> {
    async fn head(
        &mut self,
        request_method: Method,
        into: &mut ResponseHead,
        while_waiting: impl FnMut() -> bool,
    ) -> Result<(), Failure> {
        match self {
            Self::H1(source) => source.head(request_method, into, while_waiting).await,
            #[cfg(feature = "mux")]
            Self::Mux(source) => Box::pin(source.head(request_method, into, while_waiting)).await,
        }
    }

    fn bytes_in(&self) -> u64 {
        match self {
            Self::H1(source) => source.bytes_in(),
            #[cfg(feature = "mux")]
            Self::Mux(source) => source.bytes_in(),
        }
    }

    fn begin(&mut self) -> Result<Chunk, Failure> {
        match self {
            Self::H1(source) => source.begin(),
            #[cfg(feature = "mux")]
            Self::Mux(source) => source.begin(),
        }
    }

    async fn next(&mut self) -> Result<Chunk, Failure> {
        match self {
            Self::H1(source) => source.next().await,
            #[cfg(feature = "mux")]
            Self::Mux(source) => Box::pin(source.next()).await,
        }
    }
}

/// The lease beside its two directions.
pub struct LeaseHandle<'a, N: Net> {
    attempt: &'a Try<N>,
    lent: LentHandle<'a, N>,
}

enum LentHandle<'a, N: Net> {
    H1(h1::Handle<'a, N>),
    #[cfg(feature = "mux")]
    Mux(&'a crate::mux::MuxStream<N>),
}

impl<'a, N: Net> LeaseHandle<'a, N> {
    /// The try that the lease serves.
    #[must_use]
    pub const fn attempt(&self) -> &'a Try<N> {
        self.attempt
    }
}

impl<N: Net> EndpointHandle for LeaseHandle<'_, N> {
    fn abort(&self) {
        match &self.lent {
            LentHandle::H1(lent) => lent.abort(),
            #[cfg(feature = "mux")]
            LentHandle::Mux(lent) => lent.reset(),
        }
    }
}
