//! The questions and orders that a node accepts: the one interface behind the admin API.
//!
//! Whoever serves it (HTTP, a test) sees this trait and nothing of workers, mailboxes or files.
//!
//! Invariant: answers come from the reports of the workers; no method waits for a data
//! core, except [`Node::apply`] and [`Node::set_endpoint`], which have a deadline.

use engine::address::Address;
use engine::balance::EndpointState;
use engine::config::Diagnostic;
use worker::telemetry::Totals;
use worker::telemetry::report::CoreBlock;

use crate::dns::NameStatus;
use crate::prober::CheckStatus;

/// A running gateway. Lives on the control thread.
pub(crate) trait Node {
    /// How it stands.
    fn status(&self) -> Status;

    /// Why it should get no traffic, one reason a line; none: it should. A core that lags behind
    /// with a version is a reason.
    fn ready(&self) -> Vec<String>;

    /// The live configuration as TOML, with every key; secrets are masked.
    fn config(&self) -> String;

    /// Changes the configuration, all of it or nothing.
    ///
    /// The change goes on when the future is dropped: a client that leaves does not leave half of a
    /// change behind.
    fn apply(&self, change: Change) -> impl Future<Output = Result<Applied, Refused>>;

    /// Sets the state of an endpoint of the live version. Returns the cores that have not taken it in
    /// by the deadline; they will. `None`: there is no such endpoint.
    fn set_endpoint(
        &self,
        upstream: &str,
        address: &Address,
        state: EndpointState,
    ) -> impl Future<Output = Option<Vec<usize>>>;
}

/// A wish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// The new configuration. It is live until the file changes or a reload is asked for; the file
    /// is not written. None: read the file again.
    pub(crate) text: Option<String>,
    /// Only say whether it would be taken. Ports are not looked at.
    pub(crate) dry_run: bool,
    /// Only when this is the live version.
    pub(crate) if_match: Option<u64>,
}

/// A change that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The version that is live now; of a dry run, the one that is live as before.
    pub(crate) version: u64,
    /// It was live already, byte for byte.
    pub(crate) unchanged: bool,
    /// Cores that had not switched by the deadline. They will, and [`Node::ready`] names them until
    /// then.
    pub(crate) lagging: Vec<usize>,
    /// Values that are probably not meant as they are written.
    pub(crate) warnings: Vec<Diagnostic>,
    /// From the beginning of reading to the last core's word, in microseconds.
    pub(crate) micros: u64,
}

/// A change that was not taken: everything is as before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The configuration has mistakes; warnings are among them.
    Diagnostics(Vec<Diagnostic>),
    /// Another version is live than the one that the change is for.
    Conflict {
        /// The live version.
        version: u64,
    },
    /// So many changes wait already that this one is not queued.
    Busy,
    /// Anything else, with the cure: a file that cannot be read, a port in use, a key that needs a
    /// restart, a gateway that is stopping.
    Cannot(String),
}

/// How the node stands.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    /// The live version, counted from 1 at each start.
    pub(crate) version: u64,
    /// When the process started, in seconds since 1970.
    pub(crate) started_unix: u64,
    /// For how long it has been running.
    pub(crate) uptime_seconds: f64,
    /// How it does its I/O.
    pub(crate) driver: String,
    /// Its cores, by number.
    pub(crate) cores: Vec<CoreStatus>,
    /// Its listeners as configured, each with the address that it has (not port 0).
    pub(crate) listeners: Vec<(String, String)>,
    /// Its certificates by name, and when each expires, in seconds since 1970.
    pub(crate) certificates: Vec<(String, u64)>,
    /// The last change that was taken or refused: when, in seconds since 1970, and the version that
    /// it made or the reason.
    pub(crate) last_reload: Option<(u64, Result<u64, String>)>,
    /// The live version was posted and the file does not say the same: a restart goes back to the
    /// file.
    pub(crate) is_posted: bool,
    /// Changes that were taken.
    pub(crate) reloads_ok: u64,
    /// Changes that were live already.
    pub(crate) reloads_unchanged: u64,
    /// Changes that were refused. Dry runs count nowhere.
    pub(crate) reloads_refused: u64,
    /// It takes nothing new and ends when everything has finished.
    pub(crate) draining: bool,
    /// The upstreams of the live version by name, each with its endpoints. An address is there once
    /// for each name or place in the configuration that it came from.
    pub(crate) upstreams: Vec<(String, Vec<EndpointStatus>)>,
    /// The endpoints that are checked.
    pub(crate) checks: Vec<CheckStatus>,
    /// The names that endpoints come from.
    pub(crate) names: Vec<NameStatus>,
    /// Which upstream has which of them.
    pub(crate) named: Vec<(String, String)>,
}

/// How one endpoint of the live version stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointStatus {
    /// Its address.
    pub(crate) address: String,
    /// The name in the configuration that stands for it; none: it stands there itself.
    pub(crate) from: Option<String>,
    /// Whether it gets new requests.
    pub(crate) state: EndpointState,
}

/// How one core stands.
#[derive(Clone, Debug)]
pub(crate) struct CoreStatus {
    /// Its number, from 0.
    pub(crate) core: usize,
    /// The CPU that it is pinned to.
    pub(crate) cpu: usize,
    /// The version that it serves by.
    pub(crate) version: u64,
    /// Its last report, without the blocks of routes.
    pub(crate) block: CoreBlock,
    /// The share of its time that it computed between its last two reports, 0 to 1.
    pub(crate) busy_ratio: f64,
}

impl Status {
    /// The counts of all cores.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.cores.iter().for_each(|core| totals += core.block.totals);
        totals
    }
}

impl CoreStatus {
    /// Client connections open.
    pub(crate) fn connections(&self) -> u64 {
        self.block.listeners.iter().map(|it| it.gauges.connections).sum()
    }
}
