//! One connection of the endpoint: bytes in, answers out, in order.
//!
//! Requests are parsed straight from the loop's shared buffer; only an unfinished rest is kept. A
//! request is not looked at before the answer to the one before it has left for the kernel, except
//! that small answers gather into one write. Invariant: `output` never holds more than
//! `OUTPUT_BYTES_MAX` plus one small answer; larger bodies are a number, not bytes.

use std::io::{self, IoSlice, Read, Write};
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::Mode;
use super::answer::{self, Answer, Content, Request};
use super::body::{Body, Malformed};

/// The state that all connections of a loop share, because they take turns.
#[derive(Debug)]
pub(super) struct Scratch {
    mode: Mode,
    name: String,
    buffer: Box<[u8]>,
    /// The last small keep-alive answer and its size: in a measurement nearly always the next one
    /// too.
    cached: (u64, Vec<u8>),
}

/// The next step of the loop for a connection after its turn.
#[derive(Debug)]
pub(super) enum Turn {
    /// An event will tell.
    Wait,
    /// The budget is used up.
    Again,
    /// The answer is due then.
    Delay(Instant),
    Close,
}

#[derive(Debug)]
pub(super) struct Conn {
    stream: TcpStream,
    /// The bytes that arrived and could not be used yet.
    input: Vec<u8>,
    body: Body,
    /// The answer to the current request, while the endpoint reads the request's body or waits for
    /// the delay.
    answer: Option<Answer>,
    due: Option<Instant>,
    output: Vec<u8>,
    written: usize,
    /// Filler to be sent behind `output`.
    filler_left: u64,
    close_when_sent: bool,
    /// Whether the client has ended its direction. Then a short read does not mean that the socket
    /// is empty.
    end_expected: bool,
}

impl Scratch {
    pub(super) fn new(mode: Mode, name: String) -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { mode, name, buffer, cached: (u64::MAX, Vec::new()) }
    }
}

