//! A core's way to the control thread: boxes that go full and come back empty.

use std::cell::{Cell, RefCell};

use super::record::Records;
use super::report::{CoreBlock, RouteBlock};
use crate::message::Report;

/// Reports that may be away at once. The control thread keeps the last one and sends back the one
/// before; when none comes back, counts stay here and go with a later report.
const REPORTS_AWAY_MAX: usize = 8;
/// Blocks of routes that may be away at once. The control thread sends them back within milliseconds; when it
/// does not, counts stay here and go with a later report.
const BLOCKS_AWAY_MAX: usize = 65_536;
/// Batches of records of a core: enough for the requests of 30 ms, at 100,000 a second, while the
/// control thread is held up. When all are away, records are dropped and counted.
const BATCHES_MAX: usize = 8;

/// Sends a report. Rare: never on the path of a request, but for a full batch of records.
pub type Outbox = Box<dyn Fn(Report)>;

/// See the module.
pub struct Reporter {
    /// Which core.
    pub(crate) core: usize,
    /// `None` once the worker has ended.
    outbox: RefCell<Option<Outbox>>,
    /// Empty reports.
    reports: RefCell<Vec<Box<CoreBlock>>>,
    reports_away: Cell<usize>,
    /// Empty blocks.
    blocks: RefCell<Vec<Box<RouteBlock>>>,
    blocks_away: Cell<usize>,
    /// Blocks of versions that have ended.
    kept: RefCell<Vec<Box<RouteBlock>>>,
    /// The batch that is being filled.
    batch: RefCell<Option<Box<Records>>>,
    /// Empty batches.
    batches: RefCell<Vec<Box<Records>>>,
    batches_made: Cell<usize>,
    dropped: Cell<u64>,
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter").field("core", &self.core).finish_non_exhaustive()
    }
}

impl Reporter {
    pub(crate) fn new(core: usize, outbox: Outbox) -> Self {
        Self {
            core,
            outbox: RefCell::new(Some(outbox)),
            reports: RefCell::default(),
            reports_away: Cell::new(0),
            blocks: RefCell::default(),
            blocks_away: Cell::new(0),
            kept: RefCell::default(),
            batch: RefCell::default(),
            batches: RefCell::default(),
            batches_made: Cell::new(0),
            dropped: Cell::new(0),
        }
    }

    pub(crate) fn send(&self, report: Report) {
        if let Some(outbox) = &*self.outbox.borrow() {
            outbox(report);
        }
    }

    /// Nothing is reported any more: the control thread sees that this worker has ended.
    pub(crate) fn close(&self) {
        self.outbox.take();
    }

    /// An empty block.
    pub(crate) fn block(&self) -> Box<RouteBlock> {
        self.blocks.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps blocks for the next report: those that `take` puts into the list.
    pub(crate) fn keep(&self, take: impl FnOnce(&mut Vec<Box<RouteBlock>>)) {
        take(&mut self.kept.borrow_mut());
    }

    /// Reports an empty block that `fill` has filled. With `last` the core ends: it reports however
    /// many reports are away.
    pub(crate) fn report(&self, last: bool, fill: impl FnOnce(&mut CoreBlock)) {
        if !last && self.reports_away.get() >= REPORTS_AWAY_MAX {
            return;
        }
        let mut block = self.reports.borrow_mut().pop().unwrap_or_default();
        block.core = self.core;
        fill(&mut block);
        self.reports_away.set(self.reports_away.get() + 1);
        self.send(Report::Counts(block));
    }

    /// Puts the blocks of routes into a report: those of `current`, and those that were kept.
    pub(crate) fn put_routes(
        &self,
        into: &mut Vec<Box<RouteBlock>>,
        current: impl FnOnce(&mut Vec<Box<RouteBlock>>),
    ) {
        if self.blocks_away.get() < BLOCKS_AWAY_MAX {
            current(into);
            into.append(&mut self.kept.borrow_mut());
            self.blocks_away.set(self.blocks_away.get() + into.len());
        }
    }

    /// Takes back the block of a report, and the blocks of routes in it; all are empty.
    pub(crate) fn take_back(&self, mut block: Box<CoreBlock>) {
        self.blocks_away.set(self.blocks_away.get().saturating_sub(block.routes.len()));
        self.blocks.borrow_mut().append(&mut block.routes);
        self.reports_away.set(self.reports_away.get().saturating_sub(1));
        self.reports.borrow_mut().push(block);
    }

    /// Takes back a batch of records that is empty.
    pub(crate) fn take_records_back(&self, batch: Box<Records>) {
        self.batches.borrow_mut().push(batch);
    }

    /// Lets `write` put one record, whose texts have `text_bytes` in all, into the batch.
    pub(crate) fn record(&self, text_bytes: usize, write: impl FnOnce(&mut Records)) {
        if self.batch.borrow().as_ref().is_some_and(|batch| batch.is_full(text_bytes)) {
            self.flush_records();
        }
        let mut current = self.batch.borrow_mut();
        if current.is_none() {
            *current = self.empty_batch();
        }
        match &mut *current {
            Some(batch) => write(batch),
            None => self.dropped.set(self.dropped.get() + 1),
        }
    }

    fn empty_batch(&self) -> Option<Box<Records>> {
        let batch = self.batches.borrow_mut().pop();
        let made = self.batches_made.get();
        let mut batch = match batch {
            Some(batch) => batch,
            None if made < BATCHES_MAX => {
                self.batches_made.set(made + 1);
                Box::default()
            }
            None => return None,
        };
        batch.core = self.core;
        batch.dropped = self.dropped.take();
        Some(batch)
    }

    /// Sends the records of an unfinished batch, and how many could not be kept.
    pub(crate) fn flush_records(&self) {
        let batch = match self.batch.take() {
            None if self.dropped.get() > 0 => self.empty_batch(),
            batch => batch,
        };
        if let Some(batch) = batch {
            self.send(Report::Records(batch));
        }
    }
}
