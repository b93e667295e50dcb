//! The resources of the admin API, a file each.

mod config;
mod endpoint;
mod livez;
mod metrics;
mod readyz;
mod status;
mod upstreams;

use super::resource::Resource;
use crate::node::Node;

/// All of them, in the order of the documentation.
pub(super) fn all<N: Node>() -> [Resource<N>; 7] {
    [
        livez::resource(),
        readyz::resource(),
        metrics::resource(),
        status::resource(),
        upstreams::resource(),
        config::resource(),
        endpoint::resource(),
    ]
}
