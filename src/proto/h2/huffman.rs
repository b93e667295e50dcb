//! The Huffman code of HPACK, RFC 7541 5.2 and appendix B.
//!
//! The code is canonical: codes of one length are consecutive numbers in the order of their symbols, and
//! each length goes on where the one before ended. So the lengths are all of it, and every other table
//! here is made from them when the crate is compiled.

/// Bits of the code of each byte, RFC 7541 appendix B.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// Bits of the longest code.
const BITS_MAX: usize = 30;
/// Bits by which the first look at a code finds its symbol, if the code is no longer.
const LOOK_BITS: usize = 8;

struct Tables {
    /// The code of each byte.
    codes: [u32; 256],
    /// Bytes in the order of their codes.
    symbols: [u8; 256],
    /// For each length: the first code behind the codes of this length, moved to the top of 32 bits.
    limits: [u64; BITS_MAX + 1],
    /// For each length: the number that, taken off a code, leaves the place of its symbol.
    offsets: [u32; BITS_MAX + 1],
    /// For the next bits of the input: the symbol and the length of its code; 0 where it is longer.
    look: [(u8, u8); 1 << LOOK_BITS],
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated when the crate is compiled"
)]
static TABLES: Tables = {
    let mut tables = Tables {
        codes: [0; 256],
        symbols: [0; 256],
        limits: [0; BITS_MAX + 1],
        offsets: [0; BITS_MAX + 1],
        look: [(0, 0); 1 << LOOK_BITS],
    };
    let (mut code, mut place, mut bits) = (0_u32, 0_usize, 1_usize);
    while bits <= BITS_MAX {
        code <<= 1;
        tables.offsets[bits] = code.wrapping_sub(place as u32);
        let mut symbol = 0;
        while symbol < 256 {
            if LENGTHS[symbol] as usize == bits {
                tables.codes[symbol] = code;
                tables.symbols[place] = symbol as u8;
                if bits <= LOOK_BITS {
                    let first = (code as usize) << (LOOK_BITS - bits);
                    let mut at = first;
                    while at < first + (1 << (LOOK_BITS - bits)) {
                        tables.look[at] = (symbol as u8, bits as u8);
                        at += 1;
                    }
                }
                code += 1;
                place += 1;
            }
            symbol += 1;
        }
        tables.limits[bits] = (code as u64) << (32 - bits);
        bits += 1;
    }
    assert!(place == 256, "every byte has a code");
    tables
};

/// Appends the text of `coded` to `into`. `None` if it is no code: it holds the end-of-string symbol, or
/// ends with something else than up to 7 bits of that (RFC 7541 5.2).
pub(super) fn decode(coded: &[u8], into: &mut Vec<u8>) -> Option<()> {
    let mut rest = coded.iter();
    // The next bits are at the top.
    let (mut window, mut bits) = (0_u64, 0_usize);
    loop {
        while bits <= 56 {
            let Some(byte) = rest.next() else { break };
            window |= u64::from(*byte) << (56 - bits);
            bits += 8;
        }
        if bits == 0 {
            return Some(());
        }
        let (mut symbol, mut len) = TABLES.look.get((window >> 56) as usize).copied()?;
        if len == 0 {
            let top = window >> 32;
            let long = (LOOK_BITS + 1..=BITS_MAX)
                .find(|bits| TABLES.limits.get(*bits).is_some_and(|limit| top < *limit));
            // No code begins so but the end of the string, of which the padding is the beginning.
            let Some(long) = long else { return padding(window, bits) };
            let code = u32::try_from(top >> (32 - long)).ok()?;
            let place = code.wrapping_sub(*TABLES.offsets.get(long)?);
            symbol = *TABLES.symbols.get(place as usize)?;
            len = u8::try_from(long).ok()?;
        }
        if usize::from(len) > bits {
            return padding(window, bits);
        }
        into.push(symbol);
        window <<= len;
        bits -= usize::from(len);
    }
}

/// Whether the last `bits` bits are the beginning of the end-of-string symbol, which is all ones.
fn padding(window: u64, bits: usize) -> Option<()> {
    (bits < 8 && window >> (64 - bits) == (1 << bits) - 1).then_some(())
}

/// The bytes that `text` has in the code.
pub(super) fn encoded_len(text: &[u8]) -> usize {
    let bits = |byte: &u8| usize::from(LENGTHS.get(usize::from(*byte)).copied().unwrap_or(0));
    text.iter().map(bits).sum::<usize>().div_ceil(8)
}

/// Appends the code of `text` to `into`.
pub(super) fn encode(text: &[u8], into: &mut Vec<u8>) {
    let (mut window, mut bits) = (0_u64, 0_u32);
    for byte in text {
        let at = usize::from(*byte);
        let (Some(code), Some(len)) = (TABLES.codes.get(at), LENGTHS.get(at)) else { continue };
        window = window << len | u64::from(*code);
        bits += u32::from(*len);
        while bits >= 8 {
            bits -= 8;
            into.push((window >> bits & 0xff) as u8);
        }
    }
    if bits > 0 {
        into.push((window << (8 - bits) & 0xff) as u8 | 0xff >> bits);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_codes_are_those_of_the_standard() {
        // RFC 7541 appendix B, one of each kind.
        for (symbol, code, bits) in [
            (b'0', 0x0, 5),
            (b'z', 0x7b, 7),
            (b'&', 0xf8, 8),
            (0, 0x1ff8, 13),
            (b'\\', 0x7fff0, 19),
            (255, 0x3ff_ffee, 26),
            (22, 0x3fff_fffe, 30),
        ] {
            let at = usize::from(symbol);
            assert_eq!((TABLES.codes[at], LENGTHS[at]), (code, bits), "{symbol}");
        }
    }

    #[test]
    fn padding_is_at_most_seven_ones() {
        let mut out = Vec::new();
        assert_eq!(decode(&[0b0000_0111], &mut out), Some(()));
        assert_eq!(out, b"0");
        for bad in [&[0b0000_0110][..], &[0b0000_0111, 0xff], &[0xff], &[0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(decode(bad, &mut Vec::new()), None, "{bad:x?}");
        }
    }

    proptest! {
        #[test]
        fn decoding_gives_what_was_encoded(text: Vec<u8>) {
            let (mut coded, mut back) = (Vec::new(), Vec::new());
            encode(&text, &mut coded);
            prop_assert_eq!(coded.len(), encoded_len(&text));
            prop_assert_eq!(decode(&coded, &mut back), Some(()));
            prop_assert_eq!(back, text);
        }
    }
}