impl Conn {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            input: Vec::new(),
            body: Body::none(),
            answer: None,
            due: None,
            output: Vec::new(),
            written: 0,
            filler_left: 0,
            close_when_sent: false,
            end_expected: false,
        }
    }

    pub(super) fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        registry.register(&mut self.stream, token, interest)
    }

    pub(super) fn expect_end(&mut self) {
        self.end_expected = true;
    }

    /// Ends a wait; false when this connection does not wait for that moment.
    pub(super) fn release(&mut self, due: Instant) -> bool {
        let waits = self.due == Some(due);
        if waits {
            self.due = None;
        }
        waits
    }

    /// Does all the work that is possible now, within a budget.
    pub(super) fn turn(&mut self, scratch: &mut Scratch) -> Turn {
        match self.advance(scratch) {
            Ok(turn) => turn,
            // Any error ends this connection and no other.
            Err(_) => Turn::Close,
        }
    }

    fn advance(&mut self, scratch: &mut Scratch) -> io::Result<Turn> {
        let mut drained = false;
        for _ in 0..STEPS_PER_TURN {
            if self.due.is_some() {
                return Ok(Turn::Wait);
            }
            self.finish_request(scratch);
            if !self.flush()? {
                return Ok(Turn::Wait);
            }
            if self.filler_left > 0 {
                continue;
            }
            if self.close_when_sent {
                return Ok(Turn::Close);
            }
            if !self.take_rest(scratch) {
                if drained {
                    return Ok(Turn::Wait);
                }
                match self.read(scratch) {
                    Ok(0) => return Ok(Turn::Close),
                    // A short read emptied the socket. Bytes that arrive later cause a new event.
                    Ok(count) => drained = count < BUFFER_BYTES && !self.end_expected,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return Ok(Turn::Wait);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            if let Some(due) = self.due {
                return Ok(Turn::Delay(due));
            }
        }
        Ok(Turn::Again)
    }

    fn read(&mut self, scratch: &mut Scratch) -> io::Result<usize> {
        // Out of the shared state for the call, so that both can be borrowed; nothing is allocated.
        let mut buffer = std::mem::take(&mut scratch.buffer);
        let read = self.stream.read(&mut buffer);
        if let Ok(count) = read {
            self.take(buffer.get(..count).unwrap_or_default(), scratch);
        }
        scratch.buffer = buffer;
        read
    }

    /// Whether the next request has to wait.
    fn is_blocked(&self) -> bool {
        self.filler_left > 0 || self.due.is_some() || self.close_when_sent
    }

    /// Uses the bytes that an earlier read left over. Returns false if it needs a read to go on.
    fn take_rest(&mut self, scratch: &mut Scratch) -> bool {
        if self.input.is_empty() {
            return false;
        }
        let rest = std::mem::take(&mut self.input);
        let used = self.consume(&rest, scratch);
        if used == 0 {
            self.input = rest;
            return false;
        }
        self.keep(&rest, used);
        true
    }

    fn take(&mut self, fresh: &[u8], scratch: &mut Scratch) {
        if self.input.is_empty() {
            let used = self.consume(fresh, scratch);
            self.keep(fresh, used);
        } else {
            self.input.extend_from_slice(fresh);
            self.take_rest(scratch);
        }
    }

    fn keep(&mut self, bytes: &[u8], used: usize) {
        let rest = bytes.get(used..).unwrap_or_default();
        if rest.is_empty() {
            self.input = Vec::new();
        } else {
            self.input.extend_from_slice(rest);
        }
    }

    /// Reads requests and bodies from `bytes` and queues answers; returns how much it used.
    fn consume(&mut self, bytes: &[u8], scratch: &mut Scratch) -> usize {
        let mut used = 0;
        while !self.is_blocked() && self.output.len() <= OUTPUT_BYTES_MAX {
            let rest = bytes.get(used..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let step =
                if self.body.is_done() { self.head(rest, scratch) } else { self.body.skip(rest) };
            match step {
                Ok(0) => break,
                Ok(count) => used += count,
                Err(Malformed) => {
                    self.refuse();
                    return bytes.len();
                }
            }
            if self.body.is_done() && self.answer.is_some() {
                self.schedule(scratch);
            }
        }
        used
    }

    /// Reads one request head; 0 when it is not complete.
    fn head(&mut self, bytes: &[u8], scratch: &Scratch) -> Result<usize, Malformed> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        let used = match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(used)) => used,
            Ok(httparse::Status::Partial) if bytes.len() <= HEAD_BYTES_MAX => return Ok(0),
            _ => return Err(Malformed),
        };
        let framing = Framing::of(&parsed)?;
        let request = Request {
            method: parsed.method.unwrap_or_default(),
            target: parsed.path.unwrap_or_default(),
            headers: parsed.headers,
            has_body: framing.has_body,
            close: framing.close,
        };
        self.answer = Some(Answer::to(&request, scratch.mode, &scratch.name));
        self.body = framing.body;
        if framing.expects_continue {
            self.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        Ok(used)
    }

    /// The request is complete: answer now, or when its time has come.
    fn schedule(&mut self, scratch: &mut Scratch) {
        match &self.answer {
            Some(answer) if !answer.delay.is_zero() => {
                self.due = Some(Instant::now() + answer.delay);
            }
            _ => self.finish_request(scratch),
        }
    }

    /// Queues the answer of a request that is complete and no longer waits.
    fn finish_request(&mut self, scratch: &mut Scratch) {
        if !self.body.is_done() {
            return;
        }
        let Some(answer) = self.answer.take() else { return };
        self.close_when_sent = answer.close;
        let text = match answer.content {
            Content::Filler(bytes) => return self.fill(bytes, answer.head_only, scratch),
            Content::Count => format!("{}\n", self.body.bytes),
            Content::Json(text) => text,
        };
        let kind = if text.starts_with('{') { "application/json" } else { "text/plain" };
        answer::write_head(&mut self.output, "200 OK", kind, text.len() as u64, answer.close);
        if !answer.head_only {
            self.output.extend_from_slice(text.as_bytes());
        }
    }

    fn fill(&mut self, bytes: u64, head_only: bool, scratch: &mut Scratch) {
        let kind = "application/octet-stream";
        if bytes > INLINE_BYTES_MAX || head_only || self.close_when_sent {
            answer::write_head(&mut self.output, "200 OK", kind, bytes, self.close_when_sent);
            self.filler_left = if head_only { 0 } else { bytes };
            return;
        }
        let (size, cached) = &mut scratch.cached;
        if *size != bytes {
            *size = bytes;
            cached.clear();
            answer::write_head(cached, "200 OK", kind, bytes, false);
            cached.extend(FILLER.iter().take(usize::try_from(bytes).unwrap_or_default()));
        }
        self.output.extend_from_slice(cached);
    }

    fn refuse(&mut self) {
        answer::write_head(&mut self.output, "400 Bad Request", "text/plain", 0, true);
        self.answer = None;
        self.body = Body::none();
        self.close_when_sent = true;
    }

    /// Sends the queued bytes, one write of filler at a time. Returns false if the kernel takes no
    /// more.
    fn flush(&mut self) -> io::Result<bool> {
        while self.written < self.output.len() || self.filler_left > 0 {
            let queued = self.output.get(self.written..).unwrap_or_default();
            let filler_bytes = usize::try_from(self.filler_left).unwrap_or(usize::MAX);
            let filler = FILLER.get(..filler_bytes.min(FILLER.len())).unwrap_or_default();
            let sent = match (queued.is_empty(), filler.is_empty()) {
                (false, true) => self.stream.write(queued),
                (true, _) => self.stream.write(filler),
                _ => self.stream.write_vectored(&[IoSlice::new(queued), IoSlice::new(filler)]),
            };
            let sent = match sent {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let of_queued = sent.min(queued.len());
            self.written += of_queued;
            self.filler_left -= (sent - of_queued) as u64;
            if self.written == self.output.len() && self.filler_left > 0 {
                // More filler is the business of the next step: the budget counts steps.
                break;
            }
        }
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
        }
        Ok(true)
    }
}

