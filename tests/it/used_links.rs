//! Links that log nobody in: used, expired, revoked, not allowed any more; and the way on for whom they have served.

pub mod rules;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use hublatch::audit::Audit;
use hublatch::clock::{Clock as _, ManualClock};
use hublatch::config;
use hublatch::login::issue_request::{IssueRequest, LinkDestination};
use hublatch::login::{LoginDependencies, LoginServices, Refusal, RefusalReason};
use hublatch::metrics::Metrics;
use hublatch::store::{MemoryStore, TokenStore};
use hublatch::token::OpaqueToken;
use serde_json::json;

use crate::redeem::{click, logins};
use crate::support::proxy::standing_clock;
use crate::support::{Answer, Browser, FakeHub, Gate, Issued, TestProxy, Wire};

/// Asserts that `answer` refuses, says why, and logs nobody in.
fn assert_refused(answer: &Answer, code: &str) {
    assert_eq!(answer.status, 403, "{code}: {}", answer.text());
    assert!(answer.text().contains(&format!("Error 403, {code}")), "{code}: {}", answer.text());
    assert_eq!(answer.headers.all("cache-control"), ["no-store"], "{code}");
    assert_eq!(answer.headers.all("referrer-policy"), ["no-referrer"], "{code}");
    assert!(!answer.headers.has("set-cookie") && !answer.headers.has("location"), "{code}: {answer:?}");
}

#[test]
fn refresh_and_back_lead_the_user_of_the_link_on_without_a_second_login() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for (order, query, location) in [
        (
            json!({ "username": "alice", "next": "/user/alice/lab?a=1&b=ä b" }),
            "",
            "/user/alice/lab?a=1&b=%C3%A4 b",
        ),
        (json!({ "username": "alice" }), "&next=%2Fhub%2Fhome%3Fx", "/hub/home?x"),
        (json!({ "username": "alice" }), "", "/hub/"),
    ] {
        let link = proxy.links().issue(&order);
        let target = format!("{}{query}", link.target());
        let mut browser = proxy.browser();
        assert_eq!(browser.get(&target).status, 302);
        hub.forget();
        for _ in 0..3 {
            let again = browser.get(&target);
            assert_eq!((again.status, again.location()), (303, location));
            assert_eq!(again.headers.all("cache-control"), ["no-store"]);
            assert!(!again.headers.has("set-cookie"));
        }
        assert!(logins(&hub).is_empty());
        assert_eq!(hub.seen_at("/hub/api/user").len(), 3, "the hub says who the browser is");
    }
}

#[test]
fn under_a_base_url_the_way_on_is_below_it() {
    let hub = FakeHub::start();
    hub.accounts(|accounts| accounts.base_url = "/jupyter/".to_owned());
    let proxy = TestProxy::before(&hub).base_url("/jupyter/").start();
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    browser.get(&link.target());
    assert_eq!(browser.get(&link.target()).location(), "/jupyter/hub/");
}

#[test]
fn a_used_link_leads_nobody_else_on() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    assert_eq!(click(&proxy, &link).status, 302);
    let mut bob = proxy.browser();
    bob.set_cookie("jupyterhub-hub-login", "bob", "/hub/");
    assert_refused(&bob.get(&link.target()), "link_used");
    assert_refused(&click(&proxy, &link), "link_used");
    let mut alicex = proxy.browser();
    alicex.set_cookie("jupyterhub-hub-login", "alicex", "/hub/");
    assert_refused(&alicex.get(&link.target()), "link_used");
    assert_eq!((logins(&hub).len(), hub.seen_at("/hub/logout").len()), (1, 0));
}

#[test]
fn the_way_on_obeys_the_rules_of_next_like_a_login() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).portal("next = [\"/user\"]").start();
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    assert_eq!(browser.get(&format!("{}&next=/user/alice/lab", link.target())).status, 302);
    for next in ["/hub/admin", "//evil.example", "/%09/evil.example", "%FF", "/userx", "lab"] {
        let answer = browser.get(&format!("{}&next={next}", link.target()));
        assert_eq!(answer.status, 400, "{next}");
        assert!(!answer.headers.has("location"), "{next}");
    }
    assert_eq!(browser.get(&format!("{}&next=/user/x", link.target())).location(), "/user/x");
}

