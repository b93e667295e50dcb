//! The exchange: one request and its response, stages 4 to 10 of the life of a request.
//!
//! It knows neither h1 nor h2: it sees a [`ClientSide`], and an [`EndpointSide`] lent by a pool. It
//! reports how it ended; the sides decide what becomes of their connections. A request without a body, or
//! whose body came with its head, is one straight run: send, await the head, stream the body.
//! Otherwise the upload is a second pump beside that run, polled in the same task (see
//! [`forward`]).
//!
//! An exchange holds a bounded amount of memory: a chunk in each direction (68 KiB each), and the
//! head of the next message. Invariant: an operation that was started is awaited, on every path out.

mod admit;
mod caller;
mod connect;
mod finish;
mod forward;
mod heads;
mod notes;
mod respond;
mod tunnel;
mod upgrade;

use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;

use engine::reason::Reason;
use engine::snapshot::{Action, Found, RouteId, UpstreamId};
use engine::stage::Stage;
use engine::time::Instant;
use proto::head::{BodySize, RequestHead};

use crate::core::Core;
use crate::deadline::Deadline;
use crate::failure::{Failure, Kind, Side};
use crate::listener::ListenerSlot;
use crate::net::Net;
use crate::side::{Chunk, ClientHandle, ClientSide, EndpointSide, ResponseSource, Upload};
use crate::snapshot::CoreSnapshot;
use crate::state::CoreState;
use crate::upstream::Lease;

pub use admit::Forwarded;
pub use caller::Caller;
pub use notes::Notes;
pub use tunnel::{Tunnel, TunnelEnd};

/// How an exchange ended. The client's side decides what becomes of its connection or stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The client was sent a whole response.
    Answered,
    /// The endpoint has agreed to another protocol: see [`Exchange::into_tunnel`].
    Switched,
    /// The client has left, or takes no more.
    ClientGone,
    /// The response had begun and could not be finished: the client's side was reset.
    Aborted,
}

/// What an exchange runs with: its core, its listener, its connection or stream. The deadlines
/// belong to this exchange alone while it runs.
pub struct Context<'a, N: Net> {
    /// The core it runs on.
    pub core: &'a Core<N>,
    /// The state of that core.
    pub state: &'a CoreState<N>,
    /// Where it came in.
    pub listener: &'a ListenerSlot,
    /// What the gateway adds to a request.
    pub forwarded: &'a Forwarded,
    /// The deadline of the direction towards the endpoint.
    pub upload: &'a Deadline,
    /// The deadline of the direction towards the client.
    pub download: &'a Deadline,
}

impl<N: Net> Clone for Context<'_, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N: Net> Copy for Context<'_, N> {}

/// One request and its response. It borrows nothing but its [`Context`], so a task of its own can
/// own that and run it: then a panic costs this exchange alone.
pub struct Exchange<'a, N: Net> {
    context: Context<'a, N>,
    /// The version of the configuration that it started with.
    snapshot: Rc<CoreSnapshot<N>>,
    /// The client that sent the request.
    caller: Caller,
    /// Its name in logs, in answers, and towards the endpoint, unless it came with one: see
    /// [`Exchange::request_id`].
    own_request_id: [u8; 32],
    /// When its head began to arrive.
    began: Instant,
    /// Noted on the way, to be counted and recorded at the end.
    notes: Notes,
    /// The endpoint's side of a tunnel that is to begin.
    switched: Cell<Option<Lease<N>>>,
}

/// The facts about a request beside its head.
struct Request<'a> {
    head: &'a mut RequestHead,
    size: BodySize,
    /// The protocol that the endpoint is asked to switch to.
    switch_to: Option<Box<[u8]>>,
    /// How long its body may be, in bytes.
    body_bytes_max: u64,
}

/// How an exchange ends that has no complete response of an endpoint.
enum End {
    /// Nothing was sent to the client yet: it gets an answer with this reason.
    Reply(Reason),
    /// The route itself has the answer.
    Answer(RouteId),
    /// The response had begun: it must not look complete.
    Abort(Reason),
    /// The client is gone: nobody is there to answer.
    ClientGone,
}

impl<'a, N: Net> Deref for Exchange<'a, N> {
    type Target = Context<'a, N>;

    fn deref(&self) -> &Context<'a, N> {
        &self.context
    }
}

