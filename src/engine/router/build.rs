//! Builds the tree that lookups walk from the rules of a configuration.

use std::cmp::Reverse;

use super::edges::Edges;
use super::{
    ANY_HOST, ANY_METHOD, Branches, EXACT_HOSTS, HostPattern, MethodRoutes, PathPattern,
    Predicates, RANKED, RankedRoute, RegexRoutes, RouteRule, Router, SegmentPattern, TreeNode,
    WILDCARD_HOSTS, label_bit,
};
use crate::pattern::BytesRegex;

/// The place of a set of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// [`TreeNode::exact`].
    Exact(u32),
    /// [`TreeNode::prefix`].
    Prefix(u32),
    /// [`Branches::rest`].
    Rest(u32),
    /// [`RegexRoutes::routes`].
    Regex(u32),
}

impl Router {
    /// The index of these rules, and of the predicates of each route (empty if no route has any). If
    /// several rules have the same rank and take the same request, the first one counts; a checked
    /// configuration has no such rules.
    pub(crate) fn new<'r>(
        rules: impl IntoIterator<Item = RouteRule<'r>>,
        predicates: Vec<Option<Box<Predicates>>>,
    ) -> Self {
        let mut tree = Tree {
            edges: Edges::default(),
            nodes: vec![TreeNode { is_leaf: true, ..TreeNode::default() }],
            // The first node is a root, which has no parent.
            parents: vec![EXACT_HOSTS],
            branches: vec![Branches::default()],
            wildcard_labels: 0,
        };
        // First pass: grow the tree, and note the place of each rule. Expressions wait, because they
        // must be sorted before they have a place.
        let (mut has_hosts, mut has_priorities) = (false, false);
        let mut placed: Vec<(Place, RouteRule<'r>)> = Vec::new();
        let mut expressions: Vec<(u32, &'r BytesRegex, RouteRule<'r>)> = Vec::new();
        for rule in rules {
            has_hosts |= rule.host != HostPattern::Any;
            has_priorities |= rule.priority != 0;
            let root = tree.host(rule.host);
            let place = match rule.path {
                PathPattern::Exact(path) => Place::Exact(tree.path(root, path)),
                // "/a/" and "/a" are the same prefix, and "/" is the root itself.
                PathPattern::Prefix(prefix) => {
                    Place::Prefix(tree.path(root, prefix.strip_suffix('/').unwrap_or(prefix)))
                }
                PathPattern::Parameters(pattern) => tree.pattern(root, pattern),
                PathPattern::Regex(regex) => {
                    expressions.push((root, regex, rule));
                    continue;
                }
            };
            placed.push((place, rule));
        }
        let mut regexes: Vec<RegexRoutes> = Vec::new();
        expressions.sort_by_key(|(root, regex, _)| {
            (*root, Reverse((regex.as_str().len(), regex.as_str())))
        });
        let mut previous = None;
        for (root, regex, rule) in expressions {
            if previous != Some((root, regex)) {
                previous = Some((root, regex));
                tree.add_regex(root, id(regexes.len()));
                regexes.push(RegexRoutes { regex: regex.clone(), routes: MethodRoutes::default() });
            }
            placed.push((Place::Regex(id(regexes.len().saturating_sub(1))), rule));
        }
        // Second pass: number the methods in sorted order, and lay the routes of each place side by
        // side.
        let mut methods: Vec<&str> = placed.iter().filter_map(|(_, rule)| rule.method).collect();
        methods.sort_unstable();
        methods.dedup();
        // The sorts are stable, so of equal rules the first one stays in front.
        placed.sort_by_key(|(place, _)| *place);
        let (mut named, mut ranked) = (Vec::new(), Vec::new());
        for set in placed.chunk_by(|(one, _), (other, _)| one == other) {
            let Some((place, _)) = set.first() else { continue };
            let rules = || set.iter().map(|(_, rule)| rule);
            let number = |method: &str| methods.binary_search(&method).map_or(ANY_METHOD, id);
            let routes = if rules().all(|rule| rule.priority == 0 && rule.predicates == 0) {
                let any = rules().find(|it| it.method.is_none()).map(|it| it.route);
                let pairs = rules().filter_map(|it| Some((number(it.method?), it.route)));
                let mut pairs: Vec<_> = pairs.collect();
                pairs.sort_by_key(|&(method, _)| method);
                pairs.dedup_by_key(|pair| pair.0);
                let from = id(named.len());
                named.append(&mut pairs);
                let to = if named.len() > from as usize { id(named.len()) } else { 0 };
                MethodRoutes { any, from, to }
            } else {
                let mut rules: Vec<_> = rules().collect();
                rules.sort_by_key(|it| Reverse((it.priority, it.predicates, it.method.is_some())));
                let from = id(ranked.len());
                ranked.extend(rules.into_iter().map(|it| RankedRoute {
                    priority: it.priority,
                    method: it.method.map_or(ANY_METHOD, number),
                    route: it.route,
                    has_predicates: it.predicates > 0,
                }));
                MethodRoutes { any: None, from, to: id(ranked.len()) | RANKED }
            };
            if let Some(place) = tree.routes(*place, &mut regexes) {
                *place = routes;
            }
        }
        Self {
            edges: tree.edges,
            nodes: tree.nodes,
            branches: tree.branches,
            regexes,
            methods: methods.into_iter().map(Into::into).collect(),
            named,
            ranked,
            predicates,
            has_hosts,
            has_priorities,
            wildcard_labels: tree.wildcard_labels,
        }
    }
}

