//! The state of a connection with a client: settings, streams, windows, RFC 9113 5 and 6.
//!
//! Windows. The data of a client is counted off two windows. That of the connection is given back at once, so
//! that a stream which nobody reads keeps none of the others waiting. That of a stream is given back as its
//! data is used, so the data which waits is bounded: [`STREAM_WINDOW_BYTES`] times the streams.
//!
//! A stream is here from its head until its owner releases it, also when it was reset before: as long as work
//! is done for it, it counts against the limit of streams. A client that opens and resets cannot have more work
//! done than one that waits.
//!
//! Invariant: a stream that is released has ended in both directions, or is reset.

use std::ops::Range;

use super::breach::{Breach, ErrorCode};
use super::frame::{
    self, FRAME_HEADER_BYTES, Frame, FrameHeader, PAYLOAD_BYTES_MAX, PREFACE, parse,
};
use super::guard::{Flood, FloodGuard};
use super::head::{Bounds, RequestFields, TrailerFields, encode_response, encode_trailers};
use super::hpack::{BlockDecoder, BlockEncoder};
use crate::head::{BodyLength, BodySize, Headers, RequestHead, ResponseHead};
use crate::violation::Violation;

/// Bytes of a stream's data that may wait to be used. Twice what RFC 9113 begins with: an upload moves 1 MB/s
/// over a path of 128 ms.
pub(super) const STREAM_WINDOW_BYTES: u32 = 128 << 10;
/// Bytes that a client may send on all streams before we take note of the first. It is given back at once, so it
/// only has to cover the path.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// The windows that a connection begins with, RFC 9113 6.9.2.
const FIRST_WINDOW_BYTES: u32 = 65_535;
/// The largest window, RFC 9113 6.9.1.
const WINDOW_MAX: i64 = (1 << 31) - 1;
/// Frames of one header block. 32 of the longest hold more than `head_bytes_max` mostly is.
const BLOCK_FRAMES_MAX: u32 = 32;
/// Streams that have ended of which we know how: frames of them may still be on their way.
const ENDED_KEPT: usize = 64;

/// The bounds of a connection.
#[derive(Clone, Copy, Debug)]
pub struct FrameLimits {
    /// Streams at once.
    pub streams_max: u32,
    /// Bytes of a request head, as RFC 9113 6.5.2 counts them.
    pub head_bytes_max: usize,
    /// Fields of a request head.
    pub headers_max: usize,
}

/// The news in a frame.
#[derive(Debug)]
pub enum FrameNews {
    /// Nothing for the owners of streams.
    Nothing,
    /// A stream has begun. Its head is sound, or is to be answered with the violation. It is released once.
    Head {
        /// The stream.
        stream: u32,
        /// Whether the head is sound.
        verdict: Result<(), Violation>,
    },
    /// Data of a stream; `end` where nothing follows.
    Data {
        /// The stream.
        stream: u32,
        /// Where the data is in the bytes that were given.
        data: Range<usize>,
        /// Nothing of the message follows.
        end: bool,
    },
    /// The trailers, which end a message.
    Trailers {
        /// The stream.
        stream: u32,
        /// The fields.
        trailers: Box<Headers>,
    },
    /// The stream is over, by the client or because of it.
    Reset {
        /// The stream.
        stream: u32,
    },
    /// A window has grown: of one stream, or of all.
    Window,
}

#[derive(Debug)]
struct OpenStream {
    id: u32,
    /// The client has sent all.
    received_all: bool,
    /// We have sent all.
    sent_all: bool,
    /// It is over, whatever had been sent.
    reset: bool,
    /// Bytes that we may send.
    send_window: i64,
    /// Bytes that the client may send.
    receive_window: i64,
    /// Bytes that were used, and that the client was not told of.
    used: u32,
    /// Bytes of the body, by Content-Length.
    announced: Option<u64>,
    /// Bytes of the body that have come.
    came: u64,
}

/// A header block that has begun.
#[derive(Clone, Copy, Debug)]
struct Block {
    stream: u32,
    end: bool,
    frames: u32,
}

