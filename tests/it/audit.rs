//! The audit log: one line for each thing that happens to a link, which says who, whose, from where and why.

mod sequences;
mod sink;

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::redeem::{click, nobody};
use crate::support::proxy::standing_clock;
use crate::support::{Answer, FakeHub, TestProxy, Then};

/// The lines that have come since `before`.
fn since(proxy: &TestProxy, before: usize) -> Vec<Value> {
    proxy.audit().split_off(before)
}

/// Event and reason of each line.
fn told(lines: &[Value]) -> Vec<(&str, Option<&str>)> {
    let event = |line: &Value| line["event"].as_str().map(str::to_owned);
    assert!(lines.iter().all(|line| event(line).is_some()), "{lines:?}");
    lines.iter().map(|line| (line["event"].as_str().unwrap_or_default(), line["reason"].as_str())).collect()
}

#[test]
fn a_link_is_issued_once_and_redeemed_once_in_two_lines_that_name_it() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).clock(&standing_clock()).start();
    let link = proxy.link("alice");
    click(&proxy, &link);
    let request_id = hub.only("/hub/login").headers.get("x-request-id").expect("an id").to_owned();
    let line = |event: &str| {
        json!({
            "audit": true, "timestamp": "2026-01-01T00:00:00Z", "event": event, "id": link.id, "app": "portal",
            "username": "alice", "client_ip": "127.0.0.1"
        })
    };
    let mut redeemed = line("redeemed");
    redeemed["request_id"] = json!(request_id);
    assert_eq!(proxy.audit(), [line("issued"), redeemed]);
}

#[test]
fn each_outcome_of_a_click_is_one_line_with_its_reason() {
    let hub = FakeHub::start();
    let clock = standing_clock();
    let proxy = TestProxy::before(&hub).clock(&clock).portal("next = [\"/user\"]").start();
    for reason in
        ["unknown", "expired", "used", "revoked", "bad_next", "outside the app's next", "misspelt", "bound"]
    {
        let mut order = json!({ "username": "alice" });
        if reason == "bound" {
            order["state"] = json!("A".repeat(43));
        }
        let link = proxy.links().issue(&order);
        let mut target = link.target();
        match reason {
            "unknown" => target = format!("/hub/login?login_token=hl_{}", "A".repeat(43)),
            "misspelt" => target = "/hub/login?login_token=x".to_owned(),
            "expired" => clock.advance(Duration::from_secs(30)),
            "used" => drop(click(&proxy, &link)),
            "revoked" => drop(proxy.links().call("DELETE", &format!("/api/v1/links/{}", link.id), &[], "")),
            "bound" => {}
            "bad_next" => target += "&next=//evil.example",
            _ => target += "&next=/hub/admin",
        }
        let before = proxy.audit().len();
        proxy.browser().get(&target);
        let lines = since(&proxy, before);
        let word = match reason {
            "misspelt" => "unknown",
            "outside the app's next" => "bad_next",
            reason => reason,
        };
        assert_eq!(told(&lines), [("refused", Some(word))], "{reason}");
        assert_eq!(lines[0]["client_ip"], "127.0.0.1", "{reason}");
        let known = word != "unknown";
        assert_eq!(lines[0]["id"], if known { json!(link.id) } else { Value::Null }, "{reason}");
        assert_eq!(lines[0]["username"], if known { json!("alice") } else { Value::Null }, "{reason}");
        assert_eq!(lines[0]["app"], if known { json!("portal") } else { Value::Null }, "{reason}");
    }
    assert_eq!(proxy.metric("hublatch_links_refused_total{reason=\"unknown\"}"), 2);
    assert_eq!(proxy.metric("hublatch_links_refused_total{reason=\"bad_next\"}"), 2);
    assert_eq!(proxy.metric("hublatch_links_refused_total{reason=\"used\"}"), 1);
}

#[test]
fn a_switch_is_a_line_of_its_own_after_the_redemption() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("login", "confirm = \"never\"").start();
    let mut browser = proxy.browser();
    browser.set_cookie("jupyterhub-hub-login", "bob", "/hub/");
    let link = proxy.link("alice");
    browser.get(&link.target());
    let lines = since(&proxy, 1);
    assert_eq!(told(&lines), [("redeemed", None), ("switched", None)]);
    assert!(lines.iter().all(|line| line["id"] == link.id && line["username"] == "alice"), "{lines:?}");
}

