//! The facts of a request that decisions look at, and its values by name: query parameters, cookies.
//!
//! A name may be there several times. The first value counts: RFC 9110 and RFC 6265 leave the choice
//! open, and one that is fixed lets two routes exclude each other.
//!
//! Invariant: nothing here allocates, but for an encoded value of the query that is longer than
//! [`DECODED_BYTES`].

use proto::head::{HeaderId, Headers, RequestHead};

use crate::address::ClientAddress;

/// The id of a listener, the same in every version for as long as it stays bound to the same address.
/// No other listener ever gets it, not even the same one after a version without it. See
/// [`Identities`](crate::snapshot::Identities).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u32);

/// The facts of a request that routes look at.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'r> {
    /// The listener that it came in at.
    pub listener: ListenerId,
    /// Its client.
    pub client: ClientAddress,
    /// The host as sent, without port; empty when there is none.
    pub host: &'r [u8],
    /// The path in the form of the listener, without query.
    pub path: &'r [u8],
    /// The query without its question mark.
    pub query: Option<&'r [u8]>,
    /// The method as sent.
    pub method: &'r [u8],
    /// Its header fields.
    pub headers: &'r Headers,
}

impl<'r> RequestFacts<'r> {
    /// The facts of a request from `client` that came in at `listener`.
    #[must_use]
    #[inline]
    pub fn of(head: &'r RequestHead, listener: ListenerId, client: ClientAddress) -> Self {
        Self {
            listener,
            client,
            host: head.host(),
            path: head.path(),
            query: head.query(),
            method: head.method_bytes(),
            headers: &head.headers,
        }
    }
}

/// Asks about the first value of a query parameter, with its percent-encoding and plus signs decoded;
/// `None` where there is no such parameter.
pub fn with_query_value<T>(
    query: Option<&[u8]>,
    name: &str,
    ask: impl FnOnce(Option<&[u8]>) -> T,
) -> T {
    let pairs = query.unwrap_or_default().split(|&byte| byte == b'&');
    let found = pairs.filter(|pair| !pair.is_empty()).map(split_pair).find(|(key, _)| {
        let mut decoded = decode(key);
        name.bytes().all(|byte| decoded.next() == Some(byte)) && decoded.next().is_none()
    });
    let Some((_, value)) = found else { return ask(None) };
    if !value.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return ask(Some(value));
    }
    if value.len() > DECODED_BYTES {
        let long: Vec<u8> = decode(value).collect();
        return ask(Some(&long));
    }
    let mut buf = [0; DECODED_BYTES];
    let mut len = 0;
    for (place, byte) in buf.iter_mut().zip(decode(value)) {
        *place = byte;
        len += 1;
    }
    ask(buf.get(..len))
}

/// Longer values of a query that are percent-encoded are decoded in memory of their own.
const DECODED_BYTES: usize = 512;

/// The name and the value of `name=value`. Without "=", the value is empty.
fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|&byte| byte == b'=') {
        Some(at) => (pair.get(..at).unwrap_or_default(), pair.get(at + 1..).unwrap_or_default()),
        None => (pair, &[]),
    }
}

/// The bytes that a part of a query stands for. A percent sign without two hex digits is itself.
fn decode(text: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (&first, behind) = rest.split_first()?;
        let octet = match (first, behind) {
            (b'%', [high, low, ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                digit(high)
                    .zip(digit(low))
                    .and_then(|(high, low)| u8::try_from(high * 16 + low).ok())
            }
            _ => None,
        };
        rest = if octet.is_some() { behind.get(2..).unwrap_or_default() } else { behind };
        Some(octet.unwrap_or(if first == b'+' { b' ' } else { first }))
    })
}

/// The first cookie with this name (RFC 6265 section 4.2). Case counts.
#[must_use]
pub fn cookie<'h>(headers: &'h Headers, name: &str) -> Option<&'h [u8]> {
    headers
        .all(HeaderId::Cookie)
        .flat_map(|field| field.split(|&byte| byte == b';'))
        .map(|pair| split_pair(pair.trim_ascii()))
        .find_map(|(key, value)| (key == name.as_bytes()).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_of_a_parameter_counts_and_is_decoded() {
        let long = format!("a={}%21", "x".repeat(DECODED_BYTES));
        let decoded = format!("{}!", "x".repeat(DECODED_BYTES));
        for (query, expected) in [
            ("a=1&a=2", Some("1")),
            ("b=1&a", Some("")),
            ("b=1&&a=", Some("")),
            ("%61=x%20y+z", Some("x y z")),
            ("a=%zz%4", Some("%zz%4")),
            ("a=b=c", Some("b=c")),
            ("aa=1&A=2", None),
            ("", None),
            (&long, Some(&decoded)),
        ] {
            with_query_value(Some(query.as_bytes()), "a", |value| {
                assert_eq!(value, expected.map(str::as_bytes), "{query}");
            });
        }
        with_query_value(None, "a", |value| assert_eq!(value, None));
    }

    #[test]
    fn a_cookie_is_found_in_any_field_and_the_first_one_counts() {
        let mut headers = Headers::new();
        headers.push(HeaderId::Cookie, b"x=1; a=2;a=3");
        headers.push(HeaderId::Cookie, b"b=\"4\"; c");
        for (name, expected) in
            [("x", Some("1")), ("a", Some("2")), ("b", Some("\"4\"")), ("c", Some("")), ("A", None)]
        {
            assert_eq!(cookie(&headers, name), expected.map(str::as_bytes), "{name}");
        }
    }
}
