//! From a configuration to running workers, and on to their end.
//!
//! [`plan`] decides and binds; nothing runs yet and everything that can be refused has been.
//! [`Plan::run`] starts one pinned thread per core and waits until all are ready. From then on the
//! calling thread is the control thread: it takes reports, changes and signals.

mod cpus;
mod driver;
pub(crate) mod follow;
mod main_loop;
mod signals;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use core_affinity::CoreId;
use engine::address::Address;
use engine::config::{ByteSize, render};
use engine::names::Answers;
use engine::snapshot::Identities;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_blocking, spawn_local};
use tokio::time::{Instant, interval};
use worker::mailbox::{self, Mailbox};
use worker::message::{Report, ToWorker};
use worker::net::monoio::{Driver, probe};

use crate::admin::AdminListener;
use crate::certificates::logs_keys;
use crate::dns::Dns;
use crate::error::DESCRIPTORS_CURE;
use crate::export::Export;
use crate::handle::Control;
use crate::options::{Configuration, Options};
use crate::prober::Prober;
use crate::reports::Reports;
use crate::sink::Sink;
use crate::state::{State, unix_seconds};
use crate::version::{Draft, Part, Prepared};
use crate::watched::Watched;
use crate::{Error, systemd};
use follow::follow;
use main_loop::{End, Event, MainLoop};

pub use main_loop::Outcome;

/// Helper threads at most: one reads and compiles; a second one when the first hangs on a disk.
const HELPERS_MAX: usize = 2;
/// How long a helper stays without work: for good.
const HELPER_IDLE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// For the end of the access log to be written, when everything else has ended.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The least that a core can work with: some tens of exchanges at once.
const BUFFER_SHARE_MIN: ByteSize = ByteSize::mib(1);

/// Everything decided and bound, nothing started.
#[derive(Debug)]
pub struct Plan {
    /// One per worker.
    cpus: Vec<usize>,
    driver: Driver,
    prepared: Prepared,
    addresses: Vec<Address>,
    /// Each worker's part of the node's buffers.
    buffer_share: usize,
    /// Each worker's part of the process's descriptors.
    descriptor_share: usize,
    file: Option<PathBuf>,
    options: Options,
    /// Where the admin API listens; none: it is off.
    admin: Option<AdminListener>,
    export: Export,
}

/// Decides where the configuration runs and binds its listeners.
///
/// # Errors
/// A refusal with its cure: CPUs, driver, addresses, memory, descriptors.
pub fn plan(configuration: Configuration, options: Options) -> Result<Plan, Error> {
    let Configuration { sources, model, file } = configuration;
    let runtime = model.document.runtime.clone();
    let draft = Draft::compile(sources, model, (1, unix_seconds()), Identities::default(), None);
    let draft = draft.map_err(|mistakes| Error::fatal(render(&mistakes, false)))?;
    let cores = options.cores.unwrap_or(runtime.cores);
    let listed = options.cpus.as_ref().or(runtime.cpus.as_ref());
    let cpus = cpus::resolve(cores, listed, &cpus::permitted())?;
    let buffer_share = share(runtime.buffer_bytes_max, cpus.len())?;
    let choice = options.driver.unwrap_or(runtime.driver);
    let chosen = driver::choose(choice, probe)?;
    if let Some(why) = &chosen.step_down {
        tracing::warn!("{why}");
    }
    if draft.has_tls() && logs_keys() {
        tracing::warn!(
            "SSLKEYLOGFILE IS SET: the keys of every TLS connection are written to that file, and \
             whoever reads it reads all traffic; unset it unless you are looking for a mistake"
        );
    }
    let descriptors = raise_descriptors();
    let prepared = draft.bind(&[], &[], cpus.len())?;
    let addresses = prepared.live.listeners.iter().map(|it| it.address.clone()).collect();
    let live = &prepared.live;
    let admin = AdminListener::bind(&live.model.document.admin.address)?;
    let mut export = Export::default();
    export.adopt(&live.model.document, &live.listener_names()).map_err(Error::fatal)?;
    let cpus_len = cpus.len();
    let open = open_descriptors();
    check_descriptors(descriptors, open, cpus_len)?;
    Ok(Plan {
        cpus,
        driver: chosen.driver,
        prepared,
        addresses,
        buffer_share,
        descriptor_share: descriptor_share(descriptors, open, cpus_len),
        file,
        options,
        admin,
        export,
    })
}

