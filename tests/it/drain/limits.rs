//! The limits on connections: how many there may be, and how long each may make hublatch wait.

use std::time::{Duration, Instant};

use crate::support::message::latin1;
use crate::support::proxy::wait_until;
use crate::support::requests::{chunk, get, request, sized};
use crate::support::{FakeHub, Gate, TestProxy, Then};

/// Long after the short limits of these tests, and long before a test's patience ends.
const GENEROUS: Duration = Duration::from_secs(9);

#[test]
fn one_connection_more_than_the_limit_is_closed_and_counted() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "connections = 2").start();
    let mut first = proxy.connect();
    let mut second = proxy.connect();
    for wire in [&mut first, &mut second] {
        assert_eq!(wire.ask(get("/x", &[])).status, 200);
    }
    let mut third = proxy.connect();
    assert!(third.is_ended(), "closed without a word");
    assert_eq!(
        (
            proxy.metric("hublatch_connections_refused_total{reason=\"limit\"}"),
            proxy.metric("hublatch_connections")
        ),
        (1, 2)
    );
    // The management side has places of its own.
    assert_eq!(proxy.links().call("GET", "/health", &[], "").status, 200);
    assert_eq!(first.ask(get("/x", &[])).status, 200, "who is in stays in");
    second.close();
    wait_until("a free place", || proxy.metric("hublatch_connections") == 1);
    assert_eq!(proxy.connect().ask(get("/x", &[])).status, 200);
}

#[test]
fn an_idle_connection_is_closed() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "idle_timeout = \"1s\"").start();
    let begun = Instant::now();
    let mut unused = proxy.connect();
    let mut used = proxy.connect();
    assert_eq!(used.ask(get("/x", &[])).status, 200);
    assert!(unused.is_ended());
    assert!(used.is_ended());
    assert!(begun.elapsed() >= Duration::from_secs(1) && begun.elapsed() < GENEROUS, "{:?}", begun.elapsed());
}

#[test]
fn a_connection_that_waits_for_an_answer_is_not_idle() {
    let hub = FakeHub::start();
    let limits = "idle_timeout = \"500ms\"\nhead_timeout = \"500ms\"\nbody_stall_timeout = \"500ms\"";
    let proxy = TestProxy::before(&hub).set("limits", limits).start();
    for request in [get("/slow", &[]), sized("POST", "/slow", &[], "body")] {
        let gate = Gate::new();
        let waiting = gate.clone();
        hub.on("/slow", move |exchange| {
            exchange.read_body();
            waiting.pass();
            exchange.answer("200 OK", "slow")
        });
        let mut wire = proxy.connect();
        wire.send(request);
        assert!(wire.is_silent_for(Duration::from_millis(1500)));
        gate.open();
        assert_eq!(wire.answer_to("GET").expect("an answer").text(), "slow");
    }
}

#[test]
fn a_head_that_does_not_end_is_cut_off() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "head_timeout = \"500ms\"").start();
    for begun in ["G", "GET /x HTTP/1.1\r\n", "GET /x HTTP/1.1\r\nHost: hub.test\r\nA: ", "\r\nGET /x"] {
        let since = Instant::now();
        let mut wire = proxy.connect();
        wire.send(begun);
        let text = latin1(&wire.rest());
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{begun:?}: {text}");
        assert!(since.elapsed() < GENEROUS, "{begun:?}: {:?}", since.elapsed());
    }
    // And so is the second one on a connection.
    let mut wire = proxy.connect();
    assert_eq!(wire.ask(get("/x", &[])).status, 200);
    wire.send("GET /y HTT");
    let text = latin1(&wire.rest());
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    assert_eq!(hub.seen().len(), 1);
}

#[test]
fn a_head_that_comes_drop_by_drop_is_cut_off_too() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "head_timeout = \"200ms\"").start();
    let mut wire = proxy.connect();
    wire.send("GET /x HTTP/1.1\r\nHost: hub.test\r\nA: ");
    let begun = Instant::now();
    // A byte each time the connection has been silent for a while, far more often than the limit.
    while wire.is_silent_for(Duration::from_millis(20)) && wire.try_send("a").is_ok() {
        assert!(begun.elapsed() < GENEROUS, "the head still goes on");
    }
    let text = latin1(&wire.rest());
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    assert_eq!(hub.seen().len(), 0);
}

