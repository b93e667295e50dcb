//! Bodies in every framing and in both directions: RFC 9112 sections 6 and 7, RFC 9110 section 6.4.

use crate::harness::{Endpoint, Framing, GET, Gateway, Response, assert_same_bytes, pattern};

const LARGE: usize = 8 << 20;

/// The response that a client gets to `request` when an endpoint sends `response` and closes.
fn answer_of(request: &str, response: &str) -> Response {
    let response = response.to_owned();
    let endpoint = Endpoint::scripted(move |mut connection| {
        connection.request();
        connection.send(&response);
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(request);
    client.response()
}

/// `bytes` as chunks of very different sizes.
fn chunked(bytes: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(bytes.len() + bytes.len() / 100);
    let (mut rest, mut len) = (bytes, 1);
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(len.min(rest.len()));
        framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
        (rest, len) = (behind, len * 3 % 99_991);
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    framed
}

#[test]
fn a_body_with_a_length_keeps_it_in_both_directions() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    let response = client.post("/", "hello");
    assert_eq!((response.framing, response.text()), (Framing::Length(2), "ok"));
    let request = endpoint.only_request();
    assert_eq!((request.framing, request.text()), (Framing::Length(5), "hello"));
}

#[test]
fn an_empty_body_with_a_length_keeps_it() {
    let endpoint = Endpoint::saying("");
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    let response = client.post("/", "");
    assert_eq!(response.framing, Framing::Length(0));
    assert_eq!(endpoint.only_request().framing, Framing::Length(0));
}

#[test]
fn a_chunked_body_stays_chunked_in_both_directions() {
    let endpoint = Endpoint::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n1;a=\"b\"\r\n \r\n5\r\nworld\r\n0\r\n\r\n",
    );
    let response = client.response();
    assert_eq!((response.framing, response.text()), (Framing::Chunked, "abcde"));
    let request = endpoint.only_request();
    assert_eq!((request.framing, request.text()), (Framing::Chunked, "hello world"));
    // The connections are good for more, on both sides.
    assert_eq!(client.get("/").text(), "abcde");
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn trailers_are_forwarded_in_both_directions() {
    let endpoint = Endpoint::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Checksum: 1\r\nX-Other: 2\r\n\r\n",
    );
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: example.com\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nhi\r\n0\r\nX-Sum: a\r\n\r\n",
    );
    let response = client.response();
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(response.text(), "abc");
    assert_eq!(response.trailers, [field("X-Checksum", "1"), field("X-Other", "2")]);
    let request = endpoint.only_request();
    assert_eq!(request.text(), "hi");
    assert_eq!(request.trailers, [field("X-Sum", "a")]);
}

#[test]
fn a_response_that_ends_by_closing_is_chunked_for_a_client_of_1_1() {
    let endpoint = Endpoint::scripted(|mut connection| {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\n\r\nuntil the end");
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!((response.framing, response.text()), (Framing::Chunked, "until the end"));
    }
}

#[test]
fn a_response_without_a_length_ends_by_closing_for_a_client_of_1_0() {
    for response in [
        "HTTP/1.1 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         6\r\nuntil \r\n7\r\nthe end\r\n0\r\nX-Trailer: 1\r\n\r\n",
    ] {
        let request = "GET / HTTP/1.0\r\nHost: example.com\r\nConnection: keep-alive\r\n\r\n";
        let response = answer_of(request, response);
        assert_eq!((response.framing, response.text()), (Framing::UntilClose, "until the end"));
        assert!(!response.has("transfer-encoding"));
        assert_ne!(response.header("connection"), Some("keep-alive"));
    }
}

#[test]
fn a_response_to_head_keeps_its_length_and_has_no_body() {
    let endpoint = Endpoint::answering("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: example.com\r\n\r\n");
        let response = client.response_to_head();
        assert_eq!(response.header("content-length"), Some("1234"));
    }
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn responses_that_never_have_a_body_have_none() {
    for (response, length) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", None),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", None),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n", Some("1234")),
    ] {
        let endpoint = Endpoint::answering(response.to_owned());
        let gateway = Gateway::in_front_of(&[&endpoint]).start();
        let mut client = gateway.client();
        for _ in 0..2 {
            let received = client.get("/");
            assert_eq!(received.header("content-length"), length, "{response}");
            assert!(!received.has("transfer-encoding"), "{response}");
        }
        assert_eq!(endpoint.connections(), 1);
    }
}

