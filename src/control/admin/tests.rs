//! The API over real sockets, with a node that answers as the test wants.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use engine::address::Address;
use engine::balance::EndpointState;
use engine::config::{AdminAddress, Sources, parse};
use engine::names::ResolutionCounts;
use engine::reason::Reason;
use engine::snapshot::ListenerId;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::timeout;
use worker::telemetry::Totals;
use worker::telemetry::report::{
    CoreBlock, EndpointGauges, EndpointNumbers, ListenerBlock, ListenerGauges, RouteBlock,
};

use super::client::{Client, NodeAddress};
use super::slots::CONNECTIONS_MAX;
use super::view::StatusView;
use super::*;
use crate::dns::NameStatus;
use crate::node::{Applied, Change, CoreStatus, EndpointStatus, Refused, Status};

const PATIENCE: Duration = Duration::from_secs(20);

/// Takes every change until it has another answer.
/// A report of a core.
fn block() -> CoreBlock {
    let mut block = CoreBlock {
        totals: Totals { requests: 20, ..Totals::default() },
        listeners: vec![ListenerBlock {
            id: ListenerId(0),
            gauges: ListenerGauges { connections: 5, tunnels: 0 },
            tls: None,
        }],
        ..CoreBlock::default()
    };
    let gauges = EndpointGauges { idle: 2, active: 1, ejected: 0, in_flight: 1 };
    let numbers = EndpointNumbers { gauges, ..EndpointNumbers::default() };
    block.endpoints.add(|it| it.set("users", "10.0.0.1:9000", numbers));
    block
}

fn endpoint(address: &str, from: Option<&str>, state: EndpointState) -> EndpointStatus {
    EndpointStatus { address: address.to_owned(), from: from.map(str::to_owned), state }
}

/// A name that stands for so many addresses.
fn name(name: &str, addresses: usize) -> NameStatus {
    NameStatus {
        name: name.to_owned(),
        addresses,
        answered_ago: (addresses > 0).then_some(Duration::from_millis(3700)),
        trouble: (addresses == 0).then(|| "DNS knows no such name".to_owned()),
        counts: ResolutionCounts::default(),
    }
}

#[derive(Default)]
struct FakeNode {
    not_ready: RefCell<Vec<String>>,
    changes: RefCell<Vec<Change>>,
    states: RefCell<Vec<EndpointState>>,
    answer: RefCell<Option<Result<Applied, Refused>>>,
    hangs: Cell<bool>,
}

impl Node for FakeNode {
    fn status(&self) -> Status {
        Status {
            version: 7,
            started_unix: 1_700_000_000,
            uptime_seconds: 10.0,
            driver: "io_uring".to_owned(),
            cores: vec![CoreStatus {
                core: 0,
                cpu: 3,
                version: 7,
                block: block(),
                busy_ratio: 0.5,
            }],
            listeners: vec![("web".to_owned(), "127.0.0.1:8080".to_owned())],
            certificates: vec![("site".to_owned(), 1_800_000_000)],
            last_reload: Some((1_700_000_001, Err("no".to_owned()))),
            is_posted: false,
            reloads_ok: 6,
            reloads_unchanged: 0,
            reloads_refused: 1,
            draining: false,
            upstreams: vec![
                (
                    "users".to_owned(),
                    vec![
                        endpoint("127.0.0.1:9000", None, EndpointState::Ready),
                        endpoint("127.0.0.1:9001", None, EndpointState::Draining),
                        endpoint("127.0.0.1:9001", Some("a.test:9001"), EndpointState::Draining),
                    ],
                ),
                ("zzz".to_owned(), Vec::new()),
            ],
            checks: Vec::new(),
            names: vec![name("a.test:9001", 1), name("b.test:1", 0)],
            named: vec![
                ("users".to_owned(), "a.test:9001".to_owned()),
                ("zzz".to_owned(), "b.test:1".to_owned()),
            ],
        }
    }

