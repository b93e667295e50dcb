//! The filters of one core, for longer than one version, and the chains that routes and listeners make
//! of them.
//!
//! [`engine::filter`] decides; the exchange calls the hooks.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use engine::filter::{Filter, FilterId, FilterSettings, FilterShare, Hooks, NamedFilter};
use engine::snapshot::Snapshot;

use crate::core::CoreShare;
use crate::slots::{Kept, KeptSlot};

/// The filters of one core: those that a request has met.
#[derive(Debug)]
pub struct Filters {
    slots: Kept<Box<str>, FilterSlot>,
    /// The version that the slots follow.
    version: Cell<u64>,
    share: FilterShare,
}

impl Filters {
    /// No filter yet, on a core with this `share`; those to come are of this version.
    pub(crate) fn new(share: CoreShare, version: u64) -> Self {
        let share = FilterShare { core: share.core, cores: share.cores, seed: share.seed };
        Self { slots: Kept::default(), version: Cell::new(version), share }
    }

    /// The chain of these filters of `table`.
    pub(crate) fn chain(&self, table: &Snapshot, ids: &[FilterId]) -> Rc<Chain> {
        let filters = ids.iter().filter_map(|id| table.filters.get(id.0 as usize));
        let filters: Box<[_]> = filters.map(|filter| self.running(table, filter)).collect();
        let hooks = filters.iter().fold(Hooks::NONE, |hooks, filter| hooks | filter.hooks());
        Rc::new(Chain { filters, hooks })
    }

    /// The filter as it runs, made when a request first meets it.
    fn running(&self, table: &Snapshot, filter: &NamedFilter) -> Rc<dyn Filter> {
        if self.version.get() != table.number {
            // An exchange of an older version is alone with this filter: the present version may have
            // another one of this name.
            return filter.settings.start(self.share, None);
        }
        if let Some(slot) = self.slots.find(&*filter.name) {
            return Rc::clone(&slot.running.borrow());
        }
        let slot = FilterSlot {
            running: RefCell::new(filter.settings.start(self.share, None)),
            settings: RefCell::new(filter.settings.clone()),
            share: self.share,
        };
        let running = Rc::clone(&slot.running.borrow());
        self.slots.put(filter.name.clone(), Rc::new(slot));
        running
    }

    /// Follows the filters of a new version.
    pub(crate) fn switch(&self, table: &Snapshot) {
        self.version.set(table.number);
        self.slots.switch(|name| table.filter_by_name(name));
    }
}

/// A filter as one core keeps it.
#[derive(Debug)]
struct FilterSlot {
    running: RefCell<Rc<dyn Filter>>,
    settings: RefCell<FilterSettings>,
    share: FilterShare,
}

impl KeptSlot for FilterSlot {
    type Settings = NamedFilter;

    fn follow(&self, filter: &NamedFilter) {
        if *self.settings.borrow() == filter.settings {
            return;
        }
        let before = Rc::clone(&self.running.borrow());
        self.running.replace(filter.settings.start(self.share, Some(&*before)));
        self.settings.replace(filter.settings.clone());
    }

    fn retire(&self) {}

    fn is_done(&self) -> bool {
        // Exchanges that run hold their filters themselves.
        true
    }
}

/// The filters of a route or of a listener, in order.
#[derive(Debug)]
pub struct Chain {
    /// The filters.
    pub filters: Box<[Rc<dyn Filter>]>,
    /// The hooks that any of them has.
    pub hooks: Hooks,
}
