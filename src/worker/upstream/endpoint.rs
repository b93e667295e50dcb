//! An upstream and its endpoints as one core sees them, for longer than one version.
//!
//! An endpoint is found by its address, never by its place in a list: it keeps its pool, its number
//! in records and its turn when other endpoints come and go, with a version or with an answer of DNS.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use engine::address::{Address, ClientAddress};
use engine::balance::{
    Balancer, Candidates, CoreStart, EndpointShare, EndpointState, Listed, PickBy, Way, hash_of,
};
use engine::names::{Answers, DnsName, NamedPlace};
use engine::retry::Budget;
use engine::snapshot::{Balance, Companion, Endpoint, PoolLimits, Snapshot, Upstream, UpstreamId};
use engine::time::Instant;
use proto::head::RequestHead;

use super::health::{EndpointHealth, UpstreamHealth};
use super::label::{EndpointId, EndpointLabel};
use super::outcome::Tries;
use super::pool::{Handed, Pool};
use super::queue::WaitQueue;
use super::tls::ClientTls;
use crate::core::{CoreShare, SWEEP_MICROS};
use crate::net::Net;
use crate::slots::{Kept, KeptSlot};
use crate::telemetry::endpoint::EndpointTally;
use crate::telemetry::report::{EndpointBlock, EndpointGauges, EndpointNumbers, Reused};

/// The upstreams of one core: those that a request has used.
#[derive(Debug)]
pub struct Upstreams<N: Net> {
    slots: Kept<Box<str>, UpstreamSlot<N>>,
    /// The places that names stand for.
    answers: Rc<RefCell<Answers>>,
    /// The version that the slots follow.
    version: Cell<u64>,
    share: CoreShare,
    /// The number of the next endpoint.
    next_endpoint: Rc<Cell<u32>>,
    /// Connections to all endpoints.
    connections: Rc<Cell<usize>>,
    /// The time of the next sweep.
    clock: Rc<Cell<Instant>>,
}

impl<N: Net> Upstreams<N> {
    /// No upstream yet, on a core with this `share`; those to come are of this version.
    /// `connections` counts the core's connections to endpoints.
    pub(crate) fn new(share: CoreShare, version: u64, connections: Rc<Cell<usize>>) -> Self {
        let (slots, version) = (Kept::default(), Cell::new(version));
        let (answers, next_endpoint, clock) = (Rc::default(), Rc::default(), Rc::default());
        Self { slots, answers, version, share, next_endpoint, connections, clock }
    }

    /// The slot of an upstream of `table`, made when a request first uses it: a switch to a version
    /// with thousands of upstreams must not take long.
    pub(crate) fn slot(&self, table: &Snapshot, id: UpstreamId) -> Rc<UpstreamSlot<N>> {
        let upstream = table.upstream(id);
        if let Some(slot) = self.slots.find(&*upstream.name) {
            return slot;
        }
        let slot = Rc::new(UpstreamSlot::new(
            upstream,
            Rc::clone(&self.answers),
            self.share,
            Rc::clone(&self.next_endpoint),
            Rc::clone(&self.connections),
            Rc::clone(&self.clock),
        ));
        if self.version.get() == table.number {
            self.slots.put(upstream.name.clone(), Rc::clone(&slot));
        } else {
            // An exchange of an older version is alone with this upstream: the present version may
            // have another one of this name.
            slot.retire();
        }
        slot
    }

    /// Sets the answers for the names of the first version.
    pub(crate) fn start_with(&self, answers: Answers) {
        self.answers.replace(answers);
    }

    /// Takes in the places that a name stands for now. Upstreams that use it follow.
    pub(crate) fn learn_name(&self, table: &Snapshot, name: &DnsName, places: &[NamedPlace]) {
        if !self.answers.borrow_mut().learn(name, places) {
            return;
        }
        self.slots.for_each(|slot| {
            let upstream = table.upstream_by_name(&slot.name).map(|id| table.upstream(id));
            if let Some(upstream) = upstream.filter(|it| it.has_name(name)) {
                slot.follow(upstream);
            }
        });
    }

