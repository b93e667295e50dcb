//! How the control thread and the cores reach each other: queues, each with a socket pair that
//! wakes whoever reads it.
//!
//! This is the one place of the data plane with a lock in it. A steady request never comes here.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel as queue};

/// The sending end; one of many, when it is cloned.
#[derive(Debug)]
pub struct Mailbox<T> {
    // In this order: when the bell falls silent for good, the queue has no sender left.
    queue: Sender<T>,
    bell: Arc<UnixStream>,
}

/// The receiving end.
#[derive(Debug)]
pub struct Inbox<T> {
    queue: Receiver<T>,
    bell: Option<UnixStream>,
}

/// A mailbox and its inbox.
///
/// # Errors
///
/// When no socket pair can be made (`EMFILE`).
pub fn channel<T>() -> io::Result<(Mailbox<T>, Inbox<T>)> {
    let (theirs, ours) = UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    ours.set_nonblocking(true)?;
    let (sender, receiver) = queue();
    let mailbox = Mailbox { queue: sender, bell: Arc::new(theirs) };
    Ok((mailbox, Inbox { queue: receiver, bell: Some(ours) }))
}

impl<T> Mailbox<T> {
    /// Puts `message` into the box and wakes the receiver. Nothing happens when nobody does any
    /// more: a worker that has ended, or a process that ends.
    pub fn send(&self, message: T) {
        if self.queue.send(message).is_ok() {
            // A full socket means that the bell is ringing already.
            let _ = (&*self.bell).write(&[1]);
        }
    }
}

/// Whatever is sent need not be cloned for this.
impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), bell: Arc::clone(&self.bell) }
    }
}

impl<T> Inbox<T> {
    /// The socket that becomes readable when a message is there, and ends when no sender is left that
    /// could send one; handed out once. Its bytes are to be read before the queue is.
    pub fn take_bell(&mut self) -> Option<UnixStream> {
        self.bell.take()
    }

    /// The next message, without waiting.
    ///
    /// # Errors
    /// When there is none now, or no sender is left.
    pub fn next(&self) -> Result<T, TryRecvError> {
        self.queue.try_recv()
    }
}
