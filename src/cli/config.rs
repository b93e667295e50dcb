//! Reading a configuration file for a command, and saying what is wrong with it.

use std::io;
use std::path::Path;

use control::Configuration;
use control::source;
use engine::config::{DIAGNOSTICS_SHOWN_MAX, Diagnostic, Model, parse, summary};

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

/// Reads and checks `file`, for a gateway that reads it again when it changes.
pub(super) fn load(file: &Path) -> Result<Configuration, Unusable> {
    let sources = source::read(file).sources.map_err(Unusable::File)?;
    let model = parse(&sources).map_err(Unusable::Text)?;
    Ok(Configuration { sources, model, file: Some(file.to_owned()) })
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
