//! TLS towards clients: handshakes, certificates, and HTTP/1.1 inside.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::tunnels::{SWITCH, UPGRADE};
use crate::harness::{
    Authority, Builder, Client, Connection, End, Endpoint, GET, Gateway, PATIENCE, TLS12, TLS13,
    assert_same_bytes, can_run, eventually, pattern,
};

/// A gateway whose listener has TLS with the certificate `site`, for "site.test" and "*.wild.test".
fn secure(authority: &Authority, endpoint: &Endpoint) -> Builder {
    secure_with(authority, endpoint, "")
}

/// The same, with more keys in `tls`.
fn secure_with(authority: &Authority, endpoint: &Endpoint, more: &str) -> Builder {
    Gateway::in_front_of(&[endpoint])
        .listener(&format!("tls = {{ certificates = [\"site\"]{more} }}"))
        .and(&authority.certificate("site", &["site.test", "*.wild.test"]))
        .admin()
}

/// The handshakes of the gateway with all of these labels.
fn handshakes(gateway: &Gateway, labels: &[&str]) -> f64 {
    gateway.metric("ringway_tls_handshakes_total", labels)
}

#[track_caller]
fn eventually_counted(gateway: &Gateway, result: &str) {
    let label = format!("result=\"{result}\"");
    eventually(&format!("a handshake ends with {result}"), || {
        handshakes(gateway, &[&label]) >= 1.0
    });
}

/// An endpoint that sends each body back.
fn echo() -> Endpoint {
    Endpoint::scripted(|mut connection: Connection| {
        while let Some(request) = connection.next_request() {
            let len = request.body.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n");
            if connection.try_send([head.as_bytes(), &request.body].concat()).is_err() {
                return;
            }
        }
    })
}

#[test]
fn a_client_that_does_not_begin_its_handshake_is_closed_in_the_time_for_one() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let timeouts = "timeouts = { handshake = \"200ms\", head = \"60s\" }";
    let gateway = secure(&authority, &endpoint).listener(timeouts).start();
    let mut silent = TcpStream::connect(gateway.address()).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(silent.read(&mut [0; 8]).unwrap(), 0, "it is closed, without an answer");
    gateway.stop();
}

#[test]
fn a_client_that_offers_http2_speaks_it() {
    if !can_run("curl", &["--version"]) {
        return;
    }
    let authority = Authority::new();
    let body = "x".repeat(300_000);
    let endpoint = Endpoint::saying(&body);
    let gateway = secure(&authority, &endpoint).start();
    let url = format!("https://{}/", gateway.address());
    for (version, shown) in [("--http2", "HTTP/2 200"), ("--http1.1", "HTTP/1.1 200")] {
        let arguments = ["-s", "-k", "-i", "--noproxy", "*", version, &url];
        let output = Command::new("curl").args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with(shown), "{version}: {}", text.get(..80).unwrap_or(&text));
        assert!(text.ends_with(&body), "{version}: {} bytes", text.len());
    }
    let request = endpoint.requests().remove(0);
    assert_eq!(request.header("x-forwarded-proto"), Some("https"));
    gateway.stop();
}

#[test]
fn requests_over_tls_reach_the_endpoint_and_say_https() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let gateway = secure(&authority, &endpoint).start();
    for (version, is_tls13) in [(&TLS13, true), (&TLS12, false)] {
        let client = authority.client_of("site.test", version);
        let (mut client, session) = client.connect(gateway.address());
        assert_eq!((session.is_tls13, session.resumed), (is_tls13, false));
        assert_eq!(session.alpn.as_deref(), Some(&b"http/1.1"[..]));
        for _ in 0..3 {
            assert_eq!(client.get("/").text(), "ok");
        }
        let request = endpoint.requests().pop().unwrap();
        assert_eq!(request.header("x-forwarded-proto"), Some("https"));
        let port = gateway.address().port().to_string();
        assert_eq!(request.header("x-forwarded-port"), Some(&*port));
    }
    assert_eq!(endpoint.connections(), 1);
    let full = |version: &str| handshakes(&gateway, &["result=\"ok\"", version, "resumed=\"no\""]);
    eventually("the handshakes are counted", || {
        full("version=\"1.3\"") == 1.0 && full("version=\"1.2\"") == 1.0
    });
    gateway.stop();
}

