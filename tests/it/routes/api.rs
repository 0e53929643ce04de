//! The REST API of configurable-http-proxy beside ours: each by its own key.

use serde_json::Value;

use super::house;
use crate::support::proxy::ROUTING_TOKEN;
use crate::support::{FakeHub, TestProxy, Wire};

/// A call with these header lines.
fn call(proxy: &TestProxy, method: &str, path: &str, authorization: &str) -> u16 {
    let lines =
        if authorization.is_empty() { String::new() } else { format!("Authorization: {authorization}\r\n") };
    let request = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n");
    Wire::connect(proxy.management()).ask(request).status
}

#[test]
fn the_routing_token_opens_the_routes_alone_and_the_key_of_an_app_all_but_them() {
    let (_hub, _notebook, proxy) = house();
    for scheme in ["token", "Token", "Bearer", "bearer"] {
        assert_eq!(call(&proxy, "GET", "/api/routes", &format!("{scheme} {ROUTING_TOKEN}")), 200, "{scheme}");
    }
    let key = proxy.key();
    for wrong in
        ["", "token", "token x", ROUTING_TOKEN, &format!("token {key}"), &format!("xtoken {ROUTING_TOKEN}")]
    {
        for (method, path) in
            [("GET", "/api/routes"), ("DELETE", "/api/routes/user/alice"), ("PUT", "/api/routes/x")]
        {
            assert_eq!(call(&proxy, method, path, wrong), 403, "{method} {path} {wrong}");
        }
    }
    assert_eq!(call(&proxy, "GET", "/api/v1/links/x", &format!("token {ROUTING_TOKEN}")), 401);
    assert_eq!(call(&proxy, "GET", "/api/v1/links/x", &format!("token {key}")), 404);
}

#[test]
fn a_page_in_a_browser_is_no_hub_even_where_there_is_no_token() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("routes", "host_routing = false").start();
    let ask = |line: &str| {
        let request = format!("GET /api/routes HTTP/1.1\r\nHost: 127.0.0.1\r\n{line}\r\n");
        Wire::connect(proxy.management()).ask(request).status
    };
    assert_eq!(ask(""), 200);
    for line in ["Origin: http://evil.test\r\n", "Origin: null\r\n", "Sec-Fetch-Site: same-origin\r\n"] {
        assert_eq!(ask(line), 403, "{line}");
    }
}

#[test]
fn a_table_is_read_as_it_was_written() {
    let (hub, notebook, proxy) = house();
    let table: Value = serde_json::from_slice(&proxy.routes("GET", "/", "").body).unwrap();
    let rows = table.as_object().unwrap();
    assert_eq!(rows.keys().collect::<Vec<_>>(), ["/", "/user/alice"]);
    let time = rows["/"]["last_activity"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    for (key, target, name, value) in [
        ("/", hub.url(), "hub", Value::from(true)),
        ("/user/alice", notebook.url(), "user", Value::from("alice")),
    ] {
        assert_eq!((&rows[key]["target"], &rows[key][name]), (&Value::from(target), &value));
    }
    // A key comes back decoded, and whatever was written with it.
    proxy.add_route("/@/space%20word/", &hub.url(), r#""odd":[1,{"a":null}]"#);
    let one: Value = serde_json::from_slice(&proxy.routes("GET", "/@/space%20word", "").body).unwrap();
    assert_eq!(one["odd"], serde_json::json!([1, { "a": null }]));
    let table = String::from_utf8(proxy.routes("GET", "", "").body).unwrap();
    assert!(table.contains("\"/@/space word\""), "{table}");
}

#[test]
fn what_is_no_route_is_refused_and_changes_nothing() {
    let (_hub, _notebook, proxy) = house();
    let before = proxy.routes("GET", "", "").body;
    for (method, path, body, status) in [
        ("POST", "/x", "", 400),
        ("POST", "/x", "{", 400),
        ("POST", "/x", "[]", 400),
        ("POST", "/x", "{}", 400),
        ("POST", "/x", "{\"target\":1}", 400),
        ("POST", "/%zz", "{\"target\":\"http://a\"}", 400),
        ("DELETE", "/x", "", 404),
        ("DELETE", "/user", "", 404),
        ("DELETE", "/user/alice/x", "", 404),
        ("GET", "/user", "", 404),
        ("PATCH", "/user/alice", "{}", 405),
        ("GET", "?inactive_since=yesterday", "", 400),
    ] {
        assert_eq!(proxy.routes(method, path, body).status, status, "{method} {path} {body}");
    }
    assert_eq!(proxy.routes("GET", "", "").body, before);
}

#[test]
fn a_route_of_the_hub_that_leads_elsewhere_than_its_pin_is_refused() {
    let (hub, foreign) = (FakeHub::start(), FakeHub::start());
    let proxy = TestProxy::before(&hub).routed().pinned(&hub.url()).start();
    let of = |url: String| format!("{{\"target\":{url:?},\"hub\":true}}");
    assert_eq!(proxy.routes("POST", "/", &of(foreign.url())).status, 409);
    assert_eq!(proxy.routes("POST", "/", &of("not a url".into())).status, 409);
    assert_eq!(proxy.routes("GET", "", "").body, b"{}");
    assert_eq!(proxy.routes("POST", "/", &of(hub.url())).status, 201);
    // A notebook may be anywhere.
    proxy.add_route("/user/a", &foreign.url(), r#""user":"a""#);
}

#[test]
fn the_api_answers_while_a_drain_goes_on() {
    let (_hub, notebook, proxy) = house();
    let gate = crate::support::Gate::new();
    let held = gate.clone();
    notebook.on("/user/alice/slow", move |exchange| {
        held.pass();
        exchange.answer("200 OK", "late")
    });
    let mut wire = proxy.connect();
    wire.send(crate::support::requests::get("/user/alice/slow", &[]));
    notebook.wait_for_path("/user/alice/slow");
    proxy.drain();
    assert_eq!(proxy.routes("GET", "", "").status, 200);
    gate.open();
    assert_eq!(wire.answer_to("GET").expect("an answer").body, b"late");
}
