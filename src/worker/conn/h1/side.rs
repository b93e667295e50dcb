//! The client's side of one exchange over HTTP/1.1: framing, persistence, 100 (Continue), and an
//! upload that nobody wants any more.

use std::cell::Cell;
use std::io::ErrorKind;

use engine::stage::Stage;
use proto::h1::{Persist, encode_response, encoded_len_max};
use proto::head::{BodyLength, BodySize, MessageKind, RequestHead, ResponseHead, Version};

use super::Connection;
use crate::deadline::Deadline;
use crate::failure::{Failure, Kind};
use crate::h1::{Incoming, outgoing};
use crate::net::buffer::{Buf, Size};
use crate::net::{Net, Stream, StreamState};
use crate::side::{
    CHUNKS_PER_TURN, Chunk, ClientHandle, ClientSide, RequestSource, ResponseSink, Upload, empty,
};
use crate::wire::Wire;

/// How much of an upload that nobody wants the gateway reads and throws away, so that the client
/// comes to read its response: about as much as a client can have under way, as send and receive
/// buffers stand by default.
const DISCARD_BYTES_MAX: usize = 4 << 20;
/// Sent to a client that has ended its direction while it waits for a response: if it has closed
/// for good, a reset comes back. Any HTTP/1.1 client must skip it (RFC 9110 section 15.2).
const PROBE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// See the module.
pub(super) struct Client<'a, N: Net> {
    connection: &'a Connection<N>,
    body_idle_micros: u64,
    write_idle_micros: u64,
    body: Incoming,
    state: SideState,
}

/// The things that both directions of a side read or write.
struct SideState {
    /// The version that the client speaks.
    version: Version,
    /// The connection goes on after this exchange, as far as is known. The head of the response
    /// tells the client; afterwards it can only become `false`.
    keep_alive: Cell<bool>,
    /// The client has announced `Expect: 100-continue`, and no byte of its body has come. It may
    /// send the body after the response, or leave it out: nobody can tell where the next request
    /// begins.
    awaits_continue: Cell<bool>,
    /// The request's body was read to its end.
    upload_read: Cell<bool>,
    /// Bytes of the body that were read in vain.
    discarded: Cell<usize>,
    /// The body of the response goes out in chunks.
    chunked: Cell<bool>,
    /// Bytes of [`PROBE`] that were sent.
    probed: Cell<usize>,
}

impl<'a, N: Net> Client<'a, N> {
    /// The side of a request with this `head`; `ahead` holds the bytes that came right behind it.
    /// `is_last`: the connection ends with it, whatever the client wishes.
    pub(super) fn new(
        connection: &'a Connection<N>,
        head: &RequestHead,
        ahead: Buf,
        is_last: bool,
    ) -> Self {
        let timeouts = connection.listener().settings().timeouts;
        Self {
            connection,
            body_idle_micros: timeouts.body_idle.0,
            write_idle_micros: timeouts.write_idle.0,
            body: Incoming::new(MessageKind::Request, head.body_length(), ahead),
            state: SideState {
                version: head.version,
                keep_alive: Cell::new(head.keep_alive() && !is_last),
                awaits_continue: Cell::new(head.expects_continue()),
                upload_read: Cell::new(false),
                discarded: Cell::new(0),
                chunked: Cell::new(false),
                probed: Cell::new(0),
            },
        }
    }

    /// Whether the connection can carry another request, once the response was sent whole. Reads
    /// the rest of the upload first, within a bound.
    pub(super) async fn goes_on(&mut self) -> bool {
        if !self.state.keep_alive.get() {
            return false;
        }
        if !self.body.is_done() {
            let connection = self.connection;
            let (mut source, _, _) = self.split(&connection.upload, &connection.deadline);
            let mut chunks = 0u32;
            loop {
                match source.discard().await {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(_) => return false,
                }
                chunks += 1;
                if chunks.is_multiple_of(CHUNKS_PER_TURN) {
                    connection.core().net.yield_now().await;
                }
            }
        }
        true
    }

