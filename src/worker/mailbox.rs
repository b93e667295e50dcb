//! How the control thread and the cores reach each other: queues, each with a socket pair that
//! wakes whoever reads it.
//!
//! This is the one place of the data plane with a lock in it. A steady request never comes here.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel as queue};

use crate::message::{Report, ToWorker};

/// The control thread's end.
#[derive(Debug)]
pub struct Mailbox {
    queue: Sender<ToWorker>,
    bell: UnixStream,
}

/// The worker's end.
#[derive(Debug)]
pub struct Inbox {
    queue: Receiver<ToWorker>,
    bell: Option<UnixStream>,
}

/// A mailbox for one worker.
///
/// # Errors
///
/// When no socket pair can be made (`EMFILE`).
pub fn channel() -> io::Result<(Mailbox, Inbox)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let (sender, receiver) = queue();
    Ok((Mailbox { queue: sender, bell: ours }, Inbox { queue: receiver, bell: Some(theirs) }))
}

impl Mailbox {
    /// Puts `message` into the box and wakes the worker. Nothing happens when the worker has ended.
    pub fn send(&self, message: ToWorker) {
        if self.queue.send(message).is_ok() {
            ring(&self.bell);
        }
    }
}

impl Inbox {
    /// The socket that becomes readable when a message is there; handed out once.
    pub fn take_bell(&mut self) -> Option<UnixStream> {
        self.bell.take()
    }

    /// The next message, without waiting.
    #[must_use]
    pub fn next(&self) -> Option<ToWorker> {
        self.queue.try_recv().ok()
    }
}

/// A worker's end of the box that all workers report to.
#[derive(Clone, Debug)]
pub struct ReportSender {
    // In this order: when the bell falls silent for good, the queue has no sender left.
    queue: Sender<Report>,
    bell: Arc<UnixStream>,
}

/// The control thread's end of the box that all workers report to.
#[derive(Debug)]
pub struct ReportReceiver {
    queue: Receiver<Report>,
    bell: Option<UnixStream>,
}

/// A box for the reports of all workers.
///
/// # Errors
///
/// When no socket pair can be made (`EMFILE`).
pub fn reports() -> io::Result<(ReportSender, ReportReceiver)> {
    let (theirs, ours) = UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    ours.set_nonblocking(true)?;
    let (sender, receiver) = queue();
    let sender = ReportSender { queue: sender, bell: Arc::new(theirs) };
    Ok((sender, ReportReceiver { queue: receiver, bell: Some(ours) }))
}

impl ReportSender {
    /// Puts `report` into the box and wakes the control thread. Nothing happens when nobody
    /// listens any more: then the process ends.
    pub fn send(&self, report: Report) {
        if self.queue.send(report).is_ok() {
            ring(&self.bell);
        }
    }
}

impl ReportReceiver {
    /// The socket that becomes readable when a report is there, and ends when no worker is left;
    /// handed out once. Its bytes are to be read before the queue is.
    pub fn take_bell(&mut self) -> Option<UnixStream> {
        self.bell.take()
    }

    /// The next report, without waiting.
    ///
    /// # Errors
    /// When there is none now, or no worker is left that could send one.
    pub fn next(&self) -> Result<Report, TryRecvError> {
        self.queue.try_recv()
    }
}

fn ring(mut bell: &UnixStream) {
    // A full socket means that the bell is ringing already.
    let _ = bell.write(&[1]);
}