#[test]
fn bodies_of_any_length_pass_in_both_directions() {
    let authority = Authority::new();
    let endpoint = echo();
    let gateway = secure(&authority, &endpoint).start();
    for version in [&TLS13, &TLS12] {
        let (mut client, _) = authority.client_of("site.test", version).connect(gateway.address());
        for len in [1, 3_000, 16_383, 16_384, 16_385, 100_000, 5_000_000] {
            let body = pattern(len);
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n");
            let sent = client.send_meanwhile([head.as_bytes(), body].concat());
            let response = client.response();
            sent.join().unwrap().unwrap();
            assert_same_bytes(&response.body, body);
        }
    }
    gateway.stop();
}

#[test]
fn a_request_in_many_records_and_many_requests_in_one_are_requests() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let gateway = secure(&authority, &endpoint).start();
    let (mut client, _) = authority.client("site.test").connect(gateway.address());
    for byte in GET.bytes() {
        client.send([byte]);
    }
    assert_eq!(client.response().text(), "ok");
    client.send(GET.repeat(20));
    for _ in 0..20 {
        assert_eq!(client.response().text(), "ok");
    }
    gateway.stop();
}

#[test]
fn a_client_gets_the_certificate_for_the_name_that_it_asks_for() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint])
        .listener("tls = { certificates = [\"site\", \"wild\"] }")
        .and(&authority.certificate("site", &["site.test"]))
        .and(&authority.certificate("wild", &["*.wild.test", "exact.wild.test"]))
        .start();
    let certificate = |name: &str| {
        authority.client(name).try_connect(gateway.address()).map(|(_, it)| it.certificate)
    };
    let site = certificate("site.test").unwrap();
    let wild = certificate("a.wild.test").unwrap();
    assert_ne!(site, wild);
    assert_eq!(certificate("EXACT.wild.test").unwrap(), wild);
    // The default is not for these, and the client finds out.
    for name in ["wild.test", "a.b.wild.test", "other.test"] {
        assert!(certificate(name).is_err(), "{name}");
    }
    let nameless = authority.client("site.test").nameless();
    assert_eq!(nameless.connect(gateway.address()).1.certificate, site);
    gateway.stop();
}

#[test]
fn a_name_without_a_certificate_is_refused_where_sni_is_strict() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let gateway = secure_with(&authority, &endpoint, ", strict_sni = true").start();
    assert_eq!(authority.client("a.wild.test").connect(gateway.address()).0.get("/").status, 200);
    assert!(authority.client("other.test").try_connect(gateway.address()).is_err());
    assert!(authority.client("site.test").nameless().try_connect(gateway.address()).is_err());
    eventually("both are counted", || handshakes(&gateway, &["result=\"name\""]) == 2.0);
    gateway.stop();
}

#[test]
fn each_client_gets_a_kind_of_key_that_it_knows() {
    if !can_run("openssl", &["version"]) {
        return;
    }
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    authority.write("rsa", &authority.issue(&["site.test"], false));
    let gateway = Gateway::in_front_of(&[&endpoint])
        .listener("tls = { certificates = [\"rsa\", \"ecdsa\"] }")
        .and(&authority.section("rsa"))
        .and(&authority.certificate("ecdsa", &["site.test"]))
        .start();
    for (algorithms, expected) in [
        ("ECDSA+SHA256:RSA-PSS+SHA256", "ECDSA"),
        ("RSA-PSS+SHA256", "RSA-PSS"),
        ("ECDSA+SHA256", "ECDSA"),
    ] {
        let said =
            s_client(gateway.address(), &["-servername", "site.test", "-sigalgs", algorithms]);
        assert!(said.contains(&format!("Peer signature type: {expected}")), "{said}");
    }
    gateway.stop();
}

