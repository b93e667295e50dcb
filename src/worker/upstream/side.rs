//! The endpoint side of an exchange: how a request goes out and its response comes in, whatever the
//! protocol.

use std::future::Future;

use proto::head::{BodyLength, Method, RequestHead, ResponseHead};

use crate::deadline::Deadline;
use crate::failure::Failure;
use crate::net::Stream;
use crate::net::buffer::Buf;
use crate::wire::Chunk;

/// Where a request goes and its response comes from. An exchange uses the two directions at the
/// same time, as [`EndpointSide::split`] hands them out.
pub trait EndpointSide {
    /// The direction that the request goes out in.
    type Sink<'a>: RequestSink
    where
        Self: 'a;
    /// The direction that the response comes in.
    type Source<'a>: ResponseSource
    where
        Self: 'a;
    /// Tells while both directions are under way.
    type Handle<'a>: EndpointHandle
    where
        Self: 'a;

    /// Both directions and the handle. `upload` is the deadline of the first, `download` that of
    /// the second.
    fn split<'a>(
        &'a mut self,
        upload: &'a Deadline,
        download: &'a Deadline,
    ) -> (Self::Sink<'a>, Self::Source<'a>, Self::Handle<'a>);

    /// What the connection or stream is once the endpoint has agreed to another protocol.
    type Raw: Stream;

    /// The bare bytes of it, and those that came behind the head that agreed.
    fn raw(&mut self) -> (&Self::Raw, Option<Buf>);
}

/// The lent connection or stream, beside its two directions.
pub trait EndpointHandle {
    /// Ends whatever is pending, in both directions; the connection or stream is not used again.
    fn abort(&self);
}

/// A request that could not be sent.
#[derive(Debug)]
pub struct Unsent {
    /// Why.
    pub failure: Failure,
    /// Bytes of it that the kernel took.
    pub bytes_out: u64,
    /// The body's first chunk, when it can still be sent elsewhere.
    pub chunk: Option<Chunk>,
}

/// The outgoing direction of an exchange with an endpoint.
pub trait RequestSink {
    /// Sends the head and the first of the body, in one piece. Where the connection may turn out
    /// dead, a body that went out whole comes back, to be sent once more.
    fn head(
        &mut self,
        head: &RequestHead,
        length: BodyLength,
        first: Chunk,
    ) -> impl Future<Output = Result<Option<Chunk>, Unsent>>;

    /// Sends more of the body.
    fn chunk(&mut self, chunk: Chunk) -> impl Future<Output = Result<(), Failure>>;
}

/// The incoming direction of an exchange with an endpoint.
pub trait ResponseSource {
    /// Waits for a head, final or interim. `while_waiting` is called every 0.4 s: it says
    /// whether to go on.
    fn head(
        &mut self,
        request_method: Method,
        into: &mut ResponseHead,
        while_waiting: impl FnMut() -> bool,
    ) -> impl Future<Output = Result<(), Failure>>;

    /// Whether any byte of a response has arrived.
    fn has_begun(&self) -> bool;

    /// What of the body arrived with the final head.
    fn begin(&mut self, length: BodyLength) -> Result<Chunk, Failure>;

    /// More of the body.
    fn next(&mut self) -> impl Future<Output = Result<Chunk, Failure>>;
}
