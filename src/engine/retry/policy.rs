//! The rules of an upstream about retries, as the configuration writes them.

use super::RetryCause;
use crate::config::{Retry, RetryMethods, RetryOn, RetryWord, TriesMax};
use crate::keys::{Fraction, Limit};
use crate::mix::mix;
use crate::time::{Instant, Micros};

/// The longest pause before a try at an endpoint that was tried already, unless the configuration
/// begins with a longer one.
const BACK_OFF_MAX: Micros = Micros::secs(1);

/// When a request goes to another try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    causes: u8,
    statuses: Statuses,
    /// `None`: one at each endpoint.
    pub(super) tries_max: Option<u32>,
    pub(super) any_method: bool,
    /// Retries by some causes, as a share of the requests.
    pub budget: Limit<Fraction>,
    /// For one try, up to the head of its response.
    pub per_try_timeout: Limit<Micros>,
    back_off: Micros,
    /// How long a body may be that is sent again.
    pub body_bytes_max: usize,
}

impl Policy {
    /// The policy that `written` describes.
    #[must_use]
    pub fn new(written: &Retry) -> Self {
        let (mut causes, mut statuses) = (0, Statuses::default());
        for cause in &written.on {
            match cause {
                RetryOn::Word(word) => causes |= bit(RetryCause::of(*word)),
                RetryOn::Status(range) => (range.first..=range.last).for_each(|it| {
                    causes |= bit(RetryCause::Status);
                    statuses.add(it);
                }),
            }
        }
        Self {
            causes,
            statuses,
            tries_max: match written.tries_max {
                TriesMax::All => None,
                TriesMax::Count(count) => Some(count),
            },
            any_method: written.methods == RetryMethods::Any,
            budget: written.budget,
            per_try_timeout: written.per_try_timeout,
            back_off: written.back_off,
            body_bytes_max: written.body_bytes_max.in_memory(),
        }
    }

    /// Whether this is a cause of another try.
    #[must_use]
    pub const fn has(&self, cause: RetryCause) -> bool {
        self.causes & bit(cause) != 0
    }

    /// Whether a response with this status is a cause of another try.
    #[must_use]
    pub fn has_status(&self, status: u16) -> bool {
        self.has(RetryCause::Status) && self.statuses.has(status)
    }

    /// Whether a request may be sent again after an endpoint took it whole on a new connection: then
    /// its body is kept.
    #[must_use]
    pub const fn keeps_bodies(&self) -> bool {
        const KEEP: u8 =
            bit(RetryCause::Reset) | bit(RetryCause::Timeout) | bit(RetryCause::Status);
        self.causes & KEEP != 0
    }

    /// Whether there are causes that need a budget.
    #[must_use]
    pub const fn has_budgeted_causes(&self) -> bool {
        // The causes for which bodies are kept are those that give an endpoint more load.
        self.keeps_bodies()
    }

    /// The pause before tries at endpoints that were all tried `rounds` times, at least 1. Half of it
    /// is random: requests that failed together do not come back together.
    #[must_use]
    pub fn back_off(&self, rounds: u32, seed: u64, now: Instant) -> Micros {
        let Self { back_off: Micros(first), .. } = *self;
        let longest = BACK_OFF_MAX.0.max(first);
        let doubled = first.saturating_mul(1 << rounds.saturating_sub(1).min(16)).min(longest);
        Micros(doubled / 2 + mix(seed ^ now.0) % (doubled / 2).max(1))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new(&Retry::default())
    }
}

impl RetryCause {
    const fn of(word: RetryWord) -> Self {
        match word {
            RetryWord::ConnectFailure => Self::ConnectFailure,
            RetryWord::RefusedStream => Self::RefusedStream,
            RetryWord::StaleConnection => Self::StaleConnection,
            RetryWord::Reset => Self::Reset,
            RetryWord::Timeout => Self::Timeout,
        }
    }
}

const fn bit(cause: RetryCause) -> u8 {
    1 << cause as u8
}

/// Statuses below 640, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Statuses([u64; 10]);

impl Statuses {
    fn add(&mut self, status: u16) {
        if let Some(word) = self.0.get_mut(usize::from(status / 64)) {
            *word |= 1 << (status % 64);
        }
    }

    fn has(&self, status: u16) -> bool {
        self.0.get(usize::from(status / 64)).is_some_and(|word| word >> (status % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::StatusRange;

    #[test]
    fn statuses_are_those_that_are_written() {
        let range = StatusRange { first: 500, last: 503 };
        let written = Retry { on: vec![RetryOn::Status(range)], ..Retry::default() };
        let policy = Policy::new(&written);
        let retried: Vec<u16> = (0..=u16::MAX).filter(|it| policy.has_status(*it)).collect();
        assert_eq!(retried, [500, 501, 502, 503]);
        assert!(policy.keeps_bodies() && !policy.has(RetryCause::ConnectFailure));
        assert!(!Policy::default().has_status(503));
    }

    #[test]
    fn the_pause_doubles_and_half_of_it_is_random() {
        let policy = Policy::default();
        for (round, most) in
            [(1, 25_000), (2, 50_000), (3, 100_000), (7, 1_000_000), (60, 1_000_000)]
        {
            let pauses: Vec<_> =
                (0..100).map(|seed| policy.back_off(round, seed, Instant(7)).0).collect();
            assert!(pauses.iter().all(|it| (most / 2..=most).contains(it)), "{round}: {pauses:?}");
            assert!(pauses.iter().any(|it| *it != pauses[0]));
        }
    }
}
