//! Stage 5, admit, and stage 9, respond: the hooks of the filters of a request's listener and route.
//!
//! Filters decide, and this carries their verdicts out: it collects the part of a body that a filter
//! must see, waits, sends the requests of filters, and passes bodies through them. Without filters all
//! of it costs a branch per stage.
//!
//! Invariant: each response that goes to a client has passed the response hooks once, whichever party
//! made it; interim responses and the 101 of an upgrade pass by.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use engine::filter::{
    BodyWish, Filter, FilterFinish, FilterReply, FilterRequest, FilterResponse, Hooks, Memo,
    RequestVerdict, ResponseOrigin, ResponseVerdict,
};
use engine::reason::Reason;
use engine::snapshot::Route;
use engine::template::Facts;
use engine::time::Micros;
use proto::head::{BodySize, HeaderId, RequestHead, ResponseHead};

use super::passing::{BodyFilters, pass};
use super::{End, Exchange};
use crate::filter::Chain;
use crate::net::Net;
use crate::net::buffer::HEADROOM;
use crate::side::{Chunk, ClientSide, RequestSource, ResponseSink};

/// Requests that a filter may send before it must decide: a service that sends us on and on would
/// otherwise hold the client for ever.
const FETCHES_MAX: u32 = 4;

/// A response behind its filters.
pub(super) struct Filtered {
    /// How much body goes to the client.
    pub(super) size: BodySize,
    /// The body that goes in place of the response's own.
    pub(super) replaced: Option<Vec<u8>>,
    /// Filters that its body passes through.
    pub(super) body: BodyFilters,
}

