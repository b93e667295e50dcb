//! A gateway between simulated clients and endpoints: how a run is set up, drained and ended, and
//! what must be home after it.

use std::cell::{Cell, OnceCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use engine::address::Address;
use engine::snapshot::{Identities, Snapshot, compile};
use worker::Worker;
use worker::net::sim::{Faults, Random, Sim, SimListener, SimNet};
use worker::net::{Listener, Net};
use worker::state::{Core, Place};
use worker::telemetry::Totals;

use super::client::{self, Script};
use super::endpoint::{self, Manners};
use super::model::Model;
use super::tools::sleep;

/// Timeouts as short as the benign faults allow (a stall is below 300 ms): virtual time is cheap,
/// not free.
const CONFIG: &str = r#"
version = 1
[listeners.web]
address = "10.9.9.1:80"
timeouts = { head = "6s", body_idle = "3s", idle = "8s", write_idle = "3s", tunnel_idle = "12s" }
[upstreams.app]
endpoints = ["10.9.9.2:9000", "10.9.9.3:9000"]
timeouts = { connect = "1s", first_byte = "6s", between_bytes = "3s" }
pool = { idle_timeout = "5s" }
[routes.all]
match = { path_prefix = "/" }
upstream = "app"
[access_log]
"#;

/// How long a drain may take, in virtual time: nothing waits that long, but a large body may take
/// its time through a pipe of a few bytes.
const DRAIN: Duration = Duration::from_secs(1_800);

/// Whether the gateway of a run listens at a Unix socket, and one endpoint too.
pub(crate) const fn is_at_a_socket(seed: u64) -> bool {
    seed % 4 == 3
}

/// Who clients are by the PROXY header that each of their connections begins with in some runs.
pub(crate) const INTRODUCED: &str = "10.77.0.1";

/// That header, of either version; empty in the other runs.
pub(crate) const fn introduction(seed: u64) -> &'static [u8] {
    match seed % 5 {
        3 => b"PROXY TCP4 10.77.0.1 10.9.9.1 4660 80\r\n",
        4 => b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x4d\0\x01\x0a\x09\x09\x01\x12\x34\0\x50",
        _ => b"",
    }
}

/// The configuration of a run.
fn config(seed: u64) -> String {
    let mut text = CONFIG.to_owned();
    if is_at_a_socket(seed) {
        text = text.replace("10.9.9.1:80", "unix:/web.sock");
        text = text.replace("10.9.9.3:9000", "unix:@endpoint");
    }
    if !introduction(seed).is_empty() {
        text = text.replace("[upstreams.app]", "proxy_protocol = \"required\"\n[upstreams.app]");
    }
    text
}

fn table(text: &str, number: u64) -> Snapshot {
    let model = engine::config::parse(&engine::config::Sources::new("sim.toml", text)).unwrap();
    compile(&model, number, &mut Identities::default())
}

/// The simulated world around one gateway.
pub(crate) struct World<N: Net> {
    pub(crate) sim: Sim,
    pub(crate) model: Rc<Model>,
    pub(crate) worker: Worker<N>,
    /// Where clients connect to.
    pub(crate) web: Address,
    pub(crate) endpoints: Vec<Rc<SimListener>>,
}

impl World<SimNet> {
    pub(crate) fn new(sim: Sim, model: Rc<Model>, manners: &[Manners]) -> Self {
        Self::on(sim, model, manners, |net| net, |listener| listener)
    }
}

