//! Request heads: any bytes, in any pieces, are refused or come back from their encoding as they
//! were.
//!
//! The first byte says where the input is split. RFC 9112 2 to 6; see `proto::h1`.

#![no_main]

#[allow(dead_code, reason = "each target asks about one kind of head")]
#[path = "../second.rs"]
mod second;

use libfuzzer_sys::fuzz_target;
use proto::h1::{
    Scanner, encode_request, encoded_len_max, leading_blank, parse_request,
};
use proto::head::{HeaderId, RequestHead, Version};
use proto::hop;

/// As in the default configuration.
const HEADERS_MAX: usize = 100;

fuzz_target!(|input: &[u8]| {
    let Some((&split, bytes)) = input.split_first() else { return };
    let bytes = &bytes[leading_blank(bytes)..];

    let end = Scanner::new().scan(bytes);
    let mut scanner = Scanner::new();
    let split = usize::from(split).min(bytes.len());
    let in_two = scanner.scan(&bytes[..split]).or_else(|| scanner.scan(bytes));
    assert_eq!(in_two, end, "the end of a head depends on how it arrives");

    // The bytes behind a head change nothing, and another parser reads the same lines.
    let mut head = RequestHead::new();
    let verdict = parse_request(bytes, HEADERS_MAX, &mut head);
    let fields = head.headers.iter().map(|(_, name, value)| (name.into(), value.into()));
    let ours = verdict.map_err(|violation| violation.token()).map(|len| second::Seen {
        len,
        line: (head.method_bytes().into(), head.target().into()),
        is_http11: head.version == Version::Http11,
        fields: fields.collect(),
    });
    second::agree(ours, second::request(bytes).as_ref());
    let Some(bytes) = end.and_then(|end| bytes.get(..end)) else {
        assert!(verdict.is_err(), "half a head is taken for a whole one");
        return;
    };
    head.clear();
    assert_eq!(parse_request(bytes, HEADERS_MAX, &mut head), verdict, "what follows is looked at");
    if verdict.is_err() {
        return;
    }
    assert_eq!(verdict, Ok(bytes.len()), "a head ends elsewhere than it was found to end");
    hop::pass_request(&mut head);
    head.headers.append_list(HeaderId::XForwardedFor, b"192.0.2.1");
    head.set_forwarded_host();

    let mut out = vec![0; encoded_len_max(&head.headers)];
    let len = encode_request(&head, head.length, &mut out).expect("the bound holds");
    assert_eq!(Scanner::new().scan(&out), Some(len), "the encoded head ends elsewhere");
    // An HTTP/1.0 request without Host goes out with an empty one, which we do not take ourselves.
    if head.authority().is_empty() {
        assert_eq!(head.version, Version::Http10);
        return;
    }
    let mut again = RequestHead::new();
    // Host, framing and the fields added above are not in the count.
    parse_request(&out[..len], HEADERS_MAX + 4, &mut again).expect("we take what we write");
    assert_eq!(again.method, head.method);
    assert_eq!(again.method_bytes(), head.method_bytes());
    assert_eq!(again.path_and_query(), head.path_and_query());
    assert_eq!(again.path(), head.path());
    assert_eq!(again.query(), head.query());
    assert_eq!(again.authority(), head.authority());
    assert_eq!(again.host(), head.host());
    assert_eq!(again.length, head.length);

    let framing =
        [HeaderId::Host, HeaderId::ContentLength, HeaderId::TransferEncoding, HeaderId::Connection];
    let ours = head.headers.iter().filter(|(id, ..)| !framing.contains(id));
    let theirs = again.headers.iter().filter(|(id, ..)| !framing.contains(id));
    assert!(ours.eq(theirs), "a field changed on its way");
});
