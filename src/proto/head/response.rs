//! The head of a response.

use super::{BodyLength, BodySize, Headers, Span, Version};

/// The head of a response.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// The status code, 100 to 999. RFC 9110 15 defines those to 599; others pass as they came.
    pub status: u16,
    /// The version that the endpoint spoke.
    pub version: Version,
    /// The header fields; they own the bytes of the whole head.
    pub headers: Headers,
    /// How the end of the body is known.
    pub length: BodyLength,
    /// Of the bytes of the headers.
    pub(crate) reason: Span,
    /// The status line, if it is as encoding would write it, and its status.
    pub(crate) verbatim: Option<(Span, u16)>,
    /// The value of Upgrade; empty unless the endpoint names one.
    pub(crate) upgrade: Span,
    /// The protocol that the client is told to switch to; empty if it is told of none.
    pub(crate) switch_to: Span,
    /// The endpoint wishes to keep the connection.
    pub(crate) keep_alive: bool,
}

impl ResponseHead {
    /// A response that has no status yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Back to `new`, keeping the memory.
    #[inline]
    pub fn clear(&mut self) {
        let mut headers = std::mem::take(&mut self.headers);
        headers.clear();
        *self = Self { headers, ..Self::default() };
    }

    /// The reason phrase; may be empty, may be of any bytes but controls (RFC 9112 4).
    #[must_use]
    pub fn reason(&self) -> &[u8] {
        self.reason.of(self.headers.bytes())
    }

    /// Sets status and reason phrase; control bytes in the phrase become spaces.
    pub fn set_status(&mut self, status: u16, reason: &str) {
        debug_assert!((100..=599).contains(&status), "a status code of RFC 9110 15");
        self.status = status;
        self.verbatim = None;
        self.reason = self.headers.append_text(reason.as_bytes());
    }

    /// How the end of the body is known.
    #[inline]
    #[must_use]
    pub const fn body_length(&self) -> BodyLength {
        self.length
    }

    /// How much body follows, whatever the protocol.
    #[inline]
    #[must_use]
    pub const fn body_size(&self) -> BodySize {
        self.length.size()
    }

    /// Whether the connection can carry another response after this one, RFC 9112 9.3: the endpoint
    /// wishes so, and the body does not end with the connection.
    #[inline]
    #[must_use]
    pub const fn keep_alive(&self) -> bool {
        self.keep_alive && !matches!(self.length, BodyLength::UntilClose)
    }

    /// Whether another response follows on the same request: 1xx other than 101 (RFC 9110 15.2).
    #[inline]
    #[must_use]
    pub const fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }

    /// The value of Upgrade, if Connection lists it and the version is 1.1 (RFC 9110 7.8).
    /// Survives the removal of both.
    #[must_use]
    pub fn upgrade(&self) -> Option<&[u8]> {
        Some(self.upgrade.of(self.headers.bytes())).filter(|value| !value.is_empty())
    }

    /// Tells the client that the connection switches to `protocol`, in the name by which the client
    /// has asked for it. The side of the client says so in the way of its protocol.
    pub fn tell_of_switch(&mut self, protocol: &[u8]) {
        self.switch_to = self.headers.append_text(protocol);
    }
}

/// The reason phrase that RFC 9110 15, RFC 6585 or RFC 5842 gives a status; empty for those they do not know.
#[must_use]
pub const fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}
