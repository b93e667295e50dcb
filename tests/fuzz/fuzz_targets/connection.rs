//! A whole connection: arbitrary bytes in arbitrary pieces through the real worker, on the
//! simulated network, to an endpoint that follows a script or answers arbitrary bytes itself.
//!
//! The first bytes choose seed, faults and script; the third says where the client's bytes end and
//! the endpoint's begin. For any input nothing panics, everything that was lent comes home, and no
//! head that reaches the endpoint can be misread.

#![no_main]

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use engine::config::{Sources, parse};
use engine::snapshot::{Identities, Snapshot, compile};
use libfuzzer_sys::fuzz_target;
use worker::Worker;
use worker::net::buffer::{Buf, BufferPool, Size};
use worker::net::sim::{Faults, Random, Sim, SimStream};
use worker::net::{Listener, Net, Stream};
use worker::core::CoreShare;

const CONFIG: &str = r#"
version = 1
[listeners.web]
address = "10.9.9.1:80"
timeouts = { head = "1s", body_idle = "1s", idle = "1s", write_idle = "1s" }
[upstreams.app]
endpoints = ["10.9.9.2:9000"]
timeouts = { connect = "1s", first_byte = "1s", between_bytes = "1s" }
[routes.all]
upstream = "app"
"#;

/// The endpoint answers each head with one of these; an empty one stands for the bytes of the input.
const ANSWERS: [&[u8]; 8] = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
    b"HTTP/1.0 200 OK\r\nContent-Length: 99\r\n\r\ncut",
    b"",
    b"",
];

fuzz_target!(|input: &[u8]| {
    let [seed, script, cut, bytes @ ..] = input else { return };
    let cut = bytes.len() * usize::from(*cut) / 255;
    let (client, endpoint) = bytes.split_at(cut);
    let answer = match ANSWERS[usize::from(script & 7)] {
        b"" => endpoint,
        answer => answer,
    };
    let faults = if script & 8 == 0 { Faults::none() } else { Faults::benign() };
    run(u64::from(*seed), faults, client.to_vec(), answer.to_vec(), script & 16 != 0);
});

fn table() -> Snapshot {
    thread_local! {
        static TABLE: OnceCell<Snapshot> = const { OnceCell::new() };
    }
    TABLE.with(|table| {
        let make = || {
            let model = parse(&Sources::new("fuzz.toml", CONFIG)).expect("it is sound");
            compile(&model, 1, &mut Identities::default())
        };
        table.get_or_init(make).clone()
    })
}

fn run(seed: u64, faults: Faults, sent: Vec<u8>, answer: Vec<u8>, half_close: bool) {
    let table = table();
    let web = table.listeners[0].address.ip().expect("it is one");
    let endpoint = table.upstreams[0].endpoints[0].address.ip().expect("it is one");
    let sim = Sim::new(seed, faults);
    let buffers = BufferPool::new(64 << 20);
    let accepting = serve_endpoint(&sim, endpoint, &buffers, answer);
    let gateway = sim.net_named("gateway");
    let listener = gateway.listen(web);
    let share =
        CoreShare {
            core: 0,
            cores: 1,
            buffer_bytes_max: 64 << 20,
            descriptors_max: usize::MAX,
            seed,
            node_seed: seed,
        };
    let worker = Worker::start(gateway, Box::new(table), vec![listener], share, Box::new(drop));
    let state = Rc::clone(&worker.state);
    let said = sim.block_on(ask(&sim, web, &buffers, sent, seed, half_close));
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 "), "{}", said.escape_ascii());
    let left = sim.block_on(worker.drain(Duration::from_secs(600), || ()));
    drop(worker);
    state.close_idle();
    accepting.cancel_accept();
    drop(accepting);
    sim.run_for(30_000_000);
    assert_eq!((left, state.core.buffers.lent(), sim.open_streams_of("gateway")), (0, 0, 0));
    assert_eq!((sim.dropped_operations(), sim.panics()), (0, 0));
}

/// Sends the bytes in pieces while it reads whatever comes, to the end.
async fn ask(
    sim: &Sim,
    to: SocketAddr,
    buffers: &BufferPool,
    sent: Vec<u8>,
    seed: u64,
    half_close: bool,
) -> Vec<u8> {
    let net = sim.net();
    let Ok(stream) = net.connect(to).await else { return Vec::new() };
    let stream = Rc::new(stream);
    let (writer, of_writer, clock) = (Rc::clone(&stream), buffers.clone(), net.clone());
    net.spawn(async move {
        let random = Random::new(seed);
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let len = (1 + random.below([1, 3, 40, 5_000][random.below(4)])).min(rest.len());
            let (piece, after) = rest.split_at(len);
            rest = after;
            if write(&writer, &of_writer, piece).await.is_none() {
                return;
            }
            if random.chance(300) {
                clock.sleep_until(clock.now().plus_micros(1_000)).await;
            }
        }
        if half_close {
            writer.shutdown_write().await;
        }
    });
    let mut said = Vec::new();
    while let Some(buf) = read(&stream, buffers).await {
        said.extend_from_slice(buf.filled());
    }
    said
}

