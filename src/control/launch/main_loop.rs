//! The control thread at rest: it waits for reports, for signals, and for the end of workers.
//!
//! Invariant: it ends with an answer. Waiting for workers to become ready or to drain has a
//! deadline; waiting for a signal has none.

use std::future::pending;
use std::io;
use std::time::Duration;

use tokio::select;
use tokio::signal::unix::SignalKind;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use worker::message::Report;

use crate::handle::Control;
use crate::reports::Reports;
use crate::{Error, systemd};

/// Workers that are not ready by then hang: getting ready is making a ring and registering
/// sockets, milliseconds even on a loaded machine.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The time that workers get on top of the drain deadline, to cut connections and to report.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// How the gateway ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every worker drained.
    Drained,
    /// A second signal, this one, ended it at once.
    Stopped(i32),
}

/// The events for the control thread.
#[derive(Debug)]
pub(super) enum Event {
    /// A worker says something.
    Report(Report),
    /// A worker's thread has ended.
    Ended { core: usize, end: End },
    /// SIGTERM, SIGINT or SIGQUIT.
    Signal(SignalKind),
    /// No worker will say anything any more.
    Quiet,
}

/// How a worker's thread ended.
#[derive(Debug)]
pub(super) enum End {
    Returned,
    Failed(io::Error),
    Panicked,
}

/// The consequence of an event.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Wait,
    /// All workers accept connections.
    Ready,
    /// Tell the workers to drain, because of this signal.
    Drain(&'static str),
    End(Outcome),
}

/// The loop of the control thread. The workers are in the books of [`State`](crate::state::State).
pub(super) struct MainLoop<'a> {
    control: &'a Control,
    /// No worker will say anything any more.
    quiet: bool,
    /// The task that accepts connections to the admin API.
    admin: Option<JoinHandle<()>>,
}

impl<'a> MainLoop<'a> {
    pub(super) fn new(control: &'a Control, admin: Option<JoinHandle<()>>) -> Self {
        Self { control, quiet: false, admin }
    }

