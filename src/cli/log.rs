//! What is said on standard error: the process log (events, not requests; text on a terminal, JSON
//! lines otherwise), and the last words of a command.

use std::io::{IsTerminal, stderr};
use std::panic;

/// Sends what is logged to standard error, panics included.
pub(super) fn start() {
    let log = tracing_subscriber::fmt().with_writer(stderr).with_target(false);
    if stderr().is_terminal() {
        log.with_ansi(colours()).init();
    } else {
        log.json().flatten_event(true).init();
    }
    // A panic at one connection is caught and costs that connection alone; the message is all
    // that is left of it, so it goes where the other events go.
    panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        tracing::error!("thread {name}: {panic}");
    }));
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

/// Says what is wrong.
#[expect(clippy::print_stderr, reason = "the last word of a command is for its terminal")]
pub(super) fn complain(text: &str) {
    eprintln!("{text}");
}
