//! `in_flight` of upstreams and routes: never more requests at once than the limit, over all cores.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Builder, Client, Connection, Endpoint, GET, Gateway, OK, PATIENCE, eventually, stay_on_one_cpu,
};

const OWN: &str =
    "[routes.own]\nmatch = { path = \"/own\" }\nreply = { status = 200, body = \"own\" }";

/// An endpoint that takes `work` for each request, and the most requests that it had at once.
fn busy(work: Duration) -> (Endpoint, Arc<AtomicUsize>) {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let of_test = Arc::clone(&most);
    let endpoint = Endpoint::scripted(move |mut connection| {
        while connection.next_request().is_some() {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(work);
            now.fetch_sub(1, Ordering::SeqCst);
            connection.send(OK);
        }
    });
    (endpoint, of_test)
}

fn limited(endpoint: &Endpoint, in_flight: &str) -> Builder {
    Gateway::in_front_of(&[endpoint]).upstream(&format!("in_flight = {{ {in_flight} }}")).and(OWN)
}

/// A client that has sent a request which the gateway has begun to serve.
fn waiting(gateway: &Gateway, target: &str) -> Client {
    let mut client = gateway.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n"));
    assert_eq!(gateway.client().get("/own").text(), "own");
    client
}

fn answer(connection: &mut Connection, target: &str) {
    assert_eq!(connection.request().target(), target);
    connection.send(OK);
}

#[test]
fn there_are_never_more_requests_at_once_than_the_limit_over_all_cores() {
    let (endpoint, most) = busy(Duration::from_millis(5));
    let gateway = limited(&endpoint, "requests_max = 5").cores(2).start();
    let (served, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let mut client = gateway.client();
                    for _ in 0..5 {
                        let response = client.get("/");
                        if response.status == 200 {
                            served.fetch_add(1, Ordering::SeqCst);
                        } else {
                            response.assert_is_reply(503, "in_flight_full");
                            assert_eq!(response.header("retry-after"), Some("1"));
                            refused.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
            });
        }
    });
    let (served, refused) = (served.into_inner(), refused.into_inner());
    assert_eq!(served + refused, 1200);
    assert!(served > 50 && refused > 50, "{served} served, {refused} refused");
    assert_eq!(most.load(Ordering::SeqCst), 5);
    gateway.stop();
}

#[test]
fn a_limit_of_one_serves_every_core_while_nobody_uses_it() {
    let (endpoint, most) = busy(Duration::ZERO);
    let gateway = limited(&endpoint, "requests_max = 1").cores(2).start();
    // The kernel spreads connections over the cores.
    let mut refused = 0;
    for _ in 0..64 {
        let status = gateway.client().get("/").status;
        assert!([200, 503].contains(&status), "{status}");
        refused += usize::from(status == 503);
    }
    // A request may come before the credit that the last one has left behind. On a busy machine that
    // takes longer than a request waits for it.
    assert!(refused <= 16, "{refused} of 64 were refused");
    assert_eq!(most.load(Ordering::SeqCst), 1);
    gateway.stop();
}

#[test]
fn a_request_over_the_limit_waits_for_its_turn() {
    stay_on_one_cpu();
    let (endpoint, connections) = Endpoint::by_hand();
    let queue = "requests_max = 1, queue_max = 2, queue_timeout = \"60s\"";
    let gateway = limited(&endpoint, queue).admin().start();
    let mut first = gateway.client();
    first.send(GET);
    let mut connection = connections.next();
    let mut others = ["/a", "/b"].map(|target| waiting(&gateway, target));
    let began = Instant::now();
    gateway.client().get("/c").assert_is_reply(503, "in_flight_full");
    assert!(began.elapsed() < PATIENCE / 2);
    eventually("two requests wait", || {
        gateway.metric("ringway_waiting_requests", &["reason=\"in_flight_full\""]) == 2.0
    });
    answer(&mut connection, "/");
    assert_eq!(first.response().text(), "ok");
    for (client, target) in others.iter_mut().zip(["/a", "/b"]) {
        answer(&mut connection, target);
        assert_eq!(client.response().text(), "ok", "{target}");
    }
    gateway.stop();
}

#[test]
fn a_request_waits_only_as_long_as_it_may() {
    let (endpoint, connections) = Endpoint::by_hand();
    let queue = "requests_max = 1, queue_max = 2, queue_timeout = \"300ms\"";
    let gateway = limited(&endpoint, queue).start();
    let mut first = gateway.client();
    first.send(GET);
    let mut connection = connections.next();
    let began = Instant::now();
    gateway.client().get("/a").assert_is_reply(503, "in_flight_full");
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(300), "{waited:?}");
    answer(&mut connection, "/");
    assert_eq!(first.response().text(), "ok");
    assert_eq!(endpoint.requests().len(), 1);
    gateway.stop();
}

