//! From a click to a login at the hub: what consumes nothing, what is asked before, and what is sent once.

mod hub_trouble;
mod uninvited;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::proxy::standing_clock;
use crate::support::{
    Answer, Exchange, FakeHub, Gate, Issued, Seen, TestProxy, Then, Wire, hub_pages, tables,
};

/// The hub's answer to a browser that is nobody.
pub fn nobody(exchange: &mut Exchange<'_>) -> Then {
    exchange.answer("403 Forbidden\r\nContent-Type: application/json", r#"{"status":403,"message":null}"#)
}

/// The logins that reached the hub.
pub fn logins(hub: &FakeHub) -> Vec<Seen> {
    hub.seen_at("/hub/login")
}

/// A click in a browser without cookies.
pub fn click(proxy: &TestProxy, link: &Issued) -> Answer {
    proxy.browser().get(&link.target())
}

/// Asserts that `link` has not been used, and logs its user in now.
pub fn assert_still_good(proxy: &TestProxy, hub: &FakeHub, link: &Issued, after: &str) {
    let before = logins(hub).len();
    assert_eq!(proxy.links().status(&link.id), "pending", "after {after}");
    let answer = click(proxy, link);
    assert_eq!(answer.status, 302, "after {after}: {}", answer.text());
    assert_eq!(logins(hub).len(), before + 1, "after {after}");
}

#[test]
fn a_click_logs_the_user_of_the_link_in_and_leads_to_next() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.links().issue(&json!({ "username": "alice", "next": "/user/alice/lab?x=1" }));
    let mut browser = proxy.browser();
    let answer = browser.get(&link.target());
    assert_eq!((answer.status, answer.location()), (302, "/user/alice/lab?x=1"));
    assert!(browser.cookie("jupyterhub-hub-login").is_some_and(|cookie| cookie.contains("|alice|")));
    let login = hub.only("/hub/login");
    assert_eq!((login.method.as_str(), login.query()), ("GET", "next=%2Fuser%2Falice%2Flab%3Fx%3D1"));
    assert_eq!(proxy.links().status(&link.id), "used");
}

#[test]
fn the_hub_is_asked_who_the_browser_is_on_the_connection_that_carries_the_login() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    browser.set_cookie("theme", "\"a|b=c\"", "/");
    browser.navigate(&link.target()).header("Authorization", "token of-the-browser").send();
    let seen = hub.seen();
    let targets: Vec<&str> = seen.iter().map(|seen| seen.target.as_str()).collect();
    assert_eq!(targets, ["/hub/api/user", "/hub/login"]);
    assert_eq!(seen[0].connection, seen[1].connection);
    let asked = &seen[0].headers;
    assert_eq!(asked.get("cookie"), Some("theme=\"a|b=c\""));
    assert_eq!(asked.get("host"), Some(proxy.host()));
    assert!(!asked.0.iter().any(|(name, _)| name.to_ascii_lowercase().starts_with("sec-fetch")), "{asked:?}");
    assert!(!asked.has("authorization"), "a token answers for somebody else than the cookies");
    assert_eq!((asked.count_folded("remote_user"), asked.count_folded("x-hublatch-assertion")), (0, 0));
}

#[test]
fn the_login_carries_one_identity_and_one_proof_whatever_the_browser_sends() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    let answer = browser
        .navigate(&link.target())
        .header("REMOTE_USER", "admin")
        .also("Remote-User", "admin")
        .also("x-hublatch_assertion", "e30.e30.e30")
        .also("Connection", "keep-alive, REMOTE_USER, X-Hublatch-Assertion")
        .send();
    assert_eq!(answer.status, 302);
    let login = hub.only("/hub/login");
    assert_eq!(login.headers.count_folded("REMOTE_USER"), 1, "{:?}", login.headers);
    assert_eq!(login.headers.count_folded("X-Hublatch-Assertion"), 1, "{:?}", login.headers);
    assert_eq!(login.headers.get("remote_user"), Some("alice"));
    hub.accounts(|accounts| assert!(accounts.refused.is_empty(), "{:?}", accounts.refused));
}

#[test]
fn each_assertion_says_who_for_whom_from_when_to_when_and_is_the_only_one_of_its_kind() {
    let hub = FakeHub::start();
    let clock = standing_clock();
    let proxy = TestProxy::before(&hub).clock(&clock).start();
    clock.advance(Duration::from_millis(1500));
    for (number, order) in [
        json!({ "username": "alice", "groups": ["course-7", "é"], "claims": { "course": 7 } }),
        json!({ "username": "alice" }),
        json!({ "username": "alice", "groups": [] }),
    ]
    .iter()
    .enumerate()
    {
        let link = proxy.links().issue(order);
        assert_eq!(click(&proxy, &link).status, 302);
        let seen = logins(&hub);
        let claims = hub_pages::claims_of(seen[number].headers.get("x-hublatch-assertion").unwrap());
        let begin = "2026-01-01T00:00:01Z".parse::<jiff::Timestamp>().unwrap().as_second();
        assert_eq!((claims["iat"].as_i64(), claims["exp"].as_i64()), (Some(begin), Some(begin + 10)));
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!("hublatch"), &json!("jupyterhub")));
        assert_eq!((&claims["sub"], &claims["jti"]), (&json!("alice"), &json!(link.id)));
        assert_eq!((&claims["groups"], &claims["claims"]), (&order["groups"], &order["claims"]));
    }
    // It checks the signature and that no jti comes twice.
    hub.accounts(|accounts| assert!(accounts.refused.is_empty(), "{:?}", accounts.refused));
}

