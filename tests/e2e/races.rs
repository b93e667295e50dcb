//! Requests that meet the end of their connection. The endpoint's own log tells which of them reached
//! it.
//!
//! `REQUESTS=20000` sets the number of requests of the paced race; a release uses this number.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Connection, Cut, Endpoint, Gateway, OK, Response, eventually};

/// The endpoint of the paced race closes a connection that was idle for this long.
const IDLE: Duration = Duration::from_millis(50);

/// The number of requests of the paced race.
fn requests() -> usize {
    std::env::var("REQUESTS").ok().and_then(|it| it.parse().ok()).unwrap_or(1_000)
}

/// The record of an endpoint that closes idle connections.
#[derive(Debug, Default)]
struct EndpointLog {
    /// How often the endpoint read each request, by the request's number.
    reads: Mutex<HashMap<usize, usize>>,
    /// The number of connections that closed with unread bytes of a request: the kernel had taken
    /// them, and the endpoint never read them.
    unread_at_close: AtomicUsize,
    /// Those of them on which the endpoint read no byte at all: the first request came too late.
    unread_at_first: AtomicUsize,
    connections: AtomicUsize,
}

/// An endpoint that closes a connection when no request has come for [`IDLE`], as servers do.
fn closing_when_idle() -> (SocketAddr, Arc<EndpointLog>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let log = Arc::new(EndpointLog::default());
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

fn serve(mut stream: TcpStream, log: &EndpointLog) {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(IDLE)).unwrap();
    let mut block = [0; 4096];
    let mut is_first = true;
    // A request is small, so it comes in one piece.
    while let Ok(n @ 1..) = stream.read(&mut block) {
        let text = String::from_utf8_lossy(&block[..n]);
        let number = text.split(['/', ' ']).nth(3).unwrap().parse().unwrap();
        is_first = false;
        *log.reads.lock().unwrap().entry(number).or_insert(0) += 1;
        if stream.write_all(OK.as_bytes()).is_err() {
            return;
        }
    }
    // After the shutdown the kernel takes no more bytes, and a peek shows the bytes that it had taken.
    let _ = stream.shutdown(Shutdown::Both);
    stream.set_nonblocking(true).unwrap();
    let unread = matches!(stream.peek(&mut block), Ok(1..));
    log.unread_at_close.fetch_add(usize::from(unread), Ordering::SeqCst);
    log.unread_at_first.fetch_add(usize::from(unread && is_first), Ordering::SeqCst);
}

/// The record of one request in the gateway's access log.
#[derive(Debug)]
struct AccessRecord {
    tries: String,
    retried_because: String,
    reason: String,
    reused_connection: String,
}

/// The records of an access log, by the number of the request.
fn access_records(path: &Path) -> HashMap<usize, AccessRecord> {
    let text = std::fs::read_to_string(path).unwrap();
    let record = |line: &str| {
        let field = |name: &str| {
            let (_, rest) = line.split_once(&format!("\"{name}\":")).unwrap();
            rest.split([',', '}']).next().unwrap().trim_matches('"').to_owned()
        };
        let number = field("path").rsplit('/').next().unwrap().parse().unwrap();
        let record = AccessRecord {
            tries: field("tries"),
            retried_because: field("retried_because"),
            reason: field("reason"),
            reused_connection: field("reused_connection"),
        };
        (number, record)
    };
    text.lines().map(record).collect()
}

/// The clients of the paced race. Each has an upstream of its own, and with it a pool: so a pooled
/// connection waits for as long as its client does.
const CLIENTS: usize = 64;

fn gateway_with_an_upstream_per_client(endpoint: SocketAddr, access_log: &Path) -> Gateway {
    let log = format!("[access_log]\nto = \"{}\"\nformat = \"json\"", access_log.display());
    let own = |n: usize| {
        format!(
            "[upstreams.own{n}]\nendpoints = [\"{endpoint}\"]\n[routes.own{n}]\n\
             match = {{ path_prefix = \"/{n}/\" }}\nupstream = \"own{n}\"\n"
        )
    };
    let upstreams: String = (0..CLIENTS).map(own).collect();
    Gateway::in_front_of_addresses([endpoint]).and(&log).and(&upstreams).start()
}

