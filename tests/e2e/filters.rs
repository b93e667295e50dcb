//! Filters on the way of requests and responses: where they run, in which order, and for which answers.

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
