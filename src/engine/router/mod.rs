//! Finds the route that takes a request.
//!
//! A route takes requests that match its host, its path and its method, all three. If several routes
//! match, the most specific one takes the request. The router compares them
//!
//! 1. by host: an exact host goes before a wildcard, a longer wildcard before a shorter one, and
//!    all of these before routes for any host;
//! 2. then by path: an exact path goes before a prefix, and a longer prefix before a shorter one,
//!    counted in whole segments;
//! 3. then by method: a route that names the method goes before one that takes any method.
//!
//! So the search goes on when a host or a path matches but has no route for the whole request. Two
//! routes that are equal in all three are an error of the configuration.
//!
//! One tree holds all hosts and paths. A host leads from a reserved node to the root of its paths,
//! and from there each segment leads to the next node. One table holds all edges (`edges`), so a
//! copy of the tree for another core is a copy of a few arrays.
//!
//! Invariant: a lookup allocates nothing, and for any request its cost is linear in the length of
//! host and path. The configuration bounds how often a lookup reads each of them: by the lengths of
//! its wildcards, and by the number of its hosts that match. Other modules decide what happens to
//! the request.

mod build;
mod edges;
#[cfg(test)]
mod tests;

use std::cell::LazyCell;

use edges::Edges;

/// The longest name of a host (RFC 1035 section 2.3.4: 255 bytes on the wire, 253 as text). A longer
/// name matches no host that a configuration can hold.
pub(crate) const HOST_BYTES_MAX: usize = 253;

/// The root of the paths of routes for any host.
const ANY_HOST: u32 = 0;

/// Not a node: the edges by an exact host begin here.
const EXACT_HOSTS: u32 = u32::MAX;

/// Not a node: the edges by the suffix behind "*." begin here.
const WILDCARD_HOSTS: u32 = u32::MAX - 1;

/// One combination of host, path and method that a route takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RouteRule<'r> {
    pub(crate) host: HostPattern<'r>,
    pub(crate) path: PathPattern<'r>,
    /// The method in the case in which clients send it; `None` for any method.
    pub(crate) method: Option<&'r str>,
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

impl<'r> HostPattern<'r> {
    /// Reads "host" or "*.suffix".
    pub(crate) fn of(text: &'r str) -> Self {
        text.strip_prefix("*.").map_or(Self::Exact(text), Self::Wildcard)
    }
}

/// The paths that a route takes. All begin with a slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PathPattern<'r> {
    /// This path, byte for byte.
    Exact(&'r str),
    /// This path and all paths below it; a slash at its end does not count. "/" takes every path, and
    /// a target that is no path ("*" of OPTIONS).
    Prefix(&'r str),
}

/// The result of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    /// The route with this number.
    Route(u32),
    /// No route, but there are routes for the same host and path with other methods.
    WrongMethod,
    /// No route.
    None,
}

/// The index of a table's routes: from host, path and method to the number of a route.
#[derive(Clone, Debug)]
pub(crate) struct Router {
    edges: Edges,
    /// The nodes. The first one is the root of the paths for any host.
    nodes: Vec<TreeNode>,
    /// The methods that routes name, sorted.
    methods: Vec<Box<str>>,
    /// Pairs of a method, as an index into `methods`, and a route that names it. The pairs of one
    /// [`MethodRoutes`] lie side by side, sorted by method.
    named: Vec<(u32, u32)>,
    /// Whether any rule names a host.
    has_hosts: bool,
    /// Bit n is set if there is a wildcard with n labels behind its star.
    wildcard_labels: u128,
}

/// The end of a path's beginning: the routes for it.
#[derive(Clone, Debug, Default)]
struct TreeNode {
    /// The routes for paths that end here.
    exact: MethodRoutes,
    /// The routes for paths that end here or go on.
    prefix: MethodRoutes,
    /// Whether no edge begins here.
    is_leaf: bool,
}

/// The routes that differ only in their methods.
#[derive(Clone, Copy, Debug, Default)]
struct MethodRoutes {
    /// The route that takes any method.
    any: Option<u32>,
    /// The first of the routes that name a method, as an index into [`Router::named`].
    named_from: u32,
    /// The index behind the last one.
    named_to: u32,
}

impl MethodRoutes {
    const fn names_methods(&self) -> bool {
        self.named_from < self.named_to
    }
}

impl Router {
    /// Looks up `host` (as sent, without port; case does not matter), `path` (as sent, without query)
    /// and `method` (as sent).
    pub(crate) fn find(&self, host: &[u8], path: &[u8], method: &[u8]) -> Hit {
        // Most nodes name no methods, so most lookups never need the number.
        let method = LazyCell::new(|| self.number(method));
        let mut other_methods = false;
        let route = self.on_hosts(host, |paths| {
            let mut best = None;
            self.on_path(paths, path, |routes| {
                // A route that names the method goes before one that takes any. Where only other
                // methods are named, the answer may become 405, but the search goes on: a shorter
                // prefix, or a less specific host, may still take the request.
                let mut route = routes.any;
                if routes.names_methods() {
                    route = method.and_then(|method| self.naming(routes, method)).or(route);
                    other_methods |= route.is_none();
                }
                // The walk meets the most specific routes last, so a later find replaces this one.
                best = route.or(best);
            });
            best
        });
        match route {
            Some(route) => Hit::Route(route),
            None if other_methods => Hit::WrongMethod,
            None => Hit::None,
        }
    }

