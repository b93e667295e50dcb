//! Filters on the way of requests and responses: where they run, in which order, and for which answers.

use std::fs;
use std::io::Read;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use crate::harness::{Client, Endpoint, Gateway};

/// A gateway in front of `endpoint` with these filters, used by the route for everything.
fn with(endpoint: &Endpoint, filters: &str, used: &str) -> Gateway {
    Gateway::in_front_of(&[endpoint]).route(&format!("filters = {used}")).and(filters).start()
}

#[test]
fn a_filter_in_a_list_and_one_by_name_change_the_request() {
    let endpoint = Endpoint::ok();
    let gateway = with(
        &endpoint,
        "[filters.named]\ntype = \"request_headers\"\nset = { x-api = \"{route} {method}\" }",
        "[\"named\", { type = \"request_headers\", remove = [\"x-debug\"], \
         add = { x-list = \"{header.x-api}\" } }]",
    );
    let mut client = gateway.client();
    client.send("GET /a?b=c HTTP/1.1\r\nHost: a\r\nX-Api: mine\r\nX-Debug: 1\r\n\r\n");
    assert_eq!(client.response().text(), "ok");
    let request = endpoint.only_request();
    assert_eq!(request.values("x-api"), ["all GET"]);
    assert_eq!(request.values("x-list"), ["all GET"]);
    assert!(!request.has("x-debug"));
    gateway.stop();
}

#[test]
fn another_host_goes_to_the_endpoint_and_the_first_one_is_forwarded() {
    let endpoint = Endpoint::ok();
    let edit = "[{ type = \"request_headers\", set = { host = \"inner.example:81\" } }]";
    let gateway = with(&endpoint, "", edit);
    assert_eq!(gateway.client().get("/").text(), "ok");
    let request = endpoint.only_request();
    assert_eq!(request.values("host"), ["inner.example:81"]);
    assert_eq!(request.values("x-forwarded-host"), ["example.com"]);
    gateway.stop();
}

