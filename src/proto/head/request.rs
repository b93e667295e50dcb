//! The head of a request.

use super::{BodyLength, BodySize, HeaderId, Headers, Span, Version};
use crate::path::Rules;
use crate::upgrade;
use crate::uri;
use crate::violation::Violation;

/// A request method, RFC 9110 9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
    /// OPTIONS.
    Options,
    /// PATCH, RFC 5789.
    Patch,
    /// TRACE.
    Trace,
    /// CONNECT.
    Connect,
    /// Any other token: see [`RequestHead::method_bytes`]. Before a request line is read, no token.
    #[default]
    Other,
}

impl Method {
    /// The method with this name; case counts (RFC 9110 9.1).
    #[inline]
    #[must_use]
    pub const fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"PATCH" => Self::Patch,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }

    /// The name; empty for `Other`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Trace => "TRACE",
            Self::Connect => "CONNECT",
            Self::Other => "",
        }
    }

    /// Whether the client asks for no change, RFC 9110 9.2.1. `Other` is not known to be safe.
    #[must_use]
    pub const fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }

    /// Whether doing it twice is doing it once, RFC 9110 9.2.2.
    #[must_use]
    pub const fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }
}

/// The head of a request.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The version that the client spoke.
    pub version: Version,
    /// The header fields; they own the bytes of the whole head.
    pub headers: Headers,
    /// How the end of the body is known: never `UntilClose`.
    pub length: BodyLength,
    /// All other facts from the request line and from the checks.
    pub(crate) line: RequestLine,
}

/// The facts from the request line and from the checks. All spans are of the bytes of the headers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestLine {
    /// The method's name, for `Other`.
    pub(crate) method: Span,
    /// The target as it came.
    pub(crate) target: Span,
    /// The target in origin or asterisk form.
    pub(crate) path_and_query: Span,
    /// Bytes of `path_and_query` that are the path.
    pub(crate) path_len: u32,
    /// The path may have another form than a listener's rules ask for.
    pub(crate) path_is_suspect: bool,
    /// Host and port.
    pub(crate) authority: Span,
    /// Bytes of `authority` that are the host.
    pub(crate) host_len: u32,
    /// The value of Upgrade; empty unless the client asks for one.
    pub(crate) upgrade: Span,
    /// The protocol that the endpoint is asked to switch to; empty if it is asked for none.
    pub(crate) switch_to: Span,
    /// The target for the endpoint, where it is another one than `path_and_query`; else empty.
    pub(crate) rewritten: Span,
    /// The authority for the endpoint, where it is another one than `authority`; else empty.
    pub(crate) rewritten_authority: Span,
    /// The line, if it is as encoding would write it.
    pub(crate) verbatim: Option<(Span, Method)>,
    /// The client wishes to keep the connection.
    pub(crate) keep_alive: bool,
    /// The client waits for 100 (Continue).
    pub(crate) expects_continue: bool,
}

impl RequestLine {
    /// The target for the endpoint.
    #[inline]
    pub(crate) const fn target_to_send(&self) -> Span {
        if self.rewritten.len == 0 { self.path_and_query } else { self.rewritten }
    }

    /// The authority for the endpoint.
    #[inline]
    pub(crate) const fn authority_to_send(&self) -> Span {
        let rewritten = self.rewritten_authority;
        if rewritten.len == 0 { self.authority } else { rewritten }
    }

    /// Takes over the facts about `path_and_query`.
    #[inline]
    pub(crate) fn note_path(&mut self, found: uri::PathAndQuery) {
        self.path_len = Span::new(0, found.path_len).len;
        self.path_is_suspect = found.suspect;
    }
}

impl RequestHead {
    /// No request yet: its method and its target are empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Back to `new`, keeping the memory.
    #[inline]
    pub fn clear(&mut self) {
        self.method = Method::default();
        self.version = Version::default();
        self.headers.clear();
        self.length = BodyLength::default();
        self.line = RequestLine::default();
    }

    /// The method's name.
    #[inline]
    #[must_use]
    pub fn method_bytes(&self) -> &[u8] {
        match self.method {
            Method::Other => self.line.method.of(self.headers.bytes()),
            known => known.name().as_bytes(),
        }
    }

