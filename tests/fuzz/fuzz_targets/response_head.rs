//! Response heads: any bytes, in any pieces, are refused or come back from their encoding as they
//! were.
//!
//! The first byte says where the input is split, the second gives the method of the request. RFC 9112 2 to 6; see
//! `proto::h1`.

#![no_main]

#[allow(dead_code, reason = "each target asks about one kind of head")]
#[path = "../second.rs"]
mod second;

use libfuzzer_sys::fuzz_target;
use proto::h1::{
    Persist, Scanner, encode_response, encoded_len_max, parse_response,
};
use proto::head::{BodyLength, HeaderId, Method, ResponseHead, Version};
use proto::hop;

/// As in the default configuration.
const HEADERS_MAX: usize = 100;

fuzz_target!(|input: &[u8]| {
    let [split, flags, bytes @ ..] = input else { return };
    let method = if flags & 1 == 0 { Method::Get } else { Method::Head };
    let persist = if flags & 2 == 0 { Persist::KeepAlive } else { Persist::Close };

    let end = Scanner::new().scan(bytes);
    let mut scanner = Scanner::new();
    let split = usize::from(*split).min(bytes.len());
    let in_two = scanner.scan(&bytes[..split]).or_else(|| scanner.scan(bytes));
    assert_eq!(in_two, end, "the end of a head depends on how it arrives");

    // The bytes behind a head change nothing, and another parser reads the same lines.
    let mut head = ResponseHead::new();
    let verdict = parse_response(bytes, HEADERS_MAX, method, &mut head);
    let fields = head.headers.iter().map(|(_, name, value)| (name.into(), value.into()));
    let ours = verdict.map_err(|violation| violation.token()).map(|len| second::Seen {
        len,
        line: (head.status.to_string().into(), Vec::new()),
        is_http11: head.version == Version::Http11,
        fields: fields.collect(),
    });
    second::agree(ours, second::response(bytes).as_ref());
    let Some(bytes) = end.and_then(|end| bytes.get(..end)) else {
        assert!(verdict.is_err(), "half a head is taken for a whole one");
        return;
    };
    head.clear();
    let again = parse_response(bytes, HEADERS_MAX, method, &mut head);
    assert_eq!(again, verdict, "what follows is looked at");
    if verdict.is_err() {
        return;
    }
    assert_eq!(verdict, Ok(bytes.len()), "a head ends elsewhere than it was found to end");
    hop::pass_response(&mut head);

    let mut out = vec![0; encoded_len_max(&head.headers)];
    let client = match head.length {
        BodyLength::Chunked => Version::Http11,
        _ if flags & 4 == 0 => Version::Http11,
        _ => Version::Http10,
    };
    let len = encode_response(&head, head.length, persist, client, &mut out);
    let len = len.expect("the bound holds");
    assert_eq!(Scanner::new().scan(&out), Some(len), "the encoded head ends elsewhere");
    let mut again = ResponseHead::new();
    parse_response(&out[..len], HEADERS_MAX + 2, method, &mut again)
        .expect("we take what we write");
    assert_eq!(again.status, head.status);
    assert_eq!(again.reason(), head.reason());
    assert_eq!(again.length, head.length);
    if persist == Persist::Close && !matches!(head.status, 100..=199) {
        assert!(!again.keep_alive(), "the client is not told that we close");
    }

    let framing = [HeaderId::ContentLength, HeaderId::TransferEncoding, HeaderId::Connection];
    let ours = head.headers.iter().filter(|(id, ..)| !framing.contains(id));
    let theirs = again.headers.iter().filter(|(id, ..)| !framing.contains(id));
    assert!(ours.eq(theirs), "a field changed on its way");
});