/// The words of `openssl s_client`, which sends a request and reads the response to its end.
fn s_client(address: SocketAddr, arguments: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string(), "-ign_eof"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = command.spawn().unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n";
    process.stdin.take().unwrap().write_all(request).unwrap();
    let output = process.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn http_without_tls_is_answered_in_clear_text() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let gateway = secure(&authority, &endpoint).start();
    let mut client = gateway.client();
    client.send(GET);
    client.response().assert_is_reply(400, "plain_http");
    client.assert_closed();
    eventually_counted(&gateway, "plain_http");
    assert!(endpoint.requests().is_empty());
    gateway.stop();
}

#[test]
fn bytes_that_are_neither_tls_nor_http_end_the_connection() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let gateway = secure(&authority, &endpoint).start();
    for (bytes, result) in [
        (&b"\0\0\0\x01hello"[..], "not_tls"),
        (&[22, 3, 1, 0, 5, 1, 0, 0, 1, 9], "protocol"),
        (&[22, 3, 1, 0xff, 0xff, 1], "protocol"),
    ] {
        let mut client = gateway.client();
        client.send(bytes);
        assert_ne!(client.rest().1, End::Silent, "{bytes:?}");
        eventually_counted(&gateway, result);
    }
    let mut client = gateway.client();
    client.send([22, 3]);
    client.half_close();
    eventually_counted(&gateway, "closed");
    gateway.stop();
}

#[test]
fn a_handshake_that_does_not_end_is_given_up() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let builder = secure(&authority, &endpoint);
    let gateway = builder.listener("timeouts = { handshake = \"200ms\" }").start();
    let mut client = gateway.client();
    client.send([22, 3, 1, 2, 0, 1]);
    assert_ne!(client.rest().1, End::Silent);
    eventually_counted(&gateway, "timeout");
    gateway.stop();
}

#[test]
fn a_policy_that_is_modern_refuses_old_clients() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let gateway = secure_with(&authority, &endpoint, ", policy = \"modern\"").start();
    let (mut client, _) = authority.client_of("site.test", &TLS13).connect(gateway.address());
    assert_eq!(client.get("/").status, 200);
    assert!(authority.client_of("site.test", &TLS12).try_connect(gateway.address()).is_err());
    eventually_counted(&gateway, "version");
    gateway.stop();
}

#[test]
fn a_client_that_offers_other_protocols_alone_is_refused() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let gateway = secure(&authority, &endpoint).start();
    let other = authority.client("site.test").offering(&[b"imap"]);
    assert!(other.try_connect(gateway.address()).is_err());
    let none = authority.client("site.test").offering(&[]);
    let (mut client, session) = none.connect(gateway.address());
    assert_eq!((client.get("/").status, session.alpn), (200, None));
    gateway.stop();
}

#[test]
fn sessions_resume_on_any_core_and_after_a_change() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let builder = secure(&authority, &endpoint).cores(2);
    let gateway = builder.start();
    for version in [&TLS13, &TLS12] {
        let tls = authority.client_of("site.test", version);
        let resumed = || {
            let (mut client, session) = tls.connect(gateway.address());
            // The ticket comes with the response.
            assert_eq!(client.get("/").status, 200);
            session.resumed
        };
        assert!(!resumed());
        assert!((0..16).all(|_| resumed()));
        gateway.admin("POST", "/v1/config", &builder.text());
        authority.write("site", &authority.issue(&["site.test"], true));
        eventually("the certificate is replaced", || {
            gateway.metric("ringway_config_version", &["core=\"0\""]) > 1.0
        });
        assert!(resumed());
    }
    gateway.stop();
}

