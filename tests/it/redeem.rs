//! From a click to a login at the hub: contract.md section 3, steps 1, 3, 7 and 8.

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
fn a_head_request_learns_nothing_and_uses_nothing_up() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    let unknown = format!("/hub/login?login_token=hl_{}", "A".repeat(43));
    let twice = format!("{}&login_token={}", link.target(), link.token);
    for target in [link.target(), unknown, twice] {
        let answer = proxy.browser().request("HEAD", &target).send();
        assert_eq!((answer.status, answer.headers.get("cache-control")), (200, Some("no-store")), "{target}");
        assert!(!answer.headers.has("location") && !answer.headers.has("set-cookie"), "{answer:?}");
    }
    assert!(hub.seen().is_empty(), "{:?}", hub.seen());
    assert_still_good(&proxy, &hub, &link, "HEAD");
}

#[test]
fn a_fetch_ahead_of_the_click_is_503_and_uses_nothing_up() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    for (name, value) in [
        ("Sec-Purpose", "prefetch"),
        ("Sec-Purpose", "prefetch;prerender"),
        ("Sec-Purpose", "prefetch;anonymous-client-ip"),
        ("Purpose", "prefetch"),
        ("purpose", "Prefetch"),
        ("X-Moz", "prefetch"),
        ("X-moz", "PREFETCH"),
    ] {
        let mut browser = proxy.browser();
        let answer = browser.navigate(&link.target()).header(name, value).send();
        assert_eq!(answer.status, 503, "{name}: {value}");
        assert_eq!(answer.headers.all("cache-control"), ["no-store"], "{name}: {value}");
        // A link rel=prefetch is no navigation either: it is told apart first.
        let subresource = browser
            .navigate(&link.target())
            .header(name, value)
            .header("Sec-Fetch-Mode", "no-cors")
            .header("Sec-Fetch-Dest", "empty")
            .send();
        assert_eq!(subresource.status, 503, "{name}: {value} with no-cors");
    }
    assert!(hub.seen().is_empty(), "{:?}", hub.seen());
    assert_still_good(&proxy, &hub, &link, "prefetches");
}

#[test]
fn what_is_no_navigation_to_a_document_is_403_and_uses_nothing_up() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    for (mode, dest) in [
        ("no-cors", "image"),
        ("no-cors", "script"),
        ("no-cors", "style"),
        ("no-cors", "empty"),
        ("cors", "empty"),
        ("cors", "font"),
        ("same-origin", "empty"),
        ("same-origin", "worker"),
        ("websocket", "websocket"),
        ("navigate", "iframe"),
        ("navigate", "frame"),
        ("navigate", "embed"),
        ("navigate", "object"),
        ("navigate", "fencedframe"),
        ("nested-navigate", "document"),
        ("navigate", ""),
        ("", "document"),
        ("Navigate", "document"),
        ("navigate", "document, iframe"),
    ] {
        let mut browser = proxy.browser();
        let sending = browser.navigate(&link.target());
        let answer = sending.header("Sec-Fetch-Mode", mode).header("Sec-Fetch-Dest", dest).send();
        assert_eq!(answer.status, 403, "{mode} {dest}");
        assert_eq!(answer.headers.all("cache-control"), ["no-store"], "{mode} {dest}");
    }
    // Said twice, one of them wrong.
    let mut browser = proxy.browser();
    let answer = browser.navigate(&link.target()).also("Sec-Fetch-Dest", "iframe").send();
    assert_eq!(answer.status, 403);
    assert!(hub.seen().is_empty(), "{:?}", hub.seen());
    assert_still_good(&proxy, &hub, &link, "other fetches");
}

#[test]
fn an_upgrade_at_the_login_path_is_400_and_uses_nothing_up() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    for (connection, upgrade) in [
        (Some("Upgrade"), "websocket"),
        (Some("keep-alive, upgrade"), "websocket"),
        (Some("Upgrade"), "x"),
        (Some("Upgrade, HTTP2-Settings"), "h2c"),
        (Some("keep-alive"), "websocket"),
        (None, "websocket"),
        (None, "h2c"),
    ] {
        let mut browser = proxy.browser();
        let sending = browser.navigate(&link.target()).header("Upgrade", upgrade);
        let sending =
            connection.into_iter().fold(sending, |sending, value| sending.header("Connection", value));
        assert_eq!(sending.send().status, 400, "Connection: {connection:?}, Upgrade: {upgrade}");
    }
    assert!(logins(&hub).is_empty(), "{:?}", hub.seen());
    assert_still_good(&proxy, &hub, &link, "upgrades");
}

