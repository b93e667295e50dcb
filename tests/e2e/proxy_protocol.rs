//! The PROXY protocol: a header in any pieces, no header, and bytes that are no header.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use socket2::{Domain, Socket, Type};

use crate::harness::{Client, Endpoint, GET, Gateway, Process, eventually, free_address, skip};

const V1: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.80 4660 8443\r\n";

/// Version 2 of the same.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\xc0\0\x02\x50\x12\x34\x20\xfb";

fn gateway(endpoint: &Endpoint, mode: &str, log: &Path) -> Gateway {
    Gateway::in_front_of(&[endpoint])
        .listener(&format!("proxy_protocol = \"{mode}\""))
        .listener("timeouts = { head = \"300ms\" }")
        .and(&format!("[access_log]\nto = \"{}\"", log.display()))
        .admin()
        .start()
}

fn log_has(log: &Path, what: &str) -> bool {
    fs::read_to_string(log).unwrap_or_default().lines().any(|line| line.contains(what))
}

#[test]
fn the_client_has_the_address_of_the_header_in_any_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    for mode in ["optional", "required"] {
        let endpoint = Endpoint::ok();
        let gateway = gateway(&endpoint, mode, &log);
        for header in [V1, V2] {
            // Together with the request, and with the next one.
            let mut client = gateway.client();
            client.send([header, GET.as_bytes(), GET.as_bytes()].concat());
            assert_eq!((client.response().status, client.response().status), (200, 200));
            // In two pieces, at every place.
            for at in 1..header.len() {
                let mut client = gateway.client();
                client.send(&header[..at]);
                client.send([&header[at..], GET.as_bytes()].concat());
                assert_eq!(client.response().status, 200, "{mode} {at}");
            }
            // Byte by byte.
            let mut client = gateway.client();
            for byte in header.iter().chain(GET.as_bytes()) {
                client.send([*byte]);
            }
            assert_eq!(client.response().status, 200);
        }
        for request in endpoint.requests() {
            assert_eq!(request.header("x-forwarded-for"), Some("203.0.113.7"));
            assert_eq!(request.header("x-forwarded-port"), Some("8443"));
        }
        gateway.stop();
        assert!(log_has(&log, "\"client\":\"203.0.113.7:4660\""));
        assert!(!log_has(&log, "\"client\":\"127.0.0.1"));
    }
}

#[test]
fn a_balancer_that_speaks_for_itself_stands_for_itself() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::ok();
    let gateway = gateway(&endpoint, "required", &folder.path().join("access.log"));
    let local: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for header in [&b"PROXY UNKNOWN\r\n"[..], local] {
        let mut client = gateway.client();
        client.send([header, GET.as_bytes()].concat());
        assert_eq!(client.response().status, 200);
    }
    for request in endpoint.requests() {
        assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
        let port = gateway.address().port().to_string();
        assert_eq!(request.header("x-forwarded-port"), Some(port.as_str()));
    }
    gateway.stop();
}

#[test]
fn where_one_is_required_a_connection_without_is_closed_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let endpoint = Endpoint::ok();
    let gateway = gateway(&endpoint, "required", &log);
    for (bytes, reason) in [
        (GET.as_bytes(), "proxy_header_missing"),
        (b"\x16\x03\x01", "proxy_header_missing"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.80 4660 99999\r\n", "proxy_header_malformed"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x12", "proxy_header_malformed"),
        (b"PROXY TCP4 203.0.113.7", "proxy_header_timeout"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb", "proxy_header_timeout"),
    ] {
        let mut client = gateway.client();
        client.send(bytes);
        let (rest, _) = client.rest();
        assert_eq!(String::from_utf8_lossy(&rest), "", "nothing is answered: {reason}");
    }
    // Nothing at all: closed as any connection that says nothing.
    gateway.client().assert_closed();
    for (reason, count) in [
        ("proxy_header_missing", 2.0),
        ("proxy_header_malformed", 2.0),
        ("proxy_header_timeout", 2.0),
    ] {
        let label = format!("reason=\"{reason}\"");
        let counted = || gateway.metric("ringway_requests_total", &[&label]);
        eventually("the refusals are counted", || counted() == count);
        let logged = format!("\"reason\":\"{reason}\"");
        eventually("the refusals are logged", || log_has(&log, &logged));
    }
    assert_eq!(endpoint.connections(), 0);
    gateway.stop();
}

