//! "Continue as alice": when a person is asked first, and forms with a token.

mod forms;

use serde_json::json;

use crate::redeem::{assert_still_good, click, logins};
use crate::support::form::Form;
use crate::support::{Answer, Browser, FakeHub, Issued, TestProxy};

fn asks(answer: &Answer) -> bool {
    answer.status == 200 && answer.text().contains("<form ")
}

/// What a link in a page of another site sends.
fn from_another_site(browser: &mut Browser, link: &Issued, referer: Option<&str>) -> Answer {
    let sending = browser.navigate(&link.target()).header("Sec-Fetch-Site", "cross-site");
    match referer {
        Some(referer) => sending.header("Referer", referer).send(),
        None => sending.send(),
    }
}

#[test]
fn by_default_a_person_is_not_asked() {
    let hub = FakeHub::start();
    for origin in ["http://hub.test", "https://hub.test"] {
        let proxy = TestProxy::before(&hub).public_url(origin).start();
        assert_eq!(click(&proxy, &proxy.link("alice")).status, 302, "{origin}");
        let mut again = proxy.browser();
        again.set_cookie("jupyterhub-hub-login", "alice", "/hub/");
        assert_eq!(again.get(&proxy.link("alice").target()).status, 302, "{origin}: the same user");
    }
}

#[test]
fn a_person_is_asked_before_another_user_is_logged_out_and_told_both_names() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    browser.set_cookie("jupyterhub-hub-login", "bob", "/hub/");
    let page = browser.get(&link.target());
    assert!(asks(&page), "{page:?}");
    let text = page.text();
    assert!(text.contains("Continue as <bdi>alice</bdi>"), "{text}");
    assert!(text.contains("You are logged in as <bdi>bob</bdi> now"), "{text}");
    assert_eq!(page.headers.all("referrer-policy"), ["strict-origin"]);
    assert_eq!(page.headers.all("cache-control"), ["no-store"]);
    assert!(logins(&hub).is_empty() && hub.seen_at("/hub/logout").is_empty());
    assert_eq!(proxy.links().status(&link.id), "pending");
    assert_eq!(browser.press(&page).status, 302);
    assert_eq!((logins(&hub).len(), hub.seen_at("/hub/logout").len()), (1, 1));
}

#[test]
fn the_page_holds_the_token_and_next_and_its_button_logs_in_once() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("login", "confirm = \"always\"").start();
    let next = "/user/alice/lab/tree/ä \"b\"<c>&d='e'?x=%20y&z=+#top";
    let link = proxy.links().issue(&json!({ "username": "alice", "next": next }));
    let mut browser = proxy.browser();
    let target = format!("{}&a=%22%3C&b='x'&c", link.target());
    let page = browser.get(&target);
    let form = Form::on(&page.text());
    assert_eq!(form.field("login_token"), Some(link.token.as_str()));
    assert_eq!(form.field("next"), Some(next));
    assert_eq!((form.fields.len(), form.field("hublatch_form")), (3, Some("confirm")));
    assert_eq!(form.action, "/hub/login?a=%22%3C&b='x'&c");
    // The token stands in the field and nowhere else on the page.
    assert_eq!(page.text().matches(&link.token).count(), 1);
    let answer = browser.press(&page);
    assert_eq!(answer.status, 302, "{}", answer.text());
    let login = hub.only("/hub/login");
    assert_eq!((login.method.as_str(), login.body.len()), ("GET", 0));
    let sent = percent_encoding::percent_decode_str(login.query().split('&').next().unwrap());
    assert_eq!(sent.decode_utf8().unwrap(), format!("next={next}"));
    assert!(login.query().ends_with("&a=%22%3C&b='x'&c"), "{}", login.query());
    for name in ["origin", "content-type", "content-length", "transfer-encoding"] {
        assert!(!login.headers.has(name), "{name}: {:?}", login.headers);
    }
    // Once: pressed again it leads on, for the one it has logged in, and for nobody else.
    assert_eq!(browser.post(&form).send().status, 303);
    assert_eq!(proxy.browser().post(&form).send().status, 403);
    assert_eq!(logins(&hub).len(), 1);
}

