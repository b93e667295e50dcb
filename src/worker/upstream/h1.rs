//! A whole HTTP/1.1 connection to an endpoint, lent to one try at a time.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;

use engine::snapshot::UpstreamTimeouts;
use engine::stage::Stage;
use engine::time::Instant;
use proto::h1::{Scanner, encode_request, encoded_len_max, parse_response};
use proto::head::{BodyLength, BodySize, MessageKind, Method, RequestHead, ResponseHead};
use proto::violation::Violation;

use super::pool::{Counted, Pool};
use crate::core::Core;
use crate::deadline::Deadline;
use crate::failure::{Failure, Kind, Side};
use crate::h1::{Incoming, outgoing};
use crate::net::buffer::{Buf, HEADROOM, Size, TAILROOM};
use crate::net::{Net, Stream, StreamState};
use crate::side::{Chunk, EndpointHandle, RequestSink, ResponseSource, Sent, Unsent, empty};
use crate::transport::Transport;
use crate::wire::Wire;

/// How long a response head may be. Endpoints are trusted more than clients, but not with memory:
/// nginx refuses at 4 or 8 KiB (`proxy_buffer_size`), Envoy at 60 KiB.
const HEAD_BYTES_MAX: usize = 60 << 10;
/// How many headers a response may have, as Envoy's default times two: there are endpoints that
/// set a cookie per feature.
const HEADERS_MAX: usize = 200;
/// How often, in microseconds, a wait for a response head looks around: whether the client is
/// still there must be noticed within a second.
const LOOK_AROUND_MICROS: u64 = 400_000;

/// How long a reset may take that tells that an endpoint had closed before a request came, and how
/// often it is looked for, in microseconds. It comes within a round trip.
const UNTAKEN_MICROS: u64 = 1_000_000;
const UNTAKEN_LOOK_MICROS: u64 = 5_000;

/// A connection to an endpoint that a lease holds.
pub struct LentConnection<N: Net> {
    pool: Rc<Pool<N>>,
    connection: Box<Connection<N>>,
}

/// A connection to an endpoint, boxed for as long as it lives: it changes hands with every request.
pub(super) struct Connection<N: Net> {
    net: N,
    buffers: crate::net::buffer::BufferPool,
    pub(super) transport: Transport<N>,
    /// The way in which it was made: see [`Pool::renew`].
    pub(super) generation: u32,
    /// Counts it for as long as it lives.
    _counted: Counted<N>,
    /// It has carried a request before, so that it may turn out dead.
    reused: bool,
    /// Its last response filled a [`Size::Medium`] buffer at once: the next one may do so too.
    bulky: bool,
    /// Dropping it resets it.
    abrupt: bool,
    /// How long to wait for the head of a response, in microseconds.
    first_byte_micros: u64,
    /// How long a body may stand still in either direction, in microseconds.
    between_bytes_micros: u64,
    /// When the endpoint must be done altogether.
    give_up_at: Instant,
    state: State,
}

/// The state of the exchange that uses the connection.
#[derive(Default)]
struct State {
    /// The request went out whole.
    sent: Cell<bool>,
    /// Bytes of the request's head and of the first of its body, sent with it.
    bytes_out: Cell<u64>,
    chunked_out: bool,
    /// The response's head was read and lets the connection live.
    keep_alive: bool,
    /// How the end of the response's body is known.
    length: BodyLength,
    /// Bytes of the response until its final head was there.
    bytes_in: u64,
    /// A write failed. The kernel reports a reset once: reads see a clean end after it, which must
    /// not pass for the end of a body that ends with the connection.
    broken: Cell<bool>,
    /// Bytes behind the last head.
    ahead: Option<Buf>,
    body: Option<Incoming>,
}

impl<N: Net> Connection<N> {
    pub(super) fn new(
        core: &Core<N>,
        transport: Transport<N>,
        counted: Counted<N>,
        generation: u32,
    ) -> Self {
        Self {
            net: core.net.clone(),
            buffers: core.buffers.clone(),
            transport,
            generation,
            _counted: counted,
            reused: false,
            bulky: false,
            abrupt: false,
            first_byte_micros: 0,
            between_bytes_micros: 0,
            give_up_at: Instant(0),
            state: State::default(),
        }
    }
}

impl<N: Net> Drop for Connection<N> {
    fn drop(&mut self) {
        if self.abrupt {
            self.transport.abort();
        }
    }
}

