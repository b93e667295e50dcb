//! Whether a configuration is sound, with the files that it names.

use engine::config::{Diagnostic, Model, Sources};
use engine::snapshot::Identities;

use crate::state::unix_seconds;
use crate::version::Draft;

/// Reads a configuration and looks into the files that it names, as a start would.
///
/// # Errors
/// Every mistake.
pub fn check(sources: &Sources) -> Result<Model, Vec<Diagnostic>> {
    let model = engine::config::parse(sources)?;
    let first = (1, unix_seconds());
    let draft = Draft::compile(sources.clone(), model, first, Identities::default(), None)?;
    Ok(draft.into_model())
}
