//! Compiles texts and checks the snapshot that each key leads to.

use std::time::Instant;

use proto::head::Headers;

use super::*;
use crate::address::ClientAddress;
use crate::config::{Limit, Sources, parse};
use crate::time::Micros;

/// The snapshot of a configuration, without its first line.
pub(super) fn snapshot(text: &str, identities: &mut Identities) -> Snapshot {
    let sources = Sources::new("test.toml", format!("version = 1\n{text}"));
    compile(&parse(&sources).unwrap(), 7, identities)
}

const LISTENER: &str = "[listeners.web]\naddress = \"127.0.0.1:8080\"\n";

fn with_listener(text: &str) -> Snapshot {
    snapshot(&format!("{LISTENER}{text}"), &mut Identities::default())
}

/// The facts of a request from a Unix socket at the first listener.
pub(crate) fn facts<'r>(
    host: &'r str,
    path: &'r str,
    method: &'r str,
    headers: &'r Headers,
) -> RequestFacts<'r> {
    let (path, query) = path.split_once('?').map_or((path, None), |(it, query)| (it, Some(query)));
    RequestFacts {
        listener: ListenerId(0),
        client: ClientAddress::Unix,
        host: host.as_bytes(),
        path: path.as_bytes(),
        query: query.map(str::as_bytes),
        method: method.as_bytes(),
        headers,
    }
}

fn name<'t>(snapshot: &'t Snapshot, host: &str, path: &str, method: &str) -> Result<&'t str, u16> {
    match snapshot.route(&facts(host, path, method, &Headers::new())) {
        Found::Route(id, route) => {
            assert_eq!(snapshot.routes[id.0 as usize], *route);
            Ok(&route.name)
        }
        Found::WrongMethod => Err(405),
        Found::None => Err(404),
    }
}

#[test]
fn a_route_matches_by_host_path_and_method() {
    let snapshot = with_listener(
        "[routes.get]\nmatch = { hosts = [\"A.b\", \"*.c\"], path = \"/x\", methods = [\"POST\", \"GET\"] }\n\
         reply = { status = 200 }\n\
         [routes.below]\nmatch = { hosts = [\"a.b\"], path_prefix = \"/x\", methods = [\"PUT\"] }\n\
         reply = { status = 200 }\n",
    );
    assert_eq!(name(&snapshot, "a.b", "/x", "GET"), Ok("get"));
    assert_eq!(name(&snapshot, "d.c", "/x", "POST"), Ok("get"));
    assert_eq!(name(&snapshot, "a.b", "/x", "PUT"), Ok("below"));
    assert_eq!(name(&snapshot, "a.b", "/x/y", "PUT"), Ok("below"));
    assert_eq!(name(&snapshot, "a.b", "/x", "DELETE"), Err(405));
    assert_eq!(name(&snapshot, "d.c", "/x/y", "GET"), Err(404));
    let mut allow = b"Allow: ".to_vec();
    snapshot.allow(&facts("a.b", "/x", "GET", &Headers::new()), &mut allow);
    assert_eq!(allow, b"Allow: GET, POST, PUT");
}

#[test]
fn the_order_of_the_text_changes_nothing_but_the_ids_of_listeners() {
    let one = "[routes.a]\nmatch = { path_prefix = \"/a\" }\nupstream = \"x\"\n\
               [upstreams.x]\nendpoints = [\"127.0.0.1:1\"]\n";
    let other = "[routes.b]\nmatch = { path_prefix = \"/b\" }\nupstream = \"y\"\n\
                 [upstreams.y]\nendpoints = [\"127.0.0.1:2\"]\n";
    let (first, second) =
        (with_listener(&format!("{one}{other}")), with_listener(&format!("{other}{one}")));
    assert_eq!(first.routes, second.routes);
    assert_eq!(first.upstreams, second.upstreams);
    assert_eq!(name(&first, "h", "/b", "GET"), Ok("b"));
    assert_eq!(name(&second, "h", "/b", "GET"), Ok("b"));
}

#[test]
fn limits_that_are_off_are_larger_than_any() {
    let snapshot = snapshot(
        "[listeners.a]\naddress = \"127.0.0.1:1\"\nlimits = { connections_max = \"off\" }\n\
         [listeners.b]\naddress = \"127.0.0.1:2\"\nlimits = { connections_max = 5 }\n\
         [upstreams.a]\nendpoints = [\"127.0.0.1:1\"]\n\
         [upstreams.b]\nendpoints = [\"127.0.0.1:1\"]\npool = { connections_max = 6 }\n",
        &mut Identities::default(),
    );
    let of = |id| snapshot.listener(ListenerId(id)).unwrap().limits.connections_max.count();
    assert_eq!((of(0), of(1)), (usize::MAX, 5));
    let pools: Vec<_> =
        snapshot.upstreams.iter().map(|it| it.pool.connections_max.count()).collect();
    assert_eq!(pools, [usize::MAX, 6]);
}

