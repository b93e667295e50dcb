//! From a model to running workers, and on to their end.
//!
//! [`plan`] decides and binds; nothing runs yet and everything that can be refused has been.
//! [`Plan::run`] starts one pinned thread per core, waits until all are ready, and then for
//! signals: the first SIGTERM or SIGINT drains, a second one stops at once.

mod bind;
mod cpus;
mod driver;
mod watch;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use core_affinity::CoreId;
use engine::config::{ByteSize, Cores, CpuList, DriverChoice, Model};
use engine::snapshot::{Table, compile};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use worker::mailbox::{self, Mailbox};
use worker::message::Report;
use worker::net::monoio::{Driver, probe};

use crate::Error;
use watch::{End, Event, Watch};

pub use watch::Outcome;

/// The least that a core can work with: some tens of exchanges at once.
const BUFFER_SHARE_MIN: ByteSize = ByteSize::mib(1);

/// What the command line and the environment say about `[runtime]`; it goes before the file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How many workers.
    pub cores: Option<Cores>,
    /// The CPUs they are taken from.
    pub cpus: Option<CpuList>,
    /// Which way to the kernel.
    pub driver: Option<DriverChoice>,
}

/// Everything decided and bound, nothing started.
#[derive(Debug)]
pub struct Plan {
    /// One per worker.
    cpus: Vec<usize>,
    driver: Driver,
    table: Table,
    addresses: Vec<SocketAddr>,
    /// For each worker one socket per listener.
    sockets: Vec<Vec<TcpListener>>,
    /// Each worker's part of the node's buffers.
    buffer_share: usize,
}

/// Decides where the model runs and binds its listeners.
///
/// # Errors
/// What is refused, with the cure: CPUs, driver, addresses, memory.
pub fn plan(model: &Model, options: &Options) -> Result<Plan, Error> {
    let table = compile(model, 1).map_err(|diagnostics| {
        let texts: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
        Error::fatal(texts.join("\n"))
    })?;
    let runtime = &model.document.runtime;
    let cores = options.cores.or(runtime.cores).unwrap_or_default();
    let listed = options.cpus.as_ref().or(runtime.cpus.as_ref());
    let cpus = cpus::resolve(cores, listed, &cpus::permitted())?;
    let buffer_share = share(runtime.buffer_bytes_max, cpus.len())?;
    let choice = options.driver.or(runtime.driver).unwrap_or_default();
    let chosen = driver::choose(choice, probe)?;
    if let Some(why) = &chosen.step_down {
        tracing::warn!("{why}");
    }
    raise_descriptors();
    let bound = bind::bind(&table.listeners, cpus.len())?;
    Ok(Plan {
        cpus,
        driver: chosen.driver,
        table,
        addresses: bound.addresses,
        sockets: bound.per_core,
        buffer_share,
    })
}

impl Plan {
    /// Where the gateway listens, in the order of the table's listeners.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Runs the workers until they have drained. `ready` is called once all accept connections.
    ///
    /// # Errors
    /// When the workers cannot start, or one of them dies. The process should then end: the
    /// other workers are still running.
    pub fn run(self, ready: impl FnOnce()) -> Result<Outcome, Error> {
        let names = self.table.listeners.iter().map(|listener| &*listener.name);
        let places: Vec<_> =
            names.zip(&self.addresses).map(|(name, at)| format!("{at} ({name})")).collect();
        let noun = if self.cpus.len() == 1 { "core" } else { "cores" };
        let listening = format!(
            "listening on {} with {} {noun}, driver {}",
            places.join(", "),
            self.cpus.len(),
            self.driver
        );
        let drain = self.table.listeners.iter().map(|it| it.timeouts.drain).max();
        let (events, inbox) = channel();
        forward_signals(events.clone())
            .map_err(|error| Error::fatal(format!("cannot listen for signals: {error}")))?;
        let cores = self.cpus.len();
        let mailboxes = self
            .start(&events)
            .map_err(|error| Error::fatal(format!("cannot start the workers: {error}")))?;
        drop(events);
        let ready = || {
            tracing::info!("{listening}");
            ready();
        };
        Watch::new(cores, drain.unwrap_or(Duration::ZERO)).run(&inbox, &mailboxes, ready)
    }

    fn start(self, events: &Sender<Event>) -> io::Result<Vec<Mailbox>> {
        let (reports, reported) = channel::<Report>();
        let cores = self.cpus.len();
        let mut mailboxes = Vec::new();
        for (core, (cpu, listeners)) in self.cpus.into_iter().zip(self.sockets).enumerate() {
            let (mailbox, inbox) = mailbox::channel()?;
            mailboxes.push(mailbox);
            let setup = worker::Setup {
                core,
                cores,
                driver: self.driver,
                listeners,
                table: self.table.clone(),
                buffer_bytes_max: self.buffer_share,
                // Differs from core to core and from start to start: the standard library keys
                // its hashes at random.
                seed: RandomState::new().hash_one(core),
                inbox,
                reports: reports.clone(),
            };
            let mut last_will = LastWill { core, end: End::Panicked, events: events.clone() };
            thread::Builder::new().name(format!("ringway-{core}")).spawn(move || {
                last_will.write(pin(cpu).and_then(|()| worker::run(setup)));
            })?;
        }
        let events = events.clone();
        thread::Builder::new().name("reports".to_owned()).spawn(move || {
            for report in reported {
                let _ = events.send(Event::Report(report));
            }
            // Every worker has dropped its sender: nothing more will come.
            let _ = events.send(Event::Quiet);
        })?;
        Ok(mailboxes)
    }
}

/// Says how a worker ended, whatever way it ends.
struct LastWill {
    core: usize,
    end: End,
    events: Sender<Event>,
}

impl LastWill {
    fn write(&mut self, result: io::Result<()>) {
        self.end = result.map_or_else(|error| End::Failed(error.to_string()), |()| End::Returned);
    }
}

impl Drop for LastWill {
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

fn forward_signals(events: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let forward = move || {
        for signal in signals.forever() {
            if events.send(Event::Signal(signal)).is_err() {
                break;
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(forward)?;
    Ok(())
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

/// Lifts the soft limit of descriptors to the hard one: the soft one is often 1024, for the sake
/// of programs that use `select`, and a busy gateway holds two descriptors per exchange.
fn raise_descriptors() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!("the limit of descriptors stays as it is: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_core_has_its_part_of_the_buffers_or_it_is_an_error() {
        assert_eq!(share(ByteSize::mib(256), 4), Ok(64 * 1024 * 1024));
        assert_eq!(share(ByteSize::mib(1), 1), Ok(1024 * 1024));
        let error = share(ByteSize::mib(1), 2).unwrap_err().to_string();
        assert!(error.contains("1MiB of buffers are too little for 2 cores"), "{error}");
    }

    #[test]
    fn a_plan_takes_the_command_line_before_the_file() {
        let text = "version = 1\n[runtime]\ncores = 8000\n[listeners.web]\n\
                    address = \"127.0.0.1:0\"\n";
        let model = engine::config::parse(text, "test.toml").unwrap();
        let options = Options { driver: Some(DriverChoice::Epoll), ..Options::default() };
        let error = plan(&model, &options).unwrap_err().to_string();
        assert!(error.contains("8000 cores are asked for"), "{error}");
        let options = Options { cores: Some(Cores::Count(1)), ..options };
        let plan = plan(&model, &options).unwrap();
        assert_eq!(plan.driver, Driver::Epoll);
        assert_eq!((plan.cpus.len(), plan.sockets.len()), (1, 1));
        assert_ne!(plan.addresses()[0].port(), 0);
    }
}
