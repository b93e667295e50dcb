//! Changes on a node with tasks of the test as its workers: they say that they have switched, or wait
//! until they may.

/// Runs a test with a set of local tasks around it.
macro_rules! local {
    ($($body:tt)*) => { LocalSet::new().run_until(async move { $($body)* }).await };
}

mod applying;
mod facts;
mod following;
mod reports;

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use engine::config::{Document, Sources, parse};
use engine::names::Answers;
use engine::snapshot::Identities;
use engine::snapshot::ListenerId;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::Instant;
use worker::mailbox::{self, Inbox, Mailbox};
use worker::message::{Fact, Report, Switch, ToWorker};
use worker::net::monoio::BoundSocket;
use worker::telemetry::Totals;
use worker::telemetry::record::Records;
use worker::telemetry::report::{CoreBlock, Gauges, RouteBlock};

use crate::apply::{CHANGES_MAX, ChangeFrom, SWITCH_TIMEOUT, apply};
use crate::dns::Dns;
use crate::handle::Control;
use crate::launch::follow::follow;
use crate::node::{Applied, Change, Node, Refused};
use crate::options::Options;
use crate::prober::Prober;
use crate::reports::Reports;
use crate::sink::{Discard, Sink};
use crate::state::{LAG_MAX, SILENCE_MAX, State};
use crate::version::{Draft, Prepared};
use crate::watched::Watched;

