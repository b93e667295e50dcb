//! The fields that the gateway removes from heads and adds to them: RFC 9110 sections 7.2 and 7.6,
//! and the client's address.

use crate::harness::{Endpoint, GET, Gateway, OK, Request, Response, free_address, is_request_id};

/// The request as it arrives when a client sends `head`.
fn forwarded(head: &str) -> Request {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(head);
    assert_eq!(client.response().status, 200);
    endpoint.only_request()
}

#[test]
fn hop_by_hop_headers_of_a_request_end_at_the_gateway() {
    let request = forwarded(
        "GET /a?b=c HTTP/1.1\r\n\
         Host: example.com\r\n\
         Connection: keep-alive, X-Listed\r\n\
         Connection: x-also\r\n\
         Keep-Alive: timeout=5\r\n\
         Proxy-Connection: keep-alive\r\n\
         TE: trailers\r\n\
         Trailer: x-t\r\n\
         Upgrade: websocket\r\n\
         X-Listed: 1\r\n\
         X-Also: 2\r\n\
         X-End-To-End: 3\r\n\
         Accept: a\r\n\
         Accept: b\r\n\
         \r\n",
    );
    assert_eq!(request.first_line, "GET /a?b=c HTTP/1.1");
    for name in ["keep-alive", "proxy-connection", "trailer", "upgrade", "x-listed", "x-also"] {
        assert!(!request.has(name), "{name}: {:?}", request.headers);
    }
    assert_eq!(request.values("te"), ["trailers"], "the gateway passes trailers on");
    assert_eq!(request.values("connection"), ["te"]);
    assert_eq!(request.header("x-end-to-end"), Some("3"));
    assert_eq!(request.values("accept"), ["a", "b"], "repeated headers keep their order");
}

#[test]
fn hop_by_hop_headers_of_a_response_end_at_the_gateway() {
    let endpoint = Endpoint::answering(
        "HTTP/1.1 200 Fine\r\n\
         Content-Length: 2\r\n\
         Connection: keep-alive, x-listed\r\n\
         Keep-Alive: timeout=5, max=100\r\n\
         Proxy-Connection: keep-alive\r\n\
         Upgrade: h2c\r\n\
         X-Listed: 1\r\n\
         Set-Cookie: a=1\r\n\
         Set-Cookie: b=2\r\n\
         X-End-To-End: 3\r\n\
         \r\nok",
    );
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(GET);
    let response = client.response();
    assert_eq!(response.first_line, "HTTP/1.1 200 Fine");
    for name in ["keep-alive", "proxy-connection", "upgrade", "x-listed"] {
        assert!(!response.has(name), "{name}: {:?}", response.headers);
    }
    assert!(!response.values("connection").contains(&"x-listed"));
    assert_eq!(response.values("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(response.header("x-end-to-end"), Some("3"));
}

#[test]
fn an_endpoint_learns_the_client_the_host_and_the_scheme() {
    let request = forwarded("GET / HTTP/1.1\r\nHost: Example.COM:8080\r\n\r\n");
    assert_eq!(request.header("host"), Some("Example.COM:8080"), "Host is preserved");
    assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.header("x-forwarded-proto"), Some("http"));
    assert_eq!(request.header("x-forwarded-host"), Some("Example.COM:8080"));
    let id = request.header("x-request-id").unwrap();
    assert!(is_request_id(id), "{id}");
}

#[test]
fn forwarding_headers_of_clients_are_replaced() {
    let request = forwarded(
        "GET / HTTP/1.1\r\n\
         Host: example.com\r\n\
         X-Forwarded-For: 192.0.2.1\r\n\
         X-Forwarded-For: 192.0.2.2, 192.0.2.3\r\n\
         X-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: evil.example\r\n\
         X-Request-Id: mine\r\n\
         \r\n",
    );
    assert_eq!(request.values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(request.header("x-forwarded-proto"), Some("http"));
    assert_eq!(request.header("x-forwarded-host"), Some("example.com"));
    let id = request.header("x-request-id").unwrap();
    assert!(is_request_id(id), "{id}");
}

#[test]
fn a_client_cannot_strip_fields_of_the_gateway_by_listing_them_in_connection() {
    let request = forwarded(
        "POST / HTTP/1.1\r\n\
         Host: example.com\r\n\
         Connection: x-forwarded-for, x-forwarded-proto, x-forwarded-host, x-request-id\r\n\
         Connection: host, content-length\r\n\
         Content-Length: 4\r\n\
         \r\nbody",
    );
    assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.header("x-forwarded-proto"), Some("http"));
    assert_eq!(request.header("x-forwarded-host"), Some("example.com"));
    assert!(request.header("x-request-id").is_some_and(is_request_id));
    assert_eq!(request.header("host"), Some("example.com"));
    assert_eq!(request.text(), "body", "Content-Length frames the body, whoever lists it");
}

#[test]
fn every_request_has_an_id_of_its_own() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    for _ in 0..2 {
        let mut client = gateway.client();
        client.get("/");
        client.get("/");
    }
    let requests = endpoint.requests();
    let mut ids: Vec<_> = requests.iter().filter_map(|it| it.header("x-request-id")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4, "{ids:?}");
}

