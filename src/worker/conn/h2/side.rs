//! The client's side of one exchange in HTTP/2.

use engine::stage::Stage;
use proto::h2::ErrorCode;
use proto::head::{BodySize, ResponseHead};

use super::link::H2Stream;
use crate::deadline::Deadline;
use crate::exchange::Context;
use crate::failure::{Failure, Kind};
use crate::net::Net;
use crate::net::buffer::{Buf, Size};
use crate::side::{Chunk, ClientHandle, ClientSide, RequestSource, ResponseSink, Upload, empty};

/// See the module.
pub(super) struct H2Client<'a, N: Net> {
    context: Context<'a, N>,
    stream: &'a H2Stream<N>,
}

impl<'a, N: Net> H2Client<'a, N> {
    pub(super) fn new(context: &Context<'a, N>, stream: &'a H2Stream<N>) -> Self {
        Self { context: *context, stream }
    }
}

impl<N: Net> ClientSide for H2Client<'_, N> {
    type Source<'b>
        = H2Source<'b, N>
    where
        Self: 'b;
    type Sink<'b>
        = H2Sink<'b, N>
    where
        Self: 'b;
    type Handle<'b>
        = &'b H2Stream<N>
    where
        Self: 'b;

    fn split<'b>(
        &'b mut self,
        upload: &'b Deadline,
        download: &'b Deadline,
    ) -> (H2Source<'b, N>, H2Sink<'b, N>, &'b H2Stream<N>) {
        let (context, stream) = (self.context, self.stream);
        let source = H2Source { context, stream, deadline: upload };
        (source, H2Sink { context, stream, deadline: download }, stream)
    }

    fn begin(&mut self) -> Result<Chunk, Failure> {
        let first = self.stream.with(|state| state.data.pop_front());
        Ok(chunk(&self.context, self.stream, first))
    }
}

/// Makes a chunk of bytes that have come; of none, where none have.
fn chunk<N: Net>(context: &Context<'_, N>, stream: &H2Stream<N>, bytes: Option<Buf>) -> Chunk {
    let buf = bytes.unwrap_or_else(|| empty(&context.core.buffers, Size::Small));
    stream.used(buf.len());
    let (last, trailers) = stream.with(|state| {
        let last = state.ended && state.data.is_empty();
        (last, if last { state.trailers.take() } else { None })
    });
    Chunk { buf, last, trailers }
}

pub(super) struct H2Source<'a, N: Net> {
    context: Context<'a, N>,
    stream: &'a H2Stream<N>,
    deadline: &'a Deadline,
}

impl<N: Net> RequestSource for H2Source<'_, N> {
    async fn next(&mut self) -> Result<Chunk, Failure> {
        let micros = self.context.listener.settings().timeouts.body_idle.0;
        let came = self.stream.until(self.deadline, micros, |stream| {
            stream.with(|state| {
                if std::mem::take(&mut state.cancelled) {
                    return Some(Err(Kind::Abandoned));
                }
                let data = state.data.pop_front();
                (data.is_some() || state.ended).then_some(Ok(data))
            })
        });
        match came.await {
            Ok(Ok(data)) => Ok(chunk(&self.context, self.stream, data)),
            Ok(Err(kind)) | Err(kind) => Err(Failure::client(Stage::Forward, kind)),
        }
    }

    async fn discard(&mut self) -> Result<bool, Failure> {
        // The client is told by a reset, once it has its response.
        Err(Failure::client(Stage::Forward, Kind::Abandoned))
    }
}

pub(super) struct H2Sink<'a, N: Net> {
    context: Context<'a, N>,
    stream: &'a H2Stream<N>,
    deadline: &'a Deadline,
}

impl<N: Net> H2Sink<'_, N> {
    fn is_open(&self) -> Result<(), Failure> {
        if self.stream.is_open() {
            return Ok(());
        }
        Err(Failure::client(Stage::Respond, Kind::Closed))
    }
}

impl<N: Net> ResponseSink for H2Sink<'_, N> {
    async fn interim(&mut self, head: &ResponseHead) -> Result<(), Failure> {
        self.is_open()?;
        self.stream.send_head(head, BodySize::Unknown, false);
        Ok(())
    }

    async fn head(
        &mut self,
        head: &ResponseHead,
        size: BodySize,
        _: Upload,
        first: Chunk,
    ) -> Result<(), Failure> {
        self.is_open()?;
        let whole = first.last && first.buf.is_empty() && first.trailers.is_none();
        self.stream.send_head(head, size, whole);
        if whole { Ok(()) } else { self.chunk(first).await }
    }

    async fn chunk(&mut self, chunk: Chunk) -> Result<(), Failure> {
        let micros = self.context.listener.settings().timeouts.write_idle.0;
        let trailers = chunk.trailers.filter(|trailers| !trailers.is_empty());
        let end = chunk.last && trailers.is_none();
        let sent = self.stream.send_data(chunk.buf.filled(), end, self.deadline, micros).await;
        sent.map_err(|kind| Failure::client(Stage::Respond, kind))?;
        if let Some(trailers) = trailers {
            self.stream.send_trailers(&trailers);
        }
        Ok(())
    }
}

impl<N: Net> ClientHandle for &H2Stream<N> {
    fn is_there(&self) -> bool {
        self.is_open()
    }

    fn cancel_upload(&self) {
        self.with(|state| state.cancelled = true);
        self.wake();
    }

    fn abort(&self) {
        self.reset(ErrorCode::Internal);
    }
}
