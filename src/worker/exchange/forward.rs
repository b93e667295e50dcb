//! Stage 8, forward, for a request whose body is still coming: the upload is a pump of its own
//! beside the response's, both polled in the exchange's task.
//!
//! The two end in any order. An endpoint may answer early: then the exchange is over, and the
//! client's side deals with the rest of the upload. A client may stall or leave: then the endpoint
//! is released.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use engine::reason::Reason;
use engine::stage::Stage;
use proto::head::ResponseHead;

use super::{End, Ended, Exchange, Request, end_of, respond, upgrade};
use crate::failure::{Failure, Kind};
use crate::net::Net;
use crate::side::{
    CHUNKS_PER_TURN, ClientHandle, ClientSide, EndpointHandle, EndpointSide, RequestSink,
    RequestSource, Upload,
};
use crate::spares::Spare;

/// The news that one pump has for the other.
#[derive(Default)]
struct PumpProgress {
    /// The endpoint has the whole request.
    sent: Cell<bool>,
    /// The response is complete, or there will be none: the upload must start no further read. One
    /// that begins after the cancel would wait for a client that waits for us.
    over: Cell<bool>,
}

/// How the pump of the response ended well.
enum Downloaded<'a> {
    /// The whole response was sent on.
    Responded,
    /// The endpoint has agreed to another protocol. The client has not been told yet.
    Switching(Spare<'a, ResponseHead>),
}

/// Runs both pumps to their ends.
pub(super) async fn both_ways<N: Net, C: ClientSide, E: EndpointSide>(
    exchange: &Exchange<'_, N>,
    lease: &mut E,
    client: &mut C,
    request: &Request<'_>,
) -> Result<Ended, End> {
    let progress = PumpProgress::default();
    let (from_client, mut to_client, client) = client.split(exchange.upload, exchange.download);
    let (to_endpoint, mut from_endpoint, endpoint) =
        lease.split(exchange.upload, exchange.download);
    let mut response = exchange.core.response_heads.take();

    let mut uploaded: Option<Result<(), Failure>> = None;
    let mut responded: Option<Result<Downloaded<'_>, End>> = None;
    {
        let mut up =
            pin!(pump_up(exchange, from_client, to_endpoint, request.body_bytes_max, &progress));
        let mut down = pin!(async {
            let core = exchange.core;
            respond::head(
                core,
                &mut from_endpoint,
                &mut to_client,
                &client,
                request,
                &mut response,
            )
            .await
            .map_err(end_of)?;
            exchange.note_time(|times| &mut times.first_byte);
            if response.status == 101 {
                return Ok(Downloaded::Switching(response));
            }
            // An endpoint that refuses a request before its end will not read the rest.
            let refused_early = !progress.sent.get() && response.status >= 400;
            let upload = if refused_early { Upload::Unwanted } else { Upload::Wanted };
            respond::body(exchange, &mut from_endpoint, &mut to_client, response, upload).await?;
            Ok(Downloaded::Responded)
        });

        poll_fn(|cx| {
            if responded.is_none()
                && let Poll::Ready(done) = down.as_mut().poll(cx)
            {
                // A switch waits for the upload: the other protocol begins behind the request's body.
                if uploaded.is_none() && !matches!(done, Ok(Downloaded::Switching(_))) {
                    // The upload is at one of two awaits: a write to the endpoint, which the abort ends,
                    // or a read from the client, which the cancel ends. `over` keeps it from another.
                    progress.over.set(true);
                    endpoint.abort();
                    client.cancel_upload();
                }
                responded = Some(done);
            }
            if uploaded.is_none()
                && let Poll::Ready(done) = up.as_mut().poll(cx)
            {
                if done.is_err() && responded.is_none() {
                    // Half a request is of no use to the endpoint. The abort ends the other pump.
                    endpoint.abort();
                }
                uploaded = Some(done);
            }
            match (&uploaded, &responded) {
                (Some(_), Some(_)) => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
    }
    match (uploaded, responded) {
        // The client has its response. Whether its upload came to an end is its side's business.
        (_, Some(Ok(Downloaded::Responded))) => Ok(Ended::Answered),
        (Some(Ok(())), Some(Ok(Downloaded::Switching(mut response)))) => {
            match &request.switch_to {
                Some(protocol) if progress.sent.get() => {
                    upgrade::accept(exchange, &mut to_client, protocol, &mut response).await?;
                    Ok(Ended::Switched)
                }
                // The endpoint has agreed, and did not take the rest of the body.
                _ => Err(End::Reply(Reason::EndpointReset)),
            }
        }
        // The client was told nothing yet, and its half of a request is of no use.
        (Some(Err(failure)), Some(Ok(Downloaded::Switching(_)))) => Err(end_of(failure)),
        // The endpoint failed because the client did: the client's failure is the cause.
        (Some(Err(failure)), Some(Err(End::Reply(_)))) if failure.kind != Kind::Abandoned => {
            Err(end_of(failure))
        }
        (Some(Err(Failure { kind: Kind::BodyTooLarge, .. })), Some(Err(End::Abort(_)))) => {
            Err(End::Abort(Reason::BodyTooLarge))
        }
        (_, Some(Err(end))) => Err(end),
        // Does not come about: both pumps have ended.
        (_, None) | (None, Some(Ok(Downloaded::Switching(_)))) => {
            Err(End::Abort(Reason::ResponseTruncated))
        }
    }
}

/// Moves the body from the client to the endpoint. Fails only when the client does.
async fn pump_up<N: Net, S: RequestSource, K: RequestSink>(
    exchange: &Exchange<'_, N>,
    mut from_client: S,
    mut to_endpoint: K,
    body_bytes_max: u64,
    progress: &PumpProgress,
) -> Result<(), Failure> {
    // The endpoint takes no more of the body.
    let mut refused = false;
    let mut chunks = 0u32;
    loop {
        if progress.over.get() {
            return Err(Failure::client(Stage::Forward, Kind::Abandoned));
        }
        let last = if refused {
            from_client.discard().await?
        } else {
            let chunk = from_client.next().await?;
            exchange.notes.add_in(&chunk);
            if exchange.notes.bytes_in() > body_bytes_max {
                // The part that was sent stays without its end: the endpoint is given up.
                return Err(Failure::client(Stage::Forward, Kind::BodyTooLarge));
            }
            let last = chunk.last;
            // An endpoint that takes no more has perhaps answered: the other pump will tell. The
            // client is read on, so that it comes to read that answer.
            refused = to_endpoint.chunk(chunk).await.is_err();
            progress.sent.set(last && !refused);
            last
        };
        if last {
            return Ok(());
        }
        chunks += 1;
        if chunks.is_multiple_of(CHUNKS_PER_TURN) {
            exchange.core.net.yield_now().await;
        }
    }
}
