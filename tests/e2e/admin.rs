//! The admin API of a running gateway, and `ringway status`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::{
    Client, Endpoint, Gateway, Process, config_file, eventually, free_address, ringway, run,
};

/// `ringway status` about a node: exit code, output, complaint.
fn status(admin: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut command = ringway();
    command.arg("status").arg("--admin").arg(admin).args(arguments);
    ask(&mut command)
}

fn ask(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn metrics_count_the_requests_of_clients() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).admin().start();
    let mut client = gateway.client();
    for _ in 0..10 {
        client.post("/", "four");
    }
    let labels = ["listener=\"web\"", "route=\"all\"", "status=\"200\"", "reason=\"\""];
    eventually("the requests are counted", || {
        gateway.metric("ringway_requests_total", &labels) == 10.0
    });
    for (name, labels, value) in [
        ("ringway_request_seconds_count", &["route=\"all\""][..], 10.0),
        ("ringway_request_bytes_total", &["route=\"all\""], 40.0),
        ("ringway_response_bytes_total", &["route=\"all\""], 20.0),
        ("ringway_client_connections", &["listener=\"web\""], 1.0),
        ("ringway_upstream_connects_total", &[], 1.0),
        ("ringway_upstream_reused_total", &[], 9.0),
        ("ringway_upstream_connections", &["upstream=\"app\"", "state=\"idle\""], 1.0),
        ("ringway_config_version", &["core=\"0\""], 1.0),
        ("ringway_panics_total", &[], 0.0),
    ] {
        assert_eq!(gateway.metric(name, labels), value, "{name} {labels:?}");
    }
    gateway.stop();
}

#[test]
fn status_is_a_screen_or_json_and_needs_no_more_than_the_address() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).admin().start();
    let mut client = gateway.client();
    client.get("/");
    client.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    client.response();
    let admin = gateway.admin_address().to_string();
    eventually("the requests are counted", || {
        status(&admin, &[]).1.contains("2xx 1 (50.00 %), 4xx 1 (50.00 %)")
    });
    let (code, screen, _) = status(&admin, &["--cores"]);
    assert_eq!(code, 0);
    assert!(screen.contains(": ready\n") && screen.contains("version 1 on every core"), "{screen}");
    assert!(screen.contains("  core  CPU  version"), "{screen}");
    let (code, json, _) = ask(ringway().args(["status", "--json"]).env("RINGWAY_ADMIN", &admin));
    assert_eq!(code, 0);
    assert!(json.starts_with('{') && json.contains("\"total\":2,"), "{json}");
    assert_eq!(json.lines().count(), 1);
    gateway.stop();
    let (code, _, said) = status(&admin, &[]);
    assert_eq!(code, 3);
    assert!(said.contains(&admin) && said.contains("help: "), "{said}");
    assert_eq!(status("nonsense", &[]).0, 2);
}

#[test]
fn status_is_shown_again_each_second_while_somebody_watches() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).admin().start();
    let admin = gateway.admin_address().to_string();
    let mut watching =
        Process::start(ringway().args(["status", "--watch", "--admin", admin.as_str()]));
    let screens = |watching: &Process, says: &str| {
        watching.stdout.all().iter().filter(|line| line.contains(says)).count()
    };
    eventually("it is shown twice", || screens(&watching, "version 1 on every core") >= 2);
    let text = Gateway::in_front_of(&[&endpoint]).admin().and("[upstreams.more]").text();
    let text = text.replace("[upstreams.more]", "[upstreams.more]\nendpoints = [\"127.0.0.1:1\"]");
    assert_eq!(gateway.admin("POST", "/v1/config", &text).status, 200);
    eventually("the change is shown", || screens(&watching, "version 2 on every core") >= 1);
    // `--watch` reports a node that is away, and waits for it.
    gateway.stop();
    eventually("its end is shown", || {
        watching.stdout.all().last().is_some_and(|line| line.contains(&admin))
    });
    assert!(watching.is_running());
}

