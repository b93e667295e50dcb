//! Properties: a configuration that is written back reads the same; nothing makes the parser panic.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A configuration that has every kind of value.
const FULL: &str = r#"
version = 1
[runtime]
cores = 4
cpus = "0-3,8,6-7"
driver = "epoll"
buffer_bytes_max = "64MiB"
[admin]
address = "unix:/run/ringway/admin.sock"
[access_log]
to = "/var/log/ringway/access.log"
format = "combined"
[listeners.web]
address = "[::1]:8080"
path = "keep"
encoded_slash = "reject"
limits = { connections_max = "off", head_bytes_max = 16384, headers_max = 50, target_bytes_max = 4000 }
timeouts = { head = "1s", body_idle = "2s", idle = "3m", write_idle = "400ms", tunnel_idle = "off", drain = "1h" }
tls = { certificates = ["site"], policy = "modern", strict_sni = true, client_auth = "optional", client_ca = "ca.pem", client_crl = "crl.pem" }
[certificates.site]
cert = "a.pem"
key = "a.key"
ocsp = "a.ocsp"
[listeners.two]
address = "0.0.0.0:80"
[upstreams.users]
tls = { server_name = "users.internal", ca = "ca.pem", client_certificate = "site", verify = false }
endpoints = ["10.0.0.1:9000", { address = "10.0.0.2:9000", weight = 2 }]
balance = { hash = "cookie:id" }
pool = { connections_max = 100, queue_max = 50, queue_timeout = "2s", idle_max = 7, idle_timeout = "5s" }
timeouts = { connect = "10ms", first_byte = "off", between_bytes = "2s" }
eject = { consecutive_failures = 2, share_max = 1, panic = "off" }
[routes.users]
match = { hosts = ["A.b", "*.c"], path_prefix = "/x/", methods = ["GET", "PURGE"], listeners = ["web"] }
upstream = "users"
[routes.item]
match = { path = "/items/{id}/{*rest}", clients = ["10.0.0.0/8", "unix"], priority = -3 }
upstream = "users"
[routes.regex]
match.path_regex = "/v[0-9]+/(?<id>.*)"
match.headers = { x-a = "1", x-b = { prefix = "a" }, x-c = { suffix = "a" }, x-d = { contains = "\\" } }
match.query = { "a b" = { regex = "^[ab]$" }, b = { absent = true } }
match.cookies = { c = { present = true } }
upstream = "users"
[routes.old]
match = { hosts = ["old.example.com"], path = "/a/b" }
redirect = { to = "https://new.example.com:8443{path}{query}#x", status = 307 }
[routes.down]
match = { path = "/maintenance" }
reply = { status = 503, body = "back \"soon\"\n$${env:X} ü", headers = { "retry-after" = "60", b = "" } }
"#;

fn model(text: &str) -> Model {
    parse(&sources(text)).unwrap_or_else(|it| panic!("{}\n{text}", render(&it)))
}

#[test]
fn a_normalised_configuration_is_the_same_configuration() {
    for text in [SOUND, MINIMAL, FULL] {
        let before = model(text);
        let normalised = before.normalised();
        let after = model(&normalised);
        let wrong = differences(&normalised, &after.normalised());
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(before.document == after.document, "{normalised}");
    }
}

/// The keys that differ between two texts, one a line: "key: this, and not that".
fn differences(expected: &str, found: &str) -> Vec<String> {
    let (expected, found) = (keys(expected), keys(found));
    let all: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let value = |of: &BTreeMap<String, String>, key: &str| {
        of.get(key).cloned().unwrap_or_else(|| "nothing".to_owned())
    };
    let differs = |key: &&&String| expected.get(**key) != found.get(**key);
    let line =
        |key: &String| format!("{key}: {}, and not {}", value(&found, key), value(&expected, key));
    all.iter().filter(differs).map(|key| line(key)).collect()
}

/// Every key of a text with its value.
fn keys(text: &str) -> BTreeMap<String, String> {
    fn add(path: &str, value: &toml::Value, found: &mut BTreeMap<String, String>) {
        match value {
            toml::Value::Table(table) if !table.is_empty() => {
                for (key, value) in table {
                    add(&format!("{path}.{key}"), value, found);
                }
            }
            value => {
                found.insert(path.to_owned(), value.to_string());
            }
        }
    }
    let mut found = BTreeMap::new();
    add("", &toml::Value::Table(text.parse().unwrap()), &mut found);
    found
}

#[test]
fn a_difference_is_named_by_its_key() {
    let one = "a = 1\n[b.c]\nd = { e = \"x\", f = 2 }\n";
    assert!(differences(one, one).is_empty());
    assert_eq!(
        differences(one, &one.replace("\"x\"", "\"y\"").replace(", f = 2", "")),
        [".b.c.d.e: \"y\", and not \"x\"", ".b.c.d.f: nothing, and not 2"]
    );
}

