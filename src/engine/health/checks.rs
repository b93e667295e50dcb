//! The verdict about an endpoint from the checks that the gateway makes of it.

use std::time::Duration;

use crate::config::HealthCheck;

/// The result of the checks of an endpoint so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckVerdict {
    /// There was none yet: the endpoint is used.
    #[default]
    Unknown,
    /// It is well.
    Passing,
    /// It gets no requests.
    Failing,
}

impl CheckVerdict {
    /// The word for it in the admin API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Passing => "passing",
            Self::Failing => "failing",
        }
    }
}

/// The checks of one endpoint so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckHistory {
    verdict: CheckVerdict,
    /// Checks in a row that speak against the verdict.
    against: u32,
}

impl CheckHistory {
    /// The verdict.
    #[must_use]
    pub const fn verdict(&self) -> CheckVerdict {
        self.verdict
    }

    /// Takes in the result of a check. Returns whether the verdict is another one now. The first
    /// result decides by itself.
    pub const fn take(&mut self, passed: bool, rules: &HealthCheck) -> bool {
        let (other, needed) = match (self.verdict, passed) {
            (CheckVerdict::Unknown, true) => (CheckVerdict::Passing, 1),
            (CheckVerdict::Unknown, false) => (CheckVerdict::Failing, 1),
            (CheckVerdict::Passing, false) => (CheckVerdict::Failing, rules.unhealthy_after),
            (CheckVerdict::Failing, true) => (CheckVerdict::Passing, rules.healthy_after),
            (CheckVerdict::Passing, true) | (CheckVerdict::Failing, false) => {
                self.against = 0;
                return false;
            }
        };
        self.against += 1;
        if self.against < needed {
            return false;
        }
        *self = Self { verdict: other, against: 0 };
        true
    }

    /// From the beginning of a check to that of the next one. `random` spreads the checks of many
    /// endpoints. An endpoint that fails is checked twice as often, so that it is back soon.
    #[must_use]
    pub fn pause(&self, rules: &HealthCheck, random: u64) -> Duration {
        let micros = match self.verdict {
            CheckVerdict::Failing => rules.interval.0 / 2,
            _ => rules.interval.0,
        };
        Duration::from_micros(micros - random % (micros / 10).max(1))
    }
}
