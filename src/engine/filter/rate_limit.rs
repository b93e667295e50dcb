//! `rate_limit`: how many requests each client, or each value of another key, may send in a time.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use super::{
    Filter, FilterKeys, FilterReply, FilterRequest, FilterResponse, FilterShare, Hooks,
    RequestVerdict, ResponseVerdict,
};
use crate::keys::{
    EventRate, Item, KeyRule, SectionValue, Shape, Value, Walk, Written, name_of, parse_word,
    section, words,
};
use crate::limit::{Debt, KeyId, LimitKey, Pace, Passed, Recent};
use crate::reason::Reason;
use crate::time::{Instant, Micros};

section! {
    /// Limits the rate of requests for each client, or for each value of another `key`. A
    /// request beyond it is answered 429 with `Retry-After`, or waits. Each core counts by itself, and a
    /// connection stays on its core: the requests of one connection get exactly the rate, and in any span
    /// of time never more than the burst and the rate. A client with connections on several cores gets that
    /// on each of them. Where the node as a whole must not pass more, divide `rate` and `burst` by
    /// `runtime.cores`.
    #[derive(Eq)]
    pub RateLimit {
        /// Requests per second (s), minute (m), hour (h) or day (d), evenly: "60/m" lets one pass each
        /// second.
        rate: EventRate => KeyRule::required("\"100/s\"");
        /// Requests that may come at once, before the rate holds. Absent: as many as come in a second,
        /// and at least 1.
        burst: Option<u32> => KeyRule::optional("50").within(Some(1)..=Some(1_000_000_000));
        /// The part of a request by which requests are counted: "client_ip" (also behind a trusted proxy;
        /// IPv6 by its leading 64 bits), { client_ip = 24 } (the leading bits of IPv4), "header:NAME",
        /// "cookie:NAME", "query:NAME", "path", "route", or a list of these for all of them together.
        /// Requests without the part are counted together under one key.
        key: LimitKey => KeyRule::default(LimitKey::client_ip()).example("[\"client_ip\", \"route\"]");
        /// The treatment of a request beyond the limit: "reject" answers it at once,
        /// { delay_max = "500ms" } lets it wait for its turn, if that comes so soon.
        over: Over => KeyRule::default(Over::Reject).example("{ delay_max = \"500ms\" }");
        /// The headers that tell clients how much is left: "draft" for `RateLimit` and
        /// `RateLimit-Policy` (IETF draft), "x" for `X-RateLimit-Limit`, `X-RateLimit-Remaining` and
        /// `X-RateLimit-Reset` (seconds until the whole burst is there again), or "off".
        headers: LimitHeaders => KeyRule::default(LimitHeaders::Draft);
        /// Keys that each core remembers. Beyond it, those that were not seen for longest are forgotten, and
        /// begin with a whole burst when they come again.
        keys_max: u32 => KeyRule::default(100_000).within(100..=10_000_000);
    }
}

words! {
    /// The headers that tell clients about a limit.
    pub enum LimitHeaders {
        /// Those of the IETF draft.
        #[default]
        Draft = "draft",
        /// Those that many services have.
        X = "x",
        /// None.
        Off = "off",
    }
}

/// The treatment of a request beyond the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// It is answered 429.
    Reject,
    /// It waits, at most for so long.
    Delay(Micros),
}

#[derive(Clone, Copy, PartialEq)]
enum RejectWord {
    Reject,
}

words! { RejectWord { Reject = "reject", } }

section! {
    /// A request beyond the limit waits for its turn. One whose turn does not come in time is answered 429
    /// at once.
    #[derive(Eq)]
    DelayOver {
        /// How long a request may wait.
        delay_max: Micros => KeyRule::required("\"500ms\"").within(Micros::millis(10)..=Micros::secs(60));
    }
}

impl Value for Over {
    fn expected() -> Cow<'static, str> {
        "\"reject\", or a table such as { delay_max = \"500ms\" }".into()
    }

    fn shape() -> Shape {
        let table = Shape::Section(DelayOver::section());
        Shape::Either(Box::new(RejectWord::shape()), Box::new(table))
    }

    fn read<'n>(item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        if item.is_table() {
            return DelayOver::read(item, walk).map(|it| Self::Delay(it.delay_max));
        }
        if item.is_secret() {
            walk.keep_secret();
        }
        match parse_word(&item.kind) {
            Ok(RejectWord::Reject) => Some(Self::Reject),
            Err(mistake) => {
                walk.mistake(item, mistake, &Self::expected());
                None
            }
        }
    }

    fn write(&self) -> Written {
        match self {
            Self::Reject => Written::text(name_of(RejectWord::Reject)),
            Self::Delay(delay_max) => DelayOver { delay_max: *delay_max }.write(),
        }
    }
}

