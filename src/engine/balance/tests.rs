//! Every way to balance, by what all of them must keep to.

use std::cell::RefCell;

use proptest::prelude::*;

use super::*;

/// Numbers of cores, with seeds.
pub(super) const SEVERAL_CORES: [(usize, u64); 6] =
    [(8, 1), (8, 2), (8, 0x5eed), (16, 3), (8, u64::MAX), (12, 99)];

/// New endpoints with these weights.
pub(super) fn listed(weights: &[u32]) -> Vec<Listed> {
    let new: Vec<_> = weights.iter().map(|weight| (*weight, None)).collect();
    listed_was(&new)
}

/// Endpoints with these weights and their index in the old list.
pub(super) fn listed_was(endpoints: &[(u32, Option<usize>)]) -> Vec<Listed> {
    let identity = |at: usize| hash_of(format!("10.0.0.{at}:80").as_bytes());
    let indexed = endpoints.iter().enumerate();
    indexed
        .map(|(at, (weight, was))| Listed {
            weight: *weight,
            group: 0,
            identity: identity(at),
            was: *was,
        })
        .collect()
}

const WAYS: [Way; 5] = [Way::RoundRobin, Way::LeastRequests, Way::P2cEwma, Way::Random, Way::Hash];

/// Facts that a test sets.
#[derive(Debug, Default)]
struct Facts {
    unusable: RefCell<Vec<usize>>,
    in_flight: RefCell<Vec<u32>>,
    micros: Vec<f64>,
}

impl Facts {
    fn move_in_flight(&self, index: usize, by: i32) {
        let mut in_flight = self.in_flight.borrow_mut();
        if in_flight.len() <= index {
            in_flight.resize(index + 1, 0);
        }
        in_flight[index] = in_flight[index].checked_add_signed(by).unwrap();
    }
}

impl Candidates for Facts {
    fn is_usable(&self, index: usize) -> bool {
        !self.unusable.borrow().contains(&index)
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.in_flight.borrow().get(index).copied().unwrap_or(0)
    }

    fn latency(&self, index: usize) -> Option<f64> {
        if self.micros.is_empty() { Some(1_000.0) } else { self.micros.get(index).copied() }
    }
}

fn balancer(way: Way, weights: &[u32], start: CoreStart) -> Balancer {
    let mut balancer = Balancer::new(start);
    balancer.follow(way, listed(weights));
    balancer
}

/// The first core of one.
fn alone(seed: u64) -> CoreStart {
    CoreStart { core: 0, cores: 1, seed }
}

fn by_key(key: u64) -> PickBy {
    PickBy { again: false, hash: Some(hash_of(&key.to_le_bytes())) }
}

/// The issue asks for 1 % of the requests: 100,000 of them over two cores.
#[test]
fn every_way_keeps_to_the_weights_over_two_cores() {
    for seed in [17, 4711] {
        for way in WAYS {
            let mut counts = [0_u32; 3];
            for core in 0..2 {
                let start = CoreStart { core, cores: 2, seed };
                let (mut balancer, facts) = (balancer(way, &[5, 3, 1], start), Facts::default());
                for key in 0..50_000 {
                    let by = by_key(key + 50_000 * core as u64);
                    counts[balancer.pick(by, &facts).unwrap()] += 1;
                }
            }
            for (count, weight) in counts.iter().zip([5, 3, 1]) {
                let off = (f64::from(*count) / 100_000.0 - f64::from(weight) / 9.0).abs();
                assert!(off < 0.01, "{way:?}, seed {seed}: {counts:?}");
            }
        }
    }
}

#[test]
fn least_requests_prefers_idle_endpoints_and_takes_equal_ones_in_turn() {
    let mut even = balancer(Way::LeastRequests, &[1, 1, 1], alone(3));
    let facts = Facts { in_flight: vec![2, 0, 1].into(), ..Facts::default() };
    assert_eq!(even.pick(PickBy::default(), &facts), Some(1));
    // Half as many requests for half the weight are as many.
    let mut uneven = balancer(Way::LeastRequests, &[4, 2, 1], alone(3));
    let facts = Facts { in_flight: vec![4, 2, 2].into(), ..Facts::default() };
    let mut counts = [0; 3];
    (0..60).for_each(|_| counts[uneven.pick(PickBy::default(), &facts).unwrap()] += 1);
    assert_eq!(counts[2], 0, "{counts:?}");
    assert!((38..=42).contains(&counts[0]), "{counts:?}");
}

#[test]
fn least_requests_fills_endpoints_by_their_weights() {
    let mut balancer = balancer(Way::LeastRequests, &[3, 1], alone(1));
    let facts = Facts::default();
    for _ in 0..400 {
        let index = balancer.pick(PickBy::default(), &facts).unwrap();
        facts.move_in_flight(index, 1);
    }
    let in_flight = facts.in_flight.borrow();
    assert!(in_flight[0].abs_diff(300) <= 1, "{in_flight:?}");
}

