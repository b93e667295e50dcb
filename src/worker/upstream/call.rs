//! A call: gets one request to an endpoint of an upstream, and tries again where that is safe.
//!
//! It knows no exchange: a proxied request uses it, and any other request that the gateway makes
//! can. Given an upstream, a head, a body and deadlines it selects an endpoint and a connection
//! (stages 6 and 7, [`select`](super::select)), sends the request (stage 8), and awaits the head of
//! the response (stage 9). When a try fails, [`engine::retry`] judges from the ledger whether
//! another may follow.
//!
//! A request that is whole goes by [`Call::run`], which can send it again until the head of a
//! response is here. A request with a body that is still coming goes by [`Call::send`], which can try
//! again only until the first bytes have left.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;

use engine::reason::Reason;
use engine::retry::{Ledger, Policy, RetryCause, TryEnd, Verdict, judge};
use engine::snapshot::UpstreamTimeouts;
use engine::stage::Stage;
use engine::time::{Instant, Micros};
use proto::head::{BodySize, RequestHead, ResponseHead};
use proto::upgrade;
use proto::violation::Violation;

use super::endpoint::{Affinity, EndpointSlot, UpstreamSlot};
use super::label::{EndpointId, EndpointLabel};
use super::lease::Lease;
use super::replay::Replay;
use crate::core::{Core, Shed};
use crate::deadline::Deadline;
use crate::failure::{Failure, Kind, Side};
use crate::limit::{LimitSlot, Permit, Permits};
use crate::net::Net;
use crate::net::buffer::Size;
use crate::side::{Chunk, EndpointSide, RequestSink, ResponseSource, empty};
use crate::telemetry::endpoint::EndpointTally;

/// Interim heads that an endpoint may send at once, and how many more each second. RFC 9110 section
/// 15.2 has no bound, and a long job may report its progress for hours: so the rate is bounded, not
/// the number. A page with early hints sends one or two; a job reports once a second at most.
const INTERIM_BURST: u64 = 64;
const INTERIM_PER_SECOND: u64 = 16;

/// The request of a call, beside its body.
#[derive(Clone, Copy, Debug)]
pub struct CallRequest<'a> {
    /// Its head, ready for the endpoint.
    pub head: &'a RequestHead,
    /// How much body it has.
    pub size: BodySize,
    /// How long its endpoints may keep us waiting.
    pub timeouts: UpstreamTimeouts,
    /// When it goes to another try.
    pub retry: &'a Policy,
    /// The limits of requests in flight that it counts under: of its route and of its upstream.
    pub limits: [Option<&'a Rc<LimitSlot>>; 2],
    /// The endpoint that it should go to.
    pub affinity: Affinity,
}

/// The party that waits for the response while a call runs.
pub trait Requester {
    /// Whether it still waits; asked every 0.4 s.
    fn still_waits(&self) -> bool;

    /// Hands on a 1xx head of the endpoint.
    fn interim(&mut self, head: &mut ResponseHead) -> impl Future<Output = Result<(), Failure>>;
}

/// Noted about a call on its way, for the log. Both pumps of an exchange may read it, hence the cells.
#[derive(Debug, Default)]
pub struct CallNotes {
    /// The endpoint tried last.
    pub endpoint: RefCell<Option<Rc<EndpointLabel>>>,
    /// Tries so far.
    pub tries: Cell<u8>,
    /// Why the last but one try was not the last.
    pub retried_because: Cell<Option<Reason>>,
    /// The last try used a connection of an earlier request.
    pub reused: Cell<bool>,
    /// When the last try had its connection.
    pub connected_at: Cell<Option<Instant>>,
    /// How the last try failed, if it did.
    pub failure: Cell<Option<Failure>>,
}

