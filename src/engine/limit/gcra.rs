//! A rate with room for bursts: the generic cell rate algorithm, with one number for each key.
//!
//! The number is the moment at which the key will have its whole burst again ([`Debt`]). Each event that
//! passes moves it by the interval of the rate. An event passes while the number is no further away
//! than the whole burst takes.
//!
//! Invariant: in any span of time, no more events pass than the burst and the rate times the span.

use crate::keys::EventRate;
use crate::time::{Instant, Micros};

/// Nanoseconds in a microsecond: intervals of high rates are shorter than the clock's unit.
const NANOS: u64 = 1000;

/// A rate and its burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two events, in nanoseconds; rounded up, so that no rounding adds events.
    interval: u64,
    /// The time in which a burst comes back, in nanoseconds.
    span: u64,
}

/// When a key has its whole burst again, in nanoseconds of the core's clock. The default is a key that
/// was never seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Debt(u64);

/// The answer for one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// It passes after this long; `None` if it does not.
    pub after: Option<Micros>,
    /// How many more would pass now.
    pub left: u64,
    /// How long until the next one passes at once.
    pub next: Micros,
    /// How long until the whole burst is there again.
    pub whole: Micros,
}

impl Pace {
    /// So many events in this time, and `burst` at once.
    #[must_use]
    pub fn new(rate: EventRate, burst: u32) -> Self {
        let count = u64::from(rate.count.max(1));
        let interval = rate.per.0.saturating_mul(NANOS).div_ceil(count).max(1);
        Self { interval, span: interval.saturating_mul(u64::from(burst.max(1))) }
    }

    /// One event now. Where it would have to wait, but no longer than `wait_max`, it passes later.
    pub const fn ask(&self, debt: &mut Debt, now: Instant, wait_max: Micros) -> Passed {
        let now = now.0.saturating_mul(NANOS);
        let furthest = self.span.saturating_add(wait_max.0.saturating_mul(NANOS));
        // A key that was counted by other settings may owe more than these can: its burst is used up,
        // and no more.
        let owed = match debt.0.saturating_sub(now) {
            owed if owed > furthest => furthest,
            owed => owed,
        };
        let then = owed.saturating_add(self.interval);
        let passes = then <= furthest;
        let owes = if passes { then } else { owed };
        debt.0 = now.saturating_add(owes);
        Passed {
            after: if passes { Some(micros(then.saturating_sub(self.span))) } else { None },
            left: self.span.saturating_sub(owes) / self.interval,
            next: micros(owes.saturating_add(self.interval).saturating_sub(self.span)),
            whole: micros(owes),
        }
    }
}

/// Microseconds, rounded up.
const fn micros(nanos: u64) -> Micros {
    Micros(nanos.div_ceil(NANOS))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(count: u32, per: Micros) -> EventRate {
        EventRate { count, per }
    }

    const NO_WAIT: Micros = Micros(0);

    #[test]
    fn a_burst_passes_at_once_and_then_the_rate() {
        let pace = Pace::new(rate(10, Micros::secs(1)), 3);
        let mut debt = Debt::default();
        let mut at = |micros| pace.ask(&mut debt, Instant(micros), NO_WAIT);
        let lefts: Vec<u64> = (0..3).map(|_| at(5_000_000).left).collect();
        assert_eq!(lefts, [2, 1, 0]);
        let refused = at(5_000_000);
        assert_eq!((refused.after, refused.next), (None, Micros::millis(100)));
        assert_eq!(refused.whole, Micros::millis(300));
        assert_eq!(at(5_099_999).after, None);
        assert_eq!(at(5_100_000).after, Some(Micros(0)));
        assert_eq!(at(5_100_000).after, None);
        assert_eq!(at(9_000_000).left, 2);
    }

    #[test]
    fn a_short_wait_is_granted_in_turn() {
        let pace = Pace::new(rate(10, Micros::secs(1)), 1);
        let mut debt = Debt::default();
        let mut now = || pace.ask(&mut debt, Instant(0), Micros::millis(200)).after;
        let waits = [now(), now(), now(), now()];
        assert_eq!(
            waits,
            [0, 100, 200]
                .map(|it| Some(Micros::millis(it)))
                .into_iter()
                .chain([None])
                .collect::<Vec<_>>()[..]
        );
    }

    #[test]
    fn a_key_that_owes_much_by_older_settings_waits_no_longer_than_new_ones_allow() {
        let slow = Pace::new(rate(1, Micros::secs(3600)), 10);
        let fast = Pace::new(rate(10, Micros::secs(1)), 1);
        let mut debt = Debt::default();
        for _ in 0..10 {
            slow.ask(&mut debt, Instant(0), NO_WAIT);
        }
        assert_eq!(fast.ask(&mut debt, Instant(0), NO_WAIT).next, Micros::millis(100));
        assert!(fast.ask(&mut debt, Instant(100_000), NO_WAIT).after.is_some());
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate_and_no_less(
            count in 1..2000_u32,
            seconds in prop_oneof![Just(1_u64), Just(60), Just(3600)],
            burst in 1..50_u32,
            gaps in prop::collection::vec(0..2_000_000_u64, 1..200),
        ) {
            let pace = Pace::new(rate(count, Micros::secs(seconds)), burst);
            let mut debt = Debt::default();
            let (mut now, mut passed) = (0, Vec::new());
            // A bucket in exact fractions: tokens times the microseconds of the rate.
            let (per, count) = (u128::from(seconds) * 1_000_000, u128::from(count));
            let whole = u128::from(burst) * per;
            let mut bucket = whole;
            for gap in gaps {
                now += gap;
                bucket = whole.min(bucket + u128::from(gap) * count);
                let passes = pace.ask(&mut debt, Instant(now), NO_WAIT).after.is_some();
                if passes {
                    prop_assert!(bucket >= per, "passed without a token");
                    bucket -= per;
                    passed.push(u128::from(now));
                } else {
                    // Each interval is rounded up by less than a nanosecond, and 250 of them by less
                    // than a microsecond: so late may an event be.
                    let late = count;
                    prop_assert!(bucket < per + late, "refused with a token");
                }
            }
            for (index, from) in passed.iter().enumerate() {
                for (more, to) in passed[index..].iter().enumerate() {
                    let allowed = u128::from(burst) + (to - from) * count / per;
                    prop_assert!((more as u128) < allowed);
                }
            }
        }
    }
}
