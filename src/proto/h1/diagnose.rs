//! Naming the fault of a head that its parser refused.
//!
//! The parser is made for sound heads, and fast on them; reason tokens shall name the fault. This runs
//! once, for a message that is refused anyway: it need not be fast, and it does not decide anything.

use super::fields::{HEAD_BYTES_LIMIT, HEADERS_LIMIT};
use crate::head::{is_control, is_token};
use crate::violation::Violation;

/// The fault of a request head.
#[cold]
pub(super) fn request(bytes: &[u8], headers_max: usize) -> Violation {
    first_byte_fault(bytes).unwrap_or_else(|| head(bytes, headers_max, request_line))
}

/// The fault of a request head of which more has to come, if its request line shows one already: the
/// bytes can begin no request, and no byte that follows changes that. A TLS client on a plain port, say, begins with
/// 0x16, and would wait for an answer until the head's time is over.
///
/// `bytes` are not the empty line that [`leading_blank`](super::leading_blank) finds.
#[cold]
#[must_use]
pub fn early_fault(bytes: &[u8]) -> Option<Violation> {
    if let Some(fault) = first_byte_fault(bytes) {
        return Some(fault);
    }
    match bytes {
        // Perhaps the first half of an empty line that is skipped.
        [] | [b'\r'] => return None,
        [b'\r' | b'\n', ..] => return Some(Violation::BlankLine),
        _ => {}
    }
    let (line, _) = first_line(bytes);
    if line.ends_with(b"\n") {
        return line_end_fault(line).or_else(|| request_line(content(line)));
    }
    // The line goes on: only the method can be judged, up to the space behind it. A CR is judged
    // when the byte behind it has come.
    let method_end = line.iter().position(|byte| matches!(byte, b' ' | b'\r'));
    let method = line.get(..method_end.unwrap_or(line.len())).unwrap_or_default();
    (!is_token(method)).then_some(Violation::Method)
}

/// The fault of a response head.
#[cold]
pub(super) fn response(bytes: &[u8], headers_max: usize) -> Violation {
    head(bytes, headers_max, status_line)
}

fn head(
    bytes: &[u8],
    headers_max: usize,
    start_line: impl Fn(&[u8]) -> Option<Violation>,
) -> Violation {
    if matches!(bytes.first(), Some(b'\r' | b'\n')) {
        return Violation::BlankLine;
    }
    let (line, rest) = first_line(bytes);
    let fault = line_end_fault(line)
        .or_else(|| start_line(content(line)))
        .unwrap_or_else(|| fields(rest, headers_max));
    match fault {
        Violation::HeadEnd if bytes.len() >= HEAD_BYTES_LIMIT => Violation::HeadTooLarge,
        fault => fault,
    }
}

/// A first byte that can begin no method is the fault, before any line end: the rest may be binary, and
/// has line ends by chance.
fn first_byte_fault(bytes: &[u8]) -> Option<Violation> {
    let first = bytes.get(..1).filter(|first| !matches!(first, [b'\r' | b'\n']))?;
    (!is_token(first)).then_some(Violation::Method)
}

fn request_line(line: &[u8]) -> Option<Violation> {
    let mut words = line.split(|byte| *byte == b' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), ..) if !is_token(method) => Some(Violation::Method),
        (Some(_), Some(target), Some(version), None) => {
            if target.is_empty() || target.iter().any(u8::is_ascii_control) {
                Some(Violation::Target)
            } else {
                version_fault(version)
            }
        }
        _ => Some(Violation::RequestLine),
    }
}

fn status_line(line: &[u8]) -> Option<Violation> {
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (version, code, reason) = (words.next()?, words.next(), words.next());
    let code_is_sound =
        code.is_some_and(|code| code.len() == 3 && code.iter().all(u8::is_ascii_digit));
    let reason_is_sound = !reason.unwrap_or_default().iter().any(|byte| is_control(*byte));
    version_fault(version)
        .or_else(|| (!code_is_sound || !reason_is_sound).then_some(Violation::StatusLine))
}

fn version_fault(version: &[u8]) -> Option<Violation> {
    match version.strip_prefix(b"HTTP/") {
        Some(b"1.0" | b"1.1") => None,
        Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Some(Violation::VersionNotSupported)
        }
        _ => Some(Violation::Version),
    }
}

/// The first fault in field lines; [`Violation::HeadEnd`] if there is none, or if it is that the
/// empty line is missing.
pub(super) fn fields(mut rest: &[u8], headers_max: usize) -> Violation {
    for count in 0.. {
        let (line, after) = first_line(rest);
        if matches!(line, b"\r\n" | b"") {
            break;
        }
        if count == headers_max.min(HEADERS_LIMIT) {
            return Violation::TooManyHeaders;
        }
        if let Some(fault) = field_line(line) {
            return fault;
        }
        rest = after;
    }
    Violation::HeadEnd
}

fn field_line(line: &[u8]) -> Option<Violation> {
    if let Some(fault) = line_end_fault(line) {
        return Some(fault);
    }
    let line = content(line);
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Some(Violation::FoldedLine);
    }
    let mut parts = line.splitn(2, |byte| *byte == b':');
    let (name, value) = (parts.next().unwrap_or_default(), parts.next());
    if !is_token(name) {
        let spaced = matches!(name.last(), Some(b' ' | b'\t')) && is_token(name.trim_ascii_end());
        return Some(if spaced { Violation::SpaceBeforeColon } else { Violation::HeaderName });
    }
    match value {
        None => Some(Violation::HeaderName),
        Some(value) => value.iter().any(|byte| is_control(*byte)).then_some(Violation::HeaderValue),
    }
}

/// The first line with its end, and the rest.
fn first_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
    bytes.split_at_checked(end).unwrap_or((bytes, &[]))
}

fn line_end_fault(line: &[u8]) -> Option<Violation> {
    match (line, memchr::memchr(b'\r', line)) {
        ([.., b'\r', b'\n'], Some(at)) if at + 2 == line.len() => None,
        ([.., b'\r'], Some(at)) if at + 1 == line.len() => Some(Violation::HeadEnd),
        (_, Some(_)) => Some(Violation::BareCr),
        ([.., b'\n'], None) => Some(Violation::BareLf),
        // No line end at all: the head was cut short.
        _ => Some(Violation::HeadEnd),
    }
}

/// The line without its CRLF.
fn content(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r\n").unwrap_or(line)
}
