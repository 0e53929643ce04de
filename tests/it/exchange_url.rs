//! Tokens that only an app can read: it is asked for the name, once, and then the token is redeemed like any other.
//! The app answers as JupyterHub's forced-login example does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::redeem::logins;
use crate::support::proxy::{Builder, standing_clock};
use crate::support::{Answer, Browser, FakeHub, Gate, TestProxy, Then};

/// As `secrets.token_urlsafe(32)` makes them.
const TOKEN: &str = "fCpXVWZ1n5m2r0XQ3uYbqk9m0Jt-_8a7Zb1sV4c6D2E";

/// An application that exchanges its tokens: each for its name, once.
struct Portal {
    server: FakeHub,
    names: Arc<Mutex<HashMap<String, String>>>,
}

impl Portal {
    fn start() -> Self {
        let (server, names) = (FakeHub::start(), Arc::<Mutex<HashMap<String, String>>>::default());
        let known = Arc::clone(&names);
        server.on("/login", move |exchange| {
            let question: Value = serde_json::from_slice(exchange.read_body()).expect("JSON");
            let token = question["token"].as_str().expect("a token");
            match known.lock().unwrap().remove(token) {
                Some(name) => exchange.answer("200 OK", json!({ "name": name }).to_string()),
                None => exchange.answer("404 Not Found", json!({ "message": "invalid token" }).to_string()),
            }
        });
        Self { server, names }
    }

    fn token_for(&self, name: &str) -> String {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let token = format!("{}{:06}", &TOKEN[..37], MADE.fetch_add(1, Ordering::Relaxed));
        self.names.lock().unwrap().insert(token.clone(), name.to_owned());
        token
    }

    fn asked(&self) -> usize {
        self.server.seen_at("/login").len()
    }

    fn key(&self) -> String {
        format!("exchange_url = \"{}/login\"", self.server.url())
    }
}

struct Deployment {
    hub: FakeHub,
    portal: Portal,
    proxy: TestProxy,
}

impl Deployment {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let (hub, portal) = (FakeHub::start(), Portal::start());
        let proxy = change(TestProxy::before(&hub).portal(&portal.key())).start();
        Self { hub, portal, proxy }
    }

    fn click(&self, token: &str) -> Answer {
        self.proxy.browser().get(&target(token))
    }
}

fn target(token: &str) -> String {
    format!("/hub/login?login_token={token}&next=%2Fhub%2Fuser-redirect%2Flab")
}

#[track_caller]
fn assert_page(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.text().contains(&format!("Error {status}, {code}")), "{}", answer.text());
}

#[test]
fn a_token_of_the_forced_login_example_logs_its_user_in() {
    let deployment = Deployment::new();
    let token = deployment.portal.token_for("alice");
    let answer = deployment.click(&token);
    assert_eq!((answer.status, answer.location()), (302, "/hub/user-redirect/lab"));
    let login = deployment.hub.only("/hub/login");
    assert_eq!(
        (login.query(), login.headers.get("remote_user")),
        ("next=%2Fhub%2Fuser-redirect%2Flab", Some("alice"))
    );
    deployment.hub.accounts(|accounts| assert!(accounts.refused.is_empty(), "{:?}", accounts.refused));
    let asked = deployment.portal.server.only("/login");
    assert_eq!(
        (asked.method.as_str(), asked.headers.get("content-type")),
        ("POST", Some("application/json"))
    );
    assert_eq!(asked.body, json!({ "token": token }).to_string().into_bytes());
    let received: Vec<u8> = deployment.hub.received().concat();
    assert!(!String::from_utf8_lossy(&received).contains(&token));
}

#[test]
fn a_token_is_asked_for_once_and_admits_once() {
    let deployment = Deployment::new();
    let token = deployment.portal.token_for("alice");
    let mut browser = deployment.proxy.browser();
    assert_eq!(browser.get(&target(&token)).status, 302);
    // Even if the app would give the name again.
    deployment.portal.names.lock().unwrap().insert(token.clone(), "mallory".to_owned());
    assert_page(&deployment.click(&token), 403, "link_used");
    let refresh = browser.get(&target(&token));
    assert_eq!((refresh.status, refresh.location()), (303, "/hub/user-redirect/lab"));
    assert_eq!((deployment.portal.asked(), logins(&deployment.hub).len()), (1, 1));
}

