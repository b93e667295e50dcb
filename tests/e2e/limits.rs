//! `rate_limit` and `concurrency`: limits for each client and for other keys, end to end.

use std::time::{Duration, Instant};

use crate::harness::{Client, Endpoint, Gateway, OK, eventually};

/// A gateway in front of `endpoint`, with this filter on the route for everything.
fn with(endpoint: &Endpoint, filter: &str) -> Gateway {
    Gateway::in_front_of(&[endpoint]).route(&format!("filters = [{{ {filter} }}]")).start()
}

/// So many requests on one connection: how many were answered 200, and how many 429.
fn statuses(client: &mut Client, count: usize) -> (usize, usize) {
    let answers: Vec<u16> = (0..count).map(|_| client.get("/").status).collect();
    let of = |status| answers.iter().filter(|it| **it == status).count();
    (of(200), of(429))
}

#[test]
fn a_client_beyond_the_rate_is_refused_and_another_one_is_not() {
    let endpoint = Endpoint::ok();
    let gateway = with(&endpoint, "type = \"rate_limit\", rate = \"5/m\", burst = 3");
    let mut client = gateway.client();
    let first = client.get("/");
    assert_eq!(first.header("ratelimit-policy"), Some("\"5/m\";q=5;w=60"));
    assert_eq!(first.header("ratelimit"), Some("\"5/m\";r=2;t=12"));
    assert_eq!(statuses(&mut client, 2), (2, 0));
    let refused = client.get("/");
    refused.assert_is_reply(429, "rate_limited");
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=12).contains(&after), "{after}");
    assert!(refused.header("ratelimit").unwrap().contains(";r=0;"));
    // Other connections of this client count with it.
    gateway.client().get("/").assert_is_reply(429, "rate_limited");
    let mut other = Client::connect_from("127.0.0.9", gateway.address());
    assert_eq!(statuses(&mut other, 4), (3, 1));
    assert_eq!(endpoint.requests().len(), 6);
    gateway.stop();
}

#[test]
fn behind_a_trusted_proxy_the_client_counts_and_not_the_proxy() {
    let endpoint = Endpoint::ok();
    let filter = "filters = [{ type = \"rate_limit\", rate = \"1/h\", key = { client_ip = 24 } }]";
    let gateway = Gateway::in_front_of(&[&endpoint])
        .listener("trusted_proxies = [\"127.0.0.1\"]")
        .route(filter)
        .start();
    let mut proxy = gateway.client();
    for (client, status) in
        [("10.0.0.1", 200), ("10.0.0.77", 429), ("10.0.1.1", 200), ("2001:db8::1", 200)]
    {
        proxy.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n"));
        assert_eq!(proxy.response().status, status, "{client}");
    }
    gateway.stop();
}

#[test]
fn requests_without_the_header_of_the_key_share_one_limit() {
    let endpoint = Endpoint::ok();
    let filter = "type = \"rate_limit\", rate = \"1/h\", key = \"header:X-User\", headers = \"x\"";
    let gateway = with(&endpoint, filter);
    let mut client = gateway.client();
    for (user, status) in [
        ("X-User: a\r\n", 200),
        ("X-User: b\r\n", 200),
        ("X-User: a\r\n", 429),
        ("", 200),
        ("", 429),
    ] {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{user}\r\n"));
        let response = client.response();
        assert_eq!(response.status, status, "{user}");
        assert_eq!(response.header("x-ratelimit-limit"), Some("1"));
        assert_eq!(response.header("x-ratelimit-remaining"), Some("0"));
    }
    gateway.stop();
}

#[test]
fn a_request_beyond_the_rate_may_wait_for_its_turn() {
    let endpoint = Endpoint::ok();
    let filter = "type = \"rate_limit\", rate = \"10/s\", burst = 1, over = { delay_max = \"5s\" }";
    let gateway = with(&endpoint, filter);
    let mut client = gateway.client();
    let began = Instant::now();
    assert_eq!(statuses(&mut client, 4), (4, 0));
    assert!(began.elapsed() >= Duration::from_millis(290), "{:?}", began.elapsed());
    gateway.stop();
}

