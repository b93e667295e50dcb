//! A response that was cut short never looks complete.

use crate::harness::{Client, Connection, End, Endpoint, Gate, Gateway};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    Close,
    Reset,
}

/// A gateway in front of an endpoint that sends `response` and ends the connection once the client
/// has seen the beginning.
fn cut_short(response: &'static str, how: Ends) -> (Gateway, Gate, Endpoint) {
    let gate = Gate::new();
    let go_on = gate.clone();
    let endpoint = Endpoint::scripted(move |mut connection: Connection| {
        connection.request();
        connection.send(response);
        go_on.wait();
        if how == Ends::Reset {
            connection.reset();
        }
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    (gateway, gate, endpoint)
}

const HALF_A_LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
const HALF_A_CHUNK: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello";
const NO_LAST_CHUNK: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
const HALF_THE_TRAILERS: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n";
const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\nhello";

/// Reads the beginning, lets the endpoint go on, and returns the rest.
fn rest_of(client: &mut Client, gate: &Gate, version: &str) -> (Vec<u8>, End) {
    client.send(format!("GET / HTTP/{version}\r\nHost: example.com\r\n\r\n"));
    assert_eq!(client.head().first_line, "HTTP/1.1 200 OK");
    gate.open();
    client.rest()
}

#[test]
fn a_truncated_length_is_shorter_than_announced() {
    for how in [Ends::Close, Ends::Reset] {
        for version in ["1.1", "1.0"] {
            let (gateway, gate, _endpoint) = cut_short(HALF_A_LENGTH, how);
            let (rest, end) = rest_of(&mut gateway.client(), &gate, version);
            assert!(rest.len() <= 5, "{how:?} {version}: {rest:?}");
            assert_ne!(end, End::Silent, "{how:?} {version}");
        }
    }
}

#[test]
fn a_truncated_chunked_response_has_no_last_chunk() {
    for response in [HALF_A_CHUNK, NO_LAST_CHUNK, HALF_THE_TRAILERS] {
        for how in [Ends::Close, Ends::Reset] {
            let (gateway, gate, _endpoint) = cut_short(response, how);
            let (rest, end) = rest_of(&mut gateway.client(), &gate, "1.1");
            let rest = String::from_utf8(rest).unwrap();
            assert!(!rest.contains("0\r\n"), "{how:?} {response:?}: {rest:?}");
            assert_ne!(end, End::Silent, "{how:?} {response:?}");
        }
    }
}

#[test]
fn a_truncated_response_that_would_end_by_closing_ends_with_a_reset() {
    for (response, how) in [
        (HALF_A_CHUNK, Ends::Close),
        (HALF_A_CHUNK, Ends::Reset),
        (NO_LAST_CHUNK, Ends::Close),
        (NO_LAST_CHUNK, Ends::Reset),
        (HALF_THE_TRAILERS, Ends::Close),
        (UNTIL_CLOSE, Ends::Reset),
    ] {
        let (gateway, gate, _endpoint) = cut_short(response, how);
        let (_, end) = rest_of(&mut gateway.client(), &gate, "1.0");
        assert_eq!(end, End::Reset, "{how:?} {response:?}: a FIN would say that this is all");
    }
}

#[test]
fn a_reset_of_an_endpoint_that_ends_by_closing_is_not_a_last_chunk() {
    let (gateway, gate, _endpoint) = cut_short(UNTIL_CLOSE, Ends::Reset);
    let (rest, end) = rest_of(&mut gateway.client(), &gate, "1.1");
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
    assert_ne!(end, End::Silent);
}

#[test]
fn a_response_that_turns_into_nonsense_is_cut_off() {
    let (bad, go_on) = (Gate::new(), Gate::new());
    let then = (bad.clone(), go_on.clone());
    let endpoint = Endpoint::scripted(move |mut connection| {
        connection.request();
        connection.send(NO_LAST_CHUNK);
        then.0.wait();
        connection.send("nonsense\r\n0\r\n\r\n");
        connection.end();
        then.1.open();
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let (rest, end) = rest_of(&mut gateway.client(), &bad, "1.1");
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
    assert_ne!(end, End::Silent);
    go_on.wait();
}

#[test]
fn a_response_that_stands_still_is_cut_off_after_its_time() {
    let endpoint = Endpoint::scripted(|mut connection| {
        connection.request();
        connection.send(NO_LAST_CHUNK);
        connection.end();
    });
    let gateway = Gateway::in_front_of(&[&endpoint])
        .upstream("timeouts = { between_bytes = \"300ms\" }")
        .start();
    let mut client = gateway.client();
    let (rest, end) = rest_of(&mut client, &Gate::new(), "1.1");
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
    assert_ne!(end, End::Silent);
    endpoint.wait_until_all_closed();
}

#[test]
fn a_body_longer_than_its_length_is_cut_there_and_the_rest_goes_to_nobody() {
    let endpoint = Endpoint::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more");
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(endpoint.connections(), 3);
}
