//! Stages 6 and 7, select and connect: an endpoint of the upstream, and a connection to it.

use std::rc::Rc;

use engine::stage::Stage;

use super::call::Call;
use super::endpoint::EndpointSlot;
use super::lease::{Lease, Lent};
use super::outcome::Try;
use crate::failure::{Failure, Kind};
use crate::net::Net;

impl<N: Net> Call<'_, N> {
    /// Selects an endpoint and leases a connection to it: a pooled one, or a new one.
    pub(super) async fn lease(&mut self) -> Result<Lease<N>, Failure> {
        let (endpoint, pooled) = self.select()?;
        self.ledger.reused = pooled.is_some();
        self.notes.reused.set(self.ledger.reused);
        self.notes.endpoint.replace(Some(Rc::clone(&endpoint.label)));
        let attempt = Try::begin(endpoint);
        let lent = match pooled {
            Some(lent) => lent,
            None => {
                // Rare beside requests, and large.
                match Box::pin(self.connect(attempt.endpoint())).await {
                    Ok(lent) => lent,
                    Err(failure) => {
                        attempt.failed(failure);
                        return Err(failure);
                    }
                }
            }
        };
        self.notes.connected_at.set(Some(self.core.net.now()));
        let mut lease = Lease::new(attempt, lent);
        let timeouts = &self.settings.timeouts;
        lease.set_patience(timeouts.first_byte.value().0, timeouts.between_bytes.value().0);
        Ok(lease)
    }

    /// An endpoint that has an idle connection or may have another one; the idle connection.
    #[expect(clippy::type_complexity, reason = "the pair is taken apart by its one caller")]
    fn select(&self) -> Result<(Rc<EndpointSlot<N>>, Option<Lent<N>>), Failure> {
        // Endpoints passed over because they may have no more connections.
        let mut full = Vec::new();
        loop {
            let picked = if full.is_empty() {
                // First those not tried at all: a dead pooled connection may mean a dead endpoint.
                self.slot.pick(&self.tried).or_else(|| self.slot.pick(&self.tried_anew))
            } else {
                self.slot.pick(&full)
            };
            let Some(endpoint) = picked else {
                let none = if full.is_empty() { Kind::NoEndpoint } else { Kind::PoolFull };
                return Err(Failure::endpoint(Stage::Select, none));
            };
            let pooled = if self.pooled { endpoint.pool.checkout(self.core) } else { None };
            if pooled.is_some() || endpoint.pool.has_room() {
                return Ok((endpoint, pooled));
            }
            if full.is_empty() {
                full.clone_from(&self.tried_anew);
            }
            full.push(endpoint.label.id);
        }
    }

    /// A new connection. Where descriptors are short, idle ones close for it.
    async fn connect(&self, endpoint: &EndpointSlot<N>) -> Result<Lent<N>, Failure> {
        let (core, pool, timeout) = (self.core, &endpoint.pool, self.settings.timeouts.connect);
        if !core.has_a_descriptor() {
            self.shed.for_endpoint();
        }
        match pool.connect(core, self.upload, timeout).await {
            Err(Failure { kind: Kind::Exhausted, .. }) if self.shed.for_endpoint() => {
                // Closing takes a turn.
                core.net.yield_now().await;
                pool.connect(core, self.upload, timeout).await
            }
            connected => connected,
        }
    }
}
