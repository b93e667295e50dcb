//! `/livez`: whether the process answers.

use hyper::StatusCode;
use serde_json::json;

use super::super::answer;
use super::super::resource::Resource;
use crate::node::Node;

pub(super) const fn resource<N: Node>() -> Resource<N> {
    Resource::read_only("/livez", "200 as long as the process answers", |_| {
        answer::json(StatusCode::OK, &json!({ "live": true }))
    })
}
