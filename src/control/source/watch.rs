//! Says when a configuration may have changed.
//!
//! Which change it was is not said, and neither is whether the content differs: who is told reads
//! again and compares. Bursts are one change: it is said when nothing has happened for 20 ms, and
//! at the latest after 500 ms, so that a file which is written all the time is read all the same.
//!
//! Invariant: what changes after [`Watch::replace`] is told, and what changed between the reading
//! that named a folder and its being watched too: a folder that is watched anew counts as changed.
//! (inotify does not see changes that another host makes on a network file system.)

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::Folders;

/// A change is over when nothing has happened for so long. Editors and `cp` take a few
/// milliseconds from the first write to the last.
const QUIET: Duration = Duration::from_millis(20);

/// A change is told at the latest so long after it began.
const LATEST: Duration = Duration::from_millis(500);

/// Watches folders, until it is dropped.
#[derive(Debug)]
pub struct Watch {
    watcher: RecommendedWatcher,
    /// What matters. Shared with the thread that hears of events.
    folders: Arc<Mutex<Folders>>,
    /// The folders that are watched, and which ones they are: device and inode.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    bell: SyncSender<()>,
}

impl Watch {
    /// Watches nothing yet. `changed` is called on a thread of its own, once for each burst of
    /// changes; while it runs, further ones are gathered.
    ///
    /// # Errors
    /// When the kernel gives no inotify instance or no thread.
    pub fn start(changed: impl FnMut() + Send + 'static) -> io::Result<Self> {
        let (bell, rung) = sync_channel(1);
        thread::Builder::new()
            .name("config-watch".to_owned())
            .spawn(move || gather(&rung, changed))?;
        let folders = Arc::new(Mutex::new(Folders::default()));
        let concerned = Concerned { folders: Arc::clone(&folders), bell: bell.clone() };
        let on_event = move |event| concerned.on(event);
        let watcher = RecommendedWatcher::new(on_event, Config::default()).map_err(plain)?;
        Ok(Self { watcher, folders, watched: BTreeMap::new(), bell })
    }

    /// Watches these folders from now on, and no others. To be called after each reading with what
    /// it found. Returns what cannot be watched, a message each.
    pub fn replace(&mut self, folders: &Folders) -> Vec<String> {
        folders.clone_into(&mut self.folders.lock().unwrap_or_else(PoisonError::into_inner));
        let gone = self.watched.keys().filter(|it| !folders.iter().any(|folder| folder == *it));
        for folder in gone.cloned().collect::<Vec<_>>() {
            self.forget(&folder);
        }
        let mut problems = Vec::new();
        let mut is_anew = false;
        for folder in folders.iter() {
            match self.watch(folder) {
                Ok(anew) => is_anew |= anew,
                // It was there a moment ago: then it has changed since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => is_anew = true,
                Err(error) => {
                    problems.push(format!("cannot watch {}: {error}", folder.display()));
                }
            }
        }
        if is_anew {
            // A bell that has been rung already will do.
            let _ = self.bell.try_send(());
        }
        problems
    }

    /// Watches a folder; false if it is being watched. One that was replaced by another of the same
    /// name is not.
    fn watch(&mut self, folder: &Path) -> io::Result<bool> {
        let metadata = fs::metadata(folder)?;
        let which = (metadata.dev(), metadata.ino());
        if self.watched.get(folder) == Some(&which) {
            return Ok(false);
        }
        self.forget(folder);
        self.watcher.watch(folder, RecursiveMode::NonRecursive).map_err(plain)?;
        self.watched.insert(folder.to_owned(), which);
        Ok(true)
    }

    fn forget(&mut self, folder: &Path) {
        if self.watched.remove(folder).is_some() {
            // Of a folder that is gone the watch is gone too.
            let _ = self.watcher.unwatch(folder);
        }
    }
}

/// What hears of events.
struct Concerned {
    folders: Arc<Mutex<Folders>>,
    bell: SyncSender<()>,
}

impl Concerned {
    fn on(&self, event: notify::Result<Event>) {
        // An error may have cost events, and so may a queue that was full.
        let matters = event.map_or(true, |event| {
            event.need_rescan() || is_change(event.kind) && self.concerns(&event)
        });
        if matters {
            // A bell that has been rung already will do.
            let _ = self.bell.try_send(());
        }
    }

    fn concerns(&self, event: &Event) -> bool {
        let folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        event.paths.iter().any(|path| folders.concerns(path))
    }
}

/// Reading changes nothing, or reading a changed file would be a change.
fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

