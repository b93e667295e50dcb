//! A client's connection in the test protocol [`mux`](crate::mux): each exchange is a task of its own,
//! with its own deadlines and its own wait for buffers.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;

use engine::address::ClientAddress;
use engine::reason::Reason;
use engine::stage::Stage;
use engine::time::Instant;
use proto::h1::{Persist, encode_response, encoded_len_max, parse_request};
use proto::head::{BodyLength, BodySize, RequestHead, ResponseHead, Version};

use super::{Connection, WANT_OF_BUFFERS_MICROS};
use crate::deadline::Deadline;
use crate::exchange::{Caller, Context, Ended, Exchange, Forwarded};
use crate::failure::{Failure, Kind};
use crate::mux::{FrameKind, Link, MuxStream};
use crate::net::Net;
use crate::net::buffer::{Buf, Size};
use crate::side::{Chunk, ClientHandle, ClientSide, RequestSource, ResponseSink, Upload, empty};
use crate::state::OpenConnection;

/// The parts of a connection that all of its exchanges use.
struct MuxClient<N: Net> {
    open: OpenConnection<N>,
    client: ClientAddress,
    forwarded: Forwarded,
}

/// Serves a connection to its end. Exchanges that run on may outlive it.
pub(super) async fn serve<N: Net>(connection: Connection<N>) {
    let forwarded = connection.forwarded();
    let Connection { open, transport, client, deadline, .. } = connection;
    let core = &open.state.core;
    let link = Link::new(core.net.clone(), core.buffers.clone(), &core.wheel, transport);
    let shared = Rc::new(MuxClient { open, client: client.get(), forwarded });
    let (state, listener) = (&shared.open.state, shared.open.listener());
    let core = &state.core;
    let came = |stream| {
        let serve = exchange(Rc::clone(&shared), stream, core.net.now());
        core.net.spawn(serve);
    };
    let idle_micros = listener.settings().timeouts.idle.0;
    let mut drive = pin!(link.drive(came));
    deadline.arm(core.net.now(), idle_micros);
    poll_fn(|cx| {
        let idle = deadline.poll_fired(cx);
        if idle {
            deadline.arm(core.net.now(), idle_micros);
        }
        if core.draining.get() || listener.closing.get() || idle && link.len() == 0 {
            link.end();
        }
        drive.as_mut().poll(cx)
    })
    .await;
}

async fn exchange<N: Net>(shared: Rc<MuxClient<N>>, stream: MuxStream<N>, began: Instant) {
    let state = &shared.open.state;
    let (core, listener) = (&state.core, shared.open.listener());
    let (upload, download) = (core.wheel.deadline(), core.wheel.deadline());
    while !core.buffers.has_room() {
        download.arm(core.net.now(), WANT_OF_BUFFERS_MICROS);
        download.passed().await;
        if !stream.is_open() {
            return;
        }
    }
    let Some(bytes) = stream.with(|stream| stream.heads.pop_front()) else { return };
    let mut head = core.request_heads.take();
    let settings = listener.settings();
    let parsed = parse_request(bytes.filled(), settings.limits.headers_max as usize, &mut head)
        .and_then(|_| head.settle_path(settings.paths));
    drop((bytes, settings));
    let context = Context {
        core,
        state,
        listener,
        forwarded: &shared.forwarded,
        upload: &upload,
        download: &download,
    };
    let caller = Caller::of_request(shared.client, &head, listener);
    let run = Exchange::new(context, caller, began);
    let mut client = StreamClient::new(&context, &stream, &head);
    let ended = match parsed {
        Ok(()) => run.run(&mut client, &mut head).await,
        Err(violation) => run.refuse(&mut client, &head, Reason::Violation(violation)).await,
    };
    // Only an answered stream is whole. Dropping it resets any other one, and an upload that goes on.
    debug_assert!(ended != Ended::Switched, "no protocol switches on a stream");
}

/// The client's side of one exchange.
struct StreamClient<'a, N: Net> {
    context: Context<'a, N>,
    stream: &'a MuxStream<N>,
    /// Bytes of the body that must come, if that is known.
    announced: Option<u64>,
    came: Cell<u64>,
}

impl<'a, N: Net> StreamClient<'a, N> {
    fn new(context: &Context<'a, N>, stream: &'a MuxStream<N>, head: &RequestHead) -> Self {
        let announced = match head.body_size() {
            BodySize::None => Some(0),
            BodySize::Known(bytes) => Some(bytes),
            BodySize::Unknown => None,
        };
        Self { context: *context, stream, announced, came: Cell::new(0) }
    }

    fn source<'b>(&'b self, deadline: &'b Deadline) -> UploadStream<'b, N> {
        UploadStream {
            context: self.context,
            stream: self.stream,
            deadline,
            announced: self.announced,
            came: &self.came,
        }
    }
}

