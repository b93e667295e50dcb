//! Requests that the gateway sends again, and requests that it never may. The endpoint's list of
//! requests is the judge.

use crate::harness::{Connection, Endpoint, Gateway, OK, eventually, free_address};

/// An endpoint that answers the first `answers` requests of a connection, and reads one more and
/// ends the connection.
fn dies_after(answers: usize, reset: bool) -> Endpoint {
    Endpoint::scripted(move |mut connection: Connection| {
        for _ in 0..answers {
            if connection.next_request().is_none() {
                return;
            }
            connection.send(OK);
        }
        connection.next_request();
        if reset {
            connection.reset();
        }
    })
}

fn count(endpoint: &Endpoint, target: &str) -> usize {
    endpoint.requests().iter().filter(|it| it.target() == target).count()
}

#[test]
fn a_dead_endpoint_among_two_is_not_noticed() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of_addresses([free_address(), endpoint.address()]).start();
    let mut client = gateway.client();
    for round in 0..20 {
        let response = if round % 2 == 0 {
            client.get(&format!("/{round}"))
        } else {
            client.post(&format!("/{round}"), "body")
        };
        assert_eq!((response.status, response.text()), (200, "ok"), "round {round}");
        assert_eq!(count(&endpoint, &format!("/{round}")), 1);
    }
    // A body that is still coming when the first endpoint refuses.
    for round in 20..24 {
        client.send(format!(
            "POST /{round} HTTP/1.1\r\nHost: example.com\r\nContent-Length: 10\r\n\r\nhello"
        ));
        client.send("world");
        assert_eq!(client.response().status, 200);
        assert_eq!(endpoint.requests().last().unwrap().text(), "helloworld");
    }
}

#[test]
fn a_dead_endpoint_is_tried_first_no_more_often_than_its_share() {
    // A retry does not move the turn: else every request would come to the dead endpoint first.
    let endpoint = Endpoint::ok();
    let addresses = [free_address(), endpoint.address()];
    let gateway =
        Gateway::in_front_of_addresses(addresses).upstream("eject = \"off\"").admin().start();
    let mut client = gateway.client();
    for round in 0..24 {
        assert_eq!(client.get(&format!("/{round}")).status, 200);
    }
    eventually("half of the requests were tried twice", || {
        gateway.metric("ringway_retries_total", &[]) == 12.0
    });
    assert_eq!(endpoint.requests().len(), 24);
}

#[test]
fn a_request_that_no_endpoint_has_seen_goes_on_until_one_takes_it() {
    let endpoint = Endpoint::ok();
    let dead = [(); 4].map(|()| free_address());
    let addresses = [dead[0], dead[1], endpoint.address(), dead[2], dead[3]];
    let gateway = Gateway::in_front_of_addresses(addresses).start();
    let mut client = gateway.client();
    for round in 0..30 {
        let target = format!("/{round}");
        let response = match round % 2 {
            0 => client.get(&target),
            _ => client.post(&target, "body"),
        };
        assert_eq!(response.status, 200, "round {round}");
        assert_eq!(count(&endpoint, &target), 1, "round {round}");
    }
}

#[test]
fn when_every_endpoint_refuses_each_was_tried_once() {
    let gateway = Gateway::in_front_of_addresses([(); 3].map(|()| free_address())).admin().start();
    let mut client = gateway.client();
    client.post("/", "body").assert_is_reply(502, "endpoint_refused");
    eventually("both other endpoints were tried", || {
        gateway.metric("ringway_retries_total", &[]) == 2.0
    });
}

#[test]
fn a_get_that_dies_on_a_reused_connection_is_sent_once_more() {
    for reset in [false, true] {
        let endpoint = dies_after(1, reset);
        let gateway = Gateway::in_front_of(&[&endpoint]).start();
        let mut client = gateway.client();
        assert_eq!(client.get("/1").text(), "ok");
        assert_eq!(client.get("/2").text(), "ok", "reset: {reset}");
        assert_eq!(count(&endpoint, "/2"), 2, "reset: {reset}");
        assert_eq!(endpoint.connections(), 2);
    }
}

