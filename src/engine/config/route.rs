//! `[routes.NAME]`: a match rule, and the destination of its requests.

use super::matching::Match;
use super::redirect::Redirect;
use super::reply::Reply;
use super::upgrades::Protocol;
use crate::keys::{ExactlyOne, KeyRule, Spanned, one_of, section};

section! {
    /// A match rule, and the destination of the requests that fit it.
    pub Route {
        /// The requests it is for. Absent: all.
        matches = "match": Match => KeyRule::section();
        /// The destination of its requests.
        destination: Destination => ExactlyOne("add upstream = \"NAME\", or redirect or reply");
        /// Protocols that its clients may switch to by `Upgrade`, such as "websocket" or "tcp-x/1".
        /// Once the endpoint has agreed, bytes pass both ways as they are. A request for another
        /// protocol reaches the endpoint without `Upgrade`. Absent: ["websocket"]; [] for none. Only
        /// beside `upstream`.
        upgrades: Option<Spanned<Vec<Spanned<Protocol>>>> => KeyRule::optional("[\"websocket\"]");
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
