//! The router against a linear scan over all routes, and its rules one by one.

use proptest::prelude::*;

use super::*;

/// What the router means: look at every rule, keep the best.
fn scan(rules: &[(Option<String>, String)], host: &str, path: &str) -> Option<u32> {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let host_rank = |rule: &Option<String>| match rule.as_deref() {
        None => Some(0),
        Some(rule) => match rule.to_ascii_lowercase().strip_prefix('*') {
            Some(suffix) => {
                (host.len() > suffix.len() && host.ends_with(suffix)).then_some(suffix.len())
            }
            None => (host == rule.to_ascii_lowercase()).then_some(usize::MAX),
        },
    };
    let path_rank = |prefix: &str| {
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let rest = path.strip_prefix(prefix)?;
        (prefix.is_empty() || rest.is_empty() || rest.starts_with('/')).then_some(prefix.len())
    };
    (0..)
        .zip(rules)
        .filter_map(|(number, (rule, prefix))| Some((host_rank(rule)?, path_rank(prefix)?, number)))
        .max()
        .map(|(_, _, number)| number)
}

fn build(rules: &[(Option<String>, String)]) -> Router {
    let mut router = Router::default();
    for (number, (host, prefix)) in (0..).zip(rules) {
        let host = host.as_deref().map_or(HostRule::Any, HostRule::of);
        assert_eq!(router.insert(host, prefix, number), None);
    }
    router
}

fn find(rules: &[(Option<&str>, &str)], host: &str, path: &str) -> Option<u32> {
    let owned: Vec<_> =
        rules.iter().map(|(host, path)| (host.map(str::to_owned), (*path).to_owned())).collect();
    let found = build(&owned).find(host.as_bytes(), path.as_bytes());
    assert_eq!(found, scan(&owned, host, path), "router and scan differ on {host} {path}");
    found
}

/// Few letters, so that hosts and rules often meet.
fn host() -> impl Strategy<Value = String> {
    "[abA]{1,2}(\\.[ab]){0,4}\\.?"
}

fn path() -> impl Strategy<Value = String> {
    "(/[ab]{0,2}){1,5}"
}

fn rule() -> impl Strategy<Value = (Option<String>, String)> {
    (prop::option::of("(\\*\\.)?[abB]{1,2}(\\.[ab]){0,3}"), "(/[ab]{1,2}){0,4}/?")
        .prop_map(|(host, prefix)| (host, if prefix.is_empty() { "/".to_owned() } else { prefix }))
}

proptest! {
    #[test]
    fn the_router_agrees_with_a_linear_scan(
        rules in prop::collection::vec(rule(), 0..24),
        asked in prop::collection::vec((host(), path()), 1..24),
    ) {
        let mut rules = rules;
        let key = |rule: &(Option<String>, String)| {
            let host = rule.0.as_deref().map(str::to_ascii_lowercase);
            (host, rule.1.strip_suffix('/').unwrap_or(&rule.1).to_owned())
        };
        rules.sort_by_key(key);
        rules.dedup_by_key(|rule| key(rule));
        let router = build(&rules);
        for (host, path) in asked {
            prop_assert_eq!(
                router.find(host.as_bytes(), path.as_bytes()),
                scan(&rules, &host, &path),
                "{} {}", host, path
            );
        }
    }
}

#[test]
fn an_exact_host_goes_before_a_wildcard_and_that_before_any() {
    let rules = [(None, "/"), (Some("*.b.c"), "/"), (Some("a.b.c"), "/"), (Some("*.c"), "/")];
    assert_eq!(find(&rules, "a.b.c", "/"), Some(2));
    assert_eq!(find(&rules, "x.b.c", "/"), Some(1));
    assert_eq!(find(&rules, "y.x.b.c", "/"), Some(1));
    assert_eq!(find(&rules, "b.c", "/"), Some(3));
    assert_eq!(find(&rules, "c", "/"), Some(0));
    assert_eq!(find(&rules, "", "/"), Some(0));
}

#[test]
fn a_host_without_a_route_for_the_path_leaves_it_to_the_next() {
    let rules = [(Some("a.b"), "/x"), (Some("*.b"), "/y"), (None, "/")];
    assert_eq!(find(&rules, "a.b", "/x"), Some(0));
    assert_eq!(find(&rules, "a.b", "/y"), Some(1));
    assert_eq!(find(&rules, "a.b", "/z"), Some(2));
}

#[test]
fn case_and_a_dot_at_the_end_of_a_host_do_not_matter() {
    let rules = [(Some("API.example.com"), "/")];
    assert_eq!(find(&rules, "api.EXAMPLE.com", "/"), Some(0));
    assert_eq!(find(&rules, "api.example.com.", "/"), Some(0));
    assert_eq!(find(&rules, "api.example.com..", "/"), None);
}

#[test]
fn a_prefix_matches_whole_segments() {
    let rules = [(None, "/users"), (None, "/users/admin/")];
    assert_eq!(find(&rules, "h", "/users"), Some(0));
    assert_eq!(find(&rules, "h", "/users/"), Some(0));
    assert_eq!(find(&rules, "h", "/users/1"), Some(0));
    assert_eq!(find(&rules, "h", "/users/admin"), Some(1));
    assert_eq!(find(&rules, "h", "/users/admin/x"), Some(1));
    assert_eq!(find(&rules, "h", "/users/administrator"), Some(0));
    assert_eq!(find(&rules, "h", "/usersx"), None);
    assert_eq!(find(&rules, "h", "//users"), None);
    assert_eq!(find(&rules, "h", "/"), None);
}

#[test]
fn the_root_takes_every_path_even_none() {
    let rules = [(None, "/")];
    for path in ["/", "/a/b", "//", "*", ""] {
        assert_eq!(find(&rules, "h", path), Some(0), "{path}");
    }
}

#[test]
fn a_place_that_is_taken_is_reported() {
    let mut router = Router::default();
    assert_eq!(router.insert(HostRule::of("A.b"), "/x", 0), None);
    assert_eq!(router.insert(HostRule::of("a.B"), "/x/", 1), Some(0));
    assert_eq!(router.insert(HostRule::of("*.a.b"), "/x", 2), None);
    assert_eq!(router.find(b"a.b", b"/x"), Some(0));
}

#[test]
fn a_host_that_is_too_long_is_no_host() {
    let rules = [(Some("*.b"), "/"), (None, "/")];
    let long = format!("{}.b", "a.".repeat(200));
    let owned: Vec<_> =
        rules.iter().map(|(h, p)| (h.map(str::to_owned), (*p).to_owned())).collect();
    assert_eq!(build(&owned).find(long.as_bytes(), b"/"), Some(1));
}
