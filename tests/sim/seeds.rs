//! Seeded runs against the shadow model.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use worker::telemetry::Totals;

use super::scenario::run_seed;
use super::testbed::FinishedRun;

/// Seeds of one run of the tests; CI sets more now and then.
const SEEDS: u64 = 1_000;

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is not a number")))
}

/// The results of some seeds.
#[derive(Default)]
struct Sum {
    failures: Vec<String>,
    totals: Totals,
    /// Runs in which every request had to be answered as it should.
    strict: u64,
}

/// Failed seeds after which a thread gives up: they will have one cause.
const FAILURES_MAX: usize = 5;

/// Runs the scenario of a seed; also returns whether it was strict.
type RunSeed = fn(u64, bool) -> (FinishedRun, bool);

impl Sum {
    fn add(&mut self, seed: u64, test: &str, run_seed: RunSeed) {
        let found = catch_unwind(AssertUnwindSafe(|| {
            let (ended, strict) = run_seed(seed, false);
            self.totals += ended.totals;
            self.strict += u64::from(strict);
            ended.violations()
        }));
        let found = found.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map_or("a panic", String::as_str);
            Some(text.to_owned())
        });
        if let Some(violations) = found {
            self.failures.push(format!(
                "seed {seed} (replay: SEED={seed} cargo test --test sim {test} -- --nocapture):\n  \
                 {violations}"
            ));
        }
    }
}

/// Runs the seeds that the environment asks for. `test` is the name of the test. Returns the totals
/// of many seeds; of a few, `None`.
pub(crate) fn run_seeds(test: &str, run_seed: RunSeed) -> Option<(Totals, u64)> {
    if let Some(seed) = number("SEED") {
        let (ended, _) = run_seed(seed, true);
        eprintln!("{}seed {seed}: {}", ended.sim.history(), ended.totals);
        if let Some(violations) = ended.violations() {
            panic!("seed {seed}:\n  {violations}");
        }
        return None;
    }
    let first = number("FIRST").unwrap_or(0);
    let end = first + number("SEEDS").unwrap_or(SEEDS);
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get) as u64;
    let run = |thread| {
        let mut sum = Sum::default();
        let mut seed = first + thread;
        while seed < end && sum.failures.len() < FAILURES_MAX {
            sum.add(seed, test, run_seed);
            seed += threads;
        }
        sum
    };
    let sums: Vec<Sum> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut sum = Sum::default();
    for part in sums {
        sum.failures.extend(part.failures);
        sum.totals += part.totals;
        sum.strict += part.strict;
    }
    let Sum { failures, totals, strict } = sum;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    eprintln!("{} seeds, {strict} of them strict: {totals}", end - first);
    (end - first >= SEEDS).then_some((totals, strict))
}

#[test]
fn no_seed_breaks_the_model() {
    // If the seeds no longer drew these cases, the test would pass for ever.
    if let Some((totals, strict)) = run_seeds("no_seed_breaks", run_seed) {
        let Totals { replies, broken, retries, endpoint_reused, .. } = totals;
        for (what, count) in [
            ("strict runs", strict),
            ("answers of the gateway", replies),
            ("broken exchanges", broken),
            ("retries", retries),
            ("reused connections", endpoint_reused),
        ] {
            assert!(count > 50, "{what}: {count}");
        }
    }
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    for seed in 0..20 {
        let run = || {
            let (ended, _) = run_seed(seed, false);
            (ended.sim.trace_hash(), ended.sim.operations(), ended.totals)
        };
        assert_eq!(run(), run(), "seed {seed}");
    }
}
