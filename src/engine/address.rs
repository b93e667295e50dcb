//! The addresses that connections go to and come from.
//!
//! [`Address`] names a place to listen at or to connect to, in the configuration, the snapshot, the
//! worker and the control thread. [`ClientAddress`] is the address of a client, as far as the
//! gateway knows it, and [`Network`] is a set of client addresses. The worker and the control
//! thread turn addresses into sockets.
//!
//! Invariant: a [`ClientAddress`] and a [`Network`] treat an IPv4 address that is written as IPv6
//! (`::ffff:192.0.2.1`, as a dual-stack socket reports it) as IPv4.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The longest name of a Unix socket, of the 108 bytes of `sun_path`: a path ends with a zero byte,
/// and a name of the abstract namespace begins with one.
pub const SOCKET_NAME_BYTES_MAX: usize = 107;

/// The prefix of a written Unix socket.
const UNIX: &str = "unix:";

/// A place to listen at or to connect to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An IP address and port.
    Ip(SocketAddr),
    /// A Unix socket: an absolute path, or `@` and a name of Linux's abstract namespace.
    Unix(Box<str>),
}

impl Address {
    /// The IP address and port, if it has them.
    #[must_use]
    pub const fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The kernel's name for a Unix socket: a path, or a zero byte and a name.
    #[must_use]
    pub fn kernel_name(name: &str) -> Cow<'_, str> {
        match name.strip_prefix('@') {
            Some(name) => Cow::Owned(format!("\0{name}")),
            None => Cow::Borrowed(name),
        }
    }

    /// Reads the part behind `unix:`.
    ///
    /// # Errors
    /// The mistake and the cure.
    pub(crate) fn parse_unix(name: &str) -> Result<Self, (String, String)> {
        let abstract_name = name.strip_prefix('@');
        let is_path = name.starts_with('/') && !name.ends_with('/');
        if abstract_name.map_or(!is_path, str::is_empty) {
            let what = format!("\"{name}\" is not the path of a socket");
            return Err((what, "write it from the root: \"unix:/run/x.sock\"".to_owned()));
        }
        if name.len() > SOCKET_NAME_BYTES_MAX || name.contains('\0') {
            let what = "the kernel does not take this name for a socket".to_owned();
            return Err((what, format!("write at most {SOCKET_NAME_BYTES_MAX} bytes")));
        }
        Ok(Self::Unix(name.into()))
    }

    /// The part behind `unix:`; `None` without that prefix.
    pub(crate) fn unix_part(text: &str) -> Option<&str> {
        text.strip_prefix(UNIX)
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl From<&Self> for Address {
    fn from(address: &Self) -> Self {
        address.clone()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(name) => write!(f, "{UNIX}{name}"),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match Self::unix_part(text) {
            Some(name) => Self::parse_unix(name).map_err(|(what, _)| what),
            None => text.parse().map(Self::Ip).map_err(|_| format!("\"{text}\" is not an address")),
        }
    }
}

/// The address of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    /// An IP address, as IPv4 where possible. The port is 0 if only the address is known.
    Ip(SocketAddr),
    /// A client on this host, behind a Unix socket. It has no address.
    Unix,
}

impl ClientAddress {
    /// The client at this IP address.
    #[must_use]
    pub const fn of_ip(ip: IpAddr) -> Self {
        Self::Ip(SocketAddr::new(ip.to_canonical(), 0))
    }

    /// The IP address, if it has one.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix => None,
        }
    }
}

impl From<SocketAddr> for ClientAddress {
    fn from(address: SocketAddr) -> Self {
        match address.ip() {
            // Scope and flow of an IPv6 address are kept.
            IpAddr::V6(ip) if ip.to_ipv4_mapped().is_none() => Self::Ip(address),
            ip => Self::Ip(SocketAddr::new(ip.to_canonical(), address.port())),
        }
    }
}

/// A block of addresses such as `10.0.0.0/8`, or all clients on Unix sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// The addresses that begin with the same bits.
    Ip {
        /// The first address of the block.
        first: IpAddr,
        /// How many bits must be equal: 0 to 32 for IPv4, 0 to 128 for IPv6.
        prefix_bits: u8,
    },
    /// Every client that connects to a Unix socket.
    Unix,
}

impl Network {
    /// Whether `client` belongs to this network.
    #[must_use]
    pub fn contains(&self, client: ClientAddress) -> bool {
        match (*self, client) {
            (Self::Unix, ClientAddress::Unix) => true,
            (Self::Ip { first, prefix_bits }, ClientAddress::Ip(address)) => {
                let ((one, v4), (other, other_v4)) = (bits(first), bits(address.ip()));
                v4 == other_v4 && kept(one ^ other, prefix_bits) == 0
            }
            _ => false,
        }
    }

    /// Whether a client can belong to both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let first = |network: &Self| match *network {
            Self::Ip { first, .. } => ClientAddress::of_ip(first),
            Self::Unix => ClientAddress::Unix,
        };
        self.contains(first(other)) || other.contains(first(self))
    }
}

