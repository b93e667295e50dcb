//! A second parser reads the forwarded requests, and must understand them as the gateway did.
//!
//! The second parser is llhttp, in Node's HTTP server at its strictest: it shares no code and no
//! author with ours. It stands behind the gateway as the endpoint and reports each request: method,
//! target, fields, body. Without `node` on the machine, these tests report a skip and pass.

use std::net::SocketAddr;
use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use proto::h1::{Scanner, parse_request};
use proto::head::{HeaderId, RequestHead};
use proto::hop;
use proto::path::{Form, Rules};

use super::vectors::{REQUESTS, Row, completed, gateway, listener, rows};
use crate::harness::{Client, Gateway, Process, skip};

/// Answers each request with its own understanding of it. Its first lines are its address and the
/// methods that it knows.
const SERVER: &str = r"
const http = require('http');
const answer = (request, response) => {
    const parts = [];
    request.on('data', part => parts.push(part));
    request.on('end', () => {
        const said = Buffer.from(JSON.stringify({
            method: request.method,
            target: request.url,
            fields: request.rawHeaders,
            body: Buffer.concat(parts).toString('latin1'),
        }));
        response.writeHead(200, { 'content-length': said.length });
        response.end(said);
    });
};
const server = http.createServer({ maxHeaderSize: 1 << 20, insecureHTTPParser: false }, answer);
server.on('checkExpectation', answer);
server.maxHeadersCount = 0;
server.listen(0, '127.0.0.1', () =>
    console.log('listening on ' + server.address().port + ' ' + http.METHODS.join(' ')));
";

/// Fields that the gateway frames or adds; other tests cover them.
const OURS: &[HeaderId] = &[
    HeaderId::Host,
    HeaderId::ContentLength,
    HeaderId::TransferEncoding,
    HeaderId::Connection,
    HeaderId::XForwardedFor,
    HeaderId::XForwardedProto,
    HeaderId::XForwardedHost,
    HeaderId::XForwardedPort,
    HeaderId::Forwarded,
    HeaderId::XRequestId,
    HeaderId::CdnLoop,
    HeaderId::Trailer,
    HeaderId::Expect,
];

/// Node, listening.
struct Node {
    _process: Process,
    address: SocketAddr,
    methods: Vec<String>,
}

impl Node {
    fn start() -> Option<Self> {
        if Command::new("node").arg("--version").output().is_err() {
            skip("the second parser: node is not installed");
            return None;
        }
        let process = Process::start(Command::new("node").args(["-e", SERVER]));
        let line =
            process.stdout.wait_for(|line| line.strip_prefix("listening on ").map(str::to_owned));
        let line =
            line.unwrap_or_else(|| panic!("node does not listen: {}", process.stderr.text()));
        let mut words = line.split(' ').map(str::to_owned);
        let port: u16 = words.next().and_then(|port| port.parse().ok()).expect("a port");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Some(Self { _process: process, address, methods: words.collect() })
    }

    /// Whether it knows the method of this request: llhttp knows those that are registered.
    fn knows(&self, bytes: &[u8]) -> bool {
        self.methods.iter().any(|method| bytes.starts_with(format!("{method} ").as_bytes()))
    }
}

/// Our understanding of a request that has `body`.
#[derive(Debug)]
struct Understood {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: String,
}

impl Understood {
    fn of(bytes: &[u8], rules: Rules, body: &[u8]) -> Self {
        let mut head = RequestHead::new();
        let len = Scanner::new().scan(bytes).expect("a head");
        parse_request(&bytes[..len], 100, &mut head).expect("it is legal");
        head.settle_path(rules).expect("it is legal");
        hop::pass_request(&mut head);
        let fields = head.headers.iter().filter(|(id, ..)| !OURS.contains(id));
        Self {
            method: latin1(head.method_bytes()),
            target: latin1(head.path_and_query()),
            fields: fields.map(|(_, name, value)| (latin1(name), latin1(value))).collect(),
            body: latin1(body),
        }
    }

