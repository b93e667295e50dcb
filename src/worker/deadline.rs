//! Deadlines: one coarse wheel per core, armed and cleared by a store.
//!
//! A connection owns a [`Deadline`] for each direction that it waits in. Arming one writes the
//! tick at which it is due; the entry moves in the wheel only when it would otherwise be looked at
//! too late. An entry that is looked at before it is due is put where it belongs then. So a steady
//! keep-alive exchange, which arms and clears a handful of deadlines, moves nothing and touches no
//! timer of the runtime: the one sleep of the core, [`Wheel::tick_forever`], is set again only
//! when a bucket comes up ([`Wheel::sleeps`] counts that).
//!
//! A deadline that fires wakes the task that waits in [`Deadline::guard`]; that task decides
//! how to give up. Invariant: firing never drops an operation.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use engine::time::Instant;
use slab::Slab;

use crate::net::Net;

/// log2 of the microseconds in a tick: 8.192 ms. A deadline fires at most one tick late.
const TICK_SHIFT: u32 = 13;
/// Buckets of the wheel: 8.4 s until a bucket comes round again. Entries due later are looked at
/// on the way. A power of two.
const BUCKETS: u64 = 1024;
/// Entries further away than this many ticks (half a second) are looked at first in a bucket that
/// is a multiple of it, so that idle connections wake the core twice a second and not 122 times.
const COARSE: u64 = 64;
/// "Never": not due, or in no bucket.
const NEVER: u64 = u64::MAX;
/// The end of a bucket's list.
const NIL: usize = usize::MAX;
/// Entries that the waking of all looks at in one turn: some 10 us, and as many short polls behind it.
const WAKES_MAX: usize = 128;

/// A core's wheel. Cloning gives another handle to the same wheel.
#[derive(Clone, Debug)]
pub struct Wheel(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    table: RefCell<Table>,
    /// The tick that the ticker sleeps until.
    wake_at: Cell<u64>,
    ticker: RefCell<Option<Waker>>,
    sleeps: Cell<u64>,
}

#[derive(Debug)]
struct Table {
    entries: Slab<Entry>,
    /// The first entry of each bucket's list.
    buckets: Vec<usize>,
    /// Every bucket up to this tick has been looked at.
    tick: u64,
}

#[derive(Debug)]
struct Entry {
    /// The tick to fire at.
    due: u64,
    /// The tick at which the entry is looked at: it is in bucket `queued % BUCKETS`.
    queued: u64,
    previous: usize,
    next: usize,
    fired: bool,
    waker: Option<Waker>,
}

impl Default for Wheel {
    fn default() -> Self {
        let buckets = vec![NIL; usize::try_from(BUCKETS).unwrap_or(0)];
        Self(Rc::new(Shared {
            table: RefCell::new(Table { entries: Slab::new(), buckets, tick: 0 }),
            wake_at: Cell::new(NEVER),
            ticker: RefCell::default(),
            sleeps: Cell::new(0),
        }))
    }
}

