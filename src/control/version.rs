//! One version of the configuration: from texts to the messages for the cores.
//!
//! [`Draft`] is compiled and asks for nothing of the machine, [`Prepared`] has its sockets, [`Live`]
//! is kept by the control thread once the cores have theirs. When to go from one to the next is
//! decided by `apply` and `launch`.
//!
//! Invariant: a listener keeps its sockets for as long as it keeps its id.

use std::iter::repeat_n;
use std::sync::Arc;
use std::time::Duration;

use engine::address::Address;
use engine::config::{Diagnostic, Model, Sources};
use engine::limit::LimitId;
use engine::names::{Answers, DnsName};
use engine::snapshot::{
    Companion, Identities, InFlightLimit, ListenerId, ListenerSettings, Snapshot, compile,
};
use worker::net::monoio::BoundSocket;

use crate::Error;
use crate::certificates::{self, LiveCertificates};
use crate::dns::names_of;
use crate::listen::{ListenAddress, bind};
use crate::unix_socket::SharedSocket;

/// A version that is live, or about to be.
#[derive(Debug)]
pub(crate) struct Live {
    /// Its number, counted from 1.
    pub(crate) number: u64,
    /// The texts.
    pub(crate) sources: Sources,
    /// Their content.
    pub(crate) model: Model,
    /// Which ids its objects have, and which are spent.
    pub(crate) identities: Identities,
    /// Its certificates.
    pub(crate) tls: LiveCertificates,
    /// Its listeners, in the order of the table.
    pub(crate) listeners: Vec<Listening>,
    /// Its limits of requests in flight, and their sizes.
    pub(crate) limits: Vec<(LimitId, u32)>,
}

/// A bound listener.
#[derive(Clone, Debug)]
pub(crate) struct Listening {
    pub(crate) id: ListenerId,
    pub(crate) name: Box<str>,
    /// Where it listens, with the port that the kernel chose for port 0.
    pub(crate) address: Address,
    /// The socket that all cores have, where it is a Unix socket.
    pub(crate) shared: Option<Arc<SharedSocket>>,
}

impl Listening {
    pub(crate) fn place(&self) -> ListenAddress {
        ListenAddress { address: self.address.clone(), shared: self.shared.clone() }
    }
}

/// A version that is sound in itself.
#[derive(Debug)]
pub(crate) struct Draft {
    sources: Sources,
    model: Model,
    identities: Identities,
    tls: LiveCertificates,
    pub(crate) table: Snapshot,
}

/// A version that nothing can keep from going live.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) live: Live,
    /// The part of each core.
    pub(crate) parts: Vec<Part>,
}

/// One core's part of a version.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) table: Box<Snapshot>,
    /// The listeners that it does not have yet, in the order of the table.
    pub(crate) listeners: Vec<(ListenerId, BoundSocket)>,
}

impl Draft {
    /// Compiles version `number`, at `now` in seconds since 1970; `identities` and `before` are those of the version before. Errors are
    /// the mistakes in certificates.
    pub(crate) fn compile(
        sources: Sources,
        model: Model,
        (number, now): (u64, u64),
        mut identities: Identities,
        before: Option<&LiveCertificates>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut model = model;
        let mut table = compile(&model, number, &mut identities);
        let made = certificates::make(&sources, &model, &mut table, before, now)?;
        model.add_warnings(made.warnings);
        table.companion = Companion::new(Arc::clone(&made.certificates.table));
        // These are kept only if the version goes live.
        identities.settle(&table);
        Ok(Self { sources, model, identities, table, tls: made.certificates })
    }

    /// Its content.
    pub(crate) fn into_model(self) -> Model {
        self.model
    }

    /// Whether anything in it has TLS.
    pub(crate) fn has_tls(&self) -> bool {
        let listeners = self.table.listeners.iter().any(|it| it.tls.is_some());
        listeners || self.table.upstreams.iter().any(|it| it.tls.is_some())
    }

