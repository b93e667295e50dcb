//! Streams of shared connections to an endpoint, in the test protocol [`mux`](crate::mux).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use engine::snapshot::UpstreamTimeouts;
use engine::stage::Stage;
use engine::time::Instant;
use proto::h1::{encode_request, encoded_len_max, parse_response};
use proto::head::{BodyLength, BodySize, Method, RequestHead, ResponseHead};
use proto::violation::Violation;

use super::lease::Lent;
use super::pool::{Counted, Offer, Pool};
use super::queue::WaitQueue;
use crate::core::Core;
use crate::deadline::Deadline;
use crate::failure::{Failure, Kind};
use crate::mux::{FrameKind, Link, MuxStream, STREAMS_MAX};
use crate::net::Net;
use crate::net::buffer::{Buf, HEADROOM, Size};
use crate::side::{Chunk, RequestSink, ResponseSource, Sent, Unsent, empty};
use crate::transport::Transport;

/// As over HTTP/1.1.
const HEADERS_MAX: usize = 200;
const LOOK_AROUND_MICROS: u64 = 400_000;

/// The shared connections of a pool.
pub(super) struct SharedLinks<N: Net> {
    links: RefCell<Vec<(Rc<Link<N>>, Instant)>>,
    /// A call makes a connection.
    pub(super) connecting: Cell<bool>,
    /// Calls that wait for that connection.
    pub(super) followers: WaitQueue<AttemptNews<N>>,
}

/// The news for a call that waits for the connection that another one makes.
pub(super) enum AttemptNews<N: Net> {
    Lent(Lent<N>),
    Failed(Failure),
    /// The other call has left: this one goes on, in the same room.
    Lead(Counted<N>),
}

impl<N: Net> Default for SharedLinks<N> {
    fn default() -> Self {
        let links = RefCell::default();
        Self { links, connecting: Cell::new(false), followers: WaitQueue::default() }
    }
}

impl<N: Net> SharedLinks<N> {
    /// Ends connections on which no stream has been open since `before`.
    pub(super) fn end_idle(&self, before: Instant) {
        for (link, since) in &*self.links.borrow() {
            if link.len() == 0 && *since <= before {
                link.end();
            }
        }
    }
}

impl<N: Net> Pool<N> {
    /// A stream of a connection that there is.
    pub(super) fn checkout_stream(self: &Rc<Self>, core: &Core<N>) -> Option<Lent<N>> {
        let links = self.shared.links.borrow();
        let (link, _) = links.iter().find(|(link, _)| link.has_room())?;
        core.counters.endpoint_reused.add(1);
        Some(self.lend_stream(link, true))
    }

    /// Whether a call can wait for the connection that another one makes.
    pub(super) fn may_follow(&self) -> bool {
        self.shared.connecting.get() && self.shared.followers.len() + 1 < STREAMS_MAX
    }

    pub(super) fn lend_stream(self: &Rc<Self>, link: &Rc<Link<N>>, reused: bool) -> Lent<N> {
        Lent::Mux(LentStream {
            pool: Rc::clone(self),
            stream: Some(link.open()),
            reused,
            first_byte_micros: 0,
            between_bytes_micros: 0,
            give_up_at: Instant(u64::MAX),
            sent: Cell::new(false),
            bytes_in: 0,
            announced: None,
            came: 0,
        })
    }

    /// Shares a connection that was just made.
    pub(super) fn share(
        self: &Rc<Self>,
        core: &Core<N>,
        stream: N::Stream,
        counted: Counted<N>,
    ) -> Rc<Link<N>> {
        core.counters.endpoint_opened.add(1);
        let (buffers, transport) = (core.buffers.clone(), Transport::Plain(stream));
        let link = Link::new(core.net.clone(), buffers, &core.wheel, transport);
        self.shared.links.borrow_mut().push((Rc::clone(&link), core.net.now()));
        let driven =
            DrivenLink { pool: Rc::clone(self), link: Rc::clone(&link), _counted: counted };
        core.net.spawn(async move {
            // An endpoint opens no streams: dropping one resets it.
            driven.link.drive(drop).await;
        });
        link
    }

    /// A stream has ended, so that another one may begin.
    fn stream_ended(self: &Rc<Self>, link: &Rc<Link<N>>, now: Instant) {
        if let Some((_, since)) =
            self.shared.links.borrow_mut().iter_mut().find(|(it, _)| Rc::ptr_eq(it, link))
        {
            *since = now;
        }
        if link.has_room() {
            self.offer(|| Offer::Lent(self.lend_stream(link, true)));
        }
        if link.len() == 0 && !self.keeps_idle() {
            link.end();
        }
    }
}

