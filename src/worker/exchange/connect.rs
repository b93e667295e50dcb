//! Stages 6 to 8, select, connect and forward: an endpoint, a connection to it, the request on it;
//! and whether to try again.

use std::rc::Rc;
use std::time::Duration;

use engine::reason::Reason;
use engine::retry::{Ledger, Verdict, judge};
use engine::snapshot::UpstreamId;
use engine::stage::Stage;
use engine::time::micros;
use proto::head::BodyLength;

use super::{End, Exchange, Request, end_of};
use crate::failure::{Failure, Kind};
use crate::net::Net;
use crate::net::buffer::Size;
use crate::upstream::{EndpointSide, Lease, Pool, RequestSink, UpstreamSlot};
use crate::wire::{Chunk, empty};

/// The attempts of one exchange to get its request to an endpoint.
pub(super) struct Attempts<N: Net> {
    /// What the retry is judged from.
    pub(super) ledger: Ledger,
    slot: Rc<UpstreamSlot<N>>,
    upstream: UpstreamId,
    /// The endpoint tried last.
    tried: Option<usize>,
    /// A pooled connection may be used: not after one turned out dead, when its neighbours have
    /// most likely died with it.
    pooled: bool,
    /// The body, or the first of it, while it is held.
    first: Option<Chunk>,
}

/// Why there is no connection to send on.
enum NoLease {
    /// One could not be made.
    Failed(Failure),
    /// None may be made.
    None(Reason),
}

impl<N: Net> Attempts<N> {
    pub(super) fn new(
        exchange: &Exchange<'_, N>,
        upstream: UpstreamId,
        first: Chunk,
    ) -> Result<Self, End> {
        exchange.notes.upstream.set(Some(upstream));
        let slot = exchange.core.upstream(&exchange.snapshot, upstream);
        let slot = slot.ok_or(End::Reply(Reason::NoEndpoint))?;
        Ok(Self {
            ledger: Ledger::default(),
            slot,
            upstream,
            tried: None,
            pooled: true,
            first: Some(first),
        })
    }

    /// Sends the request's head and the first of its body to an endpoint.
    pub(super) async fn send(
        &mut self,
        exchange: &Exchange<'_, N>,
        request: &Request<'_>,
    ) -> Result<Lease<N>, End> {
        loop {
            self.ledger.tries += 1;
            exchange.notes.tries.set(u8::try_from(self.ledger.tries).unwrap_or(u8::MAX));
            self.ledger.reused = false;
            self.ledger.bytes_out = 0;
            self.ledger.untaken = false;
            let (failure, chunk) = match self.lease(exchange).await {
                Err(NoLease::Failed(failure)) => (failure, self.first.take()),
                Err(NoLease::None(reason)) => return Err(End::Reply(reason)),
                Ok(mut lease) => {
                    self.ledger.reused = lease.is_reused();
                    exchange.notes.reused.set(self.ledger.reused);
                    exchange.note_time(|times| &mut times.connect);
                    let first = self
                        .first
                        .take()
                        .unwrap_or_else(|| Chunk::last(empty(&exchange.core.buffers, Size::Small)));
                    if request.switch_to.is_some() {
                        lease.may_switch();
                    }
                    let (mut sink, _, _) = lease.split(exchange.upload, exchange.download);
                    let unsent = match sink.head(request.head, request.length, first).await {
                        Ok(held) => {
                            self.ledger.bytes_out = 1;
                            self.first = held;
                            return Ok(lease);
                        }
                        Err(unsent) => unsent,
                    };
                    self.ledger.bytes_out = unsent.bytes_out;
                    if unsent.chunk.is_none() && request.length != BodyLength::None {
                        // Some of the body went out with the head, and is not held any more.
                        self.ledger.body_bytes_consumed = 1;
                    }
                    (unsent.failure, unsent.chunk)
                }
            };
            self.again(exchange, request, failure, chunk)?;
        }
    }

    /// Whether the body that was sent is still held, to be sent once more.
    pub(super) const fn holds_body(&self) -> bool {
        self.first.is_some()
    }

    /// Lets go of it.
    pub(super) const fn take_body(&mut self) -> Option<Chunk> {
        self.first.take()
    }

