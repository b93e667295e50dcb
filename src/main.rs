//! `ringway`: arguments in, exit code out. Everything else is in the crates.

mod cli;

use std::process::ExitCode;

/// The workers allocate on their own core; mimalloc keeps what a thread frees with that thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
