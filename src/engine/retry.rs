//! Decides whether the gateway may send a request again.
//!
//! [`judge`] looks at a ledger of the bytes that went out and came in, never at the kind of error.
//! Bytes tell whether an endpoint may have acted on a request; errors of different causes look
//! alike.
//!
//! Call it when a connection or an attempt to connect **failed**, connect timeouts included. Do not
//! call it when an endpoint did not answer within its time (first byte, between bytes): the
//! endpoint may still be at work.
//!
//! Invariant: a request that an endpoint may have seen is not sent twice unless its method is
//! idempotent (RFC 9110 section 9.2.2); and no request is sent twice from a body that is gone.

use proto::head::Method;

use crate::stage::Stage;

/// How often the gateway sends a request that an endpoint may have seen, the first time included.
/// Two sends make good for a pooled connection that had died. More sends would multiply the load of
/// an upstream that fails as a whole. A try that no endpoint has seen does not count: the next one
/// goes to another endpoint.
pub const SENDS_MAX: u32 = 2;

/// The bytes that passed between the gateway and its endpoints for one exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Whether the connection of the last try came from the pool. The endpoint may have closed such
    /// a connection before it saw the request.
    pub reused: bool,
    /// Bytes of the request that the kernel took in the last try.
    pub bytes_out: u64,
    /// Whether the connection ended before the endpoint took any of these bytes: the endpoint had
    /// closed it before the first byte arrived.
    pub untaken: bool,
    /// Bytes of the request's body that some try handed on and the gateway no longer holds. It
    /// cannot send them again.
    pub body_bytes_consumed: u64,
    /// Bytes of the response that came in, in any try.
    pub response_bytes: u64,
    /// Tries so far.
    pub tries: u32,
    /// Tries before the last one in which an endpoint may have seen the request.
    pub seen_before: u32,
    /// Whether an endpoint is left that was not tried, or was tried on a pooled connection only.
    pub endpoint_left: bool,
}

impl Ledger {
    /// Nothing has passed.
    pub const NONE: Self = Self {
        reused: false,
        bytes_out: 0,
        untaken: false,
        body_bytes_consumed: 0,
        response_bytes: 0,
        tries: 0,
        seen_before: 0,
        endpoint_left: false,
    };

    /// Begins another try, in which no byte of the request has gone out yet.
    pub const fn begin_try(&mut self) {
        if self.may_be_seen() {
            self.seen_before += 1;
        }
        self.tries += 1;
        self.reused = false;
        self.bytes_out = 0;
        self.untaken = false;
    }

    /// Whether the last try may have shown the request to an endpoint: bytes went out, and it is not
    /// certain that none of them arrived.
    #[must_use]
    pub const fn may_be_seen(&self) -> bool {
        self.bytes_out > 0 && !self.untaken
    }
}

/// The next step after a try that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send the request again, from [`Stage::Select`] on.
    Retry,
    /// Answer the client, or abort the response.
    GiveUp,
}

/// Judges a try that failed in `stage`.
#[must_use]
pub fn judge(ledger: &Ledger, method: Method, stage: Stage) -> Verdict {
    // In every other stage the client or the gateway failed, and another endpoint would not help.
    let with_an_endpoint = matches!(stage, Stage::Connect | Stage::Forward | Stage::Respond);
    // Once a byte of the response came, the client may have it, and a second response would contradict
    // it. Without the whole body, the second request would not be the same request.
    let replayable = ledger.response_bytes == 0 && ledger.body_bytes_consumed == 0;
    // Only sends that an endpoint may have seen use up the budget: see `SENDS_MAX`.
    let unseen = !ledger.may_be_seen();
    let sends = ledger.seen_before + u32::from(!unseen);
    if !with_an_endpoint || !replayable || !ledger.endpoint_left || sends >= SENDS_MAX {
        return Verdict::GiveUp;
    }
    // A pooled connection usually ends because the endpoint closed it, idle, while the request was
    // on its way. "Usually" is not "certainly", so the method decides. On a fresh connection the
    // request itself may be the reason why the endpoint went away.
    let stale = ledger.reused && idempotent(method);
    if unseen || stale { Verdict::Retry } else { Verdict::GiveUp }
}

/// Whether two requests with this method have the effect of one. TRACE is idempotent too. We leave it
/// out, because no client needs a retry of it.
const fn idempotent(method: Method) -> bool {
    method.is_idempotent() && !matches!(method, Method::Trace)
}

