//! What the workers have counted, added up over cores and versions.
//!
//! Totals and gauges of a core are kept by the node; here is what comes in pieces: the blocks of
//! routes. A scrape reads this and nothing else.
//!
//! Invariant: a count that came in stays, also when its route or endpoint is gone, and is in one
//! series only.
//! Invariant: a route or an endpoint keeps its place for as long as it has series: a scrape that goes
//! through them in steps misses none.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use engine::reason::Reason;
use engine::snapshot::ListenerId;
use worker::failure::Failure;
use worker::telemetry::endpoint::EndpointCounts;
use worker::telemetry::histogram::Histogram;
use worker::telemetry::report::{
    CoreBlock, EndCount, EndpointBlock, EndpointNumbers, RouteBlock, RouteBytes,
};

use super::listeners::{ListenerName, ListenerNames, OTHER};
use crate::state::unix_seconds;

/// Routes with series of their own. Each has some 50 series for its histogram, and a monitoring
/// system that takes half a million series from one process is rare.
pub(crate) const ROUTES_MAX: usize = 10_000;

/// Combinations of listener, status and reason of one route. An endpoint that makes up statuses
/// fills it; an honest one needs about ten.
pub(crate) const ROUTE_ENDED_MAX: usize = 128;

/// Combinations in all: five for each of [`ROUTES_MAX`] routes.
pub(crate) const ENDED_MAX: usize = 50_000;

/// Endpoints with series of their own; each has some 20.
pub(crate) const ENDPOINTS_MAX: usize = 10_000;

/// An endpoint that no core has reported for this long loses its series: addresses of a name come and
/// go for months. Long enough for every monitoring system to have read its last counts.
const ENDPOINT_KEPT: Duration = Duration::from_secs(10 * 60);

/// How often to look for such endpoints.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// A core that has not reported for this long does nothing, as far as anybody knows. Reports come
/// once a second.
const RATE_AGE_MAX: Duration = Duration::from_secs(5);

/// The sums.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    listeners: ListenerNames,
    routes: Vec<RouteSums>,
    by_name: HashMap<Box<str>, usize>,
    /// Combinations in all.
    ended: usize,
    rates: BTreeMap<usize, Rate>,
    /// `None` is the place of an endpoint that is forgotten, to be used again.
    endpoints: Vec<Option<EndpointSums>>,
    /// Such places.
    free: Vec<usize>,
    /// When endpoints were forgotten last.
    forgot: Option<Instant>,
    /// Places in `endpoints`, by upstream and endpoint.
    endpoints_by_name: HashMap<Box<str>, HashMap<Box<str>, usize>>,
}

/// The counts of one endpoint, on all cores.
#[derive(Debug)]
pub(crate) struct EndpointSums {
    /// The name of its upstream, or [`OTHER`].
    pub(crate) upstream: Box<str>,
    /// Its address, or [`OTHER`].
    pub(crate) endpoint: Box<str>,
    /// Its tries.
    pub(crate) counts: EndpointCounts,
    /// Its last failure, and when it was in seconds since 1970.
    pub(crate) last_failure: Option<(u64, Failure)>,
    /// When a core reported it last.
    seen: Instant,
}

/// What one route has counted, on all cores.
#[derive(Debug)]
pub(crate) struct RouteSums {
    /// The route's name, or [`OTHER`].
    pub(crate) name: Box<str>,
    /// Requests by how they ended.
    pub(crate) ended: Vec<EndSum>,
    /// Requests that found no place there.
    pub(crate) other: u64,
    /// Their times.
    pub(crate) seconds: Histogram,
    /// What they carried.
    pub(crate) bytes: RouteBytes,
}

/// Requests of a route that ended alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndSum {
    /// Where they came in.
    pub(crate) listener: ListenerName,
    /// The status sent, or 499.
    pub(crate) status: u16,
    /// Why the gateway answered by itself.
    pub(crate) reason: Option<Reason>,
    /// How many.
    pub(crate) count: u64,
}