/// The filter as it runs on a core.
#[derive(Debug)]
pub struct RateLimiter {
    pace: Pace,
    key: LimitKey,
    wait_max: Micros,
    headers: LimitHeaders,
    /// `RateLimit-Policy` without its name, and the burst, as they are sent.
    policy: Vec<u8>,
    burst: u32,
    seed: u64,
    /// The keys of the core. A filter with other settings goes on with them.
    keys: Rc<RefCell<Recent<Debt>>>,
}

impl RateLimit {
    fn burst(&self) -> u32 {
        let in_a_second = u64::from(self.rate.count) * Micros::secs(1).0 / self.rate.per.0.max(1);
        self.burst.unwrap_or_else(|| u32::try_from(in_a_second).unwrap_or(u32::MAX).max(1))
    }
}

impl FilterKeys for RateLimit {
    type Running = RateLimiter;

    fn start(&self, share: FilterShare, before: Option<&RateLimiter>) -> RateLimiter {
        let keys_max = usize::try_from(self.keys_max).unwrap_or(usize::MAX);
        // Counts by another key would be those of somebody else.
        let keys = match before.filter(|before| before.key == self.key) {
            Some(before) => Rc::clone(&before.keys),
            None => Rc::new(RefCell::new(Recent::new(keys_max))),
        };
        keys.borrow_mut().resize(keys_max);
        let seconds = self.rate.per.0 / Micros::secs(1).0;
        RateLimiter {
            pace: Pace::new(self.rate, self.burst()),
            key: self.key.clone(),
            wait_max: match self.over {
                Over::Reject => Micros(0),
                Over::Delay(delay_max) => delay_max,
            },
            headers: self.headers,
            policy: format!("\"{}\";q={};w={seconds}", self.rate, self.rate.count).into_bytes(),
            burst: self.burst(),
            seed: share.seed,
            keys,
        }
    }
}

/// The numbers for the headers of the response.
#[derive(Clone, Copy, Debug)]
struct Told(Passed);

const RETRY_AFTER: &[u8] = b"retry-after";
const POLICY: &[u8] = b"ratelimit-policy";
const LEFT: &[u8] = b"ratelimit";
const X_LIMIT: &[u8] = b"x-ratelimit-limit";
const X_LEFT: &[u8] = b"x-ratelimit-remaining";
const X_RESET: &[u8] = b"x-ratelimit-reset";

impl Filter for RateLimiter {
    fn hooks(&self) -> Hooks {
        match self.headers {
            LimitHeaders::Off => Hooks::REQUEST,
            LimitHeaders::Draft | LimitHeaders::X => Hooks::REQUEST | Hooks::RESPONSE,
        }
    }

    fn on_request(&self, request: &mut FilterRequest<'_>) -> RequestVerdict {
        let id = self.key.id(request.head, request.client, &request.route.name, self.seed);
        let asked = self.ask(id, request.now);
        if self.headers != LimitHeaders::Off {
            request.memo.set(Told(asked));
        }
        match asked.after {
            Some(Micros(0)) => RequestVerdict::Continue,
            Some(wait) => RequestVerdict::Wait(wait),
            None => {
                let mut reply = FilterReply::refusal(Reason::RateLimited);
                // A client that comes back within the second that it was told would be refused again.
                let after = seconds(asked.next).max(1).to_string().into_bytes();
                reply.headers.push((RETRY_AFTER.into(), after));
                RequestVerdict::Reply(Box::new(reply))
            }
        }
    }

    fn on_response(&self, response: &mut FilterResponse<'_>) -> ResponseVerdict {
        // An answer of a filter in front of this one was not counted.
        let Some(&mut Told(asked)) = response.memo.get() else { return ResponseVerdict::Continue };
        let headers = &mut response.head.headers;
        let whole = seconds(asked.whole);
        match self.headers {
            LimitHeaders::Off => {}
            LimitHeaders::Draft => {
                let name = self.policy.split(|byte| *byte == b';').next().unwrap_or_default();
                let mut left = name.to_vec();
                left.extend_from_slice(format!(";r={};t={whole}", asked.left).as_bytes());
                headers.push_named(POLICY, &self.policy);
                headers.push_named(LEFT, &left);
            }
            LimitHeaders::X => {
                for (name, value) in
                    [(X_LIMIT, u64::from(self.burst)), (X_LEFT, asked.left), (X_RESET, whole)]
                {
                    headers.remove_named(name);
                    headers.push_named(name, value.to_string().as_bytes());
                }
            }
        }
        ResponseVerdict::Continue
    }
}

