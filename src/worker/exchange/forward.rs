//! Stage 8, forward, for a request whose body is still coming: the upload is a pump of its own
//! beside the response's, both polled in the exchange's task.
//!
//! The two end in any order. An endpoint may answer early; then what is left of the upload is read
//! and thrown away within a bound, so that a client that writes everything before it reads gets
//! the answer. A client may stall or leave; then the endpoint is released.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use engine::reason::Reason;
use engine::stage::Stage;

use super::respond::{self, CHUNKS_PER_TURN};
use super::{After, ClientHandle, ClientSide, End, Exchange, Request, RequestSource, end_of};
use crate::failure::{Failure, Kind};
use crate::net::Net;
use crate::upstream::{EndpointHandle, EndpointSide, RequestSink};

/// How much of an upload that nobody wants is read and thrown away after an early answer: about
/// what a client can have under way, as send and receive buffers stand by default.
const DISCARD_BYTES_MAX: usize = 4 << 20;

/// What the two pumps tell each other.
#[derive(Default)]
struct Between {
    /// The endpoint has the whole request.
    sent: Cell<bool>,
    /// The rest of the upload is thrown away.
    discard: Cell<bool>,
    /// Nothing more is read of the upload: what could be cancelled was. A read that begins after
    /// that would wait for a client that waits for us.
    over: Cell<bool>,
    /// A byte of the body has come since the head.
    moved: Cell<bool>,
}

/// Runs both pumps to their ends.
pub(super) async fn both_ways<N: Net, C: ClientSide, E: EndpointSide>(
    exchange: &Exchange<'_, N>,
    lease: &mut E,
    client: &mut C,
    request: &Request<'_>,
) -> Result<After, End> {
    let between = Between::default();
    let version = client.version();
    let (from_client, mut to_client, client) = client.split(exchange.upload, exchange.download);
    let (to_endpoint, mut from_endpoint, endpoint) =
        lease.split(exchange.upload, exchange.download);
    let mut response = exchange.core.response_heads.take();

    let mut up =
        pin!(pump_up(exchange, from_client, to_endpoint, request.body_bytes_max, &between));
    let mut down = pin!(async {
        respond::head(&mut from_endpoint, &mut to_client, &client, request, version, &mut response)
            .await
            .map_err(end_of)?;
        exchange.note_time(|times| &mut times.first_byte);
        // An endpoint that refuses a request before its end will not read the rest, and neither do
        // we. And a client that waited for 100 (Continue) may send its body now or not.
        let waits_for_continue = request.expects_continue && !between.moved.get();
        let refused_early = !between.sent.get() && (response.status >= 400 || waits_for_continue);
        respond::body(
            exchange,
            &mut from_endpoint,
            &mut to_client,
            request,
            version,
            response,
            refused_early,
        )
        .await
    });

    let mut uploaded: Option<Result<(), Failure>> = None;
    let mut responded: Option<Result<After, End>> = None;
    poll_fn(|cx| {
        if responded.is_none()
            && let Poll::Ready(done) = down.as_mut().poll(cx)
        {
            if uploaded.is_none() {
                // Whatever the upload waits for ends now: a write to the endpoint by the abort, a
                // read from the client by the cancel where there is nothing to wait for.
                between.discard.set(true);
                endpoint.abort();
                let waits_for_continue = request.expects_continue && !between.moved.get();
                if !matches!(done, Ok(After::KeepAlive)) || waits_for_continue {
                    between.over.set(true);
                    client.cancel_upload();
                }
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
    match (uploaded, responded) {
        (Some(Ok(())), Some(responded)) => responded,
        (Some(Err(_)), Some(Ok(_))) => Ok(After::Close),
        // The endpoint failed because the client did.
        (Some(Err(failure)), Some(Err(End::Reply(_)))) if failure.kind != Kind::Abandoned => {
            Err(end_of(failure))
        }
        (Some(Err(Failure { kind: Kind::BodyTooLarge, .. })), Some(Err(End::Abort(_)))) => {
            Err(End::Abort(Reason::BodyTooLarge))
        }
        (_, Some(Err(end))) => Err(end),
        (_, None) | (None, _) => Err(End::Abort(Reason::ResponseTruncated)),
    }
}

/// Moves the body from the client to the endpoint. Fails only when the client does.
async fn pump_up<N: Net, S: RequestSource, K: RequestSink>(
    exchange: &Exchange<'_, N>,
    mut from_client: S,
    mut to_endpoint: K,
    body_bytes_max: u64,
    between: &Between,
) -> Result<(), Failure> {
    let mut discarded = 0;
    let mut chunks = 0u32;
    loop {
        if between.over.get() {
            return Err(Failure::client(Stage::Forward, Kind::Abandoned));
        }
        let chunk = from_client.next().await?;
        between.moved.set(true);
        exchange.notes.add_in(&chunk);
        if exchange.notes.bytes_in() > body_bytes_max {
            // What was sent of it stays without its end: the endpoint is given up.
            return Err(Failure::client(Stage::Forward, Kind::BodyTooLarge));
        }
        let last = chunk.last;
        if between.discard.get() {
            discarded += chunk.buf.len();
            if discarded > DISCARD_BYTES_MAX {
                return Err(Failure::client(Stage::Forward, Kind::Abandoned));
            }
        } else if to_endpoint.chunk(chunk).await.is_err() {
            // The endpoint takes no more, perhaps because it has answered. The other pump will
            // tell; the client is read on, so that it comes to read that answer.
            between.discard.set(true);
        } else {
            between.sent.set(last);
        }
        if last {
            return Ok(());
        }
        chunks += 1;
        if chunks.is_multiple_of(CHUNKS_PER_TURN) {
            exchange.core.net.yield_now().await;
        }
    }
}
