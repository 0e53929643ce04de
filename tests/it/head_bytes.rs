//! A login whose head would be larger than the hub takes (T-HEAD) is refused before its link is used up.

use serde_json::json;

use crate::redeem::assert_still_good;
use crate::support::{Answer, FakeHub, Issued, TestProxy};

const MAX: usize = 4 * 1024;

fn proxy(hub: &FakeHub) -> TestProxy {
    TestProxy::before(hub).set("hub", "head_bytes = \"4KiB\"").start()
}

/// A click in a browser with one cookie of this length.
fn click(proxy: &TestProxy, link: &Issued, cookie: usize) -> Answer {
    let mut browser = proxy.browser();
    browser.set_cookie("large", &"c".repeat(cookie), "/");
    browser.get(&link.target())
}

#[track_caller]
fn assert_too_large(hub: &FakeHub, answer: &Answer) {
    assert_eq!(answer.status, 431, "{}", answer.text());
    assert!(answer.text().contains("too_many_cookies"), "{}", answer.text());
    assert!(hub.seen_at("/hub/login").is_empty(), "{:?}", hub.seen());
}

#[test]
fn a_login_is_as_large_as_the_hub_takes_and_not_by_one_byte_larger() {
    let hub = FakeHub::start();
    let proxy = proxy(&hub);
    assert_eq!(click(&proxy, &proxy.link("alice"), 1).status, 302);
    let small = hub.only("/hub/login").head.len();
    let room = MAX - small + 1;
    hub.forget();
    let link = proxy.link("alice");
    assert_too_large(&hub, &click(&proxy, &link, room + 1));
    assert_eq!(click(&proxy, &link, room).status, 302);
    assert_eq!(hub.only("/hub/login").head.len(), MAX);
}

#[test]
fn what_the_hub_is_told_of_the_user_counts_as_well() {
    let hub = FakeHub::start();
    let proxy = proxy(&hub);
    let groups: Vec<String> = (0..60).map(|number| format!("a-course-of-the-winter-{number:04}")).collect();
    let order = json!({ "username": "alice", "groups": groups, "next": "/hub/home" });
    let (large, small) = (proxy.links().issue(&order), proxy.link("alice"));
    assert_too_large(&hub, &click(&proxy, &large, 1500));
    assert_eq!(proxy.links().status(&large.id), "pending");
    assert_eq!(click(&proxy, &small, 1500).status, 302, "a user of whom less is said has room for it");
    hub.forget();
    assert_eq!(click(&proxy, &large, 1).status, 302);
    assert!(hub.only("/hub/login").head.len() <= MAX);
}

#[test]
fn a_session_of_our_own_length_counts_too() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub)
        .set("hub", "head_bytes = \"4KiB\"")
        .set("login", "max_session = \"1h\"")
        .start();
    assert_eq!(click(&proxy, &proxy.link("alice"), 1).status, 302);
    let room = MAX - hub.only("/hub/login").head.len() + 1;
    hub.forget();
    let link = proxy.link("alice");
    // The cookies of the session may need a line of their own; a few bytes are left for that.
    assert_too_large(&hub, &click(&proxy, &link, room + 1));
    assert_eq!(click(&proxy, &link, room - 16).status, 302);
    assert!(hub.only("/hub/login").head.len() <= MAX);
}

#[test]
fn a_program_is_told_in_json_and_the_link_is_as_good_as_before() {
    let hub = FakeHub::start();
    let proxy = proxy(&hub);
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    browser.set_cookie("large", &"c".repeat(MAX), "/");
    let answer = browser.request("GET", &link.target()).header("Accept", "application/json").send();
    assert_eq!((answer.status, answer.json()["code"].as_str()), (431, Some("too_many_cookies")));
    assert_still_good(&proxy, &hub, &link, "too many cookies");
}