#[test]
fn response_hooks_hold_for_the_gateways_own_answers_too() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint])
        .listener("filters = [\"safe\"]")
        .route("match = { path = \"/all\" }")
        .and(
            "[routes.own]\nmatch = { path = \"/own\" }\nreply = { status = 200, body = \"own\" }
             [filters.safe]\ntype = \"response_headers\"
             set = { x-frame-options = \"DENY\", x-status = \"{status}{reason}\" }",
        )
        .start();
    let mut client = gateway.client();
    for (path, status) in [("/all", "200"), ("/own", "200"), ("/none", "404no_route")] {
        let response = client.get(path);
        assert_eq!(response.header("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(response.header("x-status"), Some(status), "{path}");
    }
    gateway.stop();
}

#[test]
fn clients_are_let_in_by_their_address() {
    let endpoint = Endpoint::ok();
    let office = "[{ type = \"ip_access\", allow = [\"127.0.0.0/8\"], deny = [\"127.0.0.9\"] }]";
    let gateway = with(&endpoint, "", office);
    assert_eq!(gateway.client().get("/").text(), "ok");
    let mut other = Client::connect_from("127.0.0.9", gateway.address());
    other.get("/").assert_is_reply(403, "address_denied");
    // The connection goes on.
    other.get("/").assert_is_reply(403, "address_denied");
    assert_eq!(endpoint.requests().len(), 1);
    gateway.stop();
}

#[test]
fn a_filter_may_refuse_what_a_route_would_answer_itself() {
    let endpoint = Endpoint::ok();
    let routes = "[routes.own]\nmatch = { path = \"/own\" }\nreply = { status = 200, body = \"own\" }\n\
                  filters = [{ type = \"ip_access\", allow = [] }]";
    let gateway = Gateway::in_front_of(&[&endpoint]).and(routes).start();
    gateway.client().get("/own").assert_is_reply(403, "address_denied");
    assert_eq!(gateway.client().post("/own", "body").status, 403);
    gateway.stop();
}

#[test]
fn a_change_of_a_filter_holds_for_the_next_request() {
    let endpoint = Endpoint::ok();
    let says = |version: &str| {
        let filter = "{ type = \"response_headers\", set = { x-version = \"VERSION\" } }";
        let filters = format!("filters = [{}]", filter.replace("VERSION", version));
        Gateway::in_front_of(&[&endpoint]).route(&filters).admin().text()
    };
    let gateway = Gateway::configured(&says("one"));
    let mut client = gateway.client();
    assert_eq!(client.get("/").header("x-version"), Some("one"));
    let applied = gateway.admin("POST", "/v1/config", &says("two"));
    assert_eq!(applied.status, 200, "{}", applied.text());
    assert_eq!(client.get("/").header("x-version"), Some("two"));
    gateway.stop();
}

#[test]
fn a_rewritten_path_goes_to_the_endpoint_and_its_locations_come_back() {
    let endpoint = Endpoint::answering(
        "HTTP/1.1 302 Found\r\nLocation: /login?a\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n",
    );
    let strip = "[{ type = \"rewrite\", strip_prefix = \"/app\" }]";
    let log = NamedTempFile::new().unwrap();
    let section = format!("[access_log]\nto = \"{}\"", log.path().display());
    let gateway = with(&endpoint, &section, strip);
    let response = gateway.client().get("/app/1?b=c");
    assert_eq!(response.header("location"), Some("/app/login?a"));
    assert_eq!(response.header("set-cookie"), Some("a=b; Path=/app/"));
    let request = endpoint.only_request();
    assert_eq!(request.target(), "/1?b=c");
    assert_eq!(request.header("x-forwarded-prefix"), Some("/app"));
    gateway.stop();
    let log = fs::read_to_string(log.path()).unwrap();
    assert!(log.contains("\"path\":\"/app/1?b=c\""), "{log}");
}

#[test]
fn a_body_is_held_until_it_is_whole_and_gets_a_length() {
    let endpoint = Endpoint::ok();
    let gateway = with(&endpoint, "", "[{ type = \"buffer\", bytes_max = 10 }]");
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    assert_eq!(endpoint.connections(), 0);
    client.send("5\r\nworld\r\n0\r\n\r\n");
    assert_eq!(client.response().text(), "ok");
    let request = endpoint.only_request();
    assert_eq!(request.text(), "helloworld");
    assert_eq!(request.header("content-length"), Some("10"));
    assert!(!request.has("transfer-encoding"));
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhelloworld!\r\n0\r\n\r\n");
    client.response().assert_is_reply(413, "body_too_large");
    assert_eq!(endpoint.requests().len(), 1);
    gateway.stop();
}

#[test]
fn a_client_that_waits_for_100_sends_its_body_to_a_filter_that_wants_it() {
    let endpoint = Endpoint::ok();
    let gateway = with(&endpoint, "", "[{ type = \"buffer\" }]");
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(client.head().first_line, "HTTP/1.1 100 Continue");
    client.send("body");
    assert_eq!(client.response().text(), "ok");
    let request = endpoint.only_request();
    assert_eq!(request.text(), "body");
    assert!(!request.has("expect"));
    gateway.stop();
}

#[test]
fn a_route_may_limit_a_body_more_or_less_than_its_listener() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint])
        .listener("limits.body_bytes_max = 8")
        .route("filters = [{ type = \"body_limit\", bytes_max = 4 }]")
        .start();
    assert_eq!(gateway.client().post("/", "1234").text(), "ok");
    gateway.client().post("/", "12345").assert_is_reply(413, "body_too_large");
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n");
    client.response().assert_is_reply(413, "body_too_large");
    gateway.stop();
}

#[test]
fn a_filter_may_allow_a_longer_body_than_the_listener() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint])
        .listener("limits.body_bytes_max = 4")
        .route("filters = [{ type = \"body_limit\", bytes_max = 8 }]")
        .and("[routes.short]\nmatch = { path = \"/short\" }\nupstream = \"app\"")
        .start();
    assert_eq!(gateway.client().post("/", "12345678").text(), "ok");
    gateway.client().post("/", "123456789").assert_is_reply(413, "body_too_large");
    gateway.client().post("/short", "12345").assert_is_reply(413, "body_too_large");
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n0\r\n\r\n");
    assert_eq!(client.response().text(), "ok");
    gateway.stop();
}