    /// Follows the upstreams of a new version, whose names have these answers.
    pub(crate) fn switch(&self, table: &Snapshot, answers: Answers) {
        self.answers.replace(answers);
        self.version.set(table.number);
        self.slots.switch(|name| table.upstream_by_name(name).map(|id| table.upstream(id)));
    }

    /// Sets the state of an endpoint of `table`, which is the present version. Does nothing where it
    /// has no such endpoint.
    pub(crate) fn set_endpoint_state(
        &self,
        table: &Snapshot,
        upstream: &str,
        address: &Address,
        state: EndpointState,
    ) {
        if let Some(endpoint) = self.endpoint(table, upstream, address) {
            endpoint.health.set_state(state);
        }
    }

    /// Takes in whether the checks of an endpoint pass, as [`Upstreams::set_endpoint_state`] does.
    pub(crate) fn set_endpoint_checks(
        &self,
        table: &Snapshot,
        upstream: &str,
        address: &Address,
        passes: bool,
    ) {
        if let Some(endpoint) = self.endpoint(table, upstream, address) {
            endpoint.health.set_checks(passes);
        }
    }

    fn endpoint(
        &self,
        table: &Snapshot,
        upstream: &str,
        address: &Address,
    ) -> Option<Rc<EndpointSlot<N>>> {
        let slot = table.upstream_by_name(upstream).map(|id| self.slot(table, id));
        slot?.endpoints.find(address)
    }

    /// Lets endpoints that were ejected be tried again, closes idle connections that are too old or
    /// that their endpoint has closed, and forgets upstreams and endpoints that are gone.
    pub(crate) fn sweep(&self, now: Instant) {
        self.clock.set(now.plus_micros(SWEEP_MICROS));
        self.slots.for_each(|upstream| {
            upstream.health.tick(now);
            upstream.for_each_pool(|pool| pool.sweep(now));
            upstream.endpoints.forget_done();
        });
        self.slots.forget_done();
    }

    /// Closes the connection that has been idle for the longest time; `false` when none is idle.
    pub(crate) fn close_oldest_idle(&self) -> bool {
        let mut oldest: Option<(Instant, Rc<Pool<N>>)> = None;
        self.for_each_pool(|pool| {
            if let Some(since) = pool.idle_since()
                && oldest.as_ref().is_none_or(|(before, _)| since < *before)
            {
                oldest = Some((since, Rc::clone(pool)));
            }
        });
        oldest.is_some_and(|(_, pool)| pool.close_oldest())
    }

    /// Closes every idle connection.
    pub(crate) fn close_idle(&self) {
        self.for_each_pool(|pool| pool.close_idle());
    }

    /// Calls that wait because every pool of their upstream is full.
    pub(crate) fn waiting(&self) -> u64 {
        let mut waiting = 0;
        self.slots.for_each(|upstream| waiting += upstream.queue.len() as u64);
        waiting
    }

    /// Reports how the endpoints stand.
    pub(crate) fn report(&self, blocks: &mut Reused<EndpointBlock>) {
        self.slots.for_each(|upstream| upstream.report(blocks));
    }

    fn for_each_pool(&self, mut each: impl FnMut(&Rc<Pool<N>>)) {
        self.slots.for_each(|upstream| upstream.for_each_pool(&mut each));
    }
}

/// An upstream as one core sees it.
#[derive(Debug)]
pub struct UpstreamSlot<N: Net> {
    name: Box<str>,
    /// The places that names stand for.
    answers: Rc<RefCell<Answers>>,
    share: CoreShare,
    limits: Cell<PoolLimits>,
    /// TLS towards its endpoints.
    tls: RefCell<Option<Arc<ClientTls>>>,
    /// The object that it came from.
    companion: RefCell<Companion>,
    /// No version has it.
    retired: Cell<bool>,
    /// Its endpoints, and those that were its and still have connections.
    endpoints: Kept<Address, EndpointSlot<N>>,
    balance: RefCell<Balanced<N>>,
    health: Rc<UpstreamHealth<Pool<N>>>,
    /// Calls that wait because all its pools are full.
    pub(super) queue: Rc<WaitQueue<Handed<N>>>,
    /// How many of its requests may be sent again.
    pub(super) budget: RefCell<Budget>,
    next_endpoint: Rc<Cell<u32>>,
    connections: Rc<Cell<usize>>,
}

