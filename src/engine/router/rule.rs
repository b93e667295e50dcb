//! A rule: one combination of host, path and method that a route takes, and its rank among others.
//!
//! This is the meaning of the router, one rule at a time. The tree gives the same result without a look
//! at every rule; a test compares the two. `ringway explain` and `check` use the rules themselves.

use std::borrow::Cow;

use crate::pattern::BytesRegex;

/// One combination of host, path and method that a route takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RouteRule<'r> {
    pub(crate) host: HostPattern<'r>,
    pub(crate) path: PathPattern<'r>,
    /// The method in the case in which clients send it; `None` for any method.
    pub(crate) method: Option<&'r str>,
    /// The highest goes first.
    pub(crate) priority: i32,
    /// The number of the other predicates.
    pub(crate) predicates: u32,
    /// The number of the route.
    pub(crate) route: u32,
}

/// The hosts that a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HostPattern<'r> {
    /// This host.
    Exact(&'r str),
    /// Every host with at least one label in front of this suffix.
    Wildcard(&'r str),
    /// Every host, and requests without one.
    Any,
}

/// The paths that a route takes. All begin with a slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathPattern<'r> {
    /// This path, byte for byte.
    Exact(&'r str),
    /// Paths with these segments, of which some are parameters: see [`SegmentPattern`].
    Parameters(&'r str),
    /// Paths that this expression matches, which is anchored at both ends.
    Regex(&'r BytesRegex),
    /// This path and all paths below it; a slash at its end does not count. "/" takes every path, and
    /// a target that is no path ("*" of OPTIONS).
    Prefix(&'r str),
}

/// A segment of a path with parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentPattern<'r> {
    /// This segment.
    Literal(&'r str),
    /// `{name}`: any segment that is not empty.
    Parameter(&'r str),
    /// `{*name}`: the rest of the path, which may be empty.
    Rest(&'r str),
}

/// The rank of a rule. Of the rules that take a request, the one with the highest rank gets it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Rank<'r> {
    /// See [`RouteRule::priority`].
    pub(crate) priority: i32,
    /// See [`HostRank`].
    pub(crate) host: HostRank,
    /// See [`PathRank`].
    pub(crate) path: PathRank<'r>,
    /// The number of other predicates.
    pub(crate) predicates: u32,
    /// Whether the rule names the method.
    pub(crate) names_method: bool,
}

/// The rank of a host. Two wildcards that take one host are suffixes of each other, so the longer one
/// has more labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum HostRank {
    Any,
    /// The length of the suffix, in bytes.
    Wildcard(usize),
    Exact,
}

/// The rank of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PathRank<'r> {
    /// The length, in bytes, without a slash at the end.
    Prefix(usize),
    /// The length of the expression, in bytes. Of equally long ones the last in the alphabet goes
    /// first: any order would do that is always the same.
    Regex(usize, &'r str),
    /// The kinds of the segments, from the left.
    Parameters(Vec<SegmentRank>),
    Exact,
}

/// The rank of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum SegmentRank {
    Rest,
    Parameter,
    Literal,
}

impl<'r> RouteRule<'r> {
    /// Its place among the rules that take a request.
    pub(crate) fn rank(&self) -> Rank<'r> {
        Rank {
            priority: self.priority,
            host: match self.host {
                HostPattern::Exact(_) => HostRank::Exact,
                HostPattern::Wildcard(suffix) => HostRank::Wildcard(suffix.len()),
                HostPattern::Any => HostRank::Any,
            },
            path: self.path.rank(),
            predicates: self.predicates,
            names_method: self.method.is_some(),
        }
    }
}

impl<'r> HostPattern<'r> {
    /// Reads "host" or "*.suffix".
    pub(crate) fn of(text: &'r str) -> Self {
        text.strip_prefix("*.").map_or(Self::Exact(text), Self::Wildcard)
    }

    /// The host or the suffix in lower case; empty for any host.
    pub(crate) fn key(&self) -> Cow<'r, str> {
        match *self {
            Self::Exact(text) | Self::Wildcard(text) => {
                if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    text.to_ascii_lowercase().into()
                } else {
                    text.into()
                }
            }
            Self::Any => "".into(),
        }
    }

    /// Whether it is certain that it takes every host that `other` takes.
    pub(crate) fn covers(&self, other: &HostPattern<'_>) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, HostPattern::Any) => false,
            (_, HostPattern::Exact(host)) => self.takes(host.as_bytes()),
            (Self::Wildcard(_), HostPattern::Wildcard(suffix)) => {
                self.key() == other.key() || self.takes(suffix.as_bytes())
            }
            (Self::Exact(_), HostPattern::Wildcard(_)) => false,
        }
    }

    /// Whether it takes `host`, as sent, without port.
    pub(crate) fn takes(&self, host: &[u8]) -> bool {
        // "example.com." names the same host as "example.com".
        let host = host.strip_suffix(b".").unwrap_or(host);
        match self {
            Self::Any => true,
            Self::Exact(name) => host.eq_ignore_ascii_case(name.as_bytes()),
            Self::Wildcard(suffix) => {
                let end = host.len().checked_sub(suffix.len() + 1).and_then(|at| host.get(at..));
                end.and_then(|end| end.strip_prefix(b"."))
                    .is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes()))
            }
        }
    }
}