/// A connection with a client. See the module.
#[derive(Debug)]
pub struct ClientFrames {
    limits: FrameLimits,
    decoder: BlockDecoder,
    encoder: BlockEncoder,
    guard: FloodGuard,
    /// In the order of their numbers.
    streams: Vec<OpenStream>,
    /// The last streams that have ended, and whether we ended them by a reset.
    ended: [(u32, bool); ENDED_KEPT],
    ended_at: usize,
    last_stream: u32,
    has_preface: bool,
    has_settings: bool,
    goes_away: bool,
    send_window: i64,
    receive_window: i64,
    /// The window that a stream begins with, for what we send.
    first_send_window: i64,
    block: Option<Block>,
    block_bytes: Vec<u8>,
    scratch: (Vec<u8>, Vec<u8>),
    out: Vec<u8>,
}

impl ClientFrames {
    /// A connection of which no byte has come. The bytes of our settings are there to be sent.
    #[must_use]
    pub fn new(limits: FrameLimits, now_micros: u64) -> Self {
        let mut out = Vec::new();
        let mut settings = Vec::new();
        let list_max = u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX);
        for (setting, value) in
            [(3_u16, limits.streams_max), (4, STREAM_WINDOW_BYTES), (6, list_max)]
        {
            settings.extend_from_slice(&setting.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        frame::write(frame::SETTINGS, 0, 0, &settings, &mut out);
        frame::write_window(0, CONNECTION_WINDOW_BYTES - FIRST_WINDOW_BYTES, &mut out);
        Self {
            limits,
            decoder: BlockDecoder::default(),
            encoder: BlockEncoder::default(),
            guard: FloodGuard::new(now_micros),
            streams: Vec::new(),
            ended: [(0, false); ENDED_KEPT],
            ended_at: 0,
            last_stream: 0,
            has_preface: false,
            has_settings: false,
            goes_away: false,
            send_window: FIRST_WINDOW_BYTES.into(),
            receive_window: CONNECTION_WINDOW_BYTES.into(),
            first_send_window: FIRST_WINDOW_BYTES.into(),
            block: None,
            block_bytes: Vec::new(),
            scratch: Default::default(),
            out,
        }
    }

    /// Bytes to send: heads and control frames. Whoever sends them empties them.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Streams that were not released.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Takes one frame off the front of `bytes`: gives how many bytes it has, 0 while it is not whole, and the
    /// news. The head of a new stream is in `into`.
    ///
    /// # Errors
    ///
    /// When the connection is over: GOAWAY is among the bytes to send.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        now_micros: u64,
        into: &mut RequestHead,
    ) -> Result<(usize, FrameNews), Breach> {
        let taken = self.take_frame(bytes, now_micros, into);
        if let Err(fault) = taken {
            self.end_with(fault.code(), &fault.to_string());
        }
        taken
    }

    /// Takes no further stream. Those that are here go on.
    pub fn go_away(&mut self) {
        if !self.goes_away {
            self.end_with(ErrorCode::NoError, "");
        }
    }

    /// Appends the head of a response; `end` where nothing follows.
    pub fn send_head(&mut self, stream: u32, head: &ResponseHead, size: BodySize, end: bool) {
        if !self.can_send(stream) {
            return;
        }
        let (block, scratch) = &mut self.scratch;
        block.clear();
        encode_response(&mut self.encoder, head, size, scratch, block);
        frame::write_block(stream, block, end, &mut self.out);
        self.mark_sent(stream, end);
    }

    /// Appends the trailers of a response, which end it.
    pub fn send_trailers(&mut self, stream: u32, trailers: &Headers) {
        if !self.can_send(stream) {
            return;
        }
        let (block, scratch) = &mut self.scratch;
        block.clear();
        encode_trailers(&mut self.encoder, trailers, scratch, block);
        frame::write_block(stream, block, true, &mut self.out);
        self.mark_sent(stream, true);
    }

    /// Bytes that the next frame of DATA of this stream may have.
    #[must_use]
    pub fn room(&self, stream: u32) -> usize {
        let window = self.find(stream).map_or(0, |found| found.send_window.min(self.send_window));
        usize::try_from(window).unwrap_or(0).min(PAYLOAD_BYTES_MAX)
    }

