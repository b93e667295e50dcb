//! Looking at eight bytes at once: Hacker's Delight (Warren, 2nd edition), section 6-1.
//!
//! A mask has the highest bit of a byte set where that byte of the word is what was looked for. Bits
//! above the lowest one set may be wrong, because a subtraction borrows from the byte above: a mask,
//! or several of them together, tells only where the *first* such byte is.

/// One in each byte.
const ONES: u64 = u64::from_ne_bytes([1; 8]);
/// The highest bit of each byte.
const HIGHEST: u64 = ONES << 7;

/// Index of the first byte from `from` on that `mask` finds.
#[inline]
pub(super) fn position(bytes: &[u8], from: usize, mask: impl Fn(u64) -> u64) -> Option<usize> {
    let (words, tail) = bytes.get(from..)?.as_chunks();
    let mut at = from;
    for word in words {
        let found = mask(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(at + first(found));
        }
        at += 8;
    }
    // Zeros stand in for what is not there, and may be found.
    let word = tail.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let behind = first(mask(word));
    (behind < tail.len()).then(|| at + behind)
}

/// Bytes in front of the first that is found.
#[inline]
const fn first(mask: u64) -> usize {
    mask.trailing_zeros() as usize / 8
}

/// Bytes that are `byte`.
#[inline]
pub(super) const fn equal(word: u64, byte: u8) -> u64 {
    let differs = word ^ (ONES * byte as u64);
    differs.wrapping_sub(ONES) & !differs & HIGHEST
}

/// Bytes below `least`, which is at most 0x80.
#[inline]
const fn below(word: u64, least: u8) -> u64 {
    word.wrapping_sub(ONES * least as u64) & !word & HIGHEST
}

/// Control bytes: what ends a text (HTAB does not, but is found), RFC 5234 B.1.
#[inline]
pub(super) const fn control(word: u64) -> u64 {
    below(word, b' ') | equal(word, 0x7f)
}

/// Space and control bytes: what ends a word.
#[inline]
pub(super) const fn space_or_control(word: u64) -> u64 {
    below(word, b' ' + 1) | equal(word, 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_position_is_that_of_the_first_such_byte(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x1e..0x23u8, 0x7d..0x82u8], 0..40),
            from in 0..42usize,
            byte: u8,
        ) {
            let first = |is: &dyn Fn(u8) -> bool| {
                (from..bytes.len()).find(|at| is(bytes[*at]))
            };
            prop_assert_eq!(
                position(&bytes, from, |word| equal(word, byte)), first(&|other| other == byte)
            );
            prop_assert_eq!(position(&bytes, from, control), first(&|byte| byte.is_ascii_control()));
            let ends = |byte: u8| byte.is_ascii_control() || byte == b' ';
            prop_assert_eq!(position(&bytes, from, space_or_control), first(&ends));
        }
    }
}
