//! The simulated endpoints: they log each request, check it against the model, and answer it, well
//! or badly.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use worker::net::sim::{Random, SimListener, SimNet, SimStream};
use worker::net::{Listener, Net, Stream};

use super::http::{Event, Head, Length, Parser, chunk};
use super::model::{ShadowModel, TunnelEnding};
use super::testbed::{PROXIED_CLIENT, proxy_header, uses_unix_sockets};
use super::tools::{Notifier, ReadResult, TestStream, join, sleep};

/// How long an endpoint waits for anything, in microseconds: the gateway's timeouts are shorter.
const PATIENCE_MICROS: u64 = 600_000_000;

/// How an endpoint behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behaviour {
    /// Chance of a misdeed at each request, in thousandths.
    pub(crate) bad_permille: u32,
    /// Idle connections are closed after so long, in microseconds.
    pub(crate) idle_micros: u64,
    /// Only plain answers with a length, at once.
    pub(crate) plain: bool,
    /// Which request of a connection is answered by a reset, if it has no body.
    pub(crate) reset_at: Option<usize>,
    /// How much later a plain answer comes, in microseconds.
    pub(crate) slow_micros: u64,
}

impl Behaviour {
    pub(crate) const PLAIN: Self = Self {
        bad_permille: 0,
        idle_micros: PATIENCE_MICROS,
        plain: true,
        reset_at: None,
        slow_micros: 0,
    };
}

/// The action of an endpoint on one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndpointAction {
    Answer,
    /// Answers while it reads the request, or before that.
    Early,
    /// As `Early`, and closes with the request unread.
    EarlyClose,
    /// Closes or resets after so many thousandths of the response.
    Close(usize),
    Reset(usize),
    Garbage,
    /// Answers so much later, in microseconds.
    Stall(u64),
}

/// Accepts until the model says stop.
pub(crate) async fn run(
    model: Rc<ShadowModel>,
    net: SimNet,
    listener: Rc<SimListener>,
    behaviour: Behaviour,
    random: Random,
) {
    while !model.stopping.get() {
        match listener.accept().await {
            Ok((stream, _)) => {
                let serve = serve(
                    Rc::clone(&model),
                    net.clone(),
                    stream,
                    behaviour,
                    Random::new(random.next()),
                );
                net.spawn(serve);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => {}
        }
    }
}

async fn serve(
    model: Rc<ShadowModel>,
    net: SimNet,
    stream: SimStream,
    behaviour: Behaviour,
    random: Random,
) {
    let wire = TestStream::new(net, stream, model.buffers.clone());
    let mut connection = EndpointConnection {
        model: &model,
        wire,
        behaviour,
        random,
        parser: Parser::new(),
        served: 0,
    };
    // Its end is no concern of ours.
    while connection.serve_one().await.is_some() {}
}

struct EndpointConnection<'a> {
    model: &'a ShadowModel,
    wire: TestStream,
    behaviour: Behaviour,
    random: Random,
    parser: Parser,
    /// Requests that have begun.
    served: usize,
}

