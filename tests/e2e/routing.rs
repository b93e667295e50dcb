//! The upstream that a request goes to, and the answer if it goes nowhere.

use crate::harness::{Client, Endpoint, Gateway, Response, free_address, is_request_id};

/// A gateway with four routes, each to an endpoint that says which it is.
struct Routed {
    gateway: Gateway,
    _endpoints: Vec<Endpoint>,
}

fn routed() -> Routed {
    let endpoints: Vec<_> = ["exact", "api", "deep", "wildcard"].map(Endpoint::saying).into();
    let mut text = "version = 1\n[listeners.web]\naddress = \"127.0.0.1:0\"\n".to_owned();
    let matches = [
        ("exact", "hosts = [\"example.com\"]"),
        ("api", "hosts = [\"example.com\"], path_prefix = \"/api\""),
        ("deep", "hosts = [\"example.com\"], path_prefix = \"/api/v1\""),
        ("wildcard", "hosts = [\"*.example.org\"]"),
    ];
    for ((name, matches), endpoint) in matches.iter().zip(&endpoints) {
        let address = endpoint.address();
        text += &format!(
            "[upstreams.{name}]\nendpoints = [\"{address}\"]\n\
             [routes.{name}]\nmatch = {{ {matches} }}\nupstream = \"{name}\"\n"
        );
    }
    Routed { gateway: Gateway::configured(&text), _endpoints: endpoints }
}

fn ask(client: &mut Client, target: &str, host: &str) -> Response {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client.response()
}

#[test]
fn host_and_path_prefix_choose_the_upstream() {
    let routed = routed();
    let mut client = routed.gateway.client();
    for (host, target, upstream) in [
        ("example.com", "/", "exact"),
        ("example.com", "/users", "exact"),
        ("example.com", "/api", "api"),
        ("example.com", "/api/", "api"),
        ("example.com", "/api/users?v1", "api"),
        ("example.com", "/api/v1", "deep"),
        ("example.com", "/api/v1/users", "deep"),
        ("example.com", "/api/v10", "api"),
        ("example.com", "/apix", "exact"),
        ("example.com", "/?/api", "exact"),
        ("a.example.org", "/", "wildcard"),
        ("a.b.example.org", "/api", "wildcard"),
    ] {
        let response = ask(&mut client, target, host);
        assert_eq!((response.status, response.text()), (200, upstream), "{host} {target}");
    }
}

#[test]
fn a_host_is_compared_without_case_port_and_scheme() {
    let routed = routed();
    let mut client = routed.gateway.client();
    for (host, target, upstream) in [
        ("EXAMPLE.com", "/", "exact"),
        ("example.com:8080", "/api", "api"),
        ("A.Example.ORG:1", "/", "wildcard"),
        ("example.com", "http://example.com/api", "api"),
        ("example.com", "HTTP://EXAMPLE.COM", "exact"),
    ] {
        let response = ask(&mut client, target, host);
        assert_eq!((response.status, response.text()), (200, upstream), "{host} {target}");
    }
}

#[test]
fn a_request_without_a_route_is_answered_404_and_the_connection_goes_on() {
    let routed = routed();
    let mut client = routed.gateway.client();
    for host in ["other.com", "example.org", "aexample.org", "www.example.com", "127.0.0.1"] {
        ask(&mut client, "/", host).assert_is_reply(404, "no_route");
    }
    let response = ask(&mut client, "/", "example.com");
    assert_eq!(response.text(), "exact");
}

#[test]
fn an_answer_of_the_gateway_is_text_for_a_client_that_prefers_text() {
    let routed = routed();
    let mut client = routed.gateway.client();
    for accept in ["text/plain", "text/html, application/json;q=0.5"] {
        client.send(format!("GET / HTTP/1.1\r\nHost: other.com\r\nAccept: {accept}\r\n\r\n"));
        let response = client.response();
        assert_eq!(response.status, 404);
        let kind = response.header("content-type").unwrap();
        assert!(kind.starts_with("text/plain"), "{kind}");
        assert!(response.text().contains("no_route"), "{}", response.text());
        assert!(response.text().split([' ', ')', '\n']).any(is_request_id), "{}", response.text());
    }
    for accept in ["application/json", "*/*"] {
        client.send(format!("GET / HTTP/1.1\r\nHost: other.com\r\nAccept: {accept}\r\n\r\n"));
        client.response().assert_is_reply(404, "no_route");
    }
}

