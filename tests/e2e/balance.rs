//! Requests are balanced over the endpoints of an upstream as its configuration says.

use std::collections::HashSet;

use crate::harness::{
    Client, Connection, Endpoint, GET, Gate, Gateway, OK, eventually, free_address,
};

/// Endpoints that tell their number.
fn numbered(count: usize) -> Vec<Endpoint> {
    (0..count).map(|number| Endpoint::saying(&number.to_string())).collect()
}

fn all(endpoints: &[Endpoint]) -> Vec<&Endpoint> {
    endpoints.iter().collect()
}

/// The number of the endpoint that serves this request.
fn number(client: &mut Client, fields: &str) -> usize {
    client.send(format!("GET /a?x=1 HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n"));
    client.response().text().parse().unwrap()
}

#[test]
fn nine_thousand_requests_on_two_cores_keep_to_the_weights() {
    for balance in ["round_robin", "random", "p2c_ewma", "least_requests"] {
        let endpoints = numbered(3);
        let gateway = Gateway::in_front_of(&all(&endpoints))
            .endpoint_keys(&["weight = 5", "weight = 3", "weight = 1"])
            .upstream(&format!("balance = \"{balance}\""))
            .cores(2)
            .start();
        let mut clients: Vec<_> = (0..30).map(|_| gateway.client()).collect();
        // One at a time: nothing is in flight when an endpoint is chosen.
        let mut counts = [0.0; 3];
        for _ in 0..300 {
            for client in &mut clients {
                counts[number(client, "")] += 1.0 / 9_000.0;
            }
        }
        let off_max = match balance {
            // It looks at latencies, which are those of this machine: it only must use all.
            "p2c_ewma" => 1.0,
            "random" => 0.02,
            _ => 0.005,
        };
        for (count, weight) in counts.iter().zip([5.0, 3.0, 1.0]) {
            let off = (count - weight / 9.0_f64).abs();
            assert!(off <= off_max && *count > 0.0, "{balance}: {counts:?}");
        }
    }
}

#[test]
fn a_busy_endpoint_gets_no_request_while_another_is_idle() {
    for balance in ["least_requests", "p2c_ewma"] {
        let gate = Gate::new();
        let go_on = gate.clone();
        let busy = Endpoint::scripted(move |mut connection: Connection| {
            while connection.next_request().is_some() {
                go_on.wait();
                connection.send(OK);
            }
        });
        let idle = Endpoint::ok();
        let gateway = Gateway::in_front_of(&[&busy, &idle])
            .upstream(&format!("balance = \"{balance}\""))
            .start();
        // Requests that the busy one holds, until it has some.
        let mut held = Vec::new();
        while busy.requests().len() < 3 {
            let mut client = gateway.client();
            let before = idle.requests().len();
            client.send(GET);
            eventually("an endpoint has the request", || {
                idle.requests().len() > before || busy.requests().len() > held.len()
            });
            if idle.requests().len() > before {
                assert_eq!(client.response().text(), "ok");
                if held.is_empty() {
                    continue;
                }
                break;
            }
            held.push(client);
        }
        let (of_busy, of_idle) = (busy.requests().len(), idle.requests().len());
        let mut client = gateway.client();
        (0..50).for_each(|_| _ = client.get("/"));
        assert_eq!(idle.requests().len(), of_idle + 50, "{balance}");
        assert_eq!(busy.requests().len(), of_busy, "{balance}");
        gate.open();
        for mut client in held {
            assert_eq!(client.response().text(), "ok");
        }
    }
}

#[test]
fn equal_keys_go_to_the_same_endpoint_on_every_core() {
    for (hash, fields) in [
        ("header:x-user", "X-User: KEY\r\n"),
        ("cookie:id", "Cookie: a=b; id=KEY\r\n"),
        ("client_ip", "X-Forwarded-For: 203.0.113.KEY\r\n"),
    ] {
        let endpoints = numbered(4);
        let gateway = Gateway::in_front_of(&all(&endpoints))
            .upstream(&format!("balance = {{ hash = \"{hash}\" }}"))
            .listener("trusted_proxies = [\"127.0.0.1\"]")
            .cores(2)
            .start();
        let mut used = HashSet::new();
        for key in 1..40 {
            let fields = fields.replace("KEY", &key.to_string());
            // Several connections, so that both cores are asked.
            let picks: HashSet<_> =
                (0..6).map(|_| number(&mut gateway.client(), &fields)).collect();
            assert_eq!(picks.len(), 1, "{hash} {key}: {picks:?}");
            used.extend(picks);
        }
        assert_eq!(used.len(), 4, "{hash}");
        // Without a key it goes by turn.
        if hash != "client_ip" {
            let mut client = gateway.client();
            let picks: HashSet<_> = (0..4).map(|_| number(&mut client, "")).collect();
            assert_eq!(picks.len(), 4, "{hash}");
        }
    }
}

