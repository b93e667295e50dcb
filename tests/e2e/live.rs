//! Configuration that changes while the gateway serves.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Client, End, Endpoint, Gateway, eventually, free_address, holds_within};

/// The configuration of a gateway with the admin API and a route to each of two endpoints; the one
/// route of `path` goes to `upstream`.
fn two_ways(one: &Endpoint, two: &Endpoint, upstream: &str) -> String {
    format!(
        "version = 1\n\
         [admin]\naddress = \"127.0.0.1:0\"\n\
         [listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [upstreams.one]\nendpoints = [\"{}\"]\n\
         [upstreams.two]\nendpoints = [\"{}\"]\n\
         [routes.moving]\nmatch = {{ path = \"/moving\" }}\nupstream = \"{upstream}\"\n\
         [routes.one]\nmatch = {{ path = \"/one\" }}\nupstream = \"one\"\n\
         [routes.two]\nmatch = {{ path = \"/two\" }}\nupstream = \"two\"\n",
        one.address(),
        two.address()
    )
}

#[track_caller]
fn apply(gateway: &Gateway, text: &str) {
    let applied = gateway.admin("POST", "/v1/config", text);
    assert_eq!(applied.status, 200, "{}", applied.text());
}

#[test]
fn the_request_after_an_acknowledged_change_takes_the_new_route_on_an_old_connection() {
    let (one, two) = (Endpoint::saying("one"), Endpoint::saying("two"));
    let gateway = Gateway::configured(&two_ways(&one, &two, "one"));
    let mut client = gateway.client();
    for turn in 0..20 {
        let upstream = ["one", "two"][turn % 2];
        apply(&gateway, &two_ways(&one, &two, upstream));
        assert_eq!(client.get("/moving").text(), upstream, "turn {turn}");
    }
    gateway.stop();
}

#[test]
fn objects_that_a_change_does_not_touch_keep_their_connections() {
    let (one, two) = (Endpoint::saying("one"), Endpoint::saying("two"));
    let gateway = Gateway::configured(&two_ways(&one, &two, "one"));
    let mut client = gateway.client();
    assert_eq!(client.get("/one").text(), "one");
    assert_eq!(client.get("/two").text(), "two");
    for turn in 0..20 {
        apply(&gateway, &two_ways(&one, &two, ["two", "one"][turn % 2]));
        assert_eq!(client.get("/one").text(), "one");
        assert_eq!(client.get("/two").text(), "two");
    }
    assert_eq!((one.connections(), two.connections()), (1, 1));
    gateway.stop();
}

#[test]
fn an_upstream_keeps_its_connections_when_its_settings_change() {
    let endpoint = Endpoint::ok();
    let builder = || Gateway::in_front_of(&[&endpoint]).admin();
    let gateway = builder().start();
    let mut client = gateway.client();
    client.get("/");
    for settings in [
        "pool = { idle_max = 7 }",
        "pool = { connections_max = 900, idle_timeout = \"40s\" }",
        "timeouts = { connect = \"2s\", first_byte = \"7s\", between_bytes = \"off\" }",
    ] {
        apply(&gateway, &builder().upstream(settings).text());
        client.get("/");
        assert_eq!(endpoint.connections(), 1, "{settings}");
    }
    apply(&gateway, &builder().upstream("pool = { idle_max = 0 }").text());
    eventually("no connection may be idle", || endpoint.open_connections() == 0);
    client.get("/");
    assert_eq!(endpoint.connections(), 2);
    gateway.stop();
}

#[test]
fn an_endpoint_keeps_its_connections_when_others_come_and_go() {
    let (one, two) = (Endpoint::saying("one"), Endpoint::saying("two"));
    let gateway = Gateway::in_front_of(&[&one]).admin().start();
    let mut client = gateway.client();
    let both = Gateway::in_front_of(&[&two, &one]).admin().text();
    let alone = Gateway::in_front_of(&[&one]).admin().text();
    for turn in 0..5 {
        client.get("/");
        assert_eq!(one.connections(), 1, "turn {turn}");
        apply(&gateway, &both);
        let said: Vec<_> = (0..4).map(|_| client.get("/").text().to_owned()).collect();
        assert_eq!(said.iter().filter(|it| *it == "one").count(), 2, "{said:?}");
        apply(&gateway, &alone);
        eventually("the other one's connection is closed", || two.open_connections() == 0);
    }
    assert_eq!((one.connections(), two.connections()), (1, 5));
    gateway.stop();
}

