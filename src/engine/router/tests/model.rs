//! Compares the router with a linear scan, over random rules and requests.
//!
//! Rules and requests use few letters, and many requests come from a rule, so that most requests
//! match several rules. `ROUTER_CASES` sets the number of requests.

use std::fmt::Write as _;

use super::super::*;
use crate::mix::{GOLDEN, mix};

/// A rule as a configuration writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WrittenRule {
    pub(super) host: Option<String>,
    pub(super) path: String,
    pub(super) is_exact: bool,
    pub(super) method: Option<String>,
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) host: String,
    pub(super) path: String,
    pub(super) method: String,
}

/// The result of the linear scan.
pub(super) struct Scanned<'r> {
    pub(super) hit: Hit,
    /// The number of rules that match the whole request.
    matching: usize,
    /// Methods of rules that match host and path, sorted.
    methods: Vec<&'r str>,
}

pub(super) fn build(rules: &[WrittenRule]) -> Router {
    Router::new((0..).zip(rules).map(|(route, rule)| RouteRule {
        host: rule.host.as_deref().map_or(HostPattern::Any, HostPattern::of),
        path: if rule.is_exact {
            PathPattern::Exact(&rule.path)
        } else {
            PathPattern::Prefix(&rule.path)
        },
        method: rule.method.as_deref(),
        route,
    }))
}

/// The meaning of the router: look at every rule and keep the best one.
pub(super) fn scan<'r>(rules: &'r [WrittenRule], request: &Request) -> Scanned<'r> {
    let mut best = None;
    let (mut matching, mut methods) = (0, Vec::new());
    for (number, rule) in (0..).zip(rules) {
        let (Some(host), Some(path)) = (host_rank(rule, request), path_rank(rule, request)) else {
            continue;
        };
        methods.extend(rule.method.as_deref());
        if rule.method.as_ref().is_none_or(|method| *method == request.method) {
            matching += 1;
            let rank = (host, path, rule.method.is_some(), number);
            best = best.max(Some(rank));
        }
    }
    methods.sort_unstable();
    methods.dedup();
    let hit = match best {
        Some((.., number)) => Hit::Route(number),
        None if methods.is_empty() => Hit::None,
        None => Hit::WrongMethod,
    };
    Scanned { hit, matching, methods }
}

fn host_rank(rule: &WrittenRule, request: &Request) -> Option<usize> {
    let host = request.host.strip_suffix('.').unwrap_or(&request.host);
    let Some(rule) = rule.host.as_deref() else { return Some(0) };
    match rule.strip_prefix('*') {
        None => host.eq_ignore_ascii_case(rule).then_some(usize::MAX),
        Some(suffix) => {
            let at = host.len().checked_sub(suffix.len())?;
            let end = host.get(at..)?;
            end.eq_ignore_ascii_case(suffix).then_some(suffix.len())
        }
    }
}

fn path_rank(rule: &WrittenRule, request: &Request) -> Option<usize> {
    if rule.is_exact {
        return (rule.path == request.path).then_some(usize::MAX);
    }
    let prefix = rule.path.strip_suffix('/').unwrap_or(&rule.path);
    let rest = request.path.strip_prefix(prefix)?;
    (prefix.is_empty() || rest.is_empty() || rest.starts_with('/')).then_some(prefix.len())
}

/// Random choices, repeatable.
struct Dice(u64);

impl Dice {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(GOLDEN);
        usize::try_from(mix(self.0) % end as u64).unwrap()
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    fn host(&mut self, labels_max: usize) -> String {
        let mut host = self.pick(&["a", "b", "A", "aa"]).to_owned();
        for _ in 0..self.below(labels_max) {
            let _ = write!(host, ".{}", self.pick(&["a", "b"]));
        }
        host
    }