/// An address as a number (the first bit of the address is the highest one), and whether it is IPv4.
const fn bits(ip: IpAddr) -> (u128, bool) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ((ip.to_bits() as u128) << 96, true),
        IpAddr::V6(ip) => (ip.to_bits(), false),
    }
}

/// The first `prefix_bits` bits; all others become zero.
fn kept(bits: u128, prefix_bits: u8) -> u128 {
    bits & u128::MAX.checked_shl(128u32.saturating_sub(prefix_bits.into())).unwrap_or(0)
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip { first, prefix_bits } => write!(f, "{first}/{prefix_bits}"),
            Self::Unix => f.pad("unix"),
        }
    }
}

impl FromStr for Network {
    type Err = (String, Option<String>);

    /// Reads `10.0.0.0/8`, a single address, or `unix`. An error holds the mistake, and the cure
    /// where it is obvious.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let wrong = || (format!("\"{text}\" is not a block of addresses"), None);
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
        let widest = if ip.is_ipv4() { 32 } else { 128 };
        let written = match prefix {
            None => widest,
            Some(digits) => {
                let plain = digits.bytes().all(|it| it.is_ascii_digit())
                    && (digits == "0" || !digits.starts_with('0'));
                let bits: Option<u8> = digits.parse().ok().filter(|bits| plain && *bits <= widest);
                bits.ok_or_else(wrong)?
            }
        };
        // A block within ::ffff:0:0/96 is a block of IPv4, because a client's address is compared as
        // IPv4.
        let mapped = matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some()) && written >= 96;
        let (ip, prefix_bits) =
            if mapped { (ip.to_canonical(), written - 96) } else { (ip, written) };
        let first = match ip {
            // The lower 96 bits are zero.
            IpAddr::V4(ip) => {
                let kept = kept(u128::from(ip.to_bits()) << 96, prefix_bits) >> 96;
                IpAddr::V4(u32::try_from(kept).unwrap_or(0).into())
            }
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(kept(ip.to_bits(), prefix_bits))),
        };
        if first != ip {
            let what = format!("\"{text}\" is an address within a block");
            let cure = format!("write \"{first}/{prefix_bits}\" for the block");
            return Err((what, Some(cure)));
        }
        Ok(Self::Ip { first, prefix_bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> ClientAddress {
        ClientAddress::of_ip(text.parse().unwrap())
    }

    #[test]
    fn an_address_is_written_in_the_form_in_which_it_is_read() {
        for text in ["127.0.0.1:80", "[::1]:80", "[::]:0", "unix:/run/x.sock", "unix:@name"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        let long = format!("unix:/{}", "x".repeat(SOCKET_NAME_BYTES_MAX));
        for text in
            ["", "x", "unix:", "unix:x", "unix:/", "unix:/a/", "unix:@", "unix:/a\0b", &long]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_abstract_name_begins_with_a_zero_byte() {
        assert_eq!(Address::kernel_name("@a"), "\0a");
        assert_eq!(Address::kernel_name("/a"), "/a");
    }

    #[test]
    fn a_client_of_a_dual_stack_socket_has_an_ipv4_address() {
        let address: SocketAddr = "[::ffff:192.0.2.1]:5".parse().unwrap();
        assert_eq!(ClientAddress::from(address), ClientAddress::Ip("192.0.2.1:5".parse().unwrap()));
        let address: SocketAddr = "[2001:db8::1]:5".parse().unwrap();
        assert_eq!(ClientAddress::from(address), ClientAddress::Ip(address));
    }

    #[test]
    fn a_network_contains_the_addresses_with_its_first_bits() {
        for (network, ip, expected) in [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "11.1.2.3", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("192.0.2.6/31", "192.0.2.7", true),
            ("::1", "::1", true),
            ("unix", "::1", false),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(parsed.contains(client(ip)), expected, "{network} {ip}");
            assert!(!matches!(parsed, Network::Ip { .. } if parsed.contains(ClientAddress::Unix)));
        }
        assert!(Network::Unix.contains(ClientAddress::Unix));
    }

    #[test]
    fn networks_overlap_if_one_contains_the_other() {
        for (one, other, expected) in [
            ("10.0.0.0/8", "10.1.0.0/16", true),
            ("10.0.0.0/8", "11.0.0.0/8", false),
            ("0.0.0.0/0", "::/0", false),
            ("unix", "unix", true),
            ("unix", "::/0", false),
        ] {
            let (one, other): (Network, Network) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(one.overlaps(&other), expected, "{one} {other}");
            assert_eq!(other.overlaps(&one), expected, "{other} {one}");
        }
    }

    #[test]
    fn a_text_that_is_no_network_is_refused_with_a_cure_where_one_is_obvious() {
        for text in ["", "x", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/", "::/129"] {
            assert_eq!(text.parse::<Network>().unwrap_err().1, None, "{text}");
        }
        let (what, cure) = "10.1.0.0/8".parse::<Network>().unwrap_err();
        assert_eq!(what, "\"10.1.0.0/8\" is an address within a block");
        assert_eq!(cure.as_deref(), Some("write \"10.0.0.0/8\" for the block"));
    }
}
