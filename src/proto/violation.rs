//! How a peer broke the protocol: one variant per cause.
//!
//! A violation carries no bytes of the message, so it is `Copy` and safe to log. The engine decides
//! the answer of the gateway; [`Violation::status`] is the one that the RFC asks for when the cause
//! is in a request. The same causes in a response are the endpoint's fault and answered with 502.

use std::fmt;

macro_rules! violations {
    ($($(#[doc = $doc:literal])* $variant:ident $token:literal $status:literal $text:literal,)*) => {
        /// A message that is not HTTP as RFC 9110 and RFC 9112 write it, or more than we take.
        ///
        /// "Answer" names the status for a request; in a response each is a 502.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Violation {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Violation {
            /// Every cause, in the order of the definition: for tables and documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The reason token, as metrics and logs carry it.
            #[must_use]
            pub const fn token(self) -> &'static str {
                match self { $(Self::$variant => $token,)* }
            }

            /// The status that answers a request with this violation.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            const fn doc(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),*),)* }
            }
        }
    };
}

violations! {
    /// A request line that is not `method SP target SP version`, RFC 9112 3. Answer 400.
    RequestLine "request_line" 400 "malformed request line",
    /// A status line that is not `version SP status SP reason`, RFC 9112 4. Answer 502.
    StatusLine "status_line" 502 "malformed status line",
    /// A status code below 100, RFC 9110 15. Answer 502.
    StatusCode "status_code" 502 "status code out of range",
    /// A method that is not a token, RFC 9110 9.1. Answer 400.
    Method "method" 400 "method is not a token",
    /// CONNECT, RFC 9110 9.3.6. The gateway stands for the origin, which has no tunnels to give:
    /// "not implemented" rather than 405, since no resource would allow it. Answer 501.
    ConnectNotServed "connect_not_served" 501 "connect is not served",
    /// A target with bytes that no URI has, with a fragment, or of no known form, RFC 9112 3.2.
    /// Answer 400.
    Target "target" 400 "malformed request target",
    /// A path with a `%` that two hex digits do not follow, RFC 3986 2.1, or with `%00`, which ends
    /// the path for programs that count on it. Answer 400.
    PathEncoding "path_encoding" 400 "malformed percent-encoding in the path, or a nul byte",
    /// A path that leaves the root by `..` segments. RFC 3986 5.2.4 would stay there; no
    /// honest client asks for it. Answer 400.
    PathAboveRoot "path_above_root" 400 "path leaves the root",
    /// An encoded slash or backslash in the path where the listener refuses it, or one beside a dot
    /// segment: endpoints do not agree on the meaning of that path. Answer 400.
    EncodedSlash "encoded_slash" 400 "encoded slash in the path where it is not taken",
    /// The asterisk form with a method other than OPTIONS, RFC 9112 3.2.4. Answer 400.
    AsteriskWithoutOptions "asterisk_without_options" 400
        "target * with a method other than options",
    /// Not `HTTP/` digit `.` digit, RFC 9112 2.3. Answer 400.
    Version "version" 400 "malformed http version",
    /// A well-formed version that is neither 1.0 nor 1.1, RFC 9110 15.6.6. Answer 505.
    VersionNotSupported "version_not_supported" 505 "http version is not supported",
    /// A line that ends in LF alone. RFC 9112 2.2 lets a recipient take it; one that does and one
    /// that does not see different messages. Answer 400.
    BareLf "bare_lf" 400 "line ends in lf without cr",
    /// A CR that no LF follows, RFC 9112 2.2. Answer 400.
    BareCr "bare_cr" 400 "cr without lf",
    /// An empty line where a message must start, after the one that is skipped, RFC 9112 2.2.
    /// Answer 400.
    BlankLine "blank_line" 400 "blank line in place of a message",
    /// A header line that starts with white space: obsolete folding, RFC 9112 5.2, or white space
    /// before the first field, RFC 9112 2.2. Answer 400.
    FoldedLine "folded_line" 400 "header line starts with white space",
    /// White space between a field name and its colon, RFC 9112 5.1. Answer 400.
    SpaceBeforeColon "space_before_colon" 400 "white space before the colon of a header",
    /// A field name that is empty or not a token, or a line without a colon, RFC 9110 5.1.
    /// Answer 400.
    HeaderName "header_name" 400 "header name is not a token",
    /// A control byte in a field value, RFC 9110 5.5. Answer 400.
    HeaderValue "header_value" 400 "control byte in a header value",
    /// More fields than `headers_max`, RFC 6585 5. Answer 431.
    TooManyHeaders "too_many_headers" 431 "too many headers",
    /// A head or trailer section with more bytes than we take, RFC 6585 5. Answer 431.
    HeadTooLarge "head_too_large" 431 "head is too large",
    /// Bytes that do not end, or go on after, the empty line of a head: the caller's scanner and
    /// the parser disagree, so nothing is certain. Answer 400.
    HeadEnd "head_end" 400 "head does not end where it was found to end",
    /// An HTTP/1.1 request without Host, RFC 9112 3.2. Answer 400.
    HostMissing "host_missing" 400 "host header is missing",
    /// More than one Host, RFC 9112 3.2. Answer 400.
    HostDuplicate "host_duplicate" 400 "more than one host header",
    /// A Host or target authority that is not `host [":" port]`, RFC 9110 7.2. Answer 400.
    HostInvalid "host_invalid" 400 "invalid host",
    /// A Content-Length that is not a plain decimal number below 2^63, RFC 9110 8.6. Answer 400.
    ContentLengthInvalid "content_length_invalid" 400 "content-length is not a number",
    /// More than one Content-Length, even if equal. RFC 9110 8.6 lets a recipient take equal ones;
    /// no sender needs that. Answer 400.
    ContentLengthDuplicate "content_length_duplicate" 400 "more than one content-length",
    /// Content-Length and Transfer-Encoding together, RFC 9112 6.1. Answer 400.
    ContentLengthWithTransferEncoding "content_length_with_transfer_encoding" 400
        "content-length together with transfer-encoding",
    /// A Transfer-Encoding that is no list of codings, or in which chunked is not last or not
    /// alone of its kind, RFC 9112 6.1 and 6.3. Answer 400.
    TransferEncodingInvalid "transfer_encoding_invalid" 400 "invalid transfer-encoding",
    /// A transfer coding other than chunked, RFC 9112 6.1. Answer 501.
    TransferCodingUnknown "transfer_coding_unknown" 501 "unknown transfer coding",
    /// Transfer-Encoding in an HTTP/1.0 message, RFC 9112 6.1. Answer 400.
    TransferEncodingInHttp10 "transfer_encoding_in_http10" 400
        "transfer-encoding in an http/1.0 message",
    /// A body announced by a 1xx response: Transfer-Encoding, or a Content-Length above zero, RFC 9112
    /// 6.1 and RFC 9110 8.6. Answer 502.
    BodyForbidden "body_forbidden" 502 "status cannot have the body it announces",
    /// An informational response that answers nothing: a 101 that was not asked for, or one interim
    /// response after another without end, RFC 9110 15.2. Answer 502.
    UnexpectedInterim "unexpected_interim" 502 "informational response that was not asked for",
    /// More options in Connection than [`crate::h1::CONNECTION_OPTIONS_MAX`]; each may cost a walk
    /// over the headers. Answer 400.
    TooManyConnectionOptions "too_many_connection_options" 400 "too many connection options",
    /// A chunk-size line that is not 1 to 16 hex digits, RFC 9112 7.1. Answer 400.
    ChunkSize "chunk_size" 400 "malformed chunk size",
    /// Chunk extensions with control bytes, or longer than we read, RFC 9112 7.1.1. Answer 400.
    ChunkExtension "chunk_extension" 400 "chunk extension is malformed or too long",
    /// Chunk data that CRLF does not follow, RFC 9112 7.1. Answer 400.
    ChunkEnd "chunk_end" 400 "chunk data does not end in crlf",
    /// Far more framing than data: small chunks with long size lines. Answer 400.
    ChunkOverhead "chunk_overhead" 400 "more chunk framing than data",
    /// A trailer section that is malformed, RFC 9112 7.1.2. Answer 400.
    TrailerMalformed "trailer_malformed" 400 "malformed trailer section",
    /// A trailer field of a request that frames, routes, authenticates or describes the message, RFC
    /// 9110 6.5.1. Those of a response are dropped. Answer 400.
    TrailerForbidden "trailer_forbidden" 400 "field is not allowed in trailers",
    /// A pseudo-header field that is missing, unknown, there twice, malformed, or behind a header, RFC 9113
    /// 8.3. Answer 400.
    PseudoField "pseudo_field" 400 "pseudo-header field is missing or not allowed",
    /// A header of the connection in a message that shares its connection with others: Connection,
    /// Transfer-Encoding and their like, or TE with more than `trailers`, RFC 9113 8.2.2. Answer 400.
    ConnectionField "connection_field" 400 "header of a connection in an http/2 message",
    /// A Host that names another authority than the request does, RFC 9113 8.3.1. Answer 400.
    HostDisagrees "host_disagrees" 400 "host and authority disagree",
    /// A body that is not as long as Content-Length announces, RFC 9113 8.1.1. Answer 400.
    ContentLengthDisagrees "content_length_disagrees" 400
        "body is not as long as content-length announces",
    /// The stream ended before the message did, RFC 9112 8. Answer 400, if there is one to answer.
    Truncated "truncated" 400 "message ended early",
}

