//! A histogram of times: log-linear, 8 us to 67 s, two buckets per power of two.
//!
//! An observation is two adds and no branch that depends on the value. Relative error of a bound is
//! at most 50 %, and a count is never lost: the last bucket has no upper bound.

/// The first bucket ends at this many microseconds, as a power of two.
const FIRST_SHIFT: u32 = 3;
/// Powers of two between the first and the last bound: 8 us to 67 s.
const OCTAVES: u32 = 23;
/// Buckets, the first (at most 8 us) and the last (more than 67 s) included.
pub const BUCKETS: usize = 2 * OCTAVES as usize + 2;

/// Counts of observations by bucket, and their sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// How many observations fell into each bucket, not cumulated.
    pub counts: [u64; BUCKETS],
    /// The sum of all observations, in microseconds.
    pub sum_micros: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], sum_micros: 0 }
    }
}

impl Histogram {
    /// Counts a time of `micros` microseconds.
    pub fn observe(&mut self, micros: u32) {
        if let Some(count) = self.counts.get_mut(bucket(micros)) {
            *count += 1;
        }
        self.sum_micros += u64::from(micros);
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum_micros += other.sum_micros;
    }

    /// Observations in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// The largest time that falls into bucket `index`, in microseconds; none for the last one.
#[must_use]
pub fn bound(index: usize) -> Option<u64> {
    let half = u32::try_from(index).ok().filter(|&half| half <= 2 * OCTAVES)?;
    let octave = 1u64 << (FIRST_SHIFT + half / 2);
    // 8, 12, 16, 24, 32, ...
    Some(octave + if half % 2 == 1 { octave / 2 } else { 0 })
}

/// The bucket of a time.
fn bucket(micros: u32) -> usize {
    // Bounds are inclusive: just below them the bits are regular.
    let below = micros.saturating_sub(1);
    if below < 1 << FIRST_SHIFT {
        return 0;
    }
    let octave = below.ilog2();
    let upper_half = (below >> (octave - 1)) & 1;
    let index = 2 * (octave - FIRST_SHIFT) + upper_half + 1;
    (index as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_whose_bound_it_does_not_exceed() {
        let by_search =
            |micros: u32| (0..BUCKETS - 1).find(|&it| u64::from(micros) <= bound(it).unwrap());
        let near_bounds =
            (0..BUCKETS - 1).flat_map(|it| (0..3).map(move |off| bound(it).unwrap() + off - 1));
        let times = near_bounds.map(|it| u32::try_from(it).unwrap()).chain([0, 1, u32::MAX]);
        for micros in times {
            assert_eq!(bucket(micros), by_search(micros).unwrap_or(BUCKETS - 1), "{micros}");
        }
    }

    #[test]
    fn bounds_grow_from_8_us_to_67_s_and_the_last_bucket_has_none() {
        let bounds: Vec<_> = (0..BUCKETS).map_while(bound).collect();
        assert_eq!(bounds.len(), BUCKETS - 1);
        assert!(bounds.is_sorted());
        assert_eq!((bounds.first(), bounds.last()), (Some(&8), Some(&67_108_864)));
    }

    #[test]
    fn merging_adds() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        one.observe(10);
        other.observe(10);
        other.observe(u32::MAX);
        one.merge(&other);
        assert_eq!((one.count(), one.counts[1]), (3, 2));
        assert_eq!(one.sum_micros, 20 + u64::from(u32::MAX));
    }
}
