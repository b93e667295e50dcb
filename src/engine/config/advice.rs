//! Keys that other gateways have: the key that does the same here, or a way to do without.
//!
//! Only keys that would otherwise be unknown are looked up, so a row dies with the feature that it
//! waits for: a test finds rows for keys that exist.

use super::document::Document;
use crate::keys::{SectionValue, Shape};

/// An answer about some keys of a table.
struct AdviceRow {
    /// The tables, without the names of objects: `routes.match`. The root is "".
    tables: &'static [&'static str],
    /// The keys, with spaces between.
    keys: &'static str,
    /// Whether it is missing, or written in another way.
    is_missing: bool,
    /// The cure.
    cure: &'static str,
}

impl AdviceRow {
    fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.keys.split_ascii_whitespace()
    }
}

/// The feature is not there. `cure` says how to do without.
const fn missing(
    tables: &'static [&'static str],
    keys: &'static str,
    cure: &'static str,
) -> AdviceRow {
    AdviceRow { tables, keys, is_missing: true, cure }
}

/// The feature has another key. `cure` says which one.
const fn other(
    tables: &'static [&'static str],
    keys: &'static str,
    cure: &'static str,
) -> AdviceRow {
    AdviceRow { tables, keys, is_missing: false, cure }
}

const TOP: &[&str] = &[""];
const LISTENER: &[&str] = &["listeners"];
const UPSTREAM: &[&str] = &["upstreams"];
const ROUTE: &[&str] = &["routes"];
const MATCH: &[&str] = &["routes.match"];
const WITH_LIMITS: &[&str] = &["listeners", "listeners.limits"];
const WITH_TIMEOUTS: &[&str] = &["listeners", "listeners.timeouts"];
const WITH_WAITS: &[&str] = &["upstreams", "upstreams.timeouts"];
const WITH_POOL: &[&str] = &["upstreams", "upstreams.pool"];
const WITH_FILTERS: &[&str] = &["", "listeners", "routes"];

const HTTP_1: &str = "clients and endpoints speak HTTP/1.1";
const IN_ENDPOINT: &str = "do it in the endpoint, or in a proxy in front of the gateway";
const BALANCE: &str =
    "write balance = { hash = \"client_ip\" }, or name a cookie of the application";
const RETRY: &str = "write `retry` in the upstream";