impl<N: Net> LentConnection<N> {
    pub(super) const fn new(pool: Rc<Pool<N>>, connection: Box<Connection<N>>) -> Self {
        Self { pool, connection }
    }

    /// See [`Lease::is_reused`](super::Lease::is_reused).
    #[must_use]
    pub const fn is_reused(&self) -> bool {
        self.connection.reused
    }

    /// See [`Lease::set_patience`](super::Lease::set_patience).
    pub const fn set_patience(&mut self, timeouts: &UpstreamTimeouts, give_up_at: Instant) {
        self.connection.first_byte_micros = timeouts.first_byte.value().0;
        self.connection.between_bytes_micros = timeouts.between_bytes.value().0;
        self.connection.give_up_at = give_up_at;
    }

    /// See [`Lease::may_switch`](super::Lease::may_switch).
    pub const fn may_switch(&mut self) {
        self.connection.abrupt = true;
    }

    /// Whether the endpoint has taken no byte of the request that went out whole, and never will.
    /// To be asked when its end has come instead of a response.
    ///
    /// It had closed before the first byte came: then its end is here, without an acknowledgement
    /// of any byte, and its kernel has answered the bytes by a reset, which may take until now. An
    /// endpoint that ends its direction and still reads acknowledges the bytes that it takes.
    pub async fn is_untaken(&self, deadline: &Deadline) -> bool {
        let Connection { net, transport, state, .. } = &*self.connection;
        let bytes_out = state.bytes_out.get();
        if !state.sent.get() || state.broken.get() {
            return false;
        }
        let give_up_at = net.now().plus_micros(UNTAKEN_MICROS);
        loop {
            let ended = transport.state() == StreamState::Gone;
            if transport.unacknowledged() != Some(bytes_out) {
                return false;
            }
            if ended || net.now() >= give_up_at {
                return ended;
            }
            deadline.arm(net.now(), UNTAKEN_LOOK_MICROS);
            deadline.passed().await;
        }
    }

    /// Returns a connection that was not used.
    pub(super) fn put_back(self, now: Instant) {
        self.pool.give_back(self.connection, now);
    }

    /// Whether the connection, which is idle, may be used: see [`Stream::is_quiet`].
    pub(super) fn is_quiet(&self) -> bool {
        self.connection.transport.is_quiet()
    }

    /// Returns the connection to its pool if it is in the clean end state: the request went out
    /// whole, the response came in whole, nothing came behind it, and both sides want to go on.
    /// Otherwise closes it.
    pub fn give_back(self, now: Instant) {
        let Self { pool, mut connection } = self;
        connection.abrupt = false;
        let State { sent, keep_alive, ahead, body, .. } = std::mem::take(&mut connection.state);
        let body_done = body.as_ref().is_some_and(|body| body.is_done() && !body.has_ahead());
        if sent.get() && keep_alive && ahead.is_none() && body_done {
            connection.reused = true;
            pool.give_back(connection, now);
        }
    }
}

impl<N: Net> LentConnection<N> {
    /// See [`EndpointSide::split`](crate::side::EndpointSide::split).
    pub fn split<'a>(
        &'a mut self,
        upload: &'a Deadline,
        download: &'a Deadline,
    ) -> (Sink<'a, N>, Source<'a, N>, Handle<'a, N>) {
        let connection = &mut *self.connection;
        let wire = Wire {
            net: &connection.net,
            buffers: &connection.buffers,
            transport: &connection.transport,
            deadline: upload,
            side: Side::Endpoint,
            read_micros: connection.between_bytes_micros,
            write_micros: connection.between_bytes_micros,
            give_up_at: connection.give_up_at,
        };
        let State {
            sent,
            bytes_out,
            chunked_out,
            keep_alive,
            length,
            bytes_in,
            broken,
            ahead,
            body,
        } = &mut connection.state;
        let (sent, broken): (&Cell<bool>, &Cell<bool>) = (sent, broken);
        let reused = connection.reused;
        let sink = Sink { wire, reused, bytes_out, sent, chunked: chunked_out, broken };
        let source = Source {
            wire: Wire { deadline: download, ..wire },
            first_byte_micros: connection.first_byte_micros,
            bulky: &mut connection.bulky,
            keep_alive,
            length,
            bytes_in,
            broken,
            sent,
            ahead,
            body,
        };
        (sink, source, Handle(&connection.transport))
    }

    /// See [`EndpointSide::raw`](crate::side::EndpointSide::raw).
    pub fn raw(&mut self) -> (&Transport<N>, Option<Buf>) {
        // The tunnel that takes it over ends it.
        self.connection.abrupt = false;
        (&self.connection.transport, self.connection.state.ahead.take())
    }
}

