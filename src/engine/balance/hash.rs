//! Consistent hashing: requests with the same key go to the same endpoint, on every core and every
//! node, for as long as it is usable and not overloaded.
//!
//! Weighted rendezvous hashing: each endpoint draws a number from the key and its own identity, and
//! the highest number wins. When an endpoint comes or goes, exactly the keys that it wins move, and
//! nothing has to be rebuilt. Its price is a look at every endpoint
//! (docs/decisions/0023-rendezvous-hashing.md).
//!
//! An endpoint takes no key beyond [`LOAD_MAX`] times its share of the requests in flight: then the
//! next highest number wins ("Consistent Hashing with Bounded Loads", Mirrokni, Thorup,
//! Zadimoghaddam). A popular key overflows to the same second endpoint on every core.

use super::facts::Listed;
use crate::mix::mix;

/// The most requests in flight, relative to an endpoint's share of all. Closer to 1, the load is
/// more even and more keys move; the authors and Vimeo's HAProxy use 1.25.
const LOAD_MAX: f64 = 1.25;

/// So many requests in flight are never too many for a core: at that load, moving a key costs more
/// than it helps. A mean below it comes from an idle gateway.
const IN_FLIGHT_FREE: u32 = 8;

/// The hash of a key. It is the same on all cores and nodes, in every version: keys must not move
/// when a gateway is updated. FNV-1a, mixed.
#[must_use]
pub fn hash_of(key: &[u8]) -> u64 {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(hash)
}

/// The index of the endpoint for a key with this `hash`; `None` when none is usable.
pub(super) fn pick(
    endpoints: &[Listed],
    hash: u64,
    usable: impl Fn(usize) -> bool,
    in_flight: impl Fn(usize) -> u32,
) -> Option<usize> {
    // The request itself is one of those in flight.
    let (mut all, mut weights) = (1.0, 0.0);
    for (index, it) in endpoints.iter().enumerate().filter(|(index, _)| usable(*index)) {
        all += f64::from(in_flight(index));
        weights += f64::from(it.weight);
    }
    let has_room = |index: usize, weight: u32| {
        let with_this = in_flight(index).saturating_add(1);
        with_this <= IN_FLIGHT_FREE
            || f64::from(with_this) <= (LOAD_MAX * all * f64::from(weight) / weights).ceil()
    };
    let mut best: Option<(f64, usize)> = None;
    let mut consider = |index: usize, it: &Listed| {
        let score = score(hash, it);
        if best.is_none_or(|(most, _)| score > most) {
            best = Some((score, index));
        }
    };
    for (index, it) in endpoints.iter().enumerate() {
        if usable(index) && has_room(index, it.weight) {
            consider(index, it);
        }
    }
    // The bound is above the mean, so one endpoint has room.
    best.map(|(_, index)| index)
}

/// The number that an endpoint draws for a key. The highest of several wins as often as the weight
/// of its endpoint says: -ln(u) / weight is an exponential variable, and the smallest of those is
/// that of each with a probability in proportion to its rate.
fn score(hash: u64, endpoint: &Listed) -> f64 {
    let drawn = mix(hash ^ endpoint.identity) >> 11;
    // 53 bits, in the middle of their cells: neither 0 nor 1.
    let uniform = (drawn as f64 + 0.5) / (1_u64 << 53) as f64;
    f64::from(endpoint.weight) / -uniform.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::tests::listed;

    const KEYS: u64 = 20_000;

    fn idle(endpoints: &[Listed], key: u64, usable: impl Fn(usize) -> bool) -> usize {
        pick(endpoints, hash_of(&key.to_le_bytes()), usable, |_| 0).unwrap()
    }

    #[test]
    fn keys_are_shared_by_the_weights() {
        let endpoints = listed(&[5, 3, 1, 1]);
        let mut counts = [0.0; 4];
        (0..KEYS).for_each(|key| counts[idle(&endpoints, key, |_| true)] += 1.0 / KEYS as f64);
        for (count, expected) in counts.iter().zip([0.5, 0.3, 0.1, 0.1]) {
            assert!((count - expected).abs() < 0.01, "{counts:?}");
        }
    }

    #[test]
    fn only_the_keys_of_an_endpoint_move_when_it_comes_or_goes() {
        let all = listed(&[2, 1, 1, 1, 5]);
        for gone in 0..all.len() {
            let mut moved = 0;
            let (mut others, sum) = (all.clone(), 10.0);
            others.remove(gone);
            for key in 0..KEYS {
                let before = idle(&all, key, |_| true);
                let after = others[idle(&others, key, |_| true)].identity;
                // It makes no difference whether it is out of the list or may not be used.
                assert_eq!(all[idle(&all, key, |it| it != gone)].identity, after);
                if before == gone {
                    moved += 1;
                } else {
                    assert_eq!(all[before].identity, after);
                }
            }
            let expected = f64::from(all[gone].weight) / sum;
            assert!((f64::from(moved) / KEYS as f64 - expected).abs() < 0.01, "{gone}: {moved}");
        }
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let list = listed(&[1, 2, 3]);
        let turned: Vec<_> = list.iter().rev().copied().collect();
        for key in 0..1_000 {
            let one = list[idle(&list, key, |_| true)].identity;
            assert_eq!(one, turned[idle(&turned, key, |_| true)].identity);
        }
    }

    #[test]
    fn a_popular_key_overflows_within_the_bound() {
        let endpoints = listed(&[1, 1, 1, 1]);
        let mut in_flight = [0_u32; 4];
        // Nothing ends, and every request has the same key.
        for count in 1..=1_000 {
            let index = pick(&endpoints, 7, |_| true, |index| in_flight[index]).unwrap();
            in_flight[index] += 1;
            let bound = (LOAD_MAX * f64::from(count) / 4.0).ceil().max(IN_FLIGHT_FREE.into());
            assert!(f64::from(in_flight[index]) <= bound, "{in_flight:?}");
        }
        // The endpoint of the key has as much as it may.
        assert_eq!(in_flight.iter().max(), Some(&313), "{in_flight:?}");
    }

    #[test]
    fn hashes_stay_the_same_in_every_version() {
        assert_eq!(hash_of(b""), mix(0xcbf2_9ce4_8422_2325));
        assert_eq!(hash_of(b"a"), mix(0xaf63_dc4c_8601_ec8c), "the vector of the authors of FNV");
    }
}
