//! How hublatch stops, and the limits on connections that make sure that nothing waits for ever.

mod limits;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::proxy::wait_until;
use crate::support::requests::{chunk, get, request};
use crate::support::{FakeHub, Gate, Links, PATIENCE, TestProxy, Then, Wire};

/// A drain that nothing holds up must be far faster.
const LONG: &str = "drain_timeout = \"10m\"";

/// Waits until nobody accepts at `address`.
fn wait_until_refused(address: std::net::SocketAddr) {
    wait_until("the listener's end", || TcpStream::connect_timeout(&address, PATIENCE).is_err());
}

/// The connection ends, and before that at most says that the hub was not waited for.
fn assert_no_answer_of_the_hub(mut wire: Wire) {
    let answer = wire.answer_to("GET");
    assert!(answer.as_ref().is_none_or(|answer| answer.status == 502), "{answer:?}");
    assert!(wire.is_ended());
}

#[test]
fn a_drain_finishes_what_runs_and_refuses_what_comes() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", LONG).start();
    let gate = hub.slow();
    let mut running = proxy.connect();
    running.send(get("/slow", &[]));
    hub.wait_for_path("/slow");
    proxy.drain();
    wait_until_refused(proxy.address());
    gate.open();
    let answer = running.answer_to("GET").expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "slow"));
    assert!(running.is_ended(), "no further request on it");
    proxy.join_within(PATIENCE);
    hub.wait_for_open(0);
}

#[test]
fn a_drain_does_not_wait_for_idle_connections() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", LONG).start();
    let mut used = proxy.connect();
    assert_eq!(used.ask(get("/x", &[])).status, 200);
    let mut unused = proxy.connect();
    // It is accepted once a later connection is answered.
    assert_eq!(proxy.connect().ask(get("/x", &["Connection: close"])).status, 200);
    proxy.drain();
    assert!(used.is_ended() && unused.is_ended());
    proxy.join_within(PATIENCE);
    hub.wait_for_open(0);
}

#[test]
fn an_upload_and_a_download_under_way_are_finished_in_a_drain() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", LONG).start();
    let gate = Gate::new();
    let waiting = gate.clone();
    hub.on("/progress", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        exchange.send(chunk("first"));
        waiting.pass();
        exchange.send([chunk("last"), b"0\r\n\r\n".to_vec()].concat());
        Then::Next
    });
    let mut download = proxy.connect();
    download.send(get("/progress", &[]));
    download.head().expect("a head");
    assert_eq!(download.chunk().expect("a chunk"), b"first");
    let half = vec![b'x'; 64 * 1024];
    let mut upload = proxy.connect();
    upload.send([request("POST", "/upload", &["Content-Length: 131072"]), half.clone()].concat());
    hub.wait_for_path("/upload");
    proxy.drain();
    wait_until_refused(proxy.address());
    upload.send(&half);
    assert_eq!(upload.answer_to("POST").expect("an answer").status, 200);
    gate.open();
    assert_eq!(download.chunk().expect("a chunk"), b"last");
    assert_eq!(download.chunk().expect("the end"), b"");
    proxy.join_within(PATIENCE);
    assert_eq!(hub.only("/upload").body, half.repeat(2));
}

#[test]
fn a_drain_ends_at_its_deadline_whatever_still_runs() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "drain_timeout = \"200ms\"").start();
    let gate = hub.slow();
    hub.on("/progress", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        exchange.send(chunk("first"));
        exchange.wire.rest();
        Then::Close
    });
    let mut unanswered = proxy.connect();
    unanswered.send(get("/slow", &[]));
    let mut stream = proxy.connect();
    stream.send(get("/progress", &[]));
    stream.head().expect("a head");
    assert_eq!(stream.chunk().expect("a chunk"), b"first");
    hub.wait_for_path("/slow");
    let begun = Instant::now();
    proxy.drain();
    proxy.join_within(PATIENCE);
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    assert_no_answer_of_the_hub(unanswered);
    assert_eq!(stream.chunk(), None, "no clean end");
    gate.open();
    hub.wait_for_open(0);
}

