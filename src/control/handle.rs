//! The control thread's handle: the things that its tasks share, and the handling of reports.
//!
//! `apply` makes changes, `state` keeps the book.
//!
//! Invariant: a handle is used on the control thread only, and no borrow of it lives across an
//! await.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use engine::names::DnsName;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;
use worker::mailbox::Mailbox;
use worker::message::{Fact, Report, ToWorker};

use crate::dns::{Dns, News};
use crate::options::Options;
use crate::prober::{CheckNews, Prober};
use crate::sink::Sink;
use crate::state::State;
use crate::watched::Watched;

/// The node, to be cloned for each task of the control thread.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) shared: Rc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) state: RefCell<State>,
    pub(crate) sink: RefCell<Box<dyn Sink>>,
    /// The names of endpoints.
    pub(crate) dns: Dns,
    /// The checks of endpoints.
    pub(crate) prober: Prober,
    /// One for each core.
    pub(crate) mailboxes: Vec<Mailbox<ToWorker>>,
    /// The configuration file; none when there is none to read again.
    pub(crate) file: Option<Arc<Watched>>,
    /// The settings of the command line.
    pub(crate) options: Options,
    /// One change at a time; those that wait have their turn in the order in which they came.
    pub(crate) turn: Mutex<()>,
    /// Changes that wait or are being made.
    pub(crate) changes: Cell<usize>,
    /// A core has switched.
    pub(crate) switched: Notify,
    /// A core has taken in a fact.
    pub(crate) learned: Notify,
}

impl Control {
    /// The node that `state` describes.
    pub(crate) fn new(
        state: State,
        sink: Box<dyn Sink>,
        dns: Dns,
        prober: Prober,
        mailboxes: Vec<Mailbox<ToWorker>>,
        file: Option<Arc<Watched>>,
        options: Options,
    ) -> Self {
        let shared = Shared {
            state: RefCell::new(state),
            sink: RefCell::new(sink),
            dns,
            prober,
            mailboxes,
            file,
            options,
            turn: Mutex::new(()),
            changes: Cell::new(0),
            switched: Notify::new(),
            learned: Notify::new(),
        };
        Self { shared: Rc::new(shared) }
    }

    /// Takes in a report, and sends its boxes back.
    pub(crate) fn report(&self, report: Report) {
        let now = Instant::now();
        let Shared { state, sink, switched, learned, .. } = &*self.shared;
        match report {
            Report::Ready { core } => state.borrow_mut().ready(core, now),
            Report::Switched { core, version } => {
                state.borrow_mut().switched(core, version, now);
                switched.notify_waiters();
            }
            Report::Learned { core, number } => {
                state.borrow_mut().learned(core, number, now);
                learned.notify_waiters();
            }
            Report::Credit { core, limit, news } => {
                let letters = state.borrow_mut().lenders.hear(core, limit, news);
                for (core, news) in letters {
                    self.tell(core, ToWorker::Credit { limit, news });
                }
            }
            // To free thousands of routes takes milliseconds: here nobody waits for it.
            Report::Retired { core: _, table } => drop(table),
            Report::Counts(block) => {
                let core = block.core;
                sink.borrow_mut().counts(&block);
                let mut block = state.borrow_mut().counted(block, now);
                block.clear();
                self.tell(core, ToWorker::Block(block));
            }
            Report::Records(mut records) => {
                sink.borrow_mut().records(&records);
                records.clear();
                self.tell(records.core, ToWorker::Records(records));
            }
            Report::Drained { core, totals, cut } => {
                state.borrow_mut().drained(core, totals, cut);
            }
        }
    }

    /// Begins the drain: no change is taken any more. For how long it may take.
    pub(crate) fn drain(&self) -> std::time::Duration {
        let mut state = self.shared.state.borrow_mut();
        // Before the workers hear of it: a change that is being made must not send them a version
        // after the order to drain.
        state.draining = true;
        let deadline = state.live.drain_timeout();
        // This thread has a share of each Unix socket. The workers close theirs when they have taken
        // the clients that wait in the queue.
        state.close_sockets();
        for mailbox in &self.shared.mailboxes {
            mailbox.send(ToWorker::Drain { deadline });
        }
        deadline
    }

    /// Sends a fact to every core, and returns its number.
    pub(crate) fn spread(&self, fact: &Fact) -> u64 {
        let number = self.shared.state.borrow_mut().next_fact();
        for mailbox in &self.shared.mailboxes {
            mailbox.send(ToWorker::Fact { number, fact: fact.clone() });
        }
        number
    }

    /// Tells the cores of the names that stand for other places than before.
    pub(crate) async fn tell_news(self, mut news: News) {
        while let Some(name) = news.next().await {
            self.tell_name(&name);
        }
    }

    fn tell_name(&self, name: &DnsName) {
        // It may have changed again since, or the version may have gone that had it.
        let Some(places) = self.shared.dns.places(name) else { return };
        if self.shared.state.borrow_mut().learn_name(name, &places) {
            self.spread(&Fact::Name { name: name.clone(), places });
            self.follow_checks();
        }
    }

    /// Checks the endpoints of the live version, as it says.
    pub(crate) fn follow_checks(&self) {
        let wanted = self.shared.state.borrow().checked();
        self.shared.prober.follow(wanted);
    }

    /// Tells the cores of endpoints whose checks pass or fail now.
    pub(crate) async fn tell_checks(self, mut news: UnboundedReceiver<CheckNews>) {
        while let Some(CheckNews { endpoint: (upstream, address), passes }) = news.recv().await {
            self.spread(&Fact::Checked { upstream, address, passes });
        }
    }

    /// Tells the cores again of all endpoints whose checks fail.
    pub(crate) fn tell_failing(&self) {
        for (upstream, address) in self.shared.prober.failing() {
            self.spread(&Fact::Checked { upstream, address, passes: false });
        }
    }

    /// Opens log files anew.
    pub(crate) fn reopen(&self) {
        self.shared.sink.borrow_mut().reopen();
    }

    /// Writes out the records of the workers, at most for `timeout`.
    pub(crate) fn finish(&self, timeout: std::time::Duration) {
        if !self.shared.sink.borrow_mut().finish(timeout) {
            tracing::warn!("the end of the access log could not be written in time");
        }
    }

    /// Whether all cores serve, and the gateway is not about to end.
    pub(crate) fn serves(&self) -> bool {
        self.shared.state.borrow().serves()
    }

    /// Whether the drain has begun.
    pub(crate) fn is_draining(&self) -> bool {
        self.shared.state.borrow().draining
    }

    /// The complaint about the cores that a start or a drain still waits for.
    pub(crate) fn late(&self) -> String {
        self.shared.state.borrow().late()
    }

    /// Whether every core has said something lately.
    pub(crate) fn alive(&self) -> bool {
        self.shared.state.borrow().alive(Instant::now())
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        self.shared.state.borrow().line()
    }

    /// Sends to one worker.
    pub(crate) fn tell(&self, core: usize, message: ToWorker) {
        if let Some(mailbox) = self.shared.mailboxes.get(core) {
            mailbox.send(message);
        }
    }
}
