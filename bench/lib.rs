//! The measuring kit behind `ringway bench`, and the small HTTP endpoint that it shares with
//! `ringway demo`.
//!
//! It measures gateways from outside, as processes: their cost (`compare`), the memory of an idle
//! connection (`idle`), the memory of large bodies (`bodies`), and the cost of the kernel alone
//! (`floor`). It knows nothing of Ringway's own crates. Invariant: load goes only to addresses that
//! the caller named or that this crate bound on 127.0.0.1, and every child process ends with the
//! command that started it.

#![deny(unsafe_code)]

mod bodies;
mod child;
pub mod cli;
mod client;
mod compare;
pub mod endpoint;
mod error;
#[expect(
    unsafe_code,
    reason = "submission entries are raw pointers; every block says why it holds"
)]
mod floor;
mod idle;
mod limits;
mod proc;

pub use error::Error;
