//! The shadow model: the requests, the records of endpoints and clients about them, and the
//! conditions that must hold. The id of a request, in its path and in `x-id`, identifies it
//! everywhere.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use worker::message::{Report, ToWorker};
use worker::net::buffer::BufferPool;
use worker::net::sim::Random;
use worker::telemetry::Totals;

use super::http::body;
use super::tools::Notifier;

/// A request and the response that belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) method: &'static str,
    pub(crate) old: bool,
    /// The request says `Connection: close`.
    pub(crate) close: bool,
    /// Bytes of the request's body, if it has one.
    pub(crate) upload: Option<usize>,
    pub(crate) chunked: bool,
    pub(crate) expect: bool,
    pub(crate) status: u16,
    pub(crate) download: usize,
    /// The client asks for another protocol.
    pub(crate) upgrade: bool,
    /// The endpoint agrees to it.
    pub(crate) tunnel: Option<Tunnel>,
}

/// The bytes that pass through a tunnel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tunnel {
    /// Bytes from the client.
    pub(crate) up: usize,
    /// Bytes from the endpoint.
    pub(crate) down: usize,
    pub(crate) ends: TunnelEnding,
}

/// How a tunnel ends when all goes well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TunnelEnding {
    /// Each side ends its direction when it has sent all.
    Both,
    /// The client closes when it has sent all and got all.
    Client,
    /// The endpoint does.
    Endpoint,
}

impl Plan {
    /// A GET that is answered with `download` bytes.
    pub(crate) const fn get(download: usize) -> Self {
        Self {
            method: "GET",
            old: false,
            close: false,
            upload: None,
            chunked: false,
            expect: false,
            status: 200,
            download,
            upgrade: false,
            tunnel: None,
        }
    }

    /// An upgrade that becomes a tunnel.
    pub(crate) const fn tunnel(up: usize, down: usize, ends: TunnelEnding) -> Self {
        let tunnel = Some(Tunnel { up, down, ends });
        Self { status: 101, upgrade: true, tunnel, ..Self::get(0) }
    }

    pub(crate) fn drawn(random: &Random, bytes_max: usize, good: bool) -> Self {
        if random.chance(60) {
            let ends =
                [TunnelEnding::Both, TunnelEnding::Client, TunnelEnding::Endpoint][random.below(3)];
            return Self::tunnel(size(random, bytes_max), size(random, bytes_max), ends);
        }
        let method = ["GET", "GET", "HEAD", "PUT", "POST", "POST", "DELETE"][random.below(7)];
        let uploads = match method {
            "PUT" | "POST" => true,
            "DELETE" => random.chance(300),
            _ => false,
        };
        let old = random.chance(100);
        Self {
            method,
            old,
            close: random.chance(80),
            upload: uploads.then(|| size(random, bytes_max)),
            chunked: !old && random.chance(500),
            // A client that does not wait for the 100 that it asked for does not behave well.
            expect: !old && !good && uploads && random.chance(100),
            status: [200, 200, 200, 204, 304, 404, 500][random.below(7)],
            download: size(random, bytes_max),
            upgrade: !old && !uploads && random.chance(50),
            tunnel: None,
        }
    }

    /// Whether the gateway may send it again although an endpoint may have seen it.
    pub(crate) fn is_idempotent(&self) -> bool {
        self.method != "POST"
    }

    /// Whether the response has a body.
    pub(crate) fn has_download(&self) -> bool {
        self.method != "HEAD" && !matches!(self.status, 204 | 304)
    }
}

/// Small mostly, and now and then larger than any buffer.
fn size(random: &Random, bytes_max: usize) -> usize {
    let scale = [1, 100, 100, 100, 5_000, 5_000, 40_000, 200 << 10][random.below(8)];
    random.below(scale).min(bytes_max)
}

/// A request as an endpoint saw it: its head, at least.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeenRequest {
    pub(crate) id: usize,
    /// The body came whole.
    pub(crate) whole: bool,
}

/// A response as a client got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GotResponse {
    pub(crate) status: u16,
    /// Made by the gateway.
    pub(crate) own: bool,
    pub(crate) whole: bool,
}

