//! A configuration that is sound in itself.
//!
//! Invariant: [`Model::normalised`] shows no secret.

use std::collections::BTreeSet;
use std::fmt;

use super::document::Document;
use super::sources::Sources;
use crate::keys::{Diagnostic, FilePath, Span, Spanned, Texts, Value};

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

    /// The content of the file that a key names.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn content<'s>(
        &self,
        sources: &'s Sources,
        path: &Spanned<FilePath>,
    ) -> Result<&'s [u8], &'s str> {
        sources.content(self.texts.file(path.span), &path.0)
    }

    /// Adds warnings that were found later.
    pub fn add_warnings(&mut self, warnings: Vec<Diagnostic>) {
        self.warnings.extend(warnings);
        self.warnings.sort_by_key(Diagnostic::order);
    }

    /// The mistake `what` at `span`, for checks that need more than the text.
    #[must_use]
    pub fn mistake(&self, span: Span, what: impl Into<String>) -> Diagnostic {
        Diagnostic::error(&self.texts, span, what)
    }
}

/// Without the values: some are secret.
impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.normalised())
    }
}