const ROWS: &[AdviceRow] = &[
    // TLS, versions of HTTP and filters, wherever they stand.
    other(TOP, "tls ssl", "write [certificates.NAME], and `tls` in a listener"),
    other(
        LISTENER,
        "ssl https certificate certificates cert key ssl_certificate ssl_certificate_key certs",
        "write tls = { certificates = [\"site\"] }, and the files in [certificates.site]",
    ),
    other(
        &["listeners.tls"],
        "cert key certificate ssl_certificate ssl_certificate_key",
        "write certificates = [\"site\"], and the files in [certificates.site]",
    ),
    other(
        &["listeners.tls"],
        "versions min_version protocols ciphers",
        "write policy = \"modern\" for TLS 1.3, or \"intermediate\" for 1.2 and 1.3",
    ),
    other(
        UPSTREAM,
        "ssl https ca verify server_name sni",
        "write tls = { server_name = \"users.internal\" }",
    ),
    other(&["upstreams.tls"], "sni name host", "write `server_name`"),
    other(
        &["upstreams.tls"],
        "cert key certificate",
        "write client_certificate = \"gateway\", and the files in [certificates.gateway]",
    ),
    other(&["upstreams.tls"], "insecure skip_verify insecure_skip_verify", "write verify = false"),
    missing(
        &["listeners", "listeners.limits", "upstreams"],
        "protocols protocol http2 h2 h2c http3 quic grpc streams_max",
        HTTP_1,
    ),
    other(WITH_FILTERS, "middlewares middleware plugins plugin", "write `filters`"),
    other(
        WITH_FILTERS,
        "request_headers response_headers headers set_headers add_headers add_header \
         proxy_set_header security_headers",
        "write filters = [{ type = \"request_headers\", set = { x-name = \"value\" } }], or \
         \"response_headers\"",
    ),
    other(
        WITH_FILTERS,
        "cors error_page error_pages buffer forward_auth auth_request compress compression gzip mirror \
         fault",
        "write a filter of this type: filters = [{ type = \"cors\", origins = [\"https://a.example\"] }]",
    ),
    other(
        WITH_FILTERS,
        "allow deny ip_allow ip_access",
        "write filters = [{ type = \"ip_access\", allow = [\"10.0.0.0/8\"] }]",
    ),
    other(
        WITH_FILTERS,
        "rate_limit ratelimit rate_limits limit_req throttle",
        "write filters = [{ type = \"rate_limit\", rate = \"100/s\" }]",
    ),
    other(
        WITH_FILTERS,
        "concurrency limit_conn concurrent_requests",
        "write filters = [{ type = \"concurrency\", requests_max = 10 }]",
    ),
    missing(WITH_FILTERS, "jwt auth auth_basic basic_auth cache quota", IN_ENDPOINT),
    other(TOP, "consumer credentials users", "write [consumers.NAME] with `api_keys`"),
    // The root.
    other(
        TOP,
        "server servers http stream",
        "write [listeners.NAME], [routes.NAME] and [upstreams.NAME]",
    ),
    other(
        TOP,
        "listen frontend frontends entrypoints entryPoints entry_points gateways",
        "write [listeners.NAME]",
    ),
    other(TOP, "backend backends clusters cluster services service", "write [upstreams.NAME]"),
    other(
        TOP,
        "location locations routers rules paths vhosts virtual_hosts sites",
        "write [routes.NAME]",
    ),
    other(
        TOP,
        "metrics prometheus stats status api dashboard",
        "leave it out: see `address` in [admin], which serves /metrics and /v1/status",
    ),
    other(
        TOP,
        "log logs logging error_log",
        "leave it out: the log of the process goes to stderr; see [access_log] for requests",
    ),
    other(
        TOP,
        "workers worker_processes threads nbthread cores cpus",
        "write `cores` in [runtime]",
    ),
    other(
        TOP,
        "user group daemon pid chroot",
        "leave it out: let the service manager set it, as config/systemd/ringway.service does",
    ),
    other(TOP, "resolvers resolver dns", "write `resolvers` in [runtime]"),
    // Listeners.
    other(LISTENER, "listen bind port addresses interface", "write address = \"0.0.0.0:8080\""),
    other(
        LISTENER,
        "hosts host hostname hostnames domains domain",
        "write `match.hosts` in a route",
    ),
    other(LISTENER, "server_name", "write `match.hosts` in a route"),
    other(
        LISTENER,
        "routes locations location route",
        "write [routes.NAME], with `match.listeners` if it is not for every listener",
    ),
    other(LISTENER, "access_log", "write [access_log] at the top: it is for all listeners"),
    other(
        LISTENER,
        "real_ip_from set_real_ip_from trusted_ips forwarded_headers",
        "write `trusted_proxies`",
    ),
    other(LISTENER, "accept_proxy proxy", "write proxy_protocol = \"required\""),
    other(
        WITH_LIMITS,
        "client_max_body_size max_body_size max_request_body_size body_max",
        "write `limits.body_bytes_max`",
    ),
    other(WITH_LIMITS, "max_connections maxconn connections", "write `limits.connections_max`"),
    other(
        WITH_LIMITS,
        "max_header_size large_client_header_buffers header_bytes_max",
        "write `limits.head_bytes_max`",
    ),
    other(
        WITH_LIMITS,
        "keepalive_requests max_requests",
        "write `limits.requests_per_connection_max`",
    ),
    other(
        WITH_TIMEOUTS,
        "keepalive keepalive_timeout keep_alive idle_timeout",
        "write `timeouts.idle`",
    ),
    other(
        WITH_TIMEOUTS,
        "client_header_timeout read read_timeout request_header",
        "write `timeouts.head`",
    ),
    other(WITH_TIMEOUTS, "client_body_timeout body body_timeout", "write `timeouts.body_idle`"),
    other(WITH_TIMEOUTS, "send_timeout write write_timeout", "write `timeouts.write_idle`"),
    other(
        WITH_TIMEOUTS,
        "shutdown shutdown_timeout graceful_timeout grace",
        "write `timeouts.drain`",
    ),
    // Upstreams.
    other(
        UPSTREAM,
        "health_check health_checks healthcheck check checks probe",
        "write `health`, such as health = { path = \"/healthz\" }",
    ),
    missing(
        UPSTREAM,
        "breaker circuit_breaker circuit_breakers",
        "leave it out: an endpoint that fails is ejected by itself",
    ),
    other(UPSTREAM, "outlier_detection passive_health max_fails fail_timeout", "write `eject`"),
    other(
        UPSTREAM,
        "lb_policy load_balancing load_balancer policy algorithm strategy lb",
        "write `balance`, such as balance = \"least_requests\"",
    ),
    other(UPSTREAM, "least_conn", "write balance = \"least_requests\""),
    other(UPSTREAM, "random", "write balance = \"random\""),
    other(UPSTREAM, "hash", "write balance = { hash = \"header:x-user\" }"),
    other(UPSTREAM, "ip_hash", "write balance = { hash = \"client_ip\" }"),
    missing(UPSTREAM, "sticky session_affinity cookie", BALANCE),
    other(
        UPSTREAM,
        "retries proxy_next_upstream retry_on proxy_next_upstream_tries",
        "write retry = { tries_max = 3, on = [\"connect_failure\", \"502\"] }",
    ),
    missing(UPSTREAM, "slow_start", "bound the connections by `pool.connections_max`"),
    other(
        UPSTREAM,
        "queue max_pending max_requests max_in_flight max_concurrent_requests",
        "write in_flight = { requests_max = 100 }",
    ),
    missing(UPSTREAM, "proxy_protocol send_proxy", "let the endpoint read `X-Forwarded-For`"),
    other(
        UPSTREAM,
        "resolver resolvers discovery dns srv",
        "write endpoints = [\"users.internal:9000\"] or [\"srv:_http._tcp.users.internal\"]",
    ),
    other(
        UPSTREAM,
        "servers server targets target nodes hosts host addresses address backends url \
         urls members endpoint",
        "write endpoints = [\"127.0.0.1:9000\"]",
    ),
    other(
        UPSTREAM,
        "weight weights",
        "write endpoints = [{ address = \"127.0.0.1:9000\", weight = 2 }]",
    ),
    other(WITH_POOL, "keepalive max_idle idle idle_connections", "write `pool.idle_max`"),
    other(WITH_POOL, "keepalive_timeout idle_conn_timeout", "write `pool.idle_timeout`"),
    other(
        WITH_POOL,
        "max_connections max_conns maxconn connections size max",
        "write `pool.connections_max`",
    ),
    missing(
        &["upstreams.pool"],
        "idle_min age_max requests_max max_age max_requests",
        "bound idle connections by `idle_max` and `idle_timeout`",
    ),
    other(
        WITH_WAITS,
        "connect_timeout proxy_connect_timeout dial dial_timeout",
        "write `timeouts.connect`",
    ),
    other(
        WITH_WAITS,
        "read read_timeout proxy_read_timeout response response_header",
        "write `timeouts.first_byte` and `timeouts.between_bytes`",
    ),
    missing(
        &["upstreams.endpoints"],
        "max_conns max_fails fail_timeout down slow_start",
        "give all endpoints a `weight`, and take dead ones out",
    ),
    other(
        &["upstreams.endpoints"],
        "host port url server ip target",
        "write address = \"127.0.0.1:9000\"",
    ),
    // Routes.
    other(
        ROUTE,
        "strip_prefix strip_path rewrite replace_path prefix_rewrite add_prefix \
         path_rewrite rewrite_path",
        "write filters = [{ type = \"rewrite\", strip_prefix = \"/users\" }]",
    ),
    missing(ROUTE, "limits", "write `limits` in the listener"),
    other(ROUTE, "retry retries", RETRY),
    other(ROUTE, "timeout request_timeout", "write `timeouts.total`"),
    other(WITH_WAITS, "timeout request_timeout request overall", "write `timeouts.total`"),
    other(&["listeners.timeouts"], "total request", "write `timeouts.total` in a route"),
    missing(
        ROUTE,
        "split split_by traffic_split weights weight canary",
        "give one upstream the endpoints of both, with a `weight` each",
    ),
    other(
        ROUTE,
        "priority order",
        "write `match.priority`; without it, the most specific route wins",
    ),
    other(
        ROUTE,
        "listeners listener entrypoints query cookies clients",
        "put it into `match`, such as match = { listeners = [\"web\"] }",
    ),
    missing(
        ROUTE,
        "root alias static files file_server try_files index directory",
        "let a web server serve the files, as an endpoint",
    ),
    other(
        ROUTE,
        "hosts host path path_prefix prefix methods method paths uri location",
        "put it into `match`, such as match = { path_prefix = \"/x\" }",
    ),
    other(
        ROUTE,
        "proxy_pass service backend cluster target endpoint endpoints forward proxy pool \
         to",
        "write upstream = \"NAME\", with its endpoints in [upstreams.NAME]",
    ),
    other(
        ROUTE,
        "return status body response respond direct_response",
        "write reply = { status = 200 }",
    ),
    other(
        ROUTE,
        "websocket websockets upgrade",
        "leave it out: WebSocket may be used on every route; see `upgrades` for others",
    ),
    other(MATCH, "header", "write `headers`"),
    other(MATCH, "query_params query_param params args", "write `query`"),
    other(MATCH, "cookie", "write `cookies`"),
    other(MATCH, "client ip source remote_addr source_ip", "write `clients`"),
    other(MATCH, "listener port entrypoints", "write `listeners`"),
    other(MATCH, "regex path_re regexp", "write `path_regex`"),
    missing(MATCH, "sni scheme", "write `listeners`, with a listener for each"),
    other(MATCH, "prefix uri location", "write `path_prefix`"),
    other(MATCH, "server_name domain domains hostname hostnames", "write `hosts`"),
    other(MATCH, "exact path_exact", "write `path`"),
    // The rest.
    other(&["runtime"], "threads workers worker_processes nbthread", "write `cores`"),
    other(&["runtime"], "resolver dns nameservers", "write resolvers = [\"127.0.0.53:53\"]"),
    other(
        &["runtime"],
        "connections_max max_connections worker_connections",
        "write `limits.connections_max` in a listener",
    ),
    other(&["admin"], "listen port bind host", "write `address`"),
    other(&["admin"], "password auth secret key", "write `token`"),
    other(&["admin"], "enabled enable", "write address = \"off\" to switch it off"),
    missing(&["admin"], "tls ssl", "listen on 127.0.0.1 or a Unix socket, and reach it by ssh"),
    other(&["access_log"], "path file output filename", "write `to`"),
    other(&["access_log"], "enabled enable off", "leave [access_log] out to switch it off"),
    missing(&["access_log"], "template fields buffer sampling", "format = \"json\" has all fields"),
];

