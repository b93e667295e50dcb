//! `ringway check`: is this configuration sound?

use std::path::PathBuf;
use std::process::ExitCode;

use super::config::{self, Unusable};
use super::{CANNOT_START, NO, log};

/// The arguments of `ringway check`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file
    file: PathBuf,
}

/// 0 when it is, 1 when it is not, 3 when it cannot be read.
#[expect(clippy::print_stdout, reason = "the answer of the command")]
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match config::read(&arguments.file) {
        Ok(model) => {
            let document = &model.document;
            println!(
                "{}: sound ({}, {}, {})",
                arguments.file.display(),
                counted(document.listeners.objects.len(), "listener"),
                counted(document.routes.objects.len(), "route"),
                counted(document.upstreams.objects.len(), "upstream"),
            );
            ExitCode::SUCCESS
        }
        Err(unusable) => {
            unusable.tell(&arguments.file, log::colours(), log::complain);
            ExitCode::from(match unusable {
                Unusable::Text(_) => NO,
                Unusable::File(_) => CANNOT_START,
            })
        }
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
