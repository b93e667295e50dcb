//! Connections to endpoints are used again, and never when they are not fit.

use std::time::Duration;

use crate::harness::{
    Connection, Endpoint, GET, Gate, Gateway, OK, eventually, holds_within, stay_on_one_cpu,
};

#[test]
fn a_hundred_requests_need_one_connection_to_the_endpoint() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").text(), "ok");
    }
    for _ in 0..50 {
        assert_eq!(gateway.client().get("/").text(), "ok");
    }
    assert_eq!(endpoint.requests().len(), 100);
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn requests_at_the_same_time_have_connections_of_their_own() {
    let gate = Gate::new();
    let go_on = gate.clone();
    let endpoint = Endpoint::scripted(move |mut connection| {
        while connection.next_request().is_some() {
            go_on.wait();
            connection.send(OK);
        }
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut clients: Vec<_> = (0..5).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    eventually("all requests have come", || endpoint.requests().len() == 5);
    assert_eq!(endpoint.connections(), 5);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().text(), "ok");
    }
    for _ in 0..5 {
        assert_eq!(gateway.client().get("/").text(), "ok");
    }
    assert_eq!(endpoint.connections(), 5);
}

#[test]
fn no_more_connections_stay_idle_than_the_pool_may_hold() {
    let gate = Gate::new();
    let go_on = gate.clone();
    let endpoint = Endpoint::scripted(move |mut connection| {
        while connection.next_request().is_some() {
            go_on.wait();
            connection.send(OK);
        }
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).upstream("pool = { idle_max = 2 }").start();
    let mut clients: Vec<_> = (0..5).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    eventually("all requests have come", || endpoint.requests().len() == 5);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().text(), "ok");
    }
    eventually("two connections are left", || endpoint.open_connections() == 2);
}

#[test]
fn a_pool_that_may_hold_nothing_closes_every_connection() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).upstream("pool = { idle_max = 0 }").start();
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(endpoint.connections(), 3);
    endpoint.wait_until_all_closed();
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let endpoint = Endpoint::ok();
    let gateway =
        Gateway::in_front_of(&[&endpoint]).upstream("pool = { idle_timeout = \"200ms\" }").start();
    let mut client = gateway.client();
    assert_eq!(client.get("/").text(), "ok");
    endpoint.wait_until_all_closed();
    assert_eq!(client.get("/").text(), "ok");
    assert_eq!(endpoint.connections(), 2);
}

/// Requests behind the end of the pooled connection. Client and endpoint run on the test's thread,
/// so the effect of `end` reaches the gateway just before the next request.
fn assert_is_served_after_the_endpoint_ended(method: &str, end: impl Fn(&Endpoint, Connection)) {
    const ROUNDS: usize = 50;
    stay_on_one_cpu();
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    for round in 0..ROUNDS {
        client.send(format!(
            "{method} /{round} HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\n\r\nbody"
        ));
        let mut connection = connections.next();
        assert_eq!(connection.request().target(), format!("/{round}"));
        connection.send(OK);
        assert_eq!(client.response().text(), "ok", "round {round}");
        end(&endpoint, connection);
    }
    assert_eq!(endpoint.requests().len(), ROUNDS, "each came once");
}

#[test]
fn a_request_is_served_when_the_endpoint_has_closed_the_idle_connection() {
    // A shutdown before the drop: a process that another test is starting has a copy of the
    // descriptor for a moment, and would delay a close.
    let close = |_: &Endpoint, mut connection: Connection| connection.half_close();
    assert_is_served_after_the_endpoint_ended("GET", close);
    assert_is_served_after_the_endpoint_ended("POST", close);
}

#[test]
fn a_request_is_served_when_the_endpoint_has_reset_the_idle_connection() {
    let reset = |endpoint: &Endpoint, connection: Connection| {
        connection.reset();
        endpoint.wait_until_all_closed();
    };
    assert_is_served_after_the_endpoint_ended("GET", reset);
    assert_is_served_after_the_endpoint_ended("POST", reset);
}

#[test]
fn an_endpoint_that_closes_just_as_a_post_comes_gets_it_once_at_most() {
    // Closes after the response, without being told: the next request and the close meet.
    let endpoint = Endpoint::scripted(|mut connection| {
        connection.request();
        connection.send(OK);
        // The gateway sent these bytes before it knew of the end, so they are lost.
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    let mut served = 0;
    for round in 0..200 {
        let response = client.post(&format!("/{round}"), "body");
        let received =
            endpoint.requests().iter().filter(|it| it.target() == format!("/{round}")).count();
        match response.status {
            200 => assert_eq!(received, 1, "round {round}"),
            502 => assert_eq!(received, 0, "round {round}"),
            status => panic!("round {round}: {status}"),
        }
        served += usize::from(response.status == 200);
    }
    assert!(served >= 100, "only {served} of 200 were served");
}

#[test]
fn a_second_response_that_nobody_asked_for_reaches_nobody() {
    const ROUNDS: usize = 100;
    // As above, the unasked bytes are with the gateway before the next request is, but only just.
    stay_on_one_cpu();
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    for round in 0..ROUNDS {
        client.send(GET);
        // Each request comes on a new connection: the one before is condemned.
        let mut connection = connections.next();
        connection.request();
        connection.send(OK);
        assert_eq!(client.response().text(), "ok", "round {round}");
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    }
}

#[test]
fn a_second_response_right_behind_the_first_reaches_nobody() {
    let endpoint = Endpoint::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n\
         poison",
    );
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    // In one write: the next request is there when the first response comes.
    client.send(GET.repeat(5));
    for _ in 0..5 {
        assert_eq!(client.response().text(), "ok");
    }
    assert_eq!(endpoint.connections(), 5, "each connection is condemned");
}

#[test]
fn a_body_where_none_may_be_reaches_nobody() {
    // Bodies behind responses that may not have one. The gateway would read these bytes as the next
    // response.
    for (request, response) in [
        ("HEAD / HTTP/1.1", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"),
        ("GET / HTTP/1.1", "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison"),
        ("GET / HTTP/1.1", "HTTP/1.1 204 No Content\r\n\r\npoison"),
    ] {
        let endpoint = Endpoint::scripted(move |mut connection| {
            while let Some(request) = connection.next_request() {
                let plain = request.target() == "/plain";
                connection.send(if plain { OK } else { response });
            }
        });
        let gateway = Gateway::in_front_of(&[&endpoint]).start();
        let mut client = gateway.client();
        client.send(format!("{request}\r\nHost: example.com\r\n\r\n"));
        client.response_to_head();
        assert_eq!(client.get("/plain").text(), "ok", "{response}");
        assert_eq!(endpoint.connections(), 2, "{response}");
    }
}

#[test]
fn idle_connections_to_endpoints_end_with_the_gateway() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    assert_eq!(gateway.client().get("/").text(), "ok");
    assert!(!holds_within(Duration::from_millis(50), || endpoint.open_connections() == 0));
    gateway.stop();
    endpoint.wait_until_all_closed();
}