#[cfg(test)]
mod tests {
    use super::Verdict::{GiveUp, Retry};
    use super::*;

    const FRESH: Ledger = Ledger {
        reused: false,
        bytes_out: 0,
        untaken: false,
        body_bytes_consumed: 0,
        response_bytes: 0,
        tries: 1,
        seen_before: 0,
        endpoint_left: true,
    };
    const REUSED: Ledger = Ledger { reused: true, ..FRESH };

    #[test]
    fn the_table_of_verdicts_holds() {
        use Method::{Delete, Get, Head, Options, Patch, Post, Put};
        use Stage::{Connect, Forward, Respond};
        let sent = |ledger: Ledger| Ledger { bytes_out: 100, ..ledger };
        let untaken = |ledger: Ledger| Ledger { untaken: true, ..ledger };
        let cases = [
            ("connect failed", FRESH, Get, Connect, Retry),
            ("connect failed, POST", FRESH, Post, Connect, Retry),
            ("fresh, nothing went out", FRESH, Post, Forward, Retry),
            ("reused, nothing went out", REUSED, Post, Forward, Retry),
            ("reused, nothing went out", REUSED, Patch, Forward, Retry),
            ("reused, died in mid-head", sent(REUSED), Get, Forward, Retry),
            ("reused, no answer", sent(REUSED), Get, Respond, Retry),
            ("reused, no answer", sent(REUSED), Head, Respond, Retry),
            ("reused, no answer", sent(REUSED), Options, Respond, Retry),
            ("reused, no answer", sent(REUSED), Put, Respond, Retry),
            ("reused, no answer", sent(REUSED), Delete, Respond, Retry),
            ("reused, no answer, POST", sent(REUSED), Post, Respond, GiveUp),
            ("reused, no answer, PATCH", sent(REUSED), Patch, Respond, GiveUp),
            ("reused, none taken, POST", untaken(sent(REUSED)), Post, Respond, Retry),
            ("fresh, no answer", sent(FRESH), Get, Respond, GiveUp),
            ("fresh, died in mid-head", sent(FRESH), Put, Forward, GiveUp),
            ("nothing was tried", FRESH, Get, Stage::Select, GiveUp),
            ("the client's side", FRESH, Get, Stage::Decode, GiveUp),
        ];
        for (case, ledger, method, stage, verdict) in cases {
            assert_eq!(judge(&ledger, method, stage), verdict, "{case}: {method:?} in {stage}");
        }
    }

    #[test]
    fn nothing_is_sent_again_once_a_byte_of_the_response_came() {
        let ledger = Ledger { response_bytes: 1, bytes_out: 100, ..REUSED };
        assert_eq!(judge(&ledger, Method::Get, Stage::Respond), GiveUp);
    }

    #[test]
    fn a_body_that_is_gone_is_not_sent_again() {
        let ledger = Ledger { body_bytes_consumed: 1, bytes_out: 100, ..REUSED };
        assert_eq!(judge(&ledger, Method::Put, Stage::Forward), GiveUp);
        let ledger = Ledger { body_bytes_consumed: 1, ..FRESH };
        assert_eq!(judge(&ledger, Method::Put, Stage::Connect), GiveUp);
    }

    #[test]
    fn a_request_that_may_have_been_seen_goes_out_twice_at_most() {
        let ledger = Ledger { seen_before: 1, bytes_out: 100, ..REUSED };
        assert_eq!(judge(&ledger, Method::Get, Stage::Respond), GiveUp);
    }

    #[test]
    fn a_try_that_nobody_has_seen_does_not_count_as_sent() {
        let mut ledger = Ledger::default();
        ledger.begin_try();
        ledger.begin_try();
        assert_eq!((ledger.tries, ledger.seen_before), (2, 0));
        ledger.bytes_out = 100;
        ledger.begin_try();
        assert_eq!((ledger.tries, ledger.seen_before, ledger.bytes_out), (3, 1, 0));
        (ledger.bytes_out, ledger.untaken) = (100, true);
        ledger.begin_try();
        assert_eq!((ledger.tries, ledger.seen_before), (4, 1));
    }

    #[test]
    fn a_request_that_nobody_has_seen_is_tried_until_no_endpoint_is_left() {
        assert_eq!(judge(&FRESH, Method::Post, Stage::Connect), Retry);
        let ledger = Ledger { endpoint_left: false, ..FRESH };
        assert_eq!(judge(&ledger, Method::Post, Stage::Connect), GiveUp);
    }
}
