//! A value for each of the keys that came last: memory with a bound.
//!
//! Two tables, each half as large as the bound. A key goes into the young one. When that is full it
//! becomes the old one, and the keys of the old one that nobody has asked for since are forgotten. So a
//! look-up costs one or two accesses, and no list is kept in order.
//!
//! Invariant: no more than the bound are remembered, and of the keys that came last at least half
//! as many are.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::key::KeyId;

/// See the module.
#[derive(Debug)]
pub struct Recent<V> {
    /// Keys that each table may hold.
    half: usize,
    young: HashMap<KeyId, V, FixedState>,
    old: HashMap<KeyId, V, FixedState>,
}

impl<V: Copy + Default> Recent<V> {
    /// Nothing yet, and never more than so many keys.
    #[must_use]
    pub fn new(keys_max: usize) -> Self {
        let table = || HashMap::with_hasher(FixedState::default());
        Self { half: keys_max.div_ceil(2).max(1), young: table(), old: table() }
    }

    /// From now on, so many keys at most.
    pub fn resize(&mut self, keys_max: usize) {
        self.half = keys_max.div_ceil(2).max(1);
        if self.young.len() > self.half {
            self.young.clear();
        }
        if self.old.len() > self.half {
            self.old.clear();
        }
    }

    /// The value of this key; the default, where it is not remembered.
    pub fn value(&mut self, key: KeyId) -> &mut V {
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            std::mem::swap(&mut self.young, &mut self.old);
            let remembered = self.young.remove(&key);
            self.young.clear();
            // It stood in the table that goes, and is asked for right now.
            if let Some(value) = remembered {
                self.young.insert(key, value);
            }
        }
        let old = &mut self.old;
        self.young.entry(key).or_insert_with(|| old.remove(&key).unwrap_or_default())
    }

    /// How many keys are remembered.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_keys_stays_within_the_bound_and_a_steady_key_is_remembered() {
        let mut recent = Recent::<u64>::new(100);
        let mut longest = 0;
        for round in 1..1_000_000_u64 {
            *recent.value(KeyId(u128::from(round) << 7)) += 1;
            if round % 40 == 0 {
                *recent.value(KeyId(1)) += 1;
            }
            longest = longest.max(recent.len());
        }
        assert_eq!(*recent.value(KeyId(1)), 999_999 / 40);
        assert!((50..=100).contains(&longest), "{longest}");
    }

    #[test]
    fn a_smaller_bound_holds_at_once() {
        let mut recent = Recent::<u64>::new(100);
        (0..100).for_each(|key| *recent.value(KeyId(key)) += 1);
        recent.resize(10);
        assert!(recent.len() <= 10);
        (0..100).for_each(|key| *recent.value(KeyId(key)) += 1);
        assert!(recent.len() <= 10);
    }
}