impl Plan {
    /// Where the gateway listens, in the order of the configuration.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Runs the workers until they have drained. `ready` is called once all accept connections.
    ///
    /// # Errors
    /// When the workers cannot start, or one of them dies. The process should then end: the
    /// other workers are still running.
    pub fn run(self, ready: impl FnOnce()) -> Result<Outcome, Error> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(HELPERS_MAX)
            // The first one stays, see `start_helper`.
            .thread_keep_alive(HELPER_IDLE_MAX)
            .thread_name("helper")
            .build()
            .map_err(|error| Error::system("cannot start the control thread", &error))?;
        let outcome = runtime.block_on(LocalSet::new().run_until(self.run_here(ready)));
        // A helper that reads from a disk that hangs keeps nobody from ending.
        runtime.shutdown_background();
        outcome
    }

    async fn run_here(self, ready: impl FnOnce()) -> Result<Outcome, Error> {
        let listening = self.listening();
        let Self { cpus, driver, prepared: Prepared { live, parts }, buffer_share, .. } = self;
        let descriptor_share = self.descriptor_share;
        let (events, mut inbox) = unbounded_channel();
        let signals = signals::Signals::new()
            .map_err(|error| Error::system("cannot listen for signals", &error))?;
        let cannot = |error| Error::system("cannot start the workers", &error);
        let (sender, receiver) = mailbox::channel().map_err(cannot)?;
        let mut reports = Reports::new(receiver).map_err(cannot)?;
        let start = Start {
            cpus: &cpus,
            driver,
            buffer_share,
            descriptor_share,
            reports: sender,
            events: &events,
        };
        let (dns, news) = Dns::new();
        let (prober, checks) = Prober::new();
        dns.follow(&live.model.document);
        dns.first_answers().await;
        let answers = dns.answers(&live.model.document);
        let mailboxes = start.workers(parts, &answers).map_err(cannot)?;
        start_helper().await;
        lower_priority();

        let token = live.model.document.admin.token.as_ref().map(|it| it.secret().to_owned());
        let state =
            State::new(live, answers, &cpus, driver.to_string(), Instant::now(), unix_seconds());
        let counted = self.export.counted();
        let sink = Box::new(self.export);
        let file = self.file.map(|path| Arc::new(Watched::start(path)));
        let control = Control::new(state, sink, dns, prober, mailboxes, file.clone(), self.options);
        spawn_local(control.clone().tell_news(news));
        spawn_local(control.clone().tell_checks(checks));
        control.follow_checks();
        let node = Rc::new(control.clone());
        let admin = self.admin.map(|admin| spawn_local(admin.serve(token, node, counted)));
        signals.forward(&control, &events);
        if let Some(period) = systemd::watchdog() {
            spawn_local(keep_alive(control.clone(), period));
        }
        let ready = || {
            tracing::info!("{listening}");
            if let Some(file) = file {
                spawn_local(follow(control.clone(), file));
            }
            ready();
        };
        let outcome = MainLoop::new(&control, admin).run(&mut inbox, &mut reports, ready).await;
        control.finish(FLUSH_TIMEOUT);
        outcome
    }

    /// The message when it is ready.
    fn listening(&self) -> String {
        let listeners = &self.prepared.live.listeners;
        let places: Vec<_> =
            listeners.iter().map(|it| format!("{} ({})", it.address, it.name)).collect();
        let noun = if self.cpus.len() == 1 { "core" } else { "cores" };
        let admin = self
            .admin
            .as_ref()
            .map_or_else(String::new, |admin| format!("; admin API on {}", admin.address()));
        format!(
            "listening on {} with {} {noun}, driver {}{admin}",
            places.join(", "),
            self.cpus.len(),
            self.driver
        )
    }
}

/// The things with which every worker is started.
struct Start<'a> {
    cpus: &'a [usize],
    driver: Driver,
    buffer_share: usize,
    descriptor_share: usize,
    reports: Mailbox<Report>,
    events: &'a UnboundedSender<Event>,
}

