//! The way of the process log to standard error: a bounded queue of lines, and a thread that writes
//! them.
//!
//! The reader of standard error may be slow, may stop reading, and may close its end. None of that
//! reaches the threads that log: [`ProcessLog::push`] neither waits for the reader nor fails. Lines
//! that find no room, and lines that cannot be written, are lost and counted. As soon as a write
//! succeeds again, the log says how many were lost.
//!
//! Invariant: the queue holds at most [`LINES_MAX`] lines and about [`BYTES_MAX`] bytes.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Lines in the queue. A burst of refused changes takes some tens.
const LINES_MAX: usize = 1024;

/// Bytes in the queue. A longer line is taken only while the queue is empty.
const BYTES_MAX: usize = 1 << 20;

/// How long the thread waits when standard error does not block and takes nothing at the moment.
const FULL_WAIT: Duration = Duration::from_millis(20);

/// Lines of the process log that were lost since the process started.
static LOST: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The line that the writing thread itself has logged last; None on all other threads.
    static OWN_LINE: Cell<Option<Vec<u8>>> = const { Cell::new(None) };
    /// Whether this is the writing thread.
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// The threads' end of the queue.
#[derive(Clone, Debug, Default)]
pub struct ProcessLog {
    shared: Arc<LogShared>,
}

#[derive(Debug, Default)]
struct LogShared {
    queue: Mutex<Queue>,
    /// The queue has changed.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    /// Bytes of `lines`.
    bytes: usize,
    /// The thread is writing a line that is not in `lines` any more.
    is_writing: bool,
    /// Lines that were lost and that the log has not yet mentioned.
    lost: u64,
}

