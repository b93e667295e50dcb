//! Which route takes a request.
//!
//! A route is for requests that match its host, its path and its method, all three. Where several
//! routes match, the most specific one takes the request. They are compared
//!
//! 1. by host: an exact host goes before a wildcard, a longer wildcard before a shorter one, and
//!    those before routes for any host;
//! 2. then by path: an exact path goes before a prefix, a longer prefix before a shorter one,
//!    counted in whole segments;
//! 3. then by method: a route that names the method goes before one that takes any.
//!
//! So a host or a path that matches, but has no route for the whole request, does not end the
//! search. Two routes that are equal in all three are an error of the configuration.
//!
//! All hosts and paths are in one tree: from a reserved node by a host to the root of its paths,
//! from there by one segment to the next. Its edges are in one table (`edges`), so a copy of the
//! tree for another core is a copy of a few arrays.
//!
//! Invariant: a lookup allocates nothing, and whatever a client sends, its cost is linear in the
//! length of host and path: how often each is looked at is bounded by the configuration (by the
//! lengths that its wildcards have, and by how many of its hosts match). What to do with the route
//! is not decided here.

mod build;
mod edges;
#[cfg(test)]
mod tests;

use std::cell::LazyCell;

use edges::Edges;

/// Names of hosts are at most this long (RFC 1035 section 2.3.4: 255 on the wire, 253 as text);
/// longer ones match no host that could be configured.
pub(crate) const HOST_BYTES_MAX: usize = 253;

/// The paths of routes for any host.
const ANY_HOST: u32 = 0;

/// Not a node: where edges by an exact host begin.
const EXACT_HOSTS: u32 = u32::MAX;

/// Not a node: where edges by what follows "*." begin.
const WILDCARD_HOSTS: u32 = u32::MAX - 1;

/// Which requests a route is for, one host and one method at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RouteRule<'r> {
    pub(crate) host: HostPattern<'r>,
    pub(crate) path: PathPattern<'r>,
    /// In the case in which clients send it; `None` for any.
    pub(crate) method: Option<&'r str>,
    /// The number of the route.
    pub(crate) route: u32,
}

/// Which hosts a route is for.
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

/// Which paths a route is for. All begin with a slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PathPattern<'r> {
    /// This one, byte for byte.
    Exact(&'r str),
    /// This one and what lies below it; a slash at its end does not count. "/" is for every path,
    /// and for a target that is none ("*" of OPTIONS).
    Prefix(&'r str),
}

/// What a lookup finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    /// The route with this number.
    Route(u32),
    /// No route, but some for the same host and path with other methods.
    WrongMethod,
    /// No route.
    None,
}

/// The index of a table's routes: from host, path and method to the number of a route.
#[derive(Clone, Debug)]
pub(crate) struct Router {
    edges: Edges,
    /// The root of the paths of any host first.
    nodes: Vec<TreeNode>,
    /// The methods that routes name, sorted.
    methods: Vec<Box<str>>,
    /// Methods, as numbers of `methods`, and routes that name them; those of a place together,
    /// sorted.
    named: Vec<(u32, u32)>,
    /// Whether any rule looks at the host.
    has_hosts: bool,
    /// Bit n is set if there is a wildcard with n labels behind its star.
    wildcard_labels: u128,
}

/// What a beginning of a path leads to.
#[derive(Clone, Debug, Default)]
struct TreeNode {
    /// For paths that end here.
    exact: MethodRoutes,
    /// For them and for those that go on.
    prefix: MethodRoutes,
    /// No edge begins here.
    is_leaf: bool,
}

/// The routes that differ in nothing but their methods.
#[derive(Clone, Copy, Debug, Default)]
struct MethodRoutes {
    /// The one that takes any method.
    any: Option<u32>,
    /// Where those that name methods are in [`Router::named`]: from here on...
    named_from: u32,
    /// ...to here.
    named_to: u32,
}

impl MethodRoutes {
    const fn names_methods(&self) -> bool {
        self.named_from < self.named_to
    }
}

impl Router {
    /// What there is for `host` (as sent, without port; case does not matter), `path` (as sent,
    /// without query) and `method` (as sent).
    pub(crate) fn find(&self, host: &[u8], path: &[u8], method: &[u8]) -> Hit {
        // Most places name no methods.
        let method = LazyCell::new(|| self.number(method));
        let mut other_methods = false;
        let route = self.on_hosts(host, |paths| {
            let mut best = None;
            self.on_places(paths, path, |place| {
                let mut route = place.any;
                if place.names_methods() {
                    route = method.and_then(|method| self.naming(place, method)).or(route);
                    other_methods |= route.is_none();
                }
                // The places come with the best one last.
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
            self.on_places(paths, path, |place| {
                numbers.extend(self.named(place).iter().map(|&(method, _)| method));
            });
            None
        });
        numbers.sort_unstable();
        numbers.dedup();
        numbers.iter().filter_map(|&it| Some(&**self.methods.get(it as usize)?)).collect()
    }

    /// Asks the paths of each host rule that `host` matches, the best one first, until there is an
    /// answer.
    #[inline]
    fn on_hosts<T>(&self, host: &[u8], mut ask: impl FnMut(u32) -> Option<T>) -> Option<T> {
        if self.has_hosts {
            // "example.com." names the same host as "example.com".
            let host = host.strip_suffix(b".").unwrap_or(host);
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

    fn on_wildcards<T>(&self, host: &[u8], mut ask: impl FnMut(u32) -> Option<T>) -> Option<T> {
        // Only suffixes with as many labels as a wildcard has are looked up, so a host full of
        // dots costs no more than the configuration does.
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

    /// Visits the places below the root `paths` that `path` matches, the best one last.
    #[inline]
    fn on_places(&self, paths: u32, path: &[u8], mut visit: impl FnMut(&MethodRoutes)) {
        let Some(mut node) = self.nodes.get(paths as usize) else { return };
        visit(&node.prefix);
        let Some(mut rest) = path.strip_prefix(b"/") else { return };
        let mut from = paths;
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

    /// The number of a method that some route names.
    fn number(&self, method: &[u8]) -> Option<u32> {
        let index = self.methods.binary_search_by(|it| it.as_bytes().cmp(method)).ok()?;
        u32::try_from(index).ok()
    }

    /// The route in this place that names the method.
    fn naming(&self, place: &MethodRoutes, method: u32) -> Option<u32> {
        let named = self.named(place);
        let index = named.binary_search_by_key(&method, |&(method, _)| method).ok()?;
        named.get(index).map(|&(_, route)| route)
    }

    fn named(&self, place: &MethodRoutes) -> &[(u32, u32)] {
        self.named.get(place.named_from as usize..place.named_to as usize).unwrap_or_default()
    }
}

/// The bit for so many labels. A host with more than 127 of them would be longer than
/// [`HOST_BYTES_MAX`].
fn label_bit(labels: usize) -> u128 {
    u32::try_from(labels).ok().and_then(|labels| 1_u128.checked_shl(labels)).unwrap_or(0)
}
