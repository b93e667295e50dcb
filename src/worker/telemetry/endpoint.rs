//! The counts of tries at one endpoint, on one core.
//!
//! Each try ends once: with an answer, with a failure, or given up for reasons that say nothing
//! about the endpoint.

use std::cell::Cell;
use std::io;

use engine::retry::RetryCause;
use engine::stage::Stage;

use super::metric::metrics;
use crate::failure::{Failure, Kind};

metrics! {
    /// A core's counts of one endpoint.
    pub cells EndpointCounters;
    /// Counts of one endpoint, since a report or added up.
    pub numbers EndpointCounts;
    pub rows ENDPOINT;

    "ringway_upstream_requests_total" by Endpoint
    "Tries to get a response from an endpoint, by their end: the class of the status that came, or the failure; abandoned: the gateway gave up for another reason, mostly because the client had gone" {
        responses_1xx [result = "1xx"],
        responses_2xx [result = "2xx"],
        responses_3xx [result = "3xx"],
        responses_4xx [result = "4xx"],
        responses_5xx [result = "5xx"],
        responses_other [result = "other"],
        connect_failures [result = "connect_failure"],
        resets [result = "reset"],
        timeouts [result = "timeout"],
        violations [result = "violation"],
        abandoned [result = "abandoned"],
    }

    "ringway_upstream_connect_failures_total" by Endpoint
    "Connections to an endpoint that could not be made; tls: the TLS handshake failed; no_socket: there is no Unix socket of that name" {
        connects_refused [kind = "refused"],
        connects_timed_out [kind = "timeout"],
        connects_unreachable [kind = "unreachable"],
        connects_without_socket [kind = "no_socket"],
        connects_reset [kind = "reset"],
        connects_without_tls [kind = "tls"],
        connects_failed_otherwise [kind = "other"],
    }

    "ringway_endpoint_ejections_total" by Endpoint
    "Ejections: a core sends an endpoint no requests for a while, because tries have failed" { ejections }

    "ringway_upstream_retries_total" by Upstream
    "Further tries of a request, by the cause, as in retry.on: no endpoint took it (connect_failure, refused_stream), a pooled connection turned out dead, the connection ended without an answer, the endpoint did not answer in time, or with a status that retry.on names" {
        retries_connect_failure [cause = "connect_failure"],
        retries_refused_stream [cause = "refused_stream"],
        retries_stale_connection [cause = "stale_connection"],
        retries_reset [cause = "reset"],
        retries_timeout [cause = "timeout"],
        retries_status [cause = "status"],
    }

    "ringway_upstream_retries_over_budget_total" by Upstream
    "Tries that did not follow because retry.budget was used up" { retries_over_budget }
}

impl EndpointCounts {
    /// Tries that ended.
    #[must_use]
    pub const fn tries(&self) -> u64 {
        self.responses_1xx
            + self.responses_2xx
            + self.responses_3xx
            + self.responses_4xx
            + self.responses_5xx
            + self.responses_other
            + self.failed()
            + self.abandoned
    }

    /// Tries that the endpoint failed.
    #[must_use]
    pub const fn failed(&self) -> u64 {
        self.connect_failures + self.resets + self.timeouts + self.violations
    }
}

/// The tries at one endpoint: counts since the last report, and the last failure.
#[derive(Debug, Default)]
pub struct EndpointTally {
    counters: EndpointCounters,
    last_failure: Cell<Option<Failure>>,
}

impl EndpointTally {
    /// A try has ended with a response of this status.
    pub fn answered(&self, status: u16) {
        let counters = &self.counters;
        match status / 100 {
            1 => counters.responses_1xx.add(1),
            2 => counters.responses_2xx.add(1),
            3 => counters.responses_3xx.add(1),
            4 => counters.responses_4xx.add(1),
            5 => counters.responses_5xx.add(1),
            _ => counters.responses_other.add(1),
        }
    }