#[test]
fn after_the_grace_a_used_link_is_refused_to_its_user_too() {
    let hub = FakeHub::start();
    let clock = standing_clock();
    let proxy = TestProxy::before(&hub).clock(&clock).set("login", "replay_grace = \"30s\"").start();
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    assert_eq!(browser.get(&link.target()).status, 302);
    clock.advance(Duration::from_secs(30));
    assert_eq!(browser.get(&link.target()).status, 303);
    clock.advance(Duration::from_millis(1));
    hub.forget();
    assert_refused(&browser.get(&link.target()), "link_used");
    assert!(hub.seen().is_empty(), "nobody needs to be asked");
}

#[test]
fn a_hub_that_does_not_say_who_a_used_link_is_for_leads_nobody_on() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    assert_eq!(browser.get(&link.target()).status, 302);
    hub.on("/hub/api/user", |exchange| exchange.answer("500 Oops", "alice"));
    assert_refused(&browser.get(&link.target()), "link_used");
}

/// A browser's request for the link, not answered yet.
fn begin(browser: &mut Browser, link: &Issued) -> Wire {
    browser.navigate(&link.target()).begin()
}

#[test]
fn a_double_click_waits_for_the_first_and_is_judged_as_a_used_link() {
    let hub = FakeHub::start();
    let gate = Gate::new();
    let until = gate.clone();
    hub.on("/hub/login", move |exchange| {
        until.pass();
        exchange.answer("302 Found\r\nLocation: /hub/home", "")
    });
    let proxy = TestProxy::start(&hub);
    let link = proxy.links().issue(&json!({ "username": "alice", "next": "/hub/home" }));
    // She is logged in already, so both clicks carry the cookies of the right user.
    let mut alice = proxy.browser();
    alice.set_cookie("jupyterhub-hub-login", "alice", "/hub/");
    let mut first = begin(&mut alice, &link);
    hub.wait_for_path("/hub/login");
    let mut second = begin(&mut alice, &link);
    let mut stranger = begin(&mut proxy.browser(), &link);
    // Neither is answered while the first is under way: they ask the hub nothing.
    proxy.browser().get("/hub/static/x");
    assert_eq!(hub.seen_at("/hub/api/user").len(), 1);
    gate.open();
    assert_eq!(first.answer_to("GET").unwrap().status, 302);
    let second = second.answer_to("GET").unwrap();
    assert_eq!((second.status, second.location()), (303, "/hub/home"));
    assert_refused(&stranger.answer_to("GET").unwrap(), "link_used");
    assert_eq!(logins(&hub).len(), 1);
}

#[test]
fn an_expired_link_is_refused_by_whichever_clock_says_so_first() {
    let hub = FakeHub::start();
    for (what, live) in [
        ("29.999 s later", true),
        ("30 s later", false),
        ("the wall clock stepped forward", false),
        ("the wall clock stepped back by 2 s", true),
        ("the wall clock stepped back by more", false),
        ("the wall clock stepped back while the time ran out", false),
    ] {
        let clock = standing_clock();
        let begin = clock.now().wall;
        let back = |millis: i64| begin - jiff::SignedDuration::from_millis(millis);
        let proxy = TestProxy::before(&hub).clock(&clock).start();
        let link = proxy.link("alice");
        match what {
            "29.999 s later" => clock.advance(Duration::from_millis(29_999)),
            "30 s later" => clock.advance(Duration::from_secs(30)),
            "the wall clock stepped forward" => clock.step(back(-30_000)),
            "the wall clock stepped back by 2 s" => clock.step(back(2_000)),
            "the wall clock stepped back by more" => clock.step(back(2_001)),
            _ => {
                clock.advance(Duration::from_secs(30));
                clock.step(back(0));
            }
        }
        hub.forget();
        let answer = click(&proxy, &link);
        if live {
            assert_eq!(answer.status, 302, "{what}");
        } else {
            assert_refused(&answer, "link_expired");
            assert!(hub.seen().is_empty(), "{what}: {:?}", hub.seen());
            assert_eq!(proxy.links().status(&link.id), "expired", "{what}");
        }
    }
}

