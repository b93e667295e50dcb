//! Stage 10, finish: notes taken on the way become counts, and a record where there is an access log.

use std::cell::Cell;
use std::rc::Rc;

use engine::address::Address;
use engine::filter::Hooks;
use engine::reason::Reason;
use engine::snapshot::{ListenerId, RouteId, UpstreamId};
use engine::time::Instant;
use proto::head::{HeaderId, RequestHead, Version};

use super::Exchange;
use crate::core::Core;
use crate::net::Net;
use crate::side::Chunk;
use crate::state::CoreState;
use crate::telemetry::record::{
    Destination, DestinationKey, EndpointAddress, Record, RecordTexts, Records, Times,
};
use crate::upstream::{CallNotes, EndpointLabel};

/// See the module. Both pumps write here, hence the cells.
#[derive(Debug, Default)]
pub struct Notes {
    pub(super) route: Cell<Option<RouteId>>,
    pub(super) upstream: Cell<Option<UpstreamId>>,
    pub(super) call: CallNotes,
    /// The status that the client was sent; 0 when nothing was.
    pub(super) status: Cell<u16>,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    times: Cell<Times>,
}

/// In logs and metrics, of an exchange whose client was sent nothing.
const NOTHING_SENT: u16 = 499;

impl Notes {
    /// Counts the bytes of a piece of the request's body.
    pub(super) fn add_in(&self, chunk: &Chunk) {
        self.bytes_in.set(self.bytes_in.get() + chunk.buf.len() as u64);
    }

    /// Bytes of the request's body that have come.
    pub(super) fn bytes_in(&self) -> u64 {
        self.bytes_in.get()
    }

    /// Counts `bytes` of the response's body.
    pub(super) fn add_out(&self, bytes: usize) {
        self.bytes_out.set(self.bytes_out.get() + bytes as u64);
    }
}

impl<N: Net> Exchange<'_, N> {
    /// Notes that one of the moments has come at which an exchange has waited.
    pub fn note_time(&self, which: impl FnOnce(&mut Times) -> &mut u32) {
        let mut times = self.notes.times.get();
        *which(&mut times) = clamped(age(self.core, self.began));
        self.notes.times.set(times);
    }

    /// From the beginning until there was a connection to an endpoint, in microseconds; 0 where none
    /// was there.
    fn connect_micros(&self) -> u32 {
        let connected_at = self.notes.call.connected_at.get();
        connected_at.map_or(0, |at| clamped(at.micros_since(self.began).max(1)))
    }

    /// Stage 10, finish: counts the exchange, and records it where there is an access log.
    pub(super) fn count_and_record(&self, head: &RequestHead, reason: Option<Reason>) {
        let notes = &self.notes;
        let done = age(self.core, self.began);
        notes.times.set(Times { done, ..notes.times.get() });
        let status = match notes.status.get() {
            0 => NOTHING_SENT,
            status => status,
        };
        if self.has_filters(Hooks::FINISH) {
            self.finish_filters(head, status);
        }
        self.core.counters.requests.add(1);
        self.snapshot.count(notes.route.get(), |block| {
            block.count(self.listener.id, status, reason);
            block.seconds.observe(clamped(done));
            block.bytes.incoming += notes.bytes_in.get();
            block.bytes.outgoing += notes.bytes_out.get();
        });
        if self.snapshot.table().records {
            let (texts, destination) = (self.texts(head), self.destination_texts());
            self.core.reporter.record(texts.bytes() + destination.bytes(), |batch| {
                self.record(&texts, &destination, head.version, status, reason, batch);
            });
        }
    }

    /// The account that is counted and recorded at the end of a tunnel. It holds no version: a tunnel may
    /// last for days, and there would be one table more for every change meanwhile.
    pub(super) fn account(&self, head: &RequestHead) -> Account {
        let (notes, table) = (&self.notes, self.snapshot.table());
        let route = notes.route.get().and_then(|it| table.routes.get(it.0 as usize));
        let record = table.records.then(|| {
            let mut batch = Box::<Records>::default();
            let (texts, destination) = (self.texts(head), self.destination_texts());
            let status = notes.status.get();
            self.record(&texts, &destination, head.version, status, None, &mut batch);
            batch
        });
        Account {
            listener: self.listener.id,
            route: route.map(|it| it.name.clone()).unwrap_or_default(),
            status: notes.status.get(),
            began: self.began,
            answered_micros: clamped(age(self.core, self.began)),
            record,
        }
    }

    /// The texts that a record takes from the request.
    fn texts<'t>(&'t self, head: &'t RequestHead) -> RecordTexts<'t> {
        let header = |id| head.headers.get(id).unwrap_or_default();
        RecordTexts {
            request_id: self.request_id(head),
            method: head.method_bytes(),
            host: head.host(),
            consumer: self.consumer().as_bytes(),
            path: head.path_and_query(),
            user_agent: header(HeaderId::UserAgent),
            referer: header(HeaderId::Referer),
        }
    }

    /// The names of the route, the upstream and the endpoint.
    fn destination_texts(&self) -> DestinationTexts<'_> {
        let (notes, table) = (&self.notes, self.snapshot.table());
        let route = notes.route.get().and_then(|it| table.routes.get(it.0 as usize));
        DestinationTexts {
            route: route.map_or("", |it| &it.name),
            upstream: notes.upstream.get().map_or("", |it| &table.upstream(it).name),
            endpoint: notes.call.endpoint.borrow().clone(),
        }
    }

    #[inline(never)]
    fn record(
        &self,
        texts: &RecordTexts<'_>,
        names: &DestinationTexts<'_>,
        version: Version,
        status: u16,
        reason: Option<Reason>,
        batch: &mut Records,
    ) {
        let (core, notes, table) = (self.core, &self.notes, self.snapshot.table());
        let key = DestinationKey {
            version: table.number,
            route: notes.route.get(),
            upstream: notes.upstream.get(),
            endpoint: names.endpoint.as_ref().map(|it| it.id.0),
        };
        // The names of a destination stand in a batch once, however many records have it.
        let destination = batch.put_destination(key, |batch| Destination {
            route: batch.put(names.route.as_bytes()),
            upstream: batch.put(names.upstream.as_bytes()),
            endpoint: match names.endpoint.as_ref().map(|it| &it.address) {
                Some(Address::Ip(address)) => EndpointAddress::Ip(*address),
                Some(Address::Unix(name)) => EndpointAddress::Unix(batch.put(name.as_bytes())),
                None => EndpointAddress::None,
            },
            config_version: key.version,
        });
        let record = Record {
            unix_micros: core.unix_micros_at_zero.get() + self.began.0,
            texts: batch.put_texts(texts),
            client: self.caller.address,
            listener: self.listener.id,
            destination,
            tls: self.forwarded.tls,
            version,
            status,
            reason,
            failure: notes.call.failure.get(),
            bytes_in: notes.bytes_in.get(),
            bytes_out: notes.bytes_out.get(),
            tries: notes.call.tries.get(),
            retried_because: notes.call.retried_because.get(),
            reused_connection: notes.call.reused.get(),
            times: Times { connect: self.connect_micros(), ..notes.times.get() },
        };
        batch.records.push(record);
    }
}