#[test]
fn a_token_stays_burnt_when_its_link_is_forgotten() {
    let clock = standing_clock();
    let deployment = Deployment::with(|builder| builder.clock(&clock));
    let token = deployment.portal.token_for("alice");
    assert_eq!(deployment.click(&token).status, 302);
    clock.advance(Duration::from_mins(30));
    deployment.proxy.link("somebody");
    deployment.portal.names.lock().unwrap().insert(token.clone(), "mallory".to_owned());
    assert_page(&deployment.click(&token), 403, "link_unknown");
    assert_eq!(deployment.portal.asked(), 1);
}

#[test]
fn a_token_that_no_app_knows_is_refused_and_not_asked_for_again() {
    for status in ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found", "410 Gone"] {
        let deployment = Deployment::new();
        deployment.portal.server.on("/login", move |exchange| exchange.answer(status, "{}"));
        for _ in 0..2 {
            assert_page(&deployment.click(TOKEN), 403, "link_unknown");
        }
        assert_eq!((deployment.portal.asked(), logins(&deployment.hub).len()), (1, 0), "{status}");
    }
}

#[test]
fn an_app_that_does_not_answer_as_it_should_logs_nobody_in() {
    for reply in [
        "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalice",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"name\":7}",
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"name\":\"alice\"}",
        "",
    ] {
        let deployment = Deployment::new();
        deployment.portal.server.on("/login", move |exchange| {
            exchange.read_body();
            exchange.send(reply);
            Then::Close
        });
        let page = deployment.click(TOKEN);
        assert_page(&page, 503, "exchange_failed");
        assert!(page.text().contains("cannot be used again") && !page.text().contains("reload"), "{reply:?}");
        assert_eq!(logins(&deployment.hub).len(), 0, "{reply:?}");
        // It may have used its token up: it is not asked again.
        assert_page(&deployment.click(TOKEN), 403, "link_unknown");
        assert_eq!(deployment.portal.asked(), 1, "{reply:?}");
    }
}

#[test]
fn each_app_is_asked_for_the_tokens_that_begin_like_its_own_and_sees_no_other() {
    let (hub, first, second) = (FakeHub::start(), Portal::start(), Portal::start());
    let another = format!(
        "[[apps]]\nname = \"second\"\nusernames = \"b.*\"\nexchange_prefix = \"second_\"\n{}",
        second.key()
    );
    let portal = format!("{}\nexchange_prefix = \"first_\"", first.key());
    let proxy = TestProxy::before(&hub).portal(&portal).toml(&another).start();
    let token = |prefix: &str, of: &Portal, name: &str| {
        let token = format!("{prefix}{}", of.token_for(name));
        of.names.lock().unwrap().insert(token.clone(), name.to_owned());
        token
    };
    assert_eq!(proxy.browser().get(&target(&token("second_", &second, "bob"))).status, 302);
    assert_eq!((first.asked(), second.asked()), (0, 1));
    assert_eq!(proxy.browser().get(&target(&token("first_", &first, "alice"))).status, 302);
    // A token is no other app's to answer for, and one that begins like none is nobody's.
    assert_page(&proxy.browser().get(&target(&token("second_", &first, "alice"))), 403, "link_unknown");
    assert_page(&proxy.browser().get(&target(&token("", &first, "alice"))), 403, "link_unknown");
    assert_eq!((first.asked(), second.asked()), (1, 2));
    // The rules are those of the app that has answered.
    assert_page(&proxy.browser().get(&target(&token("second_", &second, "carol"))), 403, "link_not_allowed");
    let issued: Vec<Value> = proxy.audit().into_iter().filter(|line| line["event"] == "issued").collect();
    assert_eq!((&issued[0]["app"], &issued[1]["app"]), (&json!("second"), &json!("portal")));
}

#[test]
fn a_name_that_is_none_logs_nobody_in() {
    for name in ["", "admin", "Alice", "../x", "a, b", "a\r\nb"] {
        let deployment = Deployment::new();
        let token = deployment.portal.token_for(name);
        assert_page(&deployment.click(&token), 403, "link_not_allowed");
        assert_eq!(logins(&deployment.hub).len(), 0, "{name:?}");
    }
}

#[test]
fn nothing_is_asked_before_a_person_wants_it_and_the_hub_is_there() {
    let deployment = Deployment::new();
    let token = deployment.portal.token_for("alice");
    let target = target(&token);
    let mut browser = deployment.proxy.browser();
    assert_eq!(browser.request("HEAD", &target).send().status, 200);
    assert_eq!(browser.navigate(&target).header("Sec-Purpose", "prefetch").send().status, 503);
    assert_eq!(browser.request("GET", &target).header("Sec-Fetch-Mode", "no-cors").send().status, 403);
    assert_eq!(browser.get(&format!("/hub/login?login_token={token}&next=%2F%2Fevil")).status, 400);
    deployment.hub.on("/hub/api/user", |exchange| exchange.answer("502 Bad Gateway", ""));
    assert_page(&deployment.click(&token), 503, "hub_unavailable");
    deployment.hub.on("/hub/api/user", crate::redeem::nobody);
    assert_eq!(deployment.portal.asked(), 0);
    assert_eq!(deployment.click(&token).status, 302);
}