#[test]
fn a_certificate_that_is_replaced_closes_no_connection() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let gateway = secure(&authority, &endpoint).cores(2).start();
    let (mut old, session) = authority.client("site.test").connect(gateway.address());
    assert_eq!(old.get("/").status, 200);
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            let (authority, gateway) = (&authority, &gateway);
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let tls = authority.client("site.test");
                    let (mut client, _) = tls.connect(gateway.address());
                    for _ in 0..3 {
                        assert_eq!(client.get("/").status, 200);
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let mut shown = session.certificate;
        for _ in 0..20 {
            authority.write("site", &authority.issue(&["site.test"], true));
            let mut new = shown.clone();
            eventually("the new certificate is shown", || {
                new = authority.client("site.test").connect(gateway.address()).1.certificate;
                new != shown
            });
            shown = new;
            assert_eq!(old.get("/").status, 200);
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(done.load(Ordering::SeqCst) > 0);
    assert_eq!(handshakes(&gateway, &["version=\"\""]), 0.0);
    gateway.stop();
}

#[test]
fn a_certificate_that_does_not_fit_leaves_the_one_before() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let gateway = secure(&authority, &endpoint).start();
    let shown = || authority.client("site.test").connect(gateway.address()).1.certificate;
    let before = shown();
    let (new, key) = authority.issue(&["site.test"], true);
    let (_, other_key) = authority.issue(&["site.test"], true);
    authority.write("site", &(new.clone(), other_key));
    let said = |what: &'static str| {
        let said = gateway.process.stderr.wait_for(|line| line.contains(what).then_some(()));
        assert!(said.is_some(), "{}", gateway.process.stderr.text());
    };
    said("the key of certificate `site` belongs to another one");
    assert_eq!(shown(), before);
    authority.write("site", &("no certificate".to_owned(), key.clone()));
    said("it has no certificate in PEM");
    assert_eq!(shown(), before);
    authority.write("site", &(new, key));
    eventually("the new certificate is shown", || shown() != before);
    gateway.stop();
}

#[test]
fn a_tunnel_carries_bytes_both_ways_and_ends_as_its_sides_do() {
    let authority = Authority::new();
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway = secure(&authority, &endpoint).start();
    let tls = authority.client("site.test");
    let open = || {
        let (mut client, _) = tls.connect(gateway.address());
        client.send(UPGRADE);
        let mut connection = connections.next();
        connection.request_head();
        connection.send(SWITCH);
        assert_eq!(client.head().word(1), "101");
        (client, connection)
    };
    let (mut client, mut connection) = open();
    for word in ["one", "two", "six"] {
        client.send(word);
        assert_eq!(connection.bytes(3), word.as_bytes());
        connection.send(word.to_uppercase());
        assert_eq!(client.bytes(3), word.to_uppercase().as_bytes());
    }
    let bytes = pattern(3_000_000);
    let sent = client.send_meanwhile(bytes.to_vec());
    assert_same_bytes(&connection.bytes(bytes.len()), bytes);
    sent.join().unwrap().unwrap();
    let sent = connection.send_meanwhile(bytes.to_vec());
    assert_same_bytes(&client.bytes(bytes.len()), bytes);
    sent.join().unwrap().unwrap();
    // The end of a direction is passed on, and the other goes on.
    client.half_close();
    assert_eq!(connection.end(), End::Closed);
    connection.send("bye");
    connection.half_close();
    assert_eq!(client.rest(), (b"bye".to_vec(), End::Closed));
    // A reset is passed on as one.
    let (client, mut connection) = open();
    client.reset();
    assert_eq!(connection.end(), End::Reset);
    let (mut client, connection) = open();
    connection.reset();
    assert_eq!(client.rest().1, End::Reset);
    gateway.stop();
}

#[test]
fn a_response_that_ends_with_the_connection_ends_with_close_notify() {
    let authority = Authority::new();
    let body = pattern(300_000);
    let endpoint = Endpoint::scripted(move |mut connection: Connection| {
        connection.next_request();
        let _ = connection.try_send("HTTP/1.0 200 OK\r\n\r\n");
        let _ = connection.try_send(body);
    });
    let gateway = secure(&authority, &endpoint).start();
    let (mut client, _) = authority.client("site.test").connect(gateway.address());
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    client.head();
    let (rest, end) = client.rest();
    assert_same_bytes(&rest, body);
    assert_eq!(end, End::Closed);
    gateway.stop();
}

#[test]
fn a_response_that_breaks_off_does_not_look_complete() {
    let authority = Authority::new();
    let endpoint = Endpoint::scripted(|mut connection: Connection| {
        connection.next_request();
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        connection.reset();
    });
    let gateway = secure(&authority, &endpoint).start();
    let (mut client, _) = authority.client("site.test").connect(gateway.address());
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(client.rest().1, End::Reset);
    gateway.stop();
}

