//! The failures of endpoints in the access log, the process log, the metrics and the admin API.

use std::fs;

use crate::harness::{Endpoint, Gateway, eventually, free_address};

#[test]
fn the_exact_cause_of_a_failure_is_in_both_logs_in_metrics_and_in_the_status() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let nonsense = Endpoint::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    let dead = free_address();
    let more = format!(
        "[upstreams.dead]\nendpoints = [\"{dead}\"]\n\
         [routes.dead]\nmatch = {{ path_prefix = \"/dead\" }}\nupstream = \"dead\"\n\
         [access_log]\nto = \"{}\"",
        log.path().display()
    );
    let gateway = Gateway::in_front_of(&[&nonsense]).admin().and(&more).start();
    let mut client = gateway.client();
    assert_eq!(client.get("/").status, 502);
    assert_eq!(client.get("/dead").status, 502);

    let violation = "respond: invalid transfer-encoding (RFC 9112 6.1)";
    let refused = "connect: connection refused (ECONNREFUSED)";
    eventually("the access log has both", || {
        let lines = fs::read_to_string(log.path()).unwrap();
        [violation, refused].iter().all(|it| lines.contains(&format!("\"cause\":\"{it}\"")))
    });
    let nonsense = nonsense.address();
    for (upstream, endpoint, cause) in [("app", nonsense, violation), ("dead", dead, refused)] {
        let line = format!(
            "upstream {upstream}: 1 try at endpoint {endpoint} failed, the last one: {cause}"
        );
        eventually("the process log has it", || gateway.process.stderr.text().contains(&line));
    }
    let labels =
        |result: &str, endpoint| [format!("endpoint=\"{endpoint}\""), format!("=\"{result}\"")];
    for (name, labels) in [
        ("ringway_upstream_requests_total", labels("violation", nonsense)),
        ("ringway_upstream_requests_total", labels("connect_failure", dead)),
        ("ringway_upstream_connect_failures_total", labels("refused", dead)),
    ] {
        assert_eq!(gateway.metric(name, &labels.each_ref().map(|it| &**it)), 1.0, "{name}");
    }
    let upstreams = gateway.admin("GET", "/v1/upstreams", "");
    let upstreams: serde_json::Value = serde_json::from_str(upstreams.text()).unwrap();
    let endpoint = &upstreams[1]["endpoints"][0];
    assert_eq!(endpoint["address"], dead.to_string());
    assert_eq!(endpoint["results"], serde_json::json!({ "connect_failure": 1 }));
    assert_eq!(endpoint["last_failure"]["cause"], refused);
}

#[test]
fn each_try_is_counted_at_its_endpoint_and_retries_by_their_cause() {
    let (endpoint, dead) = (Endpoint::ok(), free_address());
    let gateway = Gateway::in_front_of_addresses([dead, endpoint.address()]).admin().start();
    let mut client = gateway.client();
    for round in 0..10 {
        assert_eq!(client.get(&format!("/{round}")).status, 200);
    }
    let tries = "ringway_upstream_requests_total";
    let ok = [format!("endpoint=\"{}\"", endpoint.address()), "result=\"2xx\"".to_owned()];
    let failed = [format!("endpoint=\"{dead}\""), "result=\"connect_failure\"".to_owned()];
    let count = |labels: &[String; 2]| gateway.metric(tries, &labels.each_ref().map(|it| &**it));
    eventually("all are reported", || count(&ok) == 10.0);
    let retries = gateway.metric("ringway_retries_total", &[]);
    assert!(retries > 0.0);
    assert_eq!(count(&failed), retries);
    let labels = ["upstream=\"app\"", "cause=\"connect_failure\""];
    assert_eq!(gateway.metric("ringway_upstream_retries_total", &labels), retries);
    assert_eq!(gateway.metric("ringway_in_flight", &["upstream=\"app\""]), 0.0);
}
