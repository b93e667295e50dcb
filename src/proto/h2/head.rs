//! Fields of a header block as the head of a request, and the head of a response as fields, RFC 9113 8.
//!
//! A request that passes here is as sound as one that HTTP/1.1 parsing passes: it may go on to an endpoint in
//! any protocol. So no value has a control byte, no field belongs to a connection, and the authority is known.

use super::hpack::BlockEncoder;
use crate::h1::{FORBIDDEN_IN_TRAILERS, TRAILER_BYTES_MAX, TRAILERS_MAX, content_length};
use crate::head::{
    BodyLength, BodySize, HeaderId, Headers, Method, RequestHead, ResponseHead, Version,
    is_control, is_token,
};
use crate::uri;
use crate::violation::Violation;

/// Bytes that a field counts for, beside its name and value, RFC 9113 6.5.2.
const FIELD_BYTES: usize = 32;

/// The bounds of one header block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of names, values, and [`FIELD_BYTES`] for each field.
    pub(super) bytes: usize,
    /// Fields, without pseudo-header fields.
    pub(super) fields: usize,
}

impl Bounds {
    /// Those of a trailer section.
    pub(super) const TRAILERS: Self =
        Self { bytes: TRAILER_BYTES_MAX + TRAILERS_MAX * FIELD_BYTES, fields: TRAILERS_MAX };

    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Violation> {
        let bytes = name.len() + value.len() + FIELD_BYTES;
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Violation::HeadTooLarge)?;
        if name.first() != Some(&b':') {
            self.fields = self.fields.checked_sub(1).ok_or(Violation::TooManyHeaders)?;
        }
        Ok(())
    }
}

/// Makes a head of the fields of a block, one after another.
pub(super) struct RequestFields<'a> {
    head: &'a mut RequestHead,
    left: Bounds,
    fault: Option<Violation>,
    has_method: bool,
    has_scheme: bool,
    has_path: bool,
    has_authority: bool,
    has_host: bool,
    /// A field that is no pseudo-header field has come.
    has_fields: bool,
    content_length: Option<u64>,
    cookies: usize,
}

impl<'a> RequestFields<'a> {
    pub(super) fn new(head: &'a mut RequestHead, left: Bounds) -> Self {
        head.clear();
        Self {
            head,
            left,
            fault: None,
            has_method: false,
            has_scheme: false,
            has_path: false,
            has_authority: false,
            has_host: false,
            has_fields: false,
            content_length: None,
            cookies: 0,
        }
    }

    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        if self.fault.is_none() {
            self.fault = self.take(name, value).err();
        }
    }

    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Violation> {
        self.left.take(name, value)?;
        if let [b':', pseudo @ ..] = name {
            return self.take_pseudo(pseudo, value);
        }
        self.has_fields = true;
        let id = checked(name, value)?;
        match id {
            HeaderId::Te if !value.eq_ignore_ascii_case(b"trailers") => {
                return Err(Violation::ConnectionField);
            }
            HeaderId::Host if self.has_host => return Err(Violation::HostDuplicate),
            HeaderId::Host => {
                self.has_host = true;
                if self.has_authority {
                    // It is there already, from `:authority`.
                    let agrees = value.eq_ignore_ascii_case(self.head.authority());
                    return if agrees { Ok(()) } else { Err(Violation::HostDisagrees) };
                }
                return self.set_authority(value);
            }
            HeaderId::ContentLength if self.content_length.is_some() => {
                return Err(Violation::ContentLengthDuplicate);
            }
            HeaderId::ContentLength => self.content_length = Some(content_length(value)?),
            HeaderId::Expect => {
                self.head.line.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
            }
            HeaderId::Cookie => self.cookies += 1,
            _ => {}
        }
        self.head.headers.push_named(name, value);
        Ok(())
    }

    fn take_pseudo(&mut self, name: &[u8], value: &[u8]) -> Result<(), Violation> {
        let seen = match name {
            b"method" => &mut self.has_method,
            b"scheme" => &mut self.has_scheme,
            b"path" => &mut self.has_path,
            b"authority" => &mut self.has_authority,
            _ => return Err(Violation::PseudoField),
        };
        // Each once, and all in front of the others: RFC 9113 8.3.
        if std::mem::replace(seen, true) || self.has_fields {
            return Err(Violation::PseudoField);
        }
        let head = &mut *self.head;
        match name {
            b"method" => {
                head.method = Method::of(value);
                if head.method == Method::Other && !is_token(value) {
                    return Err(Violation::Method);
                }
                head.line.method = head.headers.append_loose(value);
            }
            b"path" => head.line.target = head.headers.append_loose(value),
            b"authority" => return self.set_authority(value),
            // Nothing follows from it: the gateway knows whether TLS is used.
            _ if value.is_empty() || value.iter().any(|byte| !byte.is_ascii_graphic()) => {
                return Err(Violation::PseudoField);
            }
            _ => {}
        }
        Ok(())
    }

    /// The authority becomes Host, which endpoints and filters look at.
    fn set_authority(&mut self, value: &[u8]) -> Result<(), Violation> {
        let host_len = uri::check_authority(value)?;
        let head = &mut *self.head;
        head.headers.push(HeaderId::Host, value);
        head.line.authority = head.headers.last_value();
        head.line.host_len = u32::try_from(host_len).map_err(|_| Violation::HostInvalid)?;
        Ok(())
    }

    /// The verdict on the whole block; `end` where it ends the message.
    pub(super) fn finish(self, end: bool) -> Result<(), Violation> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let head = self.head;
        head.version = Version::Http2;
        head.line.keep_alive = true;
        if head.method == Method::Connect {
            return Err(Violation::ConnectNotServed);
        }
        if !(self.has_method && self.has_scheme && self.has_path) {
            return Err(Violation::PseudoField);
        }
        if !(self.has_authority || self.has_host) {
            return Err(Violation::HostMissing);
        }
        let target = head.line.target.of(head.headers.bytes());
        if target == b"*" {
            if head.method != Method::Options {
                return Err(Violation::AsteriskWithoutOptions);
            }
            head.line.path_len = 1;
        } else {
            let found = uri::scan_path_and_query(target)?;
            head.line.note_path(found);
        }
        head.line.path_and_query = head.line.target;
        if self.cookies > 1 {
            head.headers.join_cookies();
        }
        head.length = match self.content_length {
            Some(1..) if end => return Err(Violation::ContentLengthDisagrees),
            Some(bytes) => BodyLength::Length(bytes),
            None if end => BodyLength::None,
            None => BodyLength::Chunked,
        };
        Ok(())
    }
}

