//! The input of a configuration: texts by name, and the values of variables.
//!
//! The control crate reads files, environment and patterns, and adds the results here. It adds the
//! failures too, so that [`parse`](super::parse) can report each at the place that needs it.
//! [`references`](super::references) names the files and variables that a text needs.
//!
//! ```text
//! sources = Sources::new("ringway.toml", bytes)
//! for each file, beginning with the first:     references(bytes) tells
//!     includes    -> sources.add_include(file, pattern, Ok(names) or Err(why))
//!                    sources.add_file(name, Ok(bytes) or Err(why)), once per name; look into it too
//!     environment -> sources.add_environment(name, Ok(value) or Err(why)); left out: not set
//!     files       -> sources.add_value(file, path, Ok(value) or Err(why))
//! for each of files(sources):                  the files that keys name
//!                    sources.add_content(file, path, Ok(bytes) or Err(why))
//! ```

use std::collections::BTreeMap;
use std::fmt;

/// A text is at most this long. 10,000 routes take about 1 MiB.
pub const SOURCE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A configuration is made of at most this many texts.
pub const SOURCES_MAX: usize = 1000;

/// The value of a variable is at most this long: keys and tokens, not documents.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// A file that a key names is at most this long: the certificates of all public authorities take
/// some 300 KiB.
pub const CONTENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The texts of a configuration and the values of its variables.
#[derive(Clone, PartialEq, Eq)]
pub struct Sources {
    main: String,
    files: BTreeMap<String, Result<Vec<u8>, String>>,
    /// By the file that includes, and its pattern.
    included: BTreeMap<(String, String), Result<Vec<String>, String>>,
    environment: BTreeMap<String, Result<String, String>>,
    /// By the file that asks, and the path as written there.
    values: BTreeMap<(String, String), Result<String, String>>,
    /// By the file that names it in a key, and the path.
    contents: BTreeMap<(String, String), Result<Vec<u8>, String>>,
}

impl Sources {
    /// Begins with the first text. `file` is its name for messages.
    #[must_use]
    pub fn new(file: impl Into<String>, text: impl Into<Vec<u8>>) -> Self {
        let main = file.into();
        let files = BTreeMap::from([(main.clone(), Ok(text.into()))]);
        Self {
            main,
            files,
            included: BTreeMap::new(),
            environment: BTreeMap::new(),
            values: BTreeMap::new(),
            contents: BTreeMap::new(),
        }
    }

    /// The name of the first text.
    #[must_use]
    pub fn main(&self) -> &str {
        &self.main
    }

    /// The names of all files, those too that could not be read.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The bytes of a file, if it is here and could be read.
    #[must_use]
    pub fn bytes(&self, file: &str) -> Option<&[u8]> {
        self.files.get(file)?.as_deref().ok()
    }

    /// Adds an included file under its name: its bytes, or why they could not be read. At most
    /// [`SOURCE_BYTES_MAX`] and one bytes are looked at, so no more need be read.
    pub fn add_file(&mut self, name: impl Into<String>, bytes: Result<Vec<u8>, String>) {
        self.files.insert(name.into(), bytes);
    }

    /// Says which files the `pattern` that stands in `file` means: their names as given to
    /// [`Self::add_file`], in order, maybe none; or why that cannot be told.
    pub fn add_include(
        &mut self,
        file: impl Into<String>,
        pattern: impl Into<String>,
        names: Result<Vec<String>, String>,
    ) {
        self.included.insert((file.into(), pattern.into()), names);
    }

    /// Gives the value of an environment variable, or why it cannot be used (it is not UTF-8). A
    /// variable that is not here is not set.
    pub fn add_environment(&mut self, name: impl Into<String>, value: Result<String, String>) {
        self.environment.insert(name.into(), value);
    }

    /// Gives the value for `${file:PATH}` that stands in `file`, or why it could not be read. A
    /// line feed at its end does not count.
    pub fn add_value(
        &mut self,
        file: impl Into<String>,
        path: impl Into<String>,
        value: Result<String, String>,
    ) {
        self.values.insert((file.into(), path.into()), value);
    }

    /// Gives the content of the file at `path`, which a key in `file` names (see
    /// [`files`](super::files)), or why it could not be read.
    pub fn add_content(
        &mut self,
        file: impl Into<String>,
        path: impl Into<String>,
        content: Result<Vec<u8>, String>,
    ) {
        self.contents.insert((file.into(), path.into()), content);
    }

    /// The content of the file at `path`, which a key in `file` names.
    ///
    /// # Errors
    /// Why it is not here.
    pub fn content(&self, file: &str, path: &str) -> Result<&[u8], &str> {
        match self.contents.get(&(file.to_owned(), path.to_owned())) {
            Some(Ok(content)) => Ok(content),
            Some(Err(why)) => Err(why),
            None => Err("it did not come with this text"),
        }
    }

    pub(super) fn file(&self, name: &str) -> Option<&Result<Vec<u8>, String>> {
        self.files.get(name)
    }

    pub(super) fn included(
        &self,
        file: &str,
        pattern: &str,
    ) -> Option<&Result<Vec<String>, String>> {
        self.included.get(&(file.to_owned(), pattern.to_owned()))
    }

    pub(super) fn environment(&self, name: &str) -> Option<&Result<String, String>> {
        self.environment.get(name)
    }

    pub(super) fn value(&self, file: &str, path: &str) -> Option<&Result<String, String>> {
        self.values.get(&(file.to_owned(), path.to_owned()))
    }
}

/// Without the values: they are secret.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("main", &self.main)
            .field("files", &self.files.keys())
            .finish_non_exhaustive()
    }
}
