//! The rules of the router one by one. `model` compares it with a linear scan, `cost` measures it.

mod cost;
mod model;

use super::*;
use model::{Request, WrittenPath, WrittenRule, scan};

use crate::pattern::{Always, ValuePattern};

/// A rule: host, path with a star at its end for a prefix and a tilde in front for an expression,
/// method.
fn rule(host: &str, path: &str, method: &str) -> WrittenRule {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let path = match (path.strip_prefix('~'), path.strip_suffix('*')) {
        (Some(regex), _) => WrittenPath::Regex(BytesRegex::whole(regex).unwrap()),
        (_, Some(prefix)) => WrittenPath::Prefix(prefix.to_owned()),
        _ if path.contains('{') => WrittenPath::Parameters(path.to_owned()),
        _ => WrittenPath::Exact(path.to_owned()),
    };
    let predicates = Predicates::default();
    WrittenRule { host: text(host), path, method: text(method), priority: 0, predicates }
}

/// A rule that also asks for these headers, each with any value.
fn with_headers(mut rule: WrittenRule, names: &[&str]) -> WrittenRule {
    let present = |name: &&str| ((*name).into(), ValuePattern::Present(Always));
    rule.predicates.headers = names.iter().map(present).collect();
    rule
}

/// The result of the router and of the linear scan, which must agree. Rules are numbered in order.
fn find(rules: &[WrittenRule], host: &str, path: &str, method: &str) -> Hit {
    find_request(rules, &Request::plain(host, path, method))
}

fn find_request(rules: &[WrittenRule], request: &Request) -> Hit {
    let found = model::build(rules).find(&request.facts());
    assert_eq!(found, scan(rules, request).hit, "router and scan differ on {request:?}");
    found
}

/// The methods that a request could have.
fn methods(rules: &[WrittenRule], host: &str, path: &str) -> Vec<String> {
    let request = Request::plain(host, path, "GET");
    let router = model::build(rules);
    router.methods(&request.facts()).into_iter().map(str::to_owned).collect()
}

#[test]
fn an_exact_host_goes_before_a_wildcard_and_that_before_any() {
    let rules = [
        rule("", "/*", ""),
        rule("*.b.c", "/*", ""),
        rule("a.b.c", "/*", ""),
        rule("*.c", "/*", ""),
    ];
    for (host, route) in
        [("a.b.c", 2), ("x.b.c", 1), ("y.x.b.c", 1), ("b.c", 3), ("c", 0), ("", 0), (".c", 3)]
    {
        assert_eq!(find(&rules, host, "/", "GET"), Hit::Route(route), "{host}");
    }
}

#[test]
fn an_exact_path_goes_before_a_prefix_and_that_before_a_shorter_one() {
    let rules =
        [rule("", "/a/b", ""), rule("", "/a/b*", ""), rule("", "/a*", ""), rule("", "/", "")];
    for (path, route) in [("/a/b", 0), ("/a/b/", 1), ("/a/b/c", 1), ("/a/c", 2), ("/a", 2)] {
        assert_eq!(find(&rules, "h", path, "GET"), Hit::Route(route), "{path}");
    }
    assert_eq!(find(&rules, "h", "/", "GET"), Hit::Route(3));
    for path in ["/b", "//", "", "*"] {
        assert_eq!(find(&rules, "h", path, "GET"), Hit::None, "{path}");
    }
}

#[test]
fn a_route_that_names_the_method_goes_before_one_that_takes_any() {
    let rules = [rule("", "/*", ""), rule("", "/*", "GET"), rule("", "/*", "POST")];
    for (method, route) in [("GET", 1), ("POST", 2), ("PUT", 0), ("get", 0), ("", 0)] {
        assert_eq!(find(&rules, "h", "/", method), Hit::Route(route), "{method}");
    }
}

#[test]
fn the_host_counts_more_than_the_path_and_the_path_more_than_the_method() {
    let rules = [rule("", "/a", "GET"), rule("a.b", "/*", ""), rule("", "/a*", "GET")];
    assert_eq!(find(&rules, "a.b", "/a", "GET"), Hit::Route(1));
    let rules = [rule("", "/a/b*", ""), rule("", "/a*", "GET")];
    assert_eq!(find(&rules, "h", "/a/b", "GET"), Hit::Route(0));
}