#[test]
fn a_core_that_stands_still_is_named_until_it_has_switched() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).admin().cores(2).start();
    let admin = gateway.admin_address().to_string();
    let text = Gateway::in_front_of(&[&endpoint]).admin().and("[routes.more]").text();
    let more = "[routes.more]\nmatch = { path = \"/more\" }\nupstream = \"app\"";
    let text = text.replace("[routes.more]", more);
    let frozen = gateway.process.freeze("ringway-1");
    let applied = gateway.admin("POST", "/v1/config", &text);
    assert_eq!(applied.status, 200, "{}", applied.text());
    assert!(applied.text().contains("\"lagging\":[1]"), "{}", applied.text());
    let ready = gateway.admin("GET", "/readyz", "");
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("core 1 is still at version 1 of 2"), "{}", ready.text());
    let (_, screen, _) = status(&admin, &[]);
    assert!(screen.contains("not ready: core 1 is still at version 1 of 2"), "{screen}");
    assert_eq!(gateway.admin("GET", "/livez", "").status, 200);
    drop(frozen);
    eventually("it has switched", || gateway.admin("GET", "/readyz", "").status == 200);
    gateway.stop();
}

#[test]
fn a_token_is_asked_for_and_taken_from_the_environment() {
    let endpoint = Endpoint::ok();
    let section = "[admin]\naddress = \"127.0.0.1:0\"\ntoken = \"0123456789abcdef\"";
    let gateway = Gateway::in_front_of(&[&endpoint]).and(section).start();
    assert_eq!(gateway.admin("GET", "/livez", "").status, 200);
    assert_eq!(gateway.admin("GET", "/metrics", "").status, 401);
    let admin = gateway.admin_address().to_string();
    let (code, _, said) = status(&admin, &[]);
    assert!(code == 3 && said.contains("RINGWAY_ADMIN_TOKEN"), "{said}");
    let mut command = ringway();
    command.args(["status", "--admin", &admin]).env("RINGWAY_ADMIN_TOKEN", "0123456789abcdef");
    assert_eq!(ask(&mut command).0, 0);
    let mut client = Client::connect(gateway.admin_address());
    client.send(format!(
        "GET /v1/config HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer 0123456789abcdef\r\n\r\n"
    ));
    let config = client.response();
    assert!(!config.text().contains("0123456789abcdef"), "{}", config.text());
    gateway.stop();
}

#[test]
fn a_socket_is_served_and_goes_with_the_gateway() {
    let endpoint = Endpoint::ok();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let section = format!("[admin]\naddress = \"unix:{}\"", path.display());
    let text = Gateway::in_front_of(&[&endpoint]).and(&section).text();
    let gateway = Gateway::configured(&text);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let admin = format!("unix:{}", path.display());
    assert_eq!(status(&admin, &[]).0, 0);
    // A second gateway does not take it away from the first.
    let (code, second) = Process::run(&mut run(config_file(&text).path()));
    assert_eq!(code, 3, "{}", second.stderr.text());
    assert!(second.stderr.text().contains("another process answers"), "{}", second.stderr.text());
    assert_eq!(status(&admin, &[]).0, 0);
    gateway.stop();
    assert!(!path.exists());
}

