//! Checks of endpoints: `health` of an upstream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Endpoint, Gateway, OK, eventually, free_address};

/// An endpoint that answers every request, and those for `/healthz` with 200 while the switch is on.
fn switched() -> (Endpoint, Arc<AtomicBool>) {
    let on = Arc::new(AtomicBool::new(true));
    let of_script = Arc::clone(&on);
    let endpoint = Endpoint::scripted(move |mut connection| {
        while let Some(request) = connection.next_request() {
            let fails = request.target() == "/healthz" && !of_script.load(Ordering::SeqCst);
            let failed = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
            connection.send(if fails { failed } else { OK });
        }
    });
    (endpoint, on)
}

/// Requests of clients that an endpoint has received.
fn served(endpoint: &Endpoint) -> usize {
    endpoint.requests().iter().filter(|it| it.target() == "/").count()
}

/// The endpoints of the upstream as the admin API shows them.
fn endpoints(gateway: &Gateway) -> Vec<serde_json::Value> {
    let upstreams = gateway.admin("GET", "/v1/upstreams", "");
    let upstreams: serde_json::Value = serde_json::from_str(upstreams.text()).unwrap();
    upstreams[0]["endpoints"].as_array().unwrap().clone()
}

fn checks_are(gateway: &Gateway, endpoint: SocketAddr, word: &str) -> bool {
    let address = endpoint.to_string();
    endpoints(gateway).iter().any(|it| it["address"] == address && it["checks"] == word)
}

#[test]
fn an_endpoint_whose_checks_fail_gets_no_requests_until_they_pass() {
    let (endpoint, on) = switched();
    let other = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint, &other])
        .upstream("health = { path = \"/healthz\", interval = \"100ms\", host = \"app.internal\" }")
        .admin()
        .start();
    let mut client = gateway.client();
    eventually("its checks pass", || checks_are(&gateway, endpoint.address(), "passing"));
    (0..10).for_each(|_| assert_eq!(client.get("/").status, 200));
    assert_eq!(served(&endpoint), 5);
    let requests = endpoint.requests();
    let check = requests.iter().find(|it| it.target() == "/healthz").unwrap();
    assert_eq!((check.method(), check.header("host")), ("GET", Some("app.internal")));
    assert!(check.header("user-agent").unwrap().starts_with("ringway/"));

    on.store(false, Ordering::SeqCst);
    eventually("its checks fail", || checks_are(&gateway, endpoint.address(), "failing"));
    let label = format!("endpoint=\"{}\"", endpoint.address());
    let healthy = |label: &str| gateway.metric("ringway_endpoint_healthy", &[label]);
    assert_eq!((healthy(&label), healthy("upstream=\"app\"")), (0.0, 1.0));
    assert!(endpoints(&gateway).iter().any(|it| it["check_trouble"] == "status 500"));
    eventually("the core knows", || {
        let before = served(&endpoint);
        (0..10).for_each(|_| assert_eq!(client.get("/").status, 200));
        served(&endpoint) == before
    });

    on.store(true, Ordering::SeqCst);
    let before = served(&endpoint);
    eventually("it gets requests again", || {
        assert_eq!(client.get("/").status, 200);
        served(&endpoint) > before
    });
}

#[test]
fn when_all_endpoints_are_down_the_answer_comes_at_once_until_they_are_back() {
    let dead = [free_address(), free_address()];
    let gateway = Gateway::in_front_of_addresses(dead)
        .upstream("health = { tcp = true, interval = \"200ms\" }")
        .start();
    let mut client = gateway.client();
    eventually("nothing is tried any more", || client.get("/").text().contains("no_endpoint"));
    let fastest = (0..20).map(|_| {
        let begun = Instant::now();
        let response = client.get("/");
        response.assert_is_reply(503, "no_endpoint");
        assert!(response.header("retry-after").is_some());
        begun.elapsed()
    });
    let fastest = fastest.min().unwrap();
    assert!(fastest < Duration::from_millis(5), "{fastest:?}");
    let back = dead.map(Endpoint::ok_at);
    eventually("it serves again", || client.get("/").status == 200);
    eventually("by both", || {
        assert_eq!(client.get("/").status, 200);
        back.iter().all(|it| !it.requests().is_empty())
    });
    (0..50).for_each(|_| assert_eq!(client.get("/").status, 200));
    // One pooled connection each, beside those of checks that have closed.
    let open: Vec<_> = back.iter().map(Endpoint::open_connections).collect();
    assert!(open.iter().all(|it| *it <= 3), "{open:?}");
}