#[test]
fn a_scanner_does_not_press_the_button_and_a_person_does() {
    let deployment = Deployment::with(|builder| builder.public_url("https://hub.test"));
    let token = deployment.portal.token_for("alice");
    let mut browser = deployment.proxy.browser();
    let page = browser.navigate(&target(&token)).without_fetch_metadata().send();
    assert_eq!((page.status, deployment.portal.asked()), (200, 0), "{}", page.text());
    assert!(page.text().contains("<button type=\"submit\">Continue</button>"), "{}", page.text());
    let answer = browser.press(&page);
    assert_eq!((answer.status, answer.location()), (302, "/hub/user-redirect/lab"));
}

#[test]
fn whoever_is_somebody_else_is_asked_by_name() {
    let bob = |proxy: &TestProxy| -> Browser {
        let mut browser = proxy.browser();
        browser.set_cookie("jupyterhub-hub-login", "bob", "/hub/");
        browser
    };
    for confirm in ["auto", "always"] {
        let deployment = Deployment::with(|builder| builder.set("login", &format!("confirm = {confirm:?}")));
        let token = deployment.portal.token_for("alice");
        let mut browser = bob(&deployment.proxy);
        let mut page = browser.get(&target(&token));
        if confirm == "always" {
            assert!(!page.text().contains("alice"), "her name is not known yet");
            page = browser.press(&page);
        }
        assert_eq!((page.status, logins(&deployment.hub).len()), (200, 0), "{}", page.text());
        assert!(page.text().contains("Continue as <bdi>alice</bdi>") && page.text().contains("bob"));
        assert_eq!(browser.press(&page).status, 302, "{confirm}");
        assert_eq!(
            (deployment.portal.asked(), deployment.hub.seen_at("/hub/logout").len()),
            (1, 1),
            "{confirm}"
        );
    }
}

#[test]
fn the_origins_of_an_app_count_before_its_token_is_read() {
    let deployment = Deployment::with(|builder| builder.portal("origins = [\"https://portal.example\"]"));
    let token = deployment.portal.token_for("alice");
    assert_eq!((deployment.click(&token).status, deployment.portal.asked()), (200, 0));
    let from_portal = deployment
        .proxy
        .browser()
        .navigate(&target(&token))
        .header("Referer", "https://portal.example/")
        .send();
    assert_eq!(from_portal.status, 302);
}

#[test]
fn origins_that_a_reload_changes_while_the_app_is_asked_are_judged_as_they_are_then() {
    const PORTAL: &str = "https://portal.example";
    for (origins, asks) in [(PORTAL, false), ("https://lms.example", true)] {
        let (hub, portal, gate) = (FakeHub::start(), Portal::start(), Gate::new());
        let builder = TestProxy::before(&hub).portal(&portal.key());
        let with = |origin: &str| builder.clone().portal(&format!("origins = [\"{origin}\"]"));
        let proxy = with(PORTAL).start();
        let waits = gate.clone();
        portal.server.on("/login", move |exchange| {
            exchange.read_body();
            waits.pass();
            exchange.answer("200 OK", json!({ "name": "alice" }).to_string())
        });
        let mut browser = proxy.browser();
        let click = browser.navigate(&target(TOKEN)).header("Referer", &format!("{PORTAL}/"));
        let mut clicked = click.begin();
        portal.server.wait_for_path("/login");
        proxy.reload(&with(origins).set("login", "replay_grace = \"2s\"")).expect("a configuration");
        gate.open();
        let answer = clicked.answer_to("GET").expect("an answer");
        assert_eq!(answer.status, if asks { 200 } else { 302 }, "{origins}: {}", answer.text());
        assert_eq!(answer.text().contains("Continue as"), asks, "{origins}: {}", answer.text());
        assert_eq!(logins(&hub).len(), usize::from(!asks), "{origins}");
    }
}

