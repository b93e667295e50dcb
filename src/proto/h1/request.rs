//! Parsing the head of a request, RFC 9112 2, 3, 6 and 9.

use super::blocks::{self, position};
use super::{diagnose, fields};
use crate::head::{
    BodyLength, HeaderId, Method, RequestHead, RequestLine, Span, Version, is_token,
};
use crate::uri;
use crate::violation::Violation;

/// Parses the request head that `bytes` begin with, and gives its length with the empty line. It has
/// at most `headers_max` fields (and never more than [`fields::HEADERS_LIMIT`]). `into` is new or
/// cleared; it takes a copy of the head.
///
/// # Errors
/// The first violation found; [`Violation::HeadEnd`] while there is none and the empty line is not
/// there. `into` is then empty, or has the part found so far.
pub fn parse_request(
    bytes: &[u8],
    headers_max: usize,
    into: &mut RequestHead,
) -> Result<usize, Violation> {
    let bytes = fields::within_limit(bytes);
    let fault = || diagnose::request(bytes, headers_max);
    let Line { method, name, target, version, end } = request_line(bytes).ok_or_else(fault)?;
    let fields = fields::read(bytes, end, headers_max, &mut into.headers);
    let (len, notes) = fields.ok_or_else(fault)?;
    into.headers.load(bytes.get(..len).unwrap_or_default());
    let notes = notes.checked()?;
    into.method = method;
    into.version = version;
    into.line = RequestLine {
        method: name,
        target,
        upgrade: notes.upgrade(version),
        keep_alive: notes.persists(version),
        // A 1.0 client does not know of 100 (Continue), RFC 9110 10.1.1.
        expects_continue: notes.expects_continue && version == Version::Http11,
        ..RequestLine::default()
    };
    let by_target = route_target(target.of(bytes), into)?;
    by_host(notes.host, by_target, into)?;
    if by_target.is_none() && version == Version::Http11 {
        into.line.verbatim = Some((Span::new(0, end), into.method));
    }
    into.length = notes.framing(version)?;
    debug_assert_ne!(into.length, BodyLength::UntilClose, "no request ends by closing");
    Ok(len)
}

/// A request line.
struct Line {
    method: Method,
    /// The method's name, a token.
    name: Span,
    /// Has neither space nor ASCII control byte; [`route_target`] has the rest of the rules.
    target: Span,
    version: Version,
    /// Index behind the CRLF.
    end: usize,
}

/// Reads `method SP target SP version CRLF`, RFC 9112 3.
#[inline]
fn request_line(bytes: &[u8]) -> Option<Line> {
    let name_end = position(bytes, 0, |block| blocks::equal(block, b' '))?;
    let name = bytes.get(..name_end)?;
    let method = Method::of(name);
    // The known ones are tokens.
    if method == Method::Other && !is_token(name) {
        return None;
    }
    let target_start = name_end + 1;
    let target_end = position(bytes, target_start, blocks::space_or_control)?;
    let rest: &[u8; 11] = bytes.get(target_end..)?.first_chunk()?;
    let version = match rest {
        b" HTTP/1.1\r\n" => Version::Http11,
        b" HTTP/1.0\r\n" => Version::Http10,
        _ => return None,
    };
    Some(Line {
        method,
        name: Span::within_head(0, name_end),
        target: Span::within_head(target_start, target_end - target_start),
        version,
        end: target_end + rest.len(),
    })
}

/// Reads the target, RFC 9112 3.2; gives the authority if it has one.
fn route_target(target: &[u8], into: &mut RequestHead) -> Result<Option<Span>, Violation> {
    let line = &mut into.line;
    line.path_and_query = line.target;
    if target.first() == Some(&b'/') && into.method != Method::Connect {
        line.note_path(uri::scan_path_and_query(target)?);
        return Ok(None);
    }
    if target.is_empty() {
        return Err(Violation::Target);
    }
    if into.method == Method::Connect {
        return Err(Violation::ConnectNotServed);
    }
    if target == b"*" {
        line.path_len = 1;
        let served = into.method == Method::Options;
        return if served { Ok(None) } else { Err(Violation::AsteriskWithoutOptions) };
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
            uri::check_authority(host.of(bytes))?;
            line.authority = authority;
            // The target wins (RFC 9112 3.2.2), and nothing behind us may see another Host.
            if !host.of(bytes).eq_ignore_ascii_case(authority.of(bytes)) {
                into.headers.set_copy(HeaderId::Host, authority);
                line.authority = into.headers.last_value();
            }
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
