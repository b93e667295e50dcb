//! TLS, towards clients and towards endpoints alike.
//!
//! The library is rustls, without buffers of its own: it knows the protocol, and we own the bytes.
//! [`session`] asks it, [`stream`] is the stream of the bytes inside records, [`turns`] keeps
//! handshakes from taking a core for themselves, and [`table`] is the part of a version of the
//! configuration that all cores share: certificates, keys, authorities. The handshakes themselves
//! are in [`conn::tls`](crate::conn::tls) and in `upstream`.

pub mod handshake;
pub mod session;
pub mod stream;
pub mod table;
pub mod turns;
