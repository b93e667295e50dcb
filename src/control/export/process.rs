//! What the kernel says about this process: memory and descriptors.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};

/// How the process stands. What the kernel does not say is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Process {
    /// Bytes of it that are in memory.
    pub(crate) resident_bytes: Option<u64>,
    /// Descriptors that are open.
    pub(crate) descriptors_open: Option<u64>,
    /// Descriptors that may be open.
    pub(crate) descriptors_max: Option<u64>,
}

impl Process {
    /// Asks the kernel.
    pub(crate) fn ask() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            resident_bytes: resident_bytes(&status),
            descriptors_open: descriptors_open(),
            descriptors_max: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
        }
    }
}

/// `VmRSS:     1234 kB` of `/proc/self/status`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Since Linux 6.2 the folder knows its size; before, it must be read, which takes long when there
/// are very many.
fn descriptors_open() -> Option<u64> {
    let folder = "/proc/self/fd";
    match fs::metadata(folder).ok()?.len() {
        // The folder that is being read is one of them.
        0 => Some((fs::read_dir(folder).ok()?.count() as u64).saturating_sub(1)),
        size => Some(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_everything() {
        let process = Process::ask();
        assert!(process.resident_bytes.is_some_and(|it| it > 1 << 20), "{process:?}");
        assert!(process.descriptors_open.is_some_and(|it| it >= 3), "{process:?}");
        assert!(process.descriptors_open <= process.descriptors_max, "{process:?}");
    }

    #[test]
    fn a_status_without_the_line_says_nothing() {
        assert_eq!(resident_bytes("VmRSS:\t  12 kB\n"), Some(12 * 1024));
        assert_eq!(resident_bytes("VmSize:\t  12 kB\n"), None);
    }
}
