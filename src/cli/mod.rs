//! The command line: one subcommand per file, each ends with an exit code.
//!
//! 0 done, 1 the answer is no, 2 wrong usage, 3 cannot start or cannot reach the node; a worker that panics ends the
//! process with 101, a second signal with 128 and its number.

mod certificate;
mod check;
mod config;
mod demo;
mod docs;
mod exit;
mod log;
mod machine;
mod out;
mod run;
mod schema;
mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::{CANNOT_START, NO};

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
    /// Find every mistake in a configuration; starts nothing
    Check(check::Arguments),
    /// Start two endpoints and a gateway in front of them, to try it; needs no file
    Demo(demo::Arguments),
    /// Make certificates for a first try of TLS
    Certificate(certificate::CertificateArguments),
    /// Print the reference of the configuration, in Markdown
    Docs,
    /// Print a JSON Schema of the configuration, for editors
    Schema,
    /// Say how a running gateway stands
    Status(status::Arguments),
    /// Measure gateways
    Bench(bench::cli::Args),
}

/// Reads the arguments and runs the command. Wrong usage ends the process in here, with 2.
pub(crate) fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Certificate(arguments) => certificate::run(&arguments),
        Command::Docs => docs::run(),
        Command::Schema => schema::run(),
        Command::Status(arguments) => status::run(&arguments),
        Command::Bench(arguments) => match bench::cli::run(arguments) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(NO),
            // As `head` does it: the reader has seen enough.
            Err(error) if error.is_unread() => ExitCode::SUCCESS,
            Err(error) => {
                log::complain(&format!("error: {error}"));
                ExitCode::from(CANNOT_START)
            }
        },
    }
}
