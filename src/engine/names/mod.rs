//! Endpoints that are written as names: what DNS is asked, and the addresses that it answers.
//!
//! [`DnsName`] is a name as the configuration writes it. [`Answers`] holds the places that each name
//! stands for now. [`Lookup`] is the result of asking once, and [`Followed`] decides what it changes
//! and when to ask again. The control thread asks; workers hear of new answers as facts.
//!
//! Invariant: a name that has had an answer keeps at least one place, however often a later question
//! fails.

mod answers;
mod follow;
mod lookup;
mod name;

pub use answers::{Answers, NamedPlace};
pub use follow::{FollowStep, Followed, ResolutionCounts};
pub use lookup::{Lookup, ServiceTarget};
pub use name::{AddressOrName, DnsName};