#[test]
fn a_login_that_the_hub_does_not_follow_by_a_redirect_is_a_line_of_its_own() {
    for (answer, reason) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nform", "hub_refused"),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "hub_refused"),
        ("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "hub_refused"),
    ] {
        let hub = FakeHub::start();
        hub.reply("/hub/login", answer);
        let proxy = TestProxy::start(&hub);
        let link = proxy.link("alice");
        click(&proxy, &link);
        let lines = since(&proxy, 1);
        assert_eq!(told(&lines), [("redeemed", None), ("login_failed", Some(reason))], "{answer}");
        assert!(lines.iter().all(|line| line["id"] == link.id && line["username"] == "alice"), "{lines:?}");
    }
}

#[test]
fn what_leaves_the_link_as_it_is_writes_nothing() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("login", "confirm = \"always\"").start();
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    let page = browser.get(&link.target());
    browser.request("HEAD", &link.target()).send();
    browser.navigate(&link.target()).header("Sec-Purpose", "prefetch").send();
    browser.navigate(&link.target()).header("Sec-Fetch-Dest", "image").send();
    browser.get("/hub/login");
    browser.get(&format!("{}&login_token=x", link.target()));
    assert_eq!(told(&proxy.audit()), [("issued", None)]);
    hub.on("/hub/api/user", |exchange| exchange.answer("200 OK", r#"{"name":"alice"}"#));
    browser.press(&page);
    browser.press(&page);
    assert_eq!(told(&proxy.audit()), [("issued", None), ("redeemed", None)]);
}

#[test]
fn a_hub_that_is_not_to_be_had_is_a_refusal_that_names_the_link() {
    let hub = FakeHub::start();
    hub.on("/hub/api/user", |exchange| exchange.answer("500 Oops", ""));
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    assert_eq!(click(&proxy, &link).status, 503);
    let lines = proxy.audit();
    assert_eq!(told(&lines), [("issued", None), ("refused", Some("hub_unavailable"))]);
    assert_eq!((&lines[1]["id"], &lines[1]["username"]), (&json!(link.id), &json!("alice")));
    assert_eq!(proxy.links().status(&link.id), "pending");
}

#[test]
fn a_login_that_the_hub_never_answered_was_redeemed_all_the_same() {
    let hub = FakeHub::start();
    hub.on("/hub/api/user", nobody);
    hub.on("/hub/login", |_| Then::Close);
    let proxy = TestProxy::start(&hub);
    assert_eq!(click(&proxy, &proxy.link("alice")).status, 503);
    let failed = ("login_failed", Some("hub_unavailable"));
    assert_eq!(told(&proxy.audit()), [("issued", None), ("redeemed", None), failed]);
}

#[test]
fn a_login_before_which_the_other_user_could_not_be_logged_out_has_failed() {
    let hub = FakeHub::start();
    hub.on("/hub/logout", |exchange| exchange.answer("500 Oops", ""));
    let proxy = TestProxy::before(&hub).set("login", "confirm = \"never\"").start();
    let mut browser = proxy.browser();
    browser.set_cookie("jupyterhub-hub-login", "bob", "/hub/");
    let link = proxy.link("alice");
    let answer = browser.get(&link.target());
    assert!(answer.status == 503 && answer.text().contains("logout_failed"), "{}", answer.text());
    let lines = since(&proxy, 1);
    assert_eq!(told(&lines), [("redeemed", None), ("login_failed", Some("hub_unavailable"))]);
    assert!(lines.iter().all(|line| line["id"] == link.id && line["username"] == "alice"), "{lines:?}");
}

#[test]
fn a_revocation_is_one_line_and_a_second_one_none() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let (link, used) = (proxy.link("alice"), proxy.link("alice"));
    click(&proxy, &used);
    let before = proxy.audit().len();
    for (id, status) in [(&link.id, 204), (&link.id, 204), (&used.id, 409)] {
        assert_eq!(proxy.links().call("DELETE", &format!("/api/v1/links/{id}"), &[], "").status, status);
    }
    let lines = since(&proxy, before);
    assert_eq!(told(&lines), [("revoked", None)]);
    assert_eq!((&lines[0]["id"], &lines[0]["app"]), (&json!(link.id), &json!("portal")));
    let before = proxy.audit().len();
    proxy.link("alice");
    proxy.links().call("DELETE", "/api/v1/users/alice/links", &[], "");
    let lines = since(&proxy, before);
    assert_eq!(told(&lines), [("issued", None), ("revoked", Some("all_of_user"))]);
    assert_eq!(lines[1]["username"], "alice");
}

