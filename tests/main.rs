//! End to end: the `ringway` binary between a client that sends raw bytes and endpoints that follow
//! a script.
//!
//! One test binary with one file for each area in `e2e/`; `harness/` holds the parts that tests
//! use. `RINGWAY_TEST_DRIVER` (`io_uring`, the default, or `epoll`) sets the driver of the
//! gateways, and every gateway must report that driver. CI runs all tests on both.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says why on stderr"
)]

mod harness;

mod e2e {
    mod actions;
    mod admin;
    mod answers;
    mod attacks;
    mod balance;
    mod bodies;
    mod bounds;
    mod checks;
    mod clients;
    mod connections;
    mod cores;
    mod demo;
    mod descriptors;
    mod differential;
    mod drain;
    mod drivers;
    mod early;
    mod examples;
    mod expect;
    mod failures;
    mod filters;
    mod h2;
    mod headers;
    mod health;
    mod identity;
    mod in_flight;
    mod limits;
    mod live;
    mod log;
    mod malformed;
    mod names;
    mod others;
    mod peers;
    mod policy;
    mod pool;
    mod proxy_protocol;
    mod queue;
    mod races;
    mod readers;
    mod retry;
    mod routing;
    mod software;
    mod starting;
    mod streaming;
    mod systemd;
    mod timeouts;
    mod tls;
    mod tls_endpoints;
    mod truncation;
    mod tunnels;
    mod unix;
    mod upgrades;
    mod vectors;
    mod websockets;
}
