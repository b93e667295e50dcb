//! Signals: SIGTERM, SIGINT and SIGQUIT stop, SIGHUP reloads, SIGUSR1 opens logs anew, SIGUSR2 does
//! nothing.
//!
//! Signals of one kind that come while one is being handled count as one, and so do changes of the
//! file: the handling reads the newest.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::spawn_local;

use super::main_loop::Event;
use crate::apply::{ChangeFrom, apply};
use crate::handle::Control;

/// Signals that are caught from now on.
#[derive(Debug)]
pub(super) struct Signals {
    stop: [(SignalKind, Signal); 3],
    reload: Signal,
    reopen: Signal,
    upgrade: Signal,
}

impl Signals {
    /// Catches them. They wait until [`Signals::forward`] is called.
    pub(super) fn new() -> io::Result<Self> {
        let stop = |kind| Ok::<_, io::Error>((kind, signal(kind)?));
        Ok(Self {
            stop: [
                stop(SignalKind::terminate())?,
                stop(SignalKind::interrupt())?,
                // nginx drains at this one, and images made for it have it as their stop signal.
                stop(SignalKind::quit())?,
            ],
            reload: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Handles them as long as this thread runs.
    pub(super) fn forward(self, control: &Control, events: &UnboundedSender<Event>) {
        for (kind, mut signal) in self.stop {
            let events = events.clone();
            spawn_local(async move {
                while signal.recv().await.is_some() && events.send(Event::Signal(kind)).is_ok() {}
            });
        }
        let (mut reopen, at_reopen) = (self.reopen, control.clone());
        spawn_local(async move {
            while reopen.recv().await.is_some() {
                at_reopen.reopen();
            }
        });
        let mut upgrade = self.upgrade;
        spawn_local(async move {
            // Without a handler it would end the process, and other gateways upgrade by it.
            while upgrade.recv().await.is_some() {
                tracing::warn!(
                    "SIGUSR2 is ignored: this version cannot be replaced while it runs; start the \
                     new one when this one drains"
                );
            }
        });
        let (mut reload, at_reload) = (self.reload, control.clone());
        spawn_local(async move {
            while reload.recv().await.is_some() {
                // The log has the result.
                let _ = apply(&at_reload, ChangeFrom::File, false, None).await;
            }
        });
    }
}