impl<'a, N: Net> Exchange<'a, N> {
    /// An exchange whose request's head is here, or cannot be had. The head began to arrive at
    /// `began`. The exchange keeps the version of the configuration that is live now: not before
    /// the head is here, because a version must not wait for a client.
    pub fn new(context: Context<'a, N>, caller: Caller, began: Instant) -> Self {
        let core = context.core;
        let exchange = Self {
            context,
            snapshot: context.state.snapshot(),
            caller,
            own_request_id: core.request_ids.borrow_mut().next(),
            began,
            notes: Notes::default(),
            switched: Cell::new(None),
        };
        exchange.note_time(|times| &mut times.head);
        exchange
    }

    /// Runs the exchange to its end.
    pub async fn run<C: ClientSide>(&self, client: &mut C, head: &mut RequestHead) -> Ended {
        let request = Request {
            size: head.body_size(),
            switch_to: None,
            body_bytes_max: self.listener.limits.get().body_bytes_max.value().0,
            head,
        };
        // An own answer does not read the rest of a body that has not come with its head.
        let mut upload = Upload::Unwanted;
        let (ended, reason) = match self.route_and_send(client, request, &mut upload).await {
            // The tunnel is counted and recorded when it ends.
            Ok(Ended::Switched) => return Ended::Switched,
            Ok(ended) => (ended, None),
            Err(End::Reply(reason)) => {
                self.core.counters.replies.add(1);
                (Box::pin(finish::reply(self, client, head, reason, upload)).await, Some(reason))
            }
            Err(End::Answer(route)) => {
                (Box::pin(finish::answer(self, client, head, route, upload)).await, None)
            }
            Err(End::Abort(reason)) => {
                self.core.counters.broken.add(1);
                client.split(self.upload, self.download).2.abort();
                (Ended::Aborted, Some(reason))
            }
            Err(End::ClientGone) => {
                self.core.counters.broken.add(1);
                (Ended::ClientGone, Some(Reason::ClientGone))
            }
        };
        self.count_and_record(head, reason);
        ended
    }

    /// Answers a request that could not be decoded.
    pub async fn refuse<C: ClientSide>(
        &self,
        client: &mut C,
        head: &RequestHead,
        reason: Reason,
    ) -> Ended {
        self.core.counters.replies.add(1);
        let ended = Box::pin(finish::reply(self, client, head, reason, Upload::Unwanted)).await;
        self.count_and_record(head, Some(reason));
        ended
    }

    /// After [`Ended::Switched`]: the tunnel that goes on, and holds nothing else of the exchange.
    pub fn into_tunnel(self, head: &RequestHead) -> Option<Box<Tunnel<N>>> {
        let lease = self.switched.take()?;
        Some(Box::new(Tunnel { lease, account: self.account(head), client_ahead: None }))
    }

    /// Counts and records a connection that ends without an answer, before any request: `reason`
    /// says why.
    pub fn close_unanswered(&self, head: &RequestHead, reason: Reason) {
        self.core.counters.broken.add(1);
        self.notes.status.set(reason.status());
        self.count_and_record(head, Some(reason));
    }

    /// Stages 4 to 9. An error says how to end; `upload` then says whether the request was read to
    /// its end.
    async fn route_and_send<C: ClientSide>(
        &self,
        client: &mut C,
        mut request: Request<'_>,
        upload: &mut Upload,
    ) -> Result<Ended, End> {
        let first = client.begin().map_err(end_of)?;
        if first.last {
            *upload = Upload::Wanted;
        }
        self.notes.add_in(&first);
        let announced = match request.size {
            BodySize::Known(bytes) => bytes,
            BodySize::None | BodySize::Unknown => self.notes.bytes_in(),
        };
        if announced > request.body_bytes_max {
            return Err(End::Reply(Reason::BodyTooLarge));
        }
        let method = request.head.method_bytes();
        let table = self.snapshot.table();
        let upstream = match table.route(request.head.host(), request.head.path(), method) {
            Found::Route(id, route) => {
                self.notes.route.set(Some(id));
                request.switch_to = upgrade::wanted(request.head, &route.upgrades);
                match route.action {
                    Action::Upstream(upstream) => upstream,
                    Action::Redirect(_) | Action::Reply(_) => return Err(End::Answer(id)),
                }
            }
            Found::WrongMethod => return Err(End::Reply(Reason::MethodNotAllowed)),
            Found::None => return Err(End::Reply(Reason::NoRoute)),
        };
        if !self.prepare(request.head) {
            return Err(End::Reply(Reason::LoopDetected));
        }
        if let Some(protocol) = &request.switch_to {
            upgrade::ask(request.head, protocol);
        }
        if first.last {
            self.send_whole(client, &mut request, upstream, first).await
        } else {
            Box::pin(self.send_while_it_comes(client, &mut request, upstream, first)).await
        }
    }