    /// Compares it with Node's understanding.
    fn assert_is(&self, said: &str) {
        let said: serde_json::Value =
            serde_json::from_str(said).unwrap_or_else(|_| panic!("{self:?}: {said}"));
        let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(self.method, text("method"), "{self:?}");
        assert_eq!(self.target, text("target"), "{self:?}");
        assert_eq!(self.body, text("body"), "{self:?}");
        let fields: Vec<_> = said["fields"].as_array().expect("a list").iter().collect();
        let fields = fields.chunks(2).map(|pair| {
            let text = |at: usize| pair[at].as_str().unwrap_or_default().to_owned();
            (text(0), text(1))
        });
        let ours = |name: &str| OURS.contains(&HeaderId::of(name.as_bytes()));
        let fields: Vec<_> = fields.filter(|(name, _)| !ours(name)).collect();
        assert_eq!(self.fields, fields, "{self:?}");
    }
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

#[test]
fn every_legal_vector_means_the_same_to_llhttp() {
    let Some(node) = Node::start() else { return };
    let (_gateway, listeners) = gateway(node.address);
    let mut compared = 0;
    // It takes no byte beyond ASCII in a target.
    let is_ascii = |row: &Row| row.bytes.split(|&byte| byte == b'\r').next().unwrap().is_ascii();
    let known = |row: &Row| row.verdict == "ok" && is_ascii(row) && node.knows(&row.bytes);
    for row in rows(REQUESTS).filter(known) {
        let (bytes, Some(body)) = completed(&row) else { continue };
        let form = if row.prefix.contains("keep") { Form::Keep } else { Form::Normalise };
        let understood = Understood::of(&bytes, Rules { form, ..Rules::default() }, &body);
        let mut client = Client::connect(listener(&listeners, &row));
        client.send(&bytes);
        if bytes.starts_with(b"HEAD ") {
            assert_eq!(client.response_to_head().status, 200, "line {}", row.line);
            continue;
        }
        let response = client.response();
        assert_eq!(response.status, 200, "line {}: {}", row.line, response.text());
        understood.assert_is(response.text());
        compared += 1;
    }
    assert!(compared > 110, "{compared}");
}

/// A request as bytes, and its body.
type Made = (Vec<u8>, Vec<u8>);

/// Any legal request with a method that llhttp knows and an answer with a body.
fn request() -> impl Strategy<Value = Made> {
    let method = prop::sample::select(&["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"][..]);
    let piece = prop::sample::select(
        &["/", "//", "/./", "/a/../", "a", "b.c", "%41", "%2f", "%c3%a9", ";x=y", "~", "..."][..],
    );
    let path =
        prop::collection::vec(piece, 0..6).prop_map(|pieces| format!("/{}", pieces.concat()));
    let query = prop::option::of("[a-z0-9%=&/?.;+-]{0,12}");
    let field = ("[A-Za-z0-9_-]{1,12}", "[ -~\u{80}-\u{ff}\t]{0,24}");
    let fields = prop::collection::vec(field, 0..6);
    let body = prop::collection::vec(any::<u8>(), 0..200);
    let pieces = prop::collection::vec(1..40_usize, 0..8);
    (method, path, query, fields, body, prop::option::of(pieces)).prop_map(
        |(method, path, query, fields, body, pieces)| {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            let mut bytes =
                format!("{method} {path}{query} HTTP/1.1\r\nHost: example.com\r\n").into_bytes();
            for (name, value) in fields {
                bytes.extend(format!("X-{name}: ").bytes());
                bytes.extend(value.chars().map(|it| u8::try_from(u32::from(it)).unwrap_or(b'?')));
                bytes.extend(b"\r\n");
            }
            let Some(pieces) = pieces else {
                bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
                bytes.extend_from_slice(&body);
                return (bytes, body);
            };
            bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            let mut rest = &body[..];
            for len in pieces.into_iter().chain([usize::MAX]) {
                let (chunk, after) = rest.split_at(len.min(rest.len()));
                if !chunk.is_empty() {
                    bytes.extend(format!("{:x};e=\"{len}\"\r\n", chunk.len()).bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend(b"\r\n");
                }
                rest = after;
            }
            bytes.extend(b"0\r\n\r\n");
            (bytes, body)
        },
    )
}

/// Requests one behind the other on one connection: each is read by llhttp as we understand it, or
/// refused by us for its path, which ends the connection.
fn compare(gateway: &Gateway, requests: &[Made]) {
    let mut client = gateway.client();
    for (bytes, body) in requests {
        client.send_if_it_goes(bytes);
        let response = client.response();
        if response.status == 400 {
            let reasons = ["path_above_root", "encoded_slash"];
            assert!(reasons.iter().any(|it| response.text().contains(it)), "{}", response.text());
            client = gateway.client();
            continue;
        }
        assert_eq!(response.status, 200, "{}: {}", latin1(bytes), response.text());
        Understood::of(bytes, Rules::default(), body).assert_is(response.text());
    }
}

#[test]
fn every_forwarded_request_means_the_same_to_llhttp() {
    let Some(node) = Node::start() else { return };
    let gateway = Gateway::in_front_of_addresses([node.address]).route("upgrades = []").start();
    let config = Config { cases: 100, failure_persistence: None, ..Config::default() };
    let requests = prop::collection::vec(request(), 1..10);
    TestRunner::new(config)
        .run(&requests, |requests| {
            compare(&gateway, &requests);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}
