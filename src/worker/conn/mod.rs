//! A client's connection: everything that holds whatever protocol the client speaks.
//!
//! A connection is either *quiet* or *busy*. A quiet one is a small future that waits for
//! readiness: it holds no buffer, no head, no exchange. Bytes make it busy: a boxed future that
//! takes the PROXY header of a new connection and does its TLS handshake (stage 2, [`handshake`] and
//! [`tls`]), and then runs the client's
//! protocol: [`h1`], or [`h2`] where a connection without TLS begins with its preface. When no next request comes for [`LINGER_MICROS`], the connection falls quiet
//! again, and everything that it held goes home.

mod h1;
mod h2;
mod handshake;
#[cfg(feature = "mux")]
mod mux;
pub mod tls;

use std::cell::Cell;
use std::future::poll_fn;
use std::num::NonZeroU16;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use engine::address::ClientAddress;
use engine::snapshot::ProxyProtocol;
use engine::stage::Stage;
use engine::time::Instant;
use proto::h2::PREFACE;

use handshake::Handshake;
use tls::{HandshakeFailure, Unsecured};

use crate::core::Core;
use crate::deadline::Deadline;
use crate::exchange::{Caller, Context, Exchange, Forwarded, Tunnel, TunnelEnd};
use crate::failure::{Failure, Kind, Side};
use crate::listener::{ListenerSlot, Seat};
use crate::net::buffer::{Buf, Size};
use crate::net::{Net, Stream, StreamState};
use crate::side::empty;
use crate::state::{CoreState, OpenConnection};
use crate::tls::stream::TlsStream;
use crate::tls::table::TlsTable;
use crate::transport::Transport;
use crate::wire::Wire;

/// How long a connection stays busy after a response, with a read armed, in microseconds. A client
/// that asks more often than this never pays for falling quiet and waking again.
const LINGER_MICROS: u64 = 500_000;
/// Buffers lent on a core above which a connection does not linger: reading by readiness costs some
/// 5 % more a request, and thousands of lingering connections would hold 3.5 KiB each.
const LINGER_BUFFERS_MAX: usize = 1024;
/// How often a connection looks again that waits for buffers before it becomes busy, in
/// microseconds.
const WANT_OF_BUFFERS_MICROS: u64 = 20_000;
/// How long a closing connection still reads from the client, so that the client reads our
/// answer before a reset destroys it, in microseconds; and how much, which bounds the work for a
/// client that never stops.
const LINGERING_CLOSE_MICROS: u64 = 2_000_000;
const LINGERING_CLOSE_BYTES: usize = 64 << 20;

/// Serves a client's connection to its end.
///
/// Not an `async fn`, which would keep its arguments twice: this future is the price of a quiet
/// connection.
pub fn serve<N: Net>(
    state: Rc<CoreState<N>>,
    stream: N::Stream,
    client: ClientAddress,
    seat: Seat,
) -> impl Future<Output = ()> {
    let (deadline, upload) = (state.core.wheel.deadline(), state.core.wheel.deadline());
    // Decided once: a connection that began without TLS stays without it.
    let with_tls = seat.listener.settings().tls.is_some();
    let transport = if with_tls {
        Transport::Tls(Box::new(TlsStream::new(stream, state.core.buffers.clone())))
    } else {
        Transport::Plain(stream)
    };
    let open = OpenConnection::count(state, seat);
    let port = Cell::new(open.listener().port.and_then(NonZeroU16::new));
    let is_new = Cell::new(true);
    let accepted_millis = millis(open.state.core.net.now());
    let client = Cell::new(client);
    let connection =
        Connection { open, transport, client, port, is_new, accepted_millis, deadline, upload };
    async move {
        #[cfg(feature = "mux")]
        if connection.core().mux.clients.get() {
            return Box::pin(mux::serve(connection)).await;
        }
        if let Some(ahead) = connection.live().await {
            return Box::pin(h2::serve(connection, *ahead)).await;
        }
        if let Transport::Tls(stream) = &connection.transport
            && stream.end()
        {
            Box::pin(connection.finish_tls(stream)).await;
        }
    }
}

