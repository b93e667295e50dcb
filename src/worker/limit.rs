//! Limits of requests in flight, as one core holds to them.
//!
//! A call takes a [`Permit`] from each limit that concerns it, and holds them until its response has
//! ended. The credit behind them is [`engine::limit::lease`]'s. A call that gets none may wait in the
//! limit's queue.
//!
//! Invariant: a permit is one of the core's credit in use, and comes free when it is dropped, wherever
//! that is.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use engine::limit::{Borrower, LimitId, ToBorrower, ToLender};
use engine::reason::Reason;
use engine::snapshot::{InFlight, InFlightLimit, Snapshot};
use engine::stage::Stage;
use engine::time::Instant;

use crate::core::{Core, CoreShare};
use crate::deadline::Deadline;
use crate::failure::{Failure, Kind};
use crate::message::Report;
use crate::net::Net;
use crate::slots::{Kept, KeptSlot};
use crate::telemetry::reporter::Reporter;
use crate::upstream::queue::WaitQueue;

/// How often a call in a queue looks whether its requester still waits, in microseconds.
const LOOK_AROUND_MICROS: u64 = 400_000;
/// How long a call waits for an answer about the first credit of its core, in microseconds. Mostly it
/// takes less than a millisecond, but the control thread makes way for the workers.
const FIRST_CREDIT_MICROS: u64 = 100_000;
/// Calls of a core that wait for that at once. More than this would not get a permit anyway: the limit
/// is smaller than the number of cores.
const FIRST_CREDIT_CALLS_MAX: usize = 16;

/// No permit is left.
const FULL: Kind = Kind::Refused(Reason::InFlightFull);

/// The limits of one core that a request has met.
#[derive(Debug)]
pub struct Limits {
    slots: Kept<Box<str>, LimitSlot>,
    /// The version that the slots follow.
    version: Cell<u64>,
    share: CoreShare,
    reporter: Rc<Reporter>,
}

impl Limits {
    /// No limit yet, on a core with this `share`; those to come are of this version.
    pub(crate) fn new(share: CoreShare, version: u64, reporter: Rc<Reporter>) -> Self {
        Self { slots: Kept::default(), version: Cell::new(version), share, reporter }
    }

    /// The slot of this limit of `table`, made when a request first meets it.
    pub(crate) fn slot(&self, table: &Snapshot, limit: &InFlightLimit) -> Rc<LimitSlot> {
        if let Some(slot) = self.slots.find(&*limit.of) {
            return slot;
        }
        let slot = Rc::new(LimitSlot::new(limit, self.share, Rc::clone(&self.reporter)));
        if self.version.get() == table.number {
            self.slots.put(limit.of.clone(), Rc::clone(&slot));
        }
        slot
    }

    /// Follows the limits of a new version.
    pub(crate) fn switch(&self, table: &Snapshot) {
        self.version.set(table.number);
        self.slots.switch(|of| table.limit_of(of));
        // A limit that has grown has room for calls that wait.
        self.slots.for_each(LimitSlot::offer);
    }

    /// Forgets limits that are gone.
    pub(crate) fn sweep(&self) {
        self.slots.forget_done();
    }

    /// Takes in news about credit. `table` is the present version: news may be the first that this core
    /// hears of a limit.
    pub(crate) fn hear(&self, table: &Snapshot, id: LimitId, news: ToBorrower, now: Instant) {
        match table.limits.iter().find(|it| it.id == id) {
            Some(limit) => self.slot(table, limit).hear(id, news, now),
            // This core has not followed a version, and has none of this credit. Others wait for the
            // answer.
            None if matches!(news, ToBorrower::Recall { .. }) => {
                let (core, news) = (self.reporter.core, ToLender::Recalled(0));
                self.reporter.send(Report::Credit { core, limit: id, news });
            }
            None => {}
        }
    }

    /// Calls that wait in the queues of limits.
    pub(crate) fn waiting(&self) -> u64 {
        let mut waiting = 0;
        self.slots.for_each(|slot| waiting += slot.queue.len() as u64);
        waiting
    }
}

