//! Failures of endpoints in the process log, at a bounded rate.
//!
//! A line says how many tries failed since the last line about the same endpoint, so nothing is
//! hidden where lines are left out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use worker::failure::Failure;
use worker::telemetry::report::CoreBlock;

use super::cause;

/// At most one line about an endpoint in this time.
const EVERY: Duration = Duration::from_secs(10);

/// Lines about all endpoints in [`EVERY`], at most. Who reads more of them at once?
const LINES_MAX: usize = 20;

/// Endpoints that are remembered, at most. Failures of others wait until there is room.
const ENDPOINTS_MAX: usize = 1024;

/// The endpoints that have failed lately.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// By upstream and endpoint.
    endpoints: HashMap<(String, String), Pending>,
    /// When the last lines were written, the oldest first.
    written: std::collections::VecDeque<Instant>,
}

/// Failures that no line has told yet.
#[derive(Debug)]
struct Pending {
    count: u64,
    last: Option<Failure>,
    since: Instant,
    written: Option<Instant>,
}

impl Failures {
    /// Takes in the report of a core, and gives `write` the lines that are due.
    pub(crate) fn take_in(
        &mut self,
        report: &CoreBlock,
        now: Instant,
        mut write: impl FnMut(&str),
    ) {
        for block in report.endpoints.iter() {
            let Some(failure) = block.numbers.last_failure else { continue };
            let key = (block.upstream.clone(), block.endpoint.clone());
            if self.endpoints.len() >= ENDPOINTS_MAX && !self.endpoints.contains_key(&key) {
                continue;
            }
            let pending = self.endpoints.entry(key).or_insert(Pending {
                count: 0,
                last: None,
                since: now,
                written: None,
            });
            if pending.count == 0 {
                pending.since = now;
            }
            pending.count += block.numbers.counts.failed();
            pending.last = Some(failure);
        }
        while self.written.front().is_some_and(|&at| now.duration_since(at) >= EVERY) {
            self.written.pop_front();
        }
        self.endpoints.retain(|(upstream, endpoint), pending| {
            let may_write = pending.written.is_none_or(|at| now.duration_since(at) >= EVERY);
            let Some(failure) = pending.last.filter(|_| may_write) else {
                // An endpoint that has not failed since its last line is forgotten.
                return !may_write;
            };
            if self.written.len() < LINES_MAX {
                self.written.push_back(now);
                let tries = if pending.count == 1 { "try" } else { "tries" };
                let seconds = now.duration_since(pending.since).as_secs();
                let within = if seconds > 1 { format!(" in {seconds} s") } else { String::new() };
                write(&format!(
                    "upstream {upstream}: {} {tries} at endpoint {endpoint} failed{within}, the \
                     last one: {}",
                    pending.count,
                    cause::of_failure(&failure)
                ));
                *pending = Pending { count: 0, last: None, since: now, written: Some(now) };
            }
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use engine::stage::Stage;
    use worker::failure::Kind;
    use worker::telemetry::endpoint::EndpointCounts;
    use worker::telemetry::report::EndpointNumbers;

    use super::*;

    fn report(endpoint: &str, resets: u64) -> CoreBlock {
        let mut block = CoreBlock::default();
        let numbers = EndpointNumbers {
            counts: EndpointCounts { resets, ..EndpointCounts::default() },
            last_failure: (resets > 0).then(|| Failure::endpoint(Stage::Respond, Kind::Closed)),
            ..EndpointNumbers::default()
        };
        block.endpoints.add(|it| it.set("app", endpoint, numbers));
        block
    }

    #[test]
    fn the_first_failure_is_told_at_once_and_the_others_later_with_their_number() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        let mut lines = Vec::new();
        for second in 0..25 {
            let now = start + Duration::from_secs(second);
            failures.take_in(&report("a:1", 3), now, |line| lines.push((second, line.to_owned())));
        }
        let times: Vec<_> = lines.iter().map(|(second, _)| *second).collect();
        assert_eq!(times, [0, 10, 20]);
        let text = "upstream app: 3 tries at endpoint a:1 failed, the last one: respond: connection \
                    closed too early";
        assert_eq!(lines[0].1, text);
        assert!(
            lines[1].1.contains(": 30 tries at endpoint a:1 failed in 9 s, "),
            "{}",
            lines[1].1
        );
    }

    #[test]
    fn many_endpoints_get_few_lines_and_none_is_forgotten() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        let mut lines = 0;
        for endpoint in 0..50 {
            failures.take_in(&report(&endpoint.to_string(), 1), start, |_| lines += 1);
        }
        assert_eq!(lines, LINES_MAX);
        for round in 1..3 {
            failures.take_in(&report("x", 0), start + round * EVERY, |_| lines += 1);
        }
        assert_eq!((lines, failures.endpoints.len()), (50, 10));
        failures.take_in(&report("x", 0), start + 3 * EVERY, |_| lines += 1);
        assert_eq!((lines, failures.endpoints.len()), (50, 0));
    }
}
