//! A configuration that is sound in itself.
//!
//! Invariant: [`Model::normalised`] shows no secret.

use std::collections::BTreeSet;
use std::fmt;

use super::document::Document;
use crate::keys::{Diagnostic, Texts, Value};

/// A configuration as written, sound in itself.
#[derive(Clone)]
pub struct Model {
    /// All of its keys.
    pub document: Document,
    /// Values that are probably not meant as they are written.
    pub warnings: Vec<Diagnostic>,
    /// The texts that it was read from.
    pub(super) texts: Texts,
    /// The paths of values that came from variables.
    pub(super) secrets: BTreeSet<String>,
}

impl Model {
    /// The configuration that is in effect, as TOML: every key, also those that were left out, and
    /// everything included. Values that came from variables are masked, and so are tokens.
    #[must_use]
    pub fn normalised(&self) -> String {
        self.document.write().document(&self.secrets)
    }
}

/// Without the values: some are secret.
impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.normalised())
    }
}
