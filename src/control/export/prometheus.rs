//! Metrics in the text format of Prometheus, version 0.0.4.
//!
//! Rendered in pieces of [`PIECE_BYTES`], one after the other as the client takes them: ten
//! thousand routes are some 40 MB of text, and neither that much memory nor that long a turn of the
//! control thread is wanted for it.
//!
//! Invariant: samples of one metric stand together, each series once, and a histogram is rendered
//! at one moment: its last bucket is its count.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use worker::telemetry::Totals;
use worker::telemetry::histogram::{BUCKETS, bound};

use super::access_log::LogCounts;
use super::merge::{Merge, RouteCounts};
use super::names::{self, Metric, OTHER};
use super::process::Process;
use crate::node::Status;
use crate::process_log;

/// What the format is called in `Content-Type`.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A piece is a little more than this.
const PIECE_BYTES: usize = 64 << 10;

/// One scrape, as the pieces of its text.
pub(crate) struct Exposition {
    merge: Rc<RefCell<Merge>>,
    /// The text that does not grow with routes, until it is taken.
    node: Option<Vec<u8>>,
    /// The metrics by route that are still to come.
    families: std::slice::Iter<'static, Family>,
    /// The one under way, and its next route.
    current: Option<(Family, usize)>,
    /// The upper bounds of buckets as values of `le`.
    bounds: Vec<String>,
}

/// A metric that has series for each route.
#[derive(Clone, Copy)]
struct Family {
    metric: &'static Metric,
    render: fn(&mut Text, &Exposition, &Merge, &RouteCounts),
}

const FAMILIES: &[Family] = &[
    Family { metric: &names::REQUESTS, render: requests },
    Family {
        metric: &names::REQUEST_BYTES,
        render: |text, _, _, it| text.sample(&names::REQUEST_BYTES, &[&it.name], it.bytes_in),
    },
    Family {
        metric: &names::RESPONSE_BYTES,
        render: |text, _, _, it| text.sample(&names::RESPONSE_BYTES, &[&it.name], it.bytes_out),
    },
    Family { metric: &names::REQUEST_SECONDS, render: seconds },
];

impl Exposition {
    /// Begins a scrape.
    pub(crate) fn new(
        merge: Rc<RefCell<Merge>>,
        log: &LogCounts,
        status: &Status,
        process: Process,
    ) -> Self {
        let node = node(log, status, process, merge.borrow().listeners());
        let bound = |index| bound(index).map_or("+Inf".to_owned(), seconds_text);
        Self {
            merge,
            node: Some(node),
            families: FAMILIES.iter(),
            current: None,
            bounds: (0..BUCKETS).map(bound).collect(),
        }
    }
}

impl Iterator for Exposition {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut text = Text(self.node.take().unwrap_or_default());
        let merge = Rc::clone(&self.merge);
        let merge = merge.borrow();
        while text.0.len() < PIECE_BYTES {
            let (family, route) = match self.current.take() {
                Some(current) => current,
                None => {
                    let Some(&family) = self.families.next() else { break };
                    text.family(family.metric);
                    (family, 0)
                }
            };
            let mut next = route;
            for route in merge.routes().get(route..).unwrap_or_default() {
                (family.render)(&mut text, self, &merge, route);
                next += 1;
                if text.0.len() >= PIECE_BYTES {
                    self.current = Some((family, next));
                    break;
                }
            }
        }
        (!text.0.is_empty()).then_some(text.0)
    }
}