/// The connection beside its directions.
pub struct Handle<'a, N: Net>(&'a Transport<N>);

impl<N: Net> EndpointHandle for Handle<'_, N> {
    fn abort(&self) {
        self.0.abort();
    }
}

/// The chunk of `body_len` bytes within its framing.
fn unframed(mut buf: Buf, body_len: usize) -> Buf {
    if buf.len() > body_len {
        let line = buf.filled().iter().position(|&byte| byte == b'\n');
        buf.consume(line.map_or(0, |at| at + 1).min(buf.len()));
        buf.truncate(body_len);
    }
    buf
}

/// The request's way out.
pub struct Sink<'a, N: Net> {
    wire: Wire<'a, N>,
    /// The connection has carried a request before.
    reused: bool,
    bytes_out: &'a Cell<u64>,
    sent: &'a Cell<bool>,
    chunked: &'a mut bool,
    broken: &'a Cell<bool>,
}

impl<N: Net> RequestSink for Sink<'_, N> {
    async fn head(
        &mut self,
        head: &RequestHead,
        size: BodySize,
        first: Chunk,
    ) -> Result<Sent, Unsent> {
        let length = match size {
            BodySize::None => BodyLength::None,
            BodySize::Known(bytes) => BodyLength::Length(bytes),
            BodySize::Unknown => BodyLength::Chunked,
        };
        *self.chunked = length == BodyLength::Chunked;
        let last = first.last;
        let body_len = first.buf.len();
        let trailers = first.trailers.clone();
        let framed =
            if *self.chunked { outgoing::frame(self.wire.buffers, first) } else { first.buf };
        let framed_len = framed.len();
        let buf = outgoing::put_in_front(
            self.wire.buffers,
            framed,
            encoded_len_max(&head.headers) + head.target().len(),
            |out| encode_request(head, length, out),
        );
        let whole = buf.len();
        let (written, mut buf) = self.wire.write(Stage::Forward, buf).await;
        if let Err(failure) = written {
            self.broken.set(true);
            let taken = whole - buf.len();
            // Where nothing was taken, the head and the framing come off the chunk again. And of an
            // empty chunk nothing can be lost.
            let held = if taken == 0 {
                buf.consume(whole - framed_len);
                Some(Chunk { buf: unframed(buf, body_len), last, trailers })
            } else if body_len == 0 {
                Some(Chunk { buf: empty(self.wire.buffers, Size::Small), last, trailers })
            } else {
                None
            };
            return Err(Unsent { failure, bytes_out: taken as u64, held });
        }
        self.sent.set(last);
        self.bytes_out.set(whole as u64);
        // A body that may have to be sent again stays in the buffer that it was sent from: all of
        // it was taken, so moving the front back over the framed bytes brings them up again.
        let held = (self.reused && last && (body_len > 0 || trailers.is_some())).then(|| {
            buf.extend_front(framed_len);
            Chunk { buf: unframed(buf, body_len), last, trailers }
        });
        Ok(Sent { bytes_out: whole as u64, held })
    }

    async fn chunk(&mut self, chunk: Chunk) -> Result<(), Failure> {
        let last = chunk.last;
        let buf = if *self.chunked { outgoing::frame(self.wire.buffers, chunk) } else { chunk.buf };
        let (written, _) = self.wire.write(Stage::Forward, buf).await;
        self.broken.set(self.broken.get() || written.is_err());
        self.sent.set(last && written.is_ok());
        written
    }
}

/// The response's way in.
pub struct Source<'a, N: Net> {
    wire: Wire<'a, N>,
    first_byte_micros: u64,
    bulky: &'a mut bool,
    keep_alive: &'a mut bool,
    length: &'a mut BodyLength,
    bytes_in: &'a mut u64,
    broken: &'a Cell<bool>,
    sent: &'a Cell<bool>,
    ahead: &'a mut Option<Buf>,
    body: &'a mut Option<Incoming>,
}

