//! Decides whether the gateway may send a request again.
//!
//! [`judge`] looks at a ledger of the bytes that went out and came in, at the end of the try, and at
//! the [`Policy`] of the upstream. Bytes tell whether an endpoint may have acted on a request; errors
//! of different causes look alike. The policy says which causes are worth another try. Whether there
//! are too many of them is left to the [`Budget`].
//!
//! Invariant: a request that an endpoint may have seen is not sent twice unless its method is
//! idempotent (RFC 9110 section 9.2.2) or the policy says any method; and no request is sent twice
//! from a body that is gone.

mod budget;
mod policy;

use proto::head::Method;

pub use budget::{Budget, RETRIES_MIN};
pub use policy::Policy;

use crate::stage::Stage;

/// How often the gateway sends a request that an endpoint may have seen, the first time included,
/// where the policy has no number. Two sends make good for a pooled connection that had died. More
/// sends would multiply the load of an upstream that fails as a whole. A try that no endpoint has
/// seen does not count: the next one goes to another endpoint.
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
    /// Whether the endpoint has said that it did not look at the request: a refused stream.
    pub refused: bool,
    /// Bytes of the response that came in, in the last try.
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
        refused: false,
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
        self.refused = false;
        self.response_bytes = 0;
    }

    /// Whether the last try may have shown the request to an endpoint: bytes went out, and it is not
    /// certain that none of them arrived.
    #[must_use]
    pub const fn may_be_seen(&self) -> bool {
        self.bytes_out > 0 && !self.untaken
    }
}

/// How a try ended that may be followed by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryEnd {
    /// A connection or an attempt to connect failed in this stage; connect timeouts included.
    Failed(Stage),
    /// The endpoint did not answer in time. It may still be at work.
    TimedOut,
    /// The endpoint answered with this status, and the client has nothing of the answer.
    Answered(u16),
}

/// Why a request goes to another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryCause {
    /// There was no connection, or it ended before the endpoint took a byte.
    ConnectFailure,
    /// The endpoint has said that it did not look at the request.
    RefusedStream,
    /// A pooled connection turned out dead.
    StaleConnection,
    /// The connection ended without an answer.
    Reset,
    /// The endpoint did not answer in time.
    Timeout,
    /// The endpoint answered with a status that the policy names.
    Status,
}

impl RetryCause {
    /// Whether a retry for this cause needs a budget. The others give an endpoint no more load than
    /// one request each: no endpoint took it, or a connection has died that took others with it.
    #[must_use]
    pub const fn is_budgeted(self) -> bool {
        matches!(self, Self::Reset | Self::Timeout | Self::Status)
    }
}

/// The next step after a try that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send the request again, from [`Stage::Select`] on.
    Retry(RetryCause),
    /// Answer the client, or abort the response.
    GiveUp,
}

/// Judges a try that ended so.
#[must_use]
pub fn judge(ledger: &Ledger, policy: &Policy, method: Method, end: TryEnd) -> Verdict {
    // In every other stage the client or the gateway failed, and another endpoint would not help.
    let with_an_endpoint = match end {
        TryEnd::Failed(stage) => {
            matches!(stage, Stage::Connect | Stage::Forward | Stage::Respond)
        }
        TryEnd::TimedOut | TryEnd::Answered(_) => true,
    };
    // A response that broke off in its head is as good as none, but an endpoint that has begun to
    // answer has done its work: only a whole answer with a status of the policy is worth another try.
    let answered = matches!(end, TryEnd::Answered(_));
    let is_whole = ledger.response_bytes == 0 || answered;
    // Without the whole body, the second request would not be the same request.
    let replayable = is_whole && ledger.body_bytes_consumed == 0;
    let unseen = !ledger.may_be_seen() && !answered;
    let within = match policy.tries_max {
        Some(tries_max) => ledger.tries < tries_max,
        // Only sends that an endpoint may have seen count: see `SENDS_MAX`.
        None => ledger.endpoint_left && ledger.seen_before + u32::from(!unseen) < SENDS_MAX,
    };
    if !with_an_endpoint || !replayable || !within {
        return Verdict::GiveUp;
    }
    // An endpoint may have acted on a request that it has seen. "Usually not" is not "certainly not",
    // so the method decides.
    if !unseen && !policy.any_method && !idempotent(method) {
        return Verdict::GiveUp;
    }
    let causes: &[RetryCause] = match end {
        TryEnd::Answered(status) if policy.has_status(status) => &[RetryCause::Status],
        TryEnd::Answered(_) => &[],
        TryEnd::TimedOut => &[RetryCause::Timeout],
        TryEnd::Failed(Stage::Connect) => &[RetryCause::ConnectFailure],
        TryEnd::Failed(_) if ledger.refused => &[RetryCause::RefusedStream],
        // A pooled connection usually ends because the endpoint closed it, idle, while the request was
        // on its way.
        TryEnd::Failed(_) if ledger.reused => &[RetryCause::StaleConnection, RetryCause::Reset],
        TryEnd::Failed(_) if unseen => &[RetryCause::ConnectFailure, RetryCause::Reset],
        // On a new connection the request itself may be the reason why the endpoint went away.
        TryEnd::Failed(_) => &[RetryCause::Reset],
    };
    let cause = causes.iter().find(|cause| policy.has(**cause));
    cause.map_or(Verdict::GiveUp, |cause| Verdict::Retry(*cause))
}

