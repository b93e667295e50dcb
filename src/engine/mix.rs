//! Mixes 64 bits, to spread load and to make identifiers. Nothing here is secret.

/// 2^64 divided by the golden ratio: the step of splitmix64. Odd, so that counting by it visits
/// every 64-bit value once.
pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of splitmix64: a bijection in which each input bit moves about half the output.
pub(crate) const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
