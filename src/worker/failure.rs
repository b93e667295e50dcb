//! What went wrong on a wire: where, on whose side, and how.

use std::io;

use engine::stage::Stage;
use proto::violation::Violation;

/// Whose connection failed.
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
    /// The kernel reported an error: a reset, most of the time.
    Broken(io::ErrorKind),
    /// Nothing moved for as long as the wait allows.
    Timeout,
    /// The other side broke the protocol.
    Violation(Violation),
    /// A head is longer than its limit.
    HeadTooLarge,
    /// A body is longer than its limit.
    BodyTooLarge,
    /// The gateway itself had no descriptor, memory or port for it.
    Exhausted,
    /// We gave it up ourselves, for a reason known elsewhere.
    Abandoned,
}

/// A failed operation. Whether it may be tried again is judged from the ledger, never from this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was being done.
    pub stage: Stage,
    /// Whose connection failed.
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
}

impl From<io::Error> for Kind {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.kind())
    }
}

impl From<Violation> for Kind {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}
