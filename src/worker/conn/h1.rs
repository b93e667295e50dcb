//! An HTTP/1.1 client's connection: stages 3 (decode) of each request, and the waits between them.
//!
//! A connection is either *quiet* or *busy*. A quiet one is a small future that waits for
//! readiness: it holds no buffer, no head, no exchange. Bytes make it busy: a boxed future that
//! reads heads and runs exchanges, one after another, so that a steady client costs no allocation
//! per request. When no next request comes for [`LINGER_MICROS`], it falls quiet again, and what it
//! held goes home.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use engine::address::ClientAddress;
use engine::reason::Reason;
use engine::snapshot::ProxyProtocol;
use engine::stage::Stage;
use engine::time::Instant;
use proto::h1::{Persist, Scanner, encode_response, encoded_len_max, leading_blank};
use proto::head::{BodyLength, RequestHead, ResponseHead, Version};

use super::decode;
use super::handshake::{self, Introduced};
use crate::deadline::Deadline;
use crate::exchange::{
    After, Caller, ClientHandle, ClientSide, Exchange, Forwarded, Left, Notes, RequestSource,
    ResponseSink, Tunnel,
};
use crate::failure::{Failure, Kind, Side};
use crate::listener::{ListenerSlot, Open, Seat};
use crate::net::buffer::{Buf, HEADROOM, Size};
use crate::net::{Net, Stream, StreamState};
use crate::state::Core;
use crate::wire::{Chunk, Incoming, Wire, empty, outgoing};

/// How long a connection stays busy after a response, with a read armed, in microseconds. A client
/// that asks more often than this never pays for falling quiet and waking again.
const LINGER_MICROS: u64 = 500_000;
/// Buffers lent on a core above which a connection does not linger: reading by readiness costs some
/// 5 % more a request, and thousands of lingering connections would hold 3.5 KiB each.
const LINGER_BUFFERS_MAX: usize = 1024;
/// How often a connection that may not become busy yet, for want of buffers, looks again, in
/// microseconds.
const WANT_OF_BUFFERS_MICROS: u64 = 20_000;
/// How long a closing connection still reads what the client sends, so that the client reads our
/// answer before a reset destroys it, in microseconds; and how much, which bounds the work for a
/// client that never stops.
const LINGERING_CLOSE_MICROS: u64 = 2_000_000;
const LINGERING_CLOSE_BYTES: usize = 64 << 20;
/// What is sent to a client that has ended its direction while it waits for a response: if it has
/// closed for good, a reset comes back. Any HTTP/1.1 client must skip it (RFC 9110 section 15.2).
const PROBE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Serves a client's connection to its end.
///
/// Not an `async fn`, which would keep its arguments twice: this future is what a quiet connection
/// costs.
pub fn serve<N: Net>(
    core: Rc<Core<N>>,
    stream: N::Stream,
    client: ClientAddress,
    seat: Seat,
) -> impl Future<Output = ()> {
    let (deadline, upload) = (core.wheel.deadline(), core.wheel.deadline());
    let open = Open::count(core, seat);
    let port = Cell::new(open.listener().port);
    let is_new = Cell::new(true);
    let client = Cell::new(client);
    let connection = Connection { open, stream, client, port, is_new, deadline, upload };
    async move { connection.live().await }
}

struct Connection<N: Net> {
    open: Open<N>,
    stream: N::Stream,
    /// Who is at the other end: a PROXY header may say it.
    client: Cell<ClientAddress>,
    /// The port that the client connected to, if there is one.
    port: Cell<Option<u16>>,
    /// No byte has been looked at yet.
    is_new: Cell<bool>,
    /// Of every wait but those of an upload.
    deadline: Deadline,
    /// Of the direction towards an endpoint, while an exchange runs.
    upload: Deadline,
}

/// What a busy connection becomes.
enum Then<N: Net> {
    Quiet,
    Closed,
    Tunnel(Box<Tunnel<N>>),
}

/// What came of waiting for a request's head.
enum Decoded {
    /// The head is in the request; what follows it is in the buffer. It began to arrive then.
    Head(Buf, Instant),
    /// No byte of a next request came for a while.
    Nothing,
    /// The client ended, or broke off.
    Ended,
    /// The client gets an answer, and the connection ends. Its request began to arrive then.
    Refused(Reason, Instant),
}

impl<N: Net> Connection<N> {
    fn core(&self) -> &Core<N> {
        &self.open.core
    }

