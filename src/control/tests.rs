//! Changes on a node whose workers are tasks of the test: they say that they have switched, or wait
//! until they may.

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use engine::config::{Document, Sources, parse};
use engine::snapshot::Identities;
use engine::snapshot::ListenerId;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::Instant;
use worker::mailbox::{self, Inbox, Mailbox, ReportSender};
use worker::message::{Report, Switch, ToWorker};
use worker::net::monoio::Bound;
use worker::telemetry::Totals;
use worker::telemetry::record::Records;
use worker::telemetry::report::{Gauges, RouteBlock};

use crate::apply::{CHANGES_MAX, SWITCH_TIMEOUT, Wish, apply};
use crate::control::Control;
use crate::launch::Options;
use crate::node::{Applied, Change, Node, Refused};
use crate::reports::Reports;
use crate::sink::{Discard, Sink};
use crate::state::{LAG_MAX, SILENCE_MAX, State};
use crate::version::{Draft, Prepared};
use crate::watched::{Watched, follow};

const TEXT: &str = "version = 1\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
    [upstreams.app]\nendpoints = [\"127.0.0.1:9000\"]\n[routes.all]\nupstream = \"app\"\n";

/// A node of `cores` cores that nobody plays.
pub(crate) fn control_of(cores: usize) -> (Control, Vec<Inbox>) {
    let (control, inboxes, _) = node(cores, None, Box::new(Discard));
    (control, inboxes)
}

type Sockets = Vec<Vec<(ListenerId, Bound)>>;

fn node(
    cores: usize,
    file: Option<PathBuf>,
    sink: Box<dyn Sink>,
) -> (Control, Vec<Inbox>, Sockets) {
    let name = file.as_ref().map_or("test.toml".to_owned(), |it| it.display().to_string());
    let sources = Sources::new(name, TEXT);
    let model = parse(&sources).unwrap();
    let draft = Draft::compile(sources, model, 1, Identities::default());
    let Prepared { live, parts } = draft.bind(&[], &[], cores).unwrap();
    let cpus: Vec<_> = (0..cores).collect();
    let state = State::new(live, &cpus, "test".to_owned(), Instant::now(), 0);
    let (mailboxes, inboxes): (Vec<Mailbox>, _) =
        (0..cores).map(|_| mailbox::channel().unwrap()).unzip();
    let file = file.map(|path| Arc::new(Watched::start(path)));
    let control = Control::new(state, sink, mailboxes, file, Options::default());
    (control, inboxes, parts.into_iter().map(|it| it.listeners).collect())
}

/// A node, and what its workers have been sent.
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
    listeners: RefCell<Vec<(ListenerId, Bound)>>,
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
        let (sender, receiver) = mailbox::reports().unwrap();
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
    async fn run(self: Rc<Self>, core: usize, mut inbox: Inbox, reports: ReportSender) {
        let bell = UnixStream::from_std(inbox.take_bell().unwrap()).unwrap();
        loop {
            bell.readable().await.unwrap();
            while self.stuck.get() {
                self.freed.notified().await;
            }
            let _ = bell.try_read(&mut [0; 64]);
            while let Some(message) = inbox.next() {
                match message {
                    ToWorker::Switch(switch) => self.switch(core, *switch, &reports),
                    ToWorker::Blocks(blocks) => {
                        assert!(blocks.iter().all(|it| it.route.is_empty() && it.cells.is_empty()));
                        self.blocks.set(self.blocks.get() + blocks.len());
                    }
                    ToWorker::Records(batch) => {
                        assert_eq!((batch.core, batch.dropped), (core, 0));
                        self.batches.set(self.batches.get() + 1);
                    }
                    ToWorker::Drain { .. } => self.drains.set(self.drains.get() + 1),
                }
            }
        }
    }

    fn switch(&self, core: usize, switch: Switch, reports: &ReportSender) {
        let Switch { table, listeners } = switch;
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

/// Polls until `is_so`; what is waited for takes no time, only turns.
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

macro_rules! local {
    ($($body:tt)*) => { LocalSet::new().run_until(async move { $($body)* }).await };
}

#[tokio::test]
async fn a_change_reaches_every_core() {
    local! {
        let node = Fake::new(2);
        let applied = node.post(&with_route(1)).await.unwrap();
        assert_eq!((applied.version, applied.unchanged, applied.lagging), (2, false, vec![]));
        assert_eq!(node.versions(), [2]);
        assert!(node.cores.iter().all(|core| core.listeners.borrow().len() == 1), "none is new");
        let status = node.control.status();
        assert_eq!(status.cores.iter().map(|it| it.version).collect::<Vec<_>>(), [2, 2]);
        assert_eq!((status.version, status.reloads_ok), (2, 1));
        assert_eq!(status.last_reload.unwrap().1, Ok(2));
        assert!(node.control.config().contains("[routes.r1]"), "{}", node.control.config());
        assert_eq!(node.control.ready(), [""; 0]);
    }
}

#[tokio::test]
async fn a_change_with_mistakes_is_refused_whole_and_costs_no_number() {
    local! {
        let node = Fake::new(2);
        let bad = with_route(1).replace("\"app\"\n[routes.all", "\"nowhere\"\n[routes.all");
        let bad = bad.replace("upstream = \"app\"", "upstream = \"nowhere\"");
        let Err(Refused::Diagnostics(mistakes)) = node.post(&bad).await else { panic!() };
        assert_eq!(mistakes.len(), 2);
        let why = node.assert_as_before(1);
        assert!(why.contains("nowhere"), "{why}");
        assert!(!node.control.config().contains("r1"));
        assert!(node.control.ready().is_empty(), "the old version serves");
        assert_eq!(node.post(&with_route(1)).await.unwrap().version, 2);
    }
}

#[tokio::test]
async fn what_is_live_already_changes_nothing() {
    local! {
        let node = Fake::new(1);
        assert_eq!(node.post(&with_route(1)).await.unwrap().version, 2);
        let again = node.post(&with_route(1)).await.unwrap();
        assert_eq!((again.version, again.unchanged), (2, true));
        let comment = format!("{}# no more than a comment\n", with_route(1));
        assert_eq!(node.post(&comment).await.unwrap().version, 3, "its bytes differ");
        assert_eq!(node.versions(), [2, 3]);
        assert_eq!(node.control.status().reloads_unchanged, 1);
    }
}

#[tokio::test]
async fn a_key_that_needs_a_restart_is_named() {
    local! {
        let node = Fake::new(1);
        let text = with_route(1).replace("version = 1", "version = 1\nruntime.cores = 7");
        let Err(Refused::Cannot(why)) = node.post(&text).await else { panic!() };
        assert!(why.contains("runtime.cores") && why.contains("restart"), "{why}");
        assert_eq!(node.assert_as_before(1), why);
    }
}

#[tokio::test]
async fn a_listener_is_added_and_removed() {
    local! {
        let node = Fake::new(2);
        let web = node.address("web");
        node.post(&with_listener("more", "127.0.0.1:0")).await.unwrap();
        let more = node.address("more");
        assert_eq!(node.address("web"), web, "port 0 stays the port that it became");
        for core in &node.cores {
            let listeners = core.listeners.borrow();
            assert_eq!(listeners.len(), 2);
            let Bound::Tcp(socket) = &listeners[1].1 else { panic!("{listeners:?}") };
            assert_eq!(socket.local_addr().unwrap(), more);
        }
        assert!(TcpStream::connect(more).is_ok());
        node.post(TEXT).await.unwrap();
        assert_eq!(node.control.status().listeners.len(), 1);
        let places = node.control.shared.state.borrow().places();
        let addresses: Vec<_> = places.iter().filter_map(|it| it.address.ip()).collect();
        assert_eq!(addresses, [web], "the other may be had");
        assert_eq!(node.versions(), [2, 3]);
    }
}

#[tokio::test]
async fn an_address_moves_from_one_listener_to_another() {
    local! {
        let node = Fake::new(2);
        node.post(&with_listener("one", "127.0.0.1:0")).await.unwrap();
        let address = node.address("one").to_string();
        node.post(&with_listener("two", &address)).await.unwrap();
        assert_eq!(node.address("two").to_string(), address);
        // The old sockets are still open: these workers close none.
        node.post(&with_listener("three", &address)).await.unwrap();
        assert_eq!(node.address("three").to_string(), address);
    }
}

#[tokio::test]
async fn a_port_in_use_is_refused() {
    local! {
        let node = Fake::new(2);
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let text = with_listener("more", &other.local_addr().unwrap().to_string());
        let Err(Refused::Cannot(why)) = node.post(&text).await else { panic!() };
        assert!(why.contains("listener `more`") && why.contains("in use"), "{why}");
        assert_eq!(node.assert_as_before(1), why);
        assert_eq!(node.cores[0].listeners.borrow().len(), 1);
    }
}

#[tokio::test]
async fn a_change_for_another_version_is_a_conflict() {
    local! {
        let node = Fake::new(1);
        let change = |version, number| Change {
            text: Some(with_route(number)),
            if_match: Some(version),
            dry_run: false,
        };
        assert_eq!(node.control.apply(change(1, 1)).await.unwrap().version, 2);
        let late = node.control.apply(change(1, 2)).await;
        assert_eq!(late, Err(Refused::Conflict { version: 2 }));
        assert_eq!(node.control.status().reloads_refused, 0, "nothing was tried");
        // Of two at once for the same version one is made.
        let [one, other] = [3, 4].map(|number| node.control.apply(change(2, number)));
        let (one, other) = tokio::join!(one, other);
        assert_eq!((one.unwrap().version, other), (3, Err(Refused::Conflict { version: 3 })));
    }
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen() {
    local! {
        let node = Fake::new(1);
        let dry = |text: &str| node.control.apply(Change {
            text: Some(text.to_owned()),
            dry_run: true,
            if_match: None,
        });
        assert_eq!(dry(&with_route(1)).await.unwrap().version, 1);
        assert!(matches!(dry("version = 1\nx = 1").await, Err(Refused::Diagnostics(_))));
        assert!(node.versions().is_empty());
        assert_eq!(node.control.status().last_reload, None);
        assert_eq!(node.control.status().reloads_refused, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_core_that_lags_is_named_until_it_has_switched() {
    local! {
        let node = Fake::new(2);
        node.cores[1].stuck.set(true);
        let begun = Instant::now();
        let applied = node.post(&with_route(1)).await.unwrap();
        assert_eq!((applied.version, applied.lagging), (2, vec![1]));
        assert!(begun.elapsed() >= SWITCH_TIMEOUT);
        let reasons = node.control.ready();
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        assert!(reasons[0].starts_with("core 1 is still at version 1 of 2, 2."), "{reasons:?}");
        node.cores[1].release();
        eventually("it has switched", || node.control.ready().is_empty()).await;
        assert_eq!(node.versions(), [2]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_core_that_is_stuck_gets_no_further_versions() {
    local! {
        let node = Fake::new(2);
        node.cores[0].stuck.set(true);
        for number in 0..usize::try_from(LAG_MAX).unwrap() {
            node.post(&with_route(number)).await.unwrap();
        }
        let Err(Refused::Cannot(why)) = node.post(TEXT).await else { panic!() };
        assert!(why.contains("core 0 is still at version 1 of 5"), "{why}");
        node.cores[0].release();
        eventually("it has switched", || node.cores[0].versions.borrow().len() == 4).await;
        eventually("it is up to date", || node.control.shared.state.borrow().lag() == 0).await;
        assert_eq!(node.post(TEXT).await.unwrap().version, 6);
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_a_core_still_listens_at_may_be_had_again() {
    local! {
        let node = Fake::new(1);
        node.post(&with_listener("more", "127.0.0.1:0")).await.unwrap();
        let address = node.address("more");
        node.cores[0].stuck.set(true);
        assert_eq!(node.post(TEXT).await.unwrap().lagging, [0]);
        let again = node.post(&with_listener("again", &address.to_string())).await.unwrap();
        assert_eq!((again.version, node.address("again")), (4, address));
    }
}

#[tokio::test(start_paused = true)]
async fn changes_wait_for_each_other_up_to_a_bound() {
    local! {
        let node = Fake::new(1);
        node.cores[0].stuck.set(true);
        let first: Vec<_> = (0..CHANGES_MAX)
            .map(|number| {
                let control = node.control.clone();
                let change = Change { text: Some(with_route(number)), ..Change::default() };
                spawn_local(async move { control.apply(change).await })
            })
            .collect();
        yield_now().await;
        assert_eq!(node.post(TEXT).await, Err(Refused::Busy));
        node.cores[0].release();
        let mut versions = Vec::new();
        for change in first {
            versions.push(change.await.unwrap().unwrap().version);
        }
        assert_eq!(versions, [2, 3, 4, 5, 6, 7, 8, 9], "in the order in which they came");
        assert_eq!(node.post(TEXT).await.unwrap().version, 10);
    }
}

#[tokio::test]
async fn a_change_goes_on_when_nobody_waits_for_it_any_more() {
    local! {
        let node = Fake::new(1);
        let text = with_route(1);
        // It has begun when it is dropped, and no more than that.
        tokio::select! {
            biased;
            _ = node.post(&text) => panic!("it takes more than one turn"),
            () = async {} => {}
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while node.control.shared.changes.get() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(node.control.status().version, 2);
    }
}

#[tokio::test]
async fn the_file_is_read_again_when_it_changes_or_somebody_asks() {
    local! {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), TEXT).unwrap();
        let node = Fake::with(1, Some(file.path().to_owned()), Box::new(Discard));
        let reload = |wish| apply(&node.control, wish, false, None);
        assert!(reload(Wish::File).await.unwrap().unchanged);
        std::fs::write(file.path(), with_route(1)).unwrap();
        assert_eq!(reload(Wish::FileIfChanged).await.unwrap().version, 2);
        assert!(reload(Wish::FileIfChanged).await.unwrap().unchanged);

        // What is posted is live until the file changes ..
        assert_eq!(node.post(&with_route(2)).await.unwrap().version, 3);
        assert!(reload(Wish::FileIfChanged).await.unwrap().unchanged);
        assert!(node.control.config().contains("r2"));
        // .. or somebody asks for the file.
        assert_eq!(reload(Wish::File).await.unwrap().version, 4);
        assert!(node.control.config().contains("r1"));

        // A mistake that is put right is not remembered.
        std::fs::write(file.path(), "version = 2").unwrap();
        assert!(reload(Wish::FileIfChanged).await.is_err());
        assert!(reload(Wish::FileIfChanged).await.unwrap().unchanged);
        let last = || node.control.status().last_reload.unwrap().1;
        assert!(last().is_err(), "the file is as bad as before");
        std::fs::write(file.path(), with_route(1)).unwrap();
        assert!(reload(Wish::FileIfChanged).await.unwrap().unchanged);
        assert_eq!(last(), Ok(4));

        std::fs::remove_file(file.path()).unwrap();
        let Err(Refused::Cannot(why)) = reload(Wish::FileIfChanged).await else { panic!() };
        assert!(why.contains(&file.path().display().to_string()), "{why}");
        assert_eq!(node.versions(), [2, 3, 4]);
        std::fs::write(file.path(), TEXT).unwrap();
    }
}

#[tokio::test]
async fn a_file_that_is_followed_is_taken_when_it_changes() {
    local! {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ringway.toml");
        std::fs::write(&path, TEXT).unwrap();
        let node = Fake::with(1, Some(path.clone()), Box::new(Discard));
        let file = node.control.shared.file.clone().unwrap();
        spawn_local(follow(node.control.clone(), file));
        let becomes = async |version| {
            let deadline = Instant::now() + Duration::from_secs(10);
            while node.control.status().version < version && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(node.control.status().version, version);
        };
        let include = format!("include = [\"more.toml\"]\n{TEXT}");
        let route = with_route(1).replace(TEXT, "");
        std::fs::write(folder.path().join("more.toml"), route).unwrap();
        std::fs::write(&path, include).unwrap();
        becomes(2).await;
        // What it includes is followed too.
        let route = with_route(2).replace(TEXT, "");
        std::fs::write(folder.path().join("more.toml"), route).unwrap();
        becomes(3).await;
        assert!(node.control.config().contains("r2"));
        assert_eq!(node.control.status().reloads_unchanged, 0, "nobody has asked");
    }
}

#[tokio::test]
async fn without_a_file_there_is_nothing_to_reload() {
    local! {
        let node = Fake::new(1);
        let Err(Refused::Cannot(why)) = node.control.apply(Change::default()).await else {
            panic!()
        };
        assert!(why.contains("no configuration file"), "{why}");
    }
}

#[tokio::test]
async fn a_gateway_that_drains_takes_no_change() {
    local! {
        let node = Fake::new(2);
        assert_eq!(node.control.drain(), Duration::from_secs(30));
        let Err(Refused::Cannot(why)) = node.post(&with_route(1)).await else { panic!() };
        assert!(why.contains("stopping"), "{why}");
        assert!(node.control.ready()[0].contains("draining"));
        assert!(node.control.status().draining);
        eventually("it is told", || node.cores.iter().all(|it| it.drains.get() == 1)).await;
        assert!(node.versions().is_empty());
    }
}

/// Counts what it is given, and refuses versions when it should.
#[derive(Clone, Default)]
struct Tally(Rc<Tallied>);

#[derive(Default)]
struct Tallied {
    requests: Cell<u64>,
    batches: Cell<usize>,
    refuses: Cell<bool>,
    listeners: RefCell<Vec<(ListenerId, Box<str>)>>,
}

impl Sink for Tally {
    fn counts(&mut self, _: usize, totals: Totals, _: &Gauges, routes: &[Box<RouteBlock>]) {
        assert!(routes.iter().all(|it| it.route == "all"));
        self.0.requests.set(self.0.requests.get() + totals.requests);
    }

    fn records(&mut self, _: &Records) {
        self.0.batches.set(self.0.batches.get() + 1);
    }

    fn adopt(&mut self, _: &Document, listeners: &[(ListenerId, Box<str>)]) -> Result<(), String> {
        if self.0.refuses.get() {
            return Err("the disk is full".to_owned());
        }
        self.0.listeners.replace(listeners.to_vec());
        Ok(())
    }

    fn reopen(&mut self) {}
}

#[tokio::test(start_paused = true)]
async fn counts_and_records_are_handed_on_and_their_boxes_come_back_empty() {
    local! {
        let tally = Tally::default();
        let node = Fake::with(2, None, Box::new(tally.clone()));
        tokio::time::advance(Duration::from_secs(1)).await;
        let block = RouteBlock { route: "all".to_owned(), ..RouteBlock::default() };
        node.control.report(Report::Counts {
            core: 1,
            totals: Totals { requests: 5, ..Totals::default() },
            gauges: Box::new(Gauges { cpu_micros: 250_000, ..Gauges::default() }),
            routes: vec![Box::new(block.clone()), Box::new(block)],
        });
        let mut batch = Records::default();
        (batch.core, batch.dropped) = (1, 3);
        node.control.report(Report::Records(Box::new(batch)));
        let core = &node.cores[1];
        eventually("they come back", || (core.blocks.get(), core.batches.get()) == (2, 1)).await;
        assert_eq!((tally.0.requests.get(), tally.0.batches.get()), (5, 1));
        let status = node.control.status();
        assert_eq!(status.cores[1].totals.requests, 5);
        assert!((status.cores[1].busy_ratio - 0.25).abs() < 1e-6, "{}", status.cores[1].busy_ratio);
        assert_eq!(node.cores[0].blocks.get(), 0);
    }
}

#[tokio::test]
async fn a_sink_that_cannot_take_a_version_refuses_it() {
    local! {
        let tally = Tally::default();
        let node = Fake::with(1, None, Box::new(tally.clone()));
        tally.0.refuses.set(true);
        let refused = node.post(&with_listener("more", "127.0.0.1:0")).await;
        assert_eq!(refused, Err(Refused::Cannot("the disk is full".to_owned())));
        node.assert_as_before(1);
        tally.0.refuses.set(false);
        node.post(&with_listener("more", "127.0.0.1:0")).await.unwrap();
        let names: Vec<_> = tally.0.listeners.borrow().iter().map(|(_, it)| it.clone()).collect();
        assert_eq!(names, ["web".into(), "more".into()]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_core_that_says_nothing_is_not_alive() {
    local! {
        let node = Fake::new(2);
        tokio::time::advance(SILENCE_MAX).await;
        assert!(node.control.alive());
        node.control.report(Report::Counts {
            core: 0,
            totals: Totals::default(),
            gauges: Box::default(),
            routes: Vec::new(),
        });
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!node.control.alive());
        assert_eq!(node.control.ready(), ["core 1 has said nothing for 6.0 s"]);
        let totals = Totals::default();
        node.control.report(Report::Drained { core: 1, totals, cut: 0 });
        assert!(node.control.alive(), "a core that has ended need not speak");
    }
}
