//! `[routes.NAME]`: a match rule, and the destination of its requests.

use super::in_flight::InFlight;
use super::matching::Match;
use super::redirect::Redirect;
use super::reply::Reply;
use super::upgrades::Protocol;
use super::upstream::UpstreamTimeouts;
use crate::filter::FilterUse;
use crate::header::HeaderName;
use crate::keys::{ExactlyOne, KeyRule, LONGEST, Limit, SHORTEST, Spanned, one_of, section};
use crate::time::Micros;

section! {
    /// A match rule, and the destination of the requests that fit it.
    pub Route {
        /// The requests it is for. Absent: all.
        matches = "match": Match => KeyRule::section();
        /// The destination of its requests.
        destination: Destination => ExactlyOne("add upstream = \"NAME\", or redirect or reply");
        /// Steps of the gateway on the way of its requests and their responses, in this order, behind those
        /// of the listener: names of `[filters.NAME]`, or tables with `type`.
        filters: Vec<Spanned<FilterUse>> => KeyRule::default(Vec::new()).example("[{ type = \"ip_access\", allow = [\"10.0.0.0/8\"] }]");
        /// Protocols that its clients may switch to by `Upgrade`, such as "websocket" or "tcp-x/1".
        /// Once the endpoint has agreed, bytes pass both ways as they are. A request for another
        /// protocol reaches the endpoint without `Upgrade`. Absent: ["websocket"]; [] for none. Only
        /// beside `upstream`.
        upgrades: Option<Spanned<Vec<Spanned<Protocol>>>> => KeyRule::optional("[\"websocket\"]");
        /// Timeouts of its requests, which override those of the upstream. Only beside `upstream`.
        timeouts: Spanned<RouteTimeouts> => KeyRule::settings();
        /// How many of its requests may run at once. Only beside `upstream`, whose own limit holds too.
        in_flight: Spanned<InFlight> => KeyRule::settings();
    }
}

section! {
    /// Timeouts of the requests of a route. They override those of the upstream.
    pub settings RouteTimeouts {
        /// From the end of the request to the first byte of the response, as `timeouts.first_byte` of
        /// upstreams. Absent: that of the upstream.
        first_byte: Option<Limit<Micros>> => KeyRule::optional("\"5s\"")
            .within_or_off(SHORTEST..=LONGEST);
        /// Between two pieces of a response, as `timeouts.between_bytes` of upstreams. Absent: that of
        /// the upstream.
        between_bytes: Option<Limit<Micros>> => KeyRule::optional("\"off\"")
            .within_or_off(SHORTEST..=LONGEST);
        /// For the whole of a request at the upstream, as `timeouts.total` of upstreams. Absent: that
        /// of the upstream.
        total: Option<Limit<Micros>> => KeyRule::optional("\"2s\"")
            .within_or_off(SHORTEST..=LONGEST);
        /// A header that tells the endpoint the time for the whole request, in milliseconds, as it is
        /// when the request goes to its first try. The header of a trusted proxy shortens `total`; that
        /// of any other client is removed. With 0 left, the answer is 504. Absent: no header.
        deadline_header: Option<HeaderName> => KeyRule::optional("\"x-deadline-ms\"");
    }
}

impl RouteTimeouts {
    /// The timeouts that hold for a request of the route at an upstream with these.
    #[must_use]
    pub fn over(&self, upstream: UpstreamTimeouts) -> UpstreamTimeouts {
        UpstreamTimeouts {
            first_byte: self.first_byte.unwrap_or(upstream.first_byte),
            between_bytes: self.between_bytes.unwrap_or(upstream.between_bytes),
            total: self.total.unwrap_or(upstream.total),
            ..upstream
        }
    }
}

one_of! {
    /// The destination of requests.
    pub Destination {
        /// The upstream that its requests go to.
        Upstream = "upstream": Spanned<String> => KeyRule::optional("\"users\"").in_sample();
        /// A place that clients are sent to instead.
        Redirect = "redirect": Redirect => KeyRule::optional_section();
        /// An answer of the gateway itself.
        Reply = "reply": Reply => KeyRule::optional_section();
    }
}
