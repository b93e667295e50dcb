//! The ten stages in the life of a request.
//!
//! The same ten words name modules, histogram labels, log fields, error context and headings of
//! the documentation. Stages [`Stage::Select`] to [`Stage::Respond`] repeat when a request is
//! tried again.

use std::fmt;

/// The stage that an exchange has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Stage {
    /// May this connection come in, on this core?
    Accept,
    /// Who is it: PROXY header, TLS, ALPN?
    Handshake,
    /// What does the client ask for, and is the framing sound?
    Decode,
    /// Which route of which snapshot?
    Route,
    /// Do the request filters let it pass?
    Admit,
    /// Which endpoint of which upstream?
    Select,
    /// Which connection: pooled or new?
    Connect,
    /// Send the head, stream the body.
    Forward,
    /// Read the head, run the response filters, stream the body.
    Respond,
    /// Recycle, count, record.
    Finish,
}

impl Stage {
    /// All stages, in the order in which a request meets them.
    pub const ALL: [Self; 10] = [
        Self::Accept,
        Self::Handshake,
        Self::Decode,
        Self::Route,
        Self::Admit,
        Self::Select,
        Self::Connect,
        Self::Forward,
        Self::Respond,
        Self::Finish,
    ];

    /// The word for labels and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Handshake => "handshake",
            Self::Decode => "decode",
            Self::Route => "route",
            Self::Admit => "admit",
            Self::Select => "select",
            Self::Connect => "connect",
            Self::Forward => "forward",
            Self::Respond => "respond",
            Self::Finish => "finish",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
