//! Stage 9, respond: the endpoint's head, then its body, to the client.

use engine::reason::Reason;
use engine::stage::Stage;
use engine::time::Instant;
use proto::head::ResponseHead;
use proto::violation::Violation;

use super::{End, Exchange, Request, end_of, heads, upgrade};
use crate::core::Core;
use crate::failure::{Failure, Kind, Side};
use crate::net::Net;
use crate::side::{CHUNKS_PER_TURN, ClientHandle, ResponseSink, ResponseSource, Upload};
use crate::spares::Spare;

/// Interim heads that an endpoint may send at once, and how many more each second. RFC 9110 section
/// 15.2 has no bound, and a long job may report its progress for hours: so the rate is bounded, not
/// the number. A page with early hints sends one or two; a job reports once a second at most.
const INTERIM_BURST: u64 = 64;
const INTERIM_PER_SECOND: u64 = 16;

/// Awaits the final head, forwarding the interim ones on the way. A failure of the kind
/// `Abandoned` says that the client has gone.
pub(super) async fn head<N: Net, S: ResponseSource, K: ResponseSink, H: ClientHandle>(
    core: &Core<N>,
    source: &mut S,
    sink: &mut K,
    client: &H,
    request: &Request<'_>,
    response: &mut ResponseHead,
) -> Result<(), Failure> {
    let unexpected = || Failure::endpoint(Stage::Respond, Violation::UnexpectedInterim.into());
    let mut interims = InterimRate::since(core.net.now());
    loop {
        source.head(request.head.method, response, || client.is_there()).await?;
        if !response.is_interim() {
            break;
        }
        if !interims.allows_one(core.net.now()) {
            return Err(unexpected());
        }
        heads::finish(response, heads::ResponseKind::Interim, || core.date());
        sink.interim(response).await?;
    }
    // A 101 that we have not asked for answers nothing.
    match response.status {
        101 if !upgrade::agrees(response, request.switch_to.as_deref()) => Err(unexpected()),
        _ => Ok(()),
    }
}

/// The interim heads of one exchange, counted against the time they take.
struct InterimRate {
    began: Instant,
    count: u64,
}

impl InterimRate {
    const fn since(began: Instant) -> Self {
        Self { began, count: 0 }
    }

    /// Counts one that has come; `false` if the endpoint sends them too fast.
    fn allows_one(&mut self, now: Instant) -> bool {
        self.count += 1;
        let seconds = now.micros_since(self.began) / 1_000_000;
        self.count <= seconds.saturating_mul(INTERIM_PER_SECOND).saturating_add(INTERIM_BURST)
    }
}

/// Sends the final head and streams the body behind it.
pub(super) async fn body<N: Net, S: ResponseSource, K: ResponseSink>(
    exchange: &Exchange<'_, N>,
    source: &mut S,
    sink: &mut K,
    mut response: Spare<'_, ResponseHead>,
    upload: Upload,
) -> Result<(), End> {
    let size = response.body_size();
    heads::finish(&mut response, heads::ResponseKind::Final, || exchange.core.date());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interim_responses_are_bounded_by_their_rate_and_not_by_their_number() {
        let second = |n: u64| Instant(7 + n * 1_000_000);
        let mut at_once = InterimRate::since(second(0));
        for _ in 0..INTERIM_BURST {
            assert!(at_once.allows_one(second(0)));
        }
        assert!(!at_once.allows_one(second(0)));

        let mut all_day = InterimRate::since(second(0));
        for n in 0..86_400 {
            for _ in 0..INTERIM_PER_SECOND {
                assert!(all_day.allows_one(second(n)), "second {n}");
            }
        }
    }
}
