//! Errors that seeds have found, each reduced to a test.

use worker::net::sim::{Faults, Force, Random, Sim};

use super::client::{Ending, Script};
use super::endpoint::Behaviour;
use super::model::{Plan, ShadowModel};
use super::testbed::{FinishedRun, Testbed};

fn run(
    capacity: usize,
    plans: Vec<Plan>,
    behaviour: Behaviour,
    ending: Ending,
    force: Option<u64>,
) -> FinishedRun {
    let faults = Faults { capacity_bytes: capacity..=capacity, ..Faults::none() };
    let sim = Sim::new(1, faults);
    if let Some(operation) = force {
        sim.force(operation, Force::Reset);
    }
    let requests = (0..plans.len()).collect();
    let testbed = Testbed::new(sim, ShadowModel::new(1, plans), &[behaviour; 2]);
    let script = Script { ending, ..Script::plain(requests) };
    testbed.client(vec![script], &Random::new(1));
    testbed.finish(None, false)
}

/// A write that failed half-way on a pooled connection had taken some of the body along; the
/// request was sent again, with an empty body under the same length.
#[test]
fn a_request_is_not_sent_again_without_the_body_that_went_out_with_its_head() {
    let put = Plan { method: "PUT", upload: Some(300), ..Plan::get(10) };
    let delete = Plan { method: "DELETE", chunked: true, ..put.clone() };
    let plans = vec![Plan::get(10), Plan::get(10), put.clone(), put, delete.clone(), delete];
    let again = |force| run(64, plans.clone(), Behaviour::PLAIN, Ending::Close, force);
    let plain = again(None);
    assert_eq!(plain.violations(), None);
    for operation in 0..plain.sim.operations() {
        assert_eq!(again(Some(operation)).violations(), None, "reset of operation {operation}");
    }
}

/// A client that had ended its direction was probed and did not take the probe whole. It was taken
/// to be gone, once with a 502 behind the half of the probe, later with a reset. It gets the rest of
/// the probe, and its response.
#[test]
fn a_client_that_takes_a_probe_in_pieces_gets_its_response() {
    let plans = vec![Plan { method: "PUT", upload: Some(300), ..Plan::get(10) }];
    let slow = Behaviour { slow_micros: 1_000_000, ..Behaviour::PLAIN };
    let ended = run(16, plans, slow, Ending::HalfClose, None);
    assert_eq!(ended.violations(), None);
    let totals = &ended.totals;
    assert_eq!((totals.broken, totals.replies, totals.requests), (0, 0, 1), "{totals}");
}
