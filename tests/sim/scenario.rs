//! The scenario that a seed draws: faults, clients with their requests, and the behaviour of the
//! endpoints.
//!
//! Invariant: each draw comes from one sequence and in a fixed order, so a seed always gives the same
//! scenario.

use worker::net::sim::{Faults, Random, Sim};

use super::client::Script;
use super::endpoint::Behaviour;
use super::model::{Plan, ShadowModel};
use super::testbed::{FinishedRun, Testbed};

/// The largest capacity of a pipe that counts as narrow. Through such a pipe, a large body takes hours
/// of virtual time.
const NARROW_BYTES_MAX: usize = 16;

/// Runs the scenario that `seed` draws; also returns whether it was strict, as in
/// [`ShadowModel::check`].
pub(crate) fn run_seed(seed: u64, history: bool) -> (FinishedRun, bool) {
    let random = Random::new(seed ^ 0x0005_1ED5_EED5);
    let Scenario { faults, plans, clients, behaviours, drain_after, strict } =
        Scenario::draw(seed, &random);
    let sim = Sim::new(seed, faults);
    if history {
        sim.keep_history();
    }
    let testbed = Testbed::new(sim, ShadowModel::new(seed, plans), &behaviours);
    testbed.change(random.below(4), &random);
    for scripts in clients {
        testbed.client(scripts, &random);
    }
    (testbed.finish(drain_after, strict), strict)
}

struct Scenario {
    faults: Faults,
    plans: Vec<Plan>,
    /// The scripts of each client, one for each of its connections.
    clients: Vec<Vec<Script>>,
    behaviours: [Behaviour; 2],
    /// The gateway drains after this many microseconds, or else when the clients are done.
    drain_after: Option<u64>,
    /// Whether every request must get its response: clients and endpoints behave well, and the
    /// network loses no byte.
    strict: bool,
}

impl Scenario {
    fn draw(seed: u64, random: &Random) -> Self {
        let (clients_good, endpoints_good) = (random.chance(500), random.chance(500));
        let faults = match random.below(6) {
            0 => Faults::none(),
            1 | 2 => Faults::benign(),
            3 => Faults::some(),
            _ => Faults::drawn(seed),
        };
        let harmless = are_harmless(&faults);
        let (faults, bytes_max) = fit_bodies_to_pipes(faults);
        let drain_after = random.chance(150).then(|| random.next() % 3_000_000);
        let mut plans = Vec::new();
        let clients = (0..1 + random.below(6)).map(|_| {
            let scripts = 0..1 + random.below(3);
            let draw = |_| draw_script(random, &mut plans, bytes_max, clients_good);
            scripts.map(draw).collect()
        });
        let clients = clients.collect();
        let behaviours = [(); 2].map(|()| draw_behaviour(random, endpoints_good));
        let strict = clients_good && endpoints_good && harmless && drain_after.is_none();
        Self { faults, plans, clients, behaviours, drain_after, strict }
    }
}

/// Whether these faults can neither lose a connection nor delay it beyond a timeout.
fn are_harmless(faults: &Faults) -> bool {
    faults.reset_permille == 0
        && faults.accept_error_permille == 0
        && faults.connect_refused_permille == 0
        && faults.connect_slow_permille == 0
        && faults.backlog_max > 1
        && *faults.latency_micros.end() <= 2_000
        && faults.stall_permille <= 10
        && *faults.capacity_bytes.end() > NARROW_BYTES_MAX
}

/// Keeps large bodies away from narrow pipes: a run has either the one or the other. Returns the
/// faults, and the largest body.
fn fit_bodies_to_pipes(faults: Faults) -> (Faults, usize) {
    let (narrowest, widest) = (*faults.capacity_bytes.start(), *faults.capacity_bytes.end());
    if widest <= NARROW_BYTES_MAX {
        return (faults, 1_000);
    }
    (Faults { capacity_bytes: narrowest.max(64)..=widest, ..faults }, 200 << 10)
}

/// Draws the script of one connection, and appends the plans of its requests to `plans`.
fn draw_script(random: &Random, plans: &mut Vec<Plan>, bytes_max: usize, good: bool) -> Script {
    let first = plans.len();
    for _ in 0..1 + random.below(8) {
        let plan = Plan::drawn(random, bytes_max, good);
        // No request can follow a tunnel. A client that behaves well sends none after it asked for the
        // end of the connection.
        let is_last = plan.tunnel.is_some() || good && (plan.old || plan.close);
        plans.push(plan);
        if is_last {
            break;
        }
    }
    Script::drawn(random, (first..plans.len()).collect(), good)
}

fn draw_behaviour(random: &Random, good: bool) -> Behaviour {
    Behaviour {
        bad_permille: if good { 0 } else { [50, 300][random.below(2)] },
        idle_micros: if good || random.chance(500) {
            600_000_000
        } else {
            [50_000, 500_000, 2_000_000][random.below(3)]
        },
        plain: good && random.chance(300),
        reset_at: None,
        slow_micros: 0,
    }
}