impl<N: Net> Source<'_, N> {
    /// One read of a response head, looking around while it waits.
    async fn read_head_bytes(
        &self,
        buf: Buf,
        give_up_at: &mut Instant,
        while_waiting: &mut impl FnMut() -> bool,
    ) -> (Result<usize, Failure>, Buf) {
        let Wire { net, deadline, transport, give_up_at: over_at, .. } = self.wire;
        let look_around = |now: Instant, give_up_at: Instant| {
            let left = give_up_at.min(over_at).micros_since(now);
            deadline.arm(now, left.min(LOOK_AROUND_MICROS));
        };
        look_around(net.now(), *give_up_at);
        let mut ended = None;
        let on_fire = || {
            let now = net.now();
            // The endpoint's time runs from the end of the request.
            if !self.sent.get() {
                *give_up_at = now.plus_micros(self.first_byte_micros);
            }
            if now >= over_at {
                ended = Some(Kind::TotalTimeout);
            } else if now >= *give_up_at {
                ended = Some(Kind::Timeout);
            } else if !while_waiting() {
                ended = Some(Kind::Abandoned);
            } else {
                look_around(now, *give_up_at);
                return;
            }
            transport.abort();
        };
        let (read, buf) = deadline.guard(pin!(transport.read(buf)), on_fire).await;
        deadline.clear();
        let read = match (read, ended) {
            (Ok(n), _) if n > 0 => Ok(n),
            (_, Some(kind)) => Err(kind),
            // The upload may have given up first, and the connection with it.
            (_, None) if self.wire.is_over() => Err(Kind::TotalTimeout),
            (Ok(_), None) => Err(Kind::Closed),
            (Err(error), None) => Err(error.into()),
        };
        (read.map_err(|kind| Failure::endpoint(Stage::Respond, kind)), buf)
    }
}

impl<N: Net> ResponseSource for Source<'_, N> {
    async fn head(
        &mut self,
        request_method: Method,
        into: &mut ResponseHead,
        mut while_waiting: impl FnMut() -> bool,
    ) -> Result<(), Failure> {
        let fail = |kind| Failure::endpoint(Stage::Respond, kind);
        let mut give_up_at = self.wire.net.now().plus_micros(self.first_byte_micros);
        let mut scanner = Scanner::new();
        let mut buf = match self.ahead.take() {
            Some(ahead) => ahead,
            None if *self.bulky => empty(self.wire.buffers, Size::Large),
            None => empty(self.wire.buffers, Size::Medium),
        };
        let mut is_first_look = true;
        let head_len = loop {
            // A head is mostly there at once. Where it is not, or is refused, its end is found first.
            if is_first_look && !buf.is_empty() {
                is_first_look = false;
                into.clear();
                if let Ok(head_len) =
                    parse_response(buf.filled(), HEADERS_MAX, request_method, into)
                {
                    break head_len;
                }
            }
            if let Some(head_len) = scanner.scan(buf.filled()) {
                let head = buf.filled().get(..head_len).unwrap_or_default();
                into.clear();
                match parse_response(head, HEADERS_MAX, request_method, into) {
                    Ok(len) if len == head_len => break head_len,
                    Ok(_) => return Err(fail(Violation::HeadEnd.into())),
                    Err(violation) => return Err(fail(violation.into())),
                }
            }
            if buf.len() >= HEAD_BYTES_MAX {
                return Err(fail(Kind::HeadTooLarge));
            }
            if buf.room() == 0 {
                buf = buf.grown(Size::Large.bytes());
            }
            let read;
            (read, buf) = self.read_head_bytes(buf, &mut give_up_at, &mut while_waiting).await;
            *self.bytes_in += read? as u64;
        };
        *self.bulky = buf.len() + HEADROOM + TAILROOM >= Size::Medium.bytes();
        buf.consume(head_len);
        *self.keep_alive = into.keep_alive();
        *self.length = into.body_length();
        *self.ahead = Some(buf);
        Ok(())
    }

    fn bytes_in(&self) -> u64 {
        *self.bytes_in
    }

    fn begin(&mut self) -> Result<Chunk, Failure> {
        let ahead = self.ahead.take().unwrap_or_else(|| empty(self.wire.buffers, Size::Small));
        let body = Incoming::new(MessageKind::Response, *self.length, ahead);
        self.body.insert(body).begin(&self.wire, Stage::Respond)
    }

    async fn next(&mut self) -> Result<Chunk, Failure> {
        match self.body {
            Some(body) => {
                let chunk = body.next(&self.wire, Stage::Respond).await?;
                if chunk.last && self.broken.get() && body.ends_with_the_stream() {
                    return Err(Failure::endpoint(Stage::Respond, Kind::Closed));
                }
                Ok(chunk)
            }
            None => Err(Failure::endpoint(Stage::Respond, Kind::Abandoned)),
        }
    }
}
