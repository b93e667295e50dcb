//! A client that has several exchanges under way on one connection. Some of them end early, make the
//! gateway panic, or read nothing for as long as others run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use engine::address::Address;
use worker::net::Net;
use worker::net::sim::{Random, SimNet};

use super::super::http::{Head, parse_head};
use super::super::model::{GotResponse, ShadowModel};
use super::super::tools::{Notifier, ReadResult, TestStream, join, sleep};
use super::frames::{
    DATA, END, Frame, FrameParser, HEAD, PANIC, REFUSE, RESET, STOP, WINDOW, WINDOW_BYTES, frame,
    window, window_bytes,
};

/// Longer than all timeouts of the gateway together, in microseconds.
const PATIENCE_MICROS: u64 = 600_000_000;
/// Streams that a client has under way.
const AT_ONCE: usize = 4;

/// The conduct of a client on one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conduct {
    Plain,
    /// Resets the stream after so many bytes, sent and received.
    Reset(usize),
    /// Makes the exchange panic after so many bytes.
    Panic(usize),
    /// Lets no more of the response come before the plain ones have ended.
    Slow,
}

/// One exchange of a script: a plan of the model, and how the client behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) id: usize,
    pub(super) conduct: Conduct,
}

struct ClientStream {
    step: Step,
    upload: Vec<u8>,
    sent: usize,
    sent_head: bool,
    sent_end: bool,
    credit: usize,
    /// The status, and whether the gateway made the response.
    head: Option<(u16, bool)>,
    received: usize,
    /// Bytes that were used, and that the gateway may send again.
    owed: usize,
    disturbed: bool,
}

struct State {
    pending: Vec<Step>,
    streams: BTreeMap<u32, ClientStream>,
    next: u32,
}

struct Talk<'a> {
    model: &'a ShadowModel,
    wire: TestStream,
    state: RefCell<State>,
    bell: Notifier,
}

pub(super) async fn run(
    model: Rc<ShadowModel>,
    net: SimNet,
    to: Address,
    mut steps: Vec<Step>,
    random: Random,
) {
    sleep(&net, random.below(200_000) as u64).await;
    let connected = {
        let mut connect = pin!(net.connect(&to));
        let mut late = pin!(sleep(&net, 20_000_000));
        poll_fn(|cx| match connect.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(done.ok()),
            Poll::Pending => late.as_mut().poll(cx).map(|()| None),
        })
        .await
    };
    if let Some(stream) = connected {
        steps.reverse();
        let state = State { pending: steps, streams: BTreeMap::new(), next: 1 };
        let wire = TestStream::new(net.clone(), stream, model.buffers.clone());
        let talk =
            Talk { model: &model, wire, state: RefCell::new(state), bell: Notifier::default() };
        join(talk.send(&random), talk.receive()).await;
    }
    model.clients.set(model.clients.get() - 1);
    model.bell.ring();
}

