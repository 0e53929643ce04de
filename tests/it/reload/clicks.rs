//! A click that waits while a reload changes by what it is judged, or by what its login is proved: the browser keeps its
//! place and asks again, and is judged by the configuration of then. Nothing is consumed meanwhile.

use serde_json::json;

use crate::redeem::{logins, nobody};
use crate::support::proxy::{Builder, standing_clock};
use crate::support::{Answer, Browser, FakeHub, Gate, Issued, TestProxy};

const PORTAL: &str = "https://portal.example";
const LMS: &str = "https://lms.example";

fn is_in_line(answer: &Answer) -> bool {
    answer.status == 200 && answer.text().contains("You are number")
}

fn asks(answer: &Answer) -> bool {
    answer.status == 200 && answer.text().contains("Continue as")
}

/// What `click` gets when the hub is asked who the browser is, and `change` comes into force before it answers.
fn reloaded_meanwhile(
    hub: &FakeHub,
    proxy: &TestProxy,
    change: &Builder,
    click: impl FnOnce() -> Answer + Send,
) -> Answer {
    let gate = Gate::new();
    let waits = gate.clone();
    hub.on("/hub/api/user", move |exchange| {
        waits.pass();
        nobody(exchange)
    });
    // An earlier page may have asked as well.
    hub.forget();
    std::thread::scope(|scope| {
        let clicking = scope.spawn(click);
        hub.wait_for_path("/hub/api/user");
        proxy.reload(change).expect("a configuration");
        gate.open();
        clicking.join().expect("an answer")
    })
}

fn from_the_portal(browser: &mut Browser, link: &Issued) -> Answer {
    let sending = browser.navigate(&link.target()).header("Sec-Fetch-Site", "cross-site");
    sending.header("Referer", &format!("{PORTAL}/")).send()
}

/// What a page of ours asks for by itself.
fn again(browser: &mut Browser, link: &Issued, dest: &str) -> Answer {
    let own = format!("{}/hub/login", browser.origin());
    let sending = browser.navigate(&link.target()).header("Sec-Fetch-Site", "same-origin");
    sending.header("Sec-Fetch-Dest", dest).header("Referer", &own).send()
}

#[test]
fn a_rule_of_the_confirm_page_that_comes_into_force_meanwhile_asks_the_person() {
    for change in [
        (|builder: Builder| builder.set("login", "confirm = \"always\"")) as fn(Builder) -> Builder,
        |builder| builder.portal("origins = [\"https://lms.example\"]"),
        |builder| builder.portal("scanner_safe = true"),
    ] {
        let hub = FakeHub::start();
        let builder = TestProxy::before(&hub);
        let proxy = builder.clone().start();
        let link = proxy.link("alice");
        let mut browser = proxy.browser();
        let change = change(builder);
        let answer = reloaded_meanwhile(&hub, &proxy, &change, || from_the_portal(&mut browser, &link));
        assert!(is_in_line(&answer), "{}", answer.text());
        let page = again(&mut browser, &link, "document");
        assert!(asks(&page), "{}", page.text());
        assert_eq!(proxy.links().status(&link.id), "pending");
        assert!(logins(&hub).is_empty());
        assert_eq!(browser.press(&page).status, 302);
        assert_eq!((proxy.links().status(&link.id).as_str(), logins(&hub).len()), ("used", 1));
    }
}

#[test]
fn a_link_is_kept_for_the_browser_that_asks_again() {
    let (hub, clock) = (FakeHub::start(), standing_clock());
    let builder = TestProxy::before(&hub).clock(&clock);
    let proxy = builder.clone().start();
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    let change = builder.set("login", "confirm = \"always\"");
    let answer = reloaded_meanwhile(&hub, &proxy, &change, || from_the_portal(&mut browser, &link));
    assert!(is_in_line(&answer), "{}", answer.text());
    clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(proxy.browser().get(&link.target()).status, 403, "for whoever clicks only now it is over");
    let page = again(&mut browser, &link, "document");
    assert!(asks(&page), "{}", page.text());
    assert_eq!(browser.press(&page).status, 302);
}

#[test]
fn a_login_is_proved_by_the_key_in_force() {
    let hub = FakeHub::start();
    let builder = TestProxy::before(&hub);
    let proxy = builder.clone().start();
    // From here on the hub demands this one.
    let rotated = builder.clone().set("assertion", &TestProxy::before(&hub).section("assertion"));
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    let answer = reloaded_meanwhile(&hub, &proxy, &rotated, || browser.get(&link.target()));
    assert!(is_in_line(&answer), "{}", answer.text());
    assert_eq!(browser.get(&link.target()).status, 302);
    hub.accounts(|accounts| assert!(accounts.refused.is_empty(), "{:?}", accounts.refused));
    assert_eq!(logins(&hub).len(), 1);
}

#[test]
fn the_button_of_the_confirm_page_keeps_its_answer() {
    let hub = FakeHub::start();
    let builder = TestProxy::before(&hub);
    let proxy = builder.clone().start();
    let link = proxy.links().issue(&json!({ "username": "alice", "confirm": true }));
    let mut browser = proxy.browser();
    let page = browser.get(&link.target());
    let change = builder.set("login", "confirm = \"always\"");
    let answer = reloaded_meanwhile(&hub, &proxy, &change, || browser.press(&page));
    assert_eq!(answer.status, 303, "{}", answer.text());
    let target = answer.location().to_owned();
    assert!(!target.contains(&link.token));
    assert_eq!(browser.get(&target).status, 302, "asked once is enough");
}

fn embedding(hub: &FakeHub, ancestors: &str) -> Builder {
    let section = format!("frame_ancestors = [{ancestors:?}]\ncookies = \"none\"");
    TestProxy::before(hub).public_url("https://hub.test").set("embed", &section)
}

#[test]
fn a_page_that_may_have_no_frame_any_more_is_none_that_has_asked_for_it() {
    let hub = FakeHub::start();
    let builder = embedding(&hub, LMS);
    let proxy = builder.clone().start();
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    // A listed page has asked for it, and our own page in it has tried cookies and leads on.
    let section = format!("frame_ancestors = [{PORTAL:?}]\ncookies = \"none\"");
    let change = builder.section_is("embed", &section);
    let answer = reloaded_meanwhile(&hub, &proxy, &change, || again(&mut browser, &link, "iframe"));
    assert!(is_in_line(&answer), "{}", answer.text());
    // The page asks again more than once: it does not forget where it came from.
    let page = again(&mut browser, &link, "iframe");
    assert!(asks(&page), "{}", page.text());
    let page = again(&mut browser, &link, "iframe");
    assert!(asks(&page), "{}", page.text());
    assert!(logins(&hub).is_empty());
}