#[test]
fn the_faster_of_two_gets_nearly_everything_until_it_is_busy() {
    let mut balancer = balancer(Way::P2cEwma, &[1, 1], alone(5));
    let facts = Facts { micros: vec![1_000.0, 10_000.0], ..Facts::default() };
    for _ in 0..9 {
        assert_eq!(balancer.pick(PickBy::default(), &facts), Some(0));
        facts.move_in_flight(0, 1);
    }
    facts.move_in_flight(0, 2);
    assert_eq!(balancer.pick(PickBy::default(), &facts), Some(1), "eleven wait for the fast one");
}

#[test]
fn a_slow_endpoint_of_several_gets_little() {
    let mut balancer = balancer(Way::P2cEwma, &[1; 5], alone(5));
    let facts = Facts { micros: vec![1.0, 1.0, 1.0, 1.0, 50.0], ..Facts::default() };
    let picks = (0..10_000).filter(|_| balancer.pick(PickBy::default(), &facts) == Some(4));
    assert_eq!(picks.count(), 0, "every other endpoint is better");
}

#[test]
fn an_endpoint_that_was_never_measured_gets_one_request_and_then_has_to_answer() {
    let mut balancer = balancer(Way::P2cEwma, &[1, 1], alone(5));
    let facts = Facts { micros: vec![100.0], ..Facts::default() };
    assert_eq!(balancer.pick(PickBy::default(), &facts), Some(1));
    facts.move_in_flight(1, 1);
    for _ in 0..20 {
        assert_eq!(balancer.pick(PickBy::default(), &facts), Some(0));
    }
}

#[test]
fn all_cores_agree_on_the_endpoint_of_a_key() {
    let facts = Facts::default();
    let mut cores: Vec<_> = (0..4)
        .map(|core| {
            balancer(Way::Hash, &[1, 2, 1], CoreStart { core, cores: 4, seed: core as u64 })
        })
        .collect();
    for key in 0..1_000 {
        let picks: Vec<_> = cores.iter_mut().map(|it| it.pick(by_key(key), &facts)).collect();
        assert!(picks.iter().all(|pick| *pick == picks[0]), "{key}: {picks:?}");
    }
}

#[test]
fn a_request_without_a_key_goes_by_turn() {
    let mut balancer = balancer(Way::Hash, &[1, 1], alone(2));
    let facts = Facts::default();
    let picks: Vec<_> = (0..4).map(|_| balancer.pick(PickBy::default(), &facts)).collect();
    assert_ne!(picks[0], picks[1]);
    assert_eq!(picks[..2], picks[2..]);
}

#[test]
fn a_group_is_used_when_no_endpoint_of_the_groups_before_it_is_usable() {
    for way in WAYS {
        let mut list = listed(&[1, 1, 1, 1, 0]);
        for (it, group) in list.iter_mut().zip([7, 0, 0, 3, 0]) {
            it.group = group;
        }
        let mut balancer = Balancer::new(alone(1));
        balancer.follow(way, list);
        let facts = Facts::default();
        for (unusable, expected) in [
            (&[][..], &[1, 2][..]),
            (&[1], &[2]),
            (&[1, 2], &[3]),
            (&[1, 2, 3], &[0]),
            (&[0, 1, 2, 3], &[]),
        ] {
            *facts.unusable.borrow_mut() = unusable.to_vec();
            let mut picks: Vec<_> =
                (0..50).filter_map(|key| balancer.pick(by_key(key), &facts)).collect();
            picks.sort_unstable();
            picks.dedup();
            assert_eq!(picks, expected, "{way:?} without {unusable:?}");
        }
    }
}

proptest! {
    /// The model: an endpoint is picked if, and only if, one is usable that has a weight; and it is
    /// such a one. Tries that go on find every one of them once.
    #[test]
    fn a_pick_is_usable_and_there_is_one_whenever_one_is_usable(
        weights in prop::collection::vec(0_u32..4, 0..6),
        steps in prop::collection::vec((0_usize..6, 0_usize..6, any::<u64>()), 1..40),
        seed in any::<u64>(),
        way in prop::sample::select(&WAYS[..]),
    ) {
        let mut balancer = balancer(way, &weights, alone(seed));
        let facts = Facts::default();
        for (one, other, key) in steps {
            *facts.unusable.borrow_mut() = vec![one, other];
            let mut left: Vec<usize> = (0..weights.len())
                .filter(|it| weights[*it] > 0 && facts.is_usable(*it))
                .collect();
            let mut again = false;
            while let Some(index) = balancer.pick(PickBy { again, ..by_key(key) }, &facts) {
                let at = left.iter().position(|it| *it == index);
                prop_assert!(at.is_some(), "{way:?}: {index} of {left:?}");
                left.remove(at.unwrap());
                facts.move_in_flight(index, 1);
                facts.unusable.borrow_mut().push(index);
                again = true;
            }
            prop_assert!(left.is_empty(), "{way:?}: {left:?} were never picked");
        }
    }
}
