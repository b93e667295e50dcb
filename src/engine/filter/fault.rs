//! `fault`: failures on purpose, to see how clients and their users bear them.

use std::cell::Cell;

use super::{Filter, FilterKeys, FilterReply, FilterRequest, FilterShare, Hooks, RequestVerdict};
use crate::keys::{Fraction, KeyRule, LONGEST, SHORTEST, section};
use crate::mix::{GOLDEN, mix};
use crate::reason::Reason;
use crate::time::Micros;

section! {
    /// Delays or refuses a share of the requests on purpose, chosen at random. A request that is refused
    /// is not delayed.
    #[derive(Eq)]
    pub settings Fault {
        /// Requests that get an error in place of a response.
        abort: Option<AbortFault> => KeyRule::optional_section();
        /// Requests that wait before they go on.
        delay: Option<DelayFault> => KeyRule::optional_section();
    }
}

section! {
    /// Requests that get an error in place of a response.
    #[derive(Eq)]
    pub AbortFault {
        /// The status.
        status: u16 => KeyRule::required("503").within(400..=599);
        /// Their share of all requests.
        share: Fraction => KeyRule::required("0.01");
    }
}

section! {
    /// Requests that wait before they go on.
    #[derive(Eq)]
    pub DelayFault {
        /// How long.
        wait = "for": Micros => KeyRule::required("\"200ms\"").within(SHORTEST..=LONGEST);
        /// Their share of all requests.
        share: Fraction => KeyRule::required("0.05");
    }
}

/// The filter as it runs.
#[derive(Debug)]
pub struct FaultMaker {
    keys: Fault,
    random: Cell<u64>,
}

impl FilterKeys for Fault {
    type Running = FaultMaker;

    fn start(&self, share: FilterShare, _: Option<&FaultMaker>) -> FaultMaker {
        FaultMaker { keys: self.clone(), random: Cell::new(share.seed) }
    }

    fn mistake(&self) -> Option<(String, &'static str)> {
        let cure = "add abort = { status = 503, share = 0.01 }, or delay";
        let none = self.abort.is_none() && self.delay.is_none();
        none.then(|| ("a fault does nothing".to_owned(), cure))
    }
}

impl FaultMaker {
    /// Draws whether a request belongs to this share.
    fn draws(&self, share: Fraction) -> bool {
        self.random.set(self.random.get().wrapping_add(GOLDEN));
        (mix(self.random.get()) >> 32) < share.of(1 << 32)
    }
}

impl Filter for FaultMaker {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }

    fn on_request(&self, _: &mut FilterRequest<'_>) -> RequestVerdict {
        if let Some(abort) = self.keys.abort.as_ref().filter(|it| self.draws(it.share)) {
            let reply = FilterReply::refusal(Reason::FaultInjected);
            return RequestVerdict::Reply(Box::new(FilterReply { status: abort.status, ..reply }));
        }
        match self.keys.delay.as_ref().filter(|it| self.draws(it.share)) {
            Some(delay) => RequestVerdict::Wait(delay.wait),
            None => RequestVerdict::Continue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{SHARE, TestRequest};
    use super::*;

    #[test]
    fn faults_meet_their_share_of_the_requests() {
        let keys = Fault {
            abort: Some(AbortFault { status: 500, share: Fraction::percent(10) }),
            delay: Some(DelayFault { wait: Micros::secs(1), share: Fraction::percent(50) }),
        };
        let filter = keys.start(SHARE, None);
        let (mut aborted, mut delayed) = (0, 0);
        for _ in 0..10_000 {
            match TestRequest::get("/").run(&filter) {
                RequestVerdict::Reply(reply) => aborted += u32::from(reply.status == 500),
                RequestVerdict::Wait(Micros(1_000_000)) => delayed += 1,
                RequestVerdict::Continue => {}
                other => panic!("{other:?}"),
            }
        }
        assert!((900..1100).contains(&aborted), "{aborted}");
        assert!((4300..4700).contains(&delayed), "{delayed}");
    }
}