/// The answers of four requests, in the order of the alphabet.
fn four(client: &mut Client) -> Vec<String> {
    let mut said: Vec<_> = (0..4).map(|_| client.get("/").text().to_owned()).collect();
    said.sort();
    said
}

#[test]
fn a_draining_endpoint_gets_no_new_request_and_its_idle_connections_close() {
    let (one, two) = (Endpoint::saying("one"), Endpoint::saying("two"));
    let builder = || Gateway::in_front_of(&[&one, &two]).admin().cores(2);
    let gateway = builder().start();
    let mut client = gateway.client();
    assert_eq!(four(&mut client), ["one", "one", "two", "two"]);
    gateway.set_endpoint(&one, "drain");
    let mut clients: Vec<_> = (0..4).map(|_| gateway.client()).collect();
    for client in &mut clients {
        assert_eq!(four(client), ["two"; 4]);
    }
    eventually("idle connections close", || one.open_connections() == 0);
    let status = gateway.admin("GET", "/v1/status", "");
    let drains = format!("\"draining\":[\"{}\"]", one.address());
    assert!(status.text().contains(&drains), "{}", status.text());
    // A change of other settings does not end it; the end of the endpoint does.
    apply(&gateway, &builder().upstream("pool = { idle_max = 7 }").text());
    assert_eq!(four(&mut client), ["two"; 4]);
    apply(&gateway, &Gateway::in_front_of(&[&two]).admin().text());
    apply(&gateway, &builder().text());
    assert_eq!(four(&mut client), ["one", "one", "two", "two"]);
    gateway.set_endpoint(&one, "drain");
    assert_eq!(four(&mut client), ["two"; 4]);
    gateway.set_endpoint(&one, "ready");
    assert_eq!(four(&mut client), ["one", "one", "two", "two"]);
    gateway.set_endpoint(&one, "drain");
    gateway.set_endpoint(&two, "drain");
    let none = client.get("/");
    assert_eq!(none.status, 503, "{}", none.text());
    assert!(none.text().contains("no_endpoint"), "{}", none.text());
    gateway.stop();
}

#[test]
fn a_request_that_runs_on_a_draining_endpoint_finishes() {
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway = Gateway::in_front_of(&[&endpoint]).admin().start();
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut connection = connections.next();
    connection.request();
    gateway.set_endpoint(&endpoint, "drain");
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.response().text(), "ok");
    assert_eq!(connection.end(), End::Closed, "its connection is not kept");
    gateway.stop();
}

#[test]
fn a_file_is_seen_to_change_in_place_by_rename_and_behind_a_link() {
    let (one, two) = (Endpoint::saying("one"), Endpoint::saying("two"));
    let gateway = Gateway::configured(&two_ways(&one, &two, "one"));
    let mut client = gateway.client();
    let mut becomes = |upstream: &str| {
        eventually("the new route is taken", || client.get("/moving").text() == upstream);
    };
    gateway.save(&two_ways(&one, &two, "two"));
    becomes("two");
    let path = gateway.config_path();
    let beside = path.with_extension("new");
    fs::write(&beside, two_ways(&one, &two, "one")).unwrap();
    fs::rename(&beside, path).unwrap();
    becomes("one");
    fs::write(&beside, two_ways(&one, &two, "two")).unwrap();
    let link = path.with_extension("link");
    symlink(&beside, &link).unwrap();
    fs::rename(&link, path).unwrap();
    becomes("two");
    fs::remove_file(&beside).unwrap();
    gateway.stop();
}

#[test]
fn half_of_a_file_never_goes_live() {
    let endpoint = Endpoint::ok();
    let builder = Gateway::in_front_of(&[&endpoint]).admin();
    let gateway = builder.start();
    let one = "[routes.one]\nmatch = { path = \"/one\" }\nreply = { status = 201 }\n";
    let two = "[routes.two]\nmatch = { path = \"/two\" }\nreply = { status = 202 }\n";
    let mut client = gateway.client();
    let mut file = fs::File::create(gateway.config_path()).unwrap();
    file.write_all(builder.text().as_bytes()).unwrap();
    // Each of these pauses is longer than a burst of changes may last.
    for part in [one, two] {
        let is_live = holds_within(Duration::from_millis(700), || client.get("/one").status == 201);
        assert!(!is_live, "half of it is live");
        file.write_all(part.as_bytes()).unwrap();
    }
    drop(file);
    eventually("all of it is live", || client.get("/one").status == 201);
    assert_eq!(client.get("/two").status, 202);
    assert_eq!(gateway.metric("ringway_config_reloads_total", &["refused"]), 0.0);
    gateway.stop();
}

