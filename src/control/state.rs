//! The book about the node: the live version, the progress of each core, and its counts.
//!
//! Pure bookkeeping: `control` feeds it and acts. Times are arguments.
//!
//! Invariant: a version is live from the moment at which the cores are sent it; a core that has not
//! said so yet lags.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::address::Address;
use engine::balance::EndpointState;
use engine::config::{HealthCheck, Sources};
use engine::names::{Answers, DnsName, NamedPlace};
use tokio::time::Instant;
use worker::message::Fact;
use worker::telemetry::Totals;
use worker::telemetry::report::CoreBlock;

use crate::lease::Lenders;
use crate::listen::ListenAddress;
use crate::node::{CoreStatus, EndpointStatus, Status};
use crate::prober::Checked;
use crate::source::POSTED;
use crate::unix_socket::SharedSocket;
use crate::version::{Listening, Live};

/// A worker that says nothing for so long hangs, or its CPU is taken away. It speaks once a second.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(5);

/// So many versions a core may lag behind before no change is taken any more: its mailbox does not
/// grow further.
pub(crate) const LAG_MAX: u64 = 4;

/// The book about the node.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) live: Arc<Live>,
    cores: Vec<Core>,
    driver: String,
    started: Instant,
    started_unix: u64,
    /// The content of the file at the last reading, taken or not.
    pub(crate) file: Option<Arc<Sources>>,
    /// Places of listeners that went, and the version that they went with: a core that lags
    /// still listens there.
    leaving: Vec<(u64, ListenAddress)>,
    /// The last change, and when: the version that is live since, or why it was refused.
    last_reload: Option<(u64, Result<u64, String>)>,
    reloads: Reloads,
    pub(crate) draining: bool,
    /// The places of names, as the cores were told.
    answers: Answers,
    /// The endpoints that drain: the name of the upstream, and the address.
    drained: BTreeSet<(Box<str>, Address)>,
    /// Facts sent to the cores.
    facts: u64,
    /// The credit of limits that the cores do not have.
    pub(crate) lenders: Lenders,
}

/// The number of changes by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reloads {
    ok: u64,
    unchanged: u64,
    refused: u64,
}

#[derive(Debug)]
struct Core {
    cpu: usize,
    phase: Phase,
    version: u64,
    /// The last fact that it has taken in.
    learned: u64,
    /// Since when a version is live that it has not switched to.
    lags_since: Option<Instant>,
    /// When it said anything last.
    heard: Instant,
    /// When it counted last.
    counted: Instant,
    /// Its last report. The blocks of routes have gone back.
    block: Box<CoreBlock>,
    /// Client connections that were cut at the drain deadline.
    cut: usize,
    /// Between its last two counts.
    busy_ratio: f64,
    /// Its thread has ended. That and its last report travel apart and arrive in any order.
    has_ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Serving,
    Drained,
}

impl State {
    /// A node of which the workers are about to be started, one on each of `cpus`, with these
    /// `answers`.
    pub(crate) fn new(
        live: Live,
        answers: Answers,
        cpus: &[usize],
        driver: String,
        now: Instant,
        unix: u64,
    ) -> Self {
        let core = |&cpu: &usize| Core {
            cpu,
            phase: Phase::Starting,
            version: live.number,
            learned: 0,
            lags_since: None,
            heard: now,
            counted: now,
            block: Box::default(),
            cut: 0,
            busy_ratio: 0.0,
            has_ended: false,
        };
        Self {
            cores: cpus.iter().map(core).collect(),
            lenders: Lenders::new(cpus.len(), &live.limits),
            file: Some(Arc::new(live.sources.clone())),
            live: Arc::new(live),
            driver,
            started: now,
            started_unix: unix,
            leaving: Vec::new(),
            last_reload: None,
            reloads: Reloads::default(),
            draining: false,
            answers,
            drained: BTreeSet::new(),
            facts: 0,
        }
    }

    /// How many cores there are.
    pub(crate) fn cores(&self) -> usize {
        self.cores.len()
    }

    /// Whether it has started and is not about to end.
    pub(crate) fn serves(&self) -> bool {
        !self.draining && self.cores.iter().all(|core| core.phase == Phase::Serving)
    }

