//! What the workers have counted, added up over cores and versions.
//!
//! Totals and gauges of a core are kept by the node; here is what comes in pieces: the blocks of
//! routes. A scrape reads this and nothing else.
//!
//! Invariant: a count that came in stays, also when its route is gone, and is in one series only.
//! Invariant: routes are only ever added, at the end: a scrape that goes through them in steps
//! misses none that was there when it began.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use engine::reason::Reason;
use engine::snapshot::ListenerId;
use worker::telemetry::histogram::Histogram;
use worker::telemetry::report::RouteBlock;

use super::names::OTHER;

/// Routes with series of their own. Each has some 50 series for its histogram, and a monitoring
/// system that takes half a million series from one process is rare.
pub(crate) const ROUTES_MAX: usize = 10_000;

/// Combinations of listener, status and reason of one route. An endpoint that makes up statuses
/// fills it; an honest one needs about ten.
pub(crate) const ROUTE_CELLS_MAX: usize = 128;

/// Combinations in all: five for each of [`ROUTES_MAX`] routes.
pub(crate) const CELLS_MAX: usize = 50_000;

/// A core that has not reported for this long does nothing, as far as anybody knows. Reports come
/// once a second.
const RATE_AGE_MAX: Duration = Duration::from_secs(5);

/// The sums.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    listeners: ListenerNames,
    routes: Vec<RouteCounts>,
    by_name: HashMap<Box<str>, usize>,
    cells: usize,
    rates: BTreeMap<usize, Rate>,
}

/// What one route has counted, on all cores.
#[derive(Debug)]
pub(crate) struct RouteCounts {
    /// The route's name, or [`OTHER`].
    pub(crate) name: Box<str>,
    /// Requests by how they ended.
    pub(crate) cells: Vec<CellCount>,
    /// Requests that found no cell.
    pub(crate) other: u64,
    /// Their times.
    pub(crate) seconds: Histogram,
    /// Bytes of request bodies.
    pub(crate) bytes_in: u64,
    /// Bytes of response bodies.
    pub(crate) bytes_out: u64,
}

