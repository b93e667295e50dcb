//! `forward_auth`: another service decides whether a request may pass.
//!
//! The service gets a GET with the head's facts: the method, the URI and the client of the request in
//! `X-Forwarded-*`, and the headers that the configuration names. With 2xx the request goes on, and the
//! headers that the configuration names are copied into it. Any other answer goes to the client.
//!
//! Invariant: a header that is copied from the service never comes from the client.

use proto::head::{HeaderId, Method, RequestHead};

use super::{
    BodyWish, Fetch, FetchResult, Filter, FilterKeys, FilterReply, FilterRequest, FilterShare,
    Hooks, HttpFetch, RequestVerdict,
};
use crate::header::HeaderName;
use crate::keys::{ByteSize, KeyRule, LONGEST, SHORTEST, Spanned, section, words};
use crate::reason::Reason;
use crate::template::{Escape, Template};
use crate::time::Micros;

section! {
    /// Asks another service whether a request may pass. With a 2xx it goes on; any other answer goes to
    /// the client, with its head and body: a redirect to a login, a 401. The service gets a GET with
    /// `X-Forwarded-Method`, `X-Forwarded-Uri`, `X-Forwarded-Host`, `X-Forwarded-Proto`,
    /// `X-Forwarded-For`, `X-Request-Id` and the headers of `request_headers`.
    #[derive(Eq)]
    pub ForwardAuth {
        /// The upstream of the service.
        upstream: Spanned<String> => KeyRule::required("\"auth\"");
        /// The path that is asked for, with placeholders.
        path: Template => KeyRule::default(Template::text("/")).example("\"/check\"");
        /// For the whole answer. Then `on_failure` holds.
        timeout: Micros => KeyRule::default(Micros::secs(1)).within(SHORTEST..=LONGEST);
        /// Whether a request passes when the service does not answer. "deny": it is answered 503.
        on_failure: OnFailure => KeyRule::default(OnFailure::Deny);
        /// Headers of the request that the service gets.
        request_headers: Vec<HeaderName> => KeyRule::default(vec![
            HeaderName("authorization".to_owned()),
            HeaderName("cookie".to_owned()),
        ]);
        /// Headers of a 2xx that are copied into the request. The client's own are removed.
        response_headers: Vec<HeaderName> => KeyRule::default(Vec::new()).example("[\"x-user\"]");
        /// The first bytes of the body that the service gets, with POST in place of GET. 0: none.
        body_bytes: ByteSize => KeyRule::default(ByteSize(0)).within(ByteSize(0)..=ByteSize(1 << 20));
    }
}

/// Whether a request passes when nobody decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// It does not.
    Deny,
    /// It does.
    Allow,
}

words! {
    OnFailure {
        Deny = "deny",
        Allow = "allow",
    }
}

/// The longest body of an answer that goes to the client.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

impl FilterKeys for ForwardAuth {
    type Running = Self;

    fn start(&self, _: FilterShare, _: Option<&Self>) -> Self {
        self.clone()
    }

    fn upstreams(&self) -> Vec<&Spanned<String>> {
        vec![&self.upstream]
    }
}

/// Headers that the service gets of each request, with the names that they have there.
const FACTS: [HeaderId; 5] = [
    HeaderId::XForwardedFor,
    HeaderId::XForwardedProto,
    HeaderId::XForwardedHost,
    HeaderId::XForwardedPort,
    HeaderId::XRequestId,
];

impl ForwardAuth {
    /// The question about a request; `None` where a placeholder makes no sound path.
    fn question(&self, request: &FilterRequest<'_>) -> Option<HttpFetch> {
        let mut target = Vec::new();
        self.path.fill(&request.facts(), Escape::Url, &mut target);
        let mut head = RequestHead::new();
        let body = request.body;
        let wanted = usize::try_from(self.body_bytes.0).unwrap_or(usize::MAX);
        let body = body.get(..wanted.min(body.len())).unwrap_or_default();
        let method = if body.is_empty() { Method::Get } else { Method::Post };
        head.begin(method, &target, self.upstream.as_bytes()).ok()?;
        let asked = &request.head;
        for id in FACTS {
            for value in asked.headers.all(id) {
                head.headers.push(id, value);
            }
        }
        head.headers.push_named(b"x-forwarded-method", asked.method_bytes());
        head.headers.push_named(b"x-forwarded-uri", asked.path_and_query());
        for HeaderName(name) in &self.request_headers {
            for value in asked.headers.all_named(name.as_bytes()) {
                head.headers.push_named(name.as_bytes(), value);
            }
        }
        Some(HttpFetch {
            upstream: self.upstream.as_str().into(),
            head,
            body: body.to_vec(),
            timeout: self.timeout,
            response_bytes_max: Some(ANSWER_BYTES_MAX),
        })
    }

    fn failed(&self) -> RequestVerdict {
        match self.on_failure {
            OnFailure::Deny => FilterReply::refuse(Reason::FilterFailed),
            OnFailure::Allow => RequestVerdict::Continue,
        }
    }
}

