//! Round robin: endpoints in turn, each as often as its weight says.
//!
//! The cores do not compare notes, so their rounds are shifted against each other: what one core
//! has given too much to an endpoint in a round that it has not finished, another has given too
//! little.

use super::facts::{CoreStart, Listed};

/// Takes endpoints in turn, each as often as its weight says.
///
/// First tries and further tries have a turn of their own. A retry that moved the turn of first
/// tries would, with one dead endpoint of two, bring every request to the dead one first. And the
/// load of a dead endpoint spreads over all others, not over its neighbour alone.
#[derive(Debug)]
pub(super) struct RoundRobin {
    /// Where to start, so that the cores do not all call at the first endpoint.
    start: CoreStart,
    weights: Vec<u32>,
    first: Turn,
    again: Turn,
}

impl RoundRobin {
    /// No endpoint yet.
    #[must_use]
    pub(super) const fn new(start: CoreStart) -> Self {
        Self { start, weights: Vec::new(), first: Turn::NONE, again: Turn::NONE }
    }

    /// Replaces the list. An endpoint of the old list keeps its turn.
    pub(super) fn follow(&mut self, endpoints: &[Listed]) {
        self.weights = endpoints.iter().map(|it| it.weight).collect();
        self.first.follow(endpoints, self.start);
        self.again.follow(endpoints, self.start.other());
    }

    /// The index of the next `usable` endpoint, for a first try or for one `again`; `None` when no
    /// endpoint is usable.
    pub(super) fn take(&mut self, again: bool, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let turn = if again { &mut self.again } else { &mut self.first };
        turn.take(&self.weights, usable)
    }
}

/// The turn among the endpoints of a list.
///
/// With equal weights a turn is a counter. With unequal ones it is the smooth scheme that nginx
/// made known: each pick adds its weight to every endpoint's credit, takes the one with most
/// credit and subtracts the sum from it, so that the picks of a heavy endpoint lie apart.
#[derive(Debug)]
struct Turn {
    /// The index of the next endpoint, when weights are equal.
    next: usize,
    /// Credit of each endpoint; empty when weights are equal.
    credits: Vec<i64>,
}

impl Turn {
    const NONE: Self = Self { next: 0, credits: Vec::new() };

    fn follow(&mut self, endpoints: &[Listed], start: CoreStart) {
        // The turn stays with its endpoint. If that has left, the endpoint behind it is next.
        let kept = || endpoints.iter().enumerate().filter_map(|(at, it)| Some((it.was?, at)));
        let behind = kept().filter(|(was, _)| *was >= self.next).min();
        self.next = match behind.or_else(|| kept().min()) {
            Some((_, at)) => at,
            // The remainder is below the length, so it is a `usize`.
            None => usize::try_from(start.point(0, endpoints.len() as u64)).unwrap_or(0),
        };
        let weights = || endpoints.iter().map(|endpoint| endpoint.weight);
        if weights().min() == weights().max() {
            self.credits.clear();
            return;
        }
        // CoreStart credits below the sum do not change the shares. They move the first few picks only.
        // An endpoint's start credits on all cores are spread evenly over that range, so its
        // surplus on one core and its deficit on another cancel out.
        let sum: i64 = weights().map(i64::from).sum();
        let scattered = |at: usize| {
            let point = start.point(at as u64, sum.cast_unsigned());
            point.cast_signed()
        };
        let kept = |it: &Listed| it.was.and_then(|was| self.credits.get(was).copied());
        let credit = |(at, it): (usize, &Listed)| match kept(it) {
            // Earned by other weights: it must not buy the endpoint more than a round.
            Some(credit) => credit.clamp(1 - sum, sum - 1),
            None => scattered(at),
        };
        self.credits = endpoints.iter().enumerate().map(credit).collect();
    }

    fn take(&mut self, weights: &[u32], usable: impl Fn(usize) -> bool) -> Option<usize> {
        if self.credits.is_empty() {
            self.take_next(weights.len(), usable)
        } else {
            self.take_credit(weights, usable)
        }
    }

