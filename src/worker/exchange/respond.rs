//! Stage 9, respond: the endpoint's head, then its body, to the client.

use engine::reason::Reason;
use proto::head::ResponseHead;

use super::{End, Exchange, heads};
use crate::core::Core;
use crate::failure::{Failure, Kind, Side};
use crate::net::Net;
use crate::side::{CHUNKS_PER_TURN, ClientHandle, ResponseSink, ResponseSource, Upload};
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

/// Sends the final head and streams the body behind it.
pub(super) async fn body<N: Net, S: ResponseSource, K: ResponseSink>(
    exchange: &Exchange<'_, N>,
    attempt: &Try<N>,
    source: &mut S,
    sink: &mut K,
    mut response: Spare<'_, ResponseHead>,
    upload: Upload,
) -> Result<(), End> {
    let size = response.body_size();
    heads::finish(&mut response, heads::ResponseKind::Final, || exchange.core.date());
    // The endpoint's failures count against it, and the log names them.
    let failed = |failure| {
        attempt.failed(failure);
        exchange.notes.call.failure.set(Some(failure));
    };
    let first = source.begin().inspect_err(|failure| failed(*failure)).map_err(End::over)?;
    let mut last = first.last;
    exchange.notes.status.set(response.status);
    exchange.notes.add_out(first.buf.len());
    sink.head(&response, size, upload, first).await.map_err(|_| End::ClientGone)?;
    // The head has served: it goes back, still warm, for the next exchange to use.
    drop(response);
    let mut chunks = 0u32;
    while !last {
        let chunk = source.next().await.inspect_err(|failure| failed(*failure));
        let chunk = chunk.map_err(|failure| match failure.kind {
            Kind::TotalTimeout => End::Abort(Reason::TotalTimeout),
            _ => End::Abort(Reason::ResponseTruncated),
        })?;
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
