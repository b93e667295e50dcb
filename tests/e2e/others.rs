//! How nginx and HAProxy answer the vectors of requests: writes `docs/vectors.md`.
//!
//! Ignored, because it says something about other people's software, of the version that is
//! installed. Run it with
//! `cargo test --test main others -- --ignored`.

use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::vectors::{REQUESTS, Row, begins_blank, completed, gateway, listener, rows};
use crate::harness::{Endpoint, Process, free_address, holds_within};

/// For how long a product that says nothing is waited for.
const PATIENCE: Duration = Duration::from_millis(250);

/// How much of a row is shown.
const SHOWN_MAX: usize = 110;

/// The text in every answer of the endpoint.
const ANSWER: &str =
    "HTTP/1.1 200 From the endpoint\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// How a product answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It passed the request on.
    Passed,
    /// It answered by itself, with this status.
    Status(u16),
    /// It closed the connection without a word.
    Closed,
    /// It waits for more.
    Waits,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Passed => f.write_str("passed on"),
            Self::Status(status) => write!(f, "{status}"),
            Self::Closed => f.write_str("closed"),
            Self::Waits => f.write_str("waits"),
        }
    }
}

/// An endpoint that counts the heads that it gets and reads no body, because the products differ in
/// the bodies that they send on.
fn endpoint() -> (Endpoint, Arc<Mutex<usize>>) {
    let count = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&count);
    let endpoint = Endpoint::scripted(move |mut connection| {
        if connection.next_head().is_some() {
            *counted.lock().unwrap() += 1;
            connection.send(ANSWER);
        }
    });
    (endpoint, count)
}

/// Sends `bytes` and returns the outcome. A request that reached the endpoint counts as passed on,
/// whatever the client got.
fn ask(address: SocketAddr, bytes: &[u8], count: &Mutex<usize>) -> Answer {
    let before = *count.lock().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    // It may be refused before all of it was sent.
    let _ = stream.write_all(bytes);
    let (mut said, give_up_at) = (Vec::new(), Instant::now() + PATIENCE);
    loop {
        let mut block = [0; 4096];
        let end = match stream.read(&mut block) {
            Ok(0) => Some(Answer::Closed),
            Ok(len) => {
                said.extend_from_slice(&block[..len]);
                None
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                (Instant::now() > give_up_at).then_some(Answer::Waits)
            }
            Err(_) => Some(Answer::Closed),
        };
        if *count.lock().unwrap() > before {
            return Answer::Passed;
        }
        let text = String::from_utf8_lossy(&said);
        let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
        match (status, end) {
            (Some(status), _) if status >= 200 => return Answer::Status(status),
            (_, Some(end)) => return end,
            _ => {}
        }
    }
}

fn nginx(folder: &Path, endpoint: SocketAddr) -> (Process, SocketAddr) {
    let address = free_address();
    let config = folder.join("nginx.conf");
    let folder = folder.display();
    let text = format!(
        "daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n\
         events {{ }}\n\
         http {{\n access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};\n\
         fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};\n\
         upstream app {{ server {endpoint}; keepalive 8; }}\n\
         server {{ listen {address}; location / {{ proxy_pass http://app;\n\
         proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;\n\
         proxy_request_buffering off; }} }} }}\n"
    );
    fs::write(&config, text).unwrap();
    (Process::start(Command::new("/usr/sbin/nginx").arg("-c").arg(&config)), address)
}

fn haproxy(folder: &Path, endpoint: SocketAddr) -> (Process, SocketAddr) {
    let address = free_address();
    let config = folder.join("haproxy.cfg");
    let text = format!(
        "global\n maxconn 1000\n\
         defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n \
         timeout http-request 30s\n\
         frontend web\n bind {address}\n default_backend app\n\
         backend app\n server app {endpoint}\n"
    );
    fs::write(&config, text).unwrap();
    (Process::start(Command::new("/usr/sbin/haproxy").arg("-f").arg(&config)), address)
}

fn version(program: &str) -> String {
    let output = Command::new(program).arg("-v").output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().next().unwrap_or_default();
    let word = line.split([' ', '/']).find(|it| it.starts_with(|it: char| it.is_ascii_digit()));
    word.unwrap_or(line).split('-').next().unwrap_or_default().to_owned()
}

/// The rows that are compared.
fn compared() -> impl Iterator<Item = Row> {
    rows(REQUESTS).filter(|row| row.verdict != "incomplete" && !begins_blank(row))
}

