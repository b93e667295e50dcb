//! Several exchanges on one client connection, and several leases of one endpoint connection, over the
//! test protocol `mux`. A panic, a reset, a slow reader or a cancelled stream never disturbs the other
//! streams; a drain lets the exchanges finish that run and takes no new one.

mod client;
mod endpoint;
mod frames;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use worker::net::Net;
use worker::net::sim::{Faults, Random, Sim, SimListener, SimNet};
use worker::telemetry::Totals;

use super::model::{GotResponse, Plan, ShadowModel};
use super::panics::{Countdown, PanickingNet};
use super::seeds::run_seeds;
use super::testbed::{FinishedRun, Testbed};
use client::{Conduct, Step};
use endpoint::Answer;

const CONFIG: &str = r#"
version = 1
[listeners.web]
address = "10.9.9.1:80"
timeouts = { head = "6s", body_idle = "5s", idle = "8s", write_idle = "5s" }
[upstreams.app]
endpoints = ["10.9.9.2:9000", "10.9.9.3:9000"]
timeouts = { connect = "1s", first_byte = "6s", between_bytes = "5s" }
pool = { idle_timeout = "5s" }
[routes.all]
match = { path_prefix = "/" }
upstream = "app"
[access_log]
"#;

/// The scenario that a seed draws.
struct Scenario {
    faults: Faults,
    plans: Vec<Plan>,
    answers: Vec<Answer>,
    /// The steps of each client.
    clients: Vec<Vec<Step>>,
    drain_after: Option<u64>,
    /// The network loses no byte and delays none for long.
    calm: bool,
    /// Requests wait for few connections to the endpoints.
    queues: bool,
}

impl Scenario {
    fn draw(random: &Random) -> Self {
        let (calm, queues) = (random.chance(700), random.chance(300));
        let faults = match random.below(2) {
            _ if !calm => Faults::some(),
            0 => Faults::none(),
            _ => Faults { stall_permille: 0, ..Faults::benign() },
        };
        let (mut plans, mut answers) = (Vec::new(), Vec::new());
        let clients = (0..1 + random.below(3)).map(|_| {
            let steps = (0..1 + random.below(12)).map(|_| {
                let plan = draw_plan(random);
                let sends = plan.upload.unwrap_or(0) + plan.download;
                let at = random.below(sends.max(1) + 1);
                let conduct = match random.below(10) {
                    0 => Conduct::Reset(at),
                    1 => Conduct::Panic(at),
                    2 => Conduct::Slow,
                    _ => Conduct::Plain,
                };
                answers.push(match random.below(12) {
                    0 => Answer::Reset([0, random.below(1_000)][random.below(2)]),
                    1 => [Answer::Refuse, Answer::RefuseAlways][random.below(2)],
                    2 => Answer::Early,
                    3 => Answer::Late(1 << random.below(19)),
                    _ => Answer::Whole,
                });
                plans.push(plan);
                Step { id: plans.len() - 1, conduct }
            });
            steps.collect()
        });
        let clients = clients.collect();
        let drain_after = random.chance(200).then(|| random.next() % 400_000);
        Self { faults, plans, answers, clients, drain_after, calm, queues }
    }

    /// Whether this request must get its right response, if it has come to an endpoint at all.
    fn is_owed(&self, step: Step) -> bool {
        let sound = match self.answers[step.id] {
            Answer::Whole | Answer::Late(_) | Answer::Early => true,
            // It is sent again where its body is still here.
            Answer::Refuse => self.plans[step.id].upload.is_none(),
            Answer::RefuseAlways | Answer::Reset(_) => false,
        };
        self.calm && sound && step.conduct == Conduct::Plain
    }
}

fn draw_plan(random: &Random) -> Plan {
    let method = ["GET", "GET", "GET", "HEAD", "POST", "PUT"][random.below(6)];
    let size = || random.below([1, 100, 5_000, 40_000][random.below(4)]);
    Plan {
        method,
        upload: matches!(method, "POST" | "PUT").then(size),
        chunked: random.chance(500),
        status: [200, 200, 200, 204, 404][random.below(5)],
        ..Plan::get(size())
    }
}

/// Runs the scenario of a seed.
fn run_seed(seed: u64, history: bool) -> (FinishedRun, bool) {
    let random = Random::new(seed ^ 0x4D5);
    let scenario = Scenario::draw(&random);
    let sim = Sim::new(seed, scenario.faults.clone());
    if history {
        sim.keep_history();
    }
    let model = ShadowModel::new(seed, scenario.plans.clone());
    model.panics_max.set(Some(0));
    let answers = Rc::new(RefCell::new(scenario.answers.clone()));
    let mut text = CONFIG.to_owned();
    if scenario.queues {
        let few = "pool = { connections_max = 1, queue_max = 1000, queue_timeout = \"1h\", ";
        text = text.replace("pool = { ", few);
    }
    let serve = |net: SimNet, listener, random| {
        let answers = Rc::clone(&answers);
        net.spawn(endpoint::run(Rc::clone(&model), net.clone(), listener, answers, random));
    };
    let testbed = Testbed::with(sim, Rc::clone(&model), text, |net| net, |it| it, serve);
    let core = &testbed.worker.state.core;
    core.mux.clients.set(true);
    core.mux.endpoints.set(true);
    for steps in &scenario.clients {
        model.clients.set(model.clients.get() + 1);
        let (net, random) = (testbed.sim.net(), Random::new(random.next()));
        let to = testbed.web.clone();
        net.spawn(client::run(Rc::clone(&model), net.clone(), to, steps.clone(), random));
    }
    let ended = testbed.finish(scenario.drain_after, false);
    for step in scenario.clients.iter().flatten().filter(|step| scenario.is_owed(**step)) {
        let status = scenario.plans[step.id].status;
        let right = Some(GotResponse { status, own: false, whole: true });
        let got = model.got.borrow().get(&step.id).copied();
        let seen = model.seen.borrow().iter().any(|it| it.id == step.id);
        // A gateway that drains has taken no new request; those that it has taken get their response.
        if got != right && (seen || scenario.drain_after.is_none()) {
            let (plan, answer) = (&scenario.plans[step.id], scenario.answers[step.id]);
            let what = format!("{plan:?}, {answer:?}, {step:?}");
            model.violation(format!("disturbed: {what}: {got:?}, not {right:?}"));
        }
    }
    (ended, scenario.calm)
}