#[test]
fn a_next_of_the_query_survives_the_page() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("login", "confirm = \"always\"").start();
    for (next, sent) in [
        ("%2Fuser%2Falice%2Flab%3Fx%3D1%26y", "next=%2Fuser%2Falice%2Flab%3Fx%3D1%26y"),
        ("/hub/home", "next=%2Fhub%2Fhome"),
        ("/a+b%2B", "next=%2Fa+b%2B"),
        ("/%C3%A9%252F", "next=%2F%C3%A9%252F"),
    ] {
        let link = proxy.link("alice");
        let mut browser = proxy.browser();
        let page = browser.get(&format!("{}&next={next}", link.target()));
        hub.forget();
        assert_eq!(browser.press(&page).status, 302, "{next}");
        assert_eq!(hub.only("/hub/login").query(), sent, "{next}");
    }
    let link = proxy.link("alice");
    let page = proxy.browser().get(&link.target());
    assert_eq!(Form::on(&page.text()).field("next"), None);
}

#[test]
fn always_asks_everybody_and_never_asks_nobody() {
    let hub = FakeHub::start();
    let always = TestProxy::before(&hub).set("login", "confirm = \"always\"").start();
    let never =
        TestProxy::before(&hub).set("login", "confirm = \"never\"").public_url("https://hub.test").start();
    for user in [None, Some("alice"), Some("bob")] {
        let (mut asked, mut not_asked) = (always.browser(), never.browser());
        for browser in [&mut asked, &mut not_asked] {
            if let Some(user) = user {
                browser.set_cookie("jupyterhub-hub-login", user, "/hub/");
            }
        }
        let page = asked.get(&always.link("alice").target());
        assert!(asks(&page), "{user:?}: {page:?}");
        let mut ended = not_asked.navigate(&never.link("alice").target()).without_fetch_metadata();
        ended = ended.header("Referer", "https://evil.example/");
        assert_eq!(ended.send().status, 302, "{user:?}");
    }
}

#[test]
fn a_link_can_ask_for_itself_even_where_nobody_is_asked() {
    let hub = FakeHub::start();
    for confirm in ["auto", "never"] {
        let proxy = TestProxy::before(&hub).set("login", &format!("confirm = {confirm:?}")).start();
        let link = proxy.links().issue(&json!({ "username": "alice", "confirm": true }));
        let mut browser = proxy.browser();
        let page = browser.get(&link.target());
        assert!(asks(&page), "{confirm}: {page:?}");
        assert_eq!(browser.press(&page).status, 302, "{confirm}");
        let other = proxy.links().issue(&json!({ "username": "alice", "confirm": false }));
        assert_eq!(click(&proxy, &other).status, 302, "{confirm}");
    }
}

#[test]
fn an_app_with_origins_is_asked_about_clicks_from_elsewhere() {
    let hub = FakeHub::start();
    let origins = "origins = [\"https://portal.example\", \"http://127.0.0.1:9000\"]";
    let proxy = TestProxy::before(&hub).portal(origins).start();
    for (referer, known) in [
        (Some("https://portal.example/"), true),
        (Some("https://portal.example/course?id=7#x"), true),
        (Some("https://portal.example"), true),
        (Some("https://portal.example:443/"), true),
        (Some("http://127.0.0.1:9000/"), true),
        (None, false),
        (Some("http://portal.example/"), false),
        (Some("https://portal.example:8443/"), false),
        (Some("https://portal.example.evil.example/"), false),
        (Some("https://evil.example/https://portal.example/"), false),
        (Some("https://portal.example@evil.example/"), false),
        (Some("https://xportal.example/"), false),
        (Some("http://hub.test/user/mallory/lab"), false),
        (Some("about:blank"), false),
        (Some("https://portal.example\\.evil.example/"), true),
        (Some(""), false),
    ] {
        let answer = from_another_site(&mut proxy.browser(), &proxy.link("alice"), referer);
        assert_eq!(
            (answer.status, asks(&answer)),
            if known { (302, false) } else { (200, true) },
            "{referer:?}"
        );
    }
    // The Origin of a form with the method GET, or of a script's navigation.
    for (origin, known) in
        [("https://portal.example", true), ("null", false), ("https://evil.example", false)]
    {
        let mut browser = proxy.browser();
        let answer = browser.navigate(&proxy.link("alice").target()).header("Origin", origin).send();
        assert_eq!(asks(&answer), !known, "{origin}");
    }
}

