//! Limits of the whole node, held to by cores that share nothing.

pub mod lease;

pub use lease::{Borrower, Lender, ToBorrower, ToLender};

/// The id of a limit. A limit that gets another size, or comes back after a version without it, gets
/// another id: news about the one before does not concern it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitId(pub u32);
