//! Compiles a model into a snapshot.

use proto::path;

use super::{
    Action, Companion, Endpoint, Identities, InFlightLimit, ListenerSettings, Merged,
    NamedEndpoint, Route, Snapshot, Upgrades, Upstream, UpstreamId, added,
};
use crate::auth::{Consumer, Consumers, KeyHash};
use crate::config::{self, Model};
use crate::filter::{FilterId, FilterUse, NamedFilter};
use crate::keys::Spanned;
use crate::names::AddressOrName;
use crate::pattern::ValuePattern;
use crate::retry::Policy;
use crate::router::{Predicates, Router};

/// Makes version `number` of a model from [`config::parse`], which has reported every mistake in it.
#[must_use]
pub fn compile(model: &Model, number: u64, identities: &mut Identities) -> Snapshot {
    let document = &model.document;
    let filters = filters(document);
    let mut listeners: Vec<_> = document
        .listeners
        .objects
        .iter()
        .map(|(name, it)| listener(name, it, &filters, identities))
        .collect();
    listeners.sort_by_key(|it| it.id);
    // Sorted by name, so that the order of the objects in the text does not change the routing.
    let mut upstreams: Vec<_> =
        document.upstreams.objects.iter().map(|(name, it)| upstream(name, it)).collect();
    let limits = limits(document, identities);
    let limit_of = |section: &str, name: &str| {
        let of = format!("{section}.{name}");
        limits.binary_search_by(|it: &InFlightLimit| (*it.of).cmp(&of)).ok()
    };
    for upstream in upstreams.iter_mut().filter(|_| !limits.is_empty()) {
        upstream.in_flight = limit_of("upstreams", &upstream.name);
    }
    upstreams.sort_by(|one, other| one.name.cmp(&other.name));

    let mut written: Vec<_> = document.routes.objects.iter().collect();
    written.sort_by(|(one, _), (other, _)| (***one).cmp(other));
    let mut routes = Vec::with_capacity(written.len());
    let mut rules = Vec::with_capacity(written.len());
    let mut predicates_of_routes = Vec::with_capacity(written.len());
    for (name, route) in written {
        let Some(action) = action(&route.destination, &upstreams) else {
            debug_assert!(false, "a checked model has no dangling upstream");
            continue;
        };
        // There are fewer routes than bytes in a configuration, and fewer of those than 2^32.
        let number = u32::try_from(routes.len()).unwrap_or(u32::MAX);
        rules.extend(route.matches.rules(number));
        predicates_of_routes.push(predicates(&route.matches, &listeners));
        let upstream = match action {
            Action::Upstream(UpstreamId(index)) => upstreams.get(index as usize),
            Action::Redirect(_) | Action::Reply(_) => None,
        };
        let timeouts = route.timeouts.over(upstream.map(|it| it.timeouts).unwrap_or_default());
        let parameters = route.matches.parameters();
        routes.push(Route {
            name: (***name).into(),
            action,
            filters: used(&filters, "routes", name, &route.filters),
            upgrades: upgrades(route),
            timeouts,
            deadline_header: route.timeouts.deadline_header.as_ref().map(|it| it.0.as_str().into()),
            in_flight: if limits.is_empty() { None } else { limit_of("routes", name) },
            parameters,
        });
    }
    if predicates_of_routes.iter().all(Option::is_none) {
        predicates_of_routes = Vec::new();
    }
    let router = Router::new(rules, predicates_of_routes);
    let records = document.access_log.is_some();
    let companion = Companion::default();
    let consumers = consumers(document);
    Snapshot {
        number,
        listeners,
        routes,
        upstreams,
        filters,
        consumers,
        limits,
        records,
        companion,
        router,
    }
}

/// The consumers with their credentials.
fn consumers(document: &config::Document) -> Consumers {
    let mut consumers = Consumers::default();
    for (name, it) in &document.consumers.objects {
        let keys: Vec<KeyHash> = it.api_keys.iter().map(|key| **key).collect();
        consumers.add(Consumer { name: (***name).into(), groups: it.groups.clone() }, &keys);
    }
    consumers
}

/// The predicates of a route beside host, path and method.
fn predicates(matches: &config::Match, listeners: &[ListenerSettings]) -> Option<Box<Predicates>> {
    if matches.predicates() == 0 {
        return None;
    }
    let ids = |names: &Vec<Spanned<String>>| {
        let id = |name: &Spanned<String>| listeners.iter().find(|it| *it.name == **name);
        names.iter().filter_map(id).map(|it| it.id).collect()
    };
    Some(Box::new(Predicates {
        listeners: matches.listeners.as_deref().map(ids),
        clients: matches.clients.as_deref().map(|it| it.as_slice().into()),
        headers: matches.headers.iter().map(owned).collect(),
        query: matches.query.iter().map(owned).collect(),
        cookies: matches.cookies.iter().map(owned).collect(),
    }))
}

fn owned((name, pattern): (&str, &ValuePattern)) -> (Box<str>, ValuePattern) {
    (name.into(), pattern.clone())
}

