//! Stage 5, admit: requests that a filter sends, to a service that decides.

use std::future::Future;

use engine::filter::{Fetch, FetchFailed, FetchResult, Fetched, HttpFetch};
use engine::keys::Limit;
use proto::head::{BodySize, HeaderId, RequestHead, ResponseHead};
use proto::hop;

use super::{End, Exchange};
use crate::failure::{Failure, Side};
use crate::net::Net;
use crate::side::{Chunk, ClientHandle, ClientSide, EndpointSide, ResponseSource, buffer_of};
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
        let failed = |failure: Failure| match failure.side {
            Side::Client => Err(End::ClientGone),
            _ => Ok(Err(FetchFailed)),
        };
        match self.fetch_http(&handle, *fetch).await {
            Ok(fetched) => Ok(Ok(Box::new(fetched))),
            Err(Some(failure)) => failed(failure),
            Err(None) => Ok(Err(FetchFailed)),
        }
    }

    /// The response to `fetch`; an error without a failure where the upstream does not exist, or the
    /// body is too long.
    async fn fetch_http(
        &self,
        client: &impl ClientHandle,
        fetch: HttpFetch,
    ) -> Result<Fetched, Option<Failure>> {
        let table = self.snapshot.table();
        let id = table.upstream_by_name(&fetch.upstream).ok_or(None)?;
        let slot = self.snapshot.upstream(id).ok_or(None)?;
        let mut timeouts = table.upstream(id).timeouts;
        timeouts.total = Limit::at(fetch.timeout.min(timeouts.total.value()));
        let size = match fetch.body.len() {
            0 => BodySize::None,
            bytes => BodySize::Known(bytes as u64),
        };
        let (head, notes) = (&fetch.head, CallNotes::default());
        let upstream = table.upstream(id);
        let limits = [None, self.snapshot.limit(upstream.in_flight)];
        let (retry, affinity) = (&upstream.retry, slot.affinity(head, self.caller.address));
        let request = CallRequest { head, size, timeouts, retry, limits, affinity };
        let deadlines = [self.upload, self.download];
        let mut call = Call::new((self.core, self.state), slot, request, deadlines, &notes);
        let mut response = ResponseHead::new();
        let body = Chunk::last(buffer_of(&self.core.buffers, &fetch.body));
        let mut lease = call.run(body, &mut Waiting(client), &mut response).await?;
        let mut body = Vec::new();
        {
            let (_, mut source, endpoint) = lease.split(self.upload, self.download);
            let failed = |failure: &Failure| endpoint.attempt().failed(*failure);
            let mut chunk = source.begin().inspect_err(failed)?;
            loop {
                if body.len() + chunk.buf.len() > fetch.response_bytes_max {
                    return Err(None);
                }
                body.extend_from_slice(chunk.buf.filled());
                if chunk.last {
                    break;
                }
                chunk = source.next().await.inspect_err(failed)?;
            }
        }
        lease.give_back(self.core.net.now());
        hop::pass_response(&mut response);
        Ok(Fetched { head: response, body })
    }
}