/// The endpoints that requests are balanced over.
#[derive(Debug)]
struct Balanced<N: Net> {
    by: Balance,
    /// In the order of the configuration.
    endpoints: Vec<(Rc<EndpointSlot<N>>, EndpointShare)>,
    balancer: Balancer,
}

/// The endpoint that a request should go to, by its own facts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Affinity {
    /// The hash of its key, where requests are balanced by one.
    hash: Option<u64>,
}

/// The endpoints of an upstream at the moment of a pick.
struct Moment<'a, N: Net> {
    endpoints: &'a [(Rc<EndpointSlot<N>>, EndpointShare)],
    tried: &'a [EndpointId],
    now: Instant,
}

impl<N: Net> Candidates for Moment<'_, N> {
    fn is_usable(&self, index: usize) -> bool {
        self.endpoints.get(index).is_some_and(|(endpoint, _)| endpoint.is_left_by(self.tried))
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.endpoints.get(index).map_or(0, |(endpoint, _)| endpoint.tries.in_flight())
    }

    fn latency(&self, index: usize) -> Option<f64> {
        self.endpoints.get(index).and_then(|(endpoint, _)| endpoint.tries.latency(self.now))
    }
}

impl<N: Net> UpstreamSlot<N> {
    /// Empty pools for the endpoints of `upstream`, whose names have these `answers`, on a core with
    /// this `share`. `next_endpoint` is the number of the next endpoint of the core, `connections`
    /// counts those to all its endpoints, and `clock` shows the time of the next sweep.
    #[must_use]
    pub fn new(
        upstream: &Upstream,
        answers: Rc<RefCell<Answers>>,
        share: CoreShare,
        next_endpoint: Rc<Cell<u32>>,
        connections: Rc<Cell<usize>>,
        clock: Rc<Cell<Instant>>,
    ) -> Self {
        let start = CoreStart { core: share.core, cores: share.cores, seed: share.node_seed };
        let balancer = Balancer::new(start);
        let slot = Self {
            name: upstream.name.clone(),
            answers,
            share,
            limits: Cell::new(upstream.pool),
            tls: RefCell::default(),
            companion: RefCell::default(),
            retired: Cell::new(true),
            endpoints: Kept::default(),
            balance: RefCell::new(Balanced {
                by: Balance::default(),
                endpoints: Vec::new(),
                balancer,
            }),
            health: UpstreamHealth::new(clock),
            queue: Rc::default(),
            budget: RefCell::default(),
            next_endpoint,
            connections,
        };
        slot.follow(upstream);
        slot
    }

    /// The endpoint for a request with this `affinity`, among those that are ready and not in `tried`;
    /// `None` when there is none left. A try with an empty `tried` is a first one.
    #[must_use]
    pub fn pick(
        &self,
        tried: &[EndpointId],
        affinity: Affinity,
        now: Instant,
    ) -> Option<Rc<EndpointSlot<N>>> {
        let Balanced { endpoints, balancer, .. } = &mut *self.balance.borrow_mut();
        let by = PickBy { again: !tried.is_empty(), hash: affinity.hash };
        let index = balancer.pick(by, &Moment { endpoints, tried, now })?;
        endpoints.get(index).map(|(endpoint, _)| Rc::clone(endpoint))
    }

    /// The endpoint that the request with this `head` from this `client` should go to.
    #[must_use]
    pub fn affinity(&self, head: &RequestHead, client: ClientAddress) -> Affinity {
        let hash = match &self.balance.borrow().by {
            Balance::Hash(key) => key.value(head, client, hash_of),
            _ => None,
        };
        Affinity { hash }
    }

