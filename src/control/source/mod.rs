//! Where a configuration comes from: a file, what it includes, and the values of its variables.
//!
//! [`read`] gathers [`Sources`] for [`engine::config::parse`], which says what is wrong with them,
//! at the place that asks. [`Watch`] tells when to read again.
//!
//! Invariants: reading ends, whatever the files are: it opens nothing that blocks, and files,
//! bytes and folders are counted against bounds. It says too what must change before another
//! reading says something else, also when it fails.

mod folders;
mod pattern;
mod watch;

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use engine::config::{
    ByteSize, References, SOURCE_BYTES_MAX, SOURCES_MAX, Sources, VALUE_BYTES_MAX, references,
};
use glob::Pattern;

pub use folders::Folders;
pub use watch::Watch;

/// All files of a configuration together, and the values from files. 10,000 routes take about
/// 1 MiB.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Files opened, patterns looked up and folders listed for one reading: as many of each as there
/// may be sources.
const STEPS_MAX: usize = 3 * SOURCES_MAX;

/// Entries of all folders that are listed. A folder with more is not one of configuration files.
const ENTRIES_MAX: usize = 100_000;

/// What one reading found.
#[derive(Debug)]
pub struct Reading {
    /// The texts and values; or why the main file cannot be read. What else cannot be read is said
    /// in the texts.
    pub sources: io::Result<Sources>,
    /// Where it was found, or would have been: what [`Watch`] is to watch.
    pub folders: Folders,
}

/// Reads the configuration in `file`: the file itself, what it includes, environment variables and
/// files that are values. Blocks on nothing but disks.
#[must_use]
pub fn read(file: &Path) -> Reading {
    let mut reader = Reader {
        folders: Folders::default(),
        paths: HashMap::new(),
        names: HashMap::new(),
        bytes_left: BYTES_MAX,
        steps_left: STEPS_MAX,
        entries_left: ENTRIES_MAX,
    };
    let sources = reader.all(file);
    Reading { sources, folders: reader.folders }
}

/// A configuration that somebody has sent as one text. Environment variables are put in; it can
/// name no files, or whoever may send one could read what the gateway may read.
#[must_use]
pub fn posted(text: impl Into<Vec<u8>>) -> Sources {
    let text = text.into();
    let wanted = references(&text);
    let mut sources = Sources::new("posted", text);
    add_environment(&mut sources, &wanted);
    sources
}

fn add_environment(sources: &mut Sources, wanted: &References) {
    for name in &wanted.environment {
        if let Some(value) = std::env::var_os(name) {
            let value = value.into_string().map_err(|_| "it is not UTF-8".to_owned());
            sources.add_environment(name.as_str(), value);
        }
    }
}

/// One reading.
struct Reader {
    folders: Folders,
    /// The files by their names in messages.
    paths: HashMap<String, PathBuf>,
    /// The names of files, by where they really are: a file that is included in two ways is one.
    names: HashMap<PathBuf, String>,
    bytes_left: usize,
    steps_left: usize,
    entries_left: usize,
}

impl Reader {
    fn all(&mut self, file: &Path) -> io::Result<Sources> {
        let main = self.name(file);
        let bytes = self.bytes(file, SOURCE_BYTES_MAX)?;
        let mut wanted = references(&bytes);
        let mut sources = Sources::new(main.as_str(), bytes);
        let mut queue = VecDeque::new();
        let mut name = main;
        loop {
            self.values(&mut sources, &name, &wanted);
            self.includes(&mut sources, &name, &wanted, &mut queue);
            let Some(next) = queue.pop_front() else { return Ok(sources) };
            name = next;
            let path = self.paths.get(&name).cloned().unwrap_or_default();
            let bytes = self.bytes(&path, SOURCE_BYTES_MAX).map_err(|error| error.to_string());
            wanted = bytes.as_ref().map(|bytes| references(bytes)).unwrap_or_default();
            sources.add_file(name.as_str(), bytes);
        }
    }

    /// Gets the values that the text of file `name` asks for.
    fn values(&mut self, sources: &mut Sources, name: &str, wanted: &References) {
        add_environment(sources, wanted);
        for written in &wanted.files {
            let value = self.beside(name, written);
            let value = self.bytes(&value, VALUE_BYTES_MAX).and_then(|bytes| {
                if bytes.len() > VALUE_BYTES_MAX {
                    let max = ByteSize(VALUE_BYTES_MAX as u64);
                    return Err(io::Error::other(format!("it has more than {max}")));
                }
                String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
            });
            sources.add_value(name, written.as_str(), value.map_err(|error| error.to_string()));
        }
    }

    /// Finds the files that the text of file `name` includes, and queues those not seen yet.
    fn includes(
        &mut self,
        sources: &mut Sources,
        name: &str,
        wanted: &References,
        queue: &mut VecDeque<String>,
    ) {
        for written in &wanted.includes {
            let found =
                self.step().and_then(|()| pattern::expand(&self.beside(name, written), self));
            let names = found.map(|paths| {
                let mut names = Vec::with_capacity(paths.len());
                for path in paths {
                    let known = self.paths.len();
                    let name = self.name(&path);
                    if self.paths.len() > known && known < SOURCES_MAX {
                        queue.push_back(name.clone());
                    }
                    names.push(name);
                }
                names
            });
            sources.add_include(name, written.as_str(), names.map_err(|error| error.to_string()));
        }
    }

    /// The path that is `written` in the text of file `name`.
    fn beside(&self, name: &str, written: &str) -> PathBuf {
        let folder = self.paths.get(name).and_then(|path| path.parent());
        folder.unwrap_or(Path::new("")).join(written)
    }

    /// What a file is called in messages: as it was first asked for.
    fn name(&mut self, path: &Path) -> String {
        let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if let Some(name) = self.names.get(&place) {
            return name.clone();
        }
        let mut name = path.display().to_string();
        while self.paths.contains_key(&name) {
            // Two names that are not UTF-8 may look the same.
            name.push('\'');
        }
        self.names.insert(place, name.clone());
        self.paths.insert(name.clone(), path.to_owned());
        name
    }

    /// The bytes of a file; of one that is longer than `bytes_max`, one more than that.
    fn bytes(&mut self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
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

    /// The names in a folder, sorted, for somebody who looks for names like `wanted`.
    fn list(&mut self, folder: &Path, wanted: &Pattern) -> io::Result<Vec<OsString>> {
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
    fn step(&mut self) -> io::Result<()> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or_else(|| {
            io::Error::other(format!("the configuration asks for more than {STEPS_MAX} files"))
        })?;
        Ok(())
    }
}

/// Opens a file for reading, without ever waiting for somebody who writes.
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

#[cfg(test)]
mod tests;
