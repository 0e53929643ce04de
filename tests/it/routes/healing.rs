//! A young table that lacks the route of a user: the hub is asked to write it, once.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use super::status;
use crate::sessions::with_handler;
use crate::support::proxy::ROUTING_TOKEN;
use crate::support::requests::websocket;
use crate::support::{FakeHub, Gate, PATIENCE, TestProxy, Then, Wire};

/// A hub that writes the route of alice when it is asked to look at its routes.
fn hub_that_writes(notebook: &FakeHub, api: &Arc<OnceLock<SocketAddr>>) -> FakeHub {
    hub_that_writes_behind(open(), notebook, api)
}

fn open() -> Gate {
    let gate = Gate::new();
    gate.open();
    gate
}

/// The same, as soon as the gate is open.
fn hub_that_writes_behind(gate: Gate, notebook: &FakeHub, api: &Arc<OnceLock<SocketAddr>>) -> FakeHub {
    let hub = FakeHub::start();
    let body = format!("{{\"target\":{:?},\"user\":\"alice\"}}", notebook.url());
    writes(&hub, "/user/alice", body, api, gate);
    hub
}

/// Lets `hub` write the route `key` when it is asked to look at its routes, as soon as the gate is open.
fn writes(hub: &FakeHub, key: &'static str, body: String, api: &Arc<OnceLock<SocketAddr>>, gate: Gate) {
    let api = Arc::clone(api);
    hub.on("/hub/api/proxy", move |exchange| {
        gate.pass();
        let length = body.len();
        let head = format!("POST /api/routes{key} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: token");
        let request = format!("{head} {ROUTING_TOKEN}\r\nContent-Length: {length}\r\n\r\n{body}");
        assert_eq!(Wire::connect(*api.get().expect("it runs")).ask(request).status, 201);
        exchange.answer("200 OK", "")
    });
}

#[test]
fn a_user_whose_route_is_missing_reaches_her_server_and_the_hub_is_asked_once() {
    let (notebook, api) = (FakeHub::start(), Arc::<OnceLock<SocketAddr>>::default());
    let hub = hub_that_writes(&notebook, &api);
    let keys = format!("api_url = \"{}/hub/api\"\napi_token = \"0123456789abcdef\"", hub.url());
    let proxy = TestProxy::before(&hub).routed().set("hub", &keys).start();
    api.set(proxy.management()).unwrap();
    proxy.add_route("/", &hub.url(), r#""hub":true"#);
    // What is not a user's asks nobody.
    assert_eq!(status(&proxy, "/hub/home", &[]), 200);
    assert!(hub.seen_at("/hub/api/proxy").is_empty());
    assert_eq!(status(&proxy, "/user/alice/lab", &[]), 200);
    assert_eq!(notebook.seen_at("/user/alice/lab").len(), 1);
    assert_eq!(hub.seen_at("/hub/api/proxy").len(), 1);
    // Somebody whose server does not run: the hub says so, and is not asked again at once.
    assert_eq!(status(&proxy, "/user/bob/lab", &[]), 200);
    assert_eq!(hub.seen_at("/user/bob/lab").len(), 1);
    assert_eq!(hub.seen_at("/hub/api/proxy").len(), 1);
}

#[test]
fn a_websocket_whose_session_ends_while_its_route_is_looked_for_is_closed() {
    const SESSION: &str = "0123456789abcdef0123456789abcdef";
    let (gate, notebook, api) = (Gate::new(), FakeHub::start(), Arc::<OnceLock<SocketAddr>>::default());
    notebook.on("/user/alice/ws", |exchange| {
        exchange
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        // For longer than the test waits: it is not the notebook that ends it.
        exchange.wire.is_silent_for(2 * PATIENCE);
        Then::Close
    });
    let hub = hub_that_writes_behind(gate.clone(), &notebook, &api);
    with_handler(&hub, vec![SESSION.to_owned()]);
    let keys = format!("api_url = \"{}/hub/api\"\napi_token = \"0123456789abcdef\"", hub.url());
    let scopes = "scopes = [\"issue\", \"end\"]";
    let proxy = TestProxy::before(&hub).routed().set("hub", &keys).portal(scopes).start();
    api.set(proxy.management()).unwrap();
    proxy.add_route("/", &hub.url(), r#""hub":true"#);
    let mut wire = proxy.connect();
    wire.send(websocket("/user/alice/ws", &[&format!("Cookie: jupyterhub-session-id={SESSION}")]));
    hub.wait_for_path("/hub/api/proxy");
    let ended = proxy.links().call("DELETE", "/api/v1/users/alice/sessions", &[], "");
    assert_eq!((ended.status, ended.text().as_str()), (200, r#"{"ended":1}"#));
    gate.open();
    assert!(wire.head().expect("an answer").line.contains(" 101 "));
    assert!(wire.is_ended());
}

#[test]
fn without_a_token_of_the_hub_nobody_is_asked() {
    let (notebook, api) = (FakeHub::start(), Arc::<OnceLock<SocketAddr>>::default());
    let hub = hub_that_writes(&notebook, &api);
    let proxy = TestProxy::before(&hub).routed().start();
    proxy.add_route("/", &hub.url(), r#""hub":true"#);
    assert_eq!(status(&proxy, "/user/alice/lab", &[]), 200);
    assert!(hub.seen_at("/hub/api/proxy").is_empty());
    assert_eq!(hub.seen_at("/user/alice/lab").len(), 1);
}

#[test]
fn a_link_that_comes_before_the_hubs_own_route_makes_the_hub_write_it() {
    let (hub, api) = (FakeHub::start(), Arc::<OnceLock<SocketAddr>>::default());
    writes(&hub, "/", format!("{{\"target\":{:?},\"hub\":true}}", hub.url()), &api, open());
    let keys = format!("api_url = \"{}/hub/api\"\napi_token = \"0123456789abcdef\"", hub.url());
    let target = format!("default_target = {:?}", hub.url());
    let proxy = TestProxy::before(&hub).routed().set("routes", &target).set("hub", &keys).start();
    api.set(proxy.management()).unwrap();
    let link = proxy.link("alice");
    assert_eq!(proxy.browser().get(&link.target()).status, 302);
    assert_eq!(proxy.links().status(&link.id), "used");
    assert_eq!(hub.seen_at("/hub/api/proxy").len(), 1);
}
