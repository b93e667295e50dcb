//! The metrics that the control thread knows itself, each one row; and the list of all metrics.
//!
//! A row holds name, labels, help and the source of the numbers. Metrics of the workers are rows
//! of `worker::telemetry`. `prometheus` renders both, `ringway status` shows those that mean
//! trouble, and `docs/metrics.md` is made from them; a test compares.
//!
//! Invariant: every label is bounded. Routes, listeners, upstreams and the names of
//! endpoints stand in the configuration, statuses and reasons overflow into [`OTHER`](super::listeners::OTHER).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::sync::atomic::Ordering::Relaxed;

use engine::health::CheckVerdict;
use engine::names::ResolutionCounts;
use worker::telemetry::endpoint::{ENDPOINT, EndpointCounts};
use worker::telemetry::metric::{Kind, Metric, Row, Scope};
use worker::telemetry::report::{ENDPOINT_GAUGES, GAUGES, LISTENER};
use worker::telemetry::tls::TLS;
use worker::telemetry::{CORE, Totals};

use super::access_log::LogCounts;
use super::merge::Merge;
use super::process::Process;
use crate::dns::NameStatus;
use crate::node::{CoreStatus, Status};
use crate::process_log;

/// The sources of the numbers of a scrape, beside the sums by route.
pub(crate) struct Scrape<'a> {
    /// How the node stands.
    pub(crate) status: &'a Status,
    /// Lines of the access log.
    pub(crate) log: &'a LogCounts,
    /// The process.
    pub(crate) process: Process,
    /// The sums of counts.
    pub(crate) merge: &'a Merge,
}

/// A metric that the control thread knows itself.
pub(crate) struct Own {
    /// How it is shown.
    pub(crate) metric: Metric,
    /// Its numbers, with the values of its labels.
    pub(crate) samples: fn(&Scrape<'_>) -> Vec<Sample>,
}

/// The values of labels, and a number.
pub(crate) type Sample = (Vec<String>, Number);

/// A number as it is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    /// A count.
    Count(u64),
    /// Microseconds, shown as seconds.
    Micros(u64),
    /// A share.
    Ratio(f64),
}

