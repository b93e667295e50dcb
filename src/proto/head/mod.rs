//! The head of a message: the request or the response itself, apart from how it travels.
//!
//! A head is owned bytes and a table of spans (see [`Headers`]), independent of the socket and of
//! the wire: h1 and h2 parse into it and encode from it. A parser learns facts while
//! it checks a head (framing, persistence, upgrade). They are kept here, and survive the removal of
//! the fields that they came from.

mod headers;
mod id;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub use headers::{BYTES_MAX, Field, Headers, Span, is_token};
pub(crate) use headers::{is_control, name_of, trimmed, trimmed_end, trimmed_start};
pub use id::HeaderId;
pub(crate) use id::IdSet;
pub(crate) use request::RequestLine;
pub use request::{Method, RequestHead};
pub use response::{ResponseHead, phrase};

/// The version of HTTP that a message came in, RFC 9112 2.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
    /// HTTP/2, RFC 9113.
    Http2,
}

/// Which message a body belongs to.
///
/// A body is framed anew before it is sent on, so a fault of a response cannot move the end of a
/// message for a client. Where nginx and HAProxy both read a malformed response, and in the same way,
/// so do we: endpoints behind them have never been told. In a request every fault is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// A client sends it.
    Request,
    /// An endpoint sends it.
    Response,
}

/// How the end of a body is known, RFC 9112 6.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BodyLength {
    /// There is no body, and nothing says so: a request without Content-Length, a response to HEAD,
    /// a 204.
    #[default]
    None,
    /// So many bytes. `Length(0)` is a body too: "content-length: 0" was said and must be said.
    Length(u64),
    /// Chunked transfer coding, RFC 9112 7.1.
    Chunked,
    /// Until the connection closes. Responses only.
    UntilClose,
}

impl BodyLength {
    /// Whether it is certain that no body byte comes.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }

    /// How much body follows, for code that does not care how its end is known.
    #[must_use]
    pub const fn size(self) -> BodySize {
        match self {
            Self::None => BodySize::None,
            Self::Length(bytes) => BodySize::Known(bytes),
            Self::Chunked | Self::UntilClose => BodySize::Unknown,
        }
    }
}

/// How much body follows a head, whatever the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BodySize {
    /// There is no body, and nothing says so: see [`BodyLength::None`].
    #[default]
    None,
    /// So many bytes; perhaps 0, which the head must then say.
    Known(u64),
    /// The head does not tell.
    Unknown,
}
