//! Draws endpoints at random, each as likely as its weight says.

use super::facts::Listed;
use crate::mix::{GOLDEN, mix};

/// See the module.
#[derive(Debug)]
pub(super) struct Draw {
    state: u64,
    /// The sums of the weights up to each endpoint, itself included.
    sums: Vec<u64>,
}

impl Draw {
    /// No endpoint yet. `seed` differs from core to core.
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: seed, sums: Vec::new() }
    }

    /// Replaces the list.
    pub(super) fn follow(&mut self, endpoints: &[Listed]) {
        self.sums.clear();
        self.sums.extend(endpoints.iter().scan(0, |sum, it| {
            *sum += u64::from(it.weight);
            Some(*sum)
        }));
    }

    /// The index of a usable endpoint of `endpoints`, the list that it follows.
    pub(super) fn pick(
        &mut self,
        endpoints: &[Listed],
        usable: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let at = self.below(self.sums.last().copied()?)?;
        let first = self.sums.partition_point(|sum| *sum <= at);
        if usable(first) {
            return Some(first);
        }
        // The draw met an endpoint that may not be used. One among the others is drawn anew: both
        // ways are as fair as the weights.
        let weights = || {
            let indexed = endpoints.iter().enumerate();
            indexed.filter(|(index, _)| usable(*index)).map(|(index, it)| (index, it.weight))
        };
        let sum = weights().map(|(_, weight)| u64::from(weight)).sum();
        let mut left = self.below(sum)?;
        for (index, weight) in weights() {
            match left.checked_sub(weight.into()) {
                Some(rest) => left = rest,
                None => return Some(index),
            }
        }
        None
    }

    /// The mean weight of a list of this `length`, the one that it follows.
    pub(super) fn mean_weight(&self, length: usize) -> f64 {
        // Sums are far below 2^52.
        self.sums.last().map_or(0.0, |sum| *sum as f64) / length.max(1) as f64
    }

    /// A number below `bound`; `None` where there is none.
    fn below(&mut self, bound: u64) -> Option<u64> {
        self.state = self.state.wrapping_add(GOLDEN);
        // Sums of weights are so far below 2^64 that the remainder is even enough.
        mix(self.state).checked_rem(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::tests::listed;

    fn shares(weights: &[u32], draws: usize, usable: impl Fn(usize) -> bool) -> Vec<f64> {
        let endpoints = listed(weights);
        let mut draw = Draw::new(7);
        draw.follow(&endpoints);
        let mut counts = vec![0.0; weights.len()];
        for _ in 0..draws {
            counts[draw.pick(&endpoints, &usable).unwrap()] += 1.0 / draws as f64;
        }
        counts
    }

    fn assert_near(found: &[f64], expected: &[f64]) {
        let near = |(found, expected): (&f64, &f64)| (found - expected).abs() < 0.01;
        assert!(found.iter().zip(expected).all(near), "{found:?}, and not {expected:?}");
    }

    #[test]
    fn shares_follow_the_weights() {
        assert_near(&shares(&[5, 3, 0, 2], 100_000, |_| true), &[0.5, 0.3, 0.0, 0.2]);
        // The share of an endpoint that may not be used goes to the others by their weights.
        assert_near(&shares(&[5, 3, 1, 1], 100_000, |it| it != 0), &[0.0, 0.6, 0.2, 0.2]);
    }

    #[test]
    fn nothing_to_draw_is_none() {
        let mut draw = Draw::new(1);
        assert_eq!(draw.pick(&[], |_| true), None);
        let endpoints = listed(&[1, 2]);
        draw.follow(&endpoints);
        assert_eq!(draw.pick(&endpoints, |_| false), None);
        let endpoints = listed(&[0, 0]);
        draw.follow(&endpoints);
        assert_eq!(draw.pick(&endpoints, |_| true), None);
    }
}
