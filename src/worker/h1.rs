//! HTTP/1.1 framing on a wire, in either direction: the body that comes in ([`Incoming`]) and the
//! body that goes out ([`outgoing`]); RFC 9112 sections 6 and 7.
//!
//! Both sides of the gateway use this: a request comes in from a client as a response comes in
//! from an endpoint. The meaning of the bytes is `proto`'s.
//!
//! A message is forwarded in the buffer that it came in. Its head has been copied out, so the new
//! head is written into the room that the old one left, right in front of the body.

use engine::stage::Stage;
use proto::h1::BodyDecoder;
use proto::head::{BodyLength, MessageKind};

use crate::failure::{Failure, Kind};
use crate::net::Net;
use crate::net::buffer::{Buf, HEADROOM, Size};
use crate::side::{Chunk, empty};
use crate::wire::Wire;

/// The last chunk without trailers: RFC 9112 section 7.1.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The body of a message that comes in.
#[derive(Debug)]
pub struct Incoming {
    decoder: BodyDecoder,
    length: BodyLength,
    /// Bytes that were read and do not belong to the chunk handed out: the next message on this
    /// connection, once the body is done.
    ahead: Option<Buf>,
    /// The last read filled its buffer: more is waiting, so the next one is large.
    flowing: bool,
}

impl Incoming {
    /// A body of this `length`; `ahead` holds the bytes that came right behind its head.
    #[must_use]
    pub fn new(kind: MessageKind, length: BodyLength, ahead: Buf) -> Self {
        let flowing = ahead.room() == 0;
        Self { decoder: BodyDecoder::new(length, kind), length, ahead: Some(ahead), flowing }
    }

    /// The whole body has been handed out.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    /// Whether only the end of the stream ends the body.
    #[must_use]
    pub fn ends_with_the_stream(&self) -> bool {
        self.length == BodyLength::UntilClose
    }

    /// The bytes that arrived behind the body.
    pub fn take_ahead(&mut self) -> Option<Buf> {
        self.ahead.take().filter(|ahead| !ahead.is_empty())
    }

    /// Whether bytes arrived behind the body.
    #[must_use]
    pub fn has_ahead(&self) -> bool {
        self.ahead.as_ref().is_some_and(|ahead| !ahead.is_empty())
    }

    /// The part of the body that arrived with its head, without waiting; perhaps no byte.
    pub fn begin<N: Net>(&mut self, wire: &Wire<'_, N>, stage: Stage) -> Result<Chunk, Failure> {
        match self.ahead.take() {
            Some(buf) => self.decode(wire, stage, buf),
            None => {
                let buf = empty(wire.buffers, Size::Small);
                Ok(Chunk { buf, last: self.is_done(), trailers: None })
            }
        }
    }

    /// The next bytes of the body; `last` with the final ones, or alone.
    pub async fn next<N: Net>(
        &mut self,
        wire: &Wire<'_, N>,
        stage: Stage,
    ) -> Result<Chunk, Failure> {
        loop {
            if let Some(buf) =
                self.ahead.take_if(|ahead| !ahead.is_empty() || self.decoder.is_done())
            {
                return self.decode(wire, stage, buf);
            }
            if self.is_done() {
                return Ok(Chunk::last(empty(wire.buffers, Size::Small)));
            }
            let size = if self.flowing || matches!(self.length, BodyLength::Length(n) if n > BULK) {
                Size::Large
            } else {
                Size::Medium
            };
            self.ahead = None;
            let (read, buf) = wire.read(stage, empty(wire.buffers, size)).await;
            if read? == 0 {
                self.decoder.on_end().map_err(|_| wire.failure(stage, Kind::Closed))?;
                return Ok(Chunk::last(buf));
            }
            self.flowing = buf.room() == 0;
            let chunk = self.decode(wire, stage, buf)?;
            if chunk.last || !chunk.buf.is_empty() {
                return Ok(chunk);
            }
        }
    }

    fn decode<N: Net>(
        &mut self,
        wire: &Wire<'_, N>,
        stage: Stage,
        mut buf: Buf,
    ) -> Result<Chunk, Failure> {
        let step = self
            .decoder
            .decode(buf.filled_mut())
            .map_err(|violation| wire.failure(stage, violation))?;
        if step.consumed < buf.len() {
            let rest = buf.filled().get(step.consumed..).unwrap_or_default();
            let mut ahead = wire.buffers.take_at_least(rest.len() + HEADROOM);
            ahead.clear(HEADROOM);
            let _ = ahead.append(rest);
            self.ahead = Some(ahead);
        }
        buf.truncate(step.data.end);
        buf.consume(step.data.start);
        let trailers = if step.done { self.decoder.take_trailers().map(Box::new) } else { None };
        Ok(Chunk { buf, last: step.done, trailers })
    }
}

/// A body announced longer than this is read in [`Size::Large`] buffers from the start.
const BULK: u64 = 16 << 10;

/// The framing of a body that goes out.
pub mod outgoing {
    use proto::h1::{CHUNK_SIZE_LINE_BYTES, chunk_size_line, encode_last_chunk, encoded_len_max};

    use crate::h1::LAST_CHUNK;
    use crate::net::buffer::{Buf, BufferPool, HEADROOM};
    use crate::side::Chunk;

    /// Frames `chunk` as it goes out under `Transfer-Encoding: chunked`, in place.
    #[must_use]
    pub fn frame(buffers: &BufferPool, chunk: Chunk) -> Buf {
        let Chunk { mut buf, last, trailers } = chunk;
        let len = buf.len();
        if len > 0 {
            let mut line = [0; CHUNK_SIZE_LINE_BYTES];
            let used = chunk_size_line(len, &mut line);
            let line = line.get(..used).unwrap_or_default();
            buf = put_in_front(buffers, buf, line.len(), |out| {
                out.get_mut(..line.len())?.copy_from_slice(line);
                Some(line.len())
            });
            buf = put_behind(buf, b"\r\n");
        }
        match trailers {
            _ if !last => buf,
            None => put_behind(buf, LAST_CHUNK),
            Some(trailers) => {
                // Rare, and small.
                let mut end = vec![0; encoded_len_max(&trailers)];
                let used = encode_last_chunk(Some(&trailers), &mut end).unwrap_or(0);
                put_behind(buf, end.get(..used).unwrap_or_default())
            }
        }
    }

    /// Writes a head right before the filled bytes: in place where the room allows it, as it nearly
    /// always does, else in a buffer that has the room. `encode` says `None` when the space it was
    /// given is too small, which `len_max` bytes never are.
    #[must_use]
    pub fn put_in_front(
        buffers: &BufferPool,
        mut buf: Buf,
        len_max: usize,
        encode: impl Fn(&mut [u8]) -> Option<usize>,
    ) -> Buf {
        let front = buf.front_mut();
        if let Some(n) = encode(front) {
            let at = front.len() - n;
            front.copy_within(..n, at);
            buf.extend_front(n);
            return buf;
        }
        let mut larger = buffers.take_at_least(HEADROOM + len_max + buf.len() + HEADROOM);
        larger.clear(HEADROOM);
        let n = encode(larger.spare_mut()).unwrap_or(0);
        larger.advance(n);
        let _ = larger.append(buf.filled());
        larger
    }

    fn put_behind(mut buf: Buf, tail: &[u8]) -> Buf {
        if buf.append(tail) {
            return buf;
        }
        let bytes = HEADROOM + buf.len() + tail.len() + HEADROOM;
        let mut larger = buf.grown(bytes);
        let _ = larger.append(tail);
        larger
    }
}
