//! The health of the endpoints of an upstream: when an endpoint that fails gets no more requests.

use crate::keys::{Fraction, KeyRule, LONGEST, Limit, section};
use crate::time::Micros;

section! {
    /// When an endpoint gets no requests for a while because it fails those that it gets. Each core
    /// judges by its own requests.
    #[derive(Copy, Eq, Hash)]
    pub settings EjectRules {
        /// Tries in a row, on one core, that fail: no connection, a reset, a timeout, nonsense, or the
        /// status 502, 503 or 504. A pooled connection that turns out dead does not count.
        consecutive_failures: u32 => KeyRule::default(5).within(1..=1000);
        /// How long the endpoint gets no requests. Then one request goes to it, and if that fails
        /// too, the endpoint is out for twice as long, up to eight times.
        lasts = "for": Micros => KeyRule::default(Micros::secs(10)).within(Micros::secs(1)..=LONGEST);
        /// The largest share of the endpoints that may be out at once. A single endpoint is never out.
        share_max: Fraction => KeyRule::default(Fraction::percent(50))
            .within(Fraction::percent(0)..=Fraction::percent(100));
        /// When a smaller share of the endpoints than this is left, requests go to those that are out
        /// too: better a sick endpoint than none. Endpoints that drain or whose checks fail are not
        /// counted and not used. "off": only endpoints that are not out are used.
        panic: Limit<Fraction> => KeyRule::default(Limit::at(Fraction::percent(50)))
            .within_or_off(Fraction::percent(1)..=Fraction::percent(100));
    }
}
