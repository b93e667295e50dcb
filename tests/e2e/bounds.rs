//! The limits of a client, each set by its key.

use std::time::{Duration, Instant};

use crate::harness::{
    Client, Connection, End, Endpoint, GET, Gate, Gateway, OK, eventually, pattern,
};

fn limited(endpoint: &Endpoint, limits: &str) -> Gateway {
    Gateway::in_front_of(&[endpoint]).listener(&format!("limits = {{ {limits} }}")).admin().start()
}

fn post(framing: &str, rest: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: example.com\r\n{framing}\r\n\r\n{rest}")
}

#[test]
fn a_body_that_announces_too_much_is_413_and_nothing_of_it_is_sent_on() {
    let endpoint = Endpoint::ok();
    let gateway = limited(&endpoint, "body_bytes_max = \"1KiB\"");
    for (request, keeps) in [
        (post("Content-Length: 1025", ""), false),
        (post("Content-Length: 1025\r\nExpect: 100-continue", ""), false),
        (post("Content-Length: 99999999999", "abc"), false),
        (post("Content-Length: 1025", &"x".repeat(1025)), true),
    ] {
        let mut client = gateway.client();
        client.send(request);
        let response = client.response();
        response.assert_is_reply(413, "body_too_large");
        assert!(response.interim.is_empty());
        assert_eq!(response.header("connection") == Some("close"), !keeps);
    }
    assert_eq!(endpoint.connections(), 0);
    let mut client = gateway.client();
    client.send(post("Content-Length: 1024", &"x".repeat(1024)));
    assert_eq!(client.response().status, 200, "the bound itself is not too much");
}