#[test]
fn a_host_or_path_without_a_route_for_the_method_leaves_the_request_to_the_next() {
    let rules = [
        rule("a.b", "/x*", "PUT"),
        rule("a.b", "/x/y", "POST"),
        rule("*.b", "/y*", ""),
        rule("", "/*", ""),
    ];
    for (path, method, route) in [
        ("/x/y", "POST", 1),
        ("/x/y", "PUT", 0),
        ("/x/y", "GET", 3),
        ("/y", "GET", 2),
        ("/z", "GET", 3),
    ] {
        assert_eq!(find(&rules, "a.b", path, method), Hit::Route(route), "{method} {path}");
    }
}

#[test]
fn the_answer_names_other_methods_only_if_no_route_takes_the_request() {
    let rules = [
        rule("a.b", "/x", "PUT"),
        rule("a.b", "/*", "GET"),
        rule("*.b", "/x*", "POST"),
        rule("*.b", "/y*", "TRACE"),
        rule("", "/x*", "GET"),
    ];
    assert_eq!(find(&rules, "a.b", "/x", "DELETE"), Hit::WrongMethod);
    assert_eq!(find(&rules, "c.d", "/z", "GET"), Hit::None);
    assert_eq!(methods(&rules, "a.b", "/x"), ["GET", "POST", "PUT"]);
    assert_eq!(methods(&rules, "a.b", "/x/"), ["GET", "POST"]);
    assert_eq!(methods(&rules, "c.d", "/z"), [""; 0]);
}

#[test]
fn case_and_a_dot_at_the_end_of_a_host_do_not_matter() {
    let rules = [rule("API.example.com", "/*", "")];
    assert_eq!(find(&rules, "api.EXAMPLE.com", "/", "GET"), Hit::Route(0));
    assert_eq!(find(&rules, "api.example.com.", "/", "GET"), Hit::Route(0));
    assert_eq!(find(&rules, "api.example.com..", "/", "GET"), Hit::None);
}

#[test]
fn a_prefix_matches_whole_segments() {
    let rules = [rule("", "/users*", ""), rule("", "/users/admin/*", "")];
    for (path, route) in [
        ("/users", 0),
        ("/users/", 0),
        ("/users//", 0),
        ("/users/1", 0),
        ("/users/admin", 1),
        ("/users/admin/x", 1),
        ("/users/administrator", 0),
    ] {
        assert_eq!(find(&rules, "h", path, "GET"), Hit::Route(route), "{path}");
    }
    for path in ["/usersx", "//users", "/", "users", "/Users"] {
        assert_eq!(find(&rules, "h", path, "GET"), Hit::None, "{path}");
    }
}

#[test]
fn an_exact_path_is_compared_byte_for_byte() {
    let rules = [rule("", "/a", ""), rule("", "/b/", ""), rule("", "/", "")];
    for (path, route) in [("/a", 0), ("/b/", 1), ("/", 2)] {
        assert_eq!(find(&rules, "h", path, "GET"), Hit::Route(route), "{path}");
    }
    for path in ["/a/", "/b", "/b//", "//", "", "/A", "/%61", "/a/b", "a", "/b/c"] {
        assert_eq!(find(&rules, "h", path, "GET"), Hit::None, "{path}");
    }
}

#[test]
fn the_root_takes_every_path_even_none() {
    let rules = [rule("", "/*", "")];
    for path in ["/", "/a/b", "//", "*", ""] {
        assert_eq!(find(&rules, "h", path, "GET"), Hit::Route(0), "{path}");
    }
}

#[test]
fn of_equal_rules_the_first_one_counts() {
    let rules = [
        rule("A.b", "/x*", "GET"),
        rule("a.B", "/x/*", "GET"),
        rule("a.b", "/y", ""),
        rule("a.b", "/y", ""),
    ];
    assert_eq!(find(&rules, "a.b", "/x", "GET"), Hit::Route(0));
    assert_eq!(find(&rules, "a.b", "/y", "GET"), Hit::Route(2));
}

