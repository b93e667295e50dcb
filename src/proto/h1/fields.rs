//! The part that the parsers of requests and responses share: the walk over the fields of a head, and
//! the meaning of the fields that control the message.

use super::blocks::{self, position};
use crate::head::{
    BodyLength, Field, HeaderId, Headers, IdSet, Span, Version, is_token, trimmed, trimmed_end,
    trimmed_start,
};
use crate::violation::Violation;

/// The most fields of a head, even if `headers_max` is larger: bounds the walks over the table.
pub const HEADERS_LIMIT: usize = 256;

/// The most bytes of a head, even if the caller allows more: keeps offsets far from `u32::MAX`.
pub const HEAD_BYTES_LIMIT: usize = 16 << 20;

/// The most options in the Connection fields of a head. Each may cost a walk over the fields when
/// they are removed; real messages have three at most (`keep-alive, upgrade, http2-settings`).
pub const CONNECTION_OPTIONS_MAX: usize = 32;

/// The meaning of the fields that control a message, RFC 9112 6 and 9, RFC 9110 7 and 10.1.1.
#[derive(Debug, Default)]
pub(super) struct ControlFields {
    /// The value of Host.
    pub(super) host: Option<Span>,
    /// The value of Upgrade.
    pub(super) upgrade: Span,
    /// The value of Content-Length.
    pub(super) content_length: Option<u64>,
    /// Transfer-Encoding.
    pub(super) codings: Codings,
    /// Expect: 100-continue.
    pub(super) expects_continue: bool,
    /// Connection: close.
    close: bool,
    /// Connection: keep-alive.
    keep_alive: bool,
    /// Connection: upgrade.
    upgrade_listed: bool,
    /// Options seen in Connection.
    options: usize,
    /// The first thing that is wrong with these.
    fault: Option<Violation>,
}

/// The transfer codings of a message so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Codings {
    /// No Transfer-Encoding.
    #[default]
    Absent,
    /// `chunked` and nothing else.
    Chunked,
    /// Something else, without chunked.
    Unknown,
    /// Something else, then chunked.
    UnknownChunked,
}

/// The ids of the fields that [`ControlFields`] reads.
const NOTED: IdSet = IdSet::of([
    HeaderId::Host,
    HeaderId::ContentLength,
    HeaderId::TransferEncoding,
    HeaderId::Connection,
    HeaderId::Upgrade,
    HeaderId::Expect,
]);

/// The bytes among which a head must end.
#[inline]
pub(super) fn within_limit(bytes: &[u8]) -> &[u8] {
    bytes.get(..HEAD_BYTES_LIMIT).unwrap_or(bytes)
}

/// Reads field lines from `at` on, up to the empty line, and enters them in the table, which is
/// empty. Gives the index behind the empty line, and the control fields.
///
/// `None`, and the table stays empty, if a line is not `name ":" OWS value OWS CRLF` (RFC 9112 5),
/// if there are more than `headers_max`, or if the empty line is not there: the caller finds out
/// which.
#[inline]
pub(super) fn read(
    bytes: &[u8],
    at: usize,
    headers_max: usize,
    headers: &mut Headers,
) -> Option<(usize, ControlFields)> {
    let read = lines(bytes, at, headers_max, headers);
    if read.is_none() {
        headers.clear();
    }
    read
}

#[inline]
fn lines(
    bytes: &[u8],
    mut at: usize,
    headers_max: usize,
    headers: &mut Headers,
) -> Option<(usize, ControlFields)> {
    let mut notes = ControlFields::default();
    let mut left = headers_max.min(HEADERS_LIMIT);
    // One pass: each line is found, judged and entered before the next one is looked at. Any doubt
    // ends the walk with `None`; [`diagnose`] finds the name of the fault, at leisure.
    // One pass: each line is found, judged and entered before the next one is looked at. Any doubt
    // ends the walk with `None`; [`diagnose`] finds the name of the fault, at leisure.
    while bytes.get(at)? != &b'\r' {
        left = left.checked_sub(1)?;
        let colon = position(bytes, at, |block| blocks::equal(block, b':'))?;
        let name = bytes.get(at..colon)?;
        let id = HeaderId::of(name);
        // The known names are tokens.
        if id == HeaderId::Other && !is_token(name) {
            return None;
        }
        // A name that holds a control byte is no token, so this line cannot end in front of its colon.
        // A name that holds a control byte is no token, so this line cannot end in front of its colon.
        let line_end = text_end(bytes, colon + 1)?;
        let text = bytes.get(colon + 1..line_end)?;
        let value = trimmed_start(text);
        let value_start = line_end - value.len();
        let value = trimmed_end(value);
        let span = Span::within_head(value_start, value.len());
        // As encoding would write it: `name: value CRLF`, with one space and no other white space.
        // As encoding would write it: `name: value CRLF`, with one space and no other white space.
        let whole = text.first() == Some(&b' ') && value.len() + 1 == text.len();
        headers.add(Field { id, name: Span::within_head(at, name.len()), value: span, whole });
        if NOTED.has(id) {
            notes.take(id, value, span);
        }
        at = line_end + 2;
    }
    // No line starts with a CR, so this one must be the empty line.
    // No line starts with a CR, so this one must be the empty line.
    (bytes.get(at + 1)? == &b'\n').then_some((at + 2, notes))
}

