//! How a tunnel ends when nobody closes it: idle, with its session, with the process.

use std::time::Duration;

use super::{CHANNELS, PATH, SWITCHING, echo, tunnel};
use crate::support::message::latin1;
use crate::support::proxy::wait_until;
use crate::support::requests::websocket;
use crate::support::{Browser, FakeHub, Gate, PATIENCE, TestProxy, Then, Wire};

#[test]
fn a_tunnel_without_a_byte_is_closed_and_one_with_bytes_is_not() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "tunnel_idle_timeout = \"1s\"").start();
    hub.on(PATH, echo);
    let begun = std::time::Instant::now();
    let mut idle = tunnel(&proxy, &[]);
    let mut busy = tunnel(&proxy, &[]);
    // As long as the idle one stands, and then as long again.
    while begun.elapsed() < Duration::from_millis(2500) {
        busy.send("ping");
        assert_eq!(latin1(&busy.take(4)), "ping");
    }
    assert!(idle.is_ended());
    busy.send("pong");
    assert_eq!(latin1(&busy.take(4)), "pong");
    assert!(busy.is_ended(), "idle now, and closed too");
    hub.wait_for_open(0);
}

#[test]
fn tunnels_are_closed_in_a_drain() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on(PATH, echo);
    let mut wire = tunnel(&proxy, &[]);
    proxy.drain();
    proxy.join_within(PATIENCE);
    assert!(wire.is_ended());
    hub.wait_for_open(0);
}

/// A browser that is logged in as alice by a link.
fn alice(proxy: &TestProxy) -> Browser {
    let mut browser = proxy.browser();
    assert_eq!(browser.get(&proxy.link("alice").url).status, 302);
    browser
}

/// Logs bob in with the browser of somebody else, by the button.
fn switch_to_bob(proxy: &TestProxy, browser: &mut Browser) {
    let page = browser.get(&proxy.link("bob").url);
    assert_eq!((page.status, browser.press(&page).status), (200, 302));
}

#[test]
fn the_tunnels_of_a_session_end_when_another_user_takes_the_browser() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on(PATH, echo);
    let mut browser = alice(&proxy);
    let cookie = format!("Cookie: {}", browser.cookies_for("/hub/"));
    let mut wires = [tunnel(&proxy, &[&cookie]), tunnel(&proxy, &["A: 1", &cookie])];
    // Of another browser, of alice too: that session goes on.
    let other = alice(&proxy);
    let mut kept = tunnel(&proxy, &[&format!("Cookie: {}", other.cookies_for("/hub/"))]);
    switch_to_bob(&proxy, &mut browser);
    for wire in &mut wires {
        assert!(wire.is_ended());
    }
    kept.send("ping");
    assert_eq!(latin1(&kept.take(4)), "ping");
    wait_until("the tunnels' end", || proxy.metric("hublatch_tunnels") == 1);
    // Bob's own tunnel is not closed by alice's end.
    let cookie = format!("Cookie: {}", browser.cookies_for("/hub/"));
    let mut of_bob = tunnel(&proxy, &[&cookie]);
    of_bob.send("ping");
    assert_eq!(latin1(&of_bob.take(4)), "ping");
}

#[test]
fn a_second_link_for_the_same_user_leaves_her_tunnels_open() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on(PATH, echo);
    let mut browser = alice(&proxy);
    let mut wire = tunnel(&proxy, &[&format!("Cookie: {}", browser.cookies_for("/hub/"))]);
    assert_eq!(browser.get(&proxy.link("alice").url).status, 302);
    wire.send("ping");
    assert_eq!(latin1(&wire.take(4)), "ping");
}

#[test]
fn a_handshake_under_way_ends_with_its_session() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let gate = Gate::new();
    let waiting = gate.clone();
    hub.on(PATH, move |exchange| {
        waiting.pass();
        exchange.send(SWITCHING);
        exchange.send("of alice");
        exchange.wire.rest();
        Then::Close
    });
    let mut browser = alice(&proxy);
    let cookie = format!("Cookie: {}", browser.cookies_for("/hub/"));
    // Many, because which of two things is seen first could be chance.
    let mut wires: Vec<Wire> = (0..16).map(|_| proxy.connect()).collect();
    for wire in &mut wires {
        wire.send(websocket(CHANNELS, &[&cookie]));
    }
    hub.wait_for(|seen| seen.iter().filter(|seen| seen.path() == PATH).count() == wires.len());
    switch_to_bob(&proxy, &mut browser);
    gate.open();
    for wire in &mut wires {
        // Whether or not the 101 still comes, nothing is ever tunnelled.
        let text = latin1(&wire.rest());
        assert!(!text.contains("of alice"), "{text}");
    }
    wait_until("the tunnels' end", || proxy.metric("hublatch_tunnels") == 0);
}
