//! What can be asked: a path and a method, and what the node says to it.
//!
//! Invariant: nothing but a request for a change waits for anybody.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use engine::config::{DIAGNOSTICS_SHOWN_MAX, Diagnostic};
use hyper::body::Incoming;
use hyper::header::{ALLOW, ETAG, IF_MATCH, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use worker::telemetry::report::{EndpointBlock, EndpointGauges, ListenerGauges};

use super::answer::{self, Answer, Body, Problem};
use super::body::Bodies;
use super::guard::{Guard, TOML, check_content_type};
use super::slots::Slot;
use super::view::{
    CoreView, ListenerView, ReasonView, ReloadView, ReloadsView, RequestsView, StatusView,
    TroubleView, UpstreamView,
};
use crate::export::Counted;
use crate::export::metrics::{self, Scrape};
use crate::export::process::Process;
use crate::export::prometheus::{self, Exposition};
use crate::node::{Applied, Change, CoreStatus, Node, Refused, Status};

/// What requests are answered from.
pub(super) struct Api<N> {
    node: Rc<N>,
    counted: Counted,
    guard: Guard,
    bodies: Bodies,
}

/// What a change came to.
#[derive(Serialize)]
struct Changed {
    version: u64,
    unchanged: bool,
    dry_run: bool,
    lagging: Vec<usize>,
    warnings: Vec<Value>,
    micros: u64,
}

impl<N: Node> Api<N> {
    pub(super) fn new(node: Rc<N>, counted: Counted, guard: Guard) -> Self {
        Self { node, counted, guard, bodies: Bodies::default() }
    }

    /// Answers a request.
    pub(super) async fn answer(&self, request: Request<Incoming>, slot: &Slot) -> Answer {
        let (parts, body) = request.into_parts();
        let answered = match self.guard.check(&parts) {
            Ok(()) => self.resource(&parts, body, slot).await,
            Err(problem) => Err(problem),
        };
        answered.unwrap_or_else(Problem::answer)
    }

    async fn resource(
        &self,
        request: &Parts,
        body: Incoming,
        slot: &Slot,
    ) -> Result<Answer, Problem> {
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        match request.uri.path() {
            "/livez" if reads => Ok(answer::json(StatusCode::OK, &json!({ "live": true }))),
            "/readyz" if reads => Ok(self.ready()),
            "/metrics" if reads => Ok(self.metrics()),
            "/v1/status" if reads => Ok(answer::json(StatusCode::OK, &self.status())),
            "/v1/config" if reads => Ok(self.config()),
            "/v1/config" if matches!(request.method, Method::POST | Method::PUT) => {
                self.change(request, body, slot).await
            }
            "/v1/config" => Err(not_allowed("GET, HEAD, POST, PUT")),
            "/livez" | "/readyz" | "/metrics" | "/v1/status" => Err(not_allowed("GET, HEAD")),
            path => {
                let detail = format!(
                    "there is nothing at {path}; there are /livez, /readyz, /metrics, /v1/status \
                     and /v1/config"
                );
                Err(Problem::new(StatusCode::NOT_FOUND, "not_found", detail))
            }
        }
    }

    fn ready(&self) -> Answer {
        let reasons = self.node.ready();
        let ready = reasons.is_empty();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        answer::json(status, &json!({ "ready": ready, "reasons": reasons }))
    }

    fn metrics(&self) -> Answer {
        let Counted { merge, log } = &self.counted;
        let exposition = Exposition::new(Rc::clone(merge), log, &self.node.status());
        let body = Body::Metrics(Box::new(exposition));
        answer::answer(StatusCode::OK, prometheus::CONTENT_TYPE, body)
    }

    fn config(&self) -> Answer {
        let body = Body::Whole(Some(self.node.config().into()));
        let answer = answer::answer(StatusCode::OK, TOML, body);
        answer::with(answer, ETAG, &tag(self.node.status().version))
    }

    fn status(&self) -> StatusView {
        let status = self.node.status();
        let merge = self.counted.merge.borrow();
        let outcomes = merge.outcomes();
        let now = Instant::now();
        let totals = status.totals();
        let cores: Vec<_> = status
            .cores
            .iter()
            .map(|core| core_view(core, merge.requests_per_second(core.core, now)))
            .collect();
        let mut by_listener: BTreeMap<&str, u64> = BTreeMap::new();
        let mut by_upstream: BTreeMap<&str, EndpointGauges> = BTreeMap::new();
        for block in status.cores.iter().map(|core| &core.block) {
            for &(id, ListenerGauges { connections, .. }) in &block.listeners {
                *by_listener.entry(merge.listeners().of(id)).or_default() += connections;
            }
            for EndpointBlock { upstream, gauges, .. } in block.endpoints.iter() {
                *by_upstream.entry(upstream).or_default() += *gauges;
            }
        }
        let scrape = Scrape {
            status: &status,
            log: &self.counted.log,
            process: Process::ask(),
            listeners: merge.listeners(),
        };
        let trouble =
            |(trouble, count): (&str, u64)| TroubleView { trouble: trouble.to_owned(), count };
        let listener = |(name, address): &(String, String)| ListenerView {
            connections: by_listener.get(&**name).copied().unwrap_or(0),
            name: name.clone(),
            address: address.clone(),
        };
        let upstream = |(&name, &EndpointGauges { idle, active }): (&&str, &_)| UpstreamView {
            name: name.to_owned(),
            idle,
            active,
        };
        let [status_1xx, status_2xx, status_3xx, status_4xx, status_5xx] = outcomes.classes;
        let reason = |(token, count): (&str, u64)| ReasonView { reason: token.to_owned(), count };
        StatusView {
            ringway: env!("CARGO_PKG_VERSION").to_owned(),
            config_version: status.version,
            driver: status.driver.clone(),
            started_unix: status.started_unix,
            uptime_seconds: status.uptime_seconds,
            draining: status.draining,
            not_ready: self.node.ready(),
            listeners: status.listeners.iter().map(listener).collect(),
            upstreams: by_upstream.iter().map(upstream).collect(),
            requests: RequestsView {
                total: totals.requests,
                per_second: cores.iter().map(|core| core.requests_per_second).sum(),
                per_second_since_start: per_second(totals.requests, status.uptime_seconds),
                status_1xx,
                status_2xx,
                status_3xx,
                status_4xx,
                status_5xx,
                reasons: outcomes.reasons.into_iter().map(reason).collect(),
                retries: totals.retries,
            },
            reloads: reloads_view(&status),
            troubles: metrics::troubles(&scrape).into_iter().map(trouble).collect(),
            cores,
        }
    }

    /// `POST /v1/config`: the body is the new configuration; with `?reload=1` the file is.
    async fn change(
        &self,
        request: &Parts,
        body: Incoming,
        slot: &Slot,
    ) -> Result<Answer, Problem> {
        let Query { dry_run, reload } = query(request.uri.query().unwrap_or(""))?;
        let if_match = if_match(&request.headers)?;
        if !reload {
            check_content_type(&request.headers)?;
        }
        let body = self.bodies.read(body).await?;
        let text = match (body.is_empty(), reload) {
            (true, true) => None,
            (false, false) => Some(text(body)?),
            (true, false) => {
                let detail = "there is no configuration in the body; to read the file again, ask \
                    for /v1/config?reload=1";
                return Err(Problem::new(StatusCode::BAD_REQUEST, "empty_body", detail));
            }
            (false, true) => {
                let detail = "with reload=1 the file is read and the body must be empty";
                return Err(Problem::new(StatusCode::BAD_REQUEST, "body_and_reload", detail));
            }
        };
        let change = Change { text, dry_run, if_match };
        match slot.busy(self.node.apply(change)).await {
            Ok(applied) => Ok(changed(applied, dry_run)),
            Err(refused) => Err(problem(refused)),
        }
    }
}

fn changed(applied: Applied, dry_run: bool) -> Answer {
    let Applied { version, unchanged, lagging, warnings, micros } = applied;
    let warnings = shown(&warnings);
    let changed = Changed { version, unchanged, dry_run, lagging, warnings, micros };
    answer::with(answer::json(StatusCode::OK, &changed), ETAG, &tag(version))
}

fn problem(refused: Refused) -> Problem {
    match refused {
        Refused::Diagnostics(diagnostics) => {
            let detail = "the configuration has mistakes; the one that was live stays live";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_config", detail)
                .member("diagnostics", shown(&diagnostics))
                .member("diagnostics_total", diagnostics.len())
        }
        Refused::Conflict { version } => {
            let detail = format!("version {version} is live, and the change is for another one");
            Problem::new(StatusCode::PRECONDITION_FAILED, "conflict", detail)
                .member("version", version)
                .header(ETAG, tag(version))
        }
        Refused::Busy => {
            let detail = "too many changes wait already; try again";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).header(RETRY_AFTER, "1")
        }
        Refused::Cannot(detail) => Problem::new(StatusCode::CONFLICT, "cannot_apply", detail),
    }
}