impl Wheel {
    /// A deadline that is not armed.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        let entry = Entry {
            due: NEVER,
            queued: NEVER,
            previous: NIL,
            next: NIL,
            fired: false,
            waker: None,
        };
        let key = self.0.table.borrow_mut().entries.insert(entry);
        Deadline { wheel: self.clone(), key }
    }

    /// How often the ticker has slept: the timers that the runtime was asked for.
    #[must_use]
    pub fn sleeps(&self) -> u64 {
        self.0.sleeps.get()
    }

    /// Deadlines that exist: two per client connection, and a few of the core's own.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.table.borrow().entries.len()
    }

    /// Whether no deadline exists.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Wakes every task that waits at a deadline now, so that it looks around (at a drain): a few
    /// in a turn, or tens of thousands of connections would make one long turn of it.
    pub async fn wake_all<N: Net>(self, net: N) {
        let mut next = Some(0);
        while let Some(key) = next {
            next = self.wake_some(key);
            net.yield_now().await;
        }
    }

    /// Wakes the tasks of the entries from `first` on, and says where to go on.
    fn wake_some(&self, first: usize) -> Option<usize> {
        let last = first + WAKES_MAX;
        let (wakers, end): (Vec<Waker>, _) = {
            let table = self.0.table.borrow();
            let waker = |key| table.entries.get(key)?.waker.clone();
            ((first..last).filter_map(waker).collect(), table.entries.capacity())
        };
        wakers.into_iter().for_each(Waker::wake);
        (last < end).then_some(last)
    }

    /// Fires the deadline with this key now, whatever it was armed for.
    pub(crate) fn fire(&self, key: usize) {
        let waker = {
            let mut table = self.0.table.borrow_mut();
            let Some(entry) = table.entries.get_mut(key) else { return };
            entry.due = NEVER;
            entry.fired = true;
            entry.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Fires the deadlines that are due, for ever. One task per core runs this.
    pub async fn tick_forever<N: Net>(self, net: N) {
        loop {
            self.fire_until(net.now());
            let at = self.0.table.borrow().next_bucket();
            self.0.wake_at.set(at);
            let mut sleep = pin!(async {
                if at == NEVER {
                    std::future::pending::<()>().await;
                }
                self.0.sleeps.set(self.0.sleeps.get() + 1);
                net.sleep_until(Instant(at << TICK_SHIFT)).await;
            });
            poll_fn(|cx| {
                // An entry was queued before `at`: sleep anew.
                if self.0.wake_at.get() < at {
                    return Poll::Ready(());
                }
                let mut ticker = self.0.ticker.borrow_mut();
                if !ticker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    *ticker = Some(cx.waker().clone());
                }
                drop(ticker);
                sleep.as_mut().poll(cx)
            })
            .await;
        }
    }

    /// Fires every deadline due at or before `now`.
    pub fn fire_until(&self, now: Instant) {
        let until = now.0 >> TICK_SHIFT;
        loop {
            // Woken one by one: a waker may run code that arms deadlines.
            let waker = match self.0.table.borrow_mut().fire_one(until) {
                Some(waker) => waker,
                None => return,
            };
            waker.wake();
        }
    }
}

impl Table {
    /// The next tick whose bucket is not empty.
    fn next_bucket(&self) -> u64 {
        (self.tick + 1..=self.tick + BUCKETS)
            .find(|tick| self.buckets.get(bucket(*tick)).is_some_and(|&first| first != NIL))
            .unwrap_or(NEVER)
    }

    /// Looks at buckets up to tick `until` and stops at the first entry that fires with somebody
    /// waiting for it.
    fn fire_one(&mut self, until: u64) -> Option<Waker> {
        // After a long sleep one round looks at every bucket.
        self.tick = self.tick.max(until.saturating_sub(BUCKETS));
        while self.tick < until {
            let tick = self.tick + 1;
            let mut key = self.buckets.get(bucket(tick)).copied().unwrap_or(NIL);
            while key != NIL {
                let Some(entry) = self.entries.get_mut(key) else { break };
                let next = entry.next;
                let (due, queued) = (entry.due, entry.queued);
                if queued <= until {
                    self.unlink(key);
                    if due == NEVER {
                        // Cleared: out of the wheel until it is armed again.
                    } else if due > until {
                        self.link(key, due, until);
                    } else if let Some(entry) = self.entries.get_mut(key) {
                        entry.due = NEVER;
                        entry.fired = true;
                        if let Some(waker) = entry.waker.take() {
                            return Some(waker);
                        }
                    }
                }
                key = next;
            }
            self.tick = tick;
        }
        None
    }

    /// Puts an entry where it is looked at no later than `due`.
    fn link(&mut self, key: usize, due: u64, now: u64) {
        let furthest = now + BUCKETS - 1;
        let at = match due.min(furthest) {
            at if at > now + COARSE => at / COARSE * COARSE,
            at => at.max(now + 1),
        };
        let Some(first) = self.buckets.get_mut(bucket(at)) else { return };
        let next = std::mem::replace(first, key);
        if let Some(next) = self.entries.get_mut(next) {
            next.previous = key;
        }
        if let Some(entry) = self.entries.get_mut(key) {
            (entry.queued, entry.previous, entry.next) = (at, NIL, next);
        }
    }