/// Where the text from `from` on ends with CRLF; `None` if another control byte but HTAB ends it.
#[inline]
pub(super) fn text_end(bytes: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let at = position(bytes, from, blocks::control)?;
        match bytes.get(at..at + 2)? {
            b"\r\n" => return Some(at),
            [b'\t', _] => from = at + 1,
            _ => return None,
        }
    }
}

impl ControlFields {
    fn take(&mut self, id: HeaderId, value: &[u8], span: Span) {
        let verdict = self.read(id, value, span);
        self.fault = self.fault.or(verdict.err());
    }

    fn read(&mut self, id: HeaderId, value: &[u8], span: Span) -> Result<(), Violation> {
        match id {
            HeaderId::Host if self.host.is_some() => return Err(Violation::HostDuplicate),
            HeaderId::Host => self.host = Some(span),
            HeaderId::ContentLength if self.content_length.is_some() => {
                return Err(Violation::ContentLengthDuplicate);
            }
            HeaderId::ContentLength => self.content_length = Some(content_length(value)?),
            HeaderId::TransferEncoding => self.codings = self.codings.and(value)?,
            HeaderId::Connection => self.connection(value)?,
            HeaderId::Upgrade if self.upgrade.len == 0 => self.upgrade = span,
            HeaderId::Expect => {
                self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
            }
            _ => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) -> Result<(), Violation> {
        for option in value.split(|byte| *byte == b',').map(trimmed) {
            self.options += 1;
            if self.options > CONNECTION_OPTIONS_MAX {
                return Err(Violation::TooManyConnectionOptions);
            }
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade_listed |= option.eq_ignore_ascii_case(b"upgrade");
        }
        Ok(())
    }

    /// These, if nothing is wrong with them.
    #[inline]
    pub(super) fn checked(self) -> Result<Self, Violation> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(self),
        }
    }

    /// Whether the sender wishes to keep the connection, RFC 9112 9.3. A sender that says both
    /// things gets the safe one.
    pub(super) const fn persists(&self, version: Version) -> bool {
        match version {
            Version::Http10 => self.keep_alive && !self.close,
            Version::Http11 | Version::Http2 => !self.close,
        }
    }

    /// The value of Upgrade where it counts, RFC 9110 7.8; else empty.
    pub(super) const fn upgrade(&self, version: Version) -> Span {
        match version {
            Version::Http11 if self.upgrade_listed => self.upgrade,
            _ => Span::EMPTY,
        }
    }

    /// The length that Content-Length and Transfer-Encoding give together, RFC 9112 6.3; `None` if
    /// neither is there.
    #[inline]
    pub(super) fn framing(&self, version: Version) -> Result<BodyLength, Violation> {
        match (self.codings, self.content_length) {
            (Codings::Absent, None) => Ok(BodyLength::None),
            (Codings::Absent, Some(length)) => Ok(BodyLength::Length(length)),
            (_, Some(_)) => Err(Violation::ContentLengthWithTransferEncoding),
            (_, None) if version == Version::Http10 => Err(Violation::TransferEncodingInHttp10),
            (Codings::Chunked, None) => Ok(BodyLength::Chunked),
            (Codings::Unknown | Codings::UnknownChunked, None) => {
                Err(Violation::TransferCodingUnknown)
            }
        }
    }
}

impl Codings {
    /// These and those of one more field, RFC 9112 6.1. Empty list members, which RFC 9110 5.6.1
    /// lets pass, are refused: `, chunked` has been read as identity.
    fn and(mut self, value: &[u8]) -> Result<Self, Violation> {
        for coding in value.split(|byte| *byte == b',').map(trimmed) {
            let chunked = coding.eq_ignore_ascii_case(b"chunked");
            self = match (self, chunked) {
                (Self::Absent, true) => Self::Chunked,
                (Self::Unknown, true) => Self::UnknownChunked,
                (Self::Absent | Self::Unknown, false) if is_token(coding) => Self::Unknown,
                _ => return Err(Violation::TransferEncodingInvalid),
            };
        }
        Ok(self)
    }
}

/// Content-Length, RFC 9110 8.6: decimal digits only, and below 2^63, since programs that count
/// with signs read larger ones as negative.
pub(crate) fn content_length(value: &[u8]) -> Result<u64, Violation> {
    // 19 digits hold 2^63 - 1; with leading zeros more would be legal, and a way to disagree.
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Violation::ContentLengthInvalid);
    }
    let length = value.iter().fold(0, |sum: u64, digit| sum * 10 + u64::from(digit & 0x0f));
    if i64::try_from(length).is_ok() { Ok(length) } else { Err(Violation::ContentLengthInvalid) }
}
