//! The request hook: the request that a filter sees, and its verdict.

use std::any::Any;

use proto::head::{BodySize, HeaderId, RequestHead};

use super::body::BodyFilter;
use super::fetch::Fetch;
use crate::address::ClientAddress;
use crate::auth::{Consumers, Identity};
use crate::reason::Reason;
use crate::snapshot::Route;
use crate::template::Facts;
use crate::time::{Instant, Micros};

/// The request at a request hook.
#[derive(Debug)]
pub struct FilterRequest<'a> {
    /// Its head, as the endpoint will get it.
    pub head: &'a mut RequestHead,
    /// The client.
    pub client: ClientAddress,
    /// Whether the client's connection is encrypted.
    pub secure: bool,
    /// The route.
    pub route: &'a Route,
    /// How much body it has.
    pub size: BodySize,
    /// The part of the body that the filter has wished to see; all of it if `body_is_whole`.
    pub body: &'a [u8],
    /// Whether `body` is the whole body.
    pub body_is_whole: bool,
    /// The longest body that the client may send, in bytes. A filter may set it.
    pub body_bytes_max: &'a mut u64,
    /// Filters that see the body as it passes to the endpoint. A filter may add one.
    pub body_filters: &'a mut Vec<Box<dyn BodyFilter>>,
    /// The consumers that there are.
    pub consumers: &'a Consumers,
    /// The identity of the request. A filter that authenticates sets it.
    pub identity: &'a mut Identity,
    /// The filter's memory of this exchange.
    pub memo: &'a mut Memo,
    /// Now, on the core's clock.
    pub now: Instant,
    /// Now, in microseconds since 1970.
    pub unix_micros: u64,
}

impl FilterRequest<'_> {
    /// The values that placeholders stand for.
    #[must_use]
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            head: self.head,
            client: self.client,
            secure: self.secure,
            // The gateway has put it there.
            request_id: self.head.headers.get(HeaderId::XRequestId).unwrap_or_default(),
            route: Some(self.route),
            upstream: "",
            consumer: self.consumers.name(self.identity.consumer),
            status: 0,
            reason: "",
        }
    }
}

/// The verdict of a filter on a request.
#[derive(Debug)]
pub enum RequestVerdict {
    /// It goes on.
    Continue,
    /// It goes on, after this long.
    Wait(Micros),
    /// It gets this answer.
    Reply(Box<FilterReply>),
    /// The filter must know something first: [`Filter::on_fetched`](super::Filter::on_fetched) follows.
    Fetch(Fetch),
}

/// An answer of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterReply {
    /// The status.
    pub status: u16,
    /// The reason for logs and metrics, if the request was refused.
    pub reason: Option<Reason>,
    /// Headers, by name.
    pub headers: Vec<(Box<[u8]>, Vec<u8>)>,
    /// The body. `None` where the reason makes it, as in other answers of the gateway.
    pub body: Option<Vec<u8>>,
}

impl FilterReply {
    /// The answer that `reason` asks for.
    #[must_use]
    pub fn refusal(reason: Reason) -> Self {
        let status = reason.status();
        Self { status, reason: Some(reason), headers: Vec::new(), body: None }
    }

    /// The same, as a verdict.
    #[must_use]
    pub fn refuse(reason: Reason) -> RequestVerdict {
        RequestVerdict::Reply(Box::new(Self::refusal(reason)))
    }

    /// The 401 that `reason` asks for, with the challenge of a scheme (RFC 9110 section 11.6.1).
    #[must_use]
    pub fn challenge(reason: Reason, challenge: &str) -> RequestVerdict {
        let mut reply = Self::refusal(reason);
        reply.headers.push(((*b"www-authenticate").into(), challenge.as_bytes().to_vec()));
        RequestVerdict::Reply(Box::new(reply))
    }
}

/// The memory of one filter of one exchange, from its request hook to its end.
#[derive(Debug, Default)]
pub struct Memo(Option<Box<dyn Any>>);

impl Memo {
    /// Remembers `value`, in place of anything before.
    pub fn set<T: 'static>(&mut self, value: T) {
        self.0 = Some(Box::new(value));
    }

    /// Drops the remembered value.
    pub fn forget(&mut self) {
        self.0 = None;
    }

    /// The remembered value, if it is of this type.
    #[must_use]
    pub fn get<T: 'static>(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut().and_then(<dyn Any>::downcast_mut)
    }
}