/// Waits for the bell and calls `changed` once it has been quiet, until nobody can ring any more.
fn gather(rung: &Receiver<()>, mut changed: impl FnMut()) {
    while rung.recv().is_ok() {
        let latest = Instant::now() + LATEST;
        loop {
            let left = latest.saturating_duration_since(Instant::now());
            let rings = match rung.recv_timeout(QUIET.min(left)) {
                Ok(()) => true,
                // It may have rung while this thread had to wait for a CPU.
                Err(RecvTimeoutError::Timeout) => rung.try_recv().is_ok(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if !rings || left.is_zero() {
                break;
            }
        }
        changed();
    }
}

/// The error beneath notify's, which says less.
fn plain(error: notify::Error) -> io::Error {
    match error.kind {
        notify::ErrorKind::Io(error) => error,
        notify::ErrorKind::MaxFilesWatch => {
            io::Error::other("no watch is left, raise sysctl fs.inotify.max_user_watches")
        }
        notify::ErrorKind::PathNotFound => io::ErrorKind::NotFound.into(),
        _ => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::mpsc::channel;

    use engine::config::Sources;
    use tempfile::TempDir;

    use super::super::{Reading, read};
    use super::*;

    /// Far longer than anything takes.
    const DEADLINE: Duration = Duration::from_secs(10);

    /// Longer than a change is held back.
    const NOTHING: Duration = Duration::from_millis(150);

    /// A file that is watched, as control does it.
    struct Watched {
        dir: TempDir,
        file: PathBuf,
        watch: Watch,
        changes: Receiver<()>,
    }

    /// Watches `file` in a folder that `make` has filled.
    fn watched(file: &str, make: impl FnOnce(&Path)) -> Watched {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let (told, changes) = channel();
        let watch = Watch::start(move || told.send(()).unwrap_or_default()).unwrap();
        let file = dir.path().join(file);
        let mut watched = Watched { dir, file, watch, changes };
        let _ = watched.read();
        watched.rest();
        watched
    }

    impl Watched {
        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        /// Reads and watches what was read.
        fn read(&mut self) -> io::Result<Sources> {
            let Reading { sources, folders } = read(&self.file);
            assert_eq!(self.watch.replace(&folders), [""; 0]);
            sources
        }

        /// Waits until nothing more is told.
        fn rest(&mut self) {
            while self.changes.recv_timeout(NOTHING).is_ok() {
                let _ = self.read();
            }
        }

        /// Waits until a change is told after which the reading is `as_expected`, then for rest.
        #[track_caller]
        fn until(&mut self, as_expected: impl Fn(&io::Result<Sources>) -> bool) {
            let latest = Instant::now() + DEADLINE;
            loop {
                let left = latest.saturating_duration_since(Instant::now());
                assert_eq!(self.changes.recv_timeout(left), Ok(()), "no change is told");
                if as_expected(&self.read()) {
                    return self.rest();
                }
            }
        }

        #[track_caller]
        fn until_it_says(&mut self, text: &str) {
            let expected = Sources::new(self.file.display().to_string(), text);
            self.until(|sources| sources.as_ref().ok() == Some(&expected));
        }
    }

    fn plain_file() -> Watched {
        watched("a.toml", |dir| fs::write(dir.join("a.toml"), "1").unwrap())
    }

    #[test]
    fn a_file_that_is_written_in_place_is_seen() {
        let mut watched = plain_file();
        for text in ["2", "", "3"] {
            fs::write(&watched.file, text).unwrap();
            watched.until_it_says(text);
        }
    }

    #[test]
    fn a_file_that_is_renamed_over_it_is_seen() {
        let mut watched = plain_file();
        for text in ["2", "3"] {
            let new = watched.path("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, &watched.file).unwrap();
            watched.until_it_says(text);
        }
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_seen_and_so_is_what_it_leads_to() {
        let mut watched = watched("a.toml", |dir| {
            for name in ["one", "two"] {
                fs::create_dir(dir.join(name)).unwrap();
                fs::write(dir.join(name).join("a.toml"), name).unwrap();
            }
            symlink("one/a.toml", dir.join("a.toml")).unwrap();
        });
        let swapped = watched.path("swapped");
        symlink("two/a.toml", &swapped).unwrap();
        fs::rename(swapped, &watched.file).unwrap();
        watched.until_it_says("two");
        fs::write(watched.path("two/a.toml"), "three").unwrap();
        watched.until_it_says("three");
        fs::write(watched.path("one/a.toml"), "nobody reads this").unwrap();
        assert!(watched.changes.recv_timeout(NOTHING).is_err());
    }

    #[test]
    fn a_config_map_that_kubernetes_replaces_is_seen() {
        let version = |dir: &Path, name: &str, text: &str| {
            fs::create_dir(dir.join(name)).unwrap();
            fs::write(dir.join(name).join("a.toml"), text).unwrap();
        };
        let mut watched = watched("a.toml", |dir| {
            version(dir, "..1", "1");
            symlink("..1", dir.join("..data")).unwrap();
            symlink("..data/a.toml", dir.join("a.toml")).unwrap();
        });
        for number in 2..5 {
            let (old, new) = (format!("..{}", number - 1), format!("..{number}"));
            version(watched.dir.path(), &new, &number.to_string());
            symlink(&new, watched.path("..data_tmp")).unwrap();
            fs::rename(watched.path("..data_tmp"), watched.path("..data")).unwrap();
            fs::remove_dir_all(watched.path(&old)).unwrap();
            watched.until_it_says(&number.to_string());
        }
    }

    #[test]
    fn an_included_file_is_seen_to_change_to_come_and_to_go() {
        const PATTERN: &str = "routes/*.toml";
        let main = format!("include = [\"{PATTERN}\"]");
        let mut watched =
            watched("a.toml", |dir| fs::write(dir.join("a.toml"), main.as_str()).unwrap());
        let b = watched.path("routes/b.toml");
        let name = watched.file.display().to_string();
        let says = |text: &'static str| {
            let mut expected = Sources::new(name.as_str(), main.as_str());
            expected.add_include(name.as_str(), PATTERN, Ok(vec![b.display().to_string()]));
            expected.add_file(b.display().to_string(), Ok(text.into()));
            move |sources: &io::Result<Sources>| sources.as_ref().ok() == Some(&expected)
        };
        fs::create_dir(watched.path("routes")).unwrap();
        watched.until(Result::is_ok);
        fs::write(&b, "1").unwrap();
        watched.until(says("1"));
        fs::write(&b, "2").unwrap();
        watched.until(says("2"));
        fs::remove_file(&b).unwrap();
        watched.until(|sources| sources.as_ref().unwrap().files().count() == 1);
    }

    #[test]
    fn a_file_that_vanishes_and_comes_back_is_seen() {
        let mut watched = plain_file();
        for text in ["2", "3"] {
            fs::remove_file(&watched.file).unwrap();
            watched.until(Result::is_err);
            fs::write(&watched.file, text).unwrap();
            watched.until_it_says(text);
        }
    }

    #[test]
    fn a_folder_that_is_replaced_by_another_is_seen() {
        let mut watched = watched("conf/a.toml", |dir| {
            fs::create_dir(dir.join("conf")).unwrap();
            fs::write(dir.join("conf/a.toml"), "1").unwrap();
        });
        for text in ["2", "3"] {
            fs::remove_dir_all(watched.path("conf")).unwrap();
            watched.until(Result::is_err);
            fs::create_dir(watched.path("new")).unwrap();
            fs::write(watched.path("new/a.toml"), text).unwrap();
            fs::rename(watched.path("new"), watched.path("conf")).unwrap();
            watched.until_it_says(text);
            let moved = watched.path(&format!("old-{text}"));
            fs::rename(watched.path("conf"), &moved).unwrap();
            watched.until(Result::is_err);
            fs::rename(moved, watched.path("conf")).unwrap();
            watched.until_it_says(text);
        }
    }

    #[test]
    fn a_burst_is_told_a_few_times_and_other_files_and_readers_not_at_all() {
        let mut watched = plain_file();
        let started = Instant::now();
        for number in 0..200 {
            fs::write(&watched.file, number.to_string()).unwrap();
        }
        watched.until_it_says("199");
        let most = 2 + started.elapsed().as_millis() / QUIET.as_millis();
        assert!((watched.changes.try_iter().count() as u128) < most);
        fs::write(watched.path("access.log"), "a line").unwrap();
        fs::read(&watched.file).unwrap();
        assert!(watched.changes.recv_timeout(NOTHING).is_err());
    }

    #[test]
    fn a_file_that_is_written_all_the_time_is_told_all_the_same() {
        let (bell, rung) = sync_channel(1);
        let (told, changes) = channel();
        let gathering = thread::spawn(move || gather(&rung, || told.send(()).unwrap_or_default()));
        let started = Instant::now();
        let (mut rung_at, mut pause) = (started, Duration::ZERO);
        // Rings without a pause that is long enough, unless somebody else has the CPU.
        while changes.try_recv().is_err() {
            assert!(started.elapsed() < DEADLINE, "nothing is told");
            let _ = bell.try_send(());
            pause = pause.max(rung_at.elapsed());
            rung_at = Instant::now();
            thread::yield_now();
        }
        assert!(started.elapsed() >= LATEST || pause >= QUIET / 2, "{:?}", started.elapsed());
        drop(bell);
        gathering.join().unwrap();
    }
}