    /// The target as it came, RFC 9112 3.2.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.line.target.of(self.headers.bytes())
    }

    /// The target that the client asked for: origin form, or `*` (RFC 9112 3.2.1, 3.2.4).
    #[inline]
    #[must_use]
    pub fn path_and_query(&self) -> &[u8] {
        self.line.path_and_query.of(self.headers.bytes())
    }

    /// The path, without the query: `/` if an absolute-form target has none, `*` in asterisk form.
    #[inline]
    #[must_use]
    pub fn path(&self) -> &[u8] {
        let whole = self.path_and_query();
        whole.get(..self.line.path_len as usize).unwrap_or(whole)
    }

    /// The bytes behind the first `?`, if there is one.
    #[inline]
    #[must_use]
    pub fn query(&self) -> Option<&[u8]> {
        self.path_and_query().get(self.line.path_len as usize + 1..)
    }

    /// Host and port: of an absolute-form target, else of Host (RFC 9112 3.2.2, 3.3). Empty for an
    /// HTTP/1.0 request with neither.
    #[inline]
    #[must_use]
    pub fn authority(&self) -> &[u8] {
        self.line.authority.of(self.headers.bytes())
    }

    /// The authority without its port; an IPv6 address keeps its brackets.
    #[inline]
    #[must_use]
    pub fn host(&self) -> &[u8] {
        let whole = self.authority();
        whole.get(..self.line.host_len as usize).unwrap_or(whole)
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

    /// Whether the client wishes to keep the connection, RFC 9112 9.3. Survives the removal of
    /// Connection.
    #[inline]
    #[must_use]
    pub const fn keep_alive(&self) -> bool {
        self.line.keep_alive
    }

    /// Whether the client waits for 100 (Continue) before it sends the body, RFC 9110 10.1.1.
    #[inline]
    #[must_use]
    pub const fn expects_continue(&self) -> bool {
        self.line.expects_continue
    }

    /// The value of Upgrade, if Connection lists it and the version is 1.1 (RFC 9110 7.8).
    /// Survives the removal of both.
    #[must_use]
    pub fn upgrade(&self) -> Option<&[u8]> {
        Some(self.line.upgrade.of(self.headers.bytes())).filter(|value| !value.is_empty())
    }

    /// Asks the endpoint to switch to the first protocol of [`upgrade`](Self::upgrade) that
    /// `allows` lets pass. The side of the endpoint says so in the way of its protocol.
    pub fn ask_to_switch(&mut self, allows: impl Fn(&[u8]) -> bool) {
        self.line.switch_to = upgrade::first(self.headers.bytes(), self.line.upgrade, allows);
    }

    /// The protocol that the endpoint is asked to switch to.
    #[inline]
    #[must_use]
    pub fn switch_to(&self) -> Option<&[u8]> {
        Some(self.line.switch_to.of(self.headers.bytes())).filter(|name| !name.is_empty())
    }

    /// Brings the path into the form that the rules of a listener ask for: before anything looks at
    /// it, so that all see the same one. Almost all paths have it already, which parsing has found
    /// out; those cost nothing here.
    ///
    /// # Errors
    /// As [`settled`](crate::path::settled); the head is then unchanged.
    #[inline]
    pub fn settle_path(&mut self, rules: Rules) -> Result<(), Violation> {
        if self.line.path_is_suspect { self.settle_suspect_path(rules) } else { Ok(()) }
    }

    #[inline(never)]
    fn settle_suspect_path(&mut self, rules: Rules) -> Result<(), Violation> {
        let whole = self.line.path_and_query;
        let settled = self.headers.append_settled(whole, self.line.path_len as usize, rules)?;
        self.line.path_is_suspect = false;
        if let Some((target, path_len)) = settled {
            self.line.path_and_query = target;
            self.line.path_len = path_len;
            self.line.verbatim = None;
        }
        Ok(())
    }

    /// The target to send on: the one that the client asked for, or the one that was put in its
    /// place.
    #[inline]
    #[must_use]
    pub fn target_to_send(&self) -> &[u8] {
        self.line.target_to_send().of(self.headers.bytes())
    }

    /// Puts another target in the place of the one that the client asked for. Only the endpoint
    /// sees it: [`RequestHead::path`] stays as it was.
    ///
    /// # Errors
    /// When `target` is not a path with a sound query (RFC 9112 3.2.1); the head is then unchanged.
    pub fn rewrite_target(&mut self, target: &[u8]) -> Result<(), Violation> {
        uri::scan_path_and_query(target)?;
        let rewritten = self.headers.append_loose(target);
        if rewritten.len == 0 {
            return Err(Violation::Target);
        }
        self.line.rewritten = rewritten;
        self.line.verbatim = None;
        Ok(())
    }

    /// Puts another host and port in the place of those that the client asked for. Only the endpoint
    /// sees them: [`RequestHead::authority`] stays as it was.
    ///
    /// # Errors
    /// When `authority` is not a host with or without a port; the head is then unchanged.
    pub fn rewrite_authority(&mut self, authority: &[u8]) -> Result<(), Violation> {
        uri::check_authority(authority)?;
        let rewritten = self.headers.append_loose(authority);
        if rewritten.len > 0 {
            self.line.rewritten_authority = rewritten;
        }
        Ok(())
    }

    /// The authority to send on.
    #[inline]
    #[must_use]
    pub fn authority_to_send(&self) -> &[u8] {
        self.line.authority_to_send().of(self.headers.bytes())
    }

    /// Makes this the head of a request of the gateway's own, without fields and without a body.
    ///
    /// # Errors
    /// When the target or the authority is unsound, or the method is none of those that have a name.
    pub fn begin(
        &mut self,
        method: Method,
        target: &[u8],
        authority: &[u8],
    ) -> Result<(), Violation> {
        self.clear();
        let path_len = uri::check_path_and_query(target)?;
        let host_len = uri::check_authority(authority)?;
        if method.name().is_empty() {
            return Err(Violation::Method);
        }
        self.method = method;
        self.version = Version::Http11;
        self.line.target = self.headers.append_loose(target);
        self.line.path_and_query = self.line.target;
        self.line.path_len = Span::new(0, path_len).len;
        self.line.authority = self.headers.append_loose(authority);
        self.line.host_len = Span::new(0, host_len).len;
        self.line.keep_alive = true;
        Ok(())
    }

    /// Sets `x-forwarded-host` to the authority that the client asked for, in place of its own
    /// such field. Without an authority there is no such field.
    pub fn set_forwarded_host(&mut self) {
        if self.line.authority.len == 0 {
            self.headers.remove(HeaderId::XForwardedHost);
        } else {
            self.headers.set_copy(HeaderId::XForwardedHost, self.line.authority);
        }
    }
}
