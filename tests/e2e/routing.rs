//! The upstream that a request goes to, and the answer if it goes nowhere.

use crate::harness::{Client, Endpoint, Gateway, Response, is_request_id};

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
