//! `ringway schema`: the configuration for editors.

use std::process::ExitCode;

/// Prints the JSON Schema.
#[expect(clippy::print_stdout, reason = "the answer of the command")]
pub(super) fn run() -> ExitCode {
    print!("{}", engine::config::schema());
    ExitCode::SUCCESS
}
