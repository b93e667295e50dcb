//! `match.hosts`: hosts that a route is for.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use crate::keys::{ItemKind, Mistake, Shape, Value, Written};
use crate::router::HOST_BYTES_MAX;

/// A host, exact or "*.suffix", as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(pub String);

impl AsRef<str> for Host {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Value for Host {
    fn expected() -> Cow<'static, str> {
        "a host such as \"api.example.com\" or \"*.example.com\"".into()
    }

    fn shape() -> Shape {
        let pattern = Some(r"^((\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])$");
        Shape::Text { noun: "host", pattern }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = kind.text().ok_or(Mistake::KIND)?;
        let text = &text.value;
        match unsound_host(text) {
            None => Ok(Self(text.to_string())),
            Some(cure) => Err(Mistake::with_cure(format!("\"{text}\" is not a host"), cure)),
        }
    }

    fn write(&self) -> Written {
        Written::text(&self.0)
    }
}

/// How to cure a host that no request could have.
fn unsound_host(text: &str) -> Option<Cow<'static, str>> {
    let literal = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if literal.is_some_and(|literal| literal.parse::<Ipv6Addr>().is_ok()) {
        return None;
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Some(format!("write \"[{text}]\": an IPv6 address stands in brackets").into());
    }
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let name = text.strip_prefix("*.").unwrap_or(text);
    let cure = if text == "*" {
        Some("leave `hosts` out to match any host")
    } else if text.contains("://") || text.contains('/') {
        Some("write the host alone, without scheme and path")
    } else if text.contains(':') {
        Some("leave the port out: a route is for a host on any port")
    } else if !text.is_ascii() {
        Some("write its ASCII form, which begins with xn--")
    } else if name.contains('*') {
        Some("a star stands for whole labels, and only in front: \"*.example.com\"")
    } else if name.ends_with('.') {
        Some("leave the dot at the end out: it is implied")
    } else if name.len() > HOST_BYTES_MAX {
        Some("a host has at most 253 characters")
    } else if !name.split('.').all(|label| !label.is_empty() && label.bytes().all(sound)) {
        Some("a host is made of labels of letters, digits, - and _, with single dots between")
    } else {
        None
    };
    cure.map(Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_hosts_pass() {
        for host in ["a", "api.example.com", "*.example.org", "10.0.0.1", "[::1]", "A_b.xn--p1ai"] {
            assert_eq!(unsound_host(host), None, "{host}");
        }
    }

    #[test]
    fn each_mistake_has_its_cure() {
        for (host, cure) in [
            ("*", "leave `hosts` out"),
            ("http://a.b", "without scheme"),
            ("a.b/c", "without scheme"),
            ("a.b:80", "port"),
            ("bücher.de", "xn--"),
            ("a.*.b", "in front"),
            ("*a.b", "in front"),
            ("a.b.", "dot at the end"),
            ("", "labels"),
            ("a..b", "labels"),
            ("*.", "labels"),
            ("a b", "labels"),
        ] {
            assert!(unsound_host(host).is_some_and(|it| it.contains(cure)), "{host}");
        }
    }
}
