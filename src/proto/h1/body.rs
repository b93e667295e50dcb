//! Reading a body: where it ends, and the data without its framing. RFC 9112 6.3 and 7.1.

use std::ops::Range;

use super::trailers::{self, TRAILER_BYTES_MAX};
use crate::head::{BodyLength, Headers, MessageKind, is_control};
use crate::violation::Violation;

/// The most bytes of one chunk's extensions. They mean nothing to us and are skipped; nobody uses
/// them but for signatures, of some 90 bytes (`chunk-signature` of S3).
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 256;

/// The most bytes of extensions that a body may have beyond its allowance, which is 16 for
/// each chunk and 2 for each byte of data: a peer that sends a byte of data per 250 of extensions
/// wants to keep us busy. The numbers are those of Go's net/http (CVE-2023-39326).
pub const CHUNK_OVERHEAD_BYTES_MAX: u64 = 16 << 10;

/// Bytes of extensions of one chunk that are justified without data.
const EXTENSION_BYTES_FREE: u64 = 16;

/// The most digits of a chunk size: those of a `u64`.
const CHUNK_SIZE_DIGITS_MAX: u8 = 16;

/// The result of one call to [`BodyDecoder::decode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyStep {
    /// Where the body data is: moved together, if it came in several chunks.
    pub data: Range<usize>,
    /// Bytes of input used up, data and framing: all of them unless the body is done. From the end
    /// of `data` to here the bytes are of no use.
    pub consumed: usize,
    /// Whether the body is complete. The bytes behind `consumed` belong to the next message.
    pub done: bool,
}

/// Takes a body out of the bytes of a connection; can stop and go on at any byte.
///
/// Data is not copied, except that chunks which arrived together are moved together in place. No
/// memory is taken unless there are trailers.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    kind: MessageKind,
    /// Bytes of extensions beyond the allowance.
    overhead: u64,
    /// Lines of the trailer section so far.
    section: Vec<u8>,
    trailers: Option<Box<Headers>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The body is complete.
    Done,
    /// So many bytes are to come; never 0.
    Length(u64),
    /// Everything that comes.
    UntilClose,
    /// In the digits of a chunk size.
    Size { digits: u8, size: u64 },
    /// In the white space behind the digits, behind so many bytes of it. Responses only.
    SizeSpace { size: u64, bytes: usize },
    /// In the extensions of a chunk, behind so many bytes of them.
    Extension { size: u64, bytes: usize },
    /// The LF that ends a size line with so many bytes of extensions.
    SizeLf { size: u64, extension: usize },
    /// In the data of a chunk; never 0.
    Data(u64),
    /// The CR behind the data of a chunk.
    DataCr,
    /// The LF behind it.
    DataLf,
    /// At the start of a line of the trailer section.
    TrailerStart,
    /// In a line of it.
    TrailerLine,
    /// The LF of the empty line that ends it.
    EndLf,
}

impl BodyDecoder {
    /// A decoder for one body.
    #[must_use]
    pub const fn new(length: BodyLength, kind: MessageKind) -> Self {
        let state = match length {
            BodyLength::None | BodyLength::Length(0) => State::Done,
            BodyLength::Length(bytes) => State::Length(bytes),
            BodyLength::Chunked => State::Size { digits: 0, size: 0 },
            BodyLength::UntilClose => State::UntilClose,
        };
        Self { state, kind, overhead: 0, section: Vec::new(), trailers: None }
    }

    /// Decodes the bytes that have arrived. When the body ends before they do, the rest is left.
    ///
    /// # Errors
    /// The first violation of the chunked coding. The body is then lost: data in front of it
    /// is not handed out.
    #[inline]
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<BodyStep, Violation> {
        match self.state {
            State::Done => Ok(BodyStep { data: 0..0, consumed: 0, done: true }),
            State::UntilClose => {
                Ok(BodyStep { data: 0..bytes.len(), consumed: bytes.len(), done: false })
            }
            State::Length(missing) => {
                let (taken, missing) = take(missing, bytes.len());
                self.state = if missing == 0 { State::Done } else { State::Length(missing) };
                Ok(BodyStep { data: 0..taken, consumed: taken, done: missing == 0 })
            }
            _ => self.decode_chunked(bytes),
        }
    }

