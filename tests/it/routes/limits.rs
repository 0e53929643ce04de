//! What one server may take up, and one that is not there: no matter of any other server.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::{house, status};
use crate::support::hub::absent;
use crate::support::requests::{get, websocket};
use crate::support::{FakeHub, Gate, TestProxy, Wire};

/// A proxy with two connections for each server, whose `alice` answers below `/slow` when the gate opens, and `bob` at once.
fn narrow() -> (FakeHub, FakeHub, Gate, TestProxy) {
    let (alice, bob, gate) = (FakeHub::start(), FakeHub::start(), Gate::new());
    let held = gate.clone();
    alice.otherwise(move |exchange| {
        if exchange.seen.path().contains("/slow") {
            held.pass();
        }
        exchange.answer("200 OK", "")
    });
    let proxy = TestProxy::before(&FakeHub::start()).routed().set("limits", "route_connections = 2").start();
    // Two routes to one server are one server.
    proxy.add_route("/user/alice", &alice.url(), r#""user":"alice","server_name":"""#);
    proxy.add_route("/user/alice/named", &alice.url(), r#""user":"alice","server_name":"named""#);
    proxy.add_route("/user/bob", &bob.url(), r#""user":"bob""#);
    (alice, bob, gate, proxy)
}

#[test]
fn a_server_has_so_many_connections_by_all_its_routes_and_another_has_its_own() {
    let (alice, _bob, gate, proxy) = narrow();
    let mut held: Vec<Wire> = ["/user/alice/slow", "/user/alice/named/slow"]
        .map(|path| {
            let mut wire = proxy.connect();
            wire.send(get(path, &[]));
            alice.wait_for_path(path);
            wire
        })
        .into();
    let script = ["Accept: application/json"];
    for path in ["/user/alice/x", "/user/alice/named/x"] {
        assert_eq!(status(&proxy, path, &script), 503, "{path}");
    }
    let mut upgrading = proxy.connect();
    upgrading.send(websocket("/user/alice/ws", &[]));
    assert!(upgrading.head().expect("a head").line.contains("503"));
    assert_eq!((status(&proxy, "/user/bob/x", &[]), alice.connections()), (200, 2));
    gate.open();
    for wire in &mut held {
        assert_eq!(wire.answer_to("GET").expect("an answer").status, 200);
    }
    assert_eq!(status(&proxy, "/user/alice/x", &[]), 200);
}

#[test]
fn a_tunnel_is_one_of_its_servers_connections_until_it_ends() {
    let (alice, _bob, _gate, proxy) = narrow();
    alice.on("/user/alice/ws", crate::upgrades::echo);
    let mut tunnels: Vec<Wire> = (0..2)
        .map(|_| {
            let mut wire = proxy.connect();
            wire.send(websocket("/user/alice/ws", &[]));
            assert!(wire.head().expect("a head").line.contains("101"));
            wire
        })
        .collect();
    assert_eq!(status(&proxy, "/user/alice/x", &[]), 503);
    assert_eq!(status(&proxy, "/user/bob/x", &[]), 200);
    drop(tunnels.pop());
    alice.wait_for_open(1);
    crate::support::proxy::wait_until("a connection to be free", || {
        status(&proxy, "/user/alice/x", &[]) == 200
    });
}

#[test]
fn tunnels_to_one_server_leave_room_for_other_requests_and_another_has_its_own() {
    let (alice, bob) = (FakeHub::start(), FakeHub::start());
    let proxy = TestProxy::before(&FakeHub::start()).routed().set("limits", "route_tunnels = 2").start();
    for (user, server) in [("alice", &alice), ("bob", &bob)] {
        server.on(&format!("/user/{user}/ws"), crate::upgrades::echo);
        proxy.add_route(&format!("/user/{user}"), &server.url(), &format!("\"user\":{user:?}"));
    }
    let open = |user: &str| {
        let mut wire = proxy.connect();
        wire.send(websocket(&format!("/user/{user}/ws"), &[]));
        let head = wire.head().expect("a head");
        (wire, head.line.contains("101"), head.line.contains("503"))
    };
    let mut tunnels: Vec<Wire> = Vec::new();
    for _ in 0..2 {
        let (wire, is_open, _) = open("alice");
        assert!(is_open);
        tunnels.push(wire);
    }
    assert!(open("alice").2, "a third one is let in");
    assert_eq!(alice.seen_at("/user/alice/ws").len(), 2);
    assert_eq!(status(&proxy, "/user/alice/x", &[]), 200);
    assert!(open("bob").1);
    // One that the server refuses, and one that has ended, give their room back.
    drop(tunnels.pop());
    crate::support::proxy::wait_until("room for one more", || open("alice").1);
}

#[test]
fn requests_that_take_all_connections_to_the_hub_keep_no_login_out() {
    let (hub, gate) = (FakeHub::start(), Gate::new());
    let held = gate.clone();
    hub.otherwise(move |exchange| {
        held.pass();
        exchange.answer("200 OK", "")
    });
    let proxy = TestProxy::before(&hub).routed().set("limits", "route_connections = 5").start();
    proxy.add_route("/", &hub.url(), r#""hub":true"#);
    let _held: Vec<Wire> = (0..5)
        .map(|number| {
            let (path, mut wire) = (format!("/slow/{number}"), proxy.connect());
            wire.send(get(&path, &[]));
            hub.wait_for_path(&path);
            wire
        })
        .collect();
    assert_eq!(status(&proxy, "/slow/more", &["Accept: application/json"]), 503);
    assert_eq!(proxy.browser().get(&proxy.link("alice").target()).status, 302);
    gate.open();
}

/// A proxy with a route to a server that is not there, another server that is, the socket of its address, and the time before it was first asked.
fn refused() -> (TestProxy, FakeHub, socket2::Socket, String, Instant) {
    let (_hub, notebook, proxy) = house();
    let (socket, url) = absent();
    proxy.add_route("/user/bob", &url, r#""user":"bob""#);
    let begun = Instant::now();
    assert_eq!(status(&proxy, "/user/bob/x", &[]), 503);
    (proxy, notebook, socket, url, begun)
}

/// The server that was not there.
fn arrive(socket: socket2::Socket) -> FakeHub {
    socket.listen(16).expect("listen");
    FakeHub::on_listener(TcpListener::from(socket))
}

#[test]
fn a_server_that_refused_is_left_alone_for_a_second_and_no_other_is() {
    let (proxy, notebook, socket, _, begun) = refused();
    let server = arrive(socket);
    loop {
        let found = status(&proxy, "/user/bob/x", &[]);
        let elapsed = begun.elapsed();
        assert_eq!(status(&proxy, "/user/alice/x", &[]), 200);
        if found == 200 {
            assert!(elapsed >= Duration::from_secs(1), "it was asked again after {elapsed:?}");
            break;
        }
        assert!(elapsed < Duration::from_secs(20), "it was never asked again");
    }
    assert_eq!(server.connections(), 1);
    assert!(!notebook.seen().is_empty());
}

#[test]
fn a_route_that_is_written_anew_is_tried_at_once() {
    let (proxy, _notebook, socket, url, begun) = refused();
    let server = arrive(socket);
    // As the hub does when the server has been started again at its old address.
    proxy.add_route("/user/bob", &url, r#""user":"bob""#);
    assert_eq!(status(&proxy, "/user/bob/x", &[]), 200, "{:?} after it had refused", begun.elapsed());
    assert_eq!(server.connections(), 1);
}
