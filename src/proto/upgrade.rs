//! The protocols that an Upgrade field names, RFC 9110 7.8.
//!
//! Whether a head asks for an upgrade at all is known by its `upgrade()`, which looks at Connection
//! and the version too. Names are compared without regard to case, as the registry has it (RFC 9110
//! 16.7).

use crate::head::{Span, is_token, trimmed};

/// The protocols that a value of Upgrade names, as they are written; members that are no protocol
/// are left out.
pub fn protocols(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trimmed).filter(|name| is_protocol(name))
}

/// The first protocol that `list`, a value of Upgrade among `bytes`, names and `allows` lets pass;
/// an empty span if there is none.
pub(crate) fn first(bytes: &[u8], list: Span, allows: impl Fn(&[u8]) -> bool) -> Span {
    let value = list.of(bytes);
    let Some(found) = protocols(value).find(|name| allows(name)) else { return Span::EMPTY };
    let offset = found.as_ptr().addr() - value.as_ptr().addr();
    Span::new(list.start() + offset, found.len())
}

/// Whether this names a protocol: `token [ "/" token ]`.
#[must_use]
pub fn is_protocol(name: &[u8]) -> bool {
    let mut parts = name.splitn(2, |byte| *byte == b'/');
    parts.all(is_token)
}

/// Whether two names are of the same protocol.
#[must_use]
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Whether a 101 with this value of Upgrade agrees to the protocol that was asked for, and to nothing
/// else.
#[must_use]
pub fn agrees(upgrade: Option<&[u8]>, asked: Option<&[u8]>) -> bool {
    let (Some(asked), Some(agreed)) = (asked, upgrade) else { return false };
    let mut agreed = protocols(agreed);
    agreed.next().is_some_and(|it| is_same(it, asked)) && agreed.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::parse_response;
    use crate::head::{Method, ResponseHead};

    #[test]
    fn a_protocol_is_a_token_with_or_without_a_version() {
        for name in ["websocket", "HTTP/2.0", "IRC/6.9", "x-own"] {
            assert!(is_protocol(name.as_bytes()), "{name}");
        }
        for name in ["", "/", "a/", "/a", "a/b/c", "a b", "a;b", "web\u{e9}"] {
            assert!(!is_protocol(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn the_members_of_a_list_come_in_order_and_nonsense_is_left_out() {
        let of = |value: &'static str| {
            protocols(value.as_bytes()).map(|it| str::from_utf8(it).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(of("websocket"), ["websocket"]);
        assert_eq!(of(" h2c ,\tWebSocket,, a b,HTTP/2.0"), ["h2c", "WebSocket", "HTTP/2.0"]);
        assert!(of("").is_empty());
        assert!(is_same(b"WebSocket", b"websocket"));
    }

    #[test]
    fn a_101_agrees_to_what_was_asked_for_and_to_nothing_else() {
        for (fields, asked, agreed) in [
            ("Connection: Upgrade\r\nUpgrade: websocket\r\n", Some("WebSocket"), true),
            ("Connection: Upgrade\r\nUpgrade: websocket\r\n", None, false),
            ("Connection: Upgrade\r\nUpgrade: h2c\r\n", Some("websocket"), false),
            ("Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", Some("websocket"), false),
            ("Upgrade: websocket\r\n", Some("websocket"), false),
            ("Connection: Upgrade\r\n", Some("websocket"), false),
        ] {
            let mut head = ResponseHead::new();
            let text = format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n");
            parse_response(text.as_bytes(), 100, Method::Get, &mut head).unwrap();
            assert_eq!(
                agrees(head.upgrade(), asked.map(str::as_bytes)),
                agreed,
                "{fields} {asked:?}"
            );
        }
    }
}