#[test]
fn sighup_reads_the_file_again() {
    let (one, two) = (Endpoint::saying("one"), Endpoint::saying("two"));
    let gateway = Gateway::configured(&two_ways(&one, &two, "one"));
    // A version from the API stays in effect until the file is read again.
    apply(&gateway, &two_ways(&one, &two, "two"));
    let mut client = gateway.client();
    assert_eq!(client.get("/moving").text(), "two");
    gateway.process.signal(Signal::SIGHUP);
    eventually("the file's route is taken", || client.get("/moving").text() == "one");
    gateway.stop();
}

#[test]
fn a_bad_change_is_refused_whole_and_said_in_log_answer_and_metric() {
    let (one, two) = (Endpoint::saying("one"), Endpoint::saying("two"));
    let good = two_ways(&one, &two, "one");
    let gateway = Gateway::configured(&good);
    let mut client = gateway.client();
    let bad = two_ways(&one, &two, "two").replace("endpoints", "endpoint");
    let refused = gateway.admin("POST", "/v1/config", &bad);
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("write endpoints = ["), "{}", refused.text());
    assert_eq!(client.get("/moving").text(), "one");
    gateway.save(&bad);
    let said = gateway.process.stderr.wait_for(|line| {
        (line.contains("refused") && line.contains("write endpoints = [")).then_some(())
    });
    said.expect("the log says what is wrong with the file");
    assert_eq!(client.get("/moving").text(), "one");
    eventually("both refusals are counted", || {
        gateway.metric("ringway_config_reloads_total", &["result=\"refused\""]) >= 2.0
    });
    assert_eq!(gateway.metric("ringway_config_last_reload_successful", &[]), 0.0);
    gateway.stop();
}

/// Configurations that no gateway can run, each as a difference to a good one.
fn broken(good: &str) -> Vec<Vec<u8>> {
    let with = |old: &str, new: &str| {
        assert!(good.contains(old), "{old} is not in {good}");
        good.replacen(old, new, 1).into_bytes()
    };
    let also = |more: &str| format!("{good}{more}").into_bytes();
    let mut all = vec![
        // Syntax.
        with("[listeners.web]", "[listeners.web"),
        with("version = 1", "version 1"),
        with("version = 1", "version = "),
        with("version = 1", "version = \"1"),
        also("[[routes.x]]\n"),
        also("x"),
        also("= 1\n"),
        also("[routes.one]\nupstream = \"two\"\n"),
        // Types.
        with("version = 1", "version = 1.5"),
        with("version = 1", "version = true"),
        also("[listeners]\nx = 1\n"),
        with("[upstreams.one]\n", "[upstreams.one]\npool = 7\n"),
        with("[upstreams.one]\n", "[upstreams.one]\ntimeouts = { connect = 7 }\n"),
        with("[upstreams.one]\n", "[upstreams.one]\ntimeouts = { connect = \"7\" }\n"),
        with("path = \"/one\"", "path = 1"),
        with("path = \"/one\"", "hosts = \"one\""),
        with("path = \"/one\"", "hosts = [1]"),
        with("path = \"/one\"", "methods = [\"G ET\"]"),
        // Names.
        with("version = 1", "verzion = 1"),
        with("[upstreams.one]", "[upstreams.\"o n e\"]"),
        with("[upstreams.one]", "[upstream.one]"),
        with("path = \"/one\"", "pfad = \"/one\""),
        also("[routes.x]\nupstream = \"none\"\n"),
        also("[listeners.\"\"]\naddress = \"127.0.0.1:0\"\n"),
        // Ranges and values.
        with("version = 1", "version = 2"),
        with("[listeners.web]\n", "[listeners.web]\nlimits = { headers_max = 0 }\n"),
        with("[listeners.web]\n", "[listeners.web]\nlimits = { head_bytes_max = \"1GiB\" }\n"),
        with("[listeners.web]\n", "[listeners.web]\ntimeouts = { head = \"1ms\" }\n"),
        with("[listeners.web]\n", "[listeners.web]\nlimits = { connections_max = -1 }\n"),
        with("[upstreams.one]\nendpoints = [", "[upstreams.one]\nendpoints = [\"x:y\", "),
        with("[upstreams.one]\nendpoints = [", "[upstreams.one]\nendpoints = [\"127.0.0.1\", "),
        with("[upstreams.one]\nendpoints = [", "[upstreams.one]\nendpoints = [\"127.0.0.1:0\", "),
        with("path = \"/one\"", "path = \"one\""),
        with("path = \"/one\"", "path = \"/one\", path_prefix = \"/one\""),
        // Mistakes between several objects.
        with("path = \"/one\"", "path = \"/two\""),
        also("[routes.x]\nmatch = { path = \"/x\" }\n"),
        also(
            "[routes.x]\nmatch = { path = \"/x\" }\nupstream = \"one\"\nreply = { status = 200 }\n",
        ),
        also("[routes.x]\nmatch = { path = \"/x\" }\nreply = { status = 99 }\n"),
        also("[routes.x]\nmatch = { path = \"/x\" }\nredirect = { to = \"/a\\nb\" }\n"),
        // Missing values.
        format!("include = [\"not-there.toml\"]\n{good}").into_bytes(),
        also("[routes.x]\nmatch = { path = \"/x\" }\nupstream = \"${env:RINGWAY_NOT_SET}\"\n"),
        also("[routes.x]\nmatch = { path = \"/x\" }\nupstream = \"${file:/not/there}\"\n"),
        // Not a text.
        also("\0"),
        Vec::new(),
        b"\xff\xfe".to_vec(),
        good.as_bytes()[..good.len() / 2].to_vec(),
        vec![b'['; 100_000],
    ];
    let mut large = good.to_owned();
    while large.len() < 10 << 20 {
        large.push_str("# a comment that does not end\n");
    }
    all.push(large.into_bytes());
    assert!(all.len() >= 40);
    all
}

