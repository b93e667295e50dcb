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
use engine::retry::{Ledger, Verdict, judge};
use engine::snapshot::UpstreamTimeouts;
use engine::stage::Stage;
use engine::time::Instant;
use proto::head::{BodySize, RequestHead, ResponseHead};
use proto::upgrade;
use proto::violation::Violation;

use super::endpoint::{EndpointSlot, UpstreamSlot};
use super::label::{EndpointId, EndpointLabel};
use super::lease::Lease;
use crate::core::{Core, Shed};
use crate::deadline::Deadline;
use crate::failure::{Failure, Kind, Side};
use crate::net::Net;
use crate::net::buffer::Size;
use crate::side::{Chunk, EndpointSide, RequestSink, ResponseSource, empty};

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
    /// The protocol that the endpoint is asked to switch to.
    pub switch_to: Option<&'a [u8]>,
    /// How long its endpoints may keep us waiting.
    pub timeouts: UpstreamTimeouts,
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
            upload,
            download,
            notes,
            ledger: Ledger::NONE,
            tried: Vec::new(),
            tried_anew: Vec::new(),
            pooled: true,
            picked: None,
            held: None,
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
        self.held = Some(body);
        let mut lease = self.send_held(&|| requester.still_waits()).await?;
        loop {
            let (_, mut source, _) = lease.split(self.upload, self.download);
            let head = head(self.core, &mut source, requester, self.request, response).await;
            self.ledger.response_bytes += source.bytes_in();
            let Err(failure) = head else {
                lease.attempt().answered(response.status);
                self.held = None;
                return Ok(lease);
            };
            if failure.kind == Kind::Abandoned || failure.side == Side::Client {
                return Err(Failure { side: Side::Client, ..failure });
            }
            self.look_closer(&lease, failure).await;
            lease.attempt().failed(failure);
            // The dead connection closes before another one opens.
            drop(lease);
            self.judge(failure)?;
            lease = self.send_held(&|| requester.still_waits()).await?;
        }
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
        self.held = Some(first);
        self.send_held(still_waits).await
    }

    async fn send_held(&mut self, still_waits: &dyn Fn() -> bool) -> Result<Lease<N>, Failure> {
        loop {
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
            if self.request.switch_to.is_some() {
                lease.may_switch();
            }
            // A body that was empty is not held.
            let first = self.held.take();
            let first =
                first.unwrap_or_else(|| Chunk::last(empty(&self.core.buffers, Size::Small)));
            let body_bytes = first.buf.len() as u64;
            let (mut sink, _, _) = lease.split(self.upload, self.download);
            let sent = sink.head(self.request.head, self.request.size, first).await;
            let (bytes_out, held, failure) = match sent {
                Ok(sent) => (sent.bytes_out, sent.held, None),
                Err(unsent) => (unsent.bytes_out, unsent.held, Some(unsent.failure)),
            };
            self.ledger.bytes_out = bytes_out;
            // The bytes that are not held have left, and cannot be sent again.
            if held.is_none() {
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
        let method = self.request.head.method;
        self.remember_endpoint();
        let ended = failure.kind == Kind::Closed;
        if ended && judge(&self.ledger, method, failure.stage) == Verdict::GiveUp {
            let untaken = Ledger { untaken: true, ..self.ledger };
            // Only where the knowledge changes the verdict is it worth the wait.
            self.ledger.untaken = judge(&untaken, method, failure.stage) == Verdict::Retry
                && Box::pin(lease.is_untaken(self.upload)).await;
        }
    }

    /// After `failure`: prepares another try, or gives the failure back.
    fn judge(&mut self, failure: Failure) -> Result<(), Failure> {
        if failure.kind == Kind::Abandoned {
            return Err(Failure { side: Side::Client, ..failure });
        }
        self.notes.failure.set(Some(failure));
        // A deadline that has passed is not extended by another try; and a thing that the gateway
        // itself is short of is not found at another endpoint.
        let late = failure.kind == Kind::TotalTimeout
            || failure.kind == Kind::Timeout && failure.stage != Stage::Connect;
        if late || failure.kind == Kind::Exhausted {
            return Err(failure);
        }
        self.remember_endpoint();
        if judge(&self.ledger, self.request.head.method, failure.stage) == Verdict::GiveUp {
            return Err(failure);
        }
        self.core.counters.retries.add(1);
        if let Some(label) = self.notes.endpoint.borrow().as_deref() {
            self.slot.count_retry(label, failure, self.ledger.reused);
        }
        self.notes.retried_because.set(failure.reason());
        self.pooled = !self.ledger.reused;
        Ok(())
    }

    /// Remembers the endpoint of a try that failed, and whether one is left to try.
    fn remember_endpoint(&mut self) {
        let label = self.notes.endpoint.borrow();
        let Some(EndpointLabel { id, .. }) = label.as_deref() else { return };
        let remember = |among: &mut Vec<EndpointId>| {
            if !among.contains(id) {
                among.push(*id);
            }
        };
        remember(&mut self.tried);
        // After one dead pooled connection, a shared one that is lent is alive: its endpoint had its try.
        if !self.ledger.reused || !self.pooled {
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
        101 if !upgrade::agrees(response, request.switch_to) => Err(unexpected()),
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
