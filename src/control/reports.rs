//! The workers' reports, awaited.

use std::io;
use std::sync::mpsc::TryRecvError;

use tokio::net::UnixStream;
use tokio::task::coop::consume_budget;
use worker::mailbox::Inbox;
use worker::message::Report;

/// The reports of the workers, in their order. Needs a tokio runtime.
#[derive(Debug)]
pub(crate) struct Reports {
    queue: Inbox<Report>,
    bell: UnixStream,
}

impl Reports {
    /// Takes over the receiving end.
    pub(crate) fn new(mut queue: Inbox<Report>) -> io::Result<Self> {
        let bell = queue.take_bell().ok_or(io::ErrorKind::NotConnected)?;
        Ok(Self { bell: UnixStream::from_std(bell)?, queue })
    }

    /// The next report; none when every worker has ended. Nothing is lost when it is dropped.
    pub(crate) async fn next(&mut self) -> Option<Report> {
        loop {
            // However many there are, other tasks of this thread have their turn.
            consume_budget().await;
            match self.queue.next() {
                Ok(report) => return Some(report),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
            }
            // An error is said by the next read; the end of the stream means that the queue is
            // about to be disconnected.
            let _ = self.bell.readable().await;
            let mut rings = [0; 256];
            let _ = self.bell.try_read(&mut rings);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use worker::mailbox::channel;

    use super::*;

    #[tokio::test]
    async fn reports_of_all_workers_come_until_the_last_has_ended() {
        let (sender, receiver) = channel().unwrap();
        let mut reports = Reports::new(receiver).unwrap();
        let threads = [0, 1, 2].map(|core| {
            let sender = sender.clone();
            // More than a socket pair holds unread.
            thread::spawn(move || (0..2000).for_each(|_| sender.send(Report::Ready { core })))
        });
        drop(sender);
        let mut heard = [0; 3];
        while let Some(Report::Ready { core }) = reports.next().await {
            heard[core] += 1;
        }
        assert_eq!(heard, [2000; 3]);
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