    /// Counts a frame of DATA, of [`ClientFrames::room`] bytes at most, that is sent: see
    /// [`data_header`](super::data_header).
    pub fn sent_data(&mut self, stream: u32, bytes: usize, end: bool) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.send_window -= bytes;
        if let Some(stream) = self.find_mut(stream) {
            stream.send_window -= bytes;
        }
        self.guard.data_sent();
        self.mark_sent(stream, end);
    }

    /// Data of a stream was used: as much may come again.
    pub fn used(&mut self, stream: u32, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(at) = self.place(stream) else { return };
        let Some(found) = self.streams.get_mut(at) else { return };
        found.used = found.used.saturating_add(bytes);
        // In halves of the window: a frame for every piece would cost more than it brings.
        if found.used >= STREAM_WINDOW_BYTES / 2 && !found.received_all && !found.reset {
            found.receive_window += i64::from(found.used);
            frame::write_window(stream, found.used, &mut self.out);
            found.used = 0;
        }
    }

    /// Resets a stream, unless it is over.
    pub fn reset(&mut self, stream: u32, code: ErrorCode) {
        let Some(found) = self.find_mut(stream) else { return };
        // A malformed request is reset behind its answer too, RFC 9113 8.1.1.
        let has_ended = found.received_all && found.sent_all && code != ErrorCode::Protocol;
        let is_over = found.reset || has_ended;
        found.reset = true;
        if !is_over {
            frame::write_reset(stream, code, &mut self.out);
        }
    }

    /// Forgets a stream for which no more work is done. One that has not ended is reset.
    pub fn release(&mut self, stream: u32) {
        let Ok(at) = self.place(stream) else { return };
        let answered = self.streams.get(at).is_some_and(|stream| stream.sent_all);
        // RFC 9113 8.1: a client whose request is not wanted to its end has its response anyway.
        self.reset(stream, if answered { ErrorCode::NoError } else { ErrorCode::Cancel });
        let by_reset = self.streams.get(at).is_some_and(|stream| !stream.received_all);
        self.streams.remove(at);
        self.note_ended(stream, by_reset);
    }

    fn end_with(&mut self, code: ErrorCode, why: &str) {
        self.goes_away = true;
        frame::write_go_away(self.last_stream, code, why, &mut self.out);
    }

    fn place(&self, id: u32) -> Result<usize, usize> {
        self.streams.binary_search_by_key(&id, |stream| stream.id)
    }

    fn find(&self, id: u32) -> Option<&OpenStream> {
        self.streams.get(self.place(id).ok()?)
    }

    fn find_mut(&mut self, id: u32) -> Option<&mut OpenStream> {
        let at = self.place(id).ok()?;
        self.streams.get_mut(at)
    }

    fn can_send(&self, id: u32) -> bool {
        self.find(id).is_some_and(|stream| !stream.reset && !stream.sent_all)
    }

    fn mark_sent(&mut self, id: u32, end: bool) {
        if end && let Some(stream) = self.find_mut(id) {
            stream.sent_all = true;
        }
    }

    fn note_ended(&mut self, id: u32, by_reset: bool) {
        if let Some(place) = self.ended.get_mut(self.ended_at % ENDED_KEPT) {
            *place = (id, by_reset);
        }
        self.ended_at += 1;
    }

    /// How a stream has ended that is not here: by our reset or otherwise. `None` if we do not remember it.
    fn ended_by_reset(&self, id: u32) -> Option<bool> {
        self.ended.iter().find(|(ended, _)| *ended == id).map(|(_, by_reset)| *by_reset)
    }

    fn take_frame(
        &mut self,
        bytes: &[u8],
        now: u64,
        into: &mut RequestHead,
    ) -> Result<(usize, FrameNews), Breach> {
        if !self.has_preface {
            let came = bytes.get(..PREFACE.len()).unwrap_or(bytes);
            if !PREFACE.starts_with(came) {
                return Err(Breach::Preface);
            }
            self.has_preface = came.len() == PREFACE.len();
            return Ok((if self.has_preface { came.len() } else { 0 }, FrameNews::Nothing));
        }
        let Some(header) = bytes.first_chunk() else { return Ok((0, FrameNews::Nothing)) };
        let header = FrameHeader::parse(*header);
        if header.len > PAYLOAD_BYTES_MAX {
            return Err(Breach::FrameLength);
        }
        let frame_len = FRAME_HEADER_BYTES + header.len;
        let Some(payload) = bytes.get(FRAME_HEADER_BYTES..frame_len) else {
            return Ok((0, FrameNews::Nothing));
        };
        let continues = header.kind == frame::CONTINUATION;
        let belongs = self.block.is_some_and(|block| block.stream == header.stream);
        if continues != self.block.is_some() || continues && !belongs {
            return Err(Breach::BlockInterrupted);
        }
        if !self.has_settings && (header.kind != frame::SETTINGS || header.has(frame::ACK)) {
            return Err(Breach::Preface);
        }
        let stream = header.stream;
        let event = match parse(header, payload)? {
            Frame::Data { data, counted, end } => {
                // The place of the data in the bytes that were given.
                let padding = usize::from(counted != data.len());
                let start = FRAME_HEADER_BYTES + padding;
                self.take_data(stream, start..start + data.len(), counted, end, now)?
            }
            Frame::Headers { block, depends_on, end, whole } => {
                if depends_on == Some(stream) {
                    return Err(Breach::SelfDependency);
                }
                self.begin_block(Block { stream, end, frames: 1 }, block, whole, now, into)?
            }
            Frame::Continuation { block, whole } => self.continue_block(block, whole, now, into)?,
            Frame::Priority { depends_on } => {
                if depends_on == stream {
                    return Err(Breach::SelfDependency);
                }
                self.guard.count(Flood::Priority, now)?;
                FrameNews::Nothing
            }
            Frame::Reset => self.take_reset(stream, now)?,
            Frame::Settings(settings) => self.take_settings(settings, now)?,
            Frame::SettingsAck | Frame::PingAck => {
                self.guard.count(Flood::Ping, now)?;
                FrameNews::Nothing
            }
            Frame::Push => return Err(Breach::Push),
            Frame::Ping(payload) => {
                self.guard.count(Flood::Ping, now)?;
                frame::write(frame::PING, frame::ACK, 0, &payload, &mut self.out);
                FrameNews::Nothing
            }
            // The client will open no stream; those that it has go on.
            Frame::GoAway => FrameNews::Nothing,
            Frame::WindowUpdate(bytes) => self.take_window(stream, bytes, now)?,
            Frame::Unknown => {
                self.guard.count(Flood::Unknown, now)?;
                FrameNews::Nothing
            }
        };
        Ok((frame_len, event))
    }

    /// Resets a stream because of the client.
    fn fail(&mut self, stream: u32, fault: Breach, now: u64) -> Result<FrameNews, Breach> {
        self.guard.count(Flood::MadeReset, now)?;
        match self.find_mut(stream) {
            // It is over already, by the client, and so not for the client to use.
            Some(found) if found.reset => {
                frame::write_reset(stream, fault.code(), &mut self.out);
                return Ok(FrameNews::Nothing);
            }
            Some(found) => found.reset = true,
            None => {
                self.note_ended(stream, true);
                frame::write_reset(stream, fault.code(), &mut self.out);
                return Ok(FrameNews::Nothing);
            }
        }
        frame::write_reset(stream, fault.code(), &mut self.out);
        Ok(FrameNews::Reset { stream })
    }

    fn take_data(
        &mut self,
        stream: u32,
        data: Range<usize>,
        counted: usize,
        end: bool,
        now: u64,
    ) -> Result<FrameNews, Breach> {
        if stream > self.last_stream {
            return Err(Breach::IdleStream);
        }
        let counted_bytes = i64::try_from(counted).unwrap_or(i64::MAX);
        self.receive_window -= counted_bytes;
        if self.receive_window < 0 {
            return Err(Breach::WindowExceeded);
        }
        let missing = i64::from(CONNECTION_WINDOW_BYTES) - self.receive_window;
        if missing >= i64::from(CONNECTION_WINDOW_BYTES / 2) {
            self.receive_window += missing;
            frame::write_window(0, u32::try_from(missing).unwrap_or(0), &mut self.out);
        }
        if data.is_empty() && !end {
            self.guard.count(Flood::EmptyData, now)?;
        }
        let Some(found) = self.find_mut(stream) else {
            return match self.ended_by_reset(stream) {
                Some(true) => Ok(FrameNews::Nothing),
                _ => self.fail(stream, Breach::ClosedStream, now),
            };
        };
        // The client's own end comes before ours: behind it, data breaks the protocol.
        if found.received_all {
            return self.fail(stream, Breach::ClosedStream, now);
        }
        if found.reset {
            return Ok(FrameNews::Nothing);
        }
        found.receive_window -= counted_bytes;
        if found.receive_window < 0 {
            return self.fail(stream, Breach::WindowExceeded, now);
        }
        found.came += data.len() as u64;
        found.received_all = end;
        let wrong = found
            .announced
            .is_some_and(|announced| found.came > announced || end && found.came < announced);
        if wrong {
            return self.fail(stream, Breach::Message, now);
        }
        self.used(stream, counted - data.len());
        Ok(FrameNews::Data { stream, data, end })
    }

    fn begin_block(
        &mut self,
        block: Block,
        bytes: &[u8],
        whole: bool,
        now: u64,
        into: &mut RequestHead,
    ) -> Result<FrameNews, Breach> {
        if block.stream.is_multiple_of(2) {
            return Err(Breach::StreamId);
        }
        if whole {
            return self.take_block(block, bytes, now, into);
        }
        self.block_bytes.clear();
        self.block_bytes.extend_from_slice(bytes);
        self.block = Some(block);
        Ok(FrameNews::Nothing)
    }

    fn continue_block(
        &mut self,
        bytes: &[u8],
        whole: bool,
        now: u64,
        into: &mut RequestHead,
    ) -> Result<FrameNews, Breach> {
        let Some(mut block) = self.block.take() else { return Err(Breach::BlockInterrupted) };
        block.frames += 1;
        let bytes_max = self.limits.head_bytes_max + PAYLOAD_BYTES_MAX;
        if block.frames > BLOCK_FRAMES_MAX || self.block_bytes.len() + bytes.len() > bytes_max {
            return Err(Breach::BlockTooLarge);
        }
        self.block_bytes.extend_from_slice(bytes);
        if !whole {
            self.block = Some(block);
            return Ok(FrameNews::Nothing);
        }
        let bytes = std::mem::take(&mut self.block_bytes);
        let event = self.take_block(block, &bytes, now, into);
        self.block_bytes = bytes;
        event
    }

    fn take_block(
        &mut self,
        block: Block,
        bytes: &[u8],
        now: u64,
        into: &mut RequestHead,
    ) -> Result<FrameNews, Breach> {
        let Block { stream, end, .. } = block;
        if stream > self.last_stream {
            return self.open(block, bytes, now, into);
        }
        let (is_open, is_over) = match self.find(stream) {
            Some(found) => {
                (!found.reset && !found.received_all, found.reset && !found.received_all)
            }
            None => (false, self.ended_by_reset(stream) == Some(true)),
        };
        if !is_open {
            // The block is part of the table of the connection, whatever becomes of its stream.
            self.decoder.decode(bytes, |_, _| {})?;
            return match self.ended_by_reset(stream) {
                _ if is_over => Ok(FrameNews::Nothing),
                // A number that was left out, RFC 9113 5.1.1.
                None if self.find(stream).is_none() => Err(Breach::StreamId),
                _ => Err(Breach::ClosedStream),
            };
        }
        let mut fields = TrailerFields::new();
        self.decoder.decode(bytes, |name, value| fields.add(name, value))?;
        if !end {
            return self.fail(stream, Breach::TrailersOpen, now);
        }
        let Some(found) = self.find_mut(stream) else { return Ok(FrameNews::Nothing) };
        found.received_all = true;
        let is_short = found.announced.is_some_and(|announced| found.came < announced);
        match fields.finish() {
            Ok(trailers) if !is_short => Ok(FrameNews::Trailers { stream, trailers }),
            _ => self.fail(stream, Breach::Message, now),
        }
    }

    fn open(
        &mut self,
        block: Block,
        bytes: &[u8],
        now: u64,
        into: &mut RequestHead,
    ) -> Result<FrameNews, Breach> {
        let Block { stream, end, .. } = block;
        self.last_stream = stream;
        if self.goes_away || self.streams.len() >= self.limits.streams_max as usize {
            self.decoder.decode(bytes, |_, _| {})?;
            if self.goes_away {
                self.note_ended(stream, true);
                frame::write_reset(stream, ErrorCode::RefusedStream, &mut self.out);
                return Ok(FrameNews::Nothing);
            }
            return self.fail(stream, Breach::TooManyStreams, now);
        }
        let bounds = Bounds { bytes: self.limits.head_bytes_max, fields: self.limits.headers_max };
        let mut fields = RequestFields::new(into, bounds);
        self.decoder.decode(bytes, |name, value| fields.add(name, value))?;
        let verdict = fields.finish(end);
        if verdict.is_err() {
            // It is answered and then reset: see `MadeReset`.
            self.guard.count(Flood::MadeReset, now)?;
        }
        let announced = match into.length {
            BodyLength::Length(bytes) if verdict.is_ok() => Some(bytes),
            _ => None,
        };
        self.streams.push(OpenStream {
            id: stream,
            received_all: end,
            sent_all: false,
            reset: false,
            send_window: self.first_send_window,
            receive_window: STREAM_WINDOW_BYTES.into(),
            used: 0,
            announced,
            came: 0,
        });
        Ok(FrameNews::Head { stream, verdict })
    }

    fn take_reset(&mut self, stream: u32, now: u64) -> Result<FrameNews, Breach> {
        if stream > self.last_stream {
            return Err(Breach::IdleStream);
        }
        self.guard.count(Flood::Reset, now)?;
        match self.find_mut(stream) {
            Some(found) if !found.reset => {
                found.reset = true;
                found.received_all = true;
                Ok(FrameNews::Reset { stream })
            }
            _ => Ok(FrameNews::Nothing),
        }
    }

    fn take_settings(&mut self, settings: &[u8], now: u64) -> Result<FrameNews, Breach> {
        self.guard.count(Flood::Settings, now)?;
        self.has_settings = true;
        let mut event = FrameNews::Nothing;
        for pair in settings.as_chunks::<6>().0 {
            let [a, b, value @ ..] = *pair;
            let value = u32::from_be_bytes(value);
            match u16::from_be_bytes([a, b]) {
                1 => self.encoder.set_max(usize::try_from(value).unwrap_or(usize::MAX)),
                2 if value > 1 => return Err(Breach::SettingValue),
                4 => {
                    let window = i64::from(value);
                    if window > WINDOW_MAX {
                        return Err(Breach::SettingWindow);
                    }
                    // It holds for the streams that are open too, RFC 9113 6.9.2: they may go below zero.
                    let more = window - self.first_send_window;
                    self.first_send_window = window;
                    for stream in &mut self.streams {
                        stream.send_window += more;
                        if stream.send_window > WINDOW_MAX {
                            return Err(Breach::SettingWindow);
                        }
                    }
                    event = FrameNews::Window;
                }
                5 if !(16_384..=16_777_215).contains(&value) => return Err(Breach::SettingValue),
                _ => {}
            }
        }
        frame::write(frame::SETTINGS, frame::ACK, 0, &[], &mut self.out);
        Ok(event)
    }

    fn take_window(&mut self, stream: u32, bytes: u32, now: u64) -> Result<FrameNews, Breach> {
        self.guard.count(Flood::Window, now)?;
        if stream == 0 {
            if bytes == 0 {
                return Err(Breach::WindowZero);
            }
            self.send_window += i64::from(bytes);
            let fits = self.send_window <= WINDOW_MAX;
            return if fits { Ok(FrameNews::Window) } else { Err(Breach::WindowOverflow) };
        }
        if stream > self.last_stream {
            return Err(Breach::IdleStream);
        }
        let Some(found) = self.find_mut(stream).filter(|found| !found.reset) else {
            return Ok(FrameNews::Nothing);
        };
        if bytes == 0 {
            return self.fail(stream, Breach::WindowZero, now);
        }
        found.send_window += i64::from(bytes);
        if found.send_window > WINDOW_MAX {
            return self.fail(stream, Breach::WindowOverflow, now);
        }
        Ok(FrameNews::Window)
    }
}
