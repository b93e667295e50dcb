//! TLS towards endpoints.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::tunnels::{SWITCH, UPGRADE};
use crate::harness::{
    Authority, Builder, Connection, End, Endpoint, GET, Gateway, OK, TlsServer, assert_same_bytes,
    eventually, pattern,
};

/// A gateway in front of `server`, whose authority it trusts, with more keys in `tls`.
fn trusting(authority: &Authority, server: &TlsServer, more: &str) -> Builder {
    let ca = authority.path();
    Gateway::in_front_of_addresses([server.address()])
        .upstream(&format!("tls = {{ ca = \"{}\"{more} }}", ca.display()))
        .admin()
}

#[test]
fn requests_reach_an_endpoint_over_tls_on_connections_that_are_kept() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let server = TlsServer::start(endpoint.address(), &authority.issue(&["127.0.0.1"], true), None);
    let gateway = trusting(&authority, &server, "").start();
    let mut client = gateway.client();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(server.sessions(), [(false, false)]);
    gateway.stop();
}

#[test]
fn large_bodies_pass_to_and_from_an_endpoint_over_tls() {
    let authority = Authority::new();
    let endpoint = Endpoint::scripted(|mut connection: Connection| {
        while let Some(request) = connection.next_request() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
            connection.send([head.as_bytes(), &request.body].concat());
        }
    });
    let server = TlsServer::start(endpoint.address(), &authority.issue(&["127.0.0.1"], true), None);
    let gateway = trusting(&authority, &server, "").start();
    let mut client = gateway.client();
    for len in [1, 16_384, 16_385, 4_000_000] {
        let body = pattern(len);
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n");
        let sent = client.send_meanwhile([head.as_bytes(), body].concat());
        let response = client.response();
        sent.join().unwrap().unwrap();
        assert_same_bytes(&response.body, body);
    }
    gateway.stop();
}

#[test]
fn an_endpoint_is_asked_for_the_name_that_is_configured() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let issued = authority.issue(&["users.internal"], true);
    let server = TlsServer::start(endpoint.address(), &issued, None);
    let gateway = trusting(&authority, &server, ", server_name = \"users.internal\"").start();
    assert_eq!(gateway.client().get("/").text(), "ok");
    gateway.stop();
}

#[test]
fn a_handshake_that_fails_is_answered_502_with_its_cause_in_the_log() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let endpoint = Endpoint::ok();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let server = |issued| TlsServer::start(endpoint.address(), &issued, None);
    for (server, cause) in [
        (server(authority.issue_expired(&["127.0.0.1"])), "its certificate has expired"),
        (server(authority.issue(&["other.test"], true)), "its certificate is for another name"),
        (
            server(stranger.issue(&["127.0.0.1"], true)),
            "its certificate is of an authority that is not trusted",
        ),
    ] {
        let gateway = trusting(&authority, &server, "")
            .and(&format!("[access_log]\nto = \"{}\"", log.display()))
            .start();
        gateway.client().get("/").assert_is_reply(502, "endpoint_tls");
        eventually(cause, || {
            let cause = format!("\"cause\":\"connect: TLS: {cause}\"");
            fs::read_to_string(&log).unwrap_or_default().contains(&cause)
        });
        let failures = "ringway_upstream_connect_failures_total";
        eventually("it is counted", || gateway.metric(failures, &["kind=\"tls\""]) == 1.0);
        gateway.stop();
    }
    assert!(endpoint.requests().is_empty());
}

