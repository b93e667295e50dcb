//! The control thread at rest: it waits for reports, for signals, and for the end of workers.
//!
//! Invariant: it ends with an answer. Waiting for workers to become ready or to drain has a
//! deadline; waiting for a signal has none.

use std::future::pending;
use std::time::Duration;

use tokio::select;
use tokio::signal::unix::SignalKind;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use worker::message::Report;
use worker::telemetry::Totals;

use crate::handle::Control;
use crate::reports::Reports;
use crate::{Error, systemd};

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
    Signal(SignalKind),
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
    /// Tell the workers to drain, because of this signal.
    Drain(&'static str),
    End(Outcome),
}

/// What is known about the workers.
#[derive(Debug, Default)]
pub(super) struct MainLoop {
    cores: usize,
    ready: usize,
    draining: bool,
    drained: usize,
    ended: usize,
    /// No worker will say anything any more.
    quiet: bool,
    totals: Totals,
    /// Client connections cut at the drain deadline.
    cut: usize,
    /// The task that accepts connections to the admin API.
    admin: Option<JoinHandle<()>>,
}

impl MainLoop {
    pub(super) fn new(cores: usize, admin: Option<JoinHandle<()>>) -> Self {
        Self { cores, admin, ..Self::default() }
    }

    /// Waits until the workers have drained or one of them has died.
    pub(super) async fn run(
        mut self,
        control: &Control,
        events: &mut UnboundedReceiver<Event>,
        reports: &mut Reports,
        ready: impl FnOnce(),
    ) -> Result<Outcome, Error> {
        let mut ready = Some(ready);
        let mut until = Some(Instant::now() + START_TIMEOUT);
        loop {
            let late = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => pending().await,
                }
            };
            let event = select! {
                biased;
                Some(event) = events.recv() => event,
                report = reports.next(), if !self.quiet => report.map_or(Event::Quiet, Event::Report),
                () = late => return Err(Error::fatal(self.late())),
            };
            let step = self.on(&event)?;
            if let Event::Report(report) = event {
                control.report(report);
            }
            match step {
                Step::Wait => {}
                Step::Ready => {
                    until = None;
                    if let Some(ready) = ready.take() {
                        ready();
                    }
                    systemd::ready(&control.line());
                }
                Step::Drain(signal) => {
                    // The next process of this gateway may start now, and needs the address. A
                    // connection that is open stays open, and learns that this process drains.
                    if let Some(admin) = self.admin.take() {
                        admin.abort();
                        let _ = admin.await;
                    }
                    let deadline = control.drain();
                    tracing::info!(
                        "{signal}: draining for {} s at most, a second signal stops at once",
                        deadline.as_secs_f32()
                    );
                    systemd::stopping("draining");
                    until = Some(Instant::now() + deadline + DRAIN_GRACE);
                }
                Step::End(outcome) => return Ok(outcome),
            }
        }
    }

    fn on(&mut self, event: &Event) -> Result<Step, Error> {
        Ok(match event {
            Event::Report(Report::Ready { .. }) => {
                self.ready += 1;
                // Who is told to stop while starting does not become ready any more.
                let all = self.ready == self.cores && !self.draining;
                if all { Step::Ready } else { Step::Wait }
            }
            Event::Report(Report::Drained { totals, cut, .. }) => {
                self.drained += 1;
                self.totals += *totals;
                self.cut += cut;
                Step::Wait
            }
            Event::Report(_) => Step::Wait,
            Event::Signal(signal) if self.draining => {
                tracing::warn!("stopping at once");
                Step::End(Outcome::Stopped(signal.as_raw_value()))
            }
            Event::Signal(signal) => {
                self.draining = true;
                let interrupt = *signal == SignalKind::interrupt();
                Step::Drain(if interrupt { "SIGINT" } else { "SIGTERM" })
            }
            Event::Ended { core, end } => {
                self.ended(*core, end)?;
                self.ended += 1;
                self.over()
            }
            Event::Quiet => {
                self.quiet = true;
                self.over()
            }
        })
    }

    /// The end, when every worker has said its last and its thread has ended well. The two travel
    /// apart and arrive in any order.
    fn over(&self) -> Step {
        if !self.quiet || self.ended < self.cores {
            return Step::Wait;
        }
        self.sum_up();
        Step::End(Outcome::Drained)
    }

    /// A worker may end when it was told to. Otherwise its clients have nobody.
    fn ended(&self, core: usize, end: &End) -> Result<(), Error> {
        match end {
            End::Returned if self.draining => Ok(()),
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
    use tokio::sync::mpsc::unbounded_channel;
    use worker::mailbox::channel;

    use super::*;
    use crate::tests::control_of;

    fn main_loop() -> MainLoop {
        MainLoop::new(2, None)
    }

    fn drained(core: usize, requests: u64, cut: usize) -> Event {
        let totals = Totals { requests, ..Totals::default() };
        Event::Report(Report::Drained { core, totals, cut })
    }

    fn ready(core: usize) -> Event {
        Event::Report(Report::Ready { core })
    }

    fn terminate() -> Event {
        Event::Signal(SignalKind::terminate())
    }

    #[test]
    fn it_is_ready_when_every_worker_is() {
        let mut main_loop = main_loop();
        assert_eq!(main_loop.on(&ready(1)), Ok(Step::Wait));
        assert_eq!(main_loop.on(&ready(0)), Ok(Step::Ready));
    }

    #[test]
    fn a_signal_drains_and_the_totals_are_summed() {
        let mut main_loop = main_loop();
        let returned = |core| Event::Ended { core, end: End::Returned };
        assert_eq!(main_loop.on(&terminate()), Ok(Step::Drain("SIGTERM")));
        assert_eq!(main_loop.on(&drained(0, 3, 1)), Ok(Step::Wait));
        // The thread's end and its last report travel apart and may arrive in any order.
        assert_eq!(main_loop.on(&returned(1)), Ok(Step::Wait));
        assert_eq!(main_loop.on(&drained(1, 4, 0)), Ok(Step::Wait));
        assert_eq!(main_loop.on(&Event::Quiet), Ok(Step::Wait));
        assert_eq!(main_loop.on(&returned(0)), Ok(Step::End(Outcome::Drained)));
        assert_eq!((main_loop.totals.requests, main_loop.cut), (7, 1));
    }

    #[test]
    fn a_second_signal_stops_at_once() {
        let mut main_loop = main_loop();
        assert_eq!(main_loop.on(&terminate()), Ok(Step::Drain("SIGTERM")));
        let interrupt = SignalKind::interrupt();
        let step = main_loop.on(&Event::Signal(interrupt));
        assert_eq!(step, Ok(Step::End(Outcome::Stopped(interrupt.as_raw_value()))));
    }

    #[test]
    fn a_worker_that_dies_ends_the_process() {
        let error = |end| main_loop().on(&Event::Ended { core: 1, end }).unwrap_err();
        let failed = error(End::Failed("no ring".to_owned()));
        assert_eq!(
            (failed.to_string().as_str(), failed.exit_code()),
            ("worker 1 failed: no ring", 3)
        );
        assert_eq!(error(End::Panicked).exit_code(), 101);
        assert!(error(End::Returned).to_string().contains("without being told"));
        let mut draining = main_loop();
        assert_eq!(draining.on(&terminate()), Ok(Step::Drain("SIGTERM")));
        assert_eq!(draining.on(&Event::Quiet), Ok(Step::Wait));
        assert!(draining.on(&Event::Ended { core: 0, end: End::Panicked }).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_and_a_drain_that_do_not_end_are_ended() {
        let (control, _) = control_of(2);
        let (sender, receiver) = channel().unwrap();
        let mut reports = Reports::new(receiver).unwrap();
        let (_events, mut inbox) = unbounded_channel();
        let error = main_loop().run(&control, &mut inbox, &mut reports, || ()).await.unwrap_err();
        assert!(error.to_string().contains("2 of 2 workers did not become ready"), "{error}");

        let (events, mut inbox) = unbounded_channel();
        for event in [ready(0), ready(1), terminate(), drained(0, 0, 0)] {
            events.send(event).unwrap();
        }
        let mut was_ready = false;
        let outcome = main_loop().run(&control, &mut inbox, &mut reports, || was_ready = true);
        let error = outcome.await.unwrap_err();
        assert!(was_ready);
        assert!(error.to_string().contains("1 of 2 workers did not end"), "{error}");
        drop(sender);
    }
}
