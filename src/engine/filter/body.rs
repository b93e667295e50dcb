//! Filters of a body: what a filter sees of it before its request hook, and how it changes the pieces
//! that pass.

use crate::reason::Reason;

/// How much of a request's body a filter must see before its request hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyWish {
    /// None of it.
    Nothing,
    /// Its first bytes, at most so many.
    First(usize),
    /// All of it. A longer one is answered 413.
    Whole(usize),
}

/// Sees the pieces of one body as they pass, in either direction.
pub trait BodyFilter: std::fmt::Debug {
    /// A piece has come, perhaps an empty one; `last` with the final bytes. The bytes that go on in its
    /// place are appended to `out`.
    fn push(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) -> BodyVerdict;

    /// Whether the bytes that go on are always as many as those that came.
    fn keeps_length(&self) -> bool {
        false
    }
}

/// The verdict on a piece of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyVerdict {
    /// It goes on as it came.
    Pass,
    /// The appended bytes go on in its place. With none, the filter holds the piece back.
    Replace,
    /// The exchange ends for this reason.
    Refuse(Reason),
}
