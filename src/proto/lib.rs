//! The meaning of the bytes: HTTP messages as tables of spans, and back to bytes.
//!
//! Everything here is a function of its arguments: no I/O, no clock, no randomness, no async. The
//! worker reads and writes; the engine decides; this crate reads a head, finds the end of a body,
//! and refuses messages that are not HTTP.
//!
//! Invariant: a message from the network is accepted as RFC 9110 and RFC 9112 write it or refused
//! with a [`violation::Violation`]. It is never repaired: a gateway that reads a message in a kind
//! way and passes it on in another is how requests are smuggled. Nothing in here panics on any
//! input.

#![forbid(unsafe_code)]

pub mod date;
pub mod h1;
pub mod h2;
pub mod head;
pub mod hop;
pub mod pairs;
pub mod path;
pub mod proxy_protocol;
pub mod upgrade;
pub mod uri;
pub mod violation;
