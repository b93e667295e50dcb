//! `body_limit`: the longest body of a request.

use super::{Filter, FilterKeys, FilterRequest, FilterShare, Hooks, RequestVerdict};
use crate::keys::{ByteSize, KeyRule, section};

section! {
    /// Answers a request with a longer body 413, also while the body comes. It may allow more than the
    /// listener does.
    #[derive(Eq)]
    pub BodyLimit {
        /// The longest body, in bytes.
        bytes_max: ByteSize => KeyRule::required("\"1MiB\"").within(ByteSize(0)..=ByteSize(1 << 50));
    }
}

impl FilterKeys for BodyLimit {
    type Running = Self;

    fn start(&self, _: FilterShare, _: Option<&Self>) -> Self {
        self.clone()
    }
}

impl Filter for BodyLimit {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }

    fn on_request(&self, request: &mut FilterRequest<'_>) -> RequestVerdict {
        *request.body_bytes_max = self.bytes_max.0;
        RequestVerdict::Continue
    }
}
