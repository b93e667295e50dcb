//! A lease: a connection to an endpoint, or one stream of a shared connection, lent to one try.

use engine::snapshot::UpstreamTimeouts;
use engine::time::Instant;

use super::h1;
use super::outcome::Try;
use crate::deadline::Deadline;
use crate::net::Net;
use crate::net::buffer::Buf;
use crate::side::{EndpointHandle, EndpointSide};
use crate::transport::Transport;

/// See the module. Dropping it ends the try, and closes the connection or resets the stream.
pub struct Lease<N: Net> {
    attempt: Try<N>,
    lent: Lent<N>,
}

/// The thing that is lent.
pub enum Lent<N: Net> {
    /// A whole HTTP/1.1 connection.
    H1(h1::LentConnection<N>),
}

impl<N: Net> Lent<N> {
    /// Returns a thing that was lent and not used.
    pub(super) fn put_back(self, now: Instant) {
        match self {
            Self::H1(connection) => connection.put_back(now),
        }
    }

    /// Whether a thing that was idle until now may still be used.
    pub(super) fn is_fit(&self) -> bool {
        match self {
            Self::H1(connection) => connection.is_quiet(),
        }
    }
}

impl<N: Net> Lease<N> {
    pub(super) const fn new(attempt: Try<N>, lent: Lent<N>) -> Self {
        Self { attempt, lent }
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
        }
    }

    /// Sets how long the endpoint may take for the head of its response and between two moves of a
    /// body, and when it must be done altogether.
    pub const fn set_patience(&mut self, timeouts: &UpstreamTimeouts, give_up_at: Instant) {
        match &mut self.lent {
            Lent::H1(connection) => connection.set_patience(timeouts, give_up_at),
        }
    }

    /// The endpoint is asked to switch to another protocol. When the gateway gives up, the endpoint
    /// must see a reset: a plain end of the connection would look like the end of its client's
    /// direction.
    pub const fn may_switch(&mut self) {
        match &mut self.lent {
            Lent::H1(connection) => connection.may_switch(),
        }
    }

    /// Whether the endpoint has taken no byte of a request that went out whole, and never will.
    /// Ask when its end has come in place of a response.
    pub async fn is_untaken(&self, deadline: &Deadline) -> bool {
        match &self.lent {
            Lent::H1(connection) => connection.is_untaken(deadline).await,
        }
    }

    /// Ends the lease. A connection in the clean end state returns to its pool: the request went
    /// out whole, the response came in whole, no byte came behind it, and both ends want to go on.
    /// Any other one closes.
    pub fn give_back(self, now: Instant) {
        match self.lent {
            Lent::H1(connection) => connection.give_back(now),
        }
    }
}

impl<N: Net> EndpointSide for Lease<N> {
    type Sink<'a> = h1::Sink<'a, N>;
    type Source<'a> = h1::Source<'a, N>;
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
                (sink, source, LeaseHandle { attempt, lent })
            }
        }
    }

    fn raw(&mut self) -> (&Self::Raw, Option<Buf>) {
        match &mut self.lent {
            Lent::H1(connection) => connection.raw(),
        }
    }
}

/// The lease beside its two directions.
pub struct LeaseHandle<'a, N: Net> {
    attempt: &'a Try<N>,
    lent: h1::Handle<'a, N>,
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
        self.lent.abort();
    }
}
