//! The gateway holds no byte back: it passes bytes on before more of them come, and it reads no
//! more than the other side takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{
    Client, Endpoint, GET, Gate, Gateway, OK, assert_same_bytes, eventually, pattern,
};

/// An endpoint that sends `first`, waits until the gate is opened, and sends `second`.
fn in_two_parts(first: &'static str, second: &'static str) -> (Endpoint, Gate) {
    let gate = Gate::new();
    let go_on = gate.clone();
    let endpoint = Endpoint::scripted(move |mut connection| {
        connection.request();
        connection.send(first);
        go_on.wait();
        connection.send(second);
    });
    (endpoint, gate)
}

#[test]
fn the_head_of_a_response_arrives_before_its_body_exists() {
    let (endpoint, gate) = in_two_parts("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "hello");
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(GET);
    assert_eq!(client.head().first_line, "HTTP/1.1 200 OK");
    gate.open();
    assert_eq!(client.bytes(5), b"hello");
}

#[test]
fn the_first_bytes_of_a_body_arrive_before_the_endpoint_goes_on() {
    for (first, second, received) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none", "two", ["one", "two"]),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
            "3\r\ntwo\r\n0\r\n\r\n",
            ["3\r\none\r\n", "3\r\ntwo\r\n0\r\n\r\n"],
        ),
        // The gateway passes half a chunk on as a smaller chunk.
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\none",
            "two\r\n0\r\n\r\n",
            ["3\r\none\r\n", "3\r\ntwo\r\n0\r\n\r\n"],
        ),
        ("HTTP/1.1 200 OK\r\n\r\none", "two", ["3\r\none\r\n", "3\r\ntwo\r\n0\r\n\r\n"]),
    ] {
        let (endpoint, gate) = in_two_parts(first, second);
        let gateway = Gateway::in_front_of(&[&endpoint]).start();
        let mut client = gateway.client();
        client.send(GET);
        assert_eq!(client.head().first_line, "HTTP/1.1 200 OK");
        assert_eq!(client.bytes(received[0].len()), received[0].as_bytes(), "{first}");
        gate.open();
        assert_eq!(client.bytes(received[1].len()), received[1].as_bytes(), "{first}");
    }
}

#[test]
fn the_first_bytes_of_an_upload_arrive_before_the_client_goes_on() {
    for (head, pieces) in [
        ("Content-Length: 6", ["one", "two"]),
        ("Transfer-Encoding: chunked", ["3\r\none\r\n", "3\r\ntwo\r\n"]),
    ] {
        let gate = Gate::new();
        let arrived = gate.clone();
        let endpoint = Endpoint::scripted(move |mut connection| {
            connection.request_head();
            assert_eq!(connection.bytes(pieces[0].len()), pieces[0].as_bytes());
            arrived.open();
            assert_eq!(connection.bytes(pieces[1].len()), pieces[1].as_bytes());
            connection.send("HTTP/1.1 204 No Content\r\n\r\n");
            connection.end();
        });
        let gateway = Gateway::in_front_of(&[&endpoint]).start();
        let mut client = gateway.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: example.com\r\n{head}\r\n\r\n{}", pieces[0]));
        gate.wait();
        client.send(pieces[1]);
        client.send(if head.starts_with('T') { "0\r\n\r\n" } else { "" });
        assert_eq!(client.response().status, 204);
    }
}

