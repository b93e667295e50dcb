//! An endpoint that serves several requests at once on one connection. Some of them it resets,
//! refuses, or answers early.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use worker::net::sim::{Random, SimListener, SimNet, SimStream};
use worker::net::{Listener, Net};

use super::super::http::{Head, parse_head};
use super::super::model::ShadowModel;
use super::super::tools::{Notifier, ReadResult, TestStream, join, sleep};
use super::frames::{
    DATA, END, Frame, FrameParser, HEAD, REFUSE, RESET, STOP, STREAMS_MAX, WINDOW, WINDOW_BYTES,
    frame, window, window_bytes,
};

const PATIENCE_MICROS: u64 = 600_000_000;

/// The conduct of an endpoint on one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Whole,
    /// Resets the stream after so many thousandths of the response.
    Reset(usize),
    /// Refuses it the first time.
    Refuse,
    /// Refuses it whenever it comes.
    RefuseAlways,
    /// Answers before the request's body is here, and wants no more of it.
    Early,
    /// Answers so much later, in microseconds.
    Late(u64),
}

/// The answers of all endpoints of a run, by the ids of the plans; each refuses once.
pub(super) type Answers = Rc<RefCell<Vec<Answer>>>;

pub(super) async fn run(
    model: Rc<ShadowModel>,
    net: SimNet,
    listener: Rc<SimListener>,
    answers: Answers,
    random: Random,
) {
    while !model.stopping.get() {
        if let Ok((stream, _)) = listener.accept().await {
            let serve =
                serve(Rc::clone(&model), net.clone(), stream, Rc::clone(&answers), random.next());
            net.spawn(serve);
        }
    }
}

struct EndpointStream {
    id: usize,
    /// The entry in the model's list.
    seen: usize,
    answer: Answer,
    upload: Vec<u8>,
    ended: bool,
    /// No more of the upload is wanted.
    stopped: bool,
    owed: usize,
    response: Vec<u8>,
    sent: usize,
    sent_head: bool,
    credit: usize,
    /// When it may be answered, in microseconds.
    at: u64,
}

struct Serving<'a> {
    model: &'a ShadowModel,
    wire: TestStream,
    streams: RefCell<BTreeMap<u32, EndpointStream>>,
    /// Frames that must go out, of streams that are gone.
    notices: RefCell<Vec<Vec<u8>>>,
    answers: Answers,
    bell: Notifier,
}

async fn serve(
    model: Rc<ShadowModel>,
    net: SimNet,
    stream: SimStream,
    answers: Answers,
    seed: u64,
) {
    let random = Random::new(seed);
    let serving = Serving {
        model: &model,
        wire: TestStream::new(net, stream, model.buffers.clone()),
        streams: RefCell::default(),
        notices: RefCell::default(),
        answers,
        bell: Notifier::default(),
    };
    join(serving.send(&random), serving.receive()).await;
}

