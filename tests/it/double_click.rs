//! A link that is clicked twice: the browser gives its first request up, and the second one must not find a used link.

use std::time::Duration;

use crate::support::form::Form;
use crate::support::proxy::{standing_clock, wait_until};
use crate::support::{Answer, FakeHub, Gate, TestProxy, Then, Wire};

/// A hub that answers a login only when the gate is open.
fn slow_hub() -> (FakeHub, Gate) {
    const IN: &str = "HTTP/1.1 302 Found\r\nLocation: /hub/home\r\nSet-Cookie: jupyterhub-hub-login=alice; Path=/hub/\r\nContent-Length: 0\r\n\r\n";
    let hub = FakeHub::start();
    let gate = hub.reply_later("/hub/login", IN);
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
fn the_answer_to_a_click_is_not_given_to_a_frame_that_would_have_been_asked() {
    let (hub, gate) = slow_hub();
    let embed = "frame_ancestors = [\"https://lms.example\"]\ncookies = \"lax\"";
    let proxy = TestProxy::before(&hub).public_url("https://hub.test").set("embed", embed).start();
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    let first = browser.navigate(&link.target()).header("Sec-Fetch-Site", "cross-site").begin();
    hub.wait_for_path("/hub/login");
    let frame = browser.navigate(&link.target()).header("Sec-Fetch-Site", "cross-site");
    let mut frame = frame.header("Sec-Fetch-Dest", "iframe").begin();
    give_up(&proxy, first);
    gate.open();
    let answer = frame.answer_to("GET").expect("an answer");
    let logs_in = answer.headers.all("set-cookie").iter().any(|line| line.contains("hub-login=alice"));
    assert!(answer.status == 403 && !logs_in, "{answer:?}");
    assert_eq!(hub.seen_at("/hub/login").len(), 1, "one login");
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

#[test]
fn the_second_of_two_tabs_asks_again_when_the_first_has_logged_in() {
    let (hub, gate) = slow_hub();
    let clock = standing_clock();
    let proxy = TestProxy::before(&hub).clock(&clock).start();
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    let mut first = browser.navigate(&link.target()).begin();
    hub.wait_for_path("/hub/login");
    // Sent before the first one's cookies came.
    let mut second = browser.navigate(&link.target()).begin();
    wait_until("both are connected", || proxy.metric("hublatch_connections") == 2);
    gate.open();
    assert_eq!(first.answer_to("GET").expect("an answer").status, 302);
    let second = second.answer_to("GET").expect("an answer");
    assert_eq!((second.status, second.headers.get("refresh")), (403, Some("2")));
    browser.set_cookie("jupyterhub-hub-login", "alice", "/hub/");
    let again = browser.get(&link.target());
    assert_eq!((again.status, again.location()), (303, "/hub/"));
    assert_eq!(hub.seen_at("/hub/login").len(), 1, "one login");

    let mut stranger = proxy.browser();
    let refresh = |answer: &Answer| answer.headers.get("refresh").map(str::to_owned);
    assert_eq!(refresh(&stranger.navigate(&link.target()).header("Accept", "application/json").send()), None);
    clock.advance(Duration::from_secs(10));
    assert_eq!(refresh(&stranger.get(&link.target())), Some("2".to_owned()));
    clock.advance(Duration::from_millis(1));
    let late = stranger.get(&link.target());
    assert_eq!((late.status, refresh(&late)), (403, None), "whoever comes late is not kept asking");
}

#[test]
fn a_page_asks_again_only_where_its_address_has_the_token() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    assert_eq!(proxy.browser().get(&link.target()).status, 302);
    let form = Form::of("/hub/login", &[("login_token", &link.token)]);
    let mut browser = proxy.browser();
    let pressed = browser.post(&form).send();
    assert_eq!((pressed.status, pressed.headers.get("refresh")), (403, None));
    let posted = browser.post(&form).header("Origin", "https://portal.example").without_cookies().send();
    assert_eq!(posted.status, 303);
    let handed_over = browser.get(posted.location());
    assert_eq!((handed_over.status, handed_over.headers.get("refresh")), (403, None));
}

#[test]
fn a_refusal_is_in_the_audit_although_the_browser_has_gone() {
    let (hub, gate) = (FakeHub::start(), Gate::new());
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    assert_eq!(proxy.browser().get(&link.target()).status, 302);
    hub.forget();
    let waits = gate.clone();
    hub.on("/hub/api/user", move |_| {
        waits.pass();
        Then::Close
    });
    let gone = proxy.browser().navigate(&link.target()).begin();
    hub.wait_for_path("/hub/api/user");
    gone.close();
    let refused = || proxy.audit().iter().filter(|line| line["event"] == "refused").count();
    wait_until("it is recorded", || refused() == 1);
    gate.open();
    assert_eq!(proxy.browser().get("/hub/static/x").status, 200);
    assert_eq!(refused(), 1);
}