/// The limits of requests in flight, in the order of the objects that have them.
fn limits(document: &config::Document, identities: &mut Identities) -> Vec<InFlightLimit> {
    let upstreams = document.upstreams.objects.iter();
    let upstreams = upstreams.map(|(name, it)| ("upstreams", name, it.in_flight));
    let routes = document.routes.objects.iter();
    let routes = routes.map(|(name, it)| ("routes", name, *it.in_flight));
    let limited = upstreams.chain(routes).filter(|(_, _, it)| !it.requests_max.is_off());
    let mut limits: Vec<_> = limited
        .map(|(section, name, settings)| {
            let of = format!("{section}.{}", **name);
            let id = identities.limit(&of, settings.requests_max.value());
            InFlightLimit { id, of: of.into(), settings }
        })
        .collect();
    limits.sort_by(|one, other| one.of.cmp(&other.of));
    limits
}

/// The action of a route; `None` if it names an upstream that does not exist.
fn action(written: &config::Destination, upstreams: &[Upstream]) -> Option<Action> {
    Some(match written {
        config::Destination::Upstream(name) => {
            let index = upstreams.binary_search_by(|it| (*it.name).cmp(name)).ok()?;
            Action::Upstream(UpstreamId(u32::try_from(index).ok()?))
        }
        config::Destination::Redirect(redirect) => Action::Redirect(redirect.clone()),
        config::Destination::Reply(reply) => Action::Reply(reply.clone()),
    })
}

fn upgrades(route: &config::Route) -> Upgrades {
    let Some(listed) = &route.upgrades else { return Upgrades::WebSocket };
    Upgrades::Listed(listed.iter().map(|it| it.0.as_str().into()).collect())
}

/// All filters in the order of their names: those with a name, and those that stand in a list, which
/// are named by their place.
fn filters(document: &config::Document) -> Vec<NamedFilter> {
    let named = document.filters.objects.iter();
    let mut filters: Vec<_> = named
        .map(|(name, it)| NamedFilter { name: (***name).into(), settings: it.clone() })
        .collect();
    let listeners = document.listeners.objects.iter().map(|(name, it)| (name, &it.filters));
    let routes = document.routes.objects.iter().map(|(name, it)| (name, &it.filters));
    let listeners = listeners.map(|(name, it)| ("listeners", name, it));
    for (section, name, list) in listeners.chain(routes.map(|(name, it)| ("routes", name, it))) {
        for (index, it) in list.iter().enumerate() {
            if let FilterUse::Own(settings) = &**it {
                let name = place(section, name, index).into();
                filters.push(NamedFilter { name, settings: (**settings).clone() });
            }
        }
    }
    filters.sort_by(|one, other| one.name.cmp(&other.name));
    filters
}

/// The place of a filter without a name, which no name of an object can look like.
fn place(section: &str, object: &str, index: usize) -> String {
    format!("{section}.{object}.filters[{index}]")
}

/// The filters in the list of an object.
fn used(
    filters: &[NamedFilter],
    section: &str,
    object: &str,
    list: &[Spanned<FilterUse>],
) -> Box<[FilterId]> {
    let id = |(index, it): (usize, &Spanned<FilterUse>)| {
        let own;
        let name = match &**it {
            FilterUse::Named(name) => name,
            FilterUse::Own(_) => {
                own = place(section, object, index);
                &own
            }
        };
        let index = filters.binary_search_by(|it| (*it.name).cmp(name));
        debug_assert!(index.is_ok(), "a checked model has no dangling filter");
        u32::try_from(index.ok()?).ok().map(FilterId)
    };
    list.iter().enumerate().filter_map(id).collect()
}

fn listener(
    name: &str,
    it: &config::Listener,
    filters: &[NamedFilter],
    identities: &mut Identities,
) -> ListenerSettings {
    ListenerSettings {
        id: identities.listener(name, &it.address),
        name: name.into(),
        address: (*it.address).clone(),
        tls: it.tls.clone(),
        proxy_protocol: it.proxy_protocol,
        trusted_proxies: it.trusted_proxies.as_slice().into(),
        filters: used(filters, "listeners", name, &it.filters),
        paths: path::Rules { form: it.path, encoded_slash: it.encoded_slash },
        limits: it.limits,
        timeouts: it.timeouts,
    }
}

fn upstream(name: &str, it: &config::Upstream) -> Upstream {
    let mut endpoints = Merged::default();
    let mut names = Vec::<NamedEndpoint>::new();
    for written in it.endpoints.iter() {
        let share = written.share();
        match &written.address {
            AddressOrName::Place(address) => {
                endpoints.add(Endpoint { address: address.clone(), share });
            }
            // A name that is written twice counts twice, as an address does.
            AddressOrName::Name(name) => match names.iter_mut().find(|it| it.name == *name) {
                Some(same) => same.share = added(same.share, share),
                None => names.push(NamedEndpoint { name: name.clone(), share }),
            },
        }
    }
    Upstream {
        name: name.into(),
        endpoints: endpoints.endpoints,
        names,
        balance: it.balance.clone(),
        pool: it.pool,
        timeouts: it.timeouts,
        retry: Policy::new(&it.retry),
        eject: it.eject.on().copied(),
        in_flight: None,
        tls: it.tls.clone(),
        companion: Companion::default(),
    }
}