/// The row as it is written, made fit for a table.
fn shown(row: &str) -> String {
    let text = row.rsplit_once(" -> ").map_or(row, |(left, _)| left);
    let short: String = text.chars().take(SHOWN_MAX).collect();
    let more = if short.len() < text.len() { " …" } else { "" };
    format!("`` {}{more} ``", short.replace('|', "\\|"))
}

#[test]
#[ignore = "writes docs/vectors.md, and needs nginx and haproxy"]
fn how_others_answer_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    // One endpoint for each product, so that late bytes do not count for another product.
    let [(ours, our_count), (of_nginx, nginx_count), (of_haproxy, haproxy_count)] =
        [(); 3].map(|()| endpoint());
    let (_gateway, listeners) = gateway(ours.address());
    let (_nginx, nginx) = nginx(folder.path(), of_nginx.address());
    let (_haproxy, haproxy) = haproxy(folder.path(), of_haproxy.address());
    for address in [nginx, haproxy] {
        let ready = holds_within(Duration::from_secs(10), || TcpStream::connect(address).is_ok());
        assert!(ready, "nobody listens at {address}");
    }

    let lines: Vec<&str> = REQUESTS.lines().collect();
    let (mut table, mut heading) = (String::new(), "");
    let mut sums = [[0; 3]; 2];
    let mut laxer = Vec::new();
    for row in compared() {
        let above = lines[..row.line].iter().rev().find_map(|line| line.strip_prefix("# "));
        if let Some(above) = above.filter(|above| *above != heading) {
            heading = above;
            let _ = write!(
                table,
                "\n## {}\n\n| bytes | verdict | ringway | nginx | HAProxy |\n|---|---|---|---|---|\n",
                heading.trim_end_matches('.')
            );
        }
        let (bytes, _) = completed(&row);
        let ours = ask(listener(&listeners, &row), &bytes, &our_count);
        let nginx = ask(nginx, &bytes, &nginx_count);
        let haproxy = ask(haproxy, &bytes, &haproxy_count);
        let legal = row.verdict == "ok";
        for (sum, answer) in sums[usize::from(legal)].iter_mut().zip([ours, nginx, haproxy]) {
            *sum += usize::from(answer == Answer::Passed);
        }
        let refuses = |it: Answer| it != Answer::Passed;
        if ours == Answer::Passed && (refuses(nginx) || refuses(haproxy)) {
            laxer.push(row.line);
        }
        let line = lines[row.line - 1];
        let verdict = &row.verdict;
        let _ = writeln!(table, "| {} | `{verdict}` | {ours} | {nginx} | {haproxy} |", shown(line));
    }
    let legal = compared().filter(|row| row.verdict == "ok").count();
    let illegal = compared().count() - legal;
    let [[ours_bad, nginx_bad, haproxy_bad], [ours, nginx, haproxy]] = sums;
    let text = format!(
        "# How others answer the same bytes

<!-- Generated by tests/e2e/others.rs. Do not edit: run `cargo test --test main others -- --ignored`. -->

The [vectors of requests](../tests/vectors/h1/README.md), sent to Ringway, nginx {} and HAProxy {}, each with its
default settings in front of an endpoint. \"Passed on\" means that a request reached the endpoint; a number is the status
of an answer that the product made itself; \"closed\" is a connection closed without a word, \"waits\" one that is still
open after {} ms. Rows that are incomplete, or begin with an empty line (RFC 9112 2.2), are left out. The others
may have changed a request before they passed it on: this table says whether the endpoint was reached, not by which bytes.

Where another product refuses a row that Ringway passes on, the row is legal: methods in lower case or made of signs, `TRACE`,
`OPTIONS *`, tabs around a value, names of more than 256 bytes, `..` where `path = \"keep\"` asks for it, bytes beyond ASCII
in a query, an empty port, a Host that the target overrules.

| requests | Ringway passed on | nginx passed on | HAProxy passed on |
|---|---|---|---|
| {legal} legal ones | {ours} | {nginx} | {haproxy} |
| {illegal} others | {ours_bad} | {nginx_bad} | {haproxy_bad} |
{table}",
        version("/usr/sbin/nginx"),
        version("/usr/sbin/haproxy"),
        PATIENCE.as_millis(),
    );
    fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/vectors.md"), text).unwrap();
    eprintln!("passed on by us, not by all: lines {laxer:?}");
    assert_eq!((ours, ours_bad), (legal, 0), "every legal request, and no other");
}
