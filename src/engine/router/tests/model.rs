//! Compares the router with a linear scan, over random rules and requests.
//!
//! Rules and requests use few letters, and many requests come from a rule, so that most requests
//! match several rules. `ROUTER_CASES` sets the number of requests.

use std::cmp::Reverse;
use std::fmt::Write as _;

use proto::head::Headers;

use super::super::*;
use crate::address::ClientAddress;
use crate::mix::{GOLDEN, mix};
use crate::pattern::{Always, ValuePattern};
use crate::request::ListenerId;

/// A rule as a configuration writes it.
#[derive(Clone, Debug)]
pub(super) struct WrittenRule {
    pub(super) host: Option<String>,
    pub(super) path: WrittenPath,
    pub(super) method: Option<String>,
    pub(super) priority: i32,
    pub(super) predicates: Predicates,
}

#[derive(Clone, Debug)]
pub(super) enum WrittenPath {
    Exact(String),
    Parameters(String),
    Regex(BytesRegex),
    Prefix(String),
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) host: String,
    pub(super) path: String,
    pub(super) method: String,
    pub(super) listener: u32,
    pub(super) client: ClientAddress,
    pub(super) query: Option<String>,
    pub(super) headers: Headers,
}

impl Request {
    /// A request without anything that predicates look at.
    pub(super) fn plain(host: &str, path: &str, method: &str) -> Self {
        Self {
            host: host.to_owned(),
            path: path.to_owned(),
            method: method.to_owned(),
            listener: 0,
            client: ClientAddress::Unix,
            query: None,
            headers: Headers::new(),
        }
    }

    pub(super) fn facts(&self) -> RequestFacts<'_> {
        RequestFacts {
            listener: ListenerId(self.listener),
            client: self.client,
            host: self.host.as_bytes(),
            path: self.path.as_bytes(),
            query: self.query.as_deref().map(str::as_bytes),
            method: self.method.as_bytes(),
            headers: &self.headers,
        }
    }
}

/// The result of the linear scan.
pub(super) struct Scanned<'r> {
    pub(super) hit: Hit,
    /// The number of rules that match the whole request.
    matching: usize,
    /// Methods of rules that match all else, sorted.
    methods: Vec<&'r str>,
}

impl WrittenRule {
    fn count(&self) -> u32 {
        let it = &self.predicates;
        let values = it.headers.len() + it.query.len() + it.cookies.len();
        let others = usize::from(it.listeners.is_some()) + usize::from(it.clients.is_some());
        u32::try_from(values + others).unwrap()
    }

    pub(super) fn rule(&self, route: u32) -> RouteRule<'_> {
        RouteRule {
            host: self.host.as_deref().map_or(HostPattern::Any, HostPattern::of),
            path: match &self.path {
                WrittenPath::Exact(path) => PathPattern::Exact(path),
                WrittenPath::Parameters(path) => PathPattern::Parameters(path),
                WrittenPath::Regex(regex) => PathPattern::Regex(regex),
                WrittenPath::Prefix(path) => PathPattern::Prefix(path),
            },
            method: self.method.as_deref(),
            priority: self.priority,
            predicates: self.count(),
            route,
        }
    }
}

pub(super) fn build(rules: &[WrittenRule]) -> Router {
    let predicates =
        rules.iter().map(|it| (it.count() > 0).then(|| Box::new(it.predicates.clone()))).collect();
    Router::new((0..).zip(rules).map(|(route, rule)| rule.rule(route)), predicates)
}

