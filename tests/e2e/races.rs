//! Requests that meet the end of their connection: the endpoint's own log says what reached it.
//!
//! `REQUESTS=20000` makes the paced race as long as it is for a release.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Connection, Endpoint, Gateway, OK, eventually};

/// How long the endpoint of the paced race keeps an idle connection.
const IDLE: Duration = Duration::from_millis(50);

/// Requests of the paced race.
fn requests() -> usize {
    std::env::var("REQUESTS").ok().and_then(|it| it.parse().ok()).unwrap_or(1_000)
}

/// What an endpoint that closes idle connections has seen.
#[derive(Debug, Default)]
struct Log {
    /// Requests of which a byte was read, by their number, with how often that was.
    taken: Mutex<HashMap<usize, usize>>,
    /// Connections that were closed with bytes of a request in the kernel's hands: it had taken
    /// them, and nobody has read them.
    unread_at_close: AtomicUsize,
    /// Those of them of which no byte was ever read: the first request came too late for them.
    unread_at_first: AtomicUsize,
    connections: AtomicUsize,
}

/// An endpoint that closes a connection when no request has come for [`IDLE`], as servers do.
fn closing_when_idle() -> (std::net::SocketAddr, Arc<Log>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let log = Arc::new(Log::default());
    let of_thread = Arc::clone(&log);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, log) = (stream.unwrap(), Arc::clone(&of_thread));
            log.connections.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || serve(stream, &log));
        }
    });
    (address, log)
}

fn serve(mut stream: TcpStream, log: &Log) {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(IDLE)).unwrap();
    let mut block = [0; 4096];
    let mut is_first = true;
    // A request comes in one piece: it is small.
    while let Ok(n @ 1..) = stream.read(&mut block) {
        let text = String::from_utf8_lossy(&block[..n]);
        let number = text.split(['/', ' ']).nth(3).unwrap().parse().unwrap();
        is_first = false;
        *log.taken.lock().unwrap().entry(number).or_insert(0) += 1;
        if stream.write_all(OK.as_bytes()).is_err() {
            return;
        }
    }
    // From here on the kernel takes nothing more, and what it has taken can still be looked at.
    let _ = stream.shutdown(Shutdown::Both);
    stream.set_nonblocking(true).unwrap();
    let unread = matches!(stream.peek(&mut block), Ok(1..));
    log.unread_at_close.fetch_add(usize::from(unread), Ordering::SeqCst);
    log.unread_at_first.fetch_add(usize::from(unread && is_first), Ordering::SeqCst);
}

/// What the access log says of request number `number`: tries, why again, reason, reused.
fn records(path: &Path) -> HashMap<usize, [String; 4]> {
    let text = std::fs::read_to_string(path).unwrap();
    let field = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("\"{name}\":")).unwrap();
        rest.split([',', '}']).next().unwrap().trim_matches('"').to_owned()
    };
    let record = |line: &str| {
        let number = field(line, "path").rsplit('/').next().unwrap().parse().unwrap();
        let fields = ["tries", "retried_because", "reason", "reused_connection"];
        (number, fields.map(|name| field(line, name)))
    };
    text.lines().map(record).collect()
}