#[test]
fn an_answer_of_the_gateway_to_head_has_a_length_and_no_body() {
    let routed = routed();
    let mut client = routed.gateway.client();
    client.send("HEAD / HTTP/1.1\r\nHost: other.com\r\n\r\n");
    let response = client.response_to_head();
    assert_eq!(response.status, 404);
    let length: usize = response.header("content-length").unwrap().parse().unwrap();
    assert!(length > 50);
    assert_eq!(ask(&mut client, "/", "example.com").text(), "exact");
}

/// A route that answers with its name.
fn says(name: &str, matches: &str) -> String {
    format!(
        "[routes.{name}]\nmatch = {{ {matches} }}\nreply = {{ status = 200, body = \"{name}\" }}\n"
    )
}

fn answering(listeners: &str, routes: &[(&str, &str)]) -> Gateway {
    let routes: String = routes.iter().map(|(name, matches)| says(name, matches)).collect();
    Gateway::configured(&format!("version = 1\n{listeners}{routes}"))
}

const WEB: &str =
    "[listeners.web]\naddress = \"127.0.0.1:0\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n";

#[test]
fn a_path_may_have_parameters_or_be_an_expression() {
    let gateway = answering(
        WEB,
        &[
            ("new", "path = \"/items/new\""),
            ("item", "path = \"/items/{id}\""),
            ("rest", "path = \"/items/{id}/{*rest}\""),
            ("version", "path_regex = \"/v[0-9]+(/.*)?\""),
            ("items", "path_prefix = \"/items\""),
        ],
    );
    let mut client = gateway.client();
    for (target, route) in [
        ("/items/new", "new"),
        ("/items/new?a", "new"),
        ("/items/7", "item"),
        ("/items/%6eew", "new"),
        ("/items/7/", "rest"),
        ("/items/7/a/b", "rest"),
        ("/items/", "items"),
        ("/v12", "version"),
        ("/v12/x", "version"),
    ] {
        let response = ask(&mut client, target, "h");
        assert_eq!((response.status, response.text()), (200, route), "{target}");
    }
    for target in ["/v", "/v1x", "/x/v1"] {
        ask(&mut client, target, "h").assert_is_reply(404, "no_route");
    }
}

#[test]
fn headers_query_cookies_and_clients_choose_the_route() {
    let gateway = answering(
        WEB,
        &[
            ("plain", "path = \"/\""),
            ("beta", "path = \"/\", headers = { X-Beta = \"1\" }"),
            (
                "debug",
                "path = \"/\", query = { debug = { present = true }, level = { regex = \"^[0-9]$\" } }",
            ),
            ("group", "path = \"/\", cookies = { group = { prefix = \"b\" } }, priority = 1"),
            ("office", "path = \"/\", clients = [\"10.0.0.0/8\"], priority = 2"),
        ],
    );
    let mut client = gateway.client();
    for (target, fields, route) in [
        ("/", "", "plain"),
        ("/", "x-beta: 1\r\n", "beta"),
        ("/", "x-beta: 2\r\n", "plain"),
        ("/?debug", "", "plain"),
        ("/?debug&level=3", "x-beta: 1\r\n", "debug"),
        ("/?debu%67&level=%33", "", "debug"),
        ("/", "Cookie: a=b; group=b1\r\nx-beta: 1\r\n", "group"),
        ("/", "Cookie: group=a\r\n", "plain"),
        ("/", "X-Forwarded-For: 10.1.2.3\r\nCookie: group=b\r\n", "office"),
        ("/", "X-Forwarded-For: 11.1.2.3\r\n", "plain"),
    ] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, route), "{target} {fields}");
    }
}

#[test]
fn a_listener_has_routes_of_its_own() {
    let back = free_address();
    let gateway = answering(
        &format!("{WEB}[listeners.back]\naddress = \"{back}\"\n"),
        &[("both", "path = \"/\""), ("inner", "path = \"/x\", listeners = [\"back\"]")],
    );
    let mut client = gateway.client();
    assert_eq!(ask(&mut client, "/", "h").text(), "both");
    ask(&mut client, "/x", "h").assert_is_reply(404, "no_route");
    let mut client = Client::connect(back);
    assert_eq!(ask(&mut client, "/", "h").text(), "both");
    assert_eq!(ask(&mut client, "/x", "h").text(), "inner");
}

#[test]
fn a_method_is_refused_only_if_all_else_fits() {
    let gateway = answering(
        WEB,
        &[("put", "path = \"/\", methods = [\"PUT\"], headers = { x = { present = true } }")],
    );
    let mut client = gateway.client();
    ask(&mut client, "/", "h").assert_is_reply(404, "no_route");
    client.send("GET / HTTP/1.1\r\nHost: h\r\nX: 1\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.header("allow")), (405, Some("PUT")));
}
