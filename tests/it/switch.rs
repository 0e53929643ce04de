//! Another user is logged in: her session ends first, in every place (SECURITY.md).

use crate::redeem::{click, logins};
use crate::support::proxy::wait_until;
use crate::support::{Browser, Exchange, FakeHub, Gate, TestProxy, Then, Wire};

/// The cookies of somebody at the hub, in the spelling of a real one, among others.
fn log_in_as(browser: &mut Browser, name: &str, session: &str) {
    browser.set_cookie("theme", "\"a|b=c\"", "/");
    browser.set_cookie("jupyterhub-session-id", session, "/");
    browser.set_cookie("jupyterhub-user-bob", "\"2|1:0|x=\"", "/");
    browser.set_cookie("jupyterhub-hub-login", &format!("\"2|1:0|{name}|44:=|sig\""), "/hub/");
    browser.set_cookie("_xsrf", "old", "/hub/");
    browser.set_cookie("__Host-jupyterhub-session-id", "h1", "/");
    browser.set_cookie("__Host-jupyterhub-hub-login", "h2", "/");
    browser.set_cookie("__Host-_xsrf", "h3", "/");
    browser.set_cookie("_xsrf-of-another", "1", "/");
    browser.set_cookie("empty", "", "/");
}

const KEPT: &str = "theme=\"a|b=c\"; jupyterhub-user-bob=\"2|1:0|x=\"; _xsrf-of-another=1; empty=";

#[test]
fn the_earlier_session_is_ended_with_its_own_cookies_before_a_login_without_them() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut browser = proxy.browser();
    log_in_as(&mut browser, "bob", "s-bob");
    let cookies = browser.cookies_for("/hub/login");
    let page = browser.get(&proxy.link("alice").target());
    hub.forget();
    assert_eq!(browser.press(&page).status, 302);
    let seen = hub.seen();
    let targets: Vec<(&str, &str)> =
        seen.iter().map(|seen| (seen.method.as_str(), seen.target.as_str())).collect();
    assert_eq!(targets, [("GET", "/hub/api/user"), ("GET", "/hub/logout"), ("GET", "/hub/login")]);
    assert_eq!(seen[0].headers.get("cookie"), Some(cookies.as_str()));
    assert_eq!(seen[1].headers.get("cookie"), Some(cookies.as_str()));
    assert_eq!(seen[2].headers.get("cookie"), Some(KEPT));
    for request in &seen[..2] {
        let fetch = |(name, _): &(String, String)| name.to_ascii_lowercase().starts_with("sec-fetch");
        assert!(!request.headers.0.iter().any(fetch), "{request:?}");
        assert_eq!(request.headers.count_folded("remote_user"), 0, "{request:?}");
        assert_eq!(request.headers.count_folded("x-hublatch-assertion"), 0, "{request:?}");
    }
    assert_ne!(browser.cookie("jupyterhub-session-id"), Some("s-bob"), "the hub gives a new session");
    assert!(browser.cookie("jupyterhub-hub-login").is_some_and(|cookie| cookie.contains("|alice|")));
}

#[test]
fn the_same_user_keeps_every_cookie_and_her_session() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut browser = proxy.browser();
    log_in_as(&mut browser, "alice", "s-alice");
    let cookies = browser.cookies_for("/hub/login");
    assert_eq!(browser.get(&proxy.link("alice").target()).status, 302);
    assert_eq!(hub.only("/hub/login").headers.get("cookie"), Some(cookies.as_str()));
    assert!(hub.seen_at("/hub/logout").is_empty());
    assert_eq!(browser.cookie("jupyterhub-session-id"), Some("s-alice"));
}

#[test]
fn a_browser_that_is_nobody_logs_in_without_what_is_left_of_an_old_session() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut browser = proxy.browser();
    log_in_as(&mut browser, "bob", "planted");
    // An ended session: the hub knows the cookie no more.
    hub.on("/hub/api/user", crate::redeem::nobody);
    assert_eq!(browser.get(&proxy.link("alice").target()).status, 302);
    assert_eq!(hub.only("/hub/login").headers.get("cookie"), Some(KEPT));
    assert!(hub.seen_at("/hub/logout").is_empty());
    assert_ne!(browser.cookie("jupyterhub-session-id"), Some("planted"));
}