    /// The methods that routes for `host` and `path` name, sorted.
    pub(crate) fn methods(&self, host: &[u8], path: &[u8]) -> Vec<&str> {
        let mut numbers = Vec::new();
        let _: Option<()> = self.on_hosts(host, |paths| {
            self.on_path(paths, path, |routes| {
                numbers.extend(self.named(routes).iter().map(|&(method, _)| method));
            });
            None
        });
        numbers.sort_unstable();
        numbers.dedup();
        numbers.iter().filter_map(|&it| Some(&**self.methods.get(it as usize)?)).collect()
    }

    /// Calls `ask` with the root of the paths of each host that `host` matches, the most specific one
    /// first, until it gives a result.
    #[inline]
    fn on_hosts<T>(&self, host: &[u8], mut ask: impl FnMut(u32) -> Option<T>) -> Option<T> {
        if self.has_hosts {
            // "example.com." names the same host as "example.com".
            let host = host.strip_suffix(b".").unwrap_or(host);
            // A longer name matches no host, only the routes for any host.
            let mut lower = [0; HOST_BYTES_MAX];
            if let Some(lower) = lower.get_mut(..host.len()) {
                lower.copy_from_slice(host);
                lower.make_ascii_lowercase();
                let exact = self.edges.follow(EXACT_HOSTS, lower);
                if let Some(found) = exact.and_then(&mut ask) {
                    return Some(found);
                }
                if self.wildcard_labels != 0
                    && let Some(found) = self.on_wildcards(lower, &mut ask)
                {
                    return Some(found);
                }
            }
        }
        ask(ANY_HOST)
    }

    /// As [`Router::on_hosts`], for the wildcards alone.
    fn on_wildcards<T>(&self, host: &[u8], mut ask: impl FnMut(u32) -> Option<T>) -> Option<T> {
        // Cuts one label after another from the front, so longer suffixes come first. Only a suffix
        // with as many labels as some wildcard is looked up: a host full of dots costs no more lookups
        // than the configuration has lengths of wildcards.
        let mut labels = host.iter().filter(|&&byte| byte == b'.').count();
        let mut rest = host;
        while let Some(dot) = rest.iter().position(|&byte| byte == b'.') {
            rest = rest.get(dot + 1..)?;
            if self.wildcard_labels & label_bit(labels) != 0
                && let Some(found) = self.edges.follow(WILDCARD_HOSTS, rest).and_then(&mut ask)
            {
                return Some(found);
            }
            labels -= 1;
        }
        None
    }

    /// Visits the routes below the root `paths` that match `path`, the most specific ones last.
    #[inline]
    fn on_path(&self, paths: u32, path: &[u8], mut visit: impl FnMut(&MethodRoutes)) {
        let Some(mut node) = self.nodes.get(paths as usize) else { return };
        // The prefix "/" takes every target, also one that is no path.
        visit(&node.prefix);
        let Some(mut rest) = path.strip_prefix(b"/") else { return };
        let mut from = paths;
        // Each turn follows one segment. The walk ends where the tree knows no such segment, or where
        // the path ends: only there can an exact path match.
        while !node.is_leaf {
            let slash = rest.iter().position(|&byte| byte == b'/');
            let (segment, behind) = match slash {
                Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..)),
                None => (rest, None),
            };
            let Some(to) = self.edges.follow(from, segment) else { return };
            let Some(next) = self.nodes.get(to as usize) else { return };
            (from, node) = (to, next);
            visit(&node.prefix);
            match behind {
                Some(behind) => rest = behind,
                None => return visit(&node.exact),
            }
        }
    }

    /// The index of a method that some route names.
    fn number(&self, method: &[u8]) -> Option<u32> {
        let index = self.methods.binary_search_by(|it| it.as_bytes().cmp(method)).ok()?;
        u32::try_from(index).ok()
    }

    /// The route among `routes` that names the method.
    fn naming(&self, routes: &MethodRoutes, method: u32) -> Option<u32> {
        let named = self.named(routes);
        let index = named.binary_search_by_key(&method, |&(method, _)| method).ok()?;
        named.get(index).map(|&(_, route)| route)
    }

    fn named(&self, routes: &MethodRoutes) -> &[(u32, u32)] {
        self.named.get(routes.named_from as usize..routes.named_to as usize).unwrap_or_default()
    }
}

/// The bit for this number of labels. A host with more than 127 labels would be longer than
/// [`HOST_BYTES_MAX`].
fn label_bit(labels: usize) -> u128 {
    u32::try_from(labels).ok().and_then(|labels| 1_u128.checked_shl(labels)).unwrap_or(0)
}
