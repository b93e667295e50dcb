//! The gateway's answers when a client or an endpoint is slow, gone, or sends nonsense.

use std::time::{Duration, Instant};

use crate::harness::{
    Connection, Endpoint, GET, Gate, Gateway, OK, SilentAddress, eventually, free_address,
};

/// The answer to a GET when an endpoint behaves like this.
#[track_caller]
fn assert_answer(endpoint: impl Fn(Connection) + Send + Sync + 'static, status: u16, reason: &str) {
    let endpoint = Endpoint::scripted(endpoint);
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.get("/").assert_is_reply(status, reason);
    // The request was whole, so the client's connection is still good.
    client.get("/").assert_is_reply(status, reason);
    assert_eq!(endpoint.requests().len(), 2, "each request was sent once");
    eventually("no connection to the endpoint is kept", || endpoint.open_connections() == 0);
}

#[test]
fn a_head_that_does_not_come_in_time_is_answered_408() {
    let endpoint = Endpoint::ok();
    let timeouts = "timeouts = { head = \"300ms\" }";
    let gateway = Gateway::in_front_of(&[&endpoint]).listener(timeouts).start();
    let started = Instant::now();
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: exam");
    client.response().assert_is_reply(408, "client_timeout");
    assert!(started.elapsed() >= Duration::from_millis(300));
    client.half_close();
    client.assert_closed();

    // The same for the second request of a connection.
    let mut client = gateway.client();
    client.send(format!("{GET}GET / HT"));
    assert_eq!(client.response().status, 200);
    client.response().assert_is_reply(408, "client_timeout");
}

#[test]
fn a_head_that_dribbles_has_no_more_time_than_any_other() {
    let endpoint = Endpoint::ok();
    let timeouts = "timeouts = { head = \"300ms\" }";
    let gateway = Gateway::in_front_of(&[&endpoint]).listener(timeouts).start();
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: example.com\r\nX: ");
    client.be_patient_for(Duration::from_millis(20));
    let started = Instant::now();
    let answer = loop {
        client.send_if_it_goes("x");
        if let Ok(response) = client.try_response() {
            break response;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "a dribbling head is read for ever");
    };
    answer.assert_is_reply(408, "client_timeout");
}

#[test]
fn a_body_that_does_not_come_in_time_is_answered_408() {
    let endpoint = Endpoint::scripted(|mut connection| {
        connection.request_head();
        assert!(connection.bytes(3) == b"abc");
        connection.end();
    });
    let timeouts = "timeouts = { body_idle = \"300ms\" }";
    let gateway = Gateway::in_front_of(&[&endpoint]).listener(timeouts).start();
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 10\r\n\r\nabc");
    client.response().assert_is_reply(408, "client_timeout");
    client.half_close();
    client.assert_closed();
    eventually("the endpoint's connection has ended", || endpoint.open_connections() == 0);
    assert_eq!(endpoint.requests().len(), 0, "the endpoint has no complete request");
}

#[test]
fn an_endpoint_that_refuses_connections_is_502() {
    let gateway = Gateway::in_front_of_addresses([free_address()]).start();
    let mut client = gateway.client();
    client.get("/").assert_is_reply(502, "endpoint_refused");
    client.post("/", "body").assert_is_reply(502, "endpoint_refused");
}

#[test]
fn an_endpoint_that_resets_the_connection_is_502() {
    let script = |mut connection: Connection| {
        connection.request();
        connection.reset();
    };
    assert_answer(script, 502, "endpoint_reset");
}

#[test]
fn an_endpoint_that_closes_before_its_response_is_502() {
    let script = |mut connection: Connection| {
        connection.request();
    };
    assert_answer(script, 502, "endpoint_reset");
}

#[test]
fn an_endpoint_that_closes_within_its_head_is_502() {
    let script = |mut connection: Connection| {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\nContent-Le");
    };
    assert_answer(script, 502, "endpoint_reset");
}

#[test]
fn an_endpoint_that_speaks_nonsense_is_502() {
    for response in [
        "nonsense\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let script = move |mut connection: Connection| {
            connection.request();
            connection.send(response);
            connection.end();
        };
        assert_answer(script, 502, "endpoint_violation");
    }
}

#[test]
fn an_endpoint_with_an_endless_head_is_502() {
    let script = |mut connection: Connection| {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\nX: ");
        while connection.try_send("x".repeat(1000)).is_ok() {}
    };
    assert_answer(script, 502, "endpoint_head_too_large");
}

#[test]
fn an_endpoint_with_endless_interim_responses_is_502() {
    let endpoint = Endpoint::scripted(|mut connection| {
        connection.request();
        while connection.try_send("HTTP/1.1 102 Processing\r\n\r\n").is_ok() {}
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    let response = client.get("/");
    response.assert_is_reply(502, "endpoint_violation");
    assert!(response.interim.len() < 100);
}

#[test]
fn a_response_may_have_more_interim_ones_than_a_page_with_hints() {
    const COUNT: usize = 40;
    let progress = "HTTP/1.1 102 Processing\r\n\r\n".repeat(COUNT);
    let endpoint = Endpoint::answering(format!("{progress}{OK}"));
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!((response.status, response.interim.len()), (200, COUNT));
    }
}

#[test]
fn an_endpoint_that_cannot_be_connected_to_in_time_is_504() {
    let silent = SilentAddress::new();
    let gateway = Gateway::in_front_of_addresses([silent.address()])
        .upstream("timeouts = { connect = \"200ms\" }")
        .start();
    let started = Instant::now();
    gateway.client().get("/").assert_is_reply(504, "connect_timeout");
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[test]
fn an_endpoint_that_does_not_begin_its_response_in_time_is_504_and_not_asked_again() {
    let cut = Gate::new();
    let endpoint_is_cut = cut.clone();
    let endpoint = Endpoint::scripted(move |mut connection| {
        connection.request();
        connection.end();
        endpoint_is_cut.open();
    });
    let gateway = Gateway::in_front_of(&[&endpoint])
        .upstream("timeouts = { first_byte = \"300ms\" }")
        .start();
    let started = Instant::now();
    gateway.client().get("/").assert_is_reply(504, "first_byte_timeout");
    assert!(started.elapsed() >= Duration::from_millis(300));
    cut.wait();
    assert_eq!(endpoint.requests().len(), 1, "it may be at work still");
}

#[test]
fn the_time_for_a_response_begins_when_the_request_is_sent() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint])
        .upstream("timeouts = { first_byte = \"400ms\" }")
        .start();
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 8\r\n\r\n");
    client.be_patient_for(Duration::from_millis(100));
    for _ in 0..8 {
        // An upload that takes longer than the endpoint may take for its answer.
        assert!(client.try_response().is_err(), "answered before the request was there");
        client.send("x");
    }
    client.be_patient_for(Duration::from_secs(5));
    assert_eq!(client.response().status, 200);
}

#[test]
fn an_answer_to_a_request_that_was_not_read_whole_ends_the_connection() {
    let gateway = Gateway::in_front_of_addresses([free_address()]).start();
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1000000\r\n\r\nabc");
    let response = client.response();
    response.assert_is_reply(502, "endpoint_refused");
    assert_eq!(response.header("connection"), Some("close"));
    client.half_close();
    client.assert_closed();
}

#[test]
fn a_client_that_writes_everything_before_it_reads_gets_the_answer_too() {
    let gateway = Gateway::in_front_of_addresses([free_address()]).start();
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1000000\r\n\r\n");
    client.send(vec![b'x'; 1_000_000]);
    client.response().assert_is_reply(502, "endpoint_refused");
}