/// Why `key` is not known in the table at `path`, and the cure, if more can be said than the keys that
/// there are.
pub(super) fn of_key(path: &str, key: &str) -> Option<(&'static str, String)> {
    let table = table_of(path);
    let row =
        ROWS.iter().find(|row| row.tables.contains(&&*table) && row.keys().any(|it| it == key))?;
    let why = if row.is_missing { "not in Ringway yet" } else { "not a key here" };
    Some((why, row.cure.to_owned()))
}

/// The path of a table without the names of objects and without places in lists.
fn table_of(path: &str) -> String {
    let mut steps = path.split('.');
    let first = steps.next().unwrap_or_default();
    let is_named = |name: &str| {
        let section = Document::section();
        section.keys.iter().any(|key| key.name == name && matches!(key.shape, Shape::Named(_)))
    };
    if is_named(first) {
        steps.next();
    }
    let mut table = first.to_owned();
    for step in steps {
        table.push('.');
        table.push_str(step.split('[').next().unwrap_or_default());
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// All keys that exist, each behind its table.
    fn keys(table: &str, shape: &Shape, found: &mut HashSet<(String, &'static str)>) {
        match shape {
            Shape::Section(section) => {
                for key in &section.keys {
                    found.insert((table.to_owned(), key.name));
                    let path = if table.is_empty() {
                        key.name.to_owned()
                    } else {
                        format!("{table}.{}", key.name)
                    };
                    keys(&path, &key.shape, found);
                }
            }
            Shape::Named(inner) | Shape::List(inner) => keys(table, inner, found),
            Shape::Either(one, other) => {
                keys(table, one, found);
                keys(table, other, found);
            }
            _ => {}
        }
    }

    #[test]
    fn there_is_advice_only_on_keys_that_do_not_exist_in_tables_that_do() {
        let mut exist = HashSet::new();
        keys("", &Shape::Section(Document::section()), &mut exist);
        let tables: HashSet<&str> = exist.iter().map(|(table, _)| table.as_str()).collect();
        let mut seen = HashSet::new();
        for row in ROWS {
            for table in row.tables {
                assert!(tables.contains(table), "{table}");
                for key in row.keys() {
                    assert!(!exist.contains(&((*table).to_owned(), key)), "{table} has {key}");
                    assert!(seen.insert((*table, key)), "{table} {key} stands in two rows");
                }
            }
        }
    }

    #[test]
    fn the_cures_name_keys_that_exist() {
        let mut exist = HashSet::new();
        keys("", &Shape::Section(Document::section()), &mut exist);
        let names: HashSet<&str> = exist.iter().map(|(_, key)| *key).collect();
        for row in ROWS {
            // Quoted words are keys, maybe with the keys around them.
            for quoted in row.cure.split('`').skip(1).step_by(2) {
                let known = quoted.split('.').all(|key| names.contains(key));
                assert!(known || quoted.starts_with("X-"), "{quoted}: {}", row.cure);
            }
        }
    }

    #[test]
    fn a_table_is_found_whatever_its_object_is_called() {
        for (path, table) in [
            ("", ""),
            ("runtime", "runtime"),
            ("listeners.web", "listeners"),
            ("listeners.web.limits", "listeners.limits"),
            ("upstreams.x.endpoints[3]", "upstreams.endpoints"),
            ("routes.match.match", "routes.match"),
        ] {
            assert_eq!(table_of(path), table);
        }
        let (why, cure) = of_key("listeners.web", "http2").unwrap();
        assert_eq!((why, cure.contains("HTTP/1.1")), ("not in Ringway yet", true));
        assert_eq!(of_key("upstreams.x", "servers").unwrap().0, "not a key here");
        assert_eq!(of_key("routes.x", "colour"), None);
    }
}
