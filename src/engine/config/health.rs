//! The health of the endpoints of an upstream: when an endpoint that fails gets no more requests.

use std::borrow::Cow;

use crate::keys::{
    ExactlyOne, Fraction, ItemKind, KeyRule, LONGEST, Limit, Mistake, SHORTEST, Shape, StatusRange,
    Value, Written, one_of, section,
};
use crate::pattern::Always;
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

section! {
    /// Checks that the gateway itself makes of each endpoint. An endpoint whose checks fail gets no
    /// requests. One that is new gets requests until its first check says otherwise.
    pub HealthCheck {
        /// The probe: `path`, or `tcp`.
        probe: Probe => ExactlyOne("add path = \"/healthz\", or tcp = true");
        /// The Host header of the request. Default: the address of the endpoint.
        host: Option<VisibleText> => KeyRule::optional("\"users.internal\"");
        /// The statuses of an endpoint that is well.
        statuses: Vec<StatusRange> => KeyRule::default(vec![StatusRange { first: 200, last: 299 }])
            .example("[\"200-299\", \"401\"]");
        /// The body of an endpoint that is well. Absent: any.
        body: Option<CheckBody> => KeyRule::optional_section();
        /// From the beginning of a check to that of the next one; up to a tenth less, at random. An
        /// endpoint whose checks fail is checked twice as often.
        interval: Micros => KeyRule::default(Micros::secs(2)).within(Micros::millis(100)..=LONGEST);
        /// For a whole check, the connect included. Then it has failed.
        timeout: Micros => KeyRule::default(Micros::secs(1)).within(SHORTEST..=LONGEST);
        /// Checks in a row that must pass until an endpoint that failed gets requests again.
        healthy_after: u32 => KeyRule::default(2).within(1..=100);
        /// Checks in a row that must fail until an endpoint that was well gets no more requests.
        unhealthy_after: u32 => KeyRule::default(3).within(1..=100);
    }
}

section! {
    /// The body of an endpoint that is well, as far as a check looks at it: up to 64 KiB.
    pub CheckBody {
        /// A text that stands somewhere in it.
        contains: String => KeyRule::required("\"ok\"");
    }
}

one_of! {
    /// The kind of a check.
    #[derive(Eq)]
    pub Probe {
        /// A GET request for this path, on a connection of its own.
        Path = "path": VisibleText => KeyRule::optional("\"/healthz\"");
        /// A connection alone: it passes when the endpoint accepts.
        Tcp = "tcp": Always => KeyRule::optional("true");
    }
}

/// A text of visible ASCII characters, as a part of a request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisibleText(pub Box<str>);

impl Value for VisibleText {
    fn expected() -> Cow<'static, str> {
        "a text without spaces, such as \"/healthz\"".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "text", pattern: Some("^[!-~]+$") }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = kind.text().ok_or(Mistake::KIND)?;
        if text.value.is_empty() || !text.value.bytes().all(|it| it.is_ascii_graphic()) {
            return Err(Mistake::value("only visible ASCII characters may stand here"));
        }
        Ok(Self((&*text.value).into()))
    }

    fn write(&self) -> Written {
        Written::text(&*self.0)
    }
}
