//! What is noted of an exchange on its way; and what is made of it at the end: counts, and a record
//! where there is an access log.

use std::cell::Cell;

use engine::address::Address;
use engine::reason::Reason;
use engine::snapshot::{RouteId, UpstreamId};
use proto::head::{HeaderId, RequestHead, Version};

use super::Exchange;
use crate::net::Net;
use crate::telemetry::record::{EndpointAddress, Record, Times};
use crate::wire::Chunk;

/// See the module. Both pumps write here, hence the cells.
#[derive(Debug, Default)]
pub struct Notes {
    pub(super) route: Cell<Option<RouteId>>,
    pub(super) upstream: Cell<Option<UpstreamId>>,
    /// The endpoint tried last, as an index into those of the upstream.
    pub(super) endpoint: Cell<Option<u32>>,
    pub(super) tries: Cell<u8>,
    pub(super) retried_because: Cell<Option<Reason>>,
    pub(super) reused: Cell<bool>,
    /// What the client was sent; 0 when nothing was.
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

    /// Counts `bytes` of the response's body.
    pub(super) fn add_out(&self, bytes: usize) {
        self.bytes_out.set(self.bytes_out.get() + bytes as u64);
    }
}

impl<N: Net> Exchange<'_, N> {
    /// Notes that one of the four moments has come.
    pub fn note_time(&self, which: impl FnOnce(&mut Times) -> &mut u32) {
        let mut times = self.notes.times.get();
        let micros = self.core.net.now().micros_since(self.began);
        // The clock stands still within a turn, and 0 is for what did not come.
        *which(&mut times) = u32::try_from(micros).unwrap_or(u32::MAX).max(1);
        self.notes.times.set(times);
    }

    /// Stage 10, finish: counts the exchange, and records it where there is an access log.
    pub(super) fn count_and_record(&self, head: &RequestHead, reason: Option<Reason>) {
        self.note_time(|times| &mut times.done);
        let notes = &self.notes;
        let status = match notes.status.get() {
            0 => NOTHING_SENT,
            status => status,
        };
        self.core.counters.requests.add(1);
        self.core.count(&self.snapshot, notes.route.get(), |block| {
            block.count(self.listener.id, status, reason);
            block.seconds.observe(notes.times.get().done);
            block.bytes_in += notes.bytes_in.get();
            block.bytes_out += notes.bytes_out.get();
        });
        if self.snapshot.table().records {
            self.record(head, status, reason);
        }
    }

    #[inline(never)]
    fn record(&self, head: &RequestHead, status: u16, reason: Option<Reason>) {
        let (core, notes, table) = (self.core, &self.notes, self.snapshot.table());
        let route = notes.route.get().and_then(|it| table.routes.get(it.0 as usize));
        let route = route.map_or("", |it| &it.name);
        let upstream = notes.upstream.get().map(|it| table.upstream(it));
        let endpoint = |index: u32| upstream?.endpoints.get(index as usize);
        let endpoint = notes.endpoint.get().and_then(endpoint).map(|it| &it.address);
        let (endpoint_ip, endpoint_name) = match endpoint {
            Some(Address::Ip(address)) => (Some(*address), ""),
            Some(Address::Unix(name)) => (None, &**name),
            None => (None, ""),
        };
        let upstream = upstream.map_or("", |it| &it.name);
        let header = |id| head.headers.get(id).unwrap_or_default();
        let texts = [
            route.as_bytes(),
            head.method_bytes(),
            head.host(),
            head.path_and_query(),
            upstream.as_bytes(),
            header(HeaderId::UserAgent),
            header(HeaderId::Referer),
            self.request_id(head),
            endpoint_name.as_bytes(),
        ];
        let text_bytes = texts.iter().map(|text| text.len()).sum();
        core.reporter.record(text_bytes, |batch| {
            let [
                route,
                method,
                host,
                path,
                upstream,
                user_agent,
                referer,
                request_id,
                endpoint_name,
            ] = texts.map(|text| batch.put(text));
            let times = notes.times.get();
            let endpoint = match endpoint {
                Some(Address::Unix(_)) => EndpointAddress::Unix(endpoint_name),
                _ => endpoint_ip.map_or(EndpointAddress::None, EndpointAddress::Ip),
            };
            let record = Record {
                unix_micros: core.unix_micros_at_zero.get() + self.began.0,
                request_id,
                client: self.caller.address,
                listener: self.listener.id,
                route,
                method,
                host,
                path,
                http11: head.version == Version::Http11,
                status,
                reason,
                bytes_in: notes.bytes_in.get(),
                bytes_out: notes.bytes_out.get(),
                upstream,
                endpoint,
                tries: notes.tries.get(),
                retried_because: notes.retried_because.get(),
                reused_connection: notes.reused.get(),
                times,
                config_version: table.number,
                user_agent,
                referer,
            };
            batch.records.push(record);
        });
    }
}