#[test]
fn a_drain_without_patience_ends_at_once() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "drain_timeout = \"0s\"").start();
    let _gate = hub.slow();
    let mut running = proxy.connect();
    running.send(get("/slow", &[]));
    hub.wait_for_path("/slow");
    proxy.drain();
    proxy.join_within(PATIENCE);
    assert_no_answer_of_the_hub(running);
}

#[test]
fn the_management_side_answers_to_the_end_of_a_drain() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", LONG).start();
    let gate = hub.slow();
    let api = proxy.links();
    let ready = |api: &Links| {
        let answer = api.call("GET", "/ready", &[], "");
        (answer.status, answer.json()["draining"].as_bool())
    };
    assert_eq!(ready(&api), (200, Some(false)));
    let mut running = proxy.connect();
    running.send(get("/slow", &[]));
    hub.wait_for_path("/slow");
    proxy.drain();
    wait_until_refused(proxy.address());
    assert_eq!(ready(&api), (503, Some(true)));
    assert_eq!(api.call("GET", "/health", &[], "").status, 200);
    assert_eq!(api.call("GET", "/metrics", &[], "").status, 200);
    let management = proxy.management();
    gate.open();
    assert_eq!(running.answer_to("GET").expect("an answer").status, 200);
    proxy.join_within(PATIENCE);
    assert!(TcpStream::connect_timeout(&management, PATIENCE).is_err(), "it ends with the rest");
}

#[test]
fn every_listener_serves_and_every_listener_stops() {
    let hub = FakeHub::start();
    let listen = "listen = [\"127.0.0.1:0\", \"127.0.0.1:0\", \"127.0.0.2:0\"]\nthreads = 2";
    let proxy = TestProxy::before(&hub).set("public", listen).set("limits", LONG).start();
    let addresses = proxy.addresses().to_vec();
    assert_eq!(addresses.len(), 3);
    for (number, address) in addresses.iter().enumerate() {
        // Each of several threads takes some.
        for _ in 0..8 {
            let answer = Wire::connect(*address).ask(get(format!("/{number}"), &[]));
            assert_eq!(answer.text(), format!("GET /{number} HTTP/1.1"), "{address}");
        }
    }
    // A link may be redeemed at any of them.
    assert_eq!(Wire::connect(addresses[2]).ask(get(proxy.link("alice").target(), &[])).status, 302);
    proxy.drain();
    for address in addresses {
        wait_until_refused(address);
    }
    proxy.join_within(PATIENCE);
}

#[test]
fn nothing_is_left_of_a_stopped_hublatch() {
    let hub = FakeHub::start();
    for _ in 0..3 {
        let proxy = TestProxy::start(&hub);
        let address = proxy.address();
        assert_eq!(proxy.connect().ask(get("/x", &[])).status, 200);
        drop(proxy);
        assert!(TcpStream::connect_timeout(&address, PATIENCE).is_err());
        hub.wait_for_open(0);
    }
}

#[test]
fn tunnels_end_as_soon_as_no_request_is_under_way() {
    let hub = FakeHub::start();
    hub.on("/ws", |exchange| {
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
        while exchange.wire.fill() {}
        Then::Close
    });
    let proxy = TestProxy::before(&hub).set("limits", "drain_timeout = \"10m\"").start();
    let gate = hub.slow();
    let mut tunnel = proxy.connect();
    tunnel.send("GET /ws HTTP/1.1\r\nHost: hub.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    assert!(tunnel.head().is_some_and(|head| head.line.contains(" 101 ")));
    let mut request = proxy.connect();
    request.send(get("/slow", &[]));
    hub.wait_for_path("/slow");
    proxy.drain();
    wait_until_refused(proxy.address());
    assert!(tunnel.is_silent_for(std::time::Duration::from_millis(200)), "a request is under way");
    gate.open();
    assert_eq!(request.answer_to("GET").expect("an answer").status, 200);
    assert!(tunnel.is_ended());
    proxy.join_within(PATIENCE);
}