impl Talk<'_> {
    async fn send(&self, random: &Random) {
        loop {
            let over = || self.wire.over.get() || self.wire.broken.get();
            if over() || self.is_done() {
                break;
            }
            let next = self.next_frame(random);
            match next {
                Some(bytes) => {
                    if self.wire.write_in_pieces(&bytes, random).await.is_none() {
                        break;
                    }
                }
                None => {
                    let ready = || over() || self.is_done() || self.can_send();
                    self.bell.until(ready).await;
                }
            }
        }
        self.wire.close();
        self.bell.ring();
    }

    fn is_done(&self) -> bool {
        let state = self.state.borrow();
        state.pending.is_empty() && state.streams.is_empty()
    }

    fn can_send(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let plain = state.plain_left();
        (!state.pending.is_empty() && state.streams.len() < AT_ONCE)
            || state.streams.values_mut().any(|stream| stream.wants_to_send(plain))
    }

    /// The next frame of a stream that has one.
    fn next_frame(&self, random: &Random) -> Option<Vec<u8>> {
        let mut state = self.state.borrow_mut();
        let plain = state.plain_left();
        let ready: Vec<u32> = state
            .streams
            .iter()
            .filter(|(_, stream)| stream.wants_to_send(plain))
            .map(|(id, _)| *id)
            .collect();
        let may_open = state.streams.len() < AT_ONCE;
        if may_open
            && (ready.is_empty() || random.chance(300))
            && let Some(step) = state.pending.pop()
        {
            let id = state.next;
            state.next += 1;
            state.streams.insert(id, ClientStream::new(self.model, step));
            self.model.begun.set(self.model.begun.get() + 1);
            let plan = &self.model.plans[step.id];
            let length = plan.upload.filter(|_| !plan.chunked);
            let mut head = format!(
                "{} /{}?q HTTP/1.1\r\nHost: sim\r\nx-id: {}\r\n",
                plan.method, step.id, step.id
            );
            match (length, plan.upload) {
                (Some(length), _) => head += &format!("Content-Length: {length}\r\n"),
                (None, Some(_)) => head += "Transfer-Encoding: chunked\r\n",
                (None, None) => {}
            }
            let mut bytes = frame(id, HEAD, format!("{head}\r\n").as_bytes());
            let stream = state.streams.get_mut(&id)?;
            stream.sent_head = true;
            if stream.upload.is_empty() {
                // Most requests have no body: the end comes with the head.
                stream.sent_end = true;
                bytes.extend(frame(id, END, &[]));
            }
            return Some(bytes);
        }
        let id = *ready.get(random.below(ready.len().max(1)))?;
        let stream = state.streams.get_mut(&id)?;
        let bytes = stream.next_frame(id, plain, random, self.model);
        if stream.disturbed && matches!(stream.step.conduct, Conduct::Reset(_)) {
            state.streams.remove(&id);
        }
        bytes
    }

    async fn receive(&self) {
        let mut parser = FrameParser::default();
        loop {
            while let Some(frame) = parser.next() {
                if let Err(why) = self.take(frame) {
                    self.model.violation(why);
                    self.wire.reset();
                }
                self.bell.ring();
            }
            if self.wire.over.get() {
                break;
            }
            match self.wire.read(PATIENCE_MICROS).await {
                ReadResult::Bytes(buf) => parser.feed(buf.filled()),
                ReadResult::End => break,
                ReadResult::Nothing if self.wire.over.get() => break,
                ReadResult::Nothing => {
                    let state = self.state.borrow();
                    let left: Vec<_> = state.streams.values().map(|it| it.step).collect();
                    self.model.violation(format!("the gateway has forgotten {left:?}"));
                    break;
                }
            }
        }
        self.wire.close();
        self.bell.ring();
    }

    fn take(&self, Frame { stream: id, kind, payload }: Frame) -> Result<(), String> {
        let mut state = self.state.borrow_mut();
        let State { streams, pending, .. } = &mut *state;
        // One that was given up may still bring something.
        let Some(stream) = streams.get_mut(&id) else { return Ok(()) };
        let model = self.model;
        let plan_id = stream.step.id;
        match kind {
            HEAD => {
                let head: Head = parse_head(&payload)?;
                let status: u16 = head.word(1).parse().map_err(|_| format!("{head:?}"))?;
                if status < 200 {
                    return Ok(());
                }
                let own = head.only("x-id").is_none();
                if !own && head.only("x-id") != Some(plan_id.to_string().as_str()) {
                    return Err(format!("{plan_id} got the response {head:?}"));
                }
                if stream.head.is_some() {
                    return Err(format!("{plan_id} got two heads"));
                }
                stream.head = Some((status, own));
                model.got(plan_id, GotResponse { status, own, whole: false });
            }
            DATA => {
                let Some((_, own)) = stream.head else {
                    return Err(format!("{plan_id} got a body without a head"));
                };
                let expected = model.download(plan_id);
                let at = stream.received;
                if !own && expected.get(at..at + payload.len()) != Some(&payload[..]) {
                    return Err(format!("{plan_id} got a wrong body at {at}"));
                }
                stream.received += payload.len();
                stream.owed += payload.len();
                if stream.owed > WINDOW_BYTES {
                    return Err(format!("{plan_id} got more than it asked for"));
                }
            }
            END => {
                let Some((_, own)) = stream.head else {
                    return Err(format!("{plan_id} ended without a head"));
                };
                if !own && stream.received != model.download(plan_id).len() {
                    return Err(format!("{plan_id} looks complete and is not"));
                }
                if let Some(got) = model.got.borrow_mut().get_mut(&plan_id) {
                    got.whole = true;
                }
                streams.remove(&id);
            }
            RESET => drop(streams.remove(&id)),
            REFUSE => {
                if stream.head.is_some() {
                    return Err(format!("{plan_id} was answered and refused"));
                }
                let step = stream.step;
                streams.remove(&id);
                pending.push(step);
            }
            STOP => {
                stream.sent = stream.upload.len();
                stream.sent_end = true;
            }
            WINDOW => stream.credit += window_bytes(&payload),
            other => return Err(format!("kind {other}")),
        }
        Ok(())
    }
}

impl State {
    /// Whether a stream is left that does not wait for others.
    fn plain_left(&self) -> bool {
        let waits = |step: &Step| step.conduct == Conduct::Slow;
        self.pending.iter().any(|step| !waits(step))
            || self.streams.values().any(|stream| !waits(&stream.step))
    }
}

impl ClientStream {
    fn new(model: &ShadowModel, step: Step) -> Self {
        Self {
            step,
            upload: model.upload(step.id),
            sent: 0,
            sent_head: false,
            sent_end: false,
            credit: WINDOW_BYTES,
            head: None,
            received: 0,
            owed: 0,
            disturbed: false,
        }
    }

    /// The frame that disturbs the exchange, if it is time for it.
    fn disturbance(&self) -> Option<u8> {
        let (at, kind) = match self.step.conduct {
            Conduct::Reset(at) => (at, RESET),
            Conduct::Panic(at) => (at, PANIC),
            Conduct::Plain | Conduct::Slow => return None,
        };
        (!self.disturbed && self.sent + self.received >= at).then_some(kind)
    }

    fn gives_window(&self, plain_left: bool) -> bool {
        self.owed > 0 && !(self.step.conduct == Conduct::Slow && plain_left)
    }

    fn sends_body(&self) -> bool {
        match self.upload.len() - self.sent {
            0 => !self.sent_end,
            _ => self.credit > 0,
        }
    }

    fn wants_to_send(&self, plain_left: bool) -> bool {
        self.disturbance().is_some() || self.gives_window(plain_left) || self.sends_body()
    }

    fn next_frame(
        &mut self,
        id: u32,
        plain_left: bool,
        random: &Random,
        model: &ShadowModel,
    ) -> Option<Vec<u8>> {
        if let Some(kind) = self.disturbance() {
            self.disturbed = true;
            if kind == PANIC {
                model.panics_max.set(model.panics_max.get().map(|most| most + 1));
            }
            return Some(frame(id, kind, &[]));
        }
        if self.gives_window(plain_left) {
            return Some(window(id, std::mem::take(&mut self.owed)));
        }
        if self.sent == self.upload.len() {
            self.sent_end = true;
            return Some(frame(id, END, &[]));
        }
        let most = (self.upload.len() - self.sent).min(self.credit).min(8_000);
        let take = 1 + random.below(most);
        self.credit -= take;
        let bytes = frame(id, DATA, &self.upload[self.sent..self.sent + take]);
        self.sent += take;
        Some(bytes)
    }
}
