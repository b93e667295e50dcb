//! `ringway schema`: the configuration for editors.

use std::process::ExitCode;

use super::out;

/// Prints the JSON Schema.
pub(super) fn run() -> ExitCode {
    out::answer(&engine::config::schema(), ExitCode::SUCCESS)
}
