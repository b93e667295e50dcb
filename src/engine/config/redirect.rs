//! `redirect`: a place that clients are sent to instead.
//!
//! Invariant: the bytes of a request can only become path and query of the new place, or its host as a
//! whole, so nobody can make a link to us that leads to a place of their own.

use std::borrow::Cow;
use std::fmt;

use proto::uri;

use crate::keys::{ItemKind, KeyRule, Mistake, Shape, Spanned, Value, Written, section};

section! {
    /// A place that clients are sent to instead.
    #[derive(Eq)]
    pub Redirect {
        /// The new place: a URL, or a path on the same host. {path} stands for the path of the
        /// request, {query} for its query with the question mark (nothing if it has none), {host}
        /// for its host without port.
        to: Spanned<RedirectTarget> => KeyRule::required("\"https://new.example.com{path}\"");
        /// The status. With 301 and 302 clients may turn POST into GET, with 303 they must, with 307
        /// and 308 they keep the method. 301 and 308 are permanent and may be cached.
        status: RedirectStatus => KeyRule::default(RedirectStatus(308));
    }
}

/// Redirects are at most this long, with placeholders as they are written.
const TARGET_BYTES_MAX: usize = 2048;

/// The new place of a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectTarget(Vec<LocationPart>);

/// A part of the new place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocationPart {
    /// This text; visible ASCII.
    Text(String),
    /// The path of the request, which begins with a slash.
    Path,
    /// The query of the request with "?" in front, or nothing.
    Query,
    /// The host of the request without port.
    Host,
}

impl RedirectTarget {
    /// Its parts in order.
    #[must_use]
    pub fn parts(&self) -> &[LocationPart] {
        &self.0
    }

    /// Takes a place such as "/new{path}" apart.
    fn of(text: &str) -> Result<Self, Mistake> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(['{', '}']).unwrap_or(rest.len());
            let (before, from) = rest.split_at_checked(end).unwrap_or((rest, ""));
            if !before.is_empty() {
                parts.push(LocationPart::Text(before.to_owned()));
            }
            let Some(behind) = from.strip_prefix('{') else {
                if from.is_empty() {
                    break;
                }
                let what = "a } ends no placeholder";
                return Err(Mistake::with_cure(what, "write %7D for the sign itself"));
            };
            let Some((name, behind)) = behind.split_once('}') else {
                let what = "a placeholder does not end";
                return Err(Mistake::with_cure(what, "close it with }, or write %7B for the sign"));
            };
            parts.push(match name {
                "path" => LocationPart::Path,
                "query" => LocationPart::Query,
                "host" => LocationPart::Host,
                _ => {
                    let what = format!("{{{name}}} is not a placeholder");
                    let cure = "the placeholders are {path}, {query} and {host}";
                    return Err(Mistake::with_cure(what, cure));
                }
            });
            rest = behind;
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for RedirectTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| {
            f.write_str(match part {
                LocationPart::Text(text) => text,
                LocationPart::Path => "{path}",
                LocationPart::Query => "{query}",
                LocationPart::Host => "{host}",
            })
        })
    }
}

impl Value for RedirectTarget {
    fn expected() -> Cow<'static, str> {
        "a URL such as \"https://new.example.com{path}\", or a path such as \"/new{path}\"".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "URL or path", pattern: Some("^(https?://|/)[!-~]*$") }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = kind.text().ok_or(Mistake::KIND)?;
        let text = &text.value;
        if text.len() > TARGET_BYTES_MAX {
            let what = format!("the new place has {} bytes", text.len());
            return Err(Mistake::with_cure(what, format!("write at most {TARGET_BYTES_MAX}")));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let what = format!("\"{}\" is not a URL", text.escape_debug());
            let cure = "write spaces and other characters percent-encoded";
            return Err(Mistake::with_cure(what, cure));
        }
        let target = Self::of(text)?;
        match unsound(text) {
            None => Ok(target),
            Some(cure) => {
                Err(Mistake::with_cure(format!("\"{text}\" is not a place to go to"), cure))
            }
        }
    }

    fn write(&self) -> Written {
        Written::text(self.to_string())
    }
}