#[test]
fn no_seed_disturbs_another_stream() {
    if let Some((totals, _)) = run_seeds("no_seed_disturbs", run_seed) {
        for (what, count) in [
            ("panics", totals.panics),
            ("broken exchanges", totals.broken),
            ("retries", totals.retries),
            ("answers of the gateway", totals.replies),
        ] {
            assert!(count > 50, "{what}: {totals}");
        }
        assert!(totals.endpoint_reused > 2 * totals.endpoint_opened, "streams share: {totals}");
    }
}

/// Clients with these steps, on a gateway with this network, to the end of the run. A last client comes
/// when the others are done.
fn run_fixed<N: Net>(
    faults: Faults,
    clients: Vec<Vec<Step>>,
    panics: u64,
    net: impl Fn(SimNet) -> N,
    listener: impl Fn(SimListener) -> N::Listener,
) -> FinishedRun {
    let count = clients.iter().flatten().count();
    let plan = Plan { method: "POST", upload: Some(7_000), ..Plan::get(10_000) };
    let model = ShadowModel::new(1, vec![plan; count]);
    model.panics_max.set(Some(panics));
    let answers = Rc::new(RefCell::new(vec![Answer::Whole; count]));
    let serve = |net: SimNet, listener, random| {
        let answers = Rc::clone(&answers);
        net.spawn(endpoint::run(Rc::clone(&model), net.clone(), listener, answers, random));
    };
    let sim = Sim::new(1, faults);
    let testbed = Testbed::with(sim, Rc::clone(&model), CONFIG.to_owned(), net, listener, serve);
    let core = &testbed.worker.state.core;
    core.mux.clients.set(true);
    core.mux.endpoints.set(true);
    let last = clients.len().saturating_sub(1);
    for (at, steps) in clients.into_iter().enumerate() {
        if at == last {
            testbed.wait();
        }
        model.clients.set(model.clients.get() + 1);
        let (net, to) = (testbed.sim.net(), testbed.web.clone());
        net.spawn(client::run(Rc::clone(&model), net.clone(), to, steps, Random::new(at as u64)));
    }
    testbed.finish(None, false)
}

fn plain(ids: std::ops::Range<usize>) -> Vec<Step> {
    ids.map(|id| Step { id, conduct: Conduct::Plain }).collect()
}

/// Whether all of these got the right response.
fn served(ended: &FinishedRun, ids: std::ops::Range<usize>) -> bool {
    let right = GotResponse { status: 200, own: false, whole: true };
    ids.into_iter().all(|id| ended.model.got.borrow().get(&id) == Some(&right))
}

#[test]
fn calls_that_come_together_share_one_attempt_to_connect() {
    let slow = 50_000..=50_000;
    let faults =
        Faults { connect_slow_permille: 1_000, connect_slow_micros: slow, ..Faults::none() };
    let ended = run_fixed(faults, vec![plain(0..4)], 0, |net| net, |it| it);
    assert_eq!(ended.violations(), None);
    assert!(served(&ended, 0..4));
    // Two endpoints, and two calls for each.
    let Totals { endpoint_opened, endpoint_reused, .. } = ended.totals;
    assert_eq!((endpoint_opened, endpoint_reused), (2, 2));
}

#[test]
fn a_panic_at_any_operation_leaves_the_gateway_whole() {
    const FAR_AWAY: u64 = u64::MAX;
    let run = |panic_at: Option<u64>| {
        let countdown: Countdown = Rc::new(Cell::new(Some(panic_at.unwrap_or(FAR_AWAY))));
        let net = |inner| PanickingNet { inner, countdown: Rc::clone(&countdown) };
        let listener = |inner| PanickingNet { inner, countdown: Rc::clone(&countdown) };
        let clients = vec![plain(0..3), plain(3..4), plain(4..5)];
        let slow = 50_000..=50_000;
        let faults =
            Faults { connect_slow_permille: 1_000, connect_slow_micros: slow, ..Faults::none() };
        let panics = u64::from(panic_at.is_some());
        let ended = run_fixed(faults, clients, panics, net, listener);
        (ended, countdown.get().map(|left| FAR_AWAY - left))
    };
    let (sound, operations) = run(None);
    assert_eq!(sound.violations(), None);
    assert!(served(&sound, 0..5));
    let operations = operations.unwrap();
    assert!(operations > 30, "{operations}");
    for operation in 0..operations {
        let (ended, _) = run(Some(operation));
        assert_eq!(ended.violations(), None, "panic at operation {operation}");
        assert_eq!(ended.totals.panics, 1);
        // The last client may be the one that suffers.
        assert!(
            served(&ended, 4..5) || served(&ended, 0..4),
            "panic at operation {operation}: it does not serve on"
        );
    }
}

#[test]
fn a_seed_of_streams_gives_the_same_run_twice() {
    for seed in 0..20 {
        let run = || {
            let (ended, _) = run_seed(seed, false);
            (ended.sim.trace_hash(), ended.sim.operations(), ended.totals)
        };
        assert_eq!(run(), run(), "seed {seed}");
    }
}