impl Start<'_> {
    /// Starts the workers, each on its CPU with its part and all `answers`.
    fn workers(self, parts: Vec<Part>, answers: &Answers) -> io::Result<Vec<Mailbox<ToWorker>>> {
        let cores = self.cpus.len();
        let mut mailboxes = Vec::new();
        let node_seed = RandomState::new().hash_one(cores);
        for (core, (&cpu, part)) in self.cpus.iter().zip(parts).enumerate() {
            let (mailbox, inbox) = mailbox::channel()?;
            mailboxes.push(mailbox);
            let setup = worker::Setup {
                share: worker::core::CoreShare {
                    core,
                    cores,
                    buffer_bytes_max: self.buffer_share,
                    descriptors_max: self.descriptor_share,
                    // Differs from core to core and from start to start: the standard library
                    // keys its hashes at random.
                    seed: RandomState::new().hash_one(core),
                    node_seed,
                },
                driver: self.driver,
                listeners: part.listeners.into_iter().map(|(_, socket)| socket).collect(),
                table: part.table,
                answers: answers.clone(),
                inbox,
                reports: self.reports.clone(),
            };
            let mut end_report =
                EndReport { core, end: End::Panicked, events: self.events.clone() };
            thread::Builder::new().name(format!("ringway-{core}")).spawn(move || {
                end_report.write(pin(cpu).and_then(|()| worker::run(setup)));
            })?;
        }
        Ok(mailboxes)
    }
}

/// Starts the helper thread, with the priority that this thread has now and will not have again.
///
/// A change costs the same at any priority, and a worker that has to wait waits for the same
/// slice of time; a low one would only make it last ten times as long. A change is rare, and ends.
async fn start_helper() {
    // The runtime gives work to this thread from now on, and starts another one only while it hangs.
    let _ = spawn_blocking(|| ()).await;
}

/// Makes this thread yield to the workers. It has no CPU of its own, and nothing on it is urgent:
/// a nice of 10 leaves it a tenth of a CPU that a worker keeps busy.
fn lower_priority() {
    const NICE: i32 = 10;
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::warn!("the control thread keeps its priority: {error}");
    }
}

/// Tells the service manager that the cores are alive, as long as they are.
async fn keep_alive(control: Control, period: Duration) {
    let mut ticks = interval(period / 2);
    loop {
        ticks.tick().await;
        if control.alive() {
            systemd::alive();
        }
    }
}

/// Reports the end of a worker's thread, whichever end it is.
struct EndReport {
    core: usize,
    end: End,
    events: UnboundedSender<Event>,
}

impl EndReport {
    fn write(&mut self, result: io::Result<()>) {
        self.end = result.map_or_else(End::Failed, |()| End::Returned);
    }
}

impl Drop for EndReport {
    fn drop(&mut self) {
        let end = std::mem::replace(&mut self.end, End::Returned);
        // Nobody listens when the process is ending already.
        let _ = self.events.send(Event::Ended { core: self.core, end });
    }
}

fn pin(cpu: usize) -> io::Result<()> {
    if core_affinity::set_for_current(CoreId { id: cpu }) {
        return Ok(());
    }
    Err(io::Error::other(format!("the kernel refuses to pin a thread to CPU {cpu}")))
}

/// One core's part of the node's buffers.
fn share(buffer_bytes_max: ByteSize, cores: usize) -> Result<usize, Error> {
    let share = usize::try_from(buffer_bytes_max.0).unwrap_or(usize::MAX) / cores.max(1);
    if (share as u64) < BUFFER_SHARE_MIN.0 {
        return Err(Error::start(
            format!("{buffer_bytes_max} of buffers are too little for {cores} cores"),
            format!(
                "give `runtime.buffer_bytes_max` at least {BUFFER_SHARE_MIN} per core, or run \
                 with fewer --cores"
            ),
        ));
    }
    Ok(share)
}

/// Lifts the soft limit of descriptors to the hard one, and returns it: the soft one is often 1024,
/// for the sake of programs that use `select`, and a busy gateway holds two descriptors per
/// exchange.
fn raise_descriptors() -> u64 {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < hard => match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => {
                tracing::info!("raised the limit of descriptors from {soft} to {hard}");
                hard
            }
            Err(error) => {
                tracing::warn!("the limit of descriptors stays at {soft}: {error}");
                soft
            }
        },
        Ok((soft, _)) => soft,
        Err(error) => {
            tracing::warn!("the limit of descriptors is not known: {error}");
            u64::MAX
        }
    }
}