#[test]
fn a_browser_that_goes_away_meanwhile_loses_nothing() {
    let deployment = Deployment::new();
    let gate = Arc::new(Gate::default());
    let waits = Arc::clone(&gate);
    deployment.portal.server.on("/login", move |exchange| {
        exchange.read_body();
        waits.pass();
        exchange.answer("200 OK", json!({ "name": "alice" }).to_string())
    });
    let mut browser = deployment.proxy.browser();
    let first = browser.navigate(&target(TOKEN)).begin();
    deployment.portal.server.wait_for_path("/login");
    first.close();
    gate.open();
    assert_eq!(browser.get(&target(TOKEN)).status, 302);
    assert_eq!((deployment.portal.asked(), logins(&deployment.hub).len()), (1, 1));
}

#[test]
fn where_links_must_be_bound_no_such_token_works() {
    let redirect =
        "without_token = \"redirect\"\napp_url = \"https://portal.example/\"\nrequire_state = true";
    let deployment = Deployment::with(|builder| builder.set("login", redirect));
    let token = deployment.portal.token_for("alice");
    assert_page(&deployment.click(&token), 403, "link_needs_state");
    assert_eq!(deployment.portal.asked(), 0);
}

#[test]
fn what_begins_like_a_token_of_ours_is_no_other_apps() {
    let deployment = Deployment::new();
    for token in [format!("hl_{}", "A".repeat(43)), "hl_x".to_owned(), "a%20b".to_owned(), "a%22".to_owned()]
    {
        assert_page(&deployment.click(&token), 403, "link_unknown");
    }
    assert_eq!(deployment.portal.asked(), 0);
    // What the app's library has encoded is decoded once.
    deployment.portal.names.lock().unwrap().insert("a+b/c=%".to_owned(), "alice".to_owned());
    assert_eq!(deployment.click("a%2Bb%2Fc%3D%25").status, 302);
}

#[test]
fn tokens_that_nobody_knows_do_not_fill_the_store() {
    let deployment = Deployment::with(|builder| builder.set("store", "max_tokens = 20"));
    for number in 0..60 {
        assert_page(&deployment.click(&format!("garbage-{number}")), 403, "link_unknown");
    }
    deployment.proxy.link("alice");
}

#[test]
fn each_redeem_in_the_audit_has_one_issue() {
    let deployment = Deployment::new();
    let token = deployment.portal.token_for("alice");
    deployment.click(&token);
    deployment.click(&token);
    let audit = deployment.proxy.audit();
    let events: Vec<&str> = audit.iter().filter_map(|line| line["event"].as_str()).collect();
    assert_eq!(events, ["issued", "redeemed", "refused"]);
    assert!(audit.iter().all(|line| line["id"] == audit[0]["id"] && line["app"] == "portal"), "{audit:?}");
    assert_eq!(audit[0]["reason"], "exchanged");
    assert!(audit.iter().all(|line| !line.to_string().contains(&token)));
}

#[test]
fn a_refused_exchange_names_the_app_and_why_in_the_audit() {
    let refused = |deployment: &Deployment, name: Option<&str>, token: &str| -> (Value, Value, Value) {
        let before = deployment.proxy.audit().len();
        if let Some(name) = name {
            deployment.portal.names.lock().unwrap().insert(token.to_owned(), name.to_owned());
        }
        deployment.click(token);
        crate::support::proxy::wait_until("the audit", || deployment.proxy.audit().len() > before);
        let audit = deployment.proxy.audit().split_off(before);
        let [line] = &audit[..] else { panic!("{audit:?}") };
        assert_eq!(line["event"], "refused", "{line}");
        (line["reason"].clone(), line["app"].clone(), line["username"].clone())
    };
    let deployment = Deployment::with(|builder| builder.portal("usernames = \"[a-m].*\""));
    let long = "a/".repeat(200);
    for (name, reason, logged) in [
        (None, "unknown", Value::Null),
        (Some("admin\r\nroot"), "not_allowed", json!("admin\r\nroot")),
        (Some("zoe"), "not_allowed", json!("zoe")),
        (Some(long.as_str()), "not_allowed", json!(&long[..255])),
    ] {
        let token = deployment.portal.token_for("nobody");
        deployment.portal.names.lock().unwrap().clear();
        let told = refused(&deployment, name, &token);
        assert_eq!(told, (json!(reason), json!("portal"), logged), "{name:?}");
        // Once more: it was consumed then, and is not asked for again.
        assert_eq!(refused(&deployment, None, &token), (json!("unknown"), json!("portal"), Value::Null));
    }
    deployment.portal.server.on("/login", |exchange| exchange.answer("500 Oops", ""));
    let token = deployment.portal.token_for("alice");
    assert_eq!(
        refused(&deployment, None, &token),
        (json!("store_unavailable"), json!("portal"), Value::Null)
    );
}
