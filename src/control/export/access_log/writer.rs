//! The thread that writes the access log, and what the control thread holds of it.
//!
//! Bytes go over in a bounded queue, whole lines in each piece. The thread takes what has come
//! together in the meantime and writes it at once, so nothing waits longer than the disk makes it.
//! A write that fails is tried again while the queue fills.
//!
//! Invariant: [`Writer::send`] never waits. A line is in the file as a whole or not at all, unless
//! the process is killed in between, and is counted when its end is written.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TryRecvError, channel, sync_channel,
};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;

use super::LogCounts;
use super::file::{Open, Target};

/// Bytes on their way to the thread, at most: some seconds of a busy gateway on a disk that has
/// stopped.
pub(super) const QUEUE_BYTES_MAX: usize = 16 << 20;

/// Pieces on their way, at most. A piece is a batch of a core.
const QUEUE_PIECES_MAX: usize = 256;

/// The thread gathers so much before it writes, if it has come already.
const WRITE_BYTES: usize = 256 << 10;

/// Empty buffers that are kept.
const SPARE_MAX: usize = 8;

/// How often the thread looks whether the file has been renamed, while there is something to write.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the thread waits before it tries again what failed.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// How long a pipe that is full is left alone. Its reader is alive and slow.
const FULL_PIPE_WAIT: Duration = Duration::from_millis(5);

/// As the control thread's: nothing waits for a line to be written.
const NICE: i32 = 10;

/// One word a minute about errors is enough.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// A log that nothing is added to any more is given up when it cannot be written for this long.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);

/// The control thread's end.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<SyncSender<Piece>>,
    spare: Receiver<Vec<u8>>,
    shared: Arc<Shared>,
    counts: Arc<LogCounts>,
    ended: Receiver<()>,
    thread: thread::Thread,
}

#[derive(Debug)]
struct Piece {
    /// Whole lines; none only wakes the thread.
    bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Shared {
    queued_bytes: AtomicUsize,
    reopen: AtomicBool,
    ending: AtomicBool,
}

impl Writer {
    /// Opens the target and starts the thread.
    pub(super) fn start(target: &Target, counts: Arc<LogCounts>) -> io::Result<Self> {
        let file = Open::new(target)?;
        let (queue, inbox) = sync_channel(QUEUE_PIECES_MAX);
        let (returns, spare) = sync_channel(SPARE_MAX);
        let (end, ended) = channel();
        let shared = Arc::new(Shared::default());
        let task = Task {
            name: target.to_string(),
            file,
            inbox,
            returns,
            shared: Arc::clone(&shared),
            counts: Arc::clone(&counts),
            buffer: Vec::new(),
            looked: Instant::now(),
            complained: None,
            failing_since: None,
        };
        let thread = thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            task.run();
            let _ = end.send(());
        })?;
        let thread = thread.thread().clone();
        Ok(Self { queue: Some(queue), spare, shared, counts, ended, thread })
    }

    /// An empty buffer to put lines in; none when there is no room for more.
    pub(super) fn buffer(&self) -> Option<Vec<u8>> {
        let full = self.shared.queued_bytes.load(Relaxed) >= QUEUE_BYTES_MAX;
        (!full).then(|| self.spare.try_recv().unwrap_or_default())
    }

    /// Hands so many lines over, or drops and counts them.
    pub(super) fn send(&self, bytes: Vec<u8>, lines: u64) {
        let size = bytes.len();
        self.shared.queued_bytes.fetch_add(size, AcqRel);
        let sent = self.queue.as_ref().is_some_and(|it| it.try_send(Piece { bytes }).is_ok());
        if !sent {
            self.shared.queued_bytes.fetch_sub(size, AcqRel);
            self.counts.dropped.fetch_add(lines, Relaxed);
        }
    }

    /// Lets the thread open the file again before it writes on.
    pub(super) fn reopen(&self) {
        self.shared.reopen.store(true, Release);
        // When the queue is full the thread is awake, or will be.
        if let Some(queue) = &self.queue {
            let _ = queue.try_send(Piece { bytes: Vec::new() });
        }
        self.thread.unpark();
    }

    /// Nothing more comes: the thread writes what it has, and ends.
    pub(super) fn end(&mut self) {
        self.queue = None;
        self.shared.ending.store(true, Release);
        self.thread.unpark();
    }

    /// Whether the thread has ended.
    pub(super) fn has_ended(&self) -> bool {
        !matches!(self.ended.try_recv(), Err(TryRecvError::Empty))
    }

    /// Waits for the end of the thread. Returns whether it came.
    pub(super) fn wait(self, timeout: Duration) -> bool {
        !matches!(self.ended.recv_timeout(timeout), Err(RecvTimeoutError::Timeout))
    }
}

/// The thread.
struct Task {
    /// Of the target, for messages.
    name: String,
    file: Open,
    inbox: Receiver<Piece>,
    returns: SyncSender<Vec<u8>>,
    shared: Arc<Shared>,
    counts: Arc<LogCounts>,
    buffer: Vec<u8>,
    /// When the name of the file was last looked at.
    looked: Instant,
    complained: Option<Instant>,
    failing_since: Option<Instant>,
}