impl EndpointConnection<'_> {
    /// Serves one request; `None` when the connection ends.
    async fn serve_one(&mut self) -> Option<()> {
        let patience = if self.served == 0 { PATIENCE_MICROS } else { self.behaviour.idle_micros };
        self.served += 1;
        let next = event(self.model, &self.wire, &mut self.parser, patience).await?;
        let Event::Head(head) = next else {
            self.model.violation("a body without a request");
            return None;
        };
        let Some((id, seen)) = self.recognise(&head) else {
            self.model.violation(format!("an endpoint cannot make sense of {head:?}"));
            return None;
        };
        let length = match head.length(Length::None) {
            Ok(length) => length,
            Err(why) => {
                self.model.violation(why);
                return None;
            }
        };
        self.parser.expect(length);
        if self.behaviour.reset_at == Some(self.served) && self.model.plans[id].upload.is_none() {
            self.wire.reset();
            return None;
        }
        if self.model.plans[id].tunnel.is_some() {
            return self.tunnel(id, seen).await;
        }
        let act = self.draw(self.model.plans[id].status);
        if self.random.chance(if self.behaviour.plain { 0 } else { 100 }) {
            let interim = ["103 Early Hints\r\nlink: </a>", "100 Continue"][self.random.below(2)];
            self.wire.write(format!("HTTP/1.1 {interim}\r\n\r\n").as_bytes()).await?;
        }
        let (response, closes) = self.encode(id, act);
        if act == EndpointAction::EarlyClose {
            self.wire.write_in_pieces(&response, &self.random).await?;
            return None;
        }
        if act == EndpointAction::Early {
            // Both at once. An endpoint that first writes a long response may never get the request
            // behind it, because the client may not read before it has written.
            let mut whole = None;
            let (wire, random) = (&self.wire, &self.random);
            let parser = &mut self.parser;
            let mut written = None;
            let write = async { written = wire.write_in_pieces(&response, random).await };
            join(write, async { whole = read_body(self.model, wire, parser, id, seen).await })
                .await;
            return written.and(whole).filter(|()| !closes);
        }
        read_body(self.model, &self.wire, &mut self.parser, id, seen).await?;
        if let EndpointAction::Stall(micros) = act {
            sleep(&self.wire.net, micros).await;
        }
        match act {
            EndpointAction::Answer if self.behaviour.plain => {
                if self.behaviour.slow_micros > 0 {
                    sleep(&self.wire.net, self.behaviour.slow_micros).await;
                }
                self.wire.write(&response).await?;
            }
            EndpointAction::Answer | EndpointAction::Stall(_) => {
                self.wire.write_in_pieces(&response, &self.random).await?;
            }
            EndpointAction::Close(permille) | EndpointAction::Reset(permille) => {
                // The last byte is never sent.
                let cut = (response.len() - 1) * permille / 1_000;
                self.wire.write_in_pieces(&response[..cut], &self.random).await?;
                if matches!(act, EndpointAction::Reset(_)) {
                    self.wire.reset();
                }
                return None;
            }
            EndpointAction::Garbage => {
                self.wire.write(b"HTP/1.1 200 OK\r\nwhat: ever\r\n\r\n").await?;
                return None;
            }
            EndpointAction::Early | EndpointAction::EarlyClose => {}
        }
        (!closes).then_some(())
    }

    /// Agrees to a tunnel, well or badly, and serves it to its end.
    async fn tunnel(&mut self, id: usize, seen: usize) -> Option<()> {
        let plan = self.model.plans[id].tunnel?;
        let bytes = self.model.tunnel(id, false);
        let random = &self.random;
        let bad = random.chance(self.behaviour.bad_permille).then(|| random.below(5));
        if bad == Some(0) {
            self.wire.reset();
            return None;
        }
        let protocol = if bad == Some(1) { "h2c" } else { "websocket" };
        let mut first = format!(
            "HTTP/1.1 101 Switching\r\nX-Id: {id}\r\nconnection: UPGRADE\r\nupgrade: {protocol}\r\n\r\n"
        )
        .into_bytes();
        let early = random.below(3_000).min(bytes.len());
        let head_len = first.len();
        first.extend_from_slice(&bytes[..early]);
        let before = self.wire.written.get() + head_len;
        // A side that misbehaves does so after so many of its bytes.
        let cut = bad.map(|_| early + random.below(bytes.len() - early + 1));
        let mut rest = self.parser.take_rest();
        let (model, wire) = (self.model, &self.wire);
        let sent_all = Cell::new(false);
        let bell = Notifier::default();
        let note_end = || model.ends(id, false, wire.written.get().saturating_sub(before));
        let send = async {
            let sent = async {
                wire.write_in_pieces(&first, random).await?;
                wire.write_in_pieces(&bytes[early..cut.unwrap_or(bytes.len())], random).await
            };
            if sent.await.is_none() {
                wire.broken.set(true);
            } else if cut.is_some() {
                match bad {
                    // Silent, for longer than the gateway lets it be.
                    Some(2) => return,
                    Some(3) => {
                        note_end();
                        wire.close();
                    }
                    _ => wire.reset(),
                }
            } else if plan.ends == TunnelEnding::Both {
                model.ends(id, false, bytes.len());
                wire.stream.shutdown_write().await;
            }
            sent_all.set(true);
            bell.ring();
        };
        let own = Random::new(id as u64);
        let receive = async {
            let expected = model.tunnel(id, true);
            let mut at = 0;
            loop {
                if expected.get(at..at + rest.len()) != Some(rest.as_slice()) {
                    model.violation(format!("wrong bytes into tunnel {id} at {at}"));
                    wire.reset();
                    break;
                }
                at += rest.len();
                let whole = at == expected.len();
                if whole && let Some(seen) = model.seen.borrow_mut().get_mut(seen) {
                    seen.whole = true;
                }
                if whole && plan.ends == TunnelEnding::Endpoint && bad.is_none() {
                    bell.until(|| sent_all.get()).await;
                    break;
                }
                if own.chance(20) {
                    sleep(&wire.net, 1 << own.below(20)).await;
                }
                match wire.read(PATIENCE_MICROS).await {
                    ReadResult::Bytes(buf) => rest = buf.filled().to_vec(),
                    ReadResult::End if wire.broken.get() || wire.over.get() => break,
                    ReadResult::End => {
                        model.saw_end(id, true, at);
                        // A client that closes may still be sent something.
                        if bad.is_none() {
                            bell.until(|| sent_all.get()).await;
                        }
                        break;
                    }
                    ReadResult::Nothing => {
                        if !wire.over.get() {
                            model.violation(format!("tunnel {id} is forgotten at its endpoint"));
                        }
                        break;
                    }
                }
            }
            note_end();
            wire.close();
        };
        join(send, receive).await;
        None
    }

    fn draw(&self, status: u16) -> EndpointAction {
        let random = &self.random;
        if self.behaviour.plain {
            return EndpointAction::Answer;
        }
        if !random.chance(self.behaviour.bad_permille) {
            return match random.below(10) {
                // An early refusal ends the client's connection, and with it all other requests on
                // it.
                0 if self.behaviour.bad_permille > 0 || status < 400 => EndpointAction::Early,
                1 => EndpointAction::Stall(1 << random.below(20)),
                _ => EndpointAction::Answer,
            };
        }
        match random.below(6) {
            0 => EndpointAction::EarlyClose,
            1 => EndpointAction::Close([0, random.below(1_000), 1_000][random.below(3)]),
            2 | 3 => EndpointAction::Reset([0, random.below(1_000), 1_000][random.below(3)]),
            4 => EndpointAction::Garbage,
            _ => EndpointAction::Stall([2_000_000, 20_000_000][random.below(2)]),
        }
    }

    /// The id of a request, and the number of its entry in the log.
    fn recognise(&self, head: &Head) -> Option<(usize, usize)> {
        let id: usize = head.only("x-id")?.parse().ok()?;
        let plan = self.model.plans.get(id)?;
        let line = format!("{} /{id}?q HTTP/1.1", plan.method);
        let name = head.only("x-request-id").filter(|name| name.len() == 32)?;
        let client = head.only("x-forwarded-for");
        let forwarded = match proxy_header(self.model.seed) {
            introduced if !introduced.is_empty() => client == Some(PROXIED_CLIENT),
            _ if uses_unix_sockets(self.model.seed) => client.is_none(),
            _ => client.is_some_and(|it| it.starts_with("10.")),
        };
        let framed = match (plan.upload, head.length(Length::None).ok()?) {
            (None, length) => length == Length::None,
            (Some(_), Length::Chunked) => plan.chunked,
            (Some(len), length) => length == Length::Bytes(len) && !plan.chunked,
        };
        let asked = plan.upgrade.then_some("WebSocket");
        let upgrade =
            head.only("upgrade") == asked && head.only("connection") == asked.map(|_| "upgrade");
        (head.line == line && forwarded && framed && upgrade)
            .then(|| (id, self.model.saw(id, name)))
    }

    /// The response to `id`, and whether the connection ends with it.
    fn encode(&self, id: usize, act: EndpointAction) -> (Vec<u8>, bool) {
        let plan = &self.model.plans[id];
        let body = self.model.download(id);
        let random = &self.random;
        let framing = match random.below(4) {
            _ if self.behaviour.plain => Length::Bytes(body.len()),
            0 | 1 => Length::Bytes(body.len()),
            2 => Length::Chunked,
            // A clean close in mid-body would look complete to the gateway, as to any reader.
            _ if matches!(act, EndpointAction::Close(_)) => Length::Chunked,
            // The response would end only with the request, which may be slow, and the model would
            // call it stuck.
            _ if act == EndpointAction::Early => Length::Chunked,
            _ => Length::UntilClose,
        };
        let old = framing == Length::UntilClose && random.chance(500);
        let closes = framing == Length::UntilClose || !self.behaviour.plain && random.chance(100);
        let version = if old { "1.0" } else { "1.1" };
        let mut head = format!("HTTP/{version} {} Because\r\nX-Id: {id}\r\n", plan.status);
        if closes {
            head += "Connection: close\r\n";
        }
        if plan.has_download() {
            match framing {
                Length::Chunked => head += "Transfer-Encoding: chunked\r\n",
                Length::Bytes(len) => head += &format!("Content-Length: {len}\r\n"),
                Length::None | Length::UntilClose => {}
            }
        } else if plan.status != 204 && random.chance(500) {
            head += &format!("Content-Length: {}\r\n", plan.download);
        }
        let mut out = (head + "\r\n").into_bytes();
        if plan.has_download() {
            match framing {
                Length::Chunked => chunk(&mut out, &body, random),
                _ => out.extend_from_slice(&body),
            }
        }
        (out, closes)
    }
}