#[test]
fn a_reply_has_a_default_content_type_unless_the_configuration_sets_one() {
    let snapshot = with_listener(
        "[routes.a]\nmatch = { path = \"/a\" }\nreply = { status = 503, body = \"back soon\" }\n\
         [routes.b]\nmatch = { path = \"/b\" }\nreply = { status = 204 }\n\
         [routes.c]\nmatch = { path = \"/c\" }\n\
         reply = { status = 200, body = \"{}\", headers = { \"Content-Type\" = \"application/json\" } }\n",
    );
    let replies: Vec<_> = snapshot
        .routes
        .iter()
        .map(|route| {
            let Action::Reply(reply) = &route.action else { panic!("{route:?}") };
            let headers = reply
                .headers()
                .map(|(name, value)| format!("{name}: {}", std::str::from_utf8(value).unwrap()));
            (reply.status, reply.body(), headers.collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(replies[0].2, ["content-type: text/plain; charset=utf-8"]);
    assert_eq!((replies[0].0, replies[0].1), (503, b"back soon".as_slice()));
    assert_eq!(replies[1], (204, b"".as_slice(), Vec::new()));
    assert_eq!(replies[2].2, ["Content-Type: application/json"]);
}

#[test]
fn a_redirect_leads_where_the_configuration_says() {
    let snapshot = with_listener(
        "[routes.old]\nredirect = { to = \"https://{host}:8443/x{path}{query}#y\", status = 301 }\n",
    );
    let Action::Redirect(redirect) = &snapshot.routes[0].action else {
        panic!("{:?}", snapshot.routes)
    };
    let mut out = Vec::new();
    assert!(redirect.location(b"a.b", b"/c", Some(b"d"), &mut out));
    assert_eq!((redirect.status.0, out.as_slice()), (301, b"https://a.b:8443/x/c?d#y".as_slice()));
}

#[test]
fn the_timeouts_of_a_route_go_before_those_of_its_upstream() {
    let snapshot = with_listener(
        "[upstreams.x]\nendpoints = [\"127.0.0.1:1\"]\n\
         timeouts = { connect = \"2s\", first_byte = \"3s\", total = \"4s\" }\n\
         [routes.a]\nmatch = { path = \"/a\" }\nupstream = \"x\"\n\
         [routes.b]\nmatch = { path = \"/b\" }\nupstream = \"x\"\n\
         timeouts = { first_byte = \"off\", total = \"5s\" }\n",
    );
    let of = |index: usize| {
        let timeouts = snapshot.routes[index].timeouts;
        [timeouts.first_byte, timeouts.between_bytes, timeouts.total]
    };
    let secs = |secs: u64| Limit::at(Micros::secs(secs));
    assert_eq!(of(0), [secs(3), secs(30), secs(4)]);
    assert_eq!(of(1), [Limit::OFF, secs(30), secs(5)]);
    assert_eq!(snapshot.routes[1].timeouts.connect, Micros::secs(2));
}

#[test]
fn an_access_log_turns_records_on() {
    assert!(!with_listener("").records);
    assert!(with_listener("[access_log]\nto = \"stdout\"\n").records);
}

#[test]
#[ignore = "measures; for a release build on a quiet machine"]
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement")]
fn measure_a_snapshot_of_10_000_routes() {
    let routes: String = (0..10_000)
        .map(|number| {
            format!(
                "[routes.route-{number}]\nmatch = {{ hosts = [\"host-{}.example.com\"], \
                 path_prefix = \"/service-{number}/users\" }}\nupstream = \"x\"\n",
                number / 10
            )
        })
        .collect();
    let text =
        format!("version = 1\n{LISTENER}[upstreams.x]\nendpoints = [\"127.0.0.1:1\"]\n{routes}");
    for _ in 0..5 {
        let start = Instant::now();
        let model = parse(&Sources::new("test.toml", text.clone())).unwrap();
        let parsed = start.elapsed();
        let snapshot = compile(&model, 1, &mut Identities::default());
        let compiled = start.elapsed() - parsed;
        let start = Instant::now();
        let copy = snapshot.clone();
        let copied = start.elapsed();
        let start = Instant::now();
        drop(copy);
        println!(
            "parsed in {parsed:?}, compiled in {compiled:?}, copied in {copied:?}, dropped in {:?}",
            start.elapsed()
        );
    }
}