#[test]
fn idle_connections_are_kept_and_end_with_close_notify_when_the_gateway_stops() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let gateway = secure(&authority, &endpoint).start();
    let (mut client, _) = authority.client("site.test").connect(gateway.address());
    assert_eq!(client.get("/").status, 200);
    // Longer than a connection stays busy after a response.
    eventually("the connection holds no buffer", || {
        gateway.metric("ringway_memory_bytes", &["kind=\"buffers_lent\""]) <= 8192.0
    });
    assert_eq!(client.get("/").status, 200);
    let ended = thread::spawn(move || client.rest());
    gateway.stop();
    assert_eq!(ended.join().unwrap(), (Vec::new(), End::Closed));
}

#[test]
fn a_handshake_comes_behind_a_proxy_header() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let gateway = secure(&authority, &endpoint).listener("proxy_protocol = \"required\"").start();
    let mut stream = TcpStream::connect_timeout(&gateway.address(), PATIENCE).unwrap();
    stream.write_all(b"PROXY TCP4 203.0.113.7 192.0.2.80 4660 8443\r\n").unwrap();
    let (mut client, _) = authority.client("site.test").try_on(stream).unwrap();
    assert_eq!(client.get("/").status, 200);
    let request = endpoint.only_request();
    assert_eq!(request.header("x-forwarded-for"), Some("203.0.113.7"));
    assert_eq!(request.header("x-forwarded-port"), Some("8443"));
    assert_eq!(request.header("x-forwarded-proto"), Some("https"));
    gateway.stop();
}

#[test]
fn clients_show_certificates_where_they_must() {
    let authority = Authority::new();
    let (known, stranger) = (Authority::new(), Authority::new());
    let endpoint = Endpoint::ok();
    let gateway = |mode: &str| {
        let ca = known.path();
        let more = format!(", client_auth = \"{mode}\", client_ca = \"{}\"", ca.display());
        secure_with(&authority, &endpoint, &more).start()
    };
    let client = || authority.client("site.test");
    let (good, bad) = (known.issue(&["alice.test"], true), stranger.issue(&["eve.test"], true));
    // In TLS 1.3 a client hears of it with its first read.
    let serves = |gateway: &Gateway, client: crate::harness::TlsClient| {
        let connected = client.try_connect(gateway.address());
        connected.is_ok_and(|(mut client, _): (Client, _)| {
            client.send_if_it_goes(GET);
            client.try_response().is_ok_and(|it| it.status == 200)
        })
    };
    let required = gateway("required");
    assert!(serves(&required, client().showing(&good)));
    assert!(!serves(&required, client()));
    assert!(!serves(&required, client().showing(&bad)));
    eventually("both are counted", || {
        handshakes(&required, &["result=\"client_certificate\""]) == 2.0
    });
    required.stop();
    let optional = gateway("optional");
    assert!(serves(&optional, client().showing(&good)));
    assert!(serves(&optional, client()));
    assert!(!serves(&optional, client().showing(&bad)));
    optional.stop();
}

#[test]
fn a_flood_of_handshakes_does_not_keep_others_waiting() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let gateway = secure(&authority, &endpoint).start();
    let (mut client, _) = authority.client("site.test").connect(gateway.address());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let tls = authority.client("site.test");
                    assert_eq!(tls.connect(gateway.address()).0.get("/").status, 200);
                }
            });
        }
        for _ in 0..200 {
            assert_eq!(client.get("/").status, 200);
        }
        stop.store(true, Ordering::SeqCst);
    });
    gateway.stop();
}

#[test]
fn a_connection_that_says_nothing_costs_no_handshake() {
    let authority = Authority::new();
    let endpoint = Endpoint::ok();
    let builder = secure(&authority, &endpoint);
    let gateway = builder.listener("timeouts = { head = \"100ms\" }").start();
    let mut stream = TcpStream::connect_timeout(&gateway.address(), PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    gateway.stop();
}