impl From<u64> for Number {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<f64> for Number {
    fn from(ratio: f64) -> Self {
        Self::Ratio(ratio)
    }
}

macro_rules! own {
    ($($name:literal [$($label:literal),*] $help:literal $(trouble $trouble:literal)? => $samples:expr;)+) => {
        /// The metrics that the control thread knows itself.
        pub(crate) static OWN: &[Own] = &[$(Own {
            metric: Metric {
                name: $name,
                scope: Scope::Node,
                labels: &[$($label),*],
                help: $help,
                trouble: own!(@trouble $($trouble)?),
            },
            samples: $samples,
        }),+];
    };
    (@trouble) => { None };
    (@trouble $trouble:literal) => { Some($trouble) };
}

own! {
    "ringway_build_info" ["version"]
        "Always 1; which Ringway this is"
        => |_| vec![(vec![env!("CARGO_PKG_VERSION").to_owned()], 1.into())];
    "process_start_time_seconds" []
        "When the process started, in seconds since 1970"
        => |it| one(it.status.started_unix);
    "ringway_driver_info" ["driver"]
        "Always 1; how the node does its I/O"
        => |it| vec![(vec![it.status.driver.clone()], 1.into())];
    "ringway_config_version" ["core"]
        "Version of the configuration that a core serves by, counted from 1 at each start"
        => |it| by_core(it, |core| core.version);
    "ringway_config_reloads_total" ["result"]
        "Changes of the configuration that were taken (ok), were live already (unchanged), or were refused"
        => |it| {
            let Status { reloads_ok, reloads_unchanged, reloads_refused, .. } = *it.status;
            by([("ok", reloads_ok), ("unchanged", reloads_unchanged), ("refused", reloads_refused)])
        };
    "ringway_config_last_reload_successful" []
        "1 when the last change of the configuration was taken or there was none, 0 when it was refused"
        => |it| one(u64::from(!matches!(it.status.last_reload, Some((_, Err(_))))));
    "ringway_tls_certificate_expiry_seconds" ["certificate"]
        "When a certificate of the configuration expires, in seconds since 1970"
        => |it| {
            let sample = |(name, at): &(String, u64)| (vec![name.clone()], (*at).into());
            it.status.certificates.iter().map(sample).collect()
        };
    "ringway_upstream_reuse_ratio" []
        "Share of sends since the start that took a connection from a pool, 0 to 1"
        => |it| {
            let Totals { endpoint_reused, endpoint_opened, .. } = it.status.totals();
            one(share(endpoint_reused, endpoint_opened))
        };
    "ringway_dns_resolutions_total" ["name", "result"]
        "Questions for the addresses of a name, by their result: ok; no_name: DNS knows no such name; no_address: it has no address for it; failed: no answer came. After all but ok the addresses stay as they were"
        => |it| {
            let of_name = |name: &NameStatus| {
                let ResolutionCounts { ok, no_name, no_address, failed } = name.counts;
                let counts =
                    [("ok", ok), ("no_name", no_name), ("no_address", no_address), ("failed", failed)];
                let name = name.name.clone();
                counts.map(|(result, count)| (vec![name.clone(), result.to_owned()], count.into()))
            };
            it.status.names.iter().flat_map(of_name).collect()
        };
    "ringway_dns_addresses" ["name"]
        "Addresses that a name stands for"
        => |it| by_name(it, |name| Some(name.addresses as u64));
    "ringway_dns_answer_age_seconds" ["name"]
        "Time since the last answer with addresses; absent before the first one"
        => |it| by_name(it, |name| name.answered_ago.map(|it| it.as_secs()));
    "ringway_endpoint_healthy" ["upstream", "endpoint"]
        "1, or 0 while the checks of an endpoint fail or a core has ejected it"
        => endpoints_healthy;
    "ringway_core_connections" ["core"]
        "Client connections open on a core"
        => |it| by_core(it, CoreStatus::connections);
    "ringway_core_busy_ratio" ["core"]
        "Share of its time that a core computed between its last two reports, 0 to 1"
        => |it| by_core(it, |core| core.busy_ratio);
    "ringway_memory_bytes" ["kind"]
        "Buffers in use (buffers_lent), buffers kept for the next use (buffers_idle), and all of the process that is in memory (resident)"
        => |it| {
            let blocks = || it.status.cores.iter().map(|core| &core.block);
            let lent = blocks().map(|it| it.buffer_bytes_lent).sum();
            let idle = blocks().map(|it| it.buffer_bytes_idle).sum();
            let resident = it.process.resident_bytes.map(|bytes| ("resident", bytes));
            by([("buffers_lent", lent), ("buffers_idle", idle)].into_iter().chain(resident))
        };
    "ringway_file_descriptors" ["kind"]
        "Descriptors of the process that are open, and how many may be (max)"
        => |it| {
            let Process { descriptors_open, descriptors_max, .. } = it.process;
            let known = |(kind, count): (&'static str, Option<u64>)| Some((kind, count?));
            by([("open", descriptors_open), ("max", descriptors_max)].into_iter().filter_map(known))
        };
    "ringway_access_log_written_total" []
        "Lines of the access log that were written"
        => |it| one(it.log.written.load(Relaxed));
    "ringway_access_log_dropped_total" []
        "Lines of the access log that were given up, because the writer could not keep up"
        trouble "lines of the access log dropped"
        => |it| one(it.log.dropped.load(Relaxed));
    "ringway_access_log_errors_total" []
        "Writes to the access log that failed; they are tried again"
        trouble "failed writes to the access log"
        => |it| one(it.log.errors.load(Relaxed));
    "ringway_process_log_lost_total" []
        "Lines of the process log that were lost, because nothing read standard error or not fast enough"
        trouble "lines of the process log lost"
        => |_| one(process_log::lost());
}

/// Requests by how they ended.
pub(crate) static REQUESTS: Metric = Metric {
    name: "ringway_requests_total",
    scope: Scope::Node,
    labels: &["listener", "route", "status", "reason"],
    help: "Requests that ended; the reason is empty when an endpoint answered, the route when none took it",
    trouble: None,
};

/// The histogram of times.
pub(crate) static REQUEST_SECONDS: Metric = Metric {
    name: "ringway_request_seconds",
    scope: Scope::Route,
    labels: &[],
    help: "Time from the first byte of a request's head to the last byte of its response, which for a tunnel is the 101",
    trouble: None,
};

/// A number without labels.
fn one(number: impl Into<Number>) -> Vec<Sample> {
    vec![(Vec::new(), number.into())]
}

/// Numbers by the value of the only label.
fn by(numbers: impl IntoIterator<Item = (&'static str, u64)>) -> Vec<Sample> {
    numbers.into_iter().map(|(label, count)| (vec![label.to_owned()], count.into())).collect()
}

/// A number of each core.
fn by_core<T: Into<Number>>(it: &Scrape<'_>, number: fn(&CoreStatus) -> T) -> Vec<Sample> {
    let sample = |core: &CoreStatus| (vec![core.core.to_string()], number(core).into());
    it.status.cores.iter().map(sample).collect()
}

/// A number of each name that has it.
fn by_name(it: &Scrape<'_>, number: fn(&NameStatus) -> Option<u64>) -> Vec<Sample> {
    let sample = |name: &NameStatus| Some((vec![name.name.clone()], number(name)?.into()));
    it.status.names.iter().filter_map(sample).collect()
}

/// Whether the endpoints of the live version are well.
fn endpoints_healthy(it: &Scrape<'_>) -> Vec<Sample> {
    let checks = it.status.checks.iter().filter(|it| it.verdict == CheckVerdict::Failing);
    let mut sick: BTreeSet<(&str, &str)> = checks.map(|it| (&*it.upstream, &*it.address)).collect();
    let blocks = it.status.cores.iter().flat_map(|core| core.block.endpoints.iter());
    let ejected = blocks.filter(|it| it.numbers.gauges.ejected > 0);
    sick.extend(ejected.map(|it| (&*it.upstream, &*it.endpoint)));
    let upstreams = it.status.upstreams.iter();
    let endpoints = upstreams.flat_map(|(name, endpoints)| {
        // An address may be there more than once.
        endpoints.iter().map(move |it| (&**name, &*it.address))
    });
    let endpoints: BTreeSet<(&str, &str)> = endpoints.collect();
    let sample = |endpoint: (&str, &str)| {
        let labels = vec![endpoint.0.to_owned(), endpoint.1.to_owned()];
        (labels, Number::Count(u64::from(!sick.contains(&endpoint))))
    };
    endpoints.into_iter().map(sample).collect()
}

/// `some` of `some` and `others`, 0 to 1; 0 when there are none.
fn share(some: u64, others: u64) -> f64 {
    let all = some + others;
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
    if all == 0 { 0.0 } else { some as f64 / all as f64 }
}

/// What a core reports of the objects of one kind: their numbers, and the labels that name them.
type Objects<'a, C> = Vec<(Vec<&'a str>, C)>;

/// A metric and its samples.
pub(crate) type Family = (&'static Metric, Vec<Sample>);

/// All metrics but those by route and by endpoint, with their samples.
pub(crate) fn families(scrape: &Scrape<'_>) -> Vec<Family> {
    let numbers: Vec<_> = scrape.status.cores.iter().map(|core| core.core.to_string()).collect();
    let cores = || numbers.iter().zip(&scrape.status.cores);
    let totals: Objects<'_, _> =
        cores().map(|(number, core)| (vec![&**number], core.block.totals)).collect();
    let gauges: Objects<'_, _> =
        cores().map(|(number, core)| (vec![&**number], core.block.gauges)).collect();
    let blocks = || scrape.status.cores.iter().map(|core| &core.block);
    let listeners: Objects<'_, _> = blocks()
        .flat_map(|block| &block.listeners)
        .map(|it| (vec![scrape.merge.listeners().of(it.id)], it.gauges))
        .collect();
    let handshakes: Objects<'_, _> = blocks()
        .flat_map(|block| &block.listeners)
        .filter_map(|it| Some((vec![scrape.merge.listeners().of(it.id)], it.tls?)))
        .collect();
    let endpoints: Objects<'_, _> = blocks()
        .flat_map(|block| block.endpoints.iter())
        .map(|it| (vec![&*it.upstream, &*it.endpoint], it.numbers.gauges))
        .collect();
    let tries = scrape.merge.endpoints();
    let tries: Objects<'_, _> =
        tries.map(|it| (vec![&*it.upstream, &*it.endpoint], it.counts)).collect();
    let own = OWN.iter().map(|own| (&own.metric, (own.samples)(scrape)));
    own.chain(CORE.iter().map(|row| (&row.metric, summed(row, &totals))))
        .chain(GAUGES.iter().map(|row| (&row.metric, summed(row, &gauges))))
        .chain(LISTENER.iter().map(|row| (&row.metric, summed(row, &listeners))))
        .chain(TLS.iter().map(|row| (&row.metric, summed(row, &handshakes))))
        .chain(ENDPOINT_GAUGES.iter().map(|row| (&row.metric, summed(row, &endpoints))))
        .chain(by_upstream().map(|row| (&row.metric, summed(row, &tries))))
        .collect()
}

/// The counts of endpoints that are added up by upstream.
fn by_upstream() -> impl Iterator<Item = &'static Row<EndpointCounts>> {
    ENDPOINT.iter().filter(|row| row.metric.scope == Scope::Upstream)
}

/// The counts that have series for each endpoint.
pub(crate) fn by_endpoint() -> impl Iterator<Item = &'static Row<EndpointCounts>> {
    ENDPOINT.iter().filter(|row| row.metric.scope == Scope::Endpoint)
}

/// The samples of a row: its numbers added up over all objects that have the same labels as far as
/// its scope has labels.
fn summed<C: AddAssign + Copy + Default>(
    row: &'static Row<C>,
    objects: &Objects<'_, C>,
) -> Vec<Sample> {
    let depth = row.metric.scope.labels().len();
    let mut sums: BTreeMap<&[&str], C> = BTreeMap::new();
    if depth == 0 {
        // A sum over nothing is 0, and is shown.
        sums.insert(&[], C::default());
    }
    for (labels, numbers) in objects {
        *sums.entry(labels.get(..depth).unwrap_or(labels)).or_default() += *numbers;
    }
    let sample = |(labels, numbers): (&&[&str], &C)| {
        let labels: Vec<_> = labels.iter().map(|&label| label.to_owned()).collect();
        samples(row, &labels, numbers)
    };
    sums.iter().flat_map(sample).collect()
}

/// The numbers of one object by a row.
pub(crate) fn samples<C>(row: &'static Row<C>, labels: &[String], numbers: &C) -> Vec<Sample> {
    let sample = |series: &worker::telemetry::metric::Series<C>| {
        let own = series.labels.iter().map(|&label| label.to_owned());
        let number = (series.value)(numbers);
        let number = match row.metric.is_time() {
            true => Number::Micros(number),
            false => Number::Count(number),
        };
        (labels.iter().cloned().chain(own).collect(), number)
    };
    row.series.iter().map(sample).collect()
}

/// The metrics that mean trouble and are not 0: how `ringway status` calls them, and how many.
pub(crate) fn troubles(scrape: &Scrape<'_>) -> Vec<(&'static str, u64)> {
    let trouble = |(metric, samples): Family| {
        let count = |(_, number): &Sample| match *number {
            Number::Count(count) => count,
            Number::Micros(_) | Number::Ratio(_) => 0,
        };
        let count: u64 = samples.iter().map(count).sum();
        Some((metric.trouble?, count)).filter(|&(_, count)| count > 0)
    };
    families(scrape).into_iter().filter_map(trouble).collect()
}

/// Every metric, in the order in which they are rendered, and its type.
#[cfg(test)]
fn all() -> Vec<(&'static Metric, Kind)> {
    use worker::telemetry::report::ROUTE;

    let own = OWN.iter().map(|it| &it.metric);
    own.chain(CORE.iter().map(|it| &it.metric))
        .chain(GAUGES.iter().map(|it| &it.metric))
        .chain(LISTENER.iter().map(|it| &it.metric))
        .chain(TLS.iter().map(|it| &it.metric))
        .chain(ENDPOINT_GAUGES.iter().map(|it| &it.metric))
        .chain(ENDPOINT.iter().map(|it| &it.metric))
        .chain([&REQUESTS])
        .chain(ROUTE.iter().map(|it| &it.metric))
        .map(|it| (it, it.kind()))
        .chain([(&REQUEST_SECONDS, Kind::Histogram)])
        .collect()
}

/// The word for a type in the exposition format.
pub(crate) const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    }
}

