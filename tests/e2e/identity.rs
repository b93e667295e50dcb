//! Consumers and their credentials: the requests that are let in, and the consumer in endpoints and logs.

use std::fs;

use tempfile::NamedTempFile;

use crate::harness::{Endpoint, Gateway, Response};

/// The key of Alice, who is staff. Her configuration has its hash, that of Bob has his key.
const ALICE: &str = "0123456789abcdef0123456789abcdef";
const BOB: &str = "bob-bob-bob-bob-bob";
const CONSUMERS: &str = "[consumers.alice]
groups = [\"staff\"]
api_keys = [\"sha256:3eb1bd439947eb762998e566ccc2e099c791118b2f40579cc4f7da2b5061b7f9\"]
[consumers.bob]
api_keys = [\"bob-bob-bob-bob-bob\"]
[filters.keys]
type = \"api_key\"
from = [\"header:x-api-key\", \"cookie:key\"]
";

/// The response to a GET with these fields.
fn get(gateway: &Gateway, fields: &str) -> Response {
    let mut client = gateway.client();
    client.send(format!("GET /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    client.response()
}

#[test]
fn a_consumer_is_let_in_by_its_key_and_named_to_the_endpoint_and_in_the_log() {
    let endpoint = Endpoint::ok();
    let log = NamedTempFile::new().unwrap();
    let section = format!("{CONSUMERS}[access_log]\nto = \"{}\"", log.path().display());
    let set = "{ type = \"request_headers\", set = { x-consumer = \"{consumer}\" } }";
    let gateway = Gateway::in_front_of(&[&endpoint])
        .route(&format!("filters = [\"keys\", {set}]"))
        .and(&section)
        .start();
    let alice = format!("X-Api-Key: {ALICE}\r\nX-Consumer: bob\r\nCookie: a=b\r\n");
    assert_eq!(get(&gateway, &alice).status, 200);
    assert_eq!(get(&gateway, &format!("Cookie: a=b; key={BOB}\r\n")).status, 200);
    let requests = endpoint.requests();
    let consumers: Vec<_> = requests.iter().map(|it| it.values("x-consumer")).collect();
    assert_eq!(consumers, [["alice"], ["bob"]]);
    for request in &requests {
        assert!(!request.has("x-api-key"));
        assert_eq!(request.values("cookie"), ["a=b"]);
    }
    gateway.stop();
    let log = fs::read_to_string(log.path()).unwrap();
    assert!(
        log.contains("\"consumer\":\"alice\"") && log.contains("\"consumer\":\"bob\""),
        "{log}"
    );
    assert!(!log.contains(ALICE) && !log.contains(BOB), "{log}");
}

#[test]
fn a_request_without_a_key_that_is_known_and_alone_goes_nowhere() {
    let endpoint = Endpoint::ok();
    let gateway =
        Gateway::in_front_of(&[&endpoint]).route("filters = [\"keys\"]").and(CONSUMERS).start();
    for (fields, reason) in [
        (String::new(), "credential_missing"),
        ("X-Api-Key: \r\n".to_owned(), "credential_invalid"),
        (format!("X-Api-Key: {}\r\n", ALICE.to_uppercase()), "credential_invalid"),
        (format!("X-Api-Key: {ALICE}, {ALICE}\r\n"), "credential_invalid"),
        (format!("X-Api-Key: {ALICE}\r\nX-Api-Key: {BOB}\r\n"), "credential_invalid"),
        (format!("X-Api-Key: {ALICE}\r\nCookie: key={ALICE}\r\n"), "credential_invalid"),
        (format!("X-Api-Key: {}\r\n", "a".repeat(8000)), "credential_invalid"),
        (format!("X-Api_Key: {ALICE}\r\n"), "credential_missing"),
        (format!("Cookie: KEY={BOB}\r\n"), "credential_missing"),
    ] {
        let response = get(&gateway, &fields);
        response.assert_is_reply(401, reason);
        assert_eq!(response.header("www-authenticate"), Some("ApiKey"), "{fields}");
    }
    let mut client = gateway.client();
    client.send(b"GET /a HTTP/1.1\r\nHost: a\r\nX-Api-Key: \xff\xfe\r\n\r\n");
    client.response().assert_is_reply(401, "credential_invalid");
    assert!(endpoint.requests().is_empty());
    gateway.stop();
}

#[test]
fn an_acl_lets_groups_in_and_refuses_others_and_requests_without_a_consumer() {
    let endpoint = Endpoint::ok();
    let filters = "filters = [{ type = \"api_key\", anonymous = true }, \
                   { type = \"acl\", allow = [{ groups = [\"staff\"] }, \
                   { consumers = [\"bob\"], methods = [\"POST\"] }] }]";
    let consumers = CONSUMERS.split("[filters").next().unwrap_or_default();
    let gateway = Gateway::in_front_of(&[&endpoint]).route(filters).and(consumers).start();
    assert_eq!(get(&gateway, &format!("X-Api-Key: {ALICE}\r\n")).status, 200);
    get(&gateway, &format!("X-Api-Key: {BOB}\r\n")).assert_is_reply(403, "consumer_denied");
    get(&gateway, "").assert_is_reply(403, "consumer_denied");
    get(&gateway, "X-Api-Key: wrong\r\n").assert_is_reply(401, "credential_invalid");
    gateway.stop();
}

#[test]
fn a_key_that_is_taken_out_of_the_configuration_is_refused_at_once() {
    let endpoint = Endpoint::ok();
    let text = |consumers: &str| {
        let builder = Gateway::in_front_of(&[&endpoint]).route("filters = [\"keys\"]");
        builder.and(consumers).admin().text()
    };
    let gateway = Gateway::configured(&text(CONSUMERS));
    let bob = format!("X-Api-Key: {BOB}\r\n");
    assert_eq!(get(&gateway, &bob).status, 200);
    let shown = gateway.admin("GET", "/v1/config", "");
    assert!(!shown.text().contains(BOB) && !shown.text().contains("3eb1bd43"), "{}", shown.text());
    let other = CONSUMERS.replace(BOB, "another-key-of-bob");
    let applied = gateway.admin("POST", "/v1/config", &text(&other));
    assert_eq!(applied.status, 200, "{}", applied.text());
    get(&gateway, &bob).assert_is_reply(401, "credential_invalid");
    assert_eq!(get(&gateway, "X-Api-Key: another-key-of-bob\r\n").status, 200);
    gateway.stop();
}
