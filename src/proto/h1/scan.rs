//! Finding the end of a head while it arrives.

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

    /// The length of the head with its empty line, once it is all there. `bytes` are those of
    /// the head so far, from its start: at each call those of the call before, and more.
    #[inline]
    pub fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        let rest = bytes.get(self.seen..)?;
        let end = memchr::memchr_iter(b'\n', rest).find_map(|at| match rest.get(at + 1..)? {
            [b'\n', ..] => Some(self.seen + at + 2),
            [b'\r', b'\n', ..] => Some(self.seen + at + 3),
            _ => None,
        });
        // The last two bytes may be the first of an LF CR LF.
        self.seen = self.seen.max(bytes.len().saturating_sub(2));
        end
    }
}

/// Bytes of an empty line before a request line, which RFC 9112 2.2 tells servers to skip: 2 or 0.
///
/// Call it before a request's first scan, and skip at most one: a second is refused by the parser.
/// If the bytes are a lone CR there are 0 and nothing to scan yet; ask again when more has come.
#[must_use]
pub fn leading_blank(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\r\n") { 2 } else { 0 }
}