/// The text of `docs/metrics.md`.
#[cfg(test)]
fn reference() -> String {
    use super::listeners::OTHER;
    use super::merge::{ENDED_MAX, ENDPOINTS_MAX, ROUTE_ENDED_MAX, ROUTES_MAX};

    let mut text = format!(
        "# Metrics

<!-- Generated from src/control/export/metrics.rs and src/worker/telemetry/. Do not edit: run `UPDATE=1 cargo test -p control`. -->

`GET /metrics` of the admin API, in the text format of Prometheus (0.0.4). A scrape reads what the
workers have reported, once a second; it touches no data core. Counters start at 0 with the process
and never go backwards, not for routes that are gone either.

Labels are bounded: {ROUTES_MAX} routes have series of their own, with {ROUTE_ENDED_MAX} combinations of listener,
status and reason each and {ENDED_MAX} in all; {ENDPOINTS_MAX} endpoints have series too. Later ones count under `{OTHER}`. An endpoint
that no core has known for 10 minutes loses its series; its counts move to the endpoint `{OTHER}` of
its upstream, so that sums by upstream never shrink. A request that no route
took has the empty route, a response of an endpoint the empty reason; other reasons are those of
[reasons.md](reasons.md). Status 499 means that nobody was left to answer.

| metric | type | labels | says |
|---|---|---|---|
"
    );
    for (Metric { name, scope, labels, help, .. }, kind) in all() {
        let labels = scope.labels().iter().chain(*labels);
        let labels: Vec<_> = labels.map(|label| format!("`{label}`")).collect();
        let (labels, kind) = (labels.join(" "), word(kind));
        text.push_str(&format!("| `{name}` | {kind} | {labels} | {help} |\n"));
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashSet;

    use super::*;

    /// How many there are.
    pub(in crate::export) fn count() -> usize {
        all().len()
    }

    /// The metric of that name, and its type.
    pub(in crate::export) fn named(name: &str) -> Option<(&'static Metric, Kind)> {
        all().into_iter().find(|(it, _)| it.name == name)
    }

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let mut seen = HashSet::new();
        for (Metric { name, labels, help, .. }, kind) in all() {
            assert!(seen.insert(name), "{name} twice");
            assert!(
                name.bytes().all(|it| matches!(it, b'_' | b'a'..=b'z' | b'0'..=b'9')),
                "{name}"
            );
            assert_eq!(kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert!(!labels.contains(&"le"), "{name} has a label of histograms");
            assert!(!help.ends_with('.') && !help.contains(['\n', '\\', '|']), "{help}");
            assert_eq!(named(name).map(|(it, _)| it.help), Some(*help));
        }
    }

    #[test]
    fn the_reference_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == reference(), "run UPDATE=1 cargo test -p control");
    }
}
