//! Links that are bound to one browser: it is sent to the app with a state, and only there the link for it works.

use serde_json::json;
use url::Url;

use crate::redeem::{assert_still_good, logins};
use crate::support::{Answer, Browser, FakeHub, Issued, TestProxy};

const REDIRECT: &str = "without_token = \"redirect\"\napp_url = \"https://portal.example/in?course=7#x\"";
const REQUIRE: &str = "require_state = true";
const HTTPS: &str = "https://hub.test";

fn proxy(hub: &FakeHub) -> TestProxy {
    TestProxy::before(hub).set("login", REDIRECT).start()
}

/// The value of the parameter `name` in the address to which `answer` leads.
fn parameter(answer: &Answer, name: &str) -> Option<String> {
    let url = Url::parse(answer.location()).expect("a URL");
    let mut values = url.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let value = values.next();
    assert!(values.next().is_none(), "{name} twice: {url}");
    value
}

/// Comes without a link, and is sent to the app: the state.
fn sent_to_app(browser: &mut Browser) -> String {
    let answer = browser.get("/hub/login");
    assert_eq!(answer.status, 303, "{}", answer.text());
    parameter(&answer, "state").expect("a state")
}

fn bound(proxy: &TestProxy, username: &str, state: &str) -> Issued {
    proxy.links().issue(&json!({ "username": username, "state": state, "next": "/hub/home" }))
}

#[track_caller]
fn assert_refused(answer: &Answer, code: &str) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(answer.text().contains(&format!("Error 403, {code}")), "{}", answer.text());
}

#[test]
fn a_visitor_whom_the_hub_does_not_know_goes_to_the_app_and_comes_back_logged_in() {
    let hub = FakeHub::start();
    let proxy = proxy(&hub);
    let mut browser = proxy.browser();
    let answer = browser.get("/hub/login?next=%2Fuser%2Falice%2Flab%3Fa%3D1%26b");
    assert_eq!(answer.status, 303);
    assert_eq!(answer.headers.get("cache-control"), Some("no-store"));
    assert!(answer.location().starts_with("https://portal.example/in?course=7&state="), "{answer:?}");
    assert_eq!(parameter(&answer, "next").as_deref(), Some("/user/alice/lab?a=1&b"));
    assert_eq!(parameter(&answer, "redirect_uri").as_deref(), Some("http://hub.test/hub/login"));
    let state = parameter(&answer, "state").expect("a state");
    let link = proxy.links().issue(&json!({ "username": "alice", "state": state }));
    let back = browser.get(&link.target());
    assert_eq!(back.status, 302, "{}", back.text());
    assert_eq!(logins(&hub).len(), 1);
    assert!(browser.cookies_named("hublatch-state").is_empty(), "it has served");
}

#[test]
fn the_cookie_holds_a_secret_that_the_state_does_not_tell() {
    for (url, name, secure) in
        [(HTTPS, "__Host-hublatch-state-", true), ("http://hub.test", "hublatch-state-", false)]
    {
        let hub = FakeHub::start();
        let proxy = TestProxy::before(&hub).public_url(url).set("login", REDIRECT).start();
        let mut browser = proxy.browser();
        let answer = browser.get("/hub/login");
        let cookie = answer.headers.get("set-cookie").expect("a cookie").to_owned();
        let (pair, attributes) = cookie.split_once("; ").expect("attributes");
        let mut attributes: Vec<&str> = attributes.split("; ").collect();
        attributes.sort_unstable();
        let mut wanted = vec!["HttpOnly", "Max-Age=600", "Path=/", "SameSite=Lax"];
        wanted.extend(secure.then_some("Secure"));
        assert_eq!(attributes, wanted);
        let (key, secret) = pair.split_once('=').expect("a value");
        assert!(key.starts_with(name) && secret.len() == 43, "{pair}");
        assert!(!answer.location().contains(secret), "{}", answer.location());
        let other = sent_to_app(&mut proxy.browser());
        assert_ne!(parameter(&answer, "state"), Some(other));
    }
}

