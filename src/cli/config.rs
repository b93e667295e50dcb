//! Reads a configuration file for a command, and reports its mistakes.

use std::fs::File;
use std::io::{self, Read, stdin};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use control::Configuration;
use control::source;
use engine::config::{DIAGNOSTICS_SHOWN_MAX, Diagnostic, Model, SOURCE_BYTES_MAX, summary};

/// Why there is no model.
pub(super) enum Unusable {
    /// The file could not be read.
    File(io::Error),
    /// It has mistakes.
    Text(Vec<Diagnostic>),
}

/// Reads and checks `file`.
pub(super) fn read(file: &Path) -> Result<Model, Unusable> {
    load(file).map(|it| it.model)
}

/// Reads and checks `file`, for a gateway that reads it again when it changes. A pipe can be read
/// once, so then there is no file.
pub(super) fn load(file: &Path) -> Result<Configuration, Unusable> {
    let (sources, path) = match pipe(file) {
        Some(text) => {
            let text = text.map_err(Unusable::File)?;
            (source::read_with(&file.display().to_string(), text), None)
        }
        None => (source::read(file).sources.map_err(Unusable::File)?, Some(file.to_owned())),
    };
    let model = control::check(&sources).map_err(Unusable::Text)?;
    Ok(Configuration { sources, model, file: path })
}

/// The text, if `file` is the standard input or a pipe: `-`, `/dev/stdin`, or `<(command)` of a
/// shell.
fn pipe(file: &Path) -> Option<io::Result<Vec<u8>>> {
    let most = SOURCE_BYTES_MAX as u64 + 1;
    let mut text = Vec::new();
    let is_stdin =
        ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"].map(Path::new).contains(&file);
    let read = if is_stdin {
        stdin().lock().take(most).read_to_end(&mut text)
    } else if file.metadata().is_ok_and(|it| it.file_type().is_fifo()) {
        File::open(file).and_then(|it| it.take(most).read_to_end(&mut text))
    } else {
        return None;
    };
    Some(read.map(|_| text))
}

impl Unusable {
    /// Says all of it, one mistake at a time.
    pub(super) fn tell(&self, file: &Path, colours: bool, mut say: impl FnMut(&str)) {
        let file = file.display();
        match self {
            Self::File(error) => say(&format!("error: cannot read {file}: {error}")),
            Self::Text(mistakes) => {
                for mistake in mistakes.iter().take(DIAGNOSTICS_SHOWN_MAX) {
                    say(&format!("{}\n", mistake.render(colours)));
                }
                say(&format!("error: {} in {file}", summary(mistakes)));
            }
        }
    }
}
