//! A second opinion on the lines of a head: httparse, another parser, reads the same bytes.
//!
//! Shared by the fuzz targets and the properties of `proto`; it knows no type of either.

use httparse::{Header, Status};

/// The lines of a head as a parser reads them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Bytes of the head.
    pub(crate) len: usize,
    /// Method and target, or the status and nothing.
    pub(crate) line: (Vec<u8>, Vec<u8>),
    /// Whether it is HTTP/1.1.
    pub(crate) is_http11: bool,
    /// Names and values.
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Panics where the parsers differ: `ours` are the lines that we read, or the token of the violation.
pub(crate) fn agree(ours: Result<Seen, &str>, seen: Option<&Seen>) {
    match ours {
        Ok(ours) => assert_eq!(seen, Some(&ours), "another parser reads something else"),
        Err(token) if is_of_lines(token) => assert_eq!(seen, None, "refused as {token}"),
        Err(_) => {}
    }
}

/// A request; `None` if it is refused or not all there.
pub(crate) fn request(bytes: &[u8]) -> Option<Seen> {
    // It takes bytes beyond ASCII in a target only if they are UTF-8. To us they are opaque, as they
    // are in old links. So it reads a letter in the place of each.
    let mut readable = bytes.to_vec();
    let line = readable.split_mut(|byte| *byte == b'\n').next().unwrap_or_default();
    if let Some(target) = line.split_mut(|byte| *byte == b' ').nth(1) {
        target.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'x');
    }
    let mut slots = [httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Request::new(&mut slots);
    let Ok(Status::Complete(len)) = parsed.parse(&readable) else { return None };
    let method = parsed.method?;
    let target = bytes.get(method.len() + 1..)?.get(..parsed.path?.len())?;
    let mut seen =
        seen(bytes, len, (method.into(), target.into()), parsed.version?, parsed.headers)?;
    if let Some(authority) = authority(target) {
        // It takes the place of a Host that differs, RFC 9112 3.2.2.
        let differs = |(name, value): &(Vec<u8>, Vec<u8>)| {
            name.eq_ignore_ascii_case(b"host") && !value.eq_ignore_ascii_case(authority)
        };
        if seen.fields.extract_if(.., |field| differs(field)).count() > 0 {
            seen.fields.push((b"host".into(), authority.into()));
        }
    }
    Some(seen)
}

/// The authority of a target in absolute form.
fn authority(target: &[u8]) -> Option<&[u8]> {
    let scheme_len = target.windows(3).position(|bytes| bytes == b"://")?;
    let is_absolute = !target.starts_with(b"/");
    let after = is_absolute.then(|| &target[scheme_len + 3..])?;
    after.split(|byte| matches!(byte, b'/' | b'?')).next()
}

/// A response; `None` if it is refused or not all there.
pub(crate) fn response(bytes: &[u8]) -> Option<Seen> {
    let mut slots = [httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Response::new(&mut slots);
    let Ok(Status::Complete(len)) = parsed.parse(bytes) else { return None };
    let line = (parsed.code?.to_string().into_bytes(), Vec::new());
    let mut seen = seen(bytes, len, line, parsed.version?, parsed.headers)?;
    if matches!(parsed.code?, 100..=199 | 204) {
        // We take a length of zero off a head that cannot have one.
        seen.fields.retain(|(name, _)| !name.eq_ignore_ascii_case(b"content-length"));
    }
    Some(seen)
}

fn seen(
    bytes: &[u8],
    len: usize,
    line: (Vec<u8>, Vec<u8>),
    minor: u8,
    headers: &[Header<'_>],
) -> Option<Seen> {
    // It takes lines that end in LF alone, and skips empty ones in front.
    let head = bytes.get(..len)?;
    let is_bare = |at: usize| head[at] == b'\n' && (at == 0 || head[at - 1] != b'\r');
    if (0..len).any(is_bare) || head.starts_with(b"\r") {
        return None;
    }
    let field = |header: &Header<'_>| (header.name.into(), header.value.into());
    Some(Seen { len, line, is_http11: minor == 1, fields: headers.iter().map(field).collect() })
}

/// Whether a violation is of the lines as such; the other rules httparse does not know.
fn is_of_lines(token: &str) -> bool {
    let lines = ["request_line", "status_line", "method", "version", "version_not_supported"];
    let ends = ["bare_lf", "bare_cr", "blank_line", "folded_line", "head_end"];
    let fields = ["space_before_colon", "header_name", "header_value"];
    lines.iter().chain(&ends).chain(&fields).any(|known| *known == token)
}