#[test]
fn pages_of_other_origins_learn_what_they_may_do() {
    let endpoint = Endpoint::ok();
    let cors = "[{ type = \"cors\", origins = [{ suffix = \".example.org\" }], methods = [\"PUT\"] }, \
                { type = \"ip_access\", allow = [] }]";
    let gateway = with(&endpoint, "", cors);
    let mut client = gateway.client();
    client.send(
        "OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example.org\r\n\
         Access-Control-Request-Method: PUT\r\n\r\n",
    );
    let response = client.response();
    assert_eq!(response.status, 204);
    assert_eq!(response.header("access-control-allow-methods"), Some("PUT"));
    client.send("GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example.org\r\n\r\n");
    let refused = client.response();
    refused.assert_is_reply(403, "address_denied");
    let allowed = refused.header("access-control-allow-origin");
    assert_eq!(allowed, Some("https://app.example.org"), "the page may read why");
    gateway.stop();
}

#[test]
fn errors_get_a_page_of_ones_own() {
    let endpoint = Endpoint::answering("HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops");
    let page = "[{ type = \"error_page\", statuses = [\"404\", \"500-599\"], endpoint = true, \
                body = \"<p>{status} {path}</p>\" }]";
    let gateway = Gateway::in_front_of(&[&endpoint])
        .listener(&format!("filters = {page}"))
        .route("match = { path_prefix = \"/app\" }")
        .start();
    let mut client = gateway.client();
    for (path, status) in [("/app/<", 500), ("/none", 404), ("/app", 500)] {
        let path = path.replace('<', "%3C");
        let response = client.get(&path);
        assert_eq!(
            (response.status, response.header("content-type")),
            (status, Some("text/html; charset=utf-8"))
        );
        assert_eq!(response.text(), format!("<p>{status} {path}</p>"));
    }
    // RFC 9110 section 8.6: a response to HEAD has the length that one to GET would have.
    for (path, status) in [("/app", 500), ("/none", 404)] {
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let len = format!("<p>{status} {path}</p>").len().to_string();
        assert_eq!(client.response_to_head().values("content-length"), [len], "{path}");
    }
    gateway.stop();
}