impl Violation {
    /// The section that the message breaks, as "RFC 9112 6.1": the first one that the definition
    /// names. `None` for a bound of our own.
    #[must_use]
    pub fn section(self) -> Option<&'static str> {
        let doc = self.doc();
        let doc = doc.get(doc.find("RFC ")?..)?;
        // Two spaces: one before the number of the document, one before that of the section.
        let section = doc.match_indices(' ').nth(1)?.0 + 1;
        let digits = doc.get(section..)?;
        let end = digits.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(digits.len());
        doc.get(..section + end).map(|it| it.trim_end_matches('.'))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn tokens_are_unique_and_snake_case() {
        let mut seen = HashSet::new();
        for violation in Violation::ALL {
            let token = violation.token();
            assert!(seen.insert(token), "{token} twice");
            assert!(
                token.bytes().all(|b| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit())
            );
        }
    }

    #[test]
    fn messages_are_lower_case_without_a_full_stop() {
        for violation in Violation::ALL {
            let text = violation.to_string();
            assert_eq!(text, text.to_ascii_lowercase());
            assert!(!text.ends_with('.'));
        }
    }

    #[test]
    fn sections_are_those_of_the_definitions() {
        assert_eq!(Violation::RequestLine.section(), Some("RFC 9112 3"));
        assert_eq!(Violation::TransferEncodingInvalid.section(), Some("RFC 9112 6.1"));
        assert_eq!(Violation::TrailerForbidden.section(), Some("RFC 9110 6.5.1"));
        assert_eq!(Violation::ChunkOverhead.section(), None);
        for section in Violation::ALL.iter().filter_map(|it| it.section()) {
            let rest = section.strip_prefix("RFC ").unwrap();
            let (document, section) = rest.split_once(' ').unwrap();
            assert!(document.len() == 4 && document.parse::<u16>().is_ok(), "{rest}");
            assert!(section.split('.').all(|it| it.parse::<u8>().is_ok()), "{rest}");
        }
    }

    #[test]
    fn statuses_are_those_of_a_refusal() {
        for violation in Violation::ALL {
            assert!(matches!(violation.status(), 400 | 431 | 501 | 502 | 505), "{violation:?}");
        }
    }
}
