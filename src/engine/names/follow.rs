//! Follows one name: which places it stands for after each answer, and when to ask again.

use super::{Lookup, NamedPlace};
use crate::mix::mix;
use crate::time::Micros;

/// The least time between two questions. A TTL of 0 asks for one before each request, which costs
/// more than it gives.
const AGAIN_MIN: Micros = Micros::secs(1);

/// The most time between two questions, however long an answer holds: a mistake in a zone is cured
/// within this time.
const AGAIN_MAX: Micros = Micros::secs(300);

/// The most time between two questions while there is no answer.
const RETRY_MAX: Micros = Micros::secs(30);

/// The places of a name. A resolver can answer with more over TCP; an upstream with thousands of
/// endpoints is a mistake.
pub(crate) const PLACES_MAX: usize = 1024;

/// One name, followed.
#[derive(Clone, Debug, Default)]
pub struct Followed {
    /// In the order of their addresses, each once.
    places: Vec<NamedPlace>,
    /// Questions in a row that had no answer with an address.
    misses: u32,
    counts: ResolutionCounts,
}

/// Questions by their result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResolutionCounts {
    /// An answer with addresses came.
    pub ok: u64,
    /// There was no such name.
    pub no_name: u64,
    /// The name had no address.
    pub no_address: u64,
    /// No answer came.
    pub failed: u64,
}

/// The effect of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowStep {
    /// The name stands for other places than before.
    pub changed: bool,
    /// The first answer with addresses after one without, or the other way round.
    pub turned: bool,
    /// When to ask again.
    pub again_in: Micros,
}

impl Followed {
    /// The places that it stands for, in the order of their addresses.
    #[must_use]
    pub fn places(&self) -> &[NamedPlace] {
        &self.places
    }

    /// The questions so far.
    #[must_use]
    pub const fn counts(&self) -> ResolutionCounts {
        self.counts
    }

    /// Takes in an answer. `seed` spreads the next questions of many names and gateways over time.
    pub fn take(&mut self, lookup: &Lookup, seed: u64) -> FollowStep {
        let counts = &mut self.counts;
        match lookup {
            Lookup::Found { .. } => counts.ok += 1,
            Lookup::NoName => counts.no_name += 1,
            Lookup::NoAddress => counts.no_address += 1,
            Lookup::Failed(_) => counts.failed += 1,
        }
        let Lookup::Found { places, ttl } = lookup else {
            // The places stay: an old address is better than none.
            let doubled = AGAIN_MIN.0.saturating_mul(1 << self.misses.min(16));
            let turned = self.misses == 0;
            self.misses = self.misses.saturating_add(1);
            let again_in = jittered(doubled.min(RETRY_MAX.0), seed);
            return FollowStep { changed: false, turned, again_in };
        };
        let turned = std::mem::take(&mut self.misses) > 0;
        let places = sorted(places);
        let changed = self.places != places;
        self.places = places;
        // A resolver that caches counts the TTL down: a question at its end gets a new answer.
        let again_in = jittered(ttl.0.clamp(AGAIN_MIN.0, AGAIN_MAX.0), seed);
        FollowStep { changed, turned, again_in }
    }
}

/// Places by address, each once with the sum of its weights. Resolvers change the order with each
/// answer.
fn sorted(places: &[NamedPlace]) -> Vec<NamedPlace> {
    let mut sorted = places.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<NamedPlace> = Vec::with_capacity(sorted.len());
    for place in sorted {
        match merged.last_mut() {
            Some(last) if last.address == place.address => {
                last.weight = last.weight.saturating_add(place.weight);
            }
            _ => merged.push(place),
        }
    }
    merged.truncate(PLACES_MAX);
    merged
}