/// A limit as one core sees it.
#[derive(Debug)]
pub struct LimitSlot {
    id: Cell<LimitId>,
    settings: Cell<InFlight>,
    borrower: RefCell<Borrower>,
    /// Calls that wait for a permit, or for the news that there is none.
    queue: WaitQueue<Option<Permit>>,
    share: CoreShare,
    reporter: Rc<Reporter>,
    /// No version has it.
    retired: Cell<bool>,
}

impl LimitSlot {
    fn new(limit: &InFlightLimit, share: CoreShare, reporter: Rc<Reporter>) -> Self {
        let size = limit.settings.requests_max.value();
        Self {
            id: Cell::new(limit.id),
            settings: Cell::new(limit.settings),
            borrower: RefCell::new(Borrower::new(size, share.core, share.cores)),
            queue: WaitQueue::default(),
            share,
            reporter,
            retired: Cell::new(false),
        }
    }

    /// A permit, if one is left. Costs two comparisons.
    pub fn take(self: &Rc<Self>, now: Instant) -> Option<Permit> {
        let (taken, wish) = {
            let mut borrower = self.borrower.borrow_mut();
            // A call that comes later does not go before those that wait.
            (self.queue.is_empty() && borrower.take(), borrower.wish(now))
        };
        self.tell(wish);
        taken.then(|| Permit { slot: Rc::clone(self) })
    }

    /// Waits for a permit, for as long as the limit allows, but not beyond `give_up_at`. `still_waits`
    /// says whether the requester does; it is asked now and then.
    ///
    /// # Errors
    ///
    /// The limit is full, the time of the request is over, or its requester has left.
    pub async fn wait<N: Net>(
        self: &Rc<Self>,
        core: &Core<N>,
        deadline: &Deadline,
        give_up_at: Instant,
        still_waits: &dyn Fn() -> bool,
    ) -> Result<Permit, Failure> {
        let failed = |kind| Failure::endpoint(Stage::Select, kind);
        let settings = self.settings.get();
        let queued = self.queue.len();
        let may_wait =
            !settings.queue_max.is_off() && queued < self.share.of(settings.queue_max.count());
        let awaits_first = self.borrower.borrow().awaits_first() && queued < FIRST_CREDIT_CALLS_MAX;
        let full_at = core.net.now().plus_micros(match (may_wait, awaits_first) {
            (true, _) => settings.queue_timeout.0,
            (false, true) => FIRST_CREDIT_MICROS,
            (false, false) => return Err(failed(FULL)),
        });
        let look_around = || {
            let now = core.net.now();
            let left = full_at.min(give_up_at).micros_since(now);
            deadline.arm(now, left.min(LOOK_AROUND_MICROS));
        };
        // A permit that comes when the call has given up comes free, and goes to the next one.
        let place = self.queue.enter_plain(drop);
        look_around();
        let waited = poll_fn(|cx| {
            if let Poll::Ready(permit) = place.poll(cx) {
                return Poll::Ready(permit.ok_or_else(|| failed(FULL)));
            }
            if !deadline.poll_fired(cx) {
                return Poll::Pending;
            }
            let now = core.net.now();
            let kind = if !still_waits() {
                Kind::Abandoned
            } else if now >= give_up_at {
                Kind::TotalTimeout
            } else if now >= full_at {
                FULL
            } else {
                // Meanwhile others may have room.
                let wish = self.borrower.borrow_mut().wish(now);
                self.tell(wish);
                look_around();
                return Poll::Pending;
            };
            Poll::Ready(Err(failed(kind)))
        })
        .await;
        deadline.clear();
        waited
    }

    fn tell(&self, news: Option<ToLender>) {
        if let Some(news) = news {
            let (core, limit) = (self.reporter.core, self.id.get());
            self.reporter.send(Report::Credit { core, limit, news });
        }
    }

    fn hear(self: &Rc<Self>, id: LimitId, news: ToBorrower, now: Instant) {
        if id != self.id.get() {
            return;
        }
        let answer = self.borrower.borrow_mut().hear(news, now);
        self.tell(answer);
        self.offer();
        // Calls that have waited for this answer alone go.
        if news == ToBorrower::Lent(0) && self.settings.get().queue_max.is_off() {
            while let Some(next) = self.queue.first() {
                self.queue.hand(&next, None);
            }
        }
    }

