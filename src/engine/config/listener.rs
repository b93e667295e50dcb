//! `[listeners.NAME]`: a bound address and how long and how much its clients may ask.

use proto::path::{EncodedSlash, Form};

use super::collection::Spanned;
use super::place::ProxyProtocol;
use super::section::{Rule, section};
use super::value::{ByteSize, LONGEST, Limit, SHORTEST};
use crate::address::{Address, Network};
use crate::time::Micros;

section! {
    /// A bound address and its protocol settings.
    pub Listener {
        /// Where it listens: IP address and port, "unix:/path" or "unix:@name". "[::]:8080" takes
        /// IPv4 too, so it and "0.0.0.0:8080" exclude each other. A socket file that nobody listens
        /// on is replaced, the file goes when the listener does, and its mode follows the umask.
        address: Spanned<Address> => Rule::required("\"0.0.0.0:8080\"");
        /// Whether connections begin with a PROXY protocol header, version 1 or 2, that says who
        /// the client is. Whoever can connect can say so: let only the load balancer reach a
        /// listener where this is not "off".
        proxy_protocol: ProxyProtocol => Rule::default(ProxyProtocol::Off);
        /// Whose `X-Forwarded-*`, `Forwarded`, `X-Real-IP` and `X-Request-Id` are believed: blocks
        /// of addresses, and "unix" for clients of a Unix socket. From others they are dropped. The
        /// client's address is then the last one in `X-Forwarded-For` that is not listed here.
        trusted_proxies: Vec<Network> => Rule::default(Vec::new()).example("[\"10.0.0.0/8\", \"unix\"]");
        /// The form in which paths are matched, logged and sent on, the same everywhere. In the
        /// normal form, unreserved characters are not percent-encoded, what is encoded has
        /// upper-case digits, and doubled slashes, `.` and `..` are gone; a path that leaves the
        /// root is answered 400. With "keep" a path stays as it came, byte for byte, and what a
        /// route does not match that way, the endpoint may still take for it: only for endpoints
        /// that need the very bytes. `%00` and malformed encoding are answered 400 in either form.
        path: Form => Rule::default(Form::Normalise);
        /// What becomes of paths with an encoded slash or backslash (`%2F`, `%5C`). With "keep" it
        /// is data and stays encoded, since package registries and file APIs need it; only beside
        /// a dot segment (`..%2F`) it is answered 400, in the normal form. With "reject" it always
        /// is: for endpoints that decode paths before they take them apart.
        encoded_slash: EncodedSlash => Rule::default(EncodedSlash::Keep);
        /// How much clients may ask for.
        limits: ListenerLimits => Rule::settings();
        /// How long a client may keep us waiting.
        timeouts: ListenerTimeouts => Rule::settings();
    }
}

section! {
    /// How much clients may ask for.
    #[derive(Copy, Eq, Hash)]
    pub settings ListenerLimits {
        /// Client connections at once, per node, divided among the cores. At the limit the connection
        /// that has been idle for the longest time is closed; where none is idle, further clients
        /// wait in the kernel's queue until one ends.
        connections_max: Limit<u32> => Rule::default(Limit::at(100_000)).within_or_off(1..=10_000_000);
        /// Connections of one client at once, on each core: the kernel spreads them over the cores,
        /// which share no count, so nobody is refused below this, and nobody has more than this
        /// times the cores. A client is an IPv4 address or an IPv6 network of 64 bits, that of
        /// the connection or what its PROXY header says. Further ones are closed at once. Connections made before the limit was set are not counted.
        connections_per_client_max: Limit<u32> => Rule::default(Limit::OFF).within_or_off(1..=1_000_000);
        /// Requests on one connection. The last response says `Connection: close`.
        requests_per_connection_max: Limit<u32> => Rule::default(Limit::OFF)
            .within_or_off(1..=1_000_000_000);
        /// Requests of one client, sent ahead of their answers, that are served in a row; then
        /// everybody else has a turn. None is lost: what is sent ahead waits in one buffer of at most
        /// 64 KiB, and beyond that with the client.
        pipelined_max: Limit<u32> => Rule::default(Limit::at(4)).within_or_off(1..=10_000);
        /// Bytes of a request body. One that announces more is answered 413 before anything of it is
        /// sent on; one that turns out longer is answered 413, and never looks complete to the
        /// endpoint.
        body_bytes_max: Limit<ByteSize> => Rule::default(Limit::OFF)
            .within_or_off(ByteSize(1)..=ByteSize::gib(1024));
        /// Bytes of a request head. A longer one is answered 431.
        head_bytes_max: ByteSize => Rule::default(ByteSize::kib(32))
            .within(ByteSize::kib(1)..=ByteSize::mib(1));
        /// Header fields in a request head. More are answered 431.
        headers_max: u32 => Rule::default(100).within(1..=1000);
        /// Bytes of a request target, path and query. A longer one is answered 414. 8KiB is what
        /// RFC 9112 section 3 asks every recipient to take, and what most servers stop at.
        target_bytes_max: ByteSize => Rule::default(ByteSize::kib(8))
            .within(ByteSize(64)..=ByteSize::mib(1));
    }
}

section! {
    /// How long a client may keep us waiting.
    #[derive(Copy, Eq, Hash)]
    pub settings ListenerTimeouts {
        /// For a request head, from its first byte to its last. Then 408.
        head: Micros => Rule::default(Micros::secs(10)).within(SHORTEST..=LONGEST);
        /// Between two pieces of a request body. Then 408.
        body_idle: Micros => Rule::default(Micros::secs(30)).within(SHORTEST..=LONGEST);
        /// Between two requests on a connection. Then it is closed.
        idle: Micros => Rule::default(Micros::secs(75)).within(SHORTEST..=LONGEST);
        /// For a client to take some of a response. Then the connection is closed.
        write_idle: Micros => Rule::default(Micros::secs(30)).within(SHORTEST..=LONGEST);
        /// For a tunnel (after an upgrade) in which no byte moves, in either direction. Then both
        /// sides are reset. No other timeout holds for tunnels.
        tunnel_idle: Limit<Micros> => Rule::default(Limit::at(Micros::secs(3600)))
            .within_or_off(SHORTEST..=LONGEST);
        /// For exchanges and tunnels to finish when the gateway stops.
        drain: Micros => Rule::default(Micros::secs(30)).within(SHORTEST..=LONGEST);
    }
}