#[test]
fn bodies_are_compressed_for_clients_that_take_it() {
    let body = "{\"name\": \"value\"}\n".repeat(5000);
    let endpoint = Endpoint::answering(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: \"a\"\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let gateway = with(&endpoint, "", "[{ type = \"compress\" }]");
    let mut client = gateway.client();
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
        let response = client.response();
        assert_eq!(response.header("content-encoding"), Some("gzip"));
        assert_eq!(response.header("etag"), Some("W/\"a\""));
        assert_eq!(response.header("vary"), Some("accept-encoding"));
        assert!(response.body.len() < 2000, "{}", response.body.len());
        let mut plain = String::new();
        flate2::read::GzDecoder::new(&*response.body).read_to_string(&mut plain).unwrap();
        assert!(plain == body);
    }
    let plain = client.get("/");
    assert_eq!(plain.header("content-encoding"), None);
    assert!(plain.text() == body);
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(client.response_to_head().status, 200);
    assert!(client.get("/").text() == body);
    gateway.stop();
}

/// A gateway that asks `auth` before it lets a request pass to `endpoint`.
fn asking(endpoint: &Endpoint, auth: &Endpoint, more: &str) -> Gateway {
    let sections = format!("[upstreams.auth]\nendpoints = [\"{}\"]", auth.address());
    let ask = format!(
        "[{{ type = \"forward_auth\", upstream = \"auth\", path = \"/check\", timeout = \"300ms\", \
         response_headers = [\"x-user\"]{more} }}]"
    );
    with(endpoint, &sections, &ask)
}

#[test]
fn another_service_decides_who_may_pass() {
    let endpoint = Endpoint::ok();
    let auth = Endpoint::scripted(|mut connection| {
        while let Some(request) = connection.next_request() {
            assert_eq!((request.method(), request.target()), ("GET", "/check"));
            connection.send(match request.header("authorization") {
                Some("Bearer good") => "HTTP/1.1 204 No Content\r\nX-User: alice\r\n\r\n",
                _ => {
                    "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 4\r\n\r\nstop"
                }
            });
        }
    });
    let gateway = asking(&endpoint, &auth, "");
    let mut client = gateway.client();
    client.send("POST /a?b HTTP/1.1\r\nHost: a\r\nX-User: root\r\nContent-Length: 2\r\n\r\nhi");
    let refused = client.response();
    assert_eq!((refused.status, refused.text()), (401, "stop"));
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    assert_eq!(endpoint.requests().len(), 0);
    client.send(
        "POST /a?b HTTP/1.1\r\nHost: a\r\nX-User: root\r\nAuthorization: Bearer good\r\n\
         Content-Length: 2\r\n\r\nhi",
    );
    assert_eq!(client.response().text(), "ok");
    let request = endpoint.only_request();
    assert_eq!((request.values("x-user"), request.text()), (vec!["alice"], "hi"));
    let questions = auth.requests();
    assert_eq!(questions.len(), 2);
    assert_eq!(questions[0].header("x-forwarded-method"), Some("POST"));
    assert_eq!(questions[0].header("x-forwarded-uri"), Some("/a?b"));
    assert_eq!(questions[0].header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(auth.connections(), 1, "the pool of the service is used again");
    gateway.stop();
}

#[test]
fn a_service_that_hangs_is_a_no_unless_the_configuration_says_yes() {
    let endpoint = Endpoint::ok();
    let (auth, connections) = Endpoint::by_hand();
    for (more, status) in [("", 503), (", on_failure = \"allow\"", 200)] {
        let gateway = asking(&endpoint, &auth, more);
        let began = Instant::now();
        let response = gateway.client().get("/");
        assert_eq!(response.status, status, "{more}");
        assert!(began.elapsed() >= Duration::from_millis(290), "{:?}", began.elapsed());
        drop(connections.next());
        gateway.stop();
    }
}

#[test]
fn the_service_gets_the_first_bytes_of_a_body_that_goes_on_whole() {
    let endpoint = Endpoint::ok();
    let auth = Endpoint::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let gateway = asking(&endpoint, &auth, ", body_bytes = 4");
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabcdef");
    client.send("ghij");
    assert_eq!(client.response().text(), "ok");
    assert_eq!(auth.only_request().text(), "abcd");
    assert_eq!(endpoint.only_request().text(), "abcdefghij");
    gateway.stop();
}

#[test]
fn faults_are_made_on_purpose() {
    let endpoint = Endpoint::ok();
    let always = "[{ type = \"fault\", abort = { status = 500, share = 1 } }]";
    let gateway = with(&endpoint, "", always);
    gateway.client().get("/").assert_is_reply(500, "fault_injected");
    gateway.stop();
    let late = "[{ type = \"fault\", delay = { for = \"250ms\", share = \"100%\" } }]";
    let gateway = with(&endpoint, "", late);
    let began = Instant::now();
    assert_eq!(gateway.client().get("/").text(), "ok");
    assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
    gateway.stop();
}

#[test]
fn copies_of_requests_go_to_another_upstream_and_delay_nobody() {
    let endpoint = Endpoint::ok();
    let (shadow, connections) = Endpoint::by_hand();
    let sections = format!("[upstreams.shadow]\nendpoints = [\"{}\"]", shadow.address());
    let copy = "[{ type = \"mirror\", upstream = \"shadow\", body_bytes_max = 8 }]";
    let gateway = with(&endpoint, &sections, copy);
    let mut client = gateway.client();
    assert_eq!(client.post("/a?b", "body").text(), "ok");
    // The shadow has not answered yet.
    assert_eq!(client.get("/second").text(), "ok");
    assert_eq!(client.post("/long", "123456789").text(), "ok");
    let mut targets = Vec::new();
    for _ in 0..2 {
        let mut connection = connections.next();
        let request = connection.request();
        targets.push(format!("{} {} {}", request.method(), request.target(), request.text()));
        connection.send("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    }
    targets.sort();
    assert_eq!(targets, ["GET /second ", "POST /a?b body"]);
    assert_eq!(endpoint.requests().len(), 3);
    gateway.stop();
}
