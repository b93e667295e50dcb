//! Chunked bodies: any bytes, in any pieces, are refused or give the same data, and the body
//! that we write from that data decodes to it again.
//!
//! The first byte says how long the pieces are. RFC 9112 7; see `proto::h1`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::h1::{
    BodyDecoder, CHUNK_SIZE_LINE_BYTES, chunk_size_line, encode_last_chunk, encoded_len_max,
};
use proto::head::{BodyLength, Headers, MessageKind};
use proto::violation::Violation;

/// A body as it was decoded.
#[derive(Debug, PartialEq)]
struct Body {
    data: Vec<u8>,
    done: bool,
    /// Bytes behind the body.
    rest: usize,
    trailers: Option<Vec<(Vec<u8>, Vec<u8>)>>,
}

fuzz_target!(|input: &[u8]| {
    let Some((&len, bytes)) = input.split_first() else { return };
    let whole_as = |kind| {
        let whole = decode(kind, [bytes]);
        let pieces = bytes.chunks(usize::from(len).max(1));
        assert_eq!(decode(kind, pieces), whole, "the split matters");
        assert_eq!(decode(kind, bytes.chunks(1)), whole, "the split matters");
        whole
    };
    let whole = whole_as(MessageKind::Request);
    let of_response = whole_as(MessageKind::Response);
    if let Ok(body) = &whole {
        assert_eq!(of_response.as_ref(), Ok(body), "a response may have what a request may");
    }
    let Ok(body) = of_response else { return };
    if !body.done {
        return;
    }

    let mut wire = Vec::new();
    let mut line = [0; CHUNK_SIZE_LINE_BYTES];
    for chunk in body.data.chunks(usize::from(len).max(1)) {
        let used = chunk_size_line(chunk.len(), &mut line);
        wire.extend_from_slice(&line[..used]);
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
    }
    let mut trailers = Headers::new();
    for (name, value) in body.trailers.iter().flatten() {
        trailers.push_named(name, value);
    }
    let mut end = vec![0; encoded_len_max(&trailers)];
    let used = encode_last_chunk(Some(&trailers), &mut end).expect("the bound holds");
    wire.extend_from_slice(&end[..used]);
    let kind = MessageKind::Request;
    let again = decode(kind, [wire.as_slice()]).expect("we take what we write");
    assert_eq!(again, Body { rest: 0, ..body });
});

fn decode<'a>(
    kind: MessageKind,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Body, Violation> {
    let mut decoder = BodyDecoder::new(BodyLength::Chunked, kind);
    let (mut data, mut rest) = (Vec::new(), 0);
    for piece in pieces {
        let mut piece = piece.to_vec();
        let step = decoder.decode(&mut piece)?;
        assert!(step.data.start <= step.data.end && step.data.end <= step.consumed);
        assert!(
            step.done || step.consumed == piece.len(),
            "bytes are left in the middle of a body"
        );
        assert_eq!(step.done, decoder.is_done());
        assert_eq!(step.done, decoder.on_end().is_ok());
        rest += piece.len() - step.consumed;
        data.extend_from_slice(&piece[step.data]);
    }
    let pairs = |trailers: Headers| {
        trailers.iter().map(|(_, name, value)| (name.to_vec(), value.to_vec())).collect()
    };
    let done = decoder.is_done();
    Ok(Body { data, done, rest, trailers: decoder.take_trailers().map(pairs) })
}
