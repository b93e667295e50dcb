//! The end of a try.
//!
//! A try begins when an endpoint was selected for a request and ends in exactly one [`TryOutcome`],
//! also when its future is dropped or panics. This is the one place that learns how endpoints do:
//! it counts the tries in flight and their outcomes.

use std::cell::Cell;
use std::rc::Rc;

use super::endpoint::EndpointSlot;
use crate::failure::{Failure, Side};
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
    outcome: Cell<TryOutcome>,
}

impl<N: Net> Try<N> {
    /// Begins a try at `endpoint`.
    #[must_use]
    pub fn begin(endpoint: Rc<EndpointSlot<N>>) -> Self {
        endpoint.tries.begin();
        Self { endpoint, outcome: Cell::new(TryOutcome::Abandoned) }
    }

    /// The endpoint that is tried.
    #[must_use]
    pub const fn endpoint(&self) -> &Rc<EndpointSlot<N>> {
        &self.endpoint
    }

    /// The endpoint has sent its final head.
    pub fn answered(&self, status: u16) {
        self.outcome.set(TryOutcome::Answered(status));
    }

    /// An operation of the try has failed.
    pub fn failed(&self, failure: Failure) {
        self.outcome.set(match failure.side {
            Side::Endpoint if failure.blames_endpoint() => TryOutcome::Failed(failure),
            // An endpoint that has answered does not get worse because its client leaves.
            _ => return,
        });
    }
}

impl<N: Net> Drop for Try<N> {
    fn drop(&mut self) {
        self.endpoint.tries.end(self.outcome.get());
    }
}

/// The tries at one endpoint.
#[derive(Debug, Default)]
pub struct Tries {
    in_flight: Cell<u32>,
    tally: EndpointTally,
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
