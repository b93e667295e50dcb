//! HPACK, RFC 7541: header blocks to fields, and back.
//!
//! A decoder and an encoder have a dynamic table each, and live as long as their connection. Decoding hands
//! each field to a function, as bytes of the table or of the block: nothing is kept, so a block that
//! names a large field again and again (an HPACK bomb) costs no memory.
//!
//! Invariant: a block is decoded to its end whatever its fields are, because the next block depends on it.

use super::breach::Breach;
use super::huffman;
use super::table::{DynamicTable, STATIC, TABLE_BYTES_MAX};
use crate::head::HeaderId;

/// Bits of a number in one byte behind which it goes on; more than 28 bits are no length that we take.
const NUMBER_SHIFT_MAX: u32 = 21;

/// Reads the blocks of one direction of a connection.
#[derive(Debug, Default)]
pub(super) struct BlockDecoder {
    table: DynamicTable,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl BlockDecoder {
    /// Hands the name and value of each field of a block to `field`.
    pub(super) fn decode(
        &mut self,
        block: &[u8],
        mut field: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), Breach> {
        let mut rest = block;
        let mut may_resize = true;
        while let Some(first) = rest.first().copied() {
            if first & 0xe0 == 0x20 {
                // A new maximum, RFC 7541 6.3: only at the beginning of a block (4.2).
                let max = number(&mut rest, 5)?;
                if !may_resize || max > TABLE_BYTES_MAX {
                    return Err(Breach::BlockMalformed);
                }
                self.table.set_max(max);
                continue;
            }
            may_resize = false;
            if first & 0x80 != 0 {
                let (name, value) = indexed(&self.table, number(&mut rest, 7)?)?;
                field(name, value);
                continue;
            }
            let keeps = first & 0x40 != 0;
            let index = number(&mut rest, if keeps { 6 } else { 4 })?;
            // The name is copied: adding the field may evict the entry that it comes from.
            if index > 0 {
                self.name.clear();
                self.name.extend_from_slice(indexed(&self.table, index)?.0);
            } else {
                text(&mut rest, &mut self.name)?;
            }
            text(&mut rest, &mut self.value)?;
            if keeps {
                self.table.insert(&self.name, &self.value);
            }
            field(&self.name, &self.value);
        }
        Ok(())
    }
}

fn indexed(table: &DynamicTable, index: usize) -> Result<(&[u8], &[u8]), Breach> {
    let at = index.checked_sub(1).ok_or(Breach::BlockMalformed)?;
    let found = match STATIC.get(at) {
        Some((name, value)) => Some((*name, *value)),
        None => table.get(at - STATIC.len()),
    };
    found.ok_or(Breach::BlockMalformed)
}

/// A number with a prefix of so many bits, RFC 7541 5.1.
fn number(rest: &mut &[u8], prefix: u32) -> Result<usize, Breach> {
    let (first, mut bytes) = rest.split_first().ok_or(Breach::BlockMalformed)?;
    let mask = (1_u8 << prefix).wrapping_sub(1);
    let mut number = usize::from(first & mask);
    if first & mask == mask {
        let mut shift = 0;
        loop {
            let (byte, behind) = bytes.split_first().ok_or(Breach::BlockMalformed)?;
            bytes = behind;
            if shift > NUMBER_SHIFT_MAX {
                return Err(Breach::BlockMalformed);
            }
            number += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = bytes;
    Ok(number)
}

/// A text, RFC 7541 5.2.
fn text(rest: &mut &[u8], into: &mut Vec<u8>) -> Result<(), Breach> {
    into.clear();
    let is_coded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let len = number(rest, 7)?;
    let (text, behind) = rest.split_at_checked(len).ok_or(Breach::BlockMalformed)?;
    *rest = behind;
    if is_coded {
        huffman::decode(text, into).ok_or(Breach::BlockMalformed)
    } else {
        into.extend_from_slice(text);
        Ok(())
    }
}

/// Writes the blocks of one direction of a connection.
#[derive(Debug, Default)]
pub(super) struct BlockEncoder {
    table: DynamicTable,
    /// The smallest maximum since the last block, where it has changed.
    least: Option<usize>,
}

impl BlockEncoder {
    /// The peer allows a table of so many bytes, RFC 7541 4.2.
    pub(super) fn set_max(&mut self, max: usize) {
        let max = max.min(TABLE_BYTES_MAX);
        if max != self.table.max() {
            self.least = Some(self.least.unwrap_or(max).min(max));
            self.table.set_max(max);
        }
    }

    /// Begins a block.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(least) = self.least.take() {
            if least < self.table.max() {
                write_number(0x20, 5, least, out);
            }
            write_number(0x20, 5, self.table.max(), out);
        }
    }

    /// Appends a field of which a static entry has the name, and perhaps the value.
    pub(super) fn known(&mut self, index: usize, value: &[u8], out: &mut Vec<u8>) {
        if let Some((_, known)) = index.checked_sub(1).and_then(|at| STATIC.get(at))
            && *known == value
        {
            write_number(0x80, 7, index, out);
        } else {
            write_number(0, 4, index, out);
            write_text(value, out);
        }
    }

    /// Appends a field. The name is in lower case.
    pub(super) fn field(&mut self, id: HeaderId, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let keeps = is_steady(id) && self.table.can_hold(name.len(), value.len());
        if keeps && let Some(index) = self.table.find(name, value) {
            return write_number(0x80, 7, STATIC.len() + 1 + index, out);
        }
        let index = static_index(id);
        let (pattern, prefix) = match (keeps, is_secret(id)) {
            (true, _) => (0x40, 6),
            (false, true) => (0x10, 4),
            (false, false) => (0, 4),
        };
        write_number(pattern, prefix, index, out);
        if index == 0 {
            write_text(name, out);
        }
        write_text(value, out);
        if keeps {
            self.table.insert(name, value);
        }
    }
}

/// Whether a header mostly has the same value on a connection, so that it earns a place in the table.
const fn is_steady(id: HeaderId) -> bool {
    matches!(
        id,
        HeaderId::Server
            | HeaderId::Date
            | HeaderId::ContentType
            | HeaderId::ContentEncoding
            | HeaderId::CacheControl
            | HeaderId::Vary
            | HeaderId::Via
            | HeaderId::AcceptRanges
            | HeaderId::StrictTransportSecurity
            | HeaderId::AccessControlAllowOrigin
            | HeaderId::AccessControlAllowCredentials
            | HeaderId::AccessControlAllowMethods
            | HeaderId::AccessControlAllowHeaders
            | HeaderId::AccessControlExposeHeaders
    )
}

/// Whether no hop may put the value in a table, RFC 7541 7.1.3: it could be guessed from the size of blocks.
const fn is_secret(id: HeaderId) -> bool {
    matches!(
        id,
        HeaderId::Authorization
            | HeaderId::ProxyAuthorization
            | HeaderId::Cookie
            | HeaderId::SetCookie
    )
}

/// The index of each known name in the static table; 0 for none.
#[expect(clippy::indexing_slicing, reason = "an id is one byte")]
fn static_index(id: HeaderId) -> usize {
    static INDEXES: std::sync::LazyLock<[u8; 256]> = std::sync::LazyLock::new(|| {
        let mut indexes = [0; 256];
        for (at, (name, _)) in (1..).zip(STATIC) {
            let id = HeaderId::of(name);
            // The first of a name: it has the shortest number.
            if id != HeaderId::Other && indexes[id as usize] == 0 {
                indexes[id as usize] = at;
            }
        }
        indexes
    });
    usize::from(INDEXES[id as usize])
}

#[expect(clippy::cast_possible_truncation, reason = "each byte takes seven or fewer bits")]
fn write_number(pattern: u8, prefix: u32, number: usize, out: &mut Vec<u8>) {
    let mask = (1_usize << prefix) - 1;
    if number < mask {
        return out.push(pattern | number as u8);
    }
    out.push(pattern | mask as u8);
    let mut rest = number - mask;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn write_text(text: &[u8], out: &mut Vec<u8>) {
    let coded = huffman::encoded_len(text);
    if coded < text.len() {
        write_number(0x80, 7, coded, out);
        huffman::encode(text, out);
    } else {
        write_number(0, 7, text.len(), out);
        out.extend_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    fn fields(decoder: &mut BlockDecoder, block: &[u8]) -> Result<Vec<String>, Breach> {
        let mut fields = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        decoder
            .decode(block, |name, value| fields.push(format!("{}={}", text(name), text(value))))?;
        Ok(fields)
    }

    #[test]
    fn the_requests_of_the_standard_are_read() {
        // RFC 7541 C.3 without Huffman coding, C.4 with it: the same three requests.
        let plain = [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ];
        let coded = [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ];
        for blocks in [plain, coded] {
            let mut decoder = BlockDecoder::default();
            let mut next = |at: usize| fields(&mut decoder, &bytes(blocks[at])).unwrap().join(" ");
            assert_eq!(next(0), ":method=GET :scheme=http :path=/ :authority=www.example.com");
            assert_eq!(
                next(1),
                ":method=GET :scheme=http :path=/ :authority=www.example.com cache-control=no-cache"
            );
            assert_eq!(
                next(2),
                ":method=GET :scheme=https :path=/index.html :authority=www.example.com \
                 custom-key=custom-value"
            );
        }
    }

    #[test]
    fn entries_are_evicted_as_in_the_standard() {
        // RFC 7541 C.6: responses with Huffman coding and a table of 256 bytes.
        let mut decoder = BlockDecoder::default();
        decoder.table.set_max(256);
        let date = "date=Mon, 21 Oct 2013 20:13:21 GMT";
        let first = "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 \
                     2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3";
        assert_eq!(
            fields(&mut decoder, &bytes(first)).unwrap(),
            [":status=302", "cache-control=private", date, "location=https://www.example.com"]
        );
        assert_eq!(
            fields(&mut decoder, &bytes("4883 640e ffc1 c0bf")).unwrap(),
            [":status=307", "cache-control=private", date, "location=https://www.example.com"]
        );
        assert_eq!(
            (decoder.table.get(3), decoder.table.get(4)),
            (Some((&b"cache-control"[..], &b"private"[..])), None)
        );
    }

    #[test]
    fn a_malformed_block_is_refused() {
        for block in [
            "80",                // index 0
            "be",                // an entry that is not there
            "ff ff ff ff ff 0f", // a number without end
            "40 01",             // a text that is cut short
            "82 20",             // a new size behind a field
            "3f e2 1f",          // a size beyond the setting
            "00 81 00 00",       // bad padding
        ] {
            let verdict = fields(&mut BlockDecoder::default(), &bytes(block));
            assert_eq!(verdict, Err(Breach::BlockMalformed), "{block}");
        }
    }

    #[test]
    fn secrets_are_never_indexed() {
        let mut out = Vec::new();
        for id in [HeaderId::Authorization, HeaderId::Cookie, HeaderId::SetCookie] {
            out.clear();
            BlockEncoder::default().field(id, id.name().as_bytes(), b"x", &mut out);
            assert_eq!(out[0] & 0xf0, 0x10, "{id:?}");
        }
    }

    proptest! {
        #[test]
        fn decoding_gives_what_was_encoded(
            blocks in proptest::collection::vec(
                (
                    proptest::option::of(0_usize..9000),
                    proptest::collection::vec((0_usize..80, "[ -~]{0,300}"), 0..12),
                ),
                1..12,
            ),
        ) {
            let ids: Vec<HeaderId> = HeaderId::all().collect();
            let (mut encoder, mut decoder) = (BlockEncoder::default(), BlockDecoder::default());
            for (max, block) in blocks {
                if let Some(max) = max {
                    encoder.set_max(max);
                }
                let (mut out, mut sent) = (Vec::new(), Vec::new());
                encoder.begin(&mut out);
                for (at, value) in block {
                    let id = ids.get(at).copied().unwrap_or(HeaderId::Other);
                    let name = if id == HeaderId::Other { "x-own" } else { id.name() };
                    encoder.field(id, name.as_bytes(), value.as_bytes(), &mut out);
                    sent.push(format!("{name}={value}"));
                }
                prop_assert_eq!(fields(&mut decoder, &out).unwrap(), sent);
            }
        }

        #[test]
        fn any_block_is_read_or_refused(blocks: Vec<Vec<u8>>) {
            let mut decoder = BlockDecoder::default();
            for block in blocks {
                let _ = fields(&mut decoder, &block);
                prop_assert!(decoder.table.max() <= TABLE_BYTES_MAX);
            }
        }
    }
}
