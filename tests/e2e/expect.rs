//! `Expect: 100-continue` between a client and an endpoint (RFC 9110 section 10.1.1), and streams
//! of which no end is in sight. The plain cases are in [`bodies`](super::bodies).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::{Endpoint, Gateway, OK, eventually};

const EXPECTING: &str =
    "POST / HTTP/1.1\r\nHost: example.com\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n";

#[test]
fn a_final_answer_in_place_of_100_ends_the_connection_and_says_so() {
    for (status, body) in
        [("200 OK", "done"), ("303 See Other", ""), ("417 Expectation Failed", "no")]
    {
        let endpoint = Endpoint::scripted(move |mut connection| {
            connection.request_head();
            let len = body.len();
            connection.send(format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n\r\n{body}"));
            assert!(
                connection.next_request().is_none(),
                "half a request is not followed by another"
            );
        });
        let gateway = Gateway::in_front_of(&[&endpoint]).start();
        let mut client = gateway.client();
        client.send(EXPECTING);
        let response = client.response();
        assert_eq!(
            (response.first_line.as_str(), response.text()),
            (format!("HTTP/1.1 {status}").as_str(), body)
        );
        // The client may send its body or not, so the next bytes on the connection are uncertain.
        assert_eq!(response.header("connection"), Some("close"), "{status}");
        client.send_if_it_goes("hello");
        client.half_close();
        client.assert_closed();
    }
}

#[test]
fn a_client_that_gets_no_100_sends_its_body_after_a_while() {
    let endpoint = Endpoint::scripted(|mut connection| {
        // It knows nothing of expectations.
        for _ in 0..2 {
            assert_eq!(connection.request().text(), "hello");
            connection.send(OK);
        }
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    for wait in [50, 900] {
        client.send(EXPECTING);
        std::thread::sleep(Duration::from_millis(wait));
        client.send("hello");
        let response = client.response();
        assert_eq!((response.status, response.interim.len()), (200, 0));
        assert_ne!(response.header("connection"), Some("close"));
    }
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn an_expectation_of_http_1_0_ends_at_the_gateway() {
    let endpoint = Endpoint::scripted(|mut connection| {
        let head = connection.request_head();
        assert_eq!(head.header("expect"), None);
        // An endpoint that would say it all the same.
        connection.send("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(connection.with_body(head).text(), "hello");
        connection.send(OK);
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(EXPECTING.replace("HTTP/1.1", "HTTP/1.0"));
    client.send("hello");
    let response = client.response();
    assert_eq!((response.status, response.text(), response.interim.len()), (200, "ok", 0));
    client.assert_closed();
}

#[test]
fn a_100_is_passed_on_among_other_interim_responses_and_for_a_chunked_body() {
    let endpoint = Endpoint::scripted(|mut connection| {
        let head = connection.request_head();
        connection
            .send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(connection.with_body(head).text(), "hello");
        connection.send(format!("HTTP/1.1 102 Processing\r\n\r\n{OK}"));
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(
        "PUT / HTTP/1.1\r\nHost: example.com\r\nExpect: 100-continue\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
    );
    assert_eq!(client.head().first_line, "HTTP/1.1 103 Early Hints");
    assert_eq!(client.head().first_line, "HTTP/1.1 100 Continue");
    client.send("5\r\nhello\r\n0\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.interim.len()), (200, 1));
}

#[test]
fn an_event_arrives_before_there_is_another() {
    const EVENTS: usize = 20;
    let event = |number: usize| {
        let event = format!("id: {number}\ndata: x\n\n");
        format!("{:x}\r\n{event}\r\n", event.len())
    };
    let seen = Arc::new(AtomicUsize::new(0));
    let by_client = Arc::clone(&seen);
    let endpoint = Endpoint::scripted(move |mut connection| {
        connection.request();
        connection.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
             Transfer-Encoding: chunked\r\n\r\n",
        );
        // The next one is sent when the one before has been seen.
        for number in 0..EVENTS {
            connection.send(event(number));
            eventually("the client sees it", || seen.load(Ordering::SeqCst) > number);
        }
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: example.com\r\nAccept: text/event-stream\r\n\r\n");
    assert_eq!(client.head().header("content-type"), Some("text/event-stream"));
    for number in 0..EVENTS {
        let event = event(number);
        assert_eq!(client.bytes(event.len()), event.as_bytes());
        by_client.fetch_add(1, Ordering::SeqCst);
    }
}
