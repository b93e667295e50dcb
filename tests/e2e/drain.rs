//! SIGTERM: running exchanges finish, no new one begins, and the process ends well.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Client, Connection, End, Endpoint, GET, Gate, Gateway, OK, eventually};

/// An endpoint that sends half of a response of ten bytes, and the rest when the gate is opened.
fn halfway(gate: &Gate) -> Endpoint {
    let go_on = gate.clone();
    Endpoint::scripted(move |mut connection: Connection| {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        go_on.wait();
        connection.send("world");
    })
}

fn refuses(address: SocketAddr) -> bool {
    // A connect that only times out has found a full queue of a process that does not accept.
    TcpStream::connect_timeout(&address, Duration::from_secs(1))
        .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
fn a_response_under_way_is_finished_and_new_connections_are_refused() {
    let gate = Gate::new();
    let endpoint = halfway(&gate);
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(GET);
    client.head();
    assert_eq!(client.bytes(5), b"hello");
    gateway.process.terminate();
    let address = gateway.address();
    eventually("new connections are refused", || refuses(address));
    gate.open();
    assert_eq!(client.bytes(5), b"world");
    client.assert_closed();
    let totals = gateway.wait();
    assert!(totals.contains("drained: 1 requests"), "{totals}");
}

#[test]
fn a_request_under_way_is_answered_and_its_client_told_to_go() {
    let (asked, gate) = (Gate::new(), Gate::new());
    let gates = (asked.clone(), gate.clone());
    let endpoint = Endpoint::scripted(move |mut connection| {
        connection.request();
        gates.0.open();
        gates.1.wait();
        connection.send(OK);
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(GET);
    asked.wait();
    gateway.process.terminate();
    let address = gateway.address();
    eventually("new connections are refused", || refuses(address));
    gate.open();
    let response = client.response();
    assert_eq!(response.text(), "ok");
    assert_eq!(response.header("connection"), Some("close"));
    client.assert_closed();
    gateway.wait();
}

#[test]
fn an_upload_under_way_is_finished() {
    let begun = Gate::new();
    let endpoint_has_begun = begun.clone();
    let endpoint = Endpoint::scripted(move |mut connection| {
        let head = connection.request_head();
        endpoint_has_begun.open();
        assert_eq!(connection.with_body(head).text(), "helloworld");
        connection.send(OK);
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 10\r\n\r\nhello");
    begun.wait();
    gateway.process.terminate();
    let address = gateway.address();
    eventually("new connections are refused", || refuses(address));
    client.send("world");
    assert_eq!(client.response().text(), "ok");
    gateway.wait();
}

#[test]
fn idle_connections_are_closed_at_once() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut fresh = gateway.client();
    let mut just_used = gateway.client();
    assert_eq!(just_used.get("/").text(), "ok");
    let mut long_idle = gateway.client();
    assert_eq!(long_idle.get("/").text(), "ok");
    // Until the gateway has taken back the buffers of busy connections.
    thread::sleep(Duration::from_millis(800));
    assert_eq!(just_used.get("/").text(), "ok");
    let told = Instant::now();
    gateway.process.terminate();
    for client in [&mut fresh, &mut just_used, &mut long_idle] {
        client.assert_closed();
    }
    gateway.wait();
    assert!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
}

#[test]
fn a_gateway_without_work_ends_at_once() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let told = Instant::now();
    let totals = gateway.stop();
    assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
    assert!(totals.contains("drained: 0 requests"), "{totals}");
}

#[test]
fn an_exchange_that_does_not_finish_in_time_is_cut() {
    let gate = Gate::new();
    let endpoint = halfway(&gate);
    let timeouts = "timeouts = { drain = \"300ms\" }";
    let gateway = Gateway::in_front_of(&[&endpoint]).listener(timeouts).start();
    let mut client = gateway.client();
    client.send(GET);
    client.head();
    let told = Instant::now();
    let log = gateway.process.stderr.clone();
    gateway.stop();
    let took = told.elapsed();
    assert!(took > Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
    assert!(log.text().contains("1 client connections were cut"), "{}", log.text());
    let (rest, _) = client.rest();
    assert!(rest.len() <= 5, "the response does not look complete");
    gate.open();
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let gate = Gate::new();
    let endpoint = halfway(&gate);
    let mut gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(GET);
    client.head();
    gateway.process.terminate();
    let address = gateway.address();
    eventually("new connections are refused", || refuses(address));
    assert!(gateway.process.is_running(), "it waits for the response");
    let told = Instant::now();
    gateway.process.terminate();
    assert_eq!(gateway.process.exit_code(), 128 + 15, "as shells say it of SIGTERM");
    assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
    gate.open();
}

#[test]
fn no_request_is_lost_while_the_gateway_stops() {
    // Clients ask on one connection after another. Each gets its answer, or finds its connection
    // refused or closed before anything of an answer came.
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let address = gateway.address();
    let ask_until_refused = move || {
        while let Ok(stream) = TcpStream::connect(address) {
            let mut client = Client::on(stream);
            client.send_if_it_goes(GET);
            match client.try_response() {
                Ok(response) => assert_eq!(response.text(), "ok"),
                Err(cut) => assert_eq!((&*cut.got, cut.end == End::Silent), (&b""[..], false)),
            }
        }
    };
    let clients: Vec<_> = (0..4).map(|_| thread::spawn(ask_until_refused)).collect();
    eventually("requests are served", || endpoint.requests().len() > 200);
    let totals = gateway.stop();
    for client in clients {
        client.join().unwrap();
    }
    assert!(totals.contains(" 0 broken"), "{totals}");
}

#[test]
fn sigquit_drains_as_sigterm_does_and_sigusr2_ends_nothing() {
    let gate = Gate::new();
    let endpoint = halfway(&gate);
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(GET);
    client.head();
    gateway.process.signal(Signal::SIGUSR2);
    let said = |text: &'static str| {
        gateway.process.stderr.wait_for(|line| line.contains(text).then_some(()))
    };
    said("SIGUSR2 is ignored").expect("it says that it does nothing");
    assert!(!refuses(gateway.address()));
    gateway.process.signal(Signal::SIGQUIT);
    said("SIGQUIT: draining").expect("it drains");
    gate.open();
    assert_eq!(client.bytes(10), b"helloworld");
    client.assert_closed();
    gateway.wait();
}
