//! Looking at sixteen bytes at once.
//!
//! A mask has a bit for each byte of a block, the lowest for the first; it is set where that byte is
//! one of those in question.

use wide::u8x16;

/// Bytes of a block.
const BLOCK_BYTES: usize = 16;

/// Index of the first byte from `from` on that `mask` finds.
#[inline]
pub(super) fn position(bytes: &[u8], from: usize, mask: impl Fn(u8x16) -> u32) -> Option<usize> {
    let (blocks, rest) = bytes.get(from..)?.as_chunks();
    let mut at = from;
    for block in blocks {
        let found = mask(u8x16::new(*block));
        if found != 0 {
            return Some(at + first(found));
        }
        at += BLOCK_BYTES;
    }
    let found = match bytes.last_chunk() {
        // The bytes that are left are the end of this block.
        Some(last) => mask(u8x16::new(*last)) >> (BLOCK_BYTES - rest.len()),
        None => {
            let mut block = [0; BLOCK_BYTES];
            block.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
            mask(u8x16::new(block)) & !(u32::MAX << rest.len())
        }
    };
    (found != 0).then(|| at + first(found))
}

/// Bytes in front of the first that is found.
#[inline]
const fn first(mask: u32) -> usize {
    mask.trailing_zeros() as usize
}

/// Bytes that are `byte`.
#[inline]
pub(super) fn equal(block: u8x16, byte: u8) -> u32 {
    block.simd_eq(u8x16::splat(byte)).to_bitmask()
}

/// Control bytes, which end a text (HTAB does not, but is found), RFC 5234 B.1.
#[inline]
pub(super) fn control(block: u8x16) -> u32 {
    (up_to(block, 0x1f) | block.simd_eq(u8x16::splat(0x7f))).to_bitmask()
}

/// Space and control bytes, which end a word.
#[inline]
pub(super) fn space_or_control(block: u8x16) -> u32 {
    (up_to(block, b' ') | block.simd_eq(u8x16::splat(0x7f))).to_bitmask()
}

/// Bytes from 0 to `most`.
#[inline]
fn up_to(block: u8x16, most: u8) -> u8x16 {
    // SSE2 has no comparison of unsigned bytes.
    block.simd_eq(block.min(u8x16::splat(most)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_position_is_that_of_the_first_such_byte(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x1e..0x23u8, 0x7d..0x82u8], 0..60),
            from in 0..62usize,
            byte: u8,
        ) {
            let first = |is: &dyn Fn(u8) -> bool| {
                (from..bytes.len()).find(|at| is(bytes[*at]))
            };
            prop_assert_eq!(
                position(&bytes, from, |block| equal(block, byte)), first(&|other| other == byte)
            );
            prop_assert_eq!(position(&bytes, from, control), first(&|byte| byte.is_ascii_control()));
            let ends = |byte: u8| byte.is_ascii_control() || byte == b' ';
            prop_assert_eq!(position(&bytes, from, space_or_control), first(&ends));
        }
    }
}