#[test]
fn the_hubs_answer_goes_back_as_it_is_but_is_not_kept_and_not_told_further() {
    let hub = FakeHub::start();
    hub.on("/hub/login", |exchange| {
        let head = "403 Forbidden\r\nContent-Type: text/html\r\nCache-Control: public, max-age=60\r\n\
                    cache-control: immutable\r\nReferrer-Policy: unsafe-url\r\nX-Hub: a\r\nX-Hub: b\r\n\
                    Set-Cookie: a=\"1|2\"; Path=/hub/\r\nSet-Cookie: b=2";
        exchange.answer(head, "<p>User 'alice' not allowed.</p>")
    });
    let proxy = TestProxy::start(&hub);
    let answer = click(&proxy, &proxy.link("alice"));
    assert_eq!((answer.status, answer.text().as_str()), (403, "<p>User 'alice' not allowed.</p>"));
    assert_eq!(answer.headers.all("cache-control"), ["no-store"]);
    assert_eq!(answer.headers.all("referrer-policy"), ["no-referrer"]);
    assert_eq!(answer.headers.all("x-hub"), ["a", "b"]);
    assert_eq!(answer.headers.all("set-cookie"), ["a=\"1|2\"; Path=/hub/", "b=2"]);
}

#[test]
fn a_hub_under_a_base_url_logs_in_at_its_own_login_path_only() {
    let hub = FakeHub::start();
    hub.accounts(|accounts| accounts.base_url = "/jupyter/".to_owned());
    let proxy = TestProxy::before(&hub).base_url("/jupyter/").start();
    let link = proxy.links().issue(&json!({ "username": "alice", "next": "/jupyter/hub/home" }));
    assert!(link.target().starts_with("/jupyter/hub/login?login_token="), "{}", link.url);
    let elsewhere = link.target().replacen("/jupyter", "", 1);
    assert_eq!(proxy.browser().get(&elsewhere).status, 200);
    assert_eq!(proxy.links().status(&link.id), "pending");
    let answer = proxy.browser().get(&link.target());
    assert_eq!((answer.status, answer.location()), (302, "/jupyter/hub/home"));
    let paths: Vec<String> = hub.seen().iter().map(|seen| seen.path().to_owned()).collect();
    assert_eq!(paths, ["/hub/login", "/jupyter/hub/api/user", "/jupyter/hub/login"]);
}

#[test]
fn a_link_in_absolute_form_and_one_of_http_1_0_log_in_too() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for request in ["GET http://hub.test{} HTTP/1.1\r\nHost: hub.test\r\n\r\n", "GET {} HTTP/1.0\r\n\r\n"] {
        hub.forget();
        let link = proxy.link("alice");
        let answer = proxy.connect().ask(request.replace("{}", &link.target()));
        assert_eq!(answer.status, 302, "{request}");
        let login = hub.only("/hub/login");
        assert_eq!((login.target.as_str(), login.version.as_str()), ("/hub/login", "HTTP/1.1"), "{request}");
        assert_eq!(login.headers.get("host"), Some("hub.test"), "{request}");
    }
}

#[test]
fn several_logins_over_one_connection_do_not_mix() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let links: Vec<Issued> = ["alice", "bob", "carol"].iter().map(|name| proxy.link(name)).collect();
    let mut wire = proxy.connect();
    // Sent at once: the answers come in order, each for its own link.
    let requests: String = links
        .iter()
        .map(|link| format!("GET {} HTTP/1.1\r\nHost: hub.test\r\n\r\n", link.target()))
        .collect();
    wire.send(requests);
    for name in ["alice", "bob", "carol"] {
        let answer = wire.answer_to("GET").expect("an answer");
        assert_eq!(answer.status, 302, "{name}");
        let cookies = answer.headers.all("set-cookie");
        assert!(cookies.iter().any(|cookie| cookie.contains(&format!("|{name}|"))), "{name}: {cookies:?}");
    }
    let names: Vec<String> = logins(&hub)
        .iter()
        .map(|login| login.headers.get("remote_user").unwrap_or_default().to_owned())
        .collect();
    assert_eq!(names, ["alice", "bob", "carol"]);
}