#[test]
fn on_two_cores_each_connection_gets_the_rate_and_both_together_no_more_than_twice_it() {
    let endpoint = Endpoint::ok();
    let filter = "filters = [{ type = \"rate_limit\", rate = \"1/h\", burst = 5 }]";
    let gateway = Gateway::in_front_of(&[&endpoint]).route(filter).cores(2).start();
    let mut passed = 0;
    for round in 0..40 {
        let (served, refused) = statuses(&mut gateway.client(), 5);
        assert_eq!(served + refused, 5);
        // The first connection is alone on its core.
        assert!(round > 0 || served == 5, "{served}");
        passed += served;
    }
    assert!((5..=10).contains(&passed), "{passed}");
    gateway.stop();
}

#[test]
fn a_change_of_other_settings_gives_no_second_burst() {
    let endpoint = Endpoint::ok();
    let limited = |headers: &str| {
        let filter = format!(
            "[filters.few]\ntype = \"rate_limit\"\nrate = \"1/h\"\nburst = 2\nheaders = \"{headers}\""
        );
        let route = "filters = [\"few\"]";
        Gateway::in_front_of(&[&endpoint]).route(route).and(&filter).admin().text()
    };
    let gateway = Gateway::configured(&limited("off"));
    let mut client = gateway.client();
    assert_eq!(statuses(&mut client, 3), (2, 1));
    let applied = gateway.admin("POST", "/v1/config", &limited("x"));
    assert_eq!(applied.status, 200, "{}", applied.text());
    let refused = client.get("/");
    refused.assert_is_reply(429, "rate_limited");
    assert_eq!(refused.header("x-ratelimit-limit"), Some("2"));
    eventually("the refusals are counted", || {
        let metrics = gateway.admin("GET", "/metrics", "");
        metrics.text().contains("ringway_limited_total{filter=\"rate_limit\"} 2")
    });
    gateway.stop();
}

#[test]
fn a_flood_of_keys_is_served_and_a_client_within_its_rate_too() {
    let endpoint = Endpoint::ok();
    let filter = "type = \"rate_limit\", rate = \"1/h\", key = \"header:x-user\", keys_max = 100";
    let gateway = with(&endpoint, filter);
    let mut client = gateway.client();
    let mut get = |user: usize| {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-User: {user}\r\n\r\n"));
        client.response().status
    };
    for user in 0..2000 {
        assert_eq!(get(user), 200, "{user}");
    }
    // Those that came last are remembered, those that came first are not.
    assert_eq!([get(1999), get(1960), get(0)], [429, 429, 200]);
    gateway.stop();
}

#[test]
fn a_client_has_no_more_requests_at_once_than_it_may() {
    let (endpoint, connections) = Endpoint::by_hand();
    let few = "[filters.few]\ntype = \"concurrency\"\nrequests_max = 1
               [routes.own]\nmatch = { path = \"/own\" }\nfilters = [\"few\"]
               reply = { status = 200, body = \"own\" }";
    let gateway = Gateway::in_front_of(&[&endpoint]).route("filters = [\"few\"]").and(few).start();
    let mut client = gateway.client();
    client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut connection = connections.next();
    assert_eq!(connection.request().target(), "/a");
    let refused = gateway.client().get("/b");
    refused.assert_is_reply(429, "concurrency_limited");
    assert_eq!(refused.header("retry-after"), Some("1"));
    connection.send(OK);
    assert_eq!(client.response().status, 200);
    // The place is free, also for the same connection.
    client.send("GET /c HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(connection.request().target(), "/c");
    // Another route with the same filter counts with it. A client that leaves gives its place back.
    let mut other = gateway.client();
    other.get("/own").assert_is_reply(429, "concurrency_limited");
    drop(client);
    eventually("the place of a client that left is free", || other.get("/own").status == 200);
    gateway.stop();
}