#[test]
fn broken_configurations_change_nothing_while_the_gateway_serves() {
    let (one, two) = (Endpoint::saying("one"), Endpoint::saying("two"));
    let good = two_ways(&one, &two, "one");
    let gateway = Gateway::configured(&good);
    let mut client = gateway.client();
    let refusals = || gateway.metric("ringway_config_reloads_total", &["result=\"refused\""]);
    for (index, text) in broken(&good).into_iter().enumerate() {
        let before = refusals();
        fs::write(gateway.config_path(), &text).unwrap();
        eventually("the change is refused", || refusals() > before);
        assert_eq!(client.get("/moving").text(), "one", "after broken configuration {index}");
    }
    let before = refusals();
    fs::remove_file(gateway.config_path()).unwrap();
    symlink("/not/there", gateway.config_path()).unwrap();
    eventually("a link to nothing is refused", || refusals() > before);
    fs::remove_file(gateway.config_path()).unwrap();
    fs::write(gateway.config_path(), two_ways(&one, &two, "two")).unwrap();
    eventually("the next good file is taken", || client.get("/moving").text() == "two");
    gateway.stop();
}

#[test]
fn broken_configurations_do_not_start_and_say_where() {
    let (one, two) = (Endpoint::saying("one"), Endpoint::saying("two"));
    for text in broken(&two_ways(&one, &two, "one")) {
        let file = crate::harness::config_file("");
        fs::write(file.path(), &text).unwrap();
        let mut command = crate::harness::run(file.path());
        let (code, process) = crate::harness::Process::run(command.args(["--cores", "1"]));
        let said = process.stderr.text();
        assert_eq!(code, 3, "{said}");
        let name = file.path().file_name().unwrap().to_str().unwrap();
        assert!(said.contains(name), "{said}");
    }
}

#[test]
fn listeners_come_and_go_while_the_gateway_serves() {
    let endpoint = Endpoint::ok();
    let second = free_address();
    let builder = || Gateway::in_front_of(&[&endpoint]).admin();
    let with_second = builder().and(&format!("[listeners.second]\naddress = \"{second}\"")).text();
    let gateway = builder().cores(2).start();
    let mut on_first = gateway.client();
    on_first.get("/");
    for _ in 0..3 {
        apply(&gateway, &with_second);
        let mut on_second = Client::connect(second);
        assert_eq!(on_second.get("/").text(), "ok");
        apply(&gateway, &builder().text());
        on_second.assert_closed();
        eventually("nobody listens any more", || std::net::TcpStream::connect(second).is_err());
        assert_eq!(on_first.get("/").text(), "ok");
    }
    gateway.stop();
}

