//! The exchange: one request and its response, stages 4 to 10 of the life of a request.
//!
//! It knows neither h1 nor h2: it sees a [`ClientSide`], and an
//! [`EndpointSide`](crate::upstream::EndpointSide) lent by a pool. A request without a body, or
//! whose body came with its head, is one straight run: send, await the head, stream the body.
//! Otherwise the upload is a second pump beside that run, polled in the same task (see
//! [`forward`]).
//!
//! What one exchange holds is bounded: a chunk in each direction (68 KiB each), and the head of
//! what comes in next. Invariant: an operation that was started is awaited, on every path out.

mod admit;
mod caller;
mod connect;
mod finish;
mod forward;
mod notes;
mod respond;
mod tunnel;
mod upgrade;

use std::cell::Cell;
use std::rc::Rc;

use engine::reason::Reason;
use engine::snapshot::{Action, Found, RouteId, UpstreamId};
use engine::stage::Stage;
use engine::time::Instant;
use proto::head::{BodyLength, RequestHead, ResponseHead, Version};

use crate::deadline::Deadline;
use crate::failure::{Failure, Kind, Side};
use crate::listener::ListenerSlot;
use crate::net::Net;
use crate::snapshot::CoreSnapshot;
use crate::state::Core;
use crate::upstream::{EndpointSide, Lease, ResponseSource};
use crate::wire::Chunk;

pub use admit::Forwarded;
pub use caller::Caller;
pub use notes::Notes;
pub use tunnel::{Left, Tunnel};

/// What becomes of the client's connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The next request may come.
    KeepAlive,
    /// The connection ends with this response.
    Close,
    /// The endpoint has agreed to another protocol: see [`Exchange::into_tunnel`].
    Tunnel,
    /// It has been given up, and must end with a reset.
    Aborted,
}

/// An exchange and what it runs with.
pub struct Exchange<'a, N: Net> {
    /// The core it runs on.
    pub core: &'a Core<N>,
    /// The version of the configuration that it started with.
    pub snapshot: Rc<CoreSnapshot<N>>,
    /// Where it came in.
    pub listener: &'a ListenerSlot,
    /// Who asks.
    pub caller: Caller,
    /// The deadline of the direction towards the client.
    pub download: &'a Deadline,
    /// The deadline of the direction towards the endpoint.
    pub upload: &'a Deadline,
    /// What the gateway adds to a request.
    pub forwarded: &'a Forwarded,
    /// Its name in logs, in answers, and towards the endpoint, unless it came with one: see
    /// [`Exchange::request_id`].
    pub own_request_id: [u8; 32],
    /// The connection ends with it, whatever the client wants.
    pub is_last: bool,
    /// When its head began to arrive.
    pub began: Instant,
    /// What is noted on the way, to be counted and recorded at its end.
    pub notes: Notes,
    /// The endpoint's side of a tunnel that is to begin.
    pub switched: Cell<Option<Lease<N>>>,
}

/// What an exchange knows of its request beside the head.
struct Request<'a> {
    head: &'a mut RequestHead,
    length: BodyLength,
    wants_keep_alive: bool,
    expects_continue: bool,
    /// The protocol that the endpoint is asked to switch to.
    switch_to: Option<Box<[u8]>>,
    /// How long its body may be, in bytes.
    body_bytes_max: u64,
}

/// How an exchange ended that sent no complete response of an endpoint.
enum End {
    /// Nothing was sent to the client yet: it gets an answer with this reason.
    Reply(Reason),
    /// The route itself says what to answer.
    Answer(RouteId),
    /// The response had begun: it must not look complete.
    Abort(Reason),
    /// The client is gone: nobody is there to answer.
    ClientGone,
}

