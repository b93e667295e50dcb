//! Keep-alive exchanges on the simulated network, through a worker or past it, to count their cost:
//! instructions (the program beside this file) and allocations (`tests/alloc.rs`).
//!
//! The figure includes the cost of the simulation, which is the same from run to run.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use engine::time::Instant;
use worker::Worker;
use worker::core::CoreShare;
use worker::message::{Report, ToWorker};
use worker::net::buffer::{Buf, BufferPool, Size};
use worker::net::sim::{Faults, Sim, SimStream};
use worker::net::{Listener, Net, Stream};
use worker::state::CoreState;
use worker::telemetry::reporter::Outbox;

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

/// The request, the response, and their number.
#[derive(Clone, Debug)]
pub struct Exchanges {
    /// The request, whole.
    pub request: Vec<u8>,
    /// The response, whole.
    pub response: Vec<u8>,
    /// How many, on one connection.
    pub count: u32,
    /// Between two of them, in microseconds of the simulation: 0 for none. Time passes, and
    /// deadlines with it.
    pub pause_micros: u64,
    /// Whether the blocks of reports come back to the worker. Without them it soon stops to report.
    pub reports_come_back: bool,
}

impl Exchanges {
    /// Runs them through a worker, and says how many requests it counted that it could serve;
    /// `None` when an exchange fails.
    #[must_use]
    pub fn through_worker(&self) -> Option<u64> {
        let model = engine::config::parse(&engine::config::Sources::new("icount.toml", CONFIG));
        let mut identities = engine::snapshot::Identities::default();
        let table = engine::snapshot::compile(&model.ok()?, 1, &mut identities);
        let web = table.listeners.first()?.address.ip()?;
        let endpoint = table.upstreams.first()?.endpoints.first()?.address.ip()?;
        let sim = Sim::new(1, Faults::none());
        let gateway = sim.net_named("gateway");
        let listener = gateway.listen(web);
        let worker = {
            let share = CoreShare {
                core: 0,
                cores: 1,
                buffer_bytes_max: 64 << 20,
                descriptors_max: usize::MAX,
                seed: 1,
                node_seed: 1,
            };
            let state = Rc::new(OnceCell::new());
            let outbox = match self.reports_come_back {
                true => give_back(Rc::clone(&state)),
                false => Box::new(drop),
            };
            let worker = Worker::start(gateway, Box::new(table), vec![listener], share, outbox);
            // Never set before, so this does not fail.
            let _ = state.set(Rc::downgrade(&worker.state));
            worker
        };
        let buffers = BufferPool::new(64 << 20);
        self.serve(&sim, endpoint, &buffers);
        sim.block_on(self.ask(&sim, web, &buffers))?;
        let totals = worker.totals();
        totals.requests.checked_sub(totals.replies + totals.broken)
    }

    /// Runs them without a worker between; `None` when an exchange fails.
    #[must_use]
    pub fn direct(&self) -> Option<()> {
        let sim = Sim::new(1, Faults::none());
        let buffers = BufferPool::new(64 << 20);
        let endpoint = SocketAddr::from(([127, 0, 0, 2], 9000));
        self.serve(&sim, endpoint, &buffers);
        // With a worker something is always due; without, the list of it would come and go.
        let net = sim.net();
        sim.net().spawn(async move { net.sleep_until(Instant(u64::MAX / 2)).await });
        sim.block_on(self.ask(&sim, endpoint, &buffers))
    }

    fn serve(&self, sim: &Sim, address: SocketAddr, buffers: &BufferPool) {
        let net = sim.net();
        let listener = net.listen(address);
        let response: Rc<[u8]> = self.response.as_slice().into();
        let request_len = self.request.len();
        let (buffers, spawner) = (buffers.clone(), net.clone());
        net.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (buffers, response) = (buffers.clone(), Rc::clone(&response));
                spawner.spawn(async move {
                    // The request arrives as the gateway writes it, never shorter.
                    while read(&stream, &buffers, request_len).await.is_some()
                        && write(&stream, &buffers, &response).await.is_some()
                    {}
                });
            }
        });
    }

    async fn ask(&self, sim: &Sim, to: SocketAddr, buffers: &BufferPool) -> Option<()> {
        let net = sim.net();
        let stream = net.connect(to).await.ok()?;
        // The gateway adds to a response behind its first line; the body is the same.
        let body = self.response.windows(4).position(|it| it == b"\r\n\r\n")? + 4;
        let body = self.response.get(body..)?;
        for _ in 0..self.count {
            write(&stream, buffers, &self.request).await?;
            // The head may be shorter through the gateway, without the endpoint's fields about its
            // connection.
            let buf = read(&stream, buffers, body.len() + 1).await?;
            buf.filled().ends_with(body).then_some(())?;
            if self.pause_micros > 0 {
                net.sleep_until(net.now().plus_micros(self.pause_micros)).await;
            }
        }
        Some(())
    }
}

/// The control thread of a worker with this state: empties each report and sends it back.
fn give_back<N: Net>(state: Rc<OnceCell<Weak<CoreState<N>>>>) -> Outbox {
    Box::new(move |report| {
        if let (Report::Counts(mut block), Some(state)) =
            (report, state.get().and_then(Weak::upgrade))
        {
            block.clear();
            Worker { state }.take(ToWorker::Block(block));
        }
    })
}

async fn write(stream: &SimStream, buffers: &BufferPool, bytes: &[u8]) -> Option<()> {
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
async fn read(stream: &SimStream, buffers: &BufferPool, len: usize) -> Option<Buf> {
    let mut buf = buffers.take(Size::Medium);
    while buf.len() < len {
        let read;
        (read, buf) = stream.read(buf).await;
        (read.ok()? > 0).then_some(())?;
    }
    Some(buf)
}
