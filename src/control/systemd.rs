//! What the service manager is told: ready, reloading, stopping, alive.
//!
//! Without `NOTIFY_SOCKET` in the environment nobody is told anything.
//!
//! Invariant: a status is one line. The protocol has one assignment a line, and a status may quote
//! what somebody has posted.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState::{MonotonicUsec, Ready, Reloading, Status, Stopping, Watchdog};
use sd_notify::{NotifyState, notify, watchdog_enabled};

/// All cores serve; or a reload is over, whatever came of it. `status` is for people.
pub(crate) fn ready(status: &str) {
    tell(&[Ready, Status(&one_line(status))]);
}

/// A reload begins.
pub(crate) fn reloading() {
    // By the time the manager tells this reload from one that it has not asked for yet.
    match NotifyState::monotonic_usec_now() {
        Ok(MonotonicUsec(now)) => tell(&[Reloading, MonotonicUsec(now)]),
        Ok(_) => {}
        Err(error) => unheard(&error),
    }
}

/// The gateway ends when everything has finished.
pub(crate) fn stopping(status: &str) {
    tell(&[Stopping, Status(&one_line(status))]);
}

/// All cores are alive.
pub(crate) fn alive() {
    tell(&[Watchdog]);
}

/// How often the manager wants to hear [`alive`], at the least; none when it does not.
pub(crate) fn watchdog() -> Option<Duration> {
    watchdog_enabled().filter(|it| !it.is_zero())
}

/// What fits on a line of `systemctl status`.
const STATUS_CHARS_MAX: usize = 200;

fn one_line(status: &str) -> String {
    let line = status.lines().next().unwrap_or_default();
    line.chars().filter(|it| !it.is_control()).take(STATUS_CHARS_MAX).collect()
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = notify(states) {
        unheard(&error);
    }
}

fn unheard(error: &io::Error) {
    tracing::warn!("the service manager cannot be told: {error}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_cannot_say_anything_else() {
        assert_eq!(one_line("version 2\u{1b}[31m\r\nSTOPPING=1"), "version 2[31m");
        assert_eq!(one_line(&"x".repeat(1000)).len(), STATUS_CHARS_MAX);
    }
}
