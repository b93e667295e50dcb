//! `[routes.NAME]`: a match rule and its destination.

use std::net::Ipv6Addr;

use super::section::{Rule, Spanned, Value, Walk, section};
use super::tree::{Kind, Node};
use crate::router::HOST_BYTES_MAX;

section! {
    /// A match rule and its destination.
    pub Route {
        /// Which requests it is for. Absent: all.
        matches = "match": Match => Rule::section();
        /// The upstream that its requests go to.
        upstream: Spanned<String> => Rule::required("upstream = \"NAME\"");
    }
}

section! {
    /// Which requests a route is for.
    pub Match {
        /// Hosts, exact or "*.suffix". Absent: any.
        hosts: Option<Spanned<Vec<Spanned<Host>>>> => Rule::default(None);
        /// The beginning of the path, in whole segments: "/users" is for "/users" and "/users/1",
        /// not for "/usersx". Absent: "/".
        path_prefix: Option<Spanned<PathPrefix>> => Rule::default(None);
    }
}

/// Prefixes are at most this long: the tree of routes has a level per segment.
const PREFIX_BYTES_MAX: usize = 1024;

/// A host, exact or "*.suffix", as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(pub String);

impl Value for Host {
    const EXPECTED: &'static str = "a host such as \"api.example.com\" or \"*.example.com\"";

    fn read(node: &Node, walk: &mut Walk) -> Option<Self> {
        let Kind::Text(text) = &node.kind else {
            return walk.wrong_kind(node);
        };
        let Some(cure) = unsound_host(text) else {
            return Some(Self(text.clone()));
        };
        walk.report(&node.span, format!("\"{text}\" is not a host"), |it| {
            it.why(format!("expected {}", Self::EXPECTED)).cure(cure)
        });
        None
    }
}

/// How to cure a host that no request could have.
fn unsound_host(text: &str) -> Option<&'static str> {
    let literal = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if literal.is_some_and(|literal| literal.parse::<Ipv6Addr>().is_ok()) {
        return None;
    }
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let name = text.strip_prefix("*.").unwrap_or(text);
    if text == "*" {
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
    }
}

/// The beginning of a path, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPrefix(pub String);

impl Value for PathPrefix {
    const EXPECTED: &'static str = "a path such as \"/users\"";

    fn read(node: &Node, walk: &mut Walk) -> Option<Self> {
        let Kind::Text(text) = &node.kind else {
            return walk.wrong_kind(node);
        };
        let Some(cure) = unsound_prefix(text) else {
            return Some(Self(text.clone()));
        };
        walk.report(&node.span, format!("\"{text}\" is not a path prefix"), |it| {
            it.why(format!("expected {}", Self::EXPECTED)).cure(cure)
        });
        None
    }
}

/// How to cure a prefix that no path could have.
fn unsound_prefix(text: &str) -> Option<&'static str> {
    let segments = || text.split('/').skip(1);
    if !text.starts_with('/') {
        Some("begin it with a slash")
    } else if text.len() > PREFIX_BYTES_MAX {
        Some("a prefix has at most 1024 characters")
    } else if text.contains(['?', '#']) {
        Some("leave query and fragment out: routes look at the path alone")
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some("write other characters percent-encoded, as clients send them")
    } else if text.contains('*') {
        Some("leave the star out: a prefix takes everything below it")
    } else if text.contains("//") {
        Some("write single slashes")
    } else if segments().any(|segment| segment == "." || segment == "..") {
        Some("write the path without . and .. segments")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_hosts_and_prefixes_pass() {
        for host in ["a", "api.example.com", "*.example.org", "10.0.0.1", "[::1]", "A_b.xn--p1ai"] {
            assert_eq!(unsound_host(host), None, "{host}");
        }
        for prefix in ["/", "/users", "/users/", "/a/b.c/%20~x", "/.well-known", "/..."] {
            assert_eq!(unsound_prefix(prefix), None, "{prefix}");
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
        for (prefix, cure) in [
            ("", "slash"),
            ("users", "begin"),
            ("/a?b", "query"),
            ("/a b", "percent"),
            ("/ü", "percent"),
            ("/a/*", "star"),
            ("/a//b", "single"),
            ("/a/../b", ".."),
        ] {
            assert!(unsound_prefix(prefix).is_some_and(|it| it.contains(cure)), "{prefix}");
        }
    }
}
