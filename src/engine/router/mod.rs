//! Finds the route that takes a request.
//!
//! A route takes requests that match its host, its path and its method, and all of its other
//! predicates. If several routes match, the most specific one takes the request. The router compares
//! them
//!
//! 1. by priority: the highest goes first;
//! 2. then by host: an exact host goes before a wildcard, a longer wildcard before a shorter one, and
//!    all of these before routes for any host;
//! 3. then by path: an exact path goes before one with parameters, that before a regular expression,
//!    and that before a prefix. Paths with parameters are compared segment by segment from the left: a
//!    literal goes before a parameter, and that before the rest. A longer expression goes before a
//!    shorter one, and so does a longer prefix, counted in whole segments;
//! 4. then by the number of other predicates: more go first;
//! 5. then by method: a route that names the method goes before one that takes any method.
//!
//! So the search goes on when a host or a path matches but has no route for the whole request. Two
//! routes that can be equal in all five for one request are an error of the configuration.
//!
//! One tree holds all hosts and paths. A host leads from a reserved node to the root of its paths,
//! and from there each segment leads to the next node. One table holds all edges (`edges`), so a
//! copy of the tree for another core is a copy of a few arrays. `rule` has the meaning of all this, one
//! rule at a time.
//!
//! Invariant: a lookup allocates nothing (see `request` for one exception), and for any request its
//! cost is linear in the length of host and path. The configuration bounds how often a lookup reads
//! each of them: by the lengths of its wildcards, by the number of its hosts that match, by the number
//! of paths with parameters and of regular expressions that a host has, and by the number of routes
//! that differ in their predicates only. Other modules decide what happens to the request.

mod build;
mod edges;
mod parameters;
mod predicates;
mod rule;
#[cfg(test)]
mod tests;

use std::cell::LazyCell;

use edges::Edges;

pub use parameters::PathParameters;
pub use predicates::Misfit;
pub(crate) use predicates::Predicates;
pub(crate) use rule::{HostPattern, PathPattern, Rank, RouteRule, SegmentPattern};

use crate::pattern::BytesRegex;
use crate::request::RequestFacts;

/// The longest name of a host (RFC 1035 section 2.3.4: 255 bytes on the wire, 253 as text). A longer
/// name matches no host that a configuration can hold.
pub(crate) const HOST_BYTES_MAX: usize = 253;

/// The root of the paths of routes for any host.
const ANY_HOST: u32 = 0;

/// Not a node: the edges by an exact host begin here.
const EXACT_HOSTS: u32 = u32::MAX;

/// Not a node: the edges by the suffix behind "*." begin here.
const WILDCARD_HOSTS: u32 = u32::MAX - 1;

/// The result of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    /// The route with this number.
    Route(u32),
    /// No route, but there are routes that the request fits in all but its method.
    WrongMethod,
    /// No route.
    None,
}

/// The index of a table's routes: from a request to the number of a route.
#[derive(Clone, Debug)]
pub(crate) struct Router {
    edges: Edges,
    /// The nodes. The first one is the root of the paths for any host.
    nodes: Vec<TreeNode>,
    /// The parts that few nodes have. The first one is for nodes without any.
    branches: Vec<Branches>,
    /// The regular expressions. Those of one host lie side by side, the highest rank first.
    regexes: Vec<RegexRoutes>,
    /// The methods that routes name, sorted.
    methods: Vec<Box<str>>,
    /// Pairs of a method, as an index into `methods`, and a route that names it. The pairs of one
    /// [`MethodRoutes`] lie side by side, sorted by method.
    named: Vec<(u32, u32)>,
    /// The routes of sets in which one has a priority or predicates. Those of one [`MethodRoutes`] lie
    /// side by side, the highest rank first.
    ranked: Vec<RankedRoute>,
    /// The predicates of each route; empty if no route has any.
    predicates: Vec<Option<Box<Predicates>>>,
    /// Whether any rule names a host.
    has_hosts: bool,
    /// Whether any rule has a priority.
    has_priorities: bool,
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
    /// Its other parts, as an index into [`Router::branches`].
    branches: u32,
    /// Whether no edge begins here.
    is_leaf: bool,
    /// Whether a parameter follows, here or further down.
    has_parameters: bool,
}

