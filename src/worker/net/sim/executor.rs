//! Runs the tasks of a simulation: chooses the next one, and wakes tasks.
//!
//! Tasks run in rounds. In a round, every runnable task runs once, in an order that the seed decides
//! (or first come first served). The tasks that become runnable meanwhile run in the next round; if
//! the seed says so, a task that is woken during a round joins it. Between rounds, the events that are
//! due happen. Time moves when a round is empty.
//!
//! A waker must be `Send`, but the tasks are not. So a waker holds two numbers and finds its simulation
//! in a list that belongs to the thread. On another thread it does nothing.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};

use super::trace::TraceEntry;
use super::world::World;

/// The number of the task that `block_on` runs. Its future is not in the table.
pub(super) const ROOT: usize = 0;

/// After this many polls without a move of time, the run counts as stuck: a hundred times the need of
/// the largest test.
const POLLS_AT_ONE_INSTANT_MAX: u64 = 1_000_000;

/// The future of a task.
pub(super) type BoxedTask = Pin<Box<dyn Future<Output = ()>>>;

/// The result of one step of the executor.
pub(super) enum Progress {
    /// A task ran.
    Polled,
    /// It is the turn of the task that `block_on` runs.
    Root,
    /// No task can run, and no event is scheduled.
    Idle,
    /// No task can run, and the next event is due after the limit.
    Late,
}

pub(super) struct Tasks {
    /// The tasks by number. A task that has ended leaves its slot empty, so that a late waker wakes no
    /// other task.
    slots: Vec<Option<TaskSlot>>,
    /// Tasks that have not ended.
    count: usize,
    /// The tasks that this round still has to run.
    round: VecDeque<usize>,
    /// The tasks of the next round.
    next: VecDeque<usize>,
    /// Yields of this round: their tasks wake after the next round.
    yielded: Vec<Waker>,
    /// Yields of the round before: their tasks wake after this round.
    yielded_before: Vec<Waker>,
    polls_at_this_instant: u64,
}

struct TaskSlot {
    /// `None` while it runs, and for the root.
    future: Option<BoxedTask>,
    waker: Waker,
    host: usize,
    /// Whether the task is in `round` or `next`.
    queued: bool,
}

impl Tasks {
    /// No task but the root, of the simulation `sim`.
    pub(super) fn new(sim: u64) -> Self {
        let root = TaskSlot { future: None, waker: waker(sim, ROOT), host: 0, queued: false };
        Self {
            slots: vec![Some(root)],
            count: 0,
            round: VecDeque::new(),
            next: VecDeque::new(),
            yielded: Vec::new(),
            yielded_before: Vec::new(),
            polls_at_this_instant: 0,
        }
    }

    fn slot(&mut self, task: usize) -> Option<&mut TaskSlot> {
        self.slots.get_mut(task)?.as_mut()
    }
}

impl World {
    pub(super) fn task_count(&self) -> usize {
        self.tasks.borrow().count
    }

    pub(super) fn root_waker(&self) -> Waker {
        waker(self.id, ROOT)
    }

    pub(super) fn spawn(&self, host: usize, future: BoxedTask) {
        if self.closed.get() {
            return;
        }
        let id = {
            let mut tasks = self.tasks.borrow_mut();
            let id = tasks.slots.len();
            let waker = waker(self.id, id);
            tasks.slots.push(Some(TaskSlot { future: Some(future), waker, host, queued: false }));
            tasks.count += 1;
            id
        };
        self.note(TraceEntry::Spawn(host, id));
        self.wake(id);
    }

    pub(super) fn wake(&self, id: usize) {
        let mut tasks = self.tasks.borrow_mut();
        let Some(task) = tasks.slot(id).filter(|task| !task.queued) else { return };
        task.queued = true;
        if self.choose() {
            tasks.round.push_back(id);
        } else {
            tasks.next.push_back(id);
        }
    }

    /// Wakes `waker` when every task that can run now has run, and every event that is due now has
    /// happened.
    pub(super) fn wake_last(&self, waker: Waker) {
        self.tasks.borrow_mut().yielded.push(waker);
    }

    /// Lets one task run. Moves time first if no task can run, to `until` at most.
    pub(super) fn step(&self, until: u64) -> Progress {
        // First the tasks of this round, then what a new round brings, and only then a later time: so a
        // task never sees time pass while another one could run.
        loop {
            match self.pick() {
                Some(ROOT) => return Progress::Root,
                Some(id) => {
                    self.poll(id);
                    return Progress::Polled;
                }
                None => {}
            }
            if self.next_round() {
                continue;
            }
            match self.next_due() {
                None => return Progress::Idle,
                Some(due) if due > until => return Progress::Late,
                Some(due) => self.advance(due),
            }
        }
    }

    /// Moves time to `to`, unless it is there already.
    pub(super) fn advance(&self, to: u64) {
        if to > self.now() {
            self.clock.set(to);
            self.note(TraceEntry::Time(to));
            self.tasks.borrow_mut().polls_at_this_instant = 0;
        }
    }

