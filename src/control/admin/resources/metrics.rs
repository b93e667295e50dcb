//! `/metrics`: a scrape, in the text format of Prometheus.

use std::rc::Rc;

use hyper::StatusCode;

use super::super::answer::{self, Body};
use super::super::resource::Resource;
use crate::export::Counted;
use crate::export::prometheus::{self, Exposition};
use crate::node::Node;

pub(super) const fn resource<N: Node>() -> Resource<N> {
    Resource::read_only("/metrics", "see [Metrics](#metrics)", |context| {
        let Counted { merge, log } = &context.counted;
        let exposition = Exposition::new(Rc::clone(merge), log, &context.node.status());
        let body = Body::Metrics(Box::new(exposition));
        answer::answer(StatusCode::OK, prometheus::CONTENT_TYPE, body)
    })
}
