//! Bytes that clients chose, made harmless.
//!
//! Invariant: the text written here has no control byte, no line end (also none of Unicode's), and
//! no quote that is not escaped.

/// Appends the inside of a JSON string. Bytes that are not UTF-8 become U+FFFD, one for each piece that cannot be read;
/// control characters (DEL and C1 too) and U+2028, U+2029 become `\u00XX`, `\u202X`.
pub(super) fn json(line: &mut Vec<u8>, text: &[u8]) {
    let (plain, rest) = split_plain(text);
    line.extend_from_slice(plain);
    if !rest.is_empty() {
        json_escaped(line, rest);
    }
}

/// Appends the text the way nginx does: `"`, `\`, control bytes and all that is not ASCII become
/// `\xXX`.
pub(super) fn plain(line: &mut Vec<u8>, text: &[u8]) {
    let (plain, rest) = split_plain(text);
    line.extend_from_slice(plain);
    for &byte in rest {
        if is_plain(byte) {
            line.push(byte);
        } else {
            line.extend_from_slice(&[b'\\', b'x', hex(byte >> 4), hex(byte)]);
        }
    }
}

#[cold]
fn json_escaped(line: &mut Vec<u8>, text: &[u8]) {
    for piece in text.utf8_chunks() {
        for character in piece.valid().chars() {
            match character {
                '"' => line.extend_from_slice(b"\\\""),
                '\\' => line.extend_from_slice(b"\\\\"),
                '\n' => line.extend_from_slice(b"\\n"),
                '\r' => line.extend_from_slice(b"\\r"),
                '\t' => line.extend_from_slice(b"\\t"),
                '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                    let [.., high, low] = u32::from(character).to_be_bytes();
                    let digits = [hex(high >> 4), hex(high), hex(low >> 4), hex(low)];
                    line.extend_from_slice(b"\\u");
                    line.extend_from_slice(&digits);
                }
                _ => line.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !piece.invalid().is_empty() {
            line.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Bytes that are looked at together: as wide as the vectors of every x86-64.
const BLOCK_BYTES: usize = 16;

/// The text up to the first byte that needs more than copying, and the rest.
fn split_plain(text: &[u8]) -> (&[u8], &[u8]) {
    let blocks = text.chunks(BLOCK_BYTES);
    // No early end within a block: so it is done in vectors.
    let harmless = blocks.take_while(|it| it.iter().fold(true, |all, &byte| all & is_plain(byte)));
    let start: usize = harmless.map(<[u8]>::len).sum();
    let rest = text.get(start..).unwrap_or_default();
    let more = rest.iter().take_while(|&&byte| is_plain(byte)).count();
    text.split_at_checked(start + more).unwrap_or((text, &[]))
}

/// Printable ASCII without `"` and `\`.
const fn is_plain(byte: u8) -> bool {
    byte >= b' ' && byte < 0x7f && byte != b'"' && byte != b'\\'
}

/// The low four bits as a hex digit.
const fn hex(bits: u8) -> u8 {
    match bits & 15 {
        digit @ 0..=9 => b'0' + digit,
        letter => b'A' + letter - 10,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json_of(text: &[u8]) -> String {
        let mut line = b"\"".to_vec();
        json(&mut line, text);
        line.push(b'"');
        String::from_utf8(line).unwrap()
    }

    fn plain_of(text: &[u8]) -> String {
        let mut line = Vec::new();
        plain(&mut line, text);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn known_texts_are_written_as_expected() {
        assert_eq!(json_of(b"/a?b=c"), r#""/a?b=c""#);
        assert_eq!(json_of(b"a \"quoted\" \\ text\r\n"), r#""a \"quoted\" \\ text\r\n""#);
        assert_eq!(json_of(b"\x00\x1b[2J\x7f"), r#""\u0000\u001B[2J\u007F""#);
        assert_eq!(json_of("gr\u{fc}n \u{2028}\u{85}".as_bytes()), "\"gr\u{fc}n \\u2028\\u0085\"");
        assert_eq!(json_of(b"bad \xff\xc3 end"), "\"bad \u{fffd}\u{fffd} end\"");
        assert_eq!(plain_of(b"a\"b\\c\n\xc3\xbc"), r"a\x22b\x5Cc\x0A\xC3\xBC");
    }

    proptest! {
        #[test]
        fn json_reads_back_as_the_text_and_stays_in_its_line(
            text in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let written = json_of(&text);
            let read: String = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&text));
            let breaks = |it: char| it.is_control() || ['\u{2028}', '\u{2029}'].contains(&it);
            prop_assert!(!written.contains(breaks));
        }

        #[test]
        fn plain_reads_back_as_the_bytes_and_is_printable(
            text in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let written = plain_of(&text);
            prop_assert!(written.bytes().all(|it| (b' '..0x7f).contains(&it) && it != b'"'));
            let mut read = Vec::new();
            let mut rest = written.as_bytes();
            while let [first, more @ ..] = rest {
                if *first == b'\\' {
                    let digits = std::str::from_utf8(&rest[2..4]).unwrap();
                    read.push(u8::from_str_radix(digits, 16).unwrap());
                    rest = &rest[4..];
                } else {
                    read.push(*first);
                    rest = more;
                }
            }
            prop_assert_eq!(read, text);
        }

        #[test]
        fn plain_text_is_only_copied(text in "[ !#-\\[\\]-~]{0,100}") {
            prop_assert_eq!(json_of(text.as_bytes()), format!("\"{text}\""));
            prop_assert_eq!(plain_of(text.as_bytes()), text);
        }
    }
}