    /// Whether an endpoint is left that is ready and not in `tried`.
    #[must_use]
    pub fn has_others_than(&self, tried: &[EndpointId]) -> bool {
        let balance = self.balance.borrow();
        let mut endpoints = balance.endpoints.iter();
        endpoints.any(|(endpoint, share)| share.weight > 0 && endpoint.is_left_by(tried))
    }

    /// The endpoint with this number, if requests still go to it.
    pub(super) fn find(&self, id: EndpointId) -> Option<Rc<EndpointSlot<N>>> {
        let balance = self.balance.borrow();
        let mut endpoints = balance.endpoints.iter().filter(|(_, share)| share.weight > 0);
        let found = endpoints.find(|(endpoint, _)| endpoint.label.id == id);
        found.map(|(endpoint, _)| Rc::clone(endpoint))
    }

    /// Whether another call may wait for a connection.
    pub(super) fn may_wait(&self) -> bool {
        let queue_max = self.limits.get().queue_max;
        !queue_max.is_off() && self.queue.len() < self.share.of(queue_max.count())
    }

    /// How long a call may wait for a connection, in microseconds.
    pub(super) fn queue_micros(&self) -> u64 {
        self.limits.get().queue_timeout.0
    }

    /// Whether it has these settings and endpoints already.
    fn is_as_in(&self, upstream: &Upstream, placed: &[Endpoint]) -> bool {
        let balance = self.balance.borrow();
        let ours = balance.endpoints.iter().map(|(it, share)| (&it.label.address, *share));
        let theirs = placed.iter().map(|it| (&it.address, it.share));
        !self.retired.get()
            && self.limits.get() == upstream.pool
            && self.health.has(upstream.eject)
            && balance.by == upstream.balance
            && ours.eq(theirs)
    }

    /// The slot of the endpoint at `address`, made where there is none.
    fn endpoint(&self, address: &Address) -> Rc<EndpointSlot<N>> {
        if let Some(slot) = self.endpoints.find(address) {
            return slot;
        }
        let id = EndpointId(self.next_endpoint.get());
        self.next_endpoint.set(id.0.wrapping_add(1));
        let label = Rc::new(EndpointLabel { id, address: address.clone() });
        let (of_core, queue) = ((self.share, Rc::clone(&self.connections)), Rc::clone(&self.queue));
        let pool = Rc::new(Pool::new(&label, &self.limits.get(), of_core, queue));
        let slot = Rc::new(EndpointSlot {
            health: Rc::new(EndpointHealth::new(&self.health, Rc::clone(&pool))),
            pool,
            identity: hash_of(address.to_string().as_bytes()),
            label,
            tries: Tries::default(),
            retired: Cell::new(false),
        });
        self.endpoints.put(address.clone(), Rc::clone(&slot));
        slot
    }

    fn for_each_pool(&self, mut each: impl FnMut(&Rc<Pool<N>>)) {
        self.endpoints.for_each(|endpoint| each(&endpoint.pool));
    }

    /// TLS towards its endpoints, if they speak it.
    pub(super) fn tls(&self) -> Option<Arc<ClientTls>> {
        self.tls.borrow().clone()
    }

    /// Takes over the TLS of a version. Connections that were made with another one are not used
    /// again.
    fn follow_tls(&self, companion: &Companion) {
        if *self.companion.borrow() == *companion {
            return;
        }
        self.companion.replace(companion.clone());
        self.tls.replace(companion.share());
        self.for_each_pool(|pool| pool.renew());
    }

    /// Counts something about this endpoint, if it is still there.
    pub(super) fn count(&self, label: &EndpointLabel, count: impl FnOnce(&EndpointTally)) {
        if let Some(endpoint) = self.endpoints.find(&label.address) {
            count(endpoint.tries.tally());
        }
    }

    /// Reports how its endpoints stand, and takes their counts out.
    fn report(&self, blocks: &mut Reused<EndpointBlock>) {
        self.endpoints.for_each(|endpoint| {
            let numbers = endpoint.take_numbers();
            blocks.add(|block| block.set(&self.name, endpoint.pool.name(), numbers));
        });
    }
}