#[test]
fn a_body_that_turns_out_too_long_is_413_and_never_looks_complete() {
    let (gate, ended) = (Gate::new(), Gate::new());
    let (reached, over) = (gate.clone(), ended.clone());
    let endpoint = Endpoint::scripted(move |mut connection: Connection| {
        connection.request_head();
        assert_eq!(connection.bytes(9), b"4\r\nabcd\r\n");
        reached.open();
        assert_eq!(connection.end(), End::Reset, "a FIN might pass for the end of a body");
        over.open();
    });
    let gateway = limited(&endpoint, "body_bytes_max = 8");
    let mut client = gateway.client();
    client.send(post("Transfer-Encoding: chunked", "4\r\nabcd\r\n"));
    gate.wait();
    client.send("5\r\nefghi\r\n0\r\n\r\n");
    client.response().assert_is_reply(413, "body_too_large");
    ended.wait();
    assert_eq!(endpoint.requests().len(), 0);
    // All of it with the head: the endpoint hears nothing.
    let mut client = gateway.client();
    client.send(post("Transfer-Encoding: chunked", "9\r\nabcdefghi\r\n0\r\n\r\n"));
    client.response().assert_is_reply(413, "body_too_large");
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn a_body_that_turns_out_too_long_within_a_response_ends_that_response_with_a_reset() {
    let endpoint = Endpoint::scripted(|mut connection: Connection| {
        connection.request_head();
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n");
        connection.end();
    });
    let gateway = limited(&endpoint, "body_bytes_max = 8");
    let mut client = gateway.client();
    client.send(post("Transfer-Encoding: chunked", "4\r\nabcd\r\n"));
    assert_eq!(client.head().first_line, "HTTP/1.1 200 OK");
    client.send("5\r\nefghi\r\n");
    assert_eq!(client.rest(), (b"2\r\nok\r\n".to_vec(), End::Reset));
    eventually("it is counted under its reason", || {
        gateway.metric("ringway_requests_total", &["reason=\"body_too_large\""]) > 0.0
    });
}

#[test]
fn the_last_request_that_a_connection_may_carry_says_so() {
    let endpoint = Endpoint::ok();
    let gateway = limited(&endpoint, "requests_per_connection_max = 3");
    for _ in 0..2 {
        let mut client = gateway.client();
        client.send(GET.repeat(4));
        for nth in 1..=3 {
            let response = client.response();
            assert_eq!(response.status, 200);
            assert_eq!(response.header("connection") == Some("close"), nth == 3, "{nth}");
        }
        client.half_close();
        client.assert_closed();
    }
    assert_eq!(endpoint.requests().len(), 6, "the fourth is served to nobody");
}

#[test]
fn the_first_response_of_an_old_connection_says_that_it_closes() {
    let endpoint = Endpoint::ok();
    let gateway = limited(&endpoint, "connection_age_max = \"300ms\"");
    let mut client = gateway.client();
    let made = Instant::now();
    let last = loop {
        let response = client.get("/");
        assert_eq!(response.status, 200);
        if response.header("connection") == Some("close") {
            break made.elapsed();
        }
        assert!(made.elapsed() < Duration::from_secs(10), "it goes on");
    };
    assert!(last >= Duration::from_millis(300), "{last:?}");
    client.half_close();
    client.assert_closed();
    // One that has fallen quiet stays open for its next request.
    let mut client = gateway.client();
    assert_eq!(client.get("/").header("connection"), None);
    let asked = Instant::now();
    eventually("it is old and quiet", || asked.elapsed() > Duration::from_millis(900));
    let response = client.get("/");
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    // One whose exchange takes longer than that is served to the end.
    let slow = Endpoint::scripted(|mut connection: Connection| {
        connection.request();
        std::thread::sleep(Duration::from_millis(400));
        connection.send(OK);
    });
    let gateway = limited(&slow, "connection_age_max = \"300ms\"");
    let response = gateway.client().get("/");
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
}

#[test]
fn requests_sent_far_ahead_are_all_answered_in_order() {
    const REQUESTS: usize = 2_000;
    let endpoint = Endpoint::scripted(|mut connection| {
        while let Some(head) = connection.next_head() {
            let text = head.word(1).to_owned();
            let len = text.len();
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{text}"));
        }
    });
    for limit in ["pipelined_max = 1", "pipelined_max = 16", "pipelined_max = \"off\""] {
        let gateway = limited(&endpoint, limit);
        let mut client = gateway.client();
        let request = |n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n");
        let all: String = (0..REQUESTS).map(request).collect();
        let sending = client.send_meanwhile(all.into_bytes());
        for n in 0..REQUESTS {
            assert_eq!(client.response().text(), format!("/{n}"));
        }
        sending.join().unwrap().unwrap();
    }
}

#[test]
fn a_client_has_no_more_connections_than_it_may_have() {
    let endpoint = Endpoint::ok();
    let gateway = limited(&endpoint, "connections_per_client_max = 2");
    let mut clients = [gateway.client(), gateway.client()];
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    let mut third = gateway.client();
    assert_ne!(third.rest().1, End::Silent, "it is closed at once");
    eventually("the refusal is counted", || {
        gateway.metric("ringway_client_connections_refused_total", &["per_client"]) >= 1.0
    });
    // Another client is another matter.
    let mut other = Client::connect_from("127.0.0.2", gateway.address());
    assert_eq!(other.get("/").status, 200);
    drop(clients);
    eventually("there is room again", || {
        let mut client = gateway.client();
        client.send_if_it_goes(GET);
        client.try_response().is_ok()
    });
}

#[test]
fn behind_a_proxy_the_limit_counts_the_address_of_the_header() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint])
        .listener("proxy_protocol = \"required\"\nlimits = { connections_per_client_max = 1 }")
        .start();
    let connect = |last: u8| {
        let mut client = gateway.client();
        client.send(format!("PROXY TCP4 192.0.2.{last} 198.51.100.1 1000 80\r\n{GET}"));
        client
    };
    let (mut one, mut other) = (connect(1), connect(2));
    assert_eq!(one.response().status, 200);
    assert_eq!(other.response().status, 200);
    let mut again = connect(1);
    assert!(again.try_response().is_err(), "it has one already");
    drop(one);
    eventually("there is room again", || connect(1).try_response().is_ok());
}

#[test]
fn a_client_waits_for_a_full_listener_only_as_long_as_nobody_is_idle() {
    let gate = Gate::new();
    let go_on = gate.clone();
    let endpoint = Endpoint::scripted(move |mut connection| {
        while let Some(request) = connection.next_request() {
            if request.target() == "/slow" {
                go_on.wait();
            }
            connection.send(OK);
        }
    });
    let gateway = limited(&endpoint, "connections_max = 2");
    let mut busy = gateway.client();
    busy.send("GET /slow HTTP/1.1\r\nHost: example.com\r\n\r\n");
    eventually("it is under way", || endpoint.connections() == 1);
    let mut idle = gateway.client();
    assert_eq!(idle.get("/").status, 200);
    let mut third = gateway.client();
    assert_eq!(third.get("/").status, 200);
    idle.assert_closed();
    gate.open();
    assert_eq!(busy.response().status, 200);
    eventually("it is counted", || {
        gateway.metric("ringway_client_connections_shed_total", &[]) >= 1.0
    });
}

