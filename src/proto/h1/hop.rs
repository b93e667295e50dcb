//! Fields that end at this hop, RFC 9110 7.6.1.

use crate::head::{HeaderId, Headers, IdSet};

/// What every gateway removes: what RFC 9110 7.6.1 lists, Trailer (the gateway frames anew and
/// decides itself whether trailers go on) and HTTP2-Settings (RFC 7540 3.2.1).
///
/// Proxy-Authenticate and Proxy-Authorization are not among them: RFC 9110 11.7 lets a gateway pass
/// them on, and an endpoint that is itself a proxy needs them. Expect is end-to-end.
const REMOVED: IdSet = IdSet::of([
    HeaderId::Connection,
    HeaderId::KeepAlive,
    HeaderId::ProxyConnection,
    HeaderId::Te,
    HeaderId::Trailer,
    HeaderId::TransferEncoding,
    HeaderId::Upgrade,
    HeaderId::Http2Settings,
]);

/// What Connection cannot remove, whoever lists it: what the message is for and how long it is.
const KEPT: IdSet = IdSet::of([HeaderId::Host, HeaderId::ContentLength]);

/// Removes the fields that are for this connection only, and those that Connection lists.
///
/// Call it before the gateway and its filters add theirs: then no client can take away
/// `x-forwarded-for`, or whatever a filter says about it, by listing the name.
///
/// Content-Length stays in the table, so that filters can read it and a response to HEAD keeps it.
/// That does no harm: encoding writes the framing that it is told, and skips the field wherever the
/// two could meet. What the head says about persistence, upgrade and the body's length survives in
/// its own fields.
#[inline]
pub fn strip_hop_by_hop(headers: &mut Headers) {
    if headers.present().has(HeaderId::Connection) {
        headers.remove_listed(HeaderId::Connection, KEPT);
    }
    headers.remove_all(REMOVED);
}