    /// Hands permits to calls that wait.
    fn offer(self: &Rc<Self>) {
        while let Some(next) = self.queue.first() {
            if !self.borrower.borrow_mut().take() {
                return;
            }
            self.queue.hand(&next, Some(Permit { slot: Rc::clone(self) }));
        }
    }
}

impl KeptSlot for LimitSlot {
    type Settings = InFlightLimit;

    fn follow(&self, limit: &InFlightLimit) {
        self.retired.set(false);
        self.settings.set(limit.settings);
        if self.id.replace(limit.id) != limit.id {
            // Requests that run count under the new size too.
            let mut borrower = self.borrower.borrow_mut();
            let size = limit.settings.requests_max.value();
            *borrower = borrower.follow(size, self.share.core, self.share.cores);
        }
    }

    fn retire(&self) {
        self.retired.set(true);
    }

    fn is_done(&self) -> bool {
        self.retired.get() && self.borrower.borrow().is_unused() && self.queue.is_empty()
    }
}

/// A request that counts as in flight for as long as this lives.
#[derive(Debug)]
pub struct Permit {
    slot: Rc<LimitSlot>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let repaid = self.slot.borrower.borrow_mut().put_back();
        self.slot.tell(repaid);
        if !self.slot.queue.is_empty() {
            self.slot.offer();
        }
    }
}

/// The permits of one call.
pub type Permits = [Option<Permit>; 2];

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use engine::config::Limit;
    use engine::time::Micros;

    use super::*;

    fn slot(
        requests_max: u32,
        core: usize,
        cores: usize,
    ) -> (Rc<LimitSlot>, Rc<RefCell<Vec<ToLender>>>) {
        let sent = Rc::new(RefCell::new(Vec::new()));
        let outbox = Rc::clone(&sent);
        let reporter = Reporter::new(
            core,
            Box::new(move |report| {
                if let Report::Credit { news, .. } = report {
                    outbox.borrow_mut().push(news);
                }
            }),
        );
        let (buffer_bytes_max, descriptors_max, seed, node_seed) = (0, 0, 0, 0);
        let share = CoreShare { core, cores, buffer_bytes_max, descriptors_max, seed, node_seed };
        let settings = InFlight {
            requests_max: Limit::at(requests_max),
            queue_max: Limit::at(10),
            queue_timeout: Micros::secs(1),
        };
        let limit = InFlightLimit { id: LimitId(7), of: "upstreams.a".into(), settings };
        (Rc::new(LimitSlot::new(&limit, share, Rc::new(reporter))), sent)
    }

    const NOW: Instant = Instant(1);

    #[test]
    fn permits_come_free_when_they_are_dropped_and_go_to_the_first_that_waits() {
        let (slot, _) = slot(1, 0, 1);
        let first = slot.take(NOW).unwrap();
        assert!(slot.take(NOW).is_none());
        let place = slot.queue.enter_plain(drop);
        let poll = |place: &crate::upstream::queue::QueuePlace<'_, Option<Permit>, _>| match place
            .poll(&Context::from_waker(Waker::noop()))
        {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        };
        assert!(poll(&place).is_none());
        drop(first);
        assert!(slot.take(NOW).is_none(), "it was handed over");
        let second = poll(&place).unwrap();
        drop(place);
        drop(second);
        assert!(slot.take(NOW).is_some());
    }

    #[test]
    fn a_permit_that_was_handed_over_too_late_comes_free() {
        let (slot, _) = slot(1, 0, 1);
        let first = slot.take(NOW).unwrap();
        let place = slot.queue.enter_plain(drop);
        drop(first);
        drop(place);
        assert!(slot.take(NOW).is_some());
    }

    #[test]
    fn a_core_that_runs_short_asks_and_serves_those_that_wait_with_the_answer() {
        let (slot, sent) = slot(2, 0, 2);
        let _first = slot.take(NOW).unwrap();
        assert_eq!(*sent.borrow(), [ToLender::Wish(1)]);
        let place = slot.queue.enter_plain(drop);
        slot.hear(LimitId(6), ToBorrower::Lent(1), NOW);
        assert_eq!(slot.queue.len(), 1, "news of another limit");
        slot.hear(LimitId(7), ToBorrower::Lent(1), NOW);
        assert_eq!(slot.queue.len(), 0);
        drop(place);
    }
}
