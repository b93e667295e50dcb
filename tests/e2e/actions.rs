//! The actions of a route beside sending requests on: redirects, replies, and the answer to methods
//! that it does not take.

use crate::harness::{Endpoint, Gateway};

fn gateway(endpoint: &Endpoint) -> Gateway {
    let routes = "
        [routes.old]
        match = { hosts = [\"old.example.com\"] }
        redirect = { to = \"https://new.example.com{path}{query}\", status = 308 }
        [routes.down]
        match = { path = \"/maintenance\" }
        reply = { status = 503, body = \"back soon\", headers = { retry-after = \"60\" } }
        [routes.empty]
        match = { path = \"/empty\" }
        reply = { status = 204 }
        [routes.writes]
        match = { path_prefix = \"/files\", methods = [\"PUT\", \"DELETE\"] }
        upstream = \"app\"
        [routes.files]
        match = { path_prefix = \"/files/public\", methods = [\"GET\"] }
        upstream = \"app\"";
    let text = Gateway::in_front_of(&[endpoint]).and(routes).text();
    // No route for everything: the others are to be seen alone.
    Gateway::configured(&text.replace("[routes.all]", "[routes.all]\nmatch = { path = \"/all\" }"))
}

#[test]
fn a_redirect_carries_path_and_query_and_no_body() {
    let endpoint = Endpoint::ok();
    let gateway = gateway(&endpoint);
    let mut client = gateway.client();
    client.send("GET /a/b?c=d HTTP/1.1\r\nHost: old.example.com\r\n\r\n");
    let response = client.response();
    assert_eq!(response.status, 308);
    assert_eq!(response.header("location"), Some("https://new.example.com/a/b?c=d"));
    assert_eq!(response.text(), "");
    assert!(response.header("date").is_some());
    // The connection goes on.
    assert_eq!(client.get("/all").text(), "ok");
    gateway.stop();
}

#[test]
fn a_reply_is_sent_as_it_is_written() {
    let endpoint = Endpoint::ok();
    let gateway = gateway(&endpoint);
    let mut client = gateway.client();
    let response = client.get("/maintenance");
    assert_eq!((response.status, response.text()), (503, "back soon"));
    assert_eq!(response.header("retry-after"), Some("60"));
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    client.send("HEAD /maintenance HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.response_to_head();
    assert_eq!((head.status, head.header("content-length")), (503, Some("9")));
    let empty = client.get("/empty");
    assert_eq!((empty.status, empty.header("content-length")), (204, None));
    assert_eq!(client.post("/maintenance", "unread").text(), "back soon");
    assert_eq!(endpoint.requests().len(), 0);
    gateway.stop();
}

#[test]
fn a_method_that_no_route_takes_is_405_with_those_that_would_do() {
    let endpoint = Endpoint::ok();
    let gateway = gateway(&endpoint);
    let mut client = gateway.client();
    let response = client.post("/files/public/1", "x");
    response.assert_is_reply(405, "method_not_allowed");
    assert_eq!(response.header("allow"), Some("DELETE, GET, PUT"));
    assert_eq!(client.get("/files/public/1").text(), "ok");
    client.get("/elsewhere").assert_is_reply(404, "no_route");
    gateway.stop();
}
