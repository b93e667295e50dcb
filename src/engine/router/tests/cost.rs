//! Measures a lookup: `cargo test --release -p engine -- --ignored --nocapture lookup`.

use std::hint::black_box;
use std::time::Instant;

use super::super::*;
use super::model::Request;

/// Hosts, paths and methods of `count` routes like those of an operator with many services: a third
/// by exact host, a third by wildcard, a third by path alone.
fn routes(count: usize) -> Vec<(String, String, Option<&'static str>)> {
    let route = |number: usize| {
        let method = number.is_multiple_of(4).then_some("GET");
        match number % 3 {
            0 => ("".to_owned(), format!("/api/v{}/service-{number}", number % 5), method),
            1 => (format!("host-{number}.example.com"), format!("/v1/{}", number % 7), method),
            _ => (format!("*.tenant-{number}.example.org"), "/".to_owned(), method),
        }
    };
    (0..count).map(route).collect()
}

fn router(routes: &[(String, String, Option<&str>)]) -> Router {
    let rules = (0..).zip(routes).map(|(route, (host, path, method))| RouteRule {
        host: if host.is_empty() { HostPattern::Any } else { HostPattern::of(host) },
        path: if path.contains('{') {
            PathPattern::Parameters(path)
        } else {
            PathPattern::Prefix(path)
        },
        method: *method,
        priority: 0,
        predicates: 0,
        route,
    });
    Router::new(rules, Vec::new())
}

#[test]
#[ignore = "measures; for a release build on a quiet machine"]
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement")]
fn measure_a_lookup() {
    for count in [1, 10, 1_000, 10_000] {
        let routes = routes(count);
        let router = router(&routes);
        let requests: Vec<_> = (0..1 << 16)
            .map(|number: usize| {
                // The step has no factor in common with the counts, so the requests visit every route,
                // each far from the one before.
                let (host, path, _) = &routes[number * 7_919 % count];
                let host = match host.strip_prefix('*') {
                    Some(suffix) => format!("a{suffix}"),
                    None if host.is_empty() => "www.example.net".to_owned(),
                    None => host.clone(),
                };
                Request::plain(&host, &format!("{path}/users/{number}"), "GET")
            })
            .collect();
        let mut rounds: Vec<_> = (0..21)
            .map(|_| {
                let start = Instant::now();
                for request in &requests {
                    let hit = router.find(&request.facts());
                    assert!(matches!(black_box(hit), Hit::Route(_)));
                }
                start.elapsed().as_nanos() as f64 / requests.len() as f64
            })
            .collect();
        rounds.sort_by(f64::total_cmp);
        let start = Instant::now();
        let copy = black_box(router.clone());
        let copied = start.elapsed();
        drop(copy);
        println!(
            "{count:6} routes: {:6.1} ns per lookup (median of 21 rounds, {:.1} to {:.1}), copy of \
             the router in {copied:?}",
            rounds[10], rounds[0], rounds[20]
        );
    }
}
