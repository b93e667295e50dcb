//! The reasons why the gateway answers by itself or ends an exchange early, in one table.
//!
//! A reason is a decision, not an accident. Its row holds the status, the help text, and the token
//! for the body of the answer, for logs and for metrics. A test generates `docs/reasons.md` from
//! the rows. A [`Violation`] describes a mistake on the wire and has a row of its own.

use std::fmt;

use proto::violation::Violation;

macro_rules! reasons {
    ($($(#[doc = $help:literal])+ $name:ident = $status:literal $token:literal,)+) => {
        /// The reason why the gateway answered by itself, or ended an exchange early.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            /// The client broke the protocol.
            Violation(Violation),
            $($(#[doc = $help])+ $name,)+
        }

        impl Reason {
            /// The gateway's own reasons, in the order of their status.
            const OWN: &[Self] = &[$(Self::$name),+];

            /// The status of the answer. The gateway never sends 499: it marks in logs and metrics
            /// that no client was left to answer.
            #[must_use]
            pub fn status(self) -> u16 {
                match self {
                    Self::Violation(violation) => violation.status(),
                    $(Self::$name => $status,)+
                }
            }

            /// The word for this reason in answers, logs and metrics.
            #[must_use]
            pub fn token(self) -> &'static str {
                match self {
                    Self::Violation(violation) => violation.token(),
                    $(Self::$name => $token,)+
                }
            }

            /// The meaning and the cure, in a sentence or two.
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

// The doc comment of a row is its help text, for the reader of an answer or a log line.
reasons! {
    /// The route wants a credential, and the request has none. The filter says where it looks for one: an
    /// `api_key` in the places of `from`.
    CredentialMissing = 401 "credential_missing",
    /// The credential of the request is not one that the filter knows, there are two of one kind, or it
    /// belongs to another consumer than that of an earlier filter.
    CredentialInvalid = 401 "credential_invalid",
    /// The service that a filter `forward_auth` asks did not let the request pass. The answer, with its
    /// own status, is that of the service.
    AccessDenied = 403 "access_denied",
    /// A filter `ip_access` does not let this client's address in. Behind a proxy, the address is that of
    /// the proxy unless `trusted_proxies` of the listener names it.
    AddressDenied = 403 "address_denied",
    /// The consumer of the request is not one that a filter `acl` of the route lets in, or the request has no
    /// consumer: an `acl` stands behind the filter that finds one, such as `api_key`.
    ConsumerDenied = 403 "consumer_denied",
    /// No route matches the host and path of the request. `ringway check` shows that the
    /// configuration is sound, not that it covers this request: compare the host and the path prefix.
    NoRoute = 404 "no_route",
    /// Routes match the host and path of the request, but none of them takes its method. The `Allow`
    /// header of the answer lists the methods that they take.
    MethodNotAllowed = 405 "method_not_allowed",
    /// The client began a request and did not send the rest of it in time: see `timeouts.head`
    /// and `timeouts.body_idle` of the listener.
    ClientTimeout = 408 "client_timeout",
    /// The client did not read its response for as long as `timeouts.write_idle` of the listener
    /// allows. The gateway reset its connection.
    ClientStalled = 408 "client_stalled",
    /// No byte moved in a tunnel for as long as `timeouts.tunnel_idle` of the listener allows. The
    /// gateway never sends this status: the client got its 101 long before.
    TunnelIdle = 408 "tunnel_idle",
    /// The body of the request is longer than `limits.body_bytes_max` of the listener, by its announced
    /// length or by the bytes that came. The endpoint did not get a body that looks complete.
    BodyTooLarge = 413 "body_too_large",
    /// The target of the request, path and query, is longer than `limits.target_bytes_max` of the
    /// listener.
    TargetTooLong = 414 "target_too_long",
    /// The head of the request is larger than `limits.head_bytes_max` of the listener.
    HeadTooLarge = 431 "head_too_large",
    /// The client has sent more requests than a filter `rate_limit` of the route or the listener allows.
    /// `Retry-After` says when the next one will pass.
    RateLimited = 429 "rate_limited",
    /// As many requests of this client, or of this `key`, run at once as a filter `concurrency` of the
    /// route or the listener allows.
    ConcurrencyLimited = 429 "concurrency_limited",
    /// The connection did not begin with a PROXY protocol header, and `proxy_protocol` of the listener
    /// requires one. The gateway closed it without an answer. Only a load balancer that sends the
    /// header may connect here.
    ProxyHeaderMissing = 400 "proxy_header_missing",
    /// The connection began with a malformed PROXY protocol header. The gateway closed it without an
    /// answer.
    ProxyHeaderMalformed = 400 "proxy_header_malformed",
    /// A PROXY protocol header began and was not complete within `timeouts.head` of the listener. The
    /// gateway closed the connection without an answer.
    ProxyHeaderTimeout = 408 "proxy_header_timeout",
    /// The client speaks HTTP without TLS on a listener that has `tls`. The gateway answered in clear
    /// text. Write `https://` in place of `http://`, or connect to a listener without TLS.
    PlainHttp = 400 "plain_http",
    /// The client closed its connection before it had its response. The gateway never sends this
    /// status: it marks in logs and metrics that no client was left to answer.
    ClientGone = 499 "client_gone",
    /// The endpoint refused the connection or could not be reached. Is it running, and does it
    /// listen on the configured address?
    EndpointRefused = 502 "endpoint_refused",
    /// The TLS handshake with the endpoint failed. The field `cause` of the access log has the reason:
    /// an expired certificate, one for another name (`tls.server_name` of the upstream), an authority
    /// that is not trusted (`tls.ca`), or an endpoint without TLS.
    EndpointTls = 502 "endpoint_tls",
    /// The endpoint closed the connection before its response was complete. A second request might
    /// have done its work twice, so the gateway did not send one.
    EndpointReset = 502 "endpoint_reset",
    /// The endpoint answered with a status that `retry.on` of the upstream names, and the request went to
    /// another try. It stands in the log as the reason of a retry; clients never see it.
    RetriedStatus = 502 "retried_status",
    /// The endpoint sent something that is not HTTP/1.1, or a response without a certain end.
    EndpointViolation = 502 "endpoint_violation",
    /// The head of the endpoint's response is larger than 60 KiB: cookies or debugging headers grow without
    /// bound, most of the time.
    EndpointHeadTooLarge = 502 "endpoint_head_too_large",
    /// The endpoint broke off, or sent nothing for `timeouts.between_bytes`, when its response had
    /// already begun to go to the client. The gateway reset the client's connection, so that the
    /// response does not look complete.
    ResponseTruncated = 502 "response_truncated",
    /// Every connection that `pool.connections_max` of the upstream allows is in use. No further request
    /// may wait (`pool.queue_max`), or the request has waited for `pool.queue_timeout`.
    PoolFull = 503 "pool_full",
    /// As many requests run as `in_flight.requests_max` of the upstream or the route allows. No further
    /// request may wait (`in_flight.queue_max`), or the request has waited for
    /// `in_flight.queue_timeout`.
    InFlightFull = 503 "in_flight_full",
    /// The gateway itself had no descriptor, memory or local port left for a connection to the
    /// endpoint, although it had closed idle connections. If `ringway_file_descriptors` is at its
    /// limit, raise the limit of open files (`LimitNOFILE=` of the unit).
    OutOfResources = 503 "out_of_resources",
    /// A filter `fault` refused the request on purpose.
    FaultInjected = 503 "fault_injected",
    /// A filter could not decide on the request: the service that it asks did not answer in time, or
    /// its answer was of no use.
    FilterFailed = 503 "filter_failed",
    /// The upstream has no endpoint left to try. Each was tried without success, drains, or has a name
    /// without an address: `ringway status` shows the endpoints.
    NoEndpoint = 503 "no_endpoint",
    /// The request has passed ten Ringway gateways, by its `CDN-Loop` header: it runs in a circle. Is an
    /// endpoint of the upstream a listener of this gateway, or another gateway that sends the request
    /// back?
    LoopDetected = 508 "loop_detected",
    /// The gateway could not connect to the endpoint within `timeouts.connect` of the upstream.
    ConnectTimeout = 504 "connect_timeout",
    /// The endpoint took the request and did not begin its response within `timeouts.first_byte`
    /// of the upstream.
    FirstByteTimeout = 504 "first_byte_timeout",
    /// The request was not done at its upstream within `timeouts.total` of the route or the upstream.
    /// Where the response had already begun, the gateway reset the client's connection.
    TotalTimeout = 504 "total_timeout",
}

/// The help text of every violation. The token names the violation.
const VIOLATION_HELP: &str = "The request is not HTTP as RFC 9110 and RFC 9112 define it, or it \
    needs a part of HTTP that the gateway does not serve. The gateway refuses it and closes the \
    connection, because it is not certain where the next request begins.";

impl Reason {
    /// Every reason, each token once: first the gateway's own reasons, then the violations.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::OWN.iter().copied().chain(violations().map(Self::Violation))
    }
}

/// The violations that a client can commit and that have no row of their own. The gateway answers
/// every violation of an endpoint with [`Reason::EndpointViolation`].
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
    fn each_token_is_one_word_and_unique() {
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
    fn each_status_blames_the_client_or_the_endpoint_and_none_is_500() {
        for reason in Reason::all() {
            assert!(matches!(reason.status(), 400..=499 | 501..=505 | 508), "{reason}");
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