impl ProcessLog {
    /// Starts the thread that writes to standard error. It calls `mention` when lines were lost and
    /// writing works again: `mention` logs how many, and the line goes out at once.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub fn start(mention: impl Fn(u64) + Send + 'static) -> io::Result<Self> {
        let stderr = io::stderr();
        // Not through the lock and the checks of the standard library: a thread that hangs in here
        // must not hold a lock that others take.
        Self::start_with(move |bytes| Ok(rustix::io::write(&stderr, bytes)?), mention)
    }

    fn start_with(
        write: impl FnMut(&[u8]) -> io::Result<usize> + Send + 'static,
        mention: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let log = Self::default();
        let shared = Arc::clone(&log.shared);
        thread::Builder::new().name("process-log".to_owned()).spawn(move || {
            IS_WRITER.set(true);
            shared.write_lines(LineWriter { write, is_torn: false }, mention);
        })?;
        Ok(log)
    }

    /// Hands a line over, or several that belong together, with their ends. Never waits for the
    /// reader of the log.
    pub fn push(&self, line: &[u8]) {
        if IS_WRITER.get() {
            // The thread would wait for itself. Its line goes out before the queue.
            OWN_LINE.set(Some(line.to_vec()));
            return;
        }
        let mut queue = self.shared.queue();
        let is_full = queue.lines.len() >= LINES_MAX
            || !queue.lines.is_empty() && queue.bytes + line.len() > BYTES_MAX;
        if is_full {
            queue.lost += 1;
            LOST.fetch_add(1, Relaxed);
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line.to_vec());
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// Waits until everything is written, at most for `timeout`. For the end of the process.
    pub fn finish(&self, timeout: Duration) {
        let is_busy = |queue: &mut Queue| queue.is_writing || !queue.lines.is_empty();
        let waited = self.shared.changed.wait_timeout_while(self.shared.queue(), timeout, is_busy);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Lines of the process log that were lost since the process started.
pub(crate) fn lost() -> u64 {
    LOST.load(Relaxed)
}

impl LogShared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: writes line after line, for as long as the process runs.
    fn write_lines(
        &self,
        mut writer: LineWriter<impl FnMut(&[u8]) -> io::Result<usize>>,
        mention: impl Fn(u64),
    ) {
        loop {
            let is_written = writer.line(&self.next_line());
            let mut queue = self.queue();
            if !is_written {
                queue.lost += 1;
                LOST.fetch_add(1, Relaxed);
            } else if queue.lines.is_empty() && queue.lost > 0 {
                // The lines in the queue are older than the lost ones, so they went first.
                let lost = std::mem::take(&mut queue.lost);
                drop(queue);
                mention(lost);
                let line = OWN_LINE.take();
                let is_said = line.is_some_and(|line| writer.line(&line));
                queue = self.queue();
                if !is_said {
                    queue.lost += lost;
                }
            }
            queue.is_writing = false;
            drop(queue);
            self.changed.notify_all();
        }
    }

    fn next_line(&self) -> Vec<u8> {
        let is_empty = |queue: &mut Queue| queue.lines.is_empty();
        let waited = self.changed.wait_while(self.queue(), is_empty);
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
        let line = queue.lines.pop_front().unwrap_or_default();
        queue.bytes -= line.len();
        queue.is_writing = true;
        line
    }
}

/// The way out.
struct LineWriter<W> {
    write: W,
    /// The last line was left in its middle.
    is_torn: bool,
}

impl<W: FnMut(&[u8]) -> io::Result<usize>> LineWriter<W> {
    /// Writes a line; false when that fails.
    fn line(&mut self, line: &[u8]) -> bool {
        if self.is_torn && !self.all(b"\n") {
            return false;
        }
        self.is_torn = false;
        self.all(line)
    }

    fn all(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match (self.write)(bytes) {
                Ok(0) => return false,
                Ok(count) => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    self.is_torn = !bytes.is_empty();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Some parents share a standard error that does not block.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::park_timeout(FULL_WAIT);
                }
                Err(_) => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A log of which the test answers the writes, one by one.
    struct Slow {
        log: ProcessLog,
        written: Receiver<String>,
        answers: Sender<io::Result<usize>>,
    }

    fn slow() -> Slow {
        let ((tell, written), (answers, answer)) = (channel(), channel());
        let write = move |bytes: &[u8]| {
            tell.send(String::from_utf8(bytes.to_vec()).unwrap()).unwrap();
            answer.recv().unwrap_or_else(|_| Err(ErrorKind::BrokenPipe.into()))
        };
        let log = ProcessLog::start_with(write, |_| ()).unwrap();
        Slow { log, written, answers }
    }

    impl Slow {
        fn answer(&self, written: &str, answer: io::Result<usize>) {
            assert_eq!(self.written.recv_timeout(PATIENCE).as_deref(), Ok(written));
            self.answers.send(answer).unwrap();
        }
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_no_time() {
        let slow = slow();
        for number in 0..3 * LINES_MAX {
            slow.log.push(format!("{number}\n").as_bytes());
        }
        let queue = slow.log.shared.queue();
        assert_eq!(queue.lines.len(), LINES_MAX);
        assert!(queue.lost >= 2 * LINES_MAX as u64 - 1, "{}", queue.lost);
        drop(queue);
        slow.log.finish(Duration::from_millis(1));
        slow.answer("0\n", Ok(2));
        slow.answer("1\n", Ok(2));
    }

    #[test]
    fn bytes_are_bounded_and_a_long_line_alone_is_taken() {
        let slow = slow();
        slow.log.push(b"first\n");
        // The thread has taken it, so the queue is empty.
        assert!(slow.written.recv_timeout(PATIENCE).is_ok());
        slow.log.push(&vec![b'x'; 2 * BYTES_MAX]);
        slow.log.push(b"no room\n");
        let queue = slow.log.shared.queue();
        assert_eq!((queue.lines.len(), queue.lost), (1, 1));
    }

    #[test]
    fn a_line_that_is_written_in_pieces_comes_whole_and_a_torn_one_is_ended() {
        let slow = slow();
        slow.log.push(b"one\n");
        slow.answer("one\n", Ok(1));
        slow.answer("ne\n", Err(ErrorKind::WouldBlock.into()));
        slow.answer("ne\n", Ok(2));
        slow.answer("\n", Err(ErrorKind::BrokenPipe.into()));
        slow.log.push(b"two\n");
        slow.answer("\n", Ok(1));
        slow.answer("two\n", Ok(4));
        slow.log.finish(PATIENCE);
        assert_eq!(slow.log.shared.queue().lost, 1);
    }

    #[test]
    fn lost_lines_are_mentioned_once_writing_works_again() {
        let (tell, written) = channel();
        let mut failures = [ErrorKind::BrokenPipe; 2].into_iter();
        let write = move |bytes: &[u8]| match failures.next() {
            Some(kind) => Err(kind.into()),
            None => {
                tell.send(String::from_utf8(bytes.to_vec()).unwrap()).unwrap();
                Ok(bytes.len())
            }
        };
        let itself = ProcessLog::default();
        let mention = move |lost| itself.push(format!("{lost} lost\n").as_bytes());
        let log = ProcessLog::start_with(write, mention).unwrap();
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            log.push(line.as_bytes());
            log.finish(PATIENCE);
        }
        let written: Vec<_> = written.try_iter().collect();
        assert_eq!(written, ["three\n", "2 lost\n", "four\n"]);
    }
}