#[test]
fn an_idempotent_request_whose_body_is_held_is_sent_once_more() {
    for reset in [false, true] {
        for framing in ["Content-Length: 4\r\n\r\nbody", CHUNKED_BODY] {
            let endpoint = dies_after(1, reset);
            let gateway = Gateway::in_front_of(&[&endpoint]).start();
            let mut client = gateway.client();
            assert_eq!(client.get("/1").text(), "ok");
            client.send(format!("PUT /2 HTTP/1.1\r\nHost: example.com\r\n{framing}"));
            assert_eq!(client.response().text(), "ok", "reset: {reset}, {framing}");
            assert_eq!(count(&endpoint, "/2"), 2, "reset: {reset}, {framing}");
            for request in endpoint.requests().iter().filter(|it| it.target() == "/2") {
                assert_eq!(request.text(), "body");
            }
        }
    }
}

const CHUNKED_BODY: &str = "Transfer-Encoding: chunked\r\n\r\n3\r\nbod\r\n1\r\ny\r\n0\r\n\r\n";

#[test]
fn idempotent_requests_with_a_body_that_is_gone_are_not_sent_again() {
    for reset in [false, true] {
        let endpoint = Endpoint::scripted(move |mut connection: Connection| {
            connection.request();
            connection.send(OK);
            connection.request_head();
            connection.bytes(2);
            if reset {
                connection.reset();
            }
        });
        let gateway = Gateway::in_front_of(&[&endpoint]).start();
        let mut client = gateway.client();
        assert_eq!(client.get("/1").text(), "ok");
        client.send("PUT /2 HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\n\r\nbo");
        client.response().assert_is_reply(502, "endpoint_reset");
        assert_eq!(endpoint.connections(), 1, "reset: {reset}");
    }
}

#[test]
fn a_post_that_dies_on_a_reused_connection_is_502_and_was_sent_once() {
    for reset in [false, true] {
        let endpoint = dies_after(1, reset);
        let gateway = Gateway::in_front_of(&[&endpoint]).start();
        let mut client = gateway.client();
        assert_eq!(client.get("/1").text(), "ok");
        client.post("/2", "body").assert_is_reply(502, "endpoint_reset");
        assert_eq!(count(&endpoint, "/2"), 1, "reset: {reset}");
    }
}

#[test]
fn a_request_that_dies_on_a_new_connection_is_502_and_was_sent_once() {
    for reset in [false, true] {
        let endpoint = dies_after(0, reset);
        let gateway = Gateway::in_front_of(&[&endpoint]).start();
        let mut client = gateway.client();
        client.get("/1").assert_is_reply(502, "endpoint_reset");
        client.post("/2", "body").assert_is_reply(502, "endpoint_reset");
        assert_eq!((count(&endpoint, "/1"), count(&endpoint, "/2")), (1, 1), "reset: {reset}");
    }
}

#[test]
fn a_request_is_sent_twice_at_most() {
    // Answers one request on its first connection; every other request kills its connection.
    let endpoint = Endpoint::scripted(|mut connection| {
        if connection.number == 1 {
            connection.request();
            connection.send(OK);
        }
        connection.next_request();
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    assert_eq!(client.get("/1").text(), "ok");
    client.get("/2").assert_is_reply(502, "endpoint_reset");
    assert_eq!(count(&endpoint, "/2"), 2);
}

#[test]
fn nothing_is_sent_again_once_a_byte_of_the_response_has_come() {
    let endpoint = Endpoint::scripted(|mut connection| {
        connection.request();
        connection.send(OK);
        connection.next_request();
        connection.send("H");
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    assert_eq!(client.get("/1").text(), "ok");
    client.get("/2").assert_is_reply(502, "endpoint_reset");
    assert_eq!(count(&endpoint, "/2"), 1);
}
