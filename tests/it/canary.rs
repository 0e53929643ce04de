//! Known secrets sent through every outcome, with every sink open at trace level: none of them is in a log line, a
//! metric, an audit line, a page, a redirect, or a byte that reaches the hub.

mod hub_tokens;
mod sinks;
mod thousand;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use sinks::{Sinks, log, talkative};

use crate::redeem::nobody;
use crate::support::faulty_store::{At, Fault, FaultyStore};
use crate::support::form::Form;
use crate::support::proxy::standing_clock;
use crate::support::wire::raw;
use crate::support::{Answer, FakeHub, TestProxy, Then};

#[test]
pub fn a_login_and_what_follows_it_tell_nobody_the_token() {
    let mut sinks = Sinks::open(talkative);
    let link = sinks.link("a redeemed token");
    let mut browser = sinks.proxy.browser();
    let login = browser.get(&link.target());
    sinks.took("the login", 302, &login);
    let again = browser.get(&link.target());
    sinks.took("the refreshed link", 303, &again);
    sinks.visit("the used link", 403, &link.target());
    let json = browser.request("GET", &link.target()).header("Accept", "application/json").send();
    sinks.took("the refreshed link for a program", 303, &json);
    let other = sinks.link("an exchanged token");
    let body = json!({ "token": other.token }).to_string();
    let exchanged = sinks.proxy.links().call("POST", "/login", &[], body.as_str());
    sinks.took("the exchange", 200, &exchanged);
    let again = sinks.proxy.links().call("POST", "/login", &[], body);
    sinks.took("the exchange of a used token", 404, &again);
    let proof = sinks.hub.only("/hub/login").headers.get("x-hublatch-assertion").unwrap().to_owned();
    assert!(!log().text().contains(&proof[..proof.len() / 2]), "the assertion is in the log");
    sinks.assert_tight();
}

