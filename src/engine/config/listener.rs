//! `[listeners.NAME]`: a bound address and how long and how much its clients may ask.

use std::net::SocketAddr;
use std::time::Duration;

use super::section::{Rule, Spanned, section};
use super::value::ByteSize;

section! {
    /// A bound address and its protocol settings.
    pub Listener {
        /// Where it listens: IP address and port.
        address: Spanned<SocketAddr> => Rule::required("address = \"0.0.0.0:8080\"");
        /// What a request may ask of memory.
        limits: ListenerLimits => Rule::settings();
        /// How long a client may keep us waiting.
        timeouts: ListenerTimeouts => Rule::settings();
    }
}

section! {
    /// What a request may ask of memory.
    pub ListenerLimits {
        /// Bytes of a request head. A longer one is answered 431.
        head_bytes_max: ByteSize => Rule::default(ByteSize::kib(32))
            .within(ByteSize::kib(1)..=ByteSize::mib(1));
        /// Header fields in a request head. More are answered 431.
        headers_max: u32 => Rule::default(100).within(1..=1000);
    }
}

section! {
    /// How long a client may keep us waiting.
    pub ListenerTimeouts {
        /// For a request head, from its first byte to its last. Then 408.
        head: Duration => Rule::default(Duration::from_secs(10)).within(SHORTEST..=LONGEST);
        /// Between two pieces of a request body. Then 408.
        body_idle: Duration => Rule::default(Duration::from_secs(30)).within(SHORTEST..=LONGEST);
        /// Between two requests on a connection. Then it is closed.
        idle: Duration => Rule::default(Duration::from_secs(75)).within(SHORTEST..=LONGEST);
        /// For a client to take some of a response. Then the connection is closed.
        write_idle: Duration => Rule::default(Duration::from_secs(30)).within(SHORTEST..=LONGEST);
        /// For exchanges to finish when the gateway stops.
        drain: Duration => Rule::default(Duration::from_secs(30)).within(SHORTEST..=LONGEST);
    }
}

/// Below this a timeout fires on healthy traffic: one tick of a worker's wheel is about 8 ms.
pub(super) const SHORTEST: Duration = Duration::from_millis(10);

/// A day. What is meant to be longer is meant to be off.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
