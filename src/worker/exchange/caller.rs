//! The client of one request, as its connection or a trusted proxy names it; and the id of the
//! request.
//!
//! A proxy on the listener's list is believed. The addresses in `X-Forwarded-For` are read from the
//! right, where each proxy has written whom it got the request from: the first that is not on the
//! list is the client. The members further left are that client's own claims. RFC 7239
//! section 8.1 warns of the same.
//!
//! Invariant: nothing that a client writes makes somebody else of it, unless a trusted proxy passes
//! it on as its own.

use std::cell::Cell;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use engine::address::ClientAddress;
use proto::head::{HeaderId, RequestHead};

use super::Exchange;
use crate::listener::ListenerSlot;
use crate::net::Net;

/// The longest request id that is accepted, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// The client of a request.
#[derive(Debug)]
pub struct Caller {
    /// Where the client is, for logs and limits.
    pub address: ClientAddress,
    /// The request comes by a trusted proxy.
    pub(super) by_proxy: bool,
    /// The request keeps the id that it came with.
    keeps_id: Cell<bool>,
}

impl Caller {
    /// The party at the other end of the connection, `peer`.
    #[must_use]
    pub const fn of_connection(peer: ClientAddress) -> Self {
        Self { address: peer, by_proxy: false, keeps_id: Cell::new(false) }
    }

    /// The client that sends `head`, on a connection from `peer` to `listener`.
    #[must_use]
    #[inline]
    pub fn of_request(peer: ClientAddress, head: &RequestHead, listener: &ListenerSlot) -> Self {
        if listener.trusts(peer) {
            return Self::by_proxy(peer, head, listener);
        }
        Self::of_connection(peer)
    }

    fn by_proxy(peer: ClientAddress, head: &RequestHead, listener: &ListenerSlot) -> Self {
        Self {
            address: forwarded_for(peer, head, listener),
            by_proxy: true,
            keeps_id: Cell::new(only(head, HeaderId::XRequestId).is_some_and(is_request_id)),
        }
    }
}

impl<N: Net> Exchange<'_, N> {
    /// The name of the request with this head: the one that a trusted proxy gave it, if that is
    /// sound, else one of our own.
    #[must_use]
    pub fn request_id<'a>(&'a self, head: &'a RequestHead) -> &'a [u8] {
        let given = self.caller.keeps_id.get().then(|| head.headers.get(HeaderId::XRequestId));
        given.flatten().unwrap_or(&self.own_request_id)
    }

    /// Puts the name on the head, unless it is there.
    pub(super) fn put_request_id(&self, head: &mut RequestHead) {
        // It may have been listed in Connection, and be gone with the hop.
        if self.caller.keeps_id.get() && head.headers.contains(HeaderId::XRequestId) {
            return;
        }
        self.caller.keeps_id.set(false);
        head.headers.set(HeaderId::XRequestId, &self.own_request_id);
    }
}

/// The value of a header that is there once.
pub(super) fn only(head: &RequestHead, id: HeaderId) -> Option<&[u8]> {
    let mut values = head.headers.all(id);
    values.next().filter(|_| values.next().is_none())
}

/// Whether this may name a request: it needs no quoting in a log, a header or JSON.
fn is_request_id(value: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:+/=@".contains(byte);
    (1..=REQUEST_ID_BYTES_MAX).contains(&value.len()) && value.iter().all(plain)
}

/// The last address that is not a trusted proxy's; of a chain of trusted ones the first. A member
/// that is no address ends the chain: nobody vouches for those before it.
fn forwarded_for(
    peer: ClientAddress,
    head: &RequestHead,
    listener: &ListenerSlot,
) -> ClientAddress {
    let mut client = peer;
    // Fields in reverse order without memory for them: there are few.
    let fields = head.headers.all(HeaderId::XForwardedFor).count();
    for field in (0..fields).rev() {
        let value = head.headers.all(HeaderId::XForwardedFor).nth(field).unwrap_or_default();
        for member in value.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            // RFC 9110 section 5.6.1: empty members mean nothing.
            if member.is_empty() {
                continue;
            }
            let Some(address) = member_address(member) else { return client };
            client = address;
            if !listener.trusts(client) {
                return client;
            }
        }
    }
    client
}

/// An address as proxies write it: alone, in brackets, or with a port.
fn member_address(member: &[u8]) -> Option<ClientAddress> {
    let text = str::from_utf8(member).ok()?;
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ClientAddress::of_ip(ip));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.into());
    }
    let bracketed = text.strip_prefix('[')?.strip_suffix(']')?;
    bracketed.parse::<Ipv6Addr>().ok().map(|ip| ClientAddress::of_ip(ip.into()))
}

