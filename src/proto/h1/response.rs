//! Parsing the head of a response, RFC 9112 4, 6 and 9.

use super::{diagnose, fields};
use crate::head::{BodyLength, HeaderId, Method, ResponseHead, Span, Version};
use crate::violation::Violation;

/// Where the reason phrase starts: behind `HTTP/1.1 200 `.
const REASON_START: usize = 13;

/// Parses one response head: all of `bytes`, the empty line included, with at most `headers_max`
/// fields (and never more than [`fields::HEADERS_LIMIT`]). `into` is new or cleared; it takes a
/// copy of the bytes. `request_method` is that of the request it answers: it says whether there is
/// a body.
///
/// A status line that ends behind the code, without the space that RFC 9112 4 asks for, is taken:
/// many servers write it so, and nothing about it is unclear.
///
/// # Errors
/// The first violation found. `into` is then good for nothing but `clear`.
pub fn parse_response(
    bytes: &[u8],
    headers_max: usize,
    request_method: Method,
    into: &mut ResponseHead,
) -> Result<(), Violation> {
    if bytes.len() > fields::HEAD_BYTES_LIMIT {
        return Err(Violation::HeadTooLarge);
    }
    if matches!(bytes.first(), Some(b'\r' | b'\n')) {
        return Err(Violation::BlankLine);
    }
    let mut slots = fields::slots();
    let slots = slots.get_mut(..headers_max.min(fields::HEADERS_LIMIT)).unwrap_or_default();
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, bytes, slots) {
        Ok(httparse::Status::Complete(len)) if len == bytes.len() => {}
        Ok(_) => return Err(Violation::HeadEnd),
        Err(error) => return Err(diagnose::response(bytes, error)),
    }
    let version = if parsed.version == Some(0) { Version::Http10 } else { Version::Http11 };
    let status = parsed.code.filter(|code| (100..=599).contains(code));
    let status = status.ok_or(Violation::StatusCode)?;
    let reason = reason(bytes, parsed.reason.unwrap_or_default())?;
    into.headers.load(bytes);
    let notes = fields::enter(bytes, reason.end() + 2, parsed.headers, &mut into.headers)?;

    into.status = status;
    into.version = version;
    into.reason = reason;
    into.upgrade = notes.upgrade(version);
    into.keep_alive = notes.persists(version);
    if version == Version::Http11 && reason.start() == REASON_START {
        into.verbatim = Some((Span::new(0, reason.end() + 2), status));
    }
    into.length = body_length(notes.framing(version)?, status, request_method)?;
    if never_has_length(status) {
        // A length of zero, which is all that is left of it here, must not be sent on either.
        into.headers.remove(HeaderId::ContentLength);
    }
    Ok(())
}

/// Whether this status has neither body nor Content-Length, RFC 9110 8.6.
pub(super) const fn never_has_length(status: u16) -> bool {
    matches!(status, 100..=199 | 204)
}

/// How the end of the body is known, RFC 9112 6.3.
const fn body_length(
    framing: BodyLength,
    status: u16,
    request_method: Method,
) -> Result<BodyLength, Violation> {
    match framing {
        // RFC 9112 6.1 and RFC 9110 8.6 forbid these. An endpoint that sends them may well send the
        // body too, which would be read as the next response.
        BodyLength::Chunked | BodyLength::Length(1..) if never_has_length(status) => {
            Err(Violation::BodyForbidden)
        }
        // What these announce is what a GET would have got.
        _ if never_has_length(status) || status == 304 => Ok(BodyLength::None),
        _ if matches!(request_method, Method::Head) => Ok(BodyLength::None),
        BodyLength::None => Ok(BodyLength::UntilClose),
        known => Ok(known),
    }
}

/// The reason phrase; CRLF stands behind it. httparse gives an empty one if there is a byte beyond
/// ASCII in it, and takes an LF alone.
fn reason(bytes: &[u8], parsed: &str) -> Result<Span, Violation> {
    let start =
        if bytes.get(REASON_START - 1) == Some(&b' ') { REASON_START } else { REASON_START - 1 };
    let len = match parsed.len() {
        0 => memchr::memchr(b'\r', bytes.get(start..).unwrap_or_default()).unwrap_or(0),
        len => len,
    };
    let span = Span::new(start, len);
    if bytes.get(span.end()..).is_some_and(|rest| rest.starts_with(b"\r\n"))
        && memchr::memchr(b'\n', span.of(bytes)).is_none()
    {
        Ok(span)
    } else {
        Err(Violation::BareLf)
    }
}