    /// The warnings about it.
    pub(crate) fn warnings(&self) -> &[Diagnostic] {
        &self.model.warnings
    }

    /// Binds the listeners that are not among those `before`. `ours` are all places at which
    /// this process may still listen.
    pub(crate) fn bind(
        self,
        before: &[Listening],
        ours: &[ListenAddress],
        cores: usize,
    ) -> Result<Prepared, Error> {
        let Self { sources, model, identities, table, tls } = self;
        let known = |id| before.iter().find(|it| it.id == id);
        let new: Vec<_> = table.listeners.iter().filter(|it| known(it.id).is_none()).collect();
        let bound = bind(&new, cores, ours)?;
        let mut places = bound.places.into_iter();
        let listening = |it: &ListenerSettings| {
            let place = known(it.id).map(Listening::place).or_else(|| places.next());
            let unbound = || ListenAddress { address: it.address.clone(), shared: None };
            let ListenAddress { address, shared } = place.unwrap_or_else(unbound);
            Listening { id: it.id, name: it.name.clone(), address, shared }
        };
        let listeners = table.listeners.iter().map(listening).collect();
        let ids: Vec<_> = new.iter().map(|it| it.id).collect();
        let number = table.number;
        let size = |it: &InFlightLimit| (it.id, it.settings.requests_max.value());
        let limits = table.limits.iter().map(size).collect();
        let parts = repeat_n(table, cores).zip(bound.per_core).map(|(table, sockets)| Part {
            table: Box::new(table),
            listeners: ids.iter().copied().zip(sockets).collect(),
        });
        let parts = parts.collect();
        let live = Live { number, sources, model, identities, tls, listeners, limits };
        Ok(Prepared { live, parts })
    }
}

impl Live {
    /// For how long a drain may take: as long as the most patient listener says.
    pub(crate) fn drain_timeout(&self) -> Duration {
        let listeners = &self.model.document.listeners.objects;
        listeners
            .iter()
            .map(|(_, it)| it.timeouts.drain)
            .max()
            .map_or(Duration::ZERO, Duration::from)
    }

    /// The names of its upstreams, each with its endpoints where names stand for these `answers`: the
    /// address, and the name that it came from, if any. An address may be there more than once.
    pub(crate) fn endpoints<'l>(
        &'l self,
        answers: &'l Answers,
    ) -> impl Iterator<Item = (&'l str, impl Iterator<Item = (Address, Option<&'l DnsName>)>)> {
        let upstreams = &self.model.document.upstreams.objects;
        upstreams.iter().map(|(name, it)| {
            let endpoints = it.endpoints.iter().flat_map(|it| {
                let place = it.address.place().map(|address| (address.clone(), None));
                let name = it.address.name();
                let places = name.map_or(&[][..], |name| answers.places(name));
                place.into_iter().chain(places.iter().map(move |it| (it.address.into(), name)))
            });
            (&***name, endpoints)
        })
    }

    /// Whether the upstream of this name has an endpoint at this address, where names stand for these
    /// `answers`.
    pub(crate) fn has_endpoint(
        &self,
        answers: &Answers,
        upstream: &str,
        address: &Address,
    ) -> bool {
        self.endpoints(answers)
            .filter(|(name, _)| *name == upstream)
            .any(|(_, mut endpoints)| endpoints.any(|(it, _)| it == *address))
    }

    /// The names of its upstreams, each with a name among its endpoints.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&str, &DnsName)> {
        let upstreams = self.model.document.upstreams.objects.iter();
        upstreams.flat_map(|(name, it)| {
            it.endpoints.iter().filter_map(move |it| Some((&***name, it.address.name()?)))
        })
    }

    /// Whether an upstream has this name.
    pub(crate) fn has_name(&self, name: &DnsName) -> bool {
        names_of(&self.model.document).any(|it| it == name)
    }

    /// Its listeners' names by id.
    pub(crate) fn listener_names(&self) -> Vec<(ListenerId, Box<str>)> {
        self.listeners.iter().map(|it| (it.id, it.name.clone())).collect()
    }
}