    fn ready(&self) -> Vec<String> {
        self.not_ready.borrow().clone()
    }

    fn config(&self) -> String {
        "version = 1\n".to_owned()
    }

    async fn apply(&self, change: Change) -> Result<Applied, Refused> {
        self.changes.borrow_mut().push(change);
        if self.hangs.get() {
            std::future::pending::<()>().await;
        }
        self.answer.borrow().clone().unwrap_or_else(|| Ok(applied()))
    }

    async fn set_endpoint(
        &self,
        upstream: &str,
        address: &Address,
        state: EndpointState,
    ) -> Option<Vec<usize>> {
        let is_there = upstream == "users" && address.to_string() == "127.0.0.1:9000";
        is_there.then(|| {
            self.states.borrow_mut().push(state);
            vec![1]
        })
    }
}

fn applied() -> Applied {
    Applied { version: 8, unchanged: false, lagging: vec![1], warnings: Vec::new(), micros: 1234 }
}

/// A node that is being served.
struct Served {
    node: Rc<FakeNode>,
    address: SocketAddr,
}

/// An answer as it came.
#[derive(Debug)]
struct Answered {
    status: u16,
    head: String,
    body: String,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    fn has(&self, header: &str) -> bool {
        self.head.lines().any(|line| line.eq_ignore_ascii_case(header))
    }
}

fn counted() -> Counted {
    let counted = Counted::default();
    let mut block = Box::new(RouteBlock { route: "users".to_owned(), ..RouteBlock::default() });
    block.count(ListenerId(0), 200, None);
    block.count(ListenerId(0), 502, Some(Reason::EndpointReset));
    let mut merge = counted.merge.borrow_mut();
    merge.learn(&[(ListenerId(0), "web".into())]);
    merge.counts(&CoreBlock { routes: vec![block], ..CoreBlock::default() }, Instant::now());
    drop(merge);
    counted
}

fn on_loopback() -> AdminAddress {
    AdminAddress::At(SocketAddr::from(([127, 0, 0, 1], 0)).into())
}

/// Runs a test against a served node.
fn served<F: Future<Output = ()>>(token: Option<&str>, test: impl FnOnce(Served) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let token = token.map(str::to_owned);
    LocalSet::new().block_on(&runtime, async {
        let endpoint = AdminListener::bind(&on_loopback()).unwrap().unwrap();
        let AdminAddress::At(Address::Ip(address)) = *endpoint.address() else {
            panic!("no address")
        };
        let node = Rc::new(FakeNode::default());
        spawn_local(endpoint.serve(token, Rc::clone(&node), counted()));
        timeout(PATIENCE, test(Served { node, address })).await.expect("an end of the test");
    });
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request with these header lines, and reads until the end.
    async fn ask(&self, line: &str, headers: &[&str], body: &str) -> Answered {
        let mut stream = self.connect().await;
        let mut text = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|it| it.to_ascii_lowercase().starts_with("host:")) {
            text.push_str(&format!("Host: {}\r\n", self.address));
        }
        headers.iter().for_each(|it| text.push_str(&format!("{it}\r\n")));
        if !body.is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str(&format!("\r\n{body}"));
        // The node may answer and close before it has read everything.
        let _ = stream.write_all(text.as_bytes()).await;
        answered(&mut stream).await
    }

    /// None: the connection was closed without an answer.
    async fn try_get(&self, path: &str) -> Option<()> {
        let mut stream = self.connect().await;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(request.as_bytes()).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        bytes.starts_with(b"HTTP/1.1 200").then_some(())
    }

    async fn get(&self, path: &str) -> Answered {
        self.ask(&format!("GET {path}"), &[], "").await
    }

    async fn post(&self, path: &str, headers: &[&str], body: &str) -> Answered {
        let mut all = vec!["Content-Type: application/toml"];
        all.extend(headers);
        self.ask(&format!("POST {path}"), &all, body).await
    }
}