/// See the module.
pub struct Call<'a, N: Net> {
    pub(super) core: &'a Core<N>,
    /// Frees a descriptor for a connection, where the core is short of them.
    pub(super) shed: &'a dyn Shed,
    pub(super) slot: &'a UpstreamSlot<N>,
    pub(super) request: CallRequest<'a>,
    /// When the call must be done altogether.
    pub(super) give_up_at: Instant,
    /// When the present try must have the head of a response.
    pub(super) try_until: Instant,
    pub(super) upload: &'a Deadline,
    download: &'a Deadline,
    pub(super) notes: &'a CallNotes,
    /// Retries are judged from it.
    pub(super) ledger: Ledger,
    /// The endpoints tried, and those of them that were tried on a new connection. Where only a
    /// pooled connection turned out dead, the endpoint may be tried once more, after all others. Empty vectors
    /// cost nothing: a first try does not fill them.
    pub(super) tried: Vec<EndpointId>,
    pub(super) tried_anew: Vec<EndpointId>,
    /// A pooled connection may be used: not after one turned out dead, when its neighbours have
    /// most likely died with it.
    pub(super) pooled: bool,
    /// The endpoint whose turn has come, until the call makes use of it.
    pub(super) picked: Option<Rc<EndpointSlot<N>>>,
    /// The body, or the first of it, while it can still be sent.
    held: Option<Chunk>,
    /// The body, where it may have to be sent once more after it was sent whole.
    replay: Replay,
    /// How often all endpoints were tried, and how long to wait before they are tried again.
    rounds: u32,
    pause: Option<Micros>,
    permits: Permits,
}