/// Makes a trailer section of the fields of a block.
pub(super) struct TrailerFields {
    trailers: Box<Headers>,
    left: Bounds,
    fault: Option<Violation>,
}

impl TrailerFields {
    pub(super) fn new() -> Self {
        Self { trailers: Box::default(), left: Bounds::TRAILERS, fault: None }
    }

    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        if self.fault.is_some() {
            return;
        }
        let verdict = self.left.take(name, value).and_then(|()| match name {
            [b':', ..] => Err(Violation::PseudoField),
            _ => checked(name, value).map(drop),
        });
        match verdict {
            Ok(()) => self.trailers.push_named(name, value),
            Err(fault) => self.fault = Some(fault),
        }
    }

    pub(super) fn finish(self) -> Result<Box<Headers>, Violation> {
        match self.fault {
            Some(fault) => Err(fault),
            None if self.trailers.present().has_any(FORBIDDEN_IN_TRAILERS) => {
                Err(Violation::TrailerForbidden)
            }
            None => Ok(self.trailers),
        }
    }
}

/// Checks a field that is no pseudo-header field, RFC 9113 8.2.
fn checked(name: &[u8], value: &[u8]) -> Result<HeaderId, Violation> {
    if !is_token(name) || name.iter().any(u8::is_ascii_uppercase) {
        return Err(Violation::HeaderName);
    }
    let is_padded = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if is_padded(value.first())
        || is_padded(value.last())
        || value.iter().any(|byte| is_control(*byte))
    {
        return Err(Violation::HeaderValue);
    }
    match HeaderId::of(name) {
        HeaderId::Connection
        | HeaderId::KeepAlive
        | HeaderId::ProxyConnection
        | HeaderId::TransferEncoding
        | HeaderId::Upgrade => Err(Violation::ConnectionField),
        id => Ok(id),
    }
}

/// Appends the header block of a response. `scratch` is of no other use.
pub(super) fn encode_response(
    encoder: &mut BlockEncoder,
    head: &ResponseHead,
    size: BodySize,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    encoder.begin(out);
    let status = head.status.clamp(100, 999);
    let digit = |of: u16| b'0' + u8::try_from(status / of % 10).unwrap_or(0);
    let status_bytes = [digit(100), digit(10), digit(1)];
    let index = match status {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => 8,
    };
    encoder.known(index, &status_bytes, out);
    // A response to HEAD, and a 304, keep the length of another response.
    let keeps_length = matches!(size, BodySize::None);
    for (id, name, value) in head.headers.iter() {
        let skipped = match id {
            HeaderId::Connection
            | HeaderId::KeepAlive
            | HeaderId::ProxyConnection
            | HeaderId::TransferEncoding
            | HeaderId::Upgrade => true,
            HeaderId::ContentLength => !keeps_length,
            _ => false,
        };
        if !skipped {
            encode_field(encoder, id, name, value, scratch, out);
        }
    }
    if let BodySize::Known(bytes) = size {
        scratch.clear();
        decimal(bytes, scratch);
        encoder.field(HeaderId::ContentLength, b"content-length", scratch, out);
    }
}