/// Sends `requests` requests from all clients, each about [`IDLE`] after the last one of its client.
/// Even numbers are GETs, odd ones POSTs. Returns the statuses by number.
fn send_paced(gateway: &Gateway, requests: usize) -> HashMap<usize, u16> {
    let next = AtomicUsize::new(1);
    let statuses = Mutex::new(HashMap::new());
    let run = |id: usize| {
        let mut client = gateway.client();
        let mut state = id as u64 + 1;
        loop {
            let number = next.fetch_add(1, Ordering::SeqCst);
            if number > requests {
                return;
            }
            let target = format!("/{id}/{number}");
            let response =
                if is_get(number) { client.get(&target) } else { client.post(&target, "body") };
            statuses.lock().unwrap().insert(number, response.status);
            // Random, around the endpoint's timeout. The kernel counts the timeout in ticks of up to
            // 4 ms and begins with the next tick.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let jitter = Duration::from_micros((state >> 33) % 10_000);
            thread::sleep(IDLE - Duration::from_millis(1) + jitter);
        }
    };
    thread::scope(|scope| {
        for id in 0..CLIENTS {
            let run = &run;
            scope.spawn(move || run(id));
        }
    });
    statuses.into_inner().unwrap()
}

const fn is_get(number: usize) -> bool {
    number.is_multiple_of(2)
}

/// The requests of the paced race that did not go the usual way.
#[derive(Debug, Default)]
struct Tally {
    retried: usize,
    failed: usize,
    /// Failed, and the endpoint never read the request.
    lost: usize,
    /// Failed on a new connection.
    failed_first: usize,
}

impl Tally {
    /// Asserts the conditions for a single request, and counts it.
    fn add(&mut self, number: usize, status: u16, reads: usize, record: &AccessRecord) {
        let what = format!("request {number}: {status}, read {reads} times, {record:?}");
        let is_retried = record.tries == "2";
        assert_eq!(is_retried, record.retried_because == "endpoint_reset", "{what}");
        self.retried += usize::from(is_retried);
        if is_get(number) {
            assert_eq!(status, 200, "a GET failed: {what}");
            return;
        }
        assert!(reads <= 1, "a POST was executed twice: {what}");
        if status == 200 {
            assert_eq!(reads, 1, "{what}");
            return;
        }
        let how = (status, record.reason.as_str(), record.tries.as_str());
        assert_eq!(how, (502, "endpoint_reset", "1"), "{what}");
        self.failed += 1;
        self.lost += usize::from(reads == 0);
        self.failed_first += usize::from(record.reused_connection != "true");
    }
}

#[test]
fn requests_paced_around_the_idle_timeout_of_the_endpoint_are_neither_lost_nor_doubled() {
    let requests = requests();
    let (address, log) = closing_when_idle();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let gateway = gateway_with_an_upstream_per_client(address, &file);
    let statuses = send_paced(&gateway, requests);
    gateway.stop();
    let (reads, records) = (log.reads.lock().unwrap(), access_records(&file));
    let mut tally = Tally::default();
    for number in 1..=requests {
        let reads = reads.get(&number).copied().unwrap_or(0);
        tally.add(number, statuses[&number], reads, &records[&number]);
    }
    let unread = log.unread_at_close.load(Ordering::SeqCst);
    eprintln!(
        "{requests} requests on {} connections: {tally:?}; {unread} connections closed with bytes \
         unread",
        log.connections.load(Ordering::SeqCst)
    );
    // The kernel of the endpoint had taken each lost POST: the gateway could not know that it was lost.
    assert!(
        tally.lost <= unread,
        "a POST was lost of which the endpoint's kernel had taken no byte"
    );
    // On a machine that is busy with other tests, a new connection may also wait too long.
    let unread_at_first = log.unread_at_first.load(Ordering::SeqCst);
    assert!(
        tally.failed_first <= unread_at_first,
        "a POST failed on a new connection without cause"
    );
}