#[test]
fn a_client_that_leaves_makes_room() {
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway = limited(&endpoint, "requests_max = 1").start();
    let mut first = gateway.client();
    first.send(GET);
    let connection = connections.next();
    gateway.client().get("/a").assert_is_reply(503, "in_flight_full");
    first.reset();
    let served = thread::spawn(move || {
        drop(connection);
        answer(&mut connections.next(), "/b");
    });
    let mut last = gateway.client();
    eventually("the place of the client that has left is free", || last.get("/b").status == 200);
    served.join().unwrap();
    gateway.stop();
}

#[test]
fn a_route_has_a_limit_of_its_own_and_its_upstream_another() {
    let (endpoint, connections) = Endpoint::by_hand();
    let other = format!(
        "[routes.other]\nmatch = {{ path_prefix = \"/other\" }}\nupstream = \"app\"\n{OWN}"
    );
    let gateway = Gateway::in_front_of(&[&endpoint])
        .upstream("in_flight = { requests_max = 2 }")
        .route("in_flight = { requests_max = 1 }")
        .and(&other)
        .start();
    let mut first = waiting(&gateway, "/");
    gateway.client().get("/a").assert_is_reply(503, "in_flight_full");
    let mut second = waiting(&gateway, "/other");
    gateway.client().get("/other/b").assert_is_reply(503, "in_flight_full");
    let mut held = [connections.next(), connections.next()];
    for connection in &mut held {
        connection.request();
        connection.send(OK);
    }
    assert_eq!((first.response().status, second.response().status), (200, 200));
    // The permits that they held have come back.
    let mut third = waiting(&gateway, "/c");
    held[1].request();
    held[1].send(OK);
    assert_eq!(third.response().status, 200);
    gateway.stop();
}

#[test]
fn a_tunnel_counts_until_it_ends() {
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway = limited(&endpoint, "requests_max = 1").start();
    let mut client = gateway.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    let mut connection = connections.next();
    connection.request_head();
    connection.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert!(client.head().first_line.contains("101"));
    gateway.client().get("/a").assert_is_reply(503, "in_flight_full");
    drop(connection);
    client.rest();
    drop(client);
    let served = thread::spawn(move || answer(&mut connections.next(), "/b"));
    let mut last = gateway.client();
    eventually("the tunnel has ended", || last.get("/b").status == 200);
    served.join().unwrap();
    gateway.stop();
}

#[test]
fn a_higher_limit_serves_those_that_wait() {
    let (endpoint, connections) = Endpoint::by_hand();
    let queue = "requests_max = 1, queue_max = 2, queue_timeout = \"60s\"";
    let builder = limited(&endpoint, queue).admin();
    let gateway = builder.start();
    let mut first = gateway.client();
    first.send(GET);
    let mut connection = connections.next();
    let mut second = waiting(&gateway, "/a");
    let text = builder.text().replace("requests_max = 1", "requests_max = 2");
    assert_eq!(gateway.admin("POST", "/v1/config", &text).status, 200);
    answer(&mut connections.next(), "/a");
    assert_eq!(second.response().text(), "ok");
    answer(&mut connection, "/");
    assert_eq!(first.response().text(), "ok");
    gateway.stop();
}

#[test]
fn overload_is_refused_fast_and_costs_no_goodput() {
    const SLOTS: usize = 8;
    const WORK: Duration = Duration::from_millis(40);
    let (endpoint, most) = busy(WORK);
    let gateway = limited(&endpoint, &format!("requests_max = {SLOTS}")).start();
    let (served, slowest) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let began = Instant::now();
    thread::scope(|scope| {
        // Twice as many clients as slots, and each comes back at once, or 5 ms after a refusal.
        for _ in 0..2 * SLOTS {
            scope.spawn(|| {
                let mut client = gateway.client();
                while began.elapsed() < Duration::from_secs(2) {
                    let asked = Instant::now();
                    if client.get("/").status == 200 {
                        served.fetch_add(1, Ordering::SeqCst);
                    } else {
                        let micros = usize::try_from(asked.elapsed().as_micros()).unwrap();
                        slowest.fetch_max(micros, Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(5));
                    }
                }
            });
        }
    });
    let capacity = SLOTS * 2000 / 40;
    let served = served.into_inner();
    assert!(served * 10 >= capacity * 7, "{served} of {capacity}");
    assert!(most.load(Ordering::SeqCst) <= SLOTS);
    // Far below the work: a refused request has waited for nothing.
    let slowest = slowest.into_inner();
    assert!(slowest > 0 && slowest < 35_000, "{slowest} us");
    gateway.stop();
}