    fn listener(&self) -> &ListenerSlot {
        self.open.listener()
    }

    /// Whether no further request is waited for.
    fn ends(&self) -> bool {
        self.core().draining.get() || self.listener().closing.get()
    }

    /// Whether a connection may stay busy, with a read armed, while nothing comes. Where descriptors
    /// or buffers are short it falls quiet, so that it can be given up and holds no buffer.
    fn may_linger(&self) -> bool {
        let core = self.core();
        core.buffers.lent() < LINGER_BUFFERS_MAX && core.buffers.has_slack() && !core.pressed.get()
    }

    async fn live(&self) {
        // A new connection mostly has its request right behind it.
        let mut served = 0;
        let mut busy = self.may_linger();
        while busy || self.quiet(served == 0).await {
            busy = false;
            // Its future is gone before a tunnel begins.
            let then = Box::pin(self.busy(&mut served)).await;
            match then {
                Then::Quiet => {}
                Then::Closed => return,
                Then::Tunnel(tunnel) => return Box::pin(self.tunnel(tunnel)).await,
            }
        }
    }

    /// Waits for bytes, holding nothing. `false` when the connection is to be closed.
    async fn quiet(&self, first: bool) -> bool {
        let core = self.core();
        let timeouts = self.listener().timeouts.get();
        let patience = if first { timeouts.head.0 } else { timeouts.idle.0 };
        let give_up_at = core.net.now().plus_micros(patience);
        self.deadline.arm(core.net.now(), patience);
        let idle = self.listener().idle.enter(&self.deadline, core.net.now());
        let mut readable = pin!(self.stream.readable());
        let came = poll_fn(|cx| {
            // A request that is already here is still served.
            if self.ends() {
                return Poll::Ready(self.stream.state() == StreamState::Readable);
            }
            if let Poll::Ready(ready) = readable.as_mut().poll(cx) {
                return Poll::Ready(ready.is_ok());
            }
            if self.deadline.poll_fired(cx) { Poll::Ready(false) } else { Poll::Pending }
        })
        .await;
        if !came && idle.is_shed() {
            core.counters.client_shed.add(1);
        }
        drop(idle);
        while came && !core.buffers.has_room() {
            if core.net.now() >= give_up_at {
                return false;
            }
            self.deadline.arm(core.net.now(), WANT_OF_BUFFERS_MICROS);
            self.deadline.passed().await;
        }
        self.deadline.clear();
        came
    }

    /// Serves requests for as long as they keep coming.
    async fn busy(&self, served: &mut u32) -> Then<N> {
        let core = self.core();
        let mut ahead = None;
        if self.is_new.get() {
            let mode = self.listener().proxy_protocol.get();
            if mode != ProxyProtocol::Off {
                // Once per connection.
                match Box::pin(self.be_introduced(mode)).await {
                    Ok(buf) => ahead = Some(buf),
                    Err(then) => return then,
                }
            }
            self.is_new.set(false);
        }
        let forwarded = Forwarded::plain(self.client.get(), self.port.get());
        // Bytes are known to be there.
        let mut fresh = true;
        // Requests served since the last one that was waited for.
        let mut in_a_row = 0;
        loop {
            let lingers = ahead.is_some() || self.may_linger();
            if *served > 0 && !fresh && !lingers {
                return self.fall_quiet();
            }
            fresh = false;
            if ahead.is_none() {
                in_a_row = 0;
            } else {
                in_a_row += 1;
                if in_a_row >= self.listener().limits.get().pipelined_max.value() {
                    in_a_row = 0;
                    core.net.yield_now().await;
                }
            }
            let mut head = core.request_heads.take();
            let decoded = self.decode(ahead.take(), &mut head).await;
            let (buf, began, refused) = match decoded {
                Decoded::Head(buf, began) => (buf, began, None),
                Decoded::Nothing => return self.fall_quiet(),
                Decoded::Ended => return Then::Closed,
                Decoded::Refused(reason, began) => {
                    (empty(&core.buffers, Size::Small), began, Some(reason))
                }
            };
            let timeouts = self.listener().timeouts.get();
            let mut client = Client {
                core,
                stream: &self.stream,
                body_idle_micros: timeouts.body_idle.0,
                write_idle_micros: timeouts.write_idle.0,
                version: head.version,
                body: Incoming::new(head.body_length(), buf),
                chunked: false,
                probed: Cell::new(0),
                deadline: &self.deadline,
            };
            let peer = self.client.get();
            let caller = match refused {
                None => Caller::of_request(peer, &head, self.listener()),
                Some(_) => Caller::of_connection(peer),
            };
            let exchange = Exchange {
                core,
                // Not before the head is here: a version must not wait for a client.
                snapshot: core.snapshot(),
                listener: self.listener(),
                caller,
                download: &self.deadline,
                upload: &self.upload,
                forwarded: &forwarded,
                is_last: served.saturating_add(1)
                    >= self.listener().limits.get().requests_per_connection_max.value(),
                own_request_id: core.request_ids.borrow_mut().next(),
                began,
                notes: Notes::default(),
                switched: Cell::new(None),
            };
            exchange.note_time(|times| &mut times.head);
            let after = match refused {
                None => exchange.run(&mut client, &mut head).await,
                Some(reason) => exchange.refuse(&mut client, &head, reason).await,
            };
            *served = served.saturating_add(1);
            if after == After::Tunnel
                && let Some(mut tunnel) = exchange.into_tunnel(&head)
            {
                tunnel.client_ahead = client.body.take_ahead();
                return Then::Tunnel(tunnel);
            }
            let unread = !client.body.is_done() || client.body.has_ahead() || refused.is_some();
            ahead = client.body.take_ahead();
            if after != After::KeepAlive {
                if unread && after != After::Aborted {
                    drop((ahead.take(), head));
                    Box::pin(self.close_politely()).await;
                }
                return Then::Closed;
            }
        }
    }