#[test]
fn nothing_that_opens_links_before_people_do_uses_one_up() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).public_url("https://hub.test").start();
    let lines = tables::lines("scanners.txt");
    let mut scanners: Vec<(String, Vec<String>)> = Vec::new();
    for line in lines {
        match line.strip_prefix("== ") {
            Some(name) => scanners.push((name.to_owned(), Vec::new())),
            None => scanners.last_mut().expect("a name comes first").1.push(line),
        }
    }
    assert!(scanners.len() >= 20, "only {} scanners", scanners.len());
    let link = proxy.links().issue(&json!({ "username": "alice", "next": "/hub/home" }));
    for (name, head) in &scanners {
        let head = head.join("\r\n").replace("TARGET", &link.target()).replace("HOST", proxy.host());
        let answer = proxy.connect().ask(format!("{head}\r\n\r\n"));
        // A page that asks, a refusal, or the hub's own "no": never a login.
        assert!(!(300..400).contains(&answer.status), "{name}: {answer:?}");
        assert!(!answer.headers.has("set-cookie"), "{name}: {answer:?}");
        for login in logins(&hub) {
            assert_eq!(login.headers.count_folded("REMOTE_USER"), 0, "{name}: {login:?}");
            assert!(!login.target.contains("hl_"), "{name}: {login:?}");
        }
        assert_eq!(proxy.links().status(&link.id), "pending", "{name}");
    }
    assert_eq!(click(&proxy, &link).status, 302);
    assert_eq!(proxy.links().status(&link.id), "used");
}

#[test]
fn a_bogus_token_costs_the_hub_nothing() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let live = proxy.link("alice");
    let mut tokens: Vec<String> =
        ["", "x", "hl_", "hk_", "null", "%00", "%2e%2e", "*"].map(str::to_owned).to_vec();
    tokens.push(format!("hl_{}", "A".repeat(43)));
    tokens.push(format!("hl_{}", "A".repeat(42)));
    tokens.push(format!("hl_{}", "A".repeat(44)));
    tokens.push("A".repeat(20_000));
    tokens.push(live.token.to_lowercase());
    tokens.push(live.token[3..].to_owned());
    tokens.push(live.token.replacen("hl_", "hk_", 1));
    tokens.push(format!("{}%20", live.token));
    for token in tokens {
        let answer = proxy.browser().get(&format!("/hub/login?login_token={token}&next=/hub/home"));
        assert_eq!(answer.status, 403, "{token}");
        assert!(answer.text().contains("This link is not known"), "{token}");
    }
    assert_eq!((hub.seen().len(), hub.connections()), (0, 0));
    assert_still_good(&proxy, &hub, &live, "guesses");
}

#[test]
fn no_other_path_redeems_and_none_gets_the_token() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    for path in [
        "/hub/login/",
        "//hub/login",
        "/hub//login",
        "/hub/login;x",
        "/hub/Login",
        "/HUB/LOGIN",
        "/hub/%6cogin",
        "/hub%2Flogin",
        "/hub/login%20",
        "/hub/login%00",
        "/hub/loginx",
        "/hub/login/x",
        "/jupyter/hub/login",
        "/hub/",
        "/",
        "/user/alice/lab",
    ] {
        hub.forget();
        let answer = proxy.browser().get(&format!("{path}?login_token={}&a=1", link.token));
        assert_eq!(answer.status, 200, "{path}");
        let seen = hub.seen();
        assert_eq!(seen.len(), 1, "{path}: {seen:?}");
        assert_eq!(seen[0].target, format!("{path}?a=1"), "{path}");
        assert_eq!(seen[0].headers.count_folded("REMOTE_USER"), 0, "{path}");
    }
    assert_still_good(&proxy, &hub, &link, "other paths");
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

