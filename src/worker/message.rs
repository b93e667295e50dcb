//! All messages between the control thread and the workers.
//!
//! Boxes go to and fro: a worker fills blocks of counts and batches of records and sends them, the
//! control thread empties them and sends them back, so that a data core neither frees memory that another
//! core has allocated nor allocates in the steady state.

use std::time::Duration;

use engine::address::Address;
use engine::balance::EndpointState;
use engine::limit::{LimitId, ToBorrower, ToLender};
use engine::names::{Answers, DnsName, NamedPlace};
use engine::snapshot::{ListenerId, Snapshot};

use crate::net::monoio::BoundSocket;
use crate::telemetry::Totals;
use crate::telemetry::record::Records;
use crate::telemetry::report::CoreBlock;

/// From the control thread to one worker.
#[derive(Debug)]
pub enum ToWorker {
    /// Serve by this version from now on.
    Switch(Box<Switch>),
    /// Small news that is not a new version.
    Fact {
        /// Facts are counted from 1, for all cores alike.
        number: u64,
        /// The news.
        fact: Fact,
    },
    /// News about the credit of a limit.
    Credit {
        /// Which limit.
        limit: LimitId,
        /// The news.
        news: ToBorrower,
    },
    /// An emptied block, to be filled again.
    Block(Box<CoreBlock>),
    /// An emptied batch, to be filled again.
    Records(Box<Records>),
    /// Take no new connection, finish running exchanges, close idle connections, and end.
    Drain {
        /// Exchanges that still run after this long are cut.
        deadline: Duration,
    },
}

/// A version of the configuration on its way to a worker.
#[derive(Debug)]
pub struct Switch {
    /// The worker's own route table.
    pub table: Box<Snapshot>,
    /// Sockets of listeners that the worker does not have yet, bound and non-blocking. Listeners
    /// that it has and that the table does not name any more are drained and closed.
    pub listeners: Vec<(ListenerId, BoundSocket)>,
    /// The places that the names of the table stand for now. They replace all that the worker knows.
    pub answers: Answers,
}

/// Small news for a worker. It changes slots, and no table. Facts are rare beside requests, so a
/// worker may free them itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The state of an endpoint. Holds for as long as versions have the endpoint; a worker whose
    /// version does not have it ignores this.
    Endpoint {
        /// The name of the upstream.
        upstream: Box<str>,
        /// Where the endpoint listens.
        address: Address,
        /// Its state.
        state: EndpointState,
    },
    /// Whether the checks of an endpoint pass. Holds as the state does.
    Checked {
        /// The name of the upstream.
        upstream: Box<str>,
        /// Where the endpoint listens.
        address: Address,
        /// They pass; so they do before the first one.
        passes: bool,
    },
    /// The places that a name stands for from now on.
    Name {
        /// The name.
        name: DnsName,
        /// The places, in the order of their addresses.
        places: Box<[NamedPlace]>,
    },
}

/// From a worker to the control thread.
#[derive(Debug)]
pub enum Report {
    /// The worker accepts connections.
    Ready {
        /// Which worker.
        core: usize,
    },
    /// Every request whose head is read from now on is served by this version.
    Switched {
        /// Which worker.
        core: usize,
        /// The number of the version.
        version: u64,
    },
    /// The worker has taken in every fact up to this number.
    Learned {
        /// Which worker.
        core: usize,
        /// The number of the fact.
        number: u64,
    },
    /// A wish for credit of a limit, or credit that comes back.
    Credit {
        /// Which worker.
        core: usize,
        /// Which limit.
        limit: LimitId,
        /// The news.
        news: ToLender,
    },
    /// A table that no exchange uses any more, to be dropped where that hurts nobody.
    Retired {
        /// Which worker.
        core: usize,
        /// The table.
        table: Box<Snapshot>,
    },
    /// What the core counts and how it stands; sent once a second and before a drain ends.
    Counts(Box<CoreBlock>),
    /// Access records.
    Records(Box<Records>),
    /// The worker has ended.
    Drained {
        /// Which worker.
        core: usize,
        /// Its counts since its start.
        totals: Totals,
        /// Client connections that were cut at the deadline.
        cut: usize,
    },
}