    /// The client's side of a tunnel, to its end.
    async fn tunnel(&self, tunnel: Box<Tunnel<N>>) {
        let Self { stream, deadline, upload, .. } = self;
        let left = tunnel.run(self.core(), self.listener(), stream, deadline, upload).await;
        if left == Left::Unread {
            self.close_politely().await;
        }
    }

    /// Stage 2: takes the PROXY header off the connection. What came of the first request, or what
    /// becomes of the connection.
    async fn be_introduced(&self, mode: ProxyProtocol) -> Result<Buf, Then<N>> {
        let core = self.core();
        let wire = Wire {
            net: &core.net,
            buffers: &core.buffers,
            stream: &self.stream,
            deadline: &self.deadline,
            side: Side::Client,
            read_micros: LINGER_MICROS,
            write_micros: 0,
        };
        let head_micros = self.listener().timeouts.get().head.0;
        let counted = |buf| {
            if self.open.seat.count_client(self.client.get()) {
                return Ok(buf);
            }
            core.counters.client_refused.add(1);
            Err(Then::Closed)
        };
        match handshake::run(wire, mode, head_micros).await {
            Introduced::AsItIs(buf) => counted(buf),
            Introduced::By(client, port, buf) => {
                self.client.set(client);
                self.port.set(port);
                counted(buf)
            }
            Introduced::Nothing => Err(self.fall_quiet()),
            Introduced::Ended => Err(Then::Closed),
            Introduced::Refused(reason, began) => {
                let forwarded = Forwarded::plain(self.client.get(), self.port.get());
                let exchange = Exchange {
                    core,
                    snapshot: core.snapshot(),
                    listener: self.listener(),
                    caller: Caller::of_connection(self.client.get()),
                    download: &self.deadline,
                    upload: &self.upload,
                    forwarded: &forwarded,
                    own_request_id: core.request_ids.borrow_mut().next(),
                    is_last: true,
                    began,
                    notes: Notes::default(),
                    switched: Cell::new(None),
                };
                exchange.turn_away(&core.request_heads.take(), reason);
                Err(Then::Closed)
            }
        }
    }

    /// Lets go of what a cancelable read keeps, so that a quiet connection costs least.
    fn fall_quiet(&self) -> Then<N> {
        self.stream.cancel_read();
        Then::Quiet
    }

