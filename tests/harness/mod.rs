//! The parts of the end-to-end tests: a gateway to start, a client that sends raw bytes, endpoints
//! that follow a script, and ways to wait for a state instead of a time.
//!
//! Invariant: every wait here has a bound. A test fails if it waits longer than [`PATIENCE`].

mod client;
mod dns;
mod endpoint;
mod gateway;
mod kernel;
mod message;
mod process;
mod skip;
mod socket;
mod software;
mod tls;

use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use client::{Client, Response, is_request_id};
pub(crate) use dns::{Mood, NameServer};
pub(crate) use endpoint::{Connection, Endpoint, Request, SilentAddress};
pub(crate) use gateway::{Builder, Gateway, config_file, driver, free_address, ready_line, run};
pub(crate) use kernel::{stay_on_one_cpu, stay_on_the_first_cpu};
pub(crate) use message::{Framing, Head};
pub(crate) use process::{Process, ringway};
pub(crate) use skip::skip;
pub(crate) use socket::{Cut, End};
pub(crate) use software::{Server, assert_prints_ok, can_run, python};
pub(crate) use tls::{Authority, TLS12, TLS13, TlsClient, TlsServer};

/// How long a test waits for anything before it fails. Far more than anything takes here: it only
/// has to end a test that hangs, on the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// The request of a test to which it does not matter.
pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n";

/// The response of a test to which it does not matter.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Waits until `condition` holds, for at most [`PATIENCE`]; `what` completes the sentence "it
/// never came about that ...".
pub(crate) fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(PATIENCE, condition), "it never came about that {what}");
}

/// Whether `condition` comes to hold within `patience`.
pub(crate) fn holds_within(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let give_up_at = Instant::now() + patience;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > give_up_at {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A condition that one thread brings about and another waits for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Lets everybody pass, now and later.
    pub(crate) fn open(&self) {
        let (open, changed) = &*self.0;
        *open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    /// Waits until it is open, for at most [`PATIENCE`].
    pub(crate) fn wait(&self) {
        let (open, changed) = &*self.0;
        let open = open.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(open, PATIENCE, |open| !*open);
        let (open, _) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(*open, "a gate was not opened in time");
    }
}

/// So many bytes in which none can be missing, doubled or moved without notice. Shorter patterns
/// are beginnings of longer ones.
pub(crate) fn pattern(len: usize) -> &'static [u8] {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    let make = || {
        let mut state = 1u64;
        let mut bytes = Vec::with_capacity(PATTERN_BYTES_MAX);
        while bytes.len() < PATTERN_BYTES_MAX {
            // Knuth's MMIX generator: it does not repeat itself within this length.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&state.to_be_bytes());
        }
        bytes
    };
    &PATTERN.get_or_init(make)[..len]
}

/// The longest pattern that a test asks for.
const PATTERN_BYTES_MAX: usize = 64 << 20;

/// Asserts that `got` is `expected`, without printing megabytes.
#[track_caller]
pub(crate) fn assert_same_bytes(got: &[u8], expected: &[u8]) {
    if got == expected {
        return;
    }
    let differs = got.iter().zip(expected).position(|(got, expected)| got != expected);
    let lengths = (got.len(), expected.len());
    panic!("the bytes differ, first at {differs:?}; there are {} of {}", lengths.0, lengths.1);
}
