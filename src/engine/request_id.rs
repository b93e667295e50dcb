//! Request identifiers: 128 bits as 32 lower-case hex digits.
//!
//! An identifier helps to find a request again, in logs and at endpoints. It is unique but not
//! secret: somebody with a few of them can guess others.

use crate::mix::{GOLDEN, mix};

/// Makes the identifiers of one core.
#[derive(Debug)]
pub struct Generator {
    /// Steps through all 64-bit values: within a core the first half never repeats.
    high: u64,
    /// Steps differently per seed: two cores that meet in the first half differ in the second.
    low: u64,
    /// The step of `low`. Odd.
    step: u64,
}

impl Generator {
    /// `seed` differs from core to core and from start to start.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        let low = mix(seed ^ GOLDEN);
        Self { high: mix(seed), low, step: mix(low) | 1 }
    }

    /// The next identifier.
    #[expect(clippy::should_implement_trait, reason = "endless: an iterator would offer an end")]
    pub fn next(&mut self) -> [u8; 32] {
        self.high = self.high.wrapping_add(GOLDEN);
        self.low = self.low.wrapping_add(self.step);
        let mut id = [0; 32];
        let halves = [mix(self.high), mix(self.low)];
        let quarters = halves.iter().flat_map(|half| [half >> 32, half & 0xffff_ffff]);
        for (digits, quarter) in id.as_chunks_mut::<8>().0.iter_mut().zip(quarters) {
            *digits = hex(quarter);
        }
        id
    }
}

/// The 8 hex digits of the low 32 bits of `value`, all at once.
const fn hex(value: u64) -> [u8; 8] {
    // Spread the eight nibbles over the eight bytes.
    let value = ((value & 0xffff_0000) << 16) | (value & 0xffff);
    let value = ((value << 8) & 0x00ff_0000_00ff_0000) | (value & 0x0000_00ff_0000_00ff);
    let value = ((value << 4) & 0x0f00_0f00_0f00_0f00) | (value & 0x000f_000f_000f_000f);
    // A nibble above 9 carries into its bit 4 when 6 is added.
    let letters = (value.wrapping_add(0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    // '0' is 0x30; 'a' is 0x27 further than '9' + 1.
    value.wrapping_add(0x3030_3030_3030_3030).wrapping_add(letters.wrapping_mul(0x27)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn hex_agrees_with_the_formatter() {
        for value in [0, 1, 0x0123_4567, 0x89ab_cdef, 0xffff_ffff, 0xdead_beef, 0x9a9a_a9a9] {
            assert_eq!(hex(value), *format!("{value:08x}").as_bytes());
        }
    }

    #[test]
    fn identifiers_are_unique_within_and_across_cores() {
        let mut seen = HashSet::new();
        for seed in 0..8 {
            let mut generator = Generator::new(seed);
            for _ in 0..10_000 {
                assert!(seen.insert(generator.next()));
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_identifiers() {
        assert_eq!(Generator::new(7).next(), Generator::new(7).next());
        assert_ne!(Generator::new(7).next(), Generator::new(8).next());
    }
}
