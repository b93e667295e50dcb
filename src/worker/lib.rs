//! The data plane: moves the bytes, on one core.
//!
//! A worker is a thread pinned to a core with everything of its own: ring, listeners, buffers,
//! deadlines, route table, endpoint connections, counters. It shares nothing with other workers,
//! and hears of the control thread only through its [`mailbox`].
//!
//! [`run`] is a worker in production. [`Worker`] is the same worker on any [`net::Net`]: the
//! simulation runs it on a simulated network.

#![deny(unsafe_code)]
#![expect(
    clippy::vec_box,
    reason = "blocks and batches travel between cores: the boxes move, and not what is in them"
)]

pub mod accept;
pub mod conn;
pub mod core;
pub mod deadline;
pub mod exchange;
pub mod failure;
pub mod filter;
pub mod h1;
pub mod limit;
pub mod listener;
pub mod mailbox;
pub mod message;
#[cfg(feature = "mux")]
pub mod mux;
#[expect(unsafe_code, reason = "the network layer talks to the kernel; listed in tests/tidy.rs")]
pub mod net;
pub mod pressure;
pub mod side;
pub mod slots;
pub mod snapshot;
pub mod spares;
pub mod state;
pub mod telemetry;
pub mod tls;
pub mod transport;
pub mod upstream;

pub mod wire;

use std::io;
use std::rc::Rc;
use std::time::Duration;

use engine::names::Answers;
use engine::snapshot::{ListenerId, Snapshot};
use engine::time::Micros;

use crate::core::{Core, CoreShare, SWEEP_MICROS};
use mailbox::{Inbox, Mailbox};
use message::{Report, Switch, ToWorker};
use net::monoio::{BoundSocket, Driver, MonoioNet};
use net::{Net, Stream};
use state::CoreState;
use telemetry::Totals;
use telemetry::reporter::Outbox;

/// How often a draining worker looks whether it is done, in microseconds.
const DRAIN_LOOK_MICROS: u64 = 10_000;

/// Everything that a worker needs at its start.
#[derive(Debug)]
pub struct Setup {
    /// Which of the workers it is, and its part of the node.
    pub share: CoreShare,
    /// How it does its I/O.
    pub driver: Driver,
    /// Listening sockets, one per listener of the table, in its order; non-blocking.
    pub listeners: Vec<BoundSocket>,
    /// The worker's own route table.
    pub table: Box<Snapshot>,
    /// The places that the names of the table stand for now.
    pub answers: Answers,
    /// Where it hears of the control thread.
    pub inbox: Inbox<ToWorker>,
    /// Where it reports to.
    pub reports: Mailbox<Report>,
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
    let Setup { share, listeners, table, answers, reports, .. } = setup;
    let mut inbox = setup.inbox;
    let bell = inbox.take_bell().ok_or(io::ErrorKind::NotConnected)?;
    let bell = net.stream(bell)?;
    let listeners =
        listeners.into_iter().map(|bound| net.listener(bound)).collect::<io::Result<Vec<_>>>()?;
    let outbox = Box::new(move |report| reports.send(report));
    let worker = Worker::start(net.clone(), table, listeners, share, outbox);
    // No task has run yet, so no request finds an upstream without them.
    worker.state.start_with(answers);
    let reporter = Rc::clone(&worker.state.core.reporter);
    reporter.send(Report::Ready { core: share.core });
    let deadline = loop {
        match inbox.next() {
            Ok(ToWorker::Switch(switch)) => {
                let Switch { table, listeners, answers } = *switch;
                let sockets = listeners.into_iter().map(|(id, it)| Ok((id, net.listener(it)?)));
                worker.switch(table, answers, sockets.collect());
            }
            Ok(ToWorker::Drain { deadline }) => break deadline,
            Ok(message) => worker.take(message),
            Err(_) => {
                let buf = worker.state.core.buffers.take(net::buffer::Size::Small);
                bell.read(buf).await.0?;
            }
        }
    };
    // A drain may be long: without its boxes it would run out of records.
    let meanwhile = || std::iter::from_fn(|| inbox.next().ok()).for_each(|it| worker.take(it));
    let cut = worker.drain(deadline, meanwhile).await;
    reporter.send(Report::Drained { core: share.core, totals: worker.totals(), cut });
    // Tasks that were cut outlive the runtime.
    reporter.close();
    Ok(())
}

/// A running worker.
pub struct Worker<N: Net> {
    /// Its state.
    pub state: Rc<CoreState<N>>,
}

impl<N: Net> Worker<N> {
    /// Starts a worker's tasks on `net`. `listeners` are the sockets of the table's listeners, in
    /// its order.
    pub fn start(
        net: N,
        table: Box<Snapshot>,
        listeners: Vec<N::Listener>,
        share: CoreShare,
        outbox: Outbox,
    ) -> Self {
        let state = CoreState::new(net, table, share, outbox);
        let core = &state.core;
        core.net.spawn(core.wheel.clone().tick_forever(core.net.clone()));
        core.net.spawn(every_second(Rc::clone(&state)));
        let ids: Vec<_> = state.snapshot().table().listeners.iter().map(|it| it.id).collect();
        let worker = Self { state };
        worker.listen(ids.into_iter().zip(listeners));
        worker
    }

