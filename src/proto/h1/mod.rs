//! HTTP/1.x on the wire, RFC 9112: heads and bodies from bytes, and back.
//!
//! The order of calls for a message that comes in: [`leading_blank`] (requests), [`parse_request`]
//! or [`parse_response`] on the bytes that are there; if they are not a whole and sound head, [`Scanner::scan`]
//! until the end of the head is there, and the parser again; then a [`BodyDecoder`] for its body. For
//! one that goes out: a function of [`hop`](crate::hop), then the gateway's own edits, then [`encode_request`] or
//! [`encode_response`].
//!
//! Invariant: `parse_*` reads the bytes that `encode_*` writes as the same message.

mod blocks;
mod body;
mod diagnose;
mod encode;
mod fields;
mod request;
mod response;
mod scan;
#[cfg(test)]
mod tests;
mod trailers;
#[cfg(test)]
pub(crate) mod vectors;

pub use body::{BodyDecoder, BodyStep, CHUNK_EXTENSION_BYTES_MAX, CHUNK_OVERHEAD_BYTES_MAX};
pub use diagnose::early_fault;
pub use encode::{
    CHUNK_SIZE_LINE_BYTES, Persist, chunk_size_line, encode_last_chunk, encode_request,
    encode_response, encoded_len_max,
};
pub(crate) use fields::content_length;
pub use fields::{CONNECTION_OPTIONS_MAX, HEAD_BYTES_LIMIT, HEADERS_LIMIT};
pub use request::parse_request;
pub use response::parse_response;
pub use scan::{Scanner, leading_blank};
pub(crate) use trailers::FORBIDDEN_IN_TRAILERS;
pub use trailers::{TRAILER_BYTES_MAX, TRAILERS_MAX};
