//! Stages 6 and 7, select and connect: an endpoint of the upstream, and a connection to it.
//!
//! Where every pool is full, a call may wait in the upstream's queue for the next connection that
//! returns, or for the room of one that closes.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use engine::config::Limit;
use engine::stage::Stage;
use engine::time::Micros;

use super::call::Call;
use super::endpoint::EndpointSlot;
use super::label::EndpointId;
use super::lease::{Lease, Lent};
use super::outcome::Try;
use super::pool::{Counted, Handed, Offer};
use super::queue::OfferWish;
use super::tls::ClientTls;
use crate::failure::{Failure, Kind};
use crate::net::Net;
use crate::transport::Transport;

/// How often a call in a queue looks whether its requester still waits, in microseconds.
const LOOK_AROUND_MICROS: u64 = 400_000;

/// An endpoint, and its offer.
type Selected<N> = (Rc<EndpointSlot<N>>, Offer<N>);

impl<N: Net> Call<'_, N> {
    /// Leases a pooled connection of the endpoint whose turn it is: the way of nearly every request.
    /// `None` on a further try, and where that endpoint has no idle connection; then its offer is
    /// kept for [`Call::lease`], because its turn has passed.
    pub(super) fn lease_pooled(&mut self) -> Option<Lease<N>> {
        if !self.tried.is_empty() {
            return None;
        }
        let endpoint = self.pick(&[])?;
        match endpoint.pool.checkout(self.core) {
            Some(lent) => {
                let attempt = self.begin_try(endpoint, true);
                Some(self.lease_of(attempt, lent))
            }
            None => {
                self.picked = Some(endpoint);
                None
            }
        }
    }

    /// Selects an endpoint and leases a connection to it: a pooled one, or a new one. `still_waits`
    /// says whether the requester does; it is asked now and then.
    pub(super) async fn lease(
        &mut self,
        still_waits: &dyn Fn() -> bool,
    ) -> Result<Lease<N>, Failure> {
        let (endpoint, offer) = match self.select() {
            Err(Failure { kind: Kind::PoolFull, .. }) if self.slot.may_wait() => {
                self.wait(still_waits).await?
            }
            selected => selected?,
        };
        let attempt = self.begin_try(endpoint, offer.is_lent());
        let lent = match offer {
            Offer::Lent(lent) => lent,
            Offer::Room(counted) => {
                let lent = self.lend_new(attempt.endpoint(), counted).await;
                lent.inspect_err(|failure| attempt.failed(*failure))?
            }
            #[cfg(feature = "mux")]
            Offer::Follow => {
                let lent = self.follow(attempt.endpoint()).await;
                lent.inspect_err(|failure| attempt.failed(*failure))?
            }
        };
        Ok(self.lease_of(attempt, lent))
    }

    /// Begins a try at `endpoint`, on a `reused` connection or on a new one.
    fn begin_try(&mut self, endpoint: Rc<EndpointSlot<N>>, reused: bool) -> Try<N> {
        self.ledger.reused = reused;
        self.notes.reused.set(reused);
        self.notes.endpoint.replace(Some(Rc::clone(&endpoint.label)));
        let per_try = self.request.retry.per_try_timeout;
        if !per_try.is_off() {
            self.try_until = self.core.net.now().plus_micros(per_try.value().0);
        }
        Try::begin(endpoint, reused, self.core.net.now())
    }

    /// The endpoint for the request among those that are usable and not in `tried`.
    fn pick(&self, tried: &[EndpointId]) -> Option<Rc<EndpointSlot<N>>> {
        self.slot.pick(tried, self.request.affinity, self.core.net.now())
    }

    fn lease_of(&self, attempt: Try<N>, lent: Lent<N>) -> Lease<N> {
        let now = self.core.net.now();
        self.notes.connected_at.set(Some(now));
        attempt.connected(now);
        let mut lease = Lease::new(attempt, lent);
        let mut timeouts = self.request.timeouts;
        if !self.request.retry.per_try_timeout.is_off() {
            let left = self.try_until.micros_since(self.core.net.now());
            let first_byte = timeouts.first_byte.value().0.min(left);
            timeouts.first_byte = Limit::at(Micros(first_byte));
        }
        lease.set_patience(&timeouts, self.give_up_at);
        lease
    }

    /// An endpoint that has an idle connection, or room for another one.
    fn select(&mut self) -> Result<Selected<N>, Failure> {
        // Endpoints passed over because they may have no more connections.
        let mut full = Vec::new();
        loop {
            let picked = if let Some(endpoint) = self.picked.take() {
                Some(endpoint)
            } else if full.is_empty() {
                // First those not tried at all: a dead pooled connection may mean a dead endpoint.
                self.pick(&self.tried).or_else(|| self.pick(&self.tried_anew))
            } else {
                self.pick(&full)
            };
            let Some(endpoint) = picked else {
                let none = if full.is_empty() { Kind::NoEndpoint } else { Kind::PoolFull };
                return Err(Failure::endpoint(Stage::Select, none));
            };
            let pool = &endpoint.pool;
            // A shared connection that is dead is in no pool: its neighbours may be used.
            #[cfg(feature = "mux")]
            let may_pool = self.pooled || self.core.mux.endpoints.get();
            #[cfg(not(feature = "mux"))]
            let may_pool = self.pooled;
            let pooled = if may_pool { pool.checkout(self.core) } else { None };
            if let Some(lent) = pooled {
                return Ok((endpoint, Offer::Lent(lent)));
            }
            #[cfg(feature = "mux")]
            if pool.may_follow() {
                return Ok((endpoint, Offer::Follow));
            }
            if let Some(counted) = pool.room(!self.pooled) {
                return Ok((endpoint, Offer::Room(counted)));
            }
            if full.is_empty() {
                full.clone_from(&self.tried_anew);
            }
            full.push(endpoint.label.id);
        }
    }

    /// Waits in the queue of the upstream for an offer, for as long as the queue allows.
    async fn wait(&self, still_waits: &dyn Fn() -> bool) -> Result<Selected<N>, Failure> {
        let (core, slot, deadline) = (self.core, self.slot, self.upload);
        let full_at = core.net.now().plus_micros(slot.queue_micros());
        let give_up_at = full_at.min(self.give_up_at);
        let look_around = || {
            let now = core.net.now();
            deadline.arm(now, give_up_at.micros_since(now).min(LOOK_AROUND_MICROS));
        };
        // An offer that comes when the call has given up goes to the next one that waits.
        let put_back = |(_, offer): Handed<N>| match offer {
            Offer::Lent(lent) => lent.put_back(core.net.now()),
            Offer::Room(counted) => drop(counted),
            #[cfg(feature = "mux")]
            Offer::Follow => {}
        };
        let wish = OfferWish { avoid: self.tried_anew.clone(), only_new: !self.pooled };
        let place = slot.queue.enter(wish, put_back);
        look_around();
        let waited = poll_fn(|cx| {
            while let Poll::Ready((id, offer)) = place.poll(cx) {
                let Some(endpoint) = slot.find(id) else { continue };
                match &offer {
                    // It has closed meanwhile. The room that it leaves comes to this call.
                    Offer::Lent(lent) if !lent.is_fit() => continue,
                    Offer::Lent(_) => core.counters.endpoint_reused.add(1),
                    Offer::Room(_) => {}
                    #[cfg(feature = "mux")]
                    Offer::Follow => {}
                }
                return Poll::Ready(Ok((endpoint, offer)));
            }
            if !deadline.poll_fired(cx) {
                return Poll::Pending;
            }
            let failed = |kind| Poll::Ready(Err(Failure::endpoint(Stage::Select, kind)));
            if !still_waits() {
                return failed(Kind::Abandoned);
            }
            // The endpoints that it waits for may be gone or draining by now. Then the last try decides.
            if !slot.has_others_than(&self.tried_anew) {
                let last = self.notes.failure.get();
                return last
                    .map_or_else(|| failed(Kind::NoEndpoint), |last| Poll::Ready(Err(last)));
            }
            match core.net.now() {
                now if now >= self.give_up_at => return failed(Kind::TotalTimeout),
                now if now >= full_at => return failed(Kind::PoolFull),
                _ => {}
            }
            look_around();
            Poll::Pending
        })
        .await;
        deadline.clear();
        waited
    }

    /// A new connection, in the room of `counted`.
    async fn lend_new(
        &self,
        endpoint: &EndpointSlot<N>,
        counted: Counted<N>,
    ) -> Result<Lent<N>, Failure> {
        #[cfg(feature = "mux")]
        if self.core.mux.endpoints.get() {
            return Box::pin(self.lead(endpoint, counted)).await;
        }
        let stream = self.connect(endpoint).await?;
        let transport = match self.slot.tls() {
            None => Transport::Plain(stream),
            // Once per connection, and large.
            Some(tls) => Box::pin(self.secure(endpoint, &tls, stream)).await?,
        };
        Ok(endpoint.pool.lend(self.core, transport, counted))
    }

    /// Does the TLS handshake on a new connection, which may take as long as the connect.
    async fn secure(
        &self,
        endpoint: &EndpointSlot<N>,
        tls: &ClientTls,
        stream: N::Stream,
    ) -> Result<Transport<N>, Failure> {
        let core = self.core;
        let left = self.give_up_at.min(self.try_until).micros_since(core.net.now());
        let timeout = Micros(self.request.timeouts.connect.0.min(left));
        let address = &endpoint.label.address;
        tls.secure(core, stream, address, self.upload, timeout).await
    }

    /// Connects to an endpoint. Where descriptors are short, idle connections close for it.
    pub(super) async fn connect(&self, endpoint: &EndpointSlot<N>) -> Result<N::Stream, Failure> {
        let (core, pool) = (self.core, &endpoint.pool);
        let left = self.give_up_at.min(self.try_until).micros_since(core.net.now());
        let timeout = Micros(self.request.timeouts.connect.0.min(left));
        if !core.has_descriptors() {
            self.shed.for_endpoint();
        }
        let connected = match pool.connect(core, self.upload, timeout).await {
            Err(Failure { kind: Kind::Exhausted, .. }) if self.shed.for_endpoint() => {
                // Closing takes a turn.
                core.net.yield_now().await;
                pool.connect(core, self.upload, timeout).await
            }
            connected => connected,
        };
        connected.map_err(|failure| match failure.kind {
            Kind::Timeout if core.net.now() >= self.give_up_at => {
                Failure::endpoint(Stage::Connect, Kind::TotalTimeout)
            }
            _ => failure,
        })
    }
}