    /// The stream has ended: was that the end of the body?
    ///
    /// # Errors
    /// [`Violation::Truncated`] if more had to come (RFC 9112 8).
    pub const fn on_end(&self) -> Result<(), Violation> {
        match self.state {
            State::Done | State::UntilClose => Ok(()),
            _ => Err(Violation::Truncated),
        }
    }

    /// Whether the body is complete. A body that ends with the connection never is.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Bytes that are certain to come, if that is known: of a body with a length.
    #[must_use]
    pub const fn missing(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The trailer fields, once the body is done; `None` if there were none.
    pub fn take_trailers(&mut self) -> Option<Headers> {
        self.trailers.take().map(|trailers| *trailers)
    }

    fn decode_chunked(&mut self, bytes: &mut [u8]) -> Result<BodyStep, Violation> {
        // Data is moved together at the front of the first chunk's data: `data` never overtakes `at`,
        // because each chunk has framing in front of it.
        let mut data = 0..0;
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            // Data and trailer lines are taken as runs of bytes, the framing byte by byte.
            if let State::Data(missing) = self.state {
                let (taken, missing) = take(missing, bytes.len() - at);
                self.state = if missing == 0 { State::DataCr } else { State::Data(missing) };
                if data.is_empty() {
                    data = at..at + taken;
                } else {
                    bytes.copy_within(at..at + taken, data.end);
                    data.end += taken;
                }
                at += taken;
                continue;
            }
            if self.state == State::TrailerLine {
                at += self.trailer_bytes(bytes.get(at..).unwrap_or_default())?;
                continue;
            }
            // A CR here begins the empty line that ends the section. Any other byte begins a line,
            // and is looked at again as a part of it.
            if self.state == State::TrailerStart && byte != b'\r' {
                self.state = State::TrailerLine;
                continue;
            }
            at += 1;
            // Each arm judges one byte and names the next state. A byte that is not expected is a
            // violation: nothing is skipped to find the next chunk.
            self.state = match self.state {
                State::Size { digits, size } => size_byte(byte, digits, size, self.kind)?,
                State::SizeSpace { size, bytes } => size_space_byte(byte, size, bytes)?,
                State::Extension { size, bytes } => extension_byte(byte, size, bytes)?,
                State::SizeLf { size, extension } if byte == b'\n' => {
                    self.size_end(size, extension)?
                }
                State::SizeLf { .. } => return Err(Violation::BareCr),
                State::DataCr if byte == b'\r' => State::DataLf,
                State::DataLf if byte == b'\n' => State::Size { digits: 0, size: 0 },
                State::DataCr | State::DataLf => return Err(Violation::ChunkEnd),
                State::TrailerStart => State::EndLf,
                State::EndLf if byte == b'\n' => {
                    self.end_trailers()?;
                    self.state = State::Done;
                    return Ok(BodyStep { data, consumed: at, done: true });
                }
                State::EndLf => return Err(Violation::BareCr),
                // Handled above, or not a state of a chunked body.
                state @ (State::Data(_)
                | State::TrailerLine
                | State::Done
                | State::Length(_)
                | State::UntilClose) => state,
            };
        }
        Ok(BodyStep { data, consumed: at, done: false })
    }
}

impl BodyDecoder {
    /// Behind a size line.
    fn size_end(&mut self, size: u64, extension: usize) -> Result<State, Violation> {
        // A chunk pays for its own extensions first, with an allowance for each byte of data. Only the
        // excess adds up, so that a long body may have many short extensions.
        let justified = size.saturating_mul(2).saturating_add(EXTENSION_BYTES_FREE);
        let extension = u64::try_from(extension).unwrap_or(u64::MAX);
        self.overhead = self.overhead.saturating_add(extension).saturating_sub(justified);
        if self.overhead > CHUNK_OVERHEAD_BYTES_MAX {
            return Err(Violation::ChunkOverhead);
        }
        Ok(if size == 0 { State::TrailerStart } else { State::Data(size) })
    }

