//! `/readyz`: whether the node should get traffic.

use hyper::StatusCode;
use serde_json::json;

use super::super::answer;
use super::super::resource::Resource;
use crate::node::Node;

pub(super) const fn resource<N: Node>() -> Resource<N> {
    let help = "200, or 503 with `reasons`: not all cores serve yet, a core lags behind or is \
                silent, the gateway drains";
    Resource::read_only("/readyz", help, |context| {
        let reasons = context.node.ready();
        let ready = reasons.is_empty();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        answer::json(status, &json!({ "ready": ready, "reasons": reasons }))
    })
}
