//! The gateway runs out of descriptors: it closes idle connections first, it pauses accepting, and
//! no loop spins.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::harness::{Endpoint, GET, Gate, Gateway, OK, eventually, holds_within};

/// Descriptors of the gateway in these tests.
const DESCRIPTORS: u64 = 256;

/// Gives the test itself as many descriptors as it may have.
fn raise_own_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

/// So many clients that have connected and sent `request`. Reads do not wait.
fn crowd(gateway: &Gateway, clients: usize, request: &str) -> Vec<TcpStream> {
    raise_own_limit();
    let client = |_| {
        let mut stream = TcpStream::connect(gateway.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    };
    (0..clients).map(client).collect()
}

/// How many of the clients have been answered 200 since the last look, and leave `waiting`.
fn served(clients: &mut [TcpStream], waiting: &mut Vec<usize>) -> usize {
    let before = waiting.len();
    waiting.retain(|&at| {
        let mut block = [0; 4096];
        match clients[at].read(&mut block) {
            Ok(0) => panic!("client {at} was closed without an answer"),
            Ok(n) => {
                let text = String::from_utf8_lossy(&block[..n]);
                assert!(text.starts_with("HTTP/1.1 200 "), "client {at}: {text}");
                false
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => true,
            Err(error) => panic!("client {at}: {error}"),
        }
    });
    before - waiting.len()
}

#[test]
fn two_thousand_clients_are_served_with_256_descriptors() {
    const CLIENTS: usize = 2_000;
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint])
        .upstream("pool = { idle_timeout = \"2s\" }")
        .descriptors(DESCRIPTORS)
        .admin()
        .start();
    let before = gateway.process.descriptors();
    let began = Instant::now();
    let mut clients = crowd(&gateway, CLIENTS, GET);
    let mut waiting: Vec<_> = (0..CLIENTS).collect();
    let all = holds_within(Duration::from_secs(60), || {
        served(&mut clients, &mut waiting);
        waiting.is_empty()
    });
    assert!(all, "{} of {CLIENTS} clients wait", waiting.len());
    eprintln!("{CLIENTS} clients were served after {:?}", began.elapsed());
    // The admin API answers, however many descriptors the clients hold.
    assert!(gateway.metric("ringway_client_connections_shed_total", &[]) > 0.0);
    assert!(gateway.metric("ringway_accept_pauses_total", &[]) > 0.0);
    drop(clients);
    eventually("descriptors are back", || gateway.process.descriptors() <= before + 8);
    assert_eq!(gateway.client().get("/").status, 200);
    gateway.stop();
}

#[test]
fn a_gateway_without_descriptors_rests_and_recovers() {
    const CLIENTS: usize = 600;
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
    let gateway = Gateway::in_front_of(&[&endpoint]).descriptors(DESCRIPTORS).admin().start();
    let mut early = gateway.client();
    assert_eq!(early.get("/").status, 200);
    let slow = "GET /slow HTTP/1.1\r\nHost: example.com\r\n\r\n";
    let mut clients = crowd(&gateway, CLIENTS, slow);
    // Every client that was let in has a connection to the endpoint, and none gets a 503.
    eventually("accepting has paused", || {
        gateway.metric("ringway_accept_paused", &["resources"]) == 1.0
    });
    let under_way = endpoint.open_connections();
    assert!(under_way > 60, "{under_way}");
    let before = gateway.process.cpu_time();
    std::thread::sleep(Duration::from_secs(2));
    let used = gateway.process.cpu_time() - before;
    eprintln!("with {under_way} exchanges under way it used {used:?} in 2 s");
    assert!(used < Duration::from_millis(200), "it spins: {used:?} in 2 s");
    gate.open();
    let mut waiting: Vec<_> = (0..CLIENTS).collect();
    eventually("everybody is served", || {
        served(&mut clients, &mut waiting);
        waiting.is_empty()
    });
    assert_eq!(gateway.metric("ringway_requests_total", &["reason=\"out_of_resources\""]), 0.0);
    gateway.stop();
}

#[test]
fn a_connect_for_which_no_descriptor_is_left_is_our_own_shortage() {
    let endpoint = Endpoint::ok();
    // So few that a single core can hold nothing beside its own.
    let gateway = Gateway::in_front_of(&[&endpoint])
        .upstream("pool = { idle_max = 0 }")
        .descriptors(64)
        .start();
    // With one connection, there is no descriptor for its endpoint.
    let before = gateway.process.descriptors();
    let mut client = gateway.client();
    assert_eq!(client.get("/").status, 200);
    eventually("only the client is left", || gateway.process.descriptors() == before + 1);
    gateway.process.limit_descriptors(gateway.process.lowest_free_descriptor());
    client.get("/").assert_is_reply(503, "out_of_resources");
    client.post("/", "body").assert_is_reply(503, "out_of_resources");
    let used = gateway.process.cpu_time();
    // On io_uring the accept that is under way has the limit with which it began.
    let mut first = gateway.client();
    first.send(GET);
    let mut waits = gateway.client();
    waits.send(GET);
    std::thread::sleep(Duration::from_millis(500));
    let used = gateway.process.cpu_time() - used;
    assert!(used < Duration::from_millis(100), "it spins: {used:?} in 500 ms");
    gateway.process.limit_descriptors(64);
    assert_eq!(client.get("/").status, 200);
    assert_eq!(waits.response().status, 200, "accepting goes on");
}
