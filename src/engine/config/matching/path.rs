//! `match.path`, `path_prefix` and `path_regex`: paths that a route is for.

use std::borrow::Cow;
use std::collections::HashSet;

use proto::path;

use crate::keys::{ItemKind, KeyRule, Mistake, Shape, Value, Written, one_of};
use crate::pattern::BytesRegex;
use crate::router::{PathPattern, SegmentPattern};

/// Paths are at most this long: the tree of routes has a level per segment.
const PATH_BYTES_MAX: usize = 1024;

one_of! {
    /// The paths that a route is for.
    #[derive(Eq)]
    pub PathRule {
        /// The whole path, without query, in the normal form (see `path` of listeners). {name} stands
        /// for one segment, which is not empty, and {*name} at the end for the rest, which may be
        /// empty: "/items/{id}/{*rest}".
        Whole = "path": Path => KeyRule::optional("\"/items/{id}\"");
        /// The beginning of the path, in whole segments: "/users" is for "/users" and "/users/1",
        /// not for "/usersx". Absent, with `path` and `path_regex` absent too: any path.
        Prefix = "path_prefix": PathPrefix => KeyRule::optional("\"/users\"");
        /// A regular expression for the whole path. Its named groups are parameters. The time is
        /// linear in the path; each such route of a host is tried in turn, so use them where the
        /// other keys cannot say it.
        Regex = "path_regex": PathRegex => KeyRule::optional("\"/v[0-9]+/(?<id>[a-z]+)\"");
    }
}

impl PathRule {
    /// The paths as the router compares them.
    pub(crate) fn pattern(&self) -> PathPattern<'_> {
        match self {
            Self::Whole(Path(path)) if path.contains('{') => PathPattern::Parameters(path),
            Self::Whole(Path(path)) => PathPattern::Exact(path),
            Self::Prefix(PathPrefix(path)) => PathPattern::Prefix(path),
            Self::Regex(PathRegex(regex)) => PathPattern::Regex(regex),
        }
    }
}

impl AsRef<str> for PathRule {
    fn as_ref(&self) -> &str {
        match self {
            Self::Whole(Path(path)) | Self::Prefix(PathPrefix(path)) => path,
            Self::Regex(PathRegex(regex)) => regex.written(),
        }
    }
}

/// A whole path, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(pub String);

impl Value for Path {
    fn expected() -> Cow<'static, str> {
        "a path such as \"/maintenance\" or \"/items/{id}\"".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "path", pattern: Some(r"^/[!$-;=@-\[\]-~]*$") }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        sound_path(kind, "a path", "write {*rest} as the last segment for the rest of the path")
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
        let text = kind.text().ok_or(Mistake::KIND)?;
        if text.value.contains(['{', '}']) {
            let path = text.value.trim_end_matches('/');
            let what = format!("\"{}\" is not a path prefix", text.value);
            let cure = format!("a prefix has no parameters: write path = \"{path}/{{*rest}}\"");
            return Err(Mistake::with_cure(what, cure));
        }
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
    let cure = unsound_parameters(text)
        .map(Cow::Borrowed)
        .or_else(|| unsound_path(&without_parameters(text), no_star));
    match cure {
        None => Ok(text.to_string()),
        Some(cure) => Err(Mistake::with_cure(format!("\"{text}\" is not {noun}"), cure)),
    }
}

/// The path with a plain segment in place of each parameter.
fn without_parameters(text: &str) -> Cow<'_, str> {
    if !text.contains('{') {
        return text.into();
    }
    let plain = |segment| match SegmentPattern::of(segment) {
        SegmentPattern::Literal(text) => text,
        SegmentPattern::Parameter(_) | SegmentPattern::Rest(_) => "x",
    };
    text.split('/').map(plain).collect::<Vec<_>>().join("/").into()
}