    /// A core accepts connections.
    pub(crate) fn ready(&mut self, core: usize, now: Instant) {
        if let Some(core) = self.cores.get_mut(core) {
            core.phase = Phase::Serving;
            core.heard = now;
        }
    }

    /// The cores have been sent `live` with these `answers`. Returns the version before: to drop it
    /// takes a while.
    #[must_use]
    pub(crate) fn sent(&mut self, live: Live, answers: Answers, now: Instant) -> Arc<Live> {
        for core in &mut self.cores {
            // A core that lags already lags since the first version that it has missed.
            core.lags_since.get_or_insert(now);
        }
        let stays = |old: &&Listening| live.listeners.iter().any(|it| it.id == old.id);
        let gone = self.live.listeners.iter().filter(|old| !stays(old));
        for it in gone {
            self.leaving.push((live.number, it.place()));
            // Unless another listener has it now.
            let goes = |it: &&Arc<SharedSocket>| {
                let mut kept = live.listeners.iter().filter_map(|new| new.shared.as_ref());
                !kept.any(|new| Arc::ptr_eq(new, it))
            };
            if let Some(shared) = it.shared.as_ref().filter(goes) {
                shared.close();
            }
        }
        self.answers = answers;
        self.lenders.follow(&live.limits);
        let before = std::mem::replace(&mut self.live, Arc::new(live));
        self.forget_drained();
        before
    }

    /// A core has switched.
    pub(crate) fn switched(&mut self, core: usize, version: u64, now: Instant) {
        let live = self.live.number;
        if let Some(core) = self.cores.get_mut(core) {
            core.version = version;
            core.heard = now;
            if version >= live {
                core.lags_since = None;
            }
        }
        let slowest = self.slowest();
        self.leaving.retain(|(version, _)| *version > slowest);
    }

    /// A core has reported. Keeps the report, and returns the one before, which goes back to the
    /// core with the blocks of routes of this one: of these there may be thousands.
    pub(crate) fn counted(&mut self, mut block: Box<CoreBlock>, now: Instant) -> Box<CoreBlock> {
        let Some(core) = self.cores.get_mut(block.core) else { return block };
        let before = core.block.gauges.cpu_micros;
        let computed = Duration::from_micros(block.gauges.cpu_micros.saturating_sub(before));
        let elapsed = now.saturating_duration_since(core.counted);
        if !elapsed.is_zero() {
            core.busy_ratio = (computed.as_secs_f64() / elapsed.as_secs_f64()).min(1.0);
        }
        (core.heard, core.counted) = (now, now);
        std::mem::swap(&mut core.block.routes, &mut block.routes);
        std::mem::replace(&mut core.block, block)
    }

    /// A core has drained and ends; `cut` client connections were cut at the deadline.
    pub(crate) fn drained(&mut self, core: usize, totals: Totals, cut: usize) {
        if let Some(core) = self.cores.get_mut(core) {
            core.phase = Phase::Drained;
            core.block.totals = totals;
            core.cut = cut;
        }
    }

    /// The thread of a core has ended.
    pub(crate) fn thread_ended(&mut self, core: usize) {
        if let Some(core) = self.cores.get_mut(core) {
            core.has_ended = true;
        }
    }

    /// Whether the threads of all cores have ended.
    pub(crate) fn all_ended(&self) -> bool {
        self.cores.iter().all(|core| core.has_ended)
    }

    /// All that the cores have counted since they started, and the client connections that were cut.
    pub(crate) fn sums(&self) -> (Totals, usize) {
        let mut totals = Totals::default();
        self.cores.iter().for_each(|core| totals += core.block.totals);
        (totals, self.cores.iter().map(|core| core.cut).sum())
    }

    /// The complaint about the cores that a start or a drain still waits for.
    pub(crate) fn late(&self) -> String {
        let wanted = if self.draining { Phase::Drained } else { Phase::Serving };
        let missing = self.cores.iter().filter(|core| core.phase != wanted).count();
        let what = if self.draining { "end after the drain deadline" } else { "become ready" };
        format!("{missing} of {} workers did not {what}", self.cores.len())
    }

