//! Requests that wait because every connection that a pool may have is in use.

use std::time::{Duration, Instant};

use crate::harness::{
    Builder, Client, Connection, Endpoint, GET, Gateway, OK, PATIENCE, eventually, stay_on_one_cpu,
};

/// A gateway with one connection to the endpoint and this `queue`, and a route that needs none.
fn one_connection(endpoint: &Endpoint, queue: &str) -> Builder {
    Gateway::in_front_of(&[endpoint])
        .upstream(&format!("pool = {{ connections_max = 1, {queue} }}"))
        .and("[routes.own]\nmatch = { path = \"/own\" }\nreply = { status = 200, body = \"own\" }")
}

/// A client that has sent a request which the gateway has begun to serve: it has answered a request
/// that came later.
fn waiting(gateway: &Gateway, target: &str) -> Client {
    let mut client = gateway.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n"));
    assert_eq!(gateway.client().get("/own").text(), "own");
    client
}

fn answer(connection: &mut Connection, target: &str) {
    assert_eq!(connection.request().target(), target);
    connection.send(OK);
}

#[test]
fn the_next_free_connection_goes_to_the_request_that_came_first() {
    stay_on_one_cpu();
    let (endpoint, connections) = Endpoint::by_hand();
    let queue = "queue_max = 3, queue_timeout = \"60s\"";
    let gateway = one_connection(&endpoint, queue).start();
    let mut first = gateway.client();
    first.send(GET);
    let mut connection = connections.next();
    let mut others = ["/a", "/b", "/c"].map(|target| waiting(&gateway, target));
    // The queue is full.
    let began = Instant::now();
    gateway.client().get("/d").assert_is_reply(503, "pool_full");
    assert!(began.elapsed() < PATIENCE / 2);
    answer(&mut connection, "/");
    assert_eq!(first.response().text(), "ok");
    for (client, target) in others.iter_mut().zip(["/a", "/b", "/c"]) {
        answer(&mut connection, target);
        assert_eq!(client.response().text(), "ok", "{target}");
    }
    assert_eq!(endpoint.connections(), 1);
    gateway.stop();
}

#[test]
fn the_room_of_a_connection_that_closes_goes_to_the_queue_too() {
    let (endpoint, connections) = Endpoint::by_hand();
    let queue = "queue_max = 3, queue_timeout = \"60s\"";
    let gateway = one_connection(&endpoint, queue).start();
    let mut first = gateway.client();
    first.send(GET);
    let mut connection = connections.next();
    let (mut second, mut third) = (waiting(&gateway, "/a"), waiting(&gateway, "/b"));
    connection.request();
    connection.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(first.response().text(), "ok");
    let mut connection = connections.next();
    connection.request();
    // An exchange that fails leaves room as well.
    connection.reset();
    second.response().assert_is_reply(502, "endpoint_reset");
    answer(&mut connections.next(), "/b");
    assert_eq!(third.response().text(), "ok");
    gateway.stop();
}

#[test]
fn a_request_waits_for_a_connection_only_as_long_as_it_may() {
    let (endpoint, connections) = Endpoint::by_hand();
    let queue = "queue_max = 3, queue_timeout = \"300ms\"";
    let gateway = one_connection(&endpoint, queue).start();
    let mut first = gateway.client();
    first.send(GET);
    let mut connection = connections.next();
    let began = Instant::now();
    gateway.client().get("/a").assert_is_reply(503, "pool_full");
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(300), "{waited:?}");
    answer(&mut connection, "/");
    assert_eq!(first.response().text(), "ok");
    assert_eq!(endpoint.requests().len(), 1);
    gateway.stop();
}

#[test]
fn a_client_that_leaves_leaves_the_queue() {
    let (endpoint, connections) = Endpoint::by_hand();
    let queue = "queue_max = 1, queue_timeout = \"60s\"";
    let gateway = one_connection(&endpoint, queue).start();
    let mut first = gateway.client();
    first.send(GET);
    let mut connection = connections.next();
    let second = waiting(&gateway, "/gone");
    gateway.client().get("/full").assert_is_reply(503, "pool_full");
    second.reset();
    // The queue has room again when a request gets no answer at once.
    let mut third = gateway.client();
    eventually("the client has left the queue", || {
        third.be_patient_for(Duration::from_millis(50));
        third.send("GET /b HTTP/1.1\r\nHost: example.com\r\n\r\n");
        match third.try_response() {
            Ok(response) => {
                response.assert_is_reply(503, "pool_full");
                false
            }
            Err(_) => true,
        }
    });
    answer(&mut connection, "/");
    assert_eq!(first.response().text(), "ok");
    answer(&mut connection, "/b");
    third.be_patient_for(PATIENCE);
    assert_eq!(third.response().text(), "ok");
    gateway.stop();
}

#[test]
fn a_request_whose_body_is_still_coming_waits_too() {
    let (endpoint, connections) = Endpoint::by_hand();
    let queue = "queue_max = 1, queue_timeout = \"60s\"";
    let gateway = one_connection(&endpoint, queue).start();
    let mut first = gateway.client();
    first.send(GET);
    let mut connection = connections.next();
    let mut second = gateway.client();
    second.send("POST /a HTTP/1.1\r\nHost: example.com\r\nContent-Length: 8\r\n\r\nhalf");
    assert_eq!(gateway.client().get("/own").text(), "own");
    answer(&mut connection, "/");
    let head = connection.request_head();
    second.send("half");
    assert_eq!(connection.with_body(head).text(), "halfhalf");
    connection.send(OK);
    assert_eq!(first.response().text(), "ok");
    assert_eq!(second.response().text(), "ok");
    gateway.stop();
}

#[test]
fn a_higher_limit_serves_those_that_wait() {
    let (endpoint, connections) = Endpoint::by_hand();
    let queue = "queue_max = 1, queue_timeout = \"60s\"";
    let builder = one_connection(&endpoint, queue).admin();
    let gateway = builder.start();
    let mut first = gateway.client();
    first.send(GET);
    let mut connection = connections.next();
    let mut second = waiting(&gateway, "/a");
    let text = builder.text().replace("connections_max = 1", "connections_max = 2");
    assert_eq!(gateway.admin("POST", "/v1/config", &text).status, 200);
    answer(&mut connections.next(), "/a");
    assert_eq!(second.response().text(), "ok");
    answer(&mut connection, "/");
    assert_eq!(first.response().text(), "ok");
    gateway.stop();
}