impl Task {
    fn run(mut self) {
        // Like the control thread, it leaves the CPUs to the workers. When that is not permitted it
        // works all the same.
        let _ = setpriority_process(None, NICE);
        while let Ok(piece) = self.inbox.recv() {
            self.take(piece);
            while self.buffer.len() < WRITE_BYTES {
                match self.inbox.try_recv() {
                    Ok(piece) => self.take(piece),
                    Err(_) => break,
                }
            }
            self.write();
        }
    }

    fn take(&mut self, Piece { mut bytes }: Piece) {
        if self.buffer.is_empty() {
            std::mem::swap(&mut self.buffer, &mut bytes);
        } else {
            self.buffer.extend_from_slice(&bytes);
            bytes.clear();
        }
        if bytes.capacity() > 0 {
            let _ = self.returns.try_send(bytes);
        }
    }

    /// Writes the buffer, however long it takes.
    fn write(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut cursor = Cursor { bytes: &buffer, written: 0, file_bytes: None };
        self.look();
        self.reopen_if_told(&mut cursor);
        while let Some(rest) = cursor.rest() {
            let wait = match self.file.write(rest) {
                Ok(count) if count > 0 => {
                    if count < rest.len() {
                        cursor.file_bytes = self.file.bytes();
                    }
                    self.counts.written.fetch_add(cursor.advance(count), Relaxed);
                    self.failing_since = None;
                    continue;
                }
                Ok(_) => self.failed(&io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => FULL_PIPE_WAIT,
                Err(error) => self.failed(&error),
            };
            let since = *self.failing_since.get_or_insert_with(Instant::now);
            if self.shared.ending.load(Acquire) && since.elapsed() >= GIVE_UP_AFTER {
                self.counts.dropped.fetch_add(cursor.lines_left(), Relaxed);
                break;
            }
            thread::park_timeout(wait);
            self.resume(&mut cursor);
        }
        self.shared.queued_bytes.fetch_sub(buffer.len(), AcqRel);
        let mut empty = buffer;
        empty.clear();
        let _ = self.returns.try_send(empty);
    }

    /// Before going on after a failure: if a line was left in the middle and the file has changed
    /// since, the line is written again as a whole.
    fn resume(&mut self, cursor: &mut Cursor<'_>) {
        self.look();
        if !self.reopen_if_told(cursor)
            && cursor.is_torn()
            && cursor.file_bytes != self.file.bytes()
        {
            cursor.rewind();
            self.file.begin_line();
        }
    }

    /// Looks whether the file was renamed or removed, at most once a second.
    fn look(&mut self) {
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            if self.file.has_moved() {
                self.shared.reopen.store(true, Release);
            }
        }
    }

    /// Opens the file again, if that is to be done. When it does not work, the old one is used on:
    /// whoever renamed it can still read it.
    fn reopen_if_told(&mut self, cursor: &mut Cursor<'_>) -> bool {
        if !self.shared.reopen.swap(false, AcqRel) {
            return false;
        }
        match self.file.reopened() {
            Ok(Some(file)) => {
                self.file = file;
                cursor.rewind();
                true
            }
            Ok(None) => false,
            Err(error) => {
                let _ = self.failed(&error);
                false
            }
        }
    }

    /// Counts an error, says so now and then, and returns how long to wait.
    fn failed(&mut self, error: &io::Error) -> Duration {
        self.counts.errors.fetch_add(1, Relaxed);
        if self.complained.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            let name = &self.name;
            tracing::error!(
                "cannot write the access log to {name}: {error}; lines wait, and when there are \
                 too many they are dropped"
            );
        }
        RETRY_AFTER
    }
}

/// How far a buffer is written.
struct Cursor<'a> {
    bytes: &'a [u8],
    written: usize,
    /// How long the file was when a line was left in the middle.
    file_bytes: Option<u64>,
}

impl Cursor<'_> {
    fn rest(&self) -> Option<&[u8]> {
        self.bytes.get(self.written..).filter(|rest| !rest.is_empty())
    }

    /// Notes that so many bytes are written; returns how many lines have come to their end.
    fn advance(&mut self, count: usize) -> u64 {
        let lines = lines(self.rest().unwrap_or_default().get(..count).unwrap_or_default());
        self.written += count;
        lines
    }

    fn lines_left(&self) -> u64 {
        lines(self.rest().unwrap_or_default())
    }

    fn is_torn(&self) -> bool {
        self.written > 0 && self.bytes.get(self.written - 1) != Some(&b'\n')
    }

    /// Back to the beginning of the line.
    fn rewind(&mut self) {
        let written = self.bytes.get(..self.written).unwrap_or_default();
        self.written = written.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    }
}

fn lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_begun_again_is_counted_once() {
        let bytes = b"one\ntwo\nthree\n";
        let mut cursor = Cursor { bytes, written: 0, file_bytes: None };
        assert_eq!(cursor.advance(6), 1);
        assert!(cursor.is_torn());
        cursor.rewind();
        assert_eq!(cursor.rest(), Some(&b"two\nthree\n"[..]));
        assert!(!cursor.is_torn());
        assert_eq!(cursor.lines_left(), 2);
        assert_eq!(cursor.advance(10), 2);
        assert_eq!(cursor.rest(), None);
    }

    #[test]
    fn nothing_is_begun_again_at_the_start() {
        let mut cursor = Cursor { bytes: b"one\n", written: 0, file_bytes: None };
        assert!(!cursor.is_torn());
        cursor.rewind();
        assert_eq!(cursor.lines_left(), 1);
    }
}
