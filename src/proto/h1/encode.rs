//! Writing heads and the framing of bodies.
//!
//! A head is written in one walk over its table. The lines in its bytes have the form that goes on
//! the wire, so neighbours that were left alone are copied together: a head that was hardly edited
//! is two or three copies.

use super::response::never_has_length;
use crate::head::{
    BodyLength, Field, HeaderId, Headers, IdSet, Method, RequestHead, ResponseHead, Span, Version,
    name_of,
};

/// Whether the connection to the client goes on after this response, RFC 9112 9.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persist {
    /// Another request may follow.
    KeepAlive,
    /// It closes.
    Close,
}

/// Bytes that take any [`chunk_size_line`]: 16 digits and CRLF, rounded up to a multiple of four.
pub const CHUNK_SIZE_LINE_BYTES: usize = 20;

/// Bytes that encoding may write beyond those of the table and one for each field: version, status,
/// `host: `, the longest framing (`content-length: ` and 20 digits), `connection: keep-alive` and
/// the line ends come to less than 110.
const EXTRA_BYTES_MAX: usize = 128;

/// An upper bound of the bytes that [`encode_request`] or [`encode_response`] needs for these
/// headers. Costs nothing; counts removed fields too.
#[inline]
#[must_use]
pub fn encoded_len_max(headers: &Headers) -> usize {
    // A line that came without a space behind the colon gets one.
    headers.bytes().len() + headers.fields().len() + EXTRA_BYTES_MAX
}

/// Writes the head of a request and gives its length; `None` if it does not fit.
///
/// Always HTTP/1.1, the target in origin form or `*`, `host` with the authority first (RFC 9110
/// 7.2), then the fields in order with their names as they came, then the framing for `length`.
/// Host, Content-Length and Transfer-Encoding of the table are always skipped: there is one
/// source for each. Trailer is skipped where no trailers can follow. Connection lists TE where the
/// table has it, and the upgrade that the head asks for.
#[inline]
#[must_use]
pub fn encode_request(head: &RequestHead, length: BodyLength, out: &mut [u8]) -> Option<usize> {
    const SKIPPED: IdSet =
        IdSet::of([HeaderId::Host, HeaderId::ContentLength, HeaderId::TransferEncoding]);
    debug_assert_ne!(length, BodyLength::UntilClose, "no request ends by closing");
    let mut writer = Writer::new(head.headers.bytes(), out);
    match head.line.verbatim {
        Some((line, method)) if method == head.method => writer.span(line)?,
        _ => {
            if head.method == Method::Other {
                writer.span(head.line.method)?;
            } else {
                writer.put(head.method.name().as_bytes())?;
            }
            writer.put(b" ")?;
            writer.span(head.line.target_to_send())?;
            writer.put(b" HTTP/1.1\r\n")?;
        }
    }
    let authority = head.line.authority_to_send();
    let is_authority = |field: &&Field| field.id == HeaderId::Host && field.value == authority;
    match head.headers.fields().iter().find(is_authority) {
        Some(host) => writer.field(host)?,
        None => {
            writer.put(b"host: ")?;
            writer.span(authority)?;
            writer.put(b"\r\n")?;
        }
    }
    let trailer = match length {
        BodyLength::Chunked => IdSet::EMPTY,
        _ => IdSet::of([HeaderId::Trailer]),
    };
    writer.fields(head.headers.fields(), SKIPPED.and(trailer))?;
    // RFC 9110 10.1.4: TE is for this hop, and Connection says so.
    let has_te = head.headers.present().has(HeaderId::Te);
    if has_te || head.line.switch_to.len > 0 {
        writer.connection(has_te, head.line.switch_to)?;
    }
    writer.framing(length)?;
    writer.put(b"\r\n")?;
    Some(writer.at)
}

