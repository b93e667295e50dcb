//! The right to ask: the token, and that no foreign web page asks through a browser.
//!
//! A browser on the same host can reach a loopback address, and a page can make its own name point
//! there (DNS rebinding). So a request over TCP must name the node by an IP address or `localhost`,
//! must not come from another origin, and must not be one that a form can make. A unix socket
//! cannot be reached by a browser, and a page does not know the token: with either the name is free.
//!
//! Invariant: how long a wrong token takes to be refused does not depend on how wrong it is.

use std::hint::black_box;
use std::net::IpAddr;

use hyper::header::{
    AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN, WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, StatusCode, Uri, Version};

use super::answer::Problem;

/// The one type of a configuration in a request. Forms cannot send it, and scripts of other origins
/// must ask first, which nobody here answers.
pub(super) const TOML: &str = "application/toml";
/// The media type of every other body.
pub(super) const JSON: &str = "application/json";

/// The checks that every request must pass.
#[derive(Debug)]
pub(super) struct Guard {
    token: Option<String>,
    /// Only processes of this host, and no browser, can connect.
    local: bool,
}

impl Guard {
    /// Asks for the token, if there is one.
    pub(super) fn new(token: Option<String>, local: bool) -> Self {
        Self { token, local }
    }

    /// Lets a request pass or says why not.
    pub(super) fn check(&self, request: &Parts) -> Result<(), Problem> {
        let headers = &request.headers;
        let host = host(request)?;
        // Without a Host it is no browser, and a health check knows the node by any name.
        let is_safe = host.as_deref().is_none_or(is_fixed) || is_probe(request);
        let host = host.unwrap_or_default();
        if !self.local && self.token.is_none() && !is_safe {
            return Err(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "host_not_allowed",
                format!(
                    "\"{host}\" could be anybody's name; ask by IP address or as localhost, or \
                     give the node an `admin.token`"
                ),
            ));
        }
        check_origin(headers, &host)?;
        if request.uri.path() != "/livez" {
            self.check_token(headers)?;
        }
        Ok(())
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(token) = &self.token else { return Ok(()) };
        let sent = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let is_bearer = |it: &(&[u8], &[u8])| it.0.eq_ignore_ascii_case(b"bearer ");
        let bearer = sent.and_then(|it| it.split_at_checked(7)).filter(is_bearer);
        if bearer.is_some_and(|(_, sent)| equal(sent.trim_ascii(), token.as_bytes())) {
            return Ok(());
        }
        let detail = match sent {
            Some(_) => "the token is not the one of `admin.token`",
            None => "send `Authorization: Bearer TOKEN` with the token of `admin.token`",
        };
        Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
            .header(WWW_AUTHENTICATE, "Bearer realm=\"ringway\""))
    }
}

/// That the body of a request has the type `wanted`, which no form of a web page can send.
pub(super) fn check_content_type(headers: &HeaderMap, wanted: &str) -> Result<(), Problem> {
    let sent = headers.get(CONTENT_TYPE).map(|it| String::from_utf8_lossy(it.as_bytes()));
    let essence = sent.as_deref().unwrap_or("").split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "content_type",
        format!("\"{essence}\" is not taken; send the body with `Content-Type: {wanted}`"),
    ))
}

/// Whether it is the question of a health check. The answers have nothing in them that a web page
/// must not learn.
fn is_probe(request: &Parts) -> bool {
    matches!(request.method, Method::GET | Method::HEAD)
        && matches!(request.uri.path(), "/livez" | "/readyz")
}

/// The host that the request asks, and perhaps port, in lower case. HTTP/1.0 needs none.
fn host(request: &Parts) -> Result<Option<String>, Problem> {
    let bad = |detail| Problem::new(StatusCode::BAD_REQUEST, "host", detail);
    let mut sent = request.headers.get_all(HOST).iter();
    let (first, second) = (sent.next(), sent.next());
    if second.is_some() {
        return Err(bad("there is more than one Host"));
    }
    let header = first.map(|it| it.to_str()).transpose().map_err(|_| bad("Host is not ASCII"))?;
    // The target goes before the header (RFC 9112 3.2.2).
    let target = request.uri.authority().map(Authority::as_str);
    match target.or(header) {
        Some(host) => Ok(Some(host.trim().to_ascii_lowercase())),
        None if request.version <= Version::HTTP_10 => Ok(None),
        None => Err(bad("there is no Host")),
    }
}

/// Whether a name in DNS cannot be made to stand for it.
fn is_fixed(authority: &str) -> bool {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => authority,
    };
    if let Some(address) = name.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|it| matches!(it.parse(), Ok(IpAddr::V6(_))));
    }
    name == "localhost" || matches!(name.parse(), Ok(IpAddr::V4(_)))
}

/// That it does not come from a page of another origin. Browsers say where from with every request
/// that could change something.
fn check_origin(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let foreign = |detail: String| Problem::new(StatusCode::FORBIDDEN, "cross_origin", detail);
    for origin in headers.get_all(ORIGIN) {
        let uri = Uri::try_from(origin.as_bytes()).ok();
        let from = uri.as_ref().and_then(Uri::authority).map(Authority::as_str);
        if !from.is_some_and(|it| it.eq_ignore_ascii_case(host)) {
            let origin = String::from_utf8_lossy(origin.as_bytes());
            return Err(foreign(format!("a page of {origin} must not ask {host}")));
        }
    }
    for site in headers.get_all("sec-fetch-site") {
        if !matches!(site.as_bytes(), b"same-origin" | b"none") {
            return Err(foreign("a page of another site must not ask".to_owned()));
        }
    }
    Ok(())
}

