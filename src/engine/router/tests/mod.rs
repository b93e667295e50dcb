//! The rules of the router one by one. `model` compares it with a linear scan, `cost` measures it.

mod cost;
mod model;

use super::*;
use model::{Request, WrittenRule, scan};

/// A rule: host, path with a star at its end for a prefix, method.
fn rule(host: &str, path: &str, method: &str) -> WrittenRule {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let (path, is_exact) = match path.strip_suffix('*') {
        Some(prefix) => (prefix, false),
        None => (path, true),
    };
    WrittenRule { host: text(host), path: path.to_owned(), is_exact, method: text(method) }
}

/// The result of the router and of the linear scan, which must agree. Rules are numbered in order.
fn find(rules: &[WrittenRule], host: &str, path: &str, method: &str) -> Hit {
    let router = model::build(rules);
    let found = router.find(host.as_bytes(), path.as_bytes(), method.as_bytes());
    let (host, path, method) = (host.to_owned(), path.to_owned(), method.to_owned());
    let request = Request { host, path, method };
    assert_eq!(found, scan(rules, &request).hit, "router and scan differ on {request:?}");
    found
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
    let router = model::build(&rules);
    assert_eq!(router.methods(b"a.b", b"/x"), ["GET", "POST", "PUT"]);
    assert_eq!(router.methods(b"a.b", b"/x/"), ["GET", "POST"]);
    assert_eq!(router.methods(b"c.d", b"/z"), [""; 0]);
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
    let router = model::build(&rules);
    assert_eq!(router.find(b"a.b", b"/x", b"GET"), Hit::Route(0));
    assert_eq!(router.find(b"a.b", b"/y", b"GET"), Hit::Route(2));
}

#[test]
fn a_host_that_is_too_long_is_no_host() {
    let rules = [rule("*.b", "/*", ""), rule("", "/*", "")];
    let long = format!("{}.b", "a.".repeat(200));
    assert_eq!(model::build(&rules).find(long.as_bytes(), b"/", b"GET"), Hit::Route(1));
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