#[test]
fn the_path_or_a_parameter_chooses_the_endpoint() {
    for (hash, target) in [("path", "/KEY"), ("query:q", "/?p=7&q=KEY")] {
        let endpoints = numbered(3);
        let gateway = Gateway::in_front_of(&all(&endpoints))
            .upstream(&format!("balance = {{ hash = \"{hash}\" }}"))
            .start();
        let mut client = gateway.client();
        let mut used = HashSet::new();
        for key in 0..30 {
            let target = target.replace("KEY", &key.to_string());
            let picks: HashSet<_> = (0..3).map(|_| client.get(&target).text().to_owned()).collect();
            assert_eq!(picks.len(), 1, "{target}: {picks:?}");
            used.extend(picks);
        }
        assert_eq!(used.len(), 3, "{hash}");
    }
}

#[test]
fn keys_of_a_drained_endpoint_move_and_all_others_stay() {
    let endpoints = numbered(4);
    let gateway = Gateway::in_front_of(&all(&endpoints))
        .upstream("balance = { hash = \"header:x-user\" }")
        .admin()
        .start();
    let mut client = gateway.client();
    let mut picks = || -> Vec<usize> {
        (0..60).map(|key| number(&mut client, &format!("X-User: {key}\r\n"))).collect()
    };
    let before = picks();
    gateway.set_endpoint(&endpoints[2], "drain");
    let meanwhile = picks();
    for (before, meanwhile) in before.iter().zip(&meanwhile) {
        assert!(if *before == 2 { *meanwhile != 2 } else { before == meanwhile });
    }
    gateway.set_endpoint(&endpoints[2], "ready");
    assert_eq!(picks(), before);
}

#[test]
fn another_way_to_balance_takes_effect_under_open_connections() {
    let endpoints = numbered(2);
    let builder = Gateway::in_front_of(&all(&endpoints)).admin();
    let gateway = builder.start();
    let mut client = gateway.client();
    assert_ne!(number(&mut client, ""), number(&mut client, ""), "in turn");
    let text = builder.upstream("balance = { hash = \"path\" }").text();
    assert_eq!(gateway.admin("POST", "/v1/config", &text).status, 200);
    let picks: HashSet<_> = (0..6).map(|_| number(&mut client, "")).collect();
    assert_eq!(picks.len(), 1);
    assert_eq!(endpoints.iter().map(Endpoint::connections).max(), Some(1));
}

#[test]
fn a_backup_serves_when_no_other_endpoint_can_and_a_weight_of_0_never() {
    let endpoints = numbered(4);
    let gateway = Gateway::in_front_of(&all(&endpoints))
        .endpoint_keys(&["backup = true", "priority = 1", "weight = 2", "weight = 0"])
        .admin()
        .start();
    let mut client = gateway.client();
    for (drained, expected) in [(2, 2), (1, 1), (0, 0)] {
        (0..5).for_each(|_| assert_eq!(number(&mut client, ""), expected));
        gateway.set_endpoint(&endpoints[drained], "drain");
    }
    client.get("/").assert_is_reply(503, "no_endpoint");
    gateway.set_endpoint(&endpoints[2], "ready");
    assert_eq!(number(&mut client, ""), 2);
}

#[test]
fn a_request_that_the_first_group_refuses_goes_to_the_backup() {
    let dead = free_address();
    let backup = Endpoint::ok();
    let gateway = Gateway::in_front_of_addresses([dead, backup.address()])
        .endpoint_keys(&["weight = 1", "backup = true"])
        .start();
    let mut client = gateway.client();
    (0..3).for_each(|_| assert_eq!(client.post("/", "x").text(), "ok"));
}
