//! The control thread at rest: it waits for reports, for signals, and for the end of workers.
//!
//! Invariant: it ends with an answer. Waiting for workers to become ready or to drain has a
//! deadline; waiting for a signal has none.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use signal_hook::consts::SIGINT;
use worker::mailbox::Mailbox;
use worker::message::{Report, ToWorker};
use worker::telemetry::Totals;

use crate::Error;

/// Workers that are not ready by then hang: getting ready is making a ring and registering
/// sockets, milliseconds even on a loaded machine.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// What workers get on top of the drain deadline, to cut what is left and to report.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// How the gateway ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every worker drained.
    Drained,
    /// A second signal, this one, ended it at once.
    Stopped(i32),
}

/// What the control thread hears of.
#[derive(Debug)]
pub(super) enum Event {
    /// A worker says something.
    Report(Report),
    /// A worker's thread has ended.
    Ended { core: usize, end: End },
    /// SIGTERM or SIGINT.
    Signal(i32),
    /// No worker will say anything any more.
    Quiet,
}

/// How a worker's thread ended.
#[derive(Debug)]
pub(super) enum End {
    Returned,
    Failed(String),
    Panicked,
}

/// What follows from an event.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Wait,
    /// All workers accept connections.
    Ready,
    /// Tell the workers to drain.
    Drain,
    End(Outcome),
}

/// What is known about the workers.
#[derive(Debug)]
pub(super) struct Watch {
    cores: usize,
    /// The largest drain deadline of the listeners.
    drain: Duration,
    ready: usize,
    draining: bool,
    drained: usize,
    totals: Totals,
    /// Client connections cut at the drain deadline.
    cut: usize,
}

impl Watch {
    pub(super) fn new(cores: usize, drain: Duration) -> Self {
        Self {
            cores,
            drain,
            ready: 0,
            draining: false,
            drained: 0,
            totals: Totals::default(),
            cut: 0,
        }
    }

    /// Waits until the workers have drained or one of them has died.
    pub(super) fn run(
        mut self,
        events: &Receiver<Event>,
        workers: &[Mailbox],
        ready: impl FnOnce(),
    ) -> Result<Outcome, Error> {
        let mut ready = Some(ready);
        let mut until = Some(Instant::now() + START_TIMEOUT);
        loop {
            let event = match until {
                None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(until) => events.recv_timeout(until.saturating_duration_since(Instant::now())),
            };
            let Ok(event) = event else {
                return Err(Error::fatal(self.late()));
            };
            match self.on(event)? {
                Step::Wait => {}
                Step::Ready => {
                    until = None;
                    if let Some(ready) = ready.take() {
                        ready();
                    }
                }
                Step::Drain => {
                    until = Some(Instant::now() + self.drain + DRAIN_GRACE);
                    for worker in workers {
                        worker.send(ToWorker::Drain { deadline: self.drain });
                    }
                }
                Step::End(outcome) => return Ok(outcome),
            }
        }
    }

    fn on(&mut self, event: Event) -> Result<Step, Error> {
        Ok(match event {
            Event::Report(Report::Ready { .. }) => {
                self.ready += 1;
                // Who is told to stop while starting does not become ready any more.
                let all = self.ready == self.cores && !self.draining;
                if all { Step::Ready } else { Step::Wait }
            }
            Event::Report(Report::Drained { totals, cut, .. }) => {
                self.drained += 1;
                self.totals += totals;
                self.cut += cut;
                Step::Wait
            }
            Event::Report(_) => Step::Wait,
            Event::Ended { core, end } => self.ended(core, end)?,
            Event::Signal(signal) if self.draining => {
                tracing::warn!("stopping at once");
                Step::End(Outcome::Stopped(signal))
            }
            Event::Signal(signal) => {
                self.draining = true;
                let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
                tracing::info!(
                    "{name}: draining for {} s at most, a second signal stops at once",
                    self.drain.as_secs_f32()
                );
                Step::Drain
            }
            Event::Quiet => {
                self.sum_up();
                Step::End(Outcome::Drained)
            }
        })
    }

