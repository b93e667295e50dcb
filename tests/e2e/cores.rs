//! More than one core: each takes connections of its own.

use std::thread;

use crate::harness::{Endpoint, GET, Gateway, skip};

fn skips_for_want_of_cpus() -> bool {
    let alone = thread::available_parallelism().map_or(1, usize::from) < 2;
    if alone {
        skip("several cores: there is only one CPU");
    }
    alone
}

#[test]
fn both_of_two_cores_serve() {
    if skips_for_want_of_cpus() {
        return;
    }
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).cores(2).start();
    let mut clients: Vec<_> = (0..64).map(|_| gateway.client()).collect();
    for _ in 0..3 {
        for client in &mut clients {
            assert_eq!(client.get("/").text(), "ok");
        }
    }
    // One after another, so a core needs one connection to the endpoint, and has its own: the
    // kernel leaves a core out of 64 connections once in 2^63.
    assert_eq!(endpoint.connections(), 2);
    let totals = gateway.stop();
    assert!(totals.contains("drained: 192 requests"), "{totals}");
    assert!(totals.contains(" 64 client connections"), "{totals}");
}

#[test]
fn two_cores_serve_many_clients_at_the_same_time() {
    if skips_for_want_of_cpus() {
        return;
    }
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).cores(2).start();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = gateway.client();
                client.send(GET.repeat(50));
                for _ in 0..50 {
                    assert_eq!(client.response().text(), "ok");
                }
            });
        }
    });
    assert!(gateway.stop().contains("drained: 400 requests"));
    assert_eq!(endpoint.requests().len(), 400);
}

#[test]
fn workers_are_pinned_and_the_control_thread_makes_way_for_them() {
    if skips_for_want_of_cpus() {
        return;
    }
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).cores(2).start();
    let threads = gateway.process.threads();
    let (workers, others): (Vec<_>, Vec<_>) =
        threads.iter().partition(|(name, ..)| name.starts_with("ringway-"));
    let (mine, pinned) = (workers[0].1, workers.iter().all(|(_, _, cpus)| *cpus == 1));
    assert!(workers.len() == 2 && pinned, "{threads:?}");
    let (_, nice, cpus) = others.iter().find(|(name, ..)| name == "ringway").unwrap();
    assert!(*nice > mine && *cpus > 1, "{threads:?}");
    // A change costs the same at any priority. A low priority would only make it last longer.
    let (_, nice, cpus) = others.iter().find(|(name, ..)| name == "helper").unwrap();
    assert!(*nice == mine && *cpus > 1, "{threads:?}");
}
