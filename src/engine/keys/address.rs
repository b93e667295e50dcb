//! Addresses to listen at or to connect to, endpoints by name, and blocks of addresses, as values of
//! keys.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::item::ItemKind;
use super::mistake::Mistake;
use super::shape::Shape;
use super::value::Value;
use super::written::Written;
use crate::address::{Address, Network};
use crate::names::AddressOrName;

impl Value for Address {
    fn expected() -> Cow<'static, str> {
        "an IP address and a port such as \"127.0.0.1:8080\" or \"[::1]:8080\", or \"unix:/path\""
            .into()
    }

    fn shape() -> Shape {
        let unix = Shape::Text { noun: "socket", pattern: Some("^unix:(/.*[^/]|@.+)$") };
        Shape::Either(Box::new(SocketAddr::shape()), Box::new(unix))
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        match kind.text().and_then(|text| Self::unix_part(&text.value)) {
            Some(name) => {
                Self::parse_unix(name).map_err(|(what, cure)| Mistake::with_cure(what, cure))
            }
            None => SocketAddr::parse(kind).map(Self::Ip),
        }
    }

    fn write(&self) -> Written {
        Written::text(self.to_string())
    }
}

impl Value for AddressOrName {
    fn expected() -> Cow<'static, str> {
        "an IP address and a port such as \"127.0.0.1:9000\", a name and a port such as \
         \"users.internal:9000\", \"srv:name\", or \"unix:/path\""
            .into()
    }

    fn shape() -> Shape {
        let pattern = Some(r"^(dns:)?[0-9A-Za-z._-]+:[0-9]+$|^srv:[0-9A-Za-z._-]+$");
        let name = Shape::Text { noun: "name", pattern };
        Shape::Either(Box::new(Address::shape()), Box::new(name))
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let Some(text) = kind.text() else { return Address::parse(kind).map(Self::Place) };
        match Self::parse_name(&text.value) {
            Some(Ok(name)) => Ok(Self::Name(name)),
            Some(Err((what, cure))) => Err(Mistake::with_cure(what, cure)),
            None => Address::parse(kind).map(Self::Place).map_err(|mistake| match mistake {
                Mistake::Value { what, cure } => {
                    Mistake::Value { what, cure: cure_url(&text.value).or(cure) }
                }
                mistake @ Mistake::Kind { .. } => mistake,
            }),
        }
    }

    fn write(&self) -> Written {
        Written::text(self.to_string())
    }
}

/// The endpoint of a URL with a name in it.
fn cure_url(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let port = if scheme == "https" { 443 } else { 80 };
    let with_port = match authority.rsplit_once(':') {
        Some(_) => authority.to_owned(),
        None => format!("{authority}:{port}"),
    };
    let is_name = matches!(AddressOrName::parse_name(&with_port), Some(Ok(_)));
    is_name.then(|| format!("write \"{with_port}\", without scheme and path"))
}

/// The address of a DNS server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsServer(pub SocketAddr);

impl Value for DnsServer {
    fn expected() -> Cow<'static, str> {
        "an IP address and a port such as \"127.0.0.53:53\"".into()
    }

    fn shape() -> Shape {
        SocketAddr::shape()
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let bare = kind.text().and_then(|text| text.value.parse::<IpAddr>().ok());
        if let Some(ip) = bare {
            let what = format!("\"{ip}\" has no port");
            return Err(Mistake::with_cure(what, format!("write \"{}\"", SocketAddr::new(ip, 53))));
        }
        match SocketAddr::parse(kind)? {
            address if address.port() == 0 => {
                let what = format!("\"{address}\" is no place to send a question to");
                let cure = format!("write \"{}\"", SocketAddr::new(address.ip(), 53));
                Err(Mistake::with_cure(what, cure))
            }
            address => Ok(Self(address)),
        }
    }

    fn write(&self) -> Written {
        Written::text(self.0.to_string())
    }
}

impl Value for Network {
    fn expected() -> Cow<'static, str> {
        "a block of addresses such as \"10.0.0.0/8\", a single one, or \"unix\"".into()
    }

    fn shape() -> Shape {
        let block =
            Shape::Text { noun: "block", pattern: Some("^([0-9.]+|[0-9A-Fa-f:.]+)(/[0-9]+)?$") };
        Shape::Either(Box::new(block), Box::new(Shape::Words(vec!["unix"])))
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = kind.text().ok_or(Mistake::KIND)?;
        text.value.parse().map_err(|(what, cure)| Mistake::Value { what, cure })
    }

    fn write(&self) -> Written {
        Written::text(self.to_string())
    }
}

