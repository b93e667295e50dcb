//! Messages to the service manager: ready, reloading, stopping, alive.
//!
//! Without `NOTIFY_SOCKET` in the environment there is no manager and no message.
//!
//! Invariants: a status is one line. The protocol has one assignment a line, and a status may quote
//! a text that somebody has posted. A manager that does not read stalls nobody: a message for which
//! its socket has no room is lost, and the log says so.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState::{MonotonicUsec, Ready, Reloading, Status, Stopping, Watchdog};
use sd_notify::{NotifyState, watchdog_enabled};

/// All cores serve; or a reload is over, whatever came of it. `status` is for people.
pub(crate) fn ready(status: &str) {
    tell(&[Ready, Status(&one_line(status))]);
}

/// A reload begins.
pub(crate) fn reloading() {
    // By the time, the manager tells this reload from one that it asks for later.
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

/// How often the manager expects [`alive`], at the least; none when it does not expect it.
pub(crate) fn watchdog() -> Option<Duration> {
    watchdog_enabled().filter(|it| !it.is_zero())
}

/// The part that fits on a line of `systemctl status`.
const STATUS_CHARS_MAX: usize = 200;

fn one_line(status: &str) -> String {
    let line = status.lines().next().unwrap_or_default();
    line.chars().filter(|it| !it.is_control()).take(STATUS_CHARS_MAX).collect()
}

fn tell(states: &[NotifyState<'_>]) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let mut message = String::new();
    for state in states {
        let _ = writeln!(message, "{state}");
    }
    if let Err(error) = send(&name, message.as_bytes()) {
        unheard(&error);
    }
}

/// Sends without waiting. `sd_notify::notify` would wait for room in the manager's socket.
fn send(name: &OsStr, message: &[u8]) -> io::Result<()> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message, &address).map(|_| ())
}

fn unheard(error: &io::Error) {
    tracing::warn!("the service manager cannot be told: {error}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_that_does_not_read_stalls_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let message = [b'x'; 1000];
        let full = (0..100_000).find_map(|_| send(path.as_os_str(), &message).err());
        assert_eq!(full.map(|it| it.kind()), Some(io::ErrorKind::WouldBlock));
        while manager.recv(&mut [0; 1000]).is_ok() {}
        assert!(send(path.as_os_str(), b"READY=1\n").is_ok());
    }

    #[test]
    fn a_status_cannot_say_anything_else() {
        assert_eq!(one_line("version 2\u{1b}[31m\r\nSTOPPING=1"), "version 2[31m");
        assert_eq!(one_line(&"x".repeat(1000)).len(), STATUS_CHARS_MAX);
    }
}
