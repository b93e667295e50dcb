//! Parsing the head of a response, RFC 9112 4, 6 and 9.

use super::{diagnose, fields};
use crate::head::{BodyLength, HeaderId, Method, ResponseHead, Span, Version};
use crate::violation::Violation;

/// Where the reason phrase starts: behind `HTTP/1.1 200 `.
const REASON_START: usize = 13;

/// Parses the response head that `bytes` begin with, and gives its length with the empty line. It
/// has at most `headers_max` fields (and never more than [`fields::HEADERS_LIMIT`]). `into` is new or
/// cleared; it takes a copy of the head. `request_method` is that of the request it answers: it says
/// whether there is a body.
///
/// A status line that ends behind the code, without the space that RFC 9112 4 asks for, is taken:
/// many servers write it so, and nothing about it is unclear.
///
/// # Errors
/// The first violation found; [`Violation::HeadEnd`] while there is none and the empty line is not
/// there. `into` is then empty, or has the part found so far.
pub fn parse_response(
    bytes: &[u8],
    headers_max: usize,
    request_method: Method,
    into: &mut ResponseHead,
) -> Result<usize, Violation> {
    let bytes = fields::within_limit(bytes);
    let fault = || diagnose::response(bytes, headers_max);
    let (version, status, reason) = status_line(bytes).ok_or_else(fault)?;
    let fields = fields::read(bytes, reason.end() + 2, headers_max, &mut into.headers);
    let (len, notes) = fields.ok_or_else(fault)?;
    into.headers.load(bytes.get(..len).unwrap_or_default());
    if status < 100 {
        return Err(Violation::StatusCode);
    }
    let notes = notes.checked()?;
    into.status = status;
    into.version = version;
    into.reason = reason;
    into.upgrade = notes.upgrade(version);
    into.keep_alive = notes.persists(version);
    if version == Version::Http11 && reason.start() == REASON_START {
        into.verbatim = Some((Span::new(0, reason.end() + 2), status));
    }
    let framing = notes.framing(version)?;
    into.length = body_length(framing, status, request_method)?;
    if never_has_length(status) {
        // Not even a length of zero may be sent on.
        into.headers.remove(HeaderId::ContentLength);
        // A 204 ends with its head, even if that says otherwise (RFC 9112 6.3). An endpoint that announces a body may
        // well send it, and that would be read as the next response: there is none.
        into.keep_alive &= !announces_a_body(framing);
    }
    Ok(len)
}

/// Reads `version SP status [SP reason] CRLF`; gives the version, the status and the reason phrase.
#[inline]
fn status_line(bytes: &[u8]) -> Option<(Version, u16, Span)> {
    let (start, rest) = bytes.split_first_chunk()?;
    let version = match start {
        b"HTTP/1.1 " => Version::Http11,
        b"HTTP/1.0 " => Version::Http10,
        _ => return None,
    };
    let digits: &[u8; 3] = rest.first_chunk()?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let status = digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit & 0x0f));
    let space = bytes.get(REASON_START - 1)? == &b' ';
    let reason_start = if space { REASON_START } else { REASON_START - 1 };
    let reason_end = fields::text_end(bytes, reason_start)?;
    // Without the space there is no reason either.
    let sound = space || reason_end == reason_start;
    sound.then(|| (version, status, Span::within_head(reason_start, reason_end - reason_start)))
}

/// Whether this status has neither body nor Content-Length, RFC 9110 8.6.
pub(super) const fn never_has_length(status: u16) -> bool {
    matches!(status, 100..=199 | 204)
}

/// Whether a head that says this about its body announces a byte of it.
const fn announces_a_body(framing: BodyLength) -> bool {
    matches!(framing, BodyLength::Chunked | BodyLength::Length(1..))
}

/// How the end of the body is known, RFC 9112 6.3.
const fn body_length(
    framing: BodyLength,
    status: u16,
    request_method: Method,
) -> Result<BodyLength, Violation> {
    match framing {
        // RFC 9112 6.1 and RFC 9110 8.6 forbid these, and the next response on this connection must
        // be found behind them.
        _ if matches!(status, 100..=199) && announces_a_body(framing) => {
            Err(Violation::BodyForbidden)
        }
        // These announce the length of another response: the one to GET, or the full one.
        _ if never_has_length(status) || status == 304 => Ok(BodyLength::None),
        _ if matches!(request_method, Method::Head) => Ok(BodyLength::None),
        BodyLength::None => Ok(BodyLength::UntilClose),
        known => Ok(known),
    }
}
