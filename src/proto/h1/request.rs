//! Parsing the head of a request, RFC 9112 2, 3, 6 and 9.

use super::{diagnose, fields};
use crate::head::{BodyLength, Method, RequestHead, RequestLine, Span, Version};
use crate::uri;
use crate::violation::Violation;

/// Bytes of ` HTTP/1.1`, by which a request line goes on behind its target.
const VERSION_BYTES: usize = 9;

/// Parses one request head: all of `bytes`, the empty line included, with at most `headers_max`
/// fields (and never more than [`fields::HEADERS_LIMIT`]). `into` is new or cleared; it takes a
/// copy of the bytes.
///
/// # Errors
/// The first violation found. `into` is then good for nothing but `clear`.
pub fn parse_request(
    bytes: &[u8],
    headers_max: usize,
    into: &mut RequestHead,
) -> Result<(), Violation> {
    if bytes.len() > fields::HEAD_BYTES_LIMIT {
        return Err(Violation::HeadTooLarge);
    }
    // httparse skips any number of empty lines.
    if matches!(bytes.first(), Some(b'\r' | b'\n')) {
        return Err(Violation::BlankLine);
    }
    let mut slots = fields::slots();
    let slots = slots.get_mut(..headers_max.min(fields::HEADERS_LIMIT)).unwrap_or_default();
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(bytes, slots) {
        Ok(httparse::Status::Complete(len)) if len == bytes.len() => {}
        Ok(_) => return Err(Violation::HeadEnd),
        Err(error) => return Err(diagnose::request(bytes, error)),
    }
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
        return Err(Violation::RequestLine);
    };
    let version = if parsed.version == Some(0) { Version::Http10 } else { Version::Http11 };
    // httparse takes one space between the parts, so their lengths say where the line ends; it also
    // takes an LF alone there.
    let target_span = Span::new(method.len() + 1, target.len());
    let line_end = target_span.end() + VERSION_BYTES;
    if bytes.get(line_end) != Some(&b'\r') {
        return Err(Violation::BareLf);
    }
    into.headers.load(bytes);
    let notes = fields::enter(bytes, line_end + 2, parsed.headers, &mut into.headers)?;

    into.method = Method::of(method.as_bytes());
    into.version = version;
    into.line = RequestLine {
        method: Span::new(0, method.len()),
        target: target_span,
        upgrade: notes.upgrade(version),
        keep_alive: notes.persists(version),
        // A 1.0 client does not know of 100 (Continue), RFC 9110 10.1.1.
        expects_continue: notes.expects_continue && version == Version::Http11,
        ..RequestLine::default()
    };
    let by_target = route_target(target.as_bytes(), into)?;
    by_host(notes.host, by_target, into)?;
    if by_target.is_none() && version == Version::Http11 {
        into.line.verbatim = Some((Span::new(0, line_end + 2), into.method));
    }
    into.length = notes.framing(version)?;
    debug_assert_ne!(into.length, BodyLength::UntilClose, "no request ends by closing");
    Ok(())
}

/// Reads the target, RFC 9112 3.2; gives the authority if it has one.
fn route_target(target: &[u8], into: &mut RequestHead) -> Result<Option<Span>, Violation> {
    let line = &mut into.line;
    if into.method == Method::Connect {
        return Err(Violation::ConnectNotServed);
    }
    line.path_and_query = line.target;
    if target == b"*" {
        line.path_len = 1;
        let served = into.method == Method::Options;
        return if served { Ok(None) } else { Err(Violation::AsteriskWithoutOptions) };
    }
    if target.first() == Some(&b'/') {
        line.note_path(uri::scan_path_and_query(target)?);
        return Ok(None);
    }
    let parts = uri::split_absolute(target)?;
    line.host_len = Span::new(0, parts.host_len).len;
    let before_authority = parts.scheme.len() + b"://".len();
    let authority = Span::new(line.target.start() + before_authority, parts.authority.len());
    let rest = Span::new(authority.end(), parts.rest.len());
    line.path_and_query = match parts.rest.first() {
        Some(b'/') => rest,
        // No path at all: the server as a whole for OPTIONS (RFC 9112 3.2.4), else the root.
        None if into.method == Method::Options => into.headers.append_loose(b"*"),
        _ => into.headers.append_copy(b"/", rest),
    };
    let sent = line.path_and_query.of(into.headers.bytes());
    if sent == b"*" {
        line.path_len = 1;
    } else {
        line.note_path(uri::scan_path_and_query(sent)?);
    }
    Ok(Some(authority))
}

/// Settles the authority between Host and the target, RFC 9112 3.2 and 3.2.2.
fn by_host(
    host: Option<Span>,
    by_target: Option<Span>,
    into: &mut RequestHead,
) -> Result<(), Violation> {
    let bytes = into.headers.bytes();
    let line = &mut into.line;
    match (host, by_target) {
        (None, _) if into.version == Version::Http11 => Err(Violation::HostMissing),
        (Some(host), Some(authority)) => {
            if !host.of(bytes).eq_ignore_ascii_case(authority.of(bytes)) {
                return Err(Violation::HostMismatch);
            }
            line.authority = authority;
            Ok(())
        }
        (Some(host), None) => {
            line.host_len = Span::new(0, uri::check_authority(host.of(bytes))?).len;
            line.authority = host;
            Ok(())
        }
        (None, Some(authority)) => {
            line.authority = authority;
            Ok(())
        }
        (None, None) => Ok(()),
    }
}
