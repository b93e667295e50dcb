//! Limits: those of the whole node, held to by cores that share nothing ([`lease`]), and those of a core
//! for each of many keys.

mod gcra;
mod key;
pub mod lease;
mod recent;

pub use gcra::{Debt, Pace, Passed};
pub use key::{KeyId, LimitKey};
pub use lease::{Borrower, Lender, ToBorrower, ToLender};
pub use recent::Recent;

/// The id of a limit. A limit that gets another size, or comes back after a version without it, gets
/// another id: news about the one before does not concern it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitId(pub u32);
