//! How long a client's connection lives, and pipelining: RFC 9112 section 9.

use std::time::Duration;

use crate::harness::{End, Endpoint, GET, Gateway};

/// An endpoint that answers each request with its target.
fn echo() -> Endpoint {
    Endpoint::scripted(|mut connection| {
        while let Some(request) = connection.next_request() {
            let text = format!("{} {} {}", request.method(), request.target(), request.text());
            connection
                .send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()));
        }
    })
}

#[test]
fn a_connection_of_http_1_1_carries_one_request_after_another() {
    let endpoint = echo();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    for target in ["/1", "/2", "/3"] {
        let response = client.get(target);
        assert_eq!(response.text(), format!("GET {target} "));
        assert_ne!(response.header("connection"), Some("close"));
    }
}

#[test]
fn a_connection_of_http_1_0_ends_with_its_response() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send("GET / HTTP/1.0\r\nHost: example.com\r\n\r\n");
    assert_eq!(client.response().text(), "ok");
    client.assert_closed();
}

#[test]
fn a_connection_of_http_1_0_lives_on_when_the_client_asks_for_it() {
    let endpoint = echo();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    for target in ["/1", "/2"] {
        client.send(format!(
            "GET {target} HTTP/1.0\r\nHost: example.com\r\nConnection: Keep-Alive\r\n\r\n"
        ));
        let response = client.response();
        assert_eq!(response.text(), format!("GET {target} "));
        let connection = response.header("connection").unwrap_or_default().to_lowercase();
        assert_eq!(connection, "keep-alive", "a 1.0 client must be told that it may go on");
    }
}

#[test]
fn a_client_that_says_close_is_told_so_and_closed_but_the_endpoint_is_not() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    for _ in 0..3 {
        let mut client = gateway.client();
        client.send("GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n");
        let response = client.response();
        assert_eq!(response.header("connection"), Some("close"));
        client.assert_closed();
    }
    assert_eq!(endpoint.connections(), 1);
    for request in endpoint.requests() {
        assert_ne!(request.header("connection"), Some("close"), "it is between client and gateway");
    }
}

#[test]
fn an_endpoint_that_says_close_does_not_end_the_clients_connection() {
    let endpoint = Endpoint::scripted(|mut connection| {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    for _ in 0..3 {
        let response = client.get("/");
        assert_eq!(response.text(), "ok");
        assert_ne!(response.header("connection"), Some("close"));
    }
    assert_eq!(endpoint.connections(), 3);
}

#[test]
fn an_endpoint_of_http_1_0_serves_a_client_of_1_1() {
    let endpoint = Endpoint::scripted(|mut connection| {
        connection.request();
        connection.send("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    for _ in 0..3 {
        let response = client.get("/");
        assert_eq!(response.first_line, "HTTP/1.1 200 OK");
        assert_eq!(response.text(), "ok");
    }
}

const FIVE: &str = "GET /1 HTTP/1.1\r\nHost: example.com\r\n\r\n\
                    POST /2 HTTP/1.1\r\nHost: example.com\r\nContent-Length: 3\r\n\r\nabc\
                    GET /3 HTTP/1.1\r\nHost: example.com\r\n\r\n\
                    POST /4 HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n\
                    2\r\nde\r\n1\r\nf\r\n0\r\n\r\n\
                    GET /5 HTTP/1.1\r\nHost: example.com\r\n\r\n";

const FIVE_ANSWERS: [&str; 5] = ["GET /1 ", "POST /2 abc", "GET /3 ", "POST /4 def", "GET /5 "];

#[test]
fn five_requests_in_one_write_are_answered_in_order() {
    let endpoint = echo();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(FIVE);
    for answer in FIVE_ANSWERS {
        assert_eq!(client.response().text(), answer);
    }
    assert_eq!(client.get("/6").text(), "GET /6 ");
}

#[test]
fn five_requests_byte_by_byte_are_answered_in_order() {
    let endpoint = echo();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    for byte in FIVE.bytes() {
        client.send([byte]);
    }
    for answer in FIVE_ANSWERS {
        assert_eq!(client.response().text(), answer);
    }
}

#[test]
fn a_hundred_requests_in_one_write_are_answered_in_order() {
    let endpoint = echo();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    let request = |n| format!("GET /{n} HTTP/1.1\r\nHost: example.com\r\n\r\n");
    client.send((0..100).map(request).collect::<String>());
    for n in 0..100 {
        assert_eq!(client.response().text(), format!("GET /{n} "));
    }
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn nothing_behind_a_last_request_is_served() {
    let endpoint = echo();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client
        .send(format!("GET /last HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n{GET}"));
    assert_eq!(client.response().text(), "GET /last ");
    client.half_close();
    client.assert_closed();
    assert_eq!(endpoint.requests().len(), 1);
}

#[test]
fn an_empty_line_between_two_requests_is_skipped() {
    let endpoint = echo();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send("\r\nGET /1 HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!(client.response().text(), "GET /1 ");
    client.send("\r\n");
    client.send("GET /2 HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!(client.response().text(), "GET /2 ");
}

#[test]
fn a_connection_without_requests_is_closed_after_its_idle_time() {
    let endpoint = Endpoint::ok();
    let timeouts = "timeouts = { idle = \"200ms\", head = \"200ms\" }";
    let gateway = Gateway::in_front_of(&[&endpoint]).listener(timeouts).start();
    let mut after_a_request = gateway.client();
    assert_eq!(after_a_request.get("/").status, 200);
    let mut without = gateway.client();
    after_a_request.assert_closed();
    without.assert_closed();
}

#[test]
fn a_connection_may_rest_between_two_requests() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.be_patient_for(Duration::from_millis(1200));
    for _ in 0..2 {
        assert_eq!(client.get("/").status, 200);
        // Long enough for the gateway to take back the buffers of busy connections.
        assert_eq!(client.rest(), (vec![], End::Silent));
    }
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn five_hundred_connections_are_served_side_by_side() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut clients: Vec<_> = (0..500).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    for client in &mut clients {
        assert_eq!(client.response().text(), "ok");
    }
}