struct Connection<N: Net> {
    open: OpenConnection<N>,
    transport: Transport<N>,
    /// The client's address. A PROXY header may change it.
    client: Cell<ClientAddress>,
    /// The port that the client connected to, if there is one.
    port: Cell<Option<NonZeroU16>>,
    /// No byte has been looked at yet.
    is_new: Cell<bool>,
    /// When it was accepted, as [`millis`] counts.
    accepted_millis: u32,
    /// The deadline of every wait but those of an upload.
    deadline: Deadline,
    /// The deadline of the direction towards an endpoint, while an exchange runs.
    upload: Deadline,
}

/// Milliseconds of the core's clock, without the upper bits: a quiet connection holds no more of it.
#[expect(clippy::cast_possible_truncation, reason = "the upper bits are not wanted")]
const fn millis(now: Instant) -> u32 {
    (now.0 / 1000) as u32
}

/// The state that follows when a connection is busy no more.
enum Next<N: Net> {
    Quiet,
    Closed,
    /// The client speaks HTTP/2. The buffer holds its first bytes.
    Http2(Box<Buf>),
    Tunnel(Box<Tunnel<N>>),
}

impl<N: Net> Connection<N> {
    fn core(&self) -> &Core<N> {
        &self.open.state.core
    }

    fn listener(&self) -> &ListenerSlot {
        self.open.listener()
    }

    /// Whether the connection takes no further request.
    fn ends(&self) -> bool {
        let age_max = self.listener().settings().limits.connection_age_max.value().0;
        // The count wraps after 49 days, and no limit is longer than one. Both moments are cut to a
        // millisecond, so the age may be one less than their difference.
        let age =
            millis(self.core().net.now()).wrapping_sub(self.accepted_millis).saturating_sub(1);
        self.is_drained() || u64::from(age) * 1000 >= age_max
    }

    /// Whether the connection is to close as soon as it is quiet. An old one is not: a request may
    /// be on its way, and its response can still say that the connection closes.
    fn is_drained(&self) -> bool {
        self.core().draining.get() || self.listener().closing.get()
    }

    /// Whether the connection may stay busy, with a read armed, while nothing comes. Where
    /// descriptors or buffers are short it falls quiet: then it holds no buffer, and can be closed
    /// for another.
    fn may_linger(&self) -> bool {
        let core = self.core();
        core.buffers.lent() < LINGER_BUFFERS_MAX && core.buffers.has_slack() && !core.pressed.get()
    }

