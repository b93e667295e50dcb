//! The client sides: what happens on a connection between its accept and its close.

pub mod h1;
