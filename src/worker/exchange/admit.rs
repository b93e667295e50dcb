//! Stage 5, admit: what the gateway takes off a request's head and puts on it.
//!
//! Order matters: hop-by-hop headers go first, so that a client cannot have our own headers removed
//! by naming them in `Connection` (RFC 9110 section 7.6.1).

use std::net::{IpAddr, SocketAddr};

use proto::h1::strip_hop_by_hop;
use proto::head::{HeaderId, RequestHead};

/// What the gateway tells endpoints of a client's connection; written out once per connection.
#[derive(Debug)]
pub struct Forwarded {
    address: Box<str>,
    scheme: &'static str,
}

impl Forwarded {
    /// Of a client at `address` on a connection without TLS. An IPv4 client of a dual-stack
    /// listener is written as IPv4.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        let ip: IpAddr = address.ip().to_canonical();
        Self { address: ip.to_string().into_boxed_str(), scheme: "http" }
    }
}

/// Prepares `head` for the endpoint.
pub(super) fn prepare(head: &mut RequestHead, forwarded: &Forwarded, request_id: &[u8; 32]) {
    strip_hop_by_hop(&mut head.headers);
    let headers = &mut head.headers;
    headers.append_list(HeaderId::XForwardedFor, forwarded.address.as_bytes());
    headers.set(HeaderId::XForwardedProto, forwarded.scheme.as_bytes());
    head.set_forwarded_host();
    head.headers.set(HeaderId::XRequestId, request_id);
}
