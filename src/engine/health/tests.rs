//! Ejections by example, and compared with the rules over random sequences.

use proptest::prelude::*;

use super::*;
use crate::config::{HealthCheck, Probe};
use crate::keys::{Fraction, Limit};
use crate::pattern::Always;
use crate::time::{Instant, Micros};

const RULES: EjectRules = EjectRules {
    consecutive_failures: 3,
    lasts: Micros::secs(10),
    share_max: Fraction::percent(50),
    panic: Limit::at(Fraction::percent(50)),
};

const fn second(n: u64) -> Instant {
    Instant(n * 1_000_000)
}

/// A whole try.
fn run(it: &mut Ejection, result: TryResult, now: Instant) -> Option<EjectionChange> {
    let ticket = it.begin();
    it.end(ticket, result, &RULES, || true, now)
}

fn ejected(now: Instant) -> Ejection {
    let mut it = Ejection::default();
    for _ in 0..2 {
        assert_eq!(run(&mut it, TryResult::Bad, now), None);
    }
    assert_eq!(run(&mut it, TryResult::Bad, now), Some(EjectionChange::Ejected));
    it
}

#[test]
fn only_failures_in_a_row_eject() {
    let mut it = Ejection::default();
    for _ in 0..5 {
        run(&mut it, TryResult::Bad, second(0));
        run(&mut it, TryResult::Neutral, second(0));
        run(&mut it, TryResult::Bad, second(0));
        run(&mut it, TryResult::Good, second(0));
    }
    assert!(it.admits() && !it.is_out());
}

#[test]
fn one_request_tries_an_endpoint_that_was_out() {
    let mut it = ejected(second(0));
    assert!(!it.tick(second(9)) && !it.admits());
    assert!(it.tick(second(10)) && it.admits() && it.is_out());
    let trial = it.begin();
    assert!(trial.is_trial && !it.admits());
    let change = it.end(trial, TryResult::Good, &RULES, || true, second(11));
    assert_eq!(change, Some(EjectionChange::Returned));
    assert!(it.admits() && !it.is_out());
    // A trial that was given up says nothing: another one may follow.
    let mut it = ejected(second(0));
    it.tick(second(10));
    assert_eq!(run(&mut it, TryResult::Neutral, second(11)), Some(EjectionChange::Due));
    assert!(it.begin().is_trial);
}

#[test]
fn an_endpoint_that_fails_again_is_out_for_longer_up_to_a_bound() {
    let mut it = ejected(second(0));
    let mut now = 0;
    for lasts in [10, 20, 40, 80, 80, 80] {
        assert!(!it.tick(second(now + lasts - 1)), "{lasts}");
        now += lasts;
        assert!(it.tick(second(now)), "{lasts}");
        assert_eq!(run(&mut it, TryResult::Bad, second(now)), Some(EjectionChange::Ejected));
    }
    // It returns and fails soon after: no shorter.
    assert!(it.tick(second(now + 80)));
    assert_eq!(run(&mut it, TryResult::Good, second(now + 80)), Some(EjectionChange::Returned));
    (0..3).for_each(|_| _ = run(&mut it, TryResult::Bad, second(now + 81)));
    assert!(it.is_out() && !it.tick(second(now + 160)) && it.tick(second(now + 161)));
    // It was well for a while: it begins anew.
    assert_eq!(run(&mut it, TryResult::Good, second(now + 161)), Some(EjectionChange::Returned));
    (0..3).for_each(|_| _ = run(&mut it, TryResult::Bad, second(now + 300)));
    assert!(it.is_out() && it.tick(second(now + 310)));
}

#[test]
fn a_try_that_began_before_the_ejection_decides_nothing() {
    let mut it = Ejection::default();
    let early = [it.begin(), it.begin()];
    (0..3).for_each(|_| _ = run(&mut it, TryResult::Bad, second(0)));
    assert_eq!(it.end(early[0], TryResult::Good, &RULES, || true, second(1)), None);
    assert!(it.is_out());
    it.tick(second(10));
    let trial = it.begin();
    assert_eq!(it.end(early[1], TryResult::Bad, &RULES, || true, second(11)), None);
    assert_eq!(
        it.end(trial, TryResult::Good, &RULES, || true, second(11)),
        Some(EjectionChange::Returned)
    );
}

#[test]
fn an_endpoint_that_is_used_in_need_returns_when_it_answers() {
    let mut it = ejected(second(0));
    assert_eq!(run(&mut it, TryResult::Bad, second(1)), None);
    assert_eq!(run(&mut it, TryResult::Good, second(2)), Some(EjectionChange::Returned));
    // The answer to a request beside the trial decides too, and then the trial is one of many.
    let mut it = ejected(second(0));
    it.tick(second(10));
    let (trial, beside) = (it.begin(), it.begin());
    assert_eq!(
        it.end(beside, TryResult::Good, &RULES, || true, second(11)),
        Some(EjectionChange::Returned)
    );
    assert_eq!(it.end(trial, TryResult::Bad, &RULES, || true, second(11)), None);
    assert!(!it.is_out());
}

