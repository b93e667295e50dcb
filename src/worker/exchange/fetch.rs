//! Requests that a filter sends: in stage 5, admit, to a service that decides; after the end, a copy
//! whose answer nobody awaits.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;

use engine::address::ClientAddress;
use engine::filter::{Fetch, FetchFailed, FetchResult, Fetched, HttpFetch};
use engine::keys::Limit;
use proto::head::{BodySize, HeaderId, RequestHead, ResponseHead};
use proto::hop;

use super::{End, Exchange};
use crate::deadline::Deadline;
use crate::failure::{Failure, Side};
use crate::net::Net;
use crate::side::{Chunk, ClientHandle, ClientSide, EndpointSide, ResponseSource, buffer_of};
use crate::snapshot::CoreSnapshot;
use crate::state::CoreState;
use crate::upstream::{Call, CallNotes, CallRequest, Requester};

/// The client whose request waits for a filter.
struct Waiting<'a, H>(&'a H);

impl<H: ClientHandle> Requester for Waiting<'_, H> {
    fn still_waits(&self) -> bool {
        self.0.is_there()
    }

    fn interim(&mut self, _: &mut ResponseHead) -> impl Future<Output = Result<(), Failure>> {
        std::future::ready(Ok(()))
    }
}

impl<N: Net> Exchange<'_, N> {
    /// Sends the request of a filter, and awaits the whole response. An error where the client has
    /// left meanwhile.
    pub(super) async fn fetch<C: ClientSide>(
        &self,
        client: &mut C,
        request: &RequestHead,
        fetch: Fetch,
    ) -> Result<FetchResult, End> {
        let Fetch::Http(mut fetch) = fetch;
        // A service that is this gateway again would ask itself without end. The head of the client's
        // request has our own member already.
        for members in request.headers.all(HeaderId::CdnLoop) {
            fetch.head.headers.push(HeaderId::CdnLoop, members);
        }
        let (_, _, handle) = client.split(self.upload, self.download);
        let deadlines = [self.upload, self.download];
        let failed = |failure: Failure| match failure.side {
            Side::Client => Err(End::ClientGone),
            _ => Ok(Err(FetchFailed)),
        };
        let waiting = (self.caller.address, &mut Waiting(&handle));
        match fetch_http(self.state, &self.snapshot, deadlines, waiting, *fetch).await {
            Ok(fetched) => Ok(Ok(Box::new(fetched))),
            Err(Some(failure)) => failed(failure),
            Err(None) => Ok(Err(FetchFailed)),
        }
    }

    /// Sends the request of a filter after the end of the exchange. Where too many such requests run
    /// already, it is dropped.
    pub(super) fn fetch_later(&self, request: &RequestHead, fetch: Fetch) {
        let Fetch::Http(mut fetch) = fetch;
        let running = &self.core.later;
        if running.get() >= LATER_MAX || self.core.draining.get() {
            self.core.counters.copies_dropped.add(1);
            return;
        }
        if !fetch.head.headers.contains(HeaderId::CdnLoop) {
            for members in request.headers.all(HeaderId::CdnLoop) {
                fetch.head.headers.push(HeaderId::CdnLoop, members);
            }
        }
        running.set(running.get() + 1);
        let client = self.caller.address;
        let (state, snapshot) = (Rc::clone(self.state), Rc::clone(&self.snapshot));
        self.core.net.spawn(async move {
            let running = LaterRuns(&state.core.later);
            let (upload, download) = (state.core.wheel.deadline(), state.core.wheel.deadline());
            let deadlines = [&upload, &download];
            let nobody = (client, &mut Nobody);
            // The outcome is counted at the endpoint, and nobody else asks for it.
            let _ = fetch_http(&state, &snapshot, deadlines, nobody, *fetch).await;
            drop(running);
        });
    }
}

/// Requests on a core that nobody waits for; more are dropped.
const LATER_MAX: usize = 128;

/// Counts a request that nobody waits for, until it has ended or panicked.
struct LaterRuns<'a>(&'a Cell<usize>);

impl Drop for LaterRuns<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The client of a request that nobody waits for.
struct Nobody;

impl Requester for Nobody {
    fn still_waits(&self) -> bool {
        true
    }

    fn interim(&mut self, _: &mut ResponseHead) -> impl Future<Output = Result<(), Failure>> {
        std::future::ready(Ok(()))
    }
}

/// The response to `fetch`; an error without a failure where the upstream does not exist, or the
/// body is too long.
async fn fetch_http<N: Net>(
    state: &CoreState<N>,
    snapshot: &CoreSnapshot<N>,
    [upload, download]: [&Deadline; 2],
    (client, requester): (ClientAddress, &mut impl Requester),
    fetch: HttpFetch,
) -> Result<Fetched, Option<Failure>> {
    let core = &state.core;
    let table = snapshot.table();
    let id = table.upstream_by_name(&fetch.upstream).ok_or(None)?;
    let slot = snapshot.upstream(id).ok_or(None)?;
    let mut timeouts = table.upstream(id).timeouts;
    timeouts.total = Limit::at(fetch.timeout.min(timeouts.total.value()));
    let size = match fetch.body.len() {
        0 => BodySize::None,
        bytes => BodySize::Known(bytes as u64),
    };
    let (head, notes) = (&fetch.head, CallNotes::default());
    let upstream = table.upstream(id);
    let limits = [None, snapshot.limit(upstream.in_flight)];
    let (retry, affinity) = (&upstream.retry, slot.affinity(head, client));
    let request = CallRequest { head, size, timeouts, retry, limits, affinity };
    let deadlines = [upload, download];
    let mut call = Call::new((core, state), slot, request, deadlines, &notes);
    let mut response = ResponseHead::new();
    let body = Chunk::last(buffer_of(&core.buffers, &fetch.body));
    let mut lease = call.run(body, requester, &mut response).await?;
    let mut body = Vec::new();
    {
        let (_, mut source, endpoint) = lease.split(upload, download);
        let failed = |failure: &Failure| endpoint.attempt().failed(*failure);
        let mut chunk = source.begin().inspect_err(failed)?;
        loop {
            if let Some(bytes_max) = fetch.response_bytes_max {
                if body.len() + chunk.buf.len() > bytes_max {
                    return Err(None);
                }
                body.extend_from_slice(chunk.buf.filled());
            }
            if chunk.last {
                break;
            }
            chunk = source.next().await.inspect_err(failed)?;
        }
    }
    lease.give_back(core.net.now());
    hop::pass_response(&mut response);
    Ok(Fetched { head: response, body })
}
