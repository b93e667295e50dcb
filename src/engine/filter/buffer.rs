//! `buffer`: holds the body of a request until it is whole.

use super::{BodyWish, Filter, FilterKeys, FilterShare, Hooks};
use crate::keys::{ByteSize, KeyRule, section};

section! {
    /// Holds the body of a request in memory until it is whole, and sends it to the endpoint with its
    /// length: for endpoints that cannot read a body in chunks, and so that a slow client occupies no
    /// endpoint. A longer body is answered 413.
    #[derive(Eq)]
    pub settings Buffer {
        /// The longest body, in bytes.
        bytes_max: ByteSize => KeyRule::default(ByteSize(256 << 10))
            .within(ByteSize(1)..=ByteSize(64 << 20));
    }
}

impl FilterKeys for Buffer {
    type Running = Self;

    fn start(&self, _: FilterShare, _: Option<&Self>) -> Self {
        self.clone()
    }
}

impl Filter for Buffer {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }

    fn body_wish(&self) -> BodyWish {
        BodyWish::Whole(usize::try_from(self.bytes_max.0).unwrap_or(usize::MAX))
    }
}
