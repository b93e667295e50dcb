//! Child processes that end with their parent, and waiting that Ctrl-C can end.
//!
//! Three safety nets, because a forgotten gateway would spoil the next measurement. `Guarded` ends
//! its process (and the children of that process) when it is dropped, so on every error and panic.
//! The first interrupt only raises a flag that every wait checks, so that the guards get their
//! turn. `setpriv --pdeathsig` makes the kernel end the process if this one is killed outright.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{Error, proc};

/// Raised by SIGINT or SIGTERM; a second one ends the process at once.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub(crate) fn install() -> Result<Self, Error> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the shutdown sees the flag of an earlier signal, not of this one.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
                .map_err(Error::doing("watch for interrupts"))?;
        }
        Ok(Self(flag))
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Error::new("interrupted"));
        }
        Ok(())
    }

    pub(crate) fn sleep(&self, length: Duration) -> Result<(), Error> {
        let end = Instant::now() + length;
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(POLL_INTERVAL));
        }
    }

    /// Sleeps until it is raised.
    pub(crate) fn wait(&self) {
        while self.check().is_ok() {
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

/// A process that is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Guarded {
    child: Child,
    name: String,
}

impl Guarded {
    pub(crate) fn spawn(name: &str, command: &mut Command) -> Result<Self, Error> {
        let child = command.stdin(Stdio::null()).spawn().map_err(Error::doing(format!(
            "start {name} ({}): `taskset` and `setpriv` come with util-linux",
            command.get_program().display()
        )))?;
        Ok(Self { child, name: name.to_owned() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the end and returns the output. The output must be smaller than a pipe holds, as
    /// that of the load generators is, or the process would wait for us.
    pub(crate) fn finish(
        mut self,
        limit: Duration,
        interrupt: &Interrupt,
    ) -> Result<Output, Error> {
        let end = Instant::now() + limit;
        while !self.has_ended() {
            interrupt.check()?;
            if Instant::now() > end {
                return Err(Error::new(format!("{} did not end in {limit:?}", self.name)));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        let mut output =
            Output { status: self.child.wait().map_err(Error::doing("wait"))?, ..empty_output() };
        read_pipe(self.child.stdout.take(), &mut output.stdout);
        read_pipe(self.child.stderr.take(), &mut output.stderr);
        Ok(output)
    }

    /// Asks, waits a little, then insists.
    fn end(&mut self) {
        if self.has_ended() {
            return;
        }
        let family = proc::family(self.pid());
        send(self.pid(), Signal::SIGTERM);
        if self.wait_for_end_of(&family) {
            return;
        }
        for &pid in family.iter().filter(|&&pid| is_alive(pid)) {
            send(pid, Signal::SIGKILL);
        }
        self.wait_for_end_of(&family);
    }

    /// False when some of the family live on after the grace.
    fn wait_for_end_of(&mut self, family: &[u32]) -> bool {
        let end = Instant::now() + GRACE;
        while Instant::now() < end {
            if self.has_ended() && !family.iter().any(|&pid| is_alive(pid)) {
                return true;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        false
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.end();
    }
}

/// A command held to one CPU, which the kernel ends together with us.
pub(crate) fn pinned(cpu: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(cpu.to_string());
    command.args(["setpriv", "--pdeathsig", "TERM", "--"]).arg(program);
    command
}

/// Looks in `PATH` and where Debian keeps daemons.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Both output streams of a short command, as text; empty when it cannot be run.
pub(crate) fn text_of(program: &Path, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).stdin(Stdio::null()).output() else {
        return String::new();
    };
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

fn send(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        // The process may have ended already, and that is fine.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').is_some_and(|rest| rest.1.starts_with(" Z")))
}

fn read_pipe(pipe: Option<impl std::io::Read>, into: &mut Vec<u8>) {
    if let Some(mut pipe) = pipe {
        let _ = pipe.read_to_end(into);
    }
}

fn empty_output() -> Output {
    Output { status: std::process::ExitStatus::default(), stdout: Vec::new(), stderr: Vec::new() }
}

/// A drain may wait for its clients; ours are gone by then.
const GRACE: Duration = Duration::from_secs(2);
/// Rare enough not to show on the load CPU.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_guard_ends_the_process_and_its_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 77 & wait"]);
        let guard = Guarded::spawn("sh", &mut command).expect("a shell");
        let mut family = Vec::new();
        while family.len() < 2 {
            family = proc::family(guard.pid());
        }
        drop(guard);
        assert!(!family.iter().any(|&pid| is_alive(pid)));
    }

    #[test]
    fn finish_returns_the_output() {
        let interrupt = Interrupt(Arc::default());
        let mut command = Command::new("sh");
        command.args(["-c", "echo out"]).stdout(Stdio::piped());
        let output = Guarded::spawn("sh", &mut command)
            .and_then(|child| child.finish(Duration::from_secs(5), &interrupt))
            .expect("an output");
        assert_eq!(output.stdout, b"out\n");
    }
}