#[test]
fn a_normalised_configuration_has_every_key_and_no_secret() {
    let text = r#"
version = 1
admin = { address = "0.0.0.0:9901", token = "0123456789abcdef" }
[listeners.web]
address = "127.0.0.1:${env:PORT}"
timeouts.head = "${env:HEAD}"
limits.headers_max = "${env:HEADERS}"
[upstreams.users]
endpoints = ["10.0.0.1:9000", "dns:Users.internal:9000", "${env:ENDPOINT}", { address = "${env:ENDPOINT}", weight = 2 }]
[routes.users]
upstream = "users"
[routes.down]
match = { path = "/maintenance" }
reply = { status = 503, headers = { x-key = "${env:KEY}", y = "z" } }
"#;
    let mut sources = sources(text);
    for (name, value) in [
        ("PORT", "7777"),
        ("HEAD", "7s"),
        ("HEADERS", "77"),
        ("ENDPOINT", "10.7.7.7:7777"),
        ("KEY", "seven-seven"),
    ] {
        sources.add_environment(name, Ok(value.to_owned()));
    }
    let model = parse(&sources).unwrap_or_else(|it| panic!("{}", render(&it)));
    let expected = r#"version = 1

[runtime]
cores = "all"
driver = "auto"
log = "auto"
buffer_bytes_max = "256MiB"
resolvers = []

[admin]
address = "0.0.0.0:9901"
token = "***"

[listeners.web]
address = "***"
proxy_protocol = "off"
trusted_proxies = []
filters = []
path = "normalise"
encoded_slash = "keep"
limits = { connections_max = 100000, connections_per_client_max = "off", requests_per_connection_max = "off", connection_age_max = "off", pipelined_max = 4, body_bytes_max = "off", head_bytes_max = "32KiB", headers_max = "***", target_bytes_max = "8KiB" }
timeouts = { head = "***", handshake = "10s", body_idle = "30s", idle = "75s", write_idle = "30s", tunnel_idle = "1h", drain = "30s" }

[certificates]

[upstreams.users]
endpoints = ["10.0.0.1:9000", "users.internal:9000", "***", { address = "***", weight = 2, priority = 0, backup = false }]
balance = "round_robin"
pool = { connections_max = "off", queue_max = "off", queue_timeout = "1s", idle_max = 1024, idle_timeout = "55s" }
timeouts = { connect = "1s", first_byte = "30s", between_bytes = "30s", total = "off" }
retry = { tries_max = "all", on = ["connect_failure", "refused_stream", "stale_connection"], methods = "idempotent", budget = "20%", per_try_timeout = "off", back_off = "25ms", body_bytes_max = "64KiB" }
eject = { consecutive_failures = 5, for = "10s", share_max = "50%", panic = "50%" }
in_flight = { requests_max = "off", queue_max = "off", queue_timeout = "1s" }

[filters]

[consumers]

[routes.users]
match = { priority = 0 }
upstream = "users"
filters = []
timeouts = {}
in_flight = { requests_max = "off", queue_max = "off", queue_timeout = "1s" }

[routes.down]
match = { path = "/maintenance", priority = 0 }
filters = []
reply = { status = 503, body = "", headers = { x-key = "***", y = "z" } }
timeouts = {}
in_flight = { requests_max = "off", queue_max = "off", queue_timeout = "1s" }
"#;
    let wrong = differences(expected, &model.normalised());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A change of a text.
#[derive(Clone, Debug)]
enum Mutation {
    Cut(Range<usize>),
    Repeat(Range<usize>),
    Insert(usize, String),
    Byte(usize, u8),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = || 0..FULL.len();
    let piece = || (at(), 0..60_usize).prop_map(|(start, len)| start..start + len);
    let words = prop::sample::select(vec![
        "\"",
        "'",
        "[",
        "]",
        "{",
        "}",
        "=",
        ".",
        ",",
        "\n",
        "#",
        "0",
        "-1",
        "true",
        "off",
        "\"off\"",
        "${env:A}",
        "${env:",
        "$${",
        "${file:b}",
        "\"\"\"",
        "\\",
        "\u{0}",
        "ü",
        "1e9",
        "[[",
        "a.b.c = 1\n",
        "include = [\"x\"]\n",
        "99999999999999999999",
        "*",
        "/",
        "{path}",
        "\"{\"",
        "1979-05-27",
    ]);
    prop_oneof![
        piece().prop_map(Mutation::Cut),
        piece().prop_map(Mutation::Repeat),
        (at(), words).prop_map(|(at, word)| Mutation::Insert(at, word.to_owned())),
        (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Byte(at, byte)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    let clamp = |at: usize| at.min(bytes.len());
    match mutation {
        Mutation::Cut(range) => {
            bytes.drain(clamp(range.start)..clamp(range.end));
        }
        Mutation::Repeat(range) => {
            let range = clamp(range.start)..clamp(range.end);
            let piece = bytes[range.clone()].to_vec();
            bytes.splice(range.end..range.end, piece);
        }
        Mutation::Insert(at, word) => {
            let at = clamp(*at);
            bytes.splice(at..at, word.bytes());
        }
        Mutation::Byte(at, byte) => {
            if let Some(it) = bytes.get_mut(*at) {
                *it = *byte;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_mutated_configuration_is_sound_or_refused_with_places(
        mutations in vec(mutation(), 1..6),
    ) {
        let mut bytes = FULL.as_bytes().to_vec();
        for mutation in &mutations {
            mutate(&mut bytes, mutation);
        }
        let _ = references(&bytes);
        let mut sources = Sources::new("test.toml", bytes);
        sources.add_environment("A", Ok("${env:A}\"]\n[x".to_owned()));
        match parse(&sources) {
            Ok(model) => {
                let _ = model.normalised();
            }
            Err(diagnostics) => {
                prop_assert!(!diagnostics.is_empty());
                for diagnostic in diagnostics {
                    let (line, column) = diagnostic.position();
                    let said = diagnostic.to_string();
                    prop_assert!(diagnostic.cure().is_some(), "{}", said);
                    prop_assert!(said.contains(&format!("test.toml:{line}:{column}")), "{}", said);
                }
            }
        }
    }
}
