//! The login path without a token: our page for visitors whom the hub does not know, or the hub's own login.

use serde_json::json;

use crate::support::{FakeHub, TestProxy};

#[test]
fn a_visitor_whom_the_hub_does_not_know_is_told_to_start_from_the_app() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("login", "app_url = \"https://portal.example/\"").start();
    for target in ["/hub/login", "/hub/login?next=%2Fhub%2Fhome", "/hub/login?a"] {
        hub.forget();
        let answer = proxy.browser().get(target);
        assert_eq!(answer.status, 403, "{target}");
        assert!(answer.text().contains("Please start from the application"), "{}", answer.text());
        assert!(answer.text().contains("Back to the app"), "{}", answer.text());
        assert_eq!(answer.headers.all("cache-control"), ["no-store"]);
        let paths: Vec<String> = hub.seen().iter().map(|seen| seen.path().to_owned()).collect();
        assert_eq!(paths, ["/hub/api/user"], "{target}");
    }
}

#[test]
fn a_visitor_whom_the_hub_knows_goes_on_to_it_byte_for_byte_and_without_an_identity() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut browser = proxy.browser();
    browser.set_cookie("jupyterhub-hub-login", "\"2|1:0|alice|=\"", "/hub/");
    let target = "/hub/login?next=%2Fhub%2Fapi%2Foauth2%2Fauthorize%3Fclient_id%3Dx&a=%20+";
    let answer = browser.navigate(target).header("REMOTE_USER", "admin").send();
    assert_eq!((answer.status, answer.location()), (302, "/hub/api/oauth2/authorize?client_id=x"));
    let login = hub.only("/hub/login");
    assert_eq!(login.target, target);
    assert_eq!(login.headers.count_folded("remote_user"), 0);
    assert_eq!(login.headers.count_folded("x-hublatch-assertion"), 0);
    assert_eq!(login.headers.get("cookie"), Some("jupyterhub-hub-login=\"2|1:0|alice|=\""));
    assert_eq!(login.headers.get("sec-fetch-mode"), Some("navigate"));
}

#[test]
fn a_program_is_told_in_json_that_a_link_is_needed() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for (name, value) in [("Accept", "application/json"), ("Sec-Fetch-Mode", "cors")] {
        let answer = proxy.browser().request("GET", "/hub/login").header(name, value).send();
        let json = answer.json();
        assert_eq!(
            (answer.status, &json["status"], &json["code"]),
            (403, &json!(403), &json!("link_required"))
        );
        assert!(json["message"].is_string(), "{json}");
    }
}

#[test]
fn a_hub_that_does_not_answer_is_told_by_503() {
    let hub = FakeHub::start();
    hub.on("/hub/api/user", |exchange| exchange.answer("502 Bad Gateway", "<p>"));
    let proxy = TestProxy::start(&hub);
    let answer = proxy.browser().get("/hub/login");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("hub_unavailable"));
    let json =
        proxy.browser().request("GET", "/hub/login").header("Accept", "application/json").send().json();
    assert_eq!((&json["status"], &json["code"]), (&json!(503), &json!("hub_unavailable")));
}

#[test]
fn with_forward_every_visitor_gets_the_hubs_own_login_and_nobody_is_asked_for() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("login", "without_token = \"forward\"").start();
    let answer = proxy.browser().get("/hub/login?next=%2Fhub%2Fhome&a=%20+");
    assert_eq!((answer.status, answer.text().as_str()), (403, "403 : None"));
    let login = hub.only("/hub/login");
    assert_eq!(login.target, "/hub/login?next=%2Fhub%2Fhome&a=%20+");
    assert_eq!(login.headers.count_folded("remote_user"), 0);
    assert!(hub.seen_at("/hub/api/user").is_empty());
}

#[test]
fn other_methods_go_to_the_hub_in_either_case() {
    let hub = FakeHub::start();
    for rule in ["page", "forward"] {
        let proxy = TestProxy::before(&hub).set("login", &format!("without_token = {rule:?}")).start();
        for method in ["HEAD", "OPTIONS", "PUT", "POST", "DELETE"] {
            hub.forget();
            proxy.browser().request(method, "/hub/login?a=1").header("REMOTE_USER", "admin").send();
            let seen = hub.only("/hub/login");
            assert_eq!((seen.method.as_str(), seen.target.as_str()), (method, "/hub/login?a=1"), "{rule}");
            assert_eq!(seen.headers.count_folded("remote_user"), 0, "{rule} {method}");
        }
    }
}

#[test]
fn a_browser_that_has_not_kept_the_hubs_cookie_is_told_so_once() {
    let hub = FakeHub::start();
    for (login, then) in [
        ("without_token = \"page\"", (403, "link_required")),
        ("without_token = \"redirect\"\napp_url = \"https://portal.example/in\"", (303, "")),
    ] {
        let proxy = TestProxy::before(&hub).set("login", login).start();
        let state =
            |answer: &crate::support::Answer| answer.location().split("state=").nth(1).map(str::to_owned);
        let mut browser = proxy.browser();
        let link = if then.0 == 303 {
            let state = state(&browser.get("/hub/login")).expect("a state");
            let state = state.split('&').next().expect("its end").to_owned();
            proxy.links().issue(&json!({ "username": "alice", "next": "/user/alice/lab", "state": state }))
        } else {
            proxy.links().issue(&json!({ "username": "alice", "next": "/user/alice/lab" }))
        };
        assert_eq!(browser.get(&link.target()).status, 302);
        let back = "/hub/login?next=%2Fhub%2Fuser%2Falice%2Flab";
        // Not for somebody else's place, nor for a browser that looks otherwise.
        let elsewhere = proxy.browser().get("/hub/login?next=%2Fhub%2Fuser%2Fbob%2Flab");
        assert_eq!(elsewhere.status, then.0);
        assert_eq!(proxy.browser().navigate(back).header("User-Agent", "Another").send().status, then.0);
        // Nor for one that has kept what it got here, and has logged out since.
        let out = proxy.browser().navigate(back).header("Cookie", "_xsrf=2|x").send();
        assert!(out.status == then.0 && out.text().contains(then.1), "{}", out.text());
        let mut lost = proxy.browser();
        let page = lost.get(back);
        assert_eq!(page.status, 403);
        assert!(page.text().contains("Error 403, cookie_lost"), "{}", page.text());
        assert!(page.text().contains("target=\"_blank\" rel=\"noopener\""), "{}", page.text());
        let again = lost.get(back);
        assert!(again.status == then.0 && again.text().contains(then.1), "{}", again.text());
    }
}
