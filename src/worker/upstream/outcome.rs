//! The end of a try.
//!
//! A try begins when an endpoint was selected for a request and ends in exactly one [`TryOutcome`],
//! also when its future is dropped or panics. This is the one place that learns how endpoints do:
//! it counts the tries in flight and their outcomes.

use std::cell::Cell;
use std::rc::Rc;

use engine::balance::Latency;
use engine::health::{Ticket, TryResult};
use engine::stage::Stage;
use engine::time::Instant;

use super::endpoint::EndpointSlot;
use crate::failure::{Failure, Kind, Side};
use crate::net::Net;
use crate::telemetry::endpoint::EndpointTally;

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryOutcome {
    /// The endpoint sent a final head with this status, and did not fail afterwards.
    Answered(u16),
    /// The endpoint failed: no connection, a reset, nonsense, or silence.
    Failed(Failure),
    /// The gateway gave the try up for reasons that say nothing about the endpoint: the client left,
    /// or the gateway was short of something.
    Abandoned,
}

/// A try that runs. Dropping it ends it, with the outcome known by then.
#[derive(Debug)]
pub struct Try<N: Net> {
    endpoint: Rc<EndpointSlot<N>>,
    /// When it began, or when it had its connection.
    began: Cell<Instant>,
    outcome: Cell<TryOutcome>,
    ticket: Ticket,
    /// Its connection has carried another request: it may have been dead before.
    reused: bool,
    /// The result that its endpoint is judged by, until it was told.
    result: Cell<Option<TryResult>>,
}

impl<N: Net> Try<N> {
    /// Begins a try at `endpoint`, on a `reused` connection or on a new one.
    #[must_use]
    pub fn begin(endpoint: Rc<EndpointSlot<N>>, reused: bool, now: Instant) -> Self {
        endpoint.tries.begin();
        let ticket = endpoint.health.begin();
        let (outcome, result) = (Cell::new(TryOutcome::Abandoned), Cell::new(None));
        Self { endpoint, began: Cell::new(now), outcome, ticket, reused, result }
    }

    /// The endpoint that is tried.
    #[must_use]
    pub const fn endpoint(&self) -> &Rc<EndpointSlot<N>> {
        &self.endpoint
    }

    /// It has its connection. The time until then says little about the next request, which finds
    /// the connection in the pool.
    pub(super) fn connected(&self, now: Instant) {
        self.began.set(now);
    }

    /// The endpoint has sent its final head.
    pub fn answered(&self, status: u16, now: Instant) {
        self.outcome.set(TryOutcome::Answered(status));
        let result = if is_failure(status) { TryResult::Bad } else { TryResult::Good };
        if self.ticket.is_trial {
            // A response may take hours: the endpoint does not wait for its end.
            self.tell(result);
        } else {
            self.result.set(Some(result));
        }
        self.endpoint.tries.measure(|latency| {
            latency.answered(now.micros_since(self.began.get()), now);
        });
    }

    /// An operation of the try has failed.
    pub fn failed(&self, failure: Failure) {
        // An endpoint that has answered does not get worse because its client leaves.
        if failure.side != Side::Endpoint || !failure.blames_endpoint() {
            return;
        }
        let is_first = self.outcome.get() == TryOutcome::Abandoned;
        let neutral = match failure.kind {
            // An endpoint may close a connection that is idle. It is judged by the next one.
            Kind::Closed | Kind::Broken(_) => self.reused && is_first,
            // A client that sends or reads slowly has used up the time.
            Kind::TotalTimeout => !is_first || failure.stage == Stage::Forward,
            _ => false,
        };
        self.result.set(Some(if neutral { TryResult::Neutral } else { TryResult::Bad }));
        self.outcome.set(TryOutcome::Failed(failure));
    }

    fn tell(&self, result: TryResult) {
        if self.endpoint.health.end(self.ticket, result) {
            self.endpoint.tries.tally.ejected();
        }
    }
}

impl<N: Net> Drop for Try<N> {
    fn drop(&mut self) {
        self.tell(self.result.get().unwrap_or(TryResult::Neutral));
        let outcome = self.outcome.get();
        if let TryOutcome::Failed(_) = outcome {
            self.endpoint.tries.measure(|latency| latency.failed(self.began.get()));
        }
        self.endpoint.tries.end(outcome);
    }
}

/// Whether an endpoint that answers with this status fails: it, or another gateway in front of it,
/// cannot serve. A 500 is the failure of one request.
const fn is_failure(status: u16) -> bool {
    matches!(status, 502..=504)
}

/// The tries at one endpoint.
#[derive(Debug, Default)]
pub struct Tries {
    in_flight: Cell<u32>,
    tally: EndpointTally,
    /// How slow the endpoint is, where requests are balanced by that.
    latency: Cell<Option<Latency>>,
}

impl Tries {
    fn begin(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    fn end(&self, outcome: TryOutcome) {
        self.in_flight.set(self.in_flight.get() - 1);
        match outcome {
            TryOutcome::Answered(status) => self.tally.answered(status),
            TryOutcome::Failed(failure) => self.tally.failed(failure),
            TryOutcome::Abandoned => self.tally.abandoned(),
        }
    }

    fn measure(&self, measure: impl FnOnce(&mut Latency)) {
        if let Some(mut latency) = self.latency.get() {
            measure(&mut latency);
            self.latency.set(Some(latency));
        }
    }

    /// Says whether latencies are measured from now on.
    pub(super) fn set_measures(&self, measures: bool) {
        self.latency.set(measures.then(|| self.latency.get().unwrap_or_default()));
    }

    /// How slow the endpoint is: see [`Latency::value`].
    pub(super) fn latency(&self, now: Instant) -> Option<f64> {
        self.latency.get()?.value(now)
    }

    /// Tries that run now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    /// The counts of those that have ended.
    #[must_use]
    pub const fn tally(&self) -> &EndpointTally {
        &self.tally
    }
}