impl Serving<'_> {
    fn over(&self) -> bool {
        self.wire.over.get() || self.wire.broken.get()
    }

    async fn send(&self, random: &Random) {
        loop {
            if self.over() {
                break;
            }
            let now = self.wire.net.now().0;
            let next = self.next_frame(now, random);
            match next {
                Some(bytes) => {
                    if self.wire.write_in_pieces(&bytes, random).await.is_none() {
                        break;
                    }
                }
                None => {
                    let late = self.streams.borrow().values().any(|stream| stream.is_late(now));
                    if late {
                        sleep(&self.wire.net, 1_000).await;
                    } else {
                        self.bell.until(|| self.over() || self.can_send()).await;
                    }
                }
            }
        }
        self.wire.close();
    }

    fn can_send(&self) -> bool {
        let now = self.wire.net.now().0;
        !self.notices.borrow().is_empty()
            || self.streams.borrow().values().any(|it| it.wants_to_send(now) || it.is_late(now))
    }

    fn next_frame(&self, now: u64, random: &Random) -> Option<Vec<u8>> {
        if let Some(notice) = self.notices.borrow_mut().pop() {
            return Some(notice);
        }
        let mut streams = self.streams.borrow_mut();
        let ready: Vec<u32> =
            streams.iter().filter(|(_, it)| it.wants_to_send(now)).map(|(id, _)| *id).collect();
        let id = *ready.get(random.below(ready.len().max(1)))?;
        let stream = streams.get_mut(&id)?;
        let (bytes, done) = stream.next_frame(id, random, self.model);
        if done {
            streams.remove(&id);
        }
        Some(bytes)
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
                ReadResult::End | ReadResult::Nothing => break,
            }
        }
        self.wire.close();
        self.bell.ring();
    }

    fn take(&self, Frame { stream: number, kind, payload }: Frame) -> Result<(), String> {
        let mut streams = self.streams.borrow_mut();
        if kind == HEAD {
            let head = parse_head(&payload)?;
            if streams.len() >= STREAMS_MAX {
                return Err(format!("{} streams at once", streams.len() + 1));
            }
            let (id, name) = recognise(self.model, &head)
                .ok_or_else(|| format!("an endpoint cannot make sense of {head:?}"))?;
            let answer = self.answers.borrow()[id];
            if matches!(answer, Answer::Refuse | Answer::RefuseAlways) {
                if answer == Answer::Refuse {
                    self.answers.borrow_mut()[id] = Answer::Whole;
                }
                self.notices.borrow_mut().push(frame(number, REFUSE, &[]));
                return Ok(());
            }
            let seen = self.model.saw(id, &name);
            let at = match answer {
                Answer::Late(micros) => self.wire.net.now().0 + micros,
                _ => 0,
            };
            let stream = EndpointStream {
                id,
                seen,
                answer,
                upload: Vec::new(),
                ended: false,
                stopped: false,
                owed: 0,
                response: self.model.download(id),
                sent: 0,
                sent_head: false,
                credit: WINDOW_BYTES,
                at,
            };
            if streams.insert(number, stream).is_some() {
                return Err(format!("stream {number} began twice"));
            }
            return Ok(());
        }
        let Some(stream) = streams.get_mut(&number) else { return Ok(()) };
        match kind {
            DATA => {
                stream.upload.extend(&payload);
                stream.owed += payload.len();
                if !self.model.upload(stream.id).starts_with(&stream.upload) {
                    return Err(format!("a wrong request body of {}", stream.id));
                }
                if stream.owed > WINDOW_BYTES {
                    return Err(format!("{} sends more than it may", stream.id));
                }
            }
            END => {
                stream.ended = true;
                if !stream.stopped && stream.upload.len() != self.model.upload(stream.id).len() {
                    return Err(format!("request {} looks complete and is not", stream.id));
                }
                self.model.seen.borrow_mut()[stream.seen].whole = true;
            }
            RESET => drop(streams.remove(&number)),
            WINDOW => stream.credit += window_bytes(&payload),
            other => return Err(format!("kind {other} to an endpoint")),
        }
        Ok(())
    }
}

/// The id of a request, and its name.
fn recognise(model: &ShadowModel, head: &Head) -> Option<(usize, String)> {
    let id: usize = head.only("x-id")?.parse().ok()?;
    let plan = model.plans.get(id)?;
    let name = head.only("x-request-id").filter(|name| name.len() == 32)?;
    (head.line == format!("{} /{id}?q HTTP/1.1", plan.method)).then(|| (id, name.to_owned()))
}

impl EndpointStream {
    /// Whether the response may begin.
    fn may_answer(&self, now: u64) -> bool {
        (self.ended || self.answer == Answer::Early) && now >= self.at
    }

    /// Whether time is all that it waits for.
    fn is_late(&self, now: u64) -> bool {
        self.ended && now < self.at
    }

    fn wants_to_send(&self, now: u64) -> bool {
        if self.owed > 0 && !self.stopped && !self.ended {
            return true;
        }
        let left = self.response.len() - self.sent;
        self.may_answer(now) && (!self.sent_head || left == 0 || self.credit > 0)
    }

    /// The next frames, and whether the stream has ended with them.
    fn next_frame(&mut self, id: u32, random: &Random, model: &ShadowModel) -> (Vec<u8>, bool) {
        if self.owed > 0 && !self.stopped && !self.ended {
            return (window(id, std::mem::take(&mut self.owed)), false);
        }
        if let Answer::Reset(permille) = self.answer
            && (permille == 0
                || self.sent_head && self.sent >= self.response.len() * permille / 1_000)
        {
            return (frame(id, RESET, &[]), true);
        }
        let plan = &model.plans[self.id];
        if !self.sent_head {
            self.sent_head = true;
            let mut bytes = Vec::new();
            if self.answer == Answer::Early && !self.ended {
                self.stopped = true;
                bytes = frame(id, STOP, &[]);
            }
            let mut head = format!("HTTP/1.1 {} Because\r\nX-Id: {}\r\n", plan.status, self.id);
            if plan.has_download() && random.chance(500) {
                head += &format!("Content-Length: {}\r\n", self.response.len());
            }
            bytes.extend(frame(id, HEAD, format!("{head}\r\n").as_bytes()));
            return (bytes, false);
        }
        let left = self.response.len() - self.sent;
        if left == 0 {
            return (frame(id, END, &[]), true);
        }
        let take = 1 + random.below(left.min(self.credit).min(8_000));
        self.credit -= take;
        let bytes = frame(id, DATA, &self.response[self.sent..self.sent + take]);
        self.sent += take;
        (bytes, false)
    }
}
