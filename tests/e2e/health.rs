//! Endpoints that fail: they get no requests until they are well again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::harness::{Endpoint, GET, Gateway, eventually, free_address};

/// An endpoint that takes requests and never answers.
fn silent() -> Endpoint {
    Endpoint::scripted(|mut connection| {
        connection.next_request();
        connection.end();
    })
}

fn ejections(gateway: &Gateway, endpoint: SocketAddr) -> f64 {
    let label = format!("endpoint=\"{endpoint}\"");
    gateway.metric("ringway_endpoint_ejections_total", &[&label])
}

#[test]
fn an_endpoint_that_refuses_is_left_out_until_it_takes_a_request_again() {
    let (endpoint, dead) = (Endpoint::ok(), free_address());
    let gateway = Gateway::in_front_of_addresses([dead, endpoint.address()])
        .upstream("eject = { for = \"1s\" }")
        .admin()
        .start();
    let mut client = gateway.client();
    // As many tries as the default says, and no more: half of these requests would begin there.
    for _ in 0..40 {
        assert_eq!(client.get("/").status, 200);
    }
    eventually("the ejection is counted", || ejections(&gateway, dead) == 1.0);
    assert_eq!(gateway.metric("ringway_retries_total", &[]), 5.0);
    let ejected = || gateway.metric("ringway_endpoint_ejected_cores", &[]);
    assert_eq!(ejected(), 1.0);
    let back = Endpoint::ok_at(dead);
    eventually("it gets requests again", || {
        assert_eq!(client.get("/").status, 200);
        back.requests().len() > 10
    });
    eventually("the return is reported", || ejected() == 0.0);
}

#[test]
fn an_endpoint_that_hangs_costs_a_few_timeouts_and_then_one_request_at_a_time() {
    let (endpoint, hung) = (Endpoint::ok(), silent());
    let gateway = Gateway::in_front_of(&[&hung, &endpoint])
        .upstream("eject = { consecutive_failures = 2, for = \"1s\" }")
        .route("timeouts = { first_byte = \"300ms\" }")
        .admin()
        .start();
    let mut client = gateway.client();
    let statuses: Vec<_> = (0..20).map(|_| client.get("/").status).collect();
    assert_eq!(statuses.iter().filter(|it| **it == 504).count(), 2, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|it| **it == 200).count(), 18, "{statuses:?}");
    // When its time is up, one request finds out that it still hangs.
    eventually("the endpoint is tried again", || {
        client.get("/");
        hung.requests().len() == 3
    });
    assert_eq!(hung.requests().len(), 3);
    for _ in 0..20 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(hung.requests().len(), 3);
    eventually("it is out for longer", || ejections(&gateway, hung.address()) == 2.0);
}

#[test]
fn while_one_request_tries_an_endpoint_no_other_one_goes_there() {
    let (endpoint, hung) = (Endpoint::ok(), silent());
    let gateway = Gateway::in_front_of(&[&hung, &endpoint])
        .upstream("eject = { consecutive_failures = 1, for = \"1s\" }")
        .route("timeouts = { first_byte = \"3s\" }")
        .start();
    let mut client = gateway.client();
    let statuses = [client.get("/").status, client.get("/").status];
    assert!(statuses.contains(&504) && statuses.contains(&200), "{statuses:?}");
    let mut trials = Vec::new();
    eventually("a request tries it", || {
        let mut trial = gateway.client();
        trial.send(GET);
        let waited = Instant::now();
        while waited.elapsed() < Duration::from_millis(100) && hung.requests().len() < 2 {
            std::thread::yield_now();
        }
        trials.push(trial);
        hung.requests().len() == 2
    });
    for _ in 0..50 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(hung.requests().len(), 2);
}

#[test]
fn an_endpoint_that_answers_503_is_left_out_and_one_that_answers_500_is_not() {
    let failing = |status: &str| {
        Endpoint::answering(format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n"))
    };
    for (status, expected) in [("502", 5), ("503", 5), ("504", 5), ("500", 20), ("404", 20)] {
        let (endpoint, bad) = (Endpoint::ok(), failing(status));
        let gateway = Gateway::in_front_of(&[&bad, &endpoint]).start();
        let mut client = gateway.client();
        (0..40).for_each(|_| _ = client.get("/"));
        assert_eq!(bad.requests().len(), expected, "{status}");
        assert_eq!(endpoint.requests().len(), 40 - expected, "{status}");
    }
}

#[test]
fn better_a_sick_endpoint_than_none() {
    // The only endpoint is never out, and of two no more than one.
    let sick = || Endpoint::answering("HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nsick");
    let (alone, one, other) = (sick(), sick(), sick());
    for endpoints in [&[&alone][..], &[&one, &other]] {
        let gateway = Gateway::in_front_of(endpoints).start();
        let mut client = gateway.client();
        for _ in 0..30 {
            assert_eq!(client.get("/").text(), "sick");
        }
    }
    let (least, most) = (one.requests().len().min(other.requests().len()), 25);
    assert_eq!((least, one.requests().len() + other.requests().len()), (30 - most, 30));
    // All may be out: then all are used, unless the configuration says otherwise.
    for (panic, expected) in [("", "sick"), (", panic = \"off\"", "no_endpoint")] {
        let gateway = Gateway::in_front_of(&[&one, &other])
            .upstream(&format!("eject = {{ share_max = \"100%\"{panic} }}"))
            .start();
        let mut client = gateway.client();
        (0..10).for_each(|_| _ = client.get("/"));
        let response = client.get("/");
        assert_eq!(response.status, 503);
        assert!(response.text().contains(expected), "{}", response.text());
        assert_eq!(response.header("retry-after").is_some(), expected == "no_endpoint");
    }
}

#[test]
fn a_pooled_connection_that_turned_out_dead_is_no_failure() {
    // Each connection serves one request and closes when the next one comes.
    let one_each = || {
        Endpoint::scripted(|mut connection| {
            connection.request();
            connection.send(crate::harness::OK);
            connection.next_head();
        })
    };
    let (one, other) = (one_each(), one_each());
    let gateway = Gateway::in_front_of(&[&one, &other]).admin().start();
    let mut client = gateway.client();
    for _ in 0..40 {
        assert_eq!(client.get("/").status, 200);
    }
    eventually("all are reported", || {
        gateway.metric("ringway_upstream_requests_total", &["2xx"]) == 40.0
    });
    assert_eq!(gateway.metric("ringway_endpoint_ejections_total", &[]), 0.0);
}

#[test]
fn a_change_of_the_rules_holds_at_once() {
    let (endpoint, dead) = (Endpoint::ok(), free_address());
    let builder = Gateway::in_front_of_addresses([dead, endpoint.address()]).admin();
    let text = |rules: &str| {
        builder.text().replace("[upstreams.app]", &format!("[upstreams.app]\n{rules}"))
    };
    let gateway = builder.start_with(&text("eject = { for = \"1h\" }"));
    let mut client = gateway.client();
    (0..20).for_each(|_| assert_eq!(client.get("/").status, 200));
    eventually("the endpoint is out", || ejections(&gateway, dead) == 1.0);
    let back = Endpoint::ok_at(dead);
    (0..20).for_each(|_| assert_eq!(client.get("/").status, 200));
    assert!(back.requests().is_empty());
    let changed = gateway.admin("POST", "/v1/config", &text("eject = \"off\""));
    assert_eq!(changed.status, 200, "{}", changed.text());
    (0..20).for_each(|_| assert_eq!(client.get("/").status, 200));
    assert_eq!(back.requests().len(), 10);
}