impl<N: Net> KeptSlot for UpstreamSlot<N> {
    type Settings = Upstream;

    fn follow(&self, upstream: &Upstream) {
        self.follow_tls(&upstream.companion);
        let answers = self.answers.borrow();
        let placed = upstream.placed(&answers);
        if self.is_as_in(upstream, &placed) {
            return;
        }
        self.retired.set(false);
        self.limits.set(upstream.pool);
        let mut addresses: Vec<_> = placed.iter().map(|it| &it.address).collect();
        addresses.sort_unstable();
        let stays = |address: &Address| addresses.binary_search(&address).is_ok();
        self.endpoints.switch(|address| stays(address).then_some(&upstream.pool));
        let mut balance = self.balance.borrow_mut();
        // Each endpoint keeps its turn, wherever it stands in the list now.
        let before = balance.endpoints.iter().map(|(endpoint, _)| endpoint.label.id).zip(0..);
        let before: BTreeMap<EndpointId, usize> = before.collect();
        balance.endpoints =
            placed.iter().map(|it| (self.endpoint(&it.address), it.share)).collect();
        balance.by.clone_from(&upstream.balance);
        let Balanced { by, endpoints, balancer } = &mut *balance;
        let listed = |(endpoint, share): &(Rc<EndpointSlot<N>>, EndpointShare)| Listed {
            weight: share.weight,
            group: share.group,
            identity: endpoint.identity,
            was: before.get(&endpoint.label.id).copied(),
        };
        balancer.follow(by.way(), endpoints.iter().map(listed));
        for (endpoint, _) in endpoints.iter() {
            endpoint.tries.set_measures(by.way() == Way::P2cEwma);
        }
        // Calls that wait may use an endpoint that is new, or whose limit has grown.
        self.endpoints.for_each(|slot| {
            slot.pool.set_in_use(stays(&slot.label.address) && slot.is_left_by(&[]));
        });
        let members = balance.endpoints.iter().map(|(endpoint, _)| Rc::clone(&endpoint.health));
        self.health.follow(upstream.eject, members);
    }

    fn retire(&self) {
        self.retired.set(true);
        // Exchanges that run may still use its endpoints: they stay in the balance, as they are now.
        self.health.follow(None, std::iter::empty());
        self.endpoints.switch(|_| None);
    }

    fn is_done(&self) -> bool {
        self.endpoints.forget_done();
        self.endpoints.is_empty()
    }
}

/// An endpoint of an upstream as one core sees it.
#[derive(Debug)]
pub struct EndpointSlot<N: Net> {
    /// Its name in records.
    pub label: Rc<EndpointLabel>,
    /// Its connections.
    pub pool: Rc<Pool<N>>,
    /// The tries at it.
    pub tries: Tries,
    /// Whether requests go to it.
    pub(super) health: Rc<EndpointHealth<Pool<N>>>,
    /// The hash of its address, the same on all cores.
    identity: u64,
    /// No version has it.
    retired: Cell<bool>,
}

impl<N: Net> EndpointSlot<N> {
    /// Whether a request may go to it that has tried the endpoints in `tried`.
    fn is_left_by(&self, tried: &[EndpointId]) -> bool {
        self.health.is_usable() && !tried.contains(&self.label.id)
    }
}

impl<N: Net> EndpointSlot<N> {
    /// How it stands, and its counts since the last call.
    fn take_numbers(&self) -> EndpointNumbers {
        let (counts, last_failure) = self.tries.tally().take();
        let [idle, active] = self.pool.idle_and_active();
        let gauges = EndpointGauges {
            idle,
            active,
            ejected: self.health.is_ejected().into(),
            in_flight: self.tries.in_flight().into(),
        };
        EndpointNumbers { gauges, counts, last_failure }
    }
}

impl<N: Net> KeptSlot for EndpointSlot<N> {
    type Settings = PoolLimits;

