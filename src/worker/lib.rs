//! The data plane: moves the bytes, on one core.
//!
//! A worker is a thread pinned to a core with everything of its own: ring, listeners, buffers,
//! deadlines, route table, endpoint connections, counters. It shares nothing with other workers,
//! and hears of the control thread only through its [`mailbox`].
//!
//! [`run`] is a worker in production. [`Worker`] is the same worker on any [`net::Net`]: the
//! simulation runs it on a simulated network.

#![deny(unsafe_code)]

mod accept;
pub mod conn;
pub mod deadline;
pub mod exchange;
pub mod failure;
pub mod mailbox;
pub mod message;
#[expect(unsafe_code, reason = "the network layer talks to the kernel; listed in tests/tidy.rs")]
pub mod net;
pub mod state;
pub mod telemetry;
pub mod upstream;
pub mod wire;

use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::rc::{Rc, Weak};
use std::sync::mpsc::Sender;
use std::task::Poll;
use std::time::Duration;

use engine::snapshot::Table;

use mailbox::Inbox;
use message::{Report, ToWorker};
use net::monoio::{Driver, MonoioNet};
use net::{Listener, Net, Stream};
use state::Core;
use telemetry::Totals;
use upstream::micros;

/// How often a core looks after what nobody waits for, in microseconds.
const SWEEP_MICROS: u64 = 1_000_000;
/// How often a draining worker looks whether it is done, in microseconds.
const DRAIN_LOOK_MICROS: u64 = 10_000;

/// What a worker is started with.
#[derive(Debug)]
pub struct Setup {
    /// Which of the workers this is, from 0.
    pub core: usize,
    /// How many workers there are: limits per node are divided by it.
    pub cores: usize,
    /// How it does its I/O.
    pub driver: Driver,
    /// Listening sockets, one per listener of the table, in its order; non-blocking.
    pub listeners: Vec<TcpListener>,
    /// The worker's own route table.
    pub table: Table,
    /// This worker's share of the node's buffers, in bytes.
    pub buffer_bytes_max: usize,
    /// Differs from worker to worker; request ids and balancing start from it.
    pub seed: u64,
    /// Where it hears of the control thread.
    pub inbox: Inbox,
    /// Where it reports to.
    pub reports: Sender<Report>,
}

/// Runs a worker on this thread, which its caller has pinned, until it is drained.
///
/// # Errors
///
/// When the driver cannot be built, or the sockets cannot be registered with it.
pub fn run(setup: Setup) -> io::Result<()> {
    net::monoio::block_on(setup.driver, |net| run_on(net, setup))?
}

async fn run_on(net: MonoioNet, setup: Setup) -> io::Result<()> {
    let Setup { core: index, cores, listeners, table, buffer_bytes_max, seed, .. } = setup;
    let mut inbox = setup.inbox;
    let bell = inbox.take_bell().ok_or(io::ErrorKind::NotConnected)?;
    let bell = net.stream(bell)?;
    let listeners =
        listeners.into_iter().map(|bound| net.listener(bound)).collect::<io::Result<Vec<_>>>()?;
    let worker = Worker::start(net, table, listeners, cores, buffer_bytes_max, seed);
    // Nobody listens any more only when the process ends.
    let _ = setup.reports.send(Report::Ready { core: index });
    let deadline = loop {
        match inbox.next() {
            Some(ToWorker::Drain { deadline }) => break deadline,
            Some(_) => {}
            None => {
                let buf = worker.core.buffers.take(net::buffer::Size::Small);
                bell.read(buf).await.0?;
            }
        }
    };
    let cut = worker.drain(deadline).await;
    let _ = setup.reports.send(Report::Drained { core: index, totals: worker.totals(), cut });
    Ok(())
}

/// A running worker.
pub struct Worker<N: Net> {
    /// Its state.
    pub core: Rc<Core<N>>,
    /// Owned by their accept tasks: a listener is closed when its task ends.
    listeners: Vec<Weak<N::Listener>>,
}

impl<N: Net> Worker<N> {
    /// Starts a worker's tasks on `net`.
    pub fn start(
        net: N,
        table: Table,
        listeners: Vec<N::Listener>,
        cores: usize,
        buffer_bytes_max: usize,
        seed: u64,
    ) -> Self {
        let core = Core::new(net, table, cores, buffer_bytes_max, seed);
        core.net.spawn(core.wheel.clone().tick_forever(core.net.clone()));
        core.net.spawn(sweep(Rc::clone(&core)));
        let listeners = (0u32..)
            .zip(listeners)
            .map(|(index, listener)| {
                let listener = Rc::new(listener);
                let weak = Rc::downgrade(&listener);
                core.net.spawn(accept::run(Rc::clone(&core), listener, index));
                weak
            })
            .collect();
        Self { core, listeners }
    }

    /// Takes no more connections, lets what runs finish, closes what is idle; after `deadline`
    /// says how many connections are still open.
    pub async fn drain(&self, deadline: Duration) -> usize {
        let core = &self.core;
        core.draining.set(true);
        for listener in self.listeners.iter().filter_map(Weak::upgrade) {
            listener.cancel_accept();
        }
        core.wheel.wake_all();
        core.close_idle();
        let give_up_at = core.net.now().plus_micros(micros(deadline));
        let accepting = || self.listeners.iter().any(|listener| listener.strong_count() > 0);
        while (core.connections.get() > 0 || accepting()) && core.net.now() < give_up_at {
            pause(core, DRAIN_LOOK_MICROS).await;
        }
        core.connections.get()
    }

    /// What the worker has counted.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let core = &self.core;
        Totals { panics: core.net.panics(), timers: core.wheel.sleeps(), ..core.counters.totals() }
    }
}

async fn pause<N: Net>(core: &Core<N>, micros: u64) {
    let deadline = core.wheel.deadline();
    deadline.arm(core.net.now(), micros);
    poll_fn(|cx| if deadline.poll_fired(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
}

async fn sweep<N: Net>(core: Rc<Core<N>>) {
    loop {
        pause(&core, SWEEP_MICROS).await;
        core.sweep();
    }
}
