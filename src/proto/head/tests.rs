//! Tests of the table and of the heads built on it.

use proptest::prelude::*;

use super::*;
use crate::h1::parse_request;

fn pairs(headers: &Headers) -> Vec<(String, Vec<u8>)> {
    let pair = |(_, name, value): (HeaderId, &[u8], &[u8])| {
        (String::from_utf8(name.to_vec()).unwrap().to_ascii_lowercase(), value.to_vec())
    };
    headers.iter().map(pair).collect()
}

fn sample() -> Headers {
    let mut headers = Headers::new();
    headers.push(HeaderId::Accept, b"*/*");
    headers.push_named(b"X-One", b"1");
    headers.push(HeaderId::Cookie, b"a");
    headers.push_named(b"x-one", b"2");
    headers.push(HeaderId::Cookie, b"b");
    headers
}

#[test]
fn fields_are_found_by_id_and_by_name() {
    let headers = sample();
    assert_eq!(headers.len(), 5);
    assert_eq!(headers.get(HeaderId::Cookie), Some(&b"a"[..]));
    assert_eq!(headers.all(HeaderId::Cookie).collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!(headers.find(b"COOKIE"), Some(&b"a"[..]));
    assert_eq!(headers.find(b"X-ONE"), Some(&b"1"[..]));
    assert_eq!(headers.all_named(b"x-one").collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(headers.get(HeaderId::Host), None);
    assert_eq!(headers.find(b"x-two"), None);
    assert_eq!(headers.find(b""), None);
    assert!(headers.contains(HeaderId::Accept) && !headers.contains(HeaderId::Removed));
}

#[test]
fn removed_fields_are_gone_and_the_others_stay_in_order() {
    let mut headers = sample();
    assert!(headers.remove(HeaderId::Cookie));
    assert!(!headers.remove(HeaderId::Cookie));
    assert!(headers.remove_named(b"x-ONE"));
    assert!(!headers.remove_named(b"x-one"));
    assert!(!headers.remove_named(b"host"));
    assert_eq!(pairs(&headers), [("accept".to_owned(), b"*/*".to_vec())]);
    assert_eq!((headers.len(), headers.is_empty()), (1, false));
    assert!(!headers.remove(HeaderId::Removed));
    assert!(headers.remove_named(b"Accept"));
    assert!(headers.is_empty());
}

#[test]
fn a_list_header_grows_into_one_field() {
    let mut headers = Headers::new();
    headers.append_list(HeaderId::XForwardedFor, b"1");
    assert_eq!(headers.get(HeaderId::XForwardedFor), Some(&b"1"[..]));
    headers.push(HeaderId::XForwardedFor, b"2, 3");
    headers.push(HeaderId::XForwardedFor, b"");
    headers.append_list(HeaderId::XForwardedFor, b"4\r\n");
    assert_eq!(headers.all(HeaderId::XForwardedFor).collect::<Vec<_>>(), [b"1, 2, 3, 4  "]);
    headers.set(HeaderId::XForwardedFor, b"");
    headers.append_list(HeaderId::XForwardedFor, b"5");
    headers.append_list(HeaderId::XForwardedFor, b"");
    assert_eq!(headers.all(HeaderId::XForwardedFor).collect::<Vec<_>>(), [b"5"]);
    assert_eq!(headers.len(), 1);
}

#[test]
fn no_value_can_end_its_line() {
    let mut headers = Headers::new();
    headers.push(HeaderId::XRequestId, b"\t a\r\nhost: evil\0\x7f b ");
    assert_eq!(headers.get(HeaderId::XRequestId), Some(&b"a  host: evil   b"[..]));
    headers.push_named(b"x-a: b\r\nx-c", b"d");
    headers.push_named(b"", b"d");
    headers.push(HeaderId::Other, b"d");
    headers.push(HeaderId::Removed, b"d");
    headers.append_list(HeaderId::Other, b"d");
    assert_eq!(headers.len(), 1);
}

#[test]
fn clearing_keeps_the_memory() {
    let mut headers = sample();
    let before = headers.bytes().as_ptr();
    headers.clear();
    assert_eq!((headers.len(), headers.bytes().len()), (0, 0));
    headers.push(HeaderId::Accept, b"x");
    assert_eq!(headers.bytes().as_ptr(), before);
}

#[test]
fn a_head_that_nothing_was_read_into_has_no_method() {
    let mut head = RequestHead::new();
    parse_request(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", 10, &mut head).unwrap();
    assert_eq!((head.method_bytes(), head.target()), (&b"GET"[..], &b"/a"[..]));
    head.clear();
    for head in [head, RequestHead::new()] {
        let parts = [head.method_bytes(), head.target(), head.path(), head.authority()];
        assert_eq!(parts, [b""; 4]);
    }
}

#[test]
fn the_forwarded_host_is_the_authority() {
    let mut head = RequestHead::new();
    head.headers.push(HeaderId::XForwardedHost, b"evil");
    head.set_forwarded_host();
    assert_eq!(head.headers.get(HeaderId::XForwardedHost), None);
    head.clear();
    parse_request(b"GET / HTTP/1.1\r\nHost: a:1\r\n\r\n", 10, &mut head).unwrap();
    head.headers.push(HeaderId::XForwardedHost, b"evil");
    head.set_forwarded_host();
    assert_eq!(head.headers.all(HeaderId::XForwardedHost).collect::<Vec<_>>(), [b"a:1"]);
}

#[test]
fn methods_are_told_by_their_names() {
    use Method::{Connect, Delete, Get, Head, Options, Other, Patch, Post, Put, Trace};
    for method in [Get, Head, Post, Put, Delete, Options, Patch, Trace, Connect] {
        assert_eq!(Method::of(method.name().as_bytes()), method);
    }
    assert_eq!(Method::of(b"get"), Other);
    let safe = [Get, Head, Options, Trace];
    for method in [Get, Head, Post, Put, Delete, Options, Patch, Trace, Connect, Other] {
        assert_eq!(method.is_safe(), safe.contains(&method));
        assert_eq!(method.is_idempotent(), method.is_safe() || matches!(method, Put | Delete));
    }
}

#[test]
fn a_status_is_set_with_its_reason() {
    let mut head = ResponseHead::new();
    head.set_status(404, phrase(404));
    assert_eq!((head.status, head.reason()), (404, &b"Not Found"[..]));
    head.set_status(299, "a\r\nb");
    assert_eq!((head.status, head.reason()), (299, &b"a  b"[..]));
    head.set_status(299, phrase(299));
    assert_eq!(head.reason(), b"");
    assert!(!head.is_interim());
    for (status, interim) in [(100, true), (101, false), (103, true), (199, true), (200, false)] {
        head.set_status(status, "");
        assert_eq!(head.is_interim(), interim, "{status}");
    }
    head.clear();
    assert_eq!((head.status, head.reason()), (0, &b""[..]));
}

/// An operation on a table.
#[derive(Clone, Debug)]
enum Op {
    Push(usize, Vec<u8>),
    Set(usize, Vec<u8>),
    AppendList(usize, Vec<u8>),
    Remove(usize),
    Clear,
}

/// Names with and without an id.
const NAMES: [&str; 8] = [
    "host",
    "x-forwarded-for",
    "cookie",
    // These two share a bit in a set of names.
    "accept",
    "access-control-allow-credentials",
    "x-other",
    "x-another",
    "x-othes",
];

fn op() -> impl Strategy<Value = Op> {
    let (name, value) = (0..NAMES.len(), prop::collection::vec(b'a'..=b'z', 0..6));
    let pair = (name.clone(), value);
    prop_oneof![
        4 => pair.clone().prop_map(|(name, value)| Op::Push(name, value)),
        2 => pair.clone().prop_map(|(name, value)| Op::Set(name, value)),
        2 => pair.prop_map(|(name, value)| Op::AppendList(name, value)),
        2 => name.prop_map(Op::Remove),
        1 => Just(Op::Clear),
    ]
}

proptest! {
    #[test]
    fn the_table_does_what_a_list_of_pairs_does(ops in prop::collection::vec(op(), 0..40)) {
        let mut headers = Headers::new();
        let mut model: Vec<(String, Vec<u8>)> = Vec::new();
        for op in ops {
            match op {
                Op::Push(name, value) => {
                    headers.push_named(NAMES[name].to_uppercase().as_bytes(), &value);
                    model.push((NAMES[name].to_owned(), value));
                }
                Op::Set(name, value) => {
                    headers.remove_named(NAMES[name].as_bytes());
                    headers.push_named(NAMES[name].as_bytes(), &value);
                    model.retain(|(known, _)| known != NAMES[name]);
                    model.push((NAMES[name].to_owned(), value));
                }
                Op::AppendList(name, value) => {
                    let id = HeaderId::of(NAMES[name].as_bytes());
                    headers.append_list(id, &value);
                    if id != HeaderId::Other {
                        let named = |pair: &&(String, Vec<u8>)| pair.0 == NAMES[name];
                        let before = model.iter().filter(named).map(|pair| pair.1.clone());
                        let all = before.chain([value]).filter(|value| !value.is_empty());
                        let joined = all.collect::<Vec<_>>().join(&b", "[..]);
                        model.retain(|(known, _)| known != NAMES[name]);
                        model.push((NAMES[name].to_owned(), joined));
                    }
                }
                Op::Remove(name) => {
                    let there = model.iter().any(|(known, _)| known == NAMES[name]);
                    prop_assert_eq!(headers.remove_named(NAMES[name].as_bytes()), there);
                    model.retain(|(known, _)| known != NAMES[name]);
                }
                Op::Clear => {
                    headers.clear();
                    model.clear();
                }
            }
            prop_assert_eq!(pairs(&headers), model.clone());
            prop_assert_eq!(headers.len(), model.len());
            for name in NAMES {
                let first = model.iter().find(|(known, _)| known == name);
                let first = first.map(|(_, value)| value.as_slice());
                prop_assert_eq!(headers.find(name.as_bytes()), first);
                let id = HeaderId::of(name.as_bytes());
                if id != HeaderId::Other {
                    prop_assert_eq!(headers.get(id), first);
                }
            }
        }
    }
}

#[test]
fn lines_that_are_made_ready_are_appended_as_if_pushed_one_by_one() {
    let mut ready = Headers::new();
    ready.push(HeaderId::XForwardedFor, b"192.0.2.1");
    ready.push_named(b"x-other", b"a");
    ready.push(HeaderId::XForwardedPort, b"80");
    ready.remove(HeaderId::XForwardedPort);
    let mut headers = Headers::new();
    headers.push(HeaderId::Host, b"a");
    headers.append_all(&ready);
    headers.append_all(&ready);
    headers.push(HeaderId::Accept, b"b");
    let fields: Vec<_> = headers.iter().map(|(_, name, value)| (name, value)).collect();
    let ready: [(&[u8], &[u8]); 2] = [(b"x-forwarded-for", b"192.0.2.1"), (b"x-other", b"a")];
    let expected =
        [&[(&b"host"[..], &b"a"[..])], &ready[..], &ready, &[(b"accept", b"b")]].concat();
    assert_eq!(fields, expected);
    assert_eq!((headers.len(), headers.find(b"X-Other")), (6, Some(&b"a"[..])));
    headers.remove_each([HeaderId::XForwardedFor, HeaderId::Accept]);
    assert_eq!(headers.len(), 3);
}
