//! Requests that are not HTTP, or more of it than is served: refused with the reason, and never
//! passed on.

use std::time::Duration;

use crate::harness::{Endpoint, GET, Gate, Gateway, PATIENCE, eventually};

/// Heads that are malformed, and why.
const BAD_REQUESTS: &[(&str, &str)] = &[
    // The request line.
    ("GET /\r\nHost: example.com\r\n\r\n", "request_line"),
    ("GET\r\nHost: example.com\r\n\r\n", "request_line"),
    ("GET  / HTTP/1.1\r\nHost: example.com\r\n\r\n", "request_line"),
    ("G\"T / HTTP/1.1\r\nHost: example.com\r\n\r\n", "method"),
    ("GET / http/1.1\r\nHost: example.com\r\n\r\n", "version"),
    ("GET / HTTP/1.1x\r\nHost: example.com\r\n\r\n", "version"),
    ("GET / HTTPS/1.1\r\nHost: example.com\r\n\r\n", "version"),
    ("GET a HTTP/1.1\r\nHost: example.com\r\n\r\n", "target"),
    ("GET /a#b HTTP/1.1\r\nHost: example.com\r\n\r\n", "target"),
    ("GET /a\\b HTTP/1.1\r\nHost: example.com\r\n\r\n", "target"),
    ("GET ftp://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n", "target"),
    ("GET * HTTP/1.1\r\nHost: example.com\r\n\r\n", "asterisk_without_options"),
    // Lines.
    ("GET / HTTP/1.1\nHost: example.com\n\n", "bare_lf"),
    ("GET / HTTP/1.1\nHost: example.com\r\n\r\n", "bare_lf"),
    ("GET / HTTP/1.1\r\nHost: example.com\n\r\n", "bare_lf"),
    ("GET / HTTP/1.1\r\nHost: example.com\r\nA: b\nC: d\r\n\r\n", "bare_lf"),
    ("GET / HTTP/1.1\r\nHost: example.com\r\n\n", "bare_lf"),
    ("GET / HTTP/1.1\r\nHost: example.com\r\nA: b\rC: d\r\n\r\n", "bare_cr"),
    ("GET / HTTP/1.1\r\nHost: example.com\r\nA: b\r\n c\r\n\r\n", "folded_line"),
    ("GET / HTTP/1.1\r\nHost: example.com\r\nA: b\r\n\tc\r\n\r\n", "folded_line"),
    ("GET / HTTP/1.1\r\n Host: example.com\r\n\r\n", "folded_line"),
    ("GET / HTTP/1.1\r\nHost : example.com\r\n\r\n", "space_before_colon"),
    ("GET / HTTP/1.1\r\nHost: example.com\r\nContent-Length\t: 5\r\n\r\n", "space_before_colon"),
    ("GET / HTTP/1.1\r\nHost: example.com\r\nno colon\r\n\r\n", "header_name"),
    ("GET / HTTP/1.1\r\nHost: example.com\r\n: empty\r\n\r\n", "header_name"),
    ("GET / HTTP/1.1\r\nHost: example.com\r\nA(b): c\r\n\r\n", "header_name"),
    ("GET / HTTP/1.1\r\nHost: example.com\r\nA: b\0c\r\n\r\n", "header_value"),
    ("GET / HTTP/1.1\r\nHost: example.com\r\nA: b\x01c\r\n\r\n", "header_value"),
    // Host.
    ("GET / HTTP/1.1\r\n\r\n", "host_missing"),
    ("GET / HTTP/1.1\r\nAccept: a\r\n\r\n", "host_missing"),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "host_duplicate"),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "host_invalid"),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "host_invalid"),
    ("GET / HTTP/1.1\r\nHost: user@example.com\r\n\r\n", "host_invalid"),
    ("GET http://a/ HTTP/1.1\r\nHost: b c\r\n\r\n", "host_invalid"),
    // Framing.
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "content_length_duplicate",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        "content_length_duplicate",
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc", "content_length_invalid"),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", "content_length_invalid"),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nabc", "content_length_invalid"),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc", "content_length_invalid"),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nabc", "content_length_invalid"),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\nabc",
        "content_length_invalid",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\n",
        "content_length_with_transfer_encoding",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "transfer_encoding_invalid",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "transfer_encoding_invalid",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: , chunked\r\n\r\n0\r\n\r\n",
        "transfer_encoding_invalid",
    ),
    (
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "transfer_encoding_in_http10",
    ),
    // Bodies that came with their head.
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "chunk_size"),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", "chunk_size"),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "chunk_size"),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n", "chunk_size"),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         ffffffffffffffffff\r\n",
        "chunk_size",
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", "chunk_end"),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\nno colon\r\n\r\n",
        "trailer_malformed",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\nContent-Length: 5\r\n\r\n",
        "trailer_forbidden",
    ),
];

/// Sends `request`, and another one right behind it that must not be served.
fn assert_is_refused(gateway: &Gateway, request: &str, status: u16, reason: &str) {
    let mut client = gateway.client();
    client.send(format!("{request}{GET}"));
    let response = client.try_response().unwrap_or_else(|cut| panic!("{request:?}: {cut}"));
    let text = response.text();
    let says = format!("\"error\":\"{reason}\",\"status\":{status},");
    assert!(text.contains(&says), "{request:?} must be {status} {reason}, is {text}");
    response.assert_is_reply(status, reason);
    assert_eq!(response.header("connection"), Some("close"), "{request:?}");
    client.half_close();
    client.assert_closed();
}

