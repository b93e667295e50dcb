//! The part of a request by which requests are told apart: a header, a cookie, a parameter of the
//! query, the path, or the address of the client.

use std::net::IpAddr;

use proto::head::RequestHead;
use proto::pairs;

use crate::address::ClientAddress;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestKey {
    /// The first header of this name.
    Header(Box<str>),
    /// The cookie of this name.
    Cookie(Box<str>),
    /// The parameter of this name in the query, as it was sent.
    Query(Box<str>),
    /// The path without the query.
    Path,
    /// The IP address of the client.
    ClientIp,
}

impl RequestKey {
    /// Calls `then` with the value in the request with this `head` from this `client`; `None` where
    /// the request has no such part. Allocates nothing.
    pub fn value<T>(
        &self,
        head: &RequestHead,
        client: ClientAddress,
        then: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        match self {
            Self::Header(name) => head.headers.find(name.as_bytes()).map(then),
            Self::Cookie(name) => pairs::cookie(&head.headers, name.as_bytes()).map(then),
            Self::Query(name) => pairs::parameter(head.query()?, name.as_bytes()).map(then),
            Self::Path => Some(then(head.path())),
            Self::ClientIp => Some(match client.ip()? {
                IpAddr::V4(ip) => then(&ip.octets()),
                IpAddr::V6(ip) => then(&ip.octets()),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::h1::parse_request;

    use super::*;

    #[test]
    fn each_part_of_a_request_can_be_its_key() {
        let text = "GET /a/b?q=1%2F&r HTTP/1.1\r\nHost: h\r\nX-User: ann\r\nCookie: id=7\r\n\r\n";
        let mut head = RequestHead::new();
        parse_request(text.as_bytes(), 10, &mut head).unwrap();
        let client = ClientAddress::of_ip("10.0.0.7".parse().unwrap());
        let value = |key: RequestKey| key.value(&head, client, <[u8]>::to_vec);
        assert_eq!(value(RequestKey::Header("x-user".into())).unwrap(), b"ann");
        assert_eq!(value(RequestKey::Cookie("id".into())).unwrap(), b"7");
        assert_eq!(value(RequestKey::Query("q".into())).unwrap(), b"1%2F");
        assert_eq!(value(RequestKey::Path).unwrap(), b"/a/b");
        assert_eq!(value(RequestKey::ClientIp).unwrap(), [10, 0, 0, 7]);
        assert_eq!(value(RequestKey::Header("x-none".into())), None);
        assert_eq!(value(RequestKey::Query("r".into())), None);
        assert_eq!(RequestKey::ClientIp.value(&head, ClientAddress::Unix, <[u8]>::to_vec), None);
    }
}