#[test]
fn a_head_in_drips_is_given_its_time_and_no_more() {
    let endpoint = Endpoint::ok();
    let timeouts = "timeouts = { head = \"400ms\" }";
    let gateway = Gateway::in_front_of(&[&endpoint]).listener(timeouts).start();
    let mut client = gateway.client();
    let began = Instant::now();
    client.be_patient_for(Duration::from_millis(20));
    client.send("GET / HTTP/1.1\r\nHost: example.com\r\n");
    let mut answer = Vec::new();
    for _ in 0..1_000 {
        client.send_if_it_goes("X: y\r\n");
        let (bytes, end) = client.rest();
        answer.extend(bytes);
        if end != End::Silent {
            break;
        }
        // A gateway that has answered waits for us to end.
        if !answer.is_empty() {
            client.half_close();
        }
    }
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_body_in_drips_lives_as_long_as_it_moves() {
    let endpoint = Endpoint::ok();
    let timeouts = "timeouts = { body_idle = \"200ms\" }";
    let gateway = Gateway::in_front_of(&[&endpoint]).listener(timeouts).start();
    let mut client = gateway.client();
    client.send(post("Content-Length: 20", ""));
    for _ in 0..20 {
        client.be_patient_for(Duration::from_millis(40));
        assert_eq!(client.rest(), (vec![], End::Silent));
        client.send("x");
    }
    client.be_patient_for(Duration::from_secs(10));
    assert_eq!(client.response().status, 200);
    assert_eq!(endpoint.only_request().body.len(), 20);
}

#[test]
fn a_client_that_does_not_read_is_reset_and_its_buffers_come_home() {
    const LEN: usize = 64 << 20;
    let endpoint = Endpoint::scripted(|mut connection| {
        while connection.next_request().is_some() {
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n\r\n"));
            connection.send(pattern(LEN));
        }
    });
    let gateway = Gateway::in_front_of(&[&endpoint])
        .listener("timeouts = { write_idle = \"300ms\" }")
        .admin()
        .start();
    let mut client = Client::connect_narrow(gateway.address());
    client.send(GET);
    eventually("it is given up", || {
        gateway.metric("ringway_requests_total", &["reason=\"client_stalled\""]) == 1.0
    });
    eventually("its buffers are home", || {
        gateway.metric("ringway_memory_bytes", &["buffers_lent"]) < 64.0 * 1024.0
    });
    endpoint.wait_until_all_closed();
    assert!(client.rest().0.len() < LEN);
}

#[test]
fn bounds_change_under_open_connections() {
    let endpoint = Endpoint::ok();
    let gateway = limited(&endpoint, "body_bytes_max = \"off\"");
    let mut client = gateway.client();
    assert_eq!(client.post("/", "0123456789").status, 200);
    let limit = |limits: &str| {
        let text = std::fs::read_to_string(gateway.config_path()).unwrap();
        let (before, rest) = text.split_once("limits = {").unwrap();
        let (_, after) = rest.split_once('}').unwrap();
        gateway.save(&format!("{before}limits = {{ {limits} }}{after}"));
    };
    limit("body_bytes_max = 5");
    eventually("the next request on it meets the bound", || {
        client.post("/", "0123456789").status == 413
    });
    limit("requests_per_connection_max = 1");
    eventually("it is the last one", || {
        client.send_if_it_goes(GET);
        let Ok(response) = client.try_response() else { return false };
        response.header("connection") == Some("close")
    });
    limit("connections_per_client_max = 1");
    eventually("one more is one too many", || {
        let (mut one, mut two) = (gateway.client(), gateway.client());
        one.be_patient_for(Duration::from_millis(100));
        two.be_patient_for(Duration::from_millis(100));
        [one.rest().1, two.rest().1].iter().any(|end| *end != End::Silent)
    });
}