#[test]
fn where_one_is_optional_a_request_may_come_without() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::ok();
    let gateway = gateway(&endpoint, "optional", &folder.path().join("access.log"));
    let mut client = gateway.client();
    for piece in ["P", "OST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"] {
        client.send(piece);
    }
    assert_eq!(client.response().status, 200);
    assert_eq!(client.get("/").status, 200);
    // A second header is none.
    let mut client = gateway.client();
    client.send([V1, V1, GET.as_bytes()].concat());
    assert_eq!(client.response().status, 400);
    assert_eq!(endpoint.requests()[0].header("x-forwarded-for"), Some("127.0.0.1"));
    gateway.stop();
}

#[test]
fn where_it_is_off_a_header_is_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::ok();
    let gateway = gateway(&endpoint, "off", &folder.path().join("access.log"));
    for header in [V1, V2] {
        let mut client = gateway.client();
        client.send([header, GET.as_bytes()].concat());
        assert_eq!(client.response().status, 400);
    }
    assert_eq!(endpoint.connections(), 0);
    gateway.stop();
}

#[test]
fn a_change_of_the_mode_holds_for_new_connections() {
    let endpoint = Endpoint::ok();
    let builder = |mode: &str| {
        let mode = format!("proxy_protocol = \"{mode}\"");
        Gateway::in_front_of(&[&endpoint]).listener(&mode).admin()
    };
    let gateway = builder("off").start();
    let mut before = gateway.client();
    before.get("/");
    assert_eq!(gateway.admin("POST", "/v1/config", &builder("required").text()).status, 200);
    assert_eq!(before.get("/").status, 200);
    let mut after = Client::connect(gateway.address());
    after.send([V2, GET.as_bytes()].concat());
    assert_eq!(after.response().status, 200);
    let forwarded = endpoint.requests().pop().unwrap();
    assert_eq!(forwarded.header("x-forwarded-for"), Some("203.0.113.7"));
    gateway.stop();
}

/// A request from 127.0.0.2 to `address`; the first line of the answer.
fn ask_from_another_address(address: SocketAddr) -> String {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Whether it is installed; says so if not.
fn is_there(path: &str) -> bool {
    let there = Path::new(path).exists();
    if !there {
        skip(&format!("PROXY headers of others: {path} is not installed"));
    }
    there
}

#[test]
fn the_headers_of_haproxy_and_nginx_name_the_client() {
    const HAPROXY: &str = "/usr/sbin/haproxy";
    const NGINX: &str = "/usr/sbin/nginx";
    const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display();
    let endpoint = Endpoint::ok();
    let log = folder.path().join("access.log");
    let gateway = gateway(&endpoint, "required", &log);
    let config = folder.path().join("config");
    let mut asked = 0;
    let mut ask = |program: &str, flag: &str, text: String, address: SocketAddr| {
        fs::write(&config, text).unwrap();
        let _process = Process::start(Command::new(program).arg(flag).arg(&config));
        eventually("it listens", || TcpStream::connect(address).is_ok());
        assert_eq!(ask_from_another_address(address), "HTTP/1.1 200 OK", "{program}");
        asked += 1;
    };
    let to = gateway.address();
    for sends in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"]
    {
        if is_there(HAPROXY) {
            let at = free_address();
            let text = format!(
                "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
                 frontend web\n bind {at}\n unique-id-format %ci\n default_backend app\n\
                 backend app\n server app {to} {sends}\n"
            );
            ask(HAPROXY, "-f", text, at);
        }
    }
    if is_there(NGINX) && is_there(NGINX_STREAM) {
        let at = free_address();
        let text = format!(
            "load_module {NGINX_STREAM};\ndaemon off; master_process off; pid {root}/pid;\n\
             error_log stderr; events {{}}\n\
             stream {{ server {{ listen {at}; proxy_pass {to}; proxy_protocol on; }} }}\n"
        );
        ask(NGINX, "-c", text, at);
    }
    let requests = endpoint.requests();
    assert_eq!(requests.len(), asked);
    for request in requests {
        assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.2"));
    }
}
