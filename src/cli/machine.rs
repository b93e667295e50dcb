//! The part that the commands which run a gateway share: flags, and the end.

use std::io;
use std::process::ExitCode;

use control::Options;
use control::launch::Outcome;
use engine::config::{Cores, CpuList, DriverChoice, ProcessLogFormat};

use super::exit::{CANNOT_START, NO};
use super::log;

/// How many cores and which driver: shared by the commands that start workers.
#[derive(Debug, clap::Args)]
pub(super) struct Machine {
    /// How many pinned workers: "all", or a count
    #[arg(long, value_name = "N", env = "RINGWAY_CORES")]
    pub(super) cores: Option<Cores>,
    /// The CPUs they are taken from, in this order, such as 0-3,8 [default: all permitted]
    #[arg(long, value_name = "LIST", env = "RINGWAY_CPUS")]
    cpus: Option<CpuList>,
    /// How to talk to the kernel: auto, io_uring or epoll
    #[arg(long, value_name = "DRIVER", env = "RINGWAY_DRIVER")]
    driver: Option<DriverChoice>,
    /// The form of the log on standard error: auto, text or json. auto is text on a terminal and
    /// under journald, and JSON otherwise
    #[arg(long, value_name = "FORM", env = "RINGWAY_LOG")]
    pub(super) log: Option<ProcessLogFormat>,
}

impl From<Machine> for Options {
    fn from(Machine { cores, cpus, driver, log }: Machine) -> Self {
        Self { cores, cpus, driver, log }
    }
}

/// A gateway that cannot log does not start.
pub(super) fn no_log(error: &io::Error) -> ExitCode {
    log::complain(&format!("error: cannot start the thread of the process log: {error}"));
    ExitCode::from(CANNOT_START)
}

/// The exit code for the end of a gateway.
pub(super) fn ended(outcome: Result<Outcome, control::Error>) -> ExitCode {
    match outcome {
        Ok(Outcome::Drained) => ExitCode::SUCCESS,
        // As shells say it of a process that a signal ended: 128 and the number.
        Ok(Outcome::Stopped(signal)) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(NO)),
        Err(error) => {
            log::last_words(&format!("error: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}
