//! The fields of a message that end at this hop, and those that are made anew for the next one: RFC
//! 9110 7.6.1 and 10.1.4.
//!
//! Call these before the gateway and its filters add their own fields: then no client can take away
//! `x-forwarded-for`, or a field that a filter wrote about it, by naming it in Connection. An upgrade
//! is asked for and agreed to anew by facts of the head ([`RequestHead::ask_to_switch`],
//! [`ResponseHead::tell_of_switch`]); encoding writes it, as it writes framing.
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
        && head.version != Version::Http10
        && lists_trailers(&head.headers);
    strip(&mut head.headers);
    if takes_trailers {
        head.headers.push(HeaderId::Te, b"trailers");
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
    use crate::h1::{
        Persist, encode_request, encode_response, encoded_len_max, parse_request, parse_response,
    };
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
        let asked = "Connection: upgrade, te\r\nUpgrade: a,, b ,c\r\nTE: trailers\r\n";
        for (fields, allowed, expected) in [
            (asked, "b", "TE: trailers\r\nconnection: te, upgrade\r\nupgrade: b\r\n"),
            (asked, "d", "TE: trailers\r\nconnection: te\r\n"),
            ("Connection: upgrade\r\nUpgrade: b\r\n", "b", "connection: upgrade\r\nupgrade: b\r\n"),
            ("Connection: upgrade\r\nUpgrade: b\r\n", "d", ""),
        ] {
            let mut head = request(fields);
            pass_request(&mut head);
            head.ask_to_switch(|protocol| protocol == allowed.as_bytes());
            let mut out = vec![0; encoded_len_max(&head.headers)];
            let len = encode_request(&head, head.length, &mut out).unwrap();
            let expected = format!("GET / HTTP/1.1\r\nHost: a\r\n{expected}\r\n");
            assert_eq!(str::from_utf8(&out[..len]).unwrap().replace("te: t", "TE: t"), expected);
        }
    }

    #[test]
    fn a_switch_is_told_in_the_name_that_the_client_has_used() {
        let text =
            "HTTP/1.1 101 A\r\nConnection: x, upgrade\r\nX: b\r\nUpgrade: , WebSocket\r\n\r\n";
        let mut head = ResponseHead::new();
        parse_response(text.as_bytes(), 100, Method::Get, &mut head).unwrap();
        pass_interim(&mut head);
        head.tell_of_switch(b"websocket");
        let mut out = vec![0; encoded_len_max(&head.headers)];
        let len =
            encode_response(&head, head.length, Persist::KeepAlive, Version::Http11, &mut out);
        assert_eq!(
            str::from_utf8(&out[..len.unwrap()]).unwrap(),
            "HTTP/1.1 101 A\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
        );
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
