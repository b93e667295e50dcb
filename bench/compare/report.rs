//! From samples to the table: medians, ratios to the better peer, verdicts.
//!
//! Invariant: a ratio never compares samples of different rounds, because the machine changes more
//! from minute to minute than products differ.

use super::sample::Sample;
use super::stats::{Spread, Verdict};

/// The product that has the cost 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Baseline {
    /// The one of these with the lowest median cost in the scenario: all installed versions of
    /// nginx and haproxy. Not the cheapest of each round, because the least of several noisy
    /// figures lies below the true cost of each of them.
    BestOf(Vec<String>),
    /// The first of two runs of the same product.
    Twin(String),
}

/// The finished comparison.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) table: String,
    /// Products that were named cheaper or dearer, as "scenario: product".
    pub(super) differences: Vec<String>,
    pub(super) errors: u64,
}

impl Report {
    /// Rows in the order of these scenarios and products.
    pub(super) fn of(
        samples: &[Sample],
        scenarios: &[&'static str],
        products: &[String],
        baseline: &Baseline,
    ) -> Self {
        let mut rows = vec![HEADINGS.map(str::to_owned).to_vec()];
        let mut differences = Vec::new();
        for &scenario in scenarios {
            let reference = baseline.reference(samples, scenario);
            for product in products {
                let own: Vec<&Sample> = samples
                    .iter()
                    .filter(|one| one.scenario == scenario && one.product == *product)
                    .collect();
                let ratios = Spread::of(own.iter().filter_map(|sample| {
                    Some(sample.cpu_us_per_request() / cost_beside(samples, sample, reference?)?)
                }));
                let verdict = ratios.as_ref().map(Verdict::on);
                if baseline.judges(product)
                    && matches!(verdict, Some(Verdict::Cheaper | Verdict::Dearer))
                {
                    differences.push(format!("{scenario}: {product}"));
                }
                let said = match verdict {
                    Some(verdict) if baseline.judges(product) => verdict.to_string(),
                    Some(_) => baseline.role().to_owned(),
                    None => "-".to_owned(),
                };
                rows.extend(row(scenario, product, &own, ratios, said));
            }
        }
        let errors = samples.iter().map(|sample| sample.load.errors).sum();
        Self { table: align(&rows), differences, errors }
    }
}

impl Baseline {
    /// The product that has the cost 1 in `scenario`.
    fn reference<'a>(&'a self, samples: &[Sample], scenario: &str) -> Option<&'a str> {
        let median = |product: &'a String| -> Option<(f64, &'a str)> {
            let own = samples.iter().filter(|one| one.scenario == scenario);
            let costs = own.filter(|one| one.product == *product).map(Sample::cpu_us_per_request);
            Some((Spread::of(costs)?.median, product.as_str()))
        };
        match self {
            Self::BestOf(peers) => {
                let best = peers.iter().filter_map(median).min_by(|a, b| a.0.total_cmp(&b.0));
                best.map(|(_, product)| product)
            }
            Self::Twin(first) => Some(first),
        }
    }

    /// A peer is part of the yardstick: its ratio is shown, but says nothing about a winner.
    fn judges(&self, product: &String) -> bool {
        match self {
            Self::BestOf(peers) => !peers.contains(product),
            Self::Twin(first) => first != product,
        }
    }

    fn role(&self) -> &'static str {
        match self {
            Self::BestOf(_) => "peer",
            Self::Twin(_) => "baseline",
        }
    }
}

/// Cost per request of `product` in the round and scenario of `sample`.
fn cost_beside(samples: &[Sample], sample: &Sample, product: &str) -> Option<f64> {
    samples
        .iter()
        .find(|other| {
            other.round == sample.round
                && other.scenario == sample.scenario
                && other.product == product
        })
        .map(Sample::cpu_us_per_request)
}

/// `None` when the product was not measured in this scenario.
fn row(
    scenario: &str,
    product: &str,
    own: &[&Sample],
    ratios: Option<Spread>,
    verdict: String,
) -> Option<Vec<String>> {
    let median = |field: fn(&Sample) -> f64| {
        Spread::of(own.iter().map(|sample| field(sample))).map_or(f64::NAN, |one| one.median)
    };
    let cost = Spread::of(own.iter().map(|sample| sample.cpu_us_per_request()))?;
    let errors: u64 = own.iter().map(|sample| sample.load.errors).sum();
    let load_busy = median(|sample| sample.load_busy);
    let rate = median(|sample| sample.rate);
    let kept = median(Sample::requests_per_second);
    let mut notes = Vec::new();
    if load_busy > LOAD_BUSY_MAX {
        notes.push("load-limited".to_owned());
    }
    if rate > 0.0 && kept < rate * RATE_KEPT_MIN {
        notes.push(format!("rate of {rate:.0}/s not kept"));
    }
    let stolen = median(|sample| sample.stolen);
    if stolen > DISTURBED_MAX {
        notes.push(format!("{:.0} % stolen by the host", stolen * 100.0));
    }
    let foreign = median(|sample| sample.foreign);
    if foreign > DISTURBED_MAX {
        notes.push(format!("{:.0} % taken by other processes", foreign * 100.0));
    }
    Some(vec![
        scenario.to_owned(),
        product.to_owned(),
        cost.to_string(),
        ratios.map_or("-".to_owned(), |ratios| ratios.to_string()),
        verdict,
        format!("{kept:.0}"),
        milliseconds(median(|sample| sample.load.p50_us)),
        milliseconds(median(|sample| sample.load.p99_us)),
        errors.to_string(),
        format!("{:.1} MiB", median(|sample| sample.resident_bytes as f64) / 1024.0 / 1024.0),
        format!("{:.0} %", load_busy * 100.0),
        notes.join(", "),
    ])
}

fn milliseconds(us: f64) -> String {
    format!("{:.2} ms", us / 1000.0)
}

/// Pads every column to its widest cell; words to the left, numbers to the right. A blank line
/// stands between scenarios.
fn align(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let mut text = String::new();
    let mut group = "";
    for row in rows {
        let scenario = row.first().map_or("", String::as_str);
        if scenario != group && !text.is_empty() {
            text.push('\n');
        }
        group = scenario;
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column).unwrap_or(0);
            if WORDS.contains(&column) {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

const HEADINGS: [&str; 12] = [
    "scenario",
    "product",
    "CPU us/request",
    "ratio",
    "verdict",
    "requests/s",
    "p50",
    "p99",
    "errors",
    "RSS",
    "load busy",
    "note",
];
/// Columns that hold words: scenario, product, verdict, note.
const WORDS: [usize; 4] = [0, 1, 4, 11];
/// Above this the load side sets the pace: requests/s and latency are its own, CPU per request is
/// not.
const LOAD_BUSY_MAX: f64 = 0.95;
/// A paced row below this part of its rate was not measured at that rate.
const RATE_KEPT_MIN: f64 = 0.98;
/// Time of the gateway's CPU that others took does not count as the product's, but cools its
/// caches.
const DISTURBED_MAX: f64 = 0.1;

#[cfg(test)]
mod tests;