#[test]
fn no_refusal_repeats_the_token() {
    let clock = standing_clock();
    let moved = Arc::clone(&clock);
    let mut sinks = Sinks::open(move |hub| {
        TestProxy::before(hub).set("log", "access = true\nlevel = \"trace\"").clock(&clock).start()
    });
    let link = sinks.link("an expired token");
    moved.advance(Duration::from_secs(31));
    sinks.visit("the expired link", 403, &link.target());
    let link = sinks.link("a revoked token");
    let revoked = sinks.proxy.links().call("DELETE", &format!("/api/v1/links/{}", link.id), &[], "");
    sinks.took("the revocation", 204, &revoked);
    sinks.visit("the revoked link", 403, &link.target());
    let unknown = format!("hl_{}", "CanaryUnknown".repeat(4).split_at(43).0);
    sinks.secrets.push(("an unknown token".to_owned(), unknown.clone()));
    sinks.visit("the unknown link", 403, &format!("/hub/login?login_token={unknown}"));

    let link = sinks.link("a token that stays good");
    let (target, token) = (link.target(), link.token.as_str());
    for (what, status, target) in [
        ("a bad next", 400, format!("{target}&next=//evil.example")),
        ("a next with the token in it", 400, format!("{target}&next=/x%3Flogin_token%3D{token}")),
        ("two tokens", 400, format!("{target}&login_token={token}")),
        ("another spelling", 400, format!("/hub/login?LOGIN-TOKEN={token}")),
        ("a longer token", 403, format!("/hub/login?login_token={token}x")),
        ("a dot segment", 400, format!("/x/../hub/login?login_token={token}")),
        ("a mangled link", 400, format!("/hub/login%3Flogin_token%3D{token}")),
        ("a link with & for ?", 400, format!("/hub/login&login_token={token}")),
        ("a link with ; for ?", 400, format!("/hub/login;login_token={token}")),
        ("a link mangled twice", 400, format!("/hub/login%253Flogin_token={token}")),
        ("another path", 200, format!("/user/alice/lab?login_token={token}&a=1")),
        ("a nested token", 200, format!("/hub/x?next=%2Fhub%2Flogin%3Flogin_token%3D{token}")),
        (
            "a deeply nested token",
            200,
            format!("/hub/x?next=%252Fhub%252Flogin%253Flogin%255Ftoken%253D{token}"),
        ),
    ] {
        sinks.visit(what, status, &target);
    }
    let host = "Host: hub.test\r\n";
    let large = "x".repeat(40_000);
    for (what, status, request) in [
        ("HEAD", 200, format!("HEAD {target} HTTP/1.1\r\n{host}\r\n")),
        ("a prefetch", 503, format!("GET {target} HTTP/1.1\r\n{host}Sec-Purpose: prefetch\r\n\r\n")),
        ("an image", 403, format!("GET {target} HTTP/1.1\r\n{host}Sec-Fetch-Mode: no-cors\r\n\r\n")),
        (
            "an upgrade",
            400,
            format!("GET {target} HTTP/1.1\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
        ),
        ("another method", 403, format!("PUT {target} HTTP/1.1\r\n{host}Content-Length: 0\r\n\r\n")),
        ("TRACE", 405, format!("TRACE {target} HTTP/1.1\r\n{host}\r\n")),
        ("a bare line feed", 400, format!("GET {target} HTTP/1.1\n{host}\r\n")),
        ("no Host", 400, format!("GET {target} HTTP/1.1\r\n\r\n")),
        ("a fragment", 400, format!("GET {target}#top HTTP/1.1\r\n{host}\r\n")),
        ("a space", 400, format!("GET {target} x HTTP/1.1\r\n{host}\r\n")),
        ("another authority", 400, format!("GET http://evil.example{target} HTTP/1.1\r\n{host}\r\n")),
        ("a large head", 431, format!("GET {target} HTTP/1.1\r\n{host}X: {large}\r\n\r\n")),
        (
            "two lengths",
            400,
            format!("GET {target} HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 1\r\n\r\n"),
        ),
        (
            "a Referer",
            200,
            format!("GET /hub/static/x HTTP/1.1\r\n{host}Referer: http://hub.test{target}\r\n\r\n"),
        ),
        (
            "a mangled Referer",
            200,
            format!(
                "GET /hub/static/x HTTP/1.1\r\n{host}Referer: http://hub.test/hub/login%3Flogin_token%3D{token}\r\n\r\n"
            ),
        ),
        (
            "our cookie on another path",
            200,
            format!("GET /hub/static/x HTTP/1.1\r\n{host}Cookie: hublatch-token={token}\r\n\r\n"),
        ),
        (
            "a WebSocket",
            200,
            format!(
                "GET /ws?login_token={token} HTTP/1.1\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            ),
        ),
    ] {
        sinks.send(what, status, &request);
    }
    assert_eq!(sinks.proxy.links().status(&link.id), "pending");
    sinks.assert_tight();
}

#[test]
fn no_failure_of_the_hub_repeats_the_token() {
    let mut sinks = Sinks::open(talkative);
    let link = sinks.link("a token before a dead hub");
    sinks.hub.on("/hub/api/user", |exchange| exchange.answer("500 Oops", ""));
    sinks.visit("a hub that fails", 503, &link.target());
    sinks.hub.on("/hub/api/user", |_| Then::Close);
    sinks.visit_again("a hub that hangs up", 503, &link.target());
    sinks.hub.on("/hub/api/user", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n");
        Then::Close
    });
    sinks.visit("a hub that talks nonsense", 503, &link.target());
    sinks.hub.on("/hub/api/user", nobody);
    sinks.hub.on("/hub/login", |_| Then::Close);
    sinks.visit("a login that is not answered", 503, &link.target());
    let link = sinks.link("a token before a logout that fails");
    sinks.hub.on("/hub/api/user", |exchange| exchange.answer("200 OK", r#"{"name":"bob"}"#));
    sinks.hub.on("/hub/logout", |exchange| exchange.answer("500 Oops", ""));
    let page = sinks.proxy.browser().get(&link.target());
    let failed = sinks.proxy.browser().press(&page);
    sinks.took("a logout that fails", 503, &failed);
    let link = sinks.link("a token before a hub that switches protocols");
    sinks.hub.on("/hub/api/user", nobody);
    sinks.hub.on("/hub/login", |exchange| {
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
        Then::Close
    });
    sinks.visit("a hub that switches protocols", 502, &link.target());
    sinks.assert_tight();
}

#[test]
fn only_the_field_of_the_confirm_page_and_the_hand_over_cookie_hold_the_token() {
    let mut sinks = Sinks::open(|hub| {
        TestProxy::before(hub).set("login", "confirm = \"always\"").set("log", "access = true").start()
    });
    let link = sinks.link("a token that is asked about");
    let token = link.token.clone();
    let mut browser = sinks.proxy.browser();
    let mut page = browser.get(&format!("{}&back=%2Fx%3Flogin_token%3D{token}", link.target()));
    let form = Form::on(&page.text());
    let field = format!("name=\"login_token\" value=\"{token}\"");
    assert!(page.text().contains(&field), "{}", page.text());
    page.body = page.text().replacen(&field, "", 1).into_bytes();
    sinks.took("the confirm page, less its field", 200, &page);
    let json = browser.request("GET", &link.target()).header("Accept", "application/json").send();
    sinks.took("the confirm page for a program", 403, &json);

    let unrecognised =
        browser.post(&form).header("Origin", "https://portal.example").without("Sec-Fetch-Site").send();
    sinks.took("a button that cannot be recognised", 403, &unrecognised);
    let theirs = Form::of("/hub/login", &[("login_token", &token)]);
    let mut handed =
        browser.post(&theirs).header("Origin", "https://portal.example").without("Sec-Fetch-Site").send();
    let cookie = format!("={token};");
    let head = String::from_utf8_lossy(&handed.head).into_owned();
    assert!(head.contains("hublatch-token-") && head.contains(&cookie), "{head}");
    handed.head = head.replacen(&cookie, "", 1).into_bytes();
    sinks.took("the hand-over, less its cookie", 303, &handed);

    let nested =
        Form::of("/hub/login", &[("login_token", &token), ("next", &format!("/x?login_token={token}"))]);
    let answer = browser.post(&nested).send();
    sinks.took("a form with the token in next", 400, &answer);
    let large = format!("login_token={token}&a={}", "x".repeat(17_000));
    let answer = browser.post(&form).body(large).send();
    sinks.took("a large form", 413, &answer);
    let answer = browser.post(&form).body(format!("login_token={token}&login_token={token}")).send();
    sinks.took("a form with two tokens", 400, &answer);
    let answer = browser.post(&form).body(format!("login_token={token}&a=\n")).send();
    sinks.took("a broken form", 400, &answer);
    let login = browser.press(&Answer { body: form_page(&form).into_bytes(), ..page });
    sinks.took("the login", 302, &login);
    let again = browser.post(&form).send();
    sinks.took("the button pressed again", 303, &again);
    sinks.assert_tight();
}

/// A page with `form`, for a browser to press.
fn form_page(form: &Form) -> String {
    let field = |(name, value): &(String, String)| {
        format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\">")
    };
    let fields: String = form.fields.iter().map(field).collect();
    format!("<form method=\"post\" action=\"{}\">{fields}</form>", form.action)
}

#[test]
fn a_form_of_another_site_with_the_token_in_its_next_does_not_get_it_back_in_the_redirect() {
    let mut sinks = Sinks::open(talkative);
    let link = sinks.link("a nested token");
    let next = format!("/x?login_token={}", link.token);
    let form = Form::of(
        "/hub/login",
        &[("login_token", "hl_0123456789012345678901234567890123456789012"), ("next", &next)],
    );
    let mut browser = sinks.proxy.browser();
    let answer =
        browser.post(&form).header("Origin", "https://portal.example").without("Sec-Fetch-Site").send();
    sinks.told.push(("the redirect", [answer.head.as_slice(), &answer.body].concat()));
    sinks.assert_tight();
}

#[test]
fn a_panic_on_the_way_tells_nobody_the_token_and_stops_nothing_else() {
    let store = Arc::new(FaultyStore::new());
    let mut sinks = Sinks::open(|hub| {
        TestProxy::before(hub)
            .set("log", "access = true\nlevel = \"trace\"")
            .clock(&standing_clock())
            .store(Arc::clone(&store) as _)
            .start()
    });
    let words = Arc::new(Mutex::new(Vec::new()));
    let (told, before) = (Arc::clone(&words), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        told.lock().unwrap().push(panic.to_string());
        before(panic);
    }));
    for call in ["find", "consume"] {
        let link = sinks.link("a token before a panic");
        store.arm(At::Each(call), Fault::Panics);
        let request =
            format!("GET {} HTTP/1.1\r\nHost: hub.test\r\nConnection: close\r\n\r\n", link.target());
        let answer = raw(sinks.proxy.address(), request);
        assert!(!answer.starts_with(b"HTTP/1.1 302 "), "{call}");
        assert_eq!(sinks.hub.seen_at("/hub/login").len(), 0, "{call}");
        sinks.told.push(("what is left of the answer", answer));
        store.heal();
        assert_eq!(
            sinks.proxy.browser().get(&link.target()).status,
            302,
            "{call}: others are served, and it is good"
        );
        sinks.hub.forget();
    }
    let words = words.lock().unwrap().join("\n");
    assert!(words.contains("the store is broken"), "{words}");
    sinks.told.push(("the words of the panic", words.into_bytes()));
    sinks.assert_tight();
}

