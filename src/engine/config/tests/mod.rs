//! Whole configurations: those that parse, and the messages about those that do not.

use std::net::SocketAddr;

use proto::head::Headers;
use proto::path::{EncodedSlash, Form, Rules};

mod broken;
mod cures;
mod forgotten;
mod hostile;
mod merge;
mod round;
mod secrets;

use super::*;
use crate::snapshot::tests::facts;
use crate::snapshot::{self, Found, Identities, Snapshot, compile};
use crate::time::Micros;

const MINIMAL: &str = include_str!("../../../../config/minimal.toml");

/// Listener, upstream and route for tests of other things.
const SOUND: &str = r#"
version = 1
[listeners.web]
address = "127.0.0.1:8080"
[upstreams.users]
endpoints = ["10.0.0.1:9000"]
[routes.users]
upstream = "users"
"#;

fn sources(text: &str) -> Sources {
    Sources::new("test.toml", text)
}

fn table(text: &str) -> Snapshot {
    let model = parse(&sources(text)).unwrap_or_else(|it| panic!("{}", render(&it)));
    compile(&model, 1, &mut Identities::default())
}

/// Where the first route goes.
fn first_upstream(table: &Snapshot) -> &snapshot::Upstream {
    match table.routes[0].action {
        snapshot::Action::Upstream(upstream) => table.upstream(upstream),
        _ => panic!("{:?}", table.routes[0]),
    }
}

fn render(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|it| format!("{it}\n")).collect()
}

/// All messages about a text.
fn said(text: &str) -> String {
    render(&parse(&sources(text)).expect_err("the text is not sound"))
}

/// Asserts that exactly one mistake is found and that the rendering contains each of `parts`.
fn says(text: &str, parts: &[&str]) {
    let diagnostics = parse(&sources(text)).expect_err("the text is not sound");
    let said = render(&diagnostics);
    assert_eq!(diagnostics.len(), 1, "{said}");
    for part in parts {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
}

#[test]
fn the_minimal_configuration_routes_as_its_comments_say() {
    let table = table(MINIMAL);
    let route =
        |host: &str, path: &str| match table.route(&facts(host, path, "GET", &Headers::new())) {
            Found::Route(_, route) => Some(&*route.name),
            Found::WrongMethod | Found::None => None,
        };
    assert_eq!(route("api.example.com", "/users/1"), Some("users"));
    assert_eq!(route("www.example.org", "/users"), Some("users"));
    assert_eq!(route("api.example.com", "/usersx"), None);
    assert_eq!(route("example.org", "/users"), None);
    let upstream = first_upstream(&table);
    assert_eq!(&*upstream.name, "users");
    assert_eq!(upstream.endpoints.len(), 2);
}

#[test]
fn every_key_is_read() {
    let model = parse(&sources(
        r#"
version = 1
[runtime]
cores = 4
cpus = "0-3,8"
driver = "epoll"
buffer_bytes_max = "64MiB"
[listeners.web]
address = "[::1]:8080"
path = "keep"
encoded_slash = "reject"
limits = { head_bytes_max = 16384, headers_max = 50, target_bytes_max = "4KiB" }
timeouts = { head = "1s", body_idle = "2s", idle = "3m", write_idle = "400ms", tunnel_idle = "off", drain = "1h" }
[upstreams.users]
endpoints = ["10.0.0.1:9000", { address = "10.0.0.2:9000", weight = 2 }]
pool = { idle_max = 7, idle_timeout = "5s" }
timeouts = { connect = "10ms", first_byte = "off", between_bytes = "2s" }
[routes.users]
match = { hosts = ["A.b"], path_prefix = "/x/" }
upstream = "users"
"#,
    ))
    .unwrap();
    let runtime = &model.document.runtime;
    assert_eq!(runtime.cores, Cores::Count(4));
    assert_eq!(runtime.cpus, Some(CpuList(vec![0, 1, 2, 3, 8])));
    assert_eq!(runtime.driver, DriverChoice::Epoll);
    assert_eq!(runtime.buffer_bytes_max, ByteSize::mib(64));
    let table = compile(&model, 3, &mut Identities::default());
    assert_eq!(table.number, 3);
    let listener = &table.listeners[0];
    assert_eq!(listener.address.ip(), Some(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 8080))));
    assert_eq!(listener.limits.head_bytes_max, ByteSize(16384));
    assert_eq!(listener.limits.headers_max, 50);
    assert_eq!(listener.limits.target_bytes_max, ByteSize(4096));
    assert_eq!(
        (listener.paths.form, listener.paths.encoded_slash),
        (Form::Keep, EncodedSlash::Reject)
    );
    assert_eq!(listener.timeouts.head, Micros::secs(1));
    assert_eq!(listener.timeouts.body_idle, Micros::secs(2));
    assert_eq!(listener.timeouts.idle, Micros::secs(180));
    assert_eq!(listener.timeouts.write_idle, Micros::millis(400));
    assert_eq!(listener.timeouts.drain, Micros::secs(3600));
    let upstream = &table.upstreams[0];
    assert_eq!(upstream.endpoints.iter().map(|it| it.share.weight).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(upstream.pool.idle_max, 7);
    assert_eq!(upstream.pool.idle_timeout, Micros::secs(5));
    assert_eq!(upstream.timeouts.connect, Micros::millis(10));
    assert_eq!(upstream.timeouts.first_byte, Limit::OFF);
    assert_eq!(upstream.timeouts.between_bytes, Limit::at(Micros::secs(2)));
    assert!(matches!(table.route(&facts("a.B", "/x/y", "GET", &Headers::new())), Found::Route(..)));
}