#[test]
fn a_check_looks_at_status_and_body() {
    for (keys, body, word) in [
        ("body = { contains = \"ready\" }", "is ready now", "passing"),
        ("body = { contains = \"ready\" }", "starting", "failing"),
        ("statuses = [\"204\"]", "ready", "failing"),
        ("statuses = [\"200-204\", \"401\"]", "ready", "passing"),
        ("timeout = \"200ms\"", "", "failing"),
    ] {
        // One that never answers where there is no body.
        let endpoint = match body {
            "" => Endpoint::scripted(|mut connection| {
                connection.next_request();
                connection.end();
            }),
            body => Endpoint::saying(body),
        };
        let gateway = Gateway::in_front_of(&[&endpoint])
            .upstream(&format!(
                "health = {{ path = \"/healthz?full\", interval = \"100ms\", {keys} }}"
            ))
            .admin()
            .start();
        eventually("the verdict comes", || checks_are(&gateway, endpoint.address(), word));
        let requests = endpoint.requests();
        assert_eq!(requests[0].target(), "/healthz?full");
        assert_eq!(requests[0].header("host"), Some(&*endpoint.address().to_string()));
    }
}

#[test]
fn a_drain_and_failing_checks_are_separate_reasons_and_end_separately() {
    let (endpoint, on) = switched();
    let other = Endpoint::ok();
    let builder = Gateway::in_front_of(&[&endpoint, &other]).admin();
    let with =
        |keys: &str| builder.text().replace("[upstreams.app]", &format!("[upstreams.app]\n{keys}"));
    let gateway =
        builder.start_with(&with("health = { path = \"/healthz\", interval = \"100ms\" }"));
    let mut client = gateway.client();
    gateway.set_endpoint(&endpoint, "drain");
    on.store(false, Ordering::SeqCst);
    eventually("its checks fail", || checks_are(&gateway, endpoint.address(), "failing"));
    on.store(true, Ordering::SeqCst);
    eventually("its checks pass", || checks_are(&gateway, endpoint.address(), "passing"));
    (0..10).for_each(|_| assert_eq!(client.get("/").status, 200));
    assert_eq!(served(&endpoint), 0, "it drains still");
    on.store(false, Ordering::SeqCst);
    eventually("its checks fail again", || checks_are(&gateway, endpoint.address(), "failing"));
    gateway.set_endpoint(&endpoint, "ready");
    (0..10).for_each(|_| assert_eq!(client.get("/").status, 200));
    assert_eq!(served(&endpoint), 0, "its checks fail");
    // A version without checks forgets their verdict.
    let changed = gateway.admin("POST", "/v1/config", &with(""));
    assert_eq!(changed.status, 200, "{}", changed.text());
    eventually("it gets requests", || {
        assert_eq!(client.get("/").status, 200);
        served(&endpoint) > 0
    });
    assert!(endpoints(&gateway).iter().all(|it| it["checks"].is_null()));
}

#[test]
fn an_endpoint_that_goes_under_load_fails_no_idempotent_request() {
    let endpoints = [Endpoint::ok(), Endpoint::ok(), Endpoint::ok()];
    let gateway = Gateway::in_front_of(&endpoints.each_ref())
        .upstream("health = { tcp = true, interval = \"100ms\" }")
        .upstream("retry = { on = [\"connect_failure\", \"stale_connection\", \"reset\"], tries_max = 3, budget = \"off\" }")
        .start();
    let (stop, done, failed) = <(AtomicBool, AtomicUsize, AtomicUsize)>::default();
    let [gone, ..] = endpoints;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = gateway.client();
                while !stop.load(Ordering::SeqCst) {
                    let status = client.get("/").status;
                    failed.fetch_add(usize::from(status != 200), Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let more = |count| {
            let before = done.load(Ordering::SeqCst);
            eventually("requests are served", || done.load(Ordering::SeqCst) >= before + count);
        };
        more(200);
        drop(gone);
        more(1000);
        stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(failed.into_inner(), 0, "of {}", done.into_inner());
}