/// The names of the route, the upstream and the endpoint of an exchange; empty where it did not come
/// to one.
struct DestinationTexts<'a> {
    route: &'a str,
    upstream: &'a str,
    endpoint: Option<Rc<EndpointLabel>>,
}

impl DestinationTexts<'_> {
    /// Their length together, in bytes. An endpoint that is an IP address has no text.
    fn bytes(&self) -> usize {
        let endpoint = match self.endpoint.as_ref().map(|it| &it.address) {
            Some(Address::Unix(name)) => name.len(),
            _ => 0,
        };
        self.route.len() + self.upstream.len() + endpoint
    }
}

/// Microseconds since `began`. The clock stands still within a turn, and 0 means
/// that a moment did not come.
fn age<N: Net>(core: &Core<N>, began: Instant) -> u64 {
    core.net.now().micros_since(began).max(1)
}

fn clamped(micros: u64) -> u32 {
    u32::try_from(micros).unwrap_or(u32::MAX)
}

/// The counts and the record of a tunnel that runs.
pub(super) struct Account {
    listener: ListenerId,
    /// The route's name.
    route: Box<str>,
    status: u16,
    began: Instant,
    /// From the first byte of the request's head to the last of the 101, which is the response.
    answered_micros: u32,
    /// Its record, where there is an access log; the end adds its bytes, its reason and its duration.
    record: Option<Box<Records>>,
}

impl Account {
    /// The tunnel has ended, after so many bytes from the client and from the endpoint.
    pub(super) fn close<N: Net>(
        self,
        state: &CoreState<N>,
        [bytes_in, bytes_out]: [u64; 2],
        reason: Option<Reason>,
    ) {
        let core = &state.core;
        core.counters.requests.add(1);
        core.counters.broken.add(u64::from(reason.is_some()));
        state.count_by_name(&self.route, |block| {
            block.count(self.listener, self.status, reason);
            block.seconds.observe(self.answered_micros);
            block.bytes.incoming += bytes_in;
            block.bytes.outgoing += bytes_out;
        });
        let Some(mut kept) = self.record else { return };
        for record in &mut kept.records {
            (record.bytes_in, record.bytes_out, record.reason) = (bytes_in, bytes_out, reason);
            record.times.done = age(core, self.began);
        }
        core.reporter.record(kept.text_bytes(), |batch| batch.append(&kept));
    }
}