    /// A try has ended with a failure of the endpoint.
    #[cold]
    pub fn failed(&self, failure: Failure) {
        self.last_failure.set(Some(failure));
        let counters = &self.counters;
        if failure.stage == Stage::Connect {
            counters.connect_failures.add(1);
            return self.connect_counter(failure.kind).add(1);
        }
        match failure.kind {
            Kind::Timeout => counters.timeouts.add(1),
            Kind::Violation(_) | Kind::HeadTooLarge => counters.violations.add(1),
            _ => counters.resets.add(1),
        }
    }

    /// A try was given up for a reason that says nothing about the endpoint.
    #[cold]
    pub fn abandoned(&self) {
        self.counters.abandoned.add(1);
    }

    /// The endpoint gets no requests for a while.
    #[cold]
    pub fn ejected(&self) {
        self.counters.ejections.add(1);
    }

    /// The request of a failed try goes on to another try.
    #[cold]
    pub fn retried(&self, cause: RetryCause) {
        let counters = &self.counters;
        match cause {
            RetryCause::ConnectFailure => counters.retries_connect_failure.add(1),
            RetryCause::RefusedStream => counters.retries_refused_stream.add(1),
            RetryCause::StaleConnection => counters.retries_stale_connection.add(1),
            RetryCause::Reset => counters.retries_reset.add(1),
            RetryCause::Timeout => counters.retries_timeout.add(1),
            RetryCause::Status => counters.retries_status.add(1),
        }
    }

    /// The request of a failed try would have gone on to another try, but for the budget.
    #[cold]
    pub fn over_budget(&self) {
        self.counters.retries_over_budget.add(1);
    }

    /// Takes out the counts and the last failure since the last call.
    pub fn take(&self) -> (EndpointCounts, Option<Failure>) {
        (self.counters.take(), self.last_failure.take())
    }

    /// Whether nothing was counted since the last report.
    #[must_use]
    pub fn is_reported(&self) -> bool {
        self.counters.totals() == EndpointCounts::default()
    }

    fn connect_counter(&self, kind: Kind) -> &super::Counter {
        let counters = &self.counters;
        let error = match kind {
            Kind::Tls(_) => return &counters.connects_without_tls,
            Kind::Timeout => io::ErrorKind::TimedOut,
            Kind::Broken(errno) => io::Error::from_raw_os_error(errno).kind(),
            _ => io::ErrorKind::Other,
        };
        match error {
            io::ErrorKind::ConnectionRefused => &counters.connects_refused,
            io::ErrorKind::TimedOut => &counters.connects_timed_out,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                &counters.connects_unreachable
            }
            io::ErrorKind::NotFound => &counters.connects_without_socket,
            io::ErrorKind::ConnectionReset => &counters.connects_reset,
            _ => &counters.connects_failed_otherwise,
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::violation::Violation;

    use super::*;

    #[test]
    fn each_end_of_a_try_is_counted_once() {
        let tally = EndpointTally::default();
        [101, 200, 204, 302, 404, 503, 999].iter().for_each(|&status| tally.answered(status));
        tally.failed(Failure::endpoint(Stage::Respond, Kind::Timeout));
        tally.failed(Failure::endpoint(Stage::Respond, Kind::Closed));
        tally.failed(Failure::endpoint(Stage::Respond, Violation::ChunkSize.into()));
        let refused = io::Error::from_raw_os_error(111);
        let last = Failure::endpoint(Stage::Connect, refused.into());
        tally.failed(last);
        tally.retried(RetryCause::ConnectFailure);
        tally.abandoned();
        let (counts, failure) = tally.take();
        assert_eq!((counts.tries(), counts.failed(), failure), (12, 4, Some(last)));
        assert_eq!((counts.responses_2xx, counts.responses_other), (2, 1));
        assert_eq!((counts.connect_failures, counts.connects_refused), (1, 1));
        assert_eq!(counts.retries_connect_failure, 1);
        assert!(tally.is_reported());
        assert_eq!(tally.take(), (EndpointCounts::default(), None));
    }
}