/// Ways in which a hub does not say who a browser is.
fn no_answer(way: &'static str) -> impl Fn(&mut Exchange<'_>) -> Then + Send + Sync + 'static {
    move |exchange| match way {
        "500" => exchange.answer("500 Internal Server Error\r\nContent-Type: application/json", "{}"),
        "503 of a front proxy" => {
            exchange.answer("503 Service Unavailable\r\nContent-Type: text/html", "<p>")
        }
        "404" => exchange.answer("404 Not Found", "{}"),
        "a redirect" => exchange.answer("302 Found\r\nLocation: /hub/login", ""),
        "204" => {
            exchange.read_body();
            exchange.send("HTTP/1.1 204 No Content\r\n\r\n");
            Then::Next
        }
        "403 in HTML" => exchange.answer("403 Forbidden\r\nContent-Type: text/html", "<p>{}</p>"),
        "403 without a body" => exchange.answer("403 Forbidden", ""),
        "403 with a list" => exchange.answer("403 Forbidden\r\nContent-Type: application/json", "[]"),
        "200 in HTML" => exchange.answer("200 OK\r\nContent-Type: text/html", "<p>alice</p>"),
        "200 without a name" => {
            exchange.answer("200 OK\r\nContent-Type: application/json", r#"{"kind":"user"}"#)
        }
        "200 with a null name" => {
            exchange.answer("200 OK\r\nContent-Type: application/json", r#"{"name":null}"#)
        }
        "200 with two names" => {
            exchange.answer("200 OK\r\nContent-Type: application/json", r#"{"name":"alice","name":"bob"}"#)
        }
        "2 MB" => exchange.answer("200 OK\r\nContent-Type: application/json", vec![b' '; 2 * 1024 * 1024]),
        "garbage" => {
            exchange.read_body();
            exchange.send("SSH-2.0-OpenSSH_9.2\r\n");
            Then::Close
        }
        "half an answer" => {
            exchange.read_body();
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"name\":\"ali");
            Then::Close
        }
        "101" => {
            exchange.read_body();
            exchange.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
            Then::Close
        }
        "closed" => Then::Close,
        way => panic!("unknown: {way}"),
    }
}

#[test]
fn a_hub_that_does_not_say_who_the_browser_is_means_503_and_the_link_stays_good() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    for way in [
        "500",
        "503 of a front proxy",
        "404",
        "a redirect",
        "204",
        "403 in HTML",
        "403 without a body",
        "403 with a list",
        "200 in HTML",
        "200 without a name",
        "200 with a null name",
        "200 with two names",
        "2 MB",
        "garbage",
        "half an answer",
        "101",
        "closed",
    ] {
        hub.on("/hub/api/user", no_answer(way));
        let answer = click(&proxy, &link);
        assert_eq!(answer.status, 503, "{way}");
        assert!(answer.text().contains("hub_unavailable"), "{way}: {}", answer.text());
        assert_eq!(answer.headers.all("cache-control"), ["no-store"], "{way}");
        assert!(!answer.headers.has("set-cookie"), "{way}");
    }
    assert!(logins(&hub).is_empty());
    hub.on("/hub/api/user", nobody);
    assert_still_good(&proxy, &hub, &link, "a broken hub");
}

#[test]
fn a_hub_that_is_silent_means_503_in_time_and_the_link_stays_good() {
    let hub = FakeHub::start();
    let (silent, end) = (Arc::new(AtomicBool::new(true)), Gate::new());
    let (is_silent, until) = (Arc::clone(&silent), end.clone());
    hub.on("/hub/api/user", move |exchange| {
        if is_silent.load(Ordering::SeqCst) {
            until.pass();
            return Then::Close;
        }
        nobody(exchange)
    });
    let proxy = TestProxy::before(&hub).set("limits", "login_hub_timeout = \"100ms\"").start();
    let link = proxy.link("alice");
    assert_eq!(click(&proxy, &link).status, 503);
    silent.store(false, Ordering::SeqCst);
    end.open();
    assert_still_good(&proxy, &hub, &link, "a silent hub");
}

#[test]
fn a_hub_that_is_not_there_means_503_and_the_link_stays_good() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let proxy = TestProxy::before_url(&format!("http://{address}")).start();
    let link = proxy.link("alice");
    let answer = click(&proxy, &link);
    assert_eq!((answer.status, proxy.links().status(&link.id).as_str()), (503, "pending"));
}

#[test]
fn an_idle_connection_that_the_hub_has_closed_is_replaced_before_the_login() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for _ in 0..3 {
        assert_eq!(click(&proxy, &proxy.link("alice")).status, 302);
        hub.drop_connections();
    }
    assert_eq!((logins(&hub).len(), hub.seen_at("/hub/api/user").len()), (3, 3));
}

#[test]
fn a_hub_that_closes_after_each_answer_gets_the_login_over_a_new_connection() {
    let hub = FakeHub::start();
    hub.on("/hub/api/user", |exchange| {
        exchange.answer("403 Forbidden\r\nConnection: close\r\nContent-Type: application/json", "{}");
        Then::Close
    });
    let proxy = TestProxy::start(&hub);
    assert_eq!(click(&proxy, &proxy.link("alice")).status, 302);
    assert_eq!((logins(&hub).len(), hub.connections()), (1, 2));
}

