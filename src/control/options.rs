//! What a gateway is started with.

use std::path::PathBuf;

use engine::config::{Cores, CpuList, DriverChoice, Model, Sources};

/// What the command line and the environment say about `[runtime]`; it goes before the file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How many workers.
    pub cores: Option<Cores>,
    /// The CPUs they are taken from.
    pub cpus: Option<CpuList>,
    /// Which way to the kernel.
    pub driver: Option<DriverChoice>,
}

/// A configuration to start with.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// What it was read from.
    pub sources: Sources,
    /// What that says.
    pub model: Model,
    /// The file to read again when it changes or a reload is asked for; none when there is none.
    pub file: Option<PathBuf>,
}
