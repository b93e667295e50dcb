//! A strict reader of the text format, and what it must find.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use engine::names::ResolutionCounts;
use engine::reason::Reason;
use engine::snapshot::ListenerId;
use worker::telemetry::Totals;
use worker::telemetry::endpoint::EndpointCounts;
use worker::telemetry::report::{
    CoreBlock, EndpointGauges, EndpointNumbers, Gauges, ListenerBlock, ListenerGauges, RouteBlock,
};
use worker::telemetry::tls::TlsCounts;

use super::*;
use crate::dns::NameStatus;
use crate::node::CoreStatus;

type Labels = BTreeMap<String, String>;

/// What was read: samples by name and labels.
#[derive(Debug, Default)]
struct Read {
    kinds: HashMap<String, String>,
    samples: HashMap<(String, Labels), f64>,
}

impl Read {
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }
}

/// Reads a whole exposition and panics at anything that a scraper might trip over.
fn read(text: &[u8]) -> Read {
    let text = std::str::from_utf8(text).unwrap();
    assert!(text.ends_with('\n'), "the last line has no end");
    let mut read = Read::default();
    let (mut current, mut helped) = (String::new(), String::new());
    let mut seen = HashSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped = help.split_once(' ').unwrap().0.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, helped, "TYPE follows HELP");
            assert!(seen.insert(name.to_owned()), "{name} stands in two places");
            let (_, known) = metrics::tests::named(name).expect("a metric of the table");
            assert_eq!(metrics::word(known), kind);
            read.kinds.insert(name.to_owned(), kind.to_owned());
            current = name.to_owned();
        } else {
            let (name, labels, value) = sample(line);
            let kind = &read.kinds[&current];
            if kind == "histogram" {
                let suffix = name.strip_prefix(&*current).unwrap();
                assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}");
            } else {
                assert_eq!(name, current, "{line}");
            }
            let (metric, _) = metrics::tests::named(&current).unwrap();
            let labels_of_metric = metric.scope.labels().iter().chain(metric.labels);
            let mut wanted: Vec<_> = labels_of_metric.map(|&it| it.to_owned()).collect();
            wanted.extend(name.ends_with("_bucket").then(|| "le".to_owned()));
            wanted.sort();
            assert_eq!(labels.keys().cloned().collect::<Vec<_>>(), wanted, "{line}");
            assert!(read.samples.insert((name, labels), value).is_none(), "twice: {line}");
        }
    }
    read
}

/// `name{label="value",...} 12`, with escapes taken out.
fn sample(line: &str) -> (String, Labels, f64) {
    let name_end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(name_end);
    assert!(name.bytes().all(|it| it == b'_' || it.is_ascii_alphanumeric()), "{line}");
    let mut labels = Labels::new();
    if let Some(mut inner) = rest.strip_prefix('{') {
        loop {
            let (label, value) = inner.split_once("=\"").unwrap();
            let (mut text, mut chars) = (String::new(), value.char_indices());
            let end = loop {
                match chars.next().expect("an end of the value") {
                    (_, '\\') => text.push(match chars.next().unwrap().1 {
                        'n' => '\n',
                        it @ ('\\' | '"') => it,
                        it => panic!("escape {it}: {line}"),
                    }),
                    (at, '"') => break at,
                    (_, it) => text.push(it),
                }
            };
            assert!(labels.insert(label.to_owned(), text).is_none(), "{line}");
            inner = &value[end + 1..];
            match inner.strip_prefix(',') {
                Some(more) => inner = more,
                None => break,
            }
        }
        rest = inner.strip_prefix('}').unwrap();
    }
    (name.to_owned(), labels, rest.strip_prefix(' ').unwrap().parse().unwrap())
}

fn endpoint(idle: u64, active: u64) -> EndpointNumbers {
    let gauges = EndpointGauges { idle, active, ejected: 0, in_flight: active };
    let counts = EndpointCounts { responses_5xx: 3, retries_reset: 1, ..EndpointCounts::default() };
    EndpointNumbers { gauges, counts, last_failure: None }
}

