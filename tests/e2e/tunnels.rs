//! Tunnels: bytes both ways until both sides have ended, after a switch of protocols. RFC 9110 sections
//! 7.8 and 15.2.2.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::log::field;
use crate::harness::{
    Client, Connection, End, Endpoint, Gateway, OK, PATIENCE, assert_same_bytes, eventually,
    holds_within, pattern,
};

/// A client asks for WebSocket.
pub(super) const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// An endpoint agrees.
pub(super) const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A tunnel, with its two ends in our hands.
struct Tunnel {
    client: Client,
    connection: Connection,
    endpoint: Endpoint,
    gateway: Gateway,
}

/// Opens a tunnel through a gateway with these lines in its listener.
fn open(listener: &str) -> Tunnel {
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway = Gateway::in_front_of(&[&endpoint]).listener(listener).admin().start();
    let mut client = gateway.client();
    client.send(UPGRADE);
    let mut connection = connections.next();
    connection.request_head();
    connection.send(SWITCH);
    assert_eq!(client.head().word(1), "101");
    Tunnel { client, connection, endpoint, gateway }
}

#[test]
fn an_endpoint_that_agrees_gets_a_tunnel() {
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(UPGRADE);
    let mut connection = connections.next();
    let request = connection.request_head();
    assert_eq!(request.first_line, "GET /chat HTTP/1.1");
    assert_eq!(request.header("connection"), Some("upgrade"));
    assert_eq!(request.header("upgrade"), Some("websocket"));
    assert_eq!(request.header("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
    connection.send(SWITCH);
    let head = client.head();
    assert_eq!(head.first_line, "HTTP/1.1 101 Switching Protocols");
    assert_eq!(head.header("connection"), Some("upgrade"));
    assert_eq!(head.header("upgrade"), Some("websocket"));
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(head.header("content-length"), None);
    for word in ["one", "two", "six"] {
        client.send(word);
        assert_eq!(connection.bytes(3), word.as_bytes());
        connection.send(word.to_uppercase());
        assert_eq!(client.bytes(3), word.to_uppercase().as_bytes());
    }
    // In a tunnel, bytes that look like a request or a response are only bytes.
    client.send(UPGRADE);
    assert_eq!(connection.bytes(UPGRADE.len()), UPGRADE.as_bytes());
    connection.send(OK);
    assert_eq!(client.bytes(OK.len()), OK.as_bytes());
    drop(client);
    assert_eq!(connection.end(), End::Closed);
}

#[test]
fn bytes_right_behind_either_head_are_the_first_of_the_tunnel() {
    for cut in [0, 1, 40, UPGRADE.len() - 1, UPGRADE.len()] {
        let (endpoint, connections) = Endpoint::by_hand();
        let gateway = Gateway::in_front_of(&[&endpoint]).start();
        let mut client = gateway.client();
        let early = format!("{UPGRADE}early bird");
        client.send(&early[..cut]);
        client.send(&early[cut..]);
        let mut connection = connections.next();
        connection.request_head();
        // Held back: the endpoint has not agreed yet.
        assert!(connection.is_silent_for(Duration::from_millis(50)));
        connection.send(format!("{SWITCH}worm"));
        client.head();
        assert_eq!(client.bytes(4), b"worm");
        assert_eq!(connection.bytes(10), b"early bird");
    }
}

#[test]
fn bytes_of_a_client_before_the_endpoint_agrees_wait_and_are_bounded() {
    const LEN: usize = 64 << 20;
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(UPGRADE);
    let mut connection = connections.next();
    connection.request_head();
    let memory = gateway.process.memory_bytes();
    let sent = Arc::new(AtomicUsize::new(0));
    let sending = client.send_counted(pattern(LEN).to_vec(), Arc::clone(&sent));
    let mut last = 0;
    eventually("the client is stopped", || {
        thread::sleep(Duration::from_millis(100));
        let now = sent.load(Ordering::SeqCst);
        now > 0 && std::mem::replace(&mut last, now) == now
    });
    assert!(last < LEN, "the gateway took everything");
    assert!(gateway.process.memory_bytes().saturating_sub(memory) < 8 << 20);
    connection.send(SWITCH);
    client.head();
    assert_same_bytes(&connection.bytes(LEN), pattern(LEN));
    sending.join().unwrap().unwrap();
}

#[test]
fn the_end_of_one_direction_is_passed_on_and_the_other_goes_on() {
    // The client ends first.
    let Tunnel { mut client, mut connection, gateway, endpoint: _endpoint } = open("");
    client.send("last words");
    client.half_close();
    assert_eq!(connection.rest(), (b"last words".to_vec(), End::Closed));
    for piece in pattern(1 << 20).chunks(100_000) {
        connection.send(piece);
    }
    assert_same_bytes(&client.bytes(1 << 20), pattern(1 << 20));
    connection.send("bye");
    connection.half_close();
    assert_eq!(client.rest(), (b"bye".to_vec(), End::Closed));
    eventually("it is counted", || gateway.metric("ringway_tunnels", &[]) < 1.0);
    assert_eq!(counted(&gateway, "\"\""), 1);

    // The endpoint ends first.
    let Tunnel { mut client, mut connection, gateway, endpoint: _endpoint } = open("");
    connection.send("last words");
    connection.half_close();
    assert_eq!(client.rest(), (b"last words".to_vec(), End::Closed));
    client.send(pattern(1 << 20));
    assert_same_bytes(&connection.bytes(1 << 20), pattern(1 << 20));
    client.half_close();
    assert_eq!(connection.rest(), (Vec::new(), End::Closed));
    eventually("it is counted", || gateway.metric("ringway_tunnels", &[]) < 1.0);
    assert_eq!(counted(&gateway, "\"\""), 1);
}

/// Tunnels that were counted with this reason, in quotes, when they had ended.
fn counted(gateway: &Gateway, reason: &str) -> usize {
    let labels = ["status=\"101\"", &format!("reason={reason}")];
    let count = || gateway.metric("ringway_requests_total", &labels);
    holds_within(Duration::from_secs(3), || count() > 0.0);
    // A whole number.
    count().to_string().parse().unwrap()
}

#[test]
fn a_client_that_ends_its_direction_before_the_endpoint_agrees_gets_its_tunnel() {
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(format!("{UPGRADE}all I have"));
    client.half_close();
    let mut connection = connections.next();
    connection.request_head();
    // Longer than it takes to ask whether the client is there.
    thread::sleep(Duration::from_millis(900));
    connection.send(SWITCH);
    assert_eq!(connection.rest(), (b"all I have".to_vec(), End::Closed));
    connection.send("all you get");
    drop(connection);
    let head = client.head();
    let head = if head.word(1) == "100" { client.head() } else { head };
    assert_eq!(head.word(1), "101");
    assert_eq!(client.rest(), (b"all you get".to_vec(), End::Closed));
}

#[test]
fn a_reset_of_one_side_resets_the_other() {
    let Tunnel { client, mut connection, gateway, endpoint: _endpoint } = open("");
    client.reset();
    assert_eq!(connection.end(), End::Reset);
    assert_eq!(counted(&gateway, "\"client_gone\""), 1);

    let Tunnel { mut client, connection, gateway, endpoint: _endpoint } = open("");
    connection.reset();
    assert_eq!(client.rest().1, End::Reset);
    assert_eq!(counted(&gateway, "\"endpoint_reset\""), 1);
}

#[test]
fn a_reset_is_passed_on_in_the_middle_of_a_stream() {
    let Tunnel { mut client, mut connection, gateway: _gateway, endpoint: _endpoint } = open("");
    client.send_until_full(pattern(64 << 20));
    connection.send(pattern(1 << 20));
    connection.bytes(1 << 20);
    client.reset();
    assert_eq!(connection.end(), End::Reset);

    let Tunnel { mut client, mut connection, gateway: _gateway, endpoint: _endpoint } = open("");
    client.send(pattern(1 << 20));
    connection.send_until_full(pattern(64 << 20));
    client.bytes(1 << 20);
    connection.reset();
    assert_eq!(client.rest().1, End::Reset);
}

#[test]
fn a_client_is_missed_that_resets_while_the_endpoint_reads_nothing() {
    let Tunnel { mut client, mut connection, gateway, endpoint: _endpoint } = open("");
    assert!(client.send_until_full(pattern(64 << 20)) < 64 << 20);
    client.reset();
    let began = Instant::now();
    eventually("the tunnel ends", || gateway.metric("ringway_tunnels", &[]) < 1.0);
    // A look, and a report.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(connection.end(), End::Reset);
}

#[test]
fn a_client_is_missed_that_resets_after_its_own_end() {
    let Tunnel { mut client, mut connection, gateway: _gateway, endpoint: _endpoint } = open("");
    client.half_close();
    assert_eq!(connection.rest().1, End::Closed);
    client.reset();
    // Nothing is sent that would tell; the watch does.
    let began = Instant::now();
    eventually("the endpoint is reset", || connection.try_send("x").is_err());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn an_endpoint_that_has_closed_does_not_take_its_last_words_from_the_client() {
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = Client::connect_narrow(gateway.address());
    client.send(UPGRADE);
    let mut connection = connections.next();
    connection.request_head();
    connection.send(SWITCH);
    connection.send(pattern(50_000));
    drop(connection);
    // The endpoint is gone: its kernel answers with a reset.
    for _ in 0..20 {
        client.send_if_it_goes("and another thing");
        thread::sleep(Duration::from_millis(5));
    }
    client.head();
    let (rest, end) = client.rest();
    assert_same_bytes(&rest, pattern(50_000));
    assert_eq!(end, End::Closed);
}

#[test]
fn a_tunnel_ends_when_nothing_has_moved_for_its_idle_time() {
    let timeouts = "timeouts = { tunnel_idle = \"600ms\", body_idle = \"100ms\", \
        idle = \"100ms\", write_idle = \"100ms\", head = \"100ms\" }";
    let Tunnel { mut client, mut connection, gateway, endpoint: _endpoint } = open(timeouts);
    let began = Instant::now();
    // Bytes in either direction keep it alive, beyond every timeout.
    for word in 0..8 {
        thread::sleep(Duration::from_millis(200));
        if word % 2 == 0 {
            client.send("x");
            connection.bytes(1);
        } else {
            connection.send("x");
            client.bytes(1);
        }
    }
    assert!(began.elapsed() > Duration::from_millis(1600));
    let still = Instant::now();
    assert_eq!(client.rest(), (Vec::new(), End::Reset));
    assert!(still.elapsed() > Duration::from_millis(500), "{:?}", still.elapsed());
    assert!(still.elapsed() < Duration::from_millis(2000), "{:?}", still.elapsed());
    assert_eq!(connection.end(), End::Reset);
    assert_eq!(counted(&gateway, "\"tunnel_idle\""), 1);
}

#[test]
fn no_timeout_of_messages_holds_for_a_tunnel() {
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway = Gateway::in_front_of(&[&endpoint])
        .listener("timeouts = { head = \"50ms\", body_idle = \"50ms\", idle = \"50ms\", write_idle = \"50ms\", tunnel_idle = \"off\" }")
        .upstream("timeouts = { first_byte = \"50ms\", between_bytes = \"50ms\" }")
        .upstream("pool = { idle_timeout = \"50ms\" }")
        .start();
    let mut client = gateway.client();
    client.send(UPGRADE);
    let mut connection = connections.next();
    connection.request_head();
    connection.send(SWITCH);
    client.head();
    thread::sleep(Duration::from_millis(1500));
    client.send("ping");
    assert_eq!(connection.bytes(4), b"ping");
    connection.send("pong");
    assert_eq!(client.bytes(4), b"pong");
}

#[test]
fn a_reader_that_is_slow_stops_the_writer_on_the_other_side() {
    const LEN: usize = 64 << 20;
    // The client does not read.
    let Tunnel { mut client, mut connection, gateway, endpoint: _endpoint } = open("");
    let memory = gateway.process.memory_bytes();
    let written = Arc::new(AtomicUsize::new(0));
    let of_thread = Arc::clone(&written);
    let sending = thread::spawn(move || {
        for piece in pattern(LEN).chunks(64 << 10) {
            connection.try_send(piece).unwrap();
            of_thread.fetch_add(piece.len(), Ordering::SeqCst);
        }
        connection
    });
    assert_halts(&written, LEN);
    // The other direction is as free as ever.
    client.send("still here");
    assert!(gateway.process.memory_bytes().saturating_sub(memory) < 8 << 20);
    assert_same_bytes(&client.bytes(LEN), pattern(LEN));
    let mut connection = sending.join().unwrap();
    assert_eq!(connection.bytes(10), b"still here");

    // The endpoint does not read.
    let Tunnel { mut client, mut connection, gateway, endpoint: _endpoint } = open("");
    let memory = gateway.process.memory_bytes();
    let sent = Arc::new(AtomicUsize::new(0));
    let sending = client.send_counted(pattern(LEN).to_vec(), Arc::clone(&sent));
    assert_halts(&sent, LEN);
    connection.send("still here");
    assert_eq!(client.bytes(10), b"still here");
    assert!(gateway.process.memory_bytes().saturating_sub(memory) < 8 << 20);
    assert_same_bytes(&connection.bytes(LEN), pattern(LEN));
    sending.join().unwrap().unwrap();
}

fn assert_halts(counter: &AtomicUsize, len: usize) {
    let mut last = 0;
    eventually("the sender is stopped", || {
        thread::sleep(Duration::from_millis(100));
        let now = counter.load(Ordering::SeqCst);
        now > 0 && std::mem::replace(&mut last, now) == now
    });
    assert!(last < len, "everything was taken");
}

#[test]
fn large_streams_pass_both_ways_at_once_byte_by_byte_the_same() {
    const LEN: usize = 32 << 20;
    let Tunnel { mut client, mut connection, gateway, endpoint: _endpoint } = open("");
    let up = client.send_meanwhile(pattern(LEN).to_vec());
    let endpoint = thread::spawn(move || {
        let down = connection.send_meanwhile(pattern(LEN).to_vec());
        assert_same_bytes(&connection.bytes(LEN), pattern(LEN));
        down.join().unwrap().unwrap();
        connection.half_close();
        assert_eq!(connection.end(), End::Closed);
    });
    assert_same_bytes(&client.bytes(LEN), pattern(LEN));
    up.join().unwrap().unwrap();
    client.half_close();
    assert_eq!(client.rest(), (Vec::new(), End::Closed));
    endpoint.join().unwrap();
    let bytes = |direction| gateway.metric("ringway_tunnel_bytes_total", &[direction]);
    eventually("the bytes are counted", || {
        [bytes("\"in\""), bytes("\"out\"")] == [LEN as f64, LEN as f64]
    });
}

#[test]
fn a_tunnel_is_counted_while_it_is_open_and_recorded_once_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway = Gateway::in_front_of(&[&endpoint])
        .admin()
        .and(&format!("[access_log]\nto = \"{}\"\n", path.display()))
        .start();
    let mut client = gateway.client();
    client.send(format!("{UPGRADE}12345"));
    let mut connection = connections.next();
    connection.request_head();
    connection.send(SWITCH);
    client.head();
    connection.bytes(5);
    eventually("it is counted as open", || {
        gateway.metric("ringway_tunnels", &["listener=\"web\""]) > 0.0
    });
    assert!(gateway.metric("ringway_tunnels_total", &[]) > 0.0);
    assert!(gateway.metric("ringway_requests_total", &[]) < 1.0);
    thread::sleep(Duration::from_millis(300));
    connection.send("1234567");
    client.bytes(7);
    drop(client);
    connection.end();
    drop(connection);
    eventually("it is not open any more", || gateway.metric("ringway_tunnels", &[]) < 1.0);
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    eventually("it is recorded", || read().ends_with('\n'));
    gateway.stop();
    let log = read();
    assert_eq!(log.lines().count(), 1, "{log}");
    for (name, value) in [
        ("status", "101"),
        ("path", "/chat"),
        ("route", "all"),
        ("upstream", "app"),
        ("bytes_in", "5"),
        ("bytes_out", "7"),
        ("reason", "null"),
    ] {
        assert_eq!(field(&log, name), value, "{name} in {log}");
    }
    let micros = |name| field(&log, name).parse::<u64>().unwrap();
    assert!(micros("total_us") >= 300_000 && micros("first_byte_us") < 300_000, "{log}");
}

#[test]
fn a_tunnel_goes_on_until_the_drain_deadline_and_is_reset_and_recorded_then() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway = Gateway::in_front_of(&[&endpoint])
        .listener("timeouts = { drain = \"3s\" }")
        .and(&format!("[access_log]\nto = \"{}\"\n", path.display()))
        .start();
    let mut client = gateway.client();
    client.send(UPGRADE);
    let mut connection = connections.next();
    connection.request_head();
    connection.send(SWITCH);
    client.head();
    gateway.process.terminate();
    thread::sleep(Duration::from_millis(500));
    client.send("ping");
    assert_eq!(connection.bytes(4), b"ping");
    connection.send("pong");
    assert_eq!(client.bytes(4), b"pong");
    assert_eq!(client.rest(), (Vec::new(), End::Reset));
    assert_eq!(connection.end(), End::Reset);
    gateway.wait();
    let log = std::fs::read_to_string(&path).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("\"status\":101")).count(), 1, "{log}");
}

