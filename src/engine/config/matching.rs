//! `match`: the requests that a route is for.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use proto::head::{Method as KnownMethod, is_token};
use proto::path;

use crate::keys::{
    AtMostOne, ItemKind, KeyRule, Mistake, Shape, Spanned, Value, Written, one_of, section,
};
use crate::router::HOST_BYTES_MAX;

section! {
    /// The requests that a route is for: those that fit every key here. When a request fits several
    /// routes, the most specific one gets it: an exact host before the longest "*.suffix" before
    /// any host, then an exact path before the longest prefix, then a route that names the method
    /// before one for any method. Two routes that are equal in all of this are an error.
    pub settings Match {
        /// Hosts, exact or "*.suffix". The latter stands for any host that ends so, with at least one
        /// label in front. Case and port do not matter. Absent: any.
        hosts: Option<Spanned<Vec<Spanned<Host>>>>
            => KeyRule::optional("[\"api.example.com\", \"*.example.org\"]");
        /// The path or the beginning of it. Absent: any.
        path: Option<Spanned<PathRule>> => AtMostOne;
        /// Methods, in upper case as clients send them. Absent: any.
        methods: Option<Spanned<Vec<Spanned<Method>>>> => KeyRule::optional("[\"GET\", \"POST\"]");
    }
}

/// Paths are at most this long: the tree of routes has a level per segment.
const PATH_BYTES_MAX: usize = 1024;

one_of! {
    /// The paths that a route is for.
    #[derive(Eq)]
    pub PathRule {
        /// The whole path, without query, in the normal form (see `path` of listeners).
        Exact = "path": Path => KeyRule::optional("\"/maintenance\"");
        /// The beginning of the path, in whole segments: "/users" is for "/users" and "/users/1",
        /// not for "/usersx". Absent, with `path` absent too: any path.
        Prefix = "path_prefix": PathPrefix => KeyRule::optional("\"/users\"");
    }
}

impl AsRef<str> for PathRule {
    fn as_ref(&self) -> &str {
        match self {
            Self::Exact(Path(path)) | Self::Prefix(PathPrefix(path)) => path,
        }
    }
}

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

/// A whole path, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(pub String);

impl Value for Path {
    fn expected() -> Cow<'static, str> {
        "a path such as \"/maintenance\"".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "path", pattern: Some(r"^/[!$-)+-;=@-\[\]-~]*$") }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        sound_path(
            kind,
            "a path",
            "leave the star out: `path` is for one path, `path_prefix` for more",
        )
        .map(Self)
    }

    fn write(&self) -> Written {
        Written::text(&self.0)
    }
}

/// The beginning of a path, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPrefix(pub String);

impl Value for PathPrefix {
    fn expected() -> Cow<'static, str> {
        "a path such as \"/users\"".into()
    }

    fn shape() -> Shape {
        Path::shape()
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        sound_path(kind, "a path prefix", "leave the star out: a prefix takes everything below it")
            .map(Self)
    }

    fn write(&self) -> Written {
        Written::text(&self.0)
    }
}

fn sound_path(kind: &ItemKind<'_>, noun: &str, no_star: &'static str) -> Result<String, Mistake> {
    let text = kind.text().ok_or(Mistake::KIND)?;
    let text = &text.value;
    match unsound_path(text, no_star) {
        None => Ok(text.to_string()),
        Some(cure) => Err(Mistake::with_cure(format!("\"{text}\" is not {noun}"), cure)),
    }
}

/// How to cure a path that no request could have.
fn unsound_path(text: &str, no_star: &'static str) -> Option<Cow<'static, str>> {
    let segments = || text.split('/').skip(1);
    let cure = if !text.starts_with('/') {
        Some("begin it with a slash")
    } else if text.len() > PATH_BYTES_MAX {
        Some("write at most 1024 characters")
    } else if text.contains(['?', '#']) {
        Some("leave query and fragment out: routes look at the path alone")
    } else if text.contains('*') {
        Some(no_star)
    } else if proto::uri::check_path_and_query(text.as_bytes()).is_err() {
        Some("write other characters percent-encoded, as clients send them")
    } else if text.contains("//") {
        Some("write single slashes")
    } else if segments().any(|segment| segment == "." || segment == "..") {
        Some("write the path without . and .. segments")
    } else {
        None
    };
    cure.map(Cow::Borrowed).or_else(|| not_normal(text))
}

/// How to cure a path that is not in the form in which requests are matched.
fn not_normal(text: &str) -> Option<Cow<'static, str>> {
    let Ok(normal) = path::settled(text.as_bytes(), path::Rules::default()) else {
        return Some("write two hex digits behind each %, not %00, and no dots beside %2F".into());
    };
    let normal = String::from_utf8_lossy(&normal);
    (normal != text)
        .then(|| format!("write \"{normal}\": requests are matched in that form").into())
}

/// A request method, as written. Case counts (RFC 9110 section 9.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Method(pub String);

impl AsRef<str> for Method {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Methods are at most this long: the longest registered one has 17 letters.
const METHOD_BYTES_MAX: usize = 32;

impl Value for Method {
    fn expected() -> Cow<'static, str> {
        "a method such as \"GET\"".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "method", pattern: Some("^[!#$%&'*+.^_`|~0-9A-Z-]{1,32}$") }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = kind.text().ok_or(Mistake::KIND)?;
        let text = &text.value;
        if !is_token(text.as_bytes()) || text.len() > METHOD_BYTES_MAX {
            return Err(Mistake::value(format!("\"{text}\" is not a method")));
        }
        let upper = text.to_ascii_uppercase();
        if *text != upper {
            let what = format!("no client sends the method \"{text}\"");
            return Err(Mistake::with_cure(what, format!("write \"{upper}\": case counts")));
        }
        if KnownMethod::of(text.as_bytes()) == KnownMethod::Connect {
            let what = "CONNECT is not served, by any route";
            return Err(Mistake::with_cure(what, "leave it out"));
        }
        Ok(Self(upper))
    }

    fn write(&self) -> Written {
        Written::text(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsound_prefix(text: &str) -> Option<Cow<'static, str>> {
        unsound_path(text, "leave the star out")
    }

    #[test]
    fn sound_hosts_and_prefixes_pass() {
        for host in ["a", "api.example.com", "*.example.org", "10.0.0.1", "[::1]", "A_b.xn--p1ai"] {
            assert_eq!(unsound_host(host), None, "{host}");
        }
        for prefix in ["/", "/users", "/users/", "/a/b.c/%20~x", "/.well-known", "/...", "/a%2Fb"] {
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
            ("/%7ea", "write \"/~a\""),
            ("/%c3%A9", "write \"/%C3%A9\""),
            ("/a/%2e%2E/b", "write \"/b\""),
            ("/a%", "hex"),
            ("/a%00", "hex"),
        ] {
            assert!(unsound_prefix(prefix).is_some_and(|it| it.contains(cure)), "{prefix}");
        }
    }
}
