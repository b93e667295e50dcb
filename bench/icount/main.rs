//! Runs keep-alive exchanges through a worker on the simulated network, for counting what they
//! cost: instructions under callgrind, allocations under a counting allocator.
//!
//! `icount SCENARIO N` runs N exchanges after a warm-up. Two runs with different N, subtracted, give
//! the cost of one exchange; `scripts/icount.sh` does that and compares with the committed baseline. What the
//! simulation itself costs is in the figure, but it is the same from run to run.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;

use worker::Worker;
use worker::net::buffer::{Buf, Pool, Size};
use worker::net::sim::{Faults, Sim, SimStream};
use worker::net::{Listener, Net, Stream};
use worker::state::Place;

const CONFIG: &str = r#"
version = 1
[listeners.web]
address = "127.0.0.1:80"
[upstreams.app]
endpoints = ["127.0.0.2:9000"]
[routes.all]
match = { path_prefix = "/" }
upstream = "app"
"#;

/// As a browser's or a client library's request looks.
const GET: &[u8] = b"GET /users/42?fields=name HTTP/1.1\r\nHost: api.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
Accept: application/json\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\n\
Cookie: session=0123456789abcdef0123456789abcdef\r\nConnection: keep-alive\r\n\r\n";

const RESPONSE_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nServer: endpoint\r\n\
Date: Tue, 14 Nov 2023 22:13:20 GMT\r\nContent-Type: application/json\r\n\
Cache-Control: no-store\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n\r\n";

const POST_HEAD: &[u8] = b"POST /users HTTP/1.1\r\nHost: api.example.com\r\n\
User-Agent: curl/8.5.0\r\nAccept: */*\r\nContent-Type: application/json\r\n\
Content-Length: 1024\r\n\r\n";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let scenario = args.next().unwrap_or_default();
    let exchanges = args.next().and_then(|n| n.parse::<u32>().ok());
    let (Some(exchanges), Some(request)) = (exchanges, request(&scenario)) else {
        complain("usage: icount get|post N");
        return ExitCode::from(2);
    };
    match run(&request, exchanges) {
        Some(requests) if requests == u64::from(exchanges) => ExitCode::SUCCESS,
        other => {
            complain(&format!("expected {exchanges} exchanges, the worker counted {other:?}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "a measuring tool talks to its terminal")]
fn complain(text: &str) {
    eprintln!("{text}");
}

fn request(scenario: &str) -> Option<Vec<u8>> {
    match scenario {
        "get" => Some(GET.to_vec()),
        "post" => Some([POST_HEAD, &[b'x'; 1024]].concat()),
        _ => None,
    }
}

fn run(request: &[u8], exchanges: u32) -> Option<u64> {
    let model = engine::config::parse(&engine::config::Sources::new("icount.toml", CONFIG)).ok()?;
    let table = engine::snapshot::compile(&model, 1, &mut engine::snapshot::Identities::default());
    let web = table.listeners.first()?.address.ip()?;
    let endpoint = table.upstreams.first()?.endpoints.first()?.address.ip()?;
    let sim = Sim::new(1, Faults::none());
    let gateway = sim.net_named("gateway");
    let listener = gateway.listen(web);
    let worker = {
        let place = Place {
            core: 0,
            cores: 1,
            buffer_bytes_max: 64 << 20,
            descriptors_max: usize::MAX,
            seed: 1,
        };
        Worker::start(gateway, Box::new(table), vec![listener], place, Box::new(drop))
    };
    let buffers = Pool::new(64 << 20);
    serve_endpoint(&sim, endpoint, &buffers, request.len());
    sim.block_on(ask(&sim, web, &buffers, request, exchanges))?;
    Some(worker.totals().requests)
}

fn serve_endpoint(sim: &Sim, address: SocketAddr, buffers: &Pool, request_len: usize) {
    let net = sim.net();
    let listener = net.listen(address);
    let response: Rc<[u8]> = [RESPONSE_HEAD, &[b'y'; 1024]].concat().into();
    let buffers = buffers.clone();
    let spawner = net.clone();
    net.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (buffers, response) = (buffers.clone(), Rc::clone(&response));
            spawner.spawn(async move {
                // What arrives is the request as the gateway writes it, never shorter.
                while read_until(&stream, &buffers, request_len).await.is_some()
                    && write_all(&stream, &buffers, &response).await.is_some()
                {}
            });
        }
    });
}

async fn ask(
    sim: &Sim,
    to: SocketAddr,
    buffers: &Pool,
    request: &[u8],
    exchanges: u32,
) -> Option<()> {
    let stream = sim.net().connect(to).await.ok()?;
    for _ in 0..exchanges {
        write_all(&stream, buffers, request).await?;
        read_until(&stream, buffers, 1024).await?;
    }
    Some(())
}

async fn write_all(stream: &SimStream, buffers: &Pool, bytes: &[u8]) -> Option<()> {
    let mut buf = buffers.take(Size::Medium);
    buf.append(bytes).then_some(())?;
    while !buf.is_empty() {
        let written;
        (written, buf) = stream.write(buf).await;
        written.ok()?;
    }
    Some(())
}

/// Reads one message of at least `len` bytes; without faults it arrives in one piece.
async fn read_until(stream: &SimStream, buffers: &Pool, len: usize) -> Option<Buf> {
    let mut buf = buffers.take(Size::Medium);
    while buf.len() < len {
        let read;
        (read, buf) = stream.read(buf).await;
        (read.ok()? > 0).then_some(())?;
    }
    Some(buf)
}