    fn follow(&self, limits: &PoolLimits) {
        self.pool.follow(limits);
        if self.retired.replace(false) {
            // It was gone: a drain does not outlive that.
            self.health.reset();
        }
    }

    fn retire(&self) {
        self.retired.set(true);
        self.pool.keep_idle(false);
    }

    fn is_done(&self) -> bool {
        // Its last counts go with a report before it is forgotten.
        self.pool.open() == 0 && self.tries.in_flight() == 0 && self.tries.tally().is_reported()
    }
}

#[cfg(test)]
mod tests {
    use engine::config::{Sources, parse};
    use engine::snapshot::{Identities, compile};

    use super::*;
    use crate::net::sim::SimNet;

    const SHARE: CoreShare = CoreShare {
        core: 0,
        cores: 1,
        buffer_bytes_max: 1 << 20,
        descriptors_max: usize::MAX,
        seed: 5,
        node_seed: 5,
    };

    /// A version whose upstream `app` has these settings.
    fn table(number: u64, app: &str) -> Snapshot {
        let text = format!(
            "version = 1\n[listeners.web]\naddress = \"127.0.0.1:80\"\n[upstreams.app]\n{app}\n\
             [upstreams.other]\nendpoints = [\"10.0.0.9:1\"]\n\
             [routes.all]\nupstream = \"app\"\n"
        );
        let model = parse(&Sources::new("test.toml", text)).unwrap();
        compile(&model, number, &mut Identities::default())
    }

    fn upstreams(table: &Snapshot) -> (Upstreams<SimNet>, Rc<UpstreamSlot<SimNet>>) {
        let upstreams = Upstreams::new(SHARE, table.number, Rc::default());
        let slot = upstreams.slot(table, table.upstream_by_name("app").unwrap());
        (upstreams, slot)
    }

    /// Switches to a version without names.
    fn switch(upstreams: &Upstreams<SimNet>, table: &Snapshot) {
        upstreams.switch(table, Answers::default());
    }

    fn places(name: &str, texts: &[&str]) -> (DnsName, Box<[NamedPlace]>) {
        let place = |it: &&str| NamedPlace { address: it.parse().unwrap(), weight: 1 };
        (name.parse().unwrap(), texts.iter().map(place).collect())
    }

    /// The endpoints of the next picks, by the last number of their address.
    fn turns(slot: &UpstreamSlot<SimNet>, picks: usize) -> Vec<(u8, EndpointId)> {
        let last = |endpoint: &EndpointSlot<SimNet>| match endpoint.label.address.ip().unwrap().ip()
        {
            std::net::IpAddr::V4(ip) => (ip.octets()[3], endpoint.label.id),
            std::net::IpAddr::V6(_) => unreachable!(),
        };
        (0..picks)
            .map(|_| last(&slot.pick(&[], Affinity::default(), Instant(0)).unwrap()))
            .collect()
    }

    fn count<N: Net>(upstreams: &Upstreams<N>) -> usize {
        let mut count = 0;
        upstreams.slots.for_each(|_| count += 1);
        count
    }

    #[test]
    fn an_endpoint_is_the_same_wherever_its_address_stands() {
        let first = table(1, "endpoints = [\"10.0.0.1:1\", \"10.0.0.2:1\"]");
        let (upstreams, slot) = upstreams(&first);
        let mut before = turns(&slot, 2);
        let pool = Rc::clone(&slot.pick(&[], Affinity::default(), Instant(0)).unwrap().pool);
        switch(
            &upstreams,
            &table(
                2,
                "endpoints = [\"10.0.0.3:1\", \"10.0.0.2:1\", \"10.0.0.1:1\"]\npool = { idle_max = 7 }",
            ),
        );
        let mut after = turns(&slot, 3);
        after.sort_unstable();
        before.sort_unstable();
        assert_eq!(after[..2], before, "both keep their numbers");
        assert_eq!(after[2].0, 3);
        assert!((0..3).any(|_| Rc::ptr_eq(
            &slot.pick(&[], Affinity::default(), Instant(0)).unwrap().pool,
            &pool
        )));
        // An endpoint that is gone gets no request, and is another one when it comes back.
        switch(&upstreams, &table(3, "endpoints = [\"10.0.0.2:1\"]"));
        assert!(turns(&slot, 4).iter().all(|(last, _)| *last == 2));
        switch(&upstreams, &table(4, "endpoints = [\"10.0.0.2:1\", \"10.0.0.1:1\"]"));
        let mut again = turns(&slot, 2);
        again.sort_unstable();
        assert_ne!(again[0].1, before[0].1);
        assert_eq!(again[1], before[1]);
    }