#[test]
fn a_drain_is_said_on_open_connections_and_the_address_is_free_for_the_next_process() {
    for unix in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let socket = format!("unix:{}", folder.path().join("admin.sock").display());
        let admin = if unix { socket } else { free_address().to_string() };
        let address = free_address();
        let (endpoint, connections) = Endpoint::by_hand();
        let text = Gateway::in_front_of(&[&endpoint])
            .at(&address.to_string())
            .and(&format!("[admin]\naddress = \"{admin}\""))
            .text();
        let first = Gateway::configured(&text);
        let mut client = first.client();
        client.send(crate::harness::GET);
        let mut connection = connections.next();
        connection.request();
        let mut probe = match admin.strip_prefix("unix:") {
            Some(path) => Client::connect_unix(Path::new(path)),
            None => Client::connect(admin.parse().unwrap()),
        };
        assert_eq!(probe.get("/readyz").status, 200);
        first.process.signal(Signal::SIGTERM);
        let drains = first.process.stderr.wait_for(|line| line.contains("draining").then_some(()));
        drains.expect("it says that it drains");
        // At once, while the other one still has an exchange under way.
        let second = Gateway::configured(&text);
        assert_eq!(probe.get("/readyz").status, 503);
        assert!(status(&admin, &[]).1.contains(": ready\n"));
        let mut new_client = second.client();
        new_client.send(crate::harness::GET);
        let mut new_connection = connections.next();
        new_connection.request();
        new_connection.send(crate::harness::OK);
        assert_eq!(new_client.response().text(), "ok");
        connection.send(crate::harness::OK);
        assert_eq!(client.response().text(), "ok");
        first.wait();
        // Its end leaves the socket file of the second one alone.
        assert!(status(&admin, &[]).1.contains(": ready\n"));
        second.stop();
    }
}

#[test]
fn a_health_check_needs_no_host_in_http_1_0_and_may_name_any() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).admin().start();
    let admin = gateway.admin_address();
    for path in ["/livez", "/readyz"] {
        for head in ["HTTP/1.0\r\n", "HTTP/1.0\r\nHost: a.example\r\n", "HTTP/1.1\r\nHost: a\r\n"] {
            for method in ["GET", "HEAD"] {
                let mut client = Client::connect(admin);
                client.send(format!("{method} {path} {head}\r\n"));
                assert_eq!(client.head().word(1), "200", "{method} {path} {head}");
            }
        }
    }
    let mut client = Client::connect(admin);
    client.send("GET /livez HTTP/1.1\r\n\r\n");
    assert_eq!(client.head().word(1), "400", "HTTP/1.1 needs one");
    gateway.stop();
}

#[test]
fn a_posted_secret_is_in_no_answer_and_in_no_log() {
    const SECRET: &str = "s3cr3t-0123456789";
    let endpoint = Endpoint::ok();
    let builder = Gateway::in_front_of(&[&endpoint]).admin();
    let gateway = builder.start();
    let text = builder.text();
    for mistake in [
        format!("token = \"{SECRET}\" adress = 1"),
        format!("token = \"{SECRET}\"\ntoken = \"{SECRET}\""),
        format!("tokne = \"{SECRET}\""),
        format!("token = {SECRET}"),
    ] {
        let answer = gateway.admin("POST", "/v1/config", &format!("{text}\n{mistake}\n"));
        assert_eq!(answer.status, 422, "{mistake}: {}", answer.text());
        assert!(!answer.text().contains(SECRET), "{}", answer.text());
    }
    assert!(!gateway.admin("GET", "/v1/status", "").text().contains(SECRET));
    let log = gateway.process.stderr.clone();
    gateway.stop();
    let refusals = log.all().iter().filter(|line| line.contains("is refused")).count();
    assert_eq!(refusals, 4);
    assert!(!log.text().contains(SECRET), "{}", log.text());
}

#[test]
fn status_tells_a_posted_configuration_from_the_one_in_the_file() {
    let endpoint = Endpoint::ok();
    let builder = Gateway::in_front_of(&[&endpoint]).admin();
    let gateway = builder.start();
    let admin = gateway.admin_address().to_string();
    let is_posted = || status(&admin, &[]).1.contains("posted, not in the file");
    assert!(!is_posted());
    let changed = format!("{}# changed\n", builder.text());
    assert_eq!(gateway.admin("POST", "/v1/config", &changed).status, 200);
    assert!(is_posted());
    // Now the file says the same.
    gateway.save(&changed);
    eventually("the file is read", || !is_posted());
    assert_eq!(gateway.admin("POST", "/v1/config", &builder.text()).status, 200);
    assert!(is_posted());
    assert_eq!(gateway.admin("POST", "/v1/config?reload=1", "").status, 200);
    assert!(!is_posted());
    gateway.stop();
}