impl Filter for ForwardAuth {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }

    fn body_wish(&self) -> BodyWish {
        match usize::try_from(self.body_bytes.0) {
            Ok(0) => BodyWish::Nothing,
            bytes => BodyWish::First(bytes.unwrap_or(usize::MAX)),
        }
    }

    fn on_request(&self, request: &mut FilterRequest<'_>) -> RequestVerdict {
        let question = self.question(request);
        // Gone before anything can let the request pass.
        for HeaderName(name) in &self.response_headers {
            request.head.headers.remove_named(name.as_bytes());
        }
        match question {
            Some(question) => RequestVerdict::Fetch(Fetch::Http(Box::new(question))),
            None => FilterReply::refuse(Reason::FilterFailed),
        }
    }

    fn on_fetched(&self, request: &mut FilterRequest<'_>, fetched: FetchResult) -> RequestVerdict {
        let Ok(answer) = fetched else { return self.failed() };
        if !(200..300).contains(&answer.head.status) {
            let headers = answer.head.headers.iter();
            // The gateway frames the answer and dates it itself.
            let own = |id: HeaderId| matches!(id, HeaderId::ContentLength | HeaderId::Date);
            let headers = headers.filter(|(id, ..)| !own(*id));
            return RequestVerdict::Reply(Box::new(FilterReply {
                status: answer.head.status,
                reason: Some(Reason::AccessDenied),
                headers: headers.map(|(_, name, value)| (name.into(), value.to_vec())).collect(),
                body: Some(answer.body),
            }));
        }
        for HeaderName(name) in &self.response_headers {
            for value in answer.head.headers.all_named(name.as_bytes()) {
                request.head.headers.push_named(name.as_bytes(), value);
            }
        }
        RequestVerdict::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{SHARE, TestRequest, response};
    use super::super::{FetchFailed, Fetched};
    use super::*;

    fn filter(on_failure: OnFailure) -> ForwardAuth {
        ForwardAuth {
            upstream: Spanned::unwritten("auth".to_owned()),
            path: Template::parse("/check{path}").ok().unwrap_or_default(),
            timeout: Micros::secs(1),
            on_failure,
            request_headers: vec![HeaderName("Authorization".to_owned())],
            response_headers: vec![HeaderName("x-user".to_owned())],
            body_bytes: ByteSize(0),
        }
        .start(SHARE, None)
    }

    fn asked(filter: &ForwardAuth, request: &mut TestRequest) -> HttpFetch {
        match request.run(filter) {
            RequestVerdict::Fetch(Fetch::Http(fetch)) => *fetch,
            other => panic!("{other:?}"),
        }
    }

    fn answered(filter: &ForwardAuth, request: &mut TestRequest, status: u16) -> RequestVerdict {
        let mut head = response("X-User: alice\r\nLocation: /login\r\nContent-Length: 2\r\n");
        head.set_status(status, "");
        let fetched = Fetched { head, body: b"no".to_vec() };
        request.with(|request| filter.on_fetched(request, Ok(Box::new(fetched))))
    }

    const REQUEST: &str = "POST /a?b HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\nX-Forwarded-For: 1\r\n\
                           X-User: root\r\nX-Other: y\r\n";

    #[test]
    fn the_service_learns_of_the_request_and_gets_the_listed_headers() {
        let filter = filter(OnFailure::Deny);
        let fetch = asked(&filter, &mut TestRequest::new(REQUEST));
        let text = |name: &str| fetch.head.headers.find(name.as_bytes()).unwrap_or_default();
        assert_eq!(fetch.head.method, Method::Get);
        assert_eq!(fetch.head.path(), b"/check/a");
        assert_eq!(fetch.head.authority(), b"auth");
        assert_eq!(text("x-forwarded-method"), b"POST");
        assert_eq!(text("x-forwarded-uri"), b"/a?b");
        assert_eq!(text("x-forwarded-for"), b"1");
        assert_eq!(text("authorization"), b"x");
        assert_eq!(text("x-other"), b"");
    }

    #[test]
    fn a_2xx_lets_the_request_pass_with_the_headers_of_the_service_alone() {
        let filter = filter(OnFailure::Deny);
        let mut request = TestRequest::new(REQUEST);
        let _ = asked(&filter, &mut request);
        assert_eq!(request.head.headers.find(b"x-user"), None);
        assert!(matches!(answered(&filter, &mut request, 204), RequestVerdict::Continue));
        let users: Vec<_> = request.head.headers.all_named(b"x-user").collect();
        assert_eq!(users, [b"alice"]);
    }

    #[test]
    fn any_other_answer_goes_to_the_client() {
        let filter = filter(OnFailure::Allow);
        let mut request = TestRequest::new(REQUEST);
        let _ = asked(&filter, &mut request);
        let RequestVerdict::Reply(reply) = answered(&filter, &mut request, 302) else { panic!() };
        assert_eq!((reply.status, reply.body.as_deref()), (302, Some(&b"no"[..])));
        let location = reply.headers.iter().find(|(name, _)| &**name == b"location");
        assert!(location.is_some() || reply.headers.iter().any(|(name, _)| &**name == b"Location"));
    }

    #[test]
    fn a_silent_service_is_a_yes_or_a_no_as_the_configuration_says() {
        for (on_failure, passes) in [(OnFailure::Allow, true), (OnFailure::Deny, false)] {
            let filter = filter(on_failure);
            let mut request = TestRequest::new(REQUEST);
            let _ = asked(&filter, &mut request);
            let verdict = request.with(|it| filter.on_fetched(it, Err(FetchFailed)));
            assert_eq!(matches!(verdict, RequestVerdict::Continue), passes);
        }
    }
}
