//! A gateway between simulated clients and endpoints: sets a run up, drains and ends it, and checks
//! that everything came home.

use std::cell::OnceCell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use engine::address::Address;
use engine::balance::EndpointState;
use engine::names::Answers;
use engine::snapshot::{Identities, Snapshot, compile};
use worker::Worker;
use worker::core::{Core, CoreShare};
use worker::message::{Fact, ToWorker};
use worker::net::sim::{Random, Sim, SimListener, SimNet};
use worker::net::{Listener, Net};
use worker::telemetry::Totals;

use super::client::{self, Script};
use super::endpoint::{self, Behaviour};
use super::model::ShadowModel;
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
pub(crate) const fn uses_unix_sockets(seed: u64) -> bool {
    seed % 4 == 3
}

/// Whether requests of a run wait for a few connections. Each gets its turn: it may wait for longer
/// than all others take.
const fn queues(seed: u64) -> bool {
    seed % 7 == 5
}

/// The address of all clients in runs in which each connection begins with a PROXY header.
pub(crate) const PROXIED_CLIENT: &str = "10.77.0.1";

/// That header, in version 1 or 2; empty in the other runs.
pub(crate) const fn proxy_header(seed: u64) -> &'static [u8] {
    match seed % 5 {
        3 => b"PROXY TCP4 10.77.0.1 10.9.9.1 4660 80\r\n",
        4 => b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x4d\0\x01\x0a\x09\x09\x01\x12\x34\0\x50",
        _ => b"",
    }
}

/// The configuration of a run.
pub(crate) fn config(seed: u64) -> String {
    let mut text = CONFIG.to_owned();
    if uses_unix_sockets(seed) {
        text = text.replace("10.9.9.1:80", "unix:/web.sock");
        text = text.replace("10.9.9.3:9000", "unix:@endpoint");
    }
    if !proxy_header(seed).is_empty() {
        text = text.replace("[upstreams.app]", "proxy_protocol = \"required\"\n[upstreams.app]");
    }
    if queues(seed) {
        let few = "pool = { connections_max = 1, queue_max = 1000, queue_timeout = \"1h\", ";
        text = text.replace("pool = { ", few);
    }
    let ways = ["\"least_requests\"", "\"p2c_ewma\"", "\"random\"", "{ hash = \"path\" }"];
    if let Some(way) = ways.get((seed % 8) as usize) {
        text = text.replace("pool = { ", &format!("balance = {way}\npool = {{ "));
    }
    text
}

fn table(text: &str, number: u64) -> Snapshot {
    let model = engine::config::parse(&engine::config::Sources::new("sim.toml", text)).unwrap();
    compile(&model, number, &mut Identities::default())
}

/// The simulated testbed around one gateway.
pub(crate) struct Testbed<N: Net> {
    pub(crate) sim: Sim,
    pub(crate) model: Rc<ShadowModel>,
    pub(crate) worker: Worker<N>,
    /// The configuration at the start.
    text: String,
    /// Where clients connect to.
    pub(crate) web: Address,
    pub(crate) endpoints: Vec<Rc<SimListener>>,
}

impl Testbed<SimNet> {
    pub(crate) fn new(sim: Sim, model: Rc<ShadowModel>, behaviour: &[Behaviour]) -> Self {
        Self::on(sim, model, behaviour, |net| net, |listener| listener)
    }
}

impl<N: Net> Testbed<N> {
    /// With the gateway on a network made of the simulated one.
    pub(crate) fn on(
        sim: Sim,
        model: Rc<ShadowModel>,
        behaviour: &[Behaviour],
        net: impl Fn(SimNet) -> N,
        listener: impl Fn(SimListener) -> N::Listener,
    ) -> Self {
        let endpoint_model = Rc::clone(&model);
        let mut behaviour = behaviour.iter().copied();
        let text = config(model.seed);
        Self::with(sim, model, text, net, listener, |net, listener, random| {
            if let Some(behaviour) = behaviour.next() {
                let model = Rc::clone(&endpoint_model);
                net.spawn(endpoint::run(model, net.clone(), listener, behaviour, random));
            }
        })
    }

