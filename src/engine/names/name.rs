//! A name as an endpoint: its forms in the configuration, and their mistakes.
//!
//! Invariant: a [`DnsName`] is in lower case and fits into a DNS question.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::address::Address;

/// The prefix of a name that is resolved by its address records. It may be left out.
const DNS: &str = "dns:";

/// The prefix of a name that is resolved by its SRV records.
const SRV: &str = "srv:";

/// RFC 1035 section 2.3.4, without the length bytes of the wire format.
const NAME_BYTES_MAX: usize = 253;

/// RFC 1035 section 2.3.4.
const LABEL_BYTES_MAX: usize = 63;

/// Where an endpoint is, as the configuration writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressOrName {
    /// At this place.
    Place(Address),
    /// At the places that this name stands for.
    Name(DnsName),
}

/// A name that DNS resolves to places.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DnsName {
    /// The addresses of a host, at one port.
    Host {
        /// The name of the host.
        host: Box<str>,
        /// The port, not 0.
        port: u16,
    },
    /// The places that the SRV records of this name list (RFC 2782).
    Service(Box<str>),
}

impl AddressOrName {
    /// The place, if it is not a name.
    #[must_use]
    pub const fn place(&self) -> Option<&Address> {
        match self {
            Self::Place(address) => Some(address),
            Self::Name(_) => None,
        }
    }

    /// The name, if it is one.
    #[must_use]
    pub const fn name(&self) -> Option<&DnsName> {
        match self {
            Self::Place(_) => None,
            Self::Name(name) => Some(name),
        }
    }

    /// Reads a name with or without a prefix. `None`: it is meant as something else.
    ///
    /// # Errors
    /// The mistake and the cure.
    pub(crate) fn parse_name(text: &str) -> Option<Result<DnsName, (String, String)>> {
        if let Some(service) = text.strip_prefix(SRV) {
            return Some(DnsName::parse_service(service));
        }
        if Address::unix_part(text).is_some() {
            return None;
        }
        match text.strip_prefix(DNS) {
            Some(host) => Some(DnsName::parse_host(host, DNS)),
            // An address without a port is a mistake in an address, not in a name.
            None => {
                let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
                is_host_name(host).then(|| DnsName::parse_host(text, ""))
            }
        }
    }
}

impl DnsName {
    /// Reads a host and a port. `prefix` stood before them.
    fn parse_host(text: &str, prefix: &str) -> Result<Self, (String, String)> {
        let wrong = format!("\"{prefix}{text}\" is not a name and a port");
        if text.parse::<SocketAddr>().is_ok() {
            return Err((wrong, format!("write \"{text}\" for an address")));
        }
        let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
        if !is_host_name(host) {
            return Err((wrong, cure_name(host)));
        }
        match port.parse() {
            Ok(port) if port != 0 => Ok(Self::Host { host: lower(host), port }),
            _ if port.is_empty() => {
                Err((wrong, format!("add a port: \"{prefix}{}:8080\"", host.trim_end_matches(':'))))
            }
            _ => Err((wrong, format!("write a port from 1 to 65535 behind {host}"))),
        }
    }

    /// Reads the part behind `srv:`.
    fn parse_service(text: &str) -> Result<Self, (String, String)> {
        if is_host_name(text) {
            return Ok(Self::Service(lower(text)));
        }
        let wrong = format!("\"{SRV}{text}\" is not the name of a service");
        let cure = match text.rsplit_once(':') {
            Some((host, _)) if is_host_name(host) => {
                format!("write \"{SRV}{host}\": SRV records hold the ports")
            }
            _ => cure_name(text),
        };
        Err((wrong, cure))
    }
}

/// The cure of a text that is no name.
fn cure_name(text: &str) -> String {
    if !text.is_ascii() {
        return "write the name in ASCII, its other letters as \"xn--\" labels".to_owned();
    }
    "write a name such as \"users.internal\"".to_owned()
}

/// Whether `text` can be asked for and is no IPv4 address. Underscores are common in service names.
fn is_host_name(text: &str) -> bool {
    // A dot at the end says that no search domain is to be tried.
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(is_known)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= NAME_BYTES_MAX
        && name.split('.').all(is_label)
        // "10.0.0.256" is a mistake in an address. No top-level domain is a number.
        && !last.bytes().all(|byte| byte.is_ascii_digit())
        && name.parse::<IpAddr>().is_err()
}

fn lower(text: &str) -> Box<str> {
    text.to_ascii_lowercase().into()
}

impl From<Address> for AddressOrName {
    fn from(address: Address) -> Self {
        Self::Place(address)
    }
}

impl fmt::Display for AddressOrName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port } => write!(f, "{host}:{port}"),
            Self::Service(name) => write!(f, "{SRV}{name}"),
        }
    }
}

impl FromStr for DnsName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not a name and a port");
        AddressOrName::parse_name(text).ok_or_else(wrong)?.map_err(|(what, _)| what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_in_one_form() {
        for (text, written) in [
            ("users.internal:9000", "users.internal:9000"),
            ("dns:users.internal:9000", "users.internal:9000"),
            ("Users.Internal.:9000", "users.internal.:9000"),
            ("localhost:1", "localhost:1"),
            ("a_b-c:65535", "a_b-c:65535"),
            ("srv:_http._tcp.Users.internal", "srv:_http._tcp.users.internal"),
            ("1.2.3.4.example:80", "1.2.3.4.example:80"),
        ] {
            let name: DnsName = text.parse().unwrap();
            assert_eq!(name.to_string(), written);
            assert_eq!(name.to_string().parse::<DnsName>().unwrap(), name);
        }
    }

    #[test]
    fn a_text_that_is_no_name_is_refused_with_the_cure() {
        let long = format!("dns:{}:1", "a.".repeat(130));
        for (text, cure) in [
            ("dns:10.0.0.1:80", "write \"10.0.0.1:80\" for an address"),
            ("dns:users.internal", "add a port: \"dns:users.internal:8080\""),
            ("users.internal", "add a port: \"users.internal:8080\""),
            ("users.internal:", "add a port: \"users.internal:8080\""),
            ("users.internal:0", "write a port from 1 to 65535 behind users.internal"),
            ("users.internal:65536", "write a port from 1 to 65535 behind users.internal"),
            ("dns:-a:80", "write a name such as"),
            ("dns:a..b:80", "write a name such as"),
            ("dns:10.0.0.256:80", "write a name such as"),
            ("dns:bücher.example:80", "write the name in ASCII"),
            (&long, "write a name such as"),
            ("srv:_http._tcp.a:80", "write \"srv:_http._tcp.a\": SRV records hold the ports"),
            ("srv:", "write a name such as"),
        ] {
            let (_, said) = AddressOrName::parse_name(text).unwrap().unwrap_err();
            assert!(said.contains(cure), "{text}: {said}");
        }
        for text in ["", "10.0.0.1", "10.0.0.256:80", "[::1]:80", "a b:80", ":80", "unix:/a"] {
            assert!(AddressOrName::parse_name(text).is_none(), "{text}");
        }
    }
}
