//! An innocent client beside an attacker. The tests compare the client's waits with its waits while
//! the same attacker attacks a sink: a process on the gateway's CPU that only accepts and reads.
//!
//! The gateway and the sink have the first CPU, everybody else the last one. By default the
//! attacks are small and short, for CI, and only a wait that is far too long fails.
//! `ATTACK_SECONDS=10` makes them as large as they are for a release, and holds them to
//! [`RATIO_MAX`]; `ATTACK=idle` runs one of them. Each prints a line of a table.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::SockRef;

use crate::harness::{
    Client, Endpoint, Gateway, OK, Process, driver, eventually, holds_within, pattern,
    stay_on_one_cpu, stay_on_the_first_cpu,
};

/// How much longer an innocent client may wait for its responses than beside the sink, as a ratio
/// of the 99th percentiles.
const RATIO_MAX: f64 = 2.0;

/// The tests do not compare waits below this: other work on the machine takes as long.
const NOISE: Duration = Duration::from_millis(1);

/// A 99th percentile that is far too long, under any other load of the machine.
const FAR_TOO_LONG: Duration = Duration::from_millis(500);

/// The longest that a single wait may be, as far. The first request of a connection waits for those
/// that were in the kernel's queue before it: up to 4,096, which a debug build on a CPU that it
/// shares with other tests takes half a second to serve.
const NEVER_LONGER: Duration = Duration::from_secs(1);

/// The smallest number of measured waits. Below a hundred, the longest wait would be the 99th
/// percentile.
const WAITS_MIN: usize = 200;

/// The test prints each wait above this, so that its cause can be found.
const REMARKABLE: Duration = Duration::from_millis(200);

/// How the attack is run.
#[derive(Clone, Copy, Debug)]
struct Scale {
    time: Duration,
    /// As for a release.
    full: bool,
}

impl Scale {
    fn wanted() -> Self {
        match std::env::var("ATTACK_SECONDS").ok().and_then(|it| it.parse().ok()) {
            Some(seconds) => Self { time: Duration::from_secs(seconds), full: true },
            None => Self { time: Duration::from_millis(700), full: false },
        }
    }

    const fn connections(self, full: usize) -> usize {
        if self.full { full } else { full / 20 }
    }
}

/// Attacks `target` until the test tells it to stop. It may hold connections, which end with it.
type Attack = fn(SocketAddr, Scale, &AtomicBool);

/// Connections at `target`, which do not wait.
fn connections(target: SocketAddr, count: usize, first: &str) -> Vec<TcpStream> {
    let connection = |_| {
        let mut stream = TcpStream::connect(target).ok()?;
        let _ = stream.write_all(first.as_bytes());
        stream.set_nonblocking(true).ok()?;
        Some(stream)
    };
    (0..count).filter_map(connection).collect()
}

/// Sends `piece` on each connection once a second, at moments spread over it, and connects again
/// where that fails.
fn drip(target: SocketAddr, count: usize, first: &str, piece: &str, stop: &AtomicBool) {
    const SLICES: usize = 100;
    let mut streams = connections(target, count, first);
    for slice in (0..SLICES).cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        for stream in streams.iter_mut().skip(slice).step_by(SLICES) {
            let sent = stream.write(piece.as_bytes());
            if sent.is_err_and(|it| it.kind() != io::ErrorKind::WouldBlock)
                && let Some(new) = connections(target, 1, first).pop()
            {
                *stream = new;
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn slow_loris(target: SocketAddr, scale: Scale, stop: &AtomicBool) {
    drip(target, scale.connections(2_000), "GET / HTTP/1.1\r\nHost: a\r\n", "X: y\r\n", stop);
}

fn slow_body(target: SocketAddr, scale: Scale, stop: &AtomicBool) {
    let head = "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
    drip(target, scale.connections(500), head, "x", stop);
}

fn slow_reader(target: SocketAddr, scale: Scale, stop: &AtomicBool) {
    let request = "GET /big HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut streams = connections(target, scale.connections(200), request);
    let mut block = [0; 512];
    while !stop.load(Ordering::Relaxed) {
        for stream in &mut streams {
            let _ = stream.read(&mut block);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn idle(target: SocketAddr, scale: Scale, stop: &AtomicBool) {
    let _streams = connections(target, scale.connections(10_000), "");
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(10));
    }
}

/// Makes one connection after the other: sends `bytes`, reads the bytes of one moment if `reads`,
/// and resets.
fn storm(target: SocketAddr, reads: bool, bytes: impl Fn(usize) -> Vec<u8>, stop: &AtomicBool) {
    let mut block = [0; 4096];
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let Ok(mut stream) = TcpStream::connect(target) else { continue };
        let _ = stream.write_all(&bytes(round));
        if reads {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(1)));
            let _ = stream.read(&mut block);
        }
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}

fn reset_storm(target: SocketAddr, _: Scale, stop: &AtomicBool) {
    let pieces = ["", "GET", "GET / HTTP/1.1\r\n", "GET /own HTTP/1.1\r\nHost: a\r\n\r\n"];
    storm(target, false, |round| pieces[round % pieces.len()].into(), stop);
}

fn header_bombs(target: SocketAddr, _: Scale, stop: &AtomicBool) {
    let bombs = [
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(4_000)),
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(60_000)),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(60_000)),
    ];
    storm(target, true, |round| bombs[round % bombs.len()].clone().into_bytes(), stop);
}