/// Writes the head of a response and gives its length; `None` if it does not fit.
///
/// Always HTTP/1.1 (RFC 9110 2.5: a version is the sender's own). The framing for `length` is
/// written, and Transfer-Encoding of the table skipped. Content-Length of the table is written in
/// one case only: with [`BodyLength::None`], where a response to HEAD and a 304 say how long the
/// body would be (RFC 9110 8.6); never for 1xx and 204, which must not say so.
///
/// The gateway says `connection: close` when it closes, and `connection: keep-alive` to an HTTP/1.0
/// `client` whose connection stays (RFC 9112 9.3); nothing in a 1xx, where it would mean nothing,
/// but the protocol that a 101 switches to. A
/// body that ends with the connection closes it. A chunked body is not for an HTTP/1.0 client.
///
/// Trailer is skipped where no trailers can follow: only chunks have them (RFC 9112 7.1.2). Without a
/// body it stays: a response to HEAD describes that to GET.
#[inline]
#[must_use]
pub fn encode_response(
    head: &ResponseHead,
    length: BodyLength,
    persist: Persist,
    client: Version,
    out: &mut [u8],
) -> Option<usize> {
    debug_assert!(
        length != BodyLength::Chunked || client != Version::Http10,
        "an http/1.0 client cannot read chunks"
    );
    let mut writer = Writer::new(head.headers.bytes(), out);
    match head.verbatim {
        Some((line, status)) if status == head.status => writer.span(line)?,
        _ => {
            writer.put(b"HTTP/1.1 ")?;
            writer.put(&status_digits(head.status))?;
            writer.put(b" ")?;
            writer.span(head.reason)?;
            writer.put(b"\r\n")?;
        }
    }
    let keeps_length = length == BodyLength::None && !never_has_length(head.status);
    let skipped = match keeps_length {
        true => IdSet::of([HeaderId::TransferEncoding]),
        false => IdSet::of([HeaderId::TransferEncoding, HeaderId::ContentLength]),
    };
    let trailer = match length {
        BodyLength::Chunked | BodyLength::None => IdSet::EMPTY,
        BodyLength::Length(_) | BodyLength::UntilClose => IdSet::of([HeaderId::Trailer]),
    };
    writer.fields(head.headers.fields(), skipped.and(trailer))?;
    writer.framing(length)?;
    match (persist, client) {
        _ if head.switch_to.len > 0 => writer.connection(false, head.switch_to)?,
        _ if head.status < 200 => {}
        (Persist::KeepAlive, Version::Http11 | Version::Http2)
            if length != BodyLength::UntilClose => {}
        (Persist::KeepAlive, Version::Http10) if length != BodyLength::UntilClose => {
            writer.put(b"connection: keep-alive\r\n")?;
        }
        _ => writer.put(b"connection: close\r\n")?,
    }
    writer.put(b"\r\n")?;
    Some(writer.at)
}

/// Writes the line in front of a chunk of `len` bytes and gives its length (RFC 9112 7.1). CRLF
/// follows the data. There is no chunk of 0 bytes: [`encode_last_chunk`] ends a body.
#[inline]
pub fn chunk_size_line(len: usize, out: &mut [u8; CHUNK_SIZE_LINE_BYTES]) -> usize {
    debug_assert_ne!(len, 0, "an empty chunk ends the body");
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1) as usize;
    let mut rest = len;
    for place in out.iter_mut().take(digits).rev() {
        *place = HEX.get(rest & 0x0f).copied().unwrap_or(b'0');
        rest >>= 4;
    }
    for (place, byte) in out.iter_mut().skip(digits).zip(*b"\r\n") {
        *place = byte;
    }
    digits + 2
}

/// Writes the end of a chunked body, with trailers if there are any, and gives its length; `None`
/// if it does not fit (RFC 9112 7.1, 7.1.2). Without trailers that is 5 bytes.
#[must_use]
pub fn encode_last_chunk(trailers: Option<&Headers>, out: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::new(trailers.map_or(&[], Headers::bytes), out);
    writer.put(b"0\r\n")?;
    writer.fields(trailers.map_or(&[], Headers::fields), IdSet::EMPTY)?;
    writer.put(b"\r\n")?;
    Some(writer.at)
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes pieces one behind the other; spans of the source that touch are copied together.
struct Writer<'a> {
    source: &'a [u8],
    /// The range of the source that is to be copied next.
    run: (usize, usize),
    out: &'a mut [u8],
    /// Bytes written.
    at: usize,
}