#[test]
fn a_link_that_is_bound_to_another_browser_is_refused_and_stays_good_in_its_own() {
    let hub = FakeHub::start();
    let proxy = proxy(&hub);
    let mut hers = proxy.browser();
    let link = bound(&proxy, "alice", &sent_to_app(&mut hers));
    let mut another = proxy.browser();
    assert_refused(&another.get(&link.target()), "link_bound");
    sent_to_app(&mut another);
    assert_refused(&another.get(&link.target()), "link_bound");
    // The state is no secret: it is in the app's logs. It is worth nothing as a cookie.
    let mut thief = proxy.browser();
    let name = hers.cookies_named("hublatch-state").remove(0);
    for value in [link.json["id"].as_str().unwrap_or_default(), "", "x", &sent_to_app(&mut hers)] {
        for name in [name.as_str(), "hublatch-state"] {
            thief.set_cookie(name, value, "/");
            assert_refused(&thief.get(&link.target()), "link_bound");
        }
    }
    let json = another.navigate(&link.target()).header("Accept", "application/json").send().json();
    assert_eq!((&json["status"], &json["code"]), (&json!(403), &json!("link_bound")));
    assert_eq!(logins(&hub).len(), 0);
    assert_eq!(proxy.links().status(&link.id), "pending");
    assert_eq!(hers.get(&link.target()).status, 302);
    let refusals: Vec<_> = proxy.audit().into_iter().filter(|line| line["event"] == "refused").collect();
    assert!(refusals.iter().all(|line| line["reason"] == "bound" && line["id"] == link.id.as_str()));
    assert_eq!(refusals.len(), 11);
}

#[test]
fn a_form_of_another_site_takes_a_bound_link_over_too() {
    let hub = FakeHub::start();
    let proxy = proxy(&hub);
    let mut browser = proxy.browser();
    let link = bound(&proxy, "alice", &sent_to_app(&mut browser));
    let posted = |browser: &mut Browser| {
        browser
            .request("POST", "/hub/login")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Origin", "https://portal.example")
            .header("Sec-Fetch-Site", "cross-site")
            .without_cookies()
            .body(format!("login_token={}", link.token))
            .send()
    };
    let mut another = proxy.browser();
    assert_eq!(posted(&mut another).status, 303);
    assert_refused(&another.get("/hub/login"), "link_bound");
    assert_eq!(posted(&mut browser).status, 303);
    assert_eq!(browser.get("/hub/login").status, 302);
    assert_eq!(logins(&hub).len(), 1);
}

#[test]
fn the_button_of_the_confirm_page_demands_the_cookie_again() {
    let hub = FakeHub::start();
    let proxy = proxy(&hub);
    let mut browser = proxy.browser();
    let state = sent_to_app(&mut browser);
    let order = json!({ "username": "alice", "state": state, "confirm": true });
    let link = proxy.links().issue(&order);
    let page = browser.get(&link.target());
    assert_eq!(page.status, 200);
    assert_refused(&proxy.browser().press(&page), "link_bound");
    assert_eq!(browser.press(&page).status, 302);
}

#[test]
fn tabs_that_are_restored_together_all_work() {
    let hub = FakeHub::start();
    for url in [HTTPS, "http://hub.test"] {
        let proxy = TestProxy::before(&hub).public_url(url).set("login", REDIRECT).start();
        let mut browser = proxy.browser();
        // None of them has the cookie of another yet.
        let states: Vec<String> = (0..20)
            .map(|_| {
                let answer = browser.navigate("/hub/login").without_cookies().send();
                parameter(&answer, "state").expect("a state")
            })
            .collect();
        let links: Vec<Issued> = states.iter().map(|state| bound(&proxy, "alice", state)).collect();
        for (served, link) in links.iter().enumerate() {
            let begin = if url == HTTPS { "__Host-hublatch-state-" } else { "hublatch-state-" };
            assert_eq!(browser.cookies_named(begin).len(), links.len() - served, "each goes alone");
            let answer = browser.get(&link.target());
            assert_eq!((answer.status, answer.location()), (302, "/hub/home"), "{served}: {}", answer.text());
            assert_eq!(proxy.links().status(&link.id), "used");
        }
    }
}

#[test]
fn of_too_many_pending_logins_the_oldest_goes() {
    let hub = FakeHub::start();
    let proxy = proxy(&hub);
    let mut browser = proxy.browser();
    let states: Vec<String> = (0..40).map(|_| sent_to_app(&mut browser)).collect();
    assert_eq!(browser.cookies_named("hublatch-state-").len(), 32);
    let links = [7, 8, 39].map(|at| bound(&proxy, "alice", &states[at]));
    assert_refused(&browser.get(&links[0].target()), "link_bound");
    assert_eq!(browser.get(&links[1].target()).status, 302);
    assert_eq!(browser.get(&links[2].target()).status, 302);
}

