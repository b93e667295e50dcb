//! Why the gateway answered by itself, or gave an exchange up: one table.
//!
//! A reason is a decision, not an accident. Its row holds the status, the token that stands in the
//! body of the answer, in logs and in metrics, and the help text. `docs/reasons.md` is made from
//! it. What goes wrong on the wire is described by [`Violation`] and carries its own row.

use std::fmt;

use proto::violation::Violation;

macro_rules! reasons {
    ($($(#[doc = $help:literal])+ $name:ident = $status:literal $token:literal,)+) => {
        /// Why the gateway answered by itself, or gave an exchange up.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            /// The client broke the protocol.
            Violation(Violation),
            $($(#[doc = $help])+ $name,)+
        }

        impl Reason {
            /// The reasons of the gateway itself, in the order of their status.
            const OWN: &[Self] = &[$(Self::$name),+];

            /// The status of the answer. 499 is never sent: it marks in logs and metrics that
            /// there was nobody left to answer.
            #[must_use]
            pub fn status(self) -> u16 {
                match self {
                    Self::Violation(violation) => violation.status(),
                    $(Self::$name => $status,)+
                }
            }

            /// The word for it in answers, logs and metrics.
            #[must_use]
            pub fn token(self) -> &'static str {
                match self {
                    Self::Violation(violation) => violation.token(),
                    $(Self::$name => $token,)+
                }
            }

            /// What it means and what to do about it, in a sentence or two.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self {
                    Self::Violation(Violation::HeadTooLarge) => Self::HeadTooLarge.help(),
                    Self::Violation(_) => VIOLATION_HELP,
                    $(Self::$name => concat!($($help),+).trim_ascii_start(),)+
                }
            }
        }
    };
}

// The doc comment of a row is its help text: it is written for the person who reads an answer or
// a log line.
reasons! {
    /// No route matches the host and path of the request. `ringway check` shows that the
    /// configuration is sound, not that it covers this request: compare host and path prefix.
    NoRoute = 404 "no_route",
    /// Routes match the host and path of the request, but none its method. The `Allow` header of
    /// the answer lists those that would do.
    MethodNotAllowed = 405 "method_not_allowed",
    /// The client began a request and did not send the rest of it in time: see `timeouts.head`
    /// and `timeouts.body_idle` of the listener.
    ClientTimeout = 408 "client_timeout",
    /// The client did not read its response for as long as `timeouts.write_idle` of the listener
    /// allows. Its connection was reset.
    ClientStalled = 408 "client_stalled",
    /// No byte moved in a tunnel for as long as `timeouts.tunnel_idle` of the listener allows. Never
    /// sent: the client has had its 101 long before.
    TunnelIdle = 408 "tunnel_idle",
    /// The body of the request is longer than `limits.body_bytes_max` of the listener, as announced
    /// or as it came. The endpoint has not been sent a body that looks complete.
    BodyTooLarge = 413 "body_too_large",
    /// The target of the request, path and query, is longer than `limits.target_bytes_max` of the
    /// listener.
    TargetTooLong = 414 "target_too_long",
    /// The head of the request is larger than `limits.head_bytes_max` of the listener.
    HeadTooLarge = 431 "head_too_large",
    /// The connection did not begin with a PROXY protocol header, and `proxy_protocol` of the listener
    /// requires one. It was closed without an answer: whoever connects here must be a load balancer
    /// that sends the header.
    ProxyHeaderMissing = 400 "proxy_header_missing",
    /// The connection began with a PROXY protocol header that is malformed. It was closed without an
    /// answer.
    ProxyHeaderMalformed = 400 "proxy_header_malformed",
    /// A PROXY protocol header began and was not complete within `timeouts.head` of the listener. The
    /// connection was closed without an answer.
    ProxyHeaderTimeout = 408 "proxy_header_timeout",
    /// The client closed its connection before it had its response. Never sent: it marks in logs
    /// and metrics that nobody was left to answer.
    ClientGone = 499 "client_gone",
    /// The endpoint refused the connection or could not be reached. Is it running, and does it
    /// listen on the configured address?
    EndpointRefused = 502 "endpoint_refused",
    /// The endpoint closed the connection before its response was complete, and the request
    /// could not be sent again without risk of doing it twice.
    EndpointReset = 502 "endpoint_reset",
    /// The endpoint sent something that is not HTTP/1.1, or a response whose end cannot be known
    /// for certain.
    EndpointViolation = 502 "endpoint_violation",
    /// The endpoint broke off, or stood still for `timeouts.between_bytes`, when its response had
    /// already begun to go to the client. The client's connection was reset, so that the response
    /// does not look complete.
    ResponseTruncated = 502 "response_truncated",
    /// Every connection that `pool.connections_max` of the upstream allows is in use.
    PoolFull = 503 "pool_full",
    /// The gateway itself had no descriptor, memory or local port left for a connection to the
    /// endpoint, though it had closed idle ones. `ringway_file_descriptors` shows whether it is
    /// descriptors: raise the limit of open files (`LimitNOFILE=` of the unit).
    OutOfResources = 503 "out_of_resources",
    /// The upstream has no endpoint left to try.
    NoEndpoint = 503 "no_endpoint",
    /// No connection to the endpoint was made within `timeouts.connect` of the upstream.
    ConnectTimeout = 504 "connect_timeout",
    /// The endpoint took the request and did not begin its response within `timeouts.first_byte`
    /// of the upstream.
    FirstByteTimeout = 504 "first_byte_timeout",
}