    /// Stage 3: reads until a head is complete, and decodes it.
    async fn decode(&self, ahead: Option<Buf>, into: &mut RequestHead) -> Decoded {
        let core = self.core();
        let mut wire = Wire {
            net: &core.net,
            buffers: &core.buffers,
            stream: &self.stream,
            deadline: &self.deadline,
            side: Side::Client,
            read_micros: LINGER_MICROS,
            write_micros: 0,
        };
        let mut buf = ahead.unwrap_or_else(|| empty(&core.buffers, Size::Small));
        // The head's time runs from its first byte.
        let mut began = None;
        let mut scanner = Scanner::new();
        let (mut is_first_look, mut may_be_blank) = (true, true);
        loop {
            if !buf.is_empty() {
                let now = core.net.now();
                let began = *began.get_or_insert(now);
                // As they are now: a change holds for the next head on whatever connection.
                let limits = self.listener().limits.get();
                let blank = leading_blank(buf.filled());
                if blank > 0 && may_be_blank {
                    // One: a second is refused, however it arrives.
                    may_be_blank = false;
                    buf.consume(blank);
                    scanner = Scanner::new();
                }
                let paths = self.listener().paths.get();
                if is_first_look {
                    is_first_look = false;
                    if let Ok(head_len) = decode::at_once(buf.filled(), &limits, paths, into) {
                        buf.consume(head_len);
                        return Decoded::Head(buf, began);
                    }
                    into.clear();
                }
                if let Some(head_len) = scanner.scan(buf.filled()) {
                    let head = buf.filled().get(..head_len).unwrap_or_default();
                    return match decode::scanned(head, &limits, paths, into) {
                        Ok(()) => {
                            buf.consume(head_len);
                            Decoded::Head(buf, began)
                        }
                        Err(reason) => Decoded::Refused(reason, began),
                    };
                }
                if let Some(reason) = decode::refused_already(buf.filled(), &limits) {
                    return Decoded::Refused(reason, began);
                }
                let at = began.plus_micros(self.listener().timeouts.get().head.0);
                wire.read_micros = at.micros_since(now).max(1);
            }
            if buf.room() == 0 {
                let bytes = (buf.len() + HEADROOM) * 4;
                buf = buf.grown(bytes);
            }
            let read;
            (read, buf) = wire.read(Stage::Decode, buf).await;
            match read {
                Ok(0) => return Decoded::Ended,
                Ok(_) => {}
                Err(Failure { kind: Kind::Timeout, .. }) if buf.is_empty() => {
                    return Decoded::Nothing;
                }
                Err(Failure { kind: Kind::Timeout, .. }) => {
                    return Decoded::Refused(
                        Reason::ClientTimeout,
                        began.unwrap_or_else(|| core.net.now()),
                    );
                }
                Err(_) => return Decoded::Ended,
            }
        }
    }

    /// Ends our direction and reads on for a while before closing (RFC 9112 section 9.6).
    async fn close_politely(&self) {
        let core = self.core();
        self.stream.shutdown_write();
        let give_up_at = core.net.now().plus_micros(LINGERING_CLOSE_MICROS);
        let mut buf = core.buffers.take(Size::Medium);
        let mut left = LINGERING_CLOSE_BYTES;
        while left > 0 {
            let wire = Wire {
                net: &core.net,
                buffers: &core.buffers,
                stream: &self.stream,
                deadline: &self.deadline,
                side: Side::Client,
                read_micros: give_up_at.micros_since(core.net.now()),
                write_micros: 0,
            };
            if wire.read_micros == 0 {
                return;
            }
            buf.clear(0);
            let read;
            (read, buf) = wire.read(Stage::Finish, buf).await;
            match read {
                Ok(n) if n > 0 => left = left.saturating_sub(n),
                _ => return,
            }
        }
    }
}

/// The client's side of one exchange.
struct Client<'a, N: Net> {
    core: &'a Core<N>,
    stream: &'a N::Stream,
    deadline: &'a Deadline,
    body_idle_micros: u64,
    write_idle_micros: u64,
    version: Version,
    body: Incoming,
    /// The response's body goes out in chunks.
    chunked: bool,
    /// Bytes of [`PROBE`] that were sent.
    probed: Cell<usize>,
}

impl<'a, N: Net> Client<'a, N> {
    fn wire<'b>(&self, deadline: &'b Deadline) -> Wire<'b, N>
    where
        'a: 'b,
    {
        Wire {
            net: &self.core.net,
            buffers: &self.core.buffers,
            stream: self.stream,
            deadline,
            side: Side::Client,
            read_micros: self.body_idle_micros,
            write_micros: self.write_idle_micros,
        }
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
        let handle = Handle { stream: self.stream, version: self.version, probed: &self.probed };
        (
            Source { wire: up, body: &mut self.body },
            Sink {
                wire: down,
                version: self.version,
                chunked: &mut self.chunked,
                probed: &self.probed,
            },
            handle,
        )
    }

    fn begin(&mut self) -> Result<Chunk, Failure> {
        let wire = self.wire(self.deadline);
        self.body.begin(&wire, Stage::Decode)
    }

    fn version(&self) -> Version {
        self.version
    }
}