/// A connection that its task drives. When the task ends, the pool forgets it.
struct DrivenLink<N: Net> {
    pool: Rc<Pool<N>>,
    link: Rc<Link<N>>,
    _counted: Counted<N>,
}

impl<N: Net> Drop for DrivenLink<N> {
    fn drop(&mut self) {
        self.pool.shared.links.borrow_mut().retain(|(it, _)| !Rc::ptr_eq(it, &self.link));
    }
}

/// A stream of a shared connection, which a lease holds.
pub struct LentStream<N: Net> {
    pool: Rc<Pool<N>>,
    /// `None` while this is dropped.
    stream: Option<MuxStream<N>>,
    reused: bool,
    first_byte_micros: u64,
    between_bytes_micros: u64,
    give_up_at: Instant,
    /// The request went out whole.
    sent: Cell<bool>,
    bytes_in: u64,
    /// Bytes of the response's body that must come, if that is known, and those that have come.
    announced: Option<u64>,
    came: u64,
}

impl<N: Net> Drop for LentStream<N> {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        let link = Rc::clone(stream.link());
        // The place of the stream is free before another call gets it.
        drop(stream);
        self.pool.stream_ended(&link, link.now());
    }
}

impl<N: Net> LentStream<N> {
    pub(super) const fn is_reused(&self) -> bool {
        self.reused
    }

    pub(super) const fn set_patience(&mut self, timeouts: &UpstreamTimeouts, give_up_at: Instant) {
        self.first_byte_micros = timeouts.first_byte.value().0;
        self.between_bytes_micros = timeouts.between_bytes.value().0;
        self.give_up_at = give_up_at;
    }

    pub(super) fn is_open(&self) -> bool {
        self.stream.as_ref().is_some_and(MuxStream::is_open)
    }

    /// Whether the endpoint says that it has not looked at the request.
    pub(super) fn is_untaken(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.with(|stream| stream.refused))
    }

    pub(super) fn split<'a>(
        &'a mut self,
        upload: &'a Deadline,
        download: &'a Deadline,
    ) -> (StreamSink<'a, N>, StreamSource<'a, N>, &'a MuxStream<N>) {
        let Some(stream) = &self.stream else { unreachable!("it is there until the drop") };
        let micros = self.between_bytes_micros;
        let (sent, reused) = (&self.sent, self.reused);
        let sink = StreamSink { stream, deadline: upload, micros, reused, sent };
        let source = StreamSource {
            stream,
            deadline: download,
            first_byte_micros: self.first_byte_micros,
            micros,
            give_up_at: self.give_up_at,
            sent,
            bytes_in: &mut self.bytes_in,
            announced: &mut self.announced,
            came: &mut self.came,
        };
        (sink, source, stream)
    }
}

/// The direction of the request.
pub struct StreamSink<'a, N: Net> {
    stream: &'a MuxStream<N>,
    deadline: &'a Deadline,
    micros: u64,
    reused: bool,
    sent: &'a Cell<bool>,
}

impl<N: Net> StreamSink<'_, N> {
    async fn send_body(&self, bytes: &[u8], last: bool) -> Result<(), Kind> {
        let wanted = self.stream.send_data(bytes, self.deadline, self.micros).await?;
        if !wanted {
            // An endpoint that wants no more has most likely answered.
            return Err(Kind::Abandoned);
        }
        if last {
            self.stream.send((FrameKind::End, &[]), self.deadline, self.micros).await?;
            self.sent.set(true);
        }
        Ok(())
    }
}