#[test]
fn a_body_that_stalls_is_cut_off_and_one_that_moves_is_not() {
    let hub = FakeHub::start();
    let limits = "body_stall_timeout = \"1s\"\nbody_min_rate = \"0KiB\"";
    let proxy = TestProxy::before(&hub).set("limits", limits).start();
    for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let since = Instant::now();
        let mut wire = proxy.connect();
        wire.send(request("POST", "/x", &[framing]));
        wire.send(if framing.starts_with('C') { b"some".to_vec() } else { chunk("some") });
        let text = latin1(&wire.rest());
        assert!(!text.starts_with("HTTP/1.1 2"), "{framing}: {text}");
        assert!(since.elapsed() < GENEROUS, "{framing}: {:?}", since.elapsed());
        assert_eq!(hub.seen().len(), 0, "{framing}: the hub is not asked for it");
    }
    let mut wire = proxy.connect();
    wire.send(
        [request("POST", "/x", &["Transfer-Encoding: chunked"]), chunk(vec![b'x'; 64 * 1024])].concat(),
    );
    let text = latin1(&wire.rest());
    assert!(!text.starts_with("HTTP/1.1 2"), "{text}");
    // The hub must not take it for a whole one.
    hub.wait_for_open(0);
    assert!(!hub.only("/x").complete);
    let mut wire = proxy.connect();
    wire.send(request("POST", "/y", &["Transfer-Encoding: chunked"]));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        wire.send(chunk("x"));
        assert!(wire.is_silent_for(Duration::from_millis(20)));
    }
    wire.send("0\r\n\r\n");
    assert_eq!(wire.answer_to("POST").expect("an answer").status, 200);
}

#[test]
fn a_held_body_that_stalls_is_cut_off() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "body_stall_timeout = \"200ms\"").start();
    let form = "Content-Type: application/x-www-form-urlencoded";
    for (method, path) in [("DELETE", "/x"), ("OPTIONS", "/x"), ("POST", "/hub/login")] {
        let mut wire = proxy.connect();
        wire.send(
            [request(method, path, &["Transfer-Encoding: chunked", form]), chunk("login_token=")].concat(),
        );
        let text = latin1(&wire.rest());
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{method}: {text}");
    }
    assert_eq!(hub.seen().len(), 0);
}

#[test]
fn a_browser_that_does_not_read_is_cut_off() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "write_stall_timeout = \"200ms\"").start();
    hub.on("/large", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        let piece = vec![0; 1024 * 1024];
        // Until the proxy hangs up.
        while exchange.wire.try_send(&piece).is_ok() {}
        Then::Close
    });
    let mut wire = proxy.connect();
    wire.bound_receive_buffer(64 * 1024);
    wire.send(get("/large", &[]));
    hub.wait_for_path("/large");
    hub.wait_for_open(0);
    wait_until("the connection's end", || proxy.metric("hublatch_connections") == 0);
    let answer = wire.answer_to("GET").expect("a head");
    assert!(!answer.complete && answer.body.len() < 100_000_000, "{} bytes", answer.body.len());
}

#[test]
fn a_body_before_an_upgrade_is_held_to_the_same_limits() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "body_stall_timeout = \"200ms\"").start();
    let form = "Content-Type: application/x-www-form-urlencoded";
    for (method, path) in
        [("POST", "/hub/login"), ("DELETE", "/x"), ("OPTIONS", "/x"), ("POST", "/x"), ("GET", "/x")]
    {
        for upgrade in [&["Upgrade: websocket", "Connection: upgrade"][..], &["Upgrade: foo"]] {
            let lines = [upgrade, &["Transfer-Encoding: chunked", form]].concat();
            let mut wire = proxy.connect();
            wire.send([request(method, path, &lines), chunk("login_token=")].concat());
            // It ends, and not by the test's patience.
            let text = latin1(&wire.rest());
            assert!(!text.starts_with("HTTP/1.1 2"), "{method} {path} {upgrade:?}: {text}");
        }
    }
    wait_until("the connections' end", || proxy.metric("hublatch_connections") == 0);
}
