//! The retry policy of an upstream. The endpoints' lists of requests are the judge: none may hold a
//! POST twice.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Connection, Endpoint, Gateway, OK, PATIENCE, SilentAddress, eventually, free_address,
};

const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy";

/// An endpoint that answers nothing.
fn hangs() -> Endpoint {
    Endpoint::scripted(|mut connection| while connection.next_request().is_some() {})
}

/// An endpoint that ends each connection when it has read a request.
fn kills() -> Endpoint {
    Endpoint::scripted(|mut connection| {
        connection.next_request();
        connection.reset();
    })
}

/// An endpoint that ends each connection at once.
fn accepts_and_closes() -> Endpoint {
    Endpoint::scripted(drop)
}

/// How often each target has reached any of the endpoints.
fn executions(endpoints: &[&Endpoint]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in endpoints.iter().flat_map(|endpoint| endpoint.requests()) {
        *counts.entry(format!("{} {}", request.method(), request.target())).or_default() += 1;
    }
    counts
}

fn all_causes(more: &str) -> String {
    let on = "[\"connect_failure\", \"stale_connection\", \"reset\", \"timeout\", \"500-599\"]";
    format!(
        "timeouts = {{ first_byte = \"200ms\", connect = \"200ms\" }}\n\
         retry = {{ on = {on}, budget = \"off\"{more} }}"
    )
}

#[test]
fn a_bad_endpoint_beside_a_good_one_costs_an_idempotent_request_nothing() {
    let good = Endpoint::ok();
    let silent = SilentAddress::new();
    let (hangs, kills, closes) = (hangs(), kills(), accepts_and_closes());
    let busy = Endpoint::answering(UNAVAILABLE);
    for (name, bad) in [
        ("refuses", free_address()),
        ("does not accept", silent.address()),
        ("hangs", hangs.address()),
        ("kills", kills.address()),
        ("closes", closes.address()),
        ("answers 503", busy.address()),
    ] {
        let gateway =
            Gateway::in_front_of_addresses([bad, good.address()]).upstream(&all_causes("")).start();
        let mut client = gateway.client();
        for round in 0..6 {
            let (get, put) = (format!("/{name}/{round}").replace(' ', "-"), "PUT");
            assert_eq!(client.get(&get).status, 200, "{name}");
            client.send(format!(
                "{put} {get} HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\n\r\nbody"
            ));
            assert_eq!(client.response().status, 200, "{name}");
            let last = good.requests().pop().unwrap();
            assert_eq!((last.method(), last.text()), (put, "body"), "{name}");
        }
    }
}

#[test]
fn no_post_is_executed_twice_whatever_its_endpoint_does() {
    let good = Endpoint::ok();
    let half = Endpoint::scripted(|mut connection| {
        while connection.next_request().is_some() {
            connection.send(if connection.number % 2 == 0 { OK } else { UNAVAILABLE });
        }
    });
    let garbage = Endpoint::answering("SSH-2.0-OpenSSH_9.6\r\n\r\n");
    let (hangs, kills, closes) = (hangs(), kills(), accepts_and_closes());
    let bad = [&half, &garbage, &hangs, &kills, &closes];
    let addresses = bad.iter().map(|it| it.address()).chain([free_address(), good.address()]);
    let gateway =
        Gateway::in_front_of_addresses(addresses).upstream(&all_causes(", tries_max = 9")).start();
    let mut ids = 0;
    thread::scope(|scope| {
        for thread in 0..4 {
            let gateway = &gateway;
            scope.spawn(move || {
                for round in 0..14 {
                    let mut client = gateway.client();
                    let status = client.post(&format!("/{thread}/{round}"), "body").status;
                    assert!([200, 502, 503, 504].contains(&status), "{status}");
                }
            });
            ids += 14;
        }
    });
    let executions = executions(&[&half, &garbage, &hangs, &kills, &closes, &good]);
    assert!(executions.values().all(|count| *count == 1), "{executions:?}");
    assert!(executions.len() <= ids && !executions.is_empty());
}

#[test]
fn a_post_is_sent_again_where_any_method_is_written() {
    let (busy, good) = (Endpoint::answering(UNAVAILABLE), Endpoint::ok());
    let retry = "retry = { on = [\"503\"], methods = \"any\", budget = \"off\" }";
    let gateway = Gateway::in_front_of(&[&busy, &good]).upstream(retry).start();
    let mut client = gateway.client();
    for round in 0..4 {
        assert_eq!(client.post(&format!("/{round}"), "body").status, 200);
    }
    assert_eq!(busy.requests().len(), 2);
    assert!(good.requests().iter().all(|it| it.text() == "body"));
    // The short answers were read, and the connection lives on.
    assert_eq!(busy.connections(), 1);
}

