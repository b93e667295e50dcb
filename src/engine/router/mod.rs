//! Which route takes a request.
//!
//! A route is found by host, then by path: an exact host before a wildcard, the longest wildcard
//! suffix first, then the routes for any host; within a host the longest path prefix, counted in
//! whole segments. A host that matches but has no route for the path does not end the search: the
//! next best host is asked.
//!
//! Invariant: a lookup allocates nothing, and its cost is linear in the length of host and path,
//! whatever a client sends. What to do with the route is not decided here.

mod path;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use foldhash::fast::FixedState;

use path::Paths;

/// Names of hosts are at most this long (RFC 1035 section 2.3.4: 255 on the wire, 253 as text);
/// longer ones match no host that could be configured.
pub(crate) const HOST_BYTES_MAX: usize = 253;

/// A map for keys of the configuration. Its seed is fixed: clients only look up, so they cannot
/// fill a bucket, and the same configuration gives the same table.
type Map<V> = HashMap<Box<[u8]>, V, FixedState>;

/// The route table's index: from host and path to the number of a route.
#[derive(Clone, Debug, Default)]
pub(crate) struct Router {
    exact: Map<Paths>,
    /// Keyed by what follows "*.".
    wildcard: Map<Paths>,
    /// The most labels in a key of `wildcard`.
    wildcard_labels_max: usize,
    any: Paths,
}

/// Which hosts a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HostRule<'a> {
    /// This host.
    Exact(&'a str),
    /// Every host with at least one label in front of this suffix.
    Wildcard(&'a str),
    /// Every host, and requests without one.
    Any,
}

impl<'a> HostRule<'a> {
    /// Reads "host" or "*.suffix".
    pub(crate) fn of(text: &'a str) -> Self {
        text.strip_prefix("*.").map_or(Self::Exact(text), Self::Wildcard)
    }
}

impl Router {
    /// Adds `route`. If another route has the same host and path already, that one stays and is
    /// returned.
    pub(crate) fn insert(&mut self, host: HostRule<'_>, prefix: &str, route: u32) -> Option<u32> {
        let key = |host: &str| host.to_ascii_lowercase().into_bytes().into_boxed_slice();
        let paths = match host {
            HostRule::Exact(host) => self.exact.entry(key(host)).or_default(),
            HostRule::Wildcard(suffix) => {
                let labels = suffix.split('.').count();
                self.wildcard_labels_max = self.wildcard_labels_max.max(labels);
                self.wildcard.entry(key(suffix)).or_default()
            }
            HostRule::Any => &mut self.any,
        };
        paths.insert(prefix, route)
    }

    /// The route for `host` (as sent, without port; case does not matter) and `path` (as sent,
    /// without query).
    pub(crate) fn find(&self, host: &[u8], path: &[u8]) -> Option<u32> {
        if self.exact.is_empty() && self.wildcard.is_empty() {
            return self.any.find(path);
        }
        // "example.com." names the same host as "example.com".
        let host = host.strip_suffix(b".").unwrap_or(host);
        let mut lower = [0; HOST_BYTES_MAX];
        let Some(lower) = lower.get_mut(..host.len()) else {
            return self.any.find(path);
        };
        lower.copy_from_slice(host);
        lower.make_ascii_lowercase();
        self.exact
            .get(&*lower)
            .and_then(|paths| paths.find(path))
            .or_else(|| self.find_wildcard(lower, path))
            .or_else(|| self.any.find(path))
    }

    fn find_wildcard(&self, host: &[u8], path: &[u8]) -> Option<u32> {
        if self.wildcard.is_empty() {
            return None;
        }
        // Of a host with many labels only the last few can be a key, so a host full of dots costs
        // no more than the configuration does.
        let mut labels = host.iter().filter(|&&byte| byte == b'.').count();
        let mut rest = host;
        while let Some(dot) = rest.iter().position(|&byte| byte == b'.') {
            rest = rest.get(dot + 1..)?;
            if labels <= self.wildcard_labels_max
                && let Some(route) = self.wildcard.get(rest).and_then(|paths| paths.find(path))
            {
                return Some(route);
            }
            labels -= 1;
        }
        None
    }
}