#[test]
fn a_request_under_way_on_a_listener_that_goes_is_answered() {
    let (endpoint, connections) = Endpoint::by_hand();
    let second = free_address();
    let builder = || Gateway::in_front_of(&[&endpoint]).admin();
    let gateway = builder().and(&format!("[listeners.second]\naddress = \"{second}\"")).start();
    let mut client = Client::connect(second);
    client.send(crate::harness::GET);
    let mut connection = connections.next();
    connection.request();
    apply(&gateway, &builder().text());
    connection.send(crate::harness::OK);
    let response = client.response();
    assert_eq!(response.text(), "ok");
    assert_eq!(response.header("connection"), Some("close"));
    client.assert_closed();
    gateway.stop();
}

#[test]
fn changed_limits_and_timeouts_hold_for_open_connections() {
    let endpoint = Endpoint::ok();
    let builder = || Gateway::in_front_of(&[&endpoint]).admin();
    let gateway = builder().start();
    let mut client = gateway.client();
    assert_eq!(client.get("/").status, 200);
    apply(&gateway, &builder().listener("limits = { headers_max = 1 }").text());
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-More: 1\r\n\r\n");
    assert_eq!(client.response().status, 431);
    gateway.stop();
}

#[test]
fn a_listener_takes_no_more_connections_than_it_may_and_goes_on_when_one_ends() {
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway =
        Gateway::in_front_of(&[&endpoint]).listener("limits = { connections_max = 2 }").start();
    // Neither is idle, and could be closed for a third.
    let (mut first, mut second) = (gateway.client(), gateway.client());
    first.send(crate::harness::GET);
    let mut of_first = connections.next();
    of_first.request();
    second.send(crate::harness::GET);
    let mut of_second = connections.next();
    of_second.request();
    let mut third = gateway.client();
    third.send(crate::harness::GET);
    third.be_patient_for(Duration::from_millis(300));
    assert!(third.try_response().is_err(), "a third connection was served");
    of_first.send(crate::harness::OK);
    assert_eq!(first.response().text(), "ok");
    drop(first);
    of_first.request();
    of_first.send(crate::harness::OK);
    third.be_patient_for(crate::harness::PATIENCE);
    assert_eq!(third.response().text(), "ok");
    of_second.send(crate::harness::OK);
    assert_eq!(second.response().text(), "ok");
    gateway.stop();
}

#[test]
fn a_pool_makes_no_more_connections_than_it_may() {
    let (endpoint, connections) = Endpoint::by_hand();
    let gateway =
        Gateway::in_front_of(&[&endpoint]).upstream("pool = { connections_max = 1 }").start();
    let (mut first, mut second) = (gateway.client(), gateway.client());
    first.send(crate::harness::GET);
    let mut connection = connections.next();
    connection.request();
    second.get("/").assert_is_reply(503, "pool_full");
    connection.send(crate::harness::OK);
    assert_eq!(first.response().text(), "ok");
    second.send(crate::harness::GET);
    connection.request();
    connection.send(crate::harness::OK);
    assert_eq!(second.response().text(), "ok");
    gateway.stop();
}

/// A release runs `CHANGES=1000`; a hundred are enough in CI.
fn changes() -> usize {
    std::env::var("CHANGES").ok().and_then(|it| it.parse().ok()).unwrap_or(100)
}

/// The number of changes before the first look at memory. After some 2,000, the allocator has
/// touched all the pages that it will use, those of each size on each thread; from then to 10,000
/// nothing grows.
const CHANGES_BEFORE_PER_CHANGE: usize = 2;

/// The bound on memory, in per cent of its first value. It grows by some pages if by chance more
/// connections come at once than ever before. A leak of one table per change would double it.
const MEMORY_PERCENT_MAX: usize = 110;