/// Everything that is not by route.
fn node(
    log: &LogCounts,
    status: &Status,
    process: Process,
    listeners: &super::merge::ListenerNames,
) -> Vec<u8> {
    let mut text = Text(Vec::with_capacity(PIECE_BYTES));
    let mut totals = Totals::default();
    status.cores.iter().for_each(|core| totals += core.totals);

    text.one(&names::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1u64);
    text.one(&names::START_TIME, &[], status.started_unix);
    text.one(&names::DRIVER_INFO, &[&status.driver], 1u64);
    text.per_core(&names::CONFIG_VERSION, status, |core| core.version);
    text.family(&names::CONFIG_RELOADS);
    text.sample(&names::CONFIG_RELOADS, &["ok"], status.reloads_ok);
    text.sample(&names::CONFIG_RELOADS, &["unchanged"], status.reloads_unchanged);
    text.sample(&names::CONFIG_RELOADS, &["refused"], status.reloads_refused);

    text.family(&names::CLIENT_CONNECTIONS);
    let gauges = || status.cores.iter().map(|core| &core.gauges);
    let by_listener = gauges().flat_map(|it| &it.client_connections);
    for (name, open) in summed(by_listener.map(|&(id, open)| (listeners.of(id), open))) {
        text.sample(&names::CLIENT_CONNECTIONS, &[name], open);
    }
    text.one(&names::CLIENT_CONNECTIONS_TOTAL, &[], totals.client_connections);
    text.one(&names::CLIENT_REFUSED, &["per_client"], totals.client_refused);
    text.one(&names::CLIENT_SHED, &[], totals.client_shed);
    text.family(&names::ACCEPT_ERRORS);
    let (descriptors, memory) = (totals.accept_errors_descriptors, totals.accept_errors_memory);
    let other = totals.accept_errors.saturating_sub(descriptors + memory);
    for (kind, count) in [("descriptors", descriptors), ("memory", memory), ("other", other)] {
        text.sample(&names::ACCEPT_ERRORS, &[kind], count);
    }
    text.one(&names::ACCEPT_PAUSES, &[], totals.accept_pauses);
    text.family(&names::ACCEPT_PAUSED);
    let full: u64 = gauges().map(|it| it.accept_paused_for_room).sum();
    let short: u64 = gauges().map(|it| it.accept_paused_for_resources).sum();
    text.sample(&names::ACCEPT_PAUSED, &["full"], full);
    text.sample(&names::ACCEPT_PAUSED, &["resources"], short);

    text.family(&names::TUNNELS);
    let by_listener = gauges().flat_map(|it| &it.tunnels);
    for (name, open) in summed(by_listener.map(|&(id, open)| (listeners.of(id), open))) {
        text.sample(&names::TUNNELS, &[name], open);
    }
    text.one(&names::TUNNELS_TOTAL, &[], totals.tunnels);
    text.family(&names::TUNNEL_BYTES);
    text.sample(&names::TUNNEL_BYTES, &["in"], totals.tunnel_bytes_in);
    text.sample(&names::TUNNEL_BYTES, &["out"], totals.tunnel_bytes_out);

    text.family(&names::UPSTREAM_CONNECTIONS);
    let by_upstream = || gauges().flat_map(|it| &it.endpoint_connections);
    let idle = by_upstream().map(|(name, idle, _)| (&**name, *idle));
    let active = by_upstream().map(|(name, _, active)| (&**name, *active));
    for ((name, idle), (_, active)) in summed(idle).into_iter().zip(summed(active)) {
        text.sample(&names::UPSTREAM_CONNECTIONS, &[name, "idle"], idle);
        text.sample(&names::UPSTREAM_CONNECTIONS, &[name, "active"], active);
    }
    let (opened, reused) = (totals.endpoint_opened, totals.endpoint_reused);
    text.one(&names::UPSTREAM_CONNECTS, &[], opened);
    text.one(&names::UPSTREAM_CONNECTS_EXHAUSTED, &[], totals.connects_exhausted);
    text.one(&names::UPSTREAM_REUSED, &[], reused);
    text.one(&names::UPSTREAM_REUSE_RATIO, &[], share(reused, opened));
    text.one(&names::RETRIES, &[], totals.retries);
    text.one(&names::PANICS, &[], totals.panics);

    text.per_core(&names::CORE_CONNECTIONS, status, |core| {
        core.gauges.client_connections.iter().map(|&(_, open)| open).sum()
    });
    text.per_core(&names::CORE_REQUESTS, status, |core| core.totals.requests);
    text.family(&names::CORE_BUSY_RATIO);
    for core in &status.cores {
        text.sample(&names::CORE_BUSY_RATIO, &[&core.core.to_string()], core.busy_ratio);
    }
    text.family(&names::CORE_BUSY_SECONDS);
    for core in &status.cores {
        let busy = InSeconds(core.gauges.cpu_micros);
        text.sample(&names::CORE_BUSY_SECONDS, &[&core.core.to_string()], busy);
    }

    text.family(&names::MEMORY);
    let lent: u64 = gauges().map(|it| it.buffer_bytes_lent).sum();
    let idle: u64 = gauges().map(|it| it.buffer_bytes_idle).sum();
    text.sample(&names::MEMORY, &["buffers_lent"], lent);
    text.sample(&names::MEMORY, &["buffers_idle"], idle);
    if let Some(resident) = process.resident_bytes {
        text.sample(&names::MEMORY, &["resident"], resident);
    }
    text.family(&names::FILE_DESCRIPTORS);
    for (kind, count) in [("open", process.descriptors_open), ("max", process.descriptors_max)] {
        if let Some(count) = count {
            text.sample(&names::FILE_DESCRIPTORS, &[kind], count);
        }
    }

    text.one(&names::ACCESS_LOG_WRITTEN, &[], log.written.load(Relaxed));
    text.one(&names::ACCESS_LOG_DROPPED, &[], log.dropped.load(Relaxed));
    text.one(&names::ACCESS_LOG_ERRORS, &[], log.errors.load(Relaxed));
    text.one(&names::PROCESS_LOG_LOST, &[], process_log::lost());
    text.0
}

