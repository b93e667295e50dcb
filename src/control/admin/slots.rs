//! Which connections there are, and which one goes when one too many comes.
//!
//! Invariant: at most [`CONNECTIONS_MAX`] connections. A new one is always served, unless all of
//! the others wait for a change of the configuration: so nobody can lock others out by holding on
//! to connections.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use tokio::task::AbortHandle;

/// Connections at once. A handful of people, scrapers and probes is usual.
pub(super) const CONNECTIONS_MAX: usize = 64;

/// All connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    entries: Rc<RefCell<Vec<Entry>>>,
    next: Rc<Cell<u64>>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    moved: Rc<Cell<Instant>>,
    busy: Rc<Cell<bool>>,
    abort: AbortHandle,
}

/// A connection's place. Free again when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    id: u64,
    moved: Rc<Cell<Instant>>,
    busy: Rc<Cell<bool>>,
    slots: Slots,
}

impl Slots {
    /// Starts a connection. If there are too many, the one that has been still for the longest time
    /// is closed for it.
    pub(super) fn start(&self, connection: impl FnOnce(Slot) -> AbortHandle) {
        if self.entries.borrow().len() >= CONNECTIONS_MAX && !self.close_one() {
            return;
        }
        let id = self.next.get();
        self.next.set(id + 1);
        let moved = Rc::new(Cell::new(Instant::now()));
        let busy = Rc::new(Cell::new(false));
        let slot =
            Slot { id, moved: Rc::clone(&moved), busy: Rc::clone(&busy), slots: self.clone() };
        let abort = connection(slot);
        self.entries.borrow_mut().push(Entry { id, moved, busy, abort });
    }

    fn close_one(&self) -> bool {
        let mut entries = self.entries.borrow_mut();
        let idle = entries.iter().enumerate().filter(|(_, it)| !it.busy.get());
        let Some((stillest, _)) = idle.min_by_key(|(_, it)| it.moved.get()) else { return false };
        entries.swap_remove(stillest).abort.abort();
        true
    }
}

impl Slot {
    /// When a byte was last moved on this connection, for whoever moves them.
    pub(super) fn moved(&self) -> Rc<Cell<Instant>> {
        Rc::clone(&self.moved)
    }

    /// Is not closed in favour of another connection while `work` lasts.
    pub(super) async fn busy<T>(&self, work: impl Future<Output = T>) -> T {
        self.busy.set(true);
        let result = work.await;
        self.busy.set(false);
        self.moved.set(Instant::now());
        result
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.entries.borrow_mut().retain(|it| it.id != self.id);
    }
}
