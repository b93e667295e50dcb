//! The configuration file and the watch on it.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::source::{Folders, Watch};

/// The configuration file, watched after it was first read.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) path: PathBuf,
    /// None: the kernel gives no watch, so a change takes a SIGHUP. Helpers use it one at a time,
    /// since there is one change at a time.
    watch: Option<Mutex<Watching>>,
    /// Notified when the file may have changed.
    pub(crate) changed: Arc<Notify>,
}

#[derive(Debug)]
struct Watching {
    watch: Watch,
    /// The problems of the last time. Each is logged once.
    problems: Vec<String>,
}

impl Watched {
    /// Begins to watch `path` with its next reading.
    pub(crate) fn start(path: PathBuf) -> Self {
        let changed = Arc::new(Notify::new());
        let bell = Arc::clone(&changed);
        let watch = match Watch::start(move || bell.notify_one()) {
            Ok(watch) => Some(Mutex::new(Watching { watch, problems: Vec::new() })),
            Err(error) => {
                unwatched(&error);
                None
            }
        };
        Self { path, watch, changed }
    }

    /// Watches the places that a reading has found. May wait for a disk.
    pub(crate) fn watch(&self, folders: &Folders) {
        let Some(watching) = &self.watch else { return };
        let mut watching = watching.lock().unwrap_or_else(PoisonError::into_inner);
        let problems = watching.watch.replace(folders);
        if problems != watching.problems {
            for problem in &problems {
                tracing::warn!("{problem}: its changes are taken at the next SIGHUP");
            }
            watching.problems = problems;
        }
    }

    /// Whether a writer holds the file open, or one that it leads to. Its close is a change.
    pub(crate) fn is_being_written(&self) -> bool {
        let Some(watching) = &self.watch else { return false };
        watching.lock().unwrap_or_else(PoisonError::into_inner).watch.is_being_written()
    }
}

fn unwatched(error: &io::Error) {
    tracing::warn!("the configuration file is not watched: {error}; SIGHUP reads it again");
}