#[test]
fn a_session_that_cannot_be_ended_means_503_and_no_login() {
    for status in
        ["400 Bad Request", "403 Forbidden", "404 Not Found", "500 Oops", "503 Busy", "garbage", "closed"]
    {
        let hub = FakeHub::start();
        hub.on("/hub/logout", move |exchange| match status {
            "garbage" => {
                exchange.read_body();
                exchange.send("SSH-2.0\r\n");
                Then::Close
            }
            "closed" => Then::Close,
            status => exchange.answer(status, ""),
        });
        let proxy = TestProxy::before(&hub).set("login", "confirm = \"never\"").start();
        let mut browser = proxy.browser();
        log_in_as(&mut browser, "bob", "s");
        let link = proxy.link("alice");
        let answer = browser.get(&link.target());
        assert_eq!(answer.status, 503, "{status}");
        assert!(answer.text().contains("logout_failed"), "{status}: {}", answer.text());
        assert!(logins(&hub).is_empty(), "{status}");
        assert!(!answer.headers.has("set-cookie"), "{status}");
        assert_eq!(
            (hub.seen_at("/hub/logout").len(), proxy.metric("hublatch_switches_total")),
            (1, 0),
            "{status}"
        );
        // The link is spent, whoever comes with it now.
        assert_eq!(click(&proxy, &link).status, 403, "{status}");
        assert!(logins(&hub).is_empty(), "{status}");
    }
}

#[test]
fn a_logout_that_redirects_has_ended_the_session() {
    for status in ["200 OK", "204 No Content", "302 Found\r\nLocation: /hub/login"] {
        let hub = FakeHub::start();
        hub.on("/hub/logout", move |exchange| {
            exchange.read_body();
            let length = if status.starts_with("204") { "" } else { "Content-Length: 0\r\n" };
            exchange.send(format!(
                "HTTP/1.1 {status}\r\nSet-Cookie: jupyterhub-hub-login=; Path=/hub/\r\n{length}\r\n"
            ));
            Then::Next
        });
        let proxy = TestProxy::before(&hub).set("login", "confirm = \"never\"").start();
        let mut browser = proxy.browser();
        log_in_as(&mut browser, "bob", "s");
        let answer = browser.get(&proxy.link("alice").target());
        assert_eq!((answer.status, proxy.metric("hublatch_switches_total")), (302, 1), "{status}");
        assert!(
            browser.cookie("jupyterhub-hub-login").is_some_and(|cookie| cookie.contains("alice")),
            "{status}"
        );
    }
}

#[test]
fn a_hub_that_closes_after_the_logout_gets_the_login_over_a_new_connection() {
    let hub = FakeHub::start();
    hub.on("/hub/logout", |exchange| {
        exchange.answer("200 OK\r\nConnection: close", "bye");
        Then::Close
    });
    let proxy = TestProxy::before(&hub).set("login", "confirm = \"never\"").start();
    let mut browser = proxy.browser();
    log_in_as(&mut browser, "bob", "s");
    assert_eq!(browser.get(&proxy.link("alice").target()).status, 302);
    assert_eq!((logins(&hub).len(), hub.connections()), (1, 2));
}

/// A hub whose `/user/…/ws` agrees to a WebSocket and then sends back what it gets.
fn hub_with_websockets() -> FakeHub {
    let hub = FakeHub::start();
    hub.otherwise(|exchange| {
        if !exchange.seen.headers.has("upgrade") {
            return exchange.answer("200 OK", "");
        }
        agree(exchange);
        while let Some(line) = exchange.wire.until(b"\n") {
            exchange.send(line);
        }
        Then::Close
    });
    hub
}

fn agree(exchange: &mut Exchange<'_>) {
    exchange.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
}

fn ask_for_tunnel(browser: &mut Browser, target: &str) -> Wire {
    let sending =
        browser.request("GET", target).header("Connection", "Upgrade").header("Upgrade", "websocket");
    sending.begin()
}

fn tunnel(browser: &mut Browser, target: &str) -> Wire {
    let mut wire = ask_for_tunnel(browser, target);
    let head = wire.head().expect("a head");
    assert!(head.line.starts_with("HTTP/1.1 101"), "{}", head.line);
    assert_alive(&mut wire);
    wire
}

fn assert_alive(wire: &mut Wire) {
    wire.send("1+1\n");
    assert_eq!(wire.until(b"\n").as_deref(), Some(&b"1+1\n"[..]));
}