impl<N: Net> Exchange<'_, N> {
    /// Runs the exchange to its end and says whether the client's connection goes on.
    pub async fn run<C: ClientSide>(&self, client: &mut C, head: &mut RequestHead) -> After {
        let request = Request {
            length: head.body_length(),
            wants_keep_alive: head.keep_alive() && !self.ends(),
            expects_continue: head.expects_continue(),
            switch_to: None,
            body_bytes_max: self.listener.limits.get().body_bytes_max.value().0,
            head,
        };
        let (after, reason) = match self.route_and_send(client, request).await {
            // It is told of at its end.
            Ok(After::Tunnel) => return After::Tunnel,
            Ok(after) => (after, None),
            Err((End::Reply(reason), after)) => {
                self.core.counters.replies.add(1);
                (Box::pin(finish::reply(self, client, head, reason, after)).await, Some(reason))
            }
            Err((End::Answer(route), after)) => {
                (Box::pin(finish::answer(self, client, head, route, after)).await, None)
            }
            Err((End::Abort(reason), _)) => {
                self.core.counters.broken.add(1);
                client.split(self.upload, self.download).2.abort();
                (After::Aborted, Some(reason))
            }
            Err((End::ClientGone, _)) => {
                self.core.counters.broken.add(1);
                (After::Close, Some(Reason::ClientGone))
            }
        };
        self.count_and_record(head, reason);
        after
    }

    /// Answers a request that could not be decoded. The connection ends with it: where the next
    /// request would begin is not known.
    pub async fn refuse<C: ClientSide>(
        &self,
        client: &mut C,
        head: &RequestHead,
        reason: Reason,
    ) -> After {
        self.core.counters.replies.add(1);
        let after = Box::pin(finish::reply(self, client, head, reason, After::Close)).await;
        self.count_and_record(head, Some(reason));
        after
    }

    /// After [`After::Tunnel`]: what goes on of the exchange, which lets everything else go.
    pub fn into_tunnel(self, head: &RequestHead) -> Option<Box<Tunnel<N>>> {
        let lease = self.switched.take()?;
        Some(Box::new(Tunnel { lease, account: self.account(head), client_ahead: None }))
    }

    /// Ends a connection that did not come to a request, without an answer: `reason` is counted
    /// and recorded.
    pub fn turn_away(&self, head: &RequestHead, reason: Reason) {
        self.core.counters.broken.add(1);
        self.notes.status.set(reason.status());
        self.count_and_record(head, Some(reason));
    }

    /// Whether the client's connection ends with this exchange.
    fn ends(&self) -> bool {
        self.is_last || self.core.draining.get() || self.listener.closing.get()
    }

    /// Stages 4 to 9. An error says how to end, and whether the connection may live on after it.
    async fn route_and_send<C: ClientSide>(
        &self,
        client: &mut C,
        mut request: Request<'_>,
    ) -> Result<After, (End, After)> {
        let first = client.begin().map_err(|failure| (end_of(failure), After::Close))?;
        // An answer of our own does not read the rest of a body: it ends the connection instead.
        let after = match first.last && request.wants_keep_alive {
            true => After::KeepAlive,
            false => After::Close,
        };
        self.notes.add_in(&first);
        let announced = match request.length {
            BodyLength::Length(bytes) => bytes,
            _ => self.notes.bytes_in(),
        };
        if announced > request.body_bytes_max {
            return Err((End::Reply(Reason::BodyTooLarge), after));
        }
        let method = request.head.method_bytes();
        let table = self.snapshot.table();
        let upstream = match table.route(request.head.host(), request.head.path(), method) {
            Found::Route(id, route) => {
                self.notes.route.set(Some(id));
                request.switch_to = upgrade::wanted(request.head, &route.upgrades);
                match route.action {
                    Action::Upstream(upstream) => upstream,
                    Action::Redirect(_) | Action::Reply(_) => {
                        return Err((End::Answer(id), after));
                    }
                }
            }
            Found::WrongMethod => return Err((End::Reply(Reason::MethodNotAllowed), after)),
            Found::None => return Err((End::Reply(Reason::NoRoute), after)),
        };
        self.prepare(request.head);
        if let Some(protocol) = &request.switch_to {
            upgrade::ask(request.head, protocol);
        }
        let ended = if first.last {
            self.send_whole(client, &mut request, upstream, first).await
        } else {
            Box::pin(self.send_while_it_comes(client, &mut request, upstream, first)).await
        };
        ended.map_err(|end| (end, after))
    }

    /// The whole request is here: sends it, perhaps a second time, and forwards the response.
    async fn send_whole<C: ClientSide>(
        &self,
        client: &mut C,
        request: &mut Request<'_>,
        upstream: UpstreamId,
        first: Chunk,
    ) -> Result<After, End> {
        let version = client.version();
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
            let head =
                respond::head(&mut source, &mut sink, &handle, request, version, &mut response)
                    .await;
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
                let after = upgrade::accept(self, &mut sink, protocol, &mut response).await?;
                self.switched.set(Some(lease));
                return Ok(after);
            }
            let after =
                respond::body(self, &mut source, &mut sink, request, version, response, false)
                    .await?;
            lease.give_back(self.core.net.now());
            return Ok(after);
        }
    }

    /// The request's body is still coming: sends what is here, then runs both directions at once.
    async fn send_while_it_comes<C: ClientSide>(
        &self,
        client: &mut C,
        request: &mut Request<'_>,
        upstream: UpstreamId,
        first: Chunk,
    ) -> Result<After, End> {
        let mut attempts = connect::Attempts::new(self, upstream, first)?;
        let mut lease = attempts.send(self, request).await?;
        let after = forward::both_ways(self, &mut lease, client, request).await?;
        lease.give_back(self.core.net.now());
        Ok(after)
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