#[test]
fn no_answer_of_the_api_but_the_one_that_issues_holds_a_token_and_none_holds_a_key() {
    let mut sinks = Sinks::open(talkative);
    let key = sinks.proxy.key().to_owned();
    let order = json!({ "username": "alice", "next": "/hub/home", "note": "n" });
    let link = sinks.link_of("an issued token", &order);
    let links = sinks.proxy.links();
    let bearer = format!("Bearer {key}");
    let wrong = format!("token {key}x");
    let basic = format!("Basic {key}");
    let body = order.to_string();
    let by_id = format!("/api/v1/links/{}", link.id);
    let by_token = format!("/api/v1/links/{}", link.token);
    let in_query = format!("/api/v1/info?login_token={}&key={key}", link.token);
    let broken = format!("{{\"token\":\"{}\"", link.token);
    let unknown_field = format!("{{\"token\":\"{}\",\"key\":\"{key}\"}}", link.token);
    let as_name = json!({ "username": link.token }).to_string();
    for (what, status, method, path, headers, body) in [
        ("a status", 200, "GET", by_id.as_str(), vec![("Authorization", bearer.as_str())], ""),
        ("a wrong key", 401, "POST", "/api/v1/links", vec![("Authorization", wrong.as_str())], body.as_str()),
        (
            "another scheme",
            401,
            "POST",
            "/api/v1/links",
            vec![("Authorization", basic.as_str())],
            body.as_str(),
        ),
        ("a token for an id", 404, "GET", by_token.as_str(), vec![], ""),
        ("secrets in a query", 200, "GET", in_query.as_str(), vec![], ""),
        ("half a body", 400, "POST", "/login", vec![], broken.as_str()),
        ("an unknown field", 422, "POST", "/login", vec![], unknown_field.as_str()),
        ("a token for a name", 400, "POST", "/api/v1/links", vec![], as_name.as_str()),
        (
            "a browser",
            403,
            "POST",
            "/login",
            vec![("Origin", "https://evil.example")],
            unknown_field.as_str(),
        ),
        ("the metrics", 200, "GET", "/metrics", vec![], ""),
        ("an unknown path", 404, "GET", "/x", vec![], ""),
        ("another method", 405, "PUT", "/login", vec![], broken.as_str()),
    ] {
        let answer = links.call(method, path, &headers, body);
        sinks.took(what, status, &answer);
    }
    sinks.assert_tight();
}

#[test]
pub fn no_event_carries_a_query_a_cookie_or_a_body() {
    log();
    let hub = FakeHub::start();
    let proxy = talkative(&hub);
    let marked = |what: &str| format!("canary-{what}-5f3a");
    let mut browser = proxy.browser();
    browser.set_cookie("c", &marked("cookie"), "/");
    let target = format!("/canary-path/x?q={}", marked("query"));
    browser.get(&target);
    browser.get(&format!("/x/../canary-path?q={}", marked("query")));
    browser.request("POST", &target).body(marked("body")).header("Authorization", &marked("header")).send();
    browser.get(&format!("{}&q={}", proxy.link("alice").target(), marked("query")));
    hub.on("/canary-path/down", |_| Then::Close);
    browser.request("POST", &format!("/canary-path/down?q={}", marked("query"))).body("x").send();
    drop(proxy);
    let text = log().text();
    assert!(text.contains("/canary-path/x"), "the log is open: the path is told");
    for what in ["query", "cookie", "body", "header"] {
        assert!(!text.contains(&marked(what)), "{what}");
    }
}
