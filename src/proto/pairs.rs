//! Names and values inside of a `Cookie` header and of a query: `a=b; c=d` and `a=b&c=d`.
//!
//! Both are lists of pairs by custom. A gateway looks for one pair and leaves all others as they
//! are, so nothing here is an error: a piece without `=` has no value. Names and values are compared
//! as they were sent, without decoding.

use crate::head::{HeaderId, Headers};

/// The value of the first cookie of this name, RFC 6265 section 4.2.
#[must_use]
pub fn cookie<'h>(headers: &'h Headers, name: &[u8]) -> Option<&'h [u8]> {
    let mut pairs =
        headers.all(HeaderId::Cookie).flat_map(|value| value.split(|byte| *byte == b';'));
    pairs.find_map(|pair| value_of(pair.trim_ascii(), name))
}

/// The value of the first parameter of this name in a query.
#[must_use]
pub fn parameter<'q>(query: &'q [u8], name: &[u8]) -> Option<&'q [u8]> {
    query.split(|byte| *byte == b'&').find_map(|pair| value_of(pair, name))
}

fn value_of<'p>(pair: &'p [u8], name: &[u8]) -> Option<&'p [u8]> {
    pair.strip_prefix(name)?.strip_prefix(b"=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_in_any_line() {
        let mut headers = Headers::new();
        headers.push(HeaderId::Cookie, b"a=1; route=x=y ;b");
        headers.push(HeaderId::Cookie, b"c=3;a=4");
        for (name, value) in [
            ("a", Some("1")),
            ("route", Some("x=y")),
            ("c", Some("3")),
            ("b", None),
            ("rout", None),
            ("A", None),
        ] {
            assert_eq!(cookie(&headers, name.as_bytes()), value.map(str::as_bytes), "{name}");
        }
        assert_eq!(cookie(&Headers::new(), b"a"), None);
    }

    #[test]
    fn a_parameter_is_found_as_it_was_sent() {
        let query = b"a=1&bc=%20&d&e=&a=2";
        for (name, value) in
            [("a", Some("1")), ("bc", Some("%20")), ("b", None), ("d", None), ("e", Some(""))]
        {
            assert_eq!(parameter(query, name.as_bytes()), value.map(str::as_bytes), "{name}");
        }
        assert_eq!(parameter(b"", b"a"), None);
    }
}