#[cfg(test)]
mod tests {
    use engine::config::{Sources, parse};
    use engine::snapshot::{Identities, compile};
    use proto::h1::parse_request;

    use super::*;
    use crate::core::CoreShare;

    fn listener() -> ListenerSlot {
        let text = "version = 1\n[listeners.a]\naddress = \"127.0.0.1:1\"\n\
                    trusted_proxies = [\"10.0.0.0/8\", \"unix\"]\n";
        let model = parse(&Sources::new("test.toml", text)).unwrap();
        let table = compile(&model, 1, &mut Identities::default());
        let share = CoreShare {
            core: 0,
            cores: 1,
            buffer_bytes_max: 1 << 20,
            descriptors_max: usize::MAX,
            seed: 1,
            node_seed: 1,
        };
        ListenerSlot::new(&table.listeners[0], Some(1), share)
    }

    fn head(fields: &str) -> RequestHead {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut head = RequestHead::new();
        parse_request(text.as_bytes(), 100, &mut head).unwrap();
        head
    }

    fn at(text: &str) -> ClientAddress {
        member_address(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
        let listener = listener();
        for (peer, forwarded, client) in [
            ("192.0.2.9", "X-Forwarded-For: 203.0.113.1\r\n", "192.0.2.9"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "X-Forwarded-For: 203.0.113.1\r\n", "203.0.113.1"),
            ("10.0.0.1", "X-Forwarded-For: 6.6.6.6, 203.0.113.1\r\n", "203.0.113.1"),
            ("10.0.0.1", "X-Forwarded-For: 203.0.113.1, 10.9.9.9 ,10.1.1.1\r\n", "203.0.113.1"),
            (
                "10.0.0.1",
                "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.1,\r\n\
                 X-Forwarded-For: 10.1.1.1\r\n",
                "203.0.113.1",
            ),
            ("10.0.0.1", "X-Forwarded-For: 10.3.3.3, 10.2.2.2\r\n", "10.3.3.3"),
            ("10.0.0.1", "X-Forwarded-For: 6.6.6.6, unknown, 10.2.2.2\r\n", "10.2.2.2"),
            ("10.0.0.1", "X-Forwarded-For: nobody\r\n", "10.0.0.1"),
            ("10.0.0.1", "X-Forwarded-For: 203.0.113.1:4660\r\n", "203.0.113.1:4660"),
            ("10.0.0.1", "X-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1"),
            ("10.0.0.1", "X-Forwarded-For: [2001:db8::1]\r\n", "2001:db8::1"),
            ("10.0.0.1", "X-Forwarded-For: [2001:db8::1]:80\r\n", "[2001:db8::1]:80"),
            ("10.0.0.1", "X-Forwarded-For: 203.0.113.1, ::ffff:10.1.1.1\r\n", "203.0.113.1"),
        ] {
            let caller = Caller::of_request(at(peer), &head(forwarded), &listener);
            assert_eq!(caller.address, at(client), "{peer} {forwarded}");
        }
        let forwarded = head("X-Forwarded-For: 203.0.113.1\r\n");
        let caller = Caller::of_request(ClientAddress::Unix, &forwarded, &listener);
        assert_eq!(caller.address, at("203.0.113.1"));
    }

    #[test]
    fn an_id_is_kept_when_a_trusted_proxy_gives_a_sound_one() {
        let listener = listener();
        let long = "x".repeat(REQUEST_ID_BYTES_MAX);
        let longer = format!("{long}x");
        for (peer, id, kept) in [
            ("10.0.0.1", "a", true),
            ("10.0.0.1", "1-67891233-abcdef012345678912345678", true),
            ("10.0.0.1", "a/b+c==:d.e_f~g@h", true),
            ("10.0.0.1", &long, true),
            ("10.0.0.1", &longer, false),
            ("10.0.0.1", "", false),
            ("10.0.0.1", "a b", false),
            ("10.0.0.1", "a\"b", false),
            ("10.0.0.1", "a,b", false),
            ("10.0.0.1", "a\r\nX-Request-Id: b", false),
            ("192.0.2.1", "a", false),
        ] {
            let head = head(&format!("X-Request-Id: {id}\r\n"));
            let caller = Caller::of_request(at(peer), &head, &listener);
            assert_eq!(caller.keeps_id.get(), kept, "{peer} {id}");
        }
    }
}
