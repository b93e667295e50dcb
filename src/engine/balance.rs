//! Chooses an endpoint of an upstream.
//!
//! Each core has one balancer per upstream, and the cores do not compare notes. Other modules look
//! after health, breakers and the connection: the caller names the endpoints that it has tried.

use crate::mix::mix;
use crate::snapshot::Endpoint;

/// Takes endpoints in turn, each as often as its weight says.
///
/// First tries and further tries each have a [`Turn`]. If a retry moved the turn of the first
/// tries, then with one dead endpoint of two, every request would meet the dead one first. The
/// second turn also spreads the load of a dead endpoint over all others, not over its neighbour
/// alone.
#[derive(Debug)]
pub struct RoundRobin {
    /// Decides where to start, so that the cores do not all call at the first endpoint.
    seed: u64,
    /// How many endpoints the turns below were made for.
    made_for: usize,
    first: Turn,
    again: Turn,
}

impl RoundRobin {
    /// The caller gives each core another `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, made_for: 0, first: Turn::NONE, again: Turn::NONE }
    }

    /// The index of the next endpoint that is not among `tried`; `None` when no such endpoint is
    /// left. A try with an empty `tried` is a first one.
    ///
    /// Every call passes the same `endpoints`: a changed upstream has another identity, and with it
    /// a new balancer. Only the first call allocates.
    pub fn pick(&mut self, endpoints: &[Endpoint], tried: &[usize]) -> Option<usize> {
        if self.made_for != endpoints.len() {
            self.made_for = endpoints.len();
            self.first = Turn::new(self.seed, endpoints);
            self.again = Turn::new(mix(self.seed), endpoints);
        }
        let turn = if tried.is_empty() { &mut self.first } else { &mut self.again };
        turn.take(endpoints, tried)
    }
}

/// The state that decides which endpoint is next.
///
/// With equal weights it is a counter. With unequal weights it is the smooth scheme that nginx made
/// known: each pick adds to every endpoint's credit its weight, takes the endpoint with the most
/// credit, and subtracts the sum of the weights from that credit. So the picks of a heavy endpoint
/// lie apart.
#[derive(Debug)]
struct Turn {
    /// The endpoint whose turn is next, when weights are equal.
    next: usize,
    /// Credit of each endpoint; empty when weights are equal.
    credits: Vec<i64>,
}

impl Turn {
    const NONE: Self = Self { next: 0, credits: Vec::new() };

    fn new(seed: u64, endpoints: &[Endpoint]) -> Self {
        // The remainder is below the length, so it is a `usize`.
        let offset =
            (endpoints.len() as u64).checked_sub(1).map_or(0, |last| mix(seed) % (last + 1));
        let next = usize::try_from(offset).unwrap_or(0);
        let weights = || endpoints.iter().map(|endpoint| endpoint.weight);
        if weights().min() == weights().max() {
            return Self { next, credits: Vec::new() };
        }
        // Start credits below the sum do not change the shares. They move the first few picks only.
        let sum: i64 = weights().map(i64::from).sum();
        let scatter = |index: usize| mix(seed.wrapping_add(index as u64)).cast_signed();
        let credits = (0..endpoints.len()).map(|index| scatter(index).rem_euclid(sum)).collect();
        Self { next, credits }
    }

    fn take(&mut self, endpoints: &[Endpoint], tried: &[usize]) -> Option<usize> {
        if self.credits.is_empty() {
            self.take_next(endpoints.len(), tried)
        } else {
            self.take_credit(endpoints, tried)
        }
    }

    fn take_next(&mut self, length: usize, tried: &[usize]) -> Option<usize> {
        // One whole round at most: `tried` may hold every endpoint.
        for _ in 0..length {
            let index = self.next;
            self.next = if index + 1 < length { index + 1 } else { 0 };
            if !tried.contains(&index) {
                return Some(index);
            }
        }
        None
    }

