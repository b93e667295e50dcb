//! Stage 5, admit: the fields that the gateway takes off a request's head, and those that it adds.
//!
//! Order matters: hop-by-hop headers go first, so that a client cannot have our own headers removed
//! by naming them in `Connection` (RFC 9110 section 7.6.1).
//!
//! Only a trusted proxy is believed about the client (see [`caller`](super::caller)): then the chains
//! (`X-Forwarded-For`, `Forwarded`, RFC 7239) grow by a member, and `X-Forwarded-Proto`, `-Host` and
//! `-Port` stay as they came if they are sound. Where one is missing, the gateway adds nothing that
//! contradicts the others. Anybody else's fields are dropped, and the gateway writes its own.

use std::io::Write;
use std::net::IpAddr;

use engine::address::ClientAddress;
use engine::hops;
use engine::reason::Reason;
use engine::snapshot::Route;
use proto::head::{HeaderId, Headers, RequestHead};
use proto::hop;
use proto::uri::check_authority;

use super::caller::only;
use super::{End, Exchange, upgrade};
use crate::net::Net;
use crate::tls::session::TlsInfo;

/// The fields that tell endpoints of a client's connection; written out once per connection.
#[derive(Debug)]
pub struct Forwarded {
    /// `X-Forwarded-For`, `-Proto` and `-Port`, the first and the last where they are known; and the
    /// gateway's member of `CDN-Loop`.
    lines: Headers,
    /// The handshake of the connection, if it has TLS.
    pub(super) tls: Option<TlsInfo>,
}

impl Forwarded {
    /// Of a client at `address` that connected to `port`, over `tls` or without it.
    #[must_use]
    pub fn new(address: ClientAddress, port: Option<u16>, tls: Option<TlsInfo>) -> Self {
        let mut lines = Headers::new();
        let scheme = if tls.is_some() { "https" } else { "http" };
        if let Some(ip) = address.ip() {
            lines.push(HeaderId::XForwardedFor, ip.to_string().as_bytes());
        }
        lines.push(HeaderId::XForwardedProto, scheme.as_bytes());
        if let Some(port) = port {
            lines.push(HeaderId::XForwardedPort, port.to_string().as_bytes());
        }
        lines.push(HeaderId::CdnLoop, hops::MEMBER);
        Self { lines, tls }
    }

    fn of(&self, id: HeaderId) -> &[u8] {
        self.lines.get(id).unwrap_or_default()
    }
}

impl<N: Net> Exchange<'_, N> {
    /// Prepares `head` for the endpoint. An error where the request runs in a circle.
    pub(super) fn admit(&self, head: &mut RequestHead, route: &Route) -> Result<(), End> {
        if !hops::may_go_on(&head.headers) {
            return Err(End::Reply(Reason::LoopDetected));
        }
        hop::pass_request(head);
        if self.caller.by_proxy {
            self.add_to_what_a_proxy_says(head);
        } else {
            self.say_who_the_client_is(head);
        }
        self.put_request_id(head);
        upgrade::ask(head, &route.upgrades);
        Ok(())
    }

    /// Whether the client's connection is encrypted, as a trusted proxy says or as we see it.
    pub(super) fn is_secure(&self, head: &RequestHead) -> bool {
        let ours = self.forwarded.of(HeaderId::XForwardedProto);
        let said = head.headers.get(HeaderId::XForwardedProto).filter(|_| self.caller.by_proxy);
        said.unwrap_or(ours).eq_ignore_ascii_case(b"https")
    }

    fn say_who_the_client_is(&self, head: &mut RequestHead) {
        head.headers.remove_each([
            HeaderId::XForwardedFor,
            HeaderId::XForwardedProto,
            HeaderId::XForwardedPort,
            HeaderId::Forwarded,
            HeaderId::XRealIp,
        ]);
        head.headers.append_all(&self.forwarded.lines);
        head.set_forwarded_host();
    }

    fn add_to_what_a_proxy_says(&self, head: &mut RequestHead) {
        head.headers.push(HeaderId::CdnLoop, hops::MEMBER);
        let address = self.forwarded.of(HeaderId::XForwardedFor);
        let has_proto = all_sound(head, HeaderId::XForwardedProto, is_scheme);
        // Before our own element is added to `Forwarded`.
        let scheme = if has_proto { None } else { scheme_said(head) };
        let says_scheme = has_proto || scheme.is_some();
        if head.headers.contains(HeaderId::Forwarded) {
            let scheme = self.forwarded.of(HeaderId::XForwardedProto);
            let element = element(address, head.authority(), scheme);
            head.headers.append_list(HeaderId::Forwarded, &element);
        }
        if !address.is_empty() {
            head.headers.append_list(HeaderId::XForwardedFor, address);
        }
        let has_host = only(head, HeaderId::XForwardedHost).is_some_and(is_authority);
        let has_port = only(head, HeaderId::XForwardedPort).is_some_and(is_port);
        if !has_proto {
            let scheme =
                scheme.as_deref().unwrap_or_else(|| self.forwarded.of(HeaderId::XForwardedProto));
            head.headers.set(HeaderId::XForwardedProto, scheme);
        }
        if !has_host {
            head.set_forwarded_host();
        }
        if !has_port {
            head.headers.remove(HeaderId::XForwardedPort);
            // Our own port is not that of the scheme and host that the proxy speaks of.
            let ours = self.forwarded.of(HeaderId::XForwardedPort);
            if !says_scheme && !has_host && !ours.is_empty() {
                head.headers.push(HeaderId::XForwardedPort, ours);
            }
        }
    }
}