impl<N: Net> World<N> {
    /// With the gateway on a network made of the simulated one.
    pub(crate) fn on(
        sim: Sim,
        model: Rc<Model>,
        manners: &[Manners],
        net: impl Fn(SimNet) -> N,
        listener: impl Fn(SimListener) -> N::Listener,
    ) -> Self {
        let table = table(&config(model.seed), 1);
        let web = table.listeners[0].address.clone();
        let addresses: Vec<_> =
            table.upstreams[0].endpoints.iter().map(|it| it.address.clone()).collect();
        let random = Random::new(model.seed ^ 0xE4D_0147);
        let gateway = sim.net_named("gateway");
        let listener = listener(gateway.listen(&web));
        let place = Place {
            core: 0,
            cores: 1,
            buffer_bytes_max: 64 << 20,
            descriptors_max: usize::MAX,
            seed: model.seed,
        };
        let (reports, control) = (Rc::clone(&model), Rc::new(OnceCell::new()));
        let outbox = {
            let control = Rc::clone(&control);
            Box::new(move |report| {
                let (blocks, records) = reports.report(report);
                if let Some(core) = control.get().and_then(Weak::upgrade) {
                    Worker { core }.take_back(blocks, records);
                }
            })
        };
        let worker = Worker::start(net(gateway), Box::new(table), vec![listener], place, outbox);
        let _ = control.set(Rc::downgrade(&worker.core));
        let mut endpoints = Vec::new();
        for (address, &manners) in addresses.iter().zip(manners) {
            let net = sim.net();
            let listener = Rc::new(net.listen(address));
            endpoints.push(Rc::clone(&listener));
            let random = Random::new(random.next());
            net.spawn(endpoint::run(Rc::clone(&model), net.clone(), listener, manners, random));
        }
        Self { sim, model, worker, web, endpoints }
    }

    /// Starts a client.
    pub(crate) fn client(&self, scripts: Vec<Script>, random: &Random) {
        let net = self.sim.net();
        self.model.clients.set(self.model.clients.get() + 1);
        let random = Random::new(random.next());
        net.spawn(client::run(
            Rc::clone(&self.model),
            net.clone(),
            self.web.clone(),
            scripts,
            random,
        ));
    }

    /// Changes the configuration every now and then, `times` times.
    pub(crate) fn change(&self, times: usize, random: &Random) {
        let (net, random) = (self.sim.net(), Random::new(random.next()));
        let worker = Worker { core: Rc::clone(&self.worker.core) };
        let seed = self.model.seed;
        self.sim.net().spawn(async move {
            for number in 2..2 + times as u64 {
                sleep(&net, random.next() % 2_000_000).await;
                // Pools change under the connections that they have, and endpoints come and go.
                let idle_max = [1000, 1, 1001][random.below(3)];
                let timeout = "idle_timeout = ";
                let text =
                    config(seed).replace(timeout, &format!("idle_max = {idle_max}, {timeout}"));
                let text = match random.below(4) {
                    0 => text.replace("endpoints = [\"10.9.9.2:9000\", ", "endpoints = ["),
                    1 => text.replace(
                        "[\"10.9.9.2:9000\"",
                        "[{ address = \"10.9.9.2:9000\", weight = 3 }",
                    ),
                    _ => text,
                };
                worker.switch(Box::new(table(&text, number)), Ok(Vec::new()));
            }
        });
    }

    /// Runs until the clients are done.
    pub(crate) fn wait(&self) {
        self.sim.block_on(self.model.bell.until(|| self.model.clients.get() == 0));
    }

    /// Runs until the clients are done, or until the gateway is to drain; then drains, ends, and
    /// looks whether everything came home. `strict` as in [`Model::check`].
    pub(crate) fn finish(self, drain_after: Option<u64>, strict: bool) -> Ended {
        let Self { sim, model, worker, endpoints, .. } = self;
        let net = sim.net();
        let core = Rc::clone(&worker.core);
        let clients_done = || model.clients.get() == 0;
        let cut = sim.block_on(async {
            match drain_after {
                Some(micros) => sleep(&net, micros).await,
                None => model.bell.until(clients_done).await,
            }
            worker.drain(DRAIN, || ()).await
        });
        let totals = worker.totals();
        drop(worker);
        sim.block_on(model.bell.until(clients_done));
        core.close_idle();
        model.stopping.set(true);
        endpoints.iter().for_each(|listener| listener.cancel_accept());
        drop(endpoints);
        // Longer than an endpoint's longest stall.
        sim.run_for(30_000_000);
        if cut > 0 {
            model.violation(format!("{cut} connections outlived the drain"));
        }
        model.check(&totals, strict);
        check_home(&sim, &core, &model);
        Ended { sim, model, totals }
    }
}

/// A run that is over.
pub(crate) struct Ended {
    pub(crate) sim: Sim,
    pub(crate) model: Rc<Model>,
    pub(crate) totals: Totals,
}

