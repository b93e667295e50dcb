//! Reading a configuration file for a command, and saying what is wrong with it.

use std::io;
use std::path::Path;

use engine::config::{Diagnostic, Model, parse};

/// Why there is no model.
pub(super) enum Unusable {
    /// The file could not be read.
    File(io::Error),
    /// It has mistakes.
    Text(Vec<Diagnostic>),
}

/// Reads and checks `file`.
pub(super) fn read(file: &Path) -> Result<Model, Unusable> {
    let text = std::fs::read_to_string(file).map_err(Unusable::File)?;
    parse(&text, &file.display().to_string()).map_err(Unusable::Text)
}

impl Unusable {
    /// Says all of it, one mistake at a time.
    pub(super) fn tell(&self, file: &Path, colours: bool, mut say: impl FnMut(&str)) {
        let file = file.display();
        match self {
            Self::File(error) => say(&format!("error: cannot read {file}: {error}")),
            Self::Text(diagnostics) => {
                for diagnostic in diagnostics {
                    say(&format!("{}\n", diagnostic.render(colours)));
                }
                let noun = if diagnostics.len() == 1 { "mistake" } else { "mistakes" };
                say(&format!("error: {} {noun} in {file}", diagnostics.len()));
            }
        }
    }
}
