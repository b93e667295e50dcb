//! The action that a route takes on its requests.
//!
//! Invariant: [`Redirect::location`] writes visible ASCII only, for every possible request, so no
//! client can break a header line with it.

use super::UpstreamId;
use crate::config::{LocationPart, Redirect, Reply};

/// The action that a route takes on its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send them to this upstream.
    Upstream(UpstreamId),
    /// Redirect their clients.
    Redirect(Redirect),
    /// Answer them in the gateway.
    Reply(Reply),
}

impl Redirect {
    /// Writes the value of `Location` (RFC 9110 section 10.2.2) at the end of `out`, for a request
    /// with this `host` without port (empty when there is none), `path`, and `query` without its
    /// question mark.
    ///
    /// Returns false, and writes nothing, if the location contains the request's host and the request
    /// has none: a client would read the part behind the missing host as the host.
    #[must_use]
    pub fn location(
        &self,
        host: &[u8],
        path: &[u8],
        query: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> bool {
        if host.is_empty() && self.to.parts().contains(&LocationPart::Host) {
            return false;
        }
        for part in self.to.parts() {
            match part {
                LocationPart::Text(text) => out.extend_from_slice(text.as_bytes()),
                LocationPart::Host => visible(host, out),
                // "*" (of OPTIONS) is no path. Right behind a host, it would become a part of the host.
                LocationPart::Path if !path.starts_with(b"/") => out.push(b'/'),
                LocationPart::Path => visible(path, out),
                LocationPart::Query => {
                    if let Some(query) = query {
                        out.push(b'?');
                        visible(query, out);
                    }
                }
            }
        }
        true
    }
}

/// Writes bytes of a request, and percent-encodes all but visible ASCII (RFC 3986 section 2.1). The
/// request was checked, so visible ASCII is all that it should hold.
fn visible(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        if byte.is_ascii_graphic() {
            out.push(byte);
        } else {
            out.extend([b'%', hex_digit(byte >> 4), hex_digit(byte & 15)]);
        }
    }
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::RedirectStatus;
    use crate::keys::{ItemKind, ItemText, Spanned, Value};

    fn redirect(to: &str) -> Redirect {
        let kind = ItemKind::Text(ItemText { value: to.into(), secret: false });
        Redirect {
            to: Spanned::unwritten(Value::parse(&kind).unwrap()),
            status: RedirectStatus(308),
        }
    }

    fn location(redirect: &Redirect, host: &str, path: &str, query: Option<&str>) -> String {
        let mut out = b"x".to_vec();
        assert!(redirect.location(
            host.as_bytes(),
            path.as_bytes(),
            query.map(str::as_bytes),
            &mut out
        ));
        String::from_utf8(out).unwrap().strip_prefix('x').unwrap().to_owned()
    }

    #[test]
    fn placeholders_stand_for_parts_of_the_request() {
        let redirect = redirect("https://{host}:8443{path}{query}");
        let of = |path, query| location(&redirect, "a.example", path, query);
        assert_eq!(of("/b/c", None), "https://a.example:8443/b/c");
        assert_eq!(of("/", Some("d=e")), "https://a.example:8443/?d=e");
        assert_eq!(of("//b", Some("")), "https://a.example:8443//b?");
        assert_eq!(of("*", None), "https://a.example:8443/");
    }

    #[test]
    fn a_request_without_a_host_is_not_sent_to_one() {
        let to_itself = redirect("https://{host}");
        let mut out = Vec::new();
        assert!(!to_itself.location(b"", b"/evil.example/", None, &mut out));
        assert!(out.is_empty());
        let elsewhere = redirect("/new{path}");
        assert_eq!(location(&elsewhere, "", "/x", None), "/new/x");
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_client_break_a_header_line(
            host in prop::collection::vec(any::<u8>(), 1..20),
            path in prop::collection::vec(any::<u8>(), 0..20),
            query in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        ) {
            let redirect = redirect("https://{host}{path}{query}");
            let mut out = Vec::new();
            prop_assert!(redirect.location(&host, &path, query.as_deref(), &mut out));
            prop_assert!(out.iter().all(u8::is_ascii_graphic), "{:?}", out);
        }
    }
}
