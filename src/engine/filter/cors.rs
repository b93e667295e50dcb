//! `cors`: which pages of other origins may use the route (WHATWG Fetch, section "CORS protocol").

use proto::head::Method;

use super::{
    Filter, FilterKeys, FilterReply, FilterRequest, FilterResponse, FilterShare, Hooks,
    RequestVerdict, ResponseVerdict,
};
use crate::header::HeaderName;
use crate::keys::{KeyRule, section};
use crate::pattern::ValuePattern;
use crate::time::Micros;

section! {
    /// Lets pages of other origins use the route. The gateway answers preflight requests itself, with 204,
    /// and tells browsers the rules in all other responses; the endpoint's own `Access-Control-*` headers
    /// are dropped. Put it before filters that authenticate: a preflight request carries no credential.
    #[derive(Eq)]
    pub Cors {
        /// The origins, in the forms of values: "https://app.example.com", { suffix = ".example.org" }.
        /// "*" stands for any origin.
        origins: Vec<ValuePattern> => KeyRule::required("[\"https://app.example.com\"]");
        /// The methods that pages may use. GET, HEAD and POST need no permission.
        methods: Vec<String> => KeyRule::default(Vec::new()).example("[\"PUT\", \"DELETE\"]");
        /// The headers that pages may send. "*" stands for those that the page asks for.
        headers: Vec<String> => KeyRule::default(Vec::new()).example("[\"content-type\"]");
        /// The headers of responses that pages may read.
        expose: Vec<HeaderName> => KeyRule::default(Vec::new()).example("[\"x-request-id\"]");
        /// Whether pages may send cookies and other credentials.
        credentials: bool => KeyRule::default(false);
        /// How long a browser may remember the answer to a preflight request.
        max_age: Micros => KeyRule::default(Micros::secs(3600)).within(Micros::secs(1)..=Micros::secs(86_400));
    }
}

/// The filter as it runs: its lists as they are sent.
#[derive(Debug)]
pub struct CorsRules {
    origins: Vec<ValuePattern>,
    any_origin: bool,
    methods: Vec<u8>,
    headers: Vec<u8>,
    any_header: bool,
    expose: Vec<u8>,
    credentials: bool,
    max_age: Vec<u8>,
}

impl FilterKeys for Cors {
    type Running = CorsRules;

    fn start(&self, _: FilterShare, _: Option<&CorsRules>) -> CorsRules {
        let expose: Vec<&str> = self.expose.iter().map(|it| it.0.as_str()).collect();
        CorsRules {
            any_origin: self.any_origin(),
            origins: self.origins.clone(),
            methods: self.methods.join(", ").into_bytes(),
            headers: self.headers.join(", ").into_bytes(),
            any_header: self.headers.iter().any(|it| it == ANY),
            expose: expose.join(", ").into_bytes(),
            credentials: self.credentials,
            max_age: (self.max_age.0 / 1_000_000).to_string().into_bytes(),
        }
    }

    fn mistake(&self) -> Option<(String, &'static str)> {
        let is_token = |it: &String| proto::head::is_token(it.as_bytes());
        if self.credentials && self.any_origin() {
            let what = "every page of the web could act with the credentials of its visitors";
            return Some((what.to_owned(), "name the origins, or leave `credentials` out"));
        }
        let unsound = self.methods.iter().chain(&self.headers).find(|it| !is_token(it))?;
        Some((format!("\"{unsound}\" is no method or header"), "write names such as \"PUT\""))
    }
}

/// Stands for all there are.
const ANY: &str = "*";

impl Cors {
    fn any_origin(&self) -> bool {
        self.origins.iter().any(|it| *it == ValuePattern::Exact(ANY.to_owned()))
    }
}

const ORIGIN: &[u8] = b"origin";
const REQUEST_METHOD: &[u8] = b"access-control-request-method";
const REQUEST_HEADERS: &[u8] = b"access-control-request-headers";
const ALLOW_ORIGIN: &[u8] = b"access-control-allow-origin";
const ALLOW_CREDENTIALS: &[u8] = b"access-control-allow-credentials";
const ALLOW_METHODS: &[u8] = b"access-control-allow-methods";
const ALLOW_HEADERS: &[u8] = b"access-control-allow-headers";
const EXPOSE_HEADERS: &[u8] = b"access-control-expose-headers";
const MAX_AGE: &[u8] = b"access-control-max-age";
const VARY: &[u8] = b"vary";

/// The headers by which a server states its rules: those of the endpoint go.
const OF_ENDPOINT: [&[u8]; 6] =
    [ALLOW_ORIGIN, ALLOW_CREDENTIALS, ALLOW_METHODS, ALLOW_HEADERS, EXPOSE_HEADERS, MAX_AGE];

impl CorsRules {
    fn allows(&self, origin: &[u8]) -> bool {
        self.any_origin || self.origins.iter().any(|it| it.matches(Some(origin)))
    }

    /// The origin as the response names it.
    fn named<'o>(&self, origin: &'o [u8]) -> &'o [u8] {
        if self.any_origin { ANY.as_bytes() } else { origin }
    }
}

