//! Logins under another name than that of `public.url` (T-HOSTLOGIN): there a browser has other cookies, so that nobody could
//! say who is logged in. 421, and nothing is consumed.

use crate::redeem::{assert_still_good, click, logins};
use crate::support::form::Form;
use crate::support::{Answer, FakeHub, TestProxy};

const FOREIGN: [&str; 6] =
    ["evil.test", "hub.test:8000", "hub.test.", "hub.test:443", "www.hub.test", "127.0.0.1"];

#[track_caller]
fn assert_misdirected(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 421, "{what}: {}", answer.text());
    assert!(answer.text().contains("misdirected_login"), "{what}: {}", answer.text());
    assert!(!answer.headers.has("set-cookie"), "{what}: {answer:?}");
    assert_eq!(answer.headers.get("cache-control"), Some("no-store"), "{what}");
}

#[test]
fn a_link_works_under_the_name_of_the_public_url_alone() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    for host in FOREIGN {
        let answer = proxy.browser().navigate(&link.target()).header("Host", host).send();
        assert_misdirected(&answer, host);
        let mut program = proxy.browser();
        let json = program.request("GET", &link.target()).header("Host", host);
        let json = json.header("Accept", "application/json").send();
        assert_eq!((json.status, json.json()["code"].as_str()), (421, Some("misdirected_login")), "{host}");
    }
    assert!(hub.seen().is_empty(), "{:?}", hub.seen());
    assert_still_good(&proxy, &hub, &link, "foreign names");
    for host in ["HUB.test", "hub.test:80", "Hub.Test:80"] {
        let answer = proxy.browser().navigate(&proxy.link("alice").target()).header("Host", host).send();
        assert_eq!(answer.status, 302, "{host}: {}", answer.text());
    }
}

#[test]
fn a_port_that_does_not_go_without_saying_belongs_to_the_name() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).public_url("https://hub.test:8443").start();
    let link = proxy.link("alice");
    for host in ["hub.test", "hub.test:443", "hub.test:80"] {
        let answer = proxy.browser().navigate(&link.target()).header("Host", host).send();
        assert_misdirected(&answer, host);
    }
    assert_still_good(&proxy, &hub, &link, "other ports");
}

#[test]
fn no_form_and_no_button_works_under_another_name() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("login", "confirm = \"always\"").start();
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    let page = browser.get(&link.target());
    let button = Form::on(&page.text());
    let own = Form::of("/hub/login", &[("login_token", &link.token), ("next", "/hub/home")]);
    for form in [&button, &own] {
        for (origin, site) in [
            ("http://hub.test", "same-origin"),
            ("http://evil.test", "same-origin"),
            ("https://portal.example", "cross-site"),
        ] {
            let sending = browser.post(form).header("Host", "evil.test").header("Origin", origin);
            let answer = sending.header("Sec-Fetch-Site", site).send();
            assert_misdirected(&answer, origin);
        }
    }
    assert!(logins(&hub).is_empty());
    assert_eq!(browser.press(&page).status, 302, "the link is as good as before");
}

#[test]
fn a_token_that_waits_in_a_cookie_does_not_go_on_under_another_name() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    let form = Form::of("/hub/login", &[("login_token", &link.token)]);
    let mut browser = proxy.browser();
    let posted = browser
        .post(&form)
        .header("Origin", "https://portal.example")
        .header("Sec-Fetch-Site", "cross-site")
        .without_cookies()
        .send();
    assert_eq!(posted.status, 303, "{}", posted.text());
    let answer = browser.navigate("/hub/login").header("Host", "evil.test").send();
    assert_misdirected(&answer, "the continuation");
    assert_eq!(browser.get("/hub/login").status, 302);
}

#[test]
fn nobody_is_led_to_the_app_from_a_name_to_which_no_link_leads_back() {
    let hub = FakeHub::start();
    let rule = "without_token = \"redirect\"\napp_url = \"https://portal.example/\"";
    let proxy = TestProxy::before(&hub).set("login", rule).start();
    let answer = proxy.browser().navigate("/hub/login").header("Host", "evil.test").send();
    assert_misdirected(&answer, "the way to the app");
    assert_eq!(proxy.browser().get("/hub/login").status, 303);
}

#[test]
fn what_is_no_login_passes_under_any_name_as_it_is() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("login", "without_token = \"forward\"").start();
    for (method, target) in [
        ("GET", "/user/alice/lab"),
        ("GET", "/hub/login/"),
        ("GET", "/hub/home"),
        // A balancer that asks whether the hub's own login is there.
        ("GET", "/hub/login?next=%2Fhub%2Fhome"),
        ("HEAD", "/hub/login"),
        ("OPTIONS", "/hub/login"),
    ] {
        hub.forget();
        proxy.browser().request(method, target).header("Host", "10.0.0.7:8000").send();
        let seen = hub.only(target.split('?').next().unwrap());
        assert_eq!((seen.target.as_str(), seen.headers.get("host")), (target, Some("10.0.0.7:8000")));
    }
    // A preview learns nothing, wherever it is.
    let link = proxy.link("alice");
    assert_eq!(
        proxy.browser().request("HEAD", &link.target()).header("Host", "evil.test").send().status,
        200
    );
    assert_eq!(click(&proxy, &link).status, 302);
}
