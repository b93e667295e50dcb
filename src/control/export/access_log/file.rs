//! Where lines go: a file that is opened by its name again and again, or the standard output.
//!
//! Invariant: what is appended to a file begins at the beginning of a line, whoever wrote before.

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where lines are to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The standard output of the process.
    Stdout,
    /// The end of a file, which is made if it is not there.
    File(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("the standard output"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// An open target.
#[derive(Debug)]
pub(super) struct Open {
    file: File,
    /// Under which name it was opened.
    path: Option<PathBuf>,
    /// A regular file: it has a length and a last byte. Others are pipes and devices.
    regular: bool,
    /// Whether the next byte must be the first of a line, and perhaps is not.
    at_line: bool,
}

/// Who may read it: the owner, and the group for those who collect logs.
const MODE: u32 = 0o640;

impl Open {
    /// Opens it. Does not wait: a named pipe that nobody reads is an error.
    pub(super) fn new(target: &Target) -> io::Result<Self> {
        match target {
            Target::Stdout => {
                let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
                let regular = file.metadata()?.is_file();
                Ok(Self { file, path: None, regular, at_line: true })
            }
            Target::File(path) => Self::at(path),
        }
    }

    /// Opens the file of the same name.
    pub(super) fn reopened(&self) -> io::Result<Option<Self>> {
        self.path.as_deref().map(Self::at).transpose()
    }

    /// Whether the name stands for another file by now, or for none.
    pub(super) fn has_moved(&self) -> bool {
        let Some(path) = &self.path else { return false };
        let Ok(ours) = self.file.metadata() else { return false };
        fs::metadata(path).map_or_else(
            |error| error.kind() == io::ErrorKind::NotFound,
            |named| identity(&named) != identity(&ours),
        )
    }

    /// How long it is; none for what has no length.
    pub(super) fn bytes(&self) -> Option<u64> {
        let metadata = self.file.metadata().ok()?;
        self.regular.then_some(metadata.len())
    }

    /// Appends some of the bytes and returns how many.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.at_line {
            self.end_line()?;
            self.at_line = false;
        }
        self.file.write(bytes)
    }

    /// What is written next begins a line, also if the last one was left in the middle.
    pub(super) fn begin_line(&mut self) {
        self.at_line = true;
    }

    fn end_line(&mut self) -> io::Result<()> {
        let Some(last) = self.bytes().and_then(|bytes| bytes.checked_sub(1)) else { return Ok(()) };
        let mut byte = [b'\n'];
        // It is open for writing only, and under this name it is found wherever it has moved. Who
        // may write it may not be allowed to read it; then nothing is known.
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let _ = File::open(path).and_then(|file| file.read_at(&mut byte, last));
        if byte != *b"\n" {
            self.file.write_all(b"\n")?;
        }
        Ok(())
    }

    fn at(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(MODE)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)?;
        let regular = file.metadata()?.is_file();
        Ok(Self { file, path: Some(path.to_owned()), regular, at_line: true })
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