impl RateLimiter {
    fn ask(&self, id: KeyId, now: Instant) -> Passed {
        let mut keys = self.keys.borrow_mut();
        self.pace.ask(keys.value(id), now, self.wait_max)
    }
}

/// Whole seconds, rounded up.
const fn seconds(micros: Micros) -> u64 {
    micros.0.div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::super::ResponseOrigin;
    use super::super::testing::{SHARE, TestRequest, response};
    use super::*;
    use crate::address::ClientAddress;

    fn settings(count: u32, burst: u32) -> RateLimit {
        RateLimit {
            rate: EventRate { count, per: Micros::secs(60) },
            burst: Some(burst),
            key: LimitKey::client_ip(),
            over: Over::Reject,
            headers: LimitHeaders::Draft,
            keys_max: 1000,
        }
    }

    fn run_from(filter: &RateLimiter, ip: [u8; 4], now: u64) -> RequestVerdict {
        let mut request = TestRequest::get("/");
        request.client = ClientAddress::of_ip(ip.into());
        request.now = Instant(now);
        request.run(filter)
    }

    fn passes(filter: &RateLimiter, ip: [u8; 4], now: u64) -> bool {
        matches!(run_from(filter, ip, now), RequestVerdict::Continue)
    }

    #[test]
    fn each_client_has_a_burst_of_its_own_and_learns_when_to_come_back() {
        let filter = settings(6, 2).start(SHARE, None);
        let (one, other) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        assert!(passes(&filter, one, 0) && passes(&filter, one, 0));
        let RequestVerdict::Reply(reply) = run_from(&filter, one, 0) else { panic!("no reply") };
        assert_eq!((reply.status, reply.reason), (429, Some(Reason::RateLimited)));
        assert_eq!(reply.headers, [(RETRY_AFTER.into(), b"10".to_vec())]);
        assert!(passes(&filter, other, 0));
        assert!(!passes(&filter, one, 9_999_999));
        assert!(passes(&filter, one, 10_000_000));
    }

    #[test]
    fn the_headers_say_what_is_left() {
        let x = RateLimit { headers: LimitHeaders::X, ..settings(6, 2) };
        for (keys, names, values) in [
            (
                settings(6, 2),
                ["ratelimit-policy", "ratelimit"],
                ["\"6/m\";q=6;w=60", "\"6/m\";r=1;t=10"],
            ),
            (x, ["x-ratelimit-limit", "x-ratelimit-remaining"], ["2", "1"]),
        ] {
            let filter = keys.start(SHARE, None);
            let mut request = TestRequest::get("/");
            assert!(matches!(request.run(&filter), RequestVerdict::Continue));
            let mut head = response("X-RateLimit-Limit: 99\r\n");
            request.respond(&filter, &mut head, ResponseOrigin::Endpoint);
            for (name, value) in names.into_iter().zip(values) {
                assert_eq!(head.headers.find(name.as_bytes()), Some(value.as_bytes()), "{name}");
            }
        }
    }

    #[test]
    fn a_request_beyond_the_limit_may_wait_for_its_turn() {
        let delay = Over::Delay(Micros::secs(15));
        let filter = RateLimit { over: delay, ..settings(6, 1) }.start(SHARE, None);
        assert!(passes(&filter, [10, 0, 0, 1], 0));
        let second = run_from(&filter, [10, 0, 0, 1], 0);
        assert!(matches!(second, RequestVerdict::Wait(wait) if wait == Micros::secs(10)));
        assert!(matches!(run_from(&filter, [10, 0, 0, 1], 0), RequestVerdict::Reply(_)));
    }

    #[test]
    fn other_settings_go_on_with_the_counts_and_another_key_begins_anew() {
        let before = settings(6, 1).start(SHARE, None);
        assert!(passes(&before, [10, 0, 0, 1], 0));
        let after = settings(60, 1).start(SHARE, Some(&before));
        assert!(!passes(&after, [10, 0, 0, 1], 0));
        assert!(passes(&after, [10, 0, 0, 1], 1_000_000));
        let other =
            RateLimit { key: LimitKey::route(), ..settings(6, 1) }.start(SHARE, Some(&before));
        assert!(passes(&other, [10, 0, 0, 1], 0));
    }

    #[test]
    fn a_burst_is_a_seconds_worth_unless_it_is_written() {
        let burst = |count, per| {
            let rate = EventRate { count, per: Micros::secs(per) };
            RateLimit { rate, burst: None, ..settings(1, 1) }.burst()
        };
        assert_eq!([burst(100, 1), burst(5, 60), burst(600, 60)], [100, 1, 10]);
    }
}