    fn path(&mut self, segments: &[&str]) -> String {
        let mut path = String::new();
        for _ in 0..self.below(4) {
            let _ = write!(path, "/{}", self.pick(segments));
        }
        if path.is_empty() || self.one_in(4) {
            path.push('/');
        }
        path
    }

    fn rule(&mut self) -> WrittenRule {
        let host = match self.below(6) {
            0..=1 => None,
            2..=3 => Some(format!("*.{}", self.host(3))),
            _ => Some(self.host(4)),
        };
        let method = if self.one_in(2) { None } else { Some(self.method().to_owned()) };
        let (path, is_exact) = (self.path(&["a", "b", "aa"]), self.one_in(3));
        WrittenRule { host, path, is_exact, method }
    }

    fn method(&mut self) -> &'static str {
        self.pick(&["GET", "POST", "GE", "PURGE"])
    }

    /// A request, made from a rule more often than not.
    fn request(&mut self, rules: &[WrittenRule]) -> Request {
        let mut request = Request {
            host: self.host(5),
            path: self.path(&["a", "b", "aa", "", "c"]),
            method: self.method().to_owned(),
        };
        if !rules.is_empty() && !self.one_in(8) {
            let rule = &rules[self.below(rules.len())];
            if let Some(host) = &rule.host {
                let label = self.pick(&["a", "b", "b.a"]);
                request.host = host.replace('*', label);
            }
            request.path.clone_from(&rule.path);
            match self.below(8) {
                0 => request.path.push('/'),
                1 => request.path.push_str("/a"),
                2 => request.path.push('a'),
                _ => {}
            }
            if let Some(method) = rule.method.as_ref().filter(|_| !self.one_in(8)) {
                request.method.clone_from(method);
            }
        }
        match self.below(16) {
            0 => request.host.push('.'),
            1 => request.host.make_ascii_uppercase(),
            2 => request.host.clear(),
            3 => request.path = self.pick(&["*", "", "//", "/"]).to_owned(),
            4 => request.method = self.pick(&["get", "", "HEAD"]).to_owned(),
            _ => {}
        }
        request
    }
}

/// The number of requests in CI. The test takes about a second without optimisation.
const CASES: usize = 200_000;

const REQUESTS_PER_TABLE: usize = 100;

#[test]
fn the_router_agrees_with_a_linear_scan() {
    let cases = std::env::var("ROUTER_CASES").ok();
    let cases: usize = cases.map_or(CASES, |cases| cases.parse().unwrap());
    let mut dice = Dice(1);
    let (mut asked, mut ambiguous, mut wrong_method) = (0, 0, 0);
    while asked < cases {
        let size = dice.below(64);
        let mut rules: Vec<_> = (0..size).map(|_| dice.rule()).collect();
        let key = |rule: &WrittenRule| {
            let host = rule.host.as_deref().map(str::to_ascii_lowercase);
            let end = if rule.is_exact { "" } else { "/" };
            let path = rule.path.strip_suffix(end).unwrap_or(&rule.path).to_owned();
            (host, rule.is_exact, path, rule.method.clone())
        };
        rules.sort_by_key(key);
        rules.dedup_by_key(|rule| key(rule));
        let router = build(&rules);
        for _ in 0..REQUESTS_PER_TABLE {
            let request = dice.request(&rules);
            let (host, path) = (request.host.as_bytes(), request.path.as_bytes());
            let expected = scan(&rules, &request);
            let found = router.find(host, path, request.method.as_bytes());
            assert_eq!(found, expected.hit, "{request:?} {rules:#?}");
            if found == Hit::WrongMethod {
                wrong_method += 1;
                assert_eq!(router.methods(host, path), expected.methods, "{request:?} {rules:#?}");
            }
            asked += 1;
            ambiguous += usize::from(expected.matching >= 2);
        }
    }
    assert!(ambiguous * 2 >= asked, "only {ambiguous} of {asked} requests match two rules");
    assert!(wrong_method * 100 >= asked, "only {wrong_method} of {asked} ask for another method");
}