impl<N: Net> ClientSide for StreamClient<'_, N> {
    type Source<'b>
        = UploadStream<'b, N>
    where
        Self: 'b;
    type Sink<'b>
        = DownloadStream<'b, N>
    where
        Self: 'b;
    type Handle<'b>
        = &'b MuxStream<N>
    where
        Self: 'b;

    fn split<'b>(
        &'b mut self,
        upload: &'b Deadline,
        download: &'b Deadline,
    ) -> (UploadStream<'b, N>, DownloadStream<'b, N>, &'b MuxStream<N>) {
        let sink =
            DownloadStream { context: self.context, stream: self.stream, deadline: download };
        (self.source(upload), sink, self.stream)
    }

    fn begin(&mut self) -> Result<Chunk, Failure> {
        let source = self.source(self.context.download);
        let first = self.stream.with(|stream| Some(stream.data.pop_front()));
        source.chunk(first.flatten(), Stage::Decode)
    }
}

struct UploadStream<'a, N: Net> {
    context: Context<'a, N>,
    stream: &'a MuxStream<N>,
    deadline: &'a Deadline,
    announced: Option<u64>,
    came: &'a Cell<u64>,
}

impl<N: Net> UploadStream<'_, N> {
    /// Makes a chunk of bytes that have come; of none, where none have.
    fn chunk(&self, bytes: Option<Buf>, stage: Stage) -> Result<Chunk, Failure> {
        let buf = bytes.unwrap_or_else(|| empty(&self.context.core.buffers, Size::Small));
        self.came.set(self.came.get() + buf.len() as u64);
        // A request without a body is whole before its end has come, and can be sent again.
        let ended = self.stream.with(|stream| stream.ended && stream.data.is_empty());
        let last = ended || self.announced == Some(0);
        let wrong = self.announced.is_some_and(|announced| match self.came.get() {
            came if last => came != announced,
            came => came > announced,
        });
        if wrong {
            return Err(Failure::client(stage, Kind::Closed));
        }
        self.stream.used(buf.len());
        Ok(Chunk { buf, last, trailers: None })
    }
}

impl<N: Net> RequestSource for UploadStream<'_, N> {
    async fn next(&mut self) -> Result<Chunk, Failure> {
        let micros = self.context.listener.settings().timeouts.body_idle.0;
        let came = self.stream.until(self.deadline, micros, |stream| {
            if std::mem::take(&mut stream.cancelled) {
                return Some(Err(Kind::Abandoned));
            }
            let data = stream.data.pop_front();
            (data.is_some() || stream.ended).then_some(Ok(data))
        });
        match came.await {
            Ok(Ok(data)) => self.chunk(data, Stage::Forward),
            Ok(Err(kind)) | Err(kind) => Err(Failure::client(Stage::Forward, kind)),
        }
    }

    async fn discard(&mut self) -> Result<bool, Failure> {
        // The client can be told.
        self.stream.tell(FrameKind::Stop);
        Err(Failure::client(Stage::Forward, Kind::Abandoned))
    }
}

struct DownloadStream<'a, N: Net> {
    context: Context<'a, N>,
    stream: &'a MuxStream<N>,
    deadline: &'a Deadline,
}

impl<N: Net> DownloadStream<'_, N> {
    fn micros(&self) -> u64 {
        self.context.listener.settings().timeouts.write_idle.0
    }

    async fn send(&self, kind: FrameKind, payload: &[u8]) -> Result<(), Failure> {
        let sent = self.stream.send((kind, payload), self.deadline, self.micros()).await;
        sent.map_err(|kind| Failure::client(Stage::Respond, kind))
    }

    async fn send_head(&self, head: &ResponseHead, length: BodyLength) -> Result<(), Failure> {
        let len_max = encoded_len_max(&head.headers) + head.reason().len();
        let mut buf = self.context.core.buffers.take_at_least(len_max * 2);
        let spare = buf.spare_mut();
        let written = encode_response(head, length, Persist::KeepAlive, Version::Http11, spare);
        buf.advance(written.unwrap_or(0));
        self.send(FrameKind::Head, buf.filled()).await
    }
}

impl<N: Net> ResponseSink for DownloadStream<'_, N> {
    async fn interim(&mut self, head: &ResponseHead) -> Result<(), Failure> {
        self.send_head(head, BodyLength::None).await
    }

    async fn head(
        &mut self,
        head: &ResponseHead,
        size: BodySize,
        _: Upload,
        first: Chunk,
    ) -> Result<(), Failure> {
        let length = match size {
            BodySize::Known(bytes) => BodyLength::Length(bytes),
            BodySize::None | BodySize::Unknown => BodyLength::None,
        };
        self.send_head(head, length).await?;
        self.chunk(first).await
    }

    async fn chunk(&mut self, chunk: Chunk) -> Result<(), Failure> {
        let bytes = chunk.buf.filled();
        match self.stream.send_data(bytes, self.deadline, self.micros()).await {
            Ok(true) => {}
            Ok(false) => return Err(Failure::client(Stage::Respond, Kind::Closed)),
            Err(kind) => return Err(Failure::client(Stage::Respond, kind)),
        }
        if chunk.last {
            self.send(FrameKind::End, &[]).await?;
        }
        Ok(())
    }
}

impl<N: Net> ClientHandle for &MuxStream<N> {
    fn is_there(&self) -> bool {
        self.is_open()
    }

    fn cancel_upload(&self) {
        self.with(|stream| stream.cancelled = true);
        self.wake();
    }

    fn abort(&self) {
        self.reset();
    }
}
