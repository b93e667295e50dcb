//! `/v1/upstreams`: the upstreams and their endpoints.

use std::collections::BTreeMap;

use engine::balance::EndpointState;
use hyper::StatusCode;
use worker::telemetry::endpoint::{ENDPOINT, EndpointCounts};
use worker::telemetry::report::{EndpointGauges, EndpointNumbers};

use super::super::answer;
use super::super::resource::{AdminContext, Resource};
use super::super::view::{EndpointView, FailureView, NameView, UpstreamView};
use crate::dns::NameStatus;
use crate::export::cause;
use crate::export::merge::EndpointSums;
use crate::node::{EndpointStatus, Node, Status};
use crate::prober::CheckStatus;

pub(super) const fn resource<N: Node>() -> Resource<N> {
    let help = "the upstreams and their endpoints: connections, tries by their end, retries by their \
                cause, and of each endpoint the cores that have ejected it and its last failure";
    Resource::read_only("/v1/upstreams", help, |context| {
        answer::json(StatusCode::OK, &views(context, &context.node.status()))
    })
}

/// The upstreams, by name.
pub(super) fn views<N>(context: &AdminContext<N>, status: &Status) -> Vec<UpstreamView> {
    // An endpoint is shown while the configuration has it or a core reports it. Later it has counts
    // only, and is left out.
    let mut gauges: BTreeMap<(&str, &str), EndpointGauges> = BTreeMap::new();
    let mut states: BTreeMap<(&str, &str), EndpointState> = BTreeMap::new();
    let mut names: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for (upstream, endpoints) in &status.upstreams {
        for EndpointStatus { address, from, state } in endpoints {
            gauges.entry((upstream, address)).or_default();
            states.insert((upstream, address), *state);
            names.entry((upstream, address)).or_default().extend(from.clone());
        }
    }
    for block in status.cores.iter().flat_map(|core| core.block.endpoints.iter()) {
        let EndpointNumbers { gauges: more, .. } = block.numbers;
        *gauges.entry((&block.upstream, &block.endpoint)).or_default() += more;
    }
    let checks = status.checks.iter().map(|it| ((&*it.upstream, &*it.address), it));
    let checks: BTreeMap<(&str, &str), &CheckStatus> = checks.collect();
    let merge = context.counted.merge.borrow();
    let sums: BTreeMap<(&str, &str), &EndpointSums> =
        merge.endpoints().map(|it| ((&*it.upstream, &*it.endpoint), it)).collect();
    let mut upstreams: BTreeMap<&str, UpstreamView> = BTreeMap::new();
    let configured = status.upstreams.iter().map(|(name, _)| &**name);
    for name in configured.chain(gauges.keys().map(|&(name, _)| name)) {
        upstreams.entry(name).or_insert_with(|| UpstreamView {
            name: name.to_owned(),
            idle: 0,
            active: 0,
            draining: Vec::new(),
            retries: BTreeMap::new(),
            names: names_of(status, name),
            endpoints: Vec::new(),
        });
    }
    for (&(name, address), gauges) in &gauges {
        let sums = sums.get(&(name, address)).copied();
        let counts = sums.map(|it| it.counts).unwrap_or_default();
        let Some(upstream) = upstreams.get_mut(name) else { continue };
        upstream.idle += gauges.idle;
        upstream.active += gauges.active;
        for (cause, count) in by_label("ringway_upstream_retries_total", &counts) {
            *upstream.retries.entry(cause).or_default() += count;
        }
        // An endpoint that has left the configuration gets no new request either.
        let state = states.get(&(name, address)).copied().unwrap_or(EndpointState::Draining);
        if states.contains_key(&(name, address)) && state == EndpointState::Draining {
            upstream.draining.push(address.to_owned());
        }
        let check = checks.get(&(name, address));
        upstream.endpoints.push(EndpointView {
            address: address.to_owned(),
            names: names.remove(&(name, address)).unwrap_or_default(),
            state: state.word().to_owned(),
            checks: check.map(|it| it.verdict.word().to_owned()),
            check_trouble: check.and_then(|it| it.trouble.clone()),
            ejected_cores: gauges.ejected,
            idle: gauges.idle,
            active: gauges.active,
            in_flight: gauges.in_flight,
            tries: counts.tries(),
            failed: counts.failed(),
            results: by_label("ringway_upstream_requests_total", &counts),
            connect_failures: by_label("ringway_upstream_connect_failures_total", &counts),
            last_failure: sums
                .and_then(|it| it.last_failure)
                .map(|(unix, failure)| FailureView { unix, cause: cause::of_failure(&failure) }),
        });
    }
    upstreams.into_values().collect()
}

/// The names among the endpoints of an upstream.
fn names_of(status: &Status, upstream: &str) -> Vec<NameView> {
    let named = status.named.iter().filter(|(it, _)| it == upstream);
    let names = named.filter_map(|(_, name)| status.names.iter().find(|it| it.name == *name));
    let view = |it: &NameStatus| NameView {
        name: it.name.clone(),
        addresses: it.addresses as u64,
        age_seconds: it.answered_ago.map(|it| it.as_secs()),
        trouble: it.trouble.clone(),
    };
    names.map(view).collect()
}

/// The numbers of a metric that are not 0, by the value of its label.
fn by_label(metric: &str, counts: &EndpointCounts) -> BTreeMap<String, u64> {
    let series = ENDPOINT.iter().filter(|row| row.metric.name == metric);
    let series = series.flat_map(|row| row.series);
    let numbers = series.map(|it| (it.labels.concat(), (it.value)(counts)));
    numbers.filter(|&(_, count)| count > 0).collect()
}