#[test]
fn the_answer_of_the_last_try_goes_to_the_client() {
    let endpoint = Endpoint::scripted(|mut connection| {
        let mut count = 0;
        while connection.next_request().is_some() {
            count += 1;
            connection.send(format!("HTTP/1.1 503 Busy\r\nContent-Length: 1\r\n\r\n{count}"));
        }
    });
    let retry = "retry = { on = [\"503\"], tries_max = 3, back_off = \"100ms\", budget = \"off\" }";
    let gateway = Gateway::in_front_of(&[&endpoint]).upstream(retry).start();
    let began = Instant::now();
    let response = gateway.client().get("/");
    assert_eq!((response.status, response.text()), (503, "3"));
    assert_eq!((endpoint.requests().len(), endpoint.connections()), (3, 1));
    // 100 ms and 200 ms, and at least half of each.
    assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
}

#[test]
fn a_long_answer_with_a_status_to_retry_is_not_read_to_its_end() {
    let endless = Endpoint::scripted(|mut connection| {
        connection.request();
        connection.send("HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n");
        while connection.try_send("1\r\nx\r\n").is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    });
    let good = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endless, &good])
        .upstream("retry = { on = [\"500\"], budget = \"off\" }")
        .start();
    let mut client = gateway.client();
    for _ in 0..4 {
        assert_eq!(client.get("/").text(), "ok");
    }
    endless.wait_until_all_closed();
}

#[test]
fn retries_stop_when_the_budget_is_used_up() {
    let busy = Endpoint::answering(UNAVAILABLE);
    let gateway = Gateway::in_front_of(&[&busy])
        .upstream("retry = { on = [\"503\"], tries_max = 2, back_off = \"10ms\" }")
        .admin()
        .start();
    let mut client = gateway.client();
    let began = Instant::now();
    for _ in 0..15 {
        assert_eq!(client.get("/").status, 503);
    }
    assert!(began.elapsed() < Duration::from_secs(9), "the window has moved on");
    // A fifth of 15 requests, and at least 3 in 10 s: both are 3.
    assert_eq!(busy.requests().len(), 18);
    eventually("the refused retries are counted", || {
        gateway.metric("ringway_upstream_retries_over_budget_total", &[]) == 12.0
            && gateway.metric("ringway_upstream_retries_total", &["cause=\"status\""]) == 3.0
    });
}

#[test]
fn a_try_has_a_time_of_its_own() {
    let (hangs, good) = (hangs(), Endpoint::ok());
    let retry = "retry = { on = [\"timeout\"], per_try_timeout = \"300ms\", budget = \"off\" }";
    let gateway = Gateway::in_front_of(&[&hangs, &good]).upstream(retry).start();
    let mut client = gateway.client();
    for _ in 0..2 {
        let began = Instant::now();
        assert_eq!(client.get("/").status, 200);
        let took = began.elapsed();
        let slow = took >= Duration::from_millis(300);
        assert!(!slow || took < Duration::from_millis(330) * 4, "{took:?}");
    }
    assert_eq!(hangs.requests().len(), 1);
    hangs.wait_until_all_closed();
    let gateway =
        Gateway::in_front_of(&[&hangs]).upstream("retry = { per_try_timeout = \"300ms\" }").start();
    let began = Instant::now();
    gateway.client().get("/").assert_is_reply(504, "first_byte_timeout");
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn the_record_says_why_a_request_was_retried() {
    let (busy, good) = (Endpoint::answering(UNAVAILABLE), Endpoint::ok());
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let gateway = Gateway::in_front_of(&[&busy, &good])
        .upstream("retry = { on = [\"503\"], budget = \"off\" }")
        .and(&format!("[access_log]\nto = \"{}\"", log.display()))
        .start();
    let mut client = gateway.client();
    for _ in 0..2 {
        assert_eq!(client.get("/").status, 200);
    }
    eventually("the retry is in the log", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.lines().any(|it| it.contains("\"retried_because\":\"retried_status\""))
    });
}

#[test]
fn a_killed_endpoint_under_load_fails_no_idempotent_request() {
    let victim = Endpoint::scripted(|mut connection: Connection| {
        for _ in 0..20 {
            if connection.next_request().is_none() {
                return;
            }
            connection.send(OK);
        }
        // It takes one more request with it.
        connection.next_request();
        connection.reset();
    });
    let others = [Endpoint::ok(), Endpoint::ok()];
    let gateway = Gateway::in_front_of(&[&victim, &others[0], &others[1]]).start();
    thread::scope(|scope| {
        for thread in 0..4 {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut client = gateway.client();
                for round in 0..150 {
                    assert_eq!(client.get(&format!("/{thread}/{round}")).status, 200);
                }
            });
        }
    });
}
