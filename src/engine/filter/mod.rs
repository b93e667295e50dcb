//! Filters: steps of the gateway on the way of a request and of its response.
//!
//! A filter is one file in this folder and one line in the registry below. The file holds the keys of
//! the filter (`section!`), the filter as it runs on a core ([`Filter`]), and its unit tests. A filter
//! decides and does no I/O: to wait, or to ask another service, it returns a verdict that says so, and
//! the worker carries it out. So every filter is synchronous, and can be tested without a socket.
//!
//! The hooks of one exchange run in this order: [`Filter::on_request`] of each filter in the order of
//! the configuration, those of the listener first; then, when there is a response, be it the
//! endpoint's or one of the gateway itself, [`Filter::on_response`] of each in the opposite order; then
//! [`Filter::on_finish`]. An answer of one filter skips the request hooks of those behind it, and no
//! other hook.
//!
//! Invariant: filters do not know each other, and none of them names another.

mod body;
mod fetch;
mod hooks;
mod registry;
mod request;
mod response;
#[cfg(test)]
mod testing;
mod used;

pub use body::{BodyFilter, BodyVerdict, BodyWish};
pub use fetch::{Fetch, FetchFailed, FetchResult, Fetched, HttpFetch};
pub use hooks::{Filter, FilterKeys, FilterShare, Hooks};
pub use request::{FilterReply, FilterRequest, Memo, RequestVerdict};
pub use response::{FilterFinish, FilterResponse, ResponseOrigin, ResponseVerdict};
pub use used::{FilterId, FilterUse, NamedFilter};

use crate::keys::Spanned;

// Every type of filter. The modules are declared by the macro, which `cargo fmt` does not follow:
// scripts/ci.sh formats them by their names.
registry::registry! {
    acl::Acl = "acl";
    api_key::ApiKey = "api_key";
    body_limit::BodyLimit = "body_limit";
    buffer::Buffer = "buffer";
    compress::Compress = "compress";
    concurrency::Concurrency = "concurrency";
    cors::Cors = "cors";
    error_page::ErrorPage = "error_page";
    fault::Fault = "fault";
    forward_auth::ForwardAuth = "forward_auth";
    ip_access::IpAccess = "ip_access";
    mirror::Mirror = "mirror";
    rate_limit::RateLimit = "rate_limit";
    request_headers::RequestHeaders = "request_headers";
    response_headers::ResponseHeaders = "response_headers";
    rewrite::Rewrite = "rewrite";
}