/// Requests of a route that ended alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CellCount {
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
    /// Takes in what a core has counted: `requests` since it started, `blocks` since its last
    /// report.
    pub(crate) fn counts(
        &mut self,
        core: usize,
        requests: u64,
        blocks: &[Box<RouteBlock>],
        now: Instant,
    ) {
        self.rates.entry(core).and_modify(|rate| rate.advance(requests, now)).or_insert(Rate {
            at: now,
            requests,
            per_second: 0.0,
        });
        for block in blocks {
            self.add(block);
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
    pub(crate) fn routes(&self) -> &[RouteCounts] {
        &self.routes
    }

    /// How many requests a second ended on a core between its last two reports.
    pub(crate) fn requests_per_second(&self, core: usize, now: Instant) -> f64 {
        match self.rates.get(&core) {
            Some(rate) if now.saturating_duration_since(rate.at) <= RATE_AGE_MAX => rate.per_second,
            _ => 0.0,
        }
    }

    /// How requests ended, over all routes. Those that found no cell are in none of it.
    pub(crate) fn outcomes(&self) -> Outcomes {
        let mut outcomes = Outcomes::default();
        let mut reasons: HashMap<&'static str, u64> = HashMap::new();
        for cell in self.routes.iter().flat_map(|route| &route.cells) {
            let class = usize::from(cell.status / 100).checked_sub(1);
            if let Some(count) = class.and_then(|class| outcomes.classes.get_mut(class)) {
                *count += cell.count;
            }
            if let Some(reason) = cell.reason {
                *reasons.entry(reason.token()).or_default() += cell.count;
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
        route.bytes_in += block.bytes_in;
        route.bytes_out += block.bytes_out;
        for cell in &block.cells {
            let listener = self.listeners.known(cell.listener);
            let alike = |it: &&mut CellCount| {
                (it.listener, it.status, it.reason) == (listener, cell.status, cell.reason)
            };
            if let Some(known) = route.cells.iter_mut().find(alike) {
                known.count += cell.count;
            } else if self.cells < CELLS_MAX && route.cells.len() < ROUTE_CELLS_MAX {
                let (status, reason, count) = (cell.status, cell.reason, cell.count);
                route.cells.push(CellCount { listener, status, reason, count });
                self.cells += 1;
            } else {
                route.other += cell.count;
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
        self.routes.push(RouteCounts {
            name: name.into(),
            cells: Vec::new(),
            other: 0,
            seconds: Histogram::default(),
            bytes_in: 0,
            bytes_out: 0,
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

/// Which name of [`ListenerNames`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListenerName(usize);

/// The names of all listeners that ever were. A listener that moves to another address gets a new
/// id and keeps its name, and its series.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListenerNames {
    names: Vec<Box<str>>,
    by_id: HashMap<ListenerId, ListenerName>,
}

impl ListenerNames {
    /// Notes a name.
    pub(crate) fn learn(&mut self, id: ListenerId, name: &str) {
        let known = self.names.iter().position(|it| &**it == name);
        let index = known.unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        });
        self.by_id.insert(id, ListenerName(index));
    }

    /// The name of a listener.
    pub(crate) fn of(&self, id: ListenerId) -> &str {
        self.by_id.get(&id).map_or(OTHER, |&name| self.text(name))
    }

    /// What a name of this table is.
    pub(crate) fn text(&self, name: ListenerName) -> &str {
        self.names.get(name.0).map_or(OTHER, |it| it)
    }

    fn known(&self, id: ListenerId) -> ListenerName {
        self.by_id.get(&id).copied().unwrap_or(ListenerName(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(route: &str, ended: &[(u32, u16, Option<Reason>)]) -> Box<RouteBlock> {
        let mut block =
            RouteBlock { route: route.to_owned(), bytes_in: 1, ..RouteBlock::default() };
        for &(listener, status, reason) in ended {
            block.count(ListenerId(listener), status, reason);
            block.seconds.observe(10);
        }
        Box::new(block)
    }

    fn merge() -> Merge {
        let mut merge = Merge::default();
        merge.learn(&[(ListenerId(0), "web".into()), (ListenerId(1), "other".into())]);
        merge
    }

    fn all(route: &RouteCounts) -> u64 {
        route.cells.iter().map(|it| it.count).sum::<u64>() + route.other
    }

    #[test]
    fn blocks_of_cores_add_up_by_what_they_are_about() {
        let (mut merge, now) = (merge(), Instant::now());
        merge.counts(0, 2, &[block("a", &[(0, 200, None), (1, 200, None)])], now);
        merge.counts(1, 1, &[block("a", &[(0, 200, None)]), block("b", &[])], now);
        let [a, b] = merge.routes() else { panic!("{:?}", merge.routes()) };
        let cell = |listener, count| CellCount {
            listener: merge.listeners.known(ListenerId(listener)),
            status: 200,
            reason: None,
            count,
        };
        assert_eq!(a.cells, [cell(0, 2), cell(1, 1)]);
        assert_eq!((a.seconds.count(), a.bytes_in), (3, 2));
        assert_eq!((&*b.name, b.cells.len(), b.bytes_in), ("b", 0, 1));
    }

    #[test]
    fn a_listener_that_moved_keeps_its_series() {
        let mut merge = merge();
        merge.learn(&[(ListenerId(7), "web".into())]);
        let ended = [(0, 200, None), (7, 200, None)];
        merge.counts(0, 2, &[block("a", &ended)], Instant::now());
        let [cell] = &*merge.routes()[0].cells else { panic!("{:?}", merge.routes()) };
        assert_eq!((cell.count, merge.listeners.text(cell.listener)), (2, "web"));
    }

    #[test]
    fn beyond_the_bound_of_routes_everything_is_counted_together() {
        let (mut merge, now) = (merge(), Instant::now());
        for index in 0..ROUTES_MAX + 50 {
            merge.counts(0, 0, &[block(&format!("r{index}"), &[(0, 200, None)])], now);
        }
        assert_eq!(merge.routes().len(), ROUTES_MAX + 1);
        let last = merge.routes().last().unwrap();
        assert_eq!((&*last.name, all(last), last.seconds.count()), (OTHER, 50, 50));
    }

    #[test]
    fn beyond_the_bounds_of_cells_no_request_is_lost() {
        let (mut merge, now) = (merge(), Instant::now());
        for status in 100..999 {
            merge.counts(0, 0, &[block("a", &[(0, status, None)])], now);
        }
        let [route] = merge.routes() else { panic!("{:?}", merge.routes()) };
        assert_eq!((route.cells.len(), all(route)), (ROUTE_CELLS_MAX, 899));
        for route in 0..CELLS_MAX / ROUTE_CELLS_MAX + 2 {
            for status in 100..228 {
                merge.counts(0, 0, &[block(&route.to_string(), &[(0, status, None)])], now);
            }
        }
        assert_eq!(merge.cells, CELLS_MAX);
        assert!(merge.routes().iter().skip(1).all(|it| all(it) == 128));
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
        merge.counts(0, 5, &[block("a", &ended)], Instant::now());
        let outcomes = merge.outcomes();
        assert_eq!(outcomes.classes, [0, 2, 0, 1, 2]);
        assert_eq!(outcomes.reasons, [("endpoint_reset", 2), ("no_route", 1)]);
    }

    #[test]
    fn the_rate_is_that_between_the_last_two_reports_and_fades() {
        let (mut merge, start) = (merge(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        merge.counts(0, 1000, &[], start);
        assert_eq!(merge.requests_per_second(0, start), 0.0);
        merge.counts(0, 1500, &[], after(2));
        assert_eq!(merge.requests_per_second(0, after(3)), 250.0);
        assert_eq!(merge.requests_per_second(0, after(60)), 0.0);
        assert_eq!(merge.requests_per_second(1, after(3)), 0.0);
    }
}