impl<'a> Writer<'a> {
    fn new(source: &'a [u8], out: &'a mut [u8]) -> Self {
        Self { source, run: (0, 0), out, at: 0 }
    }

    /// Writes a piece of the source, sooner or later.
    #[inline]
    fn range(&mut self, start: usize, end: usize) -> Option<()> {
        if self.run.1 == start {
            self.run.1 = end;
            return Some(());
        }
        self.flush()?;
        self.run = (start, end);
        Some(())
    }

    #[inline]
    fn span(&mut self, span: Span) -> Option<()> {
        self.range(span.start(), span.end())
    }

    #[inline]
    fn flush(&mut self) -> Option<()> {
        let (start, end) = self.run;
        // The next piece starts a new run, wherever it is.
        self.run = (end, end);
        if start == end {
            return Some(());
        }
        let piece = self.source.get(start..end)?;
        self.copy(piece)
    }

    /// Writes bytes that are not of the source.
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.flush()?;
        self.copy(bytes)
    }

    #[inline]
    fn copy(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at + bytes.len();
        self.out.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }

    /// Writes one field line.
    #[inline]
    fn field(&mut self, field: &Field) -> Option<()> {
        let (start, end) = (field.name.start(), field.value.end() + 2);
        if field.whole && self.run.1 == start {
            self.run.1 = end;
            return Some(());
        }
        self.field_apart(field)
    }

    #[inline(never)]
    fn field_apart(&mut self, field: &Field) -> Option<()> {
        if field.whole {
            return self.range(field.name.start(), field.value.end() + 2);
        }
        let source = self.source;
        self.put(name_of(field, source))?;
        self.put(b": ")?;
        self.put(field.value.of(source))?;
        self.put(b"\r\n")
    }

    /// Writes the fields of a table without those that the set holds.
    #[inline]
    fn fields(&mut self, fields: &[Field], skipped: IdSet) -> Option<()> {
        let skipped = skipped.and(IdSet::of([HeaderId::Removed]));
        for field in fields {
            if !skipped.has(field.id) {
                self.field(field)?;
            }
        }
        Some(())
    }

    /// Writes the options of this hop, and the protocol of an upgrade (RFC 9110 7.8).
    #[cold]
    fn connection(&mut self, has_te: bool, switch_to: Span) -> Option<()> {
        let options: &[u8] = match (has_te, switch_to.len > 0) {
            (true, true) => b"te, upgrade",
            (true, false) => b"te",
            (false, _) => b"upgrade",
        };
        self.put(b"connection: ")?;
        self.put(options)?;
        if switch_to.len > 0 {
            self.put(b"\r\nupgrade: ")?;
            self.span(switch_to)?;
        }
        self.put(b"\r\n")
    }

    #[inline]
    fn framing(&mut self, length: BodyLength) -> Option<()> {
        match length {
            BodyLength::None | BodyLength::UntilClose => Some(()),
            BodyLength::Chunked => self.put(b"transfer-encoding: chunked\r\n"),
            BodyLength::Length(bytes) => {
                self.put(b"content-length: ")?;
                self.decimal(bytes)?;
                self.put(b"\r\n")
            }
        }
    }

    fn decimal(&mut self, number: u64) -> Option<()> {
        // A u64 has at most 20 digits.
        let mut digits = [b'0'; 20];
        let mut rest = number;
        let mut count = 0;
        for place in digits.iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
            count += 1;
            if rest == 0 {
                break;
            }
        }
        self.put(digits.get(digits.len() - count..)?)
    }
}

fn status_digits(status: u16) -> [u8; 3] {
    [status / 100 % 10, status / 10 % 10, status % 10].map(|digit| b'0' + (digit % 10) as u8)
}
