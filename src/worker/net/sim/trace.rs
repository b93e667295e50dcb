//! The record of a run: always a hash, and on demand a text.
//!
//! Two runs of one seed must give the same hash. The text shows where two runs differ, and goes into
//! the message of a failed test.

use std::collections::VecDeque;
use std::fmt::Write;
use std::hash::{Hash, Hasher};
use std::io;

use super::Force;
use super::connection::{ConnectionSide, Payload};

/// The number of entries in the history: the end of a run explains its failure.
const HISTORY_MAX: usize = 10_000;

/// One thing that happened.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) enum TraceEntry {
    /// Time has moved.
    Time(u64),
    /// A task of a host was started.
    Spawn(usize, usize),
    /// A task ran.
    Poll(usize),
    /// A task ended.
    End(usize),
    /// A task panicked.
    Panic(usize),
    /// A host started an operation; with the operation's number if the host is marked.
    Start(OperationKind, usize, u64, Option<u64>, Option<Force>),
    /// A connection gave bytes to a side.
    Read(u64, ConnectionSide, usize),
    /// A connection took bytes from a side: their number and their hash.
    Wrote(u64, ConnectionSide, usize, u64),
    /// An operation on one side of a connection failed.
    Failed(u64, ConnectionSide, io::ErrorKind),
    /// A segment of a connection arrived at a side.
    Deliver(u64, ConnectionSide, Payload),
    /// A side aborted a connection.
    Abort(u64, ConnectionSide),
    /// A side closed a connection.
    Close(u64, ConnectionSide),
    /// A connection was made: its number, the ports of both sides.
    Connected(u64, u16, u16),
}

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum OperationKind {
    Accept,
    Connect,
    Read,
    Write,
    Readable,
}

/// The record of a run.
#[derive(Debug, Default)]
pub(super) struct Trace {
    mix: TraceHasher,
    history: Option<VecDeque<TraceEntry>>,
}

impl Trace {
    pub(super) fn note(&mut self, entry: TraceEntry) {
        entry.hash(&mut self.mix);
        if let Some(history) = &mut self.history {
            if history.len() == HISTORY_MAX {
                history.pop_front();
            }
            history.push_back(entry);
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.mix.finish()
    }

    pub(super) fn keep(&mut self) {
        self.history.get_or_insert_default();
    }

    pub(super) fn history(&self) -> String {
        let mut text = String::new();
        for entry in self.history.iter().flatten() {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{entry:?}");
        }
        text
    }
}

/// The hash of `bytes`.
pub(super) fn hash_of(bytes: &[u8]) -> u64 {
    let mut mix = TraceHasher::default();
    mix.write(bytes);
    mix.finish()
}

/// A hash that is the same on every machine and in every build of this code.
#[derive(Debug, Default)]
struct TraceHasher(u64);

impl TraceHasher {
    fn add(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = (mixed ^ (mixed >> 32)).wrapping_add(1);
    }
}

impl Hasher for TraceHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.add(u64::from(*byte));
        }
    }
}