/// An element of `Forwarded`, RFC 7239 section 4: the client, the host that it asks for, the scheme.
fn element(address: &[u8], authority: &[u8], scheme: &[u8]) -> Vec<u8> {
    let mut element = Vec::with_capacity(64 + authority.len());
    // Writing to a vector does not fail.
    let _ = match str::from_utf8(address).ok().and_then(|text| text.parse().ok()) {
        Some(IpAddr::V4(ip)) => write!(element, "for={ip}"),
        Some(IpAddr::V6(ip)) => write!(element, "for=\"[{ip}]\""),
        None => write!(element, "for=unknown"),
    };
    if !authority.is_empty() {
        // Checked when it was read: nothing in it ends a quoted string.
        element.extend_from_slice(b";host=\"");
        element.extend_from_slice(authority);
        element.push(b'"');
    }
    element.extend_from_slice(b";proto=");
    element.extend_from_slice(scheme);
    element
}

/// Whether there is a field of this name, and each member of all of them is sound.
fn all_sound(head: &RequestHead, id: HeaderId, is_sound: fn(&[u8]) -> bool) -> bool {
    let members =
        |value: &[u8]| value.split(|byte| *byte == b',').all(|it| is_sound(it.trim_ascii()));
    head.headers.contains(id) && head.headers.all(id).all(members)
}

/// The scheme that a proxy has said by other fields than `X-Forwarded-Proto`: in the last element of
/// `Forwarded`, which is its own, or by the port of https. `http` would contradict either.
fn scheme_said(head: &RequestHead) -> Option<Box<[u8]>> {
    let last = head.headers.all(HeaderId::Forwarded).last().unwrap_or_default();
    let element = last.rsplit(|byte| *byte == b',').next().unwrap_or_default();
    let proto = element.split(|byte| *byte == b';').find_map(|pair| {
        let (name, value) = pair.trim_ascii().split_at_checked(b"proto=".len())?;
        let value =
            value.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\"")).unwrap_or(value);
        (name.eq_ignore_ascii_case(b"proto=") && is_scheme(value)).then_some(value)
    });
    let by_port = || (only(head, HeaderId::XForwardedPort)? == b"443").then_some(&b"https"[..]);
    proto.or_else(by_port).map(Box::from)
}

/// Whether this is the name of a scheme, RFC 3986 section 3.1.
fn is_scheme(value: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    value.first().is_some_and(u8::is_ascii_alphabetic) && value.iter().all(plain)
}

fn is_authority(value: &[u8]) -> bool {
    check_authority(value).is_ok()
}

fn is_port(value: &[u8]) -> bool {
    let number = str::from_utf8(value).ok().and_then(|text| text.parse::<u16>().ok());
    value.iter().all(u8::is_ascii_digit) && number.is_some_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_of_forwarded_quotes_what_is_no_token() {
        for (address, authority, expected) in [
            ("192.0.2.1", "a", "for=192.0.2.1;host=\"a\";proto=http"),
            ("2001:db8::1", "a:80", "for=\"[2001:db8::1]\";host=\"a:80\";proto=http"),
            ("", "", "for=unknown;proto=http"),
        ] {
            let element = element(address.as_bytes(), authority.as_bytes(), b"http");
            assert_eq!(String::from_utf8(element).unwrap(), expected);
        }
    }

    #[test]
    fn a_scheme_is_named_as_uris_name_it() {
        for name in ["http", "HTTPS", "wss", "coap+tcp"] {
            assert!(is_scheme(name.as_bytes()), "{name}");
        }
        for name in ["", "1http", "ht tp", "http:", "https,http", "h\"", "\u{e9}"] {
            assert!(!is_scheme(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_port_is_plain_digits() {
        for (text, expected) in [
            ("80", true),
            ("0", false),
            ("65535", true),
            ("65536", false),
            ("+1", false),
            ("", false),
        ] {
            assert_eq!(is_port(text.as_bytes()), expected, "{text}");
        }
    }
}