    /// Remembers the state of an endpoint of the live version; `false` when that has no such endpoint.
    #[must_use]
    pub(crate) fn set_endpoint(
        &mut self,
        upstream: &str,
        address: &Address,
        state: EndpointState,
    ) -> bool {
        let endpoint = (upstream.into(), address.clone());
        match state {
            EndpointState::Ready => self.drained.remove(&endpoint),
            EndpointState::Draining => self.drained.insert(endpoint),
        };
        self.forget_drained();
        self.live.has_endpoint(&self.answers, upstream, address)
    }

    /// A drain does not outlive its endpoint.
    fn forget_drained(&mut self) {
        let Self { drained, live, answers, .. } = self;
        drained.retain(|(upstream, address)| live.has_endpoint(answers, upstream, address));
    }

    /// A name of the live version stands for these places. `false`: no core needs to hear of it.
    #[must_use]
    pub(crate) fn learn_name(&mut self, name: &DnsName, places: &[NamedPlace]) -> bool {
        // A name of a version that is being prepared comes with its switch.
        let is_news = self.live.has_name(name) && self.answers.learn(name, places);
        if is_news {
            self.forget_drained();
        }
        is_news
    }

    /// The facts that a core must know beside its version.
    pub(crate) fn endpoint_facts(&self) -> impl Iterator<Item = Fact> {
        self.drained.iter().map(|(upstream, address)| Fact::Endpoint {
            upstream: upstream.clone(),
            address: address.clone(),
            state: EndpointState::Draining,
        })
    }

    /// The endpoints that the live version wants to be checked, and how.
    pub(crate) fn checked(&self) -> BTreeMap<Checked, Rc<HealthCheck>> {
        let upstreams = &self.live.model.document.upstreams.objects;
        let checks =
            upstreams.iter().filter_map(|(name, it)| Some((&***name, Rc::new(it.health.clone()?))));
        let checks: BTreeMap<&str, Rc<HealthCheck>> = checks.collect();
        let of_upstream = self.live.endpoints(&self.answers).filter_map(|(name, endpoints)| {
            let check = checks.get(name)?;
            Some(endpoints.map(move |(it, _)| ((name.into(), it), Rc::clone(check))))
        });
        of_upstream.flatten().collect()
    }

    /// The number of the next fact.
    pub(crate) fn next_fact(&mut self) -> u64 {
        self.facts += 1;
        self.facts
    }

    /// A core has taken in the facts up to this one.
    pub(crate) fn learned(&mut self, core: usize, number: u64, now: Instant) {
        if let Some(core) = self.cores.get_mut(core) {
            core.learned = core.learned.max(number);
            core.heard = now;
        }
    }

    /// The cores that have not taken in this fact.
    pub(crate) fn without_fact(&self, number: u64) -> Vec<usize> {
        let lacks = |(index, core): (usize, &Core)| (core.learned < number).then_some(index);
        self.cores.iter().enumerate().filter_map(lacks).collect()
    }

    /// The cores that have not switched to the live version.
    pub(crate) fn lagging(&self) -> Vec<usize> {
        let lags = |(index, core): (usize, &Core)| core.lags_since.is_some().then_some(index);
        self.cores.iter().enumerate().filter_map(lags).collect()
    }

    /// How many versions the slowest core lags behind.
    pub(crate) fn lag(&self) -> u64 {
        self.live.number.saturating_sub(self.slowest())
    }

    /// Where this process listens, on any core.
    pub(crate) fn places(&self) -> Vec<ListenAddress> {
        let live = self.live.listeners.iter().map(Listening::place);
        live.chain(self.leaving.iter().map(|(_, place)| place.clone())).collect()
    }

    /// Lets go of the sockets that this thread has a share of: no more clients are to come.
    pub(crate) fn close_sockets(&self) {
        for shared in self.live.listeners.iter().filter_map(|it| it.shared.as_ref()) {
            shared.close();
        }
    }

    /// A change was live already, as was found at `unix`. One that was refused before is put right
    /// by that.
    pub(crate) fn unchanged(&mut self, unix: u64) {
        self.reloads.unchanged += 1;
        if self.was_refused() {
            self.last_reload = Some((unix, Ok(self.live.number)));
        }
    }

    /// Whether the last change was refused.
    pub(crate) fn was_refused(&self) -> bool {
        matches!(self.last_reload, Some((_, Err(_))))
    }

