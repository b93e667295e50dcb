//! Upgrades, RFC 9110 sections 7.8 and 15.2.2: which protocol a client may ask an endpoint for, and
//! what comes of the endpoint's consent.
//!
//! An upgrade ends at this hop, like all that is for one connection. It is asked for anew, for one
//! protocol that the route allows; everything else is a plain request. The sides say so in the way
//! of their protocols. So a 101 is
//! sound only where it was asked for, and only for what was asked for. Any other response of the endpoint
//! is an ordinary response, and the client's connection goes on with its next request.

use engine::snapshot::Upgrades;
use proto::head::{BodySize, RequestHead, ResponseHead};

use super::{End, Exchange, heads};
use crate::net::Net;
use crate::side::ResponseSink;

/// Asks the endpoint for the first protocol that the client names and the route allows, in a head
/// from which the fields of this hop were removed.
///
/// The other protocol begins behind the body of the request (RFC 9110 section 7.8), so the body goes
/// first, and the head must say where it ends.
pub(super) fn ask(head: &mut RequestHead, allowed: &Upgrades) {
    if matches!(head.body_size(), BodySize::None | BodySize::Known(_)) {
        head.ask_to_switch(|protocol| allowed.allow(protocol));
    }
}

/// The endpoint has agreed: tells the client.
pub(super) async fn accept<N: Net, K: ResponseSink>(
    exchange: &Exchange<'_, N>,
    sink: &mut K,
    protocol: &[u8],
    response: &mut ResponseHead,
) -> Result<(), End> {
    heads::finish(response, heads::ResponseKind::Switch(protocol), || exchange.core.date());
    exchange.notes.status.set(response.status);
    sink.interim(response).await.map_err(|_| End::ClientGone)
}

#[cfg(test)]
mod tests {
    use proto::h1::parse_request;

    use super::*;

    fn request(fields: &str) -> RequestHead {
        let mut head = RequestHead::new();
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        parse_request(text.as_bytes(), 100, &mut head).unwrap();
        head
    }

    #[test]
    fn the_first_protocol_that_the_route_allows_is_asked_for() {
        let both = Upgrades::Listed(["websocket".into(), "x/1".into()].into());
        let none = Upgrades::Listed(Box::default());
        for (fields, allowed, asked) in [
            ("Connection: Upgrade\r\nUpgrade: WebSocket\r\n", &Upgrades::WebSocket, "WebSocket"),
            ("Connection: Upgrade\r\nUpgrade: h2c, X/1, websocket\r\n", &both, "X/1"),
            ("Connection: Upgrade\r\nUpgrade: h2c\r\n", &both, ""),
            ("Connection: Upgrade\r\nUpgrade: websocket\r\n", &none, ""),
            ("Upgrade: websocket\r\n", &both, ""),
            ("Connection: Upgrade\r\n", &both, ""),
            (
                "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n",
                &both,
                "websocket",
            ),
            (
                "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 29\r\n",
                &both,
                "websocket",
            ),
            (
                "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
                &both,
                "",
            ),
        ] {
            let mut head = request(fields);
            ask(&mut head, allowed);
            assert_eq!(head.switch_to().unwrap_or_default(), asked.as_bytes(), "{fields}");
        }
    }
}
