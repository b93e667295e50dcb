//! Says when a configuration may have changed, and whether it rested while it was read.
//!
//! It does not say which change it was, nor whether the content differs: the caller reads again and
//! compares. A burst of changes counts as one. It is told when nothing has happened for 20 ms and no
//! writer holds one of the files open, and at the latest after 500 ms, so that a file that is
//! written again and again is read all the same.
//!
//! A file that a writer holds open is half of a configuration: `cat head > file`, a copy over a slow
//! link, an editor that saves in place. inotify tells of the first write and of the close, so a file
//! is being written from the one to the other. Some writers never close the file, and some ways to
//! make a file have no close (`O_TMPFILE`), so a file at which nothing is written for 5 s counts as
//! complete.
//!
//! A writer may also begin beside a reading. So a reading is held between [`Watch::begin_reading`]
//! and [`Watch::was_at_rest`], which takes in every event that the kernel has by then. The kernel
//! makes some events a moment after the change itself: `was_at_rest` waits for those.
//!
//! Invariant: a change after [`Watch::replace`] is told, and so is a change between the reading that
//! named a folder and the moment at which it is watched: a folder that is newly watched counts as
//! changed. (inotify does not see changes that another host makes on a network file system.)

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, PipeReader, PipeWriter};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::Folders;

/// A change is over when nothing has happened for so long. Editors and `cp` take a few
/// milliseconds from the first write to the last.
const QUIET: Duration = Duration::from_millis(20);

/// A change is told at the latest so long after it began, unless a file is being written.
const LATEST: Duration = Duration::from_millis(500);

/// A writer that holds a file open and writes nothing for so long has written all of it.
const WRITE_PAUSE_MAX: Duration = Duration::from_secs(5);

/// So many files of the watched folders are known to be written at once. The folders may be those of
/// anybody, such as `/tmp`; a file beyond this counts as complete.
const WRITTEN_MAX: usize = 1024;

/// So many events are taken in at once, and somewhat more: what the kernel keeps by default. The
/// events that come meanwhile wait for the next time.
const EVENTS_MAX: usize = 16_384;

/// Watches folders, until it is dropped.
#[derive(Debug)]
pub struct Watch {
    events: Arc<Events>,
    bell: SyncSender<()>,
    /// Closed when this is dropped. Then the thread that hears of events ends.
    _alive: PipeWriter,
}

/// The events of the folders, shared with the threads that hear of them.
#[derive(Debug)]
struct Events {
    inotify: OwnedFd,
    files: Mutex<Files>,
    /// Notified when something has happened.
    heard: Condvar,
}

impl Watch {
    /// Watches nothing yet. `changed` is called on a thread of its own, once for each burst of
    /// changes; while it runs, further ones are gathered.
    ///
    /// # Errors
    /// When the kernel gives no inotify instance or no thread.
    pub fn start(changed: impl FnMut() + Send + 'static) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let files = Mutex::new(Files::default());
        let events = Arc::new(Events { inotify, files, heard: Condvar::new() });
        let (bell, rung) = sync_channel(1);
        let (ended, alive) = io::pipe()?;
        let written = Arc::clone(&events);
        thread::Builder::new()
            .name("config-watch".to_owned())
            .spawn(move || gather(&rung, |now| written.lock().complete_at(now), changed))?;
        let (heard, rings) = (Arc::clone(&events), bell.clone());
        thread::Builder::new()
            .name("config-events".to_owned())
            .spawn(move || heard.hear(&ended, &rings))?;
        Ok(Self { events, bell, _alive: alive })
    }

    /// A reading begins.
    pub fn begin_reading(&self) {
        self.take_events();
        self.events.lock().is_disturbed = false;
    }