    /// Keeps the bytes of one line of the trailer section; gives their number.
    fn trailer_bytes(&mut self, rest: &[u8]) -> Result<usize, Violation> {
        let line_end = memchr::memchr(b'\n', rest);
        let taken = line_end.map_or(rest.len(), |at| at + 1);
        if self.section.len() + taken > TRAILER_BYTES_MAX {
            return Err(Violation::HeadTooLarge);
        }
        self.section.extend_from_slice(rest.get(..taken).unwrap_or_default());
        if line_end.is_some() {
            // At once, rather than when an empty line comes that never will.
            if !self.section.ends_with(b"\r\n") {
                return Err(Violation::BareLf);
            }
            self.state = State::TrailerStart;
        }
        Ok(taken)
    }

    fn end_trailers(&mut self) -> Result<(), Violation> {
        if !self.section.is_empty() {
            self.section.extend_from_slice(b"\r\n");
            let trailers = trailers::parse(&self.section, self.kind)?;
            self.trailers = (!trailers.is_empty()).then(|| Box::new(trailers));
        }
        Ok(())
    }
}

/// The part of the missing bytes that is there, and the number that is missing behind it.
fn take(missing: u64, there: usize) -> (usize, u64) {
    let taken = usize::try_from(missing).map_or(there, |missing| missing.min(there));
    (taken, missing.saturating_sub(taken as u64))
}

/// In the digits of a chunk size: hex digits only, no sign, no `0x`. White space behind them is
/// refused in a request, even before a semicolon (RFC 9112 7.1.1 calls that "bad" white space; no
/// client writes it). Some servers pad the size with it.
fn size_byte(byte: u8, digits: u8, size: u64, kind: MessageKind) -> Result<State, Violation> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        b';' if digits > 0 => return Ok(State::Extension { size, bytes: 1 }),
        b'\r' if digits > 0 => return Ok(State::SizeLf { size, extension: 0 }),
        b'\n' if digits > 0 => return Err(Violation::BareLf),
        b' ' | b'\t' if digits > 0 && kind == MessageKind::Response => {
            return Ok(State::SizeSpace { size, bytes: 1 });
        }
        _ => return Err(Violation::ChunkSize),
    };
    if digits == CHUNK_SIZE_DIGITS_MAX {
        return Err(Violation::ChunkSize);
    }
    Ok(State::Size { digits: digits + 1, size: size << 4 | u64::from(digit) })
}

/// In the white space behind a chunk size, which counts as extensions do.
fn size_space_byte(byte: u8, size: u64, bytes: usize) -> Result<State, Violation> {
    match byte {
        b'\r' => Ok(State::SizeLf { size, extension: bytes }),
        b'\n' => Err(Violation::BareLf),
        _ if bytes == CHUNK_EXTENSION_BYTES_MAX => Err(Violation::ChunkExtension),
        b';' => Ok(State::Extension { size, bytes: bytes + 1 }),
        b' ' | b'\t' => Ok(State::SizeSpace { size, bytes: bytes + 1 }),
        _ => Err(Violation::ChunkSize),
    }
}

fn extension_byte(byte: u8, size: u64, bytes: usize) -> Result<State, Violation> {
    match byte {
        b'\r' => Ok(State::SizeLf { size, extension: bytes }),
        b'\n' => Err(Violation::BareLf),
        _ if is_control(byte) || bytes == CHUNK_EXTENSION_BYTES_MAX => {
            Err(Violation::ChunkExtension)
        }
        _ => Ok(State::Extension { size, bytes: bytes + 1 }),
    }
}
