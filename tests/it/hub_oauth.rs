//! Logins by the hub's own OAuth, of which hublatch goes both legs: what they cost the link when one goes wrong.

use std::sync::Arc;

use crate::redeem::{click, nobody};
use crate::support::faulty_store::{At, Fault, FaultyStore};
use crate::support::{FakeHub, TestProxy, Then};

const REDIRECT: &str = "http://hub.test/hub/oauth_callback";

/// A hub with a GenericOAuthenticator, whose front keeps no connection open if `closes`.
fn hub(closes: bool) -> FakeHub {
    hub_with_state(closes, "s")
}

/// The same with this state in its cookie.
fn hub_with_state(closes: bool, state: &str) -> FakeHub {
    let cookie = format!("Set-Cookie: oauthenticator-state={state}; Path=/");
    let hub = FakeHub::start();
    hub.on("/hub/api/user", nobody);
    hub.on("/hub/oauth_login", move |exchange| {
        exchange.read_body();
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("response_type", "code"),
                ("client_id", "hublatch"),
                ("redirect_uri", REDIRECT),
                ("state", "s"),
                ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
                ("code_challenge_method", "S256"),
            ])
            .finish();
        let location = format!("Location: http://127.0.0.1:8010/hub-oauth/authorize?{query}");
        let keeps = if closes { "\r\nConnection: close" } else { "" };
        exchange.answer(&format!("302 Found\r\n{location}\r\n{cookie}{keeps}"), "");
        if closes { Then::Close } else { Then::Next }
    });
    hub.reply(
        "/hub/oauth_callback",
        "HTTP/1.1 302 Found\r\nLocation: /hub/home\r\nContent-Length: 0\r\n\r\n",
    );
    hub
}

fn proxy(hub: &FakeHub, store: &Arc<FaultyStore>) -> TestProxy {
    proxy_with(hub, store, "")
}

/// The same with these keys of `[hub]`.
fn proxy_with(hub: &FakeHub, store: &Arc<FaultyStore>, keys: &str) -> TestProxy {
    let section = format!(
        "client_secret = \"0123456789abcdef0123456789abcdef\"\nredirect_uri = {REDIRECT:?}\n\
         issuer = \"http://127.0.0.1:8010\"\ninsecure = true"
    );
    TestProxy::before_url(&hub.url())
        .set("hub_oauth", &section)
        .set("hub", keys)
        .store(Arc::clone(store) as _)
        .start()
}

#[test]
fn a_login_goes_both_legs_also_where_each_response_ends_its_connection() {
    for closes in [false, true] {
        let hub = hub(closes);
        let proxy = proxy(&hub, &Arc::new(FaultyStore::new()));
        let link = proxy.link("alice");
        let answer = click(&proxy, &link);
        assert_eq!((answer.status, answer.location()), (302, "/hub/home"), "{closes}: {}", answer.text());
        assert_eq!(hub.seen_at("/hub/oauth_login").len(), 1, "{closes}");
        let callback = hub.only("/hub/oauth_callback");
        assert!(
            callback.query().starts_with("code=hl_") && callback.query().ends_with("&state=s"),
            "{closes}"
        );
        assert_eq!(callback.headers.get("cookie"), Some("oauthenticator-state=s"), "{closes}");
        let events: Vec<_> = proxy.audit().iter().map(|line| line["event"].clone()).collect();
        assert_eq!(events, ["issued", "redeemed"], "{closes}");
    }
}

#[test]
fn a_first_leg_that_leads_elsewhere_uses_no_link_up() {
    let hub = hub(false);
    hub.on("/hub/oauth_login", |exchange| {
        exchange.answer("302 Found\r\nLocation: https://elsewhere.example/authorize", "")
    });
    let proxy = proxy(&hub, &Arc::new(FaultyStore::new()));
    let link = proxy.link("alice");
    assert_eq!(click(&proxy, &link).status, 503);
    assert_eq!(proxy.links().status(&link.id), "pending");
}

#[test]
fn a_second_leg_that_is_larger_than_the_hub_takes_uses_no_link_up() {
    // oauthenticator keeps in its cookie where the login leads.
    let (hub, store) = (hub_with_state(false, &"s".repeat(3000)), Arc::new(FaultyStore::new()));
    let proxy = proxy_with(&hub, &store, "head_bytes = \"5KiB\"");
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    browser.set_cookie("large", &"c".repeat(2000), "/");
    let answer = browser.get(&link.target());
    assert_eq!(answer.status, 431, "{}", answer.text());
    assert!(answer.text().contains("too_many_cookies"), "{}", answer.text());
    assert_eq!(proxy.links().status(&link.id), "pending");
    assert!(hub.seen_at("/hub/oauth_callback").is_empty());
    assert_eq!(click(&proxy, &link).status, 302, "with fewer cookies");
    assert!(hub.only("/hub/oauth_callback").head.len() <= 5 * 1024);
}

#[test]
fn a_code_that_the_store_does_not_take_is_a_login_that_failed() {
    let (hub, store) = (hub(false), Arc::new(FaultyStore::new()));
    let proxy = proxy(&hub, &store);
    let link = proxy.link("alice");
    store.arm(At::Each("insert"), Fault::Fails);
    let answer = click(&proxy, &link);
    store.heal();
    assert!(answer.status >= 500, "{answer:?}");
    assert!(hub.seen_at("/hub/oauth_callback").is_empty());
    let told = |line: &serde_json::Value| {
        (line["event"].as_str().unwrap().to_owned(), line["reason"].as_str().map(str::to_owned))
    };
    let failed = ("login_failed".to_owned(), Some("store_unavailable".to_owned()));
    let lines: Vec<_> = proxy.audit().iter().map(told).collect();
    assert_eq!(lines, [("issued".to_owned(), None), ("redeemed".to_owned(), None), failed]);
    assert_eq!(proxy.metric("hublatch_logins_at_once"), 4, "the hub is not to blame");
}