    /// The next task of this round, no longer queued.
    fn pick(&self) -> Option<usize> {
        let mut tasks = self.tasks.borrow_mut();
        let at = match tasks.round.len() {
            0 => return None,
            many @ 2.. if self.faults.seeded_choices => self.random.below(many),
            _ => 0,
        };
        // A drawn choice may disturb the order of the rest, because the next choice is drawn too. First
        // come first served takes the front and keeps the order.
        let id = match at {
            0 => tasks.round.pop_front(),
            _ => tasks.round.swap_remove_back(at),
        }?;
        tasks.slot(id)?.queued = false;
        tasks.polls_at_this_instant += 1;
        let polls = tasks.polls_at_this_instant;
        drop(tasks);
        assert!(
            polls < POLLS_AT_ONE_INSTANT_MAX,
            "tasks run without end at {} us, the last is task {id}",
            self.now()
        );
        self.note(TraceEntry::Poll(id));
        Some(id)
    }

    /// Ends a round: lets the events happen that are due, then wakes the tasks that let a whole round go
    /// first. Returns `false` when no task can run.
    fn next_round(&self) -> bool {
        self.fire_due();
        // A task that yielded in round n wakes after round n + 1. So the tasks that it woke before it
        // yielded, and events that were due, all go first. Wakers run while no cell is borrowed.
        let ready = {
            let mut tasks = self.tasks.borrow_mut();
            let yielded = mem::take(&mut tasks.yielded);
            mem::replace(&mut tasks.yielded_before, yielded)
        };
        ready.into_iter().for_each(Waker::wake);
        let tasks = &mut *self.tasks.borrow_mut();
        tasks.round.append(&mut tasks.next);
        // An empty round counts while a yield is pending: it is the round that the yield lets go first.
        !tasks.round.is_empty() || !tasks.yielded_before.is_empty()
    }

    /// Polls task `id` once, and drops it if it ends or panics.
    fn poll(&self, id: usize) {
        // The future leaves its slot while it runs: it may spawn and wake tasks, and so needs the table.
        let taken = {
            let mut tasks = self.tasks.borrow_mut();
            tasks
                .slot(id)
                .and_then(|task| Some((task.future.take()?, task.waker.clone(), task.host)))
        };
        let Some((mut future, waker, host)) = taken else { return };
        let mut context = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)));
        if let Ok(Poll::Pending) = polled {
            if let Some(task) = self.tasks.borrow_mut().slot(id) {
                task.future = Some(future);
            }
            return;
        }
        // The slot is empty before the future is dropped, so wakers that the drop calls find no task.
        {
            let mut tasks = self.tasks.borrow_mut();
            if let Some(slot) = tasks.slots.get_mut(id) {
                *slot = None;
            }
            tasks.count -= 1;
        }
        // A panic leaves operations under way, and their owner is not to blame for that.
        let drops_allowed = self.drops_allowed.replace(self.drops_allowed.get() || polled.is_err());
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(future)));
        self.drops_allowed.set(drops_allowed);
        if polled.is_err() || dropped.is_err() {
            self.note(TraceEntry::Panic(id));
            if let Some(host) = self.hosts.borrow_mut().get_mut(host) {
                host.panics += 1;
            }
        } else {
            self.note(TraceEntry::End(id));
        }
    }

    /// Drops every task. Operations that are dropped with them do not count.
    pub(super) fn drop_tasks(&self) {
        self.drops_allowed.set(true);
        let tasks = {
            let mut tasks = self.tasks.borrow_mut();
            mem::replace(&mut *tasks, Tasks::new(self.id))
        };
        for task in tasks.slots {
            // A task that panics in its drop must not keep the other tasks alive.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(task)));
        }
    }
}

/// A waker: the numbers of a simulation and a task.
struct TaskWaker {
    thread: ThreadId,
    sim: u64,
    task: usize,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // When the thread ends, the list is gone, and so is the simulation.
        let world = SIMS.try_with(|sims| {
            let sims = sims.borrow();
            let sim = sims.live.iter().find(|sim| sim.0 == self.sim);
            sim.filter(|_| sims.thread == self.thread).and_then(|sim| sim.1.upgrade())
        });
        if let Ok(Some(world)) = world {
            world.wake(self.task);
        }
    }
}

fn waker(sim: u64, task: usize) -> Waker {
    Waker::from(Arc::new(TaskWaker { thread: SIMS.with_borrow(|sims| sims.thread), sim, task }))
}

/// The simulations of one thread.
struct LiveSims {
    thread: ThreadId,
    last: u64,
    live: Vec<(u64, Weak<World>)>,
}

thread_local! {
    static SIMS: RefCell<LiveSims> =
        RefCell::new(LiveSims { thread: thread::current().id(), last: 0, live: Vec::new() });
}

/// The number of a new simulation.
pub(super) fn new_id() -> u64 {
    SIMS.with_borrow_mut(|sims| {
        sims.last += 1;
        sims.last
    })
}

/// Lets wakers find `world`.
pub(super) fn register(world: &Rc<World>) {
    SIMS.with_borrow_mut(|sims| sims.live.push((world.id, Rc::downgrade(world))));
}

/// Hides `world` from wakers.
pub(super) fn unregister(world: &World) {
    let _ = SIMS.try_with(|sims| sims.borrow_mut().live.retain(|sim| sim.0 != world.id));
}
