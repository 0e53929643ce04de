//! Upgrades: a tunnel only after the hub agreed to what was asked, transparent then, and always with an end.

mod ends;
mod refused;

use crate::support::message::latin1;
use crate::support::proxy::wait_until;
use crate::support::requests::{chunked, holds, request, sized, websocket};
use crate::support::{Exchange, FakeHub, Gate, TestProxy, Then, Wire};

const CHANNELS: &str = "/user/alice/api/kernels/1/channels?session_id=0a";
const PATH: &str = "/user/alice/api/kernels/1/channels";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: v1\r\n\r\n";

/// Sends back what comes, until the end.
pub fn echo(exchange: &mut Exchange<'_>) -> Then {
    exchange.send(SWITCHING);
    exchange.wire.stop_recording();
    while exchange.wire.fill() {
        let bytes = exchange.wire.pending();
        exchange.send(bytes);
    }
    Then::Close
}

/// An open tunnel to [`PATH`].
fn tunnel(proxy: &TestProxy, lines: &[&str]) -> Wire {
    let mut wire = proxy.connect();
    wire.send(websocket(CHANNELS, lines));
    let head = wire.head().expect("a head");
    assert_eq!(head.line, "HTTP/1.1 101 Switching Protocols", "{head:?}");
    wire
}

#[test]
fn a_websocket_is_tunnelled_with_its_handshake_intact() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on(PATH, echo);
    let lines = [
        "Origin: http://hub.test",
        "Cookie: jupyterhub-user-alice=\"2|1\"",
        "Sec-WebSocket-Protocol: v1.kernel.websocket.jupyter.org",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        "Sec-Fetch-Mode: websocket",
    ];
    let mut wire = proxy.connect();
    wire.send(websocket(CHANNELS, &lines));
    let head = wire.head().expect("a head");
    assert_eq!(head.line, "HTTP/1.1 101 Switching Protocols");
    for (name, value) in [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("sec-websocket-protocol", "v1"),
    ] {
        assert!(
            head.headers.get(name).is_some_and(|have| have.eq_ignore_ascii_case(value)),
            "{name}: {head:?}"
        );
    }
    let seen = hub.only(PATH);
    assert_eq!(seen.target, CHANNELS);
    assert!(seen.headers.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")));
    assert_eq!(seen.headers.get("upgrade"), Some("websocket"));
    assert_eq!(seen.headers.get("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a header");
        assert_eq!(seen.headers.get(name), Some(value));
    }
    // Any bytes pass, also those that look like requests.
    for bytes in
        [&b"\x81\x85\x00\x00\x00\x00hello"[..], b"GET /hub/login HTTP/1.1\nREMOTE_USER: x\n\n", b"\0\r\n\r\n"]
    {
        wire.send(bytes);
        assert_eq!(wire.take(bytes.len()), bytes);
    }
    assert_eq!((hub.seen().len(), proxy.metric("hublatch_tunnels")), (1, 1));
    wire.close();
    wait_until("the tunnel's end", || proxy.metric("hublatch_tunnels") == 0);
}

#[test]
fn another_protocol_is_tunnelled_if_both_name_it() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on("/x", |exchange| {
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: upgrade\r\n\r\n");
        let bytes = exchange.wire.take(4);
        exchange.send(bytes);
        Then::Close
    });
    let mut wire = proxy.connect();
    wire.send(request("POST", "/x", &["Connection: keep-alive, Upgrade", "Upgrade: spdy/3.1"]));
    assert!(wire.head().expect("a head").line.starts_with("HTTP/1.1 101 "));
    wire.send("ping");
    assert_eq!(latin1(&wire.rest()), "ping");
}