/// How requests ended, over all routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcomes {
    /// By the first digit of the status: 1xx to 5xx.
    pub(crate) classes: [u64; 5],
    /// By the token of the reason, the most frequent first.
    pub(crate) reasons: Vec<(&'static str, u64)>,
}

#[derive(Debug)]
struct Rate {
    at: Instant,
    requests: u64,
    per_second: f64,
}

impl Merge {
    /// Takes in what a core has reported.
    pub(crate) fn counts(&mut self, report: &CoreBlock, now: Instant) {
        let requests = report.totals.requests;
        let rate = self.rates.entry(report.core);
        rate.and_modify(|rate| rate.advance(requests, now)).or_insert(Rate {
            at: now,
            requests,
            per_second: 0.0,
        });
        for block in &report.routes {
            self.add(block);
        }
        for block in report.endpoints.iter() {
            self.add_endpoint(block, now);
        }
        let forgot = *self.forgot.get_or_insert(now);
        if now.saturating_duration_since(forgot) >= FORGET_EVERY {
            self.forgot = Some(now);
            self.forget_endpoints(now);
        }
    }

    /// Listeners that counts can name from now on.
    pub(crate) fn learn(&mut self, listeners: &[(ListenerId, Box<str>)]) {
        for (id, name) in listeners {
            self.listeners.learn(*id, name);
        }
    }

    /// The names of listeners.
    pub(crate) fn listeners(&self) -> &ListenerNames {
        &self.listeners
    }

    /// Everything counted by route. Only ever grows at its end.
    pub(crate) fn routes(&self) -> &[RouteSums] {
        &self.routes
    }