    /// Waits until the workers have drained or one of them has died.
    pub(super) async fn run(
        mut self,
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
            // In this order: a worker that has died ends the process, whatever else there is to do.
            let event = select! {
                biased;
                Some(event) = events.recv() => event,
                report = reports.next(), if !self.quiet => report.map_or(Event::Quiet, Event::Report),
                () = late => return Err(Error::fatal(self.control.late())),
            };
            match self.on(event)? {
                Step::Wait => {}
                Step::Ready => {
                    until = None;
                    if let Some(ready) = ready.take() {
                        ready();
                    }
                    systemd::ready(&self.control.line());
                }
                Step::Drain(signal) => {
                    let deadline = self.drain(signal).await;
                    until = Some(Instant::now() + deadline + DRAIN_GRACE);
                }
                Step::End(outcome) => return Ok(outcome),
            }
        }
    }

    fn on(&mut self, event: Event) -> Result<Step, Error> {
        Ok(match event {
            Event::Report(report) => {
                let may_be_last = matches!(report, Report::Ready { .. });
                self.control.report(report);
                // A gateway that was asked to stop while it was starting does not become ready.
                if may_be_last && self.control.serves() { Step::Ready } else { Step::Wait }
            }
            Event::Signal(signal) if self.control.is_draining() => {
                tracing::warn!("stopping at once");
                Step::End(Outcome::Stopped(signal.as_raw_value()))
            }
            Event::Signal(signal) => {
                let is = |kind| signal == kind;
                Step::Drain(match () {
                    () if is(SignalKind::interrupt()) => "SIGINT",
                    () if is(SignalKind::quit()) => "SIGQUIT",
                    () => "SIGTERM",
                })
            }
            Event::Ended { core, end } => {
                self.judge(core, &end)?;
                self.control.shared.state.borrow_mut().thread_ended(core);
                self.over()
            }
            Event::Quiet => {
                self.quiet = true;
                self.over()
            }
        })
    }

    /// Begins the drain. Returns how long it may take.
    async fn drain(&mut self, signal: &str) -> Duration {
        // First of all, since the next process of this gateway may start now and needs the address.
        // A connection that is open stays open, and learns that this process drains.
        if let Some(admin) = self.admin.take() {
            admin.abort();
            let _ = admin.await;
        }
        let deadline = self.control.drain();
        tracing::info!(
            "{signal}: draining for {} s at most, a second signal stops at once",
            deadline.as_secs_f32()
        );
        systemd::stopping("draining");
        deadline
    }

    /// The end, when every worker has said its last and its thread has ended well.
    fn over(&self) -> Step {
        let state = self.control.shared.state.borrow();
        if !self.quiet || !state.all_ended() {
            return Step::Wait;
        }
        let (totals, cut) = state.sums();
        tracing::info!("drained: {totals}");
        if cut > 0 {
            tracing::warn!("{cut} client connections were cut at the drain deadline");
        }
        Step::End(Outcome::Drained)
    }

    /// A worker may end when it was told to. Otherwise its clients have nobody.
    fn judge(&self, core: usize, end: &End) -> Result<(), Error> {
        match end {
            End::Returned if self.control.is_draining() => Ok(()),
            End::Returned => Err(Error::fatal(format!("worker {core} ended without being told"))),
            End::Failed(error) => Err(Error::system(format_args!("worker {core} failed"), error)),
            End::Panicked => Err(Error::panicked(format!(
                "worker {core} panicked: this is a mistake in ringway, please report it with the \
                 message above"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;
    use worker::mailbox::channel;
    use worker::telemetry::Totals;

    use super::*;
    use crate::tests::control_of;

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

    fn returned(core: usize) -> Event {
        Event::Ended { core, end: End::Returned }
    }

    #[test]
    fn it_is_ready_when_every_worker_is() {
        let (control, _) = control_of(2);
        let mut main_loop = MainLoop::new(&control, None);
        assert_eq!(main_loop.on(ready(1)), Ok(Step::Wait));
        assert_eq!(main_loop.on(ready(0)), Ok(Step::Ready));
    }

    #[tokio::test]
    async fn a_signal_drains_and_the_totals_are_summed() {
        let (control, _) = control_of(2);
        let mut main_loop = MainLoop::new(&control, None);
        assert_eq!(main_loop.on(ready(0)), Ok(Step::Wait));
        assert_eq!(main_loop.on(terminate()), Ok(Step::Drain("SIGTERM")));
        main_loop.drain("SIGTERM").await;
        assert_eq!(main_loop.on(ready(1)), Ok(Step::Wait), "it does not become ready any more");
        assert_eq!(main_loop.on(drained(0, 3, 1)), Ok(Step::Wait));
        // The thread's end and its last report travel apart and may arrive in any order.
        assert_eq!(main_loop.on(returned(1)), Ok(Step::Wait));
        assert_eq!(main_loop.on(drained(1, 4, 0)), Ok(Step::Wait));
        assert_eq!(main_loop.on(Event::Quiet), Ok(Step::Wait));
        assert_eq!(main_loop.on(returned(0)), Ok(Step::End(Outcome::Drained)));
        let (totals, cut) = control.shared.state.borrow().sums();
        assert_eq!((totals.requests, cut), (7, 1));
    }

    #[tokio::test]
    async fn a_second_signal_stops_at_once() {
        let (control, _) = control_of(2);
        let mut main_loop = MainLoop::new(&control, None);
        assert_eq!(main_loop.on(terminate()), Ok(Step::Drain("SIGTERM")));
        main_loop.drain("SIGTERM").await;
        let interrupt = SignalKind::interrupt();
        let step = main_loop.on(Event::Signal(interrupt));
        assert_eq!(step, Ok(Step::End(Outcome::Stopped(interrupt.as_raw_value()))));
    }

    #[tokio::test]
    async fn a_worker_that_dies_ends_the_process() {
        let (control, _) = control_of(2);
        let mut main_loop = MainLoop::new(&control, None);
        let mut error = |end| main_loop.on(Event::Ended { core: 1, end }).unwrap_err();
        let failed = error(End::Failed(io::Error::other("no ring")));
        assert_eq!(
            (failed.to_string().as_str(), failed.exit_code()),
            ("worker 1 failed: no ring", 3)
        );
        assert_eq!(error(End::Panicked).exit_code(), 101);
        assert!(error(End::Returned).to_string().contains("without being told"));
        main_loop.drain("SIGTERM").await;
        assert_eq!(main_loop.on(Event::Quiet), Ok(Step::Wait));
        assert!(main_loop.on(Event::Ended { core: 0, end: End::Panicked }).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_and_a_drain_that_do_not_end_are_ended() {
        let (control, _) = control_of(2);
        let (sender, receiver) = channel().unwrap();
        let mut reports = Reports::new(receiver).unwrap();
        let (_events, mut inbox) = unbounded_channel();
        let main_loop = MainLoop::new(&control, None);
        let error = main_loop.run(&mut inbox, &mut reports, || ()).await.unwrap_err();
        assert!(error.to_string().contains("2 of 2 workers did not become ready"), "{error}");

        let (events, mut inbox) = unbounded_channel();
        for event in [ready(0), ready(1), terminate(), drained(0, 0, 0)] {
            events.send(event).unwrap();
        }
        let mut was_ready = false;
        let main_loop = MainLoop::new(&control, None);
        let outcome = main_loop.run(&mut inbox, &mut reports, || was_ready = true);
        let error = outcome.await.unwrap_err();
        assert!(was_ready);
        assert!(error.to_string().contains("1 of 2 workers did not end"), "{error}");
        drop(sender);
    }
}