    /// Whether the client has sent bytes, or may be sending some, that nobody has read: closing the
    /// connection would reset it, and could destroy the response on its way.
    pub(super) fn is_unread(&self) -> bool {
        !self.body.is_done() || self.body.has_ahead()
    }

    /// The bytes behind the body.
    pub(super) fn take_ahead(&mut self) -> Option<Buf> {
        self.body.take_ahead()
    }

    fn wire<'b>(&self, deadline: &'b Deadline) -> Wire<'b, N>
    where
        'a: 'b,
    {
        self.connection.wire(deadline, self.body_idle_micros, self.write_idle_micros)
    }
}

impl<N: Net> ClientSide for Client<'_, N> {
    type Source<'b>
        = Source<'b, N>
    where
        Self: 'b;
    type Sink<'b>
        = Sink<'b, N>
    where
        Self: 'b;
    type Handle<'b>
        = Handle<'b, N>
    where
        Self: 'b;

    fn split<'b>(
        &'b mut self,
        upload: &'b Deadline,
        download: &'b Deadline,
    ) -> (Source<'b, N>, Sink<'b, N>, Handle<'b, N>) {
        let (up, down) = (self.wire(upload), self.wire(download));
        let (state, connection) = (&self.state, self.connection);
        (
            Source { wire: up, body: &mut self.body, state },
            Sink { wire: down, connection, state },
            Handle { transport: &connection.transport, state },
        )
    }

    fn begin(&mut self) -> Result<Chunk, Failure> {
        let wire = self.wire(&self.connection.deadline);
        let chunk = self.body.begin(&wire, Stage::Decode);
        self.state.note_upload(chunk)
    }
}

impl SideState {
    /// Notes how far the upload has come.
    fn note_upload(&self, chunk: Result<Chunk, Failure>) -> Result<Chunk, Failure> {
        match &chunk {
            Ok(chunk) => {
                self.upload_read.set(chunk.last);
                if chunk.last || !chunk.buf.is_empty() {
                    self.awaits_continue.set(false);
                }
            }
            // A read that was cancelled has taken nothing: the body goes on where it was.
            Err(Failure { kind: Kind::Abandoned, .. }) => {}
            Err(_) => self.keep_alive.set(false),
        }
        chunk
    }
}

pub(super) struct Source<'a, N: Net> {
    wire: Wire<'a, N>,
    body: &'a mut Incoming,
    state: &'a SideState,
}

impl<N: Net> RequestSource for Source<'_, N> {
    async fn next(&mut self) -> Result<Chunk, Failure> {
        let chunk = self.body.next(&self.wire, Stage::Forward).await;
        self.state.note_upload(chunk)
    }

    async fn discard(&mut self) -> Result<bool, Failure> {
        let chunk = self.next().await?;
        let discarded = &self.state.discarded;
        discarded.set(discarded.get() + chunk.buf.len());
        if discarded.get() > DISCARD_BYTES_MAX {
            self.state.keep_alive.set(false);
            return Err(Failure::client(Stage::Forward, Kind::Abandoned));
        }
        Ok(chunk.last)
    }
}

pub(super) struct Sink<'a, N: Net> {
    wire: Wire<'a, N>,
    connection: &'a Connection<N>,
    state: &'a SideState,
}

