//! `timeouts.total` of an upstream, and the timeouts of a route.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{End, Endpoint, GET, Gate, Gateway, OK, SilentAddress};

/// An endpoint that answers each request after `delay`.
fn slow(delay: Duration) -> Endpoint {
    Endpoint::scripted(move |mut connection| {
        while connection.next_request().is_some() {
            thread::sleep(delay);
            if connection.try_send(OK).is_err() {
                return;
            }
        }
    })
}

/// An endpoint that takes a request and never answers.
fn silent() -> Endpoint {
    Endpoint::scripted(|mut connection| {
        connection.request();
        connection.end();
    })
}

fn took(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

#[test]
fn a_response_that_does_not_begin_within_the_total_is_504() {
    let endpoint = silent();
    for (upstream, route) in [
        ("timeouts = { total = \"300ms\" }", ""),
        ("timeouts = { total = \"1h\" }", "timeouts = { total = \"300ms\" }"),
    ] {
        let gateway = Gateway::in_front_of(&[&endpoint]).upstream(upstream).route(route).start();
        let time = took(|| gateway.client().get("/").assert_is_reply(504, "total_timeout"));
        assert!(time >= Duration::from_millis(300), "{time:?}");
        assert!(time < Duration::from_secs(10), "{time:?}");
    }
    endpoint.wait_until_all_closed();
}

#[test]
fn all_tries_together_have_one_total() {
    // Neither takes a connection, so there is a second try.
    let (one, other) = (SilentAddress::new(), SilentAddress::new());
    let gateway = Gateway::in_front_of_addresses([one.address(), other.address()])
        .upstream("timeouts = { connect = \"1s\", total = \"1500ms\" }")
        .start();
    let time = took(|| gateway.client().get("/").assert_is_reply(504, "total_timeout"));
    assert!(time >= Duration::from_millis(1500), "{time:?}");
    assert!(time < Duration::from_millis(1950), "the second try had a second of its own: {time:?}");
}

#[test]
fn a_request_that_waits_for_a_connection_has_the_same_total() {
    let endpoint = silent();
    let gateway = Gateway::in_front_of(&[&endpoint])
        .upstream("pool = { connections_max = 1, queue_max = 8, queue_timeout = \"1h\" }")
        .route("timeouts = { total = \"500ms\" }")
        .start();
    let mut clients = [gateway.client(), gateway.client(), gateway.client()];
    for client in &mut clients {
        client.send(GET);
    }
    for client in &mut clients {
        client.response().assert_is_reply(504, "total_timeout");
    }
}

#[test]
fn a_response_that_is_not_done_within_the_total_is_cut_off() {
    let endpoint = Endpoint::scripted(|mut connection| {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        // Each piece comes in time; only all of them together do not.
        while connection.try_send("1\r\nx\r\n").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let gateway =
        Gateway::in_front_of(&[&endpoint]).upstream("timeouts = { total = \"400ms\" }").start();
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let mut ended = None;
    let time = took(|| ended = Some(client.rest()));
    let (rest, end) = ended.unwrap();
    assert!(rest.starts_with(b"HTTP/1.1 200") && !rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
    assert_ne!(end, End::Silent);
    assert!(time >= Duration::from_millis(350), "{time:?}");
    endpoint.wait_until_all_closed();
}

#[test]
fn an_upload_that_is_not_done_within_the_total_is_504() {
    let endpoint = Endpoint::scripted(|mut connection| {
        connection.request_head();
        assert_ne!(connection.rest().1, End::Silent);
    });
    let gateway =
        Gateway::in_front_of(&[&endpoint]).route("timeouts = { total = \"300ms\" }").start();
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1000\r\n\r\n");
    client.be_patient_for(Duration::from_millis(50));
    let response = loop {
        client.send_if_it_goes("x");
        if let Ok(response) = client.try_response() {
            break response;
        }
    };
    response.assert_is_reply(504, "total_timeout");
}

#[test]
fn each_request_of_a_connection_has_a_total_of_its_own() {
    let endpoint = slow(Duration::from_millis(200));
    let gateway =
        Gateway::in_front_of(&[&endpoint]).upstream("timeouts = { total = \"2s\" }").start();
    let mut client = gateway.client();
    let time = took(|| {
        for _ in 0..12 {
            assert_eq!(client.get("/").status, 200);
        }
    });
    assert!(time > Duration::from_secs(2), "{time:?}");
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn the_timeouts_of_a_route_go_before_those_of_its_upstream() {
    let endpoint = slow(Duration::from_millis(500));
    let gateway = Gateway::in_front_of(&[&endpoint])
        .upstream("timeouts = { total = \"100ms\", first_byte = \"100ms\" }")
        .route("timeouts = { total = \"off\", first_byte = \"off\" }")
        .start();
    assert_eq!(gateway.client().get("/").status, 200);
    let gateway =
        Gateway::in_front_of(&[&endpoint]).route("timeouts = { first_byte = \"100ms\" }").start();
    gateway.client().get("/").assert_is_reply(504, "first_byte_timeout");
}

#[test]
fn the_endpoint_is_told_the_time_and_a_trusted_proxy_may_shorten_it() {
    let endpoint = slow(Duration::from_millis(300));
    let route = "timeouts = { total = \"2s\", deadline_header = \"x-deadline-ms\" }";
    let told = |gateway: &Gateway, line: &str| {
        let mut client = gateway.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: example.com\r\n{line}\r\n"));
        let response = client.response();
        let last = endpoint.requests().pop();
        let told = last.and_then(|it| it.header("x-deadline-ms").map(str::to_owned));
        (response, told.unwrap_or_default())
    };
    let gateway = Gateway::in_front_of(&[&endpoint]).route(route).start();
    for line in ["", "X-Deadline-Ms: 100\r\n"] {
        let (response, told) = told(&gateway, line);
        assert_eq!((response.status, told.as_str()), (200, "2000"), "{line}");
    }
    let gateway = Gateway::in_front_of(&[&endpoint])
        .listener("trusted_proxies = [\"127.0.0.1\"]")
        .route(route)
        .start();
    for (line, expected) in
        [("X-Deadline-Ms: 900\r\n", "900"), ("x-deadline-ms: 9000\r\n", "2000"), ("", "2000")]
    {
        let (response, told) = told(&gateway, line);
        assert_eq!((response.status, told.as_str()), (200, expected), "{line}");
    }
    for line in ["X-Deadline-Ms: 100\r\n", "X-Deadline-Ms: 0\r\n"] {
        told(&gateway, line).0.assert_is_reply(504, "total_timeout");
    }
}

#[test]
fn a_tunnel_has_no_total() {
    let later = Gate::new();
    let go_on = later.clone();
    let endpoint = Endpoint::scripted(move |mut connection| {
        connection.request_head();
        connection.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        later.wait();
        connection.send("late");
        connection.end();
    });
    let gateway =
        Gateway::in_front_of(&[&endpoint]).upstream("timeouts = { total = \"100ms\" }").start();
    let mut client = gateway.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert!(client.head().first_line.contains("101"));
    client.be_patient_for(Duration::from_millis(400));
    assert_eq!(client.rest().1, End::Silent, "the tunnel was cut");
    go_on.open();
    client.be_patient_for(Duration::from_secs(5));
    assert_eq!(client.bytes(4), b"late");
}
