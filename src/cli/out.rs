//! The answer of a command, on standard output.
//!
//! Invariant: a reader that closes its end, such as `head`, is no error: the command ends quietly and
//! with the exit code of its answer.

use std::io::{self, ErrorKind, Write, stdout};
use std::process::ExitCode;

use super::exit::CANNOT_START;
use super::log;

/// Prints `text`, and ends with `code`; with 3 if the text cannot be printed.
pub(super) fn answer(text: &str, code: ExitCode) -> ExitCode {
    ended(print(text), code)
}

/// The exit code of a command after it `printed` its answer; `code` if that went well.
pub(super) fn ended(printed: io::Result<()>, code: ExitCode) -> ExitCode {
    match printed {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            log::complain(&format!("error: cannot print the answer: {error}"));
            ExitCode::from(CANNOT_START)
        }
        _ => code,
    }
}

/// Prints `text`, all of it.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