/// The plan of a run and its results.
pub(crate) struct ShadowModel {
    pub(crate) seed: u64,
    pub(crate) plans: Vec<Plan>,
    pub(crate) seen: RefCell<Vec<SeenRequest>>,
    pub(crate) got: RefCell<BTreeMap<usize, GotResponse>>,
    /// `x-request-id` of each request.
    pub(crate) names: RefCell<BTreeMap<String, usize>>,
    pub(crate) violations: RefCell<Vec<String>>,
    /// Requests, sound or not, of which a client has sent a byte.
    pub(crate) begun: Cell<u64>,
    /// Final heads that clients have got.
    pub(crate) answered: Cell<u64>,
    /// Clients that are still at it.
    pub(crate) clients: Cell<usize>,
    pub(crate) bell: Notifier,
    /// The number of panics that the test causes in the gateway.
    pub(crate) panics: Cell<u64>,
    /// The most panics, where the test cannot tell their number.
    pub(crate) panics_max: Cell<Option<u64>>,
    /// Requests in the counts that the gateway reported, by route.
    pub(crate) counted: Cell<u64>,
    /// Messages from the gateway's core to its control thread.
    pub(crate) messages: Cell<u64>,
    /// Request ids of the access records.
    pub(crate) recorded: RefCell<BTreeSet<String>>,
    /// Endpoints take no more connections.
    pub(crate) stopping: Cell<bool>,
    /// The number of bytes after which a side of a tunnel ended its direction, by request and by
    /// whether the side is the client. Without an entry the side has not ended.
    tunnel_ends: RefCell<BTreeMap<(usize, bool), usize>>,
    /// Whether the test aborts operations of the gateway without its knowledge. Such an operation
    /// may resolve like an end, and the gateway cannot tell the difference.
    pub(crate) ends_are_forged: Cell<bool>,
    pub(crate) buffers: BufferPool,
}

impl ShadowModel {
    pub(crate) fn new(seed: u64, plans: Vec<Plan>) -> Rc<Self> {
        Rc::new(Self {
            seed,
            plans,
            seen: RefCell::default(),
            got: RefCell::default(),
            names: RefCell::default(),
            violations: RefCell::default(),
            begun: Cell::default(),
            answered: Cell::default(),
            clients: Cell::default(),
            bell: Notifier::default(),
            panics: Cell::default(),
            panics_max: Cell::default(),
            counted: Cell::default(),
            messages: Cell::default(),
            recorded: RefCell::default(),
            stopping: Cell::default(),
            tunnel_ends: RefCell::default(),
            ends_are_forged: Cell::default(),
            buffers: BufferPool::new(usize::MAX),
        })
    }

    pub(crate) fn violation(&self, what: impl Into<String>) {
        self.violations.borrow_mut().push(what.into());
    }

    pub(crate) fn upload(&self, id: usize) -> Vec<u8> {
        let len = self.plans[id].upload.unwrap_or(0);
        body(self.seed ^ (2 * id as u64 + 1) << 32, len)
    }

    pub(crate) fn download(&self, id: usize) -> Vec<u8> {
        let plan = &self.plans[id];
        let len = if plan.has_download() { plan.download } else { 0 };
        body(self.seed ^ (2 * id as u64 + 2) << 32, len)
    }

    /// The bytes that the client sends through a tunnel, or the bytes that it gets.
    pub(crate) fn tunnel(&self, id: usize, from_client: bool) -> Vec<u8> {
        let Some(tunnel) = self.plans[id].tunnel else { return Vec::new() };
        let len = if from_client { tunnel.up } else { tunnel.down };
        body(self.seed ^ (2 * id as u64 + 1 + u64::from(from_client)) << 33, len)
    }

    /// A side of a tunnel ends its direction after so many bytes of its own, in good order.
    pub(crate) fn ends(&self, id: usize, from_client: bool, after: usize) {
        self.tunnel_ends.borrow_mut().insert((id, from_client), after);
    }

    /// A side of a tunnel sees the other's end, in good order, after so many bytes.
    pub(crate) fn saw_end(&self, id: usize, from_client: bool, after: usize) {
        let ended = self.tunnel_ends.borrow().get(&(id, from_client)).copied();
        if ended != Some(after) && !self.ends_are_forged.get() {
            let who = if from_client { "client" } else { "endpoint" };
            self.violation(format!("tunnel {id} of the {who} ended at {ended:?}, seen at {after}"));
        }
    }