    fn unlink(&mut self, key: usize) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let (queued, previous, next) = (entry.queued, entry.previous, entry.next);
        (entry.queued, entry.previous, entry.next) = (NEVER, NIL, NIL);
        if queued == NEVER {
            return;
        }
        if let Some(next) = self.entries.get_mut(next) {
            next.previous = previous;
        }
        match self.entries.get_mut(previous) {
            Some(previous) => previous.next = next,
            None => {
                if let Some(first) = self.buckets.get_mut(bucket(queued)) {
                    *first = next;
                }
            }
        }
    }
}

fn bucket(tick: u64) -> usize {
    usize::try_from(tick % BUCKETS).unwrap_or(0)
}

/// One wait's deadline. Dropping it takes it out of the wheel.
#[derive(Debug)]
pub struct Deadline {
    wheel: Wheel,
    key: usize,
}

impl Deadline {
    /// Fires `micros` microseconds after `now`, or up to a tick later; replaces an earlier moment.
    pub fn arm(&self, now: Instant, micros: u64) {
        let shared = &self.wheel.0;
        let mut table = shared.table.borrow_mut();
        let tick = table.tick;
        let due = (now.plus_micros(micros).0 >> TICK_SHIFT) + 1;
        let Some(entry) = table.entries.get_mut(self.key) else { return };
        entry.due = due;
        entry.fired = false;
        if entry.queued <= due {
            return;
        }
        table.unlink(self.key);
        table.link(self.key, due, tick);
        let queued = table.entries.get(self.key).map_or(NEVER, |entry| entry.queued);
        drop(table);
        if queued < shared.wake_at.get() {
            shared.wake_at.set(queued);
            if let Some(ticker) = shared.ticker.borrow().as_ref() {
                ticker.wake_by_ref();
            }
        }
    }

    /// Its key in the wheel, for [`Wheel::fire`]: its own for as long as it lives.
    pub(crate) const fn key(&self) -> usize {
        self.key
    }

    /// Will not fire.
    pub fn clear(&self) {
        if let Some(entry) = self.wheel.0.table.borrow_mut().entries.get_mut(self.key) {
            entry.due = NEVER;
            entry.fired = false;
        }
    }

    /// Whether it has fired since it was armed or cleared; the caller's task is woken when it
    /// does.
    pub fn poll_fired(&self, cx: &Context<'_>) -> bool {
        let mut table = self.wheel.0.table.borrow_mut();
        let Some(entry) = table.entries.get_mut(self.key) else { return false };
        if !entry.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            entry.waker = Some(cx.waker().clone());
        }
        entry.fired
    }

    /// Waits until it fires.
    pub async fn passed(&self) {
        poll_fn(|cx| if self.poll_fired(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Awaits `operation`. Each time the deadline fires, `give_up` is called, which makes the
    /// operation resolve or arms the deadline again. The operation itself is never dropped.
    ///
    /// It is taken by reference: by value it would stand in the caller's future twice.
    pub const fn guard<'a, F: Future, G: FnMut() + Unpin>(
        &'a self,
        operation: Pin<&'a mut F>,
        give_up: G,
    ) -> Guard<'a, F, G> {
        Guard { deadline: self, operation, give_up }
    }
}

/// An operation under a deadline; see [`Deadline::guard`].
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Guard<'a, F, G> {
    deadline: &'a Deadline,
    operation: Pin<&'a mut F>,
    give_up: G,
}

