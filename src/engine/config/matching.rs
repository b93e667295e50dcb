//! `match`: which requests a route is for.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use proto::head::{Method as KnownMethod, is_token};
use proto::path;

use super::collection::Spanned;
use super::section::{Mistake, Rule, Scalar, Value, section};
use super::shape::{Choice, Shape};
use super::tree::{Kind, Node};
use super::walk::Walk;
use super::written::Written;
use crate::router::HOST_BYTES_MAX;

section! {
    /// Which requests a route is for: those that every key here takes. Where several routes take a
    /// request, the most specific one gets it: an exact host before the longest "*.suffix" before
    /// any host, then an exact path before the longest prefix, then a route that names the method
    /// before one that takes any. Two routes that are equal in all of this are an error.
    MatchKeys {
        /// Hosts, exact or "*.suffix", which takes any host that ends so with at least one label
        /// in front. Case does not matter, and neither does the port. Absent: any.
        hosts: Option<Spanned<Vec<Spanned<Host>>>>
            => Rule::optional("[\"api.example.com\", \"*.example.org\"]");
        /// The whole path, without query, in the normal form (see `path` of listeners). Not beside
        /// `path_prefix`.
        path: Option<Spanned<Path>> => Rule::optional("\"/maintenance\"");
        /// The beginning of the path, in whole segments: "/users" is for "/users" and "/users/1",
        /// not for "/usersx". Absent, with `path` absent too: any path.
        path_prefix: Option<Spanned<PathPrefix>> => Rule::optional("\"/users\"");
        /// Methods, as clients send them: in upper case. Absent: any.
        methods: Option<Spanned<Vec<Spanned<Method>>>> => Rule::optional("[\"GET\", \"POST\"]");
    }
}

/// Paths are at most this long: the tree of routes has a level per segment.
const PATH_BYTES_MAX: usize = 1024;

/// Which requests a route is for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    /// Hosts; absent: any. Never empty in a checked model.
    pub hosts: Option<Spanned<Vec<Spanned<Host>>>>,
    /// The path or the beginning of it; absent: any.
    pub path: Option<Spanned<PathRule>>,
    /// Methods; absent: any. Never empty in a checked model.
    pub methods: Option<Spanned<Vec<Spanned<Method>>>>,
}

/// Which paths a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRule {
    /// This one, byte for byte.
    Exact(String),
    /// This one and what lies below it, in whole segments; a slash at its end does not count.
    Prefix(String),
}

impl AsRef<str> for PathRule {
    fn as_ref(&self) -> &str {
        match self {
            Self::Exact(path) | Self::Prefix(path) => path,
        }
    }
}

impl Value for Match {
    fn expected() -> Cow<'static, str> {
        MatchKeys::expected()
    }

    fn shape() -> Shape {
        MatchKeys::shape().with_choice(Choice::AtMostOne(&["path", "path_prefix"]))
    }

    fn read<'n>(node: &'n Node<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        let MatchKeys { hosts, path, path_prefix, methods } = MatchKeys::read(node, walk)?;
        let path = match (path, path_prefix) {
            (Some(path), Some(prefix)) => {
                let texts = walk.texts;
                let what = format!("`{}` has both `path` and `path_prefix`", walk.path());
                walk.report(prefix.span, what, |it| {
                    it.because("takes what `path` takes, and more")
                        .also(texts, path.span, "the exact path")
                        .cured_by("leave one out, or make two routes of it")
                });
                return None;
            }
            (Some(path), None) => Some(path.map(|path| PathRule::Exact(path.0))),
            (None, Some(prefix)) => Some(prefix.map(|prefix| PathRule::Prefix(prefix.0))),
            (None, None) => None,
        };
        Some(Self { hosts, path, methods })
    }

    fn write(&self) -> Written {
        let (path, path_prefix) = match &self.path {
            Some(path) => match PathRule::clone(path) {
                PathRule::Exact(exact) => (Some(path.with(Path(exact))), None),
                PathRule::Prefix(prefix) => (None, Some(path.with(PathPrefix(prefix)))),
            },
            None => (None, None),
        };
        let (hosts, methods) = (self.hosts.clone(), self.methods.clone());
        MatchKeys { hosts, path, path_prefix, methods }.write()
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

impl Scalar for Host {
    fn wanted() -> Cow<'static, str> {
        "a host such as \"api.example.com\" or \"*.example.com\"".into()
    }

    fn form() -> Shape {
        let pattern = Some(r"^((\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])$");
        Shape::Text { noun: "host", pattern }
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        let Kind::Text(text) = kind else {
            return Err(Mistake::Kind);
        };
        let text = &text.value;
        match unsound_host(text) {
            None => Ok(Self(text.to_string())),
            Some(cure) => Err(Mistake::with_cure(format!("\"{text}\" is not a host"), cure)),
        }
    }

    fn show(&self) -> Written {
        Written::text(&self.0)
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

/// A whole path, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Path(String);

impl Scalar for Path {
    fn wanted() -> Cow<'static, str> {
        "a path such as \"/maintenance\"".into()
    }

    fn form() -> Shape {
        Shape::Text { noun: "path", pattern: Some(r"^/[!$-)+-;=@-\[\]-~]*$") }
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        sound_path(
            kind,
            "a path",
            "leave the star out: `path` is for one path, `path_prefix` for more",
        )
        .map(Self)
    }

    fn show(&self) -> Written {
        Written::text(&self.0)
    }
}

/// The beginning of a path, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PathPrefix(String);

impl Scalar for PathPrefix {
    fn wanted() -> Cow<'static, str> {
        "a path such as \"/users\"".into()
    }

    fn form() -> Shape {
        Path::form()
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        sound_path(kind, "a path prefix", "leave the star out: a prefix takes everything below it")
            .map(Self)
    }

    fn show(&self) -> Written {
        Written::text(&self.0)
    }
}

fn sound_path(kind: &Kind, noun: &str, no_star: &'static str) -> Result<String, Mistake> {
    let Kind::Text(text) = kind else {
        return Err(Mistake::Kind);
    };
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

impl Scalar for Method {
    fn wanted() -> Cow<'static, str> {
        "a method such as \"GET\"".into()
    }

    fn form() -> Shape {
        Shape::Text { noun: "method", pattern: Some("^[!#$%&'*+.^_`|~0-9A-Z-]{1,32}$") }
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        let Kind::Text(text) = kind else {
            return Err(Mistake::Kind);
        };
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

    fn show(&self) -> Written {
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