/// Of violations; which one it was is what the token says.
const VIOLATION_HELP: &str = "The request is not HTTP as RFC 9110 and RFC 9112 write it, or a part \
    of HTTP that is not served here. It is refused and the connection closed, since nobody can be \
    certain where the next request begins.";

impl Reason {
    /// Every reason, each token once: those of the gateway itself, then violations.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::OWN.iter().copied().chain(violations().map(Self::Violation))
    }
}

/// The violations that a client can commit and that have no row of their own. Those of endpoints
/// are all answered by [`Reason::EndpointViolation`].
fn violations() -> impl Iterator<Item = Violation> {
    Violation::ALL.iter().copied().filter(|it| it.status() != 502 && *it != Violation::HeadTooLarge)
}

/// The text of `docs/reasons.md`.
#[must_use]
pub fn reference() -> String {
    let row = |token: &str, status: u16, help: &str| format!("| `{token}` | {status} | {help} |\n");
    let own: String =
        Reason::OWN.iter().map(|it| row(it.token(), it.status(), it.help())).collect();
    let violations: String =
        violations().map(|it| row(it.token(), it.status(), &it.to_string())).collect();
    format!(
        "# Reasons

<!-- Generated from src/engine/reason.rs. Do not edit: run `UPDATE=1 cargo test -p engine`. -->

When the gateway answers by itself, the body of the answer names the reason by its token.

| token | status | means |
|---|---|---|
{own}
## Requests that are not HTTP

{VIOLATION_HELP}

| token | status | means |
|---|---|---|
{violations}"
    )
}

impl From<Violation> for Reason {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.token())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_token_is_a_word_of_its_own() {
        let mut seen = HashSet::new();
        for reason in Reason::all() {
            let token = reason.token();
            assert!(seen.insert(token), "{token} twice");
            assert!(token.bytes().all(|it| it == b'_' || it.is_ascii_alphanumeric()), "{token}");
        }
        for violation in Violation::ALL.iter().filter(|it| it.status() != 502) {
            assert!(seen.contains(violation.token()), "{violation:?} has no row");
        }
    }

    #[test]
    fn each_status_says_whose_fault_it_is_and_never_500() {
        for reason in Reason::all() {
            assert!(matches!(reason.status(), 400..=499 | 501..=505), "{reason}");
        }
    }

    #[test]
    fn a_reason_and_the_violation_of_the_same_name_agree() {
        let (reason, violation) = (Reason::HeadTooLarge, Reason::from(Violation::HeadTooLarge));
        assert_eq!(reason.token(), violation.token());
        assert_eq!(reason.status(), violation.status());
        assert_eq!(reason.help(), violation.help());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test may read what it guards")]
    fn the_reference_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reasons.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == reference(), "run UPDATE=1 cargo test -p engine");
    }
}
