//! Tests of parsing, encoding and bodies together; single rows are in the vectors.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::head::{
    BodyLength, HeaderId, Headers, MessageKind, Method, RequestHead, ResponseHead, Version,
};
use crate::hop;
use crate::violation::Violation;

#[path = "../../../tests/fuzz/second.rs"]
mod second;

use second::Seen;

fn request(text: &str) -> RequestHead {
    let mut head = RequestHead::new();
    parse_request(text.as_bytes(), 100, &mut head).expect("a legal request");
    head
}

fn response(text: &str) -> ResponseHead {
    let mut head = ResponseHead::new();
    parse_response(text.as_bytes(), 100, Method::Get, &mut head).expect("a legal response");
    head
}

fn encoded_request(head: &RequestHead, length: BodyLength) -> String {
    let mut out = vec![0; encoded_len_max(&head.headers)];
    let len = encode_request(head, length, &mut out).expect("the bound holds");
    for short in 0..len {
        assert_eq!(encode_request(head, length, &mut vec![0; short]), None);
    }
    String::from_utf8(out[..len].to_vec()).unwrap()
}

fn encoded_response(
    head: &ResponseHead,
    length: BodyLength,
    persist: Persist,
    client: Version,
) -> String {
    let mut out = vec![0; encoded_len_max(&head.headers)];
    let len = encode_response(head, length, persist, client, &mut out).expect("the bound holds");
    for short in 0..len {
        assert_eq!(encode_response(head, length, persist, client, &mut vec![0; short]), None);
    }
    String::from_utf8(out[..len].to_vec()).unwrap()
}

#[test]
fn only_one_empty_line_is_skipped() {
    assert_eq!(leading_blank(b"\r\nGET"), 2);
    assert_eq!(leading_blank(b"\r\n\r\nGET"), 2);
    for bytes in [&b""[..], b"\r", b"\n", b"\rG", b"GET"] {
        assert_eq!(leading_blank(bytes), 0);
    }
}

#[test]
fn an_edited_request_is_written_as_edited() {
    let mut head = request(
        "GET http://b:80/b?c HTTP/1.1\r\nHost: a\r\nAccept: x\r\nCookie:y \r\nX: z\r\n\
         Connection: close\r\n\r\n",
    );
    hop::pass_request(&mut head);
    head.headers.append_list(HeaderId::XForwardedFor, b"1.2.3.4");
    head.headers.remove(HeaderId::Accept);
    head.headers.push_named(b"X-New", b"n");
    assert_eq!(
        encoded_request(&head, BodyLength::Chunked),
        "GET /b?c HTTP/1.1\r\nhost: b:80\r\nCookie: y\r\nX: z\r\nx-forwarded-for: 1.2.3.4\r\n\
         X-New: n\r\ntransfer-encoding: chunked\r\n\r\n"
    );
}

