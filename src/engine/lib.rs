//! Decides what should happen, and does nothing.
//!
//! Configuration becomes a typed [`config::Model`], the model becomes an immutable
//! [`snapshot::Snapshot`]. A worker asks the snapshot and the modules beside it which route takes
//! a request ([`router`]), which endpoint serves it ([`balance`], [`names`]), whether to try again
//! ([`retry`]), and what to answer ([`reason`]).
//!
//! Invariant: no I/O, no clock, no randomness. `now` and seeds are arguments, so each decision can
//! be tested and replayed. [`proto`] reads and writes the bytes of a message, and the worker moves
//! them.

#![forbid(unsafe_code)]
pub mod address;
pub mod auth;
pub mod balance;
pub mod config;
pub mod filter;
pub mod header;
pub mod health;
pub mod hops;
pub mod keys;
pub mod limit;
pub mod names;
pub mod pattern;
pub mod reason;
pub mod request;
pub mod request_id;
pub mod request_key;
pub mod retry;
pub mod router;
pub mod snapshot;
pub mod stage;
pub mod template;
pub mod time;

mod mix;
