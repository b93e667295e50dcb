//! The counts of the access log: its writer and its batches add to them, a scrape reads them.

use std::sync::atomic::AtomicU64;

/// The fate of lines since the process started.
#[derive(Debug, Default)]
pub(crate) struct LogCounts {
    /// Lines that are in the file.
    pub(crate) written: AtomicU64,
    /// Records for which there was no room, here or at a worker.
    pub(crate) dropped: AtomicU64,
    /// Writes that failed.
    pub(crate) errors: AtomicU64,
}
