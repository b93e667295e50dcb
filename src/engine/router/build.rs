//! Builds the tree that lookups walk from the rules of a configuration.

use super::edges::Edges;
use super::{
    ANY_HOST, EXACT_HOSTS, HostPattern, MethodRoutes, PathPattern, RouteRule, Router, TreeNode,
    WILDCARD_HOSTS, label_bit,
};

impl Router {
    /// The index of these rules. If several rules differ in nothing but the route, the first one
    /// counts; a checked configuration has no such rules.
    pub(crate) fn new<'r>(rules: impl IntoIterator<Item = RouteRule<'r>>) -> Self {
        let mut tree = Tree {
            edges: Edges::default(),
            nodes: vec![TreeNode { is_leaf: true, ..TreeNode::default() }],
            wildcard_labels: 0,
        };
        // First pass: grow the tree. A rule for any method goes into its node at once. A rule that
        // names a method waits in `naming`, because all methods must be known before they get
        // numbers.
        let mut has_hosts = false;
        let mut naming = Vec::new();
        for rule in rules {
            has_hosts |= rule.host != HostPattern::Any;
            let root = tree.host(rule.host);
            let (node, is_exact) = match rule.path {
                PathPattern::Exact(path) => (tree.path(root, path), true),
                // "/a/" and "/a" are the same prefix, and "/" is the root itself.
                PathPattern::Prefix(prefix) => {
                    (tree.path(root, prefix.strip_suffix('/').unwrap_or(prefix)), false)
                }
            };
            match rule.method {
                Some(method) => naming.push((node, is_exact, method, rule.route)),
                None => {
                    if let Some(routes) = routes_of(&mut tree.nodes, node, is_exact) {
                        routes.any.get_or_insert(rule.route);
                    }
                }
            }
        }
        // Second pass: number the methods in sorted order, and lay the named routes of each node side
        // by side in one array, sorted by method, so that a lookup can search them in halves.
        let mut methods: Vec<&str> = naming.iter().map(|&(_, _, method, _)| method).collect();
        methods.sort_unstable();
        methods.dedup();
        // The sort is stable, and `dedup_by_key` keeps the first: so the first of equal rules counts.
        naming.sort_by_key(|&(node, is_exact, method, _)| (node, is_exact, method));
        naming.dedup_by_key(|&mut (node, is_exact, method, _)| (node, is_exact, method));
        let mut named = Vec::with_capacity(naming.len());
        for (node, is_exact, method, route) in naming {
            let number = methods.binary_search(&method).ok();
            let (Some(number), Some(routes)) =
                (number.map(id), routes_of(&mut tree.nodes, node, is_exact))
            else {
                continue;
            };
            if !routes.names_methods() {
                routes.named_from = id(named.len());
            }
            named.push((number, route));
            routes.named_to = id(named.len());
        }
        Self {
            edges: tree.edges,
            nodes: tree.nodes,
            methods: methods.into_iter().map(Into::into).collect(),
            named,
            has_hosts,
            wildcard_labels: tree.wildcard_labels,
        }
    }
}

/// The tree while it grows.
struct Tree {
    edges: Edges,
    nodes: Vec<TreeNode>,
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

    /// The node behind the edge from `from` by `text`. Makes both if they are missing.
    fn step(&mut self, from: u32, text: &[u8]) -> u32 {
        if let Some(to) = self.edges.follow(from, text) {
            return to;
        }
        let to = id(self.nodes.len());
        self.nodes.push(TreeNode { is_leaf: true, ..TreeNode::default() });
        self.edges.insert(from, text, to);
        // `from` is no node when the text is a host: `EXACT_HOSTS` and `WILDCARD_HOSTS`.
        if let Some(node) = self.nodes.get_mut(from as usize) {
            node.is_leaf = false;
        }
        to
    }
}

/// The routes of a node: for paths that end there, or for that prefix.
fn routes_of(nodes: &mut [TreeNode], node: u32, is_exact: bool) -> Option<&mut MethodRoutes> {
    let node = nodes.get_mut(node as usize)?;
    Some(if is_exact { &mut node.exact } else { &mut node.prefix })
}

/// An index as the tree stores it. Indices stay far below 2^32: a configuration has fewer bytes.
fn id(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
