//! The settings with which a gateway is started.

use std::path::PathBuf;

use engine::config::{Cores, CpuList, DriverChoice, Model, ProcessLogFormat, Sources};

/// The settings of `[runtime]` from the command line and the environment. They go before the file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The number of workers.
    pub cores: Option<Cores>,
    /// The CPUs they are taken from.
    pub cpus: Option<CpuList>,
    /// The way to the kernel.
    pub driver: Option<DriverChoice>,
    /// The form of the process log. The caller starts the log.
    pub log: Option<ProcessLogFormat>,
}

/// A configuration to start with.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The texts.
    pub sources: Sources,
    /// Their content.
    pub model: Model,
    /// The file to read again when it changes or a reload is asked for; none when there is none.
    pub file: Option<PathBuf>,
}