/// How a request is framed (RFC 9112, 6.3 and 9.3).
struct Framing {
    body: Body,
    has_body: bool,
    close: bool,
    expects_continue: bool,
}

impl Framing {
    fn of(request: &httparse::Request<'_, '_>) -> Result<Self, Malformed> {
        let http_1_1 = request.version == Some(1);
        let mut framing =
            Self { body: Body::none(), has_body: false, close: !http_1_1, expects_continue: false };
        for header in request.headers.iter() {
            let value = header.value.trim_ascii();
            if header.name.eq_ignore_ascii_case("content-length") {
                let digits = std::str::from_utf8(value).map_err(|_| Malformed)?;
                framing.body = Body::length(digits.parse().map_err(|_| Malformed)?);
                framing.has_body = true;
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                framing.body = Body::chunked();
                framing.has_body = true;
            } else if header.name.eq_ignore_ascii_case("connection") {
                if value.eq_ignore_ascii_case(b"close") {
                    framing.close = true;
                } else if value.eq_ignore_ascii_case(b"keep-alive") {
                    framing.close = false;
                }
            } else if header.name.eq_ignore_ascii_case("expect") {
                framing.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
            }
        }
        Ok(framing)
    }
}

/// One read takes this much: enough for large uploads to be cheap.
const BUFFER_BYTES: usize = 64 * 1024;
/// Reads or writes of one connection before the others have their turn: 1 MiB of body.
const STEPS_PER_TURN: usize = 16;
/// Above this, pipelined requests wait until their answers have left.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Answers up to this size are copied behind their head; larger ones are sent from the filler.
const INLINE_BYTES_MAX: u64 = 4096;
/// More than a gateway lets through.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 128;
static FILLER: [u8; 64 * 1024] = [b'x'; 64 * 1024];
