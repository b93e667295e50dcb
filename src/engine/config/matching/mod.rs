//! `match`: the requests that a route is for.

mod host;
mod method;
mod path;
mod values;

pub use host::Host;
pub use method::Method;
pub use path::PathRule;
pub use values::{MatchedCookie, MatchedHeader, MatchedQuery, ValuePatterns};

use crate::address::Network;
use crate::keys::{AtMostOne, KeyRule, Spanned, section};
use crate::router::{HostPattern, PathParameters, PathPattern, RouteRule};

section! {
    /// The requests that a route is for: those that fit every key here. When a request fits several
    /// routes, the most specific one gets it. They are compared by `priority`, the highest first; then
    /// by host: an exact one, then the longest "*.suffix", then any; then by path: an exact one, then
    /// one with parameters (segment by segment from the left, plain text before {name} before
    /// {*name}), then the longest `path_regex`, then the longest `path_prefix`; then by the number of
    /// other predicates, the largest first: `listeners` and `clients` count one each, and so does each
    /// name in `headers`, `query` and `cookies`; last, a route that names the method goes before one
    /// for any method. Two routes that can be equal in all of this for one request are an error: give
    /// one of them a `priority`.
    pub settings Match {
        /// Hosts, exact or "*.suffix". The latter stands for any host that ends so, with at least one
        /// label in front. Case and port do not matter. Absent: any.
        hosts: Option<Spanned<Vec<Spanned<Host>>>>
            => KeyRule::optional("[\"api.example.com\", \"*.example.org\"]");
        /// The path or the beginning of it. Absent: any.
        path: Option<Spanned<PathRule>> => AtMostOne;
        /// Methods, in upper case as clients send them. Absent: any.
        methods: Option<Spanned<Vec<Spanned<Method>>>> => KeyRule::optional("[\"GET\", \"POST\"]");
        /// Headers and the form of their values: a string is the whole value, byte for byte, as is
        /// { exact = "x" }; other forms are { prefix = "x" }, { suffix = "x" }, { contains = "x" },
        /// { regex = "x" } (anywhere in the value, unless ^ and $ stand around it), { present = true }
        /// and { absent = true }. Of a header that is there several times, the first field counts.
        headers: ValuePatterns<MatchedHeader> => KeyRule::default(ValuePatterns::default())
            .example("{ \"x-beta\" = \"1\" }");
        /// Query parameters and the form of their values, with percent-encoding and + decoded. Of a
        /// parameter that is there several times, the first one counts.
        query: ValuePatterns<MatchedQuery> => KeyRule::default(ValuePatterns::default())
            .example("{ debug = { present = true } }");
        /// Cookies and the form of their values. Of a cookie that is there several times, the first
        /// one counts.
        cookies: ValuePatterns<MatchedCookie> => KeyRule::default(ValuePatterns::default())
            .example("{ group = { prefix = \"beta\" } }");
        /// Blocks of addresses that clients come from. The address is that of the connection, or the
        /// one that a trusted proxy names. Absent: any.
        clients: Option<Spanned<Vec<Network>>> => KeyRule::optional("[\"10.0.0.0/8\"]");
        /// Listeners that requests come in at. Absent: any.
        listeners: Option<Spanned<Vec<Spanned<String>>>> => KeyRule::optional("[\"web\"]");
        /// Goes before all else in the order of routes: the highest first.
        priority: i32 => KeyRule::default(0).within(-1_000_000..=1_000_000);
    }
}

impl Match {
    /// The combinations of host, path and method that the route with this number takes.
    pub(crate) fn rules(&self, route: u32) -> impl Iterator<Item = RouteRule<'_>> {
        let path = self.path.as_deref().map_or(PathPattern::Prefix("/"), PathRule::pattern);
        let (priority, predicates) = (self.priority, self.predicates());
        let hosts = self.hosts.iter().flat_map(|hosts| hosts.iter());
        let hosts = hosts.map(|host| HostPattern::of(&host.0));
        let any_host = self.hosts.is_none().then_some(HostPattern::Any);
        hosts.chain(any_host).flat_map(move |host| {
            let methods = self.methods.iter().flat_map(|methods| methods.iter());
            let methods = methods.map(|method| Some(method.0.as_str()));
            let any_method = self.methods.is_none().then_some(None);
            methods.chain(any_method).map(move |method| RouteRule {
                host,
                path,
                method,
                priority,
                predicates,
                route,
            })
        })
    }

    /// The parameters of its path.
    pub(crate) fn parameters(&self) -> PathParameters {
        self.path.as_deref().map_or(PathParameters::None, |it| PathParameters::of(it.pattern()))
    }

    /// The number of predicates beside host, path and method.
    pub(crate) fn predicates(&self) -> u32 {
        let values = self.headers.len() + self.query.len() + self.cookies.len();
        let count =
            values + usize::from(self.listeners.is_some()) + usize::from(self.clients.is_some());
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}