struct Source<'a, N: Net> {
    wire: Wire<'a, N>,
    body: &'a mut Incoming,
}

impl<N: Net> RequestSource for Source<'_, N> {
    async fn next(&mut self) -> Result<Chunk, Failure> {
        self.body.next(&self.wire, Stage::Forward).await
    }
}

struct Sink<'a, N: Net> {
    wire: Wire<'a, N>,
    version: Version,
    chunked: &'a mut bool,
    probed: &'a Cell<usize>,
}

impl<N: Net> Sink<'_, N> {
    fn encode(&self, head: &ResponseHead, length: BodyLength, persist: Persist, body: Buf) -> Buf {
        let len_max = encoded_len_max(&head.headers) + head.reason().len();
        let buf = outgoing::put_in_front(self.wire.buffers, body, len_max, |out| {
            encode_response(head, length, persist, self.version, out)
        });
        match self.probed.get() {
            0 => buf,
            sent => self.end_probe(sent, buf),
        }
    }

    /// What the client did not take of the probe goes out in front of `buf`.
    #[cold]
    fn end_probe(&self, sent: usize, buf: Buf) -> Buf {
        let rest = PROBE.get(sent..).unwrap_or_default();
        self.probed.set(PROBE.len());
        outgoing::put_in_front(self.wire.buffers, buf, rest.len(), |out| {
            out.get_mut(..rest.len())?.copy_from_slice(rest);
            Some(rest.len())
        })
    }
}

impl<N: Net> ResponseSink for Sink<'_, N> {
    async fn interim(&mut self, head: &ResponseHead) -> Result<(), Failure> {
        let body = empty(self.wire.buffers, Size::Small);
        let buf = self.encode(head, BodyLength::None, Persist::KeepAlive, body);
        self.wire.write(Stage::Respond, buf).await.0
    }

    async fn head(
        &mut self,
        head: &ResponseHead,
        length: BodyLength,
        after: After,
        first: Chunk,
    ) -> Result<(), Failure> {
        *self.chunked = length == BodyLength::Chunked;
        let persist = match after {
            After::KeepAlive => Persist::KeepAlive,
            After::Close | After::Aborted | After::Tunnel => Persist::Close,
        };
        let body =
            if *self.chunked { outgoing::frame(self.wire.buffers, first) } else { first.buf };
        let buf = self.encode(head, length, persist, body);
        self.wire.write(Stage::Respond, buf).await.0
    }

    async fn chunk(&mut self, chunk: Chunk) -> Result<(), Failure> {
        let buf = if *self.chunked { outgoing::frame(self.wire.buffers, chunk) } else { chunk.buf };
        self.wire.write(Stage::Respond, buf).await.0
    }
}

struct Handle<'a, N: Net> {
    stream: &'a N::Stream,
    version: Version,
    probed: &'a Cell<usize>,
}

impl<N: Net> ClientHandle for Handle<'_, N> {
    fn is_there(&self) -> bool {
        match self.stream.state() {
            StreamState::Gone => false,
            // Half closed and closed look the same until something is sent. An HTTP/1.0 client
            // must not be sent a 1xx, and is believed.
            StreamState::HalfClosed
                if self.version == Version::Http11 && self.probed.get() < PROBE.len() =>
            {
                let sent = self.probed.get();
                let rest = PROBE.get(sent..).unwrap_or_default();
                match self.stream.try_write(rest) {
                    Ok(n) => self.probed.set(sent + n),
                    // It has yet to read what came before: that is one who is there, and slow.
                    Err(error) => return error.kind() == ErrorKind::WouldBlock,
                }
                true
            }
            _ => true,
        }
    }

    fn cancel_upload(&self) {
        self.stream.cancel_read();
    }

    fn abort(&self) {
        self.stream.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::monoio::{MonoioNet, MonoioStream};

    #[test]
    fn a_quiet_connection_is_a_small_future() {
        fn size<F>(
            _: impl FnOnce(Rc<Core<MonoioNet>>, MonoioStream, ClientAddress, Seat) -> F,
        ) -> usize {
            size_of::<F>()
        }
        let bytes = size(serve::<MonoioNet>);
        assert!(bytes <= 512, "{bytes} bytes");
    }
}
