//! Endpoints that answer before the request is over.

use std::time::Duration;

use crate::harness::{Connection, Endpoint, Gateway};

const TOO_LARGE: &str = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n\
                         Connection: close\r\n\r\ntoo large";

/// The result of a client that uploads `len` bytes and reads meanwhile.
fn assert_upload_is_refused(len: usize, endpoint: impl Fn(Connection) + Send + Sync + 'static) {
    let endpoint = Endpoint::scripted(endpoint);
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    for framing in ["Content-Length", "Transfer-Encoding"] {
        let mut client = gateway.client();
        let (value, body) = match framing {
            "Content-Length" => (len.to_string(), vec![b'x'; len]),
            _ => {
                let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
                ("chunked".to_owned(), chunk.repeat(len / 0x1_0000).into_bytes())
            }
        };
        client.send(format!("POST / HTTP/1.1\r\nHost: example.com\r\n{framing}: {value}\r\n\r\n"));
        let upload = client.send_meanwhile(body);
        let response = client.response();
        assert_eq!((response.status, response.text()), (413, "too large"), "{framing}");
        assert_eq!(response.header("connection"), Some("close"), "{framing}");
        // Nobody reads the rest: the client is stopped, one way or the other.
        client.rest();
        drop(client);
        let _ = upload.join();
    }
}

#[test]
fn a_client_gets_the_early_answer_of_an_endpoint_that_closes_at_once() {
    assert_upload_is_refused(50 << 20, |mut connection| {
        connection.request_head();
        connection.send(TOO_LARGE);
    });
}

#[test]
fn a_client_gets_the_early_answer_of_an_endpoint_that_reads_some_of_the_upload() {
    assert_upload_is_refused(50 << 20, |mut connection| {
        connection.request_head();
        connection.bytes(3 << 20);
        connection.send(TOO_LARGE);
    });
}

#[test]
fn a_client_gets_the_early_answer_of_an_endpoint_that_closes_politely() {
    assert_upload_is_refused(50 << 20, |mut connection| {
        connection.request_head();
        connection.send(TOO_LARGE);
        connection.half_close();
        connection.end();
    });
}

#[test]
fn a_client_that_writes_everything_before_it_reads_gets_the_early_answer() {
    let endpoint = Endpoint::scripted(|mut connection| {
        connection.request_head();
        connection.send(TOO_LARGE);
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    const LEN: usize = 2 << 20;
    client.send(format!("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: {LEN}\r\n\r\n"));
    client.send(vec![b'x'; LEN]);
    let response = client.response();
    assert_eq!((response.status, response.text()), (413, "too large"));
}

#[test]
fn an_upload_goes_on_when_the_answer_is_good_and_early() {
    const LEN: usize = 4 << 20;
    let endpoint = Endpoint::scripted(|mut connection| {
        while let Some(head) = connection.next_head() {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
            let request = connection.with_body(head);
            connection.send(if request.body.len() == LEN { "ok" } else { "no" });
        }
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    for _ in 0..2 {
        client.send(format!("PUT / HTTP/1.1\r\nHost: a.b\r\nContent-Length: {LEN}\r\n\r\n"));
        assert_eq!(client.head().first_line, "HTTP/1.1 200 OK");
        client.send(vec![b'x'; LEN]);
        assert_eq!(client.bytes(2), b"ok");
    }
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn a_connection_whose_upload_was_refused_is_closed_soon_even_if_the_upload_stalls() {
    let endpoint = Endpoint::scripted(|mut connection| {
        connection.request_head();
        connection.send("HTTP/1.1 403 Forbidden\r\n\r\nno");
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    for version in ["1.1", "1.0"] {
        let mut client = gateway.client();
        // Nothing more is sent until the answer is complete, which a client of 1.0 knows by the
        // end of the connection.
        client.send(format!("POST / HTTP/{version}\r\nHost: a.b\r\nContent-Length: 9\r\n\r\n"));
        client.be_patient_for(Duration::from_secs(5));
        let response = client.response();
        assert_eq!((response.status, response.text()), (403, "no"));
        client.assert_closed();
    }
}

#[test]
fn the_rest_of_a_refused_upload_is_never_taken_for_a_request() {
    let endpoint = Endpoint::scripted(|mut connection| {
        while connection.next_head().is_some() {
            // Keeps the connection and does not read the body: an upload that is cut off here
            // must not be followed by another request.
            connection.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        }
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send("POST /1 HTTP/1.1\r\nHost: example.com\r\nContent-Length: 100\r\n\r\n");
    assert_eq!(client.response().status, 403);
    let mut other = gateway.client();
    assert_eq!(other.get("/2").status, 403);
    assert_eq!(endpoint.connections(), 2, "the first connection has an unfinished request");
    client.send_if_it_goes("GET /smuggled HTTP/1.1\r\nHost: example.com\r\n\r\n");
    client.half_close();
    let (rest, _) = client.rest();
    assert_eq!(rest, b"", "the rest of the upload was answered");
    assert_eq!(endpoint.requests().len(), 0);
}