#[test]
fn a_large_body_goes_up_byte_by_byte_the_same() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    let body = pattern(LARGE);
    client.send(format!("PUT / HTTP/1.1\r\nHost: example.com\r\nContent-Length: {LARGE}\r\n\r\n"));
    client.send(body);
    assert_eq!(client.response().text(), "ok");
    client.send("PUT / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(chunked(body));
    assert_eq!(client.response().text(), "ok");
    for (request, framing) in
        endpoint.requests().iter().zip([Framing::Length(LARGE), Framing::Chunked])
    {
        assert_eq!(request.framing, framing);
        assert_same_bytes(&request.body, body);
    }
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn a_large_body_comes_down_byte_by_byte_the_same() {
    let endpoint = Endpoint::scripted(|mut connection| {
        let body = pattern(LARGE);
        while let Some(request) = connection.next_request() {
            let (head, body) = match request.target() {
                "/length" => (format!("Content-Length: {LARGE}"), body.to_vec()),
                "/chunked" => ("Transfer-Encoding: chunked".to_owned(), chunked(body)),
                _ => ("X: until close".to_owned(), body.to_vec()),
            };
            connection.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n"));
            connection.send(body);
            if request.target() == "/close" {
                break;
            }
        }
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    for target in ["/length", "/chunked", "/close"] {
        assert_same_bytes(&client.get(target).body, pattern(LARGE));
    }
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn bodies_go_up_and_down_at_the_same_time() {
    // An endpoint that echoes the body while the rest of it is still coming.
    let endpoint = Endpoint::scripted(|mut connection| {
        connection.request_head();
        connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
        for _ in 0..LARGE / 4096 {
            let block = connection.bytes(4096);
            connection.send(block);
        }
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: {LARGE}\r\n\r\n"));
    let upload = client.send_meanwhile(pattern(LARGE).to_vec());
    assert_same_bytes(&client.response().body, pattern(LARGE));
    upload.join().unwrap().expect("the gateway goes on reading");
}

#[test]
fn a_body_that_arrives_in_dribbles_is_forwarded_as_it_is() {
    let endpoint = Endpoint::scripted(|mut connection| {
        while let Some(request) = connection.next_request() {
            let response =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
            for byte in response.bytes().chain(request.body) {
                connection.send([byte]);
            }
        }
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    let requests = [
        "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 11\r\n\r\nhello world",
        "POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n\
         005\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    ];
    for request in requests {
        for byte in request.bytes() {
            client.send([byte]);
        }
        assert_eq!(client.response().text(), "hello world");
    }
}

#[test]
fn a_body_of_a_get_is_forwarded_too() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\nquery");
    assert_eq!(client.response().status, 200);
    assert_eq!(endpoint.only_request().text(), "query");
}

#[test]
fn a_client_that_expects_100_continue_gets_it_from_the_endpoint() {
    let endpoint = Endpoint::scripted(|mut connection| {
        let head = connection.request_head();
        assert_eq!(head.header("expect"), Some("100-continue"));
        connection.send("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(connection.with_body(head).text(), "hello");
        connection.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: example.com\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    );
    assert_eq!(client.head().first_line, "HTTP/1.1 100 Continue");
    client.send("hello");
    let response = client.response();
    assert_eq!(response.status, 201);
    assert!(response.interim.is_empty(), "one 100 is enough");
}

#[test]
fn a_client_that_expects_100_continue_need_not_send_a_body_that_the_endpoint_refuses() {
    let endpoint = Endpoint::scripted(|mut connection| {
        connection.request_head();
        connection.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno");
        // The request was not sent whole, so the gateway cannot use this connection again.
        assert!(connection.next_request().is_none());
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: example.com\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    );
    let response = client.response();
    assert_eq!((response.status, response.text()), (417, "no"));
    assert_eq!(response.header("connection"), Some("close"), "or the body must still be sent");
    client.half_close();
    client.assert_closed();
}

#[test]
fn a_client_that_does_not_wait_for_100_continue_is_served() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: example.com\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n\
         hello",
    );
    assert_eq!(client.response().status, 200);
    assert_eq!(endpoint.only_request().text(), "hello");
}

const EARLY_HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nConnection: x-hop\r\n\
                           X-Hop: 1\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
                           HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn interim_responses_are_forwarded() {
    let response = answer_of(GET, EARLY_HINTS);
    assert_eq!((response.status, response.text()), (200, "ok"));
    let lines: Vec<_> = response.interim.iter().map(|head| head.first_line.as_str()).collect();
    assert_eq!(lines, ["HTTP/1.1 103 Early Hints", "HTTP/1.1 102 Processing"]);
    assert_eq!(response.interim[0].header("link"), Some("</style.css>"));
    assert!(!response.interim[0].has("x-hop"), "hop-by-hop headers end here too");
    assert!(!response.interim[0].has("content-length"));
}

#[test]
fn a_client_of_http_1_0_gets_no_interim_responses() {
    let response = answer_of("GET / HTTP/1.0\r\nHost: example.com\r\n\r\n", EARLY_HINTS);
    assert_eq!((response.status, response.text()), (200, "ok"));
    assert!(response.interim.is_empty());
}

#[test]
fn a_response_that_comes_with_its_head_in_pieces_is_whole() {
    let response = "HTTP/1.1 200 OK\r\nX-Long: ".to_owned()
        + &"a".repeat(20_000)
        + "\r\nContent-Length: 2\r\n\r\nok";
    let endpoint = Endpoint::scripted(move |mut connection| {
        while connection.next_request().is_some() {
            for piece in response.as_bytes().chunks(1000) {
                connection.send(piece);
            }
        }
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!(response.header("x-long").map(str::len), Some(20_000));
        assert_eq!(response.text(), "ok");
    }
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn a_204_that_announces_a_body_passes_and_its_connection_is_not_used_again() {
    for answer in [
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let endpoint = Endpoint::answering(answer);
        let gateway = Gateway::in_front_of(&[&endpoint]).start();
        let mut client = gateway.client();
        for _ in 0..2 {
            let response = client.get("/");
            assert_eq!((response.status, response.text()), (204, ""), "{answer}");
            assert!(!response.has("transfer-encoding") && !response.has("content-length"));
            assert_ne!(response.header("connection"), Some("close"), "the client's goes on");
        }
        assert_eq!(endpoint.connections(), 2, "{answer}");
    }
}

#[test]
fn a_status_that_nobody_has_defined_passes() {
    for status in [299, 600, 700, 999] {
        let response =
            answer_of(GET, &format!("HTTP/1.1 {status} Own\r\nContent-Length: 2\r\n\r\nok"));
        assert_eq!(response.first_line, format!("HTTP/1.1 {status} Own"));
        assert_eq!(response.text(), "ok");
    }
}

#[test]
fn a_cookie_behind_a_chunked_response_is_dropped_and_the_response_passes() {
    let response = answer_of(
        GET,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         5 \r\nhello\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a=b\r\nContent-Length: 9\r\n\r\n",
    );
    assert_eq!((response.status, response.text()), (200, "hello"));
    assert_eq!(response.trailers, [("X-Sum".to_owned(), "1".to_owned())]);
}
