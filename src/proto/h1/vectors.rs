//! Runs the vectors of `tests/vectors/h1`. The README there describes their format.

use std::collections::BTreeMap;

use rows::Row;
pub(crate) use rows::rows;

use super::*;
use crate::head::{BodyLength, MessageKind, Method, RequestHead, ResponseHead, Version};
use crate::hop;
use crate::path::{EncodedSlash, Form, Rules};
use crate::violation::Violation;

#[path = "../../../tests/vectors/rows.rs"]
mod rows;

const REQUESTS: &str = include_str!("../../../tests/vectors/h1/requests.txt");
const RESPONSES: &str = include_str!("../../../tests/vectors/h1/responses.txt");
const CHUNKED: &str = include_str!("../../../tests/vectors/h1/chunked.txt");

const HEADERS_MAX: usize = 100;
/// Splits that are tried of one row; the few rows with more bytes are split at every nth.
const SPLITS_MAX: usize = 600;

#[test]
fn requests_are_as_written() {
    run(REQUESTS, |row| {
        let bytes = &row.bytes;
        let Some(len) = scanned(bytes) else { return Err("incomplete".into()) };
        let mut head = RequestHead::new();
        let rules = rules(&row.prefix);
        let parsed = parse_request(&bytes[..len], HEADERS_MAX, &mut head);
        as_if_alone(bytes, len, parsed, |bytes| {
            parse_request(bytes, HEADERS_MAX, &mut RequestHead::new())
        });
        let verdict = parsed.and_then(|_| head.settle_path(rules));
        refused_early_alike(&bytes[..len], verdict);
        let mut facts = facts([("rest", (bytes.len() - len).to_string().into_bytes())]);
        verdict.map_err(|violation| refused(violation, &facts))?;
        facts.extend(request_facts(&head));

        let said = (head.method_bytes().to_vec(), head.path_and_query().to_vec());
        let (authority, length) = (head.authority().to_vec(), head.body_length());
        hop::pass_request(&mut head);
        let mut out = vec![0; encoded_len_max(&head.headers)];
        let len = encode_request(&head, length, &mut out).expect("the bound holds");
        facts.insert("out", out[..len].to_vec());
        // A 1.0 request without Host goes out with an empty one, which we do not take ourselves.
        if !authority.is_empty() {
            let mut again = RequestHead::new();
            assert_eq!(parse_request(&out[..len], HEADERS_MAX + 1, &mut again), Ok(len));
            assert_eq!(again.settle_path(rules), Ok(()));
            assert_eq!(said, (again.method_bytes().to_vec(), again.path_and_query().to_vec()));
            assert_eq!((&*authority, length), (again.authority(), again.body_length()));
        }
        Ok(facts)
    });
}

/// A part of a head is refused only if the whole is, and for the same fault.
fn refused_early_alike(head: &[u8], verdict: Result<(), Violation>) {
    for at in splits(head.len()) {
        if let Some(fault) = early_fault(&head[..at]) {
            assert_eq!(Err(fault), verdict, "of {:?}", head[..at].escape_ascii().to_string());
        }
    }
}

#[test]
fn responses_are_as_written() {
    run(RESPONSES, |row| {
        let (bytes, method) = (&row.bytes, Method::of(row.prefix.as_bytes()));
        let Some(len) = scanned(bytes) else { return Err("incomplete".into()) };
        let mut head = ResponseHead::new();
        let verdict = parse_response(&bytes[..len], HEADERS_MAX, method, &mut head);
        as_if_alone(bytes, len, verdict, |bytes| {
            parse_response(bytes, HEADERS_MAX, method, &mut ResponseHead::new())
        });
        let mut facts = facts([("rest", (bytes.len() - len).to_string().into_bytes())]);
        verdict.map_err(|violation| refused(violation, &facts))?;
        facts.extend(response_facts(&head));

        let length = head.body_length();
        hop::pass_response(&mut head);
        let mut out = vec![0; encoded_len_max(&head.headers)];
        let persist = Persist::KeepAlive;
        let len = encode_response(&head, length, persist, Version::Http11, &mut out);
        let len = len.expect("the bound holds");
        facts.insert("out", out[..len].to_vec());
        let mut again = ResponseHead::new();
        assert_eq!(parse_response(&out[..len], HEADERS_MAX + 1, method, &mut again), Ok(len));
        assert_eq!((head.status, head.reason()), (again.status, again.reason()));
        assert_eq!(length, again.body_length());
        Ok(facts)
    });
}