    #[test]
    fn an_upstream_that_a_version_does_not_have_is_not_kept_for_the_next() {
        let first = table(1, "endpoints = [\"10.0.0.1:1\"]");
        let (upstreams, slot) = upstreams(&first);
        let without = {
            let mut table = table(2, "endpoints = [\"10.0.0.1:1\"]");
            table.upstreams.retain(|it| &*it.name != "app");
            table
        };
        switch(&upstreams, &without);
        assert_eq!(count(&upstreams), 0);
        // An exchange of the first version goes on, alone with the endpoints that it knows.
        assert_eq!(turns(&slot, 1)[0].0, 1);
        let late = upstreams.slot(&first, first.upstream_by_name("app").unwrap());
        assert!(!Rc::ptr_eq(&late, &slot) && count(&upstreams) == 0);
        let third = table(3, "endpoints = [\"10.0.0.1:1\"]");
        switch(&upstreams, &third);
        let new = upstreams.slot(&third, third.upstream_by_name("app").unwrap());
        assert!(!Rc::ptr_eq(&new, &slot) && count(&upstreams) == 1);
    }

    #[test]
    fn a_draining_endpoint_gets_no_request_until_it_is_ready_or_was_gone() {
        let both = "endpoints = [\"10.0.0.1:1\", \"10.0.0.2:1\"]";
        let first = table(1, both);
        let upstreams = Upstreams::<SimNet>::new(SHARE, 1, Rc::default());
        // The news may come before the first request.
        let address = "10.0.0.1:1".parse().unwrap();
        upstreams.set_endpoint_state(&first, "app", &address, EndpointState::Draining);
        upstreams.set_endpoint_state(
            &first,
            "app",
            &"10.0.0.7:1".parse().unwrap(),
            EndpointState::Draining,
        );
        upstreams.set_endpoint_state(&first, "nobody", &address, EndpointState::Draining);
        let slot = upstreams.slot(&first, first.upstream_by_name("app").unwrap());
        assert!(turns(&slot, 4).iter().all(|(last, _)| *last == 2));
        let other = slot.pick(&[], Affinity::default(), Instant(0)).unwrap().label.id;
        assert!(
            !slot.has_others_than(&[other])
                && slot.pick(&[other], Affinity::default(), Instant(0)).is_none()
        );
        // It survives a change of other settings, but not of the endpoint itself.
        switch(&upstreams, &table(2, &format!("{both}\npool = {{ idle_max = 7 }}")));
        assert!(turns(&slot, 4).iter().all(|(last, _)| *last == 2));
        switch(&upstreams, &table(3, "endpoints = [\"10.0.0.2:1\"]"));
        let fourth = table(4, both);
        switch(&upstreams, &fourth);
        assert!(turns(&slot, 4).iter().any(|(last, _)| *last == 1));
        for (state, expected) in [(EndpointState::Draining, 0), (EndpointState::Ready, 2)] {
            upstreams.set_endpoint_state(&fourth, "app", &address, state);
            assert_eq!(turns(&slot, 4).iter().filter(|(last, _)| *last == 1).count(), expected);
        }
    }

