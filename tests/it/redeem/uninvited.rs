//! Requests that are nobody's click: none of them uses a link up.

use super::*;

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