#[test]
fn chunked_bodies_are_as_written() {
    run(CHUNKED, |row| {
        let kind = match row.prefix.as_str() {
            "" => MessageKind::Request,
            "response" => MessageKind::Response,
            other => panic!("no message is a {other}"),
        };
        let whole = decoded(kind, &[&row.bytes]);
        for at in splits(row.bytes.len()) {
            let (head, tail) = row.bytes.split_at(at);
            assert_eq!(decoded(kind, &[head, tail]), whole, "split at {at}");
        }
        let dripped: Vec<&[u8]> = row.bytes.chunks(1).collect();
        assert_eq!(decoded(kind, &dripped), whole, "byte by byte");
        whole
    });
}

#[test]
fn there_are_enough_rows_of_either_kind() {
    // Of bodies, most legal ones are made by proptest.
    for (text, least, share) in [(REQUESTS, 250, 3), (RESPONSES, 80, 3), (CHUNKED, 70, 5)] {
        let rows: Vec<Row> = rows(text).collect();
        let legal = rows.iter().filter(|row| row.verdict == "ok").count();
        assert!(rows.len() >= least && legal * share >= rows.len(), "{legal} of {}", rows.len());
    }
}

pub(crate) type Facts = BTreeMap<&'static str, Vec<u8>>;

/// The length of the head; the same however it arrives.
fn scanned(bytes: &[u8]) -> Option<usize> {
    let whole = Scanner::new().scan(bytes);
    for at in splits(bytes.len()) {
        let mut scanner = Scanner::new();
        let early = scanner.scan(&bytes[..at]);
        assert_eq!(early.or_else(|| scanner.scan(bytes)), whole, "split at {at}");
        assert_eq!(early.is_some(), whole.is_some_and(|len| len <= at), "split at {at}");
    }
    let mut scanner = Scanner::new();
    let dripped = (0..=bytes.len()).find_map(|len| scanner.scan(&bytes[..len]));
    assert_eq!(dripped, whole, "byte by byte");
    whole
}

/// Bytes behind a head change nothing, and no part of a head passes for the whole.
fn as_if_alone(
    bytes: &[u8],
    len: usize,
    verdict: Result<usize, Violation>,
    parse: impl Fn(&[u8]) -> Result<usize, Violation>,
) {
    assert!(verdict.is_err() || verdict == Ok(len));
    assert_eq!(parse(bytes), verdict, "with what follows");
    for at in splits(len).take_while(|at| *at < len) {
        assert!(parse(&bytes[..at]).is_err(), "cut at {at}");
    }
}

/// The data and the facts of a body that arrives in these pieces.
fn decoded(kind: MessageKind, pieces: &[&[u8]]) -> Result<Facts, String> {
    let mut decoder = BodyDecoder::new(BodyLength::Chunked, kind);
    let (mut data, mut rest) = (Vec::new(), 0);
    for piece in pieces {
        let mut bytes = piece.to_vec();
        let step = decoder.decode(&mut bytes).map_err(|violation| violation.token().to_owned())?;
        assert!(step.data.end <= step.consumed && step.consumed <= bytes.len());
        assert!(step.done || step.consumed == bytes.len());
        assert_eq!(step.done, decoder.is_done());
        rest += bytes.len() - step.consumed;
        data.extend_from_slice(&bytes[step.data]);
    }
    if decoder.on_end().is_err() {
        return Err("incomplete".into());
    }
    let trailers = decoder.take_trailers().map_or(0, |trailers| trailers.len());
    Ok(facts([
        ("data", data),
        ("trailers", trailers.to_string().into_bytes()),
        ("rest", rest.to_string().into_bytes()),
    ]))
}

