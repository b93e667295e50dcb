//! An HTTP/1.1 client's connection while it is busy: stage 3 (decode) of each request, and one
//! exchange after another.
//!
//! A steady client costs no allocation per request: the heads, the buffers and the future of its
//! connection stay.

mod decode;
mod side;

use engine::reason::Reason;
use engine::stage::Stage;
use engine::time::Instant;
use proto::h1::{Scanner, leading_blank};
use proto::head::{HeaderId, RequestHead, Version};

use super::{Connection, LINGER_MICROS, Next};
use crate::exchange::{Caller, Ended, Exchange};
use crate::failure::{Failure, Kind};
use crate::net::Net;
use crate::net::buffer::{Buf, HEADROOM, Size};
use crate::side::empty;
use side::Client;

/// The outcome of waiting for a request's head.
enum Decoded {
    /// The head is in the request; the buffer holds the bytes behind it. The head began to arrive
    /// at that moment.
    Head(Buf, Instant),
    /// No byte of a next request came for a while.
    Nothing,
    /// The client ended, or broke off.
    Ended,
    /// The client gets an answer, and the connection ends. Its request began to arrive at that
    /// moment.
    Refused(Reason, Instant),
}

/// Serves requests for as long as they keep coming. `ahead` holds the first bytes, where they are
/// here already; `served` counts the requests of the connection.
pub(super) async fn serve<N: Net>(
    connection: &Connection<N>,
    mut ahead: Option<Buf>,
    served: &mut u32,
) -> Next<N> {
    let core = connection.core();
    let forwarded = connection.forwarded();
    // Bytes are known to be there.
    let mut fresh = true;
    // Requests served since the last one that was waited for.
    let mut in_a_row = 0;
    loop {
        let lingers = ahead.is_some() || connection.may_linger();
        if *served > 0 && !fresh && !lingers {
            return connection.fall_quiet();
        }
        fresh = false;
        if ahead.is_none() {
            in_a_row = 0;
        } else {
            // Pipelined requests need no wait, and a connection that never waits would keep all
            // others of its core from running.
            in_a_row += 1;
            if in_a_row >= connection.listener().settings().limits.pipelined_max.value() {
                in_a_row = 0;
                core.net.yield_now().await;
            }
        }
        let mut head = core.request_heads.take();
        let decoded = decode(connection, ahead.take(), &mut head).await;
        let (buf, began, refused) = match decoded {
            Decoded::Head(buf, began) => (buf, began, None),
            Decoded::Nothing => return connection.fall_quiet(),
            Decoded::Ended => return Next::Closed,
            Decoded::Refused(reason, began) => {
                (empty(&core.buffers, Size::Small), began, Some(reason))
            }
        };
        if head.version == Version::Http10 {
            // RFC 9110 section 10.1.1: it means nothing there, and we speak 1.1 for the client.
            head.headers.remove(HeaderId::Expect);
        }
        *served = served.saturating_add(1);
        let is_last = refused.is_some()
            || *served
                >= connection.listener().settings().limits.requests_per_connection_max.value();
        let mut client = Client::new(connection, &head, buf, is_last);
        let peer = connection.client.get();
        let caller = match refused {
            None => Caller::of_request(peer, &head, connection.listener()),
            Some(_) => Caller::of_connection(peer),
        };
        let exchange = Exchange::new(connection.context(&forwarded), caller, began);
        let ended = match refused {
            None => exchange.run(&mut client, &mut head).await,
            Some(reason) => exchange.refuse(&mut client, &head, reason).await,
        };
        if ended == Ended::Switched
            && let Some(mut tunnel) = exchange.into_tunnel(&head)
        {
            tunnel.client_ahead = client.take_ahead();
            return Next::Tunnel(tunnel);
        }
        let goes_on = ended == Ended::Answered && client.goes_on().await;
        if !goes_on {
            let unread = refused.is_some() || client.is_unread();
            if unread && ended != Ended::Aborted {
                drop((client, head));
                Box::pin(connection.close_politely()).await;
            }
            return Next::Closed;
        }
        ahead = client.take_ahead();
    }
}

/// Answers a connection that began with something else than it should have, and ends it. Its first
/// byte came at `began`.
pub(super) async fn refuse<N: Net>(
    connection: &Connection<N>,
    reason: Reason,
    began: Instant,
) -> Next<N> {
    let core = connection.core();
    let forwarded = connection.forwarded();
    let head = core.request_heads.take();
    let mut client = Client::new(connection, &head, empty(&core.buffers, Size::Small), true);
    let caller = Caller::of_connection(connection.client.get());
    let exchange = Exchange::new(connection.context(&forwarded), caller, began);
    let ended = exchange.refuse(&mut client, &head, reason).await;
    if ended != Ended::Aborted {
        drop((client, head));
        Box::pin(connection.close_politely()).await;
    }
    Next::Closed
}

/// Stage 3: reads until a head is complete, and decodes it.
async fn decode<N: Net>(
    connection: &Connection<N>,
    ahead: Option<Buf>,
    into: &mut RequestHead,
) -> Decoded {
    let core = connection.core();
    let mut wire = connection.wire(&connection.deadline, LINGER_MICROS, 0);
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
            let settings = connection.listener().settings();
            let (limits, paths) = (&settings.limits, settings.paths);
            let blank = leading_blank(buf.filled());
            if blank > 0 && may_be_blank {
                // One: a second is refused, however it arrives.
                may_be_blank = false;
                buf.consume(blank);
                scanner = Scanner::new();
            }
            if is_first_look {
                is_first_look = false;
                if let Ok(head_len) = decode::at_once(buf.filled(), limits, paths, into) {
                    buf.consume(head_len);
                    return Decoded::Head(buf, began);
                }
                into.clear();
            }
            if let Some(head_len) = scanner.scan(buf.filled()) {
                let head = buf.filled().get(..head_len).unwrap_or_default();
                return match decode::scanned(head, limits, paths, into) {
                    Ok(()) => {
                        buf.consume(head_len);
                        Decoded::Head(buf, began)
                    }
                    Err(reason) => Decoded::Refused(reason, began),
                };
            }
            if let Some(reason) = decode::refused_already(buf.filled(), limits) {
                return Decoded::Refused(reason, began);
            }
            let at = began.plus_micros(settings.timeouts.head.0);
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
