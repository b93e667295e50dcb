//! Stage 4, route: which route of the version that the exchange keeps?

use engine::reason::Reason;
use engine::snapshot::{Action, Found, Route, UpstreamId};
use proto::head::RequestHead;

use super::{End, Exchange};
use crate::net::Net;

impl<N: Net> Exchange<'_, N> {
    /// The route of a request, and the upstream that it goes to. An error where the gateway itself
    /// has the answer.
    pub(super) fn route(&self, head: &RequestHead) -> Result<(&Route, UpstreamId), End> {
        match self.snapshot.table().route(head.host(), head.path(), head.method_bytes()) {
            Found::Route(id, route) => {
                self.notes.route.set(Some(id));
                match route.action {
                    Action::Upstream(upstream) => Ok((route, upstream)),
                    Action::Redirect(_) | Action::Reply(_) => Err(End::Answer(id)),
                }
            }
            Found::WrongMethod => Err(End::Reply(Reason::MethodNotAllowed)),
            Found::None => Err(End::Reply(Reason::NoRoute)),
        }
    }
}
