//! Heap allocations of a keep-alive request in the steady state, counted on the simulated network.
//!
//! The simulation allocates too: an exchange through the gateway is two conversations on it, so
//! two exchanges of a client with an endpoint directly are subtracted.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it has measured"
)]

use std::net::SocketAddr;
use std::rc::Rc;

use worker::Worker;
use worker::net::buffer::{Buf, Pool, Size};
use worker::net::sim::{Faults, Sim, SimStream};
use worker::net::{Instant, Listener, Net, Stream};
use worker::state::Place;

const CONFIG: &str = r#"
version = 1
[listeners.web]
address = "10.9.9.1:80"
[upstreams.app]
endpoints = ["10.9.9.2:9000"]
[routes.all]
match = { path_prefix = "/" }
upstream = "app"
"#;

const GET: &[u8] = b"GET /users/42?fields=name HTTP/1.1\r\nHost: api.example.com\r\n\
User-Agent: curl/8.5.0\r\nAccept: */*\r\nCookie: session=0123456789abcdef\r\n\r\n";

const POST: &[u8] = b"POST /users HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 16\r\n\r\n\
0123456789abcdef";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\
Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\nhello world\n";

/// Between two requests, in microseconds: time passes, and deadlines with it.
const PAUSE_MICROS: u64 = 100;
/// The most that a request may cost. The aim is 0, and what it costs now is 0; a filter or a
/// header more may be worth one.
const ALLOCATIONS_MAX: f64 = 4.0;

/// Allocations of `exchanges` exchanges of `request` and all around them.
fn allocations(request: &'static [u8], exchanges: u64, through_gateway: bool) -> u64 {
    let counted = allocation_counter::measure(|| run(request, exchanges, through_gateway));
    counted.count_total
}

fn run(request: &'static [u8], exchanges: u64, through_gateway: bool) {
    let model = engine::config::parse(&engine::config::Sources::new("alloc.toml", CONFIG))
        .expect("it is sound");
    let table = engine::snapshot::compile(&model, 1, &mut engine::snapshot::Identities::default());
    let web = table.listeners[0].address.ip().expect("it is one");
    let endpoint = table.upstreams[0].endpoints[0].address.ip().expect("it is one");
    let sim = Sim::new(1, Faults::none());
    let buffers = Pool::new(64 << 20);
    serve_endpoint(&sim, endpoint, &buffers, request);
    if through_gateway {
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
        sim.block_on(ask(&sim, web, &buffers, request, exchanges));
        let totals = worker.totals();
        assert_eq!((totals.requests, totals.replies + totals.broken), (exchanges, 0), "{totals}");
    } else {
        // With the gateway something is always due; without, the list of it would come and go.
        let net = sim.net();
        sim.net().spawn(async move { net.sleep_until(Instant(u64::MAX / 2)).await });
        sim.block_on(ask(&sim, endpoint, &buffers, request, exchanges));
    }
}

fn serve_endpoint(sim: &Sim, address: SocketAddr, buffers: &Pool, request: &'static [u8]) {
    let net = sim.net();
    let listener = net.listen(address);
    let (buffers, spawner) = (buffers.clone(), net.clone());
    net.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let buffers = buffers.clone();
            spawner.spawn(async move {
                // What arrives is as long as the request, or what the gateway added to it longer.
                while read(&stream, &buffers, request.len()).await.is_some()
                    && write(&stream, &buffers, RESPONSE).await.is_some()
                {}
            });
        }
    });
}

async fn ask(sim: &Sim, to: SocketAddr, buffers: &Pool, request: &[u8], exchanges: u64) {
    let net = sim.net();
    let stream = Rc::new(net.connect(to).await.expect("it listens"));
    for _ in 0..exchanges {
        write(&stream, buffers, request).await.expect("it takes the request");
        let buf = read(&stream, buffers, RESPONSE.len()).await.expect("it answers");
        assert!(buf.filled().ends_with(b"hello world\n"));
        net.sleep_until(net.now().plus_micros(PAUSE_MICROS)).await;
    }
}

async fn write(stream: &SimStream, buffers: &Pool, bytes: &[u8]) -> Option<()> {
    let mut buf = buffers.take(Size::Medium);
    buf.append(bytes).then_some(())?;
    while !buf.is_empty() {
        let written;
        (written, buf) = stream.write(buf).await;
        written.ok()?;
    }
    Some(())
}

/// Reads at least `len` bytes; without faults a message comes in one piece.
async fn read(stream: &SimStream, buffers: &Pool, len: usize) -> Option<Buf> {
    let mut buf = buffers.take(Size::Medium);
    while buf.len() < len {
        let read;
        (read, buf) = stream.read(buf).await;
        (read.ok()? > 0).then_some(())?;
    }
    Some(buf)
}

/// What one exchange adds.
fn each(request: &'static [u8], through_gateway: bool) -> f64 {
    // So long a run that what happens once in a while is a part of it.
    let short = allocations(request, 1_000, through_gateway);
    let long = allocations(request, 11_000, through_gateway);
    // Buffers and tasks at least are allocated at the start: it does count.
    assert!(short > 10, "{short}");
    let more = long.saturating_sub(short);
    #[expect(clippy::cast_precision_loss, reason = "it is far below 2^52")]
    let more = more as f64;
    more / 10_000.0
}

#[test]
fn a_keep_alive_request_allocates_next_to_nothing() {
    for (name, request) in [("GET", GET), ("POST", POST)] {
        let (gateway, direct) = (each(request, true), each(request, false));
        let own = gateway - 2.0 * direct;
        eprintln!(
            "{name}: {own:.3} allocations a request ({gateway:.3} through the gateway, {direct:.3} \
             of each of two conversations on the simulated network)"
        );
        assert!(own <= ALLOCATIONS_MAX, "{name}: {own}");
    }
}