    /// Everything counted by endpoint.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &EndpointSums> {
        self.endpoints.iter().flatten()
    }

    /// The endpoint at a place, if there is one; none: there are no more places.
    pub(crate) fn endpoint_at(&self, place: usize) -> Option<Option<&EndpointSums>> {
        self.endpoints.get(place).map(Option::as_ref)
    }

    /// How many requests a second ended on a core between its last two reports.
    pub(crate) fn requests_per_second(&self, core: usize, now: Instant) -> f64 {
        match self.rates.get(&core) {
            Some(rate) if now.saturating_duration_since(rate.at) <= RATE_AGE_MAX => rate.per_second,
            _ => 0.0,
        }
    }

    /// How requests ended, over all routes. Those that found no place there are in none of it.
    pub(crate) fn outcomes(&self) -> Outcomes {
        let mut outcomes = Outcomes::default();
        let mut reasons: HashMap<&'static str, u64> = HashMap::new();
        for it in self.routes.iter().flat_map(|route| &route.ended) {
            let class = usize::from(it.status / 100).checked_sub(1);
            if let Some(count) = class.and_then(|class| outcomes.classes.get_mut(class)) {
                *count += it.count;
            }
            if let Some(reason) = it.reason {
                *reasons.entry(reason.token()).or_default() += it.count;
            }
        }
        outcomes.reasons = reasons.into_iter().collect();
        outcomes.reasons.sort_by_key(|&(token, count)| (std::cmp::Reverse(count), token));
        outcomes
    }

    fn add(&mut self, block: &RouteBlock) {
        let index = self.index(&block.route);
        let Some(route) = self.routes.get_mut(index) else { return };
        route.other += block.other;
        route.seconds.merge(&block.seconds);
        route.bytes += block.bytes;
        for &EndCount { listener, status, reason, count } in &block.ended {
            let listener = self.listeners.known(listener);
            let alike = |it: &&mut EndSum| {
                (it.listener, it.status, it.reason) == (listener, status, reason)
            };
            // A combination that is known adds up. A new one gets a place of its own while there is
            // room, of this route and in all; beyond that it is counted without saying how it ended.
            if let Some(known) = route.ended.iter_mut().find(alike) {
                known.count += count;
            } else if self.ended < ENDED_MAX && route.ended.len() < ROUTE_ENDED_MAX {
                route.ended.push(EndSum { listener, status, reason, count });
                self.ended += 1;
            } else {
                route.other += count;
            }
        }
    }

    fn add_endpoint(&mut self, block: &EndpointBlock, now: Instant) {
        let EndpointNumbers { counts, last_failure, .. } = block.numbers;
        let index = self.endpoint_index(&block.upstream, &block.endpoint, now);
        let Some(Some(sums)) = self.endpoints.get_mut(index) else { return };
        sums.counts += counts;
        sums.seen = now;
        if let Some(failure) = last_failure {
            sums.last_failure = Some((unix_seconds(), failure));
        }
    }

    /// The place of an endpoint, or of the one that stands for all beyond the bound.
    fn endpoint_index(&mut self, upstream: &str, endpoint: &str, now: Instant) -> usize {
        let known = |upstream: &str, endpoint: &str| {
            self.endpoints_by_name.get(upstream)?.get(endpoint).copied()
        };
        if let Some(index) = known(upstream, endpoint) {
            return index;
        }
        let has_room = !self.free.is_empty() || self.endpoints.len() < ENDPOINTS_MAX;
        let (upstream, endpoint) = match has_room {
            true => (upstream, endpoint),
            false => match known(OTHER, OTHER) {
                Some(index) => return index,
                None => (OTHER, OTHER),
            },
        };
        let free = self.free.pop();
        self.add_sums(free, upstream, endpoint, now)
    }

    /// Gives an endpoint a place: a free one, or one more.
    fn add_sums(
        &mut self,
        free: Option<usize>,
        upstream: &str,
        endpoint: &str,
        now: Instant,
    ) -> usize {
        let index = free.unwrap_or(self.endpoints.len());
        let of_upstream = self.endpoints_by_name.entry(upstream.into()).or_default();
        of_upstream.insert(endpoint.into(), index);
        let sums = Some(EndpointSums {
            upstream: upstream.into(),
            endpoint: endpoint.into(),
            counts: EndpointCounts::default(),
            last_failure: None,
            seen: now,
        });
        match self.endpoints.get_mut(index) {
            Some(place) => *place = sums,
            None => self.endpoints.push(sums),
        }
        index
    }

    /// Forgets endpoints that no core has reported for long. Their counts move to the series that
    /// stands for all former endpoints of their upstream, so that sums over an upstream never shrink.
    fn forget_endpoints(&mut self, now: Instant) {
        for index in 0..self.endpoints.len() {
            let gone = self.endpoints.get_mut(index).and_then(|place| {
                place.take_if(|it| {
                    now.saturating_duration_since(it.seen) > ENDPOINT_KEPT && *it.endpoint != *OTHER
                })
            });
            let Some(gone) = gone else { continue };
            let known = self.endpoints_by_name.get_mut(&gone.upstream).and_then(|of_upstream| {
                of_upstream.remove(&gone.endpoint);
                of_upstream.get(OTHER).copied()
            });
            let heir = match known {
                Some(heir) => {
                    self.free.push(index);
                    heir
                }
                // The place that has just become free serves for it.
                None => self.add_sums(Some(index), &gone.upstream, OTHER, now),
            };
            if let Some(Some(heir)) = self.endpoints.get_mut(heir) {
                heir.counts += gone.counts;
            }
        }
    }

    /// The place of a route, or of the one that stands for all that came too late.
    fn index(&mut self, name: &str) -> usize {
        if let Some(&index) = self.by_name.get(name) {
            return index;
        }
        if self.routes.len() < ROUTES_MAX {
            return self.push(name);
        }
        match self.by_name.get(OTHER) {
            Some(&index) => index,
            None => self.push(OTHER),
        }
    }

    fn push(&mut self, name: &str) -> usize {
        let index = self.routes.len();
        self.by_name.insert(name.into(), index);
        self.routes.push(RouteSums {
            name: name.into(),
            ended: Vec::new(),
            other: 0,
            seconds: Histogram::default(),
            bytes: RouteBytes::default(),
        });
        index
    }
}

