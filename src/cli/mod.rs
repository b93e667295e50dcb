//! The command line: one subcommand per file, each ends with an exit code.
//!
//! 0 done, 1 the answer is no, 2 wrong usage, 3 cannot start or cannot reach the node; a worker that panics ends the
//! process with 101, a second signal with 128 and its number.

mod check;
mod config;
mod demo;
mod docs;
mod log;
mod run;
mod schema;
mod status;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use control::Options;
use control::launch::Outcome;
use engine::config::{Cores, CpuList, DriverChoice};

/// The answer is no.
const NO: u8 = 1;

/// Cannot start.
const CANNOT_START: u8 = 3;

/// HTTP reverse proxy and API gateway on io_uring, one thread per core
#[derive(Debug, Parser)]
#[command(name = "ringway", version, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Run(run::Arguments),
    /// Say what is wrong with a configuration, all of it; starts nothing
    Check(check::Arguments),
    /// Start two endpoints and a gateway in front of them, to try it; needs no file
    Demo(demo::Arguments),
    /// Print the reference of the configuration, in Markdown
    Docs,
    /// Print a JSON Schema of the configuration, for editors
    Schema,
    /// Say how a running gateway stands
    Status(status::Arguments),
    /// Measure gateways
    Bench(bench::cli::Args),
}

/// How many cores and which driver: shared by the commands that start workers.
#[derive(Debug, clap::Args)]
struct Machine {
    /// How many pinned workers: "all", or a count
    #[arg(long, value_name = "N", env = "RINGWAY_CORES")]
    cores: Option<Cores>,
    /// The CPUs they are taken from, in this order, such as 0-3,8 [default: all permitted]
    #[arg(long, value_name = "LIST", env = "RINGWAY_CPUS")]
    cpus: Option<CpuList>,
    /// How to talk to the kernel: auto, io_uring or epoll
    #[arg(long, value_name = "DRIVER", env = "RINGWAY_DRIVER")]
    driver: Option<DriverChoice>,
}

impl From<Machine> for Options {
    fn from(Machine { cores, cpus, driver }: Machine) -> Self {
        Self { cores, cpus, driver }
    }
}

/// Reads the arguments and does what they ask. Wrong usage ends the process in here, with 2.
pub(crate) fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Docs => docs::run(),
        Command::Schema => schema::run(),
        Command::Status(arguments) => status::run(&arguments),
        Command::Bench(arguments) => match bench::cli::run(arguments) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(NO),
            Err(error) => {
                log::complain(&format!("error: {error}"));
                ExitCode::from(CANNOT_START)
            }
        },
    }
}

/// A gateway that cannot log does not start.
fn no_log(error: &io::Error) -> ExitCode {
    log::complain(&format!("error: cannot start the thread of the process log: {error}"));
    ExitCode::from(CANNOT_START)
}

/// What a gateway's end means for the caller.
fn ended(outcome: Result<Outcome, control::Error>) -> ExitCode {
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
