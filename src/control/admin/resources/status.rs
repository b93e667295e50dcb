//! `/v1/status`: the state of the node.

use std::collections::BTreeMap;
use std::time::Instant;

use hyper::StatusCode;
use worker::telemetry::report::{ListenerBlock, ListenerGauges};

use super::super::answer;
use super::super::resource::{AdminContext, Resource};
use super::super::view::{
    CoreView, ListenerView, ReasonView, ReloadView, ReloadsView, RequestsView, StatusView,
    TroubleView,
};
use super::upstreams;
use crate::export::metrics::{self, Scrape};
use crate::export::process::Process;
use crate::node::{CoreStatus, Node, Status};

pub(super) const fn resource<N: Node>() -> Resource<N> {
    Resource::read_only("/v1/status", "the data of `ringway status`, as JSON", |context| {
        answer::json(StatusCode::OK, &view(context))
    })
}

fn view<N: Node>(context: &AdminContext<N>) -> StatusView {
    let status = context.node.status();
    let merge = context.counted.merge.borrow();
    let outcomes = merge.outcomes();
    let now = Instant::now();
    let totals = status.totals();
    let cores: Vec<_> = status
        .cores
        .iter()
        .map(|core| core_view(core, merge.requests_per_second(core.core, now)))
        .collect();
    let mut by_listener: BTreeMap<&str, u64> = BTreeMap::new();
    for block in status.cores.iter().map(|core| &core.block) {
        for &ListenerBlock { id, gauges: ListenerGauges { connections, .. }, .. } in
            &block.listeners
        {
            *by_listener.entry(merge.listeners().of(id)).or_default() += connections;
        }
    }
    let scrape = Scrape {
        status: &status,
        log: &context.counted.log,
        process: Process::ask(),
        merge: &merge,
    };
    let trouble =
        |(trouble, count): (&str, u64)| TroubleView { trouble: trouble.to_owned(), count };
    let listener = |(name, address): &(String, String)| ListenerView {
        connections: by_listener.get(&**name).copied().unwrap_or(0),
        name: name.clone(),
        address: address.clone(),
    };
    let [status_1xx, status_2xx, status_3xx, status_4xx, status_5xx] = outcomes.classes;
    let reason = |(token, count): (&str, u64)| ReasonView { reason: token.to_owned(), count };
    StatusView {
        ringway: env!("CARGO_PKG_VERSION").to_owned(),
        config_version: status.version,
        config_posted: status.is_posted,
        driver: status.driver.clone(),
        started_unix: status.started_unix,
        uptime_seconds: status.uptime_seconds,
        draining: status.draining,
        not_ready: context.node.ready(),
        listeners: status.listeners.iter().map(listener).collect(),
        upstreams: upstreams::views(context, &status),
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