    /// An endpoint has seen the head of request `id`, which the gateway calls `name`. Returns the
    /// index of the new entry.
    pub(crate) fn saw(&self, id: usize, name: &str) -> usize {
        if self.names.borrow_mut().insert(name.to_owned(), id).is_some_and(|other| other != id) {
            self.violation(format!("two requests are called {name}"));
        }
        let mut seen = self.seen.borrow_mut();
        seen.push(SeenRequest { id, whole: false });
        seen.len() - 1
    }

    /// The gateway's core reports; gives back the box, emptied.
    pub(crate) fn report(&self, report: Report) -> Option<ToWorker> {
        self.messages.set(self.messages.get() + 1);
        match report {
            Report::Counts(mut block) => {
                for route in &block.routes {
                    let requests: u64 = route.ended.iter().map(|it| it.count).sum();
                    if requests != route.seconds.count() {
                        self.violation(format!("{requests} requests, other times: {route:?}"));
                    }
                    self.counted.set(self.counted.get() + requests);
                }
                block.clear();
                Some(ToWorker::Block(block))
            }
            Report::Records(mut batch) => {
                for record in &batch.records {
                    let id =
                        String::from_utf8_lossy(batch.text(&record.texts.request_id)).into_owned();
                    if !self.recorded.borrow_mut().insert(id) {
                        self.violation(format!("recorded twice: {record:?}"));
                    }
                }
                batch.clear();
                Some(ToWorker::Records(batch))
            }
            _ => None,
        }
    }

    /// A client got the final head of a response to `id`.
    pub(crate) fn got(&self, id: usize, got: GotResponse) {
        self.answered.set(self.answered.get() + 1);
        self.got.borrow_mut().insert(id, got);
    }

    /// Checks the conditions that must hold at the end of a run. `strict` means that nobody
    /// misbehaved and that the network lost no byte.
    pub(crate) fn check(&self, totals: &Totals, strict: bool) {
        let mut times = vec![0; self.plans.len()];
        for seen in self.seen.borrow().iter() {
            times[seen.id] += 1;
        }
        for seen in self.seen.borrow().iter() {
            if strict && self.plans[seen.id].tunnel.is_some() && !seen.whole {
                self.violation(format!("tunnel {} did not bring all to the endpoint", seen.id));
            }
        }
        for (id, (&times, plan)) in times.iter().zip(&self.plans).enumerate() {
            // An end that the test forges may look like that of an endpoint which took nothing.
            let forged = usize::from(self.ends_are_forged.get());
            let most = if plan.is_idempotent() && !strict { 2 + forged } else { 1 };
            if times > most {
                self.violation(format!("{} {id} reached endpoints {times} times", plan.method));
            }
            let got = self.got.borrow().get(&id).copied();
            let right = GotResponse { status: plan.status, own: false, whole: true };
            if strict && got != Some(right) {
                self.violation(format!("{} {id} got {got:?}, not {right:?}", plan.method));
            }
        }
        let sends = totals.endpoint_opened + totals.endpoint_reused;
        if (self.seen.borrow().len() as u64) > sends {
            self.violation(format!("endpoints saw more requests than the {sends} sent: {totals}"));
        }
        let answered = self.answered.get();
        let most = if strict { answered } else { self.begun.get() };
        // An exchange that panicked is not counted.
        let possible = answered.saturating_sub(self.panics.get())..=most;
        if !possible.contains(&totals.requests) {
            self.violation(format!("{possible:?} requests were made, counted {totals}"));
        }
        let recorded = self.recorded.borrow().len() as u64;
        if (self.counted.get(), recorded) != (totals.requests, totals.requests) {
            let counted = self.counted.get();
            self.violation(format!("{counted} counted by route, {recorded} recorded: {totals}"));
        }
        // An exchange that panics while it ends has counted how, and is no request any more.
        if totals.replies + totals.broken > totals.requests + self.panics.get() {
            self.violation(format!("more ends than exchanges: {totals}"));
        }
        if strict && totals.replies + totals.broken + totals.retries > 0 {
            self.violation(format!("something went wrong where nothing could: {totals}"));
        }
    }
}