#[test]
fn a_post_of_which_the_endpoint_has_taken_no_byte_is_sent_again() {
    const ROUNDS: usize = 300;
    // Each connection serves one request and closes some microseconds later, without an announcement.
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
    eventually("all requests are counted", || {
        gateway.metric("ringway_requests_total", &[]) >= ROUNDS as f64
    });
    let again = gateway.metric("ringway_retries_total", &[]);
    eprintln!("of {ROUNDS} POST {again} were sent a second time and {failed} failed");
}

/// The moment at which an endpoint's connection dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dies {
    /// Within the head of its second response.
    MidHead,
    /// Within the body of its second response.
    MidBody,
    /// Behind its second response.
    AfterLastByte,
    /// Behind its first response.
    BetweenRequests,
}

/// An endpoint with connections that die at this moment, by a reset or by a close.
fn dying_endpoint(dies: Dies, by_reset: bool) -> Endpoint {
    Endpoint::scripted(move |mut connection: Connection| {
        if connection.next_request().is_none() {
            return;
        }
        connection.send(OK);
        if dies != Dies::BetweenRequests {
            if connection.next_request().is_none() {
                return;
            }
            connection.send(match dies {
                Dies::MidHead => "HTTP/1.1 200 OK\r\nContent-Le",
                Dies::MidBody => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
                Dies::AfterLastByte | Dies::BetweenRequests => OK,
            });
        }
        if by_reset {
            connection.reset();
        }
    })
}

/// Asserts that a client got a response that its endpoint could give. Returns whether the client's
/// connection is still good.
fn check_response(response: Result<Response, Cut>, dies: Dies, method: &str, what: &str) -> bool {
    match response {
        Ok(response) if response.status == 200 => {
            assert_eq!(response.text(), "ok", "{what}: a torn body looks complete");
            true
        }
        Ok(response) => {
            response.assert_is_reply(502, "endpoint_reset");
            // A GET goes out a second time, on a connection that is good for one request.
            let is_retried = dies == Dies::BetweenRequests && method == "GET";
            assert!(!is_retried, "{what}: a GET was lost");
            true
        }
        Err(_) => {
            assert_eq!(dies, Dies::MidBody, "{what}: the client was cut off");
            false
        }
    }
}

#[test]
fn an_endpoint_that_dies_at_any_moment_gets_no_post_twice_and_a_torn_response_is_torn() {
    const ROUNDS: usize = 40;
    let moments = [Dies::MidHead, Dies::MidBody, Dies::AfterLastByte, Dies::BetweenRequests];
    for (dies, by_reset) in moments.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        let endpoint = dying_endpoint(dies, by_reset);
        let gateway = Gateway::in_front_of(&[&endpoint]).start();
        let mut client = gateway.client();
        for round in 0..ROUNDS {
            let target = format!("/{round}");
            let (method, rest) = match round % 4 {
                0 | 1 => ("GET", "\r\n"),
                _ => ("POST", "Content-Length: 4\r\n\r\nbody"),
            };
            client.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{rest}"));
            let what = format!("{dies:?}, by reset: {by_reset}, round {round}, {method}");
            if !check_response(client.try_response(), dies, method, &what) {
                client = gateway.client();
            }
            let seen = endpoint.requests().iter().filter(|it| it.target() == target).count();
            assert!(seen <= 1 || method == "GET" && seen == 2, "{what}: seen {seen} times");
            // A byte of the response had come, so the gateway must not send the request again.
            if matches!(dies, Dies::MidHead | Dies::MidBody) {
                assert_eq!(seen, 1, "{what}");
            }
        }
    }
}