async fn answered(stream: &mut TcpStream) -> Answered {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answered { status, head: head.to_owned(), body: body.to_owned() }
}

#[test]
fn health_says_whether_and_why_not() {
    served(None, |it| async move {
        assert_eq!(it.get("/livez").await.status, 200);
        let ready = it.get("/readyz").await;
        assert_eq!((ready.status, &ready.json()["ready"]), (200, &Value::Bool(true)));
        it.node.not_ready.borrow_mut().push("core 1 serves by version 6".to_owned());
        let ready = it.get("/readyz").await;
        assert_eq!(ready.status, 503);
        assert_eq!(ready.json()["reasons"][0], "core 1 serves by version 6");
        assert_eq!(it.get("/livez").await.status, 200);
    });
}

#[test]
fn metrics_come_whole_and_head_has_no_body() {
    served(None, |it| async move {
        let metrics = it.get("/metrics").await;
        assert_eq!(metrics.status, 200);
        assert!(metrics.has("content-type: text/plain; version=0.0.4; charset=utf-8"));
        let line = "ringway_requests_total{listener=\"web\",route=\"users\",status=\"502\",\
            reason=\"endpoint_reset\"} 1\n";
        assert!(metrics.body.contains(line), "{}", metrics.body);
        let head = it.ask("HEAD /metrics", &[], "").await;
        assert_eq!((head.status, &*head.body), (200, ""));
    });
}

#[test]
fn status_is_what_the_view_says() {
    served(None, |it| async move {
        let status = it.get("/v1/status").await;
        let view: StatusView = serde_json::from_str(&status.body).unwrap();
        assert_eq!((view.config_version, view.listeners[0].connections), (7, 5));
        assert_eq!((view.upstreams[0].idle, view.upstreams[0].active), (2, 1));
        let requests = &view.requests;
        assert_eq!((requests.total, requests.status_2xx, requests.status_5xx), (20, 1, 1));
        assert_eq!(requests.reasons[0].reason, "endpoint_reset");
        assert_eq!((view.cores[0].cpu, view.cores[0].busy_ratio), (3, 0.5));
        assert_eq!(view.reloads.last.unwrap().error.as_deref(), Some("no"));
    });
}

#[test]
fn status_names_the_endpoints_that_drain_and_upstreams_without_connections() {
    served(None, |it| async move {
        let view: StatusView = serde_json::from_str(&it.get("/v1/status").await.body).unwrap();
        let upstreams: Vec<_> =
            view.upstreams.iter().map(|it| (&*it.name, it.draining.join(" "))).collect();
        let draining = |name| upstreams.iter().find(|it| it.0 == name).map(|it| &*it.1);
        assert_eq!(draining("users"), Some("127.0.0.1:9001"));
        assert_eq!(draining("zzz"), Some(""));
    });
}

#[test]
fn upstreams_show_their_names_and_the_endpoints_that_come_from_them() {
    served(None, |it| async move {
        let upstreams = it.get("/v1/upstreams").await.json();
        let of = |name: &str| {
            let mut all = upstreams.as_array().unwrap().iter();
            all.find(|it| it["name"] == name).unwrap().clone()
        };
        let names = |upstream: &str| of(upstream)["names"].clone();
        assert_eq!(names("users")[0]["name"], "a.test:9001");
        assert_eq!(
            (&names("users")[0]["age_seconds"], &names("zzz")[0]["addresses"]),
            (&3.into(), &0.into())
        );
        assert_eq!(names("zzz")[0]["trouble"], "DNS knows no such name");
        let endpoints = of("users")["endpoints"].clone();
        let from = |address: &str| {
            let mut all = endpoints.as_array().unwrap().iter();
            all.find(|it| it["address"] == address).unwrap()["names"].clone()
        };
        assert_eq!(from("127.0.0.1:9000"), serde_json::json!([]));
        assert_eq!(from("127.0.0.1:9001"), serde_json::json!(["a.test:9001"]));
    });
}

