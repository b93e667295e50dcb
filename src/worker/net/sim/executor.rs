//! The tasks of a simulation: which one runs next, and how it is woken.
//!
//! Tasks run in rounds: everything that is runnable runs once, in an order that the seed decides
//! (or first come first served), then what has become runnable. A task woken during a round may
//! join it, if the seed says so. Between rounds, what is due happens. Time moves when a round is
//! empty.
//!
//! A waker must be `Send`, the tasks are not: a waker therefore holds two numbers, and finds its
//! simulation in a list of the thread's own. On another thread it does nothing.

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

/// The task that `block_on` runs; it is not in the table.
pub(super) const ROOT: usize = 0;

/// Polls without time moving after which a run is taken to be stuck: a hundred times what the
/// largest test needs.
const POLLS_AT_ONE_INSTANT_MAX: u64 = 1_000_000;

/// A task, as the table holds it.
pub(super) type BoxedTask = Pin<Box<dyn Future<Output = ()>>>;

/// Payload one step of the executor was.
pub(super) enum Progress {
    /// A task ran.
    Polled,
    /// It is the turn of the task that `block_on` runs.
    Root,
    /// No task can run and nothing is due, ever.
    Idle,
    /// No task can run and nothing is due in time.
    Late,
}

pub(super) struct Tasks {
    /// By number; an ended one leaves its place empty, so that a late waker wakes nobody else.
    slots: Vec<Option<TaskSlot>>,
    /// Tasks that have not ended.
    count: usize,
    /// Payload this round still has to run.
    round: VecDeque<usize>,
    /// Payload the next one will.
    next: VecDeque<usize>,
    /// To be woken after the next round.
    yielded: Vec<Waker>,
    /// To be woken after this round.
    ripe: Vec<Waker>,
    polls_at_this_instant: u64,
}

struct TaskSlot {
    /// Taken out while it runs.
    future: Option<BoxedTask>,
    waker: Waker,
    host: usize,
    /// Whether it is in `round` or `next`.
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
            ripe: Vec::new(),
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

    /// Wakes `waker` when everything that can run now has run, and what is due now has happened.
    pub(super) fn wake_last(&self, waker: Waker) {
        self.tasks.borrow_mut().yielded.push(waker);
    }

    /// Lets one task run, after moving time if need be, to `until` at most.
    pub(super) fn step(&self, until: u64) -> Progress {
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
        // The order of the rest does not matter when the choice is drawn, and stays as it is when
        // the first is taken.
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

    /// Ends a round: what is due happens, then those are woken that let a whole round go first.
    /// `false` when nobody can run.
    fn next_round(&self) -> bool {
        self.fire_due();
        let ripe = {
            let mut tasks = self.tasks.borrow_mut();
            let yielded = mem::take(&mut tasks.yielded);
            mem::replace(&mut tasks.ripe, yielded)
        };
        ripe.into_iter().for_each(Waker::wake);
        let tasks = &mut *self.tasks.borrow_mut();
        tasks.round.append(&mut tasks.next);
        !tasks.round.is_empty() || !tasks.ripe.is_empty()
    }

    fn poll(&self, id: usize) {
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
        {
            let mut tasks = self.tasks.borrow_mut();
            if let Some(slot) = tasks.slots.get_mut(id) {
                *slot = None;
            }
            tasks.count -= 1;
        }
        // A panic leaves operations under way, and that is not their owner's doing.
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

    /// Drops every task, with nothing counted any more.
    pub(super) fn drop_tasks(&self) {
        self.drops_allowed.set(true);
        let tasks = {
            let mut tasks = self.tasks.borrow_mut();
            mem::replace(&mut *tasks, Tasks::new(self.id))
        };
        for task in tasks.slots {
            // One that panics while it is dropped must not keep the others.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(task)));
        }
    }
}

/// Payload a waker holds: the numbers of a simulation and a task.
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
        // The list is gone while the thread ends, and so is the simulation then.
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

/// A number for a new simulation.
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

/// Wakers do not find it any more.
pub(super) fn unregister(world: &World) {
    let _ = SIMS.try_with(|sims| sims.borrow_mut().live.retain(|sim| sim.0 != world.id));
}
