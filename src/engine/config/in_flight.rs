//! `in_flight` of an upstream or a route: how many of its requests may run at once.

use crate::keys::{KeyRule, LONGEST, Limit, SHORTEST, section};
use crate::time::Micros;

section! {
    /// How many requests may run at once: from the moment at which the gateway turns to an endpoint to
    /// the end of the response. A tunnel counts until it ends.
    #[derive(Copy, Eq, Hash)]
    pub settings InFlight {
        /// Requests at once, per node. Never more run. The cores share the limit, and lend each other
        /// what they do not use: within a few milliseconds, a request may be refused although another
        /// core has room. A request over the limit waits if `queue_max` allows it, and is answered 503
        /// `in_flight_full` otherwise.
        requests_max: Limit<u32> => KeyRule::default(Limit::OFF).within_or_off(1..=10_000_000);
        /// Requests that wait at once for others to end, per node, divided among the cores. The one
        /// that came first goes on first. "off": no request waits.
        queue_max: Limit<u32> => KeyRule::default(Limit::OFF).within_or_off(1..=1_000_000);
        /// How long a request may wait. Then it is answered 503.
        queue_timeout: Micros => KeyRule::default(Micros::secs(1)).within(SHORTEST..=LONGEST);
    }
}
