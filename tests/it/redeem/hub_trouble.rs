//! A hub that fails, is silent or is gone; a browser that goes away: no half login, and none that is tried again.

use super::*;
use crate::support::hub::absent;

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
        let told = match way {
            "404" | "a redirect" | "204" | "101" => (502, "hub_unexpected"),
            _ => (503, "hub_unavailable"),
        };
        assert_eq!(answer.status, told.0, "{way}");
        assert!(answer.text().contains(told.1), "{way}: {}", answer.text());
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
    let proxy = TestProxy::before(&hub).set("limits", "login_hub_timeout = \"1s\"").start();
    let link = proxy.link("alice");
    assert_eq!(click(&proxy, &link).status, 503);
    silent.store(false, Ordering::SeqCst);
    end.open();
    assert_still_good(&proxy, &hub, &link, "a silent hub");
}

#[test]
fn a_hub_that_is_not_there_means_503_and_the_link_stays_good() {
    let (_held, url) = absent();
    let proxy = TestProxy::before_url(&url).start();
    let link = proxy.link("alice");
    let answer = click(&proxy, &link);
    assert_eq!((answer.status, proxy.links().status(&link.id).as_str()), (503, "pending"));
}

#[test]
fn an_idle_connection_that_the_hub_has_closed_is_replaced_before_the_login() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for _ in 0..3 {
        let mut browser = proxy.browser();
        // The hub is asked about it, over a connection that is there.
        browser.set_cookie("jupyterhub-session-id", "of-long-ago", "/");
        assert_eq!(browser.get(&proxy.link("alice").target()).status, 302);
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
    let proxy = TestProxy::before(&hub).set("limits", "login_hub_timeout = \"1s\"").start();
    let link = proxy.link("alice");
    assert_eq!(click(&proxy, &link).status, 503);
    end.open();
    assert_eq!((logins(&hub).len(), proxy.links().status(&link.id).as_str()), (1, "used"));
}

