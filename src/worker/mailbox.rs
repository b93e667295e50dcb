//! How the control thread reaches a core: a queue, and a socket pair that wakes the core.
//!
//! This is the one place of the data plane with a lock in it. A steady request never comes here.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel as queue};

use crate::message::ToWorker;

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
            // A full socket means that the bell is ringing already.
            let _ = (&self.bell).write(&[1]);
        }
    }
}

impl Inbox {
    /// The socket that becomes readable when a message is there; handed out once.
    pub(crate) fn take_bell(&mut self) -> Option<UnixStream> {
        self.bell.take()
    }

    /// The next message, without waiting.
    pub(crate) fn next(&self) -> Option<ToWorker> {
        self.queue.try_recv().ok()
    }
}