/// Whether two requests with this method have the effect of one. TRACE is idempotent too. We leave it
/// out, because no client needs a retry of it.
const fn idempotent(method: Method) -> bool {
    method.is_idempotent() && !matches!(method, Method::Trace)
}

#[cfg(test)]
mod tests {
    use super::RetryCause::{ConnectFailure, RefusedStream, Reset, StaleConnection};
    use super::TryEnd::{Answered, Failed, TimedOut};
    use super::Verdict::{GiveUp, Retry};
    use super::*;
    use crate::config::{self, RetryMethods, RetryOn, RetryWord, TriesMax};
    use crate::keys::StatusRange;

    const FRESH: Ledger = Ledger {
        reused: false,
        bytes_out: 0,
        untaken: false,
        refused: false,
        body_bytes_consumed: 0,
        response_bytes: 0,
        tries: 1,
        seen_before: 0,
        endpoint_left: true,
    };
    const REUSED: Ledger = Ledger { reused: true, ..FRESH };

    fn by_default(ledger: &Ledger, method: Method, stage: Stage) -> Verdict {
        judge(ledger, &Policy::default(), method, Failed(stage))
    }

    fn policy(on: &[RetryOn], tries_max: TriesMax, methods: RetryMethods) -> Policy {
        let on = on.to_vec();
        Policy::new(&config::Retry { on, tries_max, methods, ..config::Retry::default() })
    }

    #[test]
    fn the_table_of_verdicts_holds() {
        use Method::{Delete, Get, Head, Options, Patch, Post, Put};
        use Stage::{Connect, Forward, Respond};
        let sent = |ledger: Ledger| Ledger { bytes_out: 100, ..ledger };
        let untaken = |ledger: Ledger| Ledger { untaken: true, ..ledger };
        let refused = |ledger: Ledger| Ledger { refused: true, ..untaken(ledger) };
        let cases = [
            ("connect failed", FRESH, Get, Connect, Retry(ConnectFailure)),
            ("connect failed, POST", FRESH, Post, Connect, Retry(ConnectFailure)),
            ("fresh, nothing went out", FRESH, Post, Forward, Retry(ConnectFailure)),
            ("reused, nothing went out", REUSED, Post, Forward, Retry(StaleConnection)),
            ("reused, nothing went out", REUSED, Patch, Forward, Retry(StaleConnection)),
            ("reused, died in mid-head", sent(REUSED), Get, Forward, Retry(StaleConnection)),
            ("reused, no answer", sent(REUSED), Get, Respond, Retry(StaleConnection)),
            ("reused, no answer", sent(REUSED), Head, Respond, Retry(StaleConnection)),
            ("reused, no answer", sent(REUSED), Options, Respond, Retry(StaleConnection)),
            ("reused, no answer", sent(REUSED), Put, Respond, Retry(StaleConnection)),
            ("reused, no answer", sent(REUSED), Delete, Respond, Retry(StaleConnection)),
            ("reused, no answer, POST", sent(REUSED), Post, Respond, GiveUp),
            ("reused, no answer, PATCH", sent(REUSED), Patch, Respond, GiveUp),
            (
                "reused, none taken, POST",
                untaken(sent(REUSED)),
                Post,
                Respond,
                Retry(StaleConnection),
            ),
            ("refused, POST", refused(sent(REUSED)), Post, Respond, Retry(RefusedStream)),
            ("fresh, no answer", sent(FRESH), Get, Respond, GiveUp),
            ("fresh, died in mid-head", sent(FRESH), Put, Forward, GiveUp),
            ("nothing was tried", FRESH, Get, Stage::Select, GiveUp),
            ("the client's side", FRESH, Get, Stage::Decode, GiveUp),
        ];
        for (case, ledger, method, stage, verdict) in cases {
            let judged = by_default(&ledger, method, stage);
            assert_eq!(judged, verdict, "{case}: {method:?} in {stage}");
        }
    }

