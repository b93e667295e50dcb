//! Response heads: any bytes, in any pieces, are refused or come back from their encoding as they
//! were.
//!
//! The first byte says where the input is split, the second what was asked. RFC 9112 2 to 6; see
//! `proto::h1`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::h1::{
    Persist, Scanner, encode_response, encoded_len_max, parse_response, strip_hop_by_hop,
};
use proto::head::{BodyLength, HeaderId, Method, ResponseHead, Version};

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

    // Heads that do not end where a scanner says are parsed as well: nothing may panic.
    let mut head = ResponseHead::new();
    let _ = parse_response(bytes, HEADERS_MAX, method, &mut head);
    let Some(bytes) = end.and_then(|end| bytes.get(..end)) else { return };
    head.clear();
    if parse_response(bytes, HEADERS_MAX, method, &mut head).is_err() {
        return;
    }
    strip_hop_by_hop(&mut head.headers);

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
