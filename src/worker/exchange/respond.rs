//! Stage 9, respond: the endpoint's head, then its body, to the client.

use engine::filter::{Hooks, ResponseOrigin};
use engine::reason::Reason;
use proto::head::{BodySize, RequestHead, ResponseHead};

use super::{End, Exchange, heads};
use crate::core::Core;
use crate::failure::{Failure, Kind, Side};
use crate::net::Net;
use crate::side::{
    CHUNKS_PER_TURN, Chunk, ClientHandle, ResponseSink, ResponseSource, Upload, buffer_of,
};
use crate::spares::Spare;
use crate::upstream::Requester;
use crate::upstream::outcome::Try;

/// The client as the party that waits for a response.
pub(super) struct WaitingClient<'a, N: Net, K, H> {
    pub(super) core: &'a Core<N>,
    pub(super) sink: &'a mut K,
    pub(super) handle: &'a H,
}

impl<N: Net, K: ResponseSink, H: ClientHandle> Requester for WaitingClient<'_, N, K, H> {
    fn still_waits(&self) -> bool {
        self.handle.is_there()
    }

    async fn interim(&mut self, head: &mut ResponseHead) -> Result<(), Failure> {
        heads::finish(head, heads::ResponseKind::Interim, || self.core.date());
        self.sink.interim(head).await
    }
}

/// Sends the final head of the response to `request`, and streams the body behind it.
pub(super) async fn body<N: Net, S: ResponseSource, K: ResponseSink>(
    exchange: &Exchange<'_, N>,
    attempt: &Try<N>,
    request: &RequestHead,
    source: &mut S,
    sink: &mut K,
    (mut response, upload): (Spare<'_, ResponseHead>, Upload),
) -> Result<(), End> {
    let mut size = response.body_size();
    heads::finish(&mut response, heads::ResponseKind::Final, || exchange.core.date());
    // The endpoint's failures count against it, and the log names them.
    let failed = |failure| {
        attempt.failed(failure);
        exchange.notes.call.failure.set(Some(failure));
    };
    let mut first = source.begin().inspect_err(|failure| failed(*failure)).map_err(End::over)?;
    let mut filters = None;
    if exchange.has_filters(Hooks::RESPONSE) {
        let origin = ResponseOrigin::Endpoint;
        let filtered = exchange.filter_response(request, &mut response, origin, size);
        size = filtered.size;
        let mut through = filtered.body;
        if let Some(body) = filtered.replaced {
            // The endpoint's own body stays unread, so its connection is not used again.
            first = Chunk::last(buffer_of(&exchange.core.buffers, &body));
            if size == BodySize::None {
                first.buf.truncate(0);
            }
        }
        if !through.is_empty() {
            first = through.pass(first, &exchange.core.buffers).map_err(End::Reply)?;
            if first.last && size == BodySize::Unknown {
                size = BodySize::Known(first.buf.len() as u64);
            }
            filters = Some(through);
        }
    }
    let mut last = first.last;
    exchange.notes.status.set(response.status);
    exchange.notes.add_out(first.buf.len());
    sink.head(&response, size, upload, first).await.map_err(|_| End::ClientGone)?;
    // The head has served: it goes back, still warm, for the next exchange to use.
    drop(response);
    let mut chunks = 0u32;
    while !last {
        let chunk = source.next().await.inspect_err(|failure| failed(*failure));
        let mut chunk = chunk.map_err(|failure| match failure.kind {
            Kind::TotalTimeout => End::Abort(Reason::TotalTimeout),
            _ => End::Abort(Reason::ResponseTruncated),
        })?;
        last = chunk.last;
        if let Some(filters) = &mut filters {
            chunk = filters.pass(chunk, &exchange.core.buffers).map_err(End::Abort)?;
        }
        // A filter that holds everything back leaves nothing to send: an empty piece would end a
        // body in chunks.
        if last || !chunk.buf.is_empty() {
            exchange.notes.add_out(chunk.buf.len());
            sink.chunk(chunk).await.map_err(gone)?;
        }
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
