//! The endpoints of an upstream that get requests from this core.
//!
//! [`engine::health`] decides; this file keeps the state of each endpoint, feeds it with the ends of
//! tries and the facts of the control thread, and puts the decision where a pick finds it: a flag.
//!
//! Invariant: the flags are made anew whenever something happens that they depend on, and never
//! between. So a pick asks one flag, and knows neither reasons nor times.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use engine::balance::EndpointState;
use engine::health::{Ejection, EjectionChange, Share, Ticket, TryResult};
use engine::snapshot::EjectRules;
use engine::time::Instant;

/// The connections of an endpoint, which follow its health.
pub(super) trait FollowsHealth {
    /// Requests go to the endpoint from now on, or no more.
    fn follow_health(&self, usable: bool);
}

/// The health of all endpoints of an upstream.
#[derive(Debug)]
pub(super) struct UpstreamHealth<P> {
    members: RefCell<Vec<Rc<EndpointHealth<P>>>>,
    rules: Cell<Option<EjectRules>>,
    /// The time of the next sweep. Sweeps end the time that an endpoint is out, so ejections need no
    /// clock that is more exact.
    clock: Rc<Cell<Instant>>,
}

/// The health of one endpoint.
#[derive(Debug)]
pub(super) struct EndpointHealth<P> {
    connections: Rc<P>,
    upstream: Weak<UpstreamHealth<P>>,
    /// Requests may go to it: the sum of everything below.
    usable: Cell<bool>,
    state: Cell<EndpointState>,
    /// Its checks fail.
    fails_checks: Cell<bool>,
    rules: Cell<Option<EjectRules>>,
    ejection: Cell<Ejection>,
}

impl<P: FollowsHealth> UpstreamHealth<P> {
    /// No endpoint yet. `clock` shows the time of the next sweep.
    pub(super) fn new(clock: Rc<Cell<Instant>>) -> Rc<Self> {
        Rc::new(Self { members: RefCell::default(), rules: Cell::default(), clock })
    }

    /// Whether these are its rules.
    pub(super) fn has(&self, rules: Option<EjectRules>) -> bool {
        self.rules.get() == rules
    }

    /// Follows a new version.
    pub(super) fn follow(
        &self,
        rules: Option<EjectRules>,
        members: impl Iterator<Item = Rc<EndpointHealth<P>>>,
    ) {
        self.rules.set(rules);
        self.members.replace(members.collect());
        for health in &*self.members.borrow() {
            if rules.is_none() && health.rules.get().is_some() {
                health.forget_failures();
            }
            health.rules.set(rules);
        }
        self.refresh();
    }

    /// Time has passed: endpoints that have been out for long enough may be tried.
    pub(super) fn tick(&self, now: Instant) {
        let mut any = false;
        for health in &*self.members.borrow() {
            let mut ejection = health.ejection.get();
            if ejection.tick(now) {
                health.ejection.set(ejection);
                any = true;
            }
        }
        if any {
            self.refresh();
        }
    }

    fn share(&self) -> Share {
        let members = self.members.borrow();
        let in_use = members.iter().filter(|it| it.is_in_use());
        in_use.fold(Share::default(), |share, it| Share {
            endpoints: share.endpoints + 1,
            ejected: share.ejected + usize::from(it.is_ejected()),
        })
    }

    /// Makes all flags anew.
    pub(super) fn refresh(&self) {
        let is_panic = self.rules.get().is_some_and(|rules| self.share().is_panic(&rules));
        for health in &*self.members.borrow() {
            let usable = health.is_in_use() && (is_panic || health.ejection.get().admits());
            health.usable.set(usable);
            health.connections.follow_health(usable);
        }
    }
}

impl<P: FollowsHealth> EndpointHealth<P> {
    /// The health of a new endpoint with these `connections`: nothing is known about it.
    pub(super) fn new(upstream: &Rc<UpstreamHealth<P>>, connections: Rc<P>) -> Self {
        Self {
            connections,
            upstream: Rc::downgrade(upstream),
            usable: Cell::new(true),
            state: Cell::default(),
            fails_checks: Cell::new(false),
            rules: Cell::new(upstream.rules.get()),
            ejection: Cell::default(),
        }
    }

    /// Whether requests may go to it.
    pub(super) fn is_usable(&self) -> bool {
        self.usable.get()
    }

    /// Whether it is out because tries have failed.
    pub(super) fn is_ejected(&self) -> bool {
        self.ejection.get().is_out()
    }

    /// Whether requests would go to it if none had failed.
    fn is_in_use(&self) -> bool {
        self.state.get() == EndpointState::Ready && !self.fails_checks.get()
    }

    /// Sets the state that the admin API asks for.
    pub(super) fn set_state(&self, state: EndpointState) {
        self.state.set(state);
        self.refresh();
    }

    /// Its checks pass, or fail. An endpoint whose checks pass again is not out for earlier failures.
    pub(super) fn set_checks(&self, passes: bool) {
        if self.fails_checks.replace(!passes) && passes {
            self.forget_failures();
        }
        self.refresh();
    }

    /// It was gone, and has come back: nothing is known about it.
    pub(super) fn reset(&self) {
        self.state.set(EndpointState::Ready);
        self.fails_checks.set(false);
        self.forget_failures();
        self.usable.set(true);
        self.connections.follow_health(true);
    }

    fn forget_failures(&self) {
        let mut ejection = self.ejection.get();
        ejection.reset();
        self.ejection.set(ejection);
    }

    fn refresh(&self) {
        if let Some(upstream) = self.upstream.upgrade() {
            upstream.refresh();
        }
    }

    /// A try begins.
    pub(super) fn begin(&self) -> Ticket {
        let mut ejection = self.ejection.get();
        let ticket = ejection.begin();
        if ticket.is_trial {
            self.ejection.set(ejection);
            self.refresh();
        }
        ticket
    }

    /// A try has ended, or has got its answer. Returns whether the endpoint is ejected by that.
    pub(super) fn end(&self, ticket: Ticket, result: TryResult) -> bool {
        let Some(rules) = self.rules.get() else { return false };
        let mut ejection = self.ejection.get();
        let upstream = self.upstream.upgrade();
        let has_room = || upstream.as_ref().is_some_and(|it| it.share().has_room(&rules));
        let now = upstream.as_ref().map_or(Instant::default(), |it| it.clock.get());
        let change = ejection.end(ticket, result, &rules, has_room, now);
        self.ejection.set(ejection);
        if change.is_some() {
            self.refresh();
        }
        change == Some(EjectionChange::Ejected)
    }
}