    /// Whether nothing has happened since [`begin_reading`](Self::begin_reading), and no writer
    /// holds one of the files open. If not, the reading may have half of a change, and another
    /// change will be told. Waits for [`QUIET`].
    pub fn was_at_rest(&self) -> bool {
        let files = self.events.lock();
        let waited = self.events.heard.wait_timeout_while(files, QUIET, |it| !it.is_disturbed);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        // The thread that hears of events may not have had a CPU.
        self.take_events();
        let mut files = self.events.lock();
        let rested = !files.is_disturbed && files.complete_at(Instant::now()).is_none();
        if !rested {
            // The file may matter only since this reading, and never be closed.
            ring(&self.bell);
        }
        rested
    }

    /// Watches these folders from now on, and no others. To be called after each reading with the
    /// folders that it found. Returns a message for each one that cannot be watched.
    pub fn replace(&mut self, folders: &Folders) -> Vec<String> {
        let inotify = &self.events.inotify;
        let mut files = self.events.lock();
        folders.clone_into(&mut files.folders);
        let gone = files.watched.keys().filter(|it| !folders.iter().any(|folder| folder == *it));
        for folder in gone.cloned().collect::<Vec<_>>() {
            files.forget(inotify, &folder);
        }
        let mut problems = Vec::new();
        let mut is_anew = false;
        for folder in folders.iter() {
            match files.watch(inotify, folder) {
                Ok(anew) => is_anew |= anew,
                // It was there a moment ago: then it has changed since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => is_anew = true,
                Err(error) => {
                    problems.push(format!("cannot watch {}: {error}", folder.display()));
                }
            }
        }
        if is_anew {
            files.is_disturbed = true;
            ring(&self.bell);
        }
        problems
    }

    /// Takes in the events that the kernel has, so that nothing that has happened is missing.
    fn take_events(&self) {
        if self.events.take_events() {
            ring(&self.bell);
        }
    }
}

impl Events {
    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rings at every change, until the other end of `ended` is closed.
    fn hear(&self, ended: &PipeReader, bell: &SyncSender<()>) {
        loop {
            let events = PollFd::new(&self.inotify, PollFlags::IN);
            let mut both = [events, PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN)];
            match poll(&mut both, None) {
                Ok(_) | Err(Errno::INTR) => {}
                // Out of memory for a moment; there is no other error.
                Err(_) => thread::yield_now(),
            }
            if both.last().is_some_and(|it| !it.revents().is_empty()) {
                return;
            }
            if self.take_events() {
                ring(bell);
            }
        }
    }

    /// Takes in the events that the kernel has. Whether the configuration may have changed.
    fn take_events(&self) -> bool {
        let mut files = self.lock();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let mut is_change = false;
        let mut taken = 0;
        // An event that was read is taken in, so it ends where none is left in the buffer.
        while taken < EVENTS_MAX || !reader.is_buffer_empty() {
            taken += 1;
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    is_change |= files.on(event.wd(), event.events(), event.cookie(), name);
                }
                Err(Errno::INTR) => {}
                // All are taken. There is no other error.
                Err(_) => break,
            }
        }
        if is_change {
            files.is_disturbed = true;
            self.heard.notify_all();
        }
        is_change
    }
}

/// Rings. A bell that has been rung already will do.
fn ring(bell: &SyncSender<()>) {
    let _ = bell.try_send(());
}

/// The events of a folder that may change a configuration. Opening and reading a file changes
/// nothing.
fn wanted() -> WatchFlags {
    let in_it = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ATTRIB;
    let written = WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE;
    let itself = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
    in_it | written | itself
}

/// The files that matter, and those that are being written.
#[derive(Debug, Default)]
struct Files {
    folders: Folders,
    /// The folders that are watched.
    watched: BTreeMap<PathBuf, WatchedFolder>,
    /// Files of the watched folders that a writer holds open. Those that do not matter are among
    /// them: a rename can make one of them matter.
    written: BTreeMap<PathBuf, OpenFile>,
    /// The first half of a rename: its number, and the file if it was being written.
    moved: Option<(u32, OpenFile)>,
    /// Something has happened since the reading began.
    is_disturbed: bool,
}

