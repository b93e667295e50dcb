//! Whole connections, as bytes.

use proptest::prelude::*;

use super::connection::STREAM_WINDOW_BYTES;
use super::frame::*;
use super::hpack::BlockEncoder;
use super::*;
use crate::head::{BodySize, HeaderId, RequestHead, ResponseHead};
use crate::violation::Violation;

const LIMITS: FrameLimits = FrameLimits { streams_max: 4, head_bytes_max: 8192, headers_max: 50 };

/// A client's bytes.
struct Client {
    bytes: Vec<u8>,
    encoder: BlockEncoder,
}

impl Client {
    /// The preface and empty settings.
    fn new() -> Self {
        let mut bytes = PREFACE.to_vec();
        write(SETTINGS, 0, 0, &[], &mut bytes);
        Self { bytes, encoder: BlockEncoder::default() }
    }

    fn frame(mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        write(kind, flags, stream, payload, &mut self.bytes);
        self
    }

    fn block(&mut self, more: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        let whole = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
        let whole = if more.first().is_some_and(|(name, _)| *name == "trailer-only") {
            &whole[..0]
        } else {
            &whole[..]
        };
        for (name, value) in whole.iter().chain(more) {
            let id = HeaderId::of(name.as_bytes());
            self.encoder.field(id, name.as_bytes(), value.as_bytes(), &mut block);
        }
        block
    }

    fn head(mut self, stream: u32, end: bool, more: &[(&str, &str)]) -> Self {
        let block = self.block(more);
        write_block(stream, &block, end, &mut self.bytes);
        self
    }
}

/// The events of these bytes, given so many at a time: a line for each, and the breach.
fn run(bytes: &[u8], step: usize) -> (Vec<String>, Option<Breach>, ClientFrames) {
    let mut connection = ClientFrames::new(LIMITS, 0);
    let mut head = RequestHead::new();
    let (mut events, mut waiting) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(step.max(1)) {
        waiting.extend_from_slice(piece);
        loop {
            match connection.receive(&waiting, 0, &mut head) {
                Err(fault) => return (events, Some(fault), connection),
                Ok((0, _)) => break,
                Ok((len, event)) => {
                    match event {
                        FrameNews::Nothing => {}
                        FrameNews::Head { stream, verdict } => {
                            let path = String::from_utf8_lossy(head.path()).into_owned();
                            events.push(format!(
                                "head {stream} {path} {:?} {verdict:?}",
                                head.length
                            ));
                        }
                        FrameNews::Data { stream, data, end } => {
                            let data = String::from_utf8_lossy(&waiting[data]).into_owned();
                            events.push(format!("data {stream} {data} {end}"));
                        }
                        FrameNews::Trailers { stream, trailers } => {
                            events.push(format!("trailers {stream} {}", trailers.len()));
                        }
                        FrameNews::Reset { stream } => events.push(format!("reset {stream}")),
                        FrameNews::Window => events.push("window".to_owned()),
                    }
                    waiting.drain(..len);
                }
            }
        }
    }
    (events, None, connection)
}

fn fault(client: &Client) -> Option<Breach> {
    run(&client.bytes, usize::MAX).1
}

/// The kinds, flags and streams of the frames in these bytes.
fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, u32)> {
    let mut frames = Vec::new();
    while let Some(header) = bytes.first_chunk() {
        let header = FrameHeader::parse(*header);
        frames.push((header.kind, header.flags, header.stream));
        bytes = &bytes[FRAME_HEADER_BYTES + header.len..];
    }
    frames
}

#[test]
fn a_request_comes_as_a_head_data_and_trailers() {
    let client = Client::new()
        .head(1, false, &[("content-length", "3")])
        .frame(DATA, 0x8, 1, b"\x02ab\0\0")
        .frame(DATA, 0, 1, b"c")
        .head(1, true, &[("trailer-only", "x")])
        .head(3, true, &[]);
    let (events, fault, _) = run(&client.bytes, usize::MAX);
    assert_eq!(fault, None);
    assert_eq!(
        events,
        [
            "head 1 / Length(3) Ok(())",
            "data 1 ab false",
            "data 1 c false",
            "trailers 1 1",
            "head 3 / None Ok(())"
        ]
    );
}

