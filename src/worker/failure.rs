//! Failures on a wire: in which stage, on which side, and how.

use std::io;

use engine::reason::Reason;
use engine::stage::Stage;
use proto::violation::Violation;

/// The side whose connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Client,
    /// The endpoint's.
    Endpoint,
}

/// How it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The other side ended the stream where a message could not end.
    Closed,
    /// The kernel reported an error: a reset, most of the time. Its number, errno(3); 0 where there
    /// is none.
    Broken(i32),
    /// Nothing moved for as long as the wait allows.
    Timeout,
    /// The time for the whole request has passed.
    TotalTimeout,
    /// The other side broke the protocol.
    Violation(Violation),
    /// The TLS handshake with an endpoint failed.
    Tls(TlsFailure),
    /// A head is longer than its limit.
    HeadTooLarge,
    /// A body is longer than its limit.
    BodyTooLarge,
    /// A filter ended the exchange for this reason, or a limit of requests in flight is reached.
    Refused(Reason),
    /// The gateway itself had no descriptor, memory or port for it.
    Exhausted,
    /// The upstream has no endpoint left to try.
    NoEndpoint,
    /// Every connection that the upstream may have is in use.
    PoolFull,
    /// The gateway gave the operation up itself, for a reason known elsewhere.
    Abandoned,
}

/// Why a TLS handshake with an endpoint failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFailure {
    /// Its certificate has expired.
    Expired,
    /// Its certificate is for other names.
    Name,
    /// Its certificate is of an authority that we do not trust.
    Issuer,
    /// Its certificate cannot be used for another reason.
    Certificate,
    /// It refuses us, perhaps because it wants a certificate.
    Refused,
    /// It has no version, cipher or protocol that we have.
    Incompatible,
    /// It closed the connection.
    Closed,
    /// It does not speak TLS, or breaks its rules.
    Protocol,
}

impl TlsFailure {
    /// It in words, for logs.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Expired => "its certificate has expired",
            Self::Name => "its certificate is for another name",
            Self::Issuer => "its certificate is of an authority that is not trusted",
            Self::Certificate => "its certificate cannot be used",
            Self::Refused => "it refused the handshake",
            Self::Incompatible => "it has no version, cipher or protocol in common with us",
            Self::Closed => "it closed the connection",
            Self::Protocol => "it does not speak TLS, or breaks its rules",
        }
    }
}

/// A failed operation. Whether it may be tried again is judged from the ledger, never from this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The stage in which it failed.
    pub stage: Stage,
    /// The side whose connection failed.
    pub side: Side,
    /// How.
    pub kind: Kind,
}

impl Failure {
    /// A failure of the client's connection.
    #[must_use]
    pub const fn client(stage: Stage, kind: Kind) -> Self {
        Self { stage, side: Side::Client, kind }
    }

    /// A failure of the endpoint's connection.
    #[must_use]
    pub const fn endpoint(stage: Stage, kind: Kind) -> Self {
        Self { stage, side: Side::Endpoint, kind }
    }

    /// Whether the failure tells something about the party on the failed side, and not about the
    /// gateway.
    #[must_use]
    pub const fn blames_endpoint(self) -> bool {
        !matches!(
            self.kind,
            Kind::Exhausted
                | Kind::Abandoned
                | Kind::NoEndpoint
                | Kind::PoolFull
                | Kind::Refused(_)
        )
    }

    /// The reason of the answer to a client that was sent nothing yet; `None` where no client is
    /// left to answer.
    #[must_use]
    pub const fn reason(self) -> Option<Reason> {
        Some(match (self.side, self.kind) {
            // A try is abandoned while it waits for its answer because the client has gone.
            (Side::Client, Kind::Closed | Kind::Broken(_)) | (_, Kind::Abandoned) => return None,
            (_, Kind::Refused(reason)) => reason,
            (_, Kind::Exhausted) => Reason::OutOfResources,
            (_, Kind::NoEndpoint) => Reason::NoEndpoint,
            (_, Kind::PoolFull) => Reason::PoolFull,
            (_, Kind::TotalTimeout) => Reason::TotalTimeout,
            (Side::Client, Kind::Timeout) => Reason::ClientTimeout,
            (Side::Client, Kind::Violation(violation)) => Reason::Violation(violation),
            (Side::Client, Kind::HeadTooLarge) => Reason::HeadTooLarge,
            (Side::Client, Kind::BodyTooLarge) => Reason::BodyTooLarge,
            (Side::Endpoint, Kind::Timeout) => match self.stage {
                Stage::Connect => Reason::ConnectTimeout,
                _ => Reason::FirstByteTimeout,
            },
            (_, Kind::Tls(_)) => Reason::EndpointTls,
            (Side::Endpoint, Kind::Violation(_)) => Reason::EndpointViolation,
            (Side::Endpoint, Kind::HeadTooLarge) => Reason::EndpointHeadTooLarge,
            (Side::Endpoint, Kind::Closed | Kind::Broken(_) | Kind::BodyTooLarge) => {
                match self.stage {
                    Stage::Connect => Reason::EndpointRefused,
                    _ => Reason::EndpointReset,
                }
            }
        })
    }
}

impl From<io::Error> for Kind {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.raw_os_error().unwrap_or(0))
    }
}

impl From<Violation> for Kind {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}
