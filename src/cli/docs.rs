//! `ringway docs`: what every key of the configuration does.

use std::process::ExitCode;

/// Prints the reference, in Markdown.
#[expect(clippy::print_stdout, reason = "the answer of the command")]
pub(super) fn run() -> ExitCode {
    print!("{}", engine::config::reference());
    ExitCode::SUCCESS
}