/// The first of them. Behind a text that is no configuration at all can be very many.
fn shown(diagnostics: &[Diagnostic]) -> Vec<Value> {
    diagnostics.iter().take(DIAGNOSTICS_SHOWN_MAX).map(Diagnostic::to_json).collect()
}

fn not_allowed(methods: &str) -> Problem {
    let detail = format!("only {methods} can be asked here");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        .header(ALLOW, methods)
}

fn text(body: Vec<u8>) -> Result<String, Problem> {
    String::from_utf8(body).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let detail = format!("the configuration is not UTF-8: see byte {at}");
        Problem::new(StatusCode::BAD_REQUEST, "not_utf8", detail)
    })
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    dry_run: bool,
    reload: bool,
}

fn query(text: &str) -> Result<Query, Problem> {
    let mut query = Query::default();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, "1"));
        let bad = |detail| Problem::new(StatusCode::BAD_REQUEST, "query", detail);
        let flag = match name {
            "dry_run" => &mut query.dry_run,
            "reload" => &mut query.reload,
            _ => return Err(bad(format!("\"{name}\" is not known; there are dry_run and reload"))),
        };
        *flag = match value {
            "1" | "true" => true,
            "0" | "false" => false,
            _ => return Err(bad(format!("{name} is 1 or 0, not \"{value}\""))),
        };
    }
    Ok(query)
}

