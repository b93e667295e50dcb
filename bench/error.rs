//! The one error of this crate: a sentence for the person at the terminal.
//!
//! Nothing here is handled by kind, so there is no kind: a message names the file, the command or
//! the address, and the cure where there is one.

use std::fmt::Display;
use std::io;

/// The failure in one sentence, lower case and without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    text: String,
    /// The reader of the output has closed its end.
    is_unread: bool,
}

impl Error {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_unread: false }
    }

    /// For `map_err`: names the action that the system refused.
    pub(crate) fn doing(what: impl Display) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::new(format!("cannot {what}: {error}"))
    }

    /// For `map_err` behind a `write!` to the terminal or pipe.
    #[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` takes")]
    pub(crate) fn print(error: io::Error) -> Self {
        let is_unread = error.kind() == io::ErrorKind::BrokenPipe;
        Self { text: format!("cannot print: {error}"), is_unread }
    }

    /// Whether the only thing that went wrong is that nobody reads the output any more.
    #[must_use]
    pub const fn is_unread(&self) -> bool {
        self.is_unread
    }
}

impl Display for Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

impl From<Error> for String {
    fn from(error: Error) -> Self {
        error.text
    }
}