    /// The connection's bytes, for operations under `deadline`.
    fn wire<'a>(
        &'a self,
        deadline: &'a Deadline,
        read_micros: u64,
        write_micros: u64,
    ) -> Wire<'a, N> {
        Wire {
            net: &self.core().net,
            buffers: &self.core().buffers,
            transport: &self.transport,
            deadline,
            side: Side::Client,
            read_micros,
            write_micros,
            give_up_at: Instant(u64::MAX),
        }
    }

    /// The fields that tell endpoints of this connection.
    fn forwarded(&self) -> Forwarded {
        let tls = match &self.transport {
            Transport::Plain(_) => None,
            Transport::Tls(stream) => stream.handshake(),
        };
        Forwarded::new(self.client.get(), self.port.get().map(NonZeroU16::get), tls)
    }

    /// The surroundings of an exchange on this connection.
    fn context<'a>(&'a self, forwarded: &'a Forwarded) -> Context<'a, N> {
        Context {
            core: self.core(),
            state: &self.open.state,
            listener: self.listener(),
            forwarded,
            upload: &self.upload,
            download: &self.deadline,
        }
    }

    /// Serves the connection to its end, or until it turns out to be HTTP/2: then gives its first bytes.
    async fn live(&self) -> Option<Box<Buf>> {
        // A new connection mostly has its request right behind it.
        let mut served = 0;
        let mut busy = self.may_linger();
        while busy || self.quiet(served == 0).await {
            busy = false;
            // The future of the busy connection is gone before a tunnel begins.
            let next = Box::pin(self.busy(&mut served)).await;
            match next {
                Next::Quiet => {}
                Next::Closed => return None,
                Next::Http2(ahead) => return Some(ahead),
                Next::Tunnel(tunnel) => {
                    Box::pin(self.tunnel(tunnel)).await;
                    return None;
                }
            }
        }
        None
    }

    /// How long a connection may be quiet, in microseconds: before its handshake, before its `first`
    /// request, or after one.
    fn patience(&self, first: bool) -> u64 {
        let timeouts = self.listener().settings().timeouts;
        match &self.transport {
            Transport::Tls(stream) if !stream.is_open() => timeouts.handshake.0,
            _ if first => timeouts.head.0,
            _ => timeouts.idle.0,
        }
    }

    /// Waits for bytes, holding nothing. `false` when the connection is to be closed.
    async fn quiet(&self, first: bool) -> bool {
        let core = self.core();
        self.deadline.arm(core.net.now(), self.patience(first));
        let idle = self.listener().idle.enter(&self.deadline, core.net.now());
        let mut readable = pin!(self.transport.readable());
        let came = poll_fn(|cx| {
            // A request that is already here is still served.
            if self.is_drained() {
                return Poll::Ready(self.transport.state() == StreamState::Readable);
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
        // Made here: it would be a part of each quiet connection.
        let give_up_at = core.net.now().plus_micros(self.patience(first));
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

    /// Takes the PROXY header of a new connection; then serves requests for as long as they keep
    /// coming.
    async fn busy(&self, served: &mut u32) -> Next<N> {
        let mut ahead = None;
        if self.is_new.get() {
            let mode = self.listener().settings().proxy_protocol;
            if mode != ProxyProtocol::Off {
                // Once per connection, and large.
                match Box::pin(self.read_proxy_header(mode)).await {
                    Ok(buf) => ahead = Some(buf),
                    Err(next) => return next,
                }
            }
            // A client may fall quiet between its handshake and its first bytes.
            if let Transport::Tls(stream) = &self.transport
                && !stream.is_open()
            {
                match Box::pin(self.secure(stream, ahead.take())).await {
                    Ok(()) => {}
                    Err(next) => return next,
                }
            }
            let may_be_h2 = match &self.transport {
                Transport::Plain(_) => true,
                Transport::Tls(stream) => stream.speaks(tls::H2),
            };
            if may_be_h2 {
                match Box::pin(self.read_preface(ahead.take())).await {
                    Ok(buf) => ahead = Some(buf),
                    Err(next) => return next,
                }
            }
            self.is_new.set(false);
        }
        h1::serve(self, ahead, served).await
    }

    /// Stage 2: takes the PROXY header off the connection. Gives the bytes behind it, or the
    /// connection's next state.
    async fn read_proxy_header(&self, mode: ProxyProtocol) -> Result<Buf, Next<N>> {
        let core = self.core();
        let head_micros = self.listener().settings().timeouts.head.0;
        let counted = |buf| {
            if self.open.seat.count_client(self.client.get()) {
                return Ok(buf);
            }
            core.counters.client_refused.add(1);
            Err(Next::Closed)
        };
        let wire = self.wire(&self.deadline, LINGER_MICROS, 0);
        match handshake::run(wire, mode, head_micros).await {
            Handshake::Unchanged(buf) => counted(buf),
            Handshake::Client(client, port, buf) => {
                self.client.set(client);
                self.port.set(port.and_then(NonZeroU16::new));
                counted(buf)
            }
            Handshake::Nothing => Err(self.fall_quiet()),
            Handshake::Ended => Err(Next::Closed),
            Handshake::Refused(reason, began) => {
                let forwarded = self.forwarded();
                let caller = Caller::of_connection(self.client.get());
                let exchange = Exchange::new(self.context(&forwarded), caller, began);
                exchange.close_unanswered(&core.request_heads.take(), reason);
                Err(Next::Closed)
            }
        }
    }

    /// Stage 2: reads the first bytes of a connection that may speak HTTP/2. They tell the protocol: HTTP/2
    /// begins with a preface, RFC 9113 section 3.3. Gives the bytes of a connection in HTTP/1.1, or the
    /// connection's next state.
    async fn read_preface(&self, ahead: Option<Buf>) -> Result<Buf, Next<N>> {
        let core = self.core();
        let mut buf = ahead.unwrap_or_else(|| empty(&core.buffers, Size::Small));
        let mut wire = self.wire(&self.deadline, LINGER_MICROS, 0);
        loop {
            let came = buf.filled();
            if came.starts_with(PREFACE) {
                return Err(Next::Http2(Box::new(buf)));
            }
            if !came.is_empty() {
                if !PREFACE.starts_with(came) {
                    return Ok(buf);
                }
                wire.read_micros = self.listener().settings().timeouts.head.0;
            }
            let read;
            (read, buf) = wire.read(Stage::Handshake, buf).await;
            match read {
                Ok(n) if n > 0 => {}
                Err(Failure { kind: Kind::Timeout, .. }) if buf.is_empty() => {
                    return Err(self.fall_quiet());
                }
                // A request of one byte or more, which is answered as such.
                Err(Failure { kind: Kind::Timeout, .. }) => return Ok(buf),
                _ => return Err(Next::Closed),
            }
        }
    }

    /// Stage 2: does the TLS handshake of a new connection. An error is the connection's next state.
    async fn secure(
        &self,
        stream: &TlsStream<N::Stream>,
        ahead: Option<Buf>,
    ) -> Result<(), Next<N>> {
        let (core, listener) = (self.core(), self.listener());
        let snapshot = self.open.state.snapshot();
        let config = TlsTable::listener(snapshot.table(), listener.id);
        // Not while a client may keep it waiting: a version must be able to retire.
        drop(snapshot);
        // A version that took TLS away from the listener came before the first byte.
        let Some(config) = config else { return Err(Next::Closed) };
        let handshake_micros = listener.settings().timeouts.handshake.0;
        let wire = self.wire(&self.deadline, LINGER_MICROS, 0);
        // A PROXY header may be here without anything behind it.
        let ahead = ahead.filter(|ahead| !ahead.is_empty());
        let done = tls::run(wire, stream, &config, &core.turns, ahead, handshake_micros).await;
        match done {
            Ok(()) => {
                if let Some(info) = stream.handshake() {
                    listener.tls.succeeded(info);
                }
                Ok(())
            }
            Err(Unsecured::Nothing) => Err(self.fall_quiet()),
            Err(Unsecured::Failed(failure)) => {
                listener.tls.failed(failure);
                Err(Next::Closed)
            }
            Err(Unsecured::Answer(reason, began)) => {
                listener.tls.failed(HandshakeFailure::PlainHttp);
                Err(h1::refuse(self, reason, began).await)
            }
        }
    }

    /// Sends the end of TLS that the socket did not take at once, for as long as a client may take to
    /// read.
    async fn finish_tls(&self, stream: &TlsStream<N::Stream>) {
        let core = self.core();
        let patience = self.listener().settings().timeouts.write_idle.0;
        self.deadline.arm(core.net.now(), patience);
        self.deadline.guard(pin!(stream.finish()), || stream.abort()).await;
        self.deadline.clear();
    }

    /// Lets go of everything that a cancelable read keeps, so that a quiet connection costs least.
    fn fall_quiet(&self) -> Next<N> {
        self.transport.cancel_read();
        Next::Quiet
    }

    /// The client's side of a tunnel, to its end.
    async fn tunnel(&self, tunnel: Box<Tunnel<N>>) {
        let Self { transport, deadline, upload, .. } = self;
        let end = tunnel.run(&self.open.state, self.listener(), transport, deadline, upload).await;
        if end == TunnelEnd::ClientUnread {
            self.close_politely().await;
        }
    }

    /// Ends our direction and reads on for a while before closing (RFC 9112 section 9.6).
    async fn close_politely(&self) {
        let core = self.core();
        self.transport.shutdown_write().await;
        let give_up_at = core.net.now().plus_micros(LINGERING_CLOSE_MICROS);
        let mut buf = core.buffers.take(Size::Medium);
        let mut left = LINGERING_CLOSE_BYTES;
        while left > 0 {
            let read_micros = give_up_at.micros_since(core.net.now());
            if read_micros == 0 {
                return;
            }
            buf.clear(0);
            let read;
            (read, buf) = self.wire(&self.deadline, read_micros, 0).read(Stage::Finish, buf).await;
            match read {
                Ok(n) if n > 0 => left = left.saturating_sub(n),
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::monoio::{MonoioNet, MonoioStream};

    #[test]
    fn a_quiet_connection_is_a_small_future() {
        fn size<F>(
            _: impl FnOnce(Rc<CoreState<MonoioNet>>, MonoioStream, ClientAddress, Seat) -> F,
        ) -> usize {
            size_of::<F>()
        }
        let bytes = size(serve::<MonoioNet>);
        assert!(bytes <= 512, "{bytes} bytes");
    }
}