#[test]
fn a_link_that_expires_while_the_hub_is_asked_logs_nobody_in() {
    let hub = FakeHub::start();
    let clock = standing_clock();
    let moved = Arc::clone(&clock);
    hub.on("/hub/api/user", move |exchange| {
        moved.advance(Duration::from_secs(30));
        crate::redeem::nobody(exchange)
    });
    let proxy = TestProxy::before(&hub).clock(&clock).start();
    assert_refused(&click(&proxy, &proxy.link("alice")), "link_expired");
    assert!(logins(&hub).is_empty());
}

#[test]
fn a_revoked_link_is_refused_at_once() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let (link, other) = (proxy.link("alice"), proxy.link("alice"));
    proxy.links().call("DELETE", &format!("/api/v1/links/{}", link.id), &[], "");
    assert_refused(&click(&proxy, &link), "link_revoked");
    proxy.links().call("DELETE", "/api/v1/users/alice/links", &[], "");
    assert_refused(&click(&proxy, &other), "link_revoked");
    assert!(hub.seen().is_empty(), "{:?}", hub.seen());
}

#[test]
fn a_link_that_is_revoked_while_the_hub_is_asked_logs_nobody_in() {
    let hub = FakeHub::start();
    let gate = Gate::new();
    let until = gate.clone();
    hub.on("/hub/api/user", move |exchange| {
        until.pass();
        crate::redeem::nobody(exchange)
    });
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    let mut wire = begin(&mut proxy.browser(), &link);
    hub.wait_for_path("/hub/api/user");
    proxy.links().call("DELETE", &format!("/api/v1/links/{}", link.id), &[], "");
    gate.open();
    assert_refused(&wire.answer_to("GET").unwrap(), "link_revoked");
    assert!(logins(&hub).is_empty());
}

#[test]
fn the_token_of_a_repeated_order_replaces_the_first() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let issue = || {
        let order = json!({ "username": "alice" }).to_string();
        let answer = proxy.links().call("POST", "/api/v1/links", &[("Idempotency-Key", "k1")], order);
        answer.json()["login_token"].as_str().unwrap().to_owned()
    };
    let (first, second) = (issue(), issue());
    let answer = proxy.browser().get(&format!("/hub/login?login_token={first}"));
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(proxy.browser().get(&format!("/hub/login?login_token={second}")).status, 302);
    assert_eq!(logins(&hub).len(), 1);
}

#[test]
fn a_token_that_was_exchanged_at_the_api_logs_nobody_in_and_the_other_way_round() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let exchange = |link: &Issued| {
        let body = json!({ "token": link.token }).to_string();
        proxy.links().call("POST", "/login", &[], body)
    };
    let (exchanged, clicked) = (proxy.link("alice"), proxy.link("alice"));
    assert_eq!(exchange(&exchanged).json(), json!({ "name": "alice" }));
    assert_refused(&click(&proxy, &exchanged), "link_used");
    assert_eq!(click(&proxy, &clicked).status, 302);
    assert_eq!(exchange(&clicked).status, 404);
    assert_eq!(logins(&hub).len(), 1);
}

#[test]
fn a_program_is_told_in_json_why_a_link_is_refused() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    click(&proxy, &link);
    let unknown = format!("/hub/login?login_token=hl_{}", "A".repeat(43));
    for (target, code) in [(link.target(), "link_used"), (unknown, "link_unknown")] {
        let answer = proxy.browser().request("GET", &target).header("Accept", "application/json").send();
        let json = answer.json();
        assert_eq!((answer.status, &json["status"], &json["code"]), (403, &json!(403), &json!(code)));
        assert!(json["message"].as_str().is_some_and(|message| !message.contains("hl_")), "{json}");
        assert_eq!(answer.headers.get("content-type"), Some("application/json"));
    }
}

#[test]
fn a_page_leads_back_to_the_app_if_there_is_one() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("login", "app_url = \"https://portal.example/go?a=1&b\"").start();
    let page = proxy.browser().get("/hub/login?login_token=x").text();
    assert!(page.contains("href=\"https:&#x2f;&#x2f;portal.example&#x2f;go?a=1&amp;b\""), "{page}");
    let without = TestProxy::start(&hub);
    assert!(!without.browser().get("/hub/login?login_token=x").text().contains("Back to the app"));
}