    /// A change was taken, at `unix`; it is the live version.
    pub(crate) fn taken(&mut self, unix: u64) {
        self.reloads.ok += 1;
        self.last_reload = Some((unix, Ok(self.live.number)));
    }

    /// A change was refused, at `unix`.
    pub(crate) fn refused(&mut self, unix: u64, why: String) {
        self.reloads.refused += 1;
        self.last_reload = Some((unix, Err(why)));
    }

    /// Whether every core has said something lately.
    pub(crate) fn alive(&self, now: Instant) -> bool {
        self.cores.iter().all(|core| core.silence(now).is_none())
    }

    /// Why the node should get no traffic.
    pub(crate) fn reasons(&self, now: Instant) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.draining {
            reasons.push("the gateway is draining".to_owned());
        }
        let live = self.live.number;
        for (index, core) in self.cores.iter().enumerate() {
            if core.phase == Phase::Starting {
                reasons.push(format!("core {index} is starting"));
            }
            if let Some(since) = core.lags_since {
                let seconds = now.saturating_duration_since(since).as_secs_f64();
                let version = core.version;
                reasons.push(format!(
                    "core {index} is still at version {version} of {live}, {seconds:.1} s"
                ));
            }
            if let Some(silence) = core.silence(now) {
                let seconds = silence.as_secs_f64();
                reasons.push(format!("core {index} has said nothing for {seconds:.1} s"));
            }
        }
        reasons
    }

    /// All of it.
    pub(crate) fn status(&self, now: Instant) -> Status {
        let core = |(index, core): (usize, &Core)| CoreStatus {
            core: index,
            cpu: core.cpu,
            version: core.version,
            block: (*core.block).clone(),
            busy_ratio: core.busy_ratio,
        };
        let listener = |it: &Listening| (it.name.to_string(), it.address.to_string());
        Status {
            version: self.live.number,
            started_unix: self.started_unix,
            uptime_seconds: now.saturating_duration_since(self.started).as_secs_f64(),
            driver: self.driver.clone(),
            cores: self.cores.iter().enumerate().map(core).collect(),
            listeners: self.live.listeners.iter().map(listener).collect(),
            certificates: self.live.tls.expiries.clone(),
            last_reload: self.last_reload.clone(),
            is_posted: self.is_posted(),
            reloads_ok: self.reloads.ok,
            reloads_unchanged: self.reloads.unchanged,
            reloads_refused: self.reloads.refused,
            draining: self.draining,
            upstreams: self
                .live
                .endpoints(&self.answers)
                .map(|(name, endpoints)| {
                    let status = |(address, from): (Address, Option<&DnsName>)| {
                        let drains = self.drained.contains(&(name.into(), address.clone()));
                        let state =
                            if drains { EndpointState::Draining } else { EndpointState::Ready };
                        let from = from.map(ToString::to_string);
                        EndpointStatus { address: address.to_string(), from, state }
                    };
                    (name.to_owned(), endpoints.map(status).collect())
                })
                .collect(),
            checks: Vec::new(),
            names: Vec::new(),
            named: self.live.named().map(|(name, it)| (name.to_owned(), it.to_string())).collect(),
        }
    }

    /// Whether the live version was posted and the file, when it was last read, said something else.
    fn is_posted(&self) -> bool {
        let live = &self.live.sources;
        let is_same = |file: &Arc<Sources>| {
            **file == *live
                || file.files().count() == 1 && file.bytes(file.main()) == live.bytes(live.main())
        };
        live.main() == POSTED && !self.file.as_ref().is_some_and(is_same)
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let noun = if self.cores.len() == 1 { "core" } else { "cores" };
        let mut line = format!("version {} on {} {noun}", self.live.number, self.cores.len());
        if let Some((_, Err(why))) = &self.last_reload {
            line.push_str("; the last change was refused: ");
            line.push_str(why);
        }
        line
    }

    fn slowest(&self) -> u64 {
        self.cores.iter().map(|core| core.version).min().unwrap_or(self.live.number)
    }
}

impl Core {
    /// How long it has been silent, if that is too long.
    fn silence(&self, now: Instant) -> Option<Duration> {
        let silence = now.saturating_duration_since(self.heard);
        (self.phase == Phase::Serving && silence > SILENCE_MAX).then_some(silence)
    }
}

/// Seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}
