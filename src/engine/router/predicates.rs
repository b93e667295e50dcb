//! The predicates of a route beside host, path and method.

use crate::address::Network;
use crate::pattern::ValuePattern;
use crate::request::{ListenerId, RequestFacts, cookie, with_query_value};

/// The predicates of a route beside host, path and method. A request fits if it fits all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Predicates {
    /// The listeners; `None` for any.
    pub(crate) listeners: Option<Box<[ListenerId]>>,
    /// The blocks that clients come from; `None` for any.
    pub(crate) clients: Option<Box<[Network]>>,
    /// Names of headers, in lower case, and the form of the first value.
    pub(crate) headers: Box<[(Box<str>, ValuePattern)]>,
    /// Names of query parameters, and the form of the first value.
    pub(crate) query: Box<[(Box<str>, ValuePattern)]>,
    /// Names of cookies, and the form of the first value.
    pub(crate) cookies: Box<[(Box<str>, ValuePattern)]>,
}

/// The first predicate that a request does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit<'s> {
    /// The listener.
    Listener,
    /// The address of the client.
    Client,
    /// The header with this name.
    Header(&'s str, &'s ValuePattern),
    /// The query parameter with this name.
    Query(&'s str, &'s ValuePattern),
    /// The cookie with this name.
    Cookie(&'s str, &'s ValuePattern),
}

impl Predicates {
    /// The first predicate that `request` does not fit. The cheapest ones are looked at first.
    pub(crate) fn misfit(&self, request: &RequestFacts<'_>) -> Option<Misfit<'_>> {
        if self.listeners.as_ref().is_some_and(|it| !it.contains(&request.listener)) {
            return Some(Misfit::Listener);
        }
        let is_in = |network: &Network| network.contains(request.client);
        if self.clients.as_ref().is_some_and(|it| !it.iter().any(is_in)) {
            return Some(Misfit::Client);
        }
        for (name, pattern) in &self.headers {
            if !pattern.matches(request.headers.find(name.as_bytes())) {
                return Some(Misfit::Header(name, pattern));
            }
        }
        for (name, pattern) in &self.cookies {
            if !pattern.matches(cookie(request.headers, name)) {
                return Some(Misfit::Cookie(name, pattern));
            }
        }
        for (name, pattern) in &self.query {
            if !with_query_value(request.query, name, |value| pattern.matches(value)) {
                return Some(Misfit::Query(name, pattern));
            }
        }
        None
    }
}