impl<N: Net> Sink<'_, N> {
    fn encode(&self, head: &ResponseHead, length: BodyLength, persist: Persist, body: Buf) -> Buf {
        let len_max = encoded_len_max(&head.headers) + head.reason().len();
        let buf = outgoing::put_in_front(self.wire.buffers, body, len_max, |out| {
            encode_response(head, length, persist, self.state.version, out)
        });
        match self.state.probed.get() {
            0 => buf,
            sent => self.end_probe(sent, buf),
        }
    }

    /// Puts the rest of a probe, of which the client took only a part, in front of `buf`.
    #[cold]
    fn end_probe(&self, sent: usize, buf: Buf) -> Buf {
        let rest = PROBE.get(sent..).unwrap_or_default();
        self.state.probed.set(PROBE.len());
        outgoing::put_in_front(self.wire.buffers, buf, rest.len(), |out| {
            out.get_mut(..rest.len())?.copy_from_slice(rest);
            Some(rest.len())
        })
    }

    /// Decides whether the connection goes on after a response, and remembers it.
    fn persist(&self, length: BodyLength, upload: Upload) -> Persist {
        let state = self.state;
        // An upload that nobody wants any more is not read to its end: the next request cannot be
        // found behind it. An upload that goes on may still fail; then the connection ends too.
        let unread =
            !state.upload_read.get() && (upload == Upload::Unwanted || state.awaits_continue.get());
        let goes_on = state.keep_alive.get()
            && length != BodyLength::UntilClose
            && !unread
            && !self.connection.ends();
        state.keep_alive.set(goes_on);
        if goes_on { Persist::KeepAlive } else { Persist::Close }
    }
}

impl<N: Net> ResponseSink for Sink<'_, N> {
    async fn interim(&mut self, head: &ResponseHead) -> Result<(), Failure> {
        // RFC 9110 section 15.2: no 1xx to an HTTP/1.0 client.
        if self.state.version == Version::Http10 {
            return Ok(());
        }
        let body = empty(self.wire.buffers, Size::Small);
        let buf = self.encode(head, BodyLength::None, Persist::KeepAlive, body);
        self.wire.write(Stage::Respond, buf).await.0
    }

    async fn head(
        &mut self,
        head: &ResponseHead,
        size: BodySize,
        upload: Upload,
        first: Chunk,
    ) -> Result<(), Failure> {
        let length = match size {
            BodySize::None => BodyLength::None,
            BodySize::Known(bytes) => BodyLength::Length(bytes),
            BodySize::Unknown if self.state.version == Version::Http11 => BodyLength::Chunked,
            BodySize::Unknown => BodyLength::UntilClose,
        };
        let chunked = length == BodyLength::Chunked;
        self.state.chunked.set(chunked);
        let persist = self.persist(length, upload);
        let body = if chunked { outgoing::frame(self.wire.buffers, first) } else { first.buf };
        let buf = self.encode(head, length, persist, body);
        self.wire.write(Stage::Respond, buf).await.0
    }

    async fn chunk(&mut self, chunk: Chunk) -> Result<(), Failure> {
        let chunked = self.state.chunked.get();
        let buf = if chunked { outgoing::frame(self.wire.buffers, chunk) } else { chunk.buf };
        self.wire.write(Stage::Respond, buf).await.0
    }
}

pub(super) struct Handle<'a, N: Net> {
    transport: &'a crate::transport::Transport<N>,
    state: &'a SideState,
}

impl<N: Net> ClientHandle for Handle<'_, N> {
    fn is_there(&self) -> bool {
        let probed = &self.state.probed;
        match self.transport.state() {
            StreamState::Gone => false,
            // Half closed and closed look the same until something is sent. An HTTP/1.0 client
            // must not be sent a 1xx, and is believed.
            StreamState::HalfClosed
                if self.state.version == Version::Http11 && probed.get() < PROBE.len() =>
            {
                let sent = probed.get();
                let rest = PROBE.get(sent..).unwrap_or_default();
                match self.transport.try_write(rest) {
                    Ok(n) => probed.set(sent + n),
                    // The client has yet to read earlier bytes: it is there, and slow.
                    Err(error) => return error.kind() == ErrorKind::WouldBlock,
                }
                true
            }
            _ => true,
        }
    }

    fn cancel_upload(&self) {
        self.transport.cancel_read();
    }

    fn abort(&self) {
        self.transport.abort();
    }
}