#[test]
fn a_share_of_the_endpoints_stays_in() {
    let room = |endpoints, ejected| Share { endpoints, ejected }.has_room(&RULES);
    assert!(!room(1, 0) && room(2, 0) && !room(2, 1) && room(3, 0) && !room(3, 1) && room(4, 1));
    let all = EjectRules { share_max: Fraction::percent(100), ..RULES };
    assert!(!Share { endpoints: 1, ejected: 0 }.has_room(&all));
    assert!(Share { endpoints: 2, ejected: 1 }.has_room(&all));
    let panics = |endpoints, ejected| Share { endpoints, ejected }.is_panic(&RULES);
    assert!(!panics(2, 1) && panics(2, 2) && !panics(3, 1) && panics(3, 2) && !panics(0, 0));
    let never = EjectRules { panic: Limit::OFF, ..all };
    assert!(!Share { endpoints: 2, ejected: 2 }.is_panic(&never));
}

const CHECK: HealthCheck = HealthCheck {
    probe: Probe::Tcp(Always),
    host: None,
    statuses: Vec::new(),
    body: None,
    interval: Micros::secs(2),
    timeout: Micros::secs(1),
    healthy_after: 2,
    unhealthy_after: 3,
};

#[test]
fn the_first_check_decides_and_then_so_many_in_a_row() {
    for first in [true, false] {
        let mut it = CheckHistory::default();
        assert!(it.take(first, &CHECK));
        let mut verdicts = String::new();
        for passed in "ffpffpffffpfppfff".chars().map(|it| it == 'p') {
            it.take(passed, &CHECK);
            verdicts.push(if it.verdict() == CheckVerdict::Passing { 'P' } else { 'F' });
        }
        let expected = if first { "PPPPPPPPFFFFFPPPF" } else { "FFFFFFFFFFFFFPPPF" };
        assert_eq!(verdicts, expected);
    }
}

#[test]
fn an_endpoint_whose_checks_fail_is_checked_twice_as_often() {
    let mut it = CheckHistory::default();
    let seconds = |it: &CheckHistory, random| it.pause(&CHECK, random).as_secs_f64();
    assert_eq!(seconds(&it, 0), 2.0);
    it.take(false, &CHECK);
    assert_eq!(seconds(&it, 0), 1.0);
    for random in [1, 77, u64::MAX] {
        assert!((0.9..=1.0).contains(&seconds(&it, random)), "{random}");
    }
}

/// A step of a random run, at one of the endpoints.
#[derive(Clone, Debug)]
enum Step {
    Begin(usize),
    End(usize, TryResult),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let result = prop_oneof![
        Just(TryResult::Good),
        Just(TryResult::Bad),
        Just(TryResult::Bad),
        Just(TryResult::Neutral)
    ];
    prop_oneof![
        (0..5_usize).prop_map(Step::Begin),
        (0..40_usize, result).prop_map(|(at, result)| Step::End(at, result)),
        (0..8_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The endpoints of an upstream under any order of events, against the promises of the reference.
    #[test]
    fn the_rules_hold_under_any_sequence(
        count in 1..5_usize,
        share in 0..=100_u32,
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let rules = EjectRules { share_max: Fraction::percent(share), ..RULES };
        let mut all = vec![Ejection::default(); count];
        let mut out_since: Vec<Option<u64>> = vec![None; count];
        // Tries that run: endpoint, ticket.
        let mut running: Vec<(usize, Ticket)> = Vec::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Begin(at) if at < count => {
                    let (admitted, was_out) = (all[at].admits(), all[at].is_out());
                    let ticket = all[at].begin();
                    prop_assert_eq!(ticket.is_trial, admitted && was_out);
                    running.push((at, ticket));
                }
                Step::End(which, result) if which < running.len() => {
                    let (at, ticket) = running.swap_remove(which);
                    let ejected = all.iter().filter(|it| it.is_out()).count();
                    let has_room = Share { endpoints: count, ejected }.has_room(&rules);
                    let was_out = all[at].is_out();
                    match all[at].end(ticket, result, &rules, || has_room, second(now)) {
                        Some(EjectionChange::Ejected) => {
                            prop_assert_eq!(result, TryResult::Bad);
                            prop_assert!(was_out || has_room);
                            out_since[at] = Some(now);
                        }
                        Some(EjectionChange::Returned) => {
                            prop_assert!(was_out && result == TryResult::Good);
                            out_since[at] = None;
                        }
                        Some(EjectionChange::Due) => prop_assert!(ticket.is_trial),
                        None => {}
                    }
                }
                Step::Wait(seconds) => {
                    now += seconds;
                    for (it, since) in all.iter_mut().zip(&out_since) {
                        if it.tick(second(now)) {
                            let lasted = now - since.unwrap();
                            prop_assert!((10..=80 + 8).contains(&lasted), "{lasted}");
                        }
                    }
                }
                Step::Begin(_) | Step::End(..) => {}
            }
            let ejected = all.iter().filter(|it| it.is_out()).count();
            prop_assert!(ejected as u64 <= rules.share_max.of(count as u64));
            prop_assert!(count > 1 || ejected == 0);
            for (it, since) in all.iter().zip(&out_since) {
                prop_assert_eq!(it.is_out(), since.is_some());
            }
        }
    }
}
