//! The vectors through the whole gateway. A refused request gets its status and reason on the wire,
//! and no byte of it reaches an endpoint. A legal request arrives there with the meaning of its
//! row.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use proto::h1::{Scanner, parse_request};
use proto::head::{BodyLength, RequestHead};
use proto::violation::Violation;

pub(crate) use rows::{Row, rows};

use crate::harness::{Client, End, Endpoint, Framing, Gateway, Head, OK, free_address};

#[path = "../vectors/rows.rs"]
mod rows;

pub(crate) const REQUESTS: &str = include_str!("../vectors/h1/requests.txt");
const CHUNKED: &str = include_str!("../vectors/h1/chunked.txt");

/// Bodies up to this length are sent; of longer ones only the head.
const BODY_BYTES_MAX: u64 = 64;

/// The prefixes of rows, and their keys in the configuration of a listener.
pub(crate) const PREFIXES: &[(&str, &str)] = &[
    ("", ""),
    ("keep", "path = \"keep\""),
    ("reject", "encoded_slash = \"reject\""),
    ("keep reject", "path = \"keep\"\nencoded_slash = \"reject\""),
];

/// A gateway with a listener for each of the [`PREFIXES`], and where they are.
pub(crate) fn gateway(endpoint: SocketAddr) -> (Gateway, Vec<(&'static str, SocketAddr)>) {
    // Without upgrades: the rows describe how an ordinary request goes on.
    let mut builder = Gateway::in_front_of_addresses([endpoint]).route("upgrades = []");
    let mut listeners = Vec::new();
    for (number, (prefix, keys)) in PREFIXES.iter().enumerate().skip(1) {
        let address = free_address();
        let section = format!("[listeners.l{number}]\naddress = \"{address}\"\n{keys}\n");
        builder = builder.and(&section);
        listeners.push((*prefix, address));
    }
    let gateway = builder.start();
    listeners.insert(0, ("", gateway.address()));
    (gateway, listeners)
}

/// Where a row is to be sent.
pub(crate) fn listener(listeners: &[(&str, SocketAddr)], row: &Row) -> SocketAddr {
    let found = listeners.iter().find(|(prefix, _)| *prefix == row.prefix);
    found.unwrap_or_else(|| panic!("line {}: no listener for {:?}", row.line, row.prefix)).1
}

/// The bytes of a row with the rest of the body that its head announces, if it is a legal one and
/// the body is not too long; and that body.
pub(crate) fn completed(row: &Row) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut bytes = row.bytes.clone();
    let mut head = RequestHead::new();
    let head_len = Scanner::new().scan(&bytes).unwrap_or(bytes.len());
    if parse_request(&bytes[..head_len], 100, &mut head).is_err() {
        return (bytes, None);
    }
    let came = bytes.len() - head_len;
    let body = match head.body_length() {
        BodyLength::Length(len) if len > BODY_BYTES_MAX => return (bytes, None),
        BodyLength::Length(len) => {
            let len = usize::try_from(len).unwrap();
            bytes.extend(std::iter::repeat_n(b'x', len.saturating_sub(came)));
            bytes[head_len..head_len + len].to_vec()
        }
        BodyLength::Chunked if came == 0 => {
            bytes.extend(b"3\r\nabc\r\n0\r\n\r\n");
            b"abc".to_vec()
        }
        BodyLength::Chunked => decoded(&bytes[head_len..]),
        _ => Vec::new(),
    };
    (bytes, Some(body))
}

/// The data of a chunked body without extensions, and with digits that are short.
fn decoded(mut bytes: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while let Some((&digit, rest)) = bytes.split_first().filter(|(digit, _)| **digit != b'0') {
        let len = char::from(digit).to_digit(16).expect("a digit") as usize;
        data.extend_from_slice(&rest[2..2 + len]);
        bytes = &rest[2 + len + 2..];
    }
    data
}

/// The status with which a violation is answered.
fn status(token: &str) -> u16 {
    let violation = Violation::ALL.iter().find(|it| it.token() == token);
    violation.unwrap_or_else(|| panic!("{token} is no violation")).status()
}

/// Heads that arrived at an endpoint.
type Heads = Arc<Mutex<Vec<Head>>>;

/// An endpoint that notes each head, reads the body if it is short, and answers.
fn noting_endpoint() -> (Endpoint, Heads) {
    let heads = Heads::default();
    let noted = Arc::clone(&heads);
    let endpoint = Endpoint::scripted(move |mut connection| {
        while let Some(head) = connection.next_head() {
            noted.lock().unwrap().push(head.clone());
            let short = !matches!(head.framing(), Some(Framing::Length(len)) if len > 64);
            if short && connection.try_with_body(head).is_none() {
                return;
            }
            connection.send(OK);
            if !short {
                return;
            }
        }
    });
    (endpoint, heads)
}