#[test]
fn an_endpoint_is_taken_out_of_use_and_back() {
    served(None, |it| async move {
        let path = "POST /v1/upstreams/users/endpoints/127.0.0.1:9000";
        let json = ["Content-Type: application/json"];
        for word in ["drain", "ready"] {
            let done = it.ask(path, &json, &format!("{{\"state\":\"{word}\"}}")).await;
            assert_eq!(done.status, 200, "{done:?}");
            let said = done.json();
            assert_eq!(
                (&said["state"], &said["endpoint"]),
                (&word.into(), &"127.0.0.1:9000".into())
            );
            assert_eq!(said["lagging"][0], 1);
        }
        let states = [EndpointState::Draining, EndpointState::Ready];
        assert_eq!(*it.node.states.borrow(), states);
        for (path, headers, body, status) in [
            (path, &json[..], "{\"state\":\"off\"}", 422),
            (path, &json[..], "{}", 422),
            (path, &json[..], "{\"state\":\"drain\",\"for\":1}", 422),
            (path, &json[..], "", 422),
            (path, &[], "{\"state\":\"drain\"}", 415),
            ("POST /v1/upstreams/users/endpoints/127.0.0.1:1", &json, "{\"state\":\"drain\"}", 404),
            ("POST /v1/upstreams/users/endpoints/x", &json, "{\"state\":\"drain\"}", 404),
            ("POST /v1/upstreams/no/endpoints/127.0.0.1:9000", &json, "{\"state\":\"drain\"}", 404),
            ("GET /v1/upstreams/users/endpoints/127.0.0.1:9000", &[], "", 405),
        ] {
            let refused = it.ask(path, headers, body).await;
            assert_eq!(refused.status, status, "{path} {body}: {refused:?}");
        }
        assert_eq!(it.node.states.borrow().len(), 2);
    });
}

#[test]
fn the_configuration_has_its_version_as_tag() {
    served(None, |it| async move {
        let config = it.get("/v1/config").await;
        assert_eq!((config.status, &*config.body), (200, "version = 1\n"));
        assert!(config.has("etag: \"7\"") && config.has("content-type: application/toml"));
    });
}

#[test]
fn a_change_is_passed_on_and_its_result_said() {
    served(None, |it| async move {
        let headers = ["If-Match: \"7\""];
        let done = it.post("/v1/config?dry_run=1", &headers, "version = 1").await;
        assert_eq!(done.status, 200, "{done:?}");
        assert!(done.has("etag: \"8\""));
        let json = done.json();
        assert_eq!((&json["version"], &json["lagging"][0]), (&8.into(), &1.into()));
        assert_eq!((&json["micros"], &json["dry_run"]), (&1234.into(), &true.into()));
        let put = ["Content-Type: application/toml"];
        assert_eq!(it.ask("PUT /v1/config", &put, "version = 1").await.status, 200);
        assert_eq!(it.ask("POST /v1/config?reload=1", &[], "").await.status, 200);
        let text = Some("version = 1".to_owned());
        let changes = it.node.changes.borrow();
        assert_eq!(
            *changes,
            [
                Change { text: text.clone(), dry_run: true, if_match: Some(7) },
                Change { text, dry_run: false, if_match: None },
                Change::default(),
            ]
        );
    });
}

