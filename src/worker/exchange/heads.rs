//! Stage 9, respond: the fields that every response head loses and gets before it goes to the
//! client. Whether it is a proxied response, an interim one, the 101 of an upgrade or a reply of the
//! gateway itself, it passes here and nowhere else.

use proto::date::Date;
use proto::head::{HeaderId, ResponseHead};
use proto::hop;

/// Which kind of response a head begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum ResponseKind<'a> {
    /// The final response of an endpoint.
    Final,
    /// A 1xx response of an endpoint, behind which the final one follows.
    Interim,
    /// The 101 of an endpoint that switches to this protocol.
    Switch(&'a [u8]),
    /// A reply of the gateway.
    Reply,
}

/// Makes a head ready for the client. `date` writes the date of now.
///
/// A final response without Date gets one (RFC 9110 6.6.1: a recipient with a clock adds it). A 1xx
/// gets nothing: it says that something is under way, and the final response says the rest.
#[inline]
pub(super) fn finish(head: &mut ResponseHead, kind: ResponseKind<'_>, date: impl FnOnce() -> Date) {
    match kind {
        ResponseKind::Final => hop::pass_response(head),
        ResponseKind::Interim => return hop::pass_interim(head),
        ResponseKind::Switch(protocol) => {
            hop::pass_interim(head);
            return head.tell_of_switch(protocol);
        }
        ResponseKind::Reply => {}
    }
    if !head.headers.contains(HeaderId::Date) {
        head.headers.push(HeaderId::Date, &date());
    }
}
