//! Takes the changes of the configuration file.

use std::sync::Arc;

use crate::apply::{ChangeFrom, apply};
use crate::handle::Control;
use crate::watched::Watched;

/// Reads the file when it has changed, for as long as this thread runs. Changes that come
/// while one is taken are one.
pub(crate) async fn follow(control: Control, file: Arc<Watched>) {
    loop {
        file.changed.notified().await;
        // The log has the result.
        let _ = apply(&control, ChangeFrom::FileIfChanged, false, None).await;
    }
}