impl<N: Net> Exchange<'_, N> {
    /// The chains of the listener and of the route, each where it has filters.
    #[inline]
    fn chains(&self) -> [Option<&Rc<Chain>>; 2] {
        let of_route = self.notes.route.get().and_then(|id| self.snapshot.route_chain(id));
        [self.snapshot.listener_chain(self.listener.id), of_route]
    }

    /// Whether a filter of the request has one of these hooks.
    #[inline]
    pub(super) fn has_filters(&self, hooks: Hooks) -> bool {
        self.chains().into_iter().flatten().any(|chain| chain.hooks.has(hooks))
    }

    /// The filters that have one of these hooks, in the order of the request hooks, with their places.
    fn filters(&self, hooks: Hooks) -> impl DoubleEndedIterator<Item = (usize, Rc<dyn Filter>)> {
        let [of_listener, of_route] = self.chains();
        let all = |chain: Option<&Rc<Chain>>| chain.map(Rc::clone);
        let (of_listener, of_route) = (all(of_listener), all(of_route));
        let ahead = of_listener.as_ref().map_or(0, |chain| chain.filters.len());
        let behind = of_route.as_ref().map_or(0, |chain| chain.filters.len());
        (0..ahead + behind).filter_map(move |place| {
            let (chain, index) = match place.checked_sub(ahead) {
                None => (of_listener.as_ref()?, place),
                Some(index) => (of_route.as_ref()?, index),
            };
            let filter = chain.filters.get(index)?;
            filter.hooks().has(hooks).then(|| (place, Rc::clone(filter)))
        })
    }

    /// Calls `hook` with the memory of the filter at `place`.
    fn with_memo<T>(&self, place: usize, hook: impl FnOnce(&mut Memo) -> T) -> T {
        let mut memos = self.filters.memos.borrow_mut();
        if memos.len() <= place {
            memos.resize_with(place + 1, Memo::default);
        }
        match memos.get_mut(place) {
            Some(memo) => hook(memo),
            // Does not come about: the list is long enough now.
            None => hook(&mut Memo::default()),
        }
    }

    /// How long the body of the request may be, in bytes.
    pub(super) fn body_bytes_max(&self) -> u64 {
        let of_listener = || self.listener.settings().limits.body_bytes_max.value().0;
        self.filters.body_bytes_max.get().unwrap_or_else(of_listener)
    }

    /// Runs the request hooks. `first` is the part of the body that is here; returned is the part that
    /// is here afterwards, and how much body goes to the endpoint.
    pub(super) async fn filter_request<C: ClientSide>(
        &self,
        client: &mut C,
        head: &mut RequestHead,
        route: &Route,
        mut first: Chunk,
    ) -> Result<(Chunk, BodySize), End> {
        let had_body = head.body_size() != BodySize::None;
        for (place, filter) in self.filters(Hooks::REQUEST) {
            match filter.body_wish() {
                BodyWish::Nothing => {}
                BodyWish::First(bytes) => {
                    first = self.collect(client, head, first, bytes).await?;
                }
                BodyWish::Whole(bytes) => {
                    // One byte more tells a body that is too long from one that just fits.
                    first = self.collect(client, head, first, bytes.saturating_add(1)).await?;
                    if !first.last || first.buf.len() > bytes {
                        return Err(End::Reply(Reason::BodyTooLarge));
                    }
                }
            }
            let mut verdict =
                self.hook(place, head, route, &first, |request| filter.on_request(request));
            let mut fetches = 0;
            loop {
                match verdict {
                    RequestVerdict::Continue => break,
                    RequestVerdict::Wait(micros) => break self.wait(micros).await,
                    RequestVerdict::Reply(reply) => return Err(End::Filtered(reply)),
                    RequestVerdict::Fetch(_) if fetches == FETCHES_MAX => {
                        let reply = FilterReply::refusal(Reason::FilterFailed);
                        return Err(End::Filtered(Box::new(reply)));
                    }
                    RequestVerdict::Fetch(fetch) => {
                        fetches += 1;
                        let fetched = self.fetch(client, head, fetch).await?;
                        verdict = self.hook(place, head, route, &first, |request| {
                            filter.on_fetched(request, fetched)
                        });
                    }
                }
            }
        }
        if self.notes.bytes_in() > self.body_bytes_max() || announced(head) > self.body_bytes_max()
        {
            return Err(End::Reply(Reason::BodyTooLarge));
        }
        let keeps_length = self.filters.body.borrow().iter().all(|it| it.keeps_length());
        let first = self.filter_upload(first).map_err(End::Reply)?;
        let size = match head.body_size() {
            // A body that is here whole has a length, also where the client did not say it.
            _ if first.last && first.trailers.is_none() && had_body => {
                BodySize::Known(first.buf.len() as u64)
            }
            BodySize::Known(_) if !keeps_length => BodySize::Unknown,
            size => size,
        };
        Ok((first, size))
    }

    /// Calls a request hook of the filter at `place`.
    fn hook(
        &self,
        place: usize,
        head: &mut RequestHead,
        route: &Route,
        first: &Chunk,
        hook: impl FnOnce(&mut FilterRequest<'_>) -> RequestVerdict,
    ) -> RequestVerdict {
        let now = self.core.net.now();
        let mut body_bytes_max = self.body_bytes_max();
        let (size, secure) = (head.body_size(), self.is_secure(head));
        let mut body_filters = self.filters.body.borrow_mut();
        let mut identity = self.filters.identity.borrow_mut();
        let verdict = self.with_memo(place, |memo| {
            hook(&mut FilterRequest {
                size,
                head,
                client: self.caller.address,
                secure,
                route,
                body: first.buf.filled(),
                body_is_whole: first.last,
                body_bytes_max: &mut body_bytes_max,
                body_filters: &mut body_filters,
                consumers: &self.snapshot.table().consumers,
                identity: &mut identity,
                memo,
                now,
                unix_micros: self.core.unix_micros_at_zero.get() + now.0,
            })
        });
        if body_bytes_max != self.body_bytes_max() {
            self.filters.body_bytes_max.set(Some(body_bytes_max));
        }
        verdict
    }

    /// Reads more of the body until `bytes` of it are here, or all of it.
    async fn collect<C: ClientSide>(
        &self,
        client: &mut C,
        head: &mut RequestHead,
        mut first: Chunk,
        bytes: usize,
    ) -> Result<Chunk, End> {
        if first.last || first.buf.len() >= bytes {
            return Ok(first);
        }
        let (mut source, mut sink, _) = client.split(self.upload, self.download);
        if head.headers.remove(HeaderId::Expect) && first.buf.is_empty() {
            // The client holds its body back until somebody wants it: we do.
            let mut interim = self.core.response_heads.take();
            interim.set_status(100, proto::head::phrase(100));
            sink.interim(&interim).await.map_err(|_| End::ClientGone)?;
        }
        while !first.last && first.buf.len() < bytes {
            let chunk = source.next().await.map_err(End::over)?;
            self.notes.add_in(&chunk);
            if self.notes.bytes_in() > self.body_bytes_max() {
                return Err(End::Reply(Reason::BodyTooLarge));
            }
            if !first.buf.append(chunk.buf.filled()) {
                let needed = first.buf.len() + chunk.buf.len();
                // Doubling keeps the copies few; the wish bounds it.
                let room = needed.saturating_mul(2).min(bytes.max(needed)) + 2 * HEADROOM;
                first.buf = first.buf.grown(room);
                let fits = first.buf.append(chunk.buf.filled());
                debug_assert!(fits, "the buffer has grown for it");
            }
            first.last = chunk.last;
            first.trailers = chunk.trailers;
        }
        Ok(first)
    }

    /// Waits, with the deadline of the upload, which nothing else uses now.
    async fn wait(&self, micros: Micros) {
        self.upload.arm(self.core.net.now(), micros.0);
        poll_fn(|cx| if self.upload.poll_fired(cx) { Poll::Ready(()) } else { Poll::Pending })
            .await;
        self.upload.clear();
    }

    /// Passes a piece of the request's body through the filters that see it.
    pub(super) fn filter_upload(&self, chunk: Chunk) -> Result<Chunk, Reason> {
        let mut filters = self.filters.body.borrow_mut();
        if filters.is_empty() {
            return Ok(chunk);
        }
        let mut out = [Vec::new(), Vec::new()];
        pass(&mut filters, &mut out, chunk, &self.core.buffers)
    }

    /// Runs the response hooks on a head that is ready for the client.
    pub(super) fn filter_response(
        &self,
        request: &RequestHead,
        head: &mut ResponseHead,
        origin: ResponseOrigin,
        mut size: BodySize,
    ) -> Filtered {
        let (mut replaced, mut filters) = (None, Vec::new());
        for (place, filter) in self.filters(Hooks::RESPONSE).rev() {
            let upstream = self.notes.upstream.get();
            let table = self.snapshot.table();
            let facts = Facts {
                head: request,
                client: self.caller.address,
                secure: self.is_secure(request),
                request_id: self.request_id(request),
                route: self.notes.route.get().and_then(|id| table.routes.get(id.0 as usize)),
                upstream: upstream.map_or("", |id| &table.upstream(id).name),
                consumer: self.consumer(),
                status: head.status,
                reason: match origin {
                    ResponseOrigin::Gateway(Some(reason)) => reason.token(),
                    _ => "",
                },
            };
            let verdict = self.with_memo(place, |memo| {
                filter.on_response(&mut FilterResponse { head, request, origin, size, facts, memo })
            });
            match verdict {
                ResponseVerdict::Continue => {}
                ResponseVerdict::Transform(filter) => {
                    if !filter.keeps_length() {
                        // A response to HEAD may say how long the body would be: nobody knows now.
                        head.headers.remove(HeaderId::ContentLength);
                        if size != BodySize::None {
                            size = BodySize::Unknown;
                        }
                    }
                    filters.push(filter);
                }
                ResponseVerdict::Replace(body) => {
                    if size != BodySize::None {
                        size = BodySize::Known(body.len() as u64);
                    } else if head.headers.contains(HeaderId::ContentLength) {
                        // A response to HEAD says how long the body would be, RFC 9110 section 8.6.
                        let len = body.len().to_string();
                        head.headers.set(HeaderId::ContentLength, len.as_bytes());
                    }
                    // The body that those filters were made for is gone.
                    filters.clear();
                    replaced = Some(body);
                }
            }
        }
        Filtered { size, replaced, body: BodyFilters { filters, out: Default::default() } }
    }

    /// The name of the consumer; nothing where no filter has found one.
    pub(super) fn consumer(&self) -> &str {
        self.snapshot.table().consumers.name(self.filters.identity.borrow().consumer)
    }

    /// Runs the finish hooks.
    pub(super) fn finish_filters(&self, request: &RequestHead, status: u16) {
        for (place, filter) in self.filters(Hooks::FINISH) {
            let now = self.core.net.now();
            let fetch = self.with_memo(place, |memo| {
                filter.on_finish(FilterFinish { request, status, memo, now })
            });
            if let Some(fetch) = fetch {
                self.fetch_later(request, fetch);
            }
        }
    }
}

/// The length that the client has announced, in bytes; 0 where it did not.
fn announced(head: &RequestHead) -> u64 {
    match head.body_size() {
        BodySize::Known(bytes) => bytes,
        BodySize::None | BodySize::Unknown => 0,
    }
}