/// The meaning of the router: look at every rule and keep the best one.
pub(super) fn scan<'r>(rules: &'r [WrittenRule], request: &Request) -> Scanned<'r> {
    let mut best = None;
    let (mut matching, mut methods) = (0, Vec::new());
    let facts = request.facts();
    for (number, written) in (0..).zip(rules) {
        let rule = written.rule(number);
        if !rule.host.takes(facts.host)
            || !rule.path.takes(facts.path)
            || written.predicates.misfit(&facts).is_some()
        {
            continue;
        }
        methods.extend(rule.method);
        if rule.method.is_none_or(|method| *method == request.method) {
            matching += 1;
            best = best.max(Some((rule.rank(), Reverse(number))));
        }
    }
    methods.sort_unstable();
    methods.dedup();
    let hit = match best {
        Some((_, Reverse(number))) => Hit::Route(number),
        None if methods.is_empty() => Hit::None,
        None => Hit::WrongMethod,
    };
    Scanned { hit, matching, methods }
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
        let path = match self.below(8) {
            0..=2 => WrittenPath::Prefix(self.path(&["a", "b", "aa"])),
            3..=4 => WrittenPath::Exact(self.path(&["a", "b", "aa"])),
            5 => WrittenPath::Regex(BytesRegex::whole(self.pick(EXPRESSIONS)).unwrap()),
            _ => {
                let mut path = self.path(&["a", "b", "{x}", "{x}"]);
                match (path.ends_with('/'), self.one_in(3)) {
                    (_, false) => {}
                    (true, true) => path.push_str("{*rest}"),
                    (false, true) => path.push_str("/{*rest}"),
                }
                if path.contains('{') {
                    WrittenPath::Parameters(path)
                } else {
                    WrittenPath::Exact(path)
                }
            }
        };
        let priority = if self.one_in(12) { [-1, 0, 1][self.below(3)] } else { 0 };
        let predicates = if self.one_in(3) { self.predicates() } else { Predicates::default() };
        WrittenRule { host, path, method, priority, predicates }
    }

    fn predicates(&mut self) -> Predicates {
        let network = self.pick(&["10.0.0.0/8", "10.1.0.0/16", "192.0.2.1", "unix"]);
        let clients = [network.parse().unwrap()];
        Predicates {
            listeners: self.one_in(4).then(|| [ListenerId([0, 1][self.below(2)])].into()),
            clients: self.one_in(4).then(|| clients.into()),
            headers: self.values("x"),
            query: self.values("q"),
            cookies: self.values("c"),
        }
    }

    fn values(&mut self, name: &str) -> Box<[(Box<str>, ValuePattern)]> {
        let pattern = match self.below(8) {
            0 => ValuePattern::Present(Always),
            1 => ValuePattern::Absent(Always),
            2 => ValuePattern::Regex(BytesRegex::new("^[ab]$").unwrap()),
            3 => ValuePattern::Exact(self.pick(&["a", "b"]).to_owned()),
            _ => return [].into(),
        };
        [(name.into(), pattern)].into()
    }

    fn method(&mut self) -> &'static str {
        self.pick(&["GET", "POST", "GE", "PURGE"])
    }

    /// A request, made from a rule more often than not.
    fn request(&mut self, rules: &[WrittenRule]) -> Request {
        let path = self.path(&["a", "b", "aa", "", "c"]);
        let mut request = Request::plain(&self.host(5), &path, self.method());
        request.listener = [0, 1][self.below(2)];
        request.client = match self.pick(&["10.0.0.1", "10.1.0.1", "192.0.2.1", "unix"]) {
            "unix" => ClientAddress::Unix,
            ip => ClientAddress::of_ip(ip.parse().unwrap()),
        };
        if self.one_in(2) {
            request.headers.push_named(b"X", self.pick(&["a", "b"]).as_bytes());
        }
        if self.one_in(2) {
            request.headers.push_named(b"cookie", self.pick(&["c=a", "y=1; c=b", "c"]).as_bytes());
        }
        request.query =
            self.one_in(2).then(|| self.pick(&["q=a", "q=%62&q=a", "r=a", "q"]).to_owned());
        if !rules.is_empty() && !self.one_in(8) {
            let rule = &rules[self.below(rules.len())];
            if let Some(host) = &rule.host {
                let label = self.pick(&["a", "b", "b.a"]);
                request.host = host.replace('*', label);
            }
            match &rule.path {
                WrittenPath::Exact(path) | WrittenPath::Prefix(path) => {
                    request.path.clone_from(path);
                }
                WrittenPath::Parameters(path) => {
                    let rest = self.pick(&["", "a", "b/a"]);
                    let segment = self.pick(&["a", "b", "c"]);
                    request.path = path.replace("{*rest}", rest).replace("{x}", segment);
                }
                WrittenPath::Regex(_) => {}
            }
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

/// Regular expressions of paths.
const EXPRESSIONS: &[&str] = &["/a.*", "/.*a", "(/[ab]+)*/?", "/[^/]*", "/b(/.*)?", ".*"];

/// The number of requests in CI. The test takes a few seconds without optimisation.
const CASES: usize = 60_000;

const REQUESTS_PER_TABLE: usize = 100;

#[test]
fn the_router_agrees_with_a_linear_scan() {
    let cases = std::env::var("ROUTER_CASES").ok();
    let cases: usize = cases.map_or(CASES, |cases| cases.parse().unwrap());
    let mut dice = Dice(1);
    let (mut asked, mut ambiguous, mut wrong_method) = (0, 0, 0);
    while asked < cases {
        let size = 8 + dice.below(64);
        let rules: Vec<_> = (0..size).map(|_| dice.rule()).collect();
        let router = build(&rules);
        for _ in 0..REQUESTS_PER_TABLE {
            let request = dice.request(&rules);
            let expected = scan(&rules, &request);
            let found = router.find(&request.facts());
            let rules_of = |hit| match hit {
                Hit::Route(number) => Some(&rules[number as usize]),
                Hit::WrongMethod | Hit::None => None,
            };
            let (one, other) = (rules_of(found), rules_of(expected.hit));
            assert_eq!(found, expected.hit, "{request:?}\n{one:?}\n{other:?}");
            if found == Hit::WrongMethod {
                wrong_method += 1;
                assert_eq!(
                    router.methods(&request.facts()),
                    expected.methods,
                    "{request:?} {rules:#?}"
                );
            }
            asked += 1;
            ambiguous += usize::from(expected.matching >= 2);
        }
    }
    assert!(ambiguous * 2 >= asked, "only {ambiguous} of {asked} requests match two rules");
    assert!(wrong_method * 100 >= asked, "only {wrong_method} of {asked} ask for another method");
}
