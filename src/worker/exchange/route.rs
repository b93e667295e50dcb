//! Stage 4, route: which route of the version that the exchange keeps?

use engine::reason::Reason;
use engine::request::RequestFacts;
use engine::snapshot::{Found, Route, RouteId};
use proto::head::RequestHead;

use super::{End, Exchange};
use crate::net::Net;

impl<N: Net> Exchange<'_, N> {
    /// The route of a request. An error where there is none.
    pub(super) fn route(&self, head: &RequestHead) -> Result<(RouteId, &Route), End> {
        match self.snapshot.table().route(&self.facts(head)) {
            Found::Route(id, route) => {
                self.notes.route.set(Some(id));
                Ok((id, route))
            }
            Found::WrongMethod => Err(End::Reply(Reason::MethodNotAllowed)),
            Found::None => Err(End::Reply(Reason::NoRoute)),
        }
    }

    /// The facts of the request that routes look at.
    pub(super) fn facts<'h>(&self, head: &'h RequestHead) -> RequestFacts<'h> {
        RequestFacts::of(head, self.listener.id, self.caller.address)
    }
}
