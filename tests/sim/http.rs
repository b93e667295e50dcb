//! HTTP/1.1 as the tests read and write it: a second opinion, written apart from `proto`. It reads
//! the gateway's messages strictly, and does not know the messages that a gateway must tolerate.

use worker::net::sim::Random;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    None,
    Bytes(usize),
    Chunked,
    UntilClose,
}

/// A head as it came.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) line: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl Head {
    fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let fields = lines
            .map(|line| match line.split_once(':') {
                Some((name, value)) => {
                    Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
                }
                None => Err(format!("not a field: {line:?}")),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { line, fields })
    }

    /// The one value of `name`; `None` when it is absent or there are several.
    pub(crate) fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(key, _)| key == name);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value.as_str())
    }

    pub(crate) fn closes(&self) -> bool {
        self.fields
            .iter()
            .any(|(name, value)| name == "connection" && value.eq_ignore_ascii_case("close"))
    }

    /// The word `n` of the first line.
    pub(crate) fn word(&self, n: usize) -> &str {
        self.line.split(' ').nth(n).unwrap_or_default()
    }

    /// The framing that the fields announce: `absent` when they do not.
    pub(crate) fn length(&self, absent: Length) -> Result<Length, String> {
        let of = |name: &str| self.fields.iter().filter(|(key, _)| key == name).count();
        match (of("content-length"), of("transfer-encoding")) {
            (0, 0) => Ok(absent),
            (1, 0) => {
                let value = self.only("content-length").unwrap_or_default();
                value.parse().map(Length::Bytes).map_err(|_| format!("length {value:?}"))
            }
            (0, 1) if self.only("transfer-encoding") == Some("chunked") => Ok(Length::Chunked),
            _ => Err(format!("ambiguous framing: {:?}", self.fields)),
        }
    }
}

/// A head that is all of `bytes`.
pub(crate) fn parse_head(bytes: &[u8]) -> Result<Head, String> {
    let text = str::from_utf8(bytes).map_err(|_| "a head that is not ASCII".to_owned())?;
    Head::parse(text.trim_end_matches("\r\n"))
}

/// An event of a parser.
#[derive(Debug)]
pub(crate) enum Event {
    /// A head; [`Parser::expect`] must say how its body ends.
    Head(Head),
    Data(Vec<u8>),
    /// The message is complete.
    End,
}

/// Takes messages out of the bytes of a connection.
#[derive(Debug)]
pub(crate) struct Parser {
    bytes: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length(usize),
    Size,
    Chunk(usize),
    ChunkEnd,
    Trailers,
    UntilClose,
}

impl Parser {
    pub(crate) const fn new() -> Self {
        Self { bytes: Vec::new(), state: State::Head }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Sets the framing of the body behind the head that was just found.
    pub(crate) fn expect(&mut self, length: Length) {
        self.state = match length {
            Length::None => State::Length(0),
            Length::Bytes(bytes) => State::Length(bytes),
            Length::Chunked => State::Size,
            Length::UntilClose => State::UntilClose,
        };
    }

    /// Whether nothing of a next message has come.
    pub(crate) fn is_between(&self) -> bool {
        self.state == State::Head && self.bytes.is_empty()
    }

    /// Whether the end of the stream ends the message.
    pub(crate) fn ends_with_the_stream(&self) -> bool {
        self.state == State::UntilClose
    }

    /// Takes the bytes that are in no event yet: HTTP ends here.
    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Bytes that are in no event yet.
    pub(crate) fn rest(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn next(&mut self) -> Result<Option<Event>, String> {
        loop {
            match self.state {
                State::Head => {
                    let Some(end) = find(&self.bytes, b"\r\n\r\n") else { return Ok(None) };
                    let text = String::from_utf8(self.take(end + 4))
                        .map_err(|_| "a head that is not ASCII".to_owned())?;
                    let head = Head::parse(text.trim_end_matches("\r\n"))?;
                    return Ok(Some(Event::Head(head)));
                }
                State::Length(0) => {
                    self.state = State::Head;
                    return Ok(Some(Event::End));
                }
                State::Length(left) | State::Chunk(left) => {
                    let take = left.min(self.bytes.len());
                    if take == 0 {
                        return Ok(None);
                    }
                    self.state = match self.state {
                        State::Length(_) => State::Length(left - take),
                        _ if left == take => State::ChunkEnd,
                        _ => State::Chunk(left - take),
                    };
                    return Ok(Some(Event::Data(self.take(take))));
                }
                State::UntilClose => {
                    let all = self.bytes.len();
                    return Ok((all > 0).then(|| Event::Data(self.take(all))));
                }
                State::Size => {
                    let Some(line) = self.line()? else { return Ok(None) };
                    let digits = line.split(';').next().unwrap_or_default();
                    let size = usize::from_str_radix(digits, 16)
                        .map_err(|_| format!("chunk size {line:?}"))?;
                    self.state = if size == 0 { State::Trailers } else { State::Chunk(size) };
                }
                State::ChunkEnd => {
                    let Some(line) = self.line()? else { return Ok(None) };
                    if !line.is_empty() {
                        return Err(format!("{line:?} behind a chunk"));
                    }
                    self.state = State::Size;
                }
                State::Trailers => {
                    let Some(line) = self.line()? else { return Ok(None) };
                    if line.is_empty() {
                        self.state = State::Head;
                        return Ok(Some(Event::End));
                    }
                }
            }
        }
    }

    fn line(&mut self) -> Result<Option<String>, String> {
        let Some(end) = find(&self.bytes, b"\r\n") else {
            return match self.bytes.len() {
                0..=400 => Ok(None),
                _ => Err(format!("an endless line: {:?}", self.rest())),
            };
        };
        let mut line = self.take(end + 2);
        line.truncate(end);
        String::from_utf8(line).map(Some).map_err(|_| "a line that is not ASCII".to_owned())
    }

    fn take(&mut self, n: usize) -> Vec<u8> {
        let rest = self.bytes.split_off(n);
        std::mem::replace(&mut self.bytes, rest)
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Appends `body` in chunks of random sizes, sometimes with extensions and trailers.
pub(crate) fn chunk(out: &mut Vec<u8>, body: &[u8], random: &Random) {
    let typical = 1 << random.below(17);
    let mut rest = body;
    while !rest.is_empty() {
        let size = (1 + random.below(typical)).max(rest.len() / 64).min(rest.len());
        let (now, later) = rest.split_at(size);
        let extension = if random.chance(50) { ";a=b" } else { "" };
        out.extend_from_slice(format!("{size:x}{extension}\r\n").as_bytes());
        out.extend_from_slice(now);
        out.extend_from_slice(b"\r\n");
        rest = later;
    }
    let trailers = if random.chance(100) { "x-trailer: yes\r\n" } else { "" };
    out.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
}

/// The body of `len` bytes that belongs to `seed`.
pub(crate) fn body(seed: u64, len: usize) -> Vec<u8> {
    let random = Random::new(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
