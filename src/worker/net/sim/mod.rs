//! A simulated network: virtual time, seeded faults, the same seed gives the same run.
//!
//! One [`Sim`] holds clients, gateway and endpoints as tasks on one thread. [`Sim::net`] and
//! [`Sim::net_named`] give the handle ([`SimNet`]) that implements [`Net`] for one host. Time moves
//! only when no task can run, straight to the next event, so hours cost milliseconds.
//!
//! Connections behave as TCP does on Linux (the rules are in `connection.rs`). If Linux or the
//! contract of [`Net`] leaves the outcome open and [`Faults::seeded_choices`] is set, the seed decides.
//!
//! The tests decide which conditions a run must meet. The simulation counts for them whatever shows a
//! broken contract: [`Sim::open_streams`], [`Sim::tasks`], [`Sim::dropped_operations`],
//! [`Sim::panics`]. Some broken rules are plain at once (two reads under way, a read into a full
//! buffer): they panic, and count like any panic of a task.
//!
//! Invariant: nothing here depends on the thread, the system's clock, an address in memory or the
//! order of a hash table.

mod connection;
mod executor;
mod faults;
mod listener;
mod stream;
#[cfg(test)]
mod tests;
mod trace;
mod world;

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use engine::address::Address;
use engine::time::Instant;

use super::Net;
use executor::{Progress, ROOT};
pub use faults::{Faults, Random};
pub use listener::SimListener;
pub use stream::SimStream;
use world::{Due, SimEvent, World};

/// Virtual time after which [`Sim::run_until_idle`] and [`Sim::block_on`] fail: longer than any timeout
/// that a test waits for, and short enough that a ticker of 1 ms reaches it in seconds.
const PATIENCE_MICROS: u64 = 3_600_000_000;

/// The time of day at which every simulation starts: Tue, 14 Nov 2023 22:13:20 GMT.
const UNIX_SECONDS_AT_START: u64 = 1_700_000_000;

/// The outcome that [`Sim::force`] forces on an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Force {
    /// The outcome of a call of [`super::Stream::abort`] (or [`super::Listener::cancel_accept`]) on our
    /// side at that moment. A connect resolves with `Interrupted`.
    Cancel,
    /// The outcome of a reset on the way, by neither side, at that moment. An accept resolves with
    /// `ConnectionAborted`, a connect with `ConnectionReset`.
    Reset,
}

/// A simulated network with everything that runs on it. Dropping it drops every task.
pub struct Sim {
    world: Rc<World>,
}

impl Sim {
    /// A network whose every choice comes from `seed`.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self { world: World::new(seed, faults) }
    }

    /// A handle for a host that is not under test: the simulation neither counts nor forces its
    /// operations.
    #[must_use]
    pub fn net(&self) -> SimNet {
        self.world.host(None)
    }

    /// A handle for the host `name`, the same host for the same name. The host is marked:
    /// [`Sim::operations`] counts its operations, and [`Sim::force`] can force them.
    #[must_use]
    pub fn net_named(&self, name: &str) -> SimNet {
        self.world.host(Some(name))
    }

    /// Runs `task` to its end, along with all other tasks, and returns its result. Does not catch a
    /// panic in it. Panics if `task` cannot go on.
    pub fn block_on<T>(&self, task: impl Future<Output = T>) -> T {
        let _running = self.world.enter();
        let mut task = pin!(task);
        let waker = self.world.root_waker();
        let mut context = Context::from_waker(&waker);
        let until = self.world.now().saturating_add(PATIENCE_MICROS);
        self.world.wake(ROOT);
        loop {
            match self.world.step(until) {
                Progress::Root => {
                    if let Poll::Ready(value) = task.as_mut().poll(&mut context) {
                        return value;
                    }
                }
                Progress::Polled => {}
                Progress::Idle => self.give_up("block_on waits for something that cannot happen"),
                Progress::Late => self.give_up("block_on is still waiting after an hour"),
            }
        }
    }

    /// Runs until no task can run and no event is scheduled. Panics if that takes more than an hour of
    /// virtual time. A task that sleeps again and again is never idle, so use [`Sim::run_for`] or
    /// [`Sim::block_on`] for a worker with a ticker.
    pub fn run_until_idle(&self) {
        let _running = self.world.enter();
        let until = self.world.now().saturating_add(PATIENCE_MICROS);
        loop {
            match self.world.step(until) {
                Progress::Root | Progress::Polled => {}
                Progress::Idle => return,
                Progress::Late => self.give_up("run_until_idle is still busy after an hour"),
            }
        }
    }

    /// Runs for `micros` microseconds of virtual time, including all events of the last one.
    pub fn run_for(&self, micros: u64) {
        let _running = self.world.enter();
        let until = self.world.now().saturating_add(micros);
        while let Progress::Root | Progress::Polled = self.world.step(until) {}
        self.world.advance(until);
    }

    /// From now on, connects to `addr` get no answer, not even a refusal.
    pub fn black_hole(&self, addr: SocketAddr) {
        self.world.black_holes.borrow_mut().insert(addr);
    }

    /// Forces an outcome on the operation with this number (the first is 0), of the operations of the
    /// marked hosts: see [`Sim::operations`].
    pub fn force(&self, operation: u64, force: Force) {
        self.world.forced.borrow_mut().insert(operation, force);
    }

    /// The number of accepts, connects, reads, writes and waits for readiness that marked hosts have
    /// started (polled once).
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.world.operations.get()
    }

    /// The number of reads, writes and accepts that a task dropped under way, against the contract.
    /// Operations that a panic drops, and operations that end with the [`Sim`], do not count.
    #[must_use]
    pub fn dropped_operations(&self) -> u64 {
        self.world.dropped_operations.get()
    }

    /// The number of streams, accepted or connected by any host, that are not dropped.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.world.hosts.borrow().iter().map(|host| host.open_streams).sum()
    }

    /// The number of streams of the host `name` that are not dropped.
    #[must_use]
    pub fn open_streams_of(&self, name: &str) -> usize {
        let hosts = self.world.hosts.borrow();
        hosts.iter().find(|host| host.is(name)).map_or(0, |host| host.open_streams)
    }

    /// The number of tasks that have started and not ended.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.world.task_count()
    }

    /// The number of tasks of all hosts that have panicked.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.world.hosts.borrow().iter().map(|host| host.panics).sum()
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant(self.world.now())
    }

    /// A hash of everything that has happened: polls, time, operations and their results, bytes. If two
    /// runs with the same seed differ here, something in them does not depend on the seed.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.world.trace.borrow().hash()
    }

    /// Keeps a text of everything that happens from now on, for [`Sim::history`].
    pub fn keep_history(&self) {
        self.world.trace.borrow_mut().keep();
    }

    /// The last events since [`Sim::keep_history`], one in each line: for the message of a failed test.
    #[must_use]
    pub fn history(&self) -> String {
        self.world.trace.borrow().history()
    }

    #[expect(clippy::panic, reason = "the caller is a test, which has failed")]
    fn give_up(&self, why: &str) -> ! {
        panic!(
            "{why}: {} tasks, {} streams, {} operations, at {} us",
            self.tasks(),
            self.open_streams(),
            self.operations(),
            self.world.now()
        );
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.world.close();
    }
}

