//! Stage 9, respond: the endpoint's head, then its body, to the client.

use engine::reason::Reason;
use proto::h1::strip_hop_by_hop;
use proto::head::{BodyLength, ResponseHead, Version};

use super::{After, ClientHandle, End, Exchange, Request, ResponseSink, end_of, upgrade};
use crate::failure::{Failure, Kind, Side};
use crate::net::Net;
use crate::state::Shelved;
use crate::upstream::ResponseSource;

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
    version: Version,
    response: &mut ResponseHead,
) -> Result<(), Failure> {
    for _ in 0..=INTERIM_MAX {
        source.head(request.head.method, response, || client.is_there()).await?;
        if !response.is_interim() {
            break;
        }
        // RFC 9110 section 15.2: no 1xx to an HTTP/1.0 client.
        if version == Version::Http11 {
            strip_hop_by_hop(&mut response.headers);
            sink.interim(response).await?;
        }
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

/// Sends the final head and streams the body behind it. `refused_early`: the rest of the request
/// will not be read, or not be sent.
pub(super) async fn body<N: Net, S: ResponseSource, K: ResponseSink>(
    exchange: &Exchange<'_, N>,
    source: &mut S,
    sink: &mut K,
    request: &Request<'_>,
    version: Version,
    mut response: Shelved<'_, ResponseHead>,
    refused_early: bool,
) -> Result<After, End> {
    let incoming = response.body_length();
    let outgoing = match incoming {
        BodyLength::Chunked | BodyLength::UntilClose if version == Version::Http11 => {
            BodyLength::Chunked
        }
        BodyLength::Chunked => BodyLength::UntilClose,
        other => other,
    };
    let goes_on = request.wants_keep_alive
        && outgoing != BodyLength::UntilClose
        && !refused_early
        && !exchange.ends();
    let after = if goes_on { After::KeepAlive } else { After::Close };
    strip_hop_by_hop(&mut response.headers);
    let first = source.begin(incoming).map_err(end_of)?;
    let mut last = first.last;
    exchange.notes.status.set(response.status);
    exchange.notes.add_out(first.buf.len());
    sink.head(&response, outgoing, after, first).await.map_err(|_| End::ClientGone)?;
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
    Ok(after)
}

/// Chunks after which a pump lets others run: on epoll a fast endpoint and a fast client could
/// otherwise keep one exchange going for ever. 16 of them are 1 MiB.
pub(super) const CHUNKS_PER_TURN: u32 = 16;

fn gone(failure: Failure) -> End {
    match (failure.side, failure.kind) {
        // A client that reads too slowly is there, but gets no more.
        (Side::Client, Kind::Timeout) => End::Abort(Reason::ClientStalled),
        _ => End::ClientGone,
    }
}
