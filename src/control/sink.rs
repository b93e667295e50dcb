//! Where counts and access records go.
//!
//! The control thread hands the reports of workers over, then empties the boxes and sends them back.
//!
//! Invariant: nothing here waits. Lines that cannot be written at once are dropped and counted.

use std::time::Duration;

use engine::config::Document;
use engine::snapshot::ListenerId;
use worker::telemetry::record::Records;
use worker::telemetry::report::CoreBlock;

/// Takes in the reports of the workers. Lives on the control thread.
pub(crate) trait Sink {
    /// The counts and gauges of a core.
    fn counts(&mut self, block: &CoreBlock);

    /// Access records of one core.
    fn records(&mut self, records: &Records);

    /// A version is about to go live, at the start too. This is the last that can refuse it, with
    /// the reason and the cure; after `Ok` it goes live. Ids of listeners are not used again, so the
    /// names of earlier ones stay good for counts that still come.
    fn adopt(
        &mut self,
        document: &Document,
        listeners: &[(ListenerId, Box<str>)],
    ) -> Result<(), String>;

    /// Opens its files anew: somebody has renamed them.
    fn reopen(&mut self);

    /// Nothing more comes. Waits until all records are written, at most for `timeout`; the one call
    /// that waits, at the end of the process. Returns whether it is written.
    fn finish(&mut self, _timeout: Duration) -> bool {
        true
    }
}

/// Takes nothing in: [`Status`](crate::node::Status) shows the counts of `state`.
#[cfg(test)]
pub(crate) struct Discard;

#[cfg(test)]
impl Sink for Discard {
    fn counts(&mut self, _: &CoreBlock) {}

    fn records(&mut self, _: &Records) {}

    fn adopt(&mut self, _: &Document, _: &[(ListenerId, Box<str>)]) -> Result<(), String> {
        Ok(())
    }

    fn reopen(&mut self) {}
}
