//! The parameters of a path: found again from the pattern of the route when something asks for them,
//! so that a lookup keeps none.

use super::rule::{PathPattern, SegmentPattern, walk};
use crate::pattern::BytesRegex;

/// The parameters that the path of a route has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathParameters {
    /// None.
    None,
    /// Those of this pattern.
    Segments(Box<str>),
    /// The named groups of this expression.
    Groups(BytesRegex),
}

impl PathParameters {
    /// The parameters of a pattern.
    pub(crate) fn of(pattern: PathPattern<'_>) -> Self {
        match pattern {
            PathPattern::Parameters(pattern) => Self::Segments(pattern.into()),
            PathPattern::Regex(regex) if regex.group_names().next().is_some() => {
                Self::Groups(regex.clone())
            }
            PathPattern::Exact(_) | PathPattern::Prefix(_) | PathPattern::Regex(_) => Self::None,
        }
    }

    /// The value of the parameter with this name in `path`, which the route takes. `None` if there is
    /// no such parameter, or its group took no part in the match.
    ///
    /// A group is found by running the expression again, which allocates.
    #[must_use]
    pub fn find<'p>(&self, path: &'p [u8], name: &str) -> Option<&'p [u8]> {
        match self {
            Self::None => None,
            Self::Segments(pattern) => {
                let mut value = None;
                let taken = walk(pattern, path, |parameter, bytes| {
                    if parameter == name {
                        value = Some(bytes);
                    }
                });
                value.filter(|_| taken)
            }
            Self::Groups(regex) => regex.group(path, name),
        }
    }

    /// Whether there is a parameter with this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Segments(pattern) => pattern.split('/').any(|segment| {
                matches!(
                    SegmentPattern::of(segment),
                    SegmentPattern::Parameter(it) | SegmentPattern::Rest(it) if it == name
                )
            }),
            Self::Groups(regex) => regex.group_names().any(|it| it == name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_a_segment_the_rest_or_a_named_group() {
        let segments = PathParameters::of(PathPattern::Parameters("/a/{id}/x/{*rest}"));
        for (path, name, value) in [
            ("/a/7/x/y/z", "id", Some("7")),
            ("/a/7/x/y/z", "rest", Some("y/z")),
            ("/a/7/x/", "rest", Some("")),
            ("/a/7/x", "id", None),
            ("/a//x/", "id", None),
            ("/a/7/x/y", "a", None),
        ] {
            assert_eq!(segments.find(path.as_bytes(), name), value.map(str::as_bytes), "{path}");
        }
        assert!(segments.has("id") && segments.has("rest") && !segments.has("a"));
        let regex = BytesRegex::whole("/v(?<version>[0-9]+)(/(?<id>.*))?").unwrap();
        let groups = PathParameters::of(PathPattern::Regex(&regex));
        assert_eq!(groups.find(b"/v12/x", "version"), Some(&b"12"[..]));
        assert_eq!(groups.find(b"/v12", "id"), None);
        assert!(groups.has("id") && !groups.has("x"));
        assert_eq!(PathParameters::of(PathPattern::Prefix("/a")), PathParameters::None);
    }
}