/// A folder that is watched.
#[derive(Clone, Copy, Debug)]
struct WatchedFolder {
    /// Device and inode.
    which: (u64, u64),
    /// The kernel's number of the watch.
    number: i32,
}

/// A file that is being written.
#[derive(Clone, Copy, Debug)]
struct OpenFile {
    last: Instant,
    /// The name is new and nothing is written yet.
    is_new: bool,
}

impl Files {
    /// Watches a folder; false if it is being watched. One that was replaced by another of the same
    /// name is not.
    fn watch(&mut self, inotify: &OwnedFd, folder: &Path) -> io::Result<bool> {
        let metadata = fs::metadata(folder)?;
        let which = (metadata.dev(), metadata.ino());
        if self.watched.get(folder).is_some_and(|it| it.which == which) {
            return Ok(false);
        }
        self.forget(inotify, folder);
        let number =
            inotify::add_watch(inotify, folder, wanted()).map_err(|error| match error {
                Errno::NOSPC => {
                    io::Error::other("no watch is left, raise sysctl fs.inotify.max_user_watches")
                }
                error => error.into(),
            })?;
        self.watched.insert(folder.to_owned(), WatchedFolder { which, number });
        Ok(true)
    }

    fn forget(&mut self, inotify: &OwnedFd, folder: &Path) {
        let Some(WatchedFolder { number, .. }) = self.watched.remove(folder) else { return };
        // A folder can have two paths, and has one watch.
        if !self.watched.values().any(|it| it.number == number) {
            // Of a folder that is gone the watch is gone too.
            let _ = inotify::remove_watch(inotify, number);
        }
    }

    /// Takes in an event at `name` in a folder, or at the folder itself. Whether it may change the
    /// configuration.
    fn on(&mut self, number: i32, event: ReadFlags, cookie: u32, name: Option<&OsStr>) -> bool {
        if event.contains(ReadFlags::QUEUE_OVERFLOW) {
            // Events were lost, a close perhaps.
            self.written.clear();
            return true;
        }
        let folders = self.watched.iter().filter(|(_, it)| it.number == number);
        let folders: Vec<_> = folders.map(|(folder, _)| folder.clone()).collect();
        let mut is_change = false;
        for folder in folders {
            if event.contains(ReadFlags::IGNORED) {
                // The folder is gone. Another one may get its inode.
                self.watched.remove(&folder);
            }
            let path = name.map_or_else(|| folder.clone(), |name| folder.join(name));
            self.note(event, cookie, &path);
            is_change |= self.folders.concerns(&path);
        }
        is_change
    }

    /// Notes whether `path` is being written from now on.
    fn note(&mut self, event: ReadFlags, cookie: u32, path: &Path) {
        if event.contains(ReadFlags::CREATE) {
            self.begin(path, true);
        } else if event.contains(ReadFlags::MODIFY) {
            self.begin(path, false);
        } else if event.contains(ReadFlags::MOVED_FROM) {
            // A rename comes as two events with one number. The writer of a file that is renamed
            // goes on writing it under the new name.
            self.moved = self.written.remove(path).map(|written| (cookie, written));
        } else if event.contains(ReadFlags::MOVED_TO) {
            self.written.remove(path);
            if let Some((_, written)) = self.moved.take().filter(|it| it.0 == cookie) {
                self.written.insert(path.to_owned(), written);
            }
        } else if event.intersects(ReadFlags::DELETE | ReadFlags::CLOSE_WRITE) {
            self.written.remove(path);
        }
    }

    fn begin(&mut self, path: &Path, is_new: bool) {
        if self.written.len() < WRITTEN_MAX || self.written.contains_key(path) {
            self.written.insert(path.to_owned(), OpenFile { last: Instant::now(), is_new });
        }
    }