/// How to cure a place that no client could go to, or that a client could choose.
fn unsound(text: &str) -> Option<&'static str> {
    let (before, fragment) = text.split_once('#').unwrap_or((text, ""));
    if fragment.contains(['{', '#']) {
        return Some("write placeholders before the fragment");
    }
    let scheme = before.strip_prefix("https://").or_else(|| before.strip_prefix("http://"));
    let Some(behind) = scheme else {
        let path = sample(before);
        return if before.starts_with("{path}") {
            Some("a path may begin with two slashes, and name a host: write https://{host}{path}")
        } else if path.starts_with("//") {
            Some(
                "two slashes at the front make a host of the text behind them: write https:// and a host",
            )
        } else if !path.starts_with('/') {
            Some("begin it with https://, http:// or a slash")
        } else {
            uri::check_path_and_query(path.as_bytes()).err().map(|_| ENCODE)
        };
    };
    let end = ["/", "?", "{path}", "{query}"].iter().filter_map(|it| behind.find(it)).min();
    let (authority, rest) = behind.split_at_checked(end.unwrap_or(behind.len()))?;
    let port = authority.strip_prefix("{host}");
    if authority.contains('{') && !port.is_some_and(|it| it.is_empty() || it.starts_with(':')) {
        return Some("let {host} stand for the whole host, such as https://{host}{path}");
    }
    if authority.ends_with(':') || uri::check_authority(sample(authority).as_bytes()).is_err() {
        return Some("write a host, and perhaps a port, behind the scheme");
    }
    let rest = sample(rest);
    // A URL may end with its host, or have a query right behind it.
    let rest = if rest.starts_with('/') { rest } else { format!("/{rest}") };
    uri::check_path_and_query(rest.as_bytes()).err().map(|_| ENCODE)
}

const ENCODE: &str = "write \", <, > and \\ percent-encoded";

/// A text that the template could become.
fn sample(text: &str) -> String {
    text.replace("{path}", "/p").replace("{query}", "?q").replace("{host}", "host.example")
}

/// The status of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectStatus(pub u16);

/// Those that make clients go on (RFC 9110 section 15.4).
const STATUSES: &[u16] = &[301, 302, 303, 307, 308];

impl Value for RedirectStatus {
    fn expected() -> Cow<'static, str> {
        "301, 302, 303, 307 or 308".into()
    }

    fn shape() -> Shape {
        Shape::Integers(STATUSES)
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let status = u32::parse(kind)?;
        let known = STATUSES.iter().find(|&&it| u32::from(it) == status);
        known.map(|&it| Self(it)).ok_or_else(|| Mistake::value(format!("{status} is no redirect")))
    }

    fn write(&self) -> Written {
        Written::Integer(i64::from(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::ItemText;

    fn target(text: &str) -> Result<RedirectTarget, Mistake> {
        RedirectTarget::parse(&ItemKind::Text(ItemText { value: text.into(), secret: false }))
    }

    #[test]
    fn a_target_is_taken_apart_and_put_together_again() {
        use LocationPart::{Host, Path, Query, Text};
        let parts = target("https://{host}:8443/x{path}{query}#top").unwrap();
        let text = |text: &str| Text(text.to_owned());
        assert_eq!(
            parts.parts(),
            [text("https://"), Host, text(":8443/x"), Path, Query, text("#top")]
        );
        for text in [
            "https://new.example.com{path}",
            "http://a",
            "https://a?b={host}",
            "https://a{query}",
            "https://[::1]:80/",
            "/new{path}{query}",
            "/",
            "/a?b=c#d",
        ] {
            assert_eq!(target(text).map(|it| it.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_leads_nowhere_or_where_a_client_wants_is_refused() {
        for (text, cure) in [
            ("", "begin it"),
            ("new.example.com", "begin it"),
            ("ftp://a/", "begin it"),
            ("{host}/x", "begin it"),
            ("{path}", "https://{host}{path}"),
            ("//evil.example/x", "two slashes"),
            ("/{path}", "two slashes"),
            ("https://", "write a host"),
            ("https:///x", "write a host"),
            ("https://user@a/", "write a host"),
            ("https://a:port/", "write a host"),
            ("https://a.example{host}/", "whole host"),
            ("https://{host}.example/", "whole host"),
            ("https://a/<b>", "percent"),
            ("https://a/b c", "percent"),
            ("https://a/\r\nx: y", "percent"),
            ("https://ü/", "percent"),
            ("https://a/{uri}", "{path}, {query} and {host}"),
            ("https://a/{path", "close it"),
            ("https://a/path}", "%7D"),
            ("/a#{path}", "before the fragment"),
        ] {
            let Err(Mistake::Value { cure: Some(given), .. }) = target(text) else {
                panic!("{text} passes")
            };
            assert!(given.contains(cure), "{text}: {given}");
        }
    }
}