#[test]
fn defaults_are_those_of_the_reference() {
    let model = parse(&sources(SOUND)).unwrap();
    assert_eq!(model.document.runtime.buffer_bytes_max, ByteSize::mib(256));
    assert_eq!(model.document.runtime.cores, Cores::All);
    let table = compile(&model, 1, &mut Identities::default());
    let listener = &table.listeners[0];
    assert_eq!(
        (listener.limits.head_bytes_max, listener.limits.headers_max),
        (ByteSize::kib(32), 100)
    );
    assert_eq!(listener.limits.target_bytes_max, ByteSize::kib(8));
    assert_eq!(listener.paths, Rules::default());
    let timeouts = &listener.timeouts;
    let seconds = [timeouts.head, timeouts.body_idle, timeouts.idle, timeouts.write_idle]
        .map(|it| it.to_string());
    assert_eq!(seconds, ["10s", "30s", "75s", "30s"]);
    assert_eq!(timeouts.drain, Micros::secs(30));
    let upstream = &table.upstreams[0];
    assert_eq!(upstream.pool.idle_max, 1024);
    assert_eq!(upstream.pool.idle_timeout, Micros::secs(55));
    let timeouts = &upstream.timeouts;
    assert_eq!(timeouts.connect, Micros::secs(1));
    let off_or_not = [timeouts.first_byte, timeouts.between_bytes];
    assert_eq!(off_or_not, [Limit::at(Micros::secs(30)); 2]);
}

#[test]
fn an_upstream_is_found_by_its_name_wherever_it_stands() {
    let reordered = "[upstreams.aaa]\nendpoints = [\"10.0.0.9:1\"]\n";
    let after = table(&format!("{SOUND}{reordered}"));
    assert_eq!(&*first_upstream(&after).name, "users");
    let found = |name: &str| after.upstream_by_name(name).map(|id| &*after.upstream(id).name);
    assert_eq!((found("users"), found("aaa")), (Some("users"), Some("aaa")));
    assert_eq!(found("users2"), None);
}

#[test]
fn an_address_that_is_written_twice_is_one_endpoint() {
    let twice =
        "endpoints = [\"10.0.0.1:1\", \"10.0.0.2:1\", { address = \"10.0.0.1:1\", weight = 3 }]";
    let table = table(&format!("{SOUND}[upstreams.zzz]\n{twice}\n"));
    let upstream = table.upstream(table.upstream_by_name("zzz").unwrap());
    let endpoints: Vec<_> =
        upstream.endpoints.iter().map(|it| (it.address.to_string(), it.share.weight)).collect();
    assert_eq!(endpoints, [("10.0.0.1:1".to_owned(), 4), ("10.0.0.2:1".to_owned(), 1)]);
}

