//! `key` of a limit: the parts of a request by which a limit tells requests apart.
//!
//! Invariant: two different keys have the same id with a chance of one in 2^128, and a client that does
//! not know the seed cannot look for such a pair.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;

use proto::head::RequestHead;

use crate::address::ClientAddress;
use crate::keys::{
    Item, ItemKind, KeyRule, Mistake, SectionValue, Shape, Value, Walk, Written, section,
};
use crate::request_key::RequestKey;

/// Bits of an IPv6 address that count: a network that belongs to one customer. One client has all
/// addresses below it.
const BITS_OF_IPV6: u32 = 64;

/// The key of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitKey(Vec<LimitKeyPart>);

/// A part of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LimitKeyPart {
    /// The client's address: so many bits of IPv4, and the network of IPv6.
    ClientIp(u32),
    /// The route.
    Route,
    /// A header, a cookie, a parameter, or the path.
    Request(RequestKey),
}

/// The value of a key in one request, in a fixed length: a client may send values of any length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub(super) u128);

impl LimitKey {
    /// By the address of the client.
    #[must_use]
    pub fn client_ip() -> Self {
        Self(vec![LimitKeyPart::ClientIp(32)])
    }

    /// By the route.
    #[must_use]
    pub fn route() -> Self {
        Self(vec![LimitKeyPart::Route])
    }

    /// The id of the value in this request. `seed` belongs to the core.
    #[must_use]
    pub fn id(&self, head: &RequestHead, client: ClientAddress, route: &str, seed: u64) -> KeyId {
        let half = |seed: u64| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(seed);
            for part in &self.0 {
                part.add(head, client, route, &mut hasher);
            }
            hasher.finish()
        };
        KeyId(u128::from(half(seed)) << 64 | u128::from(half(!seed)))
    }
}

impl LimitKeyPart {
    /// Adds the value of the part, or that there is none.
    fn add(
        &self,
        head: &RequestHead,
        client: ClientAddress,
        route: &str,
        hasher: &mut DefaultHasher,
    ) {
        let mut add = |bytes: &[u8]| {
            // With its length, so that the border between two parts counts.
            hasher.write_usize(bytes.len() + 1);
            hasher.write(bytes);
        };
        let added = match self {
            Self::Route => {
                add(route.as_bytes());
                Some(())
            }
            Self::Request(key) => key.value(head, client, &mut add),
            Self::ClientIp(bits) => client.ip().map(|ip| match ip {
                IpAddr::V4(ip) => add(&masked(ip.to_bits(), *bits).to_be_bytes()),
                IpAddr::V6(ip) => add(&(ip.to_bits() >> (128 - BITS_OF_IPV6)).to_be_bytes()),
            }),
        };
        if added.is_none() {
            hasher.write_usize(0);
        }
    }
}

/// The leading `bits` of an IPv4 address; the others are 0.
fn masked(ip: u32, bits: u32) -> u32 {
    ip & u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or(0)
}

section! {
    /// The network of the client: so many leading bits of its IPv4 address. IPv6 addresses count by their
    /// leading 64 bits.
    #[derive(Eq)]
    ClientBlock {
        /// Leading bits of the address.
        client_ip: u32 => KeyRule::required("24").within(1..=32);
    }
}