impl<N: Net> RequestSink for StreamSink<'_, N> {
    async fn head(
        &mut self,
        head: &RequestHead,
        size: BodySize,
        first: Chunk,
    ) -> Result<Sent, Unsent> {
        let length = match size {
            BodySize::Known(bytes) => BodyLength::Length(bytes),
            BodySize::None => BodyLength::None,
            BodySize::Unknown => BodyLength::Chunked,
        };
        let len_max = encoded_len_max(&head.headers) + head.target().len() + 2 * HEADROOM;
        let mut encoded = self.stream.link().buffers().take_at_least(len_max);
        let written = encode_request(head, length, encoded.spare_mut());
        encoded.advance(written.unwrap_or(0));
        let frame = (FrameKind::Head, encoded.filled());
        let mut sent = self.stream.send(frame, self.deadline, self.micros).await;
        if sent.is_ok() {
            sent = self.send_body(first.buf.filled(), first.last).await;
        }
        let bytes_out = self.stream.with(|stream| stream.taken);
        let whole = self.sent.get();
        match sent {
            Err(kind) if kind != Kind::Abandoned => {
                let failure = Failure::endpoint(Stage::Forward, kind);
                let held = (bytes_out == 0 || first.buf.is_empty()).then_some(first);
                Err(Unsent { failure, bytes_out, held })
            }
            _ => {
                let held = (self.reused && whole && !first.buf.is_empty()).then_some(first);
                Ok(Sent { bytes_out, held })
            }
        }
    }

    async fn chunk(&mut self, chunk: Chunk) -> Result<(), Failure> {
        let sent = self.send_body(chunk.buf.filled(), chunk.last).await;
        sent.map_err(|kind| Failure::endpoint(Stage::Forward, kind))
    }
}

/// The direction of the response.
pub struct StreamSource<'a, N: Net> {
    stream: &'a MuxStream<N>,
    deadline: &'a Deadline,
    first_byte_micros: u64,
    micros: u64,
    give_up_at: Instant,
    sent: &'a Cell<bool>,
    bytes_in: &'a mut u64,
    announced: &'a mut Option<u64>,
    came: &'a mut u64,
}

impl<N: Net> StreamSource<'_, N> {
    fn chunk(&mut self, bytes: Option<Buf>) -> Result<Chunk, Failure> {
        let buf = bytes.unwrap_or_else(|| empty(self.stream.link().buffers(), Size::Small));
        *self.came += buf.len() as u64;
        let last = self.stream.with(|stream| stream.ended && stream.data.is_empty());
        let wrong = self.announced.is_some_and(|announced| match *self.came {
            came if last => came != announced,
            came => came > announced,
        });
        if wrong {
            return Err(Failure::endpoint(Stage::Respond, Kind::Closed));
        }
        self.stream.used(buf.len());
        Ok(Chunk { buf, last, trailers: None })
    }
}

impl<N: Net> ResponseSource for StreamSource<'_, N> {
    async fn head(
        &mut self,
        request_method: Method,
        into: &mut ResponseHead,
        mut while_waiting: impl FnMut() -> bool,
    ) -> Result<(), Failure> {
        let fail = |kind| Failure::endpoint(Stage::Respond, kind);
        let link = self.stream.link();
        let mut late_at = link.now().plus_micros(self.first_byte_micros);
        let bytes = loop {
            let left = late_at.min(self.give_up_at).micros_since(link.now());
            let micros = left.min(LOOK_AROUND_MICROS);
            match self.stream.until(self.deadline, micros, |it| it.heads.pop_front()).await {
                Ok(bytes) => break bytes,
                Err(Kind::Timeout) => {}
                Err(kind) => return Err(fail(kind)),
            }
            let now = link.now();
            // The endpoint's time runs from the end of the request.
            if !self.sent.get() {
                late_at = now.plus_micros(self.first_byte_micros);
            }
            if now >= self.give_up_at {
                return Err(fail(Kind::TotalTimeout));
            }
            if now >= late_at {
                return Err(fail(Kind::Timeout));
            }
            if !while_waiting() {
                return Err(fail(Kind::Abandoned));
            }
        };
        *self.bytes_in += bytes.len() as u64;
        into.clear();
        parse_response(bytes.filled(), HEADERS_MAX, request_method, into)
            .map_err(|violation| fail(violation.into()))?;
        if into.status == 101 {
            // A stream cannot become anything else.
            return Err(fail(Violation::UnexpectedInterim.into()));
        }
        *self.announced = match into.body_size() {
            BodySize::None => Some(0),
            BodySize::Known(bytes) => Some(bytes),
            BodySize::Unknown => None,
        };
        Ok(())
    }

    fn bytes_in(&self) -> u64 {
        *self.bytes_in
    }

    fn begin(&mut self) -> Result<Chunk, Failure> {
        let first = self.stream.with(|stream| stream.data.pop_front());
        self.chunk(first)
    }

    async fn next(&mut self) -> Result<Chunk, Failure> {
        let left = self.give_up_at.micros_since(self.stream.link().now());
        let data = self.stream.until(self.deadline, self.micros.min(left), |stream| {
            let data = stream.data.pop_front();
            (data.is_some() || stream.ended).then_some(data)
        });
        match data.await {
            Ok(data) => self.chunk(data),
            Err(kind) => Err(Failure::endpoint(Stage::Respond, kind)),
        }
    }
}