impl Value for SocketAddr {
    fn expected() -> Cow<'static, str> {
        "an IP address and a port such as \"127.0.0.1:8080\" or \"[::1]:8080\"".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "address", pattern: Some(r"^([0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]+$") }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = match kind {
            ItemKind::Text(text) => &text.value,
            ItemKind::Integer(Some(port)) if (1..=MAX_PORT).contains(port) => {
                return Err(Mistake::kind(add_host(port)));
            }
            _ => return Err(Mistake::KIND),
        };
        text.parse().map_err(|_| {
            let what = format!("\"{text}\" is not an address");
            Mistake::Value { what, cure: cure_address(text) }
        })
    }

    fn write(&self) -> Written {
        Written::text(self.to_string())
    }
}

/// Ports have 16 bits.
const MAX_PORT: i64 = 65_535;

/// The cure of a port alone.
fn add_host(port: impl fmt::Display) -> String {
    format!("write \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" to listen on all addresses")
}

/// The text to write instead, where the one that is meant is plain.
fn cure_address(text: &str) -> Option<String> {
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    if let Some(port) = text.strip_prefix(':').or(text.strip_prefix("*:")).filter(|it| is_port(it))
    {
        return Some(add_host(port));
    }
    if is_port(text) {
        return Some(add_host(text));
    }
    if text.starts_with('/') || text.starts_with("@/") {
        return Some(format!("write \"unix:{text}\" for a Unix socket"));
    }
    if text.parse::<Ipv4Addr>().is_ok() {
        return Some(format!("add a port: \"{text}:8080\""));
    }
    if let Some(zone) = text.find('%').and_then(|at| text.get(at..)).filter(|_| text.contains(':'))
    {
        let zone: String = zone.chars().take_while(|it| *it != ']').collect();
        return Some(format!("leave out {zone}: addresses of one link are not supported"));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let is_whole = authority.parse::<SocketAddr>().is_ok();
        return Some(match (is_whole, scheme) {
            (true, _) => format!("write \"{authority}\", without scheme and path"),
            (false, "unix") => format!("write \"unix:{rest}\""),
            (false, _) => "write the IP address and the port, without scheme and path".to_owned(),
        });
    }
    if let Some(cure) = cure_ipv6(text) {
        return Some(cure);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    if host == "localhost" {
        let port = if is_port(port) { port } else { "8080" };
        return Some(format!("write \"127.0.0.1:{port}\""));
    }
    let ip: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    if ip.is_some() {
        return Some(format!("write a port from 0 to {MAX_PORT} behind {host}"));
    }
    let is_name = |host: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        host.bytes().all(known) && host.bytes().any(|byte| byte.is_ascii_alphabetic())
    };
    is_name(host)
        .then(|| "only `endpoints` may be names: write the IP address and the port".to_owned())
}

/// An IPv6 address without brackets or without a port. Eight groups, or a double colon at the end,
/// leave no room for a port; otherwise the last group of a text such as `::1:8080` is one.
fn cure_ipv6(text: &str) -> Option<String> {
    if let Some(port) = text.strip_prefix(":::").filter(|port| port.parse::<u16>().is_ok()) {
        return Some(format!("write \"[::]:{port}\""));
    }
    let bare = text.strip_prefix('[').map_or(text, |text| text.trim_end_matches(':'));
    let bare = bare.strip_suffix(']').unwrap_or(bare);
    let ip: Ipv6Addr = bare.parse().ok()?;
    let with_port = bare.rsplit_once(':').and_then(|(ip, port)| {
        let port: u16 = port.parse().ok().filter(|port| *port >= 80)?;
        // `::8080` is all addresses and a port.
        let ip = if ip.ends_with(':') { format!("{ip}:") } else { ip.to_owned() };
        let ip: Ipv6Addr = ip.parse().ok()?;
        Some(format!("write \"[{ip}]:{port}\""))
    });
    let is_bare = !text.starts_with('[');
    with_port
        .filter(|_| is_bare)
        .or_else(|| Some(format!("add brackets and a port: \"[{ip}]:8080\"")))
}
