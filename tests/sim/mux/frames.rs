//! The test protocol as the tests write and read it: a second opinion, written apart from the gateway's.

pub(super) const HEAD: u8 = 0;
pub(super) const DATA: u8 = 1;
pub(super) const END: u8 = 2;
pub(super) const RESET: u8 = 3;
pub(super) const REFUSE: u8 = 4;
pub(super) const STOP: u8 = 5;
pub(super) const WINDOW: u8 = 6;
pub(super) const PANIC: u8 = 7;

/// Bytes of a body that a side may send before the other side asks for more.
pub(super) const WINDOW_BYTES: usize = 6 << 10;
/// Streams that a connection may have at once.
pub(super) const STREAMS_MAX: usize = 6;

/// A frame as it came.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) stream: u32,
    pub(super) kind: u8,
    pub(super) payload: Vec<u8>,
}

pub(super) fn frame(stream: u32, kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = number(payload.len());
    [&stream.to_le_bytes()[..], &[kind], &len.to_le_bytes(), payload].concat()
}

fn number(n: usize) -> u32 {
    n.try_into().unwrap()
}

/// The frame that lets `bytes` more come.
pub(super) fn window(stream: u32, bytes: usize) -> Vec<u8> {
    frame(stream, WINDOW, &number(bytes).to_le_bytes())
}

/// The number in the payload of a `WINDOW` frame.
pub(super) fn window_bytes(payload: &[u8]) -> usize {
    u32::from_le_bytes(payload.try_into().unwrap()) as usize
}

/// Takes frames out of the bytes of a connection.
#[derive(Default)]
pub(super) struct FrameParser(Vec<u8>);

impl FrameParser {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn next(&mut self) -> Option<Frame> {
        let number = |at: usize| Some(u32::from_le_bytes(*self.0.get(at..)?.first_chunk()?));
        let (stream, len) = (number(0)?, number(5)? as usize);
        let payload = self.0.get(9..9 + len)?.to_vec();
        let kind = self.0[4];
        self.0.drain(..9 + len);
        Some(Frame { stream, kind, payload })
    }
}