#[test]
fn a_response_goes_out_whole() {
    let client = Client::new().head(1, true, &[]);
    let (_, _, mut connection) = run(&client.bytes, usize::MAX);
    connection.out().clear();
    let mut head = ResponseHead::new();
    head.set_status(200, "OK");
    connection.send_head(1, &head, BodySize::Known(2), false);
    assert_eq!(connection.room(1), PAYLOAD_BYTES_MAX);
    connection.sent_data(1, 2, true);
    connection.release(1);
    assert_eq!(frames(connection.out()), [(HEADERS, END_HEADERS, 1)], "no reset behind the end");
    assert_eq!(connection.streams(), 0);
}

#[test]
fn a_stream_that_is_released_early_is_reset() {
    let client = Client::new().head(1, false, &[]);
    let (_, _, mut connection) = run(&client.bytes, usize::MAX);
    connection.out().clear();
    connection.release(1);
    assert_eq!(frames(connection.out()), [(RST_STREAM, 0, 1)]);
}

#[test]
fn faults_of_a_connection_have_their_names() {
    let new = Client::new;
    for (client, expected) in [
        (Client { bytes: b"GET / HTTP/1.1\r\n".to_vec(), ..new() }, Breach::Preface),
        (new().frame(DATA, 0, 1, b"a"), Breach::IdleStream),
        (new().frame(RST_STREAM, 0, 1, &[0; 4]), Breach::IdleStream),
        (new().frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), Breach::IdleStream),
        (new().frame(WINDOW_UPDATE, 0, 0, &[0; 4]), Breach::WindowZero),
        (new().frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), Breach::WindowOverflow),
        (new().frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]), Breach::SettingValue),
        (new().frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0, 0, 0]), Breach::SettingWindow),
        (new().frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]), Breach::SettingValue),
        (new().frame(PUSH_PROMISE, 0, 1, &[0; 8]), Breach::Push),
        (new().frame(HEADERS, END_HEADERS, 2, &[]), Breach::StreamId),
        (new().frame(HEADERS, END_HEADERS, 1, &[0x80]), Breach::BlockMalformed),
        (new().frame(HEADERS, 0, 1, &[]).frame(PING, 0, 0, &[0; 8]), Breach::BlockInterrupted),
        (new().frame(CONTINUATION, 0, 1, &[]), Breach::BlockInterrupted),
        (new().frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]), Breach::SelfDependency),
        (new().head(5, true, &[]).head(3, true, &[]), Breach::StreamId),
        (new().head(1, true, &[]).head(1, true, &[]), Breach::ClosedStream),
    ] {
        let (_, found, mut connection) = run(&client.bytes, usize::MAX);
        assert_eq!(found, Some(expected));
        let last = frames(connection.out()).pop();
        assert_eq!(last, Some((GOAWAY, 0, 0)), "{expected:?}");
    }
}

#[test]
fn faults_of_a_stream_cost_that_stream() {
    let new = Client::new;
    for client in [
        new().head(1, true, &[]).frame(DATA, 0, 1, b"a"),
        new().head(1, false, &[]).frame(WINDOW_UPDATE, 0, 1, &[0; 4]),
        new().head(1, false, &[]).frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]),
        new().head(1, false, &[("content-length", "1")]).frame(DATA, 1, 1, b"ab"),
        new().head(1, false, &[("content-length", "3")]).frame(DATA, 1, 1, b"ab"),
        new().head(1, false, &[]).head(1, false, &[("trailer-only", "x")]),
        new().head(1, false, &[]).head(1, true, &[("trailer-only", "x"), (":path", "/")]),
    ] {
        let (events, found, mut connection) = run(&client.head(3, true, &[]).bytes, usize::MAX);
        assert_eq!(found, None, "{events:?}");
        assert!(events.contains(&"reset 1".to_owned()), "{events:?}");
        assert_eq!(events.last().unwrap(), "head 3 / None Ok(())");
        assert!(frames(connection.out()).contains(&(RST_STREAM, 0, 1)));
    }
}

#[test]
fn an_unsound_head_has_its_violation() {
    let client = Client::new().head(1, true, &[("connection", "close")]);
    let (events, fault, _) = run(&client.bytes, usize::MAX);
    assert_eq!(fault, None);
    let verdict: Result<(), Violation> = Err(Violation::ConnectionField);
    assert!(events[0].ends_with(&format!("{verdict:?}")), "{events:?}");
}

#[test]
fn a_stream_beyond_the_limit_is_refused_and_its_block_still_read() {
    let mut client = Client::new();
    for stream in [1, 3, 5, 7, 9] {
        client = client.head(stream, true, &[("server", "x")]);
    }
    let (events, fault, mut connection) = run(&client.bytes, usize::MAX);
    assert_eq!((events.len(), fault), (4, None));
    assert!(frames(connection.out()).contains(&(RST_STREAM, 0, 9)));
}