/// `some` of `some` and `others`, 0 to 1; 0 when there are none.
fn share(some: u64, others: u64) -> f64 {
    let all = some + others;
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
    if all == 0 { 0.0 } else { some as f64 / all as f64 }
}

/// Counts added up by name, in the order of the names.
fn summed<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> Vec<(&'a str, u64)> {
    let mut sums = std::collections::BTreeMap::new();
    for (name, count) in counts {
        *sums.entry(name).or_insert(0) += count;
    }
    sums.into_iter().collect()
}

fn requests(text: &mut Text, _: &Exposition, merge: &Merge, route: &RouteCounts) {
    for cell in &route.cells {
        let listener = merge.listeners().text(cell.listener);
        let reason = cell.reason.map_or("", |reason| reason.token());
        let mut status = itoa::Buffer::new();
        let labels = [listener, &route.name, status.format(cell.status), reason];
        text.sample(&names::REQUESTS, &labels, cell.count);
    }
    if route.other > 0 {
        text.sample(&names::REQUESTS, &[OTHER, &route.name, OTHER, OTHER], route.other);
    }
}

fn seconds(text: &mut Text, exposition: &Exposition, _: &Merge, route: &RouteCounts) {
    let name = names::REQUEST_SECONDS.name;
    let mut label = Text(b"{route=\"".to_vec());
    label.escaped(&route.name);
    label.0.push(b'"');
    let mut sum = 0;
    for (bound, count) in exposition.bounds.iter().zip(&route.seconds.counts) {
        sum += count;
        text.bytes(name.as_bytes());
        text.bytes(b"_bucket");
        text.bytes(&label.0);
        text.bytes(b",le=\"");
        text.bytes(bound.as_bytes());
        text.bytes(b"\"} ");
        sum.put(text);
        text.bytes(b"\n");
    }
    for (suffix, micros) in [("_sum", Some(route.seconds.sum_micros)), ("_count", None)] {
        text.bytes(name.as_bytes());
        text.bytes(suffix.as_bytes());
        text.bytes(&label.0);
        text.bytes(b"} ");
        match micros {
            Some(micros) => InSeconds(micros).put(text),
            None => sum.put(text),
        }
        text.bytes(b"\n");
    }
}

/// A value of a sample.
trait Value {
    fn put(self, text: &mut Text);
}

impl Value for u64 {
    fn put(self, text: &mut Text) {
        text.bytes(itoa::Buffer::new().format(self).as_bytes());
    }
}

impl Value for f64 {
    fn put(self, text: &mut Text) {
        text.bytes(self.to_string().as_bytes());
    }
}

/// Microseconds, shown as seconds.
struct InSeconds(u64);

impl Value for InSeconds {
    fn put(self, text: &mut Text) {
        text.bytes(seconds_text(self.0).as_bytes());
    }
}

/// Microseconds as seconds, exactly.
fn seconds_text(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

struct Text(Vec<u8>);

impl Text {
    fn family(&mut self, metric: &Metric) {
        for word in [
            "# HELP ",
            metric.name,
            " ",
            metric.help,
            "\n# TYPE ",
            metric.name,
            " ",
            metric.kind.word(),
            "\n",
        ] {
            self.bytes(word.as_bytes());
        }
    }

    fn one(&mut self, metric: &Metric, labels: &[&str], value: impl Value) {
        self.family(metric);
        self.sample(metric, labels, value);
    }

    fn per_core(
        &mut self,
        metric: &Metric,
        status: &Status,
        value: impl Fn(&crate::node::CoreStatus) -> u64,
    ) {
        self.family(metric);
        for core in &status.cores {
            self.sample(metric, &[&core.core.to_string()], value(core));
        }
    }

    fn sample(&mut self, metric: &Metric, labels: &[&str], value: impl Value) {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        self.bytes(metric.name.as_bytes());
        let mut before: &[u8] = b"{";
        for (name, value) in metric.labels.iter().zip(labels) {
            self.bytes(before);
            self.bytes(name.as_bytes());
            self.bytes(b"=\"");
            self.escaped(value);
            self.bytes(b"\"");
            before = b",";
        }
        if !labels.is_empty() {
            self.bytes(b"}");
        }
        self.bytes(b" ");
        value.put(self);
        self.bytes(b"\n");
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A label's value, as the format wants it.
    fn escaped(&mut self, value: &str) {
        for byte in value.bytes() {
            match byte {
                b'\\' => self.bytes(b"\\\\"),
                b'"' => self.bytes(b"\\\""),
                b'\n' => self.bytes(b"\\n"),
                _ => self.0.push(byte),
            }
        }
    }
}

#[cfg(test)]
mod tests;