    /// When the files that are being written now will count as complete, if nothing happens; none
    /// when no writer holds one open.
    fn complete_at(&mut self, now: Instant) -> Option<Instant> {
        self.written.retain(|_, it| now < it.last + WRITE_PAUSE_MAX);
        let matters = |(path, it): &(&PathBuf, &OpenFile)| {
            self.folders.concerns(path) && (!it.is_new || is_made_by_writing(path))
        };
        self.written.iter().filter(matters).map(|(_, it)| it.last + WRITE_PAUSE_MAX).max()
    }
}

/// Whether a new name will have a close: a link, a folder, and a further name of a file that was
/// there before have none.
fn is_made_by_writing(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|it| it.is_file() && it.nlink() == 1)
}

/// Waits for the bell. Calls `changed` once the bell has been quiet and no file is being written,
/// until nobody can ring any more. `complete_at` says until when to wait for the files that are
/// being written, if any are.
fn gather(
    rung: &Receiver<()>,
    complete_at: impl Fn(Instant) -> Option<Instant>,
    mut changed: impl FnMut(),
) {
    while rung.recv().is_ok() {
        loop {
            if settle(rung).is_err() {
                return;
            }
            let now = Instant::now();
            let Some(until) = complete_at(now) else { break };
            // The next write and the close ring. Without either, the pause comes to its end.
            if let Err(RecvTimeoutError::Disconnected) = rung.recv_timeout(until - now) {
                return;
            }
        }
        changed();
    }
}

