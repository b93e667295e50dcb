//! Stage 9, respond: the endpoint's head, then its body, to the client.

use engine::reason::Reason;
use proto::h1::strip_hop_by_hop;
use proto::head::ResponseHead;

use super::{End, Exchange, Request, end_of, upgrade};
use crate::failure::{Failure, Kind, Side};
use crate::net::Net;
use crate::side::{CHUNKS_PER_TURN, ClientHandle, ResponseSink, ResponseSource, Upload};
use crate::state::Shelved;

/// Interim heads that an endpoint may send before its final one. RFC 9110 section 15.2 has no
/// bound; a page with early hints sends one or two.
const INTERIM_MAX: u32 = 16;

/// Awaits the final head, forwarding the interim ones on the way. A failure of the kind
/// `Abandoned` says that the client has gone.
pub(super) async fn head<S: ResponseSource, K: ResponseSink, H: ClientHandle>(
    source: &mut S,
    sink: &mut K,
    client: &H,
    request: &Request<'_>,
    response: &mut ResponseHead,
) -> Result<(), Failure> {
    for _ in 0..=INTERIM_MAX {
        source.head(request.head.method, response, || client.is_there()).await?;
        if !response.is_interim() {
            break;
        }
        strip_hop_by_hop(&mut response.headers);
        sink.interim(response).await?;
    }
    // A 101 that we have not asked for answers nothing; and endless interims are no answer.
    if response.status < 200
        && !(response.status == 101 && upgrade::agrees(response, request.switch_to.as_deref()))
    {
        let violation = proto::violation::Violation::UnexpectedInterim;
        return Err(Failure::endpoint(engine::stage::Stage::Respond, violation.into()));
    }
    Ok(())
}

/// Sends the final head and streams the body behind it.
pub(super) async fn body<N: Net, S: ResponseSource, K: ResponseSink>(
    exchange: &Exchange<'_, N>,
    source: &mut S,
    sink: &mut K,
    mut response: Shelved<'_, ResponseHead>,
    upload: Upload,
) -> Result<(), End> {
    let size = response.body_size();
    strip_hop_by_hop(&mut response.headers);
    let first = source.begin().map_err(end_of)?;
    let mut last = first.last;
    exchange.notes.status.set(response.status);
    exchange.notes.add_out(first.buf.len());
    sink.head(&response, size, upload, first).await.map_err(|_| End::ClientGone)?;
    // The head has served: it goes back, still warm, for the next exchange to use.
    drop(response);
    let mut chunks = 0u32;
    while !last {
        let chunk = source.next().await.map_err(|_| End::Abort(Reason::ResponseTruncated))?;
        last = chunk.last;
        exchange.notes.add_out(chunk.buf.len());
        sink.chunk(chunk).await.map_err(gone)?;
        chunks += 1;
        if chunks.is_multiple_of(CHUNKS_PER_TURN) {
            exchange.core.net.yield_now().await;
        }
    }
    Ok(())
}

fn gone(failure: Failure) -> End {
    match (failure.side, failure.kind) {
        // A client that reads too slowly is there, but gets no more.
        (Side::Client, Kind::Timeout) => End::Abort(Reason::ClientStalled),
        _ => End::ClientGone,
    }
}
