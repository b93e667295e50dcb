//! The one error of this crate: a sentence for the person at the terminal.
//!
//! Nothing here is handled by kind, so there is no kind: a message names the file, the command or
//! the address, and the cure where there is one.

use std::fmt::Display;
use std::io;

/// What went wrong, in one sentence, lower case and without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For `map_err`: says what was being done when the system refused.
    pub(crate) fn doing(what: impl Display) -> impl FnOnce(io::Error) -> Self {
        move |error| Self(format!("cannot {what}: {error}"))
    }

    /// For `map_err` behind a `write!` to the terminal or pipe.
    #[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` takes")]
    pub(crate) fn print(error: io::Error) -> Self {
        Self(format!("cannot print: {error}"))
    }
}

impl Display for Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<Error> for String {
    fn from(error: Error) -> Self {
        error.0
    }
}
