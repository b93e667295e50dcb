//! Frames, RFC 9113 4 and 6: a header of nine bytes, and a payload by kind.
//!
//! This reads the parts of a frame and checks those that need no other frame: its length, its padding, and
//! whether it belongs to a stream. The state of streams is in [`connection`](super::connection).

use super::breach::{Breach, ErrorCode};

/// The bytes that a client's connection begins with, RFC 9113 3.4.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame's header.
pub const FRAME_HEADER_BYTES: usize = 9;
/// The longest payload that we take and send: the least that `SETTINGS_MAX_FRAME_SIZE` can be. A longer one
/// would keep other streams waiting behind it.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 10;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

/// On DATA and HEADERS.
pub(super) const END_STREAM: u8 = 0x1;
/// On SETTINGS and PING.
pub(super) const ACK: u8 = 0x1;
/// On HEADERS and CONTINUATION.
pub(super) const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITISED: u8 = 0x20;

/// The first nine bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) len: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl FrameHeader {
    pub(super) const fn parse(bytes: [u8; FRAME_HEADER_BYTES]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        Self {
            len: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            // The first bit is reserved, RFC 9113 4.1.
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        }
    }

    pub(super) fn bytes(self) -> [u8; FRAME_HEADER_BYTES] {
        // No frame that we send is longer than `PAYLOAD_BYTES_MAX`.
        let [_, a, b, c] = u32::try_from(self.len).unwrap_or(0).to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, d, e, f, g]
    }

    pub(super) const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A frame with its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// `counted` bytes are the whole payload, padding too: flow control counts them.
    Data {
        data: &'a [u8],
        counted: usize,
        end: bool,
    },
    Headers {
        block: &'a [u8],
        depends_on: Option<u32>,
        end: bool,
        whole: bool,
    },
    Priority {
        depends_on: u32,
    },
    Reset,
    /// Pairs of 6 bytes each.
    Settings(&'a [u8]),
    SettingsAck,
    Push,
    Ping([u8; 8]),
    PingAck,
    GoAway,
    WindowUpdate(u32),
    Continuation {
        block: &'a [u8],
        whole: bool,
    },
    Unknown,
}

/// Reads a payload.
pub(super) fn parse(header: FrameHeader, payload: &[u8]) -> Result<Frame<'_>, Breach> {
    let needs_stream = matches!(header.kind, DATA..=RST_STREAM | PUSH_PROMISE | CONTINUATION);
    let needs_none = matches!(header.kind, SETTINGS | PING | GOAWAY);
    if needs_stream && header.stream == 0 || needs_none && header.stream != 0 {
        return Err(Breach::StreamId);
    }
    let end = header.has(END_STREAM);
    let whole = header.has(END_HEADERS);
    Ok(match header.kind {
        DATA => Frame::Data { data: unpadded(header, payload)?, counted: payload.len(), end },
        HEADERS => {
            let mut block = unpadded(header, payload)?;
            let mut depends_on = None;
            if header.has(PRIORITISED) {
                let (priority, rest) = block.split_first_chunk::<5>().ok_or(Breach::FrameLength)?;
                depends_on = Some(dependency(*priority));
                block = rest;
            }
            Frame::Headers { block, depends_on, end, whole }
        }
        PRIORITY => Frame::Priority { depends_on: dependency(exact(payload)?) },
        RST_STREAM => exact::<4>(payload).map(|_| Frame::Reset)?,
        SETTINGS if header.has(ACK) => exact::<0>(payload).map(|_| Frame::SettingsAck)?,
        SETTINGS if payload.len().is_multiple_of(6) => Frame::Settings(payload),
        SETTINGS => return Err(Breach::FrameLength),
        PUSH_PROMISE => Frame::Push,
        PING if header.has(ACK) => exact::<8>(payload).map(|_| Frame::PingAck)?,
        PING => Frame::Ping(exact(payload)?),
        GOAWAY if payload.len() >= 8 => Frame::GoAway,
        GOAWAY => return Err(Breach::FrameLength),
        WINDOW_UPDATE => Frame::WindowUpdate(u32::from_be_bytes(exact(payload)?) & 0x7fff_ffff),
        CONTINUATION => Frame::Continuation { block: payload, whole },
        _ => Frame::Unknown,
    })
}

fn exact<const N: usize>(payload: &[u8]) -> Result<[u8; N], Breach> {
    payload.try_into().map_err(|_| Breach::FrameLength)
}

fn dependency([a, b, c, d, _]: [u8; 5]) -> u32 {
    u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff
}

