//! `ringway docs`: the reference of every key of the configuration.

use std::process::ExitCode;

use super::out;

/// Prints the reference, in Markdown.
pub(super) fn run() -> ExitCode {
    out::answer(&engine::config::reference(), ExitCode::SUCCESS)
}
