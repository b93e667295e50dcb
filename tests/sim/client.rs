//! The simulated clients. Each makes a few connections, one after another, follows a script on
//! each, and checks the responses against the model.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::{future::poll_fn, task::Poll};

use engine::address::Address;
use worker::net::sim::{Random, SimNet};
use worker::net::{Net, Stream};

use super::http::{Event, Head, Length, Parser, chunk};
use super::model::{GotResponse, ShadowModel, TunnelEnding};
use super::testbed::proxy_header;
use super::tools::{Notifier, ReadResult, TestStream, join, sleep};

/// How long a client waits for a connection, in microseconds.
const CONNECT_MICROS: u64 = 20_000_000;
/// How long a client waits for anything, in microseconds: longer than all timeouts of the gateway
/// together, and than a buffer takes through a pipe of one byte, so that only a gateway that has
/// forgotten the client lets it pass.
const PATIENCE_MICROS: u64 = 600_000_000;

/// The script of a client for one connection.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Ids of the requests, in order.
    pub(crate) requests: Vec<usize>,
    /// How many requests may be under way.
    pub(crate) pipeline: usize,
    pub(crate) disruption: Option<Disruption>,
    pub(crate) ending: Ending,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Disruption {
    pub(crate) moment: Moment,
    pub(crate) kind: DisruptionKind,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    Sent(usize),
    Received(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DisruptionKind {
    Reset,
    Close,
    Stall(u64),
}

/// The step after the last request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Close,
    /// Nothing, until the gateway closes.
    Idle,
    /// The client ends its direction right behind its last request.
    HalfClose,
    /// Something that is no request.
    Garbage,
}

impl Script {
    pub(crate) const fn plain(requests: Vec<usize>) -> Self {
        Self { requests, pipeline: 1, disruption: None, ending: Ending::Close }
    }

    pub(crate) fn drawn(random: &Random, requests: Vec<usize>, good: bool) -> Self {
        let pipeline = if random.chance(300) { 1 + random.below(8) } else { 1 };
        let mut script = Self { pipeline, ..Self::plain(requests) };
        script.ending = match random.below(8) {
            0 => Ending::Idle,
            1 if !good => Ending::HalfClose,
            2 if !good => Ending::Garbage,
            _ => Ending::Close,
        };
        if !good && random.chance(500) {
            let at = random.below([300, 300, 3_000, 100_000][random.below(4)]);
            let moment = if random.chance(500) { Moment::Sent(at) } else { Moment::Received(at) };
            let kind = match random.below(3) {
                0 => DisruptionKind::Reset,
                1 => DisruptionKind::Close,
                _ => DisruptionKind::Stall([50_000, 1_000_000, 10_000_000][random.below(3)]),
            };
            script.disruption = Some(Disruption { moment, kind });
        }
        script
    }
}

/// Follows `scripts`, one connection each.
pub(crate) async fn run(
    model: Rc<ShadowModel>,
    net: SimNet,
    to: Address,
    scripts: Vec<Script>,
    random: Random,
) {
    let pause = 1 << random.below(21);
    sleep(&net, random.below(pause) as u64).await;
    for script in scripts {
        converse(&model, &net, &to, &script, &random).await;
    }
    model.clients.set(model.clients.get() - 1);
    model.bell.ring();
}

async fn converse(
    model: &Rc<ShadowModel>,
    net: &SimNet,
    to: &Address,
    script: &Script,
    random: &Random,
) {
    let connected = {
        let mut connect = pin!(net.connect(to));
        let mut late = pin!(sleep(net, CONNECT_MICROS));
        poll_fn(|cx| match connect.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(done.ok()),
            Poll::Pending => late.as_mut().poll(cx).map(|()| None),
        })
        .await
    };
    let Some(stream) = connected else { return };
    let conversation = Conversation {
        model,
        wire: TestStream::new(net.clone(), stream, model.buffers.clone()),
        script,
        sent: Cell::new(0),
        received: Cell::new(0),
        answered: Cell::new(0),
        switched: Cell::new(false),
        sent_all: Cell::new(false),
        tunnel: Cell::new(None),
        bell: Notifier::default(),
    };
    // Two sources of chance: the two directions must not disturb each other.
    let own = Random::new(random.next());
    join(conversation.send(random), conversation.receive(&own)).await;
}

