//! The exchange: one request and its response, stages 4 to 10 of the life of a request.
//!
//! It knows neither h1 nor h2: it sees a [`ClientSide`], and an [`EndpointSide`] lent by a pool. It
//! reports how it ended; the sides decide what becomes of their connections. A request
//! that is whole is one straight run: send, await the head, stream the body.
//! Otherwise the upload is a second pump beside that run, polled in the same task (see
//! [`forward`]).
//!
//! An exchange holds a bounded amount of memory: a chunk in each direction (68 KiB each), and the
//! head of the next message. Invariant: an operation that was started is awaited, on every path out.

mod admit;
mod caller;
mod fetch;
mod filters;
mod finish;
mod forward;
mod heads;
mod passing;
mod reply;
mod respond;
mod route;
mod time_left;
mod tunnel;
mod upgrade;

use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;

use engine::filter::{FilterReply, Hooks};
use engine::reason::Reason;
use engine::snapshot::{Action, RouteId};
use engine::time::Instant;
use proto::head::{BodySize, RequestHead};

use crate::core::Core;
use crate::deadline::Deadline;
use crate::failure::Failure;
use crate::listener::ListenerSlot;
use crate::net::Net;
use crate::side::{ClientHandle, ClientSide, Upload};
use crate::snapshot::CoreSnapshot;
use crate::state::CoreState;
use crate::upstream::{Affinity, CallRequest, Lease};

use passing::FilterRun;

pub use admit::Forwarded;
pub use caller::Caller;
pub use finish::Notes;
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

/// The surroundings of an exchange: its core, its listener, its connection or stream. The deadlines
/// belong to this exchange alone while it runs.
pub struct Context<'a, N: Net> {
    /// The core it runs on.
    pub core: &'a Core<N>,
    /// The state of that core.
    pub state: &'a Rc<CoreState<N>>,
    /// Where it came in.
    pub listener: &'a ListenerSlot,
    /// The fields that the gateway adds to a request.
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
    /// Its filters on their way.
    filters: FilterRun,
    /// The endpoint's side of a tunnel that is to begin.
    switched: Cell<Option<Lease<N>>>,
}

/// How an exchange ends that has no complete response of an endpoint.
enum End {
    /// Nothing was sent to the client yet: it gets an answer with this reason.
    Reply(Reason),
    /// The route itself has the answer.
    Answer(RouteId),
    /// A filter has the answer.
    Filtered(Box<FilterReply>),
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
            filters: FilterRun::default(),
            switched: Cell::new(None),
        };
        exchange.note_time(|times| &mut times.head);
        exchange
    }

    /// Runs the exchange to its end.
    pub async fn run<C: ClientSide>(&self, client: &mut C, head: &mut RequestHead) -> Ended {
        // An own answer does not read the rest of a body that has not come with its head.
        let mut upload = Upload::Unwanted;
        let (ended, reason) = match self.route_to_respond(client, head, &mut upload).await {
            // The tunnel is counted and recorded when it ends.
            Ok(Ended::Switched) => return Ended::Switched,
            Ok(ended) => (ended, None),
            Err(End::Reply(reason)) => {
                self.core.counters.replies.add(1);
                (Box::pin(reply::of_reason(self, client, head, reason, upload)).await, Some(reason))
            }
            Err(End::Answer(route)) => {
                (Box::pin(reply::of_route(self, client, head, route, upload)).await, None)
            }
            Err(End::Filtered(reply)) => {
                let reason = reply.reason;
                self.core.counters.replies.add(u64::from(reason.is_some()));
                match reason {
                    Some(Reason::RateLimited) => self.core.counters.rate_limited.add(1),
                    Some(Reason::ConcurrencyLimited) => {
                        self.core.counters.concurrency_limited.add(1);
                    }
                    _ => {}
                }
                (Box::pin(reply::of_filter(self, client, head, *reply, upload)).await, reason)
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
        let ended = Box::pin(reply::of_reason(self, client, head, reason, Upload::Unwanted)).await;
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
    async fn route_to_respond<C: ClientSide>(
        &self,
        client: &mut C,
        head: &mut RequestHead,
        upload: &mut Upload,
    ) -> Result<Ended, End> {
        let first = client.begin().map_err(End::over)?;
        if first.last {
            *upload = Upload::Wanted;
        }
        self.notes.add_in(&first);
        let announced = match head.body_size() {
            BodySize::Known(bytes) => bytes,
            BodySize::None | BodySize::Unknown => self.notes.bytes_in(),
        };
        let too_large = announced > self.body_bytes_max();
        let routed = self.route(head);
        let filtered = routed.is_ok() && self.has_filters(Hooks::REQUEST);
        // A filter may allow more than the listener does: then the size is judged behind the filters.
        if too_large && !filtered {
            return Err(End::Reply(Reason::BodyTooLarge));
        }
        let (id, route) = routed?;
        let upstream = match route.action {
            Action::Upstream(upstream) => Ok(upstream),
            Action::Redirect(_) | Action::Reply(_) => Err(End::Answer(id)),
        };
        if upstream.is_err() && !filtered {
            return Err(End::Answer(id));
        }
        let mut timeouts = route.timeouts;
        self.admit(head, route)?;
        let (mut first, mut size) = (first, head.body_size());
        if filtered {
            (first, size) = Box::pin(self.filter_request(client, head, route, first)).await?;
            if first.last {
                *upload = Upload::Wanted;
            }
        }
        let upstream = upstream?;
        if let Some(name) = &route.deadline_header {
            self.tell_deadline(head, name, &mut timeouts)?;
        }
        let to = self.snapshot.table().upstream(upstream);
        let retry = &to.retry;
        let limits = [self.snapshot.limit(route.in_flight), self.snapshot.limit(to.in_flight)];
        let affinity = Affinity::default();
        let request = CallRequest { head, size, timeouts, retry, limits, affinity };
        if first.last {
            self.forward_whole(client, request, upstream, first).await
        } else {
            Box::pin(self.forward_while_it_comes(client, request, upstream, first)).await
        }
    }
}

impl End {
    /// How an exchange ends over `failure` while no response byte was sent.
    fn over(failure: Failure) -> Self {
        failure.reason().map_or(Self::ClientGone, Self::Reply)
    }
}