/// Descriptors that the process has open.
fn open_descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

/// Descriptors that a worker needs for itself: ring or poller, timer, bells, with some to spare.
const DESCRIPTORS_PER_CORE: u64 = 10;

/// Descriptors that no worker uses for connections, as a part of the limit and at most: for the
/// admin API, the access log, the files of a configuration and new listeners.
const DESCRIPTORS_RESERVED_PART: u64 = 8;
const DESCRIPTORS_RESERVED_MAX: u64 = 128;

/// Descriptors without which the control thread cannot start: its poller, its bells, the file watch.
const DESCRIPTORS_OF_CONTROL: u64 = 8;

/// Descriptors without which a worker cannot start.
const DESCRIPTORS_OF_WORKER_MIN: u64 = 6;

/// Refuses a limit with which the gateway cannot start. Here, because the runtime panics where it
/// gets no descriptor.
fn check_descriptors(limit: u64, open: u64, cores: usize) -> Result<(), Error> {
    let needed = open + DESCRIPTORS_OF_CONTROL + DESCRIPTORS_OF_WORKER_MIN * cores as u64;
    if limit >= needed {
        return Ok(());
    }
    let cores = if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
    Err(Error::start(
        format!("{limit} descriptors are too few for {cores}: the start alone takes {needed}"),
        DESCRIPTORS_CURE,
    ))
}

/// One core's part of the descriptors, for connections, where `open` of `limit` are in use before
/// the workers start.
fn descriptor_share(limit: u64, open: u64, cores: usize) -> usize {
    let cores = cores.max(1) as u64;
    let reserved = (limit / DESCRIPTORS_RESERVED_PART).min(DESCRIPTORS_RESERVED_MAX);
    let left = limit.saturating_sub(open + reserved + DESCRIPTORS_PER_CORE * cores);
    // One exchange must be possible, whatever the limit.
    usize::try_from((left / cores).max(2)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use engine::config::{Cores, DriverChoice, Sources};

    use super::*;

    #[test]
    fn each_core_has_its_part_of_the_buffers_or_it_is_an_error() {
        assert_eq!(share(ByteSize::mib(256), 4), Ok(64 * 1024 * 1024));
        assert_eq!(share(ByteSize::mib(1), 1), Ok(1024 * 1024));
        let error = share(ByteSize::mib(1), 2).unwrap_err().to_string();
        assert!(error.contains("1MiB of buffers are too little for 2 cores"), "{error}");
    }

    #[test]
    fn each_core_has_its_part_of_the_descriptors_and_some_are_kept_for_other_things() {
        assert_eq!(descriptor_share(256, 20, 1), 194);
        assert_eq!(descriptor_share(20_000, 20, 2), 9_916);
        assert_eq!(descriptor_share(16, 20, 4), 2);
        assert!(check_descriptors(64, 10, 4).is_ok());
        let error = check_descriptors(20, 10, 1).unwrap_err().to_string();
        assert!(error.contains("20 descriptors are too few for 1 core"), "{error}");
        assert!(error.contains("ulimit -n"), "{error}");
    }

    #[test]
    fn a_plan_takes_the_command_line_before_the_file() {
        let text = "version = 1\n[runtime]\ncores = 8000\n[listeners.web]\n\
                    address = \"127.0.0.1:0\"\n[admin]\naddress = \"off\"\n";
        let sources = Sources::new("test.toml", text);
        let model = engine::config::parse(&sources).unwrap();
        let configuration = Configuration { sources, model, file: None };
        let options = Options { driver: Some(DriverChoice::Epoll), ..Options::default() };
        let error = plan(configuration.clone(), options.clone()).unwrap_err().to_string();
        assert!(error.contains("8000 cores are asked for"), "{error}");
        let options = Options { cores: Some(Cores::Count(1)), ..options };
        let plan = plan(configuration, options).unwrap();
        assert_eq!(plan.driver, Driver::Epoll);
        assert_eq!((plan.cpus.len(), plan.prepared.parts.len()), (1, 1));
        assert_ne!(plan.addresses()[0].ip().unwrap().port(), 0);
    }
}
