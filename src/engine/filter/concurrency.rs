//! `concurrency`: how many requests of each client, or of each value of another key, run at once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use foldhash::fast::FixedState;

use super::{
    Fetch, Filter, FilterFinish, FilterKeys, FilterReply, FilterRequest, FilterShare, Hooks,
    RequestVerdict,
};
use crate::keys::{KeyRule, section};
use crate::limit::{KeyId, LimitKey};
use crate::reason::Reason;

section! {
    /// Limits the requests of each client, or of each value of another `key`, that run at once. A further
    /// one is answered 429 with `Retry-After`. A request runs until its response has ended; one that becomes
    /// a tunnel, such as a WebSocket, until the tunnel begins. Each core counts by itself, and a connection
    /// stays on its core: a client with connections on several cores gets `requests_max` on each of them.
    /// For all requests of a route or an upstream together there is `in_flight`, which holds for the
    /// node.
    #[derive(Eq)]
    pub Concurrency {
        /// Requests with one key that may run at once, on each core.
        requests_max: u32 => KeyRule::required("10").within(1..=1_000_000);
        /// The part of a request by which requests are counted: "client_ip" (also behind a trusted proxy;
        /// IPv6 by its leading 64 bits), { client_ip = 24 } (the leading bits of IPv4), "header:NAME",
        /// "cookie:NAME", "query:NAME", "path", "route", or a list of these for all of them together.
        /// Requests without the part are counted together under one key.
        key: LimitKey => KeyRule::default(LimitKey::client_ip()).example("\"header:x-user\"");
    }
}

/// Requests that run, by key. A key is here while one of its requests runs: so there are never more
/// keys than requests.
type RunningRequests = Rc<RefCell<HashMap<KeyId, u32, FixedState>>>;

/// The filter as it runs on a core.
#[derive(Debug)]
pub struct ConcurrencyLimiter {
    requests_max: u32,
    key: LimitKey,
    seed: u64,
    running: RunningRequests,
}

impl FilterKeys for Concurrency {
    type Running = ConcurrencyLimiter;

    fn start(&self, share: FilterShare, before: Option<&ConcurrencyLimiter>) -> ConcurrencyLimiter {
        let same = before.filter(|before| before.key == self.key);
        ConcurrencyLimiter {
            requests_max: self.requests_max,
            key: self.key.clone(),
            seed: share.seed,
            running: same
                .map_or_else(RunningRequests::default, |before| Rc::clone(&before.running)),
        }
    }
}

/// A request that runs. It ends when this is dropped, wherever that is.
#[derive(Debug)]
struct Runs {
    id: KeyId,
    running: RunningRequests,
}

impl Drop for Runs {
    fn drop(&mut self) {
        let mut running = self.running.borrow_mut();
        match running.get_mut(&self.id) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                running.remove(&self.id);
            }
        }
    }
}

impl Filter for ConcurrencyLimiter {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST | Hooks::FINISH
    }

    fn on_request(&self, request: &mut FilterRequest<'_>) -> RequestVerdict {
        let id = self.key.id(request.head, request.client, &request.route.name, self.seed);
        {
            let mut running = self.running.borrow_mut();
            let count = running.entry(id).or_default();
            if *count >= self.requests_max {
                let mut reply = FilterReply::refusal(Reason::ConcurrencyLimited);
                // Nobody knows when a request will end.
                reply.headers.push((b"retry-after"[..].into(), b"1".to_vec()));
                return RequestVerdict::Reply(Box::new(reply));
            }
            *count += 1;
        }
        request.memo.set(Runs { id, running: Rc::clone(&self.running) });
        RequestVerdict::Continue
    }

    fn on_finish(&self, finish: FilterFinish<'_>) -> Option<Fetch> {
        // The next request of the connection must not find this one still running.
        finish.memo.forget();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{SHARE, TestRequest};
    use super::*;

    fn filter(requests_max: u32, before: Option<&ConcurrencyLimiter>) -> ConcurrencyLimiter {
        Concurrency { requests_max, key: LimitKey::client_ip() }.start(SHARE, before)
    }

    #[test]
    fn a_request_that_ends_makes_room_and_leaves_nothing_behind() {
        let filter = filter(2, None);
        let mut runs: Vec<_> = (0..2).map(|_| TestRequest::get("/")).collect();
        for request in &mut runs {
            assert!(matches!(request.run(&filter), RequestVerdict::Continue));
        }
        let mut third = TestRequest::get("/");
        let RequestVerdict::Reply(reply) = third.run(&filter) else { panic!("no reply") };
        assert_eq!(reply.reason, Some(Reason::ConcurrencyLimited));
        // The one that was refused holds nothing.
        drop(third);
        assert!(matches!(TestRequest::get("/").run(&filter), RequestVerdict::Reply(_)));
        runs.pop();
        assert!(matches!(TestRequest::get("/").run(&filter), RequestVerdict::Continue));
        runs.clear();
        assert!(filter.running.borrow().is_empty());
    }

    #[test]
    fn other_settings_count_the_requests_that_run() {
        let before = filter(1, None);
        let mut first = TestRequest::get("/");
        assert!(matches!(first.run(&before), RequestVerdict::Continue));
        let after = filter(1, Some(&before));
        drop(before);
        assert!(matches!(TestRequest::get("/").run(&after), RequestVerdict::Reply(_)));
        drop(first);
        assert!(matches!(TestRequest::get("/").run(&after), RequestVerdict::Continue));
    }
}
