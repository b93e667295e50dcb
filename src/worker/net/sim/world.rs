//! Payload all hosts of a simulation share: clock, chance, what is due, counts.
//!
//! [`World`] is behind an `Rc` in every handle, and the tasks it holds have such handles: `Sim`,
//! its owner, breaks that circle by [`World::close`]. None of its cells stays borrowed while
//! foreign code runs (a task, its drop, a waker).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::task::Waker;
use std::thread;

use super::connection::{ConnectionSide, SimConnection};
use super::executor::{self, Tasks};
use super::faults::{Faults, Random};
use super::listener::{Dial, ListenQueue};
use super::trace::{OperationKind, Trace, TraceEntry};
use super::{Force, SimNet};

/// First of the ports that connections come from and that port 0 stands for; Linux's default.
const PORT_FIRST: u16 = 32_768;
/// How many there are.
const PORT_COUNT: u16 = 28_232;

/// Something that is going to happen.
pub(super) enum SimEvent {
    /// A task has waited long enough.
    Wake(Waker),
    /// Payload was sent to that side arrives.
    Deliver(Rc<SimConnection>, ConnectionSide),
    /// The connection is reset, as that side sees it.
    Break(Rc<SimConnection>, ConnectionSide),
    /// A request to connect arrives; how often it has been sent before.
    Syn(Rc<Dial>, u32),
    /// The answer to it arrives.
    Answer(Rc<Dial>, Result<Rc<SimConnection>, io::ErrorKind>),
}

/// When something happens, in the order in which it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) at: u64,
    /// Drawn, where the seed decides what comes first of two at once.
    tie: u64,
    number: u64,
}

#[derive(Debug)]
pub(super) struct SimHost {
    /// A host with a name is marked.
    name: Option<String>,
    pub(super) open_streams: usize,
    pub(super) panics: u64,
}

impl SimHost {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }
}