#[test]
fn no_request_is_lost_over_many_changes_under_load() {
    let (one, two) = (Endpoint::saying("one"), Endpoint::saying("two"));
    let text = two_ways(&one, &two, "one");
    let builder = Gateway::in_front_of(&[&one]).cores(2);
    let gateway = builder.start_with(&text);
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut before, mut after) = ((0, 0), (0, 0));
    thread::scope(|scope| {
        let (gateway, stop, asked) = (&gateway, &stop, &asked);
        let right = |text: &str| assert!(["one", "two"].contains(&text), "{text}");
        for kind in 0..6 {
            scope.spawn(move || {
                let mut kept = gateway.client();
                while !stop.load(Ordering::Relaxed) {
                    match kind % 3 {
                        0 => right(kept.get("/moving").text()),
                        1 => right(kept.post("/moving", "a body").text()),
                        _ => right(gateway.client().get("/moving").text()),
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        eventually("the clients are under way", || asked.load(Ordering::Relaxed) > 1_000);
        let change = |turn: usize| {
            apply(gateway, &two_ways(&one, &two, ["one", "two"][turn % 2]));
            let mut client = gateway.client();
            assert_eq!(client.get("/moving").text(), ["one", "two"][turn % 2]);
        };
        // Memory that is allocated on first use exists after some changes.
        (0..CHANGES_BEFORE_PER_CHANGE * changes()).for_each(change);
        before = (gateway.process.memory_bytes(), gateway.process.descriptors());
        (0..changes()).for_each(change);
        stop.store(true, Ordering::Relaxed);
    });
    let is_as_before = holds_within(Duration::from_secs(5), || {
        after = (gateway.process.memory_bytes(), gateway.process.descriptors());
        after.0 * 100 <= before.0 * MEMORY_PERCENT_MAX && after.1 <= before.1
    });
    eprintln!("bytes of memory and descriptors: {before:?}, then {after:?}");
    assert!(is_as_before, "bytes of memory and descriptors: {before:?}, then {after:?}");
    let totals = gateway.stop();
    assert!(totals.contains(" 0 broken"), "{totals}");
}

#[test]
fn one_of_ten_thousand_routes_is_changed_without_a_pause() {
    let endpoint = Endpoint::ok();
    let text = |odd: &str| {
        let mut text = Gateway::in_front_of(&[&endpoint]).admin().text();
        for number in 0..10_000 {
            let path = if number == 5_000 { odd.to_owned() } else { format!("/{number}") };
            let _ = writeln!(
                text,
                "[routes.r{number}]\nmatch = {{ path = \"{path}\" }}\nupstream = \"app\""
            );
        }
        text
    };
    let gateway = Gateway::configured(&text("/before"));
    let mut client = gateway.client();
    let started = Instant::now();
    apply(&gateway, &text("/after"));
    // A build without optimisation takes its time; scripts measure the other kind.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(client.get("/after").text(), "ok");
    gateway.stop();
}

#[test]
fn counts_and_log_lines_match_the_requests_of_the_clients() {
    let endpoint = Endpoint::ok();
    let log = tempfile::NamedTempFile::new().unwrap();
    let builder = || {
        let access_log = format!("[access_log]\nto = \"{}\"", log.path().display());
        Gateway::in_front_of(&[&endpoint]).admin().and(&access_log).and(
            "[routes.gone]\nmatch = { path = \"/gone\" }\nreply = { status = 410 }\n\
             [routes.posts]\nmatch = { path_prefix = \"/posts\", methods = [\"POST\"] }\n\
             upstream = \"app\"",
        )
    };
    let gateway = builder().cores(2).start();
    // A release runs `REQUESTS=200000`; two thousand are enough in CI.
    let requests = std::env::var("REQUESTS").ok().and_then(|it| it.parse().ok());
    let each_client = requests.unwrap_or(2_000) / 4;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = gateway.client();
                for turn in 0..each_client {
                    match turn % 4 {
                        0 => assert_eq!(client.get("/gone").status, 410),
                        1 => assert_eq!(client.post("/posts/1", "a body").status, 200),
                        2 => assert_eq!(client.get("/posts/1").status, 200),
                        _ => assert_eq!(client.get("/\"x?y=%0a").status, 400),
                    }
                    if turn % 4 == 3 {
                        client = gateway.client();
                    }
                }
            });
        }
        for turn in 0..50 {
            let pool = format!("pool = {{ idle_max = {} }}", 10 + turn);
            apply(&gateway, &builder().upstream(&pool).text());
        }
    });
    let each = each_client as f64;
    let sent = [("gone", "410"), ("posts", "200"), ("all", "200"), ("", "400")];
    eventually("everything is counted", || {
        let requests = gateway.metric("ringway_requests_total", &[]);
        assert!(requests <= 4.0 * each, "{requests} counted");
        requests == 4.0 * each
    });
    for (route, status) in sent {
        let labels = [&*format!("route=\"{route}\""), &*format!("status=\"{status}\"")];
        assert_eq!(gateway.metric("ringway_requests_total", &labels), each, "{labels:?}");
        let observed = gateway.metric("ringway_request_seconds_count", &labels[..1]);
        assert_eq!(observed, each, "{labels:?}");
    }
    let lines = || fs::read_to_string(log.path()).unwrap().lines().count();
    eventually("every request has its line", || lines() == 4 * each_client);
    gateway.stop();
    assert_eq!(lines(), 4 * each_client);
}