/// The parts that few nodes have.
#[derive(Clone, Debug, Default)]
struct Branches {
    /// The node behind any segment; 0 if there is none, because that is a root.
    parameter: u32,
    /// The routes for paths that go on here with anything.
    rest: MethodRoutes,
    /// Of a root: the first of its regular expressions, as an index into [`Router::regexes`].
    regexes_from: u32,
    /// The index behind the last one.
    regexes_to: u32,
}

/// The routes for paths that an expression matches.
#[derive(Clone, Debug)]
struct RegexRoutes {
    regex: BytesRegex,
    routes: MethodRoutes,
}

/// The routes that have host and path in common.
#[derive(Clone, Copy, Debug, Default)]
struct MethodRoutes {
    /// The route that takes any method, unless the set is ranked.
    any: Option<u32>,
    /// The first of the routes that name a method, as an index into [`Router::named`]; or, of a ranked
    /// set, the first of all routes, as an index into [`Router::ranked`].
    from: u32,
    /// The index behind the last one, with [`RANKED`] added for a ranked set.
    to: u32,
}

/// Marks a set of routes in which one has a priority or predicates.
const RANKED: u32 = 1 << 31;

impl MethodRoutes {
    const fn is_plain(&self) -> bool {
        self.to == 0
    }

    const fn is_ranked(&self) -> bool {
        self.to & RANKED != 0
    }

    fn range(&self) -> std::ops::Range<usize> {
        self.from as usize..(self.to & !RANKED) as usize
    }
}

/// A route in a set in which one has a priority or predicates.
#[derive(Clone, Copy, Debug)]
struct RankedRoute {
    priority: i32,
    /// The method, as an index into [`Router::methods`], or [`ANY_METHOD`].
    method: u32,
    route: u32,
    has_predicates: bool,
}

/// Not a method: the route takes any.
const ANY_METHOD: u32 = u32::MAX;

/// The kind of a path pattern, in the order of their ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PathKind {
    Prefix,
    Regex,
    Parameters,
    Exact,
}

/// The best route so far.
#[derive(Clone, Copy)]
struct BestRoute {
    priority: i32,
    kind: PathKind,
    route: u32,
}

impl Router {
    /// Looks up a request.
    pub(crate) fn find(&self, request: &RequestFacts<'_>) -> Hit {
        // Most nodes name no methods, so most lookups never need the number.
        let method = LazyCell::new(|| self.number(request.method));
        let mut best: Option<BestRoute> = None;
        self.on_hosts(request.host, |paths| {
            // The best one of this host. A less specific host can beat it by its priority only.
            let mut of_host: Option<BestRoute> = None;
            self.on_path(paths, request.path, |kind, routes| {
                let Some((priority, route)) = self.choose(routes, &|| *method, request) else {
                    return false;
                };
                // Of several prefixes, the walk meets the most specific one last; of all others, the
                // most specific one of a kind first.
                let replaces = of_host.is_none_or(|it| {
                    let (rank, other) = ((priority, kind), (it.priority, it.kind));
                    rank > other || rank == other && kind == PathKind::Prefix
                });
                if replaces {
                    of_host = Some(BestRoute { priority, kind, route });
                }
                kind != PathKind::Prefix && !self.has_priorities
            });
            if let Some(choice) = of_host
                && best.is_none_or(|it| choice.priority > it.priority)
            {
                best = Some(choice);
            }
            best.is_some() && !self.has_priorities
        });
        match best {
            Some(choice) => Hit::Route(choice.route),
            None if self.takes_other_methods(request) => Hit::WrongMethod,
            None => Hit::None,
        }
    }

    /// The methods of routes that `request` fits in all but its method, sorted.
    pub(crate) fn methods(&self, request: &RequestFacts<'_>) -> Vec<&str> {
        let mut numbers = Vec::new();
        self.on_methods(request, |method| {
            numbers.push(method);
            false
        });
        numbers.sort_unstable();
        numbers.dedup();
        numbers.iter().filter_map(|&it| Some(&**self.methods.get(it as usize)?)).collect()
    }

    /// The predicates of a route, if it has any.
    pub(crate) fn predicates(&self, route: u32) -> Option<&Predicates> {
        self.predicates.get(route as usize)?.as_deref()
    }

