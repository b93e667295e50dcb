//! Answers of the gateway's own, by a reason or from a route: in place of stages 5 to 9.

use engine::filter::{FilterReply, Hooks, ResponseOrigin};
use engine::reason::Reason;
use engine::snapshot::{Action, RouteId};
use proto::head::{BodySize, HeaderId, Method, RequestHead, ResponseHead};
use proto::violation::Violation;

use super::{Ended, Exchange, heads};
use crate::net::Net;
use crate::net::buffer::{Buf, Size};
use crate::side::{Chunk, ClientSide, ResponseSink, Upload, buffer_of, empty};
use crate::spares::Spare;

/// Seconds after which a client may try again when no endpoint can be had now. Health checks, as
/// other gateways run them by default, need about that long to see a recovery.
const RETRY_AFTER: &[u8] = b"1";

/// Answers with `reason`: JSON, or a line of text for a client that prefers text.
pub(super) async fn of_reason<N: Net, C: ClientSide>(
    exchange: &Exchange<'_, N>,
    client: &mut C,
    request: &RequestHead,
    reason: Reason,
    upload: Upload,
) -> Ended {
    let head = exchange.core.response_heads.take();
    refuse(exchange, client, request, (reason, reason.status()), head, upload).await
}

/// Answers as a filter says.
pub(super) async fn of_filter<N: Net, C: ClientSide>(
    exchange: &Exchange<'_, N>,
    client: &mut C,
    request: &RequestHead,
    reply: FilterReply,
    upload: Upload,
) -> Ended {
    let mut head = exchange.core.response_heads.take();
    for (name, value) in &reply.headers {
        head.headers.push_named(name, value);
    }
    let (status, reason) = (reply.status, reply.reason);
    match (reply.body, reason) {
        (None, Some(reason)) => {
            refuse(exchange, client, request, (reason, status), head, upload).await
        }
        (body, _) => {
            let body = buffer_of(&exchange.core.buffers, &body.unwrap_or_default());
            send(exchange, client, request, (status, reason), head, body, upload).await
        }
    }
}

/// Answers with `reason` under this status, with the fields that stand in `head`.
async fn refuse<N: Net, C: ClientSide>(
    exchange: &Exchange<'_, N>,
    client: &mut C,
    request: &RequestHead,
    (reason, status): (Reason, u16),
    mut head: Spare<'_, ResponseHead>,
    upload: Upload,
) -> Ended {
    let mut buf = empty(&exchange.core.buffers, Size::Small);
    let id = exchange.request_id(request);
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
    if status == 503 && !head.headers.contains(HeaderId::RetryAfter) {
        head.headers.push(HeaderId::RetryAfter, RETRY_AFTER);
    }
    if reason == Reason::MethodNotAllowed {
        let mut allow = Vec::new();
        exchange.snapshot.table().allow(&exchange.facts(request), &mut allow);
        head.headers.push(HeaderId::Allow, &allow);
    }
    send(exchange, client, request, (status, Some(reason)), head, buf, upload).await
}

/// Answers as `route` says.
pub(super) async fn of_route<N: Net, C: ClientSide>(
    exchange: &Exchange<'_, N>,
    client: &mut C,
    request: &RequestHead,
    route: RouteId,
    upload: Upload,
) -> Ended {
    let mut head = exchange.core.response_heads.take();
    let route = exchange.snapshot.table().routes.get(route.0 as usize);
    let (status, body) = match route.map(|route| &route.action) {
        Some(Action::Redirect(redirect)) => {
            let mut location = Vec::new();
            if !redirect.location(request.host(), request.path(), request.query(), &mut location) {
                let reason = Reason::Violation(Violation::HostMissing);
                drop(head);
                return of_reason(exchange, client, request, reason, upload).await;
            }
            head.headers.push(HeaderId::Location, &location);
            (redirect.status.0, &[][..])
        }
        Some(Action::Reply(reply)) => {
            for (name, value) in reply.headers() {
                head.headers.push_named(name.as_bytes(), value);
            }
            (reply.status, reply.body())
        }
        Some(Action::Upstream(_)) | None => return Ended::ClientGone,
    };
    let buf = buffer_of(&exchange.core.buffers, body);
    send(exchange, client, request, (status, None), head, buf, upload).await
}

/// Sends a response of the gateway's own.
async fn send<N: Net, C: ClientSide>(
    exchange: &Exchange<'_, N>,
    client: &mut C,
    request: &RequestHead,
    (status, reason): (u16, Option<Reason>),
    mut head: Spare<'_, ResponseHead>,
    body: Buf,
    upload: Upload,
) -> Ended {
    head.set_status(status, proto::head::phrase(status));
    heads::finish(&mut head, heads::ResponseKind::Reply, || exchange.core.date());
    let mut body = Chunk::last(body);
    if exchange.has_filters(Hooks::RESPONSE) {
        let size = BodySize::Known(body.buf.len() as u64);
        let origin = ResponseOrigin::Gateway(reason);
        let mut filtered = exchange.filter_response(request, &mut head, origin, size);
        if let Some(replaced) = filtered.replaced {
            body = Chunk::last(buffer_of(&exchange.core.buffers, &replaced));
        }
        match filtered.body.pass(body, &exchange.core.buffers) {
            Ok(passed) => body = passed,
            Err(_) => return Ended::ClientGone,
        }
    }
    // A filter may have set another one.
    let status = head.status;
    // RFC 9110 section 8.6: no Content-Length with a 204; RFC 9112 section 6.3: neither has a body.
    let size = match status {
        204 | 304 => BodySize::None,
        _ => BodySize::Known(body.buf.len() as u64),
    };
    if request.method == Method::Head || size == BodySize::None {
        body.buf.truncate(0);
    }
    exchange.notes.status.set(status);
    exchange.notes.add_out(body.buf.len());
    let (_, mut sink, _) = client.split(exchange.upload, exchange.download);
    match sink.head(&head, size, upload, body).await {
        Ok(()) => Ended::Answered,
        Err(_) => Ended::ClientGone,
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
