//! The configuration file and the watch on it.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::source::{self, Folders, Watch};

/// The configuration file, watched.
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
    /// Watches `path` and the files that it leads to. Reads them, and tells of a change at once: the
    /// files may have changed since they were read before.
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
        let watched = Self { path, watch, changed };
        watched.watch(&source::read(&watched.path).folders);
        watched
    }

    /// Watches the places that a reading has found. May wait for a disk.
    pub(crate) fn watch(&self, folders: &Folders) {
        let Some(watching) = &self.watch else { return };
        let mut watching = lock(watching);
        let problems = watching.watch.replace(folders);
        if problems != watching.problems {
            for problem in &problems {
                tracing::warn!("{problem}: its changes are taken at the next SIGHUP");
            }
            watching.problems = problems;
        }
    }

    /// A reading begins.
    pub(crate) fn begin_reading(&self) {
        if let Some(watching) = &self.watch {
            lock(watching).watch.begin_reading();
        }
    }

    /// Whether the files rested since the reading began. If not, it may have half of a change, and
    /// a further change is told. Waits some milliseconds.
    pub(crate) fn was_at_rest(&self) -> bool {
        self.watch.as_ref().is_none_or(|watching| lock(watching).watch.was_at_rest())
    }
}

fn lock(watching: &Mutex<Watching>) -> MutexGuard<'_, Watching> {
    watching.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unwatched(error: &io::Error) {
    tracing::warn!("the configuration file is not watched: {error}; SIGHUP reads it again");
}
