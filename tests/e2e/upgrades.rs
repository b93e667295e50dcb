//! Requests to switch protocols, and the answers of endpoints: RFC 9110 sections 7.8 and 15.2.2. The bytes
//! behind a switch are the business of `tunnels`.

use std::time::Duration;

use super::tunnels::{SWITCH, UPGRADE};
use crate::harness::{Client, Connection, End, Endpoint, Gateway, OK, PATIENCE};

#[test]
fn any_other_answer_is_an_ordinary_response_and_the_connection_goes_on() {
    let endpoint = Endpoint::scripted(|mut connection| {
        let answers = [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
            "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno!\r\n0\r\n\r\n",
        ];
        for answer in answers {
            assert_eq!(connection.request().header("upgrade"), Some("websocket"));
            connection.send(answer);
            assert_eq!(connection.request().header("upgrade"), None);
            connection.send(OK);
        }
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    for status in [200, 426, 404] {
        client.send(UPGRADE);
        let response = client.response();
        assert_eq!(response.status, status);
        assert_eq!(response.header("connection"), None);
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(endpoint.connections(), 1);

    // The bytes behind the request are the next request then.
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(format!("{UPGRADE}GET /next HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(client.response().text(), "ok");
    assert_eq!(client.response().text(), "ok");
    assert_eq!(endpoint.requests()[1].target(), "/next");
}

#[test]
fn an_endpoint_never_sees_an_upgrade_that_the_route_does_not_allow() {
    let endpoint = Endpoint::ok();
    let both = "Connection: keep-alive, Upgrade\r\nUpgrade: h2c, x-own/1, WebSocket\r\n";
    for (upgrades, fields, asked) in [
        ("", both, Some("WebSocket")),
        ("upgrades = [\"websocket\"]", both, Some("WebSocket")),
        ("upgrades = [\"x-own/1\", \"websocket\"]", both, Some("x-own/1")),
        ("upgrades = []", both, None),
        ("upgrades = [\"tls/1.3\"]", both, None),
        ("", "Upgrade: websocket\r\n", None),
        ("", "Connection: upgrade\r\n", None),
        ("", "Connection: upgrade\r\nUpgrade: websocket/13\r\n", None),
        (
            "",
            "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n",
            Some("websocket"),
        ),
        ("", "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n", None),
    ] {
        let gateway = Gateway::in_front_of(&[&endpoint]).route(upgrades).start();
        let mut client = gateway.client();
        let body = match fields {
            _ if fields.contains("Length") => "abc",
            _ if fields.contains("chunked") => "3\r\nabc\r\n0\r\n\r\n",
            _ => "",
        };
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}"));
        assert_eq!(client.response().text(), "ok", "{fields}");
        let request = endpoint.requests().pop().unwrap();
        assert_eq!(request.header("upgrade"), asked, "{upgrades} {fields}");
        let connection = asked.map(|_| "upgrade");
        assert_eq!(request.header("connection"), connection, "{upgrades} {fields}");
        // An HTTP/1.0 client cannot ask.
        let mut client = gateway.client();
        client.send(format!("GET / HTTP/1.0\r\n{both}\r\n"));
        assert_eq!(client.response().text(), "ok");
        assert_eq!(endpoint.requests().pop().unwrap().header("upgrade"), None);
    }
}

#[test]
fn any_protocol_that_a_route_allows_may_be_switched_to_with_any_method() {
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway = Gateway::in_front_of(&[&endpoint]).route("upgrades = [\"tcp-x/2\"]").start();
    let mut client = gateway.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: TCP-X/2\r\n\
         Content-Length: 0\r\n\r\n",
    );
    let mut connection = connections.next();
    assert_eq!(connection.request_head().header("upgrade"), Some("TCP-X/2"));
    connection.send("HTTP/1.1 101 Fine\r\nConnection: upgrade\r\nUpgrade: tcp-x/2\r\n\r\n");
    assert_eq!(client.head().first_line, "HTTP/1.1 101 Fine");
    client.send("hi");
    assert_eq!(connection.bytes(2), b"hi");
}

/// A request to switch with a body, as `docker exec` sends it, and its body.
const EXEC: &str = "POST /exec/1/start HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
    Content-Length: 29\r\n\r\n";
const EXEC_BODY: &str = "{\"Detach\":false,\"Tty\":false}\n";
/// The consent to it.
const EXEC_SWITCH: &str = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";

#[test]
fn the_body_of_a_request_to_switch_goes_first() {
    // The tunnel's first bytes come with the body, however it is cut.
    let request = format!("{EXEC}{EXEC_BODY}first");
    let body_at = EXEC.len();
    for cut in [10, body_at, body_at + 1, body_at + 28, body_at + 29, body_at + 31, request.len()] {
        let (endpoint, connections) = Endpoint::by_hand();
        let gateway = Gateway::in_front_of(&[&endpoint]).route("upgrades = [\"tcp\"]").start();
        let mut client = gateway.client();
        client.send(&request[..cut]);
        if cut >= body_at {
            // The rest comes while the exchange runs.
            let mut connection = connections.next();
            let head = connection.request_head();
            assert_eq!(head.header("upgrade"), Some("tcp"));
            client.send(&request[cut..]);
            serve_exec(&mut client, connection);
        } else {
            client.send(&request[cut..]);
            let mut connection = connections.next();
            connection.request_head();
            serve_exec(&mut client, connection);
        }
    }
}

fn serve_exec(client: &mut Client, mut connection: Connection) {
    assert_eq!(connection.bytes(29), EXEC_BODY.as_bytes());
    assert!(connection.is_silent_for(Duration::from_millis(30)), "it has not agreed yet");
    connection.send(format!("{EXEC_SWITCH}hello"));
    let head = client.head();
    assert_eq!(head.first_line, "HTTP/1.1 101 UPGRADED");
    assert_eq!(head.header("upgrade"), Some("tcp"));
    assert_eq!(client.bytes(5), b"hello");
    assert_eq!(connection.bytes(5), b"first");
    client.send("more");
    assert_eq!(connection.bytes(4), b"more");
}

#[test]
fn an_endpoint_that_agrees_before_the_body_has_come_gets_the_body_first() {
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway = Gateway::in_front_of(&[&endpoint]).route("upgrades = [\"tcp\"]").start();
    let mut client = gateway.client();
    client.send(EXEC);
    let mut connection = connections.next();
    connection.request_head();
    connection.send(EXEC_SWITCH);
    client.be_patient_for(Duration::from_millis(50));
    assert!(client.try_response().is_err(), "the request is not over yet");
    client.be_patient_for(PATIENCE);
    client.send(EXEC_BODY);
    assert_eq!(client.head().first_line, "HTTP/1.1 101 UPGRADED");
    assert_eq!(connection.bytes(29), EXEC_BODY.as_bytes());
    client.send("hi");
    assert_eq!(connection.bytes(2), b"hi");
    connection.send("ho");
    assert_eq!(client.bytes(2), b"ho");
    drop(client);
    assert_eq!(connection.end(), End::Closed);
}

#[test]
fn a_body_that_stops_before_the_switch_ends_both_sides() {
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway = Gateway::in_front_of(&[&endpoint])
        .listener("timeouts = { body_idle = \"200ms\" }")
        .route("upgrades = [\"tcp\"]")
        .start();
    for agrees in [true, false] {
        let mut client = gateway.client();
        client.send(format!("{EXEC}{{"));
        let mut connection = connections.next();
        connection.request_head();
        if agrees {
            connection.send(EXEC_SWITCH);
        }
        client.response().assert_is_reply(408, "client_timeout");
        assert_eq!(connection.bytes(1), b"{");
        assert_eq!(connection.end(), End::Reset, "half a request is no request");
    }
}

#[test]
fn an_endpoint_that_declines_a_switch_with_a_body_answers_as_ever() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).route("upgrades = [\"tcp\"]").start();
    let mut client = gateway.client();
    for _ in 0..2 {
        client.send(EXEC);
        client.send(EXEC_BODY);
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(endpoint.requests().len(), 2);
    assert!(endpoint.requests().iter().all(|request| request.text() == EXEC_BODY));
}

#[test]
fn a_101_that_was_not_asked_for_or_is_for_something_else_is_refused() {
    let plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (request, answer) in [
        (plain, SWITCH.to_owned()),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
            SWITCH.to_owned(),
        ),
        (UPGRADE, SWITCH.replace("websocket", "h2c")),
        (UPGRADE, SWITCH.replace("websocket", "websocket, h2c")),
        (UPGRADE, SWITCH.replace("Connection: Upgrade\r\n", "")),
        (UPGRADE, SWITCH.replace("Upgrade: websocket\r\n", "")),
        (UPGRADE, SWITCH.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello")),
        (UPGRADE, SWITCH.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
    ] {
        let endpoint = Endpoint::answering(answer.clone());
        let gateway = Gateway::in_front_of(&[&endpoint]).start();
        let mut client = gateway.client();
        client.send(request);
        let response = client.response();
        assert_eq!((response.status, response.interim.len()), (502, 0), "{request} {answer}");
        response.assert_is_reply(502, "endpoint_violation");
    }
}

#[test]
fn an_upgrade_that_finds_a_dead_pooled_connection_is_sent_again() {
    let endpoint = Endpoint::scripted(|mut connection| {
        if connection.number == 1 {
            connection.request();
            connection.send(OK);
            connection.request();
            return;
        }
        connection.request();
        connection.send(SWITCH);
        assert_eq!(connection.bytes(2), b"hi");
        connection.send("ho");
        connection.end();
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    assert_eq!(client.get("/").text(), "ok");
    client.send(UPGRADE);
    client.head();
    client.send("hi");
    assert_eq!(client.bytes(2), b"ho");
}
