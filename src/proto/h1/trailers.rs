//! Trailer fields, RFC 9110 6.5 and RFC 9112 7.1.2.

use super::{diagnose, fields};
use crate::head::{HeaderId, Headers, IdSet, MessageKind};
use crate::violation::Violation;

/// The most bytes of a trailer section. Trailers carry checksums and status; gRPC's fit in 1 KiB.
pub const TRAILER_BYTES_MAX: usize = 8 << 10;

/// The most trailer fields: bounds the table, as `headers_max` does for heads.
pub const TRAILERS_MAX: usize = 64;

/// Fields that a trailer section may not have, RFC 9110 6.5.1: those that frame, route,
/// authenticate, or say how to read the content. Somebody behind us may merge trailers into the
/// head, where these would have been checked.
pub(crate) const FORBIDDEN_IN_TRAILERS: IdSet = IdSet::of([
    HeaderId::Host,
    HeaderId::Connection,
    HeaderId::KeepAlive,
    HeaderId::ProxyConnection,
    HeaderId::ProxyAuthenticate,
    HeaderId::ProxyAuthorization,
    HeaderId::ContentLength,
    HeaderId::TransferEncoding,
    HeaderId::Te,
    HeaderId::Trailer,
    HeaderId::Upgrade,
    HeaderId::Expect,
    HeaderId::MaxForwards,
    HeaderId::XForwardedFor,
    HeaderId::XForwardedProto,
    HeaderId::XForwardedHost,
    HeaderId::XForwardedPort,
    HeaderId::Forwarded,
    HeaderId::XRealIp,
    HeaderId::ContentType,
    HeaderId::ContentEncoding,
    HeaderId::ContentRange,
    HeaderId::Authorization,
    HeaderId::WwwAuthenticate,
    HeaderId::CacheControl,
    HeaderId::Cookie,
    HeaderId::SetCookie,
    HeaderId::Range,
]);

/// Parses a trailer section: field lines and the empty line.
///
/// Forbidden fields are dropped from a response: RFC 9110 6.5.1 lets a recipient ignore them, and a
/// server that appends its Set-Cookie too late means no harm. In a request they are refused.
pub(super) fn parse(section: &[u8], kind: MessageKind) -> Result<Headers, Violation> {
    let mut trailers = Headers::new();
    match fields::read(section, 0, TRAILERS_MAX, &mut trailers) {
        // In a response, the fields that could be at fault here are dropped below.
        Some((len, _)) if len == section.len() && kind == MessageKind::Response => {}
        Some((len, notes)) if len == section.len() => notes.checked().map(drop)?,
        // Faults of line ends and of the number keep their names. The others are one cause.
        _ => match diagnose::fields(section, TRAILERS_MAX) {
            fault @ (Violation::BareCr | Violation::BareLf | Violation::TooManyHeaders) => {
                return Err(fault);
            }
            _ => return Err(Violation::TrailerMalformed),
        },
    }
    trailers.load(section);
    match kind {
        MessageKind::Request if trailers.present().has_any(FORBIDDEN_IN_TRAILERS) => {
            return Err(Violation::TrailerForbidden);
        }
        MessageKind::Request => {}
        MessageKind::Response => drop(trailers.remove_all(FORBIDDEN_IN_TRAILERS)),
    }
    Ok(trailers)
}