#[test]
fn a_stream_that_is_reset_counts_until_it_is_released() {
    let mut client = Client::new();
    for stream in [1, 3, 5, 7, 9] {
        client = client.head(stream, true, &[]).frame(RST_STREAM, 0, stream, &[0; 4]);
    }
    let (_, _, mut connection) = run(&client.bytes, usize::MAX);
    assert_eq!(connection.streams(), 4);
    for stream in [1, 3, 5, 7] {
        connection.release(stream);
    }
    assert_eq!(connection.streams(), 0);
}

#[test]
fn a_stream_that_nobody_reads_leaves_the_connection_to_the_others() {
    let mut client = Client::new().head(1, false, &[]).head(3, false, &[]);
    let full = vec![b'x'; PAYLOAD_BYTES_MAX];
    for _ in 0..STREAM_WINDOW_BYTES as usize / PAYLOAD_BYTES_MAX {
        client = client.frame(DATA, 0, 1, &full);
    }
    let (events, fault, mut connection) = run(&client.bytes, usize::MAX);
    assert_eq!(fault, None);
    assert!(!events.contains(&"reset 1".to_owned()));
    connection.out().clear();
    let mut more = Vec::new();
    write(DATA, 0, 1, b"x", &mut more);
    let event = connection.receive(&more, 0, &mut RequestHead::new());
    assert!(matches!(event, Ok((_, FrameNews::Reset { stream: 1 }))), "{event:?}");
    connection.used(3, STREAM_WINDOW_BYTES as usize / 2);
    assert!(frames(connection.out()).contains(&(WINDOW_UPDATE, 0, 3)));
}

#[test]
fn floods_end_the_connection() {
    for (kind, payload, expected) in [
        (SETTINGS, &[][..], Breach::SettingsFlood),
        (PING, &[0; 8], Breach::PingFlood),
        (99, &[], Breach::UnknownFlood),
        (WINDOW_UPDATE, &[0, 0, 0, 1], Breach::WindowFlood),
    ] {
        let mut client = Client::new();
        for _ in 0..2000 {
            client = client.frame(kind, 0, 0, payload);
        }
        assert_eq!(fault(&client), Some(expected));
    }
    let mut empty = Client::new().head(1, false, &[]);
    let mut priority = Client::new();
    for _ in 0..2000 {
        empty = empty.frame(DATA, 0, 1, &[]);
        priority = priority.frame(PRIORITY, 0, 1, &[0; 5]);
    }
    assert_eq!(fault(&empty), Some(Breach::EmptyDataFlood));
    assert_eq!(fault(&priority), Some(Breach::PriorityFlood));
    let mut blocks = Client::new().frame(HEADERS, 0, 1, &[]);
    for _ in 0..40 {
        blocks = blocks.frame(CONTINUATION, 0, 1, &[]);
    }
    assert_eq!(fault(&blocks), Some(Breach::BlockTooLarge));
    let mut resets = Client::new();
    let mut made = Client::new();
    for stream in (1..2000).step_by(2) {
        resets = resets.head(stream, true, &[]).frame(RST_STREAM, 0, stream, &[0; 4]);
        made = made.head(stream, true, &[]).frame(WINDOW_UPDATE, 0, stream, &[0; 4]);
    }
    assert_eq!(fault(&made), Some(Breach::MadeResetFlood));
    // Streams beyond the limit are refused, which counts too: one of both ends it.
    assert!(matches!(fault(&resets), Some(Breach::ResetFlood | Breach::MadeResetFlood)));
}

proptest! {
    #[test]
    fn any_split_of_the_input_gives_the_same_events(
        frames in proptest::collection::vec(
            (0_u8..11, any::<u8>(), 0_u32..9, proptest::collection::vec(any::<u8>(), 0..40), any::<bool>()),
            0..30,
        ),
        step in 1_usize..60,
    ) {
        let mut client = Client::new();
        for (kind, flags, stream, payload, sound) in frames {
            client = if sound {
                client.head(stream * 2 + 1, flags & 1 != 0, &[("server", "a")])
            } else {
                client.frame(kind, flags, stream, &payload)
            };
        }
        let (whole, fault, mut one) = run(&client.bytes, usize::MAX);
        let (split, split_fault, mut other) = run(&client.bytes, step);
        prop_assert_eq!(whole, split);
        prop_assert_eq!(fault, split_fault);
        prop_assert_eq!(one.out(), other.out());
    }
}