#[test]
fn malformed_requests_are_answered_400_with_the_reason_and_go_nowhere() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    for (request, reason) in BAD_REQUESTS {
        assert_is_refused(&gateway, request, 400, reason);
    }
    assert_eq!(endpoint.requests().len(), 0);
    assert_eq!(gateway.client().get("/").status, 200);
}

#[test]
fn http_that_is_not_served_is_answered_501_or_505() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    for (request, status, reason) in [
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
            501,
            "transfer_coding_unknown",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            501,
            "transfer_coding_unknown",
        ),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501, "connect_not_served"),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "version_not_supported"),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "version_not_supported"),
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, "version_not_supported"),
        ("PRI * HTTP/2.0\r\nHost: a\r\n\r\n", 505, "version_not_supported"),
    ] {
        assert_is_refused(&gateway, request, status, reason);
    }
    assert_eq!(endpoint.requests().len(), 0);
}

#[test]
fn a_head_that_is_too_large_is_answered_431() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint])
        .listener("limits = { head_bytes_max = \"2KiB\", headers_max = 10 }")
        .start();
    let head = |len: usize| {
        let head = "GET / HTTP/1.1\r\nHost: example.com\r\nX: ";
        let filler = "x".repeat(len - head.len() - 4);
        format!("{head}{filler}\r\n\r\n")
    };
    let mut client = gateway.client();
    client.send(head(2048));
    assert_eq!(client.response().status, 200, "the limit itself is fine");
    assert_is_refused(&gateway, &head(2049), 431, "head_too_large");
    assert_is_refused(&gateway, &head(40_000), 431, "head_too_large");

    // One that never ends is refused as soon as it is too large.
    let mut client = gateway.client();
    client.send(&head(3000)[..2500]);
    client.response().assert_is_reply(431, "head_too_large");
    client.half_close();
    client.assert_closed();
}

#[test]
fn a_head_with_too_many_headers_is_answered_431() {
    let endpoint = Endpoint::ok();
    let gateway =
        Gateway::in_front_of(&[&endpoint]).listener("limits = { headers_max = 10 }").start();
    let head = |headers: usize| {
        let others: String = (1..headers).map(|n| format!("X-{n}: {n}\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: example.com\r\n{others}\r\n")
    };
    let mut client = gateway.client();
    client.send(head(10));
    assert_eq!(client.response().status, 200, "the limit itself is fine");
    assert_is_refused(&gateway, &head(11), 431, "too_many_headers");
}

#[test]
fn a_large_head_is_served_up_to_the_default_limits() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let others: String = (1..100).map(|n| format!("X-{n}: {}\r\n", "x".repeat(300))).collect();
    let mut client = gateway.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: example.com\r\n{others}\r\n"));
    assert_eq!(client.response().status, 200);
    let request = endpoint.only_request();
    assert_eq!(request.header("x-99").map(str::len), Some(300));
}

#[test]
fn a_body_that_becomes_malformed_under_way_is_answered_400_and_the_endpoint_is_told() {
    let (begun, cut) = (Gate::new(), Gate::new());
    let (endpoint_has_begun, endpoint_is_cut) = (begun.clone(), cut.clone());
    let endpoint = Endpoint::scripted(move |mut connection| {
        connection.request_head();
        assert_eq!(connection.bytes(10), b"5\r\nhello\r\n");
        endpoint_has_begun.open();
        // Without a last chunk the endpoint knows that the request is not complete.
        assert!(connection.next_request().is_none());
        endpoint_is_cut.open();
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    begun.wait();
    client.send("nonsense\r\n");
    client.response().assert_is_reply(400, "chunk_size");
    cut.wait();
    eventually("the endpoint's connection has ended", || endpoint.open_connections() == 0);
}

#[test]
fn bytes_that_can_begin_no_request_are_refused_at_once() {
    let endpoint = Endpoint::ok();
    // Longer than a test waits.
    let timeouts = "timeouts = { head = \"60s\" }";
    let gateway = Gateway::in_front_of(&[&endpoint]).listener(timeouts).start();
    for (bytes, reason) in [
        // A TLS ClientHello, the beginning of one, and other protocols.
        (&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], "method"),
        (b"\x16", "method"),
        (b"\x16\x03\n\x01\r\r\n\r\n", "method"),
        (b"\0", "method"),
        (b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0", "method"),
        (b"{\"a\":1}", "method"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "request_line"),
        (b"*1\r\n$4\r\nPING\r\n", "request_line"),
        (b"GET /\r\n", "request_line"),
        (b"GET / HTTP/3.0\r\n", "version_not_supported"),
        (b"GET / HTTP/1.1\n", "bare_lf"),
        (b" GET /", "method"),
        (b"G\xc3\x89T", "method"),
        (b"\r\n\x16", "method"),
        (b"\r\n\r\n", "blank_line"),
        (b"\nGET", "blank_line"),
    ] {
        let mut client = gateway.client();
        client.send(bytes);
        let status = if reason == "version_not_supported" { 505 } else { 400 };
        client.response().assert_is_reply(status, reason);
        client.half_close();
        client.assert_closed();
    }
    // A method that is not known, and the halves of a line end, are no reason.
    for (begin, rest) in [
        ("\r", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("!#$%", "&* / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("GET / HTTP/1.1\r", "\nHost: a\r\n\r\n"),
    ] {
        let mut client = gateway.client();
        client.send(begin);
        client.be_patient_for(Duration::from_millis(50));
        assert!(client.try_response().is_err(), "{begin:?} is no fault yet");
        client.be_patient_for(PATIENCE);
        client.send(rest);
        assert_eq!(client.response().status, 200, "{begin:?}");
    }
}