    /// Whether `request`, which no route takes, would find one with another method.
    #[inline(never)]
    fn takes_other_methods(&self, request: &RequestFacts<'_>) -> bool {
        let mut found = false;
        self.on_methods(request, |_| {
            found = true;
            true
        });
        found
    }

    /// Visits the methods of all routes that `request` fits otherwise, until `visit` returns true.
    fn on_methods(&self, request: &RequestFacts<'_>, mut visit: impl FnMut(u32) -> bool) {
        self.on_hosts(request.host, |paths| {
            let mut is_done = false;
            self.on_path(paths, request.path, |_, routes| {
                is_done = if routes.is_ranked() {
                    let fits = |it: &&RankedRoute| {
                        it.method != ANY_METHOD && self.misfit(it, request).is_none()
                    };
                    self.ranked(routes).iter().filter(fits).any(|it| visit(it.method))
                } else {
                    self.named(routes).iter().any(|&(method, _)| visit(method))
                };
                is_done
            });
            is_done
        });
    }

    /// The route of the highest rank in a set, and its priority.
    #[inline]
    fn choose(
        &self,
        routes: &MethodRoutes,
        method: &impl Fn() -> Option<u32>,
        request: &RequestFacts<'_>,
    ) -> Option<(i32, u32)> {
        if routes.is_plain() {
            return routes.any.map(|route| (0, route));
        }
        if !routes.is_ranked() {
            let named = method().and_then(|method| self.naming(routes, method));
            return named.or(routes.any).map(|route| (0, route));
        }
        let fits = |it: &&RankedRoute| {
            (it.method == ANY_METHOD || Some(it.method) == method())
                && self.misfit(it, request).is_none()
        };
        self.ranked(routes).iter().find(fits).map(|it| (it.priority, it.route))
    }

    fn misfit(&self, route: &RankedRoute, request: &RequestFacts<'_>) -> Option<Misfit<'_>> {
        if !route.has_predicates {
            return None;
        }
        self.predicates(route.route)?.misfit(request)
    }

    /// Visits the root of the paths of each host that `host` matches, the most specific one first,
    /// until `visit` returns true.
    #[inline]
    fn on_hosts(&self, host: &[u8], mut visit: impl FnMut(u32) -> bool) {
        if self.has_hosts {
            // "example.com." names the same host as "example.com".
            let host = host.strip_suffix(b".").unwrap_or(host);
            // A longer name matches no host, only the routes for any host.
            let mut lower = [0; HOST_BYTES_MAX];
            if let Some(lower) = lower.get_mut(..host.len()) {
                lower.copy_from_slice(host);
                lower.make_ascii_lowercase();
                if self.edges.follow(EXACT_HOSTS, lower).is_some_and(&mut visit)
                    || self.wildcard_labels != 0 && self.on_wildcards(lower, &mut visit)
                {
                    return;
                }
            }
        }
        visit(ANY_HOST);
    }

    /// As [`Router::on_hosts`], for the wildcards alone. Says whether `visit` has returned true.
    fn on_wildcards(&self, host: &[u8], mut visit: impl FnMut(u32) -> bool) -> bool {
        // Cuts one label after another from the front, so longer suffixes come first. Only a suffix
        // with as many labels as some wildcard is looked up: a host full of dots costs no more lookups
        // than the configuration has lengths of wildcards.
        let mut labels = host.iter().filter(|&&byte| byte == b'.').count();
        let mut rest = host;
        while let Some(dot) = rest.iter().position(|&byte| byte == b'.') {
            rest = rest.get(dot + 1..).unwrap_or_default();
            if self.wildcard_labels & label_bit(labels) != 0
                && self.edges.follow(WILDCARD_HOSTS, rest).is_some_and(&mut visit)
            {
                return true;
            }
            labels -= 1;
        }
        false
    }

    /// Visits the routes below the root `paths` that match `path`, until `visit` returns true: first
    /// prefixes, the shortest first; then an exact path, parameters and expressions, the highest rank
    /// first.
    #[inline]
    fn on_path(
        &self,
        paths: u32,
        path: &[u8],
        mut visit: impl FnMut(PathKind, &MethodRoutes) -> bool,
    ) {
        let Some(root) = self.nodes.get(paths as usize) else { return };
        // The prefix "/" takes every target, also one that is no path.
        if visit(PathKind::Prefix, &root.prefix) {
            return;
        }
        let Some(rest) = path.strip_prefix(b"/") else { return };
        if self.on_segments(paths, root, rest, &mut visit) {
            return;
        }
        // Few roots have parameters or expressions.
        if root.has_parameters && self.on_parameters(paths, root, rest, false, &mut visit) {
            return;
        }
        if root.branches != 0 {
            for it in self.regexes_of(root) {
                if it.regex.is_match(path) && visit(PathKind::Regex, &it.routes) {
                    return;
                }
            }
        }
    }

    /// Visits prefixes and the exact path behind `node`, which is `from`. Says whether `visit` has
    /// returned true.
    #[inline]
    fn on_segments<'t>(
        &'t self,
        mut from: u32,
        mut node: &'t TreeNode,
        mut rest: &[u8],
        visit: &mut impl FnMut(PathKind, &MethodRoutes) -> bool,
    ) -> bool {
        // Each turn follows one segment. The walk ends where the tree knows no such segment, or where
        // the path ends: only there can an exact path match.
        while !node.is_leaf {
            let (segment, behind) = split_segment(rest);
            let Some(to) = self.edges.follow(from, segment) else { return false };
            let Some(next) = self.nodes.get(to as usize) else { return false };
            (from, node) = (to, next);
            if visit(PathKind::Prefix, &node.prefix) {
                return true;
            }
            match behind {
                Some(behind) => rest = behind,
                None => return visit(PathKind::Exact, &node.exact),
            }
        }
        false
    }

