//! `[listeners.NAME]`: a bound address, with the limits and timeouts of its clients.

use proto::path::{EncodedSlash, Form};

use super::tls::ListenerTls;
use crate::address::{Address, Network};
use crate::filter::FilterUse;
use crate::keys::{ByteSize, KeyRule, LONGEST, Limit, SHORTEST, Spanned, section, words};
use crate::time::Micros;

section! {
    /// A bound address and its protocol settings.
    pub Listener {
        /// The address it listens on: IP address and port, "unix:/path" or "unix:@name". "[::]:8080"
        /// takes IPv4 too, so it and "0.0.0.0:8080" exclude each other. A socket file on which no
        /// process listens is replaced. The file is removed with the listener; its mode follows the
        /// umask.
        address: Spanned<Address> => KeyRule::required("\"0.0.0.0:8080\"");
        /// TLS towards clients.
        tls: Option<ListenerTls> => KeyRule::optional_section();
        /// Whether connections begin with a PROXY protocol header, version 1 or 2, with the address
        /// of the client. Everybody who can connect can send one: let only the load balancer reach
        /// a listener where this is not "off".
        proxy_protocol: ProxyProtocol => KeyRule::default(ProxyProtocol::Off);
        /// The proxies whose `X-Forwarded-*`, `Forwarded`, `X-Real-IP` and `X-Request-Id` we trust:
        /// blocks of addresses, and "unix" for clients of a Unix socket. From others these headers
        /// are dropped. The client's address is the last one in `X-Forwarded-For` that is not
        /// listed here.
        trusted_proxies: Vec<Network> => KeyRule::default(Vec::new()).example("[\"10.0.0.0/8\", \"unix\"]");
        /// The form in which paths are matched, logged and sent on. In the normal form, unreserved
        /// characters are not percent-encoded, percent-encoding has upper-case digits, and doubled
        /// slashes, `.` and `..` are gone; a path that leaves the root is answered 400. With "keep"
        /// a path stays as it came, byte for byte. Then an endpoint may understand a path that the
        /// routes did not match, so use it only for endpoints that need the exact bytes. `%00` and
        /// malformed encoding are answered 400 in either form.
        path: Form => KeyRule::default(Form::Normalise);
        /// The treatment of an encoded slash or backslash (`%2F`, `%5C`) in a path. With "keep" it is
        /// data and stays encoded, as package registries and file APIs need it; in the normal form
        /// it is answered 400 beside a dot segment (`..%2F`). With "reject" it is always answered
        /// 400: for endpoints that decode a path before they split it.
        encoded_slash: EncodedSlash => KeyRule::default(EncodedSlash::Keep);
        /// Steps of the gateway on the way of all its requests and their responses, before those of the
        /// route: names of `[filters.NAME]`, or tables with `type`.
        filters: Vec<Spanned<FilterUse>> => KeyRule::default(Vec::new()).example("[{ type = \"ip_access\", allow = [\"10.0.0.0/8\"] }]");
        /// The limits of its clients.
        limits: ListenerLimits => KeyRule::settings();
        /// How long its clients may keep us waiting.
        timeouts: ListenerTimeouts => KeyRule::settings();
    }
}

