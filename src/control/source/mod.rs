//! The sources of a configuration: a file, the files that it includes, the values of its variables.
//!
//! [`read`] gathers [`Sources`] for [`engine::config::parse`], which finds the mistakes in them,
//! at the place that asks. [`Watch`] tells when to read again.
//!
//! Invariants: reading ends, whatever the files are: it opens nothing that blocks, and files,
//! bytes and folders are counted against bounds. It also names the places that must change before another
//! reading says something else, also when it fails.

mod disk;
mod folders;
mod pattern;
mod watch;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use engine::config::{
    ByteSize, CONTENT_BYTES_MAX, References, SOURCE_BYTES_MAX, SOURCES_MAX, Sources,
    VALUE_BYTES_MAX, files, references,
};

use disk::Disk;

pub use folders::Folders;
pub use watch::Watch;

/// The result of one reading.
#[derive(Debug)]
pub struct Reading {
    /// The texts and values; or why the main file cannot be read. Other unreadable files are noted
    /// in the texts.
    pub sources: io::Result<Sources>,
    /// Where it was found, or would have been: the places for [`Watch`].
    pub folders: Folders,
}

/// Reads the configuration in `file`: the file itself, its includes, environment variables and
/// files that are values. Blocks on nothing but disks.
#[must_use]
pub fn read(file: &Path) -> Reading {
    let mut reader = Reader::default();
    let main = reader.name(file);
    let bytes = reader.disk.bytes(file, SOURCE_BYTES_MAX);
    let sources = bytes.map(|bytes| reader.all(main, bytes));
    Reading { sources, folders: reader.disk.folders }
}

/// Reads a configuration of which the main text, called `name`, is there already: from a pipe, say.
/// The files that it names are relative to the current folder.
#[must_use]
pub fn read_with(name: &str, text: Vec<u8>) -> Sources {
    let mut reader = Reader::default();
    reader.paths.insert(name.to_owned(), PathBuf::new());
    reader.all(name.to_owned(), text)
}

/// The name of a text that somebody has sent.
pub(crate) const POSTED: &str = "posted";

/// A configuration that somebody has sent as one text. Environment variables are put in; it can
/// name no files: otherwise its sender could read all that the gateway may read.
#[must_use]
pub fn posted(text: impl Into<Vec<u8>>) -> Sources {
    let text = text.into();
    let wanted = references(&text);
    let mut sources = Sources::new(POSTED, text);
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
#[derive(Default)]
struct Reader {
    disk: Disk,
    /// The files by their names in messages.
    paths: HashMap<String, PathBuf>,
    /// The names of files, by where they really are: a file that is included in two ways is one.
    names: HashMap<PathBuf, String>,
}

impl Reader {
    /// Everything that the main text asks for, and itself.
    fn all(&mut self, main: String, bytes: Vec<u8>) -> Sources {
        let mut wanted = references(&bytes);
        let mut sources = Sources::new(main.as_str(), bytes);
        let mut queue = VecDeque::new();
        let mut name = main;
        loop {
            self.values(&mut sources, &name, &wanted);
            self.includes(&mut sources, &name, &wanted, &mut queue);
            let Some(next) = queue.pop_front() else { break };
            name = next;
            let path = self.paths.get(&name).cloned().unwrap_or_default();
            let bytes = self.disk.bytes(&path, SOURCE_BYTES_MAX).map_err(|error| error.to_string());
            wanted = bytes.as_ref().map(|bytes| references(bytes)).unwrap_or_default();
            sources.add_file(name.as_str(), bytes);
        }
        self.contents(&mut sources);
        sources
    }

    /// Gets the files that keys name.
    fn contents(&mut self, sources: &mut Sources) {
        for (name, written) in files(sources) {
            let path = self.beside(&name, &written);
            let content = self.bytes_within(&path, CONTENT_BYTES_MAX);
            sources.add_content(name, written, content.map_err(|error| error.to_string()));
        }
    }

    /// The bytes of a file that is no text of the configuration.
    fn bytes_within(&mut self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
        let bytes = self.disk.bytes(path, bytes_max)?;
        if bytes.len() > bytes_max {
            let max = ByteSize(bytes_max as u64);
            return Err(io::Error::other(format!("it has more than {max}")));
        }
        Ok(bytes)
    }

    /// Gets the values that the text of file `name` asks for.
    fn values(&mut self, sources: &mut Sources, name: &str, wanted: &References) {
        add_environment(sources, wanted);
        for written in &wanted.files {
            let value = self.beside(name, written);
            let value = self.bytes_within(&value, VALUE_BYTES_MAX).and_then(|bytes| {
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
            let path = self.beside(name, written);
            let found = self.disk.step().and_then(|()| pattern::expand(&path, &mut self.disk));
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

    /// The name of a file in messages: the path by which it was first asked for.
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
}

#[cfg(test)]
mod tests;