impl Ended {
    /// The violations found, joined; `None` when all is well.
    pub(crate) fn violations(&self) -> Option<String> {
        let violations = self.model.violations.borrow();
        (!violations.is_empty()).then(|| violations.join("\n  "))
    }
}

/// Everything that was lent, opened or started is home.
fn check_home<N: Net>(sim: &Sim, core: &Core<N>, model: &Model) {
    let expect = |what: &str, found: u64, expected: u64| {
        if found != expected {
            model.violation(format!("at the end {what}: {found}, not {expected}"));
        }
    };
    expect("buffers lent", core.buffers.lent() as u64, 0);
    expect("bytes lent", core.buffers.lent_bytes() as u64, 0);
    expect("client connections", core.connections.get() as u64, 0);
    expect("streams of the gateway", sim.open_streams_of("gateway") as u64, 0);
    expect("streams", sim.open_streams() as u64, 0);
    expect("operations dropped under way", sim.dropped_operations(), 0);
    // Those of a listener are caught before the network sees them.
    expect("panics", sim.panics(), core.net.panics());
    expect("panics of the gateway", core.totals().panics, model.panics.get());
    // The sweep's.
    expect("deadlines", core.wheel.len() as u64, 1);
    // The ticker and the sweep.
    expect("tasks", sim.tasks() as u64, 2);
}

/// Runs what a seed draws; says whether it was strict.
pub(crate) fn run_seed(seed: u64, history: bool) -> (Ended, bool) {
    let random = Random::new(seed ^ 0x0005_1ED5_EED5);
    let (clients_good, endpoints_good) = (random.chance(500), random.chance(500));
    let mut faults = match random.below(6) {
        0 => Faults::none(),
        1 | 2 => Faults::benign(),
        3 => Faults::some(),
        _ => Faults::drawn(seed),
    };
    let harmless = faults.reset_permille == 0
        && faults.accept_error_permille == 0
        && faults.connect_refused_permille == 0
        && faults.connect_slow_permille == 0
        && faults.backlog_max > 1
        && *faults.latency_micros.end() <= 2_000
        && faults.stall_permille <= 10
        && *faults.capacity_bytes.end() > 16;
    // Through a pipe of a few bytes a large body takes hours: either, but not both.
    let (narrowest, widest) = (*faults.capacity_bytes.start(), *faults.capacity_bytes.end());
    let bytes_max = if widest <= 16 { 1_000 } else { 200 << 10 };
    if widest > 16 {
        faults.capacity_bytes = narrowest.max(64)..=widest;
    }
    let drain_after = random.chance(150).then(|| random.next() % 3_000_000);
    let strict = clients_good && endpoints_good && harmless && drain_after.is_none();

    let sim = Sim::new(seed, faults);
    if history {
        sim.keep_history();
    }
    let plans = Cell::new(Vec::new());
    let clients: Vec<Vec<Script>> = (0..1 + random.below(6))
        .map(|_| {
            let script = |_| {
                let mut all = plans.take();
                let from = all.len();
                for _ in 0..1 + random.below(8) {
                    let plan = super::model::Plan::drawn(&random, bytes_max, clients_good);
                    // Behind a tunnel there is nothing to ask.
                    let last = plan.tunnel.is_some() || clients_good && (plan.old || plan.close);
                    all.push(plan);
                    if last {
                        break;
                    }
                }
                let requests = (from..all.len()).collect();
                plans.set(all);
                Script::drawn(&random, requests, clients_good)
            };
            (0..1 + random.below(3)).map(script).collect()
        })
        .collect();
    let manners = |_| Manners {
        bad_permille: if endpoints_good { 0 } else { [50, 300][random.below(2)] },
        idle_micros: if endpoints_good || random.chance(500) {
            600_000_000
        } else {
            [50_000, 500_000, 2_000_000][random.below(3)]
        },
        plain: endpoints_good && random.chance(300),
        reset_at: None,
        slow_micros: 0,
    };
    let manners: Vec<_> = (0..2).map(manners).collect();
    let model = Model::new(seed, plans.take());
    let world = World::new(sim, model, &manners);
    world.change(random.below(4), &random);
    for scripts in clients {
        world.client(scripts, &random);
    }
    (world.finish(drain_after, strict), strict)
}
