//! Checks the endpoints of upstreams that have `health`, and tells the rest of the control thread of
//! each change.
//!
//! A task for each endpoint checks and waits; [`engine::health`] decides the change by a result and
//! when to check again, `check` is one check. Nothing here knows of workers: `handle` makes facts of
//! the news.
//!
//! Invariant: at most [`CHECKS_MAX`] checks run at once, whatever the number of endpoints.

mod check;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

use engine::address::Address;
use engine::config::HealthCheck;
use engine::health::{CheckHistory, CheckVerdict};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, sleep_until};

/// Each check has a descriptor, and these are not the workers'.
const CHECKS_MAX: usize = 256;

/// The first checks of all endpoints spread over this time at most.
const FIRST_WITHIN: Duration = Duration::from_millis(500);

/// An endpoint: the name of its upstream, and its address.
pub(crate) type Checked = (Box<str>, Address);

/// The endpoints that are checked. A handle, to be cloned for each task.
#[derive(Clone)]
pub(crate) struct Prober(Rc<SharedProber>);

struct SharedProber {
    endpoints: RefCell<BTreeMap<Checked, CheckedEndpoint>>,
    running: Semaphore,
    random: RandomState,
    news: UnboundedSender<CheckNews>,
}

struct CheckedEndpoint {
    check: Rc<HealthCheck>,
    history: CheckHistory,
    /// The trouble with the last check.
    trouble: Option<String>,
    task: JoinHandle<()>,
}

impl Drop for CheckedEndpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An endpoint may be used from now on, or not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CheckNews {
    pub(crate) endpoint: Checked,
    pub(crate) passes: bool,
}

/// How the checks of an endpoint stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckStatus {
    /// The name of its upstream.
    pub(crate) upstream: String,
    /// Its address.
    pub(crate) address: String,
    pub(crate) verdict: CheckVerdict,
    /// The trouble with the last check.
    pub(crate) trouble: Option<String>,
}

impl Prober {
    /// Checks nothing yet.
    pub(crate) fn new() -> (Self, UnboundedReceiver<CheckNews>) {
        let (news, receiver) = unbounded_channel();
        let prober = SharedProber {
            endpoints: RefCell::default(),
            running: Semaphore::new(CHECKS_MAX),
            random: RandomState::new(),
            news,
        };
        (Self(Rc::new(prober)), receiver)
    }

    /// Checks these endpoints from now on, and no others. One that was checked before keeps its verdict,
    /// also when it is checked in another way now.
    pub(crate) fn follow(&self, wanted: BTreeMap<Checked, Rc<HealthCheck>>) {
        let mut endpoints = self.0.endpoints.borrow_mut();
        endpoints.retain(|endpoint, it| {
            let stays = wanted.contains_key(endpoint);
            if !stays && it.history.verdict() == CheckVerdict::Failing {
                self.tell(endpoint.clone(), true);
            }
            stays
        });
        for (endpoint, check) in wanted {
            let before = endpoints.get(&endpoint);
            if before.is_some_and(|it| it.check == check) {
                continue;
            }
            let history = before.map_or_else(CheckHistory::default, |it| it.history);
            let trouble = before.and_then(|it| it.trouble.clone());
            let task = self.clone().check_forever(endpoint.clone(), Rc::clone(&check));
            let task = spawn_local(task);
            endpoints.insert(endpoint, CheckedEndpoint { check, history, trouble, task });
        }
    }

    /// The endpoints whose checks fail.
    pub(crate) fn failing(&self) -> Vec<Checked> {
        let endpoints = self.0.endpoints.borrow();
        let failing =
            endpoints.iter().filter(|(_, it)| it.history.verdict() == CheckVerdict::Failing);
        failing.map(|(endpoint, _)| endpoint.clone()).collect()
    }

    /// How all endpoints stand.
    pub(crate) fn status(&self) -> Vec<CheckStatus> {
        let status = |((upstream, address), it): (&Checked, &CheckedEndpoint)| CheckStatus {
            upstream: upstream.to_string(),
            address: address.to_string(),
            verdict: it.history.verdict(),
            trouble: it.trouble.clone(),
        };
        self.0.endpoints.borrow().iter().map(status).collect()
    }

    async fn check_forever(self, endpoint: Checked, check: Rc<HealthCheck>) {
        let mut round = 0_u64;
        let name = endpoint.1.to_string();
        let random = |round: u64| self.0.random.hash_one((&*endpoint.0, &*name, round));
        let within = FIRST_WITHIN.min(check.interval.into());
        let part = u32::try_from(random(round) % 1000).unwrap_or(0);
        sleep(within * part / 1000).await;
        loop {
            // It is never closed. The wait for it is no part of the check.
            let permit = self.0.running.acquire().await;
            let begun = Instant::now();
            let result = check::run(&endpoint.1, &check).await;
            drop(permit);
            round = round.wrapping_add(1);
            let Some(pause) = self.take(&endpoint, result, random(round)) else { return };
            sleep_until(begun + pause).await;
        }
    }

    /// Takes in the result of a check. Returns the time to the next one; none: the endpoint is not
    /// checked any more.
    fn take(
        &self,
        endpoint: &Checked,
        result: Result<(), String>,
        random: u64,
    ) -> Option<Duration> {
        let mut endpoints = self.0.endpoints.borrow_mut();
        let it = endpoints.get_mut(endpoint)?;
        let was = it.history.verdict();
        let changed = it.history.take(result.is_ok(), &it.check);
        it.trouble = result.err();
        let (upstream, address) = endpoint;
        if changed {
            let passes = it.history.verdict() == CheckVerdict::Passing;
            match &it.trouble {
                Some(trouble) => {
                    tracing::warn!(
                        "upstream {upstream}: checks of endpoint {address} fail: {trouble}"
                    );
                }
                None if was == CheckVerdict::Unknown => {
                    tracing::debug!("upstream {upstream}: checks of endpoint {address} pass");
                }
                None => {
                    tracing::info!("upstream {upstream}: checks of endpoint {address} pass again");
                }
            }
            // A new endpoint is used already.
            if was != CheckVerdict::Unknown || !passes {
                self.tell(endpoint.clone(), passes);
            }
        }
        Some(it.history.pause(&it.check, random))
    }

    fn tell(&self, endpoint: Checked, passes: bool) {
        // Nobody listens when the process is ending.
        let _ = self.0.news.send(CheckNews { endpoint, passes });
    }
}
