//! Endpoints by name: the addresses are those of DNS, now.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::harness::{
    Builder, Client, Endpoint, GET, Gateway, Mood, NameServer, OK, Process, config_file,
    eventually, ringway,
};

const NAME: &str = "users.test";

/// Endpoints at 127.0.0.1, 127.0.0.2 and so on, all at the same port.
fn endpoints<const COUNT: usize>(bodies: [&str; COUNT]) -> (u16, [Endpoint; COUNT]) {
    let mut port = 0;
    let mut last = 0;
    let endpoints = bodies.map(|body| {
        last += 1;
        let endpoint = Endpoint::saying_on(([127, 0, 0, last], port).into(), body);
        port = endpoint.address().port();
        endpoint
    });
    (port, endpoints)
}

/// A gateway whose endpoint is `name`, which `dns` resolves.
fn by_name(dns: &NameServer, name: impl ToString) -> Builder {
    Gateway::in_front_of_addresses([name]).and(&dns.runtime()).admin()
}

fn upstreams(gateway: &Gateway) -> String {
    gateway.admin("GET", "/v1/upstreams", "").text().to_owned()
}

/// Waits until the next requests are answered with `body`.
#[track_caller]
fn moves_to(client: &mut Client, body: &str) {
    eventually("requests move", || (0..4).all(|_| client.get("/").text() == body));
}

#[test]
fn requests_follow_the_addresses_of_a_name_under_load_and_none_fails() {
    let dns = NameServer::start();
    let (port, [one, two]) = endpoints(["one", "two"]);
    dns.set_addresses(NAME, 0, &["127.0.0.1"]);
    let gateway = by_name(&dns, format!("{NAME}:{port}")).cores(2).start();
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = gateway.client();
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(client.get("/").status, 200);
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for (address, gone) in [("127.0.0.2", &one), ("127.0.0.1", &two), ("127.0.0.2", &one)] {
            dns.set_addresses(NAME, 0, &[address]);
            eventually("the old address has no connection", || gone.open_connections() == 0);
            let before = asked.load(Ordering::SeqCst);
            eventually("requests go on", || asked.load(Ordering::SeqCst) > before + 100);
            let old = format!("{}", gone.address());
            eventually("the old address is not listed", || !upstreams(&gateway).contains(&old));
        }
        stop.store(true, Ordering::SeqCst);
    });
    let idle = gateway.metric("ringway_upstream_connections", &["127.0.0.1:"]);
    assert!(idle.abs() < f64::EPSILON, "{idle}");
    gateway.stop();
}

#[test]
fn an_exchange_at_an_address_that_is_gone_finishes() {
    let dns = NameServer::start();
    let (endpoint, connections) = Endpoint::by_hand();
    let port = endpoint.address().port();
    let other = Endpoint::saying_on(([127, 0, 0, 2], port).into(), "other");
    dns.set_addresses(NAME, 1, &["127.0.0.1"]);
    let gateway = by_name(&dns, format!("{NAME}:{port}")).start();
    let mut client = gateway.client();
    client.send(GET);
    let mut connection = connections.next();
    connection.request();
    dns.set_addresses(NAME, 1, &["127.0.0.2"]);
    // The core reports the new endpoint once it has taken in the news.
    let new = format!("endpoint=\"127.0.0.2:{port}\"");
    eventually("the core knows the new address", || {
        gateway.admin("GET", "/metrics", "").text().contains(&new)
    });
    connection.send(OK);
    assert_eq!(client.response().text(), "ok");
    // Its connection is not kept.
    connection.end();
    assert_eq!(client.get("/").text(), "other");
    drop(other);
    gateway.stop();
}

