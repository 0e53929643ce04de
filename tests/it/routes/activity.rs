//! When a route was last used, by which idle servers are culled.

use super::{house, status};
use crate::support::proxy::wait_until;
use crate::support::requests::websocket;
use crate::support::{FakeHub, TestProxy, Wire};

/// A frame of one byte `opcode` and nothing else in it, masked as a browser's are.
fn frame(opcode: u8) -> [u8; 6] {
    [0x80 | opcode, 0x80, 1, 2, 3, 4]
}

/// A tunnel through the route of alice.
fn tunnel(proxy: &TestProxy, notebook: &FakeHub) -> Wire {
    notebook.on("/user/alice/ws", crate::upgrades::echo);
    let mut wire = proxy.connect();
    wire.send(websocket("/user/alice/ws", &[]));
    wire.head().expect("a head");
    wire
}

/// Waits for another millisecond than that of `before`.
fn later(proxy: &TestProxy, before: &str) {
    // Writing the route of somebody else takes the time of now.
    wait_until("the next millisecond", || {
        proxy.add_route("/clock", "http://127.0.0.1:1", "");
        proxy.last_activity("/clock").as_str() > before
    });
}

#[test]
fn a_success_is_a_use_of_its_route_and_an_error_or_a_redirect_is_not() {
    let (hub, notebook, proxy) = house();
    notebook.reply("/user/alice/moved", "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n");
    notebook.reply("/user/alice/gone", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let before = proxy.last_activity("/user/alice");
    later(&proxy, &before);
    for path in ["/user/alice/moved", "/user/alice/gone", "/hub/home"] {
        status(&proxy, path, &[]);
    }
    assert_eq!(proxy.last_activity("/user/alice"), before);
    let of_hub = proxy.last_activity("/");
    status(&proxy, "/user/alice/lab", &[]);
    assert!(proxy.last_activity("/user/alice") > before);
    assert_eq!(proxy.last_activity("/"), of_hub, "{:?}", hub.seen().len());
}

#[test]
fn by_default_every_byte_of_a_browser_is_a_use_even_a_pong() {
    let (_hub, notebook, proxy) = house();
    let mut wire = tunnel(&proxy, &notebook);
    let before = proxy.last_activity("/user/alice");
    later(&proxy, &before);
    wire.send(frame(10));
    assert_eq!(wire.take(6), frame(10));
    assert!(proxy.last_activity("/user/alice") > before);
}

#[test]
fn by_messages_what_keeps_a_connection_open_is_no_use() {
    let (hub, notebook) = (FakeHub::start(), FakeHub::start());
    let proxy = TestProxy::before(&hub).routed().set("routes", "activity = \"messages\"").start();
    proxy.add_route("/user/alice", &notebook.url(), r#""user":"alice""#);
    let mut wire = tunnel(&proxy, &notebook);
    let before = proxy.last_activity("/user/alice");
    later(&proxy, &before);
    for opcode in [9, 10, 8] {
        wire.send(frame(opcode));
        assert_eq!(wire.take(6), frame(opcode));
        assert_eq!(proxy.last_activity("/user/alice"), before, "{opcode}");
    }
    wire.send(frame(1));
    assert_eq!(wire.take(6), frame(1));
    assert!(proxy.last_activity("/user/alice") > before);
}

#[test]
fn a_tunnel_is_a_use_of_its_route_also_after_that_was_written_again() {
    let (_hub, notebook, proxy) = house();
    let mut wire = tunnel(&proxy, &notebook);
    let written = proxy.last_activity("/user/alice");
    later(&proxy, &written);
    proxy.add_route("/user/alice", &notebook.url(), r#""user":"alice""#);
    let before = proxy.last_activity("/user/alice");
    assert!(before > written, "to write it is a use");
    later(&proxy, &before);
    wire.send(frame(1));
    assert_eq!(wire.take(6), frame(1));
    assert!(proxy.last_activity("/user/alice") > before);
}

#[test]
fn a_tunnel_to_where_its_route_led_before_is_no_use_of_the_new_server() {
    let (hub, notebook, proxy) = house();
    let mut wire = tunnel(&proxy, &notebook);
    let mut is_unused = || {
        let before = proxy.last_activity("/user/alice");
        later(&proxy, &before);
        wire.send(frame(1));
        assert_eq!(wire.take(6), frame(1));
        assert_eq!(proxy.last_activity("/user/alice"), before);
    };
    proxy.add_route("/user/alice", &hub.url(), r#""user":"alice""#);
    is_unused();
    // The server that was stopped is not the one that was started in its place.
    assert_eq!(proxy.routes("DELETE", "/user/alice", "").status, 204);
    proxy.add_route("/user/alice", &notebook.url(), r#""user":"alice""#);
    is_unused();
}

#[test]
fn only_routes_that_were_idle_are_listed_when_that_is_asked() {
    let (_hub, _notebook, proxy) = house();
    let count = |query: &str| {
        let body = proxy.routes("GET", query, "").body;
        serde_json::from_slice::<serde_json::Value>(&body).unwrap().as_object().unwrap().len()
    };
    assert_eq!(count("?inactive_since=2020-01-01T00:00:00Z"), 0);
    assert_eq!(count("?inactive_since=2020-01-01"), 0);
    assert_eq!(count("?inactive_since=2090-01-01T00:00:00.000Z"), 2);
    assert_eq!(count("?inactive_since=2090-01-01T00:00:00"), 2);
    assert_eq!(count("?inactive_since="), 2);
}