fn garbage(target: SocketAddr, _: Scale, stop: &AtomicBool) {
    let bytes = |round: usize| match round % 3 {
        0 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        1 => pattern(4_096)[round % 64..].to_vec(),
        _ => b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n".to_vec(),
    };
    storm(target, true, bytes, stop);
}

/// Eight connections on which requests are sent as fast as they are taken, and nothing is read
/// that need not be.
fn pipelining(target: SocketAddr, _: Scale, stop: &AtomicBool) {
    let batch = "GET /own HTTP/1.1\r\nHost: a\r\n\r\n".repeat(500);
    let mut streams = connections(target, 8, "");
    let mut sent = vec![0; streams.len()];
    let mut block = vec![0; 64 << 10];
    while !stop.load(Ordering::Relaxed) {
        for (stream, sent) in streams.iter_mut().zip(&mut sent) {
            while matches!(stream.read(&mut block), Ok(1..)) {}
            if let Ok(n) = stream.write(&batch.as_bytes()[*sent..]) {
                *sent = (*sent + n) % batch.len();
            }
        }
        thread::sleep(Duration::from_micros(200));
    }
}

const ATTACKS: [(&str, Attack); 8] = [
    ("slow loris", slow_loris),
    ("slow body", slow_body),
    ("slow reader", slow_reader),
    ("idle", idle),
    ("reset storm", reset_storm),
    ("header bombs", header_bombs),
    ("pipelining", pipelining),
    ("garbage", garbage),
];

/// The waits of an innocent client.
struct Waits(Vec<Duration>);

impl Waits {
    fn p99(&mut self) -> Duration {
        self.0.sort_unstable();
        self.0[(self.0.len() * 99 / 100).min(self.0.len() - 1)]
    }

    fn longest(&self) -> Duration {
        self.0.iter().copied().max().unwrap_or_default()
    }
}

/// An innocent client's waits while `attack` is made on `target`.
fn beside(gateway: &Gateway, attack: Attack, target: SocketAddr, scale: Scale) -> (Waits, usize) {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let attacker = thread::spawn(move || attack(target, scale, &told));
    // The attack is under way: its connections are made.
    // The bytes that slow readers leave unread have filled every buffer on the way.
    let warm_up = Duration::from_millis(if scale.full { 4_000 } else { 200 });
    thread::sleep(warm_up);
    let mut client = Client::connect(gateway.address());
    let mut waits = Waits(Vec::new());
    let mut memory = 0;
    let began = Instant::now();
    while began.elapsed() < scale.time || waits.0.len() < WAITS_MIN {
        let sent = Instant::now();
        assert_eq!(client.get("/").status, 200);
        waits.0.push(sent.elapsed());
        if sent.elapsed() > REMARKABLE {
            let (wait, number) = (sent.elapsed(), waits.0.len());
            eprintln!(
                "request {number} beside {target} waited {wait:?}, {:?} from the start",
                began.elapsed()
            );
        }
        if waits.0.len().is_multiple_of(64) {
            memory = memory.max(gateway.process.memory_bytes());
        }
        thread::sleep(Duration::from_millis(2));
    }
    memory = memory.max(gateway.process.memory_bytes());
    stop.store(true, Ordering::Relaxed);
    attacker.join().unwrap();
    (waits, memory)
}