    /// After `failure`: where it decides, learns whether the endpoint has taken anything of the
    /// request.
    pub(super) async fn look_closer(
        &mut self,
        exchange: &Exchange<'_, N>,
        request: &Request<'_>,
        lease: &Lease<N>,
        failure: Failure,
    ) {
        let ended = failure.kind == Kind::Closed;
        let method = request.head.method;
        if ended && judge(&self.ledger, method, failure.stage) == Verdict::GiveUp {
            let untaken = Ledger { untaken: true, ..self.ledger };
            // It is of no use to know what changes nothing.
            self.ledger.untaken = judge(&untaken, method, failure.stage) == Verdict::Retry
                && Box::pin(lease.is_untaken(exchange.upload)).await;
        }
    }

    /// After `failure`: prepares another attempt, or says how the exchange ends.
    pub(super) fn again(
        &mut self,
        exchange: &Exchange<'_, N>,
        request: &Request<'_>,
        failure: Failure,
        chunk: Option<Chunk>,
    ) -> Result<(), End> {
        // A deadline that has passed is not extended by trying again.
        if failure.kind == Kind::Timeout && failure.stage != Stage::Connect {
            return Err(end_of(failure));
        }
        // What we are short of ourselves is not found at another endpoint.
        if failure.kind == Kind::Exhausted {
            return Err(end_of(failure));
        }
        if judge(&self.ledger, request.head.method, failure.stage) == Verdict::GiveUp {
            return Err(end_of(failure));
        }
        exchange.core.counters.retries.add(1);
        if let End::Reply(reason) = end_of(failure) {
            exchange.notes.retried_because.set(Some(reason));
        }
        self.pooled = !self.ledger.reused;
        self.first = chunk;
        Ok(())
    }

    async fn lease(&mut self, exchange: &Exchange<'_, N>) -> Result<Lease<N>, NoLease> {
        let upstream = exchange.snapshot.table().upstream(self.upstream);
        // Where there is a choice, another try goes to another endpoint: a dead pooled connection
        // may mean a dead endpoint.
        let exclude = self.tried.filter(|_| upstream.endpoints.len() > 1);
        let mut picked = self.slot.balance.borrow_mut().pick(&upstream.endpoints, exclude);
        let mut pooled = None;
        // Once more where the first has no connection left to lend.
        for again in [true, false] {
            let endpoint = picked.ok_or(NoLease::None(Reason::NoEndpoint))?;
            let pool = self.slot.pools.get(endpoint).ok_or(NoLease::None(Reason::NoEndpoint))?;
            self.tried = Some(endpoint);
            pooled = if self.pooled { pool.checkout(exchange.core) } else { None };
            if pooled.is_some() || pool.has_room() {
                break;
            }
            if !again || upstream.endpoints.len() == 1 {
                return Err(NoLease::None(Reason::PoolFull));
            }
            picked = self.slot.balance.borrow_mut().pick(&upstream.endpoints, Some(endpoint));
        }
        let endpoint = self.tried.ok_or(NoLease::None(Reason::NoEndpoint))?;
        let pool = self.slot.pools.get(endpoint).ok_or(NoLease::None(Reason::NoEndpoint))?;
        exchange.notes.endpoint.set(u32::try_from(endpoint).ok());
        let mut lease = match pooled {
            Some(lease) => lease,
            None => {
                // Rare beside requests, and large.
                let timeout = upstream.timeouts.connect;
                Box::pin(connect(exchange, pool, timeout)).await.map_err(NoLease::Failed)?
            }
        };
        let timeouts = &upstream.timeouts;
        lease.set_patience(micros(timeouts.first_byte), micros(timeouts.between_bytes));
        Ok(lease)
    }
}

/// A new connection. Where descriptors are short, idle ones are closed for it.
async fn connect<N: Net>(
    exchange: &Exchange<'_, N>,
    pool: &Rc<Pool<N>>,
    timeout: Duration,
) -> Result<Lease<N>, Failure> {
    let core = exchange.core;
    if !core.has_a_descriptor() {
        core.shed(true);
    }
    match pool.connect(core, exchange.upload, timeout).await {
        Err(Failure { kind: Kind::Exhausted, .. }) if core.shed(true) => {
            // Closing takes a turn.
            core.net.yield_now().await;
            pool.connect(core, exchange.upload, timeout).await
        }
        connected => connected,
    }
}