#[test]
fn a_login_that_the_hub_does_not_answer_is_503_and_never_sent_again() {
    for way in ["closed", "garbage", "half a head"] {
        let hub = FakeHub::start();
        hub.on("/hub/login", move |exchange| {
            exchange.read_body();
            match way {
                "garbage" => exchange.send("SSH-2.0-OpenSSH_9.2\r\n"),
                "half a head" => exchange.send("HTTP/1.1 302 Found\r\nLocation: /hub/"),
                _ => {}
            }
            Then::Close
        });
        let proxy = TestProxy::start(&hub);
        // A pooled connection is where other requests would be tried again.
        proxy.browser().get("/hub/static/x");
        let link = proxy.link("alice");
        let answer = click(&proxy, &link);
        assert_eq!(answer.status, 503, "{way}");
        assert!(answer.text().contains("login_failed"), "{way}: {}", answer.text());
        assert!(!answer.headers.has("set-cookie") && !answer.headers.has("location"), "{way}");
        assert_eq!(logins(&hub).len(), 1, "{way}");
        assert_eq!(proxy.links().status(&link.id), "used", "{way}");
        assert_eq!(click(&proxy, &link).status, 403, "{way}");
        assert_eq!(logins(&hub).len(), 1, "{way}");
    }
}

#[test]
fn a_login_that_the_hub_answers_too_late_is_503_and_never_sent_again() {
    let hub = FakeHub::start();
    let end = Gate::new();
    let until = end.clone();
    hub.on("/hub/login", move |_| {
        until.pass();
        Then::Close
    });
    let proxy = TestProxy::before(&hub).set("limits", "login_hub_timeout = \"100ms\"").start();
    let link = proxy.link("alice");
    assert_eq!(click(&proxy, &link).status, 503);
    end.open();
    assert_eq!((logins(&hub).len(), proxy.links().status(&link.id).as_str()), (1, "used"));
}

#[test]
fn a_hub_that_answers_the_login_with_another_protocol_is_a_bad_gateway() {
    let hub = FakeHub::start();
    hub.on("/hub/login", |exchange| {
        exchange.read_body();
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
        Then::Next
    });
    let proxy = TestProxy::start(&hub);
    let answer = click(&proxy, &proxy.link("alice"));
    assert_eq!(answer.status, 502, "{answer:?}");
}

/// A hub that stops at `path` until the gate is opened, and the gate.
fn stopping_at(path: &'static str) -> (FakeHub, Gate) {
    let hub = FakeHub::start();
    let gate = Gate::new();
    let until = gate.clone();
    hub.on(path, move |exchange| {
        until.pass();
        if path == "/hub/api/user" {
            nobody(exchange)
        } else {
            exchange.answer("302 Found\r\nLocation: /hub/", "")
        }
    });
    (hub, gate)
}

fn begin(proxy: &TestProxy, link: &Issued) -> Wire {
    proxy.browser().navigate(&link.target()).begin()
}

#[test]
fn a_browser_that_goes_away_before_the_login_leaves_the_link_good() {
    let (hub, gate) = stopping_at("/hub/api/user");
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    let gone = begin(&proxy, &link);
    hub.wait_for_path("/hub/api/user");
    gone.reset();
    // The question that nobody waits for any more is given up, and its connection with it.
    gate.open();
    hub.wait_for_open(0);
    assert_still_good(&proxy, &hub, &link, "a browser that went away");
}

#[test]
fn a_browser_that_goes_away_during_the_login_leaves_a_used_link_and_one_whole_login() {
    let (hub, gate) = stopping_at("/hub/login");
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    let gone = begin(&proxy, &link);
    hub.wait_for_path("/hub/login");
    gone.reset();
    assert_eq!(proxy.links().status(&link.id), "used");
    // Comes while the login is under way, and waits for its end. It is another browser's: see double_click.rs.
    let mut second = proxy.browser().navigate(&link.target()).header("User-Agent", "another").begin();
    gate.open();
    let answer = second.answer_to("GET").unwrap();
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(logins(&hub).len(), 1);
    // The connection of the login was read to its end, and serves on.
    assert_eq!((proxy.browser().get("/hub/static/x").status, hub.connections()), (200, 1));
}