impl<'a, N: Net> Call<'a, N> {
    /// A call of the upstream with this `slot`. The deadlines belong to the call alone while it runs:
    /// `upload` of the direction to the endpoint, `download` of the other.
    pub fn new(
        (core, shed): (&'a Core<N>, &'a dyn Shed),
        slot: &'a UpstreamSlot<N>,
        request: CallRequest<'a>,
        [upload, download]: [&'a Deadline; 2],
        notes: &'a CallNotes,
    ) -> Self {
        Self {
            core,
            shed,
            slot,
            request,
            give_up_at: core.net.now().plus_micros(request.timeouts.total.value().0),
            try_until: Instant(u64::MAX),
            upload,
            download,
            notes,
            ledger: Ledger::NONE,
            tried: Vec::new(),
            tried_anew: Vec::new(),
            pooled: true,
            picked: None,
            held: None,
            replay: Replay::new(
                request.retry.keeps_bodies().then_some(request.retry.body_bytes_max),
            ),
            rounds: 0,
            pause: None,
            permits: [None, None],
        }
    }

    /// Sends a request with its whole `body`, and awaits the final head of a response.
    ///
    /// # Errors
    ///
    /// The failure of the last try. Its side is the client where the requester has left.
    pub async fn run(
        &mut self,
        body: Chunk,
        requester: &mut impl Requester,
        response: &mut ResponseHead,
    ) -> Result<Lease<N>, Failure> {
        let lease = self.send(body, &|| requester.still_waits()).await?;
        self.answer(lease, requester, response).await
    }

    /// Awaits the final head of a response to a request that went out whole with `lease`.
    ///
    /// # Errors
    ///
    /// As [`Call::run`].
    async fn answer(
        &mut self,
        mut lease: Lease<N>,
        requester: &mut impl Requester,
        response: &mut ResponseHead,
    ) -> Result<Lease<N>, Failure> {
        loop {
            let (_, mut source, _) = lease.split(self.upload, self.download);
            let head = head(self.core, &mut source, requester, self.request, response).await;
            self.ledger.response_bytes += source.bytes_in();
            match head {
                Ok(()) => {
                    lease.attempt().answered(response.status, self.core.net.now());
                    if !self.is_refused_by(response.status) {
                        self.held = None;
                        self.replay.forget();
                        self.hand_over(&mut lease);
                        return Ok(lease);
                    }
                    // A short body is here with its head: then the connection lives on.
                    let is_whole = {
                        let (_, mut source, _) = lease.split(self.upload, self.download);
                        source.begin().is_ok_and(|body| body.last)
                    };
                    if is_whole {
                        lease.give_back(self.core.net.now());
                    } else {
                        drop(lease);
                    }
                    self.prepare_after(response.status);
                }
                Err(failure) => self.prepare(lease, failure).await?,
            }
            lease = self.send_held(&|| requester.still_waits()).await?;
        }
    }

    /// Ends a try whose request went out with `lease`, over `failure`, and prepares another one.
    ///
    /// # Errors
    ///
    /// The failure, where no try may follow.
    async fn prepare(&mut self, lease: Lease<N>, failure: Failure) -> Result<(), Failure> {
        if failure.kind == Kind::Abandoned || failure.side == Side::Client {
            return Err(Failure { side: Side::Client, ..failure });
        }
        self.look_closer(&lease, failure).await;
        lease.attempt().failed(failure);
        // The dead connection closes before another one opens.
        drop(lease);
        self.judge(failure)
    }

    /// Whether a response with this status counts as a try that failed, and another one may follow.
    /// Takes it out of the budget then.
    fn is_refused_by(&mut self, status: u16) -> bool {
        // Nearly always this is all.
        if !self.request.retry.has_status(status) {
            return false;
        }
        self.remember_endpoint(true);
        let verdict = self.verdict(TryEnd::Answered(status));
        self.core.net.now() < self.give_up_at && self.may_go_on(verdict)
    }

    /// Prepares the try after a response with a `status` for which [`Call::is_refused_by`] said yes.
    fn prepare_after(&mut self, status: u16) {
        let verdict = self.verdict(TryEnd::Answered(status));
        self.go_on(verdict, Some(Reason::RetriedStatus));
    }

    /// Sends the head and the `first` bytes of a body that may still be coming. `still_waits` says
    /// whether the requester does; it is asked now and then while the call waits for a connection.
    ///
    /// # Errors
    ///
    /// The failure of the last try. Its side is the client where the requester has left.
    pub async fn send(
        &mut self,
        first: Chunk,
        still_waits: &dyn Fn() -> bool,
    ) -> Result<Lease<N>, Failure> {
        if self.request.retry.has_budgeted_causes() {
            self.slot.budget.borrow_mut().request(self.core.net.now());
        }
        if self.request.retry.keeps_bodies() {
            self.replay.record(&first, &self.core.buffers);
        }
        self.held = Some(first);
        for (at, limit) in self.request.limits.into_iter().enumerate() {
            let Some(limit) = limit else { continue };
            let permit = match limit.take(self.core.net.now()) {
                Some(permit) => permit,
                None => self.wait_for_permit(limit, still_waits).await?,
            };
            if let Some(place) = self.permits.get_mut(at) {
                *place = Some(permit);
            }
        }
        self.send_held(still_waits).await
    }

    /// From now on the lease holds what the call holds of limits, so that a tunnel counts too.
    pub fn hand_over(&mut self, lease: &mut Lease<N>) {
        if self.permits.iter().any(Option::is_some) {
            lease.keep(std::mem::take(&mut self.permits));
        }
    }

    async fn wait_for_permit(
        &self,
        limit: &Rc<LimitSlot>,
        still_waits: &dyn Fn() -> bool,
    ) -> Result<Permit, Failure> {
        let waited =
            Box::pin(limit.wait(self.core, self.upload, self.give_up_at, still_waits)).await;
        waited.map_err(|failure| {
            if failure.kind == Kind::Abandoned {
                return Failure { side: Side::Client, ..failure };
            }
            self.notes.failure.set(Some(failure));
            failure
        })
    }

    async fn send_held(&mut self, still_waits: &dyn Fn() -> bool) -> Result<Lease<N>, Failure> {
        loop {
            if let Some(pause) = self.pause.take() {
                Box::pin(self.wait_for(pause, still_waits)).await?;
            }
            self.ledger.begin_try();
            self.notes.tries.set(u8::try_from(self.ledger.tries).unwrap_or(u8::MAX));
            let leased = match self.lease_pooled() {
                Some(lease) => Ok(lease),
                // Rare beside requests, and large.
                None => Box::pin(self.lease(still_waits)).await,
            };
            let mut lease = match leased {
                Ok(lease) => lease,
                Err(failure) => {
                    self.judge(failure)?;
                    continue;
                }
            };
            if self.request.head.switch_to().is_some() {
                lease.may_switch();
            }
            // A body that was empty is not held.
            let first = match self.held.take() {
                Some(first) => first,
                None if self.request.retry.keeps_bodies() => self.replay.chunk(&self.core.buffers),
                None => Chunk::last(empty(&self.core.buffers, Size::Small)),
            };
            let body_bytes = first.buf.len() as u64;
            let (mut sink, _, _) = lease.split(self.upload, self.download);
            let sent = sink.head(self.request.head, self.request.size, first).await;
            let (bytes_out, held, failure) = match sent {
                Ok(sent) => (sent.bytes_out, sent.held, None),
                Err(unsent) => (unsent.bytes_out, unsent.held, Some(unsent.failure)),
            };
            self.ledger.bytes_out = bytes_out;
            // The bytes that are not held have left. They cannot be sent again unless a copy is kept.
            let is_kept = self.request.retry.keeps_bodies() && self.replay.is_whole();
            if held.is_none() && !is_kept {
                self.ledger.body_bytes_consumed += body_bytes;
            }
            self.held = held;
            let Some(failure) = failure else { return Ok(lease) };
            // A stream may be refused while its request goes out.
            self.look_closer(&lease, failure).await;
            lease.attempt().failed(failure);
            drop(lease);
            self.judge(failure)?;
        }
    }

    /// After `failure`: where that decides, learns whether the endpoint has taken anything of the
    /// request.
    async fn look_closer(&mut self, lease: &Lease<N>, failure: Failure) {
        let CallRequest { head: RequestHead { method, .. }, retry, .. } = self.request;
        self.remember_endpoint(false);
        let ended = failure.kind == Kind::Closed;
        let end = TryEnd::Failed(failure.stage);
        if ended && self.verdict(end) == Verdict::GiveUp {
            let untaken = Ledger { untaken: true, ..self.ledger };
            // Only where the knowledge changes the verdict is it worth the wait.
            self.ledger.untaken = judge(&untaken, retry, *method, end) != Verdict::GiveUp
                && Box::pin(lease.is_untaken(self.upload)).await;
        }
    }

    /// After `failure`: prepares another try, or gives the failure back.
    fn judge(&mut self, failure: Failure) -> Result<(), Failure> {
        if failure.kind == Kind::Abandoned {
            return Err(Failure { side: Side::Client, ..failure });
        }
        self.notes.failure.set(Some(failure));
        let end = match failure.kind {
            // A deadline that has passed is not extended by another try; and a thing that the gateway
            // itself is short of is not found at another endpoint.
            Kind::TotalTimeout | Kind::Exhausted => return Err(failure),
            Kind::Timeout if failure.stage != Stage::Connect => TryEnd::TimedOut,
            _ => TryEnd::Failed(failure.stage),
        };
        self.remember_endpoint(end == TryEnd::TimedOut);
        let verdict = self.verdict(end);
        if !self.may_go_on(verdict) {
            return Err(failure);
        }
        self.go_on(verdict, failure.reason());
        Ok(())
    }

    fn verdict(&self, end: TryEnd) -> Verdict {
        judge(&self.ledger, self.request.retry, self.request.head.method, end)
    }

    /// Whether another try follows by this verdict: an endpoint must be there, and the budget must
    /// allow it. Takes it out of the budget then.
    fn may_go_on(&self, verdict: Verdict) -> bool {
        let Verdict::Retry(cause) = verdict else { return false };
        let (slot, budget) = (self.slot, self.request.retry.budget);
        if !self.ledger.endpoint_left && !slot.has_others_than(&[]) {
            return false;
        }
        if !cause.is_budgeted() || budget.is_off() {
            return true;
        }
        let allowed = slot.budget.borrow_mut().take(self.core.net.now(), budget.value());
        if !allowed {
            self.count(EndpointTally::over_budget);
        }
        allowed
    }

    /// Prepares another try.
    fn go_on(&mut self, verdict: Verdict, because: Option<Reason>) {
        let Verdict::Retry(cause) = verdict else { return };
        self.core.counters.retries.add(1);
        self.count(|tally| tally.retried(cause));
        self.notes.retried_because.set(because);
        // A connection that has brought an answer is not dead, and nor are its neighbours.
        self.pooled = cause == RetryCause::Status || !self.ledger.reused;
        if !self.ledger.endpoint_left {
            // All were tried: all may be tried once more, after a pause.
            self.rounds += 1;
            let (now, seed) = (self.core.net.now(), self.core.share.seed);
            self.pause = Some(self.request.retry.back_off(self.rounds, seed, now));
            self.tried.clear();
            self.tried_anew.clear();
        }
    }

    /// Counts something about the endpoint tried last.
    fn count(&self, count: impl FnOnce(&EndpointTally)) {
        if let Some(label) = self.notes.endpoint.borrow().as_deref() {
            self.slot.count(label, count);
        }
    }

    /// Waits before the endpoints are tried once more. A wait beyond the time of the whole request is
    /// of no use: then the failure of the last try is the answer.
    async fn wait_for(&self, pause: Micros, still_waits: &dyn Fn() -> bool) -> Result<(), Failure> {
        let now = self.core.net.now();
        if now.plus_micros(pause.0) >= self.give_up_at {
            let late = Failure::endpoint(Stage::Select, Kind::TotalTimeout);
            return Err(self.notes.failure.get().unwrap_or(late));
        }
        self.upload.arm(now, pause.0);
        self.upload.passed().await;
        self.upload.clear();
        if still_waits() {
            return Ok(());
        }
        Err(Failure { side: Side::Client, ..Failure::endpoint(Stage::Select, Kind::Abandoned) })
    }

    /// Remembers the endpoint of a try that failed, and whether one is left to try. `has_taken`: the
    /// endpoint took the request.
    fn remember_endpoint(&mut self, has_taken: bool) {
        let label = self.notes.endpoint.borrow();
        let Some(EndpointLabel { id, .. }) = label.as_deref() else { return };
        let remember = |among: &mut Vec<EndpointId>| {
            if !among.contains(id) {
                among.push(*id);
            }
        };
        remember(&mut self.tried);
        // After one dead pooled connection, a shared one that is lent is alive: its endpoint had its try.
        if has_taken || !self.ledger.reused || !self.pooled {
            remember(&mut self.tried_anew);
        }
        self.ledger.endpoint_left = self.slot.has_others_than(&self.tried_anew);
    }
}

/// Stage 9: awaits the final head of the response to `request`, and hands on the interim ones that
/// come before it.
///
/// # Errors
///
/// The endpoint's failure, or the requester's. The kind is `Abandoned` where the requester does not
/// wait any more.
pub async fn head<N: Net>(
    core: &Core<N>,
    source: &mut impl ResponseSource,
    requester: &mut impl Requester,
    request: CallRequest<'_>,
    response: &mut ResponseHead,
) -> Result<(), Failure> {
    let unexpected = || Failure::endpoint(Stage::Respond, Violation::UnexpectedInterim.into());
    let mut interims = InterimRate::since(core.net.now());
    loop {
        source.head(request.head.method, response, || requester.still_waits()).await?;
        if !response.is_interim() {
            break;
        }
        if !interims.allows_one(core.net.now()) {
            return Err(unexpected());
        }
        requester.interim(response).await?;
    }
    // A 101 that nobody asked for answers nothing.
    match response.status {
        101 if !upgrade::agrees(response.upgrade(), request.head.switch_to()) => Err(unexpected()),
        _ => Ok(()),
    }
}

/// The interim heads of one call, counted against the time they take.
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
