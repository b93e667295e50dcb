//! The two sides of an exchange, whatever protocol each of them speaks: a head, chunks of a body,
//! trailers, an end, an abort.
//!
//! An exchange sees a [`ClientSide`] and an [`EndpointSide`], and nothing of framing, persistence
//! or streams. A side decides by itself what becomes of its connection after an exchange.
//!
//! Invariant: the owner of a side awaits every operation that it has started. To give one up it
//! uses the handle, and then awaits the operation.

use std::future::Future;

use proto::head::{BodySize, Headers, Method, RequestHead, ResponseHead};

use crate::deadline::Deadline;
use crate::failure::Failure;
use crate::net::Stream;
use crate::net::buffer::{Buf, BufferPool, HEADROOM, Size};

/// Where a request comes from and its response goes to. An exchange uses the two directions at the
/// same time, as [`ClientSide::split`] hands them out.
pub trait ClientSide {
    /// The direction that the request's body comes in.
    type Source<'a>: RequestSource
    where
        Self: 'a;
    /// The direction that the response goes out in.
    type Sink<'a>: ResponseSink
    where
        Self: 'a;
    /// Asks and tells while both directions are under way.
    type Handle<'a>: ClientHandle
    where
        Self: 'a;

    /// Both directions and the handle. `upload` is the deadline of the first, `download` that of
    /// the second.
    fn split<'a>(
        &'a mut self,
        upload: &'a Deadline,
        download: &'a Deadline,
    ) -> (Self::Source<'a>, Self::Sink<'a>, Self::Handle<'a>);

    /// The part of the request's body that came with its head; perhaps no byte.
    ///
    /// # Errors
    ///
    /// When it is malformed.
    fn begin(&mut self) -> Result<Chunk, Failure>;
}

/// The incoming direction of an exchange with a client.
pub trait RequestSource {
    /// More of the body; `last` with the final bytes, or alone.
    fn next(&mut self) -> impl Future<Output = Result<Chunk, Failure>>;

    /// Takes some more of a body that nobody wants, and drops it: a client that sends everything
    /// before it reads must come to read its response. `true` at the end of the body.
    ///
    /// # Errors
    ///
    /// As [`RequestSource::next`]; and where this side takes no more, because it has taken enough
    /// or because its protocol can tell the client to stop.
    fn discard(&mut self) -> impl Future<Output = Result<bool, Failure>>;
}

/// Whether the gateway still wants the rest of a request's body when it sends the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// It was read to its end, or it goes on to the endpoint.
    Wanted,
    /// Nobody will use it.
    Unwanted,
}

/// The outgoing direction of an exchange with a client.
pub trait ResponseSink {
    /// Sends a 1xx head, if the client's protocol has such heads.
    fn interim(&mut self, head: &ResponseHead) -> impl Future<Output = Result<(), Failure>>;

    /// Sends the final head and the first of the body, in one piece. The side chooses the framing
    /// for a body of this `size`, and decides what becomes of its connection or stream.
    fn head(
        &mut self,
        head: &ResponseHead,
        size: BodySize,
        upload: Upload,
        first: Chunk,
    ) -> impl Future<Output = Result<(), Failure>>;

    /// Sends more of the body.
    fn chunk(&mut self, chunk: Chunk) -> impl Future<Output = Result<(), Failure>>;
}

/// The client's connection or stream, beside its two directions.
pub trait ClientHandle {
    /// Whether the client is still there, asked without waiting while no response byte was sent. A
    /// client that has only ended its own direction is.
    fn is_there(&self) -> bool;

    /// Makes a pending [`RequestSource::next`] or [`RequestSource::discard`] fail with
    /// [`Kind::Abandoned`](crate::failure::Kind::Abandoned).
    fn cancel_upload(&self);

    /// Resets the connection or stream, so that a part of a response does not look like all of it.
    fn abort(&self);
}

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

    /// The connection or stream as bytes, once the endpoint has agreed to another protocol.
    type Raw: Stream;

    /// Those bytes, and the first of them where they came right behind the head that agreed. `None`
    /// where the protocol of this side cannot be left.
    fn raw(&mut self) -> Option<(&Self::Raw, Option<Buf>)>;
}

/// The lent connection or stream, beside its two directions.
pub trait EndpointHandle {
    /// Ends whatever is pending, in both directions; the connection or stream is not used again.
    fn abort(&self);
}

/// A request head that went out whole, with the first of the body.
#[derive(Debug)]
pub struct Sent {
    /// Bytes that the kernel took.
    pub bytes_out: u64,
    /// The body's first chunk, where it can be sent once more: the connection may turn out dead.
    pub held: Option<Chunk>,
}

/// A request that could not be sent.
#[derive(Debug)]
pub struct Unsent {
    /// Why.
    pub failure: Failure,
    /// Bytes of it that the kernel took.
    pub bytes_out: u64,
    /// The body's first chunk, when it can still be sent elsewhere.
    pub held: Option<Chunk>,
}

/// The outgoing direction of an exchange with an endpoint.
pub trait RequestSink {
    /// Sends the head and the first of the body, in one piece.
    fn head(
        &mut self,
        head: &RequestHead,
        size: BodySize,
        first: Chunk,
    ) -> impl Future<Output = Result<Sent, Unsent>>;

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

    /// Bytes of the response that have arrived until its final head was there.
    fn bytes_in(&self) -> u64;

    /// The part of the body that arrived with the final head; perhaps no byte.
    fn begin(&mut self) -> Result<Chunk, Failure>;

    /// More of the body.
    fn next(&mut self) -> impl Future<Output = Result<Chunk, Failure>>;
}

/// A piece of a body. The buffer may be empty, and has room in front of it.
#[derive(Debug)]
pub struct Chunk {
    /// The bytes.
    pub buf: Buf,
    /// Nothing of the body follows.
    pub last: bool,
    /// The fields behind the last chunk (RFC 9110 section 6.5).
    pub trailers: Option<Box<Headers>>,
}

impl Chunk {
    /// The last of a body, without trailers.
    #[must_use]
    pub const fn last(buf: Buf) -> Self {
        Self { buf, last: true, trailers: None }
    }
}

/// An empty buffer with room in front.
#[must_use]
pub fn empty(buffers: &BufferPool, size: Size) -> Buf {
    let mut buf = buffers.take(size);
    buf.clear(HEADROOM);
    buf
}

/// A buffer that holds these bytes, with room in front.
pub(crate) fn buffer_of(buffers: &BufferPool, bytes: &[u8]) -> Buf {
    let mut buf = buffers.take_at_least(bytes.len() + 2 * HEADROOM);
    buf.clear(HEADROOM);
    let fits = buf.append(bytes);
    debug_assert!(fits, "the buffer is large enough");
    buf
}

/// Chunks after which a pump lets others run: on epoll a fast endpoint and a fast client could
/// otherwise keep one exchange going for ever. 16 of them are 1 MiB.
pub(crate) const CHUNKS_PER_TURN: u32 = 16;