/// Compares all bytes, whatever the first ones say.
fn equal(sent: &[u8], token: &[u8]) -> bool {
    let pairs = token.iter().zip(sent.iter().chain(std::iter::repeat(&0)));
    let difference = pairs.fold(0, |all, (one, other)| black_box(all | (one ^ other)));
    difference == 0 && sent.len() == token.len()
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn refused(guard: &Guard, uri: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let problem = guard.check(&parts).err();
        problem.map(|it| it.answer().status().as_u16())
    }

    #[test]
    fn over_tcp_only_names_that_dns_cannot_move_are_good() {
        let guard = Guard::new(None, false);
        for good in
            ["127.0.0.1:9901", "127.0.0.1", "[::1]:9901", "[::1]", "localhost:9901", "LOCALHOST"]
        {
            assert_eq!(refused(&guard, "/metrics", &[("host", good)]), None, "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:9901",
            "127.0.0.1.evil.example",
            "localhost.evil",
            "",
            "[::1",
            "[::1].evil",
            "1",
        ] {
            assert_eq!(refused(&guard, "/metrics", &[("host", bad)]), Some(421), "{bad}");
        }
        assert_eq!(refused(&guard, "/metrics", &[]), Some(400));
        assert_eq!(refused(&guard, "/livez/", &[("host", "evil.example")]), Some(421));
        assert_eq!(refused(&guard, "/", &[("host", "localhost"), ("host", "evil")]), Some(400));
        let absolute = "http://evil.example/metrics";
        assert_eq!(refused(&guard, absolute, &[("host", "localhost")]), Some(421));
    }

    #[test]
    fn a_health_check_names_any_host_and_http_1_0_needs_none() {
        let guard = Guard::new(None, false);
        for path in ["/livez", "/readyz"] {
            for host in ["gateway-7.internal", "10.0.0.1:9901", ""] {
                assert_eq!(refused(&guard, path, &[("host", host)]), None, "{path} {host}");
            }
            assert_eq!(refused(&guard, path, &[]), Some(400), "HTTP/1.1 needs a Host");
            let origin = [("host", "evil.example"), ("origin", "http://other.example")];
            assert_eq!(refused(&guard, path, &origin), Some(403));
        }
        let post = Request::post("/livez").header("host", "evil.example").body(()).unwrap();
        assert!(guard.check(&post.into_parts().0).is_err());
        for path in ["/livez", "/readyz", "/metrics"] {
            let request = Request::get(path).version(Version::HTTP_10).body(()).unwrap();
            assert!(guard.check(&request.into_parts().0).is_ok(), "{path}");
        }
        let named =
            Request::get("/metrics").version(Version::HTTP_10).header("host", "evil.example");
        assert!(guard.check(&named.body(()).unwrap().into_parts().0).is_err());
    }

    #[test]
    fn on_a_socket_or_with_the_token_any_name_is_good() {
        let host = ("host", "gateway-7.internal");
        assert_eq!(refused(&Guard::new(None, true), "/metrics", &[host]), None);
        let guard = Guard::new(Some("0123456789abcdef".to_owned()), false);
        let token = ("authorization", "bearer 0123456789abcdef");
        assert_eq!(refused(&guard, "/metrics", &[host, token]), None);
        assert_eq!(refused(&guard, "/metrics", &[host]), Some(401));
        assert_eq!(refused(&guard, "/livez", &[host]), None);
    }

    #[test]
    fn the_token_must_be_the_whole_token() {
        let guard = Guard::new(Some("0123456789abcdef".to_owned()), false);
        for wrong in [
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdefg",
            "Bearer",
            "Bearer ",
            "",
            "Basic 0123456789abcdef",
            "0123456789abcdef",
            "Bearer 0123456789abcdeF",
        ] {
            let headers = [("host", "localhost"), ("authorization", wrong)];
            assert_eq!(refused(&guard, "/v1/status", &headers), Some(401), "{wrong:?}");
        }
    }

    #[test]
    fn pages_of_other_origins_are_refused_also_on_a_socket() {
        for guard in [Guard::new(None, false), Guard::new(None, true)] {
            let asks =
                |header| refused(&guard, "/v1/config", &[("host", "127.0.0.1:9901"), header]);
            assert_eq!(asks(("origin", "http://127.0.0.1:9901")), None);
            assert_eq!(asks(("sec-fetch-site", "same-origin")), None);
            for bad in
                ["http://evil.example", "http://127.0.0.1:80", "http://127.0.0.1", "null", ""]
            {
                assert_eq!(asks(("origin", bad)), Some(403), "{bad}");
            }
            assert_eq!(asks(("sec-fetch-site", "cross-site")), Some(403));
        }
    }

    #[test]
    fn what_a_form_can_send_is_no_configuration() {
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            check_content_type(&headers, TOML).is_ok()
        };
        assert!(check("application/toml") && check("Application/TOML; charset=utf-8"));
        for bad in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
            assert!(!check(bad), "{bad}");
        }
        assert!(check_content_type(&HeaderMap::new(), JSON).is_err());
    }
}