/// Whether the worker skips a first part of the row, so that its verdict is another one.
pub(crate) fn begins_blank(row: &Row) -> bool {
    row.bytes.starts_with(b"\r\n")
}

#[test]
fn requests_are_served_or_refused_on_the_wire_as_written() {
    let (endpoint, heads) = noting_endpoint();
    let (_gateway, listeners) = gateway(endpoint.address());
    let (mut legal, mut refused) = (0, 0);
    for row in rows(REQUESTS).filter(|row| !begins_blank(row)) {
        let what = format!("line {} of requests.txt", row.line);
        let (bytes, body) = completed(&row);
        // The port speaks HTTP/2 too, and this is how it begins.
        if bytes.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") {
            continue;
        }
        let mut client = Client::connect(listener(&listeners, &row));
        client.send_if_it_goes(&bytes);
        let before = heads.lock().unwrap().len();
        match row.verdict.as_str() {
            "ok" => {
                let response = match bytes.starts_with(b"HEAD ") {
                    true => client.response_to_head(),
                    false => client.try_response().unwrap_or_else(|cut| panic!("{what}: {cut}")),
                };
                assert_eq!(response.status, 200, "{what}: {}", response.text());
                let heads = heads.lock().unwrap();
                let head = heads.last().unwrap_or_else(|| panic!("{what}: nothing arrived"));
                assert_arrived(&row, head, &what);
                if let Some(body) = body {
                    let request = endpoint.requests().pop().expect("it was read");
                    assert_eq!(request.body, body, "{what}");
                }
                legal += 1;
            }
            "incomplete" => {
                client.half_close();
                assert_eq!(client.rest(), (Vec::new(), End::Closed), "{what}");
                assert_eq!(heads.lock().unwrap().len(), before, "{what}");
            }
            token => {
                let response = client.try_response().unwrap_or_else(|cut| panic!("{what}: {cut}"));
                assert_eq!(response.status, status(token), "{what}: {}", response.text());
                response.assert_is_reply(status(token), token);
                assert_eq!(response.header("connection"), Some("close"), "{what}");
                client.half_close();
                client.assert_closed();
                assert_eq!(heads.lock().unwrap().len(), before, "{what}: it reached the endpoint");
                refused += 1;
            }
        }
    }
    assert!(legal > 130 && refused > 250, "{legal} legal, {refused} refused");
}

/// Compares the request that arrived with its row.
fn assert_arrived(row: &Row, head: &Head, what: &str) {
    let fact = |name: &str| {
        let fact = row.expected.iter().find(|(it, _)| it == name);
        fact.map(|(_, value)| {
            // As the harness reads what arrived.
            let latin1 = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect();
            String::from_utf8(value.clone()).unwrap_or_else(|_| latin1(value))
        })
    };
    if let Some(path) = fact("path") {
        let target = match fact("query").as_deref() {
            None => head.word(1).split('?').next().unwrap_or_default().to_owned(),
            Some("-") => head.word(1).to_owned(),
            Some(query) => {
                let (path, found) = head.word(1).split_once('?').expect("a query");
                assert_eq!(found, query, "{what}");
                path.to_owned()
            }
        };
        assert_eq!(target, path, "{what}");
    }
    if let Some(out) = fact("out") {
        let out = Head::parse(out.as_bytes());
        assert_eq!(head.first_line, out.first_line, "{what}");
        for field in &out.headers {
            assert!(head.headers.contains(field), "{what}: {field:?} is missing: {head:?}");
        }
        let ours = |name: &str| {
            name.starts_with("x-forwarded-") || matches!(name, "x-request-id" | "cdn-loop")
        };
        let added = head.headers.iter().filter(|(name, _)| ours(name)).count();
        assert_eq!(head.headers.len() - added, out.headers.len(), "{what}: {head:?}");
    }
}

#[test]
fn chunked_bodies_are_served_or_refused_on_the_wire_as_written() {
    let (endpoint, _) = noting_endpoint();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    for row in rows(CHUNKED).filter(|row| row.prefix.is_empty()) {
        let what = format!("line {} of chunked.txt", row.line);
        let mut bytes =
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        bytes.extend_from_slice(&row.bytes);
        let before = endpoint.requests().len();
        let mut client = gateway.client();
        client.send_if_it_goes(&bytes);
        match row.verdict.as_str() {
            "ok" => {
                let response = client.try_response().unwrap_or_else(|cut| panic!("{what}: {cut}"));
                assert_eq!(response.status, 200, "{what}: {}", response.text());
                let request = endpoint.requests().pop().expect("it was read");
                if let Some((_, data)) = row.expected.iter().find(|(name, _)| name == "data") {
                    assert_eq!(&request.body, data, "{what}");
                }
            }
            "incomplete" => {
                client.half_close();
                let (said, _) = client.rest();
                assert!(!said.starts_with(b"HTTP/1.1 2"), "{what}");
                assert_eq!(endpoint.requests().len(), before, "{what}");
            }
            token => {
                let response = client.try_response().unwrap_or_else(|cut| panic!("{what}: {cut}"));
                assert_eq!(response.status, status(token), "{what}: {}", response.text());
                assert_eq!(response.header("connection"), Some("close"), "{what}");
                client.half_close();
                client.assert_closed();
                assert_eq!(endpoint.requests().len(), before, "{what}: it arrived whole");
            }
        }
    }
}