/// `micros` and up to a tenth of it.
const fn jittered(micros: u64, seed: u64) -> Micros {
    Micros(micros + mix(seed) % (micros / 10 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, weight: u32) -> NamedPlace {
        NamedPlace { address: text.parse().unwrap(), weight }
    }

    fn found(places: &[NamedPlace], ttl: Micros) -> Lookup {
        Lookup::Found { places: places.to_vec(), ttl }
    }

    fn failed() -> Lookup {
        Lookup::Failed("timeout".to_owned())
    }

    #[test]
    fn an_answer_in_another_order_changes_nothing() {
        let (one, two) = (place("10.0.0.1:1", 1), place("10.0.0.2:1", 1));
        let mut name = Followed::default();
        let first = name.take(&found(&[two, one], Micros::secs(5)), 1);
        assert!(first.changed && !first.turned);
        assert_eq!(name.places(), [one, two]);
        assert!(!name.take(&found(&[one, two], Micros::secs(5)), 1).changed);
        assert!(name.take(&found(&[two], Micros::secs(5)), 1).changed);
        assert_eq!(name.places(), [two]);
    }

    #[test]
    fn a_place_that_is_named_twice_is_one_with_the_sum_of_the_weights() {
        let mut name = Followed::default();
        let places = [place("10.0.0.1:1", 2), place("10.0.0.2:1", 1), place("10.0.0.1:1", 3)];
        name.take(&found(&places, Micros::secs(5)), 1);
        assert_eq!(name.places(), [place("10.0.0.1:1", 5), place("10.0.0.2:1", 1)]);
    }

    #[test]
    fn old_places_stay_until_there_are_others() {
        let mut name = Followed::default();
        for lookup in [failed(), Lookup::NoName] {
            assert!(!name.take(&lookup, 1).changed);
        }
        let places = [place("10.0.0.1:1", 1)];
        assert_eq!(
            (name.take(&found(&places, Micros::secs(5)), 1).turned, name.places()),
            (true, &places[..])
        );
        for (at, lookup) in [failed(), Lookup::NoName, Lookup::NoAddress].iter().enumerate() {
            let step = name.take(lookup, 1);
            assert_eq!((step.changed, step.turned), (false, at == 0));
            assert_eq!(name.places(), places);
        }
        let counts = ResolutionCounts { ok: 1, no_name: 2, no_address: 1, failed: 2 };
        assert_eq!(name.counts(), counts);
    }

    #[test]
    fn the_next_question_follows_the_ttl_within_bounds() {
        let places = [place("10.0.0.1:1", 1)];
        for seed in 0..1000 {
            for (ttl, least) in [(0, 1), (1, 1), (60, 60), (300, 300), (86_400, 300)] {
                let step = Followed::default().take(&found(&places, Micros::secs(ttl)), seed);
                let (least, most) = (least * 1_000_000, least * 1_100_000);
                assert!((least..=most).contains(&step.again_in.0), "{ttl}: {:?}", step.again_in);
            }
        }
    }

    #[test]
    fn questions_without_an_answer_come_at_growing_intervals() {
        let mut name = Followed::default();
        let seconds: Vec<_> =
            (0..8).map(|seed| name.take(&failed(), seed).again_in.0 / 1_000_000).collect();
        for (least, waited) in [1, 2, 4, 8, 16, 30, 30, 30].into_iter().zip(seconds) {
            assert!((least..=least + 3).contains(&waited), "{least}: {waited}");
        }
        name.take(&found(&[place("10.0.0.1:1", 1)], Micros::secs(9)), 1);
        assert_eq!(name.take(&failed(), 1).again_in.0 / 1_000_000, 1, "it starts anew");
    }

    #[test]
    fn the_places_of_a_name_are_bounded() {
        let places: Vec<_> = (0..2000_u32)
            .map(|it| place(&format!("10.0.{}.{}:1", it / 250, it % 250), 1))
            .collect();
        let mut name = Followed::default();
        name.take(&found(&places, Micros::secs(9)), 1);
        assert_eq!(name.places().len(), PLACES_MAX);
    }
}
