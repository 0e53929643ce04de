//! Upgrades that do not come about: not asked for, not agreed to, not allowed.

use super::{CHANNELS, PATH, SWITCHING, echo};
use crate::support::message::latin1;
use crate::support::requests::{get, request, websocket};
use crate::support::{FakeHub, TestProxy, Then};

#[test]
fn a_101_that_nobody_asked_for_is_a_bad_gateway() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on(PATH, echo);
    for lines in [
        &[][..],
        &["Upgrade: websocket"],
        &["Connection: upgrade"],
        &["Connection: keep-alive, x-upgrade", "Upgrade: websocket"],
        &["Connection: upgrade", "Upgrade: h2c"],
        &["Connection: upgrade", "Upgrade: H2C"],
        &["Connection: upgrade, http2-settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"],
        &["Connection: upgrade", "Upgrade: foo"],
        &["Connection: upgrade", "Upgrade: websocket, h2c"],
        &["Connection: upgrade", "Upgrade: h2c, websocket"],
        &["Connection: upgrade", "Upgrade: h2c", "Upgrade: websocket"],
    ] {
        let mut wire = proxy.connect();
        wire.send(get(CHANNELS, lines));
        let answer = wire.answer_to("GET").expect("an answer");
        assert_eq!(answer.status, 502, "{lines:?}");
        assert!(!answer.headers.has("upgrade") && !answer.headers.has("sec-websocket-accept"), "{lines:?}");
        // The hub's side of it is gone, so that nothing can be sent through.
        hub.wait_for_open(0);
    }
    assert_eq!(proxy.metric("hublatch_tunnels"), 0);
    assert_eq!(proxy.metric("hublatch_upstream_errors_total{reason=\"upgrade\"}"), 11);
}

#[test]
fn h2c_is_not_even_asked_of_the_hub() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for upgrade in [
        "h2c",
        "H2c",
        "h2c, websocket",
        "websocket, h2c",
        "websocket,\th2c",
        "h2c/1",
        "h2",
        "HTTP/2.0",
        "websocket/13, h2c",
    ] {
        let line = format!("Upgrade: {upgrade}");
        let lines = ["Connection: Upgrade, HTTP2-Settings", &line, "HTTP2-Settings: AAMAAABkAAQAAP__"];
        let answer = proxy.connect().ask(get("/x", &lines));
        assert_eq!(answer.status, 200, "{upgrade}");
        let seen = hub.seen_at("/x").pop().expect("a request");
        assert!(
            !seen.headers.has("upgrade") && !seen.headers.has("connection"),
            "{upgrade}: {:?}",
            seen.headers
        );
        assert!(!seen.headers.has("http2-settings"), "{upgrade}");
    }
}

#[test]
fn a_101_for_another_protocol_is_a_bad_gateway() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for upgrade in
        ["Upgrade: h2c\r\n", "Upgrade: websocket2\r\n", "Upgrade: websocket, h2c\r\n", "Upgrade:\r\n", ""]
    {
        hub.on(PATH, move |exchange| {
            exchange.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n{upgrade}\r\nearly"
            ));
            exchange.wire.rest();
            Then::Close
        });
        let answer = proxy.connect().ask(websocket(CHANNELS, &[]));
        assert_eq!(answer.status, 502, "{upgrade:?}");
        hub.wait_for_open(0);
    }
    assert_eq!(proxy.metric("hublatch_tunnels"), 0);
}

#[test]
fn another_answer_to_an_upgrade_is_passed_on_and_closes() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for status in
        ["200 OK", "400 Bad Request", "403 Cross origin websockets not allowed", "426 Upgrade Required"]
    {
        hub.on(PATH, move |exchange| exchange.answer(status, "no"));
        let mut wire = proxy.connect();
        // Behind an upgrade nothing is judged as a request, so nothing may become one.
        let smuggled = get("/smuggled", &["REMOTE_USER: mallory"]);
        wire.send([websocket(CHANNELS, &[]), smuggled.clone(), smuggled].concat());
        let answer = wire.answer_to("GET").expect("an answer");
        assert!(latin1(&answer.head).starts_with(&format!("HTTP/1.1 {status}\r\n")), "{status}: {answer:?}");
        assert_eq!(
            (answer.text().as_str(), answer.headers.get("connection")),
            ("no", Some("close")),
            "{status}"
        );
        assert!(wire.rest().is_empty(), "{status}: nothing follows");
    }
    assert_eq!(hub.seen_at("/smuggled").len(), 0);
    assert_eq!(proxy.metric("hublatch_tunnels"), 0);
}

#[test]
fn nothing_becomes_a_request_behind_a_header_that_only_looks_like_an_upgrade() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for lines in [
        &["Upgrade: websocket"][..],
        &["upgrade: h2c", "Connection: upgrade"],
        &["UPGRADE:", "Connection: upgrade"],
        &["Connection: close", "Upgrade: websocket"],
    ] {
        // A bare LF behind it would be refused on any other connection.
        let smuggled = b"GET /smuggled HTTP/1.1\nHost: hub.test\n\n".to_vec();
        let mut wire = proxy.connect();
        wire.send([get("/x", lines), smuggled].concat());
        assert_eq!(wire.answer_to("GET").expect("an answer").status, 200, "{lines:?}");
        assert!(wire.rest().is_empty(), "{lines:?}: nothing follows");
    }
    assert_eq!((hub.seen_at("/x").len(), hub.seen().len()), (4, 4));
}

#[test]
fn an_upgrade_of_http_1_0_is_none() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.reply(PATH, SWITCHING);
    let lines = "Host: hub.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n";
    let mut wire = proxy.connect();
    wire.send(format!("GET {PATH} HTTP/1.0\r\n{lines}\r\n"));
    let text = latin1(&wire.rest());
    assert!(text.starts_with("HTTP/1.") && !text.contains(" 101 "), "{text}");
    assert_eq!(proxy.metric("hublatch_tunnels"), 0);
}

#[test]
fn a_hub_that_does_not_answer_an_upgrade_is_a_gateway_timeout() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "upstream_head_timeout = \"100ms\"").start();
    hub.on(PATH, |exchange| {
        exchange.wire.rest();
        Then::Close
    });
    assert_eq!(
        proxy.connect().ask(request("GET", CHANNELS, &["Connection: upgrade", "Upgrade: websocket"])).status,
        504
    );
    hub.wait_for_open(0);
}

#[test]
fn a_connection_on_which_the_hub_refused_an_upgrade_serves_nothing_else() {
    // configurable-http-proxy closes it a moment after its answer, and does not say so before.
    for body in ["", "no"] {
        let hub = FakeHub::start();
        let proxy = TestProxy::start(&hub);
        hub.on(PATH, move |exchange| {
            exchange.answer("403 Forbidden", body);
            exchange.wire.rest();
            Then::Close
        });
        let lines = ["Connection: upgrade", "Upgrade: websocket"];
        let answer = proxy.connect().ask(request("GET", CHANNELS, &lines));
        assert_eq!((answer.status, answer.text().as_str()), (403, body));
        assert_eq!(proxy.connect().ask(get("/x", &[])).status, 200);
        assert_eq!(hub.connections(), 2);
        hub.wait_for_open(1);
    }
}
