//! The metrics, each defined once: name, type, labels and help.
//!
//! `prometheus` renders from this table, and `docs/metrics.md` is made from it; a test compares.
//!
//! Invariant: every label is bounded. Routes, listeners and upstreams have names in the
//! configuration, statuses and reasons overflow into [`OTHER`].

/// The value of a label that stands for everything beyond a bound.
pub(crate) const OTHER: &str = "__other__";

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulated counts by upper bound, with `_sum` and `_count`.
    Histogram,
}

impl Kind {
    /// The word for it in the exposition format.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug)]
pub(crate) struct Metric {
    /// Its full name.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) kind: Kind,
    /// The names of its labels, in the order in which their values are given.
    pub(crate) labels: &'static [&'static str],
    /// What it says, in a sentence without a full stop.
    pub(crate) help: &'static str,
}

macro_rules! metrics {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(
            #[doc = $help]
            pub(crate) const $id: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )+

        /// All of them, in the order in which they are rendered.
        #[cfg(test)]
        const ALL: &[Metric] = &[$($id),+];
    };
}

metrics! {
    BUILD_INFO: Gauge "ringway_build_info" ["version"]
        "Always 1; which Ringway this is";
    START_TIME: Gauge "process_start_time_seconds" []
        "When the process started, in seconds since 1970";
    DRIVER_INFO: Gauge "ringway_driver_info" ["driver"]
        "Always 1; how the node does its I/O";
    CONFIG_VERSION: Gauge "ringway_config_version" ["core"]
        "Version of the configuration that a core serves by, counted from 1 at each start";
    CONFIG_RELOADS: Counter "ringway_config_reloads_total" ["result"]
        "Changes of the configuration that were taken (ok), were live already (unchanged), or were refused";
    CLIENT_CONNECTIONS: Gauge "ringway_client_connections" ["listener"]
        "Client connections open";
    CLIENT_CONNECTIONS_TOTAL: Counter "ringway_client_connections_total" []
        "Client connections accepted";
    CLIENT_REFUSED: Counter "ringway_client_connections_refused_total" ["reason"]
        "Client connections closed at once; per_client: limits.connections_per_client_max";
    CLIENT_SHED: Counter "ringway_client_connections_shed_total" []
        "Client connections closed while they were idle, because descriptors had run out or the listener was full";
    ACCEPT_ERRORS: Counter "ringway_accept_errors_total" ["kind"]
        "Accepts that failed for want of descriptors, for want of the kernel's memory, or because the client was gone (other)";
    ACCEPT_PAUSES: Counter "ringway_accept_pauses_total" []
        "Times that accepting paused because descriptors or memory had run out; if it grows, raise the limit of descriptors";
    ACCEPT_PAUSED: Gauge "ringway_accept_paused" ["reason"]
        "Listeners, counted on each core, that do not accept now: full (limits.connections_max), or short of descriptors or memory (resources)";
    TUNNELS: Gauge "ringway_tunnels" ["listener"]
        "Client connections that have become tunnels, by an upgrade to WebSocket or another protocol, and are open";
    TUNNELS_TOTAL: Counter "ringway_tunnels_total" []
        "Tunnels that began";
    TUNNEL_BYTES: Counter "ringway_tunnel_bytes_total" ["direction"]
        "Bytes that tunnels have passed on, from clients (in) and to clients (out), while they do; by route they are counted when a tunnel ends";
    UPSTREAM_CONNECTIONS: Gauge "ringway_upstream_connections" ["upstream", "state"]
        "Connections to endpoints that wait in a pool (idle) or carry a request (active)";
    UPSTREAM_CONNECTS: Counter "ringway_upstream_connects_total" []
        "Connections opened to endpoints";
    UPSTREAM_CONNECTS_EXHAUSTED: Counter "ringway_upstream_connects_exhausted_total" []
        "Connections to endpoints that could not be made because the gateway itself had no descriptor, memory or local port";
    UPSTREAM_REUSED: Counter "ringway_upstream_reused_total" []
        "Requests sent on a connection from a pool";
    UPSTREAM_REUSE_RATIO: Gauge "ringway_upstream_reuse_ratio" []
        "Share of sends since the start that took a connection from a pool, 0 to 1";
    RETRIES: Counter "ringway_retries_total" []
        "Second tries, after a failed connect or on a pooled connection that turned out dead";
    PANICS: Counter "ringway_panics_total" []
        "Connections that ended by a mistake of ours; the log has the message";
    CORE_CONNECTIONS: Gauge "ringway_core_connections" ["core"]
        "Client connections open on a core";
    CORE_REQUESTS: Counter "ringway_core_requests_total" ["core"]
        "Requests that ended on a core, however they ended";
    CORE_BUSY_RATIO: Gauge "ringway_core_busy_ratio" ["core"]
        "Share of its time that a core computed between its last two reports, 0 to 1";
    CORE_BUSY_SECONDS: Counter "ringway_core_busy_seconds_total" ["core"]
        "CPU time that a core has used";
    MEMORY: Gauge "ringway_memory_bytes" ["kind"]
        "Buffers in use (buffers_lent), buffers kept for the next use (buffers_idle), and all of the process that is in memory (resident)";
    FILE_DESCRIPTORS: Gauge "ringway_file_descriptors" ["kind"]
        "Descriptors of the process that are open, and how many may be (max)";
    ACCESS_LOG_WRITTEN: Counter "ringway_access_log_written_total" []
        "Lines of the access log that were written";
    ACCESS_LOG_DROPPED: Counter "ringway_access_log_dropped_total" []
        "Lines of the access log that were given up, because what writes them could not keep up";
    ACCESS_LOG_ERRORS: Counter "ringway_access_log_errors_total" []
        "Writes to the access log that failed; they are tried again";
    PROCESS_LOG_LOST: Counter "ringway_process_log_lost_total" []
        "Lines of the process log that were lost, because nothing read standard error or not fast enough";
    REQUESTS: Counter "ringway_requests_total" ["listener", "route", "status", "reason"]
        "Requests that ended; the reason is empty when an endpoint answered, the route when none took it";
    REQUEST_BYTES: Counter "ringway_request_bytes_total" ["route"]
        "Bytes of request bodies, and of what clients have sent in tunnels";
    RESPONSE_BYTES: Counter "ringway_response_bytes_total" ["route"]
        "Bytes of response bodies, and of what clients were sent in tunnels";
    REQUEST_SECONDS: Histogram "ringway_request_seconds" ["route"]
        "Time from the first byte of a request's head to the last byte of its response, which for a tunnel is the 101";
}