    /// The whole request is here: sends it, perhaps a second time, and forwards the response.
    async fn send_whole<C: ClientSide>(
        &self,
        client: &mut C,
        request: &mut Request<'_>,
        upstream: UpstreamId,
        first: Chunk,
    ) -> Result<Ended, End> {
        let body_bytes = first.buf.len() as u64;
        let mut attempts = connect::Attempts::new(self, upstream, first)?;
        let mut response = self.core.response_heads.take();
        loop {
            let mut lease = attempts.send(self, request).await?;
            if !attempts.holds_body() {
                attempts.ledger.body_bytes_consumed = body_bytes;
            }
            let (_, mut sink, handle) = client.split(self.upload, self.download);
            let (_, mut source, _) = lease.split(self.upload, self.download);
            let core = self.core;
            let head =
                respond::head(core, &mut source, &mut sink, &handle, request, &mut response).await;
            if let Err(failure) = head {
                attempts.ledger.response_bytes = u64::from(source.has_begun());
                if failure.kind == Kind::Abandoned || failure.side == Side::Client {
                    return Err(end_of(Failure { side: Side::Client, ..failure }));
                }
                attempts.look_closer(self, request, &lease, failure).await;
                drop(lease);
                let chunk = attempts.take_body();
                attempts.again(self, request, failure, chunk)?;
                continue;
            }
            drop(attempts.take_body());
            self.note_time(|times| &mut times.first_byte);
            if let (101, Some(protocol)) = (response.status, &request.switch_to) {
                upgrade::accept(self, &mut sink, protocol, &mut response).await?;
                self.switched.set(Some(lease));
                return Ok(Ended::Switched);
            }
            respond::body(self, &mut source, &mut sink, response, Upload::Wanted).await?;
            lease.give_back(self.core.net.now());
            return Ok(Ended::Answered);
        }
    }

    /// The request's body is still coming: sends what is here, then runs both directions at once.
    async fn send_while_it_comes<C: ClientSide>(
        &self,
        client: &mut C,
        request: &mut Request<'_>,
        upstream: UpstreamId,
        first: Chunk,
    ) -> Result<Ended, End> {
        let mut attempts = connect::Attempts::new(self, upstream, first)?;
        let mut lease = attempts.send(self, request).await?;
        let ended = forward::both_ways(self, &mut lease, client, request).await?;
        if ended == Ended::Switched {
            self.switched.set(Some(lease));
        } else {
            lease.give_back(self.core.net.now());
        }
        Ok(ended)
    }
}

/// How an exchange ends over `failure` while no response byte was sent.
fn end_of(failure: Failure) -> End {
    match (failure.side, failure.kind) {
        // An endpoint is abandoned while we wait for its answer because the client has gone.
        (Side::Client, Kind::Closed | Kind::Broken(_)) | (_, Kind::Abandoned) => End::ClientGone,
        (Side::Client, Kind::Timeout) => End::Reply(Reason::ClientTimeout),
        (Side::Client, Kind::Violation(violation)) => End::Reply(Reason::Violation(violation)),
        (Side::Client, Kind::HeadTooLarge) => End::Reply(Reason::HeadTooLarge),
        (Side::Client, Kind::BodyTooLarge) => End::Reply(Reason::BodyTooLarge),
        (_, Kind::Exhausted) => End::Reply(Reason::OutOfResources),
        (Side::Endpoint, Kind::Timeout) => End::Reply(match failure.stage {
            Stage::Connect => Reason::ConnectTimeout,
            _ => Reason::FirstByteTimeout,
        }),
        (Side::Endpoint, Kind::Violation(_) | Kind::HeadTooLarge) => {
            End::Reply(Reason::EndpointViolation)
        }
        (Side::Endpoint, _) if failure.stage == Stage::Connect => {
            End::Reply(Reason::EndpointRefused)
        }
        (Side::Endpoint, _) => End::Reply(Reason::EndpointReset),
    }
}