/// Appends the header block of a trailer section.
pub(super) fn encode_trailers(
    encoder: &mut BlockEncoder,
    trailers: &Headers,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    encoder.begin(out);
    for (id, name, value) in trailers.iter() {
        encode_field(encoder, id, name, value, scratch, out);
    }
}

fn encode_field(
    encoder: &mut BlockEncoder,
    id: HeaderId,
    name: &[u8],
    value: &[u8],
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    if id == HeaderId::Other {
        scratch.clear();
        scratch.extend(name.iter().map(u8::to_ascii_lowercase));
        encoder.field(id, scratch, value, out);
    } else {
        encoder.field(id, id.name().as_bytes(), value, out);
    }
}

fn decimal(mut number: u64, into: &mut Vec<u8>) {
    loop {
        into.push(b'0' + u8::try_from(number % 10).unwrap_or(0));
        number /= 10;
        if number == 0 {
            break;
        }
    }
    into.reverse();
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 4096, fields: 20 };

    fn read(fields: &[(&str, &str)], end: bool) -> Result<RequestHead, Violation> {
        let mut head = RequestHead::new();
        let mut request = RequestFields::new(&mut head, BOUNDS);
        for (name, value) in fields {
            request.add(name.as_bytes(), value.as_bytes());
        }
        request.finish(end).map(|()| head)
    }

    fn with(more: &[(&str, &str)]) -> Result<RequestHead, Violation> {
        let mut fields = vec![
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "a.example:80"),
            (":path", "/a?b"),
        ];
        fields.extend_from_slice(more);
        read(&fields, false)
    }

    #[test]
    fn a_request_has_its_parts() {
        let head = with(&[("cookie", "a=1"), ("x-a", "b"), ("cookie", "c=2")]).unwrap();
        assert_eq!(
            (head.method, head.path(), head.query()),
            (Method::Post, &b"/a"[..], Some(&b"b"[..]))
        );
        assert_eq!((head.authority(), head.host()), (&b"a.example:80"[..], &b"a.example"[..]));
        assert_eq!(head.headers.get(HeaderId::Host), Some(&b"a.example:80"[..]));
        assert_eq!(head.headers.all(HeaderId::Cookie).collect::<Vec<_>>(), [b"a=1; c=2"]);
        assert_eq!(head.body_size(), BodySize::Unknown);
        assert_eq!(with(&[("content-length", "7")]).unwrap().body_size(), BodySize::Known(7));
    }

    #[test]
    fn unsound_requests_are_refused() {
        for (more, violation) in [
            (("X-A", "b"), Violation::HeaderName),
            (("", "b"), Violation::HeaderName),
            (("a b", "b"), Violation::HeaderName),
            (("x-a", "b\r\nc: d"), Violation::HeaderValue),
            (("x-a", "b\0"), Violation::HeaderValue),
            (("x-a", " b"), Violation::HeaderValue),
            (("connection", "close"), Violation::ConnectionField),
            (("transfer-encoding", "chunked"), Violation::ConnectionField),
            (("upgrade", "h2c"), Violation::ConnectionField),
            (("te", "gzip"), Violation::ConnectionField),
            (("host", "b.example"), Violation::HostDisagrees),
            (("content-length", "+1"), Violation::ContentLengthInvalid),
            ((":path", "/"), Violation::PseudoField),
            ((":status", "200"), Violation::PseudoField),
            ((":protocol", "websocket"), Violation::PseudoField),
        ] {
            assert_eq!(with(&[more]).err(), Some(violation), "{more:?}");
        }
        let late = with(&[("x-a", "b"), (":path", "/")]);
        assert_eq!(late.err(), Some(Violation::PseudoField));
        assert!(with(&[("host", "A.example:80"), ("te", "trailers")]).is_ok());
    }

    #[test]
    fn every_request_needs_a_method_a_scheme_a_path_and_an_authority() {
        let whole = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
        assert!(read(&whole, true).is_ok());
        for left_out in whole {
            let rest: Vec<_> = whole.into_iter().filter(|field| *field != left_out).collect();
            assert!(read(&rest, true).is_err(), "{left_out:?}");
        }
        for path in ["", "a", "*", "/a#b", "/\r"] {
            let mut bad = whole;
            bad[2].1 = path;
            assert!(read(&bad, true).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_head_beyond_its_bounds_is_refused() {
        let many = vec![("a", "b"); 21];
        assert_eq!(with(&many).err(), Some(Violation::TooManyHeaders));
        let long = "x".repeat(4096);
        assert_eq!(with(&[("a", &long)]).err(), Some(Violation::HeadTooLarge));
    }
}