#[test]
fn a_host_that_is_too_long_is_no_host() {
    let rules = [rule("*.b", "/*", ""), rule("", "/*", "")];
    let long = format!("{}.b", "a.".repeat(200));
    let request = Request::plain(&long, "/", "GET");
    assert_eq!(model::build(&rules).find(&request.facts()), Hit::Route(1));
}

#[test]
fn a_host_of_dots_alone_is_looked_up_like_any_other() {
    let rules = [rule("*.b", "/*", ""), rule("", "/*", "")];
    for host in [".", "..", &".".repeat(253), &".".repeat(300)] {
        assert_eq!(find(&rules, host, "/", "GET"), Hit::Route(1), "{host}");
    }
}

#[test]
fn a_table_without_routes_has_no_route() {
    assert_eq!(find(&[], "a.b", "/", "GET"), Hit::None);
}

#[test]
fn a_path_with_parameters_goes_behind_an_exact_one_and_before_expressions_and_prefixes() {
    let rules = [
        rule("", "/items/new", ""),
        rule("", "/items/{id}", ""),
        rule("", "~/items/[0-9]*", ""),
        rule("", "/items*", ""),
        rule("", "/items/{id}/{*rest}", ""),
        rule("", "/items/{id}/edit", ""),
        rule("", "~/[a-z]+/.*", ""),
    ];
    for (path, route) in [
        ("/items/new", 0),
        ("/items/7", 1),
        ("/items/", 2),
        ("/items", 3),
        ("/items/7/", 4),
        ("/items/7/x/y", 4),
        ("/items/7/edit", 5),
        ("/items/new/edit", 5),
        ("/items/new/edit/", 4),
        ("/other/x", 6),
        ("/items//x", 6),
    ] {
        assert_eq!(find(&rules, "h", path, "GET"), Hit::Route(route), "{path}");
    }
}

#[test]
fn paths_with_parameters_are_compared_from_the_left() {
    let rules = [rule("", "/{a}/x", ""), rule("", "/y/{b}", ""), rule("", "/{a}/{*rest}", "")];
    assert_eq!(find(&rules, "h", "/y/x", "GET"), Hit::Route(1));
    assert_eq!(find(&rules, "h", "/z/x", "GET"), Hit::Route(0));
    // A dead end behind "/y" leads back to the parameter.
    assert_eq!(find(&rules, "h", "/y/x/z", "GET"), Hit::Route(2));
}

#[test]
fn a_priority_goes_before_host_and_path() {
    let mut rules = [rule("a.b", "/x", "GET"), rule("", "/*", ""), rule("a.b", "/*", "")];
    assert_eq!(find(&rules, "a.b", "/x", "GET"), Hit::Route(0));
    rules[1].priority = 1;
    assert_eq!(find(&rules, "a.b", "/x", "GET"), Hit::Route(1));
    rules[2].priority = 2;
    assert_eq!(find(&rules, "a.b", "/x", "GET"), Hit::Route(2));
    rules[0].priority = -1;
    (rules[1].priority, rules[2].priority) = (-2, -2);
    assert_eq!(find(&rules, "a.b", "/x", "GET"), Hit::Route(0));
}

#[test]
fn of_equal_paths_the_route_with_more_predicates_goes_first() {
    let rules = [
        rule("", "/*", "GET"),
        with_headers(rule("", "/*", ""), &["x"]),
        with_headers(rule("", "/*", ""), &["x", "y"]),
        with_headers(rule("", "/a/b*", ""), &["z"]),
    ];
    let mut request = Request::plain("h", "/a/b", "GET");
    for (header, route) in [("w", 0), ("x", 1), ("y", 2), ("z", 3)] {
        request.headers.push_named(header.as_bytes(), b"1");
        assert_eq!(find_request(&rules, &request), Hit::Route(route), "{header}");
    }
}

#[test]
fn a_method_is_wrong_only_if_all_else_fits() {
    let rules = [with_headers(rule("", "/*", "PUT"), &["x"]), rule("", "/a", "POST")];
    let mut request = Request::plain("h", "/", "GET");
    assert_eq!(find_request(&rules, &request), Hit::None);
    request.headers.push_named(b"x", b"1");
    assert_eq!(find_request(&rules, &request), Hit::WrongMethod);
    assert_eq!(methods(&rules, "h", "/a"), ["POST"]);
}
