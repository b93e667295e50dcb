//! The access log.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::harness::{Endpoint, Gateway, eventually};

fn logging(endpoint: &Endpoint, to: &Path, format: &str) -> Gateway {
    let section = format!("[access_log]\nto = \"{}\"\nformat = \"{format}\"", to.display());
    Gateway::in_front_of(&[endpoint]).and(&section).start()
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// The raw text of a field of a JSON line.
pub(super) fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let (_, rest) = line.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{line}"));
    match rest.strip_prefix('"') {
        Some(text) => text.split('"').next().unwrap(),
        None => rest.split([',', '}']).next().unwrap(),
    }
}

#[test]
fn a_line_holds_the_outcome_of_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let endpoint = Endpoint::saying("hello");
    let gateway = logging(&endpoint, &log, "json");
    let mut client = gateway.client();
    client.post("/a?b=c", "abc");
    client.send("GET / HTTP/1.1\r\nHost: Example.com:80\r\nUser-Agent: a \\\"b\\\"\r\n\r\n");
    client.response();
    eventually("both are logged", || lines(&log).len() == 2);
    let lines = lines(&log);
    let line = &lines[0];
    let endpoint_address = endpoint.address().to_string();
    for (name, value) in [
        ("listener", "web"),
        ("route", "all"),
        ("method", "POST"),
        ("host", "example.com"),
        ("path", "/a?b=c"),
        ("protocol", "HTTP/1.1"),
        ("status", "200"),
        ("reason", "null"),
        ("bytes_in", "3"),
        ("bytes_out", "5"),
        ("upstream", "app"),
        ("endpoint", &endpoint_address),
        ("tries", "1"),
        ("retried_because", "null"),
        ("reused_connection", "false"),
        ("config_version", "1"),
    ] {
        assert_eq!(field(line, name), value, "{name} in {line}");
    }
    let times: Vec<u64> = ["head_us", "connect_us", "first_byte_us", "total_us"]
        .iter()
        .map(|name| field(line, name).parse().unwrap())
        .collect();
    assert!(times.is_sorted(), "{line}");
    assert_eq!(field(&lines[1], "reused_connection"), "true");
    assert!(lines[1].contains("a \\\\\\\"b\\\\\\\""), "{}", lines[1]);
    gateway.stop();
}

#[test]
fn a_failure_is_logged_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway = logging(&endpoint, &log, "json");
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(client.response().status, 400);
    eventually("it is logged", || lines(&log).len() == 1);
    assert_eq!(field(&lines(&log)[0], "status"), "400");
    assert_ne!(field(&lines(&log)[0], "reason"), "null");
    let mut client = gateway.client();
    client.send(crate::harness::GET);
    let mut connection = connections.next();
    connection.request();
    client.reset();
    eventually("it is logged", || lines(&log).len() == 2);
    assert_eq!(field(&lines(&log)[1], "status"), "499");
    assert_eq!(field(&lines(&log)[1], "reason"), "client_gone");
    gateway.stop();
}

#[test]
fn a_rotated_log_goes_on_in_a_new_file_and_loses_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let old = folder.path().join("access.log.1");
    let endpoint = Endpoint::ok();
    let gateway = logging(&endpoint, &log, "combined");
    let mut client = gateway.client();
    for _ in 0..100 {
        client.get("/before");
    }
    fs::rename(&log, &old).unwrap();
    for _ in 0..100 {
        client.get("/between");
    }
    gateway.process.signal(Signal::SIGUSR1);
    eventually("there is a new file", || log.exists());
    for _ in 0..100 {
        client.get("/after");
    }
    let all = || lines(&old).len() + lines(&log).len();
    eventually("every line is in one of them", || all() == 300);
    gateway.stop();
    assert!(lines(&log).iter().any(|line| line.contains("\"GET /after HTTP/1.1\" 200 2")));
}

#[test]
fn a_full_disk_does_not_stop_serving() {
    let endpoint = Endpoint::ok();
    let gateway = logging(&endpoint, Path::new("/dev/full"), "json");
    let mut client = gateway.client();
    for _ in 0..1_000 {
        assert_eq!(client.get("/").text(), "ok");
    }
    gateway.stop();
}

#[test]
fn a_long_drain_loses_no_line() {
    // More than a core has batches of records: one is on its way each second.
    const REQUESTS: usize = 10;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway = logging(&endpoint, &log, "json");
    let mut under_way: Vec<_> = (0..REQUESTS)
        .map(|_| {
            let mut client = gateway.client();
            client.send(crate::harness::GET);
            let mut connection = connections.next();
            connection.request();
            (client, connection)
        })
        .collect();
    gateway.process.terminate();
    let drains = gateway.process.stderr.wait_for(|line| line.contains("draining").then_some(()));
    drains.expect("it says that it drains");
    for (index, (client, connection)) in under_way.iter_mut().enumerate() {
        connection.send(crate::harness::OK);
        assert_eq!(client.response().text(), "ok");
        eventually("the line is written", || lines(&log).len() == index + 1);
    }
    gateway.wait();
}

#[test]
fn bytes_that_are_not_http_have_no_method_in_the_log() {
    for (format, expected) in [
        ("json", "\"method\":null,\"host\":null,\"path\":null,\"protocol\":null,"),
        ("combined", "] \"-\" 400 "),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("access.log");
        let endpoint = Endpoint::ok();
        let gateway = logging(&endpoint, &log, format);
        for bytes in
            [&b"\x16\x03\x01\x02"[..], b"no http\r\n\r\n", b"GET / HTTP/1.1\r\nHost a\r\n\r\n"]
        {
            let mut client = gateway.client();
            client.send(bytes);
            assert_eq!(client.response().status, 400);
        }
        // A request that was read and is refused has its method.
        let mut client = gateway.client();
        client.send("DELETE /a HTTP/1.1\r\nHost: a b\r\n\r\n");
        assert_eq!(client.response().status, 400);
        eventually("all are logged", || lines(&log).len() == 4);
        let lines = lines(&log);
        assert!(lines[..3].iter().all(|line| line.contains(expected)), "{lines:?}");
        assert!(lines[3].contains("DELETE"), "{lines:?}");
    }
}
