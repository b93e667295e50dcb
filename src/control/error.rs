//! Why the gateway cannot start or cannot go on, and the cure.

use std::{fmt, io};

/// The message to a person before the process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    what: String,
    cure: Option<String>,
    exit_code: u8,
}

/// "Cannot start or cannot reach the node".
const CANNOT_START: u8 = 3;

/// The exit code of a Rust program that panics.
const PANICKED: u8 = 101;

impl Error {
    /// The gateway cannot start.
    pub(crate) fn start(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { what: what.into(), cure: Some(cure.into()), exit_code: CANNOT_START }
    }

    /// Something went wrong that has no cure we know of.
    pub(crate) fn fatal(what: impl Into<String>) -> Self {
        Self { what: what.into(), cure: None, exit_code: CANNOT_START }
    }

    /// The system refused something without which the gateway cannot run.
    pub(crate) fn system(task: impl fmt::Display, error: &io::Error) -> Self {
        let message = format!("{task}: {error}");
        match descriptors_cure(error) {
            Some(cure) => Self::start(message, cure),
            None => Self::fatal(message),
        }
    }

    /// A worker has panicked outside of any connection.
    pub(crate) fn panicked(what: impl Into<String>) -> Self {
        Self { what: what.into(), cure: None, exit_code: PANICKED }
    }

    /// The exit code of the process.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

/// The cure for a limit of descriptors that is too low.
pub(crate) const DESCRIPTORS_CURE: &str = "raise the limit of descriptors: `ulimit -n 65536`, \
     LimitNOFILE= of systemd, --ulimit nofile= of a container";

/// The cure, where descriptors have run out.
pub(crate) fn descriptors_cure(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error() {
        Some(libc::EMFILE) => Some(DESCRIPTORS_CURE),
        Some(libc::ENFILE) => Some("the system has no descriptor left: raise sysctl fs.file-max"),
        _ => None,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.cure {
            Some(cure) => write!(f, "\n  = help: {cure}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
