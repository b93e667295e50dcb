//! Unix sockets on either side, IPv6, and both kinds of IP at one socket.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as SocketName, UnixListener, UnixStream};
use std::path::Path;

use nix::sys::signal::Signal;

use crate::harness::{
    Builder, Client, Endpoint, GET, Gateway, assert_same_bytes, eventually, pattern,
};

/// A section for a listener at this path.
fn socket(path: &Path) -> String {
    format!("[listeners.socket]\naddress = \"unix:{}\"", path.display())
}

fn with_socket(endpoint: &Endpoint, path: &Path) -> Builder {
    Gateway::in_front_of(&[endpoint]).and(&socket(path))
}

#[test]
fn clients_of_a_unix_socket_are_served_on_every_core_and_have_no_address() {
    let folder = tempfile::tempdir().unwrap();
    let (path, log) = (folder.path().join("web.sock"), folder.path().join("access.log"));
    let endpoint = Endpoint::ok();
    let gateway = with_socket(&endpoint, &path)
        .and(&format!("[access_log]\nto = \"{}\"", log.display()))
        .cores(2)
        .start();
    let mut clients: Vec<_> = (0..16).map(|_| Client::connect_unix(&path)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
        assert_eq!(client.get("/").status, 200);
    }
    let request = &endpoint.requests()[0];
    assert!(!request.has("x-forwarded-for"), "{:?}", request.headers);
    assert!(!request.has("x-forwarded-port"), "{:?}", request.headers);
    assert_eq!(request.header("x-forwarded-proto"), Some("http"));
    let logged = || fs::read_to_string(&log).unwrap_or_default();
    eventually("all are logged", || logged().lines().count() == 32);
    assert!(logged().lines().all(|it| it.contains("\"client\":\"unix:\",\"listener\":\"socket\"")));
    gateway.stop();
    assert!(!path.exists(), "the socket goes with the gateway");
}

#[test]
fn bodies_pass_unix_sockets_on_both_sides_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let body = pattern(4 << 20);
    let name = SocketName::from_abstract_name(format!("ringway-{}", std::process::id())).unwrap();
    let endpoint = Endpoint::saying_at(&name, str::from_utf8(&body_as_text(body)).unwrap());
    let upstream = format!("unix:@ringway-{}", std::process::id());
    let gateway = Gateway::in_front_of_addresses([upstream.as_str()])
        .and(&socket(&path))
        .and(&format!("[access_log]\nto = \"{}\"", folder.path().join("log").display()))
        .start();
    let mut client = Client::connect_unix(&path);
    for _ in 0..2 {
        let sent = client.send_meanwhile(
            [
                format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len())
                    .as_bytes(),
                body,
            ]
            .concat(),
        );
        let response = client.response();
        sent.join().unwrap().unwrap();
        assert_same_bytes(&response.body, &body_as_text(body));
    }
    for request in endpoint.requests() {
        assert_same_bytes(&request.body, body);
    }
    assert_eq!(endpoint.connections(), 1, "the connection is used again");
    let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    let named = format!("\"endpoint\":\"{upstream}\"");
    eventually("the endpoint is named in the log", || log().contains(&named));
    gateway.stop();
}

/// The bytes as hex digits.
fn body_as_text(bytes: &[u8]) -> Vec<u8> {
    let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[test]
fn an_endpoint_at_a_unix_socket_that_is_gone_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let gateway = Gateway::in_front_of_addresses([format!("unix:{}", path.display())]).start();
    gateway.client().get("/");
    let mut client = gateway.client();
    client.get("/").assert_is_reply(502, "endpoint_refused");
    let name = SocketName::from_pathname(&path).unwrap();
    let _endpoint = Endpoint::saying_at(&name, "hello");
    assert_eq!(client.get("/").text(), "hello");
    gateway.stop();
}

#[test]
fn a_listener_moves_from_tcp_to_a_unix_socket_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let endpoint = Endpoint::ok();
    let builder = || Gateway::in_front_of(&[&endpoint]).admin();
    let gateway = builder().start();
    let tcp = gateway.address();
    let moved = |address: &str| builder().at(address).text();
    let apply = |text: &str| {
        let applied = gateway.admin("POST", "/v1/config", text);
        assert_eq!(applied.status, 200, "{}", applied.text());
    };
    for _ in 0..3 {
        let mut before = gateway.client();
        before.get("/");
        apply(&moved(&format!("unix:{}", path.display())));
        let mut client = Client::connect_unix(&path);
        assert_eq!(client.get("/").status, 200);
        before.assert_closed();
        apply(&moved(&tcp.to_string()));
        assert!(!path.exists(), "the socket goes with the listener");
        assert_eq!(gateway.client().get("/").status, 200);
        client.assert_closed();
    }
    gateway.stop();
}

#[test]
fn a_unix_socket_goes_from_one_listener_to_another_without_a_client_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let endpoint = Endpoint::ok();
    let builder = || Gateway::in_front_of(&[&endpoint]).admin();
    let gateway = builder().and(&socket(&path)).cores(2).start();
    for turn in 0..10 {
        let mut early = Client::connect_unix(&path);
        let name = ["listeners.other", "listeners.socket"][turn % 2];
        let text = builder().and(&socket(&path).replace("listeners.socket", name)).text();
        let applied = gateway.admin("POST", "/v1/config", &text);
        assert_eq!(applied.status, 200, "{}", applied.text());
        early.send(GET);
        // Accepted by a listener that goes, it is served once or closed.
        let _ = early.try_response();
        assert_eq!(Client::connect_unix(&path).get("/").status, 200, "turn {turn}");
    }
    gateway.stop();
    assert!(!path.exists());
}

#[test]
fn a_socket_of_the_dead_is_replaced_and_one_of_the_living_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let endpoint = Endpoint::ok();
    let builder = with_socket(&endpoint, &path);
    let killed = builder.start();
    killed.process.signal(Signal::SIGKILL);
    eventually("it is dead", || UnixStream::connect(&path).is_err());
    assert!(path.exists(), "who is killed cannot clean up");
    let gateway = builder.start();
    assert_eq!(Client::connect_unix(&path).get("/").status, 200);
    gateway.stop();

    let _alive = UnixListener::bind(&path).unwrap();
    let gateway = Gateway::in_front_of(&[&endpoint]).admin().start();
    let text = Gateway::in_front_of(&[&endpoint]).admin().and(&socket(&path)).text();
    let refused = gateway.admin("POST", "/v1/config", &text);
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("another process answers"), "{}", refused.text());
    assert!(path.exists());
    gateway.stop();
}

#[test]
fn a_listener_on_all_addresses_takes_ipv6_and_ipv4() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).at("[::]:0").start();
    let port = gateway.address().port();
    for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let mut client = Client::connect(SocketAddr::new(ip, port));
        assert_eq!(client.get("/").status, 200, "{ip}");
        let request = endpoint.requests().pop().unwrap();
        assert_eq!(request.header("x-forwarded-for"), Some(ip.to_string().as_str()));
    }
    gateway.stop();
}

#[test]
fn all_addresses_of_both_kinds_exclude_all_of_ipv4() {
    let endpoint = Endpoint::ok();
    let builder = || Gateway::in_front_of(&[&endpoint]).admin();
    let gateway = builder().start();
    let both =
        "[listeners.six]\naddress = \"[::]:8080\"\n[listeners.four]\naddress = \"0.0.0.0:8080\"";
    let refused = gateway.admin("POST", "/v1/config", &builder().and(both).text());
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("ask for the same address"), "{}", refused.text());
    gateway.stop();
}
