//! Finds the end of a request body and forgets the bytes: Content-Length and chunked (RFC 9112, 6
//! and 7).
//!
//! Invariant: any split of the input gives the same end and the same count.

/// A body that is being read.
#[derive(Debug)]
pub(super) struct Body {
    step: Step,
    /// Payload bytes so far, without the chunk framing.
    pub(super) bytes: u64,
}

/// The body cannot be read: the request is answered 400 and the connection closed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Done,
    /// So many bytes are to come, then the end.
    Length(u64),
    /// In the digits of a chunk size.
    Size(u64),
    /// After the digits, up to the line feed.
    Extension(u64),
    /// In the bytes of a chunk.
    Data(u64),
    /// At the line end behind a chunk.
    DataEnd,
    /// In the trailer section; true while the line is empty so far.
    Trailer(bool),
}

impl Body {
    pub(super) fn none() -> Self {
        Self { step: Step::Done, bytes: 0 }
    }

    pub(super) fn length(bytes: u64) -> Self {
        Self { step: if bytes == 0 { Step::Done } else { Step::Length(bytes) }, bytes: 0 }
    }

    pub(super) fn chunked() -> Self {
        Self { step: Step::Size(0), bytes: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        self.step == Step::Done
    }

    /// Takes the bytes of the body from the front of `input`, and returns their number.
    pub(super) fn skip(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        let mut rest = input;
        while let Some((&byte, tail)) = rest.split_first() {
            match self.step {
                Step::Done => break,
                Step::Length(left) => {
                    let left = self.skip_data(&mut rest, left);
                    self.step = if left == 0 { Step::Done } else { Step::Length(left) };
                    continue;
                }
                Step::Data(left) => {
                    let left = self.skip_data(&mut rest, left);
                    self.step = if left == 0 { Step::DataEnd } else { Step::Data(left) };
                    continue;
                }
                Step::Size(size) => self.step = size_step(size, byte)?,
                Step::Extension(size) if byte == b'\n' => self.step = chunk(size),
                Step::Extension(_) => {}
                Step::DataEnd => match byte {
                    b'\r' => {}
                    b'\n' => self.step = Step::Size(0),
                    _ => return Err(Malformed),
                },
                Step::Trailer(empty) => match byte {
                    b'\n' if empty => self.step = Step::Done,
                    b'\n' => self.step = Step::Trailer(true),
                    b'\r' => {}
                    _ => self.step = Step::Trailer(false),
                },
            }
            rest = tail;
        }
        Ok(input.len() - rest.len())
    }

    fn skip_data(&mut self, rest: &mut &[u8], left: u64) -> u64 {
        let here = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
        *rest = rest.get(here..).unwrap_or_default();
        self.bytes += here as u64;
        left - here as u64
    }
}

fn size_step(size: u64, byte: u8) -> Result<Step, Malformed> {
    match byte {
        b'\n' => Ok(chunk(size)),
        b'\r' | b';' | b' ' => Ok(Step::Extension(size)),
        _ => {
            let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
            let shifted = size.checked_mul(16).ok_or(Malformed)?;
            Ok(Step::Size(shifted | u64::from(digit)))
        }
    }
}

fn chunk(size: u64) -> Step {
    if size == 0 { Step::Trailer(true) } else { Step::Data(size) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] = b"5\r\nhello\r\n10;a=b\r\n0123456789abcdef\r\n0\r\nx-sum: 1\r\n\r\nGET";

    #[test]
    fn any_split_of_a_chunked_body_gives_the_same_end() {
        for split in 0..CHUNKED.len() {
            let (first, second) = CHUNKED.split_at(split);
            let mut body = Body::chunked();
            let mut taken = body.skip(first).unwrap_or_default();
            taken += body.skip(second).unwrap_or_default();
            assert!(body.is_done(), "split at {split}");
            assert_eq!((taken, body.bytes), (CHUNKED.len() - 3, 21), "split at {split}");
        }
    }

    #[test]
    fn a_counted_body_ends_before_the_next_request() {
        let mut body = Body::length(4);
        assert_eq!(body.skip(b"ab"), Ok(2));
        assert!(!body.is_done());
        assert_eq!(body.skip(b"cdGET"), Ok(2));
        assert!(body.is_done());
    }

    #[test]
    fn a_bad_chunk_size_is_refused() {
        assert_eq!(Body::chunked().skip(b"xyz\r\n"), Err(Malformed));
        assert_eq!(Body::chunked().skip(b"11111111111111111\r\n"), Err(Malformed));
        assert_eq!(Body::chunked().skip(b"1\r\nab"), Err(Malformed));
    }
}
