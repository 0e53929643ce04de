//! Event streams end with the session of their user, as tunnels do (SECURITY.md).

use crate::support::message::latin1;
use crate::support::requests::chunk;
use crate::support::{Browser, FakeHub, Gate, TestProxy, Then, Wire};

const EVENT: &str = "data: {\"progress\":1}\n\n";

/// A hub whose `/progress` says one thing, and a second one when `gate` opens if its reader is still there.
fn hub_with_streams(gate: &Gate) -> FakeHub {
    let (hub, gate) = (FakeHub::start(), gate.clone());
    hub.on("/progress", move |exchange| {
        exchange
            .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        exchange.send(chunk(EVENT));
        gate.pass();
        _ = exchange.wire.try_send(chunk(EVENT));
        Then::Close
    });
    hub
}

fn log_in_as(browser: &mut Browser, name: &str) {
    browser.set_cookie("jupyterhub-session-id", &format!("s-{name}"), "/");
    browser.set_cookie("jupyterhub-hub-login", &format!("\"2|1:0|{name}|44:=|sig\""), "/hub/");
}

/// The stream of this browser, after its first event.
fn stream(browser: &mut Browser) -> Wire {
    let mut wire = browser
        .request("GET", "/progress")
        .header("Accept", "text/event-stream")
        .header("Sec-Fetch-Mode", "cors")
        .header("Sec-Fetch-Dest", "empty")
        .begin();
    assert_eq!(wire.head().expect("a head").headers.get("content-type"), Some("text/event-stream"));
    assert_eq!(latin1(&wire.chunk().expect("an event")), EVENT);
    wire
}

#[test]
fn the_streams_of_a_session_end_with_it_and_no_others() {
    let gate = Gate::new();
    let hub = hub_with_streams(&gate);
    let proxy = TestProxy::start(&hub);
    let (mut bob, mut carol, mut nobody) = (proxy.browser(), proxy.browser(), proxy.browser());
    log_in_as(&mut bob, "bob");
    log_in_as(&mut carol, "carol");
    let (mut of_bob, mut of_carol, mut of_nobody) =
        (stream(&mut bob), stream(&mut carol), stream(&mut nobody));

    let page = bob.get(&proxy.link("alice").target());
    assert_eq!(bob.press(&page).status, 302);

    // Ended like any other, before the hub said anything more.
    assert_eq!(of_bob.chunk(), Some(Vec::new()));
    gate.open();
    for wire in [&mut of_carol, &mut of_nobody] {
        assert_eq!(latin1(&wire.chunk().expect("another event")), EVENT);
    }
}

#[test]
fn a_logout_ends_them_too() {
    let gate = Gate::new();
    let hub = hub_with_streams(&gate);
    let proxy = TestProxy::start(&hub);
    let mut bob = proxy.browser();
    log_in_as(&mut bob, "bob");
    let mut of_bob = stream(&mut bob);
    assert_eq!(bob.get("/hub/logout").status, 200);
    assert_eq!(of_bob.chunk(), Some(Vec::new()));
    gate.open();
}
