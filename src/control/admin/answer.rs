//! How an answer is put: JSON, TOML, metrics, or the details of a problem (RFC 9457).

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::export::prometheus::Exposition;

/// An answer.
pub(super) type Answer = Response<Body>;

/// The body of an answer.
pub(super) enum Body {
    /// All of it; none when it is sent.
    Whole(Option<Bytes>),
    /// Metrics, made as the client takes them.
    Metrics(Box<Exposition>),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match self.get_mut() {
            Self::Whole(bytes) => bytes.take(),
            Self::Metrics(exposition) => exposition.next().map(Bytes::from),
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |it| it.len() as u64))
            }
            Self::Metrics(_) => SizeHint::default(),
        }
    }
}

/// An answer with a body of this type.
pub(super) fn answer(status: StatusCode, content_type: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    // Only structs of texts and numbers are serialised here.
    let mut bytes = serde_json::to_vec(body).unwrap_or_default();
    bytes.push(b'\n');
    answer(status, "application/json", Body::Whole(Some(bytes.into())))
}

/// Adds a header. A value that no header can have is left out.
pub(super) fn with(mut answer: Answer, name: HeaderName, value: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// Why a request was not done.
#[derive(Clone, Debug)]
pub(super) struct Problem(Box<Details>);

#[derive(Clone, Debug)]
struct Details {
    status: StatusCode,
    error: &'static str,
    detail: String,
    further: Map<String, Value>,
    header: Option<(HeaderName, String)>,
}

impl Problem {
    /// A problem: its status, a token that programs can compare, and a text for people.
    pub(super) fn new(status: StatusCode, error: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self(Box::new(Details { status, error, detail, further: Map::new(), header: None }))
    }

    /// With a further member.
    pub(super) fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.further.insert(name.to_owned(), value.into());
        self
    }

    /// With a header.
    pub(super) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.0.header = Some((name, value.into()));
        self
    }

    /// As an answer.
    pub(super) fn answer(self) -> Answer {
        let Details { status, error, detail, further, header } = *self.0;
        let title = status.canonical_reason().unwrap_or("Unknown");
        let mut body = json!({
            "type": "about:blank", "title": title, "status": status.as_u16(), "error": error,
            "detail": detail,
        });
        if let Some(object) = body.as_object_mut() {
            object.extend(further);
        }
        let mut answer = json(status, &body);
        let problem = HeaderValue::from_static("application/problem+json");
        answer.headers_mut().insert(CONTENT_TYPE, problem);
        match header {
            Some((name, value)) => with(answer, name, &value),
            None => answer,
        }
    }
}
