//! Addresses to listen at or to connect to, and blocks of addresses, as values of keys.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::item::ItemKind;
use super::mistake::Mistake;
use super::shape::Shape;
use super::value::Value;
use super::written::Written;
use crate::address::{Address, Network};

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
    is_name(host).then(|| "names are not resolved: write the IP address and the port".to_owned())
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