#[test]
fn the_tunnels_of_the_ended_session_are_closed_and_no_others() {
    let hub = hub_with_websockets();
    let proxy = TestProxy::before(&hub).set("public", "threads = 2").start();
    let (mut bob, mut bob_elsewhere, mut carol, mut nobody) =
        (proxy.browser(), proxy.browser(), proxy.browser(), proxy.browser());
    log_in_as(&mut bob, "bob", "s-bob");
    log_in_as(&mut bob_elsewhere, "bob", "s-bob-at-home");
    carol.set_cookie("jupyterhub-session-id", "s-carol", "/");
    let mut closed: Vec<Wire> =
        (0..4).map(|_| tunnel(&mut bob, "/user/bob/api/kernels/1/channels")).collect();
    let mut open = [
        tunnel(&mut bob_elsewhere, "/user/bob/ws"),
        tunnel(&mut carol, "/user/carol/ws"),
        tunnel(&mut nobody, "/services/x/ws"),
    ];
    // The other forms of the cookie are the same in both of bob's browsers; a session is known by any of them.
    bob_elsewhere.set_cookie("__Host-jupyterhub-session-id", "other", "/");
    open[0] = tunnel(&mut bob_elsewhere, "/user/bob/ws");
    let page = bob.get(&proxy.link("alice").target());
    closed.iter_mut().for_each(assert_alive);
    assert_eq!(bob.press(&page).status, 302);
    for wire in &mut closed {
        assert!(wire.is_ended());
    }
    open.iter_mut().for_each(assert_alive);
    wait_until("four tunnels to be gone", || proxy.metric("hublatch_tunnels") == 3);
}

#[test]
fn a_tunnel_whose_handshake_is_under_way_goes_with_its_session() {
    let hub = FakeHub::start();
    let gate = Gate::new();
    let until = gate.clone();
    hub.on("/user/bob/ws", move |exchange| {
        until.pass();
        agree(exchange);
        while exchange.wire.fill() {}
        Then::Close
    });
    let proxy = TestProxy::before(&hub).set("login", "confirm = \"never\"").start();
    let mut browser = proxy.browser();
    log_in_as(&mut browser, "bob", "s");
    let mut wire = ask_for_tunnel(&mut browser, "/user/bob/ws");
    hub.wait_for_path("/user/bob/ws");
    assert_eq!(browser.get(&proxy.link("alice").target()).status, 302);
    gate.open();
    wire.head();
    assert!(wire.is_ended(), "the tunnel of the earlier user stays");
}

#[test]
fn a_second_session_cookie_does_not_save_a_tunnel() {
    let hub = hub_with_websockets();
    let proxy = TestProxy::before(&hub).set("login", "confirm = \"never\"").start();
    let mut browser = proxy.browser();
    log_in_as(&mut browser, "bob", "s");
    // What a page of bob's server can do: browsers send the cookie of the longer path first.
    let request = "GET /user/bob/ws HTTP/1.1\r\nHost: hub.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Cookie: jupyterhub-session-id=planted; jupyterhub-session-id=s\r\n\r\n";
    let mut wire = proxy.connect();
    wire.send(request);
    assert!(wire.head().is_some_and(|head| head.line.contains(" 101 ")));
    assert_alive(&mut wire);
    assert_eq!(browser.get(&proxy.link("alice").target()).status, 302);
    assert!(wire.is_ended());
}

#[test]
fn the_tunnels_of_the_same_user_stay_open() {
    let hub = hub_with_websockets();
    let proxy = TestProxy::start(&hub);
    let mut browser = proxy.browser();
    log_in_as(&mut browser, "alice", "s");
    let mut wire = tunnel(&mut browser, "/user/alice/ws");
    assert_eq!(browser.get(&proxy.link("alice").target()).status, 302);
    assert_alive(&mut wire);
}

#[test]
fn nothing_is_closed_while_the_person_is_still_asked_or_when_the_link_is_refused() {
    let hub = hub_with_websockets();
    let proxy = TestProxy::start(&hub);
    let mut browser = proxy.browser();
    log_in_as(&mut browser, "bob", "s");
    let mut wire = tunnel(&mut browser, "/user/bob/ws");
    let link = proxy.link("alice");
    let page = browser.get(&link.target());
    assert_eq!(page.status, 200);
    assert_alive(&mut wire);
    assert_eq!(click(&proxy, &link).status, 302, "somebody else is faster");
    assert_eq!(browser.press(&page).status, 403);
    assert_alive(&mut wire);
    assert!(hub.seen_at("/hub/logout").is_empty());
}

#[test]
fn a_switch_that_the_hub_refuses_to_log_in_has_still_logged_the_earlier_user_out() {
    let hub = FakeHub::start();
    hub.on("/hub/login", |exchange| exchange.answer("403 Forbidden", "User 'alice' not allowed."));
    let proxy = TestProxy::before(&hub).set("login", "confirm = \"never\"").start();
    let mut browser = proxy.browser();
    log_in_as(&mut browser, "bob", "s");
    let answer = browser.get(&proxy.link("alice").target());
    assert_eq!((answer.status, hub.seen_at("/hub/logout").len()), (403, 1));
    assert_eq!(answer.text(), "User 'alice' not allowed.");
}