/// A process on the first CPU that accepts and reads.
fn sink_process() -> (Process, SocketAddr) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "e2e::attacks::a_sink_for_the_attacks", "--nocapture"]);
    let process = Process::start(&mut command);
    let address = process.stderr.wait_for(|line| line.strip_prefix("sink at ")?.parse().ok());
    (process, address.expect("the sink says where it is"))
}

#[test]
#[ignore = "not a test: the process that attacks are compared with"]
fn a_sink_for_the_attacks() {
    stay_on_the_first_cpu();
    raise_own_limit();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    SockRef::from(&listener).listen(4096).unwrap();
    listener.set_nonblocking(true).unwrap();
    eprintln!("sink at {}", listener.local_addr().unwrap());
    let epoll = Epoll::new(EpollCreateFlags::empty()).unwrap();
    let listens = u64::MAX;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, listens)).unwrap();
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    let mut free = Vec::new();
    let mut events = [EpollEvent::empty(); 256];
    let mut block = vec![0; 64 << 10];
    // It ends when the process that started it kills it.
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE).unwrap_or(0);
        for event in &events[..count] {
            if event.data() == listens {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true).unwrap();
                    let at = free.pop().unwrap_or(streams.len());
                    epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, at as u64)).unwrap();
                    if at == streams.len() {
                        streams.push(None);
                    }
                    streams[at] = Some(stream);
                }
                continue;
            }
            let at = usize::try_from(event.data()).unwrap();
            let Some(stream) = &mut streams[at] else { continue };
            match stream.read(&mut block) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => {
                    streams[at] = None;
                    free.push(at);
                }
            }
        }
    }
}

fn raise_own_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

#[test]
fn an_innocent_client_beside_an_attacker_is_served_as_beside_a_sink() {
    let scale = Scale::wanted();
    raise_own_limit();
    let endpoint = Endpoint::scripted(|mut connection| {
        while let Some(head) = connection.next_head() {
            match head.word(1) {
                "/big" => {
                    connection
                        .send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1 << 30));
                    while connection.try_send(pattern(1 << 20)).is_ok() {}
                    return;
                }
                // Never all there: reads until the gateway gives it up.
                "/body" => {
                    connection.end();
                    return;
                }
                _ => connection.send(OK),
            }
        }
    });
    let gateway = Gateway::in_front_of(&[&endpoint])
        .and("[routes.own]\nmatch = { path_prefix = \"/own\" }\nreply = { status = 200, body = \"own\" }")
        .and("[runtime]\ncpus = \"0\"\nbuffer_bytes_max = \"64MiB\"")
        .start();
    let (_sink, sink) = sink_process();
    stay_on_one_cpu();
    assert_eq!(gateway.client().get("/").status, 200);
    let only = std::env::var("ATTACK").unwrap_or_default();
    eprintln!(
        "on {}: attack | p99 beside the sink | beside the gateway | ratio | memory",
        driver()
    );
    let mut problems = Vec::new();
    for (name, attack) in ATTACKS.into_iter().filter(|(name, _)| name.contains(&only)) {
        let before = gateway.process.descriptors();
        let (mut with_sink, _) = beside(&gateway, attack, sink, scale);
        let (mut with_gateway, memory) = beside(&gateway, attack, gateway.address(), scale);
        let (without, with) = (with_sink.p99(), with_gateway.p99());
        let ratio = with.as_secs_f64() / without.as_secs_f64();
        let mib = memory >> 20;
        eprintln!("{name} | {without:?} | {with:?} | {ratio:.2} | {mib} MiB");
        let limit = if scale.full { without.max(NOISE).mul_f64(RATIO_MAX) } else { FAR_TOO_LONG };
        let mut problem = |what: String| problems.push(format!("{name}: {what}"));
        if with > limit {
            problem(format!("{with:?} beside it, {without:?} beside a sink"));
        }
        let longest = with_gateway.longest();
        if longest > NEVER_LONGER {
            problem(format!("one response came after {longest:?}"));
        }
        if mib >= MEMORY_MAX_MIB {
            problem(format!("{mib} MiB"));
        }
        // Pooled connections to the endpoint may stay.
        let home = || gateway.process.descriptors() <= before + 2;
        if !holds_within(Duration::from_secs(20), home) {
            let now = gateway.process.descriptors();
            problem(format!("{now} descriptors, {before} before"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    eventually("it still serves", || gateway.client().get("/").status == 200);
}

/// The buffers that the gateway may lend in this test, and the same again for its other memory.
const MEMORY_MAX_MIB: usize = 128;