    fn take_next(&mut self, length: usize, usable: impl Fn(usize) -> bool) -> Option<usize> {
        // One whole round at most: perhaps no endpoint is usable.
        for _ in 0..length {
            let index = self.next;
            self.next = if index + 1 < length { index + 1 } else { 0 };
            if usable(index) {
                return Some(index);
            }
        }
        None
    }

    fn take_credit(&mut self, weights: &[u32], usable: impl Fn(usize) -> bool) -> Option<usize> {
        let mut sum = 0;
        let mut best: Option<(usize, &mut i64)> = None;
        for (index, (credit, weight)) in self.credits.iter_mut().zip(weights).enumerate() {
            // An endpoint that may not be used now keeps its credit for later.
            if !usable(index) {
                continue;
            }
            sum += i64::from(*weight);
            *credit += i64::from(*weight);
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
    use std::collections::HashSet;

    use super::*;
    use crate::balance::tests::{SEVERAL_CORES, listed, listed_was};
    use crate::mix::mix;

    fn balancer(weights: &[u32], seed: u64) -> RoundRobin {
        of_core(weights, CoreStart { core: 0, cores: 1, seed })
    }

    fn of_core(weights: &[u32], start: CoreStart) -> RoundRobin {
        let mut balancer = RoundRobin::new(start);
        balancer.follow(&listed(weights));
        balancer
    }

    fn pick(balancer: &mut RoundRobin) -> usize {
        balancer.take(false, |_| true).unwrap()
    }

    fn shares(balancer: &mut RoundRobin, picks: usize) -> Vec<usize> {
        let mut counts = vec![0; balancer.weights.len()];
        (0..picks).for_each(|_| counts[pick(balancer)] += 1);
        counts
    }

    #[test]
    fn equal_weights_are_taken_in_turn() {
        let mut balancer = balancer(&[3, 3, 3], 1);
        let first = pick(&mut balancer);
        for step in 1..10 {
            assert_eq!(pick(&mut balancer), (first + step) % 3);
        }
    }

    #[test]
    fn shares_follow_the_weights_for_every_seed() {
        for seed in 0..50 {
            let counts = shares(&mut balancer(&[5, 1, 2], seed), 8 * 100);
            for (count, expected) in counts.iter().zip([500_usize, 100, 200]) {
                assert!(count.abs_diff(expected) <= 2, "seed {seed}: {counts:?}");
            }
        }
    }

    #[test]
    fn a_heavy_endpoint_is_not_taken_in_one_run() {
        let mut balancer = balancer(&[4, 1, 1, 1, 1], 0);
        let picks: Vec<_> = (0..80).map(|_| pick(&mut balancer)).collect();
        // Weight 4 of 8: every other pick. The first round may differ by the start credit.
        assert!(picks[16..].windows(3).all(|three| three != [0, 0, 0]), "{picks:?}");
    }

    #[test]
    fn cores_start_at_different_endpoints() {
        for weights in [&[1, 1, 1, 1][..], &[2, 1, 1, 2]] {
            let starts: HashSet<_> =
                (0..64).map(|seed| pick(&mut balancer(weights, seed))).collect();
            assert!(starts.len() > 1, "{weights:?}: {starts:?}");
        }
    }

    #[test]
    fn the_cores_together_keep_to_the_weights_from_the_first_requests_on() {
        for weights in [&[5, 3, 1][..], &[1, 1, 1], &[1, 2], &[7, 1, 1, 1], &[1, 1, 1, 1, 1]] {
            let sum: u32 = weights.iter().sum();
            for (cores, seed) in SEVERAL_CORES {
                let mut counts = vec![0_usize; weights.len()];
                for core in 0..cores {
                    let start = CoreStart { core, cores, seed };
                    let own = shares(&mut of_core(weights, start), 100);
                    counts.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
                }
                for (count, weight) in counts.iter().zip(weights) {
                    let expected = (cores * 100) as f64 * f64::from(*weight) / f64::from(sum);
                    // A request more or less cannot be helped.
                    let off = (*count as f64 - expected).abs() - 1.0;
                    assert!(off <= 0.05 * expected, "{weights:?} {cores} {seed}: {counts:?}");
                }
            }
        }
    }

    #[test]
    fn a_retry_does_not_move_the_turn_of_first_tries() {
        for weights in [&[1, 1][..], &[1, 1, 1], &[3, 1], &[1, 1, 1, 1, 1]] {
            let (mut plain, mut retried) = (balancer(weights, 7), balancer(weights, 7));
            let mut taken_again = vec![0; weights.len()];
            for _ in 0..60 {
                let first = pick(&mut retried);
                assert_eq!(first, pick(&mut plain));
                if first == 0 {
                    taken_again[retried.take(true, |it| it != 0).unwrap()] += 1;
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
            let mut balancer = balancer(weights, 9);
            for _ in 0..20 {
                let mut tried = vec![pick(&mut balancer)];
                while let Some(index) = balancer.take(true, |it| !tried.contains(&it)) {
                    tried.push(index);
                }
                tried.sort_unstable();
                assert_eq!(tried, (0..weights.len()).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn the_share_of_an_endpoint_that_may_not_be_used_goes_to_all_others() {
        for (weights, expected) in [
            (&[1, 1, 1][..], [0, 300, 300]),
            (&[7, 2, 1], [0, 400, 200]),
            (&[1, 5, 1], [0, 500, 100]),
        ] {
            let mut balancer = balancer(weights, 3);
            let mut counts = [0_usize; 3];
            (0..600).for_each(|_| counts[balancer.take(false, |it| it != 0).unwrap()] += 1);
            for (count, expected) in counts.iter().zip(expected) {
                assert!(count.abs_diff(expected) <= 2, "{weights:?}: {counts:?}");
            }
        }
    }

    #[test]
    fn an_endpoint_keeps_its_turn_when_others_come_and_go() {
        let mut balancer = balancer(&[1, 1, 1, 1], 0);
        let next = (pick(&mut balancer) + 1) % 4;
        // The list turns round, and a new endpoint stands in front of it.
        balancer.follow(&listed_was(&[
            (1, None),
            (1, Some(3)),
            (1, Some(2)),
            (1, Some(1)),
            (1, Some(0)),
        ]));
        assert_eq!(pick(&mut balancer), 4 - next);
        // Its turn goes to the one behind it when it leaves.
        let mut balancer = self::balancer(&[1, 1, 1], 0);
        while pick(&mut balancer) != 0 {}
        balancer.follow(&listed_was(&[(1, Some(0)), (1, Some(2))]));
        assert_eq!(pick(&mut balancer), 1);
    }

    #[test]
    fn shares_are_right_after_any_change_of_the_list() {
        for seed in 0..200_u64 {
            let mut step = seed;
            let mut draw = |below: u64| {
                step = mix(step.wrapping_add(1));
                usize::try_from(step % below).unwrap()
            };
            let mut balancer = balancer(&[1000, 1, 7], seed);
            for _ in 0..5 {
                (0..draw(50)).for_each(|_| _ = balancer.take(false, |_| true));
                let before = balancer.weights.len();
                let list: Vec<_> = (0..=draw(4))
                    .map(|at| {
                        let was = Some(at + draw(3)).filter(|was| *was < before);
                        (1 + u32::try_from(draw(3)).unwrap(), was)
                    })
                    .collect();
                balancer.follow(&listed_was(&list));
            }
            let sum: u32 = balancer.weights.iter().sum();
            let weights = balancer.weights.clone();
            let counts = shares(&mut balancer, sum as usize * 100);
            for (count, weight) in counts.iter().zip(&weights) {
                let expected = *weight as usize * 100;
                assert!(count.abs_diff(expected) <= 2 * sum as usize, "{weights:?}: {counts:?}");
            }
        }
    }

    #[test]
    fn nothing_to_take_is_none() {
        let mut none = balancer(&[], 0);
        assert_eq!((none.take(false, |_| true), none.take(true, |_| true)), (None, None));
        let mut one = balancer(&[1], 0);
        assert_eq!(one.take(false, |_| false), None);
        assert_eq!(one.take(false, |_| true), Some(0));
    }
}