#[test]
fn a_diagnostic_shows_place_line_caret_and_cure() {
    let text = SOUND.replace("address", "adress");
    let expected = r#"error: `listeners.web` has no `address`
 --> test.toml:3:1
  |
3 | [listeners.web]
  | ^^^^^^^^^^^^^^^
  |
  = help: add address = "0.0.0.0:8080"
error: unknown key `adress` in `listeners.web`
 --> test.toml:4:1
  |
4 | adress = "127.0.0.1:8080"
  | ^^^^^^ not a key
  |
  = help: did you mean `address`?
"#;
    assert_eq!(said(&text), expected);
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_the_text() {
    let diagnostics = parse(&sources(
        r#"
version = 2
[runtime]
cors = 4
cpus = "3-1"
[listeners.web]
address = "localhost:8080"
limits = { headers_max = 0, head_bytes_max = "16kb" }
[upstreams.users]
endpoints = ["10.0.0.1:9000"]
pool = 5
[routes.users]
upstream = "usrs"
"#,
    ))
    .unwrap_err();
    let lines: Vec<_> = diagnostics.iter().map(|it| it.position().0).collect();
    assert_eq!(lines, [2, 4, 5, 7, 8, 8, 11, 13], "{}", render(&diagnostics));
}

#[test]
fn a_syntax_error_is_reported_alone() {
    let text = SOUND.replace("[upstreams.users]", "[upstreams.users");
    let said = said(&text);
    assert!(said.contains("test.toml:5"), "{said}");
    assert!(!said.contains("missing"), "{said}");
}

#[test]
fn a_key_that_is_written_twice_is_an_error() {
    let text = SOUND.replace("upstream =", "upstream = \"users\"\nupstream =");
    says(&text, &["duplicate key", "test.toml:9:1"]);
}

#[test]
fn a_dangling_upstream_offers_the_nearest_name() {
    let text = SOUND.replace("upstream = \"users\"", "upstream = \"usrs\"");
    says(
        &text,
        &[
            "no upstream is named `usrs`",
            "test.toml:8:12",
            "route `users` goes there",
            "did you mean `users`?",
        ],
    );
}

#[test]
fn an_upstream_with_mistakes_in_it_is_not_called_missing() {
    says(&SOUND.replace("10.0.0.1:9000", "10.0.0.1"), &["add a port: \"10.0.0.1:8080\""]);
}

#[test]
fn routes_that_tie_are_both_named() {
    let text = format!(
        "{SOUND}match = {{ hosts = [\"a.b\", \"*.c\"], path_prefix = \"/x\" }}\n\
         [routes.other]\nupstream = \"users\"\n\
         match = {{ hosts = [\"A.B\"], path_prefix = \"/x/\" }}\n"
    );
    says(
        &text,
        &[
            "routes `users` and `other` are both for a.b and /x with what lies below",
            "test.toml:12:20",
            "first here",
        ],
    );
    let text = format!("{SOUND}[routes.other]\nupstream = \"users\"\n");
    says(&text, &["routes `users` and `other` are both for any host and any path"]);
    let text = format!("{SOUND}match = {{ hosts = [\"a.b\", \"A.b\"] }}\n");
    says(&text, &["route `users` names the host A.b twice"]);
}

#[test]
fn listeners_that_overlap_are_both_named() {
    let with = |address: &str| format!("{SOUND}[listeners.other]\naddress = \"{address}\"\n");
    for address in ["127.0.0.1:8080", "0.0.0.0:8080", "[::]:8080"] {
        says(
            &with(address),
            &["listener `web` and listener `other` ask for the same address", "by listener `web`"],
        );
    }
    for address in ["127.0.0.1:8081", "127.0.0.2:8080", "[::1]:8080"] {
        assert!(parse(&sources(&with(address))).is_ok(), "{address}");
    }
}

#[test]
fn what_must_be_there_is_asked_for() {
    let empty = said("");
    assert!(empty.contains("add version = 1"), "{empty}");
    assert!(empty.contains("there is no listener"), "{empty}");
    says(&SOUND.replace("\"10.0.0.1:9000\"", ""), &["upstream `users` has no endpoint"]);
    says(&format!("{SOUND}match = {{ hosts = [] }}\n"), &["route `users` matches no host"]);
    says(
        &SOUND.replace("upstream = \"users\"", ""),
        &[
            "`routes.users` has none of `upstream`, `redirect` and `reply`",
            "add upstream = \"NAME\", or redirect",
        ],
    );
}

#[test]
fn bad_values_are_named_with_what_was_expected() {
    let with =
        |line: &str| SOUND.replace("[upstreams.users]", &format!("{line}\n[upstreams.users]"));
    for (line, parts) in [
        ("timeouts = { head = 10 }", &["10 is a number without a unit", "\"10s\""][..]),
        ("timeouts = { head = \"0s\" }", &["not between \"10ms\" and \"24h\""]),
        ("timeouts = { head = \"off\" }", &["\"off\" is not a duration"]),
        ("timeouts = { head = 1.5 }", &["`listeners.web.timeouts.head` is a number with a frac"]),
        ("limits = { headers_max = 0 }", &["0 is not between 1 and 1000"]),
        ("limits = { headers_max = -1 }", &["-1 is out of range"]),
        ("limits = { headers_max = 99999999999999999999 }", &["out of range"]),
        ("limits = { headers_max = \"9\" }", &["is a string", "expected a whole number"]),
        ("limits = { head_bytes_max = \"1KB\" }", &["\"1KB\" is not a size", "\"16KiB\""]),
        (
            "limits = [1]",
            &["`listeners.web.limits` is a list", "write a table such as { connections_max"],
        ),
        ("[listeners.Web]\naddress = \"127.0.0.1:1\"", &["`Web` cannot be a name"]),
    ] {
        says(&with(line), parts);
    }
    for (address, cure) in [
        (":8080", "\"0.0.0.0:8080\""),
        ("127.0.0.1", "\"127.0.0.1:8080\""),
        ("::1", "\"[::1]:8080\""),
        ("localhost:80", "\"127.0.0.1:80\""),
        ("http://127.0.0.1:80", "without scheme"),
        ("users.internal:80", "only `endpoints` may be names"),
    ] {
        says(&SOUND.replace("127.0.0.1:8080", address), &[cure]);
    }
    says(&SOUND.replace("10.0.0.1:9000", "10.0.0.1:0"), &["port 0 is no place to connect to"]);
}
