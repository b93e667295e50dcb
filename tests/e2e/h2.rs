//! Clients in HTTP/2 without TLS, by prior knowledge: on the port of HTTP/1.1, with curl, nghttp and h2load, and
//! as bytes.

use std::process::{Command, Output};

use crate::harness::{Endpoint, GET, Gateway, skip};

/// Runs a program with these arguments and the gateway's address behind them; `None` where it is not installed.
fn run(program: &str, arguments: &[&str], gateway: &Gateway, path: &str) -> Option<Output> {
    if Command::new(program).arg("--version").output().is_err() {
        skip(&format!("clients in HTTP/2: {program} is not installed"));
        return None;
    }
    let url = format!("http://{}{path}", gateway.address());
    let mut command = Command::new(program);
    let output = command.args(arguments).arg(url).env("no_proxy", "*").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(output)
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).unwrap();
    [&[0, 0, len, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// The preface and empty settings.
fn beginning() -> Vec<u8> {
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[])].concat()
}

#[test]
fn curl_has_its_answer_and_the_endpoint_a_sound_request() {
    let endpoint = Endpoint::saying("hello");
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let arguments = ["-s", "-i", "--http2-prior-knowledge", "-d", "a=b", "-H", "cookie: c=d"];
    let Some(output) = run("curl", &arguments, &gateway, "/x?y") else { return };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("HTTP/2 200") && text.ends_with("hello"), "{text}");
    let request = endpoint.only_request();
    assert_eq!((request.method(), request.target()), ("POST", "/x?y"));
    assert_eq!(request.header("host"), Some(gateway.address().to_string().as_str()));
    assert_eq!(request.header("content-length"), Some("3"));
    assert_eq!(request.header("cookie"), Some("c=d"));
}

#[test]
fn a_connection_carries_many_streams_at_once() {
    let body = "x".repeat(100_000);
    let endpoint = Endpoint::saying(&body);
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let arguments = ["-n", "200", "-c", "2", "-m", "32"];
    let Some(output) = run("h2load", &arguments, &gateway, "/") else { return };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("200 succeeded, 0 failed, 0 errored, 0 timeout"), "{text}");
}

#[test]
fn the_two_versions_share_a_port() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(GET);
    assert_eq!(client.response().status, 200);
    // The preface in two pieces, at every place: the answer begins with our settings.
    for at in 1..24 {
        let mut client = gateway.client();
        let beginning = beginning();
        client.send(&beginning[..at]);
        client.send(&beginning[at..]);
        assert_eq!(client.bytes(4)[3], 4, "split at {at}");
    }
}

#[test]
fn a_flood_ends_with_go_away_and_costs_nobody_else() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut other = gateway.client();
    let mut client = gateway.client();
    client.send([beginning(), frame(6, 0, 0, &[0; 8]).repeat(500)].concat());
    let (bytes, _) = client.rest();
    assert!(bytes.windows(14).any(|it| it == b"too many pings"), "{} bytes", bytes.len());
    other.send(GET);
    assert_eq!(other.response().status, 200);
}
