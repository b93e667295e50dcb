//! The places in a request where a credential may stand.

use std::borrow::Cow;

use proto::head::{Headers, RequestHead, is_token};

use crate::keys::{ItemKind, Mistake, Shape, Value, Written};

/// A place in a request where a credential may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialPlace {
    /// The `Authorization` header with the scheme `Bearer` (RFC 6750 section 2.1).
    Bearer,
    /// The header of this name, in lower case.
    Header(Box<str>),
    /// The cookie of this name.
    Cookie(Box<str>),
}

/// The credentials of one kind in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials<'h> {
    /// There is none.
    None,
    /// There is this one.
    One(&'h [u8]),
    /// There are several. Which one counts would be a guess, so none does.
    Several,
}

const AUTHORIZATION: &[u8] = b"authorization";
const COOKIE: &[u8] = b"cookie";
const BEARER: &[u8] = b"bearer";

impl CredentialPlace {
    /// The credentials at all of these places together. The same value twice is two credentials.
    #[must_use]
    pub fn credentials<'h>(places: &[Self], head: &'h RequestHead) -> Credentials<'h> {
        let mut found = Credentials::None;
        for place in places {
            place.each(&head.headers, |value| {
                found = match found {
                    Credentials::None => Credentials::One(value),
                    Credentials::One(_) | Credentials::Several => Credentials::Several,
                };
            });
        }
        found
    }

    /// Calls `take` with each credential at this place.
    fn each<'h>(&self, headers: &'h Headers, take: impl FnMut(&'h [u8])) {
        match self {
            Self::Bearer => headers.all_named(AUTHORIZATION).filter_map(bearer).for_each(take),
            Self::Header(name) => headers.all_named(name.as_bytes()).for_each(take),
            Self::Cookie(name) => {
                let pairs = headers.all_named(COOKIE).flat_map(pairs);
                pairs.filter_map(|pair| cookie_value(pair, name)).for_each(take);
            }
        }
    }

    /// Takes the credentials at this place out of a request. Other cookies stay, and so do other
    /// schemes of `Authorization`.
    pub fn remove(&self, headers: &mut Headers) {
        match self {
            Self::Bearer => keep(headers, AUTHORIZATION, |value| {
                bearer(value).is_none().then(|| value.to_vec())
            }),
            Self::Header(name) => {
                headers.remove_named(name.as_bytes());
            }
            Self::Cookie(name) => keep(headers, COOKIE, |value| {
                let others = pairs(value).filter(|pair| cookie_value(pair, name).is_none());
                let others: Vec<&[u8]> = others.filter(|pair| !pair.is_empty()).collect();
                (!others.is_empty()).then(|| others.join(&b"; "[..]))
            }),
        }
    }
}

/// Puts the lines of a header through `keep`, if there are any.
fn keep(headers: &mut Headers, name: &[u8], keep: impl FnMut(&[u8]) -> Option<Vec<u8>>) {
    let kept: Vec<Vec<u8>> = headers.all_named(name).filter_map(keep).collect();
    headers.remove_named(name);
    kept.iter().for_each(|value| headers.push_named(name, value));
}

/// The token of an `Authorization` with the scheme `Bearer`. The case of a scheme does not matter (RFC
/// 9110 section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(BEARER.len())?;
    match rest.first() {
        None | Some(b' ' | b'\t') if scheme.eq_ignore_ascii_case(BEARER) => Some(rest.trim_ascii()),
        _ => None,
    }
}

fn pairs(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii)
}

fn cookie_value<'p>(pair: &'p [u8], name: &str) -> Option<&'p [u8]> {
    pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

impl Value for CredentialPlace {
    fn expected() -> Cow<'static, str> {
        "\"header:NAME\" or \"cookie:NAME\"".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "place of a credential", pattern: Some("^(header|cookie):.+$") }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = &*kind.text().ok_or(Mistake::KIND)?.value;
        match text.split_once(':') {
            Some(("query", name)) => {
                let what = "a credential in a query would stand in logs";
                Err(Mistake::with_cure(what, format!("write \"header:x-{name}\"")))
            }
            Some((_, name)) if !is_token(name.as_bytes()) => {
                Err(Mistake::value(format!("\"{name}\" is no name of a header or a cookie")))
            }
            Some(("header", name)) if name.as_bytes().eq_ignore_ascii_case(AUTHORIZATION) => {
                Ok(Self::Bearer)
            }
            Some(("header", name)) if name.as_bytes().eq_ignore_ascii_case(COOKIE) => {
                let what = "the header holds several cookies";
                Err(Mistake::with_cure(what, "write \"cookie:NAME\""))
            }
            // Case does not matter in the name of a header.
            Some(("header", name)) => Ok(Self::Header(name.to_ascii_lowercase().into())),
            Some(("cookie", name)) => Ok(Self::Cookie(name.into())),
            _ => Err(Mistake::value(format!("\"{text}\" is no place of a credential"))),
        }
    }

    fn write(&self) -> Written {
        Written::text(match self {
            Self::Bearer => "header:authorization".to_owned(),
            Self::Header(name) => format!("header:{name}"),
            Self::Cookie(name) => format!("cookie:{name}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &str) -> RequestHead {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut head = RequestHead::new();
        proto::h1::parse_request(text.as_bytes(), 100, &mut head).unwrap();
        head
    }

    fn places() -> [CredentialPlace; 3] {
        use CredentialPlace::{Bearer, Cookie, Header};
        [Bearer, Header("x-key".into()), Cookie("id".into())]
    }

    #[test]
    fn one_credential_is_found_at_any_place_and_two_are_too_many() {
        for (fields, found) in [
            ("", Credentials::None),
            ("X-KEY: a\r\n", Credentials::One(b"a")),
            ("X-Key:\r\n", Credentials::One(b"")),
            ("Authorization: Bearer a.b\r\n", Credentials::One(b"a.b")),
            ("Authorization: bEARER  a \r\n", Credentials::One(b"a")),
            ("Authorization: Bearer\r\n", Credentials::One(b"")),
            ("Authorization: Basic a\r\n", Credentials::None),
            ("Authorization: Bearera\r\n", Credentials::None),
            ("Authorization: Bea\r\n", Credentials::None),
            ("Cookie: a=b; id=c; d\r\n", Credentials::One(b"c")),
            ("Cookie: idx=c; ID=d; id\r\n", Credentials::None),
            ("Cookie: id=a; id=a\r\n", Credentials::Several),
            ("Cookie: id=a\r\nCookie: id=b\r\n", Credentials::Several),
            ("X-Key: a\r\nx-key: a\r\n", Credentials::Several),
            ("X-Key: a\r\nAuthorization: Bearer a\r\n", Credentials::Several),
        ] {
            let head = head(fields);
            assert_eq!(CredentialPlace::credentials(&places(), &head), found, "{fields}");
        }
    }

    #[test]
    fn a_credential_is_removed_and_others_stay() {
        let mut head = head(
            "X-Key: a\r\nAuthorization: Bearer a\r\nAuthorization: Basic b\r\nCookie: a=b; id=c;d\r\n\
             Cookie: id=e\r\n",
        );
        for place in places() {
            place.remove(&mut head.headers);
        }
        assert_eq!(CredentialPlace::credentials(&places(), &head), Credentials::None);
        assert_eq!(head.headers.find(b"authorization"), Some(&b"Basic b"[..]));
        let cookies: Vec<_> = head.headers.all_named(COOKIE).collect();
        assert_eq!(cookies, [b"a=b; d"]);
    }
}