#[test]
fn a_repeated_order_is_told_from_a_first_one() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let order = json!({ "username": "alice" }).to_string();
    let issue =
        || proxy.links().call("POST", "/api/v1/links", &[("Idempotency-Key", "k1")], order.as_str()).json();
    let (first, second) = (issue(), issue());
    assert_eq!(first["id"], second["id"]);
    assert_eq!(told(&proxy.audit()), [("issued", None), ("issued", Some("repeat"))]);
}

#[test]
fn orders_that_are_refused_issue_nothing() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).portal("deny_usernames = [\"admin\"]").start();
    for order in [
        json!({ "username": "admin" }),
        json!({ "username": "../x" }),
        json!({ "username": "a", "next": "//x" }),
    ] {
        assert_ne!(proxy.links().call("POST", "/api/v1/links", &[], order.to_string()).status, 201);
    }
    let batch = json!({ "links": [{ "username": "alice" }, { "username": "admin" }] }).to_string();
    assert_ne!(proxy.links().call("POST", "/api/v1/links/batch", &[], batch).status, 201);
    let lines = proxy.audit();
    let told: Vec<_> = lines.iter().map(|line| (line["event"].as_str(), line["code"].as_str())).collect();
    let codes = ["username_not_allowed", "invalid_username", "invalid_next", "username_not_allowed"];
    assert_eq!(told, codes.map(|code| (Some("refused"), Some(code))));
}

#[test]
fn the_client_is_the_browser_and_not_the_front_that_is_trusted() {
    let hub = FakeHub::start();
    for (trusted, client) in [("trusted_proxies = [\"127.0.0.0/8\"]", "203.0.113.7"), ("", "127.0.0.1")] {
        let proxy = TestProxy::before(&hub).set("public", trusted).start();
        let link = proxy.link("alice");
        let mut browser = proxy.browser();
        browser.navigate(&link.target()).header("X-Forwarded-For", "198.51.100.1, 203.0.113.7").send();
        let lines = proxy.audit();
        assert_eq!(lines[1]["client_ip"], client, "{trusted}");
        assert_eq!(lines[0]["client_ip"], "127.0.0.1", "the app that issues has no front");
    }
}

#[test]
fn every_redemption_has_exactly_one_issue_of_the_same_user_and_app_before_it() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).portal("rate = \"100000/s\"").start();
    // Thirty orders, each sent twice under one key. Of every third the first token is redeemed before the repeat, which
    // is refused then; of the others the second one is.
    for number in 0..30 {
        let order = json!({ "username": format!("u{}", number % 7) }).to_string();
        let key = format!("k{number}");
        let issue =
            || proxy.links().call("POST", "/api/v1/links", &[("Idempotency-Key", &key)], order.as_str());
        let redeem = |answer: Answer| {
            let token = answer.json()["login_token"].as_str().expect("a token").to_owned();
            let body = json!({ "token": token }).to_string();
            proxy.browser().get(&format!("/hub/login?login_token={token}"));
            assert_eq!(proxy.links().call("POST", "/login", &[], body).status, 404);
        };
        let first = issue();
        if number % 3 == 0 {
            redeem(first);
            assert_eq!(issue().status, 409);
        } else {
            redeem(issue());
        }
    }
    let mut issued: HashMap<String, Vec<Value>> = HashMap::new();
    let mut redeemed = 0;
    for line in proxy.audit() {
        let id = line["id"].as_str().unwrap_or_default().to_owned();
        match line["event"].as_str() {
            Some("issued") if line["reason"].is_null() => issued.entry(id).or_default().push(line),
            Some("redeemed") => {
                redeemed += 1;
                let [issue] = &issued[&id][..] else { panic!("{id}: {:?}", issued[&id]) };
                assert_eq!((&issue["username"], &issue["app"]), (&line["username"], &line["app"]));
                assert!(issue["timestamp"].as_str() <= line["timestamp"].as_str());
                // And no second redemption.
                issued.insert(id, Vec::new());
            }
            _ => {}
        }
    }
    assert_eq!(redeemed, 30);
}
