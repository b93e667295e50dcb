//! The real worker on a simulated network: virtual time, seeded faults, clients and endpoints that
//! behave well and badly, and a shadow model that checks the results.
//!
//! `SEEDS=n` runs n seeds (1,000 by default), beginning with `FIRST` (0 by default). `SEED=n` runs
//! one seed and prints each step.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says why on stderr"
)]

mod sim {
    mod cancel;
    mod client;
    mod endpoint;
    mod fixed;
    mod http;
    mod model;
    mod mux;
    mod panics;
    mod scenario;
    mod seeds;
    mod steady;
    mod testbed;
    mod tools;
}