#[test]
fn each_refusal_has_its_status() {
    served(None, |it| async move {
        let refuse = |why| *it.node.answer.borrow_mut() = Some(Err(why));
        let text = "version = 1\n[listners.web]\n";
        let diagnostics = parse(&Sources::new("posted.toml", text)).unwrap_err();
        refuse(Refused::Diagnostics(diagnostics));
        let refused = it.post("/v1/config", &[], text).await;
        assert_eq!(refused.status, 422);
        assert!(refused.has("content-type: application/problem+json"), "{refused:?}");
        let json = refused.json();
        let diagnostics = json["diagnostics"].as_array().unwrap();
        let typo = diagnostics.iter().find(|it| it["line"] == 2).expect("the typo");
        assert_eq!((&typo["file"], &typo["column"]), (&"posted.toml".into(), &2.into()));
        for key in ["what", "why", "cure"] {
            assert!(typo.get(key).is_some(), "{typo}");
        }
        for (why, status) in [
            (Refused::Conflict { version: 9 }, 412),
            (Refused::Busy, 503),
            (Refused::Cannot("port 80 is taken".to_owned()), 409),
        ] {
            refuse(why);
            let refused = it.post("/v1/config", &[], "version = 1").await;
            assert_eq!(
                (refused.status, refused.json()["status"].as_u64()),
                (status, Some(status.into()))
            );
        }
    });
}

#[test]
fn what_is_asked_wrongly_is_refused_before_the_node_hears_of_it() {
    served(None, |it| async move {
        let form = "Content-Type: application/x-www-form-urlencoded";
        for (line, headers, body, status) in [
            ("GET /nothing", &[][..], "", 404),
            ("GET /v1/config/", &[], "", 404),
            ("DELETE /v1/config", &[], "", 405),
            ("POST /metrics", &[], "", 405),
            ("POST /v1/config", &[form], "version = 1", 415),
            ("POST /v1/config", &["Content-Type: text/plain"], "version = 1", 415),
            ("POST /v1/config", &[], "version = 1", 415),
            ("POST /v1/config", &["Content-Type: application/toml"], "", 400),
            ("POST /v1/config?reload=1", &[], "version = 1", 400),
            ("POST /v1/config?reload=2", &[], "", 400),
            ("POST /v1/config?force=1", &[], "", 400),
            ("POST /v1/config?reload=1", &["If-Match: 7"], "", 400),
            ("POST /v1/config?reload=1", &["Origin: http://evil.example"], "", 403),
            ("POST /v1/config?reload=1", &["Host: evil.example"], "", 421),
        ] {
            let answer = it.ask(line, headers, body).await;
            assert_eq!(answer.status, status, "{line} {headers:?}: {answer:?}");
            let json = answer.json();
            assert!(json["detail"].is_string() && json["error"].is_string(), "{json}");
        }
        assert!(it.ask("DELETE /v1/config", &[], "").await.has("allow: GET, HEAD, POST, PUT"));
        assert!(it.node.changes.borrow().is_empty());
    });
}