    #[test]
    fn nothing_is_sent_again_once_a_byte_of_the_response_came() {
        let ledger = Ledger { response_bytes: 1, bytes_out: 100, ..REUSED };
        assert_eq!(by_default(&ledger, Method::Get, Stage::Respond), GiveUp);
    }

    #[test]
    fn a_body_that_is_gone_is_not_sent_again() {
        let ledger = Ledger { body_bytes_consumed: 1, bytes_out: 100, ..REUSED };
        assert_eq!(by_default(&ledger, Method::Put, Stage::Forward), GiveUp);
        let ledger = Ledger { body_bytes_consumed: 1, ..FRESH };
        assert_eq!(by_default(&ledger, Method::Put, Stage::Connect), GiveUp);
    }

    #[test]
    fn a_request_that_may_have_been_seen_goes_out_twice_at_most() {
        let ledger = Ledger { seen_before: 1, bytes_out: 100, ..REUSED };
        assert_eq!(by_default(&ledger, Method::Get, Stage::Respond), GiveUp);
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
        assert_eq!(by_default(&FRESH, Method::Post, Stage::Connect), Retry(ConnectFailure));
        let ledger = Ledger { endpoint_left: false, ..FRESH };
        assert_eq!(by_default(&ledger, Method::Post, Stage::Connect), GiveUp);
    }

    #[test]
    fn a_request_that_an_endpoint_has_seen_is_sent_again_for_the_causes_that_are_written() {
        let sent = Ledger { bytes_out: 100, ..FRESH };
        let answered = Ledger { response_bytes: 50, ..sent };
        let bad = RetryOn::Status(StatusRange { first: 502, last: 503 });
        let cases = [
            (RetryOn::Word(RetryWord::Reset), sent, Failed(Stage::Respond), Reset),
            (RetryOn::Word(RetryWord::Timeout), sent, TimedOut, RetryCause::Timeout),
            (bad, answered, Answered(503), RetryCause::Status),
        ];
        for (written, ledger, end, cause) in cases {
            let with = |methods| policy(&[written], TriesMax::All, methods);
            let careful = with(RetryMethods::Idempotent);
            assert_eq!(judge(&ledger, &careful, Method::Get, end), Retry(cause));
            assert_eq!(judge(&ledger, &careful, Method::Post, end), GiveUp, "{end:?}");
            let any = with(RetryMethods::Any);
            assert_eq!(judge(&ledger, &any, Method::Post, end), Retry(cause));
            assert_eq!(judge(&ledger, &Policy::default(), Method::Get, end), GiveUp, "{end:?}");
            let gone = Ledger { body_bytes_consumed: 1, ..ledger };
            assert_eq!(judge(&gone, &any, Method::Get, end), GiveUp, "{end:?}");
        }
        let any = policy(&[bad], TriesMax::All, RetryMethods::Any);
        assert_eq!(judge(&answered, &any, Method::Get, Answered(504)), GiveUp);
        // A response that breaks off in its head.
        assert_eq!(judge(&answered, &any, Method::Get, Failed(Stage::Respond)), GiveUp);
        assert_eq!(judge(&answered, &any, Method::Get, TimedOut), GiveUp);
    }

    #[test]
    fn a_number_of_tries_holds_for_all_of_them_and_goes_on_after_the_last_endpoint() {
        let causes = [RetryWord::ConnectFailure, RetryWord::Reset].map(RetryOn::Word);
        let three = policy(&causes, TriesMax::Count(3), RetryMethods::Idempotent);
        let last = |tries, ledger| Ledger { tries, endpoint_left: false, ..ledger };
        let sent = Ledger { bytes_out: 100, seen_before: 1, ..FRESH };
        for ledger in [FRESH, sent] {
            let judge =
                |tries| judge(&last(tries, ledger), &three, Method::Get, Failed(Stage::Forward));
            assert!(matches!(judge(2), Retry(_)));
            assert_eq!(judge(3), GiveUp);
        }
        let one = policy(&causes, TriesMax::Count(1), RetryMethods::Any);
        assert_eq!(judge(&FRESH, &one, Method::Get, Failed(Stage::Connect)), GiveUp);
    }

    #[test]
    fn a_cause_that_is_not_written_is_none() {
        let none = policy(&[], TriesMax::Count(9), RetryMethods::Any);
        for (ledger, stage) in [(FRESH, Stage::Connect), (REUSED, Stage::Forward)] {
            assert_eq!(judge(&ledger, &none, Method::Get, Failed(stage)), GiveUp);
        }
    }
}
