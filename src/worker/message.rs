//! What the control thread and the workers say to each other: all of it.

use std::time::Duration;

use crate::telemetry::Totals;

/// From the control thread to one worker.
#[derive(Debug)]
pub enum ToWorker {
    /// Take no new connection, finish what runs, close what is idle, and end.
    Drain {
        /// What still runs after this long is cut.
        deadline: Duration,
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
    /// The worker has ended.
    Drained {
        /// Which worker.
        core: usize,
        /// What it counted from its start.
        totals: Totals,
        /// Client connections that were cut at the deadline.
        cut: usize,
    },
}
