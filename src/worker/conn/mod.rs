//! The client sides: what happens on a connection between its accept and its close.

mod decode;
pub mod h1;

mod handshake;