    /// A worker may end when it was told to. Otherwise its clients have nobody.
    fn ended(&self, core: usize, end: End) -> Result<Step, Error> {
        match end {
            End::Returned if self.draining => Ok(Step::Wait),
            End::Returned => Err(Error::fatal(format!("worker {core} ended without being told"))),
            End::Failed(error) => Err(Error::fatal(format!("worker {core} failed: {error}"))),
            End::Panicked => Err(Error::panicked(format!(
                "worker {core} panicked: this is a mistake in ringway, please report it with the \
                 message above"
            ))),
        }
    }

    fn sum_up(&self) {
        tracing::info!("drained: {}", self.totals);
        if self.cut > 0 {
            tracing::warn!("{} client connections were cut at the drain deadline", self.cut);
        }
    }

    /// What did not happen in time.
    fn late(&self) -> String {
        if self.draining {
            let missing = self.cores.saturating_sub(self.drained);
            format!("{missing} of {} workers did not end after the drain deadline", self.cores)
        } else {
            let missing = self.cores.saturating_sub(self.ready);
            format!("{missing} of {} workers did not become ready", self.cores)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use signal_hook::consts::SIGTERM;

    use super::*;

    fn watch() -> Watch {
        Watch::new(2, Duration::from_millis(10))
    }

    fn drained(core: usize, requests: u64, cut: usize) -> Event {
        let totals = Totals { requests, ..Totals::default() };
        Event::Report(Report::Drained { core, totals, cut })
    }

    fn ready(core: usize) -> Event {
        Event::Report(Report::Ready { core })
    }

    #[test]
    fn it_is_ready_when_every_worker_is() {
        let mut watch = watch();
        assert_eq!(watch.on(ready(1)), Ok(Step::Wait));
        assert_eq!(watch.on(ready(0)), Ok(Step::Ready));
    }

    #[test]
    fn a_signal_drains_and_the_totals_are_summed() {
        let mut watch = watch();
        assert_eq!(watch.on(Event::Signal(SIGTERM)), Ok(Step::Drain));
        assert_eq!(watch.on(drained(0, 3, 1)), Ok(Step::Wait));
        // The thread's end and its last report travel apart and may arrive in any order.
        assert_eq!(watch.on(Event::Ended { core: 1, end: End::Returned }), Ok(Step::Wait));
        assert_eq!(watch.on(drained(1, 4, 0)), Ok(Step::Wait));
        assert_eq!(watch.on(Event::Ended { core: 0, end: End::Returned }), Ok(Step::Wait));
        assert_eq!(watch.on(Event::Quiet), Ok(Step::End(Outcome::Drained)));
        assert_eq!((watch.totals.requests, watch.cut), (7, 1));
    }

    #[test]
    fn a_second_signal_stops_at_once() {
        let mut watch = watch();
        assert_eq!(watch.on(Event::Signal(SIGTERM)), Ok(Step::Drain));
        let step = watch.on(Event::Signal(SIGINT));
        assert_eq!(step, Ok(Step::End(Outcome::Stopped(SIGINT))));
    }

    #[test]
    fn a_worker_that_dies_ends_the_process() {
        let error = |end| watch().on(Event::Ended { core: 1, end }).unwrap_err();
        let failed = error(End::Failed("no ring".to_owned()));
        assert_eq!(
            (failed.to_string().as_str(), failed.exit_code()),
            ("worker 1 failed: no ring", 3)
        );
        assert_eq!(error(End::Panicked).exit_code(), 101);
        assert!(error(End::Returned).to_string().contains("without being told"));
        let mut draining = watch();
        assert_eq!(draining.on(Event::Signal(SIGTERM)), Ok(Step::Drain));
        assert!(draining.on(Event::Ended { core: 0, end: End::Panicked }).is_err());
    }

    #[test]
    fn a_drain_that_does_not_end_is_ended() {
        let (events, inbox) = channel();
        for event in [ready(0), ready(1), Event::Signal(SIGTERM), drained(0, 0, 0)] {
            events.send(event).unwrap();
        }
        // A closed queue stands for time running out, so that the test does not wait for it.
        drop(events);
        let mut was_ready = false;
        let error = watch().run(&inbox, &[], || was_ready = true).unwrap_err();
        assert!(was_ready);
        assert!(error.to_string().contains("1 of 2 workers did not end"), "{error}");
    }
}