#[test]
fn two_hubs_on_one_host_name_do_not_disturb_each_other() {
    for (one, two) in [("http://hub.test:8000", "http://hub.test:9000"), (HTTPS, "https://hub.test:8443")] {
        let hubs = [FakeHub::start(), FakeHub::start()];
        let start =
            |hub: &FakeHub, url: &str| TestProxy::before(hub).public_url(url).set("login", REDIRECT).start();
        let (first, second) = (start(&hubs[0], one), start(&hubs[1], two));
        let mut browser = first.browser();
        let begin = |proxy: &TestProxy, browser: &mut Browser| bound(proxy, "alice", &sent_to_app(browser));
        let link = begin(&first, &mut browser);
        // Cookies know no ports: the same jar at the other hub, where many logins come and go.
        let mut other = second.browser();
        for name in browser.cookies_named("") {
            other.set_cookie(&name, browser.cookie(&name).expect("its value"), "/");
        }
        for _ in 0..40 {
            begin(&second, &mut other);
        }
        for name in browser.cookies_named("") {
            assert_eq!(other.cookie(&name), browser.cookie(&name), "{name}");
        }
        for name in other.cookies_named("") {
            browser.set_cookie(&name, other.cookie(&name).expect("its value"), "/");
        }
        let answer = browser.get(&link.target());
        assert_eq!(answer.status, 302, "{one}: {}", answer.text());
        let theirs = other.cookies_named("");
        let left = browser.cookies_named("");
        assert!(theirs.iter().filter(|name| left.contains(name)).count() >= 32, "{left:?}");
    }
}

#[test]
fn a_refresh_of_a_used_bound_link_leads_on() {
    let hub = FakeHub::start();
    let proxy = proxy(&hub);
    let mut browser = proxy.browser();
    let link = bound(&proxy, "alice", &sent_to_app(&mut browser));
    assert_eq!(browser.get(&link.target()).status, 302);
    let again = browser.get(&link.target());
    assert_eq!((again.status, again.location()), (303, "/hub/home"));
    assert_refused(&proxy.browser().get(&link.target()), "link_used");
}

#[test]
fn whoever_is_logged_in_goes_to_the_hub_and_a_script_to_nowhere() {
    let hub = FakeHub::start();
    let proxy = proxy(&hub);
    let mut alice = proxy.browser();
    alice.set_cookie("jupyterhub-hub-login", "alice", "/hub/");
    assert_eq!(alice.get("/hub/login?next=%2Fhub%2Fhome").location(), "/hub/home");
    let script = proxy
        .browser()
        .request("GET", "/hub/login")
        .header("Sec-Fetch-Mode", "cors")
        .header("Sec-Fetch-Dest", "empty")
        .send();
    assert_eq!((script.status, &script.json()["code"]), (403, &json!("link_required")));
    let prefetch = proxy.browser().navigate("/hub/login").header("Sec-Purpose", "prefetch").send();
    assert!(prefetch.status == 403 && !prefetch.headers.has("set-cookie"), "{prefetch:?}");
}

#[test]
fn a_next_that_no_link_could_have_is_not_told_to_the_app() {
    let hub = FakeHub::start();
    let proxy = proxy(&hub);
    for next in ["%2F%2Fevil", "https%3A%2F%2Fevil%2F", "%2Fx%3Flogin_token%3Da", "%ff", "", "%2F%0d%0ax"] {
        let answer = proxy.browser().get(&format!("/hub/login?next={next}"));
        assert_eq!((answer.status, parameter(&answer, "next")), (303, None), "{next}");
    }
}

#[test]
fn the_browsers_secret_never_reaches_the_hub() {
    let hub = FakeHub::start();
    for url in [HTTPS, "http://hub.test"] {
        let proxy = TestProxy::before(&hub).public_url(url).set("login", REDIRECT).start();
        let mut browser = proxy.browser();
        let link = bound(&proxy, "alice", &sent_to_app(&mut browser));
        browser.set_cookie("theme", "dark", "/");
        browser.get("/user/alice/lab");
        browser
            .request("POST", "/hub/login")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body("a=b")
            .send();
        browser.get(&link.target());
        let received: Vec<u8> = hub.received().concat();
        let text = String::from_utf8_lossy(&received);
        assert!(!text.contains("hublatch-state") && text.contains("theme=dark"), "{text}");
    }
}

#[test]
fn where_a_state_is_required_no_other_link_is_issued_or_works() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("login", REDIRECT).set("login", REQUIRE).start();
    let mut browser = proxy.browser();
    let state = sent_to_app(&mut browser);
    let order = json!({ "username": "alice" }).to_string();
    let refused = proxy.links().call("POST", "/api/v1/links", &[], order);
    assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("state_required")));
    let link = bound(&proxy, "alice", &state);
    let named = proxy.links().call("POST", "/login", &[], json!({ "token": link.token }).to_string());
    assert_eq!((named.status, &named.json()["code"]), (403, &json!("bound")), "no browser is there");
    assert_eq!(browser.get(&link.target()).status, 302);
}

