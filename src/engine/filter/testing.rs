//! Requests and responses for the unit tests of filters.

use proto::head::{RequestHead, ResponseHead};

use super::{
    Filter, FilterRequest, FilterResponse, FilterShare, Memo, RequestVerdict, ResponseOrigin,
    ResponseVerdict,
};
use crate::address::ClientAddress;
use crate::auth::{Consumers, Identity};
use crate::config::{Sources, parse};
use crate::snapshot::{Identities, Route, compile};
use crate::template::Facts;
use crate::time::Instant;

/// The only core of a node.
pub(super) const SHARE: FilterShare = FilterShare { core: 0, cores: 1, seed: 7 };

/// A request that filters run on.
pub(super) struct TestRequest {
    pub(super) head: RequestHead,
    pub(super) client: ClientAddress,
    pub(super) body: Vec<u8>,
    pub(super) memo: Memo,
    pub(super) consumers: Consumers,
    pub(super) identity: Identity,
    pub(super) body_bytes_max: u64,
    pub(super) now: Instant,
    route: Route,
}

impl TestRequest {
    /// A GET for `target`, from 192.0.2.1 and for `a.example`.
    pub(super) fn get(target: &str) -> Self {
        Self::new(&format!("GET {target} HTTP/1.1\r\nHost: a.example\r\nX-User: Bo B\r\n"))
    }

    /// A request with this line and these fields, without the empty line behind them.
    pub(super) fn new(text: &str) -> Self {
        let mut head = RequestHead::new();
        proto::h1::parse_request(format!("{text}\r\n").as_bytes(), 100, &mut head).unwrap();
        let text = "version = 1\n[listeners.a]\naddress = \"127.0.0.1:1\"\n[routes.all]\n\
                    reply = { status = 200 }\n";
        let model = parse(&Sources::new("test.toml", text)).unwrap();
        let route = compile(&model, 1, &mut Identities::default()).routes.remove(0);
        Self {
            head,
            client: ClientAddress::of_ip([192, 0, 2, 1].into()),
            body: Vec::new(),
            memo: Memo::default(),
            consumers: Consumers::default(),
            identity: Identity::default(),
            body_bytes_max: u64::MAX,
            now: Instant(0),
            route,
        }
    }

    /// Calls the request hook.
    pub(super) fn run(&mut self, filter: &dyn Filter) -> RequestVerdict {
        self.with(|request| filter.on_request(request))
    }

    /// Calls a hook.
    pub(super) fn with<T>(&mut self, hook: impl FnOnce(&mut FilterRequest<'_>) -> T) -> T {
        hook(&mut FilterRequest {
            size: self.head.body_size(),
            head: &mut self.head,
            client: self.client,
            secure: false,
            route: &self.route,
            body: &self.body,
            body_is_whole: true,
            body_bytes_max: &mut self.body_bytes_max,
            body_filters: &mut Vec::new(),
            consumers: &self.consumers,
            identity: &mut self.identity,
            memo: &mut self.memo,
            now: self.now,
            unix_micros: self.now.0,
        })
    }

    /// Calls the response hook on `head`.
    pub(super) fn respond(
        &mut self,
        filter: &dyn Filter,
        head: &mut ResponseHead,
        origin: ResponseOrigin,
    ) -> ResponseVerdict {
        let facts = Facts {
            head: &self.head,
            client: self.client,
            secure: false,
            request_id: b"r-1",
            route: Some(&self.route),
            upstream: "",
            consumer: self.consumers.name(self.identity.consumer),
            status: head.status,
            reason: match origin {
                ResponseOrigin::Gateway(Some(reason)) => reason.token(),
                _ => "",
            },
        };
        let size = head.body_size();
        filter.on_response(&mut FilterResponse {
            head,
            request: &self.head,
            origin,
            size,
            facts,
            memo: &mut self.memo,
        })
    }
}

/// The head of a 200 with `fields` of an endpoint, in answer to a GET.
pub(super) fn response(fields: &str) -> ResponseHead {
    let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
    let mut head = ResponseHead::new();
    proto::h1::parse_response(text.as_bytes(), 100, proto::head::Method::Get, &mut head).unwrap();
    head
}

/// Such a head behind the response hook of `filter`.
pub(super) fn test_response(
    filter: &dyn Filter,
    request: &TestRequest,
    fields: &str,
) -> ResponseHead {
    let mut head = response(fields);
    let mut again = TestRequest::get(str::from_utf8(request.head.target()).unwrap());
    let _ = again.respond(filter, &mut head, ResponseOrigin::Endpoint);
    head
}