#[test]
fn an_app_that_is_safe_from_scanners_asks_every_click_that_comes_from_elsewhere() {
    // A mail scanner that is a real browser: all its headers are a person's, but it comes from no page.
    let hub = FakeHub::start();
    let (portal, elsewhere) = (Some("https://portal.example/course"), Some("https://mail.example/"));
    for (lines, own) in [
        ("scanner_safe = true", None),
        ("scanner_safe = true\nurl = \"https://portal.example/\"", portal),
        ("scanner_safe = true\norigins = [\"https://portal.example\"]", portal),
    ] {
        for confirm in ["auto", "never"] {
            let rule = format!("confirm = {confirm:?}");
            let proxy = TestProxy::before(&hub).portal(lines).set("login", &rule).start();
            for referer in [None, elsewhere] {
                let link = proxy.link("alice");
                let mut browser = proxy.browser();
                let page = from_another_site(&mut browser, &link, referer);
                assert!(asks(&page), "{lines}, {confirm}, {referer:?}");
                assert_eq!(proxy.links().status(&link.id), "pending", "{lines}, {confirm}");
                assert_eq!(browser.press(&page).status, 302, "{lines}, {confirm}: a person presses");
            }
            if let Some(own) = own {
                let answer = from_another_site(&mut proxy.browser(), &proxy.link("alice"), Some(own));
                assert_eq!(
                    (answer.status, asks(&answer)),
                    (302, false),
                    "{lines}, {confirm}: the app's own page"
                );
            }
        }
    }
    let other = TestProxy::before(&hub).portal("url = \"https://portal.example/\"").start();
    let answer = from_another_site(&mut other.browser(), &other.link("alice"), elsewhere);
    assert_eq!((answer.status, asks(&answer)), (302, false), "nobody wants it: not asked");
}

#[test]
fn on_https_a_request_without_fetch_metadata_is_asked_and_on_http_it_is_not() {
    let hub = FakeHub::start();
    for (origin, asked) in [("https://hub.test", true), ("http://hub.test", false)] {
        let proxy = TestProxy::before(&hub).public_url(origin).start();
        let link = proxy.link("alice");
        let mut browser = proxy.browser();
        let answer = browser.navigate(&link.target()).without_fetch_metadata().send();
        assert_eq!(asks(&answer), asked, "{origin}");
        if asked {
            // The button works in such a browser too.
            let form = Form::on(&answer.text());
            assert_eq!(browser.post(&form).without_fetch_metadata().send().status, 302);
        }
    }
}

#[test]
fn a_program_is_told_in_json_that_a_person_must_press_and_gets_no_token() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("login", "confirm = \"always\"").start();
    let link = proxy.link("alice");
    let answer = proxy.browser().request("GET", &link.target()).header("Accept", "application/json").send();
    let json = answer.json();
    assert_eq!(
        (answer.status, &json["status"], &json["code"]),
        (403, &json!(403), &json!("confirmation_required"))
    );
    assert!(!answer.text().contains(&link.token));
    assert_eq!(proxy.links().status(&link.id), "pending");
}

#[test]
fn the_page_cannot_be_framed_or_made_to_send_its_form_elsewhere() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("login", "confirm = \"always\"").start();
    let page = click(&proxy, &proxy.link("alice"));
    let policy = page.headers.get("content-security-policy").unwrap();
    for directive in ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"]
    {
        assert!(policy.contains(directive), "{directive}: {policy}");
    }
    assert_eq!(page.headers.get("x-frame-options"), Some("DENY"));
}
