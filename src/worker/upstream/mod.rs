//! The upstream side: endpoints, a core's pools of connections to them, and the calls that get a
//! request to one of them.
//!
//! A [`Call`] selects an endpoint, leases a connection from its pool, sends, and tries again. A
//! [`Lease`] is a whole h1 connection; over h2 it will be one stream of a connection that several
//! leases share. Nobody above can tell.
//!
//! Invariants: a connection returns to its pool only from the clean end state (see
//! [`Lease::give_back`]), and dropping a lease closes the connection; each try ends in exactly one
//! [`TryOutcome`].

#[cfg(feature = "mux")]
mod attempt;
pub mod call;
pub mod endpoint;
pub mod h1;
mod health;
pub mod label;
pub mod lease;
#[cfg(feature = "mux")]
pub mod mux;
pub mod outcome;
pub mod pool;
pub mod queue;
pub mod replay;
mod select;
pub mod tls;

pub use call::{Call, CallNotes, CallRequest, Requester};
pub use endpoint::{Affinity, EndpointSlot, UpstreamSlot, Upstreams};
pub use label::{EndpointId, EndpointLabel};
pub use lease::Lease;
pub use outcome::TryOutcome;
pub use pool::Pool;
pub use replay::Replay;