#[test]
fn nothing_passes_before_the_101_and_nothing_early_is_lost() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let gate = Gate::new();
    let waiting = gate.clone();
    hub.on(PATH, move |exchange| {
        // Whatever the browser has sent behind its request is not here yet.
        waiting.pass();
        // The hub's first message comes in one write with its 101.
        exchange.send([SWITCHING.as_bytes(), b"first of the hub;"].concat());
        let early = exchange.wire.take(21);
        exchange.send(early);
        exchange.wire.rest();
        Then::Close
    });
    let mut wire = proxy.connect();
    wire.send([websocket(CHANNELS, &[]), b"first of the browser;".to_vec()].concat());
    hub.wait_for_path(PATH);
    // A second connection's answer comes after all that the first may have caused.
    assert_eq!(proxy.connect().ask(request("GET", "/x", &[])).status, 200);
    let received = hub.received().concat();
    assert!(!holds(&received, "first of the browser"), "{}", latin1(&received));
    gate.open();
    assert!(wire.head().expect("a head").line.starts_with("HTTP/1.1 101 "));
    assert_eq!(latin1(&wire.take(38)), "first of the hub;first of the browser;");
}

#[test]
fn a_request_for_an_upgrade_has_no_body() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for upgrade in [&["Connection: upgrade", "Upgrade: websocket"][..], &["Upgrade: h2c"]] {
        for body in [sized("POST", "/x", upgrade, "body"), chunked("POST", "/x", upgrade, &[b"body"], &[])] {
            let mut wire = proxy.connect();
            wire.send(body);
            let answer = wire.answer_to("POST").expect("an answer");
            assert_eq!(answer.status, 400, "{upgrade:?}: {}", answer.text());
        }
        // An empty body is none.
        assert_eq!(proxy.connect().ask(sized("POST", "/empty", upgrade, "")).status, 200);
    }
    assert_eq!(hub.seen_at("/x").len(), 0);
}

#[test]
fn three_megabytes_pass_both_ways_at_once() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on(PATH, echo);
    let mut wire = tunnel(&proxy, &[]);
    let bytes: Vec<u8> =
        (0..3_000_000_u32).flat_map(|number| (number % 251).to_le_bytes().into_iter().take(1)).collect();
    let (mut writer, sent) = (wire.writer(), bytes.clone());
    let sending = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &sent).expect("send"));
    let echoed = wire.take(bytes.len());
    sending.join().expect("sent");
    assert!(echoed == bytes, "{} bytes came back", echoed.len());
}

#[test]
fn either_side_may_end_first_and_still_hear_the_other() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on(PATH, |exchange| {
        exchange.send(SWITCHING);
        // The browser ends, the hub still speaks.
        let all = exchange.wire.rest();
        exchange.send([b"heard: ", all.as_slice()].concat());
        Then::Close
    });
    let mut wire = tunnel(&proxy, &[]);
    wire.send("last words");
    wire.end();
    assert_eq!(latin1(&wire.rest()), "heard: last words");

    let heard = Gate::new();
    let hearing = heard.clone();
    hub.on(PATH, move |exchange| {
        exchange.send(SWITCHING);
        exchange.send("the hub is done");
        exchange.wire.end();
        assert_eq!(latin1(&exchange.wire.rest()), "the browser is not");
        hearing.open();
        Then::Close
    });
    let mut wire = tunnel(&proxy, &[]);
    assert_eq!(latin1(&wire.rest()), "the hub is done");
    wire.send("the browser is not");
    wire.end();
    heard.pass();
    wait_until("the tunnel's end", || proxy.metric("hublatch_tunnels") == 0);
}

#[test]
fn a_peer_that_dies_takes_its_tunnel_with_it() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on(PATH, echo);
    let wire = tunnel(&proxy, &[]);
    hub.wait_for_open(1);
    wire.reset();
    hub.wait_for_open(0);
    let mut wire = tunnel(&proxy, &[]);
    hub.drop_connections();
    assert!(wire.is_ended());
    wire.close();
    wait_until("the tunnels' end", || proxy.metric("hublatch_tunnels") == 0);
}

#[test]
fn many_tunnels_stand_side_by_side() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on(PATH, echo);
    let mut wires: Vec<Wire> = (0..40).map(|_| tunnel(&proxy, &[])).collect();
    assert_eq!(proxy.metric("hublatch_tunnels"), 40);
    for (number, wire) in wires.iter_mut().enumerate() {
        wire.send(format!("message {number:03}"));
    }
    for (number, wire) in wires.iter_mut().enumerate() {
        assert_eq!(latin1(&wire.take(11)), format!("message {number:03}"));
    }
    drop(wires);
    hub.wait_for_open(0);
    wait_until("the tunnels' end", || proxy.metric("hublatch_tunnels") == 0);
}
