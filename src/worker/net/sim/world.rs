//! The state that all hosts of a simulation share: clock, chance, scheduled events, counts.
//!
//! Every handle holds [`World`] behind an `Rc`, and the tasks in it hold such handles. Its owner `Sim`
//! breaks that circle with [`World::close`]. No cell of it stays borrowed while foreign code runs (a
//! task, its drop, a waker).

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

/// The first port that the network gives to a connect or to port 0; Linux's default.
const PORT_FIRST: u16 = 32_768;
/// The number of such ports.
const PORT_COUNT: u16 = 28_232;

/// A scheduled event.
pub(super) enum SimEvent {
    /// A sleep of a task ends.
    Wake(Waker),
    /// The segments for this side that are due arrive.
    Deliver(Rc<SimConnection>, ConnectionSide),
    /// The network resets the connection, as seen by this side.
    Break(Rc<SimConnection>, ConnectionSide),
    /// A request to connect arrives; with the number of times that it was sent before.
    Syn(Rc<Dial>, u32),
    /// The answer to a request to connect arrives.
    Answer(Rc<Dial>, Result<Rc<SimConnection>, io::ErrorKind>),
}

/// The time of an event. The order of this type is the order in which events happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) at: u64,
    /// Drawn if the seed decides which of two events at the same time is first.
    tie: u64,
    number: u64,
}

#[derive(Debug)]
pub(super) struct SimHost {
    /// The name. A host with a name is marked.
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
    /// Whether a task may drop operations that are under way.
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

    /// The handle of the host `name`. Makes a new host if there is none, or without a name.
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

    /// Marks the simulation as running until the caller drops the returned value.
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

    /// Drops all tasks and all events.
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

    /// Chooses between two outcomes that the contract allows; `false` is the ordinary one.
    pub(super) fn choose(&self) -> bool {
        self.faults.seeded_choices && self.random.chance(500)
    }

    /// The time that a segment sent now takes to the other side.
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

    /// The time of the next event.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.events.borrow().first_key_value().map(|(due, _)| due.at)
    }

    /// Lets all events happen that are due now.
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

    /// Counts an operation that starts, and returns the outcome that the test forces on it, if any.
    pub(super) fn start(&self, kind: OperationKind, host: usize, connection: u64) -> Option<Force> {
        let marked = self.hosts.borrow().get(host).is_some_and(|host| host.name.is_some());
        let number = marked.then(|| count(&self.operations));
        let force = number.and_then(|number| self.forced.borrow_mut().remove(&number));
        self.note(TraceEntry::Start(kind, host, connection, number, force));
        force
    }

    /// Counts an operation that a task dropped under way.
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

/// Adds one, and returns the number before.
fn count(cell: &Cell<u64>) -> u64 {
    cell.replace(cell.get() + 1)
}
