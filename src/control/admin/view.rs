//! How the node stands, as `GET /v1/status` says it: the shape of the JSON, for both sides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// The version of Ringway.
    pub ringway: String,
    /// The version of the configuration that is live, counted from 1 at each start.
    pub config_version: u64,
    /// The live configuration was posted, and the file does not say the same: a restart goes back to
    /// the file.
    pub config_posted: bool,
    /// How it does its I/O.
    pub driver: String,
    /// When it started, in seconds since 1970.
    pub started_unix: u64,
    /// For how long it has been running.
    pub uptime_seconds: f64,
    /// It takes nothing new and ends when everything has finished.
    pub draining: bool,
    /// Why it should get no traffic; nothing: it should.
    pub not_ready: Vec<String>,
    /// Where it listens.
    pub listeners: Vec<ListenerView>,
    /// Connections to endpoints.
    pub upstreams: Vec<UpstreamView>,
    /// Requests since the start.
    pub requests: RequestsView,
    /// Changes of the configuration since the start.
    pub reloads: ReloadsView,
    /// Counts that stay 0 while all is well, and are not.
    pub troubles: Vec<TroubleView>,
    /// Its cores, by number.
    pub cores: Vec<CoreView>,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerView {
    /// Its name in the configuration.
    pub name: String,
    /// The address that it has.
    pub address: String,
    /// Client connections open.
    pub connections: u64,
}

/// One upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamView {
    /// Its name in the configuration.
    pub name: String,
    /// Connections that wait in a pool.
    pub idle: u64,
    /// Connections that carry a request.
    pub active: u64,
    /// The addresses of its endpoints that drain.
    #[serde(default)]
    pub draining: Vec<String>,
    /// Further tries of requests, by their cause; causes that did not occur are absent.
    pub retries: BTreeMap<String, u64>,
    /// The names among its endpoints in the configuration.
    #[serde(default)]
    pub names: Vec<NameView>,
    /// Its endpoints: those of the configuration, those that a name stands for, and those that still
    /// have connections.
    pub endpoints: Vec<EndpointView>,
}

/// One name that DNS resolves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameView {
    /// The name.
    pub name: String,
    /// How many addresses it stands for.
    pub addresses: u64,
    /// Seconds since the last answer of DNS that had addresses; nothing: there was none.
    pub age_seconds: Option<u64>,
    /// The trouble with the last answer. The addresses stay as they were.
    pub trouble: Option<String>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointView {
    /// Its address.
    pub address: String,
    /// The names that stand for it.
    #[serde(default)]
    pub names: Vec<String>,
    /// Whether it gets new requests: "ready" or "drain".
    pub state: String,
    /// The result of its checks: "passing", "failing", or "unknown" before the first one. Absent
    /// where there are none.
    #[serde(default)]
    pub checks: Option<String>,
    /// The trouble with its last check.
    #[serde(default)]
    pub check_trouble: Option<String>,
    /// The cores that send it no requests now, because tries have failed.
    #[serde(default)]
    pub ejected_cores: u64,
    /// Connections that wait in a pool.
    pub idle: u64,
    /// Connections that carry a request.
    pub active: u64,
    /// Tries that run.
    pub in_flight: u64,
    /// Tries that ended.
    pub tries: u64,
    /// Tries that it failed.
    pub failed: u64,
    /// Tries by their end, as in `ringway_upstream_requests_total`; absent where there were none.
    pub results: BTreeMap<String, u64>,
    /// Failed connects, as in `ringway_upstream_connect_failures_total`.
    pub connect_failures: BTreeMap<String, u64>,
    /// Its last failure.
    pub last_failure: Option<FailureView>,
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureView {
    /// When, in seconds since 1970.
    pub unix: u64,
    /// The stage and the exact cause.
    pub cause: String,
}

/// Requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestsView {
    /// All that ended.
    pub total: u64,
    /// Those that ended between the last two reports of the cores, per second.
    pub per_second: f64,
    /// Those that ended since the start, per second of it.
    pub per_second_since_start: f64,
    /// With a status below 200.
    pub status_1xx: u64,
    /// With a status of 200 to 299.
    pub status_2xx: u64,
    /// With a status of 300 to 399.
    pub status_3xx: u64,
    /// With a status of 400 to 499; 499 means that the client had left.
    pub status_4xx: u64,
    /// With a status of 500 to 599.
    pub status_5xx: u64,
    /// Why the gateway answered by itself, the most frequent reason first.
    pub reasons: Vec<ReasonView>,
    /// Second tries.
    pub retries: u64,
}

/// How often a reason was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonView {
    /// Its token, as in answers.
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// A count that should be 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TroubleView {
    /// The trouble.
    pub trouble: String,
    /// How often.
    pub count: u64,
}

/// Changes of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadsView {
    /// Taken.
    pub ok: u64,
    /// Live already.
    pub unchanged: u64,
    /// Refused.
    pub refused: u64,
    /// The last one that was taken or refused.
    pub last: Option<ReloadView>,
}

/// One change of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadView {
    /// When, in seconds since 1970.
    pub unix: u64,
    /// The version that it made.
    pub version: Option<u64>,
    /// Why it was refused.
    pub error: Option<String>,
}

/// One core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CoreView {
    /// Its number, from 0.
    pub core: usize,
    /// The CPU that it is pinned to.
    pub cpu: usize,
    /// The version that it serves by.
    pub config_version: u64,
    /// Client connections open.
    pub connections: u64,
    /// Requests that ended since the start.
    pub requests: u64,
    /// Those between its last two reports, per second.
    pub requests_per_second: f64,
    /// The share of its time that it computed between its last two reports, 0 to 1.
    pub busy_ratio: f64,
    /// Bytes of buffers that are lent.
    pub buffer_bytes_lent: u64,
}
