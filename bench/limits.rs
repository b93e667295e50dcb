//! What the process may do: number of descriptors, and the CPU it runs on.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

use crate::Error;

/// Raises the soft limit of open descriptors to the hard one and returns it. Children inherit it.
pub(crate) fn raise_descriptors() -> Result<u64, Error> {
    let refused = |error| Error::new(format!("cannot raise the limit of open files: {error}"));
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(refused)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(refused)?;
    }
    Ok(hard)
}

/// Raises the limit and fails, naming the cure, when it stays below `count`.
pub(crate) fn need_descriptors(count: u64) -> Result<(), Error> {
    let hard = raise_descriptors()?;
    if hard < count {
        return Err(Error::new(format!(
            "{count} open files are needed, the hard limit is {hard}: \
             run `ulimit -Hn {count}` as root first, or ask for fewer connections"
        )));
    }
    Ok(())
}

/// Holds the calling thread, and the children that it starts, to one CPU.
pub(crate) fn pin(cpu: usize) -> Result<(), Error> {
    let refused = |error| Error::new(format!("cannot run on CPU {cpu}: {error}"));
    let mut set = CpuSet::new();
    set.set(cpu).map_err(refused)?;
    sched_setaffinity(Pid::from_raw(0), &set).map_err(refused)
}

/// Whether the process may run on this CPU.
pub(crate) fn may_run_on(cpu: usize) -> bool {
    sched_getaffinity(Pid::from_raw(0)).is_ok_and(|set| set.is_set(cpu).unwrap_or(false))
}