/// The version that a change is for, of `If-Match: "7"`.
fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut sent = headers.get_all(IF_MATCH).iter();
    let (first, more) = (sent.next(), sent.next());
    let Some(first) = first else { return Ok(None) };
    let text = first.to_str().unwrap_or_default().trim();
    let version = text.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    match version.and_then(|it| it.parse().ok()) {
        Some(version) if more.is_none() => Ok(Some(version)),
        // Some version is live always.
        None if text == "*" && more.is_none() => Ok(None),
        _ => {
            let detail = "If-Match is the ETag of /v1/config: one version in quotes, such as \"7\"";
            Err(Problem::new(StatusCode::BAD_REQUEST, "if_match", detail))
        }
    }
}

fn tag(version: u64) -> String {
    format!("\"{version}\"")
}

fn core_view(core: &CoreStatus, requests_per_second: f64) -> CoreView {
    CoreView {
        core: core.core,
        cpu: core.cpu,
        config_version: core.version,
        connections: core.connections(),
        requests: core.block.totals.requests,
        requests_per_second,
        busy_ratio: core.busy_ratio,
        buffer_bytes_lent: core.block.buffer_bytes_lent,
    }
}

fn reloads_view(status: &Status) -> ReloadsView {
    let last = status.last_reload.as_ref().map(|(unix, result)| ReloadView {
        unix: *unix,
        version: result.as_ref().ok().copied(),
        error: result.as_ref().err().cloned(),
    });
    ReloadsView {
        ok: status.reloads_ok,
        unchanged: status.reloads_unchanged,
        refused: status.reloads_refused,
        last,
    }
}

fn per_second(count: u64, seconds: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}
