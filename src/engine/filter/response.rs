//! The response hook and the end of an exchange, as a filter sees them.

use proto::head::{BodySize, RequestHead, ResponseHead};

use super::body::BodyFilter;
use super::request::Memo;
use crate::reason::Reason;
use crate::template::Facts;
use crate::time::Instant;

/// The response at a response hook.
#[derive(Debug)]
pub struct FilterResponse<'a> {
    /// Its head, as the client will get it.
    pub head: &'a mut ResponseHead,
    /// The head of the request, as the filters have left it.
    pub request: &'a RequestHead,
    /// The party that made the response.
    pub origin: ResponseOrigin,
    /// How much body it has. A response to HEAD has none.
    pub size: BodySize,
    /// The values that placeholders stand for.
    pub facts: Facts<'a>,
    /// The filter's memory of this exchange. Empty where its request hook did not run.
    pub memo: &'a mut Memo,
}

/// The party that made a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseOrigin {
    /// An endpoint.
    Endpoint,
    /// The gateway: a route, a filter, or a refusal for this reason.
    Gateway(Option<Reason>),
}

/// The verdict of a filter on a response.
#[derive(Debug)]
pub enum ResponseVerdict {
    /// It goes on.
    Continue,
    /// Its body goes on through this filter.
    Transform(Box<dyn BodyFilter>),
    /// This body goes to the client in place of its own.
    Replace(Vec<u8>),
}

/// An exchange that has ended.
#[derive(Debug)]
pub struct FilterFinish<'a> {
    /// The head of the request, as the filters have left it.
    pub request: &'a RequestHead,
    /// The status that the client was sent; 499 when nothing was.
    pub status: u16,
    /// The filter's memory of this exchange. Empty where its request hook did not run.
    pub memo: &'a mut Memo,
    /// Now, on the core's clock.
    pub now: Instant,
}
