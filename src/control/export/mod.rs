//! What leaves the node about itself: metrics and the access log.
//!
//! [`Export`] is the [`Sink`] of the control thread. It adds up what cores have counted, for the
//! scrapes of the admin API, and writes access records.
//!
//! Invariant: nothing here waits for a client, a disk or a data core.

pub(crate) mod access_log;
pub(crate) mod cause;
pub(crate) mod failures;
pub(crate) mod listeners;
pub(crate) mod merge;
pub(crate) mod metrics;
pub(crate) mod process;
pub(crate) mod prometheus;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::config::Document;
use engine::snapshot::ListenerId;
use worker::telemetry::record::Records;
use worker::telemetry::report::CoreBlock;

use crate::sink::Sink;
use access_log::{AccessLog, LogCounts};
use failures::Failures;
use merge::Merge;

/// Where counts and access records go.
#[derive(Debug, Default)]
pub(crate) struct Export {
    merge: Rc<RefCell<Merge>>,
    log: AccessLog,
    failures: Failures,
}

/// What a scrape reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    /// The sums by route.
    pub(crate) merge: Rc<RefCell<Merge>>,
    /// What became of lines of the access log.
    pub(crate) log: Arc<LogCounts>,
}

impl Export {
    /// What a scrape reads; stays up to date.
    pub(crate) fn counted(&self) -> Counted {
        Counted { merge: Rc::clone(&self.merge), log: self.log.counts() }
    }
}

impl Sink for Export {
    fn counts(&mut self, block: &CoreBlock) {
        let now = Instant::now();
        self.merge.borrow_mut().counts(block, now);
        self.failures.take_in(block, now, |line| tracing::warn!("{line}"));
    }

    fn records(&mut self, records: &Records) {
        self.log.write(records, self.merge.borrow().listeners());
    }

    fn adopt(
        &mut self,
        document: &Document,
        listeners: &[(ListenerId, Box<str>)],
    ) -> Result<(), String> {
        self.log.configure(document.access_log.as_ref())?;
        self.merge.borrow_mut().learn(listeners);
        Ok(())
    }

    fn reopen(&mut self) {
        self.log.reopen();
    }

    fn finish(&mut self, timeout: Duration) -> bool {
        self.log.finish(timeout)
    }
}