/// Waits until the bell has been quiet, or has rung for long enough.
fn settle(rung: &Receiver<()>) -> Result<(), RecvTimeoutError> {
    let latest = Instant::now() + LATEST;
    loop {
        let left = latest.saturating_duration_since(Instant::now());
        let rings = match rung.recv_timeout(QUIET.min(left)) {
            Ok(()) => true,
            // It may have rung while this thread had to wait for a CPU.
            Err(RecvTimeoutError::Timeout) => rung.try_recv().is_ok(),
            Err(disconnected) => return Err(disconnected),
        };
        if !rings || left.is_zero() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
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

        /// Reads, and watches the places of the reading.
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

    /// Nothing is told while a file is half written, for longer than a burst may last.
    #[track_caller]
    fn is_told_at_the_close_only(
        watched: &mut Watched,
        mut file: fs::File,
        whole: impl Fn(&io::Result<Sources>) -> bool,
    ) {
        while watched.changes.recv_timeout(NOTHING).is_ok() {
            assert!(whole(&watched.read()), "a half is told");
        }
        file.write_all(b"half").unwrap();
        assert!(watched.changes.recv_timeout(2 * LATEST).is_err(), "a half is told");
        file.write_all(b", whole").unwrap();
        drop(file);
        watched.until(whole);
    }

    #[test]
    fn a_file_that_a_writer_holds_open_is_told_at_its_close() {
        let mut watched = plain_file();
        let name = watched.file.display().to_string();
        let whole = |sources: &io::Result<Sources>| {
            sources.as_ref().ok() == Some(&Sources::new(name.as_str(), "half, whole"))
        };
        // It is truncated first.
        let file = fs::File::create(&watched.file).unwrap();
        is_told_at_the_close_only(&mut watched, file, whole);
        // It is new.
        fs::remove_file(&watched.file).unwrap();
        watched.until(Result::is_err);
        let file = fs::File::create(&watched.file).unwrap();
        is_told_at_the_close_only(&mut watched, file, whole);
        // It has a second name.
        fs::hard_link(&watched.file, watched.path("backup")).unwrap();
        let file = fs::File::create(&watched.file).unwrap();
        is_told_at_the_close_only(&mut watched, file, whole);
        // It is renamed while it is being written.
        let mut file = fs::File::create(watched.path("new")).unwrap();
        file.write_all(b"").unwrap();
        fs::rename(watched.path("new"), &watched.file).unwrap();
        is_told_at_the_close_only(&mut watched, file, whole);
    }

    #[test]
    fn a_file_behind_a_link_and_an_included_one_are_told_at_their_close() {
        let main = "include = [\"routes/*.toml\"]";
        let mut watched = watched("a.toml", |dir| {
            fs::create_dir_all(dir.join("real/routes")).unwrap();
            fs::create_dir(dir.join("routes")).unwrap();
            fs::write(dir.join("real/a.toml"), "").unwrap();
            symlink("real/a.toml", dir.join("a.toml")).unwrap();
        });
        let name = watched.file.display().to_string();
        let file = fs::File::create(watched.path("real/a.toml")).unwrap();
        is_told_at_the_close_only(&mut watched, file, |sources| {
            sources.as_ref().ok() == Some(&Sources::new(name.as_str(), "half, whole"))
        });
        fs::write(watched.path("real/a.toml"), main).unwrap();
        watched.until(Result::is_ok);
        let file = fs::File::create(watched.path("routes/b.toml")).unwrap();
        let b = watched.path("routes/b.toml").display().to_string();
        is_told_at_the_close_only(&mut watched, file, |sources| {
            sources.as_ref().is_ok_and(|it| it.bytes(&b) == Some(&b"half, whole"[..]))
        });
        // Other files in the folder may be open for as long as they like.
        let _swap = fs::File::create(watched.path("routes/.b.toml.swp")).unwrap();
        fs::write(watched.path("routes/b.toml"), "2").unwrap();
        let told = Instant::now();
        watched.until(|sources| sources.as_ref().is_ok_and(|it| it.bytes(&b) == Some(&b"2"[..])));
        assert!(told.elapsed() < WRITE_PAUSE_MAX);
    }

    #[test]
    fn a_file_that_is_never_closed_is_told_after_a_pause_and_a_link_at_once() {
        let mut watched = plain_file();
        let mut file = fs::File::create(&watched.file).unwrap();
        file.write_all(b"2").unwrap();
        let started = Instant::now();
        watched.until_it_says("2");
        assert!(started.elapsed() >= WRITE_PAUSE_MAX, "{:?}", started.elapsed());
        let other = watched.path("other");
        fs::write(&other, "3").unwrap();
        fs::remove_file(&watched.file).unwrap();
        watched.until(Result::is_err);
        let started = Instant::now();
        fs::hard_link(&other, &watched.file).unwrap();
        watched.until_it_says("3");
        fs::remove_file(&watched.file).unwrap();
        watched.until(Result::is_err);
        symlink(&other, &watched.file).unwrap();
        watched.until_it_says("3");
        assert!(started.elapsed() < WRITE_PAUSE_MAX, "{:?}", started.elapsed());
    }

    #[test]
    fn a_reading_beside_a_writer_was_not_at_rest_and_another_follows() {
        let mut watched = plain_file();
        watched.watch.begin_reading();
        assert!(watched.watch.was_at_rest());
        // The writer has truncated the file, and writes nothing for as long as a burst may last.
        watched.watch.begin_reading();
        let file = fs::File::create(&watched.file).unwrap();
        assert!(!watched.watch.was_at_rest());
        watched.watch.begin_reading();
        assert!(!watched.watch.was_at_rest(), "it is open");
        assert!(watched.changes.recv_timeout(2 * LATEST).is_err(), "a half is told");
        drop(file);
        watched.until_it_says("");
        // It has written all of it meanwhile.
        watched.watch.begin_reading();
        fs::write(&watched.file, "2").unwrap();
        assert!(!watched.watch.was_at_rest());
        watched.until_it_says("2");
        // Another file in the folder.
        watched.watch.begin_reading();
        fs::write(watched.path("access.log"), "a line").unwrap();
        assert!(watched.watch.was_at_rest());
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
        let gathering =
            thread::spawn(move || gather(&rung, |_| None, || told.send(()).unwrap_or_default()));
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