struct Conversation<'a> {
    model: &'a ShadowModel,
    wire: TestStream,
    script: &'a Script,
    sent: Cell<usize>,
    received: Cell<usize>,
    /// Requests that are answered, whole.
    answered: Cell<usize>,
    /// The endpoint has agreed to a tunnel.
    switched: Cell<bool>,
    /// All that belongs into the tunnel has been sent.
    sent_all: Cell<bool>,
    /// Which request has asked for one, and bytes written before it begins.
    tunnel: Cell<Option<(usize, usize)>>,
    bell: Notifier,
}

impl Conversation<'_> {
    async fn send(&self, random: &Random) {
        if self.send_all(random).await.is_none() {
            // The rest will never be sent, so wake the tasks that wait for it.
            self.bell.ring();
        }
    }

    async fn send_all(&self, random: &Random) -> Option<()> {
        for (n, &id) in self.script.requests.iter().enumerate() {
            self.turn(n).await?;
            if n == 0 {
                self.send_piecewise(proxy_header(self.model.seed), random).await?;
            }
            if self.model.plans[id].tunnel.is_some() {
                return self.send_tunnel(id, random).await;
            }
            self.send_piecewise(&self.encode(id, random), random).await?;
        }
        match self.script.ending {
            Ending::HalfClose => self.wire.stream.shutdown_write().await,
            Ending::Garbage => {
                self.turn(self.script.requests.len()).await?;
                let garbage: &[u8] = [
                    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n".as_slice(),
                    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                    b"GET /half HTTP/1.1\r\nHo",
                    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
                ][random.below(4)];
                self.send_piecewise(garbage, random).await?;
            }
            Ending::Close | Ending::Idle => {}
        }
        Some(())
    }

    /// Asks for a tunnel and sends all that belongs into it, some of it perhaps before the endpoint
    /// has agreed.
    async fn send_tunnel(&self, id: usize, random: &Random) -> Option<()> {
        let plan = self.model.plans[id].tunnel?;
        let bytes = self.model.tunnel(id, true);
        let head = self.encode(id, random);
        let early = if random.chance(500) { 0 } else { random.below(3_000).min(bytes.len()) };
        if early > 0 {
            // If the endpoint does not agree, the gateway reads these bytes as a request of their
            // own, and a malformed one.
            self.model.begun.set(self.model.begun.get() + 1);
        }
        self.tunnel.set(Some((id, self.wire.written.get() + head.len())));
        self.send_piecewise(&[&head, &bytes[..early]].concat(), random).await?;
        self.bell.until(|| self.switched.get() || self.wire.over.get()).await;
        if self.wire.over.get() {
            return None;
        }
        self.send_piecewise(&bytes[early..], random).await?;
        if plan.ends == TunnelEnding::Both {
            self.model.ends(id, true, bytes.len());
            self.wire.stream.shutdown_write().await;
        }
        self.sent_all.set(true);
        self.bell.ring();
        Some(())
    }

    /// Reads the bytes of tunnel `id` to its end; `first` has come already.
    async fn receive_tunnel(
        &self,
        id: usize,
        first: Vec<u8>,
        random: &Random,
    ) -> Result<(), String> {
        let Some(plan) = self.model.plans[id].tunnel else { return Ok(()) };
        self.switched.set(true);
        self.bell.ring();
        let expected = self.model.tunnel(id, false);
        let (mut bytes, mut at) = (first, 0);
        loop {
            if expected.get(at..at + bytes.len()) != Some(bytes.as_slice()) {
                return Err(format!("wrong bytes from tunnel {id} at {at}: {} more", bytes.len()));
            }
            at += bytes.len();
            let whole = at == expected.len();
            if whole && plan.ends == TunnelEnding::Client {
                let over = || self.wire.over.get() || self.wire.broken.get();
                self.bell.until(|| self.sent_all.get() || over()).await;
                self.whole(id);
                return Ok(());
            }
            if random.chance(20) {
                sleep(&self.wire.net, 1 << random.below(20)).await;
            }
            match self.wire.read(PATIENCE_MICROS).await {
                ReadResult::Bytes(buf) => {
                    if let Some(Disruption { moment: Moment::Received(at), kind }) =
                        self.script.disruption
                    {
                        let from = self.received.get();
                        if (from..from + buf.len()).contains(&at) && self.act(kind).await.is_none()
                        {
                            return Ok(());
                        }
                    }
                    self.received.set(self.received.get() + buf.len());
                    bytes = buf.filled().to_vec();
                }
                ReadResult::End if self.wire.broken.get() => return Ok(()),
                ReadResult::End => {
                    self.model.saw_end(id, false, at);
                    if whole {
                        self.whole(id);
                    }
                    // Nobody is left to send to, unless the direction was all that ended.
                    let over = || self.wire.over.get() || self.wire.broken.get();
                    self.bell.until(|| self.sent_all.get() || over()).await;
                    return Ok(());
                }
                ReadResult::Nothing if self.wire.over.get() => return Ok(()),
                ReadResult::Nothing => return Err(format!("tunnel {id} is forgotten")),
            }
        }
    }

    fn whole(&self, id: usize) {
        if let Some(got) = self.model.got.borrow_mut().get_mut(&id) {
            got.whole = true;
        }
    }

    /// Waits until request `n` may be sent.
    async fn turn(&self, n: usize) -> Option<()> {
        let over = || self.wire.over.get();
        self.bell.until(|| over() || n < self.answered.get() + self.script.pipeline).await;
        (!over()).then(|| self.model.begun.set(self.model.begun.get() + 1))
    }

    fn encode(&self, id: usize, random: &Random) -> Vec<u8> {
        let plan = &self.model.plans[id];
        let version = if plan.old { "1.0" } else { "1.1" };
        let mut out =
            format!("{} /{id}?q HTTP/{version}\r\nHost: sim\r\nx-id: {id}\r\n", plan.method);
        if plan.close {
            out += "Connection: close\r\n";
        } else if plan.old && random.chance(500) {
            out += "Connection: keep-alive\r\n";
        }
        if plan.upgrade {
            out += "Connection: Upgrade\r\nUpgrade: sim-own, WebSocket\r\n";
        }
        if plan.expect {
            out += "Expect: 100-continue\r\n";
        }
        if random.chance(100) {
            out += &format!("x-filling: {}\r\n", "f".repeat(random.below(6_000)));
        }
        let upload = self.model.upload(id);
        match plan.upload {
            None => out += "\r\n",
            Some(_) if plan.chunked => out += "Transfer-Encoding: chunked\r\n\r\n",
            Some(len) => out += &format!("Content-Length: {len}\r\n\r\n"),
        }
        let mut out = out.into_bytes();
        if plan.upload.is_some() && plan.chunked {
            chunk(&mut out, &upload, random);
        } else {
            out.extend_from_slice(&upload);
        }
        out
    }

    async fn send_piecewise(&self, bytes: &[u8], random: &Random) -> Option<()> {
        let mut rest = bytes;
        if let Some(Disruption { moment: Moment::Sent(at), kind }) = self.script.disruption {
            let from = self.sent.get();
            if (from..from + bytes.len()).contains(&at) {
                let (first, second) = bytes.split_at(at - from);
                self.wire.write_in_pieces(first, random).await?;
                self.act(kind).await?;
                rest = second;
            }
        }
        self.sent.set(self.sent.get() + bytes.len());
        self.wire.write_in_pieces(rest, random).await
    }

    /// Misbehaves; `None` when that is the end.
    async fn act(&self, kind: DisruptionKind) -> Option<()> {
        match kind {
            DisruptionKind::Stall(micros) => {
                sleep(&self.wire.net, micros).await;
                return Some(());
            }
            DisruptionKind::Reset => self.wire.reset(),
            DisruptionKind::Close => {
                self.note_end();
                self.wire.close();
            }
        }
        self.bell.ring();
        None
    }

    async fn receive(&self, random: &Random) {
        if let Err(violation) = self.receive_all(random).await {
            self.model.violation(format!("{violation} (client script {:?})", self.script));
            self.wire.reset();
        }
        self.note_end();
        self.wire.close();
        self.bell.ring();
    }

    /// Records the position of our end: the close that follows may look like an end behind the
    /// bytes written so far.
    fn note_end(&self) {
        if let Some((id, before)) = self.tunnel.get() {
            self.model.ends(id, true, self.wire.written.get().saturating_sub(before));
        }
    }

    async fn receive_all(&self, random: &Random) -> Result<(), String> {
        let mut parser = Parser::new();
        let mut now: Option<Response> = None;
        loop {
            while let Some(event) = parser.next()? {
                match event {
                    Event::Head(head) if head.word(1) == "101" => {
                        let id = self.agreed(&head)?;
                        return self.receive_tunnel(id, parser.take_rest(), random).await;
                    }
                    Event::Head(head) => {
                        let response = self.begin(&head, &mut parser)?;
                        if response.is_some() {
                            now = response;
                        }
                    }
                    Event::Data(data) => match &mut now {
                        Some(response) => response.take(&data)?,
                        None => return Err("a body of nothing".to_owned()),
                    },
                    Event::End => {
                        // The end of an interim head belongs to no response.
                        let Some(response) = now.take() else { continue };
                        self.end(&response)?;
                        let asked_for_tunnel =
                            response.id.is_some_and(|id| self.model.plans[id].tunnel.is_some());
                        if asked_for_tunnel {
                            return Ok(());
                        }
                        if response.closes {
                            return self.expect_end(&parser).await;
                        }
                    }
                }
            }
            let done = self.answered.get() == self.script.requests.len();
            if done && self.script.ending == Ending::Close {
                return Ok(());
            }
            if random.chance(20) {
                sleep(&self.wire.net, 1 << random.below(20)).await;
            }
            let written = self.wire.written.get();
            let buf = match self.wire.read(PATIENCE_MICROS).await {
                ReadResult::Bytes(buf) => buf,
                ReadResult::Nothing if self.wire.over.get() => return Ok(()),
                // The request is still on its way, through a pipe of a few bytes.
                ReadResult::Nothing if self.wire.written.get() > written => continue,
                ReadResult::Nothing => {
                    return Err(format!("no answer: {now:?}, {:?}", parser.rest()));
                }
                ReadResult::End => {
                    let clean = !self.wire.broken.get() && !self.wire.over.get();
                    if let Some(response) = now.take()
                        && clean
                        && parser.ends_with_the_stream()
                    {
                        self.end(&response)?;
                    }
                    return Ok(());
                }
            };
            if let Some(Disruption { moment: Moment::Received(at), kind }) = self.script.disruption
            {
                let from = self.received.get();
                if (from..from + buf.len()).contains(&at) && self.act(kind).await.is_none() {
                    return Ok(());
                }
            }
            self.received.set(self.received.get() + buf.len());
            parser.feed(buf.filled());
            if self.wire.over.get() {
                return Ok(());
            }
        }
    }

    /// An endpoint has agreed to a tunnel: which one.
    fn agreed(&self, head: &Head) -> Result<usize, String> {
        let n = self.answered.get();
        let asked = self.script.requests.get(n).copied();
        let Some(id) = asked.filter(|&id| self.model.plans[id].tunnel.is_some()) else {
            return Err(format!("a tunnel that {asked:?} has not asked for: {head:?}"));
        };
        let sound = head.only("x-id") == Some(id.to_string().as_str())
            && head.only("upgrade") == Some("WebSocket")
            && head.only("connection") == Some("upgrade")
            && head.length(Length::None) == Ok(Length::None);
        if !sound {
            return Err(format!("an unsound answer to {id}: {head:?}"));
        }
        self.model.got(id, GotResponse { status: 101, own: false, whole: false });
        self.answered.set(n + 1);
        Ok(id)
    }

    /// A head has come: the response that begins, unless it is an interim one.
    fn begin(&self, head: &Head, parser: &mut Parser) -> Result<Option<Response>, String> {
        let status: u16 = head.word(1).parse().map_err(|_| format!("status: {:?}", head.line))?;
        if (100..200).contains(&status) {
            parser.expect(Length::None);
            return Ok(None);
        }
        let n = self.answered.get();
        let Some(&id) = self.script.requests.get(n) else {
            let refused = self.script.ending == Ending::Garbage && matches!(status, 400..500);
            if !refused {
                return Err(format!("an answer to no request: {head:?}"));
            }
            self.model.answered.set(self.model.answered.get() + 1);
            parser.expect(head.length(Length::UntilClose)?);
            return Ok(Some(Response { id: None, status, body: None, at: 0, closes: true }));
        };
        let plan = &self.model.plans[id];
        let bodiless = plan.method == "HEAD" || matches!(status, 204 | 304);
        let announced = head.length(Length::UntilClose)?;
        if announced == Length::UntilClose && !plan.old && !bodiless {
            return Err(format!("a length that HTTP/1.1 needs is missing: {head:?}"));
        }
        if announced == Length::Chunked && plan.old {
            return Err(format!("chunks to HTTP/1.0: {head:?}"));
        }
        let own = head.only("x-id").is_none();
        // The gateway refuses a request whose head never came whole without regard to its method.
        let unread = own && status == 408 && plan.method == "HEAD";
        parser.expect(if bodiless && !unread { Length::None } else { announced });
        let expected = if own {
            if !matches!(status, 408 | 502 | 504) {
                return Err(format!("the gateway answered {id} with {head:?}"));
            }
            None
        } else {
            if head.only("x-id") != Some(id.to_string().as_str()) {
                return Err(format!("an answer to another request than {id}: {head:?}"));
            }
            if status != plan.status {
                return Err(format!("{status} is not the answer to {id}: {}", plan.status));
            }
            Some(self.model.download(id))
        };
        self.model.got(id, GotResponse { status, own, whole: false });
        Ok(Some(Response {
            id: Some(id),
            status,
            body: expected,
            at: 0,
            closes: head.closes() || announced == Length::UntilClose && !bodiless,
        }))
    }

    /// A response looks complete: it must be.
    fn end(&self, response: &Response) -> Result<(), String> {
        if let Some(body) = &response.body
            && response.at != body.len()
        {
            return Err(format!("looks complete and is not: {response:?}"));
        }
        let Some(id) = response.id else { return Ok(()) };
        if let Some(got) = self.model.got.borrow_mut().get_mut(&id) {
            got.whole = true;
        }
        self.answered.set(self.answered.get() + 1);
        self.bell.ring();
        Ok(())
    }

    /// The gateway said that it would close: nothing else may come.
    async fn expect_end(&self, parser: &Parser) -> Result<(), String> {
        if !parser.is_between() && !parser.ends_with_the_stream() {
            return Err(format!("bytes behind the last response: {:?}", parser.rest()));
        }
        match self.wire.read(PATIENCE_MICROS).await {
            ReadResult::Bytes(buf) => Err(format!(
                "bytes behind the last response: {:?}",
                String::from_utf8_lossy(buf.filled())
            )),
            ReadResult::End => Ok(()),
            ReadResult::Nothing if self.wire.over.get() => Ok(()),
            ReadResult::Nothing => Err("the gateway said close and did not".to_owned()),
        }
    }
}

/// A response that is coming.
struct Response {
    /// Of which request; `None` when it answers garbage.
    id: Option<usize>,
    status: u16,
    /// The body that must come; `None` for an answer of the gateway itself.
    body: Option<Vec<u8>>,
    /// Bytes of it that have come.
    at: usize,
    closes: bool,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = self.body.as_ref().map(Vec::len);
        write!(f, "response {} to {:?}, {} of {of:?} bytes", self.status, self.id, self.at)
    }
}

impl Response {
    fn take(&mut self, data: &[u8]) -> Result<(), String> {
        if let Some(body) = &self.body
            && body.get(self.at..self.at + data.len()) != Some(data)
        {
            return Err(format!("a wrong body: {self:?} and {} more", data.len()));
        }
        self.at += data.len();
        Ok(())
    }
}