    /// Visits paths with parameters behind `node`, which is `from`. `is_behind` says whether a
    /// parameter led here: without one, a path is exact and was visited before. Says whether `visit`
    /// has returned true.
    ///
    /// A text that matches is tried before a parameter, and that before the rest. So the walk may come
    /// back from a dead end, and it visits a node once at most.
    fn on_parameters(
        &self,
        from: u32,
        node: &TreeNode,
        rest: &[u8],
        is_behind: bool,
        visit: &mut impl FnMut(PathKind, &MethodRoutes) -> bool,
    ) -> bool {
        let (segment, behind) = split_segment(rest);
        let mut enter = |to: u32, is_behind: bool| {
            let Some(next) = self.nodes.get(to as usize) else { return false };
            match behind {
                // A node is of use if a parameter is in front of it or behind it.
                Some(behind) if is_behind || next.has_parameters => {
                    self.on_parameters(to, next, behind, is_behind, visit)
                }
                None if is_behind => visit(PathKind::Parameters, &next.exact),
                _ => false,
            }
        };
        if !node.is_leaf
            && let Some(to) = self.edges.follow(from, segment)
            && enter(to, is_behind)
        {
            return true;
        }
        let Some(branches) = self.branches.get(node.branches as usize) else { return false };
        if branches.parameter != 0 && !segment.is_empty() && enter(branches.parameter, true) {
            return true;
        }
        visit(PathKind::Parameters, &branches.rest)
    }

    fn regexes_of(&self, root: &TreeNode) -> &[RegexRoutes] {
        let branches = self.branches.get(root.branches as usize);
        let range = branches.map(|it| it.regexes_from as usize..it.regexes_to as usize);
        range.and_then(|range| self.regexes.get(range)).unwrap_or_default()
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
        self.named.get(routes.range()).unwrap_or_default()
    }

    fn ranked(&self, routes: &MethodRoutes) -> &[RankedRoute] {
        self.ranked.get(routes.range()).unwrap_or_default()
    }
}

/// The first segment, and the bytes behind the slash that ends it.
#[inline]
fn split_segment(rest: &[u8]) -> (&[u8], Option<&[u8]>) {
    match rest.iter().position(|&byte| byte == b'/') {
        Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..)),
        None => (rest, None),
    }
}

/// The bit for this number of labels. A host with more than 127 labels would be longer than
/// [`HOST_BYTES_MAX`].
fn label_bit(labels: usize) -> u128 {
    u32::try_from(labels).ok().and_then(|labels| 1_u128.checked_shl(labels)).unwrap_or(0)
}
