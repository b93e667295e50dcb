//! A configuration as the workers use it: numbered, compiled, immutable.
//!
//! [`compile()`] makes a [`Snapshot`] from a model. Each core owns a copy, so a lookup touches the
//! memory of one core only. Pools, balancers and counters live longer than a snapshot: the worker
//! keeps them in slots that it finds by the name of an upstream, the address of an endpoint and the
//! [`ListenerId`]. [`Identities`] holds the ids that must stay the same from version to version.
//!
//! Invariant: every [`UpstreamId`] and [`RouteId`] in a snapshot is an index into that snapshot.

mod action;
mod companion;
mod compile;
mod identity;
#[cfg(test)]
pub(crate) mod tests;

use std::borrow::Cow;
use std::collections::HashMap;

use foldhash::fast::FixedState;
use proto::path;
use proto::upgrade::is_same;

pub use action::Action;
pub use companion::Companion;
pub use compile::compile;
pub use identity::Identities;

use crate::address::{Address, Network};
use crate::auth::Consumers;
use crate::balance::EndpointShare;
pub use crate::config::{
    Balance, EjectRules, InFlight, ListenerLimits, ListenerTimeouts, ListenerTls, PoolLimits,
    ProxyProtocol, UpstreamTimeouts, UpstreamTls,
};
pub use crate::filter::{FilterId, NamedFilter};
use crate::limit::LimitId;
use crate::names::{Answers, DnsName};
pub use crate::request::ListenerId;
use crate::request::RequestFacts;
use crate::retry::Policy;
use crate::router::{Hit, PathParameters, Router};

/// One version of the configuration.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The version, counted from 1 by the control thread.
    pub number: u64,
    /// The listeners, in the order of their ids. In the first version this is the order of the
    /// configuration.
    pub listeners: Vec<ListenerSettings>,
    /// The routes, in the order of their names. A [`RouteId`] is an index into them.
    pub routes: Vec<Route>,
    /// The upstreams, in the order of their names. An [`UpstreamId`] is an index into them.
    pub upstreams: Vec<Upstream>,
    /// The filters. A [`FilterId`] is an index into them.
    pub filters: Vec<NamedFilter>,
    /// The consumers.
    pub consumers: Consumers,
    /// The limits of requests in flight, in the order of the objects that have them.
    pub limits: Vec<InFlightLimit>,
    /// Whether each exchange leaves a record: an access log is configured.
    pub records: bool,
    /// The objects that all cores share.
    pub companion: Companion,
    router: Router,
}

/// The result of looking up a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'s> {
    /// This route.
    Route(RouteId, &'s Route),
    /// No route, but there are routes that the request fits in all but its method: [`Snapshot::allow`]
    /// lists those. The answer is 405.
    WrongMethod,
    /// No route. The answer is 404.
    None,
}

impl Snapshot {
    /// The route for a request. [`router`](crate::router) says which of several routes goes first.
    /// Allocates nothing.
    #[must_use]
    pub fn route(&self, request: &RequestFacts<'_>) -> Found<'_> {
        match self.router.find(request) {
            Hit::Route(number) => match self.routes.get(number as usize) {
                Some(route) => Found::Route(RouteId(number), route),
                None => Found::None,
            },
            Hit::WrongMethod => Found::WrongMethod,
            Hit::None => Found::None,
        }
    }

    /// The limit of this object, if it has one.
    #[must_use]
    pub fn limit_of(&self, object: &str) -> Option<&InFlightLimit> {
        let index = self.limits.binary_search_by(|it| (*it.of).cmp(object)).ok()?;
        self.limits.get(index)
    }

    /// The route with this name.
    #[must_use]
    pub fn route_by_name(&self, name: &str) -> Option<RouteId> {
        let index = self.routes.binary_search_by(|it| (*it.name).cmp(name)).ok()?;
        u32::try_from(index).ok().map(RouteId)
    }

    /// Appends to `out` the value of `Allow` (RFC 9110 section 10.2.1) after [`Found::WrongMethod`]
    /// for the same request: every method with which a route would take it, in alphabetical order, with
    /// ", " between.
    pub fn allow(&self, request: &RequestFacts<'_>, out: &mut Vec<u8>) {
        for (index, method) in self.router.methods(request).into_iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(method.as_bytes());
        }
    }

    /// The filter with this name, if this version has it.
    #[must_use]
    pub fn filter_by_name(&self, name: &str) -> Option<&NamedFilter> {
        let index = self.filters.binary_search_by(|it| (*it.name).cmp(name)).ok()?;
        self.filters.get(index)
    }

    /// The listener with this id, if this version has it.
    #[must_use]
    pub fn listener(&self, id: ListenerId) -> Option<&ListenerSettings> {
        let index = self.listeners.binary_search_by_key(&id, |it| it.id).ok()?;
        self.listeners.get(index)
    }

    /// The upstream with this id, which a route of this snapshot holds.
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        reason = "an id comes from this snapshot: see the invariant"
    )]
    pub fn upstream(&self, id: UpstreamId) -> &Upstream {
        &self.upstreams[id.0 as usize]
    }

    /// The upstream of that name.
    #[must_use]
    pub fn upstream_by_name(&self, name: &str) -> Option<UpstreamId> {
        let index = self.upstreams.binary_search_by(|it| (*it.name).cmp(name)).ok()?;
        u32::try_from(index).ok().map(UpstreamId)
    }
}

