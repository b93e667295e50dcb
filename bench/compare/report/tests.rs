//! Tables made from small invented samples.

use super::super::load::Load;
use super::*;

fn sample(round: u32, product: &str, cost_us: u64) -> Sample {
    Sample {
        round,
        scenario: "get-1k-64",
        product: product.into(),
        version: "1".into(),
        load: Load { requests: 1000, seconds: 1.0, p50_us: 500.0, p99_us: 2000.0, errors: 0 },
        cpu_ns: cost_us * 1_000_000,
        resident_bytes: 1024 * 1024,
        load_busy: 0.5,
        stolen: 0.0,
        foreign: 0.0,
        rate: 0.0,
    }
}

/// Five rounds; the machine is twice as slow in the later ones.
fn samples() -> Vec<Sample> {
    (1..=5)
        .flat_map(|round| {
            let slow = if round > 2 { 2 } else { 1 };
            [("ringway", 14), ("nginx", 20), ("haproxy", if round == 1 { 18 } else { 22 })]
                .map(|(product, cost)| sample(round, product, cost * slow))
        })
        .collect()
}

fn report(samples: &[Sample], products: &[&str], baseline: &Baseline) -> Report {
    let products: Vec<String> = products.iter().map(|&name| name.to_owned()).collect();
    Report::of(samples, &["get-1k-64", "never-run"], &products, baseline)
}

fn peers() -> Baseline {
    Baseline::BestOf(vec!["nginx".into(), "haproxy".into()])
}

fn line<'a>(report: &'a Report, product: &str) -> &'a str {
    report.table.lines().find(|line| line.contains(product)).expect("a line")
}

#[test]
fn ratios_are_taken_within_a_round_to_the_better_peer() {
    let report = report(&samples(), &["ringway", "nginx", "haproxy"], &peers());
    // nginx is the better one (40 against 44), though not in round 1.
    assert!(line(&report, "ringway").contains("28.00 [14.00..28.00]  0.70 [0.70..0.70]  cheaper"));
    assert!(line(&report, "nginx").contains("1.00 [1.00..1.00]  peer"), "{}", report.table);
    assert!(line(&report, "haproxy").contains("1.10 [0.90..1.10]  peer"), "{}", report.table);
    assert_eq!(report.differences, ["get-1k-64: ringway"]);
}

#[test]
fn a_scenario_that_was_not_measured_has_no_lines() {
    let report = report(&samples(), &["ringway", "nginx"], &peers());
    assert_eq!(report.table.lines().filter(|line| !line.is_empty()).count(), 3);
}

#[test]
fn a_product_beside_itself_shows_no_difference() {
    let twins: Vec<Sample> = (1..=5)
        .flat_map(|round| {
            [sample(round, "nginx", 20), sample(round, "nginx again", 18 + u64::from(round))]
        })
        .collect();
    let baseline = Baseline::Twin("nginx".into());
    let report = report(&twins, &["nginx", "nginx again"], &baseline);
    assert!(line(&report, "nginx again").contains("no difference"), "{}", report.table);
    assert!(report.differences.is_empty());
}

#[test]
fn without_a_peer_there_is_no_ratio() {
    let report = report(&samples(), &["ringway"], &Baseline::BestOf(Vec::new()));
    assert!(line(&report, "ringway").contains("  -"), "{}", report.table);
    assert!(report.differences.is_empty());
}

#[test]
fn a_busy_load_side_and_a_missed_rate_are_noted() {
    let mut samples = samples();
    for sample in &mut samples {
        sample.load_busy = 0.97;
        sample.rate = 1100.0;
    }
    let report = report(&samples, &["ringway"], &peers());
    assert!(line(&report, "ringway").contains("97 %  load-limited, rate of 1100/s not kept"));
}
