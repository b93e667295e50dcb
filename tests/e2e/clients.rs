//! Clients that leave, and clients that only end their own direction.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, Endpoint, GET, Gate, Gateway, OK};

/// The time within which the gateway must release an endpoint whose client has gone.
const SOON: Duration = Duration::from_secs(1);

/// A client sends `request` and then does `leave`; the endpoint does not answer. Returns the end of
/// the endpoint's connection.
#[track_caller]
fn assert_endpoint_is_released(request: &str, leave: impl FnOnce(Client)) {
    let (asked, released) = (Gate::new(), Gate::new());
    let gates = (asked.clone(), released.clone());
    let endpoint = Endpoint::scripted(move |mut connection| {
        connection.request_head();
        gates.0.open();
        connection.end();
        gates.1.open();
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(request);
    asked.wait();
    let left = Instant::now();
    leave(client);
    released.wait();
    let took = left.elapsed();
    assert!(took < SOON, "the endpoint was released after {took:?}");
    // Nothing is wrong with the gateway.
    gateway.stop();
}

const UNFINISHED: &str = "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 100\r\n\r\nabc";

#[test]
fn an_endpoint_is_released_when_the_client_resets() {
    assert_endpoint_is_released(GET, Client::reset);
}

#[test]
fn an_endpoint_is_released_when_the_client_closes() {
    assert_endpoint_is_released(GET, drop);
}

#[test]
fn an_endpoint_is_released_when_the_client_resets_within_its_upload() {
    assert_endpoint_is_released(UNFINISHED, Client::reset);
}

#[test]
fn an_endpoint_is_released_when_the_client_closes_within_its_upload() {
    assert_endpoint_is_released(UNFINISHED, drop);
}

#[test]
fn an_endpoint_is_released_when_the_client_leaves_after_its_upload() {
    let request = "POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_endpoint_is_released(request, |mut client| {
        client.send("3\r\nabc\r\n0\r\n\r\n");
        client.reset();
    });
}

#[test]
fn an_endpoint_is_released_when_the_client_leaves_within_the_response() {
    for reset in [false, true] {
        let endpoint = Endpoint::scripted(|mut connection| {
            connection.request();
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
            while connection.try_send([b'x'; 4096]).is_ok() {}
        });
        let gateway = Gateway::in_front_of(&[&endpoint]).start();
        let mut client = gateway.client();
        client.send(GET);
        client.bytes(100_000);
        if reset {
            client.reset();
        } else {
            drop(client);
        }
        endpoint.wait_until_all_closed();
        gateway.stop();
    }
}

#[test]
fn a_client_that_reads_nothing_is_given_up_after_its_time() {
    let endpoint = Endpoint::scripted(|mut connection| {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        while connection.try_send([b'x'; 4096]).is_ok() {}
    });
    let timeouts = "timeouts = { write_idle = \"300ms\" }";
    let gateway = Gateway::in_front_of(&[&endpoint]).listener(timeouts).start();
    let mut client = Client::connect_narrow(gateway.address());
    client.send(GET);
    endpoint.wait_until_all_closed();
    let (rest, _) = client.rest();
    assert!(rest.len() < 1_000_000_000);
}

#[test]
fn a_client_that_ends_its_own_direction_still_gets_its_response() {
    for (version, request) in [("1.1", ""), ("1.0", ""), ("1.1", "Connection: close\r\n")] {
        let asked = Gate::new();
        let endpoint_is_asked = asked.clone();
        let endpoint = Endpoint::scripted(move |mut connection| {
            connection.request();
            endpoint_is_asked.open();
            // Long enough for the gateway to look whether the client is still there, twice.
            thread::sleep(Duration::from_millis(1200));
            connection.send(OK);
        });
        let gateway = Gateway::in_front_of(&[&endpoint]).start();
        let mut client = gateway.client();
        client.send(format!("GET / HTTP/{version}\r\nHost: example.com\r\n{request}\r\n"));
        client.half_close();
        asked.wait();
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, "ok"));
        assert!(version == "1.1" || response.interim.is_empty(), "1.0 knows no 1xx");
        client.assert_closed();
        assert_eq!(endpoint.requests().len(), 1);
    }
}

#[test]
fn a_client_that_ends_its_own_direction_within_its_request_gets_no_response() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    for request in ["GET / HTTP/1.1\r\nHost: exam", "GET", "\r\n", ""] {
        let mut client = gateway.client();
        client.send(request);
        client.half_close();
        client.assert_closed();
    }
    assert_eq!(endpoint.requests().len(), 0);
}

#[test]
fn a_client_that_ends_its_own_direction_gets_all_responses_it_has_asked_for() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(GET.repeat(5));
    client.half_close();
    for _ in 0..5 {
        assert_eq!(client.response().text(), "ok");
    }
    client.assert_closed();
}

#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    for round in 0..200 {
        let mut client = gateway.client();
        client.send(&GET[..round % GET.len()]);
        if round % 3 == 0 {
            client.reset();
        }
    }
    assert_eq!(gateway.client().get("/").text(), "ok");
    gateway.stop();
}