impl Rate {
    fn advance(&mut self, requests: u64, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        if seconds > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
            let more = requests.saturating_sub(self.requests) as f64;
            *self = Self { at: now, requests, per_second: more / seconds };
        }
    }
}

#[cfg(test)]
mod tests {
    use worker::telemetry::Totals;

    use super::*;

    fn block(route: &str, ended: &[(u32, u16, Option<Reason>)]) -> Box<RouteBlock> {
        let bytes = RouteBytes { incoming: 1, outgoing: 0 };
        let mut block = RouteBlock { route: route.to_owned(), bytes, ..RouteBlock::default() };
        for &(listener, status, reason) in ended {
            block.count(ListenerId(listener), status, reason);
            block.seconds.observe(10);
        }
        Box::new(block)
    }

    fn report<const N: usize>(
        core: usize,
        requests: u64,
        routes: [Box<RouteBlock>; N],
    ) -> CoreBlock {
        let totals = Totals { requests, ..Totals::default() };
        CoreBlock { core, totals, routes: routes.into(), ..CoreBlock::default() }
    }

    fn merge() -> Merge {
        let mut merge = Merge::default();
        merge.learn(&[(ListenerId(0), "web".into()), (ListenerId(1), "other".into())]);
        merge
    }

    fn all(route: &RouteSums) -> u64 {
        route.ended.iter().map(|it| it.count).sum::<u64>() + route.other
    }

    #[test]
    fn blocks_of_cores_add_up_by_what_they_are_about() {
        let (mut merge, now) = (merge(), Instant::now());
        merge.counts(&report(0, 2, [block("a", &[(0, 200, None), (1, 200, None)])]), now);
        merge.counts(&report(1, 1, [block("a", &[(0, 200, None)]), block("b", &[])]), now);
        let [a, b] = merge.routes() else { panic!("{:?}", merge.routes()) };
        let cell = |listener, count| EndSum {
            listener: merge.listeners.known(ListenerId(listener)),
            status: 200,
            reason: None,
            count,
        };
        assert_eq!(a.ended, [cell(0, 2), cell(1, 1)]);
        assert_eq!((a.seconds.count(), a.bytes.incoming), (3, 2));
        assert_eq!((&*b.name, b.ended.len(), b.bytes.incoming), ("b", 0, 1));
    }

    #[test]
    fn a_listener_that_moved_keeps_its_series() {
        let mut merge = merge();
        merge.learn(&[(ListenerId(7), "web".into())]);
        let ended = [(0, 200, None), (7, 200, None)];
        merge.counts(&report(0, 2, [block("a", &ended)]), Instant::now());
        let [it] = &*merge.routes()[0].ended else { panic!("{:?}", merge.routes()) };
        assert_eq!((it.count, merge.listeners.text(it.listener)), (2, "web"));
    }

    #[test]
    fn beyond_the_bound_of_routes_everything_is_counted_together() {
        let (mut merge, now) = (merge(), Instant::now());
        for index in 0..ROUTES_MAX + 50 {
            merge.counts(&report(0, 0, [block(&format!("r{index}"), &[(0, 200, None)])]), now);
        }
        assert_eq!(merge.routes().len(), ROUTES_MAX + 1);
        let last = merge.routes().last().unwrap();
        assert_eq!((&*last.name, all(last), last.seconds.count()), (OTHER, 50, 50));
    }