#[test]
fn an_endpoint_without_tls_gets_no_request() {
    let authority = Authority::new();
    let endpoint = Endpoint::scripted(|mut connection: Connection| {
        connection.bytes(16);
        connection.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    let ca = authority.path();
    let gateway = Gateway::in_front_of(&[&endpoint])
        .upstream(&format!("tls = {{ ca = \"{}\" }}", ca.display()))
        .start();
    gateway.client().get("/").assert_is_reply(502, "endpoint_tls");
    gateway.stop();
}

#[test]
fn an_endpoint_that_fails_the_handshake_is_passed_over_for_the_next() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let good = TlsServer::start(endpoint.address(), &authority.issue(&["127.0.0.1"], true), None);
    let bad = TlsServer::start(endpoint.address(), &authority.issue(&["other.test"], true), None);
    let ca = authority.path();
    let gateway = Gateway::in_front_of_addresses([bad.address(), good.address()])
        .upstream(&format!("tls = {{ ca = \"{}\" }}", ca.display()))
        .start();
    let mut client = gateway.client();
    for _ in 0..4 {
        assert_eq!(client.post("/", "once").status, 200);
    }
    gateway.stop();
}

#[test]
fn certificates_are_not_checked_where_that_is_switched_off() {
    let stranger = Authority::new();
    let endpoint = Endpoint::ok();
    let issued = stranger.issue_expired(&["other.test"]);
    let server = TlsServer::start(endpoint.address(), &issued, None);
    let gateway = Gateway::in_front_of_addresses([server.address()])
        .upstream("tls = { verify = false }")
        .start();
    assert_eq!(gateway.client().get("/").text(), "ok");
    gateway.stop();
}

#[test]
fn the_gateway_shows_a_certificate_to_an_endpoint_that_asks_for_one() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let issued = authority.issue(&["127.0.0.1"], true);
    let server = TlsServer::start(endpoint.address(), &issued, Some(&authority));
    let gateway = trusting(&authority, &server, ", client_certificate = \"gateway\"")
        .and(&authority.certificate("gateway", &["gateway.test"]))
        .start();
    assert_eq!(gateway.client().get("/").text(), "ok");
    assert_eq!(server.sessions(), [(false, true)]);
    gateway.stop();
    let gateway = trusting(&authority, &server, "").start();
    // In TLS 1.3 an endpoint refuses when the handshake is done for us.
    assert_eq!(gateway.client().get("/").status, 502);
    gateway.stop();
}

#[test]
fn a_new_connection_resumes_the_session_of_an_earlier_one() {
    let authority = Authority::new();
    let endpoint =
        Endpoint::answering("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    let server = TlsServer::start(endpoint.address(), &authority.issue(&["127.0.0.1"], true), None);
    let gateway = trusting(&authority, &server, "").start();
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(server.sessions(), [(false, false), (true, false), (true, false)]);
    gateway.stop();
}

#[test]
fn a_connection_without_tls_is_not_used_once_the_upstream_has_it() {
    let connections = AtomicUsize::new(0);
    let endpoint = Endpoint::scripted(move |mut connection: Connection| {
        if connections.fetch_add(1, Ordering::SeqCst) > 0 {
            // A handshake that nobody answers.
            connection.rest();
            return;
        }
        while connection.next_request().is_some() {
            connection.send(OK);
        }
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).admin().start();
    let mut client = gateway.client();
    assert_eq!(client.get("/").text(), "ok");
    let builder = Gateway::in_front_of(&[&endpoint]).admin();
    let text =
        builder.upstream("tls = { verify = false }\ntimeouts = { connect = \"200ms\" }").text();
    gateway.save(&text);
    eventually("requests go by TLS alone", || client.get("/").status != 200);
    gateway.stop();
}

#[test]
fn a_response_that_is_cut_off_is_not_complete() {
    let authority = Authority::new();
    let endpoint = Endpoint::scripted(|mut connection: Connection| {
        connection.next_request();
        connection.send("HTTP/1.0 200 OK\r\n\r\nhalf");
        // The server in front of it breaks off without `close_notify`.
        connection.reset();
    });
    let server = TlsServer::start(endpoint.address(), &authority.issue(&["127.0.0.1"], true), None);
    let gateway = trusting(&authority, &server, "").start();
    let mut client = gateway.client();
    client.send(GET);
    assert!(client.try_response().is_err());
    gateway.stop();
}

#[test]
fn a_tunnel_to_an_endpoint_goes_over_tls() {
    let authority = Authority::new();
    let (endpoint, connections) = Endpoint::by_hand();
    let server = TlsServer::start(endpoint.address(), &authority.issue(&["127.0.0.1"], true), None);
    let gateway = trusting(&authority, &server, "").start();
    let mut client = gateway.client();
    client.send(UPGRADE);
    let mut connection = connections.next();
    connection.request_head();
    connection.send(SWITCH);
    assert_eq!(client.head().word(1), "101");
    client.send("ping");
    assert_eq!(connection.bytes(4), b"ping");
    connection.send("pong");
    connection.half_close();
    assert_eq!(client.bytes(4), b"pong");
    client.half_close();
    assert_eq!(connection.end(), End::Closed);
    gateway.stop();
}