fn serve_endpoint(
    sim: &Sim,
    address: SocketAddr,
    buffers: &BufferPool,
    answer: Vec<u8>,
) -> Rc<worker::net::sim::SimListener> {
    let net = sim.net();
    let listener = Rc::new(net.listen(address));
    let (buffers, spawner, accepting) = (buffers.clone(), net.clone(), Rc::clone(&listener));
    net.spawn(async move {
        while let Ok((stream, _)) = accepting.accept().await {
            let (buffers, answer) = (buffers.clone(), answer.clone());
            spawner.spawn(async move { serve(&stream, &buffers, &answer).await });
        }
    });
    listener
}

/// Answers each head, and skips the body that it announces.
async fn serve(stream: &SimStream, buffers: &BufferPool, answer: &[u8]) {
    let mut bytes = Vec::new();
    loop {
        let head_len = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            let Some(buf) = read(stream, buffers).await else { return };
            bytes.extend_from_slice(buf.filled());
        };
        let rest = bytes.split_off(head_len);
        let body = judge(&bytes);
        bytes = rest;
        loop {
            let taken = match body {
                Body::Length(len) => (bytes.len() >= len).then_some(len),
                Body::Chunked => chunked(&bytes),
            };
            if let Some(taken) = taken {
                bytes.drain(..taken);
                break;
            }
            let Some(buf) = read(stream, buffers).await else { return };
            bytes.extend_from_slice(buf.filled());
        }
        if answer.is_empty() || write(stream, buffers, answer).await.is_none() {
            return;
        }
        if answer.ends_with(b"the end") || answer.ends_with(b"cut") {
            return;
        }
    }
}

#[derive(Clone, Copy)]
enum Body {
    Length(usize),
    Chunked,
}

/// A head that reached the endpoint: strict, with nothing of the gateway's own parser.
fn judge(head: &[u8]) -> Body {
    let lines: Vec<&[u8]> = head
        .strip_suffix(b"\r\n\r\n")
        .expect("a head")
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .collect();
    let shown = head.escape_ascii();
    assert!(lines.iter().all(|line| !line.contains(&b'\r') && !line.contains(&0)), "{shown}");
    let words: Vec<&[u8]> = lines[0].split(|byte| *byte == b' ').collect();
    assert!(words.len() == 3 && words[2] == b"HTTP/1.1", "{shown}");
    let (path, _) =
        words[1].split_at(words[1].iter().position(|it| *it == b'?').unwrap_or(words[1].len()));
    assert!(path == b"*" || path.starts_with(b"/"), "{shown}");
    for hidden in [&b"//"[..], b"/./", b"/../", b"%2e", b"%2E"] {
        assert!(!path.windows(hidden.len()).any(|window| window == hidden), "{shown}");
    }
    let (mut hosts, mut length, mut coding) = (0, None, None);
    for line in &lines[1..] {
        let colon = line.iter().position(|byte| *byte == b':').expect("a colon");
        let (name, value) = (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii());
        assert!(!name.is_empty() && name.iter().all(u8::is_ascii_graphic), "{shown}");
        match &name[..] {
            b"host" => hosts += 1,
            b"content-length" => {
                let digits = str::from_utf8(value).expect("digits");
                assert!(length.replace(digits.parse().expect("a number")).is_none(), "{shown}");
            }
            b"transfer-encoding" => {
                assert!(value == b"chunked" && coding.replace(()).is_none(), "{shown}");
            }
            _ => {}
        }
    }
    assert_eq!(hosts, 1, "{shown}");
    match (length, coding) {
        (length, None) => Body::Length(length.unwrap_or(0)),
        (None, Some(())) => Body::Chunked,
        _ => panic!("nobody knows where this ends: {shown}"),
    }
}

/// The length of a chunked body, if it is there; plain digits, no extensions.
fn chunked(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = bytes[at..].windows(2).position(|window| window == b"\r\n")?;
        let digits = str::from_utf8(&bytes[at..at + line]).expect("digits");
        let len = usize::from_str_radix(digits, 16).expect("a size");
        at += line + 2;
        if len == 0 {
            break;
        }
        let end = bytes.get(at + len..at + len + 2)?;
        assert_eq!(end, b"\r\n");
        at += len + 2;
    }
    loop {
        let line = bytes[at..].windows(2).position(|window| window == b"\r\n")?;
        at += line + 2;
        if line == 0 {
            return Some(at);
        }
    }
}

async fn write(stream: &SimStream, buffers: &BufferPool, bytes: &[u8]) -> Option<()> {
    for piece in bytes.chunks(4_000) {
        let mut buf = buffers.take(Size::Medium);
        buf.append(piece).then_some(())?;
        while !buf.is_empty() {
            let written;
            (written, buf) = stream.write(buf).await;
            written.ok()?;
        }
    }
    Some(())
}

/// The bytes that come next; `None` at the end.
async fn read(stream: &SimStream, buffers: &BufferPool) -> Option<Buf> {
    let (read, buf) = stream.read(buffers.take(Size::Medium)).await;
    (read.ok()? > 0).then_some(buf)
}