#[test]
fn a_target_in_absolute_form_is_forwarded_in_origin_form() {
    let request = forwarded("GET http://example.com/a?b HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!(request.first_line, "GET /a?b HTTP/1.1");
    assert_eq!(request.header("host"), Some("example.com"));
}

#[test]
fn a_request_of_http_1_0_is_forwarded_as_1_1() {
    let request = forwarded("GET / HTTP/1.0\r\nHost: example.com\r\n\r\n");
    assert_eq!(request.first_line, "GET / HTTP/1.1");
    assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn methods_and_targets_arrive_as_they_were_sent() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    let lines = [
        "GET /%2F%20/a/b?c=d&e=/../%41 HTTP/1.1",
        "DELETE /users/1 HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "PROPFIND /dav HTTP/1.1",
        "get / HTTP/1.1",
    ];
    for line in lines {
        client.send(format!("{line}\r\nHost: example.com\r\n\r\n"));
        assert_eq!(client.response().status, 200, "{line}");
    }
    let received: Vec<_> =
        endpoint.requests().into_iter().map(|request| request.head.first_line).collect();
    assert_eq!(received, lines);
}

#[test]
fn a_request_names_the_gateways_it_has_passed() {
    let request = forwarded("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(request.values("cdn-loop"), ["ringway"]);
    let request = forwarded(
        "GET / HTTP/1.1\r\nHost: a\r\nCDN-Loop: cloud; a=1\r\n\
         Connection: x-forwarded-for\r\nCDN-Loop: ringway\r\n\r\n",
    );
    let lists = request.values("cdn-loop").join(", ");
    assert_eq!(lists.matches("ringway").count(), 2, "{lists}");
    assert!(lists.contains("cloud; a=1"), "{lists}");
}

#[test]
fn a_loop_ends_by_itself() {
    // The gateway is its own endpoint.
    let address = free_address();
    let gateway =
        Gateway::in_front_of_addresses([address]).at(&address.to_string()).admin().start();
    let mut client = gateway.client();
    client.get("/").assert_is_reply(508, "loop_detected");
    client.post("/", "body").assert_is_reply(508, "loop_detected");
    // The client's, and ten hops of each request.
    let opened = gateway.metric("ringway_client_connections_total", &[]);
    assert!(opened <= 21.0, "{opened} connections");
}

/// How a client of HTTP/1.1 is answered when an endpoint sends `response`.
fn answered(request: &str, response: &str) -> Response {
    let endpoint = Endpoint::answering(response.to_owned());
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(request);
    client.response()
}

#[test]
fn trailer_passes_where_trailers_pass() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
        2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n";
    let response = answered(GET, CHUNKED);
    assert_eq!(response.header("trailer"), Some("X-Sum"));
    assert_eq!(response.trailers, [("X-Sum".to_owned(), "1".to_owned())]);
    // HTTP/1.0 has no chunks, and a body of known length has no trailers.
    let response = answered("GET / HTTP/1.0\r\nHost: a\r\n\r\n", CHUNKED);
    assert_eq!((response.text(), response.header("trailer")), ("ok", None));
    let response =
        answered(GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTrailer: X-Sum\r\n\r\nok");
    assert_eq!((response.text(), response.header("trailer")), ("ok", None));

    let request = forwarded(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
    );
    assert_eq!(request.header("trailer"), Some("X-Sum"));
    assert_eq!(request.trailers, [("X-Sum".to_owned(), "1".to_owned())]);
}

#[test]
fn every_final_response_has_one_date() {
    let today = |date: &str| date.len() == 29 && date.ends_with(" GMT") && !date.contains("1970");
    let response = answered(GET, OK);
    let dates = response.values("date");
    assert!(dates.len() == 1 && today(dates[0]), "{dates:?}");
    // The date of an endpoint that has a clock stays.
    let own = "Tue, 15 Nov 1994 08:12:31 GMT";
    let with =
        |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nDate: {own}\r\n\r\n");
    assert_eq!(answered(GET, &with("200 OK")).values("date"), [own]);
    assert_eq!(answered(GET, "HTTP/1.1 204 No Content\r\n\r\n").values("date").len(), 1);
    assert_eq!(answered(GET, "HTTP/1.1 304 Not Modified\r\n\r\n").values("date").len(), 1);
    assert_eq!(answered(GET, "no http\r\n\r\n").values("date").len(), 1, "a reply has one too");
}

#[test]
fn an_interim_response_carries_the_fields_of_the_endpoint_and_no_others() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x-hop, close\r\n\
        X-Hop: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nTE: a\r\nTrailer: b\r\n\r\n";
    let response = answered(GET, &format!("{interim}{OK}"));
    assert_eq!(response.interim[0].headers, [("Link".to_owned(), "</a>".to_owned())]);
    assert_eq!(response.status, 200);
}

#[test]
fn a_switch_carries_the_fields_of_the_endpoint_and_the_protocol() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade, x-hop\r\nX-Hop: 1\r\n\
        Upgrade: WebSocket\r\nKeep-Alive: 5\r\nTrailer: b\r\nSec-WebSocket-Accept: s\r\n\
        Set-Cookie: a\r\n\r\n";
    let endpoint = Endpoint::answering(switch);
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    let fields = [
        ("Sec-WebSocket-Accept", "s"),
        ("Set-Cookie", "a"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(client.head().headers, fields);
}

#[test]
fn the_target_wins_over_host() {
    let request = forwarded("GET http://a.example/x HTTP/1.1\r\nHost: b.example\r\n\r\n");
    assert_eq!(request.first_line, "GET /x HTTP/1.1");
    assert_eq!(request.values("host"), ["a.example"]);
    assert_eq!(request.header("x-forwarded-host"), Some("a.example"));
    let request = forwarded("GET / HTTP/1.1\r\nHost: a.example:\r\n\r\n");
    assert_eq!(request.values("host"), ["a.example:"]);
}
