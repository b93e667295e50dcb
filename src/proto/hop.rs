//! The fields of a message that end at this hop, and those that are made anew for the next one: RFC
//! 9110 7.6.1 and 10.1.4.
//!
//! Call these before the gateway and its filters add their own fields: then no client can take away
//! `x-forwarded-for`, or a field that a filter wrote about it, by naming it in Connection. An upgrade
//! is asked for and agreed to anew, see [`switch_to`]; framing is written by encoding.
//!
//! Content-Length stays in the table, so that filters can read it and a response to HEAD keeps it.
//! That does no harm: encoding writes the framing that it is told, and skips the field wherever the
//! two could meet. Persistence, upgrade and the body's length are facts of the head, and survive the
//! removal of the fields. In the same way encoding skips Trailer where the framing has no trailers.

use crate::head::{HeaderId, Headers, IdSet, RequestHead, ResponseHead, Version, trimmed};

/// Fields that every gateway removes: those that RFC 9110 7.6.1 lists, and HTTP2-Settings (RFC 7540
/// 3.2.1).
///
/// Proxy-Authenticate and Proxy-Authorization are not among them: RFC 9110 11.7 lets a gateway pass
/// them on, and an endpoint that is itself a proxy needs them. Expect and Trailer are end-to-end.
const REMOVED: IdSet = IdSet::of([
    HeaderId::Connection,
    HeaderId::KeepAlive,
    HeaderId::ProxyConnection,
    HeaderId::Te,
    HeaderId::TransferEncoding,
    HeaderId::Upgrade,
    HeaderId::Http2Settings,
]);

/// Fields that Connection cannot remove: they say whom the message is for, how long it is, and which
/// gateways it has passed (RFC 8586 2).
const KEPT: IdSet = IdSet::of([HeaderId::Host, HeaderId::ContentLength, HeaderId::CdnLoop]);

/// Takes the fields off a request that end here. A client that takes trailers (`TE: trailers`) is
/// said to do so to the endpoint too: the response's trailers are passed on to it.
#[inline]
pub fn pass_request(head: &mut RequestHead) {
    // A client that speaks 1.0 reads no chunks, and so no trailers.
    let takes_trailers = head.headers.contains(HeaderId::Te)
        && head.version == Version::Http11
        && lists_trailers(&head.headers);
    strip(&mut head.headers);
    if takes_trailers {
        head.headers.push(HeaderId::Te, b"trailers");
        head.headers.push(HeaderId::Connection, b"te");
    }
}

/// Takes the fields off a final response that end here.
#[inline]
pub fn pass_response(head: &mut ResponseHead) {
    strip(&mut head.headers);
}

/// Takes the fields off a 1xx response that end here. It has no body, and so no trailers.
pub fn pass_interim(head: &mut ResponseHead) {
    strip(&mut head.headers);
    head.headers.remove(HeaderId::Trailer);
}

/// Puts an upgrade to `protocol` on a message that was passed: asks for it in a request, agrees to
/// it in a response (RFC 9110 7.8).
pub fn switch_to(headers: &mut Headers, protocol: &[u8]) {
    headers.append_list(HeaderId::Connection, b"upgrade");
    headers.push(HeaderId::Upgrade, protocol);
}

/// Removes the fields that are for this connection only, and those that Connection lists.
#[inline]
fn strip(headers: &mut Headers) {
    if headers.present().has(HeaderId::Connection) {
        headers.remove_listed(HeaderId::Connection, KEPT);
    }
    headers.remove_all(REMOVED);
}

/// Whether TE lists `trailers`. The other members are transfer codings, which end here.
fn lists_trailers(headers: &Headers) -> bool {
    headers.all(HeaderId::Te).any(|value| {
        let mut members = value.split(|byte| *byte == b',').map(trimmed);
        members.any(|member| member.eq_ignore_ascii_case(b"trailers"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::{parse_request, parse_response};
    use crate::head::Method;

    fn names(headers: &Headers) -> Vec<&str> {
        headers.iter().map(|(_, name, _)| str::from_utf8(name).unwrap()).collect()
    }

    fn request(fields: &str) -> RequestHead {
        let mut head = RequestHead::new();
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        parse_request(text.as_bytes(), 100, &mut head).unwrap();
        head
    }

    #[test]
    fn connection_does_not_remove_the_fields_that_a_message_needs() {
        let mut head = request(
            "Connection: host, content-length, cdn-loop, x-a\r\nContent-Length: 0\r\n\
             CDN-Loop: b\r\nX-A: c\r\n",
        );
        pass_request(&mut head);
        assert_eq!(names(&head.headers), ["Host", "Content-Length", "CDN-Loop"]);
    }

    #[test]
    fn an_upgrade_is_asked_for_beside_trailers() {
        let mut head = request("Connection: upgrade, te\r\nUpgrade: a, b\r\nTE: trailers\r\n");
        pass_request(&mut head);
        switch_to(&mut head.headers, b"b");
        assert_eq!(names(&head.headers), ["Host", "te", "connection", "upgrade"]);
        assert_eq!(head.headers.get(HeaderId::Connection), Some(&b"te, upgrade"[..]));
        assert_eq!(head.headers.get(HeaderId::Upgrade), Some(&b"b"[..]));
    }

    #[test]
    fn an_interim_response_has_no_trailers() {
        let text = "HTTP/1.1 103 Early Hints\r\nTrailer: a\r\nLink: b\r\nConnection: close\r\n\r\n";
        for (interim, left) in [(true, vec!["Link"]), (false, vec!["Trailer", "Link"])] {
            let mut head = ResponseHead::new();
            parse_response(text.as_bytes(), 100, Method::Get, &mut head).unwrap();
            if interim {
                pass_interim(&mut head);
            } else {
                pass_response(&mut head);
            }
            assert_eq!(names(&head.headers), left);
        }
    }
}
