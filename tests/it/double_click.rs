//! A link that is clicked twice: the browser gives its first request up, and the second one must not find a used link.

use crate::support::proxy::wait_until;
use crate::support::{FakeHub, Gate, TestProxy, Then, Wire};

/// A hub that answers a login only when the gate is open.
fn slow_hub() -> (FakeHub, Gate) {
    let (hub, gate) = (FakeHub::start(), Gate::new());
    let waits = gate.clone();
    hub.on("/hub/login", move |exchange| {
        waits.pass();
        exchange.read_body();
        exchange.send("HTTP/1.1 302 Found\r\nLocation: /hub/home\r\nSet-Cookie: jupyterhub-hub-login=alice; Path=/hub/\r\nContent-Length: 0\r\n\r\n");
        Then::Next
    });
    (hub, gate)
}

/// Closes the first of two connections, and waits until the proxy has noticed.
fn give_up(proxy: &TestProxy, first: Wire) {
    wait_until("both are connected", || proxy.metric("hublatch_connections") == 2);
    first.close();
    wait_until("the first is given up", || proxy.metric("hublatch_connections") == 1);
}

#[test]
fn the_second_click_gets_the_login_that_the_first_one_did_not_wait_for() {
    let (hub, gate) = slow_hub();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    let first = browser.navigate(&link.target()).begin();
    hub.wait_for_path("/hub/login");
    let mut second = browser.navigate(&link.target()).begin();
    give_up(&proxy, first);
    gate.open();
    let answer = second.answer_to("GET").expect("an answer");
    assert_eq!((answer.status, answer.location()), (302, "/hub/home"));
    assert_eq!(answer.headers.get("set-cookie"), Some("jupyterhub-hub-login=alice; Path=/hub/"));
    assert_eq!(hub.seen_at("/hub/login").len(), 1, "one login");
    assert_eq!(proxy.audit().iter().filter(|line| line["event"] == "redeemed").count(), 1);
}

#[test]
fn the_answer_is_not_given_to_another_browser() {
    for (name, value) in [("User-Agent", "another"), ("Cookie", "jupyterhub-hub-login=bob")] {
        let (hub, gate) = slow_hub();
        let proxy = TestProxy::start(&hub);
        let link = proxy.link("alice");
        let mut browser = proxy.browser();
        let first = browser.navigate(&link.target()).begin();
        hub.wait_for_path("/hub/login");
        let mut other = browser.navigate(&link.target()).header(name, value).begin();
        give_up(&proxy, first);
        gate.open();
        let answer = other.answer_to("GET").expect("an answer");
        assert_eq!(answer.status, 403, "{name}");
        assert_eq!(answer.headers.get("set-cookie"), None, "{name}");
        assert_eq!(hub.seen_at("/hub/login").len(), 1, "one login");
    }
}

#[test]
fn an_answer_that_was_taken_is_not_given_twice() {
    let (hub, gate) = slow_hub();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    let mut first = browser.navigate(&link.target()).begin();
    hub.wait_for_path("/hub/login");
    let mut second = browser.navigate(&link.target()).begin();
    wait_until("both are connected", || proxy.metric("hublatch_connections") == 2);
    gate.open();
    let answers =
        [first.answer_to("GET"), second.answer_to("GET")].map(|answer| answer.expect("an answer").status);
    assert_eq!(answers, [302, 403]);
    assert_eq!(hub.seen_at("/hub/login").len(), 1, "one login");
}
