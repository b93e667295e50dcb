//! Cancels or resets every operation of the gateway in turn. Every buffer and stream must come
//! home, and no client may suffer except the one whose connection it was.

use std::rc::Rc;

use worker::net::sim::{Faults, Force, Random, Sim};

use super::client::{Ending, Script};
use super::endpoint::Behaviour;
use super::model::{GotResponse, Plan, ShadowModel, TunnelEnding};
use super::testbed::{FinishedRun, Testbed};

/// Requests of the client with everything in it.
const VARIED: std::ops::Range<usize> = 0..11;
/// Of the one beside it.
const BESIDE: std::ops::Range<usize> = 11..18;
/// Of the one that comes after.
const AFTER: std::ops::Range<usize> = 18..24;

/// Runs it all; also says how many operations there were before the last client came.
fn scenario(seed: u64, faults: Faults, force: Option<(u64, Force)>) -> (FinishedRun, u64) {
    let sim = Sim::new(seed, faults);
    if let Some((operation, force)) = force {
        sim.force(operation, force);
    }
    let mut plans = vec![Plan::get(1_000); AFTER.end];
    plans[1].download = 100_000;
    plans[2] = Plan { method: "POST", upload: Some(100_000), ..Plan::get(10) };
    plans[6] = Plan { method: "PUT", upload: Some(30_000), chunked: true, ..Plan::get(10) };
    plans[8].close = true;
    plans[9] = Plan::tunnel(30_000, 20_000, TunnelEnding::Both);
    plans[10] = Plan::tunnel(10, 100_000, TunnelEnding::Client);
    plans[BESIDE.end - 1] = Plan::tunnel(5_000, 5_000, TunnelEnding::Endpoint);
    plans[AFTER.end - 1] = Plan::tunnel(10, 10, TunnelEnding::Both);
    let model = ShadowModel::new(seed, plans);
    model.ends_are_forged.set(matches!(force, Some((_, Force::Cancel))));
    // The third request of a connection finds it dead, and is sent again.
    let behaviour = Behaviour { reset_at: Some(3), ..Behaviour::PLAIN };
    let testbed = Testbed::new(sim, Rc::clone(&model), &[behaviour, behaviour]);
    let random = Random::new(seed);
    testbed.client(
        vec![
            Script::plain(vec![0, 1, 2]),
            Script { pipeline: 3, ..Script::plain(vec![3, 4, 5]) },
            Script { ending: Ending::Idle, ..Script::plain(vec![6, 7, 8]) },
            Script::plain(vec![9]),
            Script::plain(vec![10]),
        ],
        &random,
    );
    testbed.client(vec![Script::plain(BESIDE.collect())], &random);
    testbed.wait();
    let before = testbed.sim.operations();
    testbed.client(vec![Script::plain(AFTER.collect())], &random);
    (testbed.finish(None, false), before)
}

/// Whether all of `requests` got the right response.
fn served(model: &ShadowModel, requests: std::ops::Range<usize>) -> bool {
    let got = model.got.borrow();
    let right = |id: usize| GotResponse { status: model.plans[id].status, own: false, whole: true };
    requests.into_iter().all(|id| got.get(&id) == Some(&right(id)))
}

#[test]
fn any_operation_may_be_cancelled_or_reset() {
    let mut forced = 0;
    let runs = [(1, Faults::none()), (2, Faults::none()), (3, Faults::benign())];
    for (seed, faults) in runs {
        let (plain, before) = scenario(seed, faults.clone(), None);
        assert_eq!(plain.violations(), None, "seed {seed}");
        assert!(served(&plain.model, 0..AFTER.end), "seed {seed}: {:?}", plain.model.got);
        assert!(plain.totals.retries > 0, "seed {seed}: {}", plain.totals);
        for operation in 0..plain.sim.operations() {
            for force in [Force::Cancel, Force::Reset] {
                let (ended, _) = scenario(seed, faults.clone(), Some((operation, force)));
                let model = &ended.model;
                let at = format!("seed {seed}, {force:?} of operation {operation}");
                assert_eq!(ended.violations(), None, "{at}");
                let suffers = |ids: &std::ops::Range<usize>| !served(model, ids.clone());
                let suffer = [VARIED, BESIDE, AFTER].iter().filter(|ids| suffers(ids)).count();
                assert!(suffer <= 1, "{at}: several clients suffer: {:?}", model.got);
                assert!(
                    operation >= before || !suffers(&AFTER),
                    "{at}: it does not serve on: {:?}",
                    model.got
                );
                forced += 1;
            }
        }
    }
    eprintln!("{forced} operations forced");
    assert!(forced > 200, "{forced}");
}
