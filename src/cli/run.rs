//! `ringway run`: the gateway.

use std::path::PathBuf;
use std::process::ExitCode;

use control::launch::plan;

use super::exit::CANNOT_START;
use super::machine::{Machine, ended, no_log};
use super::{config, log};

/// The arguments of `ringway run`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file. A pipe is read once
    #[arg(short, long, value_name = "FILE", env = "RINGWAY_CONFIG")]
    config: PathBuf,
    #[command(flatten)]
    machine: Machine,
}

/// Runs until a signal: SIGTERM, SIGINT or SIGQUIT drains, a second one stops at once. SIGHUP reads the
/// file again.
pub(super) fn run(arguments: Arguments) -> ExitCode {
    // The file may say in which form the log is.
    let loaded = config::load(&arguments.config);
    let in_file = loaded.as_ref().map_or_else(|_| None, |it| Some(it.model.document.runtime.log));
    let _log = match log::start(arguments.machine.log.or(in_file).unwrap_or_default()) {
        Ok(started) => started,
        Err(error) => return no_log(&error),
    };
    let configuration = match loaded {
        Ok(configuration) => configuration,
        Err(unusable) => {
            unusable.tell(&arguments.config, log::colours(), log::last_words);
            return ExitCode::from(CANNOT_START);
        }
    };
    ended(plan(configuration, arguments.machine.into()).and_then(|plan| plan.run(|| ())))
}