    #[test]
    fn beyond_the_bounds_of_cells_no_request_is_lost() {
        let (mut merge, now) = (merge(), Instant::now());
        for status in 100..999 {
            merge.counts(&report(0, 0, [block("a", &[(0, status, None)])]), now);
        }
        let [route] = merge.routes() else { panic!("{:?}", merge.routes()) };
        assert_eq!((route.ended.len(), all(route)), (ROUTE_ENDED_MAX, 899));
        for route in 0..ENDED_MAX / ROUTE_ENDED_MAX + 2 {
            for status in 100..228 {
                merge.counts(&report(0, 0, [block(&route.to_string(), &[(0, status, None)])]), now);
            }
        }
        assert_eq!(merge.ended, ENDED_MAX);
        assert!(merge.routes().iter().skip(1).all(|it| all(it) == 128));
    }

    /// A report of the endpoints of `users` at these addresses, each with a response.
    fn with_endpoints(addresses: &[&str]) -> CoreBlock {
        let mut block = report(0, 0, []);
        for address in addresses {
            let counts = EndpointCounts { responses_2xx: 1, ..EndpointCounts::default() };
            let numbers = EndpointNumbers { counts, ..EndpointNumbers::default() };
            block.endpoints.add(|it| it.set("users", address, numbers));
        }
        block
    }

    #[test]
    fn an_endpoint_that_is_gone_for_long_leaves_its_counts_to_its_upstream() {
        let (mut merge, start) = (merge(), Instant::now());
        let mut now = start;
        let mut serve = |merge: &mut Merge, minutes: u64, addresses: &[&str]| {
            for _ in 0..minutes {
                now += FORGET_EVERY;
                merge.counts(&with_endpoints(addresses), now);
            }
        };
        let counts = |merge: &Merge| -> Vec<_> {
            merge.endpoints().map(|it| (it.endpoint.to_string(), it.counts.tries())).collect()
        };
        let pairs = |pairs: &[(&str, u64)]| -> Vec<_> {
            pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        serve(&mut merge, 1, &["a", "b"]);
        serve(&mut merge, 10, &["b"]);
        assert_eq!(counts(&merge), pairs(&[("a", 1), ("b", 11)]), "it is kept for a while");
        serve(&mut merge, 1, &["b"]);
        assert_eq!(counts(&merge), pairs(&[(OTHER, 1), ("b", 12)]));
        // The next one that goes has a place to leave its counts to, and its own is used again.
        serve(&mut merge, 11, &["c"]);
        assert_eq!(counts(&merge), pairs(&[(OTHER, 13), ("c", 11)]));
        serve(&mut merge, 1, &["c", "a"]);
        assert_eq!(counts(&merge), pairs(&[(OTHER, 13), ("a", 1), ("c", 12)]));
        assert_eq!(merge.endpoint_at(3).map(|_| ()), None);
    }

    #[test]
    fn outcomes_are_split_by_class_and_by_reason() {
        let mut merge = merge();
        let ended = [
            (0, 200, None),
            (0, 204, None),
            (0, 404, Some(Reason::NoRoute)),
            (0, 502, Some(Reason::EndpointReset)),
            (0, 502, Some(Reason::EndpointReset)),
        ];
        merge.counts(&report(0, 5, [block("a", &ended)]), Instant::now());
        let outcomes = merge.outcomes();
        assert_eq!(outcomes.classes, [0, 2, 0, 1, 2]);
        assert_eq!(outcomes.reasons, [("endpoint_reset", 2), ("no_route", 1)]);
    }

    #[test]
    fn the_rate_is_that_between_the_last_two_reports_and_fades() {
        let (mut merge, start) = (merge(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        merge.counts(&report(0, 1000, []), start);
        assert_eq!(merge.requests_per_second(0, start), 0.0);
        merge.counts(&report(0, 1500, []), after(2));
        assert_eq!(merge.requests_per_second(0, after(3)), 250.0);
        assert_eq!(merge.requests_per_second(0, after(60)), 0.0);
        assert_eq!(merge.requests_per_second(1, after(3)), 0.0);
    }
}
