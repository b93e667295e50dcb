//! Stage 8, forward: a call of the upstream for the client's request.
//!
//! A request that is whole is one straight run. Where its body is still coming, the upload is a pump
//! of its own beside the response's, both polled in the exchange's task. The two end in any order. An endpoint may answer early: then the exchange is over, and the
//! client's side deals with the rest of the upload. A client may stall or leave: then the endpoint
//! is released.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use engine::reason::Reason;
use engine::snapshot::UpstreamId;
use engine::stage::Stage;
use proto::head::ResponseHead;

use super::respond::{self, WaitingClient};
use super::{End, Ended, Exchange, upgrade};
use crate::failure::{Failure, Kind};
use crate::net::Net;
use crate::side::{
    CHUNKS_PER_TURN, Chunk, ClientHandle, ClientSide, EndpointHandle, EndpointSide, RequestSink,
    RequestSource, Upload,
};
use crate::spares::Spare;
use crate::upstream::{Call, CallRequest, Lease, call};

impl<N: Net> Exchange<'_, N> {
    /// A call of an upstream of the exchange's version.
    fn call<'c>(
        &'c self,
        upstream: UpstreamId,
        request: CallRequest<'c>,
    ) -> Result<Call<'c, N>, End> {
        self.notes.upstream.set(Some(upstream));
        let slot = self.snapshot.upstream(upstream).ok_or(End::Reply(Reason::NoEndpoint))?;
        let affinity = slot.affinity(request.head, self.caller.address);
        let request = CallRequest { affinity, ..request };
        let deadlines = [self.upload, self.download];
        Ok(Call::new((self.core, &**self.state), slot, request, deadlines, &self.notes.call))
    }

    /// The whole request is here: sends it, perhaps more than once, and forwards the response.
    pub(super) async fn forward_whole<C: ClientSide>(
        &self,
        client: &mut C,
        request: CallRequest<'_>,
        upstream: UpstreamId,
        body: Chunk,
    ) -> Result<Ended, End> {
        let mut call = self.call(upstream, request)?;
        let mut response = self.core.response_heads.take();
        let (_, mut sink, handle) = client.split(self.upload, self.download);
        let mut waiting = WaitingClient { core: self.core, sink: &mut sink, handle: &handle };
        let called = call.run(body, &mut waiting, &mut response).await;
        let mut lease = called.map_err(End::over)?;
        self.note_time(|times| &mut times.first_byte);
        if let (101, Some(protocol)) = (response.status, request.head.switch_to()) {
            upgrade::accept(self, &mut sink, protocol, &mut response).await?;
            self.switched.set(Some(lease));
            return Ok(Ended::Switched);
        }
        let (_, mut source, endpoint) = lease.split(self.upload, self.download);
        let attempt = endpoint.attempt();
        let (source, sink) = (&mut source, &mut sink);
        let response = (response, Upload::Wanted);
        respond::body(self, attempt, request.head, source, sink, response).await?;
        lease.give_back(self.core.net.now());
        Ok(Ended::Answered)
    }

    /// The request's body is still coming: sends the part that is here, then runs both directions at once.
    pub(super) async fn forward_while_it_comes<C: ClientSide>(
        &self,
        client: &mut C,
        request: CallRequest<'_>,
        upstream: UpstreamId,
        first: Chunk,
    ) -> Result<Ended, End> {
        let mut call = self.call(upstream, request)?;
        let sent = {
            let (_, _, handle) = client.split(self.upload, self.download);
            call.send(first, &|| handle.is_there()).await
        };
        let mut lease = sent.map_err(End::over)?;
        let ended = both_ways(self, &mut lease, client, request).await?;
        if ended == Ended::Switched {
            call.hand_over(&mut lease);
            self.switched.set(Some(lease));
        } else {
            lease.give_back(self.core.net.now());
        }
        Ok(ended)
    }
}

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
async fn both_ways<N: Net, C: ClientSide>(
    exchange: &Exchange<'_, N>,
    lease: &mut Lease<N>,
    client: &mut C,
    request: CallRequest<'_>,
) -> Result<Ended, End> {
    let progress = PumpProgress::default();
    let (from_client, mut to_client, client) = client.split(exchange.upload, exchange.download);
    let (to_endpoint, mut from_endpoint, endpoint) =
        lease.split(exchange.upload, exchange.download);
    let mut response = exchange.core.response_heads.take();

    let mut uploaded: Option<Result<(), Failure>> = None;
    let mut responded: Option<Result<Downloaded<'_>, End>> = None;
    let endpoint_failure = Cell::new(None);
    {
        let mut up = pin!(pump_up(exchange, from_client, to_endpoint, &progress));
        let mut down = pin!(async {
            let core = exchange.core;
            let mut waiting = WaitingClient { core, sink: &mut to_client, handle: &client };
            let head =
                call::head(core, &mut from_endpoint, &mut waiting, request, &mut response).await;
            if let Err(failure) = head {
                endpoint_failure.set(Some(failure));
                return Err(End::over(failure));
            }
            endpoint.attempt().answered(response.status, core.net.now());
            exchange.note_time(|times| &mut times.first_byte);
            if response.status == 101 {
                return Ok(Downloaded::Switching(response));
            }
            // An endpoint that refuses a request before its end will not read the rest.
            let refused_early = !progress.sent.get() && response.status >= 400;
            let upload = if refused_early { Upload::Unwanted } else { Upload::Wanted };
            let (source, sink) = (&mut from_endpoint, &mut to_client);
            let (attempt, response) = (endpoint.attempt(), (response, upload));
            respond::body(exchange, attempt, request.head, source, sink, response).await?;
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
    // An endpoint that failed because its client did is not to blame.
    let client_failed = matches!(uploaded, Some(Err(failure)) if failure.kind != Kind::Abandoned);
    if let Some(failure) = endpoint_failure.get().filter(|_| !client_failed) {
        exchange.notes.call.failure.set(Some(failure));
        endpoint.attempt().failed(failure);
    }
    match (uploaded, responded) {
        // The client has its response. Whether its upload came to an end is its side's business.
        (_, Some(Ok(Downloaded::Responded))) => Ok(Ended::Answered),
        (Some(Ok(())), Some(Ok(Downloaded::Switching(mut response)))) => {
            match request.head.switch_to() {
                Some(protocol) if progress.sent.get() => {
                    upgrade::accept(exchange, &mut to_client, protocol, &mut response).await?;
                    Ok(Ended::Switched)
                }
                // The endpoint has agreed, and did not take the rest of the body.
                _ => Err(End::Reply(Reason::EndpointReset)),
            }
        }
        // The client was told nothing yet, and its half of a request is of no use.
        (Some(Err(failure)), Some(Ok(Downloaded::Switching(_)))) => Err(End::over(failure)),
        // The endpoint failed because the client did: the client's failure is the cause.
        (Some(Err(failure)), Some(Err(End::Reply(_)))) if failure.kind != Kind::Abandoned => {
            Err(End::over(failure))
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
    progress: &PumpProgress,
) -> Result<(), Failure> {
    let body_bytes_max = exchange.body_bytes_max();
    // The endpoint takes no more of the body.
    let mut refused = false;
    let mut chunks = 0u32;
    loop {
        if progress.over.get() {
            return Err(Failure::client(Stage::Forward, Kind::Abandoned));
        }
        let last = if refused {
            match from_client.discard().await {
                // The client's side takes no more: it has taken enough, or has told the client to stop. The
                // endpoint's answer is worth waiting for all the same.
                Err(Failure { kind: Kind::Abandoned, .. }) => return Ok(()),
                discarded => discarded?,
            }
        } else {
            let chunk = from_client.next().await?;
            exchange.notes.add_in(&chunk);
            if exchange.notes.bytes_in() > body_bytes_max {
                // The part that was sent stays without its end, so the endpoint's connection closes.
                return Err(Failure::client(Stage::Forward, Kind::BodyTooLarge));
            }
            let last = chunk.last;
            let refused_for = |reason| Failure::client(Stage::Forward, Kind::Refused(reason));
            let chunk = exchange.filter_upload(chunk).map_err(refused_for)?;
            // A filter may hold a piece back.
            if chunk.buf.is_empty() && !last {
                continue;
            }
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