    #[test]
    fn a_further_try_goes_to_an_endpoint_that_was_not_tried() {
        let (_, slot) = upstreams(&table(1, "endpoints = [\"10.0.0.1:1\", \"10.0.0.2:1\"]"));
        let first = slot.pick(&[], Affinity::default(), Instant(0)).unwrap().label.id;
        assert!(slot.has_others_than(&[first]));
        let second = slot.pick(&[first], Affinity::default(), Instant(0)).unwrap().label.id;
        assert_ne!(first, second);
        assert!(
            slot.pick(&[first, second], Affinity::default(), Instant(0)).is_none()
                && !slot.has_others_than(&[second, first])
        );
    }

    #[test]
    fn endpoints_of_a_name_come_and_go_with_its_answers() {
        let table = table(1, "endpoints = [\"a.test:1\", \"10.0.0.9:1\"]");
        let (upstreams, slot) = upstreams(&table);
        let lasts = || {
            let mut lasts: Vec<_> = turns(&slot, 6).into_iter().map(|(last, _)| last).collect();
            lasts.sort_unstable();
            lasts
        };
        let learn = |texts: &[&str]| {
            let (name, places) = places("a.test:1", texts);
            upstreams.learn_name(&table, &name, &places);
        };
        assert_eq!(lasts(), [9; 6], "the name has no answer yet");
        learn(&["10.0.0.1:1", "10.0.0.2:1"]);
        assert_eq!(lasts(), [1, 1, 2, 2, 9, 9]);
        let first = slot.pick(&[], Affinity::default(), Instant(0)).unwrap();
        let kept = slot.endpoints.find(&"10.0.0.2:1".parse().unwrap()).unwrap().label.id;
        // An address that the name and the configuration both have is one endpoint of twice the
        // weight.
        learn(&["10.0.0.2:1", "10.0.0.9:1"]);
        assert_eq!(lasts(), [2, 2, 9, 9, 9, 9]);
        let same = slot.endpoints.find(&"10.0.0.2:1".parse().unwrap()).unwrap();
        assert_eq!(same.label.id, kept, "an endpoint that stays is the same one");
        drop(first);
        upstreams.sweep(Instant(0));
        assert!(slot.endpoints.find(&"10.0.0.1:1".parse().unwrap()).is_none());
        // Another name concerns nobody.
        let (name, others) = places("b.test:1", &["10.0.0.5:1"]);
        upstreams.learn_name(&table, &name, &others);
        assert_eq!(lasts(), [2, 2, 9, 9, 9, 9]);
    }

    #[test]
    fn a_version_comes_with_the_answers_of_its_names() {
        let named = |number| table(number, "endpoints = [\"a.test:1\"]");
        let first = named(1);
        let upstreams = Upstreams::<SimNet>::new(SHARE, 1, Rc::default());
        upstreams.start_with([places("a.test:1", &["10.0.0.1:1"])].into_iter().collect());
        let slot = upstreams.slot(&first, first.upstream_by_name("app").unwrap());
        let before = turns(&slot, 1)[0];
        assert_eq!(before.0, 1);
        let answers = [places("a.test:1", &["10.0.0.1:1"])].into_iter().collect();
        upstreams.switch(&named(2), answers);
        assert_eq!(turns(&slot, 1)[0], before, "the same endpoint");
        let answers = [places("a.test:1", &["10.0.0.3:1"])].into_iter().collect();
        upstreams.switch(&named(3), answers);
        assert_eq!(turns(&slot, 1)[0].0, 3);
    }

    #[test]
    fn the_weight_of_a_name_is_that_of_each_of_its_endpoints() {
        let table =
            table(1, "endpoints = [{ address = \"srv:a.test\", weight = 2 }, \"10.0.0.9:1\"]");
        let (upstreams, slot) = upstreams(&table);
        let (name, mut places) = places("srv:a.test", &["10.0.0.1:1", "10.0.0.2:1"]);
        places[1].weight = 3;
        upstreams.learn_name(&table, &name, &places);
        let mut lasts: Vec<_> = turns(&slot, 9).into_iter().map(|(last, _)| last).collect();
        lasts.sort_unstable();
        assert_eq!(lasts, [1, 1, 2, 2, 2, 2, 2, 2, 9]);
    }
}