impl Value for LimitKeyPart {
    fn expected() -> Cow<'static, str> {
        "\"client_ip\", { client_ip = 24 }, \"header:NAME\", \"cookie:NAME\", \"query:NAME\", \"path\" \
         or \"route\""
            .into()
    }

    fn shape() -> Shape {
        let pattern = Some("^(path|route|client_ip|(header|cookie|query):.+)$");
        let text = Shape::Text { noun: "part of a request", pattern };
        Shape::Either(Box::new(text), Box::new(Shape::Section(ClientBlock::section())))
    }

    fn read<'n>(item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        if item.is_table() {
            return ClientBlock::read(item, walk).map(|it| Self::ClientIp(it.client_ip));
        }
        if item.is_secret() {
            walk.keep_secret();
        }
        if item.kind.text().is_some_and(|text| text.value == ROUTE) {
            return Some(Self::Route);
        }
        match RequestKey::parse(&item.kind) {
            Ok(RequestKey::ClientIp) => Some(Self::ClientIp(32)),
            Ok(key) => Some(Self::Request(key)),
            Err(mistake) => {
                walk.mistake(item, of_others(&item.kind, mistake), &Self::expected());
                None
            }
        }
    }

    fn write(&self) -> Written {
        match self {
            Self::ClientIp(32) => RequestKey::ClientIp.write(),
            Self::ClientIp(bits) => ClientBlock { client_ip: *bits }.write(),
            Self::Route => Written::text(ROUTE),
            Self::Request(key) => key.write(),
        }
    }
}

/// The word for the route.
const ROUTE: &str = "route";

/// The cure for words that other gateways have.
fn of_others(kind: &ItemKind<'_>, mistake: Mistake) -> Mistake {
    let Some(text) = kind.text() else { return mistake };
    let cure = match &*text.value {
        "ip" | "client" | "remote_addr" | "source_ip" | "address" => "write \"client_ip\"",
        _ => return mistake,
    };
    Mistake::with_cure(format!("\"{}\" is no part of a request", text.value), cure)
}

impl Value for LimitKey {
    fn expected() -> Cow<'static, str> {
        format!("{}, or a list of these", LimitKeyPart::expected()).into()
    }

    fn shape() -> Shape {
        Shape::Either(Box::new(LimitKeyPart::shape()), Box::new(Vec::<LimitKeyPart>::shape()))
    }

    fn read<'n>(item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        if let ItemKind::List(_) = item.kind {
            return Vec::read(item, walk).map(Self);
        }
        LimitKeyPart::read(item, walk).map(|part| Self(vec![part]))
    }

    fn write(&self) -> Written {
        match &*self.0 {
            [part] => part.write(),
            _ => self.0.write(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(parts: Vec<LimitKeyPart>, text: &str, ip: &str) -> KeyId {
        let mut head = RequestHead::new();
        let text = format!("GET /a?q=1 HTTP/1.1\r\nHost: h\r\n{text}\r\n");
        proto::h1::parse_request(text.as_bytes(), 10, &mut head).unwrap();
        LimitKey(parts).id(&head, ClientAddress::of_ip(ip.parse().unwrap()), "all", 7)
    }

    #[test]
    fn addresses_count_by_their_network() {
        let by = |bits, ip| id(vec![LimitKeyPart::ClientIp(bits)], "", ip);
        assert_ne!(by(32, "10.0.0.1"), by(32, "10.0.0.2"));
        assert_eq!(by(24, "10.0.0.1"), by(24, "10.0.0.200"));
        assert_ne!(by(24, "10.0.0.1"), by(24, "10.0.1.1"));
        assert_eq!(by(32, "2001:db8::1"), by(32, "2001:db8::ffff:1"));
        assert_ne!(by(32, "2001:db8::1"), by(32, "2001:db8:0:1::1"));
        // IPv4 that is written as IPv6 is IPv4.
        assert_eq!(by(32, "10.0.0.1"), by(32, "::ffff:10.0.0.1"));
    }

    #[test]
    fn parts_do_not_run_into_each_other_and_an_absent_one_is_a_key_of_its_own() {
        let header = |name: &str| LimitKeyPart::Request(RequestKey::Header(name.into()));
        let by = |text| id(vec![header("x-a"), header("x-b")], text, "10.0.0.1");
        assert_ne!(by("X-A: 12\r\nX-B: 3\r\n"), by("X-A: 1\r\nX-B: 23\r\n"));
        assert_ne!(by("X-A: 1\r\n"), by("X-B: 1\r\n"));
        assert_ne!(by("X-A: 1\r\n"), by("X-A: 1\r\nX-B:\r\n"));
        assert_eq!(by(""), by("X-C: 1\r\n"));
    }
}
