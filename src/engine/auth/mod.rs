//! Identity: the consumer that a request comes from, and the credentials that prove it.
//!
//! Authenticating filters find out the [`Identity`] of a request; what runs later uses it: `acl`,
//! placeholders, the access log. The table of [`Consumers`] belongs to the snapshot, so a request
//! keeps the consumers with which it began.
//!
//! Invariant: no secret is kept. A key is hashed when it is read, and no output shows the hash.

mod consumers;
mod key_hash;
mod place;

pub use consumers::{Consumer, ConsumerId, Consumers};
pub use key_hash::KeyHash;
pub use place::{CredentialPlace, Credentials};

/// The identity of a request, as far as filters have found it out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The consumer, in the table of the request's snapshot.
    pub consumer: Option<ConsumerId>,
}
