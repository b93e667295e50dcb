//! The ejection of one endpoint on one core.
//!
//! ```text
//!       failures in a row            time is up          a request begins
//!  In ---------------------> Out ----------------> Due ------------------> Trial
//!   ^                         ^                                              |
//!   |                         +------ it failed: twice as long --------------+
//!   +------------------------------------- it went well ---------------------+
//! ```
//!
//! Invariant: while an endpoint is on trial, one request is on its way to it, and no other one
//! decides.

use crate::config::EjectRules;
use crate::time::Instant;

/// How often the time out is doubled at most: ten seconds become eighty, so that an endpoint that has
/// recovered waits for at most so long.
const DOUBLINGS_MAX: u32 = 3;

/// The result of a try, for the health of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryResult {
    /// The endpoint answered.
    Good,
    /// The endpoint failed.
    Bad,
    /// It says nothing about the endpoint.
    Neutral,
}

/// A change of an endpoint's standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EjectionChange {
    /// It gets no more requests.
    Ejected,
    /// It gets requests again.
    Returned,
    /// Another request may try it: the last one has said nothing.
    Due,
}

/// Belongs to a try from its begin to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Ejections of the endpoint before the try began.
    ejections: u32,
    /// The try decides whether the endpoint returns.
    pub is_trial: bool,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ejection {
    phase: EjectionPhase,
    /// Failures since the last success, while it is in.
    failures: u32,
    /// Ejections so far. A try that began before the last one decides nothing any more.
    ejections: u32,
    /// How often `for` was doubled at the last ejection.
    doublings: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EjectionPhase {
    /// It gets requests, since it returned at this moment if it was ever out.
    In(Option<Instant>),
    /// It gets none until then.
    Out(Instant),
    /// The next request tries it.
    Due,
    /// A request tries it.
    Trial,
}

impl Default for EjectionPhase {
    fn default() -> Self {
        Self::In(None)
    }
}

impl Ejection {
    /// Whether it is out, also while a request tries whether it may return.
    #[must_use]
    pub const fn is_out(&self) -> bool {
        !matches!(self.phase, EjectionPhase::In(_))
    }

    /// Whether the next request may go to it.
    #[must_use]
    pub const fn admits(&self) -> bool {
        matches!(self.phase, EjectionPhase::In(_) | EjectionPhase::Due)
    }

    /// A try begins. If it is a trial, no other request may go to the endpoint until it ends.
    pub const fn begin(&mut self) -> Ticket {
        let is_trial = matches!(self.phase, EjectionPhase::Due);
        if is_trial {
            self.phase = EjectionPhase::Trial;
        }
        Ticket { ejections: self.ejections, is_trial }
    }

    /// A try has ended, or has got its answer. `has_room` says whether one more endpoint may be out.
    pub fn end(
        &mut self,
        ticket: Ticket,
        result: TryResult,
        rules: &EjectRules,
        has_room: impl FnOnce() -> bool,
        now: Instant,
    ) -> Option<EjectionChange> {
        if ticket.ejections != self.ejections {
            return None;
        }
        match (self.phase, result) {
            (EjectionPhase::In(_), TryResult::Good) => {
                self.failures = 0;
                None
            }
            (EjectionPhase::In(since), TryResult::Bad) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures < rules.consecutive_failures || !has_room() {
                    return None;
                }
                // It has returned and fails again before it was in for as long as it had been out.
                let lasted = rules.lasts.0 << self.doublings;
                let is_relapse = since.is_some_and(|since| now.micros_since(since) < lasted);
                let doublings = if is_relapse { self.doublings + 1 } else { 0 };
                Some(self.eject(doublings, rules, now))
            }
            (EjectionPhase::Trial, TryResult::Bad) if ticket.is_trial => {
                Some(self.eject(self.doublings + 1, rules, now))
            }
            (EjectionPhase::Trial, TryResult::Neutral) if ticket.is_trial => {
                self.phase = EjectionPhase::Due;
                Some(EjectionChange::Due)
            }
            // The trial went well; or, where so few endpoints are left that those that are out are
            // used, any request that was sent meanwhile.
            (
                EjectionPhase::Out(_) | EjectionPhase::Due | EjectionPhase::Trial,
                TryResult::Good,
            ) => {
                self.phase = EjectionPhase::In(Some(now));
                self.failures = 0;
                Some(EjectionChange::Returned)
            }
            _ => None,
        }
    }

    fn eject(&mut self, doublings: u32, rules: &EjectRules, now: Instant) -> EjectionChange {
        self.doublings = doublings.min(DOUBLINGS_MAX);
        self.ejections = self.ejections.wrapping_add(1);
        self.failures = 0;
        self.phase = EjectionPhase::Out(now.plus_micros(rules.lasts.0 << self.doublings));
        EjectionChange::Ejected
    }

    /// Time has passed. Returns whether a request may try the endpoint from now on.
    pub fn tick(&mut self, now: Instant) -> bool {
        let is_due = matches!(self.phase, EjectionPhase::Out(until) if until <= now);
        if is_due {
            self.phase = EjectionPhase::Due;
        }
        is_due
    }

    /// Forgets everything but the number of ejections: the rules are off, or its address has come
    /// back.
    pub fn reset(&mut self) {
        *self = Self { ejections: self.ejections.wrapping_add(1), ..Self::default() };
    }
}