    fn listen(&self, sockets: impl IntoIterator<Item = (ListenerId, N::Listener)>) {
        let state = &self.state;
        let snapshot = state.snapshot();
        for (id, socket) in sockets {
            if let Some((socket, slot)) = state.listen(&snapshot, id, socket) {
                state.core.net.spawn(accept::run(Rc::clone(state), socket, slot));
            }
        }
    }

    /// Serves by `table` from now on, with `answers` for its names and `sockets` for the listeners that are new in it. Without
    /// them it cannot be served: it goes back, and the control thread, which does not hear that
    /// this core has switched, says that it stays behind.
    pub fn switch(
        &self,
        table: Box<Snapshot>,
        answers: Answers,
        sockets: io::Result<Vec<(ListenerId, N::Listener)>>,
    ) {
        let reporter = &self.state.core.reporter;
        let core = reporter.core;
        let Ok(sockets) = sockets else {
            return reporter.send(Report::Retired { core, table });
        };
        let version = table.number;
        if self.state.switch(table, answers) {
            self.wake_connections();
        }
        self.listen(sockets);
        reporter.send(Report::Switched { core, version });
    }

    /// Wakes every task that waits at a deadline, a few in a turn: those of connections look whether
    /// they must end.
    fn wake_connections(&self) {
        let core = &self.state.core;
        core.net.spawn(core.wheel.clone().wake_all(core.net.clone()));
    }

    /// Takes no more connections, lets running exchanges finish, closes idle connections; after `deadline`
    /// says how many connections are still open. Now and then it does something else `meanwhile`.
    pub async fn drain(&self, deadline: Duration, meanwhile: impl Fn()) -> usize {
        let (state, core) = (&self.state, &self.state.core);
        state.drain();
        self.wake_connections();
        let give_up_at = core.net.now().plus_micros(Micros::from(deadline).0);
        while (core.connections.get() > 0 || state.accepts()) && core.net.now() < give_up_at {
            pause(core, DRAIN_LOOK_MICROS).await;
            meanwhile();
        }
        let cut = core.connections.get();
        if cut > 0 {
            // Tunnels end by it and are recorded: nothing else would have ended them.
            state.cut();
            self.wake_connections();
            pause(core, DRAIN_LOOK_MICROS).await;
        }
        state.report(true);
        cut
    }

    /// Takes in a message that neither switches nor drains. A version that comes while the worker
    /// drains is too late: its table goes back, because a data core frees no configuration.
    pub fn take(&self, message: ToWorker) {
        let reporter = &self.state.core.reporter;
        let core = reporter.core;
        match message {
            ToWorker::Block(block) => reporter.take_back(block),
            ToWorker::Records(batch) => reporter.take_records_back(batch),
            ToWorker::Fact { number, fact } => {
                self.state.learn(&fact);
                reporter.send(Report::Learned { core, number });
            }
            ToWorker::Credit { limit, news } => self.state.hear(limit, news),
            ToWorker::Switch(switch) => {
                reporter.send(Report::Retired { core, table: switch.table });
            }
            ToWorker::Drain { .. } => {}
        }
    }

    /// The counts of the worker.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.state.core.totals()
    }
}

async fn pause<N: Net>(core: &Core<N>, micros: u64) {
    let deadline = core.wheel.deadline();
    deadline.arm(core.net.now(), micros);
    deadline.passed().await;
}

/// Sweeps and reports once a second.
async fn every_second<N: Net>(state: Rc<CoreState<N>>) {
    loop {
        state.core.set_clock();
        pause(&state.core, SWEEP_MICROS).await;
        state.sweep();
        state.report(false);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use engine::config::{Sources, parse};
    use engine::snapshot::{Identities, compile};

    use super::*;
    use crate::net::sim::{Faults, Sim};

    fn table(number: u64) -> Box<Snapshot> {
        let text = "version = 1\n[listeners.web]\naddress = \"127.0.0.1:80\"\n\
                    [routes.all]\nreply = { status = 204 }\n";
        let model = parse(&Sources::new("test.toml", text)).unwrap();
        Box::new(compile(&model, number, &mut Identities::default()))
    }

    #[test]
    fn a_version_that_comes_during_a_drain_goes_back() {
        let sim = Sim::new(1, Faults::none());
        let net = sim.net();
        let listener = net.listen(table(1).listeners[0].address.clone());
        let share = CoreShare {
            core: 3,
            cores: 4,
            buffer_bytes_max: 1 << 20,
            descriptors_max: usize::MAX,
            seed: 1,
            node_seed: 1,
        };
        let retired = Rc::new(RefCell::new(Vec::new()));
        let outbox = {
            let retired = Rc::clone(&retired);
            Box::new(move |report| {
                if let Report::Retired { core, table } = report {
                    retired.borrow_mut().push((core, table.number));
                }
            })
        };
        let worker = Worker::start(net, table(1), vec![listener], share, outbox);
        sim.block_on(worker.drain(Duration::from_secs(1), || ()));
        let (table, listeners, answers) = (table(2), Vec::new(), Answers::default());
        worker.take(ToWorker::Switch(Box::new(Switch { table, listeners, answers })));
        assert_eq!(*retired.borrow(), [(3, 2)]);
    }
}