#[test]
fn a_gateway_whose_tunnels_end_stops_before_the_drain_deadline() {
    let Tunnel { mut client, mut connection, gateway, endpoint: _endpoint } = open("");
    gateway.process.terminate();
    thread::sleep(Duration::from_millis(100));
    client.send("bye");
    assert_eq!(connection.bytes(3), b"bye");
    drop((client, connection));
    let began = Instant::now();
    gateway.wait();
    assert!(began.elapsed() < PATIENCE / 2);
}

#[test]
fn a_tunnel_outlives_its_route_its_upstream_and_its_listener() {
    let Tunnel { mut client, mut connection, gateway, endpoint: _endpoint } = open("");
    gateway.save(
        "version = 1\n[listeners.other]\naddress = \"127.0.0.1:0\"\n\
         [routes.other]\nreply = { status = 204 }\n\
         [admin]\naddress = \"127.0.0.1:0\"\n",
    );
    gateway.process.signal(Signal::SIGHUP);
    let live = || gateway.metric("ringway_config_version", &[]) > 1.0;
    eventually("the change is live", live);
    client.send("ping");
    assert_eq!(connection.bytes(4), b"ping");
    connection.send("pong");
    assert_eq!(client.bytes(4), b"pong");
    drop(client);
    assert_eq!(connection.end(), End::Closed);
    drop(connection);
    let labels = ["status=\"101\"", "route=\"all\""];
    eventually("it is counted for the route that it began on", || {
        gateway.metric("ringway_requests_total", &labels) > 0.0
    });
}

#[test]
fn many_tunnels_at_once_keep_their_bytes_apart() {
    const TUNNELS: usize = 200;
    let endpoint = Endpoint::scripted(|mut connection| {
        connection.request();
        connection.send(SWITCH);
        // An echo.
        loop {
            let Some(word) = connection.bytes_or_end(8) else { return };
            connection.send(word);
        }
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut clients: Vec<_> = (0..TUNNELS)
        .map(|_| {
            let mut client = gateway.client();
            client.send(UPGRADE);
            client
        })
        .collect();
    for client in &mut clients {
        assert_eq!(client.head().word(1), "101");
    }
    for round in 0..20 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(format!("{number:04}{round:04}"));
        }
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.bytes(8), format!("{number:04}{round:04}").as_bytes());
        }
    }
}