fn core(core: usize) -> CoreStatus {
    let listener = |id, connections, tunnels| ListenerBlock {
        id: ListenerId(id),
        gauges: ListenerGauges { connections, tunnels },
        tls: Some(TlsCounts { full_13: 3, ..TlsCounts::default() }),
    };
    let mut block = CoreBlock {
        totals: Totals {
            requests: 10,
            endpoint_opened: 1,
            endpoint_reused: 3,
            retries: 2,
            tunnels: 4,
            tunnel_bytes_in: 100,
            tunnel_bytes_out: 1_000,
            accept_errors_descriptors: 3,
            accept_errors_memory: 1,
            accept_errors_other: 1,
            ..Totals::default()
        },
        gauges: Gauges {
            accept_paused_for_room: 0,
            accept_paused_for_resources: 1,
            cpu_micros: 1_250_000,
            ..Gauges::default()
        },
        buffer_bytes_lent: 4096,
        buffer_bytes_idle: 8192,
        listeners: vec![listener(0, 3, 2), listener(1, 1, 0)],
        ..CoreBlock::default()
    };
    block.endpoints.add(|it| it.set("users", "a:1", endpoint(2, 1)));
    block.endpoints.add(|it| it.set("users", "a:2", endpoint(0, 4)));
    CoreStatus { core, cpu: core, version: 7, block, busy_ratio: 0.25 }
}

fn status() -> Status {
    Status {
        version: 7,
        started_unix: 1_700_000_000,
        uptime_seconds: 12.5,
        driver: "io_uring".to_owned(),
        cores: vec![core(0), core(1)],
        listeners: vec![("web".to_owned(), "127.0.0.1:8080".to_owned())],
        certificates: vec![("site".to_owned(), 1_800_000_000)],
        last_reload: None,
        is_posted: false,
        reloads_ok: 6,
        reloads_unchanged: 1,
        reloads_refused: 2,
        draining: false,
        upstreams: Vec::new(),
        checks: Vec::new(),
        names: vec![NameStatus {
            name: "users.internal:80".to_owned(),
            addresses: 3,
            answered_ago: Some(Duration::from_secs(7)),
            trouble: None,
            counts: ResolutionCounts { ok: 9, no_name: 0, no_address: 0, failed: 2 },
        }],
        named: Vec::new(),
    }
}

fn merge(routes: impl IntoIterator<Item = String>) -> Rc<RefCell<Merge>> {
    let mut merge = Merge::default();
    merge.learn(&[(ListenerId(0), "web".into()), (ListenerId(1), "w\"e\\b\n2".into())]);
    for route in routes {
        let bytes = RouteBytes { incoming: 5, outgoing: 6 };
        let mut block = Box::new(RouteBlock { route, bytes, ..RouteBlock::default() });
        block.count(ListenerId(0), 200, None);
        block.count(ListenerId(0), 200, None);
        block.count(ListenerId(1), 502, Some(Reason::EndpointReset));
        [9, 1_000, u32::MAX].iter().for_each(|&micros| block.seconds.observe(micros));
        block.other = 4;
        merge.counts(&CoreBlock { routes: vec![block], ..CoreBlock::default() }, Instant::now());
    }
    merge.counts(&core(0).block, Instant::now());
    Rc::new(RefCell::new(merge))
}

fn render(merge: &Rc<RefCell<Merge>>) -> Vec<u8> {
    let log = LogCounts::default();
    log.dropped.store(3, Relaxed);
    Exposition::new(Rc::clone(merge), &log, &status()).flatten().collect()
}

