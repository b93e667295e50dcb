//! `error_page`: bodies of one's own for errors.

use std::borrow::Cow;

use proto::head::HeaderId;

use super::{
    Filter, FilterKeys, FilterResponse, FilterShare, Hooks, ResponseOrigin, ResponseVerdict,
};
use crate::keys::{ItemKind, KeyRule, Mistake, Shape, StatusRange, Value, Written, section};
use crate::template::{Escape, Template};

section! {
    /// Puts a body of one's own in the place of an error's. The status stays, and so do all headers but
    /// those that describe the body.
    #[derive(Eq)]
    pub ErrorPage {
        /// The statuses: "404", or "500-599" for a range.
        statuses: Vec<StatusRange> => KeyRule::required("[\"404\", \"500-599\"]");
        /// The reasons: words of the list of reasons. Absent: any reason, and none.
        reasons: Vec<String> => KeyRule::default(Vec::new()).example("[\"no_endpoint\"]");
        /// The type of the body. In HTML and JSON, the values of placeholders are escaped.
        content_type: String => KeyRule::default("text/html; charset=utf-8".to_owned());
        /// The body, with placeholders such as {status}, {reason} and {request_id}. Other braces stand for
        /// themselves. A long one comes from a file: "${file:errors/5xx.html}".
        body: PageBody => KeyRule::required("\"<h1>{status}</h1>\"");
        /// Whether the endpoint's own errors are replaced too. Otherwise only the gateway's are.
        endpoint: bool => KeyRule::default(false);
    }
}

/// The body of a page. Braces that hold no placeholder stand for themselves, as in style sheets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageBody(Template);

/// Larger pages are for a file server.
const BODY_BYTES_MAX: usize = 64 * 1024;

impl Value for PageBody {
    fn expected() -> Cow<'static, str> {
        "a text of at most 64 KiB, with placeholders such as {status}".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "text with placeholders", pattern: None }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = kind.text().ok_or(Mistake::KIND)?;
        if text.value.len() > BODY_BYTES_MAX {
            return Err(Mistake::value(format!("the body has {} bytes", text.value.len())));
        }
        Ok(Self(Template::of_text(&text.value)))
    }

    fn write(&self) -> Written {
        Written::text(self.0.to_string())
    }
}

impl FilterKeys for ErrorPage {
    type Running = Self;

    fn start(&self, _: FilterShare, _: Option<&Self>) -> Self {
        self.clone()
    }

    fn mistake(&self) -> Option<(String, &'static str)> {
        let known = |word: &String| crate::reason::Reason::all().any(|it| it.token() == word);
        if let Some(unknown) = self.reasons.iter().find(|word| !known(word)) {
            let cure = "write a word of docs/reasons.md, such as \"no_endpoint\"";
            return Some((format!("there is no reason \"{unknown}\""), cure));
        }
        let sound = self.content_type.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        let cure = "write a type such as \"text/html\"";
        (!sound).then(|| ("the type of the body cannot stand in a header".to_owned(), cure))
    }
}

/// Headers that describe the body that goes.
const OF_BODY: [&[u8]; 10] = [
    b"content-digest",
    b"content-disposition",
    b"content-md5",
    b"repr-digest",
    b"content-encoding",
    b"content-language",
    b"content-range",
    b"accept-ranges",
    b"etag",
    b"last-modified",
];

impl Filter for ErrorPage {
    fn hooks(&self) -> Hooks {
        Hooks::RESPONSE
    }

    fn on_response(&self, response: &mut FilterResponse<'_>) -> ResponseVerdict {
        let status = response.head.status;
        let fits = match response.origin {
            ResponseOrigin::Endpoint => self.endpoint && self.reasons.is_empty(),
            ResponseOrigin::Gateway(reason) => {
                let token = reason.map_or("", crate::reason::Reason::token);
                self.reasons.is_empty() || self.reasons.iter().any(|it| it == token)
            }
        };
        let covers = |range: &StatusRange| range.contains(status);
        // RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5: no body.
        if !fits || matches!(status, 204 | 205 | 304) || !self.statuses.iter().any(covers) {
            return ResponseVerdict::Continue;
        }
        let escape = if self.content_type.contains("json") {
            Escape::Json
        } else if self.content_type.contains("html") || self.content_type.contains("xml") {
            Escape::Html
        } else {
            Escape::Header
        };
        let mut body = Vec::new();
        self.body.0.fill(&response.facts, escape, &mut body);
        let headers = &mut response.head.headers;
        for name in OF_BODY {
            headers.remove_named(name);
        }
        headers.remove(HeaderId::ContentType);
        headers.push(HeaderId::ContentType, self.content_type.as_bytes());
        ResponseVerdict::Replace(body)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{SHARE, TestRequest, response};
    use super::*;
    use crate::reason::Reason;

    fn page(content_type: &str, endpoint: bool, reasons: &[&str]) -> ErrorPage {
        ErrorPage {
            statuses: vec![
                StatusRange { first: 404, last: 404 },
                StatusRange { first: 500, last: 599 },
            ],
            reasons: reasons.iter().map(|it| (*it).to_owned()).collect(),
            content_type: content_type.to_owned(),
            body: PageBody(Template::of_text("a { b: c } {status} {reason} {header.x-user}")),
            endpoint,
        }
    }

    fn body(page: &ErrorPage, status: u16, origin: ResponseOrigin) -> Option<String> {
        let filter = page.start(SHARE, None);
        let mut head = response("Content-Type: text/plain\r\nETag: \"a\"\r\n");
        head.set_status(status, "");
        let mut request = TestRequest::new("GET / HTTP/1.1\r\nHost: a\r\nX-User: <b>\r\n");
        match request.respond(&filter, &mut head, origin) {
            ResponseVerdict::Replace(body) => {
                assert_eq!(head.headers.all(HeaderId::ContentType).count(), 1);
                assert!(head.headers.find(b"etag").is_none());
                Some(String::from_utf8(body).unwrap())
            }
            _ => None,
        }
    }

    #[test]
    fn errors_of_the_listed_statuses_get_the_page() {
        let own = ResponseOrigin::Gateway(Some(Reason::NoRoute));
        let page = page("text/html", false, &[]);
        let expected = "a { b: c } 404 no_route &lt;b&gt;";
        assert_eq!(body(&page, 404, own).as_deref(), Some(expected));
        assert_eq!(body(&page, 405, own), None);
        assert_eq!(body(&page, 404, ResponseOrigin::Endpoint), None);
    }

    #[test]
    fn the_endpoints_own_errors_are_replaced_where_that_is_asked_for() {
        let page = page("text/plain", true, &[]);
        let found = body(&page, 503, ResponseOrigin::Endpoint);
        assert_eq!(found.as_deref(), Some("a { b: c } 503  <b>"));
    }

    #[test]
    fn a_page_may_be_for_some_reasons() {
        let page = page("application/json", false, &["no_endpoint"]);
        let of = |reason| body(&page, 503, ResponseOrigin::Gateway(Some(reason)));
        assert!(of(Reason::NoEndpoint).is_some_and(|it| it.contains("\\u003cb>")));
        assert_eq!(of(Reason::PoolFull), None);
        assert_eq!(body(&page, 503, ResponseOrigin::Gateway(None)), None);
    }
}