    /// With a configuration, and with endpoints that `serve` starts.
    pub(crate) fn with(
        sim: Sim,
        model: Rc<ShadowModel>,
        text: String,
        net: impl Fn(SimNet) -> N,
        listener: impl Fn(SimListener) -> N::Listener,
        mut serve: impl FnMut(SimNet, Rc<SimListener>, Random),
    ) -> Self {
        let table = table(&text, 1);
        let web = table.listeners[0].address.clone();
        let addresses: Vec<_> =
            table.upstreams[0].endpoints.iter().map(|it| it.address.clone()).collect();
        let random = Random::new(model.seed ^ 0xE4D_0147);
        let gateway = sim.net_named("gateway");
        let listener = listener(gateway.listen(&web));
        let share = CoreShare {
            core: 0,
            cores: 1,
            buffer_bytes_max: 64 << 20,
            descriptors_max: usize::MAX,
            seed: model.seed,
            node_seed: model.seed,
        };
        let (reports, control) = (Rc::clone(&model), Rc::new(OnceCell::new()));
        let outbox = {
            let control = Rc::clone(&control);
            Box::new(move |report| {
                let back = reports.report(report);
                if let (Some(state), Some(back)) = (control.get().and_then(Weak::upgrade), back) {
                    Worker { state }.take(back);
                }
            })
        };
        let worker = Worker::start(net(gateway), Box::new(table), vec![listener], share, outbox);
        let _ = control.set(Rc::downgrade(&worker.state));
        let mut endpoints = Vec::new();
        for address in &addresses {
            let net = sim.net();
            let listener = Rc::new(net.listen(address));
            endpoints.push(Rc::clone(&listener));
            serve(net, listener, Random::new(random.next()));
        }
        Self { sim, model, worker, text, web, endpoints }
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
        let worker = Worker { state: Rc::clone(&self.worker.state) };
        let before = self.text.clone();
        self.sim.net().spawn(async move {
            for number in 2..2 + times as u64 {
                sleep(&net, random.next() % 2_000_000).await;
                // Pools change under the connections that they have, and endpoints come and go.
                let idle_max = [1000, 1, 1001][random.below(3)];
                let timeout = "idle_timeout = ";
                let text = before.replace(timeout, &format!("idle_max = {idle_max}, {timeout}"));
                let text = match random.below(4) {
                    0 => text.replace("endpoints = [\"10.9.9.2:9000\", ", "endpoints = ["),
                    1 => text.replace(
                        "[\"10.9.9.2:9000\"",
                        "[{ address = \"10.9.9.2:9000\", weight = 3 }",
                    ),
                    _ => text,
                };
                worker.switch(Box::new(table(&text, number)), Answers::default(), Ok(Vec::new()));
                // An endpoint drains, perhaps one that this version does not have.
                let state = [EndpointState::Draining, EndpointState::Ready][random.below(2)];
                let address = "10.9.9.2:9000".parse().unwrap();
                let fact = Fact::Endpoint { upstream: "app".into(), address, state };
                worker.take(ToWorker::Fact { number, fact });
            }
        });
    }

    /// Runs until the clients are done.
    pub(crate) fn wait(&self) {
        self.sim.block_on(self.model.bell.until(|| self.model.clients.get() == 0));
    }

    /// Runs until the clients are done, or until the gateway is to drain; then drains, ends, and
    /// looks whether everything came home. `strict` as in [`ShadowModel::check`].
    pub(crate) fn finish(self, drain_after: Option<u64>, strict: bool) -> FinishedRun {
        let Self { sim, model, worker, endpoints, .. } = self;
        let net = sim.net();
        let state = Rc::clone(&worker.state);
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
        state.close_idle();
        model.stopping.set(true);
        endpoints.iter().for_each(|listener| listener.cancel_accept());
        drop(endpoints);
        // Longer than an endpoint's longest stall.
        sim.run_for(30_000_000);
        if cut > 0 {
            model.violation(format!("{cut} connections outlived the drain"));
        }
        if let Some(most) = model.panics_max.get() {
            if totals.panics > most {
                model.violation(format!("{} panics, {most} were wanted", totals.panics));
            }
            model.panics.set(totals.panics);
        }
        model.check(&totals, strict);
        check_that_all_came_home(&sim, &state.core, &model);
        FinishedRun { sim, model, totals }
    }
}

/// A run that is over.
pub(crate) struct FinishedRun {
    pub(crate) sim: Sim,
    pub(crate) model: Rc<ShadowModel>,
    pub(crate) totals: Totals,
}

impl FinishedRun {
    /// The violations found, joined; `None` when all is well.
    pub(crate) fn violations(&self) -> Option<String> {
        let violations = self.model.violations.borrow();
        (!violations.is_empty()).then(|| violations.join("\n  "))
    }
}

/// Everything that was lent, opened or started is home.
fn check_that_all_came_home<N: Net>(sim: &Sim, core: &Core<N>, model: &ShadowModel) {
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
    // The listener catches its own panics before the network sees them.
    expect("panics", sim.panics(), core.net.panics());
    expect("panics of the gateway", core.totals().panics, model.panics.get());
    // The sweep's.
    expect("deadlines", core.wheel.len() as u64, 1);
    // The ticker and the sweep.
    expect("tasks", sim.tasks() as u64, 2);
}