#[test]
fn client_and_endpoint_can_talk_in_turn_within_one_exchange() {
    let endpoint = Endpoint::scripted(|mut connection| {
        connection.request_head();
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for word in ["one", "two", "six"] {
            assert_eq!(connection.bytes(8), format!("3\r\n{word}\r\n").as_bytes());
            connection.send(format!("4\r\n{word}!\r\n"));
        }
        assert_eq!(connection.bytes(5), b"0\r\n\r\n");
        connection.send("0\r\n\r\n");
        connection.end();
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.head().first_line, "HTTP/1.1 200 OK");
    for word in ["one", "two", "six"] {
        client.send(format!("3\r\n{word}\r\n"));
        assert_eq!(client.bytes(9), format!("4\r\n{word}!\r\n").as_bytes());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.bytes(5), b"0\r\n\r\n");
    assert_eq!(endpoint.connections(), 1);
}

/// How much the gateway may grow by an exchange: two chunks of 64 KiB and heads, in memory that
/// comes in huge pages.
const HELD_BY_GATEWAY_MAX: usize = 8 << 20;

/// How much the kernel may hold of a stream that passes through a proxy: it sizes its buffers
/// itself, up to these limits.
fn held_by_kernel_max() -> usize {
    let max = |name: &str| -> usize {
        let limits = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap();
        limits.split_whitespace().last().unwrap().parse().unwrap()
    };
    // The reader's own buffer stays small: it only grows when it reads.
    2 * max("tcp_wmem") + max("tcp_rmem") + (1 << 20)
}

/// Asserts that so little is held of a stream that comes to a halt.
fn assert_little_is_held(gateway: &Gateway, memory_before: usize, sent: &AtomicUsize) {
    let held = settled(sent);
    assert!(held < held_by_kernel_max() + HELD_BY_GATEWAY_MAX, "{held} bytes have left the sender");
    let grown = gateway.process.memory_bytes().saturating_sub(memory_before);
    assert!(grown < HELD_BY_GATEWAY_MAX, "the gateway has grown by {grown} bytes");
}

/// Waits until `counter` has stood still for a while, and gives it.
fn settled(counter: &AtomicUsize) -> usize {
    let mut last = (usize::MAX, 0);
    eventually("a transfer comes to a halt", || {
        let now = counter.load(Ordering::SeqCst);
        last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
        thread::sleep(Duration::from_millis(20));
        now > 0 && last.1 == 20
    });
    last.0
}

#[test]
fn a_client_that_reads_nothing_stops_the_endpoint_and_gets_everything_later() {
    const LEN: usize = 64 << 20;
    let written = Arc::new(AtomicUsize::new(0));
    let of_endpoint = Arc::clone(&written);
    let endpoint = Endpoint::scripted(move |mut connection| {
        while let Some(request) = connection.next_request() {
            if request.target() == "/small" {
                connection.send(OK);
                continue;
            }
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n\r\n"));
            for piece in pattern(LEN).chunks(64 << 10) {
                connection.try_send(piece).expect("the gateway goes on reading");
                of_endpoint.fetch_add(piece.len(), Ordering::SeqCst);
            }
        }
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    assert_eq!(gateway.client().get("/small").text(), "ok");
    let memory = gateway.process.memory_bytes();
    let mut client = Client::connect_narrow(gateway.address());
    client.send(GET);
    assert_little_is_held(&gateway, memory, &written);

    // It delays no other client.
    assert_eq!(gateway.client().get("/small").text(), "ok");

    assert_same_bytes(&client.response().body, pattern(LEN));
}

#[test]
fn an_endpoint_that_reads_nothing_stops_the_client_and_gets_everything_later() {
    const LEN: usize = 64 << 20;
    let gate = Gate::new();
    let go_on = gate.clone();
    let endpoint = Endpoint::scripted(move |mut connection| {
        while let Some(head) = connection.next_head() {
            if head.word(1) == "/small" {
                connection.send(OK);
                continue;
            }
            go_on.wait();
            assert_same_bytes(&connection.with_body(head).body, pattern(LEN));
            connection.send("HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    assert_eq!(gateway.client().get("/small").text(), "ok");
    let memory = gateway.process.memory_bytes();
    let mut client = gateway.client();
    client.send(format!("PUT / HTTP/1.1\r\nHost: example.com\r\nContent-Length: {LEN}\r\n\r\n"));
    let sent = Arc::new(AtomicUsize::new(0));
    let upload = client.send_counted(pattern(LEN).to_vec(), Arc::clone(&sent));
    assert_little_is_held(&gateway, memory, &sent);
    gate.open();
    assert_eq!(client.response().status, 204);
    upload.join().unwrap().expect("the gateway took everything");
}