impl<'r> PathPattern<'r> {
    /// Whether it takes `path`, in the form of the listener.
    pub(crate) fn takes(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => path == exact.as_bytes(),
            Self::Prefix(prefix) => {
                let prefix = prefix.strip_suffix('/').unwrap_or(prefix).as_bytes();
                let rest = path.strip_prefix(prefix);
                rest.is_some_and(|it| prefix.is_empty() || it.is_empty() || it.starts_with(b"/"))
            }
            Self::Regex(regex) => path.starts_with(b"/") && regex.is_match(path),
            Self::Parameters(pattern) => walk(pattern, path, |_, _| {}),
        }
    }

    /// Whether it is certain that it takes every path that `other` takes.
    pub(crate) fn covers(&self, other: &PathPattern<'_>) -> bool {
        match (self, other) {
            (Self::Exact(one), PathPattern::Exact(other)) => one == other,
            (Self::Regex(one), PathPattern::Regex(other)) => one == other,
            (Self::Regex(_) | Self::Parameters(_), PathPattern::Exact(path)) => {
                self.takes(path.as_bytes())
            }
            (Self::Parameters(one), PathPattern::Parameters(other)) => {
                covers_segments(one.split('/'), other.split('/'))
            }
            // A pattern that takes the prefix itself by its rest takes all below it, too.
            (Self::Parameters(one), PathPattern::Prefix(prefix)) => {
                let last = one.rsplit('/').next().map(SegmentPattern::of);
                matches!(last, Some(SegmentPattern::Rest(_)))
                    && self.takes(prefix.strip_suffix('/').unwrap_or(prefix).as_bytes())
            }
            (Self::Prefix(prefix), other) => {
                let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
                match *other {
                    _ if prefix.is_empty() => true,
                    PathPattern::Exact(path) | PathPattern::Parameters(path) => {
                        // Parameters hold braces, which no prefix does.
                        self.takes(path.as_bytes())
                    }
                    PathPattern::Prefix(path) => self.takes(path.as_bytes()),
                    PathPattern::Regex(_) => false,
                }
            }
            _ => false,
        }
    }

    /// Its place among the paths of the same host.
    pub(crate) fn rank(&self) -> PathRank<'r> {
        match *self {
            Self::Exact(_) => PathRank::Exact,
            Self::Prefix(prefix) => {
                PathRank::Prefix(prefix.strip_suffix('/').unwrap_or(prefix).len())
            }
            Self::Regex(regex) => PathRank::Regex(regex.as_str().len(), regex.as_str()),
            Self::Parameters(pattern) => {
                let rank = |segment| match SegmentPattern::of(segment) {
                    SegmentPattern::Literal(_) => SegmentRank::Literal,
                    SegmentPattern::Parameter(_) => SegmentRank::Parameter,
                    SegmentPattern::Rest(_) => SegmentRank::Rest,
                };
                PathRank::Parameters(pattern.split('/').skip(1).map(rank).collect())
            }
        }
    }

    /// The text by which two patterns of the same kind are the same: names of parameters and a slash
    /// at the end of a prefix do not count.
    pub(crate) fn key(&self) -> Cow<'r, str> {
        match *self {
            Self::Exact(path) => path.into(),
            Self::Prefix(prefix) => prefix.strip_suffix('/').unwrap_or(prefix).into(),
            Self::Regex(regex) => regex.as_str().into(),
            Self::Parameters(pattern) => {
                let key = |segment| match SegmentPattern::of(segment) {
                    SegmentPattern::Literal(text) => text,
                    SegmentPattern::Parameter(_) => "{}",
                    SegmentPattern::Rest(_) => "{*}",
                };
                pattern.split('/').map(key).collect::<Vec<_>>().join("/").into()
            }
        }
    }
}