/// Reads the request's body to its end, and compares it with the body that the client sent.
async fn read_body(
    model: &ShadowModel,
    wire: &TestStream,
    parser: &mut Parser,
    id: usize,
    seen: usize,
) -> Option<()> {
    let expected = model.upload(id);
    let mut at = 0;
    loop {
        match event(model, wire, parser, PATIENCE_MICROS).await? {
            Event::Data(data) => {
                if expected.get(at..at + data.len()) != Some(data.as_slice()) {
                    model.violation(format!(
                        "a wrong request body of {id} ({:?}) at {at}",
                        model.plans[id]
                    ));
                    return None;
                }
                at += data.len();
            }
            Event::End if at == expected.len() => {
                if let Some(seen) = model.seen.borrow_mut().get_mut(seen) {
                    seen.whole = true;
                }
                return Some(());
            }
            Event::End => {
                model.violation(format!(
                    "the request body of {id} ({:?}) looks complete at {at}",
                    model.plans[id]
                ));
                return None;
            }
            Event::Head(head) => {
                model.violation(format!("a head within a body: {head:?}"));
                return None;
            }
        }
    }
}

/// The next event on the connection, after a wait of at most `patience`; `None` at its end.
async fn event(
    model: &ShadowModel,
    wire: &TestStream,
    parser: &mut Parser,
    patience: u64,
) -> Option<Event> {
    loop {
        match parser.next() {
            Ok(Some(event)) => return Some(event),
            Ok(None) => {}
            Err(why) => {
                model.violation(format!("the gateway sent nonsense: {why}"));
                return None;
            }
        }
        match wire.read(patience).await {
            ReadResult::Bytes(buf) => parser.feed(buf.filled()),
            ReadResult::End | ReadResult::Nothing => return None,
        }
    }
}