#[test]
fn a_state_is_taken_as_it_was_given_or_not_at_all() {
    let hub = FakeHub::start();
    let proxy = proxy(&hub);
    for state in [json!(""), json!("x"), json!("A".repeat(44)), json!("=".repeat(43)), json!(7), json!(["x"])]
    {
        let order = json!({ "username": "alice", "state": state }).to_string();
        let answer = proxy.links().call("POST", "/api/v1/links", &[], order);
        assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("invalid_field")), "{state}");
    }
}

#[test]
fn a_link_without_a_state_works_in_any_browser_unless_one_is_required() {
    let hub = FakeHub::start();
    let proxy = proxy(&hub);
    let mut browser = proxy.browser();
    sent_to_app(&mut browser);
    assert_still_good(&proxy, &hub, &proxy.link("alice"), "a visit without a link");
    assert_eq!(browser.get(&proxy.link("alice").target()).status, 302);
}

#[test]
fn a_hub_that_does_not_answer_sends_nobody_away() {
    let proxy = TestProxy::before_url("http://127.0.0.1:1").set("login", REDIRECT).start();
    let answer = proxy.browser().get("/hub/login");
    assert_eq!((answer.status, answer.headers.has("set-cookie")), (503, false));
}

#[test]
fn an_app_with_origins_is_not_asked_about_a_browser_that_has_asked_for_its_link_itself() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub)
        .public_url(HTTPS)
        .portal("origins = [\"https://portal.example\"]")
        .set("login", REDIRECT)
        .start();
    let from_nowhere = |browser: &mut Browser, link: &Issued| browser.navigate(&link.target()).send().status;
    let mut browser = proxy.browser();
    let link = bound(&proxy, "alice", &sent_to_app(&mut browser));
    assert_eq!(from_nowhere(&mut browser, &link), 302);
    // No scanner of mail has the browser's secret.
    let mut old = proxy.browser();
    let link = bound(&proxy, "alice", &sent_to_app(&mut old));
    assert_eq!(old.navigate(&link.target()).without_fetch_metadata().send().status, 302);
    assert_eq!(from_nowhere(&mut proxy.browser(), &proxy.link("alice")), 200, "it is asked about others");
    // A link that is bound to another browser does not get as far as a question, whoever is logged in here.
    let mut bobs = proxy.browser();
    bobs.set_cookie("jupyterhub-hub-login", "bob", "/hub/");
    let link = bound(&proxy, "alice", &sent_to_app(&mut proxy.browser()));
    assert_eq!(from_nowhere(&mut bobs, &link), 403, "another browser's");
}

#[test]
fn a_spoilt_cookie_is_cleared_and_is_in_nobodys_way() {
    let hub = FakeHub::start();
    let proxy =
        TestProxy::before(&hub).public_url(HTTPS).set("login", REDIRECT).set("login", REQUIRE).start();
    let mut browser = proxy.browser();
    sent_to_app(&mut browser);
    let name = browser.cookies_named("__Host-hublatch-state").remove(0);
    let token = name.replace("-state-", "-token-");
    let token = token.rsplit_once('-').expect("its end").0.to_owned();
    for junk in [
        "hublatch-token=hl_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        format!("{token}=x"),
        format!("{token}=hl_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        format!("{token}=x; {token}=y"),
        format!("{name}=x"),
        format!("{name}=x; {name}=y"),
        "__Host-hublatch-state=x; hublatch-state=y".to_owned(),
    ] {
        let mut hers = proxy.browser();
        let answer = hers.navigate("/hub/login").header("Cookie", &junk).send();
        let (spoilt, _) = junk.split_once('=').expect("a value");
        let deleted: Vec<&str> = answer.headers.all("set-cookie");
        let shapes = deleted.iter().filter(|line| line.starts_with(&format!("{spoilt}=;"))).count();
        if junk.contains(&format!("{token}=hl_")) {
            // Like a token of ours, but of nobody's: refused once.
            assert_eq!((answer.status, shapes), (403, 2), "{junk}: {deleted:?}");
            continue;
        }
        assert_eq!(answer.status, 303, "{junk}");
        let is_host = spoilt.starts_with("__Host-");
        if spoilt == token && !junk.contains(';') {
            continue;
        }
        assert_eq!(shapes, if is_host { 2 } else { 4 }, "{junk}: {deleted:?}");
        assert!(deleted.iter().any(|line| line.contains("Partitioned") && line.contains("Max-Age=0")));
        // And beside it she logs in.
        let state = parameter(&answer, "state").expect("a state");
        let link = bound(&proxy, "alice", &state);
        let own = hers.cookies_for("/hub/login");
        let back = hers.navigate(&link.target()).header("Cookie", &format!("{junk}; {own}"));
        assert_eq!(back.without_cookies().send().status, 302, "{junk}");
    }
}
