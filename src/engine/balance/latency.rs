//! How slow an endpoint is: an average of its latencies that rises at once and falls slowly.
//!
//! This is the peak-sensitive moving average that Finagle and linkerd balance by. A latency above
//! the average replaces it, so that one slow response is enough to send requests elsewhere. Below
//! the average it counts by the time that has passed. An endpoint that is left alone forgets its
//! peak with time, so it is tried again.

use crate::time::Instant;

/// The time in which an old latency loses all but 1/e of its weight. linkerd's default.
const DECAY_MICROS: f64 = 10_000_000.0;

/// The latency that a failed try counts as: an endpoint that fails fast must not look fast.
const FAILURE_MICROS: u64 = 1_000_000;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    average_micros: f64,
    /// When it was measured last; `None` before the first time.
    at: Option<Instant>,
}

impl Latency {
    /// The endpoint answered after so many microseconds.
    pub fn answered(&mut self, micros: u64, now: Instant) {
        // Latencies are far below 2^52 microseconds, so nothing is lost.
        let latest = micros as f64;
        let faded = match self.at {
            Some(at) if latest < self.average_micros => {
                let kept = kept(at, now);
                self.average_micros * kept + latest * (1.0 - kept)
            }
            _ => latest,
        };
        *self = Self { average_micros: faded, at: Some(now) };
    }

    /// A try that began then has failed.
    pub fn failed(&mut self, began: Instant) {
        // Its end is not known. The last measurement is perhaps later than its beginning.
        let at = self.at.map_or(began, |at| at.max(began));
        self.answered(FAILURE_MICROS, at);
    }

    /// The average in microseconds, as of `now`; `None` before the first time. While the endpoint is
    /// left alone it goes towards zero, so that it will be tried again.
    #[must_use]
    pub fn value(&self, now: Instant) -> Option<f64> {
        self.at.map(|at| self.average_micros * kept(at, now))
    }
}

/// The part of its weight that a latency keeps from `at` to `now`.
fn kept(at: Instant, now: Instant) -> f64 {
    (-(now.micros_since(at) as f64) / DECAY_MICROS).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let mut latency = Latency::default();
        assert_eq!(latency.value(Instant(0)), None);
        latency.answered(1_000, Instant(0));
        assert!((latency.value(Instant(0)).unwrap() - 1_000.0).abs() < 1e-6);
        latency.answered(100_000, Instant(SECOND));
        assert!((latency.value(Instant(SECOND)).unwrap() - 100_000.0).abs() < 1e-6);
        // A good response soon after takes little off, a later one more.
        latency.answered(1_000, Instant(2 * SECOND));
        let soon = latency.value(Instant(2 * SECOND)).unwrap();
        assert!((80_000.0..99_000.0).contains(&soon), "{soon}");
        latency.answered(1_000, Instant(42 * SECOND));
        let later = latency.value(Instant(42 * SECOND)).unwrap();
        assert!((1_000.0..4_000.0).contains(&later), "{later}");
    }

    #[test]
    fn a_fast_failure_is_slow() {
        let (mut failing, mut slow) = (Latency::default(), Latency::default());
        failing.failed(Instant(0));
        slow.answered(300_000, Instant(0));
        assert!(failing.value(Instant(0)) > slow.value(Instant(0)));
        // It is tried again after a while.
        assert!(failing.value(Instant(60 * SECOND)).unwrap() < 10_000.0);
    }

    #[test]
    fn time_that_seems_to_go_back_changes_nothing() {
        let mut latency = Latency::default();
        latency.answered(5_000, Instant(SECOND));
        latency.answered(1_000, Instant(0));
        assert!((latency.value(Instant(0)).unwrap() - 5_000.0).abs() < 1e-6);
    }
}
