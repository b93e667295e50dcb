//! `mirror`: a copy of a share of the requests for another upstream, whose answers nobody sees.
//!
//! The copy goes out when the exchange has ended, so it never delays the client. The body is copied as
//! it passes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use proto::head::RequestHead;

use super::{
    BodyFilter, BodyVerdict, Fetch, Filter, FilterFinish, FilterKeys, FilterRequest, FilterShare,
    Hooks, HttpFetch, RequestVerdict,
};
use crate::keys::{ByteSize, Fraction, KeyRule, LONGEST, SHORTEST, Spanned, section};
use crate::mix::{GOLDEN, mix};
use crate::time::Micros;

section! {
    /// Sends a copy of a share of the requests to another upstream, when the client has its response. The
    /// answers are dropped. A copy has the head as it is behind the filters before this one, so put it
    /// last.
    #[derive(Eq)]
    pub Mirror {
        /// The upstream that gets the copies.
        upstream: Spanned<String> => KeyRule::required("\"shadow\"");
        /// The share of the requests, chosen at random.
        share: Fraction => KeyRule::default(Fraction::percent(100)).example("0.1");
        /// Requests with a longer body are not copied.
        body_bytes_max: ByteSize => KeyRule::default(ByteSize(64 << 10))
            .within(ByteSize(0)..=ByteSize(16 << 20));
        /// For the whole answer to a copy.
        timeout: Micros => KeyRule::default(Micros::secs(10)).within(SHORTEST..=LONGEST);
    }
}

/// The filter as it runs.
#[derive(Debug)]
pub struct Mirroring {
    keys: Mirror,
    random: Cell<u64>,
}

/// The copy of one request.
struct Copied {
    head: RequestHead,
    body: Rc<CopiedBody>,
}

#[derive(Debug, Default)]
struct CopiedBody {
    bytes: RefCell<Vec<u8>>,
    state: Cell<BodyState>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum BodyState {
    #[default]
    Whole,
    /// More is to come.
    Coming,
    TooLong,
}

impl FilterKeys for Mirror {
    type Running = Mirroring;

    fn start(&self, share: FilterShare, _: Option<&Mirroring>) -> Mirroring {
        Mirroring { keys: self.clone(), random: Cell::new(share.seed) }
    }

    fn upstreams(&self) -> Vec<&Spanned<String>> {
        vec![&self.upstream]
    }
}

impl Filter for Mirroring {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST | Hooks::FINISH
    }

    fn on_request(&self, request: &mut FilterRequest<'_>) -> RequestVerdict {
        self.random.set(self.random.get().wrapping_add(GOLDEN));
        let drawn = (mix(self.random.get()) >> 32) < self.keys.share.of(1 << 32);
        // A copy of a handshake would leave a tunnel that nobody ends.
        if !drawn || request.head.upgrade().is_some() {
            return RequestVerdict::Continue;
        }
        let body = Rc::new(CopiedBody::default());
        if request.size != proto::head::BodySize::None {
            body.state.set(BodyState::Coming);
            let bytes_max = usize::try_from(self.keys.body_bytes_max.0).unwrap_or(usize::MAX);
            request.body_filters.push(Box::new(Copying { body: Rc::clone(&body), bytes_max }));
        }
        request.memo.set(Copied { head: request.head.clone(), body });
        RequestVerdict::Continue
    }

    fn on_finish(&self, finish: FilterFinish<'_>) -> Option<Fetch> {
        let copied = finish.memo.get::<Copied>()?;
        if copied.body.state.get() != BodyState::Whole {
            return None;
        }
        Some(Fetch::Http(Box::new(HttpFetch {
            upstream: self.keys.upstream.as_str().into(),
            head: std::mem::take(&mut copied.head),
            body: copied.body.bytes.take(),
            timeout: self.keys.timeout,
            response_bytes_max: None,
        })))
    }
}

/// Copies a body as it passes.
#[derive(Debug)]
struct Copying {
    body: Rc<CopiedBody>,
    bytes_max: usize,
}

impl BodyFilter for Copying {
    fn push(&mut self, piece: &[u8], last: bool, _: &mut Vec<u8>) -> BodyVerdict {
        if self.body.state.get() == BodyState::Coming {
            let mut bytes = self.body.bytes.borrow_mut();
            if bytes.len() + piece.len() > self.bytes_max {
                *bytes = Vec::new();
                self.body.state.set(BodyState::TooLong);
            } else {
                bytes.extend_from_slice(piece);
                if last {
                    self.body.state.set(BodyState::Whole);
                }
            }
        }
        BodyVerdict::Pass
    }

    fn keeps_length(&self) -> bool {
        true
    }
}
