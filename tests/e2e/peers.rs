//! The peers whose statements about the client the gateway believes.

use std::fs;

use crate::harness::{Client, Endpoint, Gateway, Request, eventually, is_request_id};

const CLAIMS: &str = "X-Forwarded-For: 6.6.6.6, 203.0.113.9\r\n\
    X-Forwarded-Proto: https\r\n\
    X-Forwarded-Host: shop.example:8443\r\n\
    X-Forwarded-Port: 8443\r\n\
    Forwarded: for=203.0.113.9;proto=https\r\n\
    X-Real-IP: 203.0.113.9\r\n\
    X-Request-Id: edge-0001\r\n";

/// How a request with `fields` arrives, when the listener has `line`.
fn forwarded(line: &str, fields: &str) -> (Request, u16) {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).listener(line).start();
    let mut client = gateway.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n"));
    assert_eq!(client.response().status, 200);
    (endpoint.only_request(), gateway.address().port())
}

#[test]
fn no_client_is_trusted_by_default() {
    for line in ["", "trusted_proxies = [\"10.0.0.0/8\", \"unix\"]"] {
        let (request, port) = forwarded(line, CLAIMS);
        assert_eq!(request.values("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(request.values("x-forwarded-proto"), ["http"]);
        assert_eq!(request.values("x-forwarded-host"), ["example.com"]);
        assert_eq!(request.values("x-forwarded-port"), [port.to_string()]);
        assert!(!request.has("forwarded") && !request.has("x-real-ip"), "{request:?}");
        let ids = request.values("x-request-id");
        assert!(ids.len() == 1 && is_request_id(ids[0]), "{ids:?}");
    }
}

#[test]
fn a_trusted_proxy_is_believed_and_added_to() {
    let (request, _) = forwarded("trusted_proxies = [\"127.0.0.0/8\"]", CLAIMS);
    assert_eq!(request.values("x-forwarded-for"), ["6.6.6.6, 203.0.113.9, 127.0.0.1"]);
    assert_eq!(request.values("x-forwarded-proto"), ["https"]);
    assert_eq!(request.values("x-forwarded-host"), ["shop.example:8443"]);
    assert_eq!(request.values("x-forwarded-port"), ["8443"]);
    assert_eq!(
        request.values("forwarded"),
        ["for=203.0.113.9;proto=https, for=127.0.0.1;host=\"example.com\";proto=http"]
    );
    assert_eq!(request.values("x-real-ip"), ["203.0.113.9"]);
    assert_eq!(request.values("x-request-id"), ["edge-0001"]);
}

#[test]
fn the_fields_of_a_trusted_proxy_must_be_sound() {
    let (request, port) = forwarded(
        "trusted_proxies = [\"127.0.0.1\"]",
        "X-Forwarded-Proto: no scheme\r\n\
         X-Forwarded-Host: a/b\r\n\
         X-Forwarded-Port: 70000\r\n\
         X-Request-Id: one two\r\n",
    );
    assert_eq!(request.values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(request.values("x-forwarded-proto"), ["http"]);
    assert_eq!(request.values("x-forwarded-host"), ["example.com"]);
    assert_eq!(request.values("x-forwarded-port"), [port.to_string()]);
    assert!(!request.has("forwarded"), "none is begun");
    assert!(is_request_id(request.header("x-request-id").unwrap()));
}

#[test]
fn the_scheme_that_a_trusted_proxy_says_passes_as_it_came() {
    for (fields, protos, ports) in [
        ("X-Forwarded-Proto: wss\r\nX-Forwarded-Port: 443\r\n", vec!["wss"], vec!["443"]),
        ("X-Forwarded-Proto: HTTPS\r\n", vec!["HTTPS"], vec![]),
        ("X-Forwarded-Proto: https, http\r\n", vec!["https, http"], vec![]),
        ("X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n", vec!["https", "http"], vec![]),
        // No field that the gateway adds contradicts another field of the proxy.
        ("X-Forwarded-Port: 443\r\n", vec!["https"], vec!["443"]),
        ("Forwarded: proto=http, for=1.2.3.4;Proto=\"wss\"\r\n", vec!["wss"], vec![]),
        ("Forwarded: for=1.2.3.4\r\nX-Forwarded-Port: 443\r\n", vec!["https"], vec!["443"]),
        ("X-Forwarded-Port: 8080\r\n", vec!["http"], vec!["8080"]),
    ] {
        let (request, _) = forwarded("trusted_proxies = [\"127.0.0.1\"]", fields);
        assert_eq!(request.values("x-forwarded-proto"), protos, "{fields}");
        assert_eq!(request.values("x-forwarded-port"), ports, "{fields}");
    }
}

#[test]
fn our_port_is_not_put_beside_the_scheme_of_a_proxy() {
    let (request, _) =
        forwarded("trusted_proxies = [\"127.0.0.1\"]", "X-Forwarded-Proto: https\r\n");
    assert!(!request.has("x-forwarded-port"), "{:?}", request.headers);
}

#[test]
fn fields_that_a_trusted_proxy_lists_in_connection_end_at_the_gateway() {
    let (request, _) = forwarded(
        "trusted_proxies = [\"127.0.0.1\"]",
        &format!("{CLAIMS}Connection: x-request-id, x-forwarded-for\r\n"),
    );
    assert!(is_request_id(request.header("x-request-id").unwrap()));
    assert_eq!(request.values("x-forwarded-for"), ["127.0.0.1"]);
}

#[test]
fn the_log_and_answers_have_the_client_and_the_id_that_a_trusted_proxy_names() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint])
        .listener("trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]")
        .and("[routes.none]\nmatch = { path = \"/none\" }\nupstream = \"nobody\"")
        .and("[upstreams.nobody]\nendpoints = [\"127.0.0.1:1\"]")
        .and(&format!("[access_log]\nto = \"{}\"", log.display()))
        .start();
    let mut client = gateway.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{CLAIMS}X-Forwarded-For: 10.1.1.1\r\n\r\n"));
    assert_eq!(client.response().status, 200);
    client.send(format!("GET /none HTTP/1.1\r\nHost: a\r\n{CLAIMS}\r\n"));
    let refused = client.response();
    assert!(refused.text().contains("\"request_id\":\"edge-0001\""), "{}", refused.text());
    let lines = || fs::read_to_string(&log).unwrap_or_default();
    eventually("both are logged", || lines().lines().count() == 2);
    for line in lines().lines() {
        assert!(
            line.contains("\"request_id\":\"edge-0001\",\"client\":\"203.0.113.9\","),
            "{line}"
        );
    }
    gateway.stop();
}

#[test]
fn clients_of_a_unix_socket_are_believed_where_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let endpoint = Endpoint::ok();
    let builder = |trusted: &str| {
        Gateway::in_front_of(&[&endpoint])
            .admin()
            .and(&format!("[listeners.socket]\naddress = \"unix:{}\"\n{trusted}", path.display()))
    };
    let gateway = builder("").start();
    let mut client = Client::connect_unix(&path);
    let mut ask = || {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{CLAIMS}\r\n"));
        assert_eq!(client.response().status, 200);
        let request = endpoint.requests().pop().unwrap();
        (request.header("x-forwarded-for").map(str::to_owned), request.has("forwarded"))
    };
    assert_eq!(ask(), (None, false));
    // The next request of the same connection is judged by the change.
    let trusting = builder("trusted_proxies = [\"unix\"]").text();
    assert_eq!(gateway.admin("POST", "/v1/config", &trusting).status, 200);
    assert_eq!(ask(), (Some("6.6.6.6, 203.0.113.9".to_owned()), true));
    let request = endpoint.requests().pop().unwrap();
    let chain = request.header("forwarded").unwrap();
    assert!(chain.ends_with(", for=unknown;host=\"a\";proto=http"), "{chain}");
    gateway.stop();
}