/// Whether the segments of one pattern take all that those of another one take.
fn covers_segments<'s>(
    mut one: impl Iterator<Item = &'s str>,
    mut other: impl Iterator<Item = &'s str>,
) -> bool {
    loop {
        let (one, other) = match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) => (SegmentPattern::of(one), SegmentPattern::of(other)),
            _ => return false,
        };
        let covers = match (one, other) {
            (SegmentPattern::Rest(_), _) => return true,
            (SegmentPattern::Literal(one), SegmentPattern::Literal(other)) => one == other,
            (SegmentPattern::Parameter(_), SegmentPattern::Literal(text)) => !text.is_empty(),
            (SegmentPattern::Parameter(_), SegmentPattern::Parameter(_)) => true,
            _ => false,
        };
        if !covers {
            return false;
        }
    }
}

impl<'r> SegmentPattern<'r> {
    /// Reads a segment as it is written.
    pub(crate) fn of(text: &'r str) -> Self {
        match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            Some(name) if !name.contains(['{', '}']) => match name.strip_prefix('*') {
                Some(name) => Self::Rest(name),
                None => Self::Parameter(name),
            },
            _ => Self::Literal(text),
        }
    }
}

/// Whether a path with parameters takes `path`. Calls `found` with each parameter on the way, its name
/// and its bytes; those of a path that is not taken mean nothing.
pub(super) fn walk<'r, 'p>(
    pattern: &'r str,
    path: &'p [u8],
    mut found: impl FnMut(&'r str, &'p [u8]),
) -> bool {
    let mut rest = path.strip_prefix(b"/");
    for segment in pattern.split('/').skip(1) {
        let Some(behind) = rest else { return false };
        let slash = memchr::memchr(b'/', behind);
        let (given, next) = match slash {
            Some(at) => (behind.get(..at).unwrap_or_default(), behind.get(at + 1..)),
            None => (behind, None),
        };
        match SegmentPattern::of(segment) {
            SegmentPattern::Literal(text) if given != text.as_bytes() => return false,
            SegmentPattern::Literal(_) => {}
            SegmentPattern::Parameter(_) if given.is_empty() => return false,
            SegmentPattern::Parameter(name) => found(name, given),
            SegmentPattern::Rest(name) => {
                found(name, behind);
                return true;
            }
        }
        rest = next;
    }
    rest.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_covers_those_that_it_is_sure_to_take() {
        let (any, digits) =
            (BytesRegex::whole(".*").unwrap(), BytesRegex::whole("/[0-9]").unwrap());
        use PathPattern::{Exact, Parameters, Prefix, Regex};
        for (one, other, expected) in [
            (Prefix("/"), Regex(&digits), true),
            (Prefix("/a"), Exact("/a/b"), true),
            (Prefix("/a/"), Prefix("/a"), true),
            (Prefix("/a"), Prefix("/ab"), false),
            (Prefix("/a"), Parameters("/a/{x}"), true),
            (Prefix("/a"), Parameters("/{x}/b"), false),
            (Prefix("/a"), Regex(&digits), false),
            (Parameters("/{x}"), Exact("/a"), true),
            (Parameters("/{x}"), Exact("/a/b"), false),
            (Parameters("/{x}/{*r}"), Parameters("/a/{y}/c"), true),
            (Parameters("/{x}/b"), Parameters("/a/{y}"), false),
            (Parameters("/a/{*r}"), Prefix("/a/b"), true),
            (Parameters("/a/{*r}"), Prefix("/a"), false),
            (Parameters("/a/{x}"), Prefix("/a/b"), false),
            (Regex(&digits), Exact("/1"), true),
            (Regex(&digits), Regex(&digits), true),
            (Regex(&any), Prefix("/a"), false),
            (Exact("/a"), Exact("/a"), true),
            (Exact("/a"), Prefix("/a"), false),
        ] {
            assert_eq!(one.covers(&other), expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_host_covers_those_that_it_is_sure_to_take() {
        for (one, other, expected) in [
            ("*.b.c", "a.B.c", true),
            ("*.c", "*.b.c", true),
            ("*.b.c", "*.B.c", true),
            ("*.b.c", "*.c", false),
            ("a.b", "A.b", true),
            ("a.b", "*.b", false),
        ] {
            assert_eq!(
                HostPattern::of(one).covers(&HostPattern::of(other)),
                expected,
                "{one} {other}"
            );
        }
        assert!(HostPattern::Any.covers(&HostPattern::of("*.b")));
        assert!(!HostPattern::of("*.b").covers(&HostPattern::Any));
    }
}