/// How to cure a path whose braces are no parameters.
fn unsound_parameters(text: &str) -> Option<&'static str> {
    let mut names = HashSet::new();
    let mut segments = text.split('/').peekable();
    while let Some(segment) = segments.next() {
        let name = match SegmentPattern::of(segment) {
            SegmentPattern::Literal(text) if text.contains(['{', '}']) => {
                return Some("let a parameter such as {id} be a whole segment");
            }
            SegmentPattern::Literal(_) => continue,
            SegmentPattern::Rest(_) if segments.peek().is_some() => {
                return Some("write {*name} as the last segment");
            }
            SegmentPattern::Parameter(name) | SegmentPattern::Rest(name) => name,
        };
        let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if name.is_empty() || !name.bytes().all(sound) {
            return Some("give a parameter a name of a-z, 0-9 and _");
        }
        if !names.insert(name) {
            return Some("give the second parameter another name");
        }
    }
    None
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

/// A regular expression for whole paths: anchored at both ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRegex(BytesRegex);

impl Value for PathRegex {
    fn expected() -> Cow<'static, str> {
        "a regular expression such as \"/v[0-9]+/.*\"".into()
    }

    fn shape() -> Shape {
        BytesRegex::shape()
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = &kind.text().ok_or(Mistake::KIND)?.value;
        let regex = BytesRegex::whole(text)?;
        if !text.starts_with(['/', '(', '.', '[', '^', '\\']) {
            let what = format!("\"{text}\" matches no path");
            return Err(Mistake::with_cure(what, format!("begin it with a slash: \"/{text}\"")));
        }
        Ok(Self(regex))
    }

    fn write(&self) -> Written {
        Written::text(self.0.written())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::ItemText;

    fn kind(text: &str) -> ItemKind<'_> {
        ItemKind::Text(ItemText { value: text.into(), secret: false })
    }

    fn cure<T>(result: Result<T, Mistake>) -> Option<String> {
        match result.err()? {
            Mistake::Kind { cure } | Mistake::Value { cure, .. } => cure,
        }
    }

    #[test]
    fn sound_paths_pass() {
        for path in ["/", "/users", "/users/", "/a/b.c/%20~x", "/.well-known", "/...", "/a%2Fb"] {
            assert!(Path::parse(&kind(path)).is_ok(), "{path}");
            assert!(PathPrefix::parse(&kind(path)).is_ok(), "{path}");
        }
        for path in ["/{id}", "/a/{id}/b/{other_1}/", "/a/{*rest}", "/{*all}", "/{a}/{*b}"] {
            assert!(Path::parse(&kind(path)).is_ok(), "{path}");
        }
        for regex in ["/v[0-9]+/x", "(/a|/b)/.*", ".*", "^/a$", "(?i)/A"] {
            let parsed = PathRegex::parse(&kind(regex)).unwrap();
            assert_eq!(parsed.write(), Written::text(regex));
        }
    }

    #[test]
    fn each_mistake_has_its_cure() {
        for (path, expected) in [
            ("", "slash"),
            ("users", "begin"),
            ("/a?b", "query"),
            ("/a b", "percent"),
            ("/ü", "percent"),
            ("/a/*", "{*rest}"),
            ("/a//b", "single"),
            ("/a/../b", ".."),
            ("/%7ea", "write \"/~a\""),
            ("/%c3%A9", "write \"/%C3%A9\""),
            ("/a/%2e%2E/b", "write \"/b\""),
            ("/a%", "hex"),
            ("/a%00", "hex"),
            ("/a/x{id}", "whole segment"),
            ("/a/{id", "whole segment"),
            ("/a/id}", "whole segment"),
            ("/{a-b}", "a-z"),
            ("/{}", "a-z"),
            ("/{*}", "a-z"),
            ("/{*a}/b", "last"),
            ("/{a}/{a}", "another name"),
        ] {
            let given = cure(Path::parse(&kind(path))).unwrap_or_else(|| panic!("{path} passes"));
            assert!(given.contains(expected), "{path}: {given}");
        }
        let given = cure(PathPrefix::parse(&kind("/users/{id}"))).unwrap();
        assert!(given.contains("path = \"/users/{id}/{*rest}\""), "{given}");
        for (regex, expected) in [("v[0-9]", "slash"), ("a)|(b", "RE2"), ("(?x)/a # b", "RE2")] {
            let given = cure(PathRegex::parse(&kind(regex)));
            assert!(given.as_ref().is_some_and(|it| it.contains(expected)), "{regex}: {given:?}");
        }
    }
}
