//! Decides whether an endpoint is well enough for requests.
//!
//! [`Ejection`] judges an endpoint by the requests of one core, and [`Share`] bounds how many endpoints
//! of an upstream may be out at once. [`CheckHistory`] judges it by checks, for all cores. The caller
//! keeps the reasons apart: an endpoint may also drain.
//!
//! Invariant: as long as an upstream has an endpoint that neither drains nor fails its checks, the
//! default rules leave one that may be used.

mod checks;
mod ejection;
#[cfg(test)]
mod tests;

pub use checks::{CheckHistory, CheckVerdict};
pub use ejection::{Ejection, EjectionChange, Ticket, TryResult};

use crate::config::EjectRules;

/// The endpoints of an upstream that are not out of use for another reason than their failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// All of these.
    pub endpoints: usize,
    /// Those that are ejected.
    pub ejected: usize,
}

impl Share {
    /// Whether one more may be ejected.
    #[must_use]
    pub const fn has_room(self, rules: &EjectRules) -> bool {
        let max = rules.share_max.of(self.endpoints as u64);
        self.endpoints > 1 && (self.ejected as u64) < max
    }

    /// Whether so few are left that requests go to those that are ejected too.
    #[must_use]
    pub fn is_panic(self, rules: &EjectRules) -> bool {
        // In millionths of an endpoint, so that the share is not rounded down.
        const PARTS: u64 = 1_000_000;
        let left = self.endpoints.saturating_sub(self.ejected) as u64 * PARTS;
        !rules.panic.is_off() && left < rules.panic.value().of(self.endpoints as u64 * PARTS)
    }
}