    fn take_credit(&mut self, endpoints: &[Endpoint], tried: &[usize]) -> Option<usize> {
        // Endpoints in `tried` neither gain nor pay credit, and do not count in the sum: so the others
        // keep their shares among themselves.
        let mut sum = 0;
        let mut best: Option<(usize, &mut i64)> = None;
        for (index, (credit, endpoint)) in self.credits.iter_mut().zip(endpoints).enumerate() {
            if tried.contains(&index) {
                continue;
            }
            sum += i64::from(endpoint.weight);
            *credit += i64::from(endpoint.weight);
            if best.as_ref().is_none_or(|(_, most)| *credit > **most) {
                best = Some((index, credit));
            }
        }
        let (index, credit) = best?;
        *credit -= sum;
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    fn endpoints(weights: &[u32]) -> Vec<Endpoint> {
        let address = || SocketAddr::from((Ipv4Addr::LOCALHOST, 9000)).into();
        weights.iter().map(|&weight| Endpoint { address: address(), weight }).collect()
    }

    fn shares(weights: &[u32], seed: u64, picks: usize) -> Vec<usize> {
        let endpoints = endpoints(weights);
        let mut balancer = RoundRobin::new(seed);
        let mut counts = vec![0; weights.len()];
        for _ in 0..picks {
            counts[balancer.pick(&endpoints, &[]).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn equal_weights_are_taken_in_turn() {
        let endpoints = endpoints(&[3, 3, 3]);
        let mut balancer = RoundRobin::new(1);
        let first = balancer.pick(&endpoints, &[]).unwrap();
        for step in 1..10 {
            assert_eq!(balancer.pick(&endpoints, &[]), Some((first + step) % 3));
        }
    }

    #[test]
    fn shares_follow_the_weights_whatever_the_seed() {
        for seed in 0..50 {
            let counts = shares(&[5, 1, 2], seed, 8 * 100);
            for (count, expected) in counts.iter().zip([500_usize, 100, 200]) {
                assert!(count.abs_diff(expected) <= 2, "seed {seed}: {counts:?}");
            }
        }
    }

    #[test]
    fn a_heavy_endpoint_is_not_taken_in_one_run() {
        let endpoints = endpoints(&[4, 1, 1, 1, 1]);
        let mut balancer = RoundRobin::new(0);
        let picks: Vec<_> = (0..80).filter_map(|_| balancer.pick(&endpoints, &[])).collect();
        // Weight 4 of 8: every other pick. The first round may differ by the start credit.
        assert!(picks[16..].windows(3).all(|three| three != [0, 0, 0]), "{picks:?}");
    }

    #[test]
    fn cores_start_at_different_endpoints() {
        for weights in [&[1, 1, 1, 1][..], &[2, 1, 1, 2]] {
            let endpoints = endpoints(weights);
            let starts: std::collections::HashSet<_> =
                (0..64).map(|seed| RoundRobin::new(seed).pick(&endpoints, &[])).collect();
            assert!(starts.len() > 1, "{weights:?}: {starts:?}");
        }
    }

    #[test]
    fn a_retry_does_not_move_the_turn_of_first_tries() {
        for weights in [&[1, 1][..], &[1, 1, 1], &[3, 1], &[1, 1, 1, 1, 1]] {
            let endpoints = endpoints(weights);
            let (mut plain, mut retried) = (RoundRobin::new(7), RoundRobin::new(7));
            let mut taken_again = vec![0; weights.len()];
            for _ in 0..60 {
                let first = retried.pick(&endpoints, &[]).unwrap();
                assert_eq!(Some(first), plain.pick(&endpoints, &[]));
                if first == 0 {
                    taken_again[retried.pick(&endpoints, &[0]).unwrap()] += 1;
                }
            }
            // The load of the first endpoint spreads over all the others.
            let others = &taken_again[1..];
            let (least, most) = (others.iter().min().unwrap(), others.iter().max().unwrap());
            assert!(most - least <= 1, "{weights:?}: {taken_again:?}");
        }
    }

    #[test]
    fn every_endpoint_is_tried_once_and_then_none_is_left() {
        for weights in [&[1, 1, 1, 1][..], &[5, 1, 2]] {
            let endpoints = endpoints(weights);
            let mut balancer = RoundRobin::new(9);
            for _ in 0..20 {
                let mut tried = Vec::new();
                while let Some(index) = balancer.pick(&endpoints, &tried) {
                    assert!(!tried.contains(&index));
                    tried.push(index);
                }
                assert_eq!(tried.len(), weights.len());
            }
        }
    }

    #[test]
    fn an_endpoint_that_was_tried_is_not_taken() {
        for weights in [&[1, 1, 1][..], &[7, 1, 1]] {
            let endpoints = endpoints(weights);
            let mut balancer = RoundRobin::new(3);
            for _ in 0..20 {
                assert_ne!(balancer.pick(&endpoints, &[0]).unwrap(), 0);
            }
        }
    }

    #[test]
    fn nothing_to_take_is_none() {
        let mut balancer = RoundRobin::new(0);
        assert_eq!(balancer.pick(&[], &[]), None);
        let one = endpoints(&[1]);
        assert_eq!(balancer.pick(&one, &[0]), None);
        assert_eq!(balancer.pick(&one, &[]), Some(0));
    }
}