#[test]
fn a_login_has_the_time_of_a_login_and_not_that_of_other_requests() {
    for path in ["/hub/api/user", "/hub/login"] {
        let (hub, gate) = stopping_at(path);
        let silence = gate.clone();
        hub.on("/hub/home", move |exchange| {
            silence.pass();
            exchange.answer("200 OK", "")
        });
        let proxy = TestProxy::before(&hub).set("limits", "upstream_head_timeout = \"200ms\"").start();
        let link = proxy.link("alice");
        let mut browser = proxy.browser();
        // So that the hub is asked about it.
        browser.set_cookie("jupyterhub-session-id", "of-long-ago", "/");
        let mut clicked = browser.navigate(&link.target()).begin();
        hub.wait_for_path(path);
        // Later than the login, and over before it.
        assert_eq!(proxy.browser().get("/hub/home").status, 504, "{path}");
        gate.open();
        let answer = clicked.answer_to("GET").expect("an answer");
        assert_eq!(answer.status, 302, "{path}: {}", answer.text());
    }
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

#[test]
fn what_the_hub_answers_in_place_of_a_name_is_told_truthfully_and_uses_nothing_up() {
    const JSON: &str = "Content-Type: application/json";
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    let large = format!("big={}", "x".repeat(5000));
    for (head, body, cookies, status, code) in [
        ("302 Found\r\nLocation: https://sso.example/".to_owned(), "", "", 502, "hub_unexpected"),
        ("400 Bad Request".to_owned(), "", "", 502, "hub_unexpected"),
        ("404 Not Found".to_owned(), "", large.as_str(), 502, "hub_unexpected"),
        ("413 Content Too Large".to_owned(), "", "", 502, "hub_unexpected"),
        ("414 URI Too Long".to_owned(), "", "", 502, "hub_unexpected"),
        ("418 I am a teapot".to_owned(), "", "", 502, "hub_unexpected"),
        (format!("500 Internal Server Error\r\n{JSON}"), "{\"status\":500}", "", 503, "hub_unavailable"),
        ("501 Not Implemented".to_owned(), "", "", 503, "hub_unavailable"),
        ("429 Too Many Requests\r\nRetry-After: 9".to_owned(), "", "", 503, "hub_busy"),
        ("429 Too Many Requests".to_owned(), "", "", 503, "hub_busy"),
        ("503 Service Unavailable\r\nRetry-After: 7".to_owned(), "", "", 503, "hub_busy"),
        (format!("503 Service Unavailable\r\n{JSON}"), "{\"status\":503}", "", 503, "hub_busy"),
        ("503 Service Unavailable".to_owned(), "", "", 503, "hub_unavailable"),
        ("502 Bad Gateway".to_owned(), "", "", 503, "hub_unavailable"),
        ("504 Gateway Timeout".to_owned(), "", "", 503, "hub_unavailable"),
        ("431 Request Header Fields Too Large".to_owned(), "", "", 431, "too_many_cookies"),
        // So nginx says it.
        ("400 Request Header Or Cookie Too Large".to_owned(), "", large.as_str(), 431, "too_many_cookies"),
    ] {
        let (sent, text) = (head.clone(), body.to_owned());
        hub.on("/hub/api/user", move |exchange| exchange.answer(&sent, text.clone()));
        let mut browser = proxy.browser();
        if let Some((name, value)) = cookies.split_once('=') {
            browser.set_cookie(name, value, "/");
        }
        let before = proxy.audit().len();
        let answer = browser.get(&link.target());
        assert_eq!(answer.status, status, "{head}: {}", answer.text());
        assert!(answer.text().contains(&format!("Error {status}, {code}")), "{head}: {}", answer.text());
        if code == "hub_unexpected" {
            let first = head.split_whitespace().next().expect("a status");
            assert!(answer.text().contains(&format!("dir=\"auto\">{first}")), "{}", answer.text());
        }
        // Of a hub that has failed (5xx) as of one that is silent: the notebooks do not answer.
        let is_silent = answer.text().contains("do not answer");
        assert_eq!(is_silent, code == "hub_unavailable", "{head}: {}", answer.text());
        let wait = head.split("Retry-After: ").nth(1).unwrap_or("5");
        assert_eq!(answer.headers.get("retry-after"), (code == "hub_busy").then_some(wait), "{head}");
        let reason = || proxy.audit().get(before).map(|line| line["reason"].clone());
        crate::support::proxy::wait_until("the refusal is in the audit", || reason().is_some());
        assert_eq!(reason(), Some(json!(code)), "{head}");
        // Without a link as well.
        let without = browser.get("/hub/login");
        assert_eq!(without.status, status, "{head}");
        assert!(without.text().contains(code), "{head}");
    }
    hub.on("/hub/api/user", nobody);
    assert_still_good(&proxy, &hub, &link, "odd answers");
}

#[test]
fn a_browser_with_too_many_cookies_gets_rid_of_them_by_a_button_and_goes_on_with_its_link() {
    let hub = FakeHub::start();
    hub.on("/hub/api/user", |exchange| {
        let size: usize = exchange.seen.headers.all("cookie").iter().map(|line| line.len()).sum();
        if size > 16 * 1024 {
            exchange.answer("431 Request Header Fields Too Large", "")
        } else {
            nobody(exchange)
        }
    });
    let proxy = TestProxy::start(&hub);
    let link = proxy.links().issue(&json!({ "username": "alice", "next": "/user/alice/lab?a=1&b" }));
    let mut browser = proxy.browser();
    browser.set_cookie("theme", "dark", "/");
    for number in 0..6 {
        browser.set_cookie(
            &format!("big{number}"),
            &"x".repeat(3500),
            if number % 2 == 0 { "/" } else { "/hub/" },
        );
    }
    let page = browser.get(&link.target());
    assert_eq!(page.status, 431);
    let form = crate::support::form::Form::on(&page.text());
    // From another site it deletes nothing.
    let foreign =
        browser.post(&form).header("Origin", "https://evil.example").header("Sec-Fetch-Site", "cross-site");
    let foreign = foreign.send();
    assert_eq!((foreign.status, foreign.headers.has("set-cookie")), (403, false));
    let gone = browser.press(&page);
    assert_eq!((gone.status, gone.location()), (303, "/hub/login?next=%2Fuser%2Falice%2Flab%3Fa%3D1%26b"));
    assert!(!gone.text().contains(&link.token) && !gone.location().contains("login_token"));
    assert!(browser.cookies_named("big").is_empty(), "they are gone");
    let target = gone.location().to_owned();
    let login = browser.get(&target);
    assert_eq!((login.status, login.location()), (302, "/user/alice/lab?a=1&b"), "{}", login.text());
    assert_eq!(proxy.links().status(&link.id), "used");
}