/// The tree while it grows.
struct Tree {
    edges: Edges,
    nodes: Vec<TreeNode>,
    /// The node in front of each node. That of a root is no node.
    parents: Vec<u32>,
    branches: Vec<Branches>,
    wildcard_labels: u128,
}

impl Tree {
    /// The root of a host's paths.
    fn host(&mut self, host: HostPattern<'_>) -> u32 {
        match host {
            HostPattern::Any => ANY_HOST,
            HostPattern::Exact(host) => {
                self.step(EXACT_HOSTS, host.to_ascii_lowercase().as_bytes())
            }
            HostPattern::Wildcard(suffix) => {
                self.wildcard_labels |= label_bit(suffix.split('.').count());
                self.step(WILDCARD_HOSTS, suffix.to_ascii_lowercase().as_bytes())
            }
        }
    }

    /// The node that `path` leads to. The empty path leads to the root, and "/" to an empty segment
    /// below the root.
    fn path(&mut self, root: u32, path: &str) -> u32 {
        path.split('/').skip(1).fold(root, |node, segment| self.step(node, segment.as_bytes()))
    }

    /// The place of a path with parameters.
    fn pattern(&mut self, root: u32, pattern: &str) -> Place {
        let mut node = root;
        for segment in pattern.split('/').skip(1) {
            node = match SegmentPattern::of(segment) {
                SegmentPattern::Literal(text) => self.step(node, text.as_bytes()),
                SegmentPattern::Parameter(_) => self.parameter(node),
                SegmentPattern::Rest(_) => {
                    let branches = self.branches_of(node);
                    self.mark(node);
                    return Place::Rest(branches);
                }
            };
        }
        Place::Exact(node)
    }

    /// The node behind any segment. Makes it if it is missing.
    fn parameter(&mut self, from: u32) -> u32 {
        let branches = self.branches_of(from);
        let existing = self.branches.get(branches as usize).map_or(0, |it| it.parameter);
        if existing != 0 {
            return existing;
        }
        let to = self.node(from);
        if let Some(branches) = self.branches.get_mut(branches as usize) {
            branches.parameter = to;
        }
        self.mark(from);
        to
    }

    /// The branches of a node. Makes them if they are missing.
    fn branches_of(&mut self, node: u32) -> u32 {
        let next = id(self.branches.len());
        let Some(node) = self.nodes.get_mut(node as usize) else { return 0 };
        if node.branches == 0 {
            node.branches = next;
            self.branches.push(Branches::default());
        }
        node.branches
    }

    /// Adds the expression with this number to a root. They come in order.
    fn add_regex(&mut self, root: u32, number: u32) {
        let branches = self.branches_of(root);
        if let Some(branches) = self.branches.get_mut(branches as usize) {
            if branches.regexes_from == branches.regexes_to {
                branches.regexes_from = number;
            }
            branches.regexes_to = number + 1;
        }
    }

    /// The node behind the edge from `from` by `text`. Makes both if they are missing.
    fn step(&mut self, from: u32, text: &[u8]) -> u32 {
        if let Some(to) = self.edges.follow(from, text) {
            return to;
        }
        let to = self.node(from);
        self.edges.insert(from, text, to);
        // `from` is no node when the text is a host: `EXACT_HOSTS` and `WILDCARD_HOSTS`.
        if let Some(node) = self.nodes.get_mut(from as usize) {
            node.is_leaf = false;
        }
        to
    }

    /// A new node behind `parent`, which may be no node.
    fn node(&mut self, parent: u32) -> u32 {
        let node = id(self.nodes.len());
        self.nodes.push(TreeNode { is_leaf: true, ..TreeNode::default() });
        self.parents.push(parent);
        node
    }

    /// Marks a node in front of a parameter, and all that lead to it.
    fn mark(&mut self, mut node: u32) {
        while let Some(it) = self.nodes.get_mut(node as usize).filter(|it| !it.has_parameters) {
            it.has_parameters = true;
            let Some(parent) = self.parents.get(node as usize) else { return };
            node = *parent;
        }
    }

    /// The routes of a place.
    fn routes<'t>(
        &'t mut self,
        place: Place,
        regexes: &'t mut [RegexRoutes],
    ) -> Option<&'t mut MethodRoutes> {
        Some(match place {
            Place::Exact(node) => &mut self.nodes.get_mut(node as usize)?.exact,
            Place::Prefix(node) => &mut self.nodes.get_mut(node as usize)?.prefix,
            Place::Rest(branches) => &mut self.branches.get_mut(branches as usize)?.rest,
            Place::Regex(number) => &mut regexes.get_mut(number as usize)?.routes,
        })
    }
}

/// An index as the tree stores it. Indices stay far below 2^31: a configuration has fewer bytes.
fn id(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