#[test]
fn a_change_of_the_method_alone_is_written() {
    let mut head = request("POST / HTTP/1.1\r\nHost: a\r\n\r\n");
    head.method = Method::Get;
    assert_eq!(encoded_request(&head, BodyLength::None), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn host_of_the_table_cannot_override_the_authority() {
    let mut head = request("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    head.headers.set(HeaderId::Host, b"evil");
    assert_eq!(encoded_request(&head, BodyLength::None), "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
}

#[test]
fn framing_of_the_table_is_never_written_for_a_request() {
    let text = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nA: b\r\n\r\n";
    let head = request(text);
    let start = "POST / HTTP/1.1\r\nHost: a\r\nA: b\r\n";
    assert_eq!(encoded_request(&head, BodyLength::None), format!("{start}\r\n"));
    assert_eq!(
        encoded_request(&head, BodyLength::Chunked),
        format!("{start}transfer-encoding: chunked\r\n\r\n")
    );
    assert_eq!(
        encoded_request(&head, BodyLength::Length(u64::MAX)),
        format!("{start}content-length: 18446744073709551615\r\n\r\n")
    );
}

#[test]
fn what_a_request_says_survives_the_strip() {
    let mut head =
        request("GET / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\nHost: a\r\n\r\n");
    hop::pass_request(&mut head);
    assert!(head.keep_alive());
    assert_eq!(head.body_length(), BodyLength::Length(3));
    assert_eq!(head.headers.get(HeaderId::ContentLength), Some(&b"3"[..]));
    assert_eq!(head.headers.get(HeaderId::Connection), None);
}

#[test]
fn a_listed_name_goes_whether_or_not_it_has_a_bit_of_its_own() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: accept-language, cookie, x-own\r\n\
                Accept-Language: r\r\nUser-Agent: u\r\nCookie: c\r\nX-Own: o\r\nAccept: a\r\nOrigin: n\r\n\r\n";
    let mut head = RequestHead::new();
    parse_request(text.as_bytes(), 100, &mut head).unwrap();
    hop::pass_request(&mut head);
    let names: Vec<_> = head.headers.iter().map(|(_, name, _)| name).collect();
    assert_eq!(names, [&b"Host"[..], b"User-Agent", b"Accept", b"Origin"]);
}

#[test]
fn what_the_gateway_adds_after_the_strip_stays() {
    let mut head =
        request("GET / HTTP/1.1\r\nHost: a\r\nConnection: x-forwarded-for, x-user\r\n\r\n");
    hop::pass_request(&mut head);
    head.headers.append_list(HeaderId::XForwardedFor, b"1.2.3.4");
    head.headers.push_named(b"x-user", b"u");
    assert_eq!(
        encoded_request(&head, BodyLength::None),
        "GET / HTTP/1.1\r\nHost: a\r\nx-forwarded-for: 1.2.3.4\r\nx-user: u\r\n\r\n"
    );
}

#[test]
fn persistence_is_said_where_it_is_not_the_default() {
    use BodyLength::{Length, UntilClose};
    use Persist::{Close, KeepAlive};
    let (old, new) = (Version::Http10, Version::Http11);
    let head = response("HTTP/1.1 200 OK\r\n\r\n");
    let line = |length, persist, client| {
        let text = encoded_response(&head, length, persist, client);
        text.lines().find_map(|line| line.strip_prefix("connection: ")).map(str::to_owned)
    };
    assert_eq!(line(Length(1), KeepAlive, new), None);
    assert_eq!(line(Length(1), KeepAlive, old).as_deref(), Some("keep-alive"));
    for (length, persist, client) in [
        (Length(1), Close, new),
        (Length(1), Close, old),
        (UntilClose, Close, new),
        (UntilClose, KeepAlive, new),
        (UntilClose, KeepAlive, old),
    ] {
        assert_eq!(line(length, persist, client).as_deref(), Some("close"));
    }
    let interim = response("HTTP/1.1 103 x\r\n\r\n");
    for persist in [KeepAlive, Close] {
        let text = encoded_response(&interim, BodyLength::None, persist, old);
        assert_eq!(text, "HTTP/1.1 103 x\r\n\r\n");
    }
}

#[test]
fn a_length_that_is_not_of_this_message_is_written_only_where_it_may_be() {
    let mut head = response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    let persist = Persist::KeepAlive;
    let mut text = |status, length| {
        head.set_status(status, "x");
        let text = encoded_response(&head, length, persist, Version::Http11);
        text.to_ascii_lowercase().matches("content-length").count()
    };
    assert_eq!(text(200, BodyLength::None), 1);
    assert_eq!(text(304, BodyLength::None), 1);
    assert_eq!(text(204, BodyLength::None), 0);
    assert_eq!(text(103, BodyLength::None), 0);
    assert_eq!(text(200, BodyLength::Length(7)), 1);
    assert_eq!(text(200, BodyLength::Chunked), 0);
    assert_eq!(text(200, BodyLength::UntilClose), 0);
}

#[test]
fn limits_on_heads_hold() {
    let mut head = RequestHead::new();
    let fields = "A: b\r\n".repeat(HEADERS_LIMIT);
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let verdict = parse_request(text.as_bytes(), usize::MAX, &mut head);
    assert_eq!(verdict, Err(Violation::TooManyHeaders));
    head.clear();
    let one = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(parse_request(one, 0, &mut head), Err(Violation::TooManyHeaders));
    head.clear();
    assert_eq!(parse_request(one, 1, &mut head), Ok(one.len()));
    head.clear();
    assert_eq!(parse_request(&one[..20], 1, &mut head), Err(Violation::HeadEnd));
    head.clear();
    assert_eq!(parse_request(&[one, &b"x"[..]].concat(), 1, &mut head), Ok(one.len()));
    let large = vec![b'x'; HEAD_BYTES_LIMIT + 1];
    head.clear();
    assert_eq!(parse_request(&large, 1, &mut head), Err(Violation::HeadTooLarge));
    let mut head = ResponseHead::new();
    assert_eq!(parse_response(&large, 1, Method::Get, &mut head), Err(Violation::HeadTooLarge));
}

#[test]
fn a_refused_head_is_empty_or_tells_what_was_found() {
    let mut head = RequestHead::new();
    let start = "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: u\r\nContent-Length: ";
    let mut parse = |end: &str| {
        head.clear();
        let verdict = parse_request(format!("{start}{end}").as_bytes(), 100, &mut head);
        (verdict, pairs(&head.headers).iter().map(|(_, value)| value.clone()).collect::<Vec<_>>())
    };
    let all = [&b"a"[..], b"u", b"x"].map(<[u8]>::to_vec).to_vec();
    assert_eq!(parse("x\r\n\r\n"), (Err(Violation::ContentLengthInvalid), all));
    assert_eq!(parse("1\r\nA : b\r\n\r\n"), (Err(Violation::SpaceBeforeColon), vec![]));
    assert_eq!(parse("1\r\n"), (Err(Violation::HeadEnd), vec![]));
}

#[test]
fn a_steady_connection_allocates_nothing() {
    let text = b"GET /a HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\nConnection: e\r\n\r\n";
    let mut head = RequestHead::new();
    let round = |head: &mut RequestHead| {
        head.clear();
        parse_request(text, 100, head).unwrap();
        hop::pass_request(head);
        head.headers.append_list(HeaderId::XForwardedFor, b"1.2.3.4");
        (head.headers.bytes().as_ptr(), head.headers.fields().as_ptr())
    };
    // Vectors that are cleared and filled alike stay where they are.
    let first = round(&mut head);
    for _ in 0..10 {
        assert_eq!(round(&mut head), first);
    }
}

#[test]
fn chunk_size_lines_are_hex() {
    let mut line = [0; CHUNK_SIZE_LINE_BYTES];
    for (len, text) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (500, "1f4\r\n")] {
        let used = chunk_size_line(len, &mut line);
        assert_eq!(&line[..used], text.as_bytes());
    }
    let used = chunk_size_line(usize::MAX, &mut line);
    assert_eq!(&line[..used], b"ffffffffffffffff\r\n");
}

#[test]
fn a_body_ends_with_its_last_chunk() {
    let mut out = [0; 64];
    assert_eq!(encode_last_chunk(None, &mut out), Some(5));
    assert_eq!(&out[..5], b"0\r\n\r\n");
    assert_eq!(encode_last_chunk(None, &mut out[..4]), None);
    let mut trailers = Headers::new();
    trailers.push_named(b"grpc-status", b"0");
    let len = encode_last_chunk(Some(&trailers), &mut out).unwrap();
    assert_eq!(&out[..len], b"0\r\ngrpc-status: 0\r\n\r\n");
}

#[test]
fn bodies_with_a_length_are_taken_and_no_more() {
    let mut decoder = BodyDecoder::new(BodyLength::Length(5), MessageKind::Request);
    assert_eq!(decoder.missing(), Some(5));
    let step = decoder.decode(&mut b"abc".to_vec()).unwrap();
    assert_eq!(step, BodyStep { data: 0..3, consumed: 3, done: false });
    assert_eq!((decoder.on_end(), decoder.missing()), (Err(Violation::Truncated), Some(2)));
    let step = decoder.decode(&mut []).unwrap();
    assert_eq!(step, BodyStep { data: 0..0, consumed: 0, done: false });
    let step = decoder.decode(&mut b"deGET".to_vec()).unwrap();
    assert_eq!(step, BodyStep { data: 0..2, consumed: 2, done: true });
    assert_eq!((decoder.on_end(), decoder.is_done()), (Ok(()), true));
    let step = decoder.decode(&mut b"GET".to_vec()).unwrap();
    assert_eq!(step, BodyStep { data: 0..0, consumed: 0, done: true });

    for length in [BodyLength::None, BodyLength::Length(0)] {
        assert!(BodyDecoder::new(length, MessageKind::Request).is_done() && length.is_empty());
    }
    let mut decoder = BodyDecoder::new(BodyLength::UntilClose, MessageKind::Request);
    let step = decoder.decode(&mut b"abc".to_vec()).unwrap();
    assert_eq!(step, BodyStep { data: 0..3, consumed: 3, done: false });
    assert_eq!((decoder.on_end(), decoder.is_done(), decoder.missing()), (Ok(()), false, None));
}

#[test]
fn chunks_that_come_together_are_moved_together() {
    let mut decoder = BodyDecoder::new(BodyLength::Chunked, MessageKind::Request);
    let mut bytes = *b"3\r\nabc\r\n2;x\r\nde\r\n0\r\nA: b\r\n\r\nGET";
    let step = decoder.decode(&mut bytes).unwrap();
    assert_eq!(step, BodyStep { data: 3..8, consumed: bytes.len() - 3, done: true });
    assert_eq!(&bytes[step.data], b"abcde");
    let trailers = decoder.take_trailers().unwrap();
    assert_eq!(trailers.find(b"a"), Some(&b"b"[..]));
    assert!(decoder.take_trailers().is_none());
}

fn token() -> impl Strategy<Value = String> {
    "[!#$%&'*+.^_`|~0-9a-zA-Z-]{1,12}"
}

fn value() -> impl Strategy<Value = String> {
    "([!-~]([ -~\t]{0,20}[!-~])?)?"
}

/// Fields that frame nothing and are not removed, with the white space around their values.
fn fields() -> impl Strategy<Value = Vec<(String, String, String, String)>> {
    let quiet = |name: &String| {
        let name = HeaderId::of(name.as_bytes());
        name == HeaderId::Other || name == HeaderId::Cookie || name == HeaderId::UserAgent
    };
    let name = prop_oneof![token(), Just("Cookie".to_owned()), Just("USER-AGENT".to_owned())]
        .prop_filter("a name without meaning here", quiet);
    vec((name, "[ \t]{0,2}", value(), "[ \t]{0,2}"), 0..12)
}

fn lines(fields: &[(String, String, String, String)]) -> String {
    fields.iter().map(|(name, a, value, b)| format!("{name}:{a}{value}{b}\r\n")).collect()
}

fn pairs(headers: &Headers) -> Vec<(Vec<u8>, Vec<u8>)> {
    headers.iter().map(|(_, name, value)| (name.to_vec(), value.to_vec())).collect()
}

fn same_fields(headers: &Headers, fields: &[(String, String, String, String)]) -> bool {
    let ours = headers.iter().filter(|(id, ..)| {
        !matches!(id, HeaderId::Host | HeaderId::ContentLength | HeaderId::TransferEncoding)
    });
    let theirs = fields.iter().map(|(name, _, value, _)| (name.as_bytes(), value.as_bytes()));
    ours.map(|(_, name, value)| (name, value)).eq(theirs)
}

/// Splits of `len` bytes, as the lengths of the pieces.
fn cut(bytes: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect()
}

/// Data, verdict, bytes left over and trailers of a chunked body that comes in pieces.
type Outcome = (Vec<u8>, Result<bool, Violation>, usize, Option<Vec<(Vec<u8>, Vec<u8>)>>);

fn decode_all(pieces: Vec<Vec<u8>>) -> Outcome {
    let mut decoder = BodyDecoder::new(BodyLength::Chunked, MessageKind::Request);
    let (mut data, mut rest) = (Vec::new(), 0);
    for mut piece in pieces {
        match decoder.decode(&mut piece) {
            Ok(step) => {
                rest += piece.len() - step.consumed;
                data.extend_from_slice(&piece[step.data]);
            }
            // How much data went out before depends on the split; the verdict does not.
            Err(violation) => return (Vec::new(), Err(violation), 0, None),
        }
    }
    let done = decoder.is_done();
    (data, Ok(done), rest, decoder.take_trailers().map(|trailers| pairs(&trailers)))
}

/// Bytes that look like chunked bodies often enough.
fn chunky() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("\r\n".to_owned()),
        Just("3\r\nabc\r\n".to_owned()),
        Just("0\r\n".to_owned()),
        Just("1;a=b\r\nx\r\n".to_owned()),
        Just("A: b\r\n".to_owned()),
        "[0-9a-fg \r\n;:]{0,4}",
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

/// Bytes that look like heads often enough.
fn heady() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just("\r\n".to_owned()),
        4 => Just("GET / HTTP/1.1\r\nHost: a\r\n".to_owned()),
        2 => Just("HTTP/1.1 200 OK\r\n".to_owned()),
        2 => Just("Content-Length: 5\r\n".to_owned()),
        2 => Just("Connection: a, close\r\n".to_owned()),
        1 => Just("Transfer-Encoding: chunked\r\n".to_owned()),
        1 => Just("GET http://a?b HTTP/1.0\r\n".to_owned()),
        2 => "[a-z]{1,3}: [a-z]{0,40}\r\n",
        1 => "[\r\n :a/?*\t\0é]{0,4}",
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_legal_request_comes_back_from_its_encoding(
        method in token(),
        path in "/[!$-;=?-\\[\\]-~]{0,20}",
        query in prop::option::of("[!$-;=?-~]{0,20}"),
        host in "[a-z0-9._~-]{1,12}(:[0-9]{1,4})?",
        before in fields(),
        after in fields(),
        framing in 0..3,
        absolute: bool,
    ) {
        prop_assume!(method != "CONNECT");
        let path = path.replace('?', "");
        let target = format!("{path}{}", query.as_ref().map_or(String::new(), |q| format!("?{q}")));
        let (framing, length) = match framing {
            0 => ("", BodyLength::None),
            1 => ("Content-Length: 12\r\n", BodyLength::Length(12)),
            _ => ("transfer-encoding:CHUNKED\r\n", BodyLength::Chunked),
        };
        let scheme = if absolute { format!("http://{host}") } else { String::new() };
        let wire = format!(
            "{method} {scheme}{target} HTTP/1.1\r\n{}Host: {host}\r\n{framing}{}\r\n",
            lines(&before), lines(&after),
        );
        prop_assert_eq!(Scanner::new().scan(wire.as_bytes()), Some(wire.len()));
        let fields = [before, after].concat();
        let head = request(&wire);
        prop_assert_eq!(head.method_bytes(), method.as_bytes());
        prop_assert_eq!(head.path_and_query(), target.as_bytes());
        prop_assert_eq!(head.path(), path.as_bytes());
        prop_assert_eq!(head.query(), query.as_ref().map(String::as_bytes));
        prop_assert_eq!(head.authority(), host.as_bytes());
        prop_assert_eq!(head.body_length(), length);
        prop_assert!(same_fields(&head.headers, &fields));

        let mut out = vec![0; encoded_len_max(&head.headers)];
        let len = encode_request(&head, length, &mut out).expect("the bound holds");
        let mut again = RequestHead::new();
        prop_assert_eq!(parse_request(&out[..len], 100, &mut again), Ok(len));
        prop_assert_eq!(again.method_bytes(), method.as_bytes());
        prop_assert_eq!(again.path_and_query(), target.as_bytes());
        prop_assert_eq!(again.authority(), host.as_bytes());
        prop_assert_eq!(again.body_length(), length);
        prop_assert!(same_fields(&again.headers, &fields));
        // A head that has been through once does not change any more.
        let mut twice = vec![0; encoded_len_max(&again.headers)];
        let len_twice = encode_request(&again, length, &mut twice).expect("the bound holds");
        prop_assert_eq!(&twice[..len_twice], &out[..len]);
    }

    #[test]
    fn any_legal_response_comes_back_from_its_encoding(
        status in 200u16..600,
        reason in value(),
        fields in fields(),
        framing in 0..3,
    ) {
        let (framing, length) = match framing {
            0 => ("", BodyLength::UntilClose),
            1 => ("Content-Length: 12\r\n", BodyLength::Length(12)),
            _ => ("Transfer-Encoding: chunked\r\n", BodyLength::Chunked),
        };
        prop_assume!(status != 204 && status != 304);
        let wire = format!("HTTP/1.1 {status} {reason}\r\n{framing}{}\r\n", lines(&fields));
        let head = response(&wire);
        prop_assert_eq!((head.status, head.reason()), (status, reason.as_bytes()));
        prop_assert_eq!(head.body_length(), length);
        let mut out = vec![0; encoded_len_max(&head.headers)];
        let persist = Persist::KeepAlive;
        let len = encode_response(&head, length, persist, Version::Http11, &mut out).unwrap();
        let mut again = ResponseHead::new();
        prop_assert_eq!(parse_response(&out[..len], 100, Method::Get, &mut again), Ok(len));
        prop_assert_eq!((again.status, again.reason()), (status, reason.as_bytes()));
        prop_assert_eq!(again.body_length(), length);
        again.headers.remove(HeaderId::Connection);
        prop_assert!(same_fields(&again.headers, &fields));
    }

    #[test]
    fn a_head_ends_in_the_same_place_however_it_arrives(
        bytes in heady(),
        cuts in vec(any::<usize>(), 0..6),
    ) {
        let lf_lf = |at: &usize| bytes[*at..].starts_with(b"\n\n");
        let lf_cr_lf = |at: &usize| bytes[*at..].starts_with(b"\n\r\n");
        let first = (0..bytes.len()).find(|at| lf_lf(at) || lf_cr_lf(at));
        let expected = first.map(|at| if lf_lf(&at) { at + 2 } else { at + 3 });
        prop_assert_eq!(Scanner::new().scan(&bytes), expected);
        let mut scanner = Scanner::new();
        let mut len = 0;
        let found = cut(&bytes, &cuts).iter().find_map(|piece| {
            len += piece.len();
            scanner.scan(&bytes[..len])
        });
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in heady(), method in 0..2) {
        if let Some(len) = Scanner::new().scan(&bytes) {
            let (mut head, bytes) = (RequestHead::new(), &bytes[..len]);
            if parse_request(bytes, 5, &mut head).is_ok() {
                hop::pass_request(&mut head);
                let mut out = vec![0; encoded_len_max(&head.headers)];
                prop_assert!(encode_request(&head, head.length, &mut out).is_some());
            }
            let method = if method == 0 { Method::Get } else { Method::Head };
            let mut head = ResponseHead::new();
            if parse_response(bytes, 5, method, &mut head).is_ok() {
                hop::pass_response(&mut head);
                let mut out = vec![0; encoded_len_max(&head.headers)];
                let version = Version::Http11;
                let len = encode_response(&head, head.length, Persist::Close, version, &mut out);
                prop_assert!(len.is_some());
            }
        }
    }

    #[test]
    fn another_parser_reads_the_same_lines(bytes in heady()) {
        let mut head = RequestHead::new();
        let ours = parse_request(&bytes, 100, &mut head).map_err(Violation::token);
        second::agree(ours.map(|len| Seen {
            len,
            line: (head.method_bytes().into(), head.target().into()),
            is_http11: head.version == Version::Http11,
            fields: pairs(&head.headers),
        }), second::request(&bytes).as_ref());
        let mut head = ResponseHead::new();
        let ours = parse_response(&bytes, 100, Method::Get, &mut head).map_err(Violation::token);
        second::agree(ours.map(|len| Seen {
            len,
            line: (head.status.to_string().into(), Vec::new()),
            is_http11: head.version == Version::Http11,
            fields: pairs(&head.headers),
        }), second::response(&bytes).as_ref());
    }

    #[test]
    fn noise_is_never_a_head(bytes in vec(any::<u8>(), 0..200)) {
        // Whatever the caller takes for a head.
        prop_assert!(parse_request(&bytes, 100, &mut RequestHead::new()).is_err());
        prop_assert!(parse_response(&bytes, 100, Method::Get, &mut ResponseHead::new()).is_err());
    }

    #[test]
    fn a_chunked_body_is_the_same_however_it_arrives(
        bytes in chunky(),
        cuts in vec(any::<usize>(), 0..6),
    ) {
        let whole = decode_all(vec![bytes.clone()]);
        prop_assert_eq!(&decode_all(cut(&bytes, &cuts)), &whole);
        prop_assert_eq!(&decode_all(bytes.chunks(1).map(<[u8]>::to_vec).collect()), &whole);
    }

    #[test]
    fn a_body_comes_back_from_its_chunks(
        chunks in vec(vec(any::<u8>(), 1..40), 0..8),
        trailers in vec((token(), value()), 0..4),
        cuts in vec(any::<usize>(), 0..6),
    ) {
        let mut wire = Vec::new();
        let mut line = [0; CHUNK_SIZE_LINE_BYTES];
        for chunk in &chunks {
            let used = chunk_size_line(chunk.len(), &mut line);
            wire.extend([&line[..used], chunk, b"\r\n"].concat());
        }
        let mut fields = Headers::new();
        for (name, value) in &trailers {
            if HeaderId::of(name.as_bytes()) == HeaderId::Other {
                fields.push_named(name.as_bytes(), value.as_bytes());
            }
        }
        let mut end = vec![0; encoded_len_max(&fields)];
        let len = encode_last_chunk(Some(&fields), &mut end).expect("the bound holds");
        wire.extend_from_slice(&end[..len]);
        wire.extend_from_slice(b"next");
        let trailers = Some(pairs(&fields)).filter(|pairs| !pairs.is_empty());
        prop_assert_eq!(decode_all(cut(&wire, &cuts)), (chunks.concat(), Ok(true), 4, trailers));
    }
}