const TEXT: &str = "version = 1\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
    [upstreams.app]\nendpoints = [\"127.0.0.1:9000\"]\n[routes.all]\nupstream = \"app\"\n";

/// A node of `cores` cores that nobody plays.
pub(crate) fn control_of(cores: usize) -> (Control, Vec<Inbox<ToWorker>>) {
    let (control, inboxes, _) = node(cores, None, Box::new(Discard));
    (control, inboxes)
}

type Sockets = Vec<Vec<(ListenerId, BoundSocket)>>;

fn node(
    cores: usize,
    file: Option<PathBuf>,
    sink: Box<dyn Sink>,
) -> (Control, Vec<Inbox<ToWorker>>, Sockets) {
    let name = file.as_ref().map_or("test.toml".to_owned(), |it| it.display().to_string());
    let sources = Sources::new(name, TEXT);
    let model = parse(&sources).unwrap();
    let draft = Draft::compile(sources, model, (1, 0), Identities::default(), None).unwrap();
    let Prepared { live, parts } = draft.bind(&[], &[], cores).unwrap();
    let cpus: Vec<_> = (0..cores).collect();
    let state = State::new(live, Answers::default(), &cpus, "test".to_owned(), Instant::now(), 0);
    let (mailboxes, inboxes): (Vec<Mailbox<ToWorker>>, _) =
        (0..cores).map(|_| mailbox::channel().unwrap()).unzip();
    let file = file.map(|path| Arc::new(Watched::start(path)));
    let control = Control::new(
        state,
        sink,
        Dns::new().0,
        Prober::new().0,
        mailboxes,
        file,
        Options::default(),
    );
    (control, inboxes, parts.into_iter().map(|it| it.listeners).collect())
}

/// A node, and the messages to its workers.
struct Fake {
    control: Control,
    cores: Vec<Rc<FakeCore>>,
}

#[derive(Default)]
struct FakeCore {
    /// It does not look into its mailbox.
    stuck: Cell<bool>,
    freed: Notify,
    /// The versions that it was sent.
    versions: RefCell<Vec<u64>>,
    listeners: RefCell<Vec<(ListenerId, BoundSocket)>>,
    facts: RefCell<Vec<Fact>>,
    /// The answers that came with the last version.
    answers: RefCell<Answers>,
    /// Emptied boxes that came back.
    blocks: Cell<usize>,
    batches: Cell<usize>,
    drains: Cell<usize>,
}

impl Fake {
    fn new(cores: usize) -> Self {
        Self::with(cores, None, Box::new(Discard))
    }

    /// Starts the workers. They have reported that they are ready.
    fn with(cores: usize, file: Option<PathBuf>, sink: Box<dyn Sink>) -> Self {
        let (control, inboxes, sockets) = node(cores, file, sink);
        let (sender, receiver) = mailbox::channel().unwrap();
        let mut reports = Reports::new(receiver).unwrap();
        let at_reports = control.clone();
        spawn_local(async move {
            while let Some(report) = reports.next().await {
                at_reports.report(report);
            }
        });
        let cores = inboxes.into_iter().zip(sockets).enumerate();
        let cores = cores.map(|(core, (inbox, listeners))| {
            control.report(Report::Ready { core });
            let fake = Rc::new(FakeCore::default());
            fake.listeners.replace(listeners);
            spawn_local(Rc::clone(&fake).run(core, inbox, sender.clone()));
            fake
        });
        let cores = cores.collect();
        Self { control, cores }
    }

    async fn post(&self, text: &str) -> Result<Applied, Refused> {
        self.control.apply(Change { text: Some(text.to_owned()), ..Change::default() }).await
    }

    /// The versions that the cores were sent, the same for each.
    fn versions(&self) -> Vec<u64> {
        let versions = self.cores[0].versions.borrow().clone();
        assert!(self.cores.iter().all(|core| *core.versions.borrow() == versions));
        versions
    }

    fn address(&self, listener: &str) -> SocketAddr {
        let listeners = self.control.status().listeners;
        let (_, address) = listeners.iter().find(|(name, _)| name == listener).unwrap();
        address.parse().unwrap()
    }

    /// Asserts that nothing has changed but the count of refusals, and gives the reason.
    fn assert_as_before(&self, refusals: u64) -> String {
        let status = self.control.status();
        assert_eq!((status.version, status.reloads_ok, status.reloads_refused), (1, 0, refusals));
        assert!(self.versions().is_empty());
        status.last_reload.unwrap().1.unwrap_err()
    }
}

impl FakeCore {
    async fn run(
        self: Rc<Self>,
        core: usize,
        mut inbox: Inbox<ToWorker>,
        reports: Mailbox<Report>,
    ) {
        let bell = UnixStream::from_std(inbox.take_bell().unwrap()).unwrap();
        loop {
            bell.readable().await.unwrap();
            while self.stuck.get() {
                self.freed.notified().await;
            }
            let _ = bell.try_read(&mut [0; 64]);
            while let Ok(message) = inbox.next() {
                match message {
                    ToWorker::Switch(switch) => self.switch(core, *switch, &reports),
                    ToWorker::Block(block) => {
                        let routes = &block.routes;
                        assert!(routes.iter().all(|it| it.route.is_empty() && it.ended.is_empty()));
                        self.blocks.set(self.blocks.get() + routes.len());
                    }
                    ToWorker::Records(batch) => {
                        assert_eq!((batch.core, batch.dropped), (core, 0));
                        self.batches.set(self.batches.get() + 1);
                    }
                    ToWorker::Fact { number, fact } => {
                        self.facts.borrow_mut().push(fact);
                        reports.send(Report::Learned { core, number });
                    }
                    ToWorker::Credit { .. } => {}
                    ToWorker::Drain { .. } => self.drains.set(self.drains.get() + 1),
                }
            }
        }
    }

    fn switch(&self, core: usize, switch: Switch, reports: &Mailbox<Report>) {
        let Switch { table, listeners, answers } = switch;
        self.answers.replace(answers);
        self.listeners.borrow_mut().extend(listeners);
        self.versions.borrow_mut().push(table.number);
        reports.send(Report::Switched { core, version: table.number });
        reports.send(Report::Retired { core, table });
    }

    fn release(&self) {
        self.stuck.set(false);
        self.freed.notify_one();
    }
}

/// Polls until `is_so`; the wait takes no time, only turns.
async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if is_so() {
            return;
        }
        yield_now().await;
    }
    panic!("never: {what}");
}

fn with_listener(name: &str, address: &str) -> String {
    format!("{TEXT}[listeners.{name}]\naddress = \"{address}\"\n")
}

fn with_route(number: usize) -> String {
    format!(
        "{TEXT}[routes.r{number}]\nmatch = {{ path_prefix = \"/{number}\" }}\nupstream = \"app\"\n"
    )
}