/// The text of `docs/metrics.md`.
#[cfg(test)]
fn reference() -> String {
    use super::merge::{CELLS_MAX, ROUTE_CELLS_MAX, ROUTES_MAX};

    let mut text = format!(
        "# Metrics

<!-- Generated from src/control/export/names.rs. Do not edit: run `UPDATE=1 cargo test -p control`. -->

`GET /metrics` of the admin API, in the text format of Prometheus (0.0.4). A scrape reads what the
workers have reported, once a second; it touches no data core. Counters start at 0 with the process
and never go backwards, not for routes that are gone either.

Labels are bounded: {ROUTES_MAX} routes have series of their own, with {ROUTE_CELLS_MAX} combinations of listener,
status and reason each and {CELLS_MAX} in all. What comes later is counted under `{OTHER}`. A request that no route
took has the empty route, a response of an endpoint the empty reason; other reasons are those of
[reasons.md](reasons.md). Status 499 means that nobody was left to answer.

| metric | type | labels | says |
|---|---|---|---|
"
    );
    for Metric { name, kind, labels, help } in ALL {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let (labels, kind) = (labels.join(" "), kind.word());
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
        ALL.len()
    }

    /// The metric of that name.
    pub(in crate::export) fn named(name: &str) -> Option<&'static Metric> {
        ALL.iter().find(|it| it.name == name)
    }

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let mut seen = HashSet::new();
        for Metric { name, kind, labels, help } in ALL {
            assert!(seen.insert(name), "{name} twice");
            assert!(name.bytes().all(|it| it == b'_' || it.is_ascii_lowercase()), "{name}");
            assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert!(!labels.contains(&"le"), "{name} has a label of histograms");
            assert!(!help.ends_with('.') && !help.contains(['\n', '\\', '|']), "{help}");
            assert_eq!(named(name).map(|it| it.help), Some(*help));
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