section! {
    /// The limits of the clients of a listener.
    #[derive(Copy, Eq, Hash)]
    pub settings ListenerLimits {
        /// Client connections at once, per node, divided among the cores. At the limit, the connection
        /// that has been idle for the longest time is closed. If none is idle, further clients wait
        /// in the kernel's queue until a connection ends.
        connections_max: Limit<u32> => KeyRule::default(Limit::at(100_000)).within_or_off(1..=10_000_000);
        /// Connections of one client at once, on each core. The kernel spreads connections over the
        /// cores, which share no count: a client is never refused below this limit, and never has
        /// more than this limit times the number of cores. A client is an IPv4 address or an IPv6
        /// network of 64 bits, that of the connection or of its PROXY header. Further connections
        /// are closed at once. Connections made before the limit was set are not counted.
        connections_per_client_max: Limit<u32> => KeyRule::default(Limit::OFF).within_or_off(1..=1_000_000);
        /// Requests on one connection. The last response says `Connection: close`.
        requests_per_connection_max: Limit<u32> => KeyRule::default(Limit::OFF)
            .within_or_off(1..=1_000_000_000);
        /// Age of a connection. The first response after it says `Connection: close`, so that clients
        /// connect again, perhaps to another gateway behind the same load balancer. No exchange is
        /// cut short.
        connection_age_max: Limit<Micros> => KeyRule::default(Limit::OFF)
            .within_or_off(SHORTEST..=LONGEST);
        /// Requests that a client has sent ahead and that are served in a row; then all other
        /// clients have a turn. None is lost: further requests wait in one buffer of at most 64 KiB,
        /// and beyond that with the client.
        pipelined_max: Limit<u32> => KeyRule::default(Limit::at(4)).within_or_off(1..=10_000);
        /// Bytes of a request body. A request that announces more is answered 413 before any of its
        /// body is sent on. A body that turns out longer is answered 413 too, and never looks
        /// complete to the endpoint.
        body_bytes_max: Limit<ByteSize> => KeyRule::default(Limit::OFF)
            .within_or_off(ByteSize(1)..=ByteSize::gib(1024));
        /// Bytes of a request head. A longer one is answered 431.
        head_bytes_max: ByteSize => KeyRule::default(ByteSize::kib(32))
            .within(ByteSize::kib(1)..=ByteSize::mib(1));
        /// Header fields in a request head. More are answered 431.
        headers_max: u32 => KeyRule::default(100).within(1..=1000);
        /// Bytes of a request target: path and query. A longer one is answered 414. RFC 9112 section
        /// 3 asks every recipient to accept 8KiB, and most servers accept no more.
        target_bytes_max: ByteSize => KeyRule::default(ByteSize::kib(8))
            .within(ByteSize(64)..=ByteSize::mib(1));
    }
}

section! {
    /// How long the clients of a listener may keep us waiting.
    #[derive(Copy, Eq, Hash)]
    pub settings ListenerTimeouts {
        /// For a request head, from its first byte to its last. Then 408.
        head: Micros => KeyRule::default(Micros::secs(10)).within(SHORTEST..=LONGEST);
        /// For a TLS handshake, from its first byte to its end. Then the connection is closed.
        handshake: Micros => KeyRule::default(Micros::secs(10)).within(SHORTEST..=LONGEST);
        /// Between two pieces of a request body. Then 408.
        body_idle: Micros => KeyRule::default(Micros::secs(30)).within(SHORTEST..=LONGEST);
        /// Between two requests on a connection. Then it is closed.
        idle: Micros => KeyRule::default(Micros::secs(75)).within(SHORTEST..=LONGEST);
        /// For a client to read some of a response. Then the connection is closed.
        write_idle: Micros => KeyRule::default(Micros::secs(30)).within(SHORTEST..=LONGEST);
        /// For a tunnel (after an upgrade) in which no byte moves in either direction. Then both
        /// sides are reset. Tunnels have no other timeout.
        tunnel_idle: Limit<Micros> => KeyRule::default(Limit::at(Micros::secs(3600)))
            .within_or_off(SHORTEST..=LONGEST);
        /// For exchanges and tunnels to finish when the gateway stops.
        drain: Micros => KeyRule::default(Micros::secs(30)).within(SHORTEST..=LONGEST);
    }
}

words! {
    /// Whether connections to a listener begin with a PROXY protocol header.
    pub enum ProxyProtocol {
        /// None does: one is not HTTP, and is refused as such.
        #[default]
        Off = "off",
        /// One may.
        Optional = "optional",
        /// Every one does; a connection without one is closed.
        Required = "required",
    }
}