impl<F: Future, G: FnMut() + Unpin> Future for Guard<'_, F, G> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if let Poll::Ready(done) = self.operation.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        if !self.deadline.poll_fired(cx) {
            return Poll::Pending;
        }
        self.deadline.clear();
        (self.give_up)();
        // The operation may have resolved at once.
        self.operation.as_mut().poll(cx)
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let mut table = self.wheel.0.table.borrow_mut();
        table.unlink(self.key);
        table.entries.try_remove(self.key);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "a waker must be Sync")]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU64);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Fixture {
        wheel: Wheel,
        woken: Arc<Count>,
        waker: Waker,
    }

    impl Fixture {
        fn new() -> Self {
            let woken = Arc::<Count>::default();
            let waker = Waker::from(Arc::clone(&woken));
            Self { wheel: Wheel::default(), woken, waker }
        }

        fn fired(&self, deadline: &Deadline) -> bool {
            deadline.poll_fired(&Context::from_waker(&self.waker))
        }

        fn woken(&self) -> u64 {
            self.woken.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_deadline_fires_within_a_tick_after_its_time_and_not_before() {
        for micros in [0, 1, 10_000, 99_999, 1_000_000, 7_000_000, 75_000_000, 3_600_000_000] {
            let fixture = Fixture::new();
            let deadline = fixture.wheel.deadline();
            let start = Instant(123_456);
            fixture.wheel.fire_until(start);
            deadline.arm(start, micros);
            assert!(!fixture.fired(&deadline));
            let mut now = start;
            while fixture.woken() == 0 {
                now = now.plus_micros(1_000);
                fixture.wheel.fire_until(now);
                assert!(now.micros_since(start) <= micros + 10_000, "late: {micros}");
            }
            assert!(now.micros_since(start) > micros, "early: {micros}");
            assert!(fixture.fired(&deadline));
        }
    }

    #[test]
    fn clearing_and_arming_anew_is_a_store() {
        let fixture = Fixture::new();
        let deadline = fixture.wheel.deadline();
        for step in 0..1_000u64 {
            let now = Instant(step * 5_000);
            fixture.wheel.fire_until(now);
            deadline.arm(now, 1_000_000);
            assert!(!fixture.fired(&deadline));
            deadline.clear();
            deadline.arm(now, 30_000_000);
            assert!(!fixture.fired(&deadline));
        }
        assert_eq!(fixture.woken(), 0);
        deadline.arm(Instant(5_000_000), 20_000);
        fixture.wheel.fire_until(Instant(5_040_000));
        assert_eq!(fixture.woken(), 1);
    }

    #[test]
    fn a_cleared_or_dropped_deadline_does_not_fire() {
        let fixture = Fixture::new();
        let (cleared, dropped) = (fixture.wheel.deadline(), fixture.wheel.deadline());
        for deadline in [&cleared, &dropped] {
            deadline.arm(Instant(0), 100_000);
            assert!(!fixture.fired(deadline));
        }
        cleared.clear();
        drop(dropped);
        fixture.wheel.fire_until(Instant(10_000_000));
        assert_eq!((fixture.woken(), fixture.wheel.len()), (0, 1));
    }

    #[test]
    fn any_sequence_agrees_with_a_list_of_times() {
        for seed in 1..200u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut draw = |below: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % below
            };
            let fixture = Fixture::new();
            let deadlines: Vec<_> = (0..8).map(|_| fixture.wheel.deadline()).collect();
            let mut model = vec![None::<u64>; 8];
            let mut now = Instant(draw(1 << 40));
            fixture.wheel.fire_until(now);
            for _ in 0..300 {
                let which = usize::try_from(draw(8)).unwrap();
                match draw(4) {
                    0 => {
                        deadlines[which].clear();
                        model[which] = None;
                    }
                    1 => now = now.plus_micros(draw(20_000_000)),
                    _ => {
                        let scale = draw(28);
                        let micros = draw(1 << scale);
                        deadlines[which].arm(now, micros);
                        model[which] = Some((now.plus_micros(micros).0 >> TICK_SHIFT) + 1);
                    }
                }
                fixture.wheel.fire_until(now);
                for (deadline, due) in deadlines.iter().zip(&mut model) {
                    let expected = due.is_some_and(|due| due <= now.0 >> TICK_SHIFT);
                    assert_eq!(fixture.fired(deadline), expected, "seed {seed}");
                    if expected {
                        deadline.clear();
                        *due = None;
                    }
                }
            }
        }
    }
}