#[test]
fn every_metric_of_the_table_is_there_and_reads_back() {
    let merge = merge(["a".to_owned(), String::new()]);
    let read = read(&render(&merge));
    assert_eq!(read.kinds.len(), metrics::tests::count());
    for (name, labels, value) in [
        (
            "ringway_requests_total",
            &[("listener", "web"), ("route", "a"), ("status", "200"), ("reason", "")][..],
            2.0,
        ),
        (
            "ringway_requests_total",
            &[
                ("listener", "w\"e\\b\n2"),
                ("route", "a"),
                ("status", "502"),
                ("reason", "endpoint_reset"),
            ],
            1.0,
        ),
        (
            "ringway_requests_total",
            &[("listener", OTHER), ("route", ""), ("status", OTHER), ("reason", OTHER)],
            4.0,
        ),
        ("ringway_request_seconds_count", &[("route", "a")], 3.0),
        ("ringway_request_seconds_sum", &[("route", "a")], 4294.968304),
        ("ringway_request_bytes_total", &[("route", "a")], 5.0),
        ("ringway_response_bytes_total", &[("route", "a")], 6.0),
        ("ringway_client_connections", &[("listener", "web")], 6.0),
        ("ringway_tunnels", &[("listener", "web")], 4.0),
        ("ringway_tunnels_total", &[], 8.0),
        ("ringway_tunnel_bytes_total", &[("direction", "in")], 200.0),
        ("ringway_tunnel_bytes_total", &[("direction", "out")], 2_000.0),
        ("ringway_upstream_connections", &[("upstream", "users"), ("state", "active")], 10.0),
        ("ringway_upstream_reuse_ratio", &[], 0.75),
        ("ringway_retries_total", &[], 4.0),
        ("ringway_upstream_retries_total", &[("upstream", "users"), ("cause", "reset")], 2.0),
        (
            "ringway_upstream_requests_total",
            &[("upstream", "users"), ("endpoint", "a:2"), ("result", "5xx")],
            3.0,
        ),
        ("ringway_accept_errors_total", &[("kind", "descriptors")], 6.0),
        ("ringway_accept_errors_total", &[("kind", "other")], 2.0),
        ("ringway_accept_paused", &[("reason", "resources")], 2.0),
        ("ringway_accept_paused", &[("reason", "full")], 0.0),
        ("ringway_core_connections", &[("core", "1")], 4.0),
        ("ringway_core_busy_ratio", &[("core", "1")], 0.25),
        ("ringway_core_busy_seconds_total", &[("core", "0")], 1.25),
        ("ringway_config_version", &[("core", "0")], 7.0),
        ("ringway_config_reloads_total", &[("result", "refused")], 2.0),
        ("ringway_config_last_reload_successful", &[], 1.0),
        ("ringway_driver_info", &[("driver", "io_uring")], 1.0),
        ("ringway_memory_bytes", &[("kind", "buffers_lent")], 8192.0),
        ("ringway_access_log_dropped_total", &[], 3.0),
        ("process_start_time_seconds", &[], 1_700_000_000.0),
    ] {
        assert_eq!(read.value(name, labels), Some(value), "{name} {labels:?}");
    }
}

#[test]
fn buckets_grow_and_the_last_one_is_the_count() {
    let read = read(&render(&merge(["a".to_owned()])));
    let bucket = |le: &str| {
        read.value("ringway_request_seconds_bucket", &[("route", "a"), ("le", le)]).unwrap()
    };
    let bounds: Vec<_> = (0..BUCKETS).map_while(bound).map(seconds_text).collect();
    let counts: Vec<_> = bounds.iter().map(|it| bucket(it)).collect();
    assert!(counts.is_sorted(), "{counts:?}");
    assert_eq!((bucket("0.000008"), bucket("0.000012"), bucket("0.001024")), (0.0, 1.0, 2.0));
    assert_eq!((bucket("67.108864"), bucket("+Inf")), (2.0, 3.0));
}

#[test]
fn ten_thousand_routes_come_in_pieces_and_none_is_missed() {
    let merge = merge((0..10_000).map(|it| format!("route-{it}")));
    let log = LogCounts::default();
    let begin = Instant::now();
    let pieces: Vec<_> = Exposition::new(Rc::clone(&merge), &log, &status()).collect();
    let took = begin.elapsed();
    assert!(pieces.iter().all(|it| it.len() < PIECE_BYTES + (16 << 10)));
    let text = pieces.concat();
    // As docs/operations.md says.
    assert!((35..45).contains(&(text.len() / 1_000_000)), "{} bytes", text.len());
    let read = read(&text);
    for route in ["route-0", "route-9999"] {
        let count = read.value("ringway_request_seconds_count", &[("route", route)]);
        assert_eq!(count, Some(3.0));
    }
    let buckets = read.samples.keys().filter(|(name, _)| name.ends_with("_bucket")).count();
    assert_eq!(buckets, 10_000 * BUCKETS);
    // Of an optimised build; the others say nothing.
    assert!(cfg!(debug_assertions) || took.as_millis() < 200, "{took:?}");
}
