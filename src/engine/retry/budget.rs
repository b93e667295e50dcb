//! The budget of retries: how many of the requests of the last seconds may be sent again.
//!
//! A retry doubles the load of a request. Where an upstream fails as a whole, unbounded retries
//! would multiply the load just when it can bear it least. One budget per upstream and core.
//!
//! Invariant: in any 10 s, there are no more retries than the share of the requests of these 10 s
//! allows, or [`RETRIES_MIN`] where that is more.

use crate::keys::Fraction;
use crate::time::Instant;

/// Retries that are always allowed within the window. Without them a request that comes once in a
/// while could never be sent again.
pub const RETRIES_MIN: u64 = 3;
/// The seconds that a budget looks back.
const WINDOW: usize = 10;

/// Requests and retries of the last 10 s, second by second.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    seconds: [BudgetSecond; WINDOW],
    /// The present second.
    now: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct BudgetSecond {
    requests: u64,
    retries: u64,
}

impl Budget {
    /// Counts a request.
    pub fn request(&mut self, now: Instant) {
        if let Some(second) = self.second(now) {
            second.requests += 1;
        }
    }

    /// Takes a retry out of the budget; `false` when there is none left. Retries may be this `share`
    /// of the requests.
    pub fn take(&mut self, now: Instant, share: Fraction) -> bool {
        // BudgetSecond by second the past falls out of the window.
        let _ = self.second(now);
        let (requests, retries) = self
            .seconds
            .iter()
            .fold((0, 0), |sums, it| (sums.0 + it.requests, sums.1 + it.retries));
        if retries >= share.of(requests).max(RETRIES_MIN) {
            return false;
        }
        if let Some(second) = self.second(now) {
            second.retries += 1;
        }
        true
    }

    /// The counts of the present second.
    fn second(&mut self, now: Instant) -> Option<&mut BudgetSecond> {
        let second = now.0 / 1_000_000;
        let window = WINDOW as u64;
        if second != self.now {
            // Places of seconds that nobody counted in hold an older second.
            let passed = second.saturating_sub(self.now).min(window);
            for at in 1..=passed {
                if let Some(stale) = self.seconds.get_mut(index(self.now + at)) {
                    *stale = BudgetSecond::default();
                }
            }
            if passed == window {
                self.seconds = [BudgetSecond::default(); WINDOW];
            }
            self.now = self.now.max(second);
        }
        self.seconds.get_mut(index(self.now))
    }
}

fn index(second: u64) -> usize {
    usize::try_from(second % WINDOW as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIFTH: Fraction = Fraction::percent(20);

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000)
    }

    #[test]
    fn retries_are_a_share_of_the_requests() {
        let mut budget = Budget::default();
        (0..100).for_each(|_| budget.request(at(1)));
        let taken = (0..100).filter(|_| budget.take(at(2), FIFTH)).count();
        assert_eq!(taken, 20);
    }

    #[test]
    fn a_few_are_always_allowed() {
        let mut budget = Budget::default();
        budget.request(at(1));
        let mut taken = |second| (0..10).filter(|_| budget.take(at(second), FIFTH)).count();
        assert_eq!([taken(1), taken(10), taken(11)], [3, 0, 3]);
        assert_eq!(taken(1000), 3);
    }

    #[test]
    fn requests_of_long_ago_do_not_count() {
        let mut budget = Budget::default();
        (0..1000).for_each(|_| budget.request(at(5)));
        assert_eq!((0..1000).filter(|_| budget.take(at(15), FIFTH)).count(), 3);
    }

    proptest! {
        #[test]
        fn in_any_window_retries_keep_to_the_budget(
            steps in prop::collection::vec((0u64..4, any::<bool>()), 1..400),
        ) {
            let mut budget = Budget::default();
            // Every event with its second: the model looks at all of them each time.
            let (mut second, mut events) = (0, Vec::new());
            for (pause, is_retry) in steps {
                second += pause / 3 * pause;
                let count = |retry| {
                    let in_window = |it: &&(u64, bool)| it.0 + WINDOW as u64 > second && it.1 == retry;
                    events.iter().filter(in_window).count() as u64
                };
                let allowed = (count(false) / 5).max(RETRIES_MIN);
                if !is_retry {
                    budget.request(at(second));
                    events.push((second, false));
                } else {
                    let expected = count(true) < allowed;
                    prop_assert_eq!(budget.take(at(second), FIFTH), expected);
                    if expected {
                        events.push((second, true));
                    }
                }
            }
        }
    }
}
