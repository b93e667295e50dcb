//! The exit codes of commands.

/// The answer is no.
pub(super) const NO: u8 = 1;

/// The gateway cannot start, the node cannot be reached, the answer cannot be printed.
pub(super) const CANNOT_START: u8 = 3;
