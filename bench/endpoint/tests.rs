//! The endpoint over a real socket on a free port.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::{Endpoint, EndpointOptions, Handle, Mode};

fn endpoint(mode: Mode) -> Handle {
    let options = EndpointOptions {
        address: "127.0.0.1:0".parse().expect("an address"),
        name: "one".into(),
        mode,
        cpu: None,
    };
    Endpoint::spawn(options).expect("a free port")
}

/// Sends the bytes, closes the sending half and returns all that comes back.
fn talk(endpoint: &Handle, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(endpoint.address()).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    stream.write_all(request).expect("the request goes out");
    stream.shutdown(Shutdown::Write).expect("the end goes out");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the answer comes in");
    String::from_utf8(answer).expect("text")
}

#[test]
fn a_size_in_the_path_is_the_size_of_the_body() {
    let endpoint = endpoint(Mode::Sizes);
    let answer = talk(&endpoint, b"GET /bytes/5 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("Content-Length: 5\r\n\r\nxxxxx"), "{answer}");
    let large = talk(&endpoint, b"GET /64k HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(large.bytes().filter(|&byte| byte == b'x').count(), 65536);
}

#[test]
fn pipelined_requests_are_answered_in_order_small_and_large() {
    let endpoint = endpoint(Mode::Sizes);
    let one = "GET /bytes/9 HTTP/1.1\r\nHost: a\r\n\r\n";
    let other = "GET /bytes/100000 HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = talk(&endpoint, format!("{one}{other}").repeat(20).as_bytes());
    let lengths: Vec<&str> =
        answer.lines().filter_map(|line| line.strip_prefix("Content-Length: ")).collect();
    assert_eq!(lengths, ["9", "100000"].repeat(20));
    assert_eq!(answer.bytes().filter(|&byte| byte == b'x').count(), 20 * 100_009);
}

#[test]
fn a_thousand_pipelined_requests_get_a_thousand_answers() {
    let endpoint = endpoint(Mode::Sizes);
    let answer = talk(&endpoint, "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000).as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 1000);
}

#[test]
fn bodies_are_counted_with_a_length_and_in_chunks() {
    let endpoint = endpoint(Mode::Sizes);
    let counted = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd";
    assert!(talk(&endpoint, counted).ends_with("\r\n\r\n4\n"));
    let chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                    3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    assert!(talk(&endpoint, chunked).ends_with("\r\n\r\n6\n"));
}

#[test]
fn a_head_that_comes_byte_by_byte_is_answered_once() {
    let endpoint = endpoint(Mode::Sizes);
    let mut stream = TcpStream::connect(endpoint.address()).expect("a connection");
    for byte in b"GET /bytes/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" {
        stream.write_all(&[*byte]).expect("a byte goes out");
        std::thread::sleep(Duration::from_micros(200));
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer, then the end");
    assert!(answer.ends_with("Connection: close\r\n\r\nx"), "{answer}");
}

#[test]
fn a_large_body_reaches_a_slow_reader_whole() {
    let endpoint = endpoint(Mode::Sizes);
    let mut stream = TcpStream::connect(endpoint.address()).expect("a connection");
    let request = b"GET /bytes/20000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(request).expect("the request goes out");
    std::thread::sleep(Duration::from_millis(50));
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the answer comes in");
    assert_eq!(answer.iter().filter(|&&byte| byte == b'x').count(), 20_000_000);
}

#[test]
fn a_delay_holds_the_answer_and_nobody_else() {
    let endpoint = endpoint(Mode::Sizes);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let slow =
            scope.spawn(|| talk(&endpoint, b"GET /1k?delay_ms=300 HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(talk(&endpoint, b"GET /1k HTTP/1.1\r\nHost: a\r\n\r\n").contains("200 OK"));
        assert!(start.elapsed() < Duration::from_millis(250));
        assert!(slow.join().expect("an answer").contains("200 OK"));
    });
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn hello_lists_the_fields_that_arrived() {
    let endpoint = endpoint(Mode::Hello);
    let answer = talk(&endpoint, b"GET /a?b HTTP/1.1\r\nHost: h\r\nX-Id: 7\r\n\r\n");
    let json = "{\"endpoint\":\"one\",\"method\":\"GET\",\"path\":\"/a?b\",\
                \"headers\":[[\"Host\",\"h\"],[\"X-Id\",\"7\"]]}\n";
    assert!(answer.ends_with(json), "{answer}");
}

#[test]
fn bytes_that_are_not_http_are_refused_and_a_head_request_gets_no_body() {
    let endpoint = endpoint(Mode::Sizes);
    assert!(talk(&endpoint, b"\x16\x03\x01\x02\x00").starts_with("HTTP/1.1 400"));
    let answer = talk(&endpoint, b"HEAD /64k HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.ends_with("Content-Length: 65536\r\n\r\n"), "{answer}");
}

#[test]
fn dropping_the_handle_closes_the_port() {
    let endpoint = endpoint(Mode::Sizes);
    let address = endpoint.address();
    drop(endpoint);
    assert!(TcpStream::connect(address).is_err());
}
