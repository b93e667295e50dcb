//! Stage 10, finish: an answer of the gateway's own.

use engine::reason::Reason;
use proto::head::{BodyLength, HeaderId, Method, RequestHead};

use super::{After, ClientSide, Exchange, ResponseSink};
use crate::net::Net;
use crate::net::buffer::Size;
use crate::wire::{Chunk, empty};

/// Seconds after which a client may try again when no endpoint can be had now. Health checks, as
/// other gateways run them by default, need about that long to see a recovery.
const RETRY_AFTER: &[u8] = b"1";

/// Answers with `reason`: JSON, or a line of text for a client that prefers text.
pub(super) async fn reply<N: Net, C: ClientSide>(
    exchange: &Exchange<'_, N>,
    client: &mut C,
    request: &RequestHead,
    reason: Reason,
    after: After,
) -> After {
    let status = reason.status();
    let mut head = exchange.core.response_heads.take();
    head.set_status(status, proto::head::phrase(status));
    let mut buf = empty(&exchange.core.buffers, Size::Small);
    let id = &exchange.request_id;
    let token = reason.token().as_bytes();
    let digits = digits(status);
    let text = prefers_text(request);
    let parts: &[&[u8]] = if text {
        &[token, b" (request ", id, b")\n"]
    } else {
        &[b"{\"error\":\"", token, b"\",\"status\":", &digits, b",\"request_id\":\"", id, b"\"}\n"]
    };
    // The parts are far shorter than the buffer.
    let _ = parts.iter().all(|part| buf.append(part));
    head.headers.push(
        HeaderId::ContentType,
        if text { b"text/plain; charset=utf-8" } else { b"application/json" },
    );
    if status == 503 {
        head.headers.push(HeaderId::RetryAfter, RETRY_AFTER);
    }
    let date = proto::date::imf_fixdate(exchange.core.net.unix_seconds());
    head.headers.push(HeaderId::Date, &date);
    let length = BodyLength::Length(buf.len() as u64);
    if request.method == Method::Head {
        buf.truncate(0);
    }
    let after = if exchange.core.draining.get() { After::Close } else { after };
    let (_, mut sink, _) = client.split(exchange.upload, exchange.download);
    match sink.head(&head, length, after, Chunk::last(buf)).await {
        Ok(()) => after,
        Err(_) => After::Close,
    }
}

fn digits(status: u16) -> [u8; 3] {
    let digit = |n: u16| b'0' + u8::try_from(n % 10).unwrap_or(0);
    [digit(status / 100), digit(status / 10), digit(status)]
}

/// Whether `Accept` names a text type before any JSON one (RFC 9110 section 12.5.1, without
/// weights: both forms say the same).
fn prefers_text(request: &RequestHead) -> bool {
    let Some(accept) = request.headers.get(HeaderId::Accept) else { return false };
    let first = accept.split(|&byte| byte == b',').next().unwrap_or_default().trim_ascii();
    first.starts_with(b"text/")
}
