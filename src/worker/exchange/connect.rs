//! Stages 6 to 8, select, connect and forward: an endpoint, a connection to it, the request on it;
//! and whether to try again.

use std::rc::Rc;

use engine::reason::Reason;
use engine::retry::{Ledger, Verdict, judge};
use engine::snapshot::UpstreamId;
use engine::stage::Stage;
use engine::time::Micros;
use proto::head::BodySize;

use super::{End, Exchange, Request, end_of};
use crate::failure::{Failure, Kind};
use crate::net::Net;
use crate::net::buffer::Size;
use crate::side::{Chunk, EndpointSide, RequestSink, empty};
use crate::upstream::{EndpointId, Lease, Pool, UpstreamSlot};

/// The attempts of one exchange to get its request to an endpoint.
pub(super) struct Attempts<N: Net> {
    /// What the retry is judged from.
    pub(super) ledger: Ledger,
    slot: Rc<UpstreamSlot<N>>,
    upstream: UpstreamId,
    /// The endpoints tried, and those of them that were tried on a new connection. An endpoint whose
    /// pooled connection turned out dead may be tried once more, after all others. Empty vectors
    /// cost nothing: a first try does not fill them.
    tried: Vec<EndpointId>,
    tried_anew: Vec<EndpointId>,
    /// The endpoint of the try that runs.
    endpoint: Option<EndpointId>,
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
        let slot = exchange.snapshot.upstream(upstream);
        let slot = Rc::clone(slot.ok_or(End::Reply(Reason::NoEndpoint))?);
        Ok(Self {
            ledger: Ledger::default(),
            slot,
            upstream,
            tried: Vec::new(),
            tried_anew: Vec::new(),
            endpoint: None,
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
            self.ledger.begin_try();
            exchange.notes.tries.set(u8::try_from(self.ledger.tries).unwrap_or(u8::MAX));
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
                    let unsent = match sink.head(request.head, request.size, first).await {
                        Ok(held) => {
                            self.ledger.bytes_out = 1;
                            self.first = held;
                            return Ok(lease);
                        }
                        Err(unsent) => unsent,
                    };
                    self.ledger.bytes_out = unsent.bytes_out;
                    if unsent.chunk.is_none() && request.size != BodySize::None {
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
        self.remember_endpoint();
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
        self.remember_endpoint();
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

    /// Remembers the endpoint of a try that failed, and whether one is left to try.
    fn remember_endpoint(&mut self) {
        let Some(endpoint) = self.endpoint else { return };
        let remember = |among: &mut Vec<EndpointId>| {
            if !among.contains(&endpoint) {
                among.push(endpoint);
            }
        };
        remember(&mut self.tried);
        if !self.ledger.reused {
            remember(&mut self.tried_anew);
        }
        self.ledger.endpoint_left = self.slot.has_others_than(&self.tried_anew);
    }

    /// Selects an endpoint and leases a connection to it: a pooled one, or a new one.
    async fn lease(&mut self, exchange: &Exchange<'_, N>) -> Result<Lease<N>, NoLease> {
        let upstream = exchange.snapshot.table().upstream(self.upstream);
        // Endpoints passed over because they may have no more connections.
        let mut full = Vec::new();
        let (endpoint, pooled) = loop {
            let picked = if full.is_empty() {
                // First those not tried at all: a dead pooled connection may mean a dead endpoint.
                let picked = self.slot.pick(&self.tried);
                picked.or_else(|| self.slot.pick(&self.tried_anew))
            } else {
                self.slot.pick(&full)
            };
            let Some(endpoint) = picked else {
                let none = if full.is_empty() { Reason::NoEndpoint } else { Reason::PoolFull };
                return Err(NoLease::None(none));
            };
            let pool = &endpoint.pool;
            let pooled = if self.pooled { pool.checkout(exchange.core) } else { None };
            if pooled.is_some() || pool.has_room() {
                break (endpoint, pooled);
            }
            if full.is_empty() {
                full.clone_from(&self.tried_anew);
            }
            full.push(endpoint.label.id);
        };
        self.endpoint = Some(endpoint.label.id);
        exchange.notes.endpoint.replace(Some(Rc::clone(&endpoint.label)));
        let mut lease = match pooled {
            Some(lease) => lease,
            None => {
                // Rare beside requests, and large.
                let timeout = upstream.timeouts.connect;
                Box::pin(connect(exchange, &endpoint.pool, timeout))
                    .await
                    .map_err(NoLease::Failed)?
            }
        };
        let timeouts = &upstream.timeouts;
        lease.set_patience(timeouts.first_byte.value().0, timeouts.between_bytes.value().0);
        Ok(lease)
    }
}

/// A new connection. Where descriptors are short, idle ones are closed for it.
async fn connect<N: Net>(
    exchange: &Exchange<'_, N>,
    pool: &Rc<Pool<N>>,
    timeout: Micros,
) -> Result<Lease<N>, Failure> {
    let core = exchange.core;
    if !core.has_a_descriptor() {
        exchange.state.shed(true);
    }
    match pool.connect(core, exchange.upload, timeout).await {
        Err(Failure { kind: Kind::Exhausted, .. }) if exchange.state.shed(true) => {
            // Closing takes a turn.
            core.net.yield_now().await;
            pool.connect(core, exchange.upload, timeout).await
        }
        connected => connected,
    }
}
