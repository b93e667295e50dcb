//! `ringway bench compare`: the cost of a request in Ringway, nginx, haproxy and the floor.
//!
//! Every product is started afresh for every measurement, alone on the gateway's CPU, with the same
//! work to do; load generator and endpoint share the load CPU. Rounds are interleaved: all products
//! run each scenario within seconds of each other, in an order that rotates, and only samples of
//! one round are set against each other. This file is the command; the order and the measuring is
//! `rounds`, finding and starting `product`, the loads `load`, the words at the end `report`.

mod load;
mod product;
mod report;
mod rounds;
mod sample;
mod scenario;
mod settings;
mod stats;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::builder::PossibleValuesParser;
use tempfile::TempDir;

use self::load::Generators;
use self::product::{Driver, Kind, Places, Product};
use self::report::{Baseline, Report};
use self::rounds::{Bench, GATEWAY_CPU, LOAD_CPU};
use self::sample::RawFile;
use self::scenario::Scenario;
use crate::child::Interrupt;
use crate::endpoint::{Endpoint, EndpointOptions, Mode};
use crate::{Error, limits, proc};

/// The products to compare, the number of rounds and their length.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Interleaved rounds; a winner is named from 5 on
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Scenarios to run [default: all up to rate-50]
    #[arg(long = "scenario", value_name = "NAME", num_args = 1..,
          value_parser = PossibleValuesParser::new(scenario::NAMES))]
    scenarios: Vec<String>,
    /// Products to run [default: all]
    #[arg(long = "product", value_name = "NAME", num_args = 1.., value_enum)]
    products: Vec<Kind>,
    /// Which driver Ringway runs with
    #[arg(long, value_enum, default_value_t = Drivers::IoUring)]
    driver: Drivers,
    /// Measure one product against itself: the answer must be "no difference"
    #[arg(long, value_name = "PRODUCT", value_enum, conflicts_with = "products")]
    aa: Option<Kind>,
    /// Where the raw rows go [default: target/bench/compare-TIME.csv]
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    #[command(flatten)]
    places: Places,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Drivers {
    #[value(name = "io_uring")]
    IoUring,
    Epoll,
    Both,
}

/// Measures and prints; false when a request failed, a wanted product is missing, or a product
/// differs from itself.
pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Result<bool, Error> {
    let descriptors = limits::raise_descriptors()?;
    need_cpus()?;
    let (products, missing) = find_products(options);
    for line in &missing {
        writeln!(out, "left out: {line}").map_err(Error::print)?;
    }
    if products.is_empty() {
        return Err(Error::new("there is nothing to measure"));
    }
    let scenarios = Scenario::named(&options.scenarios);
    let folder = TempDir::with_prefix("ringway-bench-").map_err(Error::doing("make a folder"))?;
    let interrupt = Interrupt::install()?;
    let generators = Generators::find(LOAD_CPU, &with_peak(&scenarios), folder.path())?;
    // The work of this process between measurements stays away from the gateway's caches.
    limits::pin(LOAD_CPU)?;
    let endpoint = Endpoint::spawn(EndpointOptions {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        name: "bench".into(),
        mode: Mode::Sizes,
        cpu: Some(LOAD_CPU),
    })
    .map_err(Error::doing("start the endpoint"))?;
    let csv = options.csv.clone().unwrap_or_else(default_csv);
    let mut raw = RawFile::create(&csv)?;
    let baseline = baseline(options, &products);
    let bench = Bench {
        generators,
        endpoint: endpoint.address(),
        descriptors,
        folder,
        seconds: options.seconds,
        interrupt,
    };
    write_head(out, options, &bench, &products, &baseline).map_err(Error::print)?;
    let kept =
        |error: Error| Error::new(format!("{error}; the rows so far are in {}", csv.display()));
    let samples = bench.rounds(options.rounds, &scenarios, &products, &mut raw).map_err(kept)?;
    let names: Vec<_> = scenarios.iter().map(|scenario| scenario.name).collect();
    let labels: Vec<_> = products.iter().map(|product| product.label.clone()).collect();
    let report = Report::of(&samples, &names, &labels, &baseline);
    write!(out, "\n{}\nraw rows  {}\n", report.table, csv.display()).map_err(Error::print)?;
    let differs_from_itself = options.aa.is_some() && !report.differences.is_empty();
    if differs_from_itself {
        let where_ = report.differences.join(", ");
        writeln!(out, "a product differs from itself ({where_}): this machine is too noisy now")
            .map_err(Error::print)?;
    }
    // A product that is not installed is a failure only if the options name it.
    let all_there = missing.is_empty() || (options.products.is_empty() && options.aa.is_none());
    Ok(report.errors == 0 && all_there && !differs_from_itself)
}