impl Filter for CorsRules {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST | Hooks::RESPONSE
    }

    fn on_request(&self, request: &mut FilterRequest<'_>) -> RequestVerdict {
        let headers = &request.head.headers;
        let (Some(_), Some(_)) = (headers.find(ORIGIN), headers.find(REQUEST_METHOD)) else {
            return RequestVerdict::Continue;
        };
        if request.head.method != Method::Options {
            return RequestVerdict::Continue;
        }
        // The response hook adds the rules, as to any response, where the origin is allowed; a browser
        // takes an answer without them for a no.
        let reply = FilterReply { status: 204, reason: None, headers: Vec::new(), body: None };
        RequestVerdict::Reply(Box::new(reply))
    }

    fn on_response(&self, response: &mut FilterResponse<'_>) -> ResponseVerdict {
        let headers = &mut response.head.headers;
        for name in OF_ENDPOINT {
            headers.remove_named(name);
        }
        if !self.any_origin {
            // The response differs by origin, so a cache must not give it to another one.
            headers.push_named(VARY, ORIGIN);
        }
        let Some(origin) = response.request.headers.find(ORIGIN).filter(|it| self.allows(it))
        else {
            return ResponseVerdict::Continue;
        };
        headers.push_named(ALLOW_ORIGIN, self.named(origin));
        if self.credentials {
            headers.push_named(ALLOW_CREDENTIALS, b"true");
        }
        let asked = response.request.headers.find(REQUEST_HEADERS);
        let is_preflight = response.request.method == Method::Options
            && response.request.headers.find(REQUEST_METHOD).is_some();
        if !is_preflight {
            if !self.expose.is_empty() {
                headers.push_named(EXPOSE_HEADERS, &self.expose);
            }
            return ResponseVerdict::Continue;
        }
        if !self.methods.is_empty() {
            headers.push_named(ALLOW_METHODS, &self.methods);
        }
        match asked {
            Some(asked) if self.any_header => headers.push_named(ALLOW_HEADERS, asked),
            _ if self.headers.is_empty() || self.any_header => {}
            _ => headers.push_named(ALLOW_HEADERS, &self.headers),
        }
        headers.push_named(MAX_AGE, &self.max_age);
        ResponseVerdict::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::super::ResponseOrigin;
    use super::super::testing::{SHARE, TestRequest, response};
    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        Cors {
            origins: origins.iter().map(|it| ValuePattern::Exact((*it).to_owned())).collect(),
            methods: vec!["PUT".to_owned(), "DELETE".to_owned()],
            headers: vec!["content-type".to_owned()],
            expose: vec![HeaderName("x-a".to_owned())],
            credentials: true,
            max_age: Micros::secs(60),
        }
    }

    const PREFLIGHT: &str = "OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://app\r\n\
                             Access-Control-Request-Method: PUT\r\n";

    #[test]
    fn a_preflight_request_is_answered_with_the_rules() {
        let filter = cors(&["https://app"]).start(SHARE, None);
        let mut request = TestRequest::new(PREFLIGHT);
        let RequestVerdict::Reply(reply) = request.run(&filter) else { panic!("no reply") };
        assert_eq!((reply.status, reply.reason), (204, None));
        let mut head = response("");
        request.respond(&filter, &mut head, ResponseOrigin::Gateway(None));
        for (name, value) in [
            ("access-control-allow-origin", "https://app"),
            ("access-control-allow-methods", "PUT, DELETE"),
            ("access-control-allow-headers", "content-type"),
            ("access-control-allow-credentials", "true"),
            ("access-control-max-age", "60"),
            ("vary", "origin"),
        ] {
            assert_eq!(head.headers.find(name.as_bytes()), Some(value.as_bytes()), "{name}");
        }
        assert_eq!(head.headers.find(EXPOSE_HEADERS), None);
    }

    #[test]
    fn another_origin_gets_no_rules_and_the_endpoints_own_are_dropped() {
        let filter = cors(&["https://app"]).start(SHARE, None);
        let mut request = TestRequest::new("GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://evil\r\n");
        assert!(matches!(request.run(&filter), RequestVerdict::Continue));
        let mut head = response("Access-Control-Allow-Origin: *\r\nX-A: b\r\n");
        request.respond(&filter, &mut head, ResponseOrigin::Endpoint);
        assert_eq!(head.headers.find(ALLOW_ORIGIN), None);
        assert_eq!(head.headers.find(b"x-a"), Some(&b"b"[..]));
    }

    #[test]
    fn a_plain_request_of_an_allowed_origin_may_be_read() {
        let filter = Cors { credentials: false, ..cors(&["*"]) }.start(SHARE, None);
        let mut request = TestRequest::new("GET / HTTP/1.1\r\nHost: a\r\nOrigin: null\r\n");
        assert!(matches!(request.run(&filter), RequestVerdict::Continue));
        let mut head = response("");
        request.respond(&filter, &mut head, ResponseOrigin::Endpoint);
        assert_eq!(head.headers.find(ALLOW_ORIGIN), Some(&b"*"[..]));
        assert_eq!(head.headers.find(EXPOSE_HEADERS), Some(&b"x-a"[..]));
        assert_eq!(head.headers.find(ALLOW_METHODS), None);
    }

    #[test]
    fn credentials_for_any_origin_are_a_mistake() {
        assert!(cors(&["*"]).mistake().is_some());
        assert!(Cors { credentials: false, ..cors(&["*"]) }.mistake().is_none());
    }
}
