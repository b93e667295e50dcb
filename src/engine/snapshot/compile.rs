//! From the model to a table.

use std::hash::BuildHasher;
use std::time::Duration;

use foldhash::quality::FixedState;

use super::{
    Endpoint, FOREVER, Limits, ListenerSettings, ListenerTimeouts, PoolLimits, Route, Table,
    Upstream, UpstreamId, UpstreamTimeouts,
};
use crate::config::{self, Diagnostic, Limit, Model};
use crate::router::{HostRule, Router};

/// Makes version `number` of the model.
///
/// # Errors
/// What concerns several objects, such as two routes for the same requests. (A model as
/// [`config::parse`] gave it has been checked.)
pub fn compile(model: &Model, number: u64) -> Result<Table, Vec<Diagnostic>> {
    let mistakes = config::check(model);
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let document = &model.document;
    let listeners =
        document.listeners.objects.iter().map(|(name, it)| listener(name, it)).collect();
    // In the order of their names: the same objects, written in another order, route the same.
    let mut upstreams: Vec<_> =
        document.upstreams.objects.iter().map(|(name, it)| upstream(name, it)).collect();
    upstreams.sort_by(|one, other| one.name.cmp(&other.name));

    let mut router = Router::default();
    let mut routes = Vec::new();
    let mut written: Vec<_> = document.routes.objects.iter().collect();
    written.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (name, route) in written {
        let by_name = upstreams.binary_search_by(|it| (*it.name).cmp(&route.upstream));
        let index = by_name.ok().and_then(|index| u32::try_from(index).ok());
        let (Some(index), Ok(route_number)) = (index, u32::try_from(routes.len())) else {
            debug_assert!(false, "a checked model has no dangling upstream");
            continue;
        };
        routes.push(Route { name: name.as_str().into(), upstream: UpstreamId(index) });
        let prefix = route.matches.path_prefix.as_ref().map_or("/", |prefix| &prefix.0);
        let hosts = route.matches.hosts.iter().flat_map(|hosts| hosts.iter());
        let any = route.matches.hosts.is_none().then_some(HostRule::Any);
        for host in hosts.map(|host| HostRule::of(&host.0)).chain(any) {
            let taken = router.insert(host, prefix, route_number);
            debug_assert!(taken.is_none(), "a checked model has a place for every route");
        }
    }
    Ok(Table { number, listeners, routes, upstreams, router })
}

fn listener(name: &str, it: &config::Listener) -> ListenerSettings {
    ListenerSettings {
        name: name.into(),
        address: *it.address,
        limits: Limits {
            head_bytes_max: usize::try_from(it.limits.head_bytes_max.0).unwrap_or(usize::MAX),
            headers_max: it.limits.headers_max as usize,
        },
        timeouts: ListenerTimeouts {
            head: it.timeouts.head,
            body_idle: it.timeouts.body_idle,
            idle: it.timeouts.idle,
            write_idle: it.timeouts.write_idle,
            drain: it.timeouts.drain,
        },
    }
}

fn upstream(name: &str, it: &config::Upstream) -> Upstream {
    let endpoint = |it: &config::Spanned<config::Endpoint>| Endpoint {
        address: it.address,
        weight: it.weight,
    };
    let endpoints: Vec<_> = it.endpoints.iter().map(endpoint).collect();
    let pool =
        PoolLimits { idle_max: it.pool.idle_max as usize, idle_timeout: it.pool.idle_timeout };
    let timeouts = UpstreamTimeouts {
        connect: it.timeouts.connect,
        first_byte: or_forever(it.timeouts.first_byte),
        between_bytes: or_forever(it.timeouts.between_bytes),
    };
    // The hasher's seed is fixed: the same upstream has the same identity in every version.
    let identity = FixedState::default().hash_one((name, &endpoints, pool, timeouts));
    Upstream { name: name.into(), identity, endpoints, pool, timeouts }
}

fn or_forever(limit: Limit<Duration>) -> Duration {
    match limit {
        Limit::At(duration) => duration,
        Limit::Off => FOREVER,
    }
}
