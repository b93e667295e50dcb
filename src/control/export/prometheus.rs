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

use worker::telemetry::endpoint::EndpointCounts;
use worker::telemetry::histogram::{BUCKETS, bound};
use worker::telemetry::metric::{Kind, Metric, Row};
use worker::telemetry::report::{ROUTE, RouteBytes};

use super::access_log::LogCounts;
use super::listeners::OTHER;
use super::merge::{Merge, RouteSums};
use super::metrics::{self, Number, Sample, Scrape};
use super::process::Process;
use crate::node::Status;

/// What the format is called in `Content-Type`.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A piece is a little more than this.
const PIECE_BYTES: usize = 64 << 10;

/// One scrape, as the pieces of its text.
pub(crate) struct Exposition {
    merge: Rc<RefCell<Merge>>,
    /// The text that is no piece by route or endpoint, until it is taken.
    node: Option<Vec<u8>>,
    /// The metrics by route and endpoint that are still to come.
    families: std::vec::IntoIter<Many>,
    /// The one under way, and its next route or endpoint.
    current: Option<(Many, usize)>,
    /// The upper bounds of buckets as values of `le`.
    bounds: Vec<String>,
}

/// A metric that has series for each route or endpoint.
#[derive(Clone, Copy)]
enum Many {
    /// [`metrics::REQUESTS`].
    Requests,
    /// A row of what requests carried.
    Row(&'static Row<RouteBytes>),
    /// [`metrics::REQUEST_SECONDS`].
    Seconds,
    /// A row of the tries at an endpoint.
    Endpoint(&'static Row<EndpointCounts>),
}

impl Exposition {
    /// Begins a scrape.
    pub(crate) fn new(merge: Rc<RefCell<Merge>>, log: &LogCounts, status: &Status) -> Self {
        let node = {
            let merge = merge.borrow();
            let process = Process::ask();
            node(&Scrape { status, log, process, merge: &merge })
        };
        let bound = |index| bound(index).map_or("+Inf".to_owned(), seconds_text);
        let rows = ROUTE.iter().map(Many::Row);
        let families = [Many::Requests].into_iter().chain(rows).chain([Many::Seconds]);
        let families: Vec<_> = families.chain(metrics::by_endpoint().map(Many::Endpoint)).collect();
        Self {
            merge,
            node: Some(node),
            families: families.into_iter(),
            current: None,
            bounds: (0..BUCKETS).map(bound).collect(),
        }
    }

    /// Renders the samples of the object at `index`; `false` when there is none any more.
    fn object(&self, text: &mut Text, family: Many, merge: &Merge, index: usize) -> bool {
        if let Many::Endpoint(row) = family {
            let Some(it) = merge.endpoint_at(index) else { return false };
            // Nobody has the place at the moment.
            let Some(it) = it else { return true };
            let labels = [it.upstream.to_string(), it.endpoint.to_string()];
            for sample in metrics::samples(row, &labels, &it.counts) {
                text.sample(&row.metric, &sample);
            }
            return true;
        }
        let Some(route) = merge.routes().get(index) else { return false };
        match family {
            Many::Requests => requests(text, merge, route),
            Many::Row(row) => {
                for sample in metrics::samples(row, &[route.name.to_string()], &route.bytes) {
                    text.sample(&row.metric, &sample);
                }
            }
            Many::Seconds | Many::Endpoint(_) => seconds(text, &self.bounds, route),
        }
        true
    }
}

impl Iterator for Exposition {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut text = Text(self.node.take().unwrap_or_default());
        let merge = Rc::clone(&self.merge);
        let merge = merge.borrow();
        // A piece ends within a metric where it has become long enough, and the next one goes on
        // with the next object.
        while text.0.len() < PIECE_BYTES {
            let (family, index) = match self.current.take() {
                Some(current) => current,
                None => {
                    let Some(family) = self.families.next() else { break };
                    match family {
                        Many::Requests => text.family(&metrics::REQUESTS, Kind::Counter),
                        Many::Row(Row { metric, .. }) | Many::Endpoint(Row { metric, .. }) => {
                            text.family(metric, metric.kind());
                        }
                        Many::Seconds => text.family(&metrics::REQUEST_SECONDS, Kind::Histogram),
                    }
                    (family, 0)
                }
            };
            let mut next = index;
            while self.object(&mut text, family, &merge, next) {
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
fn node(scrape: &Scrape<'_>) -> Vec<u8> {
    let mut text = Text(Vec::with_capacity(PIECE_BYTES));
    for (metric, samples) in metrics::families(scrape) {
        text.family(metric, metric.kind());
        samples.iter().for_each(|sample| text.sample(metric, sample));
    }
    text.0
}

fn requests(text: &mut Text, merge: &Merge, route: &RouteSums) {
    for it in &route.ended {
        let listener = merge.listeners().text(it.listener);
        let reason = it.reason.map_or("", |reason| reason.token());
        let mut status = itoa::Buffer::new();
        let labels = [listener, &route.name, status.format(it.status), reason];
        text.labelled(&metrics::REQUESTS, &labels, Number::Count(it.count));
    }
    if route.other > 0 {
        let labels = [OTHER, &route.name, OTHER, OTHER];
        text.labelled(&metrics::REQUESTS, &labels, Number::Count(route.other));
    }
}

/// A histogram: cumulated counts by upper bound, the sum, and the count. The names of its three
/// metrics and the label `le` belong to the format, so they are written here.
fn seconds(text: &mut Text, bounds: &[String], route: &RouteSums) {
    let name = metrics::REQUEST_SECONDS.name;
    let mut label = Text(b"{route=\"".to_vec());
    label.escaped(&route.name);
    label.0.push(b'"');
    let mut count = 0;
    for (bound, more) in bounds.iter().zip(&route.seconds.counts) {
        count += more;
        text.bytes(name.as_bytes());
        text.bytes(b"_bucket");
        text.bytes(&label.0);
        text.bytes(b",le=\"");
        text.bytes(bound.as_bytes());
        text.bytes(b"\"} ");
        text.number(Number::Count(count));
        text.bytes(b"\n");
    }
    let sum = Number::Micros(route.seconds.sum_micros);
    for (suffix, number) in [("_sum", sum), ("_count", Number::Count(count))] {
        text.bytes(name.as_bytes());
        text.bytes(suffix.as_bytes());
        text.bytes(&label.0);
        text.bytes(b"} ");
        text.number(number);
        text.bytes(b"\n");
    }
}

/// Microseconds as seconds, exactly.
fn seconds_text(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

struct Text(Vec<u8>);

impl Text {
    fn family(&mut self, metric: &Metric, kind: Kind) {
        for word in [
            "# HELP ",
            metric.name,
            " ",
            metric.help,
            "\n# TYPE ",
            metric.name,
            " ",
            metrics::word(kind),
            "\n",
        ] {
            self.bytes(word.as_bytes());
        }
    }

    fn sample(&mut self, metric: &Metric, (labels, number): &Sample) {
        let labels: Vec<&str> = labels.iter().map(|label| &**label).collect();
        self.labelled(metric, &labels, *number);
    }

    fn labelled(&mut self, metric: &Metric, labels: &[&str], number: Number) {
        let names = metric.scope.labels().iter().chain(metric.labels);
        debug_assert_eq!(names.clone().count(), labels.len(), "{}", metric.name);
        self.bytes(metric.name.as_bytes());
        let mut before: &[u8] = b"{";
        for (name, value) in names.zip(labels) {
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
        self.number(number);
        self.bytes(b"\n");
    }

    fn number(&mut self, number: Number) {
        match number {
            Number::Count(count) => self.bytes(itoa::Buffer::new().format(count).as_bytes()),
            Number::Micros(micros) => self.bytes(seconds_text(micros).as_bytes()),
            Number::Ratio(ratio) => self.bytes(ratio.to_string().as_bytes()),
        }
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