fn unpadded(header: FrameHeader, payload: &[u8]) -> Result<&[u8], Breach> {
    if !header.has(PADDED) {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or(Breach::FrameLength)?;
    let len = rest.len().checked_sub(usize::from(*padding)).ok_or(Breach::Padding)?;
    rest.get(..len).ok_or(Breach::Padding)
}

/// The header of a frame of DATA with `len` bytes; `end` where nothing follows on the stream.
#[must_use]
pub fn data_header(stream: u32, len: usize, end: bool) -> [u8; FRAME_HEADER_BYTES] {
    let flags = if end { END_STREAM } else { 0 };
    FrameHeader { len, kind: DATA, flags, stream }.bytes()
}

/// Appends a frame.
pub(super) fn write(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&FrameHeader { len: payload.len(), kind, flags, stream }.bytes());
    out.extend_from_slice(payload);
}

/// Appends `RST_STREAM`.
pub(super) fn write_reset(stream: u32, code: ErrorCode, out: &mut Vec<u8>) {
    write(RST_STREAM, 0, stream, &(code as u32).to_be_bytes(), out);
}

/// Appends `WINDOW_UPDATE`.
pub(super) fn write_window(stream: u32, bytes: u32, out: &mut Vec<u8>) {
    write(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes(), out);
}

/// Appends GOAWAY.
pub(super) fn write_go_away(last: u32, code: ErrorCode, why: &str, out: &mut Vec<u8>) {
    let len = 8 + why.len();
    out.extend_from_slice(&FrameHeader { len, kind: GOAWAY, flags: 0, stream: 0 }.bytes());
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&(code as u32).to_be_bytes());
    out.extend_from_slice(why.as_bytes());
}

/// Appends a header block as HEADERS, and as CONTINUATION behind it where it is long.
pub(super) fn write_block(stream: u32, block: &[u8], end: bool, out: &mut Vec<u8>) {
    let mut kind = HEADERS;
    let mut flags = if end { END_STREAM } else { 0 };
    let mut rest = block;
    loop {
        let (now, later) = rest.split_at(rest.len().min(PAYLOAD_BYTES_MAX));
        if later.is_empty() {
            flags |= END_HEADERS;
        }
        write(kind, flags, stream, now, out);
        if later.is_empty() {
            return;
        }
        (kind, flags, rest) = (CONTINUATION, 0, later);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<Frame<'_>, Breach> {
        parse(FrameHeader { len: payload.len(), kind, flags, stream }, payload)
    }

    #[test]
    fn a_frame_of_a_wrong_length_is_refused() {
        for (kind, flags, stream, payload) in [
            (PRIORITY, 0, 1, &[0; 4][..]),
            (RST_STREAM, 0, 1, &[0; 3]),
            (RST_STREAM, 0, 1, &[0; 5]),
            (SETTINGS, 0, 0, &[0; 5]),
            (SETTINGS, ACK, 0, &[0; 6]),
            (PING, 0, 0, &[0; 7]),
            (PING, ACK, 0, &[0; 9]),
            (GOAWAY, 0, 0, &[0; 7]),
            (WINDOW_UPDATE, 0, 0, &[0; 3]),
            (DATA, PADDED, 1, &[]),
            (HEADERS, PRIORITISED, 1, &[0; 4]),
        ] {
            assert_eq!(read(kind, flags, stream, payload), Err(Breach::FrameLength), "{kind}");
        }
    }

    #[test]
    fn a_frame_on_a_wrong_stream_is_refused() {
        for kind in [DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, CONTINUATION] {
            assert_eq!(read(kind, 0, 0, &[0; 8]), Err(Breach::StreamId), "{kind}");
        }
        for kind in [SETTINGS, PING, GOAWAY] {
            assert_eq!(read(kind, 0, 1, &[0; 8]), Err(Breach::StreamId), "{kind}");
        }
        assert_eq!(read(77, 0xff, 0, &[]), Ok(Frame::Unknown));
    }

    #[test]
    fn padding_goes_and_counts_for_flow_control() {
        let data = read(DATA, PADDED | END_STREAM, 1, &[2, b'a', 0, 0]);
        assert_eq!(data, Ok(Frame::Data { data: b"a", counted: 4, end: true }));
        assert_eq!(read(DATA, PADDED, 1, &[4, b'a', 0, 0]), Err(Breach::Padding));
        let headers =
            read(HEADERS, PADDED | PRIORITISED | END_HEADERS, 3, b"\x01\x80\0\0\x05\xffb\0");
        let whole = Frame::Headers { block: b"b", depends_on: Some(5), end: false, whole: true };
        assert_eq!(headers, Ok(whole));
    }

    proptest! {
        #[test]
        fn a_header_reads_as_it_was_written(len in 0_usize..1 << 24, kind: u8, flags: u8, stream in 0_u32..1 << 31) {
            let header = FrameHeader { len, kind, flags, stream };
            prop_assert_eq!(FrameHeader::parse(header.bytes()), header);
        }
    }
}
