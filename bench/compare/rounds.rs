//! The order of measurements, and one measurement.
//!
//! Invariant: while something is measured, one product runs on the gateway's CPU and nothing else
//! of ours; generator, endpoint and this process share the load CPU.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::load::Generators;
use super::product::{Kind, Product};
use super::sample::{RawFile, Sample};
use super::scenario::{Pace, Scenario};
use crate::child::Interrupt;
use crate::proc::CpuTicks;
use crate::{Error, proc};

/// Everything that a measurement needs.
pub(super) struct Bench {
    pub(super) generators: Generators,
    pub(super) endpoint: SocketAddr,
    pub(super) descriptors: u64,
    pub(super) folder: TempDir,
    pub(super) seconds: u32,
    pub(super) interrupt: Interrupt,
}

impl Bench {
    /// All rounds of all scenarios; every sample is kept in `raw` as soon as it is there.
    pub(super) fn rounds(
        &self,
        rounds: u32,
        scenarios: &[&'static Scenario],
        products: &[Product],
        raw: &mut RawFile,
    ) -> Result<Vec<Sample>, Error> {
        let peak = if scenarios.iter().any(|scenario| scenario.is_paced()) {
            self.peak_of_peers(products)?
        } else {
            0.0
        };
        let mut samples = Vec::new();
        for round in 1..=rounds {
            for (index, scenario) in scenarios.iter().enumerate() {
                let rate = match scenario.pace {
                    Pace::Full(_) => 0.0,
                    Pace::Percent(percent) => peak * f64::from(percent) / 100.0,
                };
                // Nobody is always first after the one that heats the caches.
                let first = (round as usize + index) % products.len();
                for product in products.iter().cycle().skip(first).take(products.len()) {
                    if product.kind == Kind::Floor && !scenario.suits_floor() {
                        continue;
                    }
                    progress(&format!(
                        "round {round} of {rounds}: {}, {}",
                        scenario.name, product.label
                    ));
                    let sample = self.measure(round, scenario, product, rate)?;
                    raw.add(&sample)?;
                    samples.push(sample);
                }
            }
        }
        progress("");
        Ok(samples)
    }

    /// The throughput that the fixed rates are fractions of. It is that of the better peer, not of
    /// Ringway, so that a faster gateway does not raise its own bar. Without a peer, it is the best
    /// of all products.
    fn peak_of_peers(&self, products: &[Product]) -> Result<f64, Error> {
        let has_peer = products.iter().any(|product| product.kind.is_peer());
        let mut peak = 0.0_f64;
        for product in products.iter().filter(|product| product.kind.is_peer() || !has_peer) {
            progress(&format!("peak of {}", product.label));
            let sample = self.measure(0, Scenario::peak(), product, 0.0)?;
            peak = peak.max(sample.requests_per_second());
        }
        Ok(peak)
    }

    /// Waits until the product has cleared away the connections that the warm-up dropped: with
    /// thousands of them that takes longer than the warm-up itself.
    fn settle(&self, processes: &[u32]) -> Result<(), Error> {
        let end = Instant::now() + SETTLE_LIMIT;
        let mut before = proc::cpu_ns(processes);
        loop {
            self.interrupt.sleep(SETTLE_STEP)?;
            let now = proc::cpu_ns(processes);
            let used = Duration::from_nanos(now.saturating_sub(before));
            if used < SETTLE_STEP / 20 || Instant::now() > end {
                return Ok(());
            }
            before = now;
        }
    }

    fn measure(
        &self,
        round: u32,
        scenario: &Scenario,
        product: &Product,
        rate: f64,
    ) -> Result<Sample, Error> {
        let folder = self.folder.path();
        let Self { interrupt, endpoint, descriptors, generators, .. } = self;
        let mut running = product.start(GATEWAY_CPU, *endpoint, *descriptors, folder, interrupt)?;
        let to = running.address;
        generators.warm_up(scenario, to, rate, interrupt)?;
        let processes = proc::family(running.pid());
        self.settle(&processes)?;
        let (load_before, gateway_before) = (CpuTicks::now(LOAD_CPU)?, CpuTicks::now(GATEWAY_CPU)?);
        let cpu_before = proc::cpu_ns(&processes);
        let start = Instant::now();
        let seconds = scenario.seconds(self.seconds);
        let load = generators.run(scenario, to, seconds, rate, interrupt)?;
        let cpu_ns = proc::cpu_ns(&processes).saturating_sub(cpu_before);
        let load_busy = CpuTicks::now(LOAD_CPU)?.busy_since(load_before);
        let gateway_now = CpuTicks::now(GATEWAY_CPU)?;
        let stolen = gateway_now.stolen_since(gateway_before);
        let own = cpu_ns as f64 / 1e9 / start.elapsed().as_secs_f64();
        let foreign = (gateway_now.busy_since(gateway_before) - stolen - own).max(0.0);
        if load.requests == 0 || running.has_ended() {
            let what = if running.has_ended() {
                "ended during"
            } else {
                "answered nothing (is the machine busy?) in"
            };
            return Err(Error::new(format!(
                "{} {what} {} ({} errors); it says: {}",
                product.label,
                scenario.name,
                load.errors,
                running.last_words()
            )));
        }
        Ok(Sample {
            round,
            scenario: scenario.name,
            product: product.label.clone(),
            version: product.version.clone(),
            load,
            cpu_ns,
            resident_bytes: proc::resident_bytes(&processes),
            load_busy,
            stolen,
            foreign,
            rate,
        })
    }
}

/// Reports the progress, if a person watches.
fn progress(text: &str) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        // Back to the start of the line and clear it; a terminal that fails is no reason to stop.
        let _ = write!(terminal, "\r\x1b[K{text}");
        let _ = terminal.flush();
    }
}

/// Where every product runs.
pub(super) const GATEWAY_CPU: usize = 0;
/// Where everything else runs.
pub(super) const LOAD_CPU: usize = 1;
/// A product that rests uses less than a twentieth of a step.
const SETTLE_STEP: Duration = Duration::from_millis(100);
/// One that never rests is measured all the same.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);