fn need_cpus() -> Result<(), Error> {
    match [GATEWAY_CPU, LOAD_CPU].into_iter().find(|&cpu| !limits::may_run_on(cpu)) {
        None => Ok(()),
        Some(cpu) => Err(Error::new(format!(
            "CPU {cpu} is not ours to use: the gateway runs on CPU {GATEWAY_CPU}, \
             the load on CPU {LOAD_CPU}, so two CPUs are needed"
        ))),
    }
}

/// The products that are there, and a line for each that is not.
fn find_products(options: &Options) -> (Vec<Product>, Vec<String>) {
    let drivers: &[Driver] = match options.driver {
        Drivers::IoUring => &[Driver::IoUring],
        Drivers::Epoll => &[Driver::Epoll],
        Drivers::Both => &[Driver::IoUring, Driver::Epoll],
    };
    let kinds = match options.aa {
        Some(kind) => vec![kind],
        None if options.products.is_empty() => {
            vec![Kind::Ringway, Kind::Nginx, Kind::Haproxy, Kind::Floor]
        }
        None => [Kind::Ringway, Kind::Nginx, Kind::Haproxy, Kind::Floor]
            .into_iter()
            .filter(|kind| options.products.contains(kind))
            .collect(),
    };
    let mut products: Vec<Product> = Vec::new();
    let mut missing = Vec::new();
    for kind in kinds {
        match Product::find(kind, &options.places, drivers) {
            Ok(found) => products.extend(found),
            Err(error) => missing.push(error.to_string()),
        }
    }
    if options.aa.is_some() {
        products.truncate(1);
        let twin = products.first().cloned();
        products.extend(twin.map(|one| Product { label: format!("{} again", one.label), ..one }));
    }
    (products, missing)
}

fn baseline(options: &Options, products: &[Product]) -> Baseline {
    match products.first() {
        Some(first) if options.aa.is_some() => Baseline::Twin(first.label.clone()),
        _ => Baseline::BestOf(
            products
                .iter()
                .filter(|product| product.kind.is_peer())
                .map(|product| product.label.clone())
                .collect(),
        ),
    }
}

/// The scenarios, and the one that is run to find the rates.
fn with_peak(scenarios: &[&'static Scenario]) -> Vec<&'static Scenario> {
    scenarios.iter().copied().chain([Scenario::peak()]).collect()
}

fn write_head(
    out: &mut dyn Write,
    options: &Options,
    bench: &Bench,
    products: &[Product],
    baseline: &Baseline,
) -> std::io::Result<()> {
    writeln!(out, "machine   {}", proc::machine())?;
    for product in products {
        let Product { label, version, binary, .. } = product;
        writeln!(out, "gateway   {label} on CPU {GATEWAY_CPU}: {version}, {}", binary.display())?;
    }
    let versions = bench.generators.versions();
    writeln!(out, "load      {versions} and the bundled endpoint on CPU {LOAD_CPU}")?;
    let Options { rounds, seconds, .. } = options;
    writeln!(out, "rounds    {rounds} of {seconds} s; median [lowest..highest]")?;
    let than = match baseline {
        Baseline::BestOf(peers) if peers.is_empty() => return Ok(()),
        Baseline::BestOf(peers) => format!("the cheapest in each scenario of {}", peers.join(", ")),
        Baseline::Twin(first) => first.clone(),
    };
    writeln!(out, "ratio     CPU per request over that of {than} in the same round")
}

fn default_csv() -> PathBuf {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    Path::new("target/bench").join(format!("compare-{time}.csv"))
}