#[test]
fn a_body_that_is_too_large_or_no_text_is_refused() {
    served(None, |it| async move {
        let large = "#".repeat(8 * 1024 * 1024);
        assert_eq!(it.post("/v1/config", &[], &large).await.status, 200);
        let mut stream = it.connect().await;
        let head = format!(
            "POST /v1/config HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/toml\r\nContent-Length: {}\r\n\r\n",
            large.len() + 1
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(answered(&mut stream).await.status, 413);
        let mut stream = it.connect().await;
        let request = b"POST /v1/config HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
            Content-Type: application/toml\r\nContent-Length: 2\r\n\r\n\xff\xff";
        stream.write_all(request).await.unwrap();
        assert_eq!(answered(&mut stream).await.status, 400);
        assert_eq!(it.node.changes.borrow().len(), 1);
    });
}

#[test]
fn with_a_token_only_livez_is_free() {
    served(Some("0123456789abcdef"), |it| async move {
        assert_eq!(it.get("/livez").await.status, 200);
        for path in ["/readyz", "/metrics", "/v1/status", "/v1/config", "/nothing"] {
            let refused = it.get(path).await;
            assert_eq!(refused.status, 401, "{path}");
            assert!(refused.has("www-authenticate: Bearer realm=\"ringway\""));
            let token = ["Authorization: Bearer 0123456789abcdef"];
            assert_ne!(it.ask(&format!("GET {path}"), &token, "").await.status, 401, "{path}");
        }
    });
}

#[test]
fn clients_that_hold_on_to_connections_lock_nobody_out() {
    served(None, |it| async move {
        let mut held = Vec::new();
        for _ in 0..3 * CONNECTIONS_MAX {
            let mut stream = it.connect().await;
            stream.write_all(b"GET /livez HTTP/1.1\r\nHo").await.unwrap();
            held.push(stream);
        }
        assert_eq!(it.get("/livez").await.status, 200);
        // The first ones were closed for the later ones.
        let mut rest = Vec::new();
        let first = held.first_mut().unwrap().read_to_end(&mut rest);
        let _ = timeout(PATIENCE, first).await.expect("it is closed");
    });
}

#[test]
fn clients_that_wait_for_a_change_are_not_closed_for_others() {
    served(None, |it| async move {
        it.node.hangs.set(true);
        let mut waiting = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let mut stream = it.connect().await;
            let request = b"POST /v1/config?reload=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
            stream.write_all(request).await.unwrap();
            waiting.push(stream);
        }
        while it.node.changes.borrow().len() < CONNECTIONS_MAX {
            tokio::task::yield_now().await;
        }
        let mut late = it.connect().await;
        let mut bytes = Vec::new();
        let _ = late.read_to_end(&mut bytes).await;
        assert_eq!(bytes, b"", "no place for one more");
        // Connections that close make room.
        drop(waiting);
        while it.try_get("/livez").await.is_none() {}
    });
}

#[test]
fn a_client_that_does_not_read_a_scrape_holds_up_nobody() {
    served(None, |it| async move {
        let mut greedy = it.connect().await;
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2000);
        let _ = timeout(Duration::from_secs(1), greedy.write_all(request.as_bytes())).await;
        assert_eq!(it.get("/metrics").await.status, 200);
    });
}

#[test]
fn the_client_asks_over_tcp_and_over_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    for address in [on_loopback(), AdminAddress::At(Address::Unix(path.to_str().unwrap().into()))] {
        let (tell, told) = std::sync::mpsc::channel();
        let serving = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async move {
                let endpoint = AdminListener::bind(&address).unwrap().unwrap();
                let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
                tell.send((endpoint.address().to_string(), stop)).unwrap();
                let token = Some("0123456789abcdef".to_owned());
                let serve = endpoint.serve(token, Rc::new(FakeNode::default()), counted());
                tokio::select! { () = serve => {}, _ = stopped => {} }
            });
        });
        let (address, stop) = told.recv_timeout(PATIENCE).unwrap();
        let address: NodeAddress = address.parse().unwrap();
        let client = Client::new(address.clone(), Some("0123456789abcdef".to_owned()));
        let view: StatusView =
            serde_json::from_slice(&client.fetch("/v1/status").unwrap()).unwrap();
        assert_eq!(view.config_version, 7);
        let refused = Client::new(address.clone(), None).fetch("/v1/status").unwrap_err();
        assert!(refused.cure.contains("RINGWAY_ADMIN_TOKEN"), "{refused:?}");
        stop.send(()).unwrap();
        serving.join().unwrap();
        let refused = client.fetch("/v1/status").unwrap_err();
        assert!(refused.what.contains(&address.to_string()), "{refused:?}");
    }
}

#[test]
fn the_operations_page_lists_every_resource() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let page = std::fs::read_to_string(path).unwrap();
    for it in resources::all::<FakeNode>() {
        let method = if it.read.is_some() { "GET" } else { "POST" };
        let row = format!("| `{method} {}` | {} |\n", it.path, it.help);
        assert!(page.contains(&row), "docs/operations.md has no row\n{row}");
        let is_there = |method| page.contains(&format!("| `{method} {}` | ", it.path));
        assert_eq!(is_there("POST"), it.change.is_some(), "{}", it.path);
    }
}
