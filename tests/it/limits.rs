//! What one address may try and one app may pile up: 429, and when to come again; good links work on.

use std::time::Duration;

use serde_json::json;

use crate::redeem::{assert_still_good, logins};
use crate::support::proxy::standing_clock;
use crate::support::{Answer, FakeHub, TestProxy};

fn unknown(proxy: &TestProxy) -> Answer {
    proxy.browser().get(&format!("/hub/login?login_token=hl_{}", "A".repeat(43)))
}

#[test]
fn an_address_with_too_many_unknown_tokens_is_told_to_wait_and_its_good_links_work_on() {
    let (hub, clock) = (FakeHub::start(), standing_clock());
    let proxy = TestProxy::before(&hub).set("limits", "unknown_tokens_per_minute = 3").clock(&clock).start();
    for _ in 0..3 {
        assert_eq!(unknown(&proxy).status, 403);
    }
    clock.advance(Duration::from_millis(20_500));
    let answer = unknown(&proxy);
    assert_eq!((answer.status, answer.headers.get("retry-after")), (429, Some("40")), "{}", answer.text());
    assert!(answer.text().contains("Error 429, too_many_tries"));
    assert_still_good(&proxy, &hub, &proxy.link("alice"), "too many tries of somebody at the same address");
    let last = proxy.audit().into_iter().rfind(|line| line["event"] == "refused").expect("a refusal");
    assert_eq!(last["reason"], "too_many_tries");
    clock.advance(Duration::from_secs(40));
    assert_eq!(unknown(&proxy).status, 403, "the minute is over");
}

#[test]
fn links_that_are_known_do_not_count() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "unknown_tokens_per_minute = 1").start();
    let link = proxy.link("alice");
    assert_eq!(proxy.browser().get(&link.target()).status, 302);
    for _ in 0..5 {
        let used = proxy.browser().get(&link.target());
        assert_eq!(used.status, 403, "{}", used.text());
    }
    assert_eq!(unknown(&proxy).status, 403);
    assert_eq!(unknown(&proxy).status, 429);
}

#[test]
fn the_address_is_the_clients_and_not_the_proxys_before_us() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub)
        .set("limits", "unknown_tokens_per_minute = 1")
        .set("public", "trusted_proxies = [\"127.0.0.1\"]")
        .start();
    let from = |address: &str| {
        let target = format!("/hub/login?login_token=hl_{}", "A".repeat(43));
        proxy.browser().navigate(&target).header("X-Forwarded-For", address).send().status
    };
    assert_eq!((from("192.0.2.1"), from("192.0.2.1"), from("192.0.2.2")), (403, 429, 403));
}

#[test]
fn no_app_is_asked_to_exchange_for_an_address_that_has_had_its_tries() {
    let (hub, portal) = (FakeHub::start(), FakeHub::start());
    portal.on("/login", |exchange| exchange.answer("404 Not Found", "{}"));
    let proxy = TestProxy::before(&hub)
        .set("limits", "unknown_tokens_per_minute = 2")
        .portal(&format!("exchange_url = \"{}/login\"", portal.url()))
        .start();
    let statuses: Vec<u16> = (0..5)
        .map(|number| proxy.browser().get(&format!("/hub/login?login_token=guess-{number}")).status)
        .collect();
    assert_eq!((statuses, portal.seen_at("/login").len()), (vec![403, 403, 429, 429, 429], 3));
    assert_eq!(logins(&hub).len(), 0);
}

#[test]
fn what_one_app_has_refused_and_unknown_links_of_ours_do_not_keep_a_neighbour_from_another_app() {
    let (hub, portal) = (FakeHub::start(), FakeHub::start());
    portal.on("/login", |exchange| exchange.answer("404 Not Found", "{}"));
    portal.on("/other", |exchange| exchange.answer("200 OK", json!({ "name": "alice" }).to_string()));
    let url = portal.url();
    let proxy = TestProxy::before(&hub)
        .set("limits", "unknown_tokens_per_minute = 2")
        .portal(&format!("exchange_url = \"{url}/login\"\nexchange_prefix = \"p_\""))
        .toml(&format!(
            "[[apps]]\nname = \"other\"\nexchange_url = \"{url}/other\"\nexchange_prefix = \"o_\""
        ))
        .start();
    let click = |token: &str| proxy.browser().get(&format!("/hub/login?login_token={token}")).status;
    for number in 0..5 {
        click(&format!("p_guess-{number}"));
        unknown(&proxy);
    }
    assert_eq!((click("p_one-more"), click("o_good")), (429, 302));
}

#[test]
fn without_a_limit_every_unknown_token_is_just_unknown() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "unknown_tokens_per_minute = 0").start();
    assert!((0..150).all(|_| unknown(&proxy).status == 403));
}

#[test]
fn an_app_may_have_so_many_live_links_and_no_more() {
    let (hub, clock) = (FakeHub::start(), standing_clock());
    let other = "[[apps]]\nname = \"other\"\nkeys = [\"sha256:ca97f13151e233c1e3c6e878b4170ac7df9ceac70de4e3e7d5443e77a2528533\"]";
    let proxy = TestProxy::before(&hub).clock(&clock).portal("max_live_links = 3").toml(other).start();
    let order = |seconds: u64| json!({ "username": "alice", "expires_in": seconds });
    let issue = |seconds: u64| proxy.links().call("POST", "/api/v1/links", &[], order(seconds).to_string());
    let links =
        [proxy.links().issue(&order(10)), proxy.links().issue(&order(20)), proxy.links().issue(&order(20))];
    let refused = issue(20);
    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("too_many_live_links")));
    assert_eq!(refused.headers.get("retry-after"), Some("11"));
    let batch = json!({ "links": [order(5)] }).to_string();
    assert_eq!(proxy.links().call("POST", "/api/v1/links/batch", &[], batch).status, 429);
    // A redeemed one, a revoked one and an expired one make room; one each.
    assert_eq!(proxy.browser().get(&links[1].target()).status, 302);
    assert_eq!((issue(20).status, issue(20).status), (201, 429));
    let id = format!("/api/v1/links/{}", links[2].id);
    assert_eq!(proxy.links().call("DELETE", &id, &[], "").status, 204);
    assert_eq!(proxy.links().call("DELETE", &id, &[], "").status, 204);
    assert_eq!((issue(20).status, issue(20).status), (201, 429));
    clock.advance(Duration::from_secs(11));
    assert_eq!((issue(20).status, issue(20).status), (201, 429));
}

#[test]
fn what_was_not_issued_after_all_does_not_count() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("store", "max_tokens = 2").portal("max_live_links = 3").start();
    let links = [proxy.link("a"), proxy.link("b")];
    let order = json!({ "username": "c" }).to_string();
    for _ in 0..5 {
        assert_eq!(proxy.links().call("POST", "/api/v1/links", &[], &order).status, 503, "the store is full");
    }
    assert_eq!(proxy.browser().get(&links[0].target()).status, 302);
    proxy.link("c");
}
