//! The name and the number of an endpoint on its core.

use engine::address::Address;

/// The identity of an endpoint in notes and records.
#[derive(Debug, PartialEq, Eq)]
pub struct EndpointLabel {
    /// Its number on this core.
    pub id: EndpointId,
    /// Where it listens.
    pub address: Address,
}

/// Which endpoint of this core. Two endpoints of one core never have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointId(pub u32);