#[test]
fn chunked_bodies_of_responses_are_served_or_refused_on_the_wire_as_written() {
    for row in rows(CHUNKED).filter(|row| row.prefix == "response") {
        let what = format!("line {} of chunked.txt", row.line);
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = [&head[..], &row.bytes].concat();
        let endpoint = Endpoint::scripted(move |mut connection| {
            connection.request();
            connection.send(&answer);
        });
        let gateway = Gateway::in_front_of(&[&endpoint]).start();
        let mut client = gateway.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let fact = |name: &str| row.expected.iter().find(|(it, _)| it == name).map(|(_, it)| it);
        match (row.verdict.as_str(), client.try_response()) {
            ("ok", Ok(response)) => {
                assert_eq!(response.status, 200, "{what}");
                let data = fact("data").cloned().unwrap_or_default();
                assert_eq!(response.body, data, "{what}");
                if let Some(trailers) = fact("trailers") {
                    let count = response.trailers.len().to_string();
                    assert_eq!(count.as_bytes(), trailers, "{what}: {:?}", response.trailers);
                }
            }
            ("ok", Err(cut)) => panic!("{what}: {cut}"),
            // Nothing that was cut or malformed looks complete.
            (_, Ok(response)) => assert_eq!(response.status, 502, "{what}"),
            (_, Err(_)) => {}
        }
    }
}

#[test]
fn one_empty_line_in_front_of_a_request_is_skipped_and_no_second_however_it_arrives() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    for (bytes, status) in [
        ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ] {
        let mut client = gateway.client();
        client.send(bytes);
        assert_eq!(client.response().status, status);
        let mut client = gateway.client();
        for byte in bytes.as_bytes() {
            client.send_if_it_goes([*byte]);
            // Each on its own, so that the gateway sees it alone.
            std::thread::yield_now();
        }
        let response = client.response();
        assert_eq!(response.status, status, "byte by byte");
        if status == 400 {
            response.assert_is_reply(400, "blank_line");
        }
    }
}

#[test]
fn a_target_that_is_too_long_is_answered_414_before_it_ends() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let get = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(len - 1));
    let mut client = gateway.client();
    client.send(get(8192));
    assert_eq!(client.response().status, 200, "the limit itself is fine");
    for sent in [get(8193), get(40_000), get(100_000)[..9000].to_owned()] {
        let mut client = gateway.client();
        client.send_if_it_goes(sent);
        client.response().assert_is_reply(414, "target_too_long");
        client.half_close();
        client.assert_closed();
    }
    assert_eq!(endpoint.requests().len(), 1);
}

#[test]
fn router_redirect_and_endpoint_see_the_same_path() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint])
        .and(
            "[routes.admin]\nmatch = { path_prefix = \"/admin\" }\n\
             reply = { status = 403, body = \"no\" }\n\
             [routes.old]\nmatch = { path_prefix = \"/old\" }\n\
             redirect = { to = \"https://new.example{path}{query}\", status = 308 }",
        )
        .start();
    for target in ["/admin", "//admin", "/a/../admin/x", "/%61dmin", "/a/%2e%2e/admin", "/./admin/"]
    {
        assert_eq!(gateway.client().get(target).status, 403, "{target}");
    }
    let response = gateway.client().get("/x/..//old/%7ea/./b?c=/../d");
    assert_eq!(response.header("location"), Some("https://new.example/old/~a/b?c=/../d"));
    assert!(endpoint.requests().is_empty());
    assert_eq!(gateway.client().get("/admin/..//%75sers").status, 200);
    assert_eq!(endpoint.only_request().target(), "/users");
}

#[test]
fn the_form_of_paths_changes_with_the_configuration_on_open_connections() {
    let endpoint = Endpoint::ok();
    let builder = || Gateway::in_front_of(&[&endpoint]).admin();
    let gateway = builder().start();
    let mut client = gateway.client();
    client.get("/a/../%62");
    assert_eq!(endpoint.requests()[0].target(), "/b");
    let text = builder().listener("path = \"keep\"").text();
    assert_eq!(gateway.admin("POST", "/v1/config", &text).status, 200);
    client.get("/a/../%62");
    assert_eq!(endpoint.requests()[1].target(), "/a/../%62");
    let text = builder().listener("limits = { target_bytes_max = 64 }").text();
    assert_eq!(gateway.admin("POST", "/v1/config", &text).status, 200);
    client.get(&format!("/{}", "a".repeat(64))).assert_is_reply(414, "target_too_long");
}
