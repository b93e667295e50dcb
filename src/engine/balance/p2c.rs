//! Power of two choices: two endpoints are drawn by their weights, and the one with less load is
//! taken. Nearly as good as a look at all of them, at the cost of two, and the cores do not all run
//! to the same best endpoint at once.
//!
//! The load is the latency ([`Latency`](super::Latency)) times the requests that would wait for it.

use super::draw::Draw;
use super::facts::{Candidates, Listed};

/// The latency of an endpoint that was never measured and has a request: it is not flooded before
/// its first answer. 50 ms is linkerd's first guess.
const UNKNOWN_MICROS: f64 = 50_000.0;

/// The index of the endpoint to take; `None` when none is usable.
pub(super) fn pick(
    endpoints: &[Listed],
    draw: &mut Draw,
    usable: impl Fn(usize) -> bool,
    candidates: &impl Candidates,
) -> Option<usize> {
    let one = draw.pick(endpoints, &usable)?;
    let Some(other) = draw.pick(endpoints, |index| index != one && usable(index)) else {
        return Some(one);
    };
    let mean = draw.mean_weight(endpoints.len());
    let load = |index: usize| {
        // Requests in flight count relative to the weight: twice the weight, twice as many.
        let weight = endpoints.get(index).map_or(1, |it| it.weight);
        let waiting = f64::from(candidates.in_flight(index)) * mean / f64::from(weight.max(1));
        match candidates.latency(index) {
            Some(latency) => latency * (1.0 + waiting),
            // The only way to learn about it is a request, and one at a time is enough for that.
            None if waiting > 0.0 => UNKNOWN_MICROS * (1.0 + waiting),
            None => 0.0,
        }
    };
    Some(if load(other) < load(one) { other } else { one })
}
