//! A version of the configuration on one core: its table, and the state that belongs to it.
//!
//! An exchange keeps the version that it started with, by a count of this core alone. When the last
//! one has ended, the table goes back to the control thread: a data core frees no configuration.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use engine::snapshot::{ListenerId, RouteId, Snapshot, UpstreamId};

use crate::filter::{Chain, Filters};
use crate::limit::{LimitSlot, Limits};
use crate::message::Report;
use crate::net::Net;
use crate::telemetry::report::RouteBlock;
use crate::telemetry::reporter::Reporter;
use crate::upstream::{UpstreamSlot, Upstreams};

/// See the module.
pub struct CoreSnapshot<N: Net> {
    /// `None` once it has gone back, which is while this is dropped.
    table: Option<Box<Snapshot>>,
    /// The slots of the upstreams that this version has used.
    slots: Box<[OnceCell<Rc<UpstreamSlot<N>>>]>,
    /// All upstreams of the core.
    upstreams: Rc<Upstreams<N>>,
    /// All limits of the core, and those that this version has met.
    limits: Rc<Limits>,
    limit_slots: Box<[OnceCell<Rc<LimitSlot>>]>,
    /// All filters of the core.
    filters: Rc<Filters>,
    /// The chains of the routes that this version has used.
    route_chains: Box<[OnceCell<Rc<Chain>>]>,
    /// The chains of the listeners that have filters.
    listener_chains: Box<[(ListenerId, OnceCell<Rc<Chain>>)]>,
    /// The counts of routes since the last report; the last one is for requests that no route
    /// took.
    blocks: RefCell<Box<[Option<Box<RouteBlock>>]>>,
    /// Which of them there are.
    used: RefCell<Vec<usize>>,
    /// It is not the present version any more.
    retired: Cell<bool>,
    reporter: Rc<Reporter>,
}

impl<N: Net> CoreSnapshot<N> {
    pub(crate) fn new(
        table: Box<Snapshot>,
        (upstreams, filters, limits): (Rc<Upstreams<N>>, Rc<Filters>, Rc<Limits>),
        reporter: Rc<Reporter>,
    ) -> Self {
        let with_filters = table.listeners.iter().filter(|it| !it.filters.is_empty());
        Self {
            route_chains: table.routes.iter().map(|_| OnceCell::new()).collect(),
            listener_chains: with_filters.map(|it| (it.id, OnceCell::new())).collect(),
            filters,
            limit_slots: table.limits.iter().map(|_| OnceCell::new()).collect(),
            limits,
            slots: table.upstreams.iter().map(|_| OnceCell::new()).collect(),
            blocks: RefCell::new((0..=table.routes.len()).map(|_| None).collect()),
            used: RefCell::default(),
            retired: Cell::new(false),
            table: Some(table),
            upstreams,
            reporter,
        }
    }

    /// Its table.
    #[must_use]
    pub fn table(&self) -> &Snapshot {
        match &self.table {
            Some(table) => table,
            None => unreachable!("a table leaves its version only in drop"),
        }
    }

    /// The pools and the balancer of an upstream; `None` for the id of another version.
    #[must_use]
    pub fn upstream(&self, id: UpstreamId) -> Option<&Rc<UpstreamSlot<N>>> {
        let slot = self.slots.get(id.0 as usize)?;
        Some(slot.get_or_init(|| self.upstreams.slot(self.table(), id)))
    }

    /// The limit with this index, if there is one.
    #[inline]
    pub fn limit(&self, index: Option<usize>) -> Option<&Rc<LimitSlot>> {
        let index = index?;
        let limit = self.table().limits.get(index)?;
        Some(self.limit_slots.get(index)?.get_or_init(|| self.limits.slot(self.table(), limit)))
    }

    /// The filters of a route, if it has any.
    #[inline]
    pub(crate) fn route_chain(&self, id: RouteId) -> Option<&Rc<Chain>> {
        let ids = &self.table().routes.get(id.0 as usize)?.filters;
        if ids.is_empty() {
            return None;
        }
        let chain = self.route_chains.get(id.0 as usize)?;
        Some(chain.get_or_init(|| self.filters.chain(self.table(), ids)))
    }

    /// The filters of a listener, if it has any.
    #[inline]
    pub(crate) fn listener_chain(&self, id: ListenerId) -> Option<&Rc<Chain>> {
        let (_, chain) = self.listener_chains.iter().find(|(of, _)| *of == id)?;
        let ids = &self.table().listener(id)?.filters;
        Some(chain.get_or_init(|| self.filters.chain(self.table(), ids)))
    }

    /// Counts in the block of `route`.
    pub(crate) fn count(&self, route: Option<RouteId>, count: impl FnOnce(&mut RouteBlock)) {
        let mut blocks = self.blocks.borrow_mut();
        let index = route.map_or(blocks.len().saturating_sub(1), |route| route.0 as usize);
        let Some(block) = blocks.get_mut(index) else { return };
        count(block.get_or_insert_with(|| {
            self.used.borrow_mut().push(index);
            let mut block = self.reporter.block();
            let route = route.and_then(|_| self.table().routes.get(index));
            block.route.push_str(route.map_or("", |route| &route.name));
            block
        }));
        drop(blocks);
        if self.retired.get() {
            self.reporter.keep(|kept| self.take_blocks(kept));
        }
    }

    /// Another version takes its place. Exchanges may keep this one for hours: their counts must
    /// not wait for that.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
        self.reporter.keep(|kept| self.take_blocks(kept));
    }

    /// Moves the counts since the last time to `into`.
    pub(crate) fn take_blocks(&self, into: &mut Vec<Box<RouteBlock>>) {
        let mut blocks = self.blocks.borrow_mut();
        let take = |index| blocks.get_mut(index).and_then(Option::take);
        into.extend(self.used.borrow_mut().drain(..).filter_map(take));
    }
}

impl<N: Net> Drop for CoreSnapshot<N> {
    fn drop(&mut self) {
        self.reporter.keep(|kept| self.take_blocks(kept));
        if let Some(table) = self.table.take() {
            let core = self.reporter.core;
            self.reporter.send(Report::Retired { core, table });
        }
    }
}