/// One host's handle to a [`Sim`].
#[derive(Clone)]
pub struct SimNet {
    world: Rc<World>,
    host: usize,
    ip: IpAddr,
}

impl SimNet {
    /// The same host, connecting from `ip`.
    #[must_use]
    pub fn from_ip(&self, ip: IpAddr) -> Self {
        Self { ip, ..self.clone() }
    }

    /// Listens on `addr`; port 0 takes a free port. Several listeners may share an address, as with
    /// `SO_REUSEPORT`: the network spreads connections over them.
    #[must_use]
    pub fn listen(&self, addr: impl Into<Address>) -> SimListener {
        SimListener::new(self, simulated_address(&addr.into()))
    }
}

impl Net for SimNet {
    type Stream = SimStream;
    type Listener = SimListener;

    fn now(&self) -> Instant {
        Instant(self.world.now())
    }

    fn unix_micros(&self) -> u64 {
        UNIX_SECONDS_AT_START * 1_000_000 + self.world.now()
    }

    fn cpu_micros(&self) -> u64 {
        0
    }

    fn connect(&self, to: impl Into<Address>) -> impl Future<Output = io::Result<SimStream>> {
        listener::ConnectFuture::new(self.clone(), simulated_address(&to.into()))
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.world.spawn(self.host, Box::pin(task));
    }

    fn panics(&self) -> u64 {
        self.world.hosts.borrow().get(self.host).map_or(0, |host| host.panics)
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> {
        SleepFuture { world: self.world.clone(), at: at.0, due: None }
    }

    fn yield_now(&self) -> impl Future<Output = ()> {
        YieldFuture { world: self.world.clone(), yielded: false }
    }
}

/// The network that stands for Unix sockets. No host of a simulation is in it (RFC 6666, "discard").
const UNIX_NETWORK: u128 = 0x0100 << 112;

/// The address in the simulated network for any address. A Unix socket gets one of [`UNIX_NETWORK`].
fn simulated_address(address: &Address) -> SocketAddr {
    match address {
        Address::Ip(address) => *address,
        Address::Unix(name) => {
            // FNV-1a. If two names had the same hash, their tests would fail.
            let mix = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            let host = name.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
            SocketAddr::new(Ipv6Addr::from_bits(UNIX_NETWORK | u128::from(host)).into(), 1)
        }
    }
}

/// Whether this address stands for a Unix socket.
fn is_unix(address: SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V6(ip) if ip.to_bits() >> 64 == UNIX_NETWORK >> 64)
}

/// [`Net::sleep_until`].
struct SleepFuture {
    world: Rc<World>,
    at: u64,
    /// The event that wakes the task.
    due: Option<Due>,
}

impl Future for SleepFuture {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let due = match self.due.take() {
            Some(due) => {
                self.world.unschedule(due);
                due.at
            }
            None => {
                let late = self.world.random.within(&self.world.faults.sleep_late_micros);
                self.at.saturating_add(late)
            }
        };
        if due <= self.world.now() {
            return Poll::Ready(());
        }
        self.due = Some(self.world.schedule(due, SimEvent::Wake(context.waker().clone())));
        Poll::Pending
    }
}

impl Drop for SleepFuture {
    fn drop(&mut self) {
        if let Some(due) = self.due.take() {
            self.world.unschedule(due);
        }
    }
}

/// [`Net::yield_now`].
struct YieldFuture {
    world: Rc<World>,
    yielded: bool,
}

impl Future for YieldFuture {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        self.world.wake_last(context.waker().clone());
        Poll::Pending
    }
}