/// A bound address and its protocol settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Its id, the same in every version.
    pub id: ListenerId,
    /// Its name in the configuration.
    pub name: Box<str>,
    /// The address that it listens on. With port 0 the kernel chooses a port.
    pub address: Address,
    /// TLS, if its clients speak it. The certificates themselves come beside the snapshot.
    pub tls: Option<ListenerTls>,
    /// Whether its connections begin with a PROXY protocol header.
    pub proxy_protocol: ProxyProtocol,
    /// The proxies whose forwarding headers the gateway trusts.
    pub trusted_proxies: Box<[Network]>,
    /// The filters of all its requests, in order.
    pub filters: Box<[FilterId]>,
    /// How it normalises the paths of requests.
    pub paths: path::Rules,
    /// How much its clients may ask for.
    pub limits: ListenerLimits,
    /// How long a client may keep the gateway waiting.
    pub timeouts: ListenerTimeouts,
}

/// A route without its match rule, which is in the snapshot's router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// The action for its requests.
    pub action: Action,
    /// The filters of its requests, in order.
    pub filters: Box<[FilterId]>,
    /// The protocols that its clients may switch to.
    pub upgrades: Upgrades,
    /// The timeouts of its requests at the upstream.
    pub timeouts: UpstreamTimeouts,
    /// The header that tells an endpoint the time for the whole request.
    pub deadline_header: Option<Box<str>>,
    /// The limit of its requests in flight, if it has one: an index into [`Snapshot::limits`].
    pub in_flight: Option<usize>,
    /// The parameters of its path.
    pub parameters: PathParameters,
}

/// The protocols that the clients of a route may switch to (RFC 9110 section 7.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upgrades {
    /// WebSocket (RFC 6455) alone: the default, which most routes use.
    WebSocket,
    /// These, or none if the list is empty.
    Listed(Box<[Box<str>]>),
}

impl Upgrades {
    /// Whether clients may switch to `protocol`, in their spelling.
    #[must_use]
    pub fn allow(&self, protocol: &[u8]) -> bool {
        match self {
            Self::WebSocket => is_same(protocol, b"websocket"),
            Self::Listed(listed) => listed.iter().any(|it| is_same(protocol, it.as_bytes())),
        }
    }
}

/// The id of a route within its [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u32);

/// The id of an upstream within its [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub u32);

/// A named group of endpoints that share requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// Its endpoints at places that do not change, each address once.
    pub endpoints: Vec<Endpoint>,
    /// Its names, each once. They stand for further endpoints.
    pub names: Vec<NamedEndpoint>,
    /// How one of them is chosen for a request.
    pub balance: Balance,
    /// How many connections there may be, and how long they may stay open unused.
    pub pool: PoolLimits,
    /// How long its endpoints may keep us waiting.
    pub timeouts: UpstreamTimeouts,
    /// When its requests go to another try.
    pub retry: Policy,
    /// When an endpoint that fails gets no requests for a while; `None`: never.
    pub eject: Option<EjectRules>,
    /// The limit of its requests in flight, if it has one: an index into [`Snapshot::limits`].
    pub in_flight: Option<usize>,
    /// TLS towards its endpoints, if they speak it.
    pub tls: Option<UpstreamTls>,
    /// The object that is made of it, with certificates.
    pub companion: Companion,
}

/// A limit of requests in flight, of an upstream or a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlightLimit {
    /// Its id, the same in every version in which it has the same size.
    pub id: LimitId,
    /// The object that has it, as its section: "upstreams.users".
    pub of: Box<str>,
    /// How many, and how many wait.
    pub settings: InFlight,
}

/// An endpoint of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// Its share of the requests.
    pub share: EndpointShare,
}

/// A name that stands for endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedEndpoint {
    /// The name.
    pub name: DnsName,
    /// The share of each of its endpoints, to be multiplied by the weight that an answer gives it.
    pub share: EndpointShare,
}

impl Upstream {
    /// Its endpoints, each address once, where its names stand for the places in `answers`. An
    /// address that several of them lead to is one endpoint with the sum of the weights.
    #[must_use]
    pub fn placed(&self, answers: &Answers) -> Cow<'_, [Endpoint]> {
        if self.names.is_empty() {
            return Cow::Borrowed(&self.endpoints);
        }
        let mut placed = Merged::default();
        self.endpoints.iter().for_each(|it| placed.add(it.clone()));
        for named in &self.names {
            for place in answers.places(&named.name) {
                let weight = named.share.weight.saturating_mul(place.weight);
                let share = EndpointShare { weight, ..named.share };
                placed.add(Endpoint { address: place.address.into(), share });
            }
        }
        Cow::Owned(placed.endpoints)
    }

    /// Whether it has this name.
    #[must_use]
    pub fn has_name(&self, name: &DnsName) -> bool {
        self.names.iter().any(|it| it.name == *name)
    }
}

/// Endpoints, each address once with the sum of its weights.
#[derive(Debug, Default)]
struct Merged {
    endpoints: Vec<Endpoint>,
    index_of: HashMap<Address, usize, FixedState>,
}

impl Merged {
    fn add(&mut self, endpoint: Endpoint) {
        let index = *self.index_of.entry(endpoint.address.clone()).or_insert(self.endpoints.len());
        match self.endpoints.get_mut(index) {
            Some(same) => same.share = added(same.share, endpoint.share),
            None => self.endpoints.push(endpoint),
        }
    }
}

/// The share of an endpoint that has two: the sum of the weights, in the better group.
fn added(one: EndpointShare, other: EndpointShare) -> EndpointShare {
    EndpointShare {
        weight: one.weight.saturating_add(other.weight),
        group: one.group.min(other.group),
    }
}
