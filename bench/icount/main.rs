//! Runs keep-alive exchanges through a worker on the simulated network, for counting instructions
//! under callgrind.
//!
//! `icount SCENARIO N` runs N exchanges after a warm-up. Two runs with different N, subtracted, give
//! the cost of one exchange; `scripts/icount.sh` does that and compares with the committed baseline.

use std::process::ExitCode;

use icount::Exchanges;

/// As a browser's or a client library's request looks.
const GET: &[u8] = b"GET /users/42?fields=name HTTP/1.1\r\nHost: api.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
Accept: application/json\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\n\
Cookie: session=0123456789abcdef0123456789abcdef\r\nConnection: keep-alive\r\n\r\n";

const RESPONSE_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nServer: endpoint\r\n\
Date: Tue, 14 Nov 2023 22:13:20 GMT\r\nContent-Type: application/json\r\n\
Cache-Control: no-store\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n\r\n";

const POST_HEAD: &[u8] = b"POST /users HTTP/1.1\r\nHost: api.example.com\r\n\
User-Agent: curl/8.5.0\r\nAccept: */*\r\nContent-Type: application/json\r\n\
Content-Length: 1024\r\n\r\n";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let scenario = args.next().unwrap_or_default();
    let exchanges = args.next().and_then(|n| n.parse::<u32>().ok());
    let (Some(exchanges), Some(request)) = (exchanges, request(&scenario)) else {
        complain("usage: icount get|post N");
        return ExitCode::from(2);
    };
    let response = [RESPONSE_HEAD, &[b'y'; 1024]].concat();
    let run =
        Exchanges { request, response, count: exchanges, pause_micros: 0, reports_come_back: true };
    match run.through_worker() {
        Some(requests) if requests == u64::from(exchanges) => ExitCode::SUCCESS,
        other => {
            complain(&format!("expected {exchanges} exchanges, the worker counted {other:?}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "a measuring tool talks to its terminal")]
fn complain(text: &str) {
    eprintln!("{text}");
}

fn request(scenario: &str) -> Option<Vec<u8>> {
    match scenario {
        "get" => Some(GET.to_vec()),
        "post" => Some([POST_HEAD, &[b'x'; 1024]].concat()),
        _ => None,
    }
}
