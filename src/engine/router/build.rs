//! From rules to the tree that lookups walk.

use super::edges::Edges;
use super::{
    ANY_HOST, EXACT_HOSTS, HostPattern, MethodRoutes, PathPattern, RouteRule, Router, TreeNode,
    WILDCARD_HOSTS, label_bit,
};

impl Router {
    /// The index of these rules. Of rules that are equal but for the route, the first one counts;
    /// a checked configuration has none.
    pub(crate) fn new<'r>(rules: impl IntoIterator<Item = RouteRule<'r>>) -> Self {
        let mut tree = Tree {
            edges: Edges::default(),
            nodes: vec![TreeNode { is_leaf: true, ..TreeNode::default() }],
            wildcard_labels: 0,
        };
        let mut has_hosts = false;
        let mut naming = Vec::new();
        for rule in rules {
            has_hosts |= rule.host != HostPattern::Any;
            let root = tree.host(rule.host);
            let (node, is_exact) = match rule.path {
                PathPattern::Exact(path) => (tree.path(root, path), true),
                PathPattern::Prefix(prefix) => {
                    (tree.path(root, prefix.strip_suffix('/').unwrap_or(prefix)), false)
                }
            };
            match rule.method {
                Some(method) => naming.push((node, is_exact, method, rule.route)),
                None => {
                    if let Some(place) = place(&mut tree.nodes, node, is_exact) {
                        place.any.get_or_insert(rule.route);
                    }
                }
            }
        }
        let mut methods: Vec<&str> = naming.iter().map(|&(_, _, method, _)| method).collect();
        methods.sort_unstable();
        methods.dedup();
        // Places together, and in each of them methods in the order of their numbers. The sort is
        // stable: of equal rules the first one stays the first.
        naming.sort_by_key(|&(node, is_exact, method, _)| (node, is_exact, method));
        naming.dedup_by_key(|&mut (node, is_exact, method, _)| (node, is_exact, method));
        let mut named = Vec::with_capacity(naming.len());
        for (node, is_exact, method, route) in naming {
            let number = methods.binary_search(&method).ok();
            let (Some(number), Some(place)) =
                (number.map(id), place(&mut tree.nodes, node, is_exact))
            else {
                continue;
            };
            if !place.names_methods() {
                place.named_from = id(named.len());
            }
            named.push((number, route));
            place.named_to = id(named.len());
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

    /// The node that `path` leads to. Nothing leads to the root, "/" to an empty segment below it.
    fn path(&mut self, root: u32, path: &str) -> u32 {
        path.split('/').skip(1).fold(root, |node, segment| self.step(node, segment.as_bytes()))
    }

    fn step(&mut self, from: u32, text: &[u8]) -> u32 {
        if let Some(to) = self.edges.follow(from, text) {
            return to;
        }
        let to = id(self.nodes.len());
        self.nodes.push(TreeNode { is_leaf: true, ..TreeNode::default() });
        self.edges.insert(from, text, to);
        if let Some(node) = self.nodes.get_mut(from as usize) {
            node.is_leaf = false;
        }
        to
    }
}

fn place(nodes: &mut [TreeNode], node: u32, is_exact: bool) -> Option<&mut MethodRoutes> {
    let node = nodes.get_mut(node as usize)?;
    Some(if is_exact { &mut node.exact } else { &mut node.prefix })
}

/// Numbers of nodes and the like stay far below 2^32: a configuration has fewer bytes.
fn id(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
