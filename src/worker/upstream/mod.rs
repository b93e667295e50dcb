//! The endpoint side: a core's pools of connections, and the leases that it lends to exchanges.
//!
//! A pool belongs to one endpoint on one core. It lends [`Lease`]s: today a lease is a whole h1
//! connection; over h2 it is one stream of a connection that several leases share. An exchange
//! cannot tell.
//!
//! Invariant: a connection returns to its pool only from the clean end state (see
//! [`Lease::give_back`]); dropping a lease closes the connection.

pub mod endpoint;
pub mod h1;
pub mod pool;

pub use endpoint::{EndpointId, EndpointLabel, EndpointSlot, UpstreamSlot, Upstreams};
pub use h1::Lease;
pub use pool::Pool;
