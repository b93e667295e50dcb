//! The process log (events, not requests) on standard error, as text or as JSON lines; and the last
//! words of a command.
//!
//! Invariant: nothing that is written here can stop, stall or end a gateway; see
//! [`control::process_log`].

use std::fs::File;
use std::io::{self, IsTerminal, Write, stderr};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::panic;
use std::sync::OnceLock;
use std::time::Duration;

use control::process_log::ProcessLog;
use engine::config::ProcessLogFormat;

/// The log of this process, once it has one.
static LOG: OnceLock<ProcessLog> = OnceLock::new();

/// How long the end of the process waits for a reader that is slow.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// A log that has started. Dropping it waits, for a bounded time, until all lines are written.
#[must_use]
pub(super) struct Started;

/// Sends events to standard error from now on, panics included.
///
/// # Errors
/// When the kernel gives no thread for it.
pub(super) fn start(format: ProcessLogFormat) -> io::Result<Started> {
    let log = ProcessLog::start(|lost| {
        let lines = if lost == 1 { "line of this log was" } else { "lines of this log were" };
        tracing::warn!("{lost} {lines} lost: nothing read standard error, or not fast enough");
    })?;
    let log = LOG.get_or_init(|| log);
    let subscriber = tracing_subscriber::fmt()
        .with_writer(|| EventLine(log))
        .with_target(false)
        // An event that cannot be formatted would be reported by `eprintln!`, which can panic.
        .log_internal_errors(false);
    if is_text(format) {
        subscriber.with_ansi(colours()).init();
    } else {
        subscriber.json().flatten_event(true).init();
    }
    // A panic at one connection is caught and costs that connection alone; the message is all
    // that is left of it, so it goes where the other events go.
    panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        tracing::error!("thread {name}: {panic}");
    }));
    Ok(Started)
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(log) = LOG.get() {
            log.finish(FINISH_TIMEOUT);
        }
    }
}

/// One event on its way to the log. The subscriber writes each event with a single call.
struct EventLine(&'static ProcessLog);

impl Write for EventLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_text(format: ProcessLogFormat) -> bool {
    match format {
        ProcessLogFormat::Auto => stderr().is_terminal() || is_journal(),
        ProcessLogFormat::Text => true,
        ProcessLogFormat::Json => false,
    }
}

/// Whether journald reads standard error. `JOURNAL_STREAM` has the device and the inode of its
/// socket, since a service may have its standard error led elsewhere.
fn is_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let stderr = stderr().as_fd().try_clone_to_owned().and_then(|it| File::from(it).metadata());
    stderr.is_ok_and(|it| stream == format!("{}:{}", it.dev(), it.ino()))
}

/// Whether standard error shows colours.
pub(super) fn colours() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Says why a gateway ends: to a person as it is, to a program as a line of the log.
pub(super) fn last_words(text: &str) {
    if stderr().is_terminal() {
        complain(text);
    } else {
        // The line has a level already.
        tracing::error!("{}", text.trim_end().trim_start_matches("error: "));
    }
}

/// Prints a complaint. A standard error that is closed ends nothing.
pub(super) fn complain(text: &str) {
    match LOG.get() {
        // In its turn, behind the events before it.
        Some(log) => log.push(format!("{text}\n").as_bytes()),
        None => {
            let _ = writeln!(stderr(), "{text}");
        }
    }
}
