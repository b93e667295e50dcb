//! HTTP/2 on the wire, RFC 9113 and RFC 7541: the client's end of a gateway.
//!
//! A [`ClientFrames`] takes the bytes of a client and gives events; it takes heads and the lengths of data, and
//! gives bytes. It does no I/O and has no clock: `now` is an argument. Data is not copied in here.
//!
//! Invariant: any split of the input gives the same events.

mod breach;
mod connection;
mod frame;
mod guard;
mod head;
mod hpack;
mod huffman;
mod table;
#[cfg(test)]
mod tests;

pub use breach::{Breach, ErrorCode};
pub use connection::{ClientFrames, FrameLimits, FrameNews};
pub use frame::{FRAME_HEADER_BYTES, PAYLOAD_BYTES_MAX, PREFACE, data_header};