#[test]
fn old_addresses_stay_while_dns_fails() {
    let dns = NameServer::start();
    let (port, [_one, _two]) = endpoints(["one", "two"]);
    dns.set_addresses(NAME, 1, &["127.0.0.1"]);
    let gateway = by_name(&dns, format!("{NAME}:{port}")).start();
    let mut client = gateway.client();
    assert_eq!(client.get("/").text(), "one");
    let results = |result: &str| {
        gateway.metric("ringway_dns_resolutions_total", &[&format!("result=\"{result}\"")])
    };
    // Each ends before the back-off has grown.
    for (mood, result) in
        [(Mood::Broken, "failed"), (Mood::Silent, "failed"), (Mood::Well, "no_name")]
    {
        dns.set_mood(mood);
        dns.remove(NAME);
        let before = results(result);
        eventually("DNS fails", || results(result) > before);
        assert_eq!(client.get("/").text(), "one", "{mood:?}");
        assert!(upstreams(&gateway).contains("\"addresses\":1"), "{}", upstreams(&gateway));
        dns.set_addresses(NAME, 1, &["127.0.0.1"]);
        dns.set_mood(Mood::Well);
        let before = results("ok");
        eventually("DNS works again", || results("ok") > before);
    }
    dns.set_addresses(NAME, 1, &[]);
    eventually("the name has no address", || results("no_address") > 0.0);
    assert_eq!(client.get("/").text(), "one");
    dns.set_addresses(NAME, 1, &["127.0.0.2"]);
    moves_to(&mut client, "two");
    let said = gateway.process.stderr.text();
    for part in
        ["cannot be resolved, its 1 address stays", "DNS knows no such name", "resolved again"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    gateway.stop();
}

#[test]
fn a_name_without_an_answer_has_no_endpoint_until_there_is_one() {
    let dns = NameServer::start();
    let (port, [_one]) = endpoints(["one"]);
    let gateway = by_name(&dns, format!("{NAME}:{port}")).start();
    let mut client = gateway.client();
    client.get("/").assert_is_reply(503, "no_endpoint");
    let warning = format!("{NAME}:{port} has no address yet: DNS knows no such name");
    assert!(gateway.process.stderr.text().contains(&warning));
    dns.set_addresses(NAME, 60, &["127.0.0.1"]);
    eventually("the name has an address", || client.get("/").status == 200);
    gateway.stop();
}

#[test]
fn a_server_that_does_not_answer_does_not_keep_the_gateway_from_starting() {
    let dns = NameServer::start();
    dns.set_mood(Mood::Silent);
    let endpoint = Endpoint::saying("ok");
    let names = [format!("{NAME}:1"), endpoint.address().to_string()];
    let gateway = Gateway::in_front_of_addresses(names).and(&dns.runtime()).start();
    let mut client = gateway.client();
    for _ in 0..4 {
        assert_eq!(client.get("/").text(), "ok", "the other endpoint serves");
    }
    let said = gateway.process.stderr.text();
    assert!(said.contains("has no address yet: DNS gave no answer in 3 s"), "{said}");
    gateway.stop();
}

#[test]
fn a_service_is_used_by_the_weights_and_priorities_of_its_records() {
    let dns = NameServer::start();
    let [one, two, spare] = ["one", "two", "spare"].map(Endpoint::saying);
    let port = |endpoint: &Endpoint| endpoint.address().port();
    dns.set_addresses("host.test", 1, &["127.0.0.1"]);
    let service = "_http._tcp.users.test";
    dns.set_service(
        service,
        1,
        &[
            (10, 3, port(&one), "host.test"),
            (10, 1, port(&two), "host.test"),
            (20, 100, port(&spare), "host.test"),
        ],
    );
    let gateway = by_name(&dns, format!("srv:{service}")).start();
    let mut client = gateway.client();
    let said: Vec<_> = (0..40).map(|_| client.get("/").text().to_owned()).collect();
    let count = |body: &str| said.iter().filter(|it| *it == body).count();
    assert!(count("one").abs_diff(30) <= 2 && count("spare") == 0, "{said:?}");
    dns.set_service(service, 1, &[(20, 100, port(&spare), "host.test")]);
    moves_to(&mut client, "spare");
    // A target without an address: the places stay.
    dns.set_service(service, 1, &[(0, 0, 0, "nobody.test")]);
    let none = || gateway.metric("ringway_dns_resolutions_total", &["result=\"no_address\""]);
    eventually("the service has no address", || none() > 0.0);
    assert_eq!(client.get("/").text(), "spare");
    gateway.stop();
}

#[test]
fn names_of_the_hosts_file_need_no_server() {
    let dns = NameServer::start();
    let endpoint = Endpoint::saying("ok");
    let gateway = by_name(&dns, format!("localhost:{}", endpoint.address().port())).start();
    assert_eq!(gateway.client().get("/").text(), "ok");
    assert_eq!(dns.questions("localhost"), 0);
    gateway.stop();
}

#[test]
fn an_address_of_several_names_is_one_endpoint_with_the_sum_of_the_weights() {
    let dns = NameServer::start();
    let (port, [one, _two]) = endpoints(["one", "two"]);
    for name in ["a.test", "b.test"] {
        dns.set_addresses(name, 1, &["127.0.0.1"]);
    }
    dns.set_addresses("c.test", 1, &["127.0.0.2"]);
    let names = ["a.test", "b.test", "c.test", "127.0.0.1"].map(|it| format!("{it}:{port}"));
    let gateway = Gateway::in_front_of_addresses(names).and(&dns.runtime()).admin().start();
    let mut client = gateway.client();
    let said: Vec<_> = (0..40).map(|_| client.get("/").text().to_owned()).collect();
    assert_eq!(said.iter().filter(|it| *it == "one").count(), 30, "{said:?}");
    assert_eq!(one.connections(), 1);
    // The name that stays keeps the address.
    dns.set_addresses("a.test", 1, &["127.0.0.2"]);
    dns.set_addresses("b.test", 1, &["127.0.0.2"]);
    eventually("two names move", || {
        let said = upstreams(&gateway);
        said.contains("\"names\":[\"a.test")
            && said.contains("127.0.0.1:")
            && (0..40).filter(|_| client.get("/").text() == "one").count() == 10
    });
    gateway.stop();
}

#[test]
fn a_change_brings_the_addresses_of_its_names_with_it() {
    let dns = NameServer::start();
    let (port, [one, _two]) = endpoints(["one", "two"]);
    dns.set_addresses("one.test", 60, &["127.0.0.1"]);
    dns.set_addresses("two.test", 60, &["127.0.0.2"]);
    let builder = |name: &str| by_name(&dns, format!("{name}:{port}")).cores(2);
    let gateway = builder("one.test").start();
    let mut client = gateway.client();
    for turn in 0..5 {
        for (name, body) in [("two.test", "two"), ("one.test", "one")] {
            let applied = gateway.admin("POST", "/v1/config", &builder(name).text());
            assert_eq!(applied.status, 200, "{}", applied.text());
            assert_eq!(client.get("/").text(), body, "turn {turn}");
        }
    }
    // A change that keeps the name keeps its addresses, and their connections.
    let connections = one.connections();
    let questions = dns.questions("one.test");
    let other = builder("one.test").upstream("pool = { idle_max = 7 }").text();
    assert_eq!(gateway.admin("POST", "/v1/config", &other).status, 200);
    assert_eq!(client.get("/").text(), "one");
    assert_eq!((one.connections(), dns.questions("one.test")), (connections, questions));
    gateway.stop();
}

#[test]
fn a_running_gateway_takes_other_resolvers() {
    let (first, second) = (NameServer::start(), NameServer::start());
    let (port, [_one, _two]) = endpoints(["one", "two"]);
    first.set_addresses(NAME, 300, &["127.0.0.1"]);
    second.set_addresses(NAME, 300, &["127.0.0.2"]);
    let name = || format!("{NAME}:{port}");
    let gateway = by_name(&first, name()).start();
    let mut client = gateway.client();
    assert_eq!(client.get("/").text(), "one");
    let applied = gateway.admin("POST", "/v1/config", &by_name(&second, name()).text());
    assert_eq!(applied.status, 200, "{}", applied.text());
    moves_to(&mut client, "two");
    gateway.stop();
}

#[test]
fn an_endpoint_of_a_name_drains_until_its_address_was_gone() {
    let dns = NameServer::start();
    let (port, [one, _two]) = endpoints(["one", "two"]);
    dns.set_addresses(NAME, 1, &["127.0.0.1", "127.0.0.2"]);
    let gateway = by_name(&dns, format!("{NAME}:{port}")).start();
    let mut client = gateway.client();
    gateway.set_endpoint(&one, "drain");
    assert!((0..6).all(|_| client.get("/").text() == "two"));
    dns.set_addresses(NAME, 1, &["127.0.0.2"]);
    eventually("the address is gone", || !upstreams(&gateway).contains("127.0.0.1:"));
    dns.set_addresses(NAME, 1, &["127.0.0.1", "127.0.0.2"]);
    eventually("it is back", || client.get("/").text() == "one");
    gateway.stop();
}

#[test]
fn a_check_resolves_nothing() {
    let dns = NameServer::start();
    let file = config_file(&by_name(&dns, format!("{NAME}:80")).text());
    let (code, process) = Process::run(ringway().arg("check").arg(file.path()));
    assert_eq!(code, 0, "{}", process.stderr.text());
    assert_eq!(dns.questions(NAME), 0);
}
