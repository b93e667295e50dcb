//! `[listeners.NAME]`: a bound address and how long and how much its clients may ask.

use std::net::SocketAddr;
use std::time::Duration;

use super::collection::Spanned;
use super::section::{Rule, section};
use super::value::{ByteSize, LONGEST, Limit, SHORTEST};

section! {
    /// A bound address and its protocol settings.
    pub Listener {
        /// Where it listens: IP address and port.
        address: Spanned<SocketAddr> => Rule::required("\"0.0.0.0:8080\"");
        /// How much clients may ask for.
        limits: ListenerLimits => Rule::settings();
        /// How long a client may keep us waiting.
        timeouts: ListenerTimeouts => Rule::settings();
    }
}

section! {
    /// How much clients may ask for.
    pub ListenerLimits {
        /// Client connections at once, per node, divided among the cores. Further ones wait in the
        /// kernel's queue until one ends.
        connections_max: Limit<u32> => Rule::default(Limit::At(100_000)).within_or_off(1..=10_000_000);
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