fn request_facts(head: &RequestHead) -> Facts {
    facts([
        ("method", head.method_bytes().to_vec()),
        ("version", version(head.version)),
        ("path", head.path().to_vec()),
        ("query", head.query().unwrap_or(b"-").to_vec()),
        ("authority", head.authority().to_vec()),
        ("host", head.host().to_vec()),
        ("body", body(head.body_length())),
        ("persist", if head.keep_alive() { "keep" } else { "close" }.into()),
        ("continue", if head.expects_continue() { "yes" } else { "no" }.into()),
        ("upgrade", head.upgrade().unwrap_or(b"-").to_vec()),
        ("fields", head.headers.len().to_string().into_bytes()),
    ])
}

fn response_facts(head: &ResponseHead) -> Facts {
    facts([
        ("status", head.status.to_string().into_bytes()),
        ("reason", head.reason().to_vec()),
        ("version", version(head.version)),
        ("body", body(head.body_length())),
        ("persist", if head.keep_alive() { "keep" } else { "close" }.into()),
        ("upgrade", head.upgrade().unwrap_or(b"-").to_vec()),
        ("fields", head.headers.len().to_string().into_bytes()),
    ])
}

/// The rules for which the words in front of a request stand.
fn rules(words: &str) -> Rules {
    let mut rules = Rules::default();
    for word in words.split_whitespace() {
        match word {
            "keep" => rules.form = Form::Keep,
            "reject" => rules.encoded_slash = EncodedSlash::Reject,
            other => panic!("{other} is no rule"),
        }
    }
    rules
}

fn version(version: Version) -> Vec<u8> {
    if version == Version::Http10 { b"1.0".to_vec() } else { b"1.1".to_vec() }
}

fn body(length: BodyLength) -> Vec<u8> {
    match length {
        BodyLength::None => b"none".to_vec(),
        BodyLength::Length(bytes) => bytes.to_string().into_bytes(),
        BodyLength::Chunked => b"chunked".to_vec(),
        BodyLength::UntilClose => b"close".to_vec(),
    }
}

pub(crate) fn facts<const N: usize>(facts: [(&'static str, Vec<u8>); N]) -> Facts {
    BTreeMap::from(facts)
}

fn refused(violation: Violation, facts: &Facts) -> String {
    match &*facts["rest"] {
        b"0" => violation.token().to_owned(),
        rest => format!("{} rest={}", violation.token(), String::from_utf8_lossy(rest)),
    }
}

pub(crate) fn splits(len: usize) -> impl Iterator<Item = usize> {
    (0..=len).step_by(len / SPLITS_MAX + 1)
}

pub(crate) fn run(text: &str, check: impl Fn(&Row) -> Result<Facts, String>) {
    for row in rows(text) {
        let line = row.line;
        match check(&row) {
            Err(verdict) => {
                let mut expected = row.verdict.clone();
                for (name, value) in &row.expected {
                    expected += &format!(" {name}={}", String::from_utf8_lossy(value));
                }
                assert_eq!(verdict, expected, "line {line}");
            }
            Ok(facts) => {
                assert_eq!("ok", row.verdict, "line {line}: {facts:?}");
                if !row.expected.iter().any(|(name, _)| name == "rest") {
                    assert_eq!(facts["rest"], b"0", "line {line}: bytes are left over");
                }
                for (name, value) in &row.expected {
                    let fact = facts.get(name.as_str()).expect("a fact that is known");
                    let (fact, value) = (fact.escape_ascii(), value.escape_ascii());
                    assert_eq!(fact.to_string(), value.to_string(), "line {line}: {name}");
                }
            }
        }
    }
}
