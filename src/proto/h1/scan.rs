//! Finding the end of a head while it arrives.

/// The bytes that are tested at once: two vector registers of the baseline instruction set.
const WINDOW: usize = 32;

/// Finds the end of a head, however it drips in: each byte is looked at once.
///
/// A head ends at an empty line. One that is ended by LF alone is found as well, so that the parser
/// refuses it at once rather than the client waiting for an answer until a timeout.
///
/// A scanner is for one head; the next head starts with a new one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scanner {
    /// No line end before this index is followed by an empty line.
    seen: usize,
}

impl Scanner {
    /// Nothing seen yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { seen: 0 }
    }

    /// The length of the head with its empty line, once it is all there. `bytes` is what there is
    /// of the head, from its start: at each call those of the call before, and more.
    #[inline]
    pub fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        // An empty line shows as an LF that is followed by a CR or LF. Windows without that pair
        // hold nothing; that test is vector code, while a search for LF stops at every line.
        while let Some(window) = bytes.get(self.seen..).and_then(<[u8]>::first_chunk) {
            if may_hold_end(window)
                && let Some(end) = end_in(bytes, self.seen, WINDOW)
            {
                return Some(end);
            }
            self.seen += WINDOW;
        }
        let end = end_in(bytes, self.seen, WINDOW + 1);
        // The last two bytes may be the first of an LF CR LF.
        self.seen = self.seen.max(bytes.len().saturating_sub(2));
        end
    }
}

/// Whether one of the first bytes is an LF with a CR or LF behind it. The window has two bytes more,
/// so that what is behind each of them is there to be looked at.
#[inline]
fn may_hold_end(window: &[u8; WINDOW + 2]) -> bool {
    let next = window.iter().skip(1);
    window.iter().take(WINDOW).zip(next).fold(false, |found, (byte, next)| {
        found | ((*byte == b'\n') & ((*next == b'\n') | (*next == b'\r')))
    })
}

/// The end of the head, if its last line but the empty one ends in the `count` bytes from `from`.
fn end_in(bytes: &[u8], from: usize, count: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let ends = memchr::memchr_iter(b'\n', rest.get(..count).unwrap_or(rest));
    ends.into_iter().find_map(|at| match rest.get(at + 1..)? {
        [b'\n', ..] => Some(from + at + 2),
        [b'\r', b'\n', ..] => Some(from + at + 3),
        _ => None,
    })
}

/// Bytes of an empty line before a request line, which RFC 9112 2.2 tells servers to skip: 2 or 0.
///
/// Call it before a request's first scan, and skip at most one: a second is refused by the parser.
/// If the bytes are a lone CR there are 0 and nothing to scan yet; ask again when more has come.
#[must_use]
pub fn leading_blank(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\r\n") { 2 } else { 0 }
}
