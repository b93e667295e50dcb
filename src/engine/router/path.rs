//! Longest path prefix, by whole segments: a tree with one level per segment.

use super::Map;

/// The prefixes of one host.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    /// The route whose prefix ends here.
    route: Option<u32>,
    children: Map<Paths>,
}

impl Paths {
    /// Adds `route` under `prefix`; a slash at its end does not count. If the place is taken, the
    /// route that has it stays and is returned.
    pub(super) fn insert(&mut self, prefix: &str, route: u32) -> Option<u32> {
        let node = segments(prefix.as_bytes())
            .fold(self, |node, segment| node.children.entry(segment.into()).or_default());
        if node.route.is_none() {
            node.route = Some(route);
            return None;
        }
        node.route
    }

    /// The route with the longest prefix of `path`.
    pub(super) fn find(&self, path: &[u8]) -> Option<u32> {
        let mut found = self.route;
        let mut node = self;
        if node.children.is_empty() {
            return found;
        }
        for segment in segments(path) {
            match node.children.get(segment) {
                Some(child) => node = child,
                None => break,
            }
            found = node.route.or(found);
        }
        found
    }
}

/// The segments of a path: what lies between its slashes. The root, an empty path and "*" (of
/// OPTIONS) have none; a slash at the end begins none.
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let path = path.strip_prefix(b"/").unwrap_or_default();
    let path = path.strip_suffix(b"/").unwrap_or(path);
    // An empty path splits into one empty segment, which is none.
    let none = path.is_empty();
    path.split(|&byte| byte == b'/').skip(usize::from(none))
}