pub(super) struct World {
    pub(super) id: u64,
    pub(super) faults: Faults,
    pub(super) random: Random,
    pub(super) clock: Cell<u64>,
    pub(super) trace: RefCell<Trace>,
    pub(super) tasks: RefCell<Tasks>,
    pub(super) listeners: RefCell<BTreeMap<SocketAddr, Vec<Rc<ListenQueue>>>>,
    pub(super) black_holes: RefCell<BTreeSet<SocketAddr>>,
    pub(super) hosts: RefCell<Vec<SimHost>>,
    pub(super) forced: RefCell<BTreeMap<u64, Force>>,
    pub(super) operations: Cell<u64>,
    pub(super) dropped_operations: Cell<u64>,
    /// Whether operations may be dropped under way.
    pub(super) drops_allowed: Cell<bool>,
    /// Whether `Sim` is gone.
    pub(super) closed: Cell<bool>,
    running: Cell<bool>,
    events: RefCell<BTreeMap<Due, SimEvent>>,
    events_made: Cell<u64>,
    connections_made: Cell<u64>,
    ports_taken: Cell<u16>,
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults) -> Rc<Self> {
        let id = executor::new_id();
        let world = Rc::new(Self {
            id,
            faults,
            random: Random::new(seed),
            clock: Cell::default(),
            trace: RefCell::default(),
            tasks: RefCell::new(Tasks::new(id)),
            listeners: RefCell::default(),
            black_holes: RefCell::default(),
            hosts: RefCell::default(),
            forced: RefCell::default(),
            operations: Cell::default(),
            dropped_operations: Cell::default(),
            drops_allowed: Cell::default(),
            closed: Cell::default(),
            running: Cell::default(),
            events: RefCell::default(),
            events_made: Cell::default(),
            connections_made: Cell::default(),
            ports_taken: Cell::default(),
        });
        executor::register(&world);
        world
    }

    /// The handle of the host `name`, of a new one when it has none.
    pub(super) fn host(self: &Rc<Self>, name: Option<&str>) -> SimNet {
        let mut hosts = self.hosts.borrow_mut();
        let known = name.and_then(|name| hosts.iter().position(|host| host.is(name)));
        let host = known.unwrap_or_else(|| {
            hosts.push(SimHost { name: name.map(str::to_owned), open_streams: 0, panics: 0 });
            hosts.len() - 1
        });
        let net = Ipv4Addr::new(10, 0, 0, 1).to_bits();
        let ip = Ipv4Addr::from_bits(net.wrapping_add(u32::try_from(host).unwrap_or(0)));
        SimNet { world: self.clone(), host, ip: IpAddr::V4(ip) }
    }

    /// Marks the simulation as running until what is returned is dropped.
    pub(super) fn enter(&self) -> impl Drop + use<'_> {
        struct Running<'a>(&'a Cell<bool>);
        impl Drop for Running<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }
        assert!(!self.running.replace(true), "a simulation runs already");
        Running(&self.running)
    }

    /// Drops all tasks and all that is due.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.drop_tasks();
        let events = self.events.take();
        let listeners = self.listeners.take();
        drop((events, listeners));
        executor::unregister(self);
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.get()
    }

    pub(super) fn note(&self, entry: TraceEntry) {
        self.trace.borrow_mut().note(entry);
    }

    /// One of two outcomes that are both allowed; `false` is the plain one.
    pub(super) fn choose(&self) -> bool {
        self.faults.seeded_choices && self.random.chance(500)
    }

    /// How long something sent now takes to the other side.
    pub(super) fn latency(&self) -> u64 {
        let usual = self.random.within(&self.faults.latency_micros);
        if self.random.chance(self.faults.stall_permille) {
            usual.saturating_add(self.random.within(&self.faults.stall_micros))
        } else {
            usual
        }
    }

    pub(super) fn schedule(&self, at: u64, event: SimEvent) -> Due {
        let number = count(&self.events_made);
        let tie = if self.faults.seeded_choices { self.random.next() } else { 0 };
        let due = Due { at, tie, number };
        self.events.borrow_mut().insert(due, event);
        due
    }

    pub(super) fn schedule_in(&self, micros: u64, event: SimEvent) -> Due {
        self.schedule(self.now().saturating_add(micros), event)
    }

    pub(super) fn unschedule(&self, due: Due) {
        let event = self.events.borrow_mut().remove(&due);
        drop(event);
    }

    /// When the next event is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.events.borrow().first_key_value().map(|(due, _)| due.at)
    }

    /// Lets everything happen that is due now.
    pub(super) fn fire_due(&self) {
        while self.next_due().is_some_and(|due| due <= self.now()) {
            let event = self.events.borrow_mut().pop_first();
            match event {
                None => return,
                Some((_, SimEvent::Wake(waker))) => waker.wake(),
                Some((_, SimEvent::Deliver(connection, side))) => connection.deliver(self, side),
                Some((_, SimEvent::Break(connection, side))) => connection.break_now(self, side),
                Some((_, SimEvent::Syn(dial, sent))) => dial.arrive(self, sent),
                Some((_, SimEvent::Answer(dial, answer))) => dial.answer(self, answer),
            }
        }
    }

    /// Counts an operation that starts, and says what is to become of it.
    pub(super) fn start(&self, kind: OperationKind, host: usize, connection: u64) -> Option<Force> {
        let marked = self.hosts.borrow().get(host).is_some_and(|host| host.name.is_some());
        let number = marked.then(|| count(&self.operations));
        let force = number.and_then(|number| self.forced.borrow_mut().remove(&number));
        self.note(TraceEntry::Start(kind, host, connection, number, force));
        force
    }

    /// Counts an operation that was dropped under way.
    pub(super) fn dropped(&self) {
        if !self.drops_allowed.get() && !thread::panicking() {
            count(&self.dropped_operations);
        }
    }

    pub(super) fn new_connection_number(&self) -> u64 {
        count(&self.connections_made)
    }

    pub(super) fn new_port(&self) -> u16 {
        let taken = self.ports_taken.get();
        self.ports_taken.set((taken + 1) % PORT_COUNT);
        PORT_FIRST + taken
    }
}

/// Adds one; returns what was there.
fn count(cell: &Cell<u64>) -> u64 {
    cell.replace(cell.get() + 1)
}
