//! Reads files and folders against bounds, and notes where a change of them would matter.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use engine::config::{ByteSize, SOURCES_MAX};
use glob::Pattern;

use super::folders::Folders;

/// All files of a configuration together, and the values from files. 10,000 routes take about
/// 1 MiB.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Files opened, patterns looked up and folders listed for one reading: as many of each as there
/// may be sources.
pub(super) const STEPS_MAX: usize = 3 * SOURCES_MAX;

/// Entries of all folders that are listed. A folder with more is not one of configuration files.
const ENTRIES_MAX: usize = 100_000;

/// The files of one reading.
pub(super) struct Disk {
    pub(super) folders: Folders,
    bytes_left: usize,
    steps_left: usize,
    entries_left: usize,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            folders: Folders::default(),
            bytes_left: BYTES_MAX,
            steps_left: STEPS_MAX,
            entries_left: ENTRIES_MAX,
        }
    }
}

impl Disk {
    /// The bytes of a file; of one that is longer than `bytes_max`, one more than that.
    pub(super) fn bytes(&mut self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
        self.folders.file(path);
        self.step()?;
        let file = open(path)?;
        let most = bytes_max.min(self.bytes_left) + 1;
        let mut bytes = Vec::new();
        file.take(most as u64).read_to_end(&mut bytes)?;
        self.bytes_left = self.bytes_left.checked_sub(bytes.len()).ok_or_else(|| {
            let max = ByteSize(BYTES_MAX as u64);
            io::Error::other(format!("the configuration has more than {max} altogether"))
        })?;
        Ok(bytes)
    }

    /// The names in a folder, sorted, in search of names like `wanted`.
    pub(super) fn list(&mut self, folder: &Path, wanted: &Pattern) -> io::Result<Vec<OsString>> {
        self.folders.listing(folder, wanted);
        self.step()?;
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let mut names = Vec::new();
        for entry in folder.read_dir()? {
            self.entries_left = self.entries_left.checked_sub(1).ok_or_else(|| {
                let what = format!("more than {ENTRIES_MAX} names are in the folders to look into");
                io::Error::other(what)
            })?;
            names.push(entry?.file_name());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Counts something that is opened.
    pub(super) fn step(&mut self) -> io::Result<()> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or_else(|| {
            io::Error::other(format!("the configuration asks for more than {STEPS_MAX} files"))
        })?;
        Ok(())
    }
}

/// Opens a file for reading, without ever waiting for a writer.
fn open(path: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    Err(io::Error::other(if kind.is_dir() {
        "it is a folder"
    } else if kind.is_fifo() {
        "it is a pipe, not a file"
    } else {
        "it is a device, not a file"
    }))
}
