//! What should happen: every decision of the gateway, and no deed.
//!
//! Configuration becomes a typed [`config::Model`], the model becomes an immutable
//! [`snapshot::Snapshot`], and a worker asks the table and the modules beside it: which route
//! ([`router`]), which endpoint ([`balance`]), whether to try again ([`retry`]), what to answer
//! ([`reason`]).
//!
//! Invariant: no I/O, no clock, no randomness. `now` and seeds are arguments, so each decision can
//! be tested and replayed. The bytes on the wire are [`proto`]'s, moving them is the worker's.

#![forbid(unsafe_code)]
pub mod address;
pub mod balance;
pub mod config;
pub mod reason;
pub mod request_id;
pub mod retry;
pub mod router;
pub mod snapshot;
pub mod stage;
pub mod time;

mod mix;