#[test]
fn requests_paced_around_the_idle_timeout_of_the_endpoint_are_neither_lost_nor_doubled() {
    // Each client has an upstream, and with it a pool, of its own: a pooled connection waits for as
    // long as its client does.
    const CLIENTS: usize = 64;
    let requests = requests();
    let (address, log) = closing_when_idle();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let section = format!("[access_log]\nto = \"{}\"\nformat = \"json\"", file.display());
    let own = |n: usize| {
        format!(
            "[upstreams.own{n}]\nendpoints = [\"{address}\"]\n[routes.own{n}]\n\
             match = {{ path_prefix = \"/{n}/\" }}\nupstream = \"own{n}\"\n"
        )
    };
    let upstreams: String = (0..CLIENTS).map(own).collect();
    let gateway = Gateway::in_front_of_addresses([address]).and(&section).and(&upstreams).start();
    let next = Arc::new(AtomicUsize::new(1));
    let statuses = Arc::new(Mutex::new(HashMap::new()));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|seed| {
            let (next, statuses) = (Arc::clone(&next), Arc::clone(&statuses));
            let mut client = gateway.client();
            thread::spawn(move || {
                let mut state = seed as u64 + 1;
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number > requests {
                        return;
                    }
                    let response = match number % 2 {
                        0 => client.get(&format!("/{seed}/{number}")),
                        _ => client.post(&format!("/{seed}/{number}"), "body"),
                    };
                    statuses.lock().unwrap().insert(number, response.status);
                    // Around the endpoint's timeout, at random; the kernel counts it in ticks of
                    // up to 4 ms, and begins with the next one.
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let jitter = Duration::from_micros((state >> 33) % 10_000);
                    thread::sleep(IDLE - Duration::from_millis(1) + jitter);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    gateway.stop();
    let (taken, records) = (log.taken.lock().unwrap(), records(&file));
    let statuses = statuses.lock().unwrap();
    let (mut retried, mut lost, mut failed, mut failed_first) = (0, 0, 0, 0);
    for number in 1..=requests {
        let times = taken.get(&number).copied().unwrap_or(0);
        let status = statuses[&number];
        let [tries, because, reason, reused] = &records[&number];
        let what =
            format!("request {number}: {status}, taken {times} times, {:?}", records[&number]);
        retried += usize::from(tries == "2");
        assert_eq!(tries == "2", because == "endpoint_reset", "{what}");
        if number.is_multiple_of(2) {
            assert_eq!(status, 200, "a GET failed: {what}");
            continue;
        }
        assert!(times <= 1, "a POST was executed twice: {what}");
        if status == 200 {
            assert_eq!(times, 1, "{what}");
            continue;
        }
        assert_eq!(
            (status, reason.as_str(), tries.as_str()),
            (502, "endpoint_reset", "1"),
            "{what}"
        );
        failed_first += usize::from(reused != "true");
        failed += 1;
        lost += usize::from(times == 0);
    }
    let unread = log.unread_at_close.load(Ordering::SeqCst);
    eprintln!(
        "{requests} requests on {} connections: {retried} sent a second time, {failed} POST failed, \
         of which {lost} were read by nobody; {unread} connections were closed with bytes unread",
        log.connections.load(Ordering::SeqCst)
    );
    assert!(lost <= unread, "a POST was lost of which the endpoint's kernel had taken no byte");
    // On a machine that is busy with other tests a new connection may wait for as long, too.
    let unread_at_first = log.unread_at_first.load(Ordering::SeqCst);
    assert!(failed_first <= unread_at_first, "a POST failed on a new connection without cause");
}

#[test]
fn a_post_of_which_the_endpoint_has_taken_no_byte_is_sent_again() {
    const ROUNDS: usize = 300;
    // Each connection serves one request and is closed some microseconds later, without being told.
    let endpoint = Endpoint::scripted(|mut connection: Connection| {
        connection.request();
        connection.send(OK);
        let until = Instant::now() + Duration::from_micros(connection.number as u64 % 97);
        while Instant::now() < until {}
    });
    let gateway = Gateway::in_front_of(&[&endpoint]).admin().start();
    let mut client = gateway.client();
    let mut failed = 0;
    for round in 0..ROUNDS {
        let response = client.post(&format!("/{round}"), "body");
        let target = format!("/{round}");
        let seen = endpoint.requests().iter().filter(|it| it.target() == target).count();
        match response.status {
            200 => assert_eq!(seen, 1, "round {round}"),
            502 => {
                assert_eq!(seen, 0, "round {round}");
                failed += 1;
            }
            status => panic!("round {round}: {status}"),
        }
    }
    eventually("it is counted", || gateway.metric("ringway_requests_total", &[]) >= ROUNDS as f64);
    let again = gateway.metric("ringway_retries_total", &[]);
    eprintln!("of {ROUNDS} POST {again} were sent a second time and {failed} failed");
}

/// What an endpoint does instead of a whole response, at a request.
#[derive(Clone, Copy, Debug)]
enum Dies {
    MidHead,
    MidBody,
    AfterLastByte,
    BetweenRequests,
}

#[test]
fn an_endpoint_that_dies_at_any_moment_gets_no_post_twice_and_a_torn_response_is_torn() {
    const ROUNDS: usize = 40;
    for dies in [Dies::MidHead, Dies::MidBody, Dies::AfterLastByte, Dies::BetweenRequests] {
        for reset in [false, true] {
            let endpoint = Endpoint::scripted(move |mut connection: Connection| {
                if connection.next_request().is_none() {
                    return;
                }
                connection.send(OK);
                if matches!(dies, Dies::BetweenRequests) {
                    if reset {
                        connection.reset();
                    }
                    return;
                }
                if connection.next_request().is_none() {
                    return;
                }
                match dies {
                    Dies::MidHead => connection.send("HTTP/1.1 200 OK\r\nContent-Le"),
                    Dies::MidBody => {
                        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
                    }
                    Dies::AfterLastByte | Dies::BetweenRequests => connection.send(OK),
                }
                if reset {
                    connection.reset();
                }
            });
            let gateway = Gateway::in_front_of(&[&endpoint]).start();
            let mut client = gateway.client();
            for round in 0..ROUNDS {
                let method = if round % 4 < 2 { "GET" } else { "POST" };
                let target = format!("/{round}");
                let body = if method == "GET" { "" } else { "Content-Length: 4\r\n\r\nbody" };
                let end = if method == "GET" { "\r\n" } else { "" };
                client.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{body}{end}"));
                let what = format!("{dies:?}, reset: {reset}, round {round}, {method}");
                match client.try_response() {
                    Ok(response) if response.status == 200 => {
                        assert_eq!(response.text(), "ok", "{what}: a torn body looks complete");
                    }
                    Ok(response) => {
                        response.assert_is_reply(502, "endpoint_reset");
                        let lucky = matches!(dies, Dies::BetweenRequests) && method == "GET";
                        assert!(!lucky, "{what}: a GET was lost");
                    }
                    Err(_) => {
                        assert!(matches!(dies, Dies::MidBody), "{what}: the client was cut off");
                        client = gateway.client();
                    }
                }
                let requests = endpoint.requests();
                let seen = requests.iter().filter(|it| it.target() == target).count();
                assert!(seen <= 1 || method == "GET" && seen == 2, "{what}: seen {seen} times");
                // A byte of the response had come: nothing is sent again.
                if matches!(dies, Dies::MidHead | Dies::MidBody) {
                    assert_eq!(seen, 1, "{what}");
                }
            }
        }
    }
}
