//! Sessions that end: by their own id when their time has come, and at once when an app says so.

mod backchannel;

use std::sync::Arc;
use std::time::Duration;

use hublatch::clock::{Clock as _, ManualClock};
use hublatch::token::AppKey;
use serde_json::{Value, json};

use crate::redeem::click;
use crate::support::faulty_store::{At, Fault, FaultyStore};
use crate::support::proxy::{Builder, standing_clock, wait_until};
use crate::support::requests::{get, websocket};
use crate::support::{Answer, Browser, Exchange, FakeHub, Gate, Links, TestProxy, Then, Wire, hub_pages};

/// The hub answers with the Cookie header that it was sent.
fn echo(exchange: &mut Exchange<'_>) -> Then {
    let cookies = exchange.seen.headers.all("cookie").join("|");
    exchange.answer("200 OK", cookies)
}

struct Deployment {
    hub: FakeHub,
    builder: Builder,
    proxy: TestProxy,
    clock: Arc<ManualClock>,
}

impl Deployment {
    /// A portal that may end sessions; the rules of its links are those of `portal`, and of all those of `login`.
    fn new(login: &str, portal: &str) -> Self {
        let (hub, clock) = (FakeHub::start(), standing_clock());
        hub.on("/user/alice/lab", echo);
        let scopes = "scopes = [\"issue\", \"read\", \"revoke\", \"end\"]";
        let builder = TestProxy::before(&hub).clock(&clock).set("login", login).portal(scopes).portal(portal);
        let proxy = builder.another();
        Self { hub, builder, proxy, clock }
    }

    /// A browser that has logged in by a link of this order, and the id of its session.
    fn logged_in(&self, order: &Value) -> (Browser, String) {
        let link = self.proxy.links().issue(order);
        let mut browser = self.proxy.browser();
        assert_eq!(browser.get(&link.target()).status, 302);
        browser.set_cookie("jupyterhub-user-alice", "\"2|tornado|value\"", "/user/alice/");
        browser.set_cookie("theme", "dark", "/");
        let session = browser.cookie("jupyterhub-session-id").expect("a session").to_owned();
        (browser, session)
    }

    /// A WebSocket of `browser` to alice's server, which stays open.
    fn tunnel(&self, browser: &Browser) -> Wire {
        self.hub.on("/user/alice/ws", |exchange| {
            exchange.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            );
            while exchange.wire.fill() {}
            Then::Close
        });
        let cookies = format!("Cookie: {}", browser.cookies_for("/user/alice/ws"));
        let mut wire = self.proxy.connect();
        wire.send(websocket("/user/alice/ws", &[&cookies]));
        assert!(wire.head().expect("an answer").line.contains(" 101 "));
        wire
    }

    fn end(&self, key: &str, name: &str) -> Answer {
        let path = format!("/api/v1/users/{name}/sessions");
        Links::new(self.proxy.management(), key).call("DELETE", &path, &[], "")
    }
}

/// The names of the cookies that a response makes the browser forget.
fn forgotten(answer: &Answer) -> Vec<&str> {
    let lines = answer.headers.all("set-cookie").into_iter();
    lines.filter(|line| line.contains("Max-Age=0")).filter_map(|line| line.split('=').next()).collect()
}

fn assert_out(browser: &mut Browser) {
    let answer = browser.request("GET", "/user/alice/lab").send();
    assert_eq!(answer.text(), "theme=dark", "the hub's cookies did not go with the request");
    let names = forgotten(&answer);
    assert!(names.contains(&"jupyterhub-user-alice") && !names.contains(&"theme"), "{names:?}");
    assert_eq!(browser.cookie("jupyterhub-user-alice"), None);
    // It stays, or the login cookie of the hub, which did not come with this request, would count again.
    assert!(!names.contains(&"jupyterhub-session-id"), "{names:?}");
    assert!(browser.cookies_for("/hub/home").contains("jupyterhub-hub-login"));
    let answer = browser.get("/hub/home");
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("Your session has ended"), "{}", answer.text());
    assert!(forgotten(&answer).contains(&"jupyterhub-hub-login"), "{:?}", forgotten(&answer));
}

#[test]
fn a_session_with_an_end_goes_on_until_then_and_no_longer() {
    for (login, portal, order) in [
        ("max_session = \"10m\"", "", json!({ "username": "alice" })),
        ("max_session = \"1h\"", "max_session = \"10m\"", json!({ "username": "alice" })),
        ("max_session = \"1h\"", "", json!({ "username": "alice", "session_expires_in": 600 })),
        ("", "", json!({ "username": "alice", "session_expires_in": 600 })),
    ] {
        let deployment = Deployment::new(login, portal);
        let (mut browser, session) = deployment.logged_in(&order);
        assert!(session.starts_with("hl1."), "{session}");
        deployment.clock.advance(Duration::from_secs(599));
        assert!(browser.get("/user/alice/lab").text().contains("jupyterhub-user-alice"), "{login} {portal}");
        deployment.clock.advance(Duration::from_secs(1));
        assert_out(&mut browser);
        assert_eq!(
            deployment.proxy.metric("hublatch_sessions_ended_total{reason=\"over\"}"),
            2,
            "once a path"
        );
        // Another link begins another session.
        let link = deployment.proxy.link("alice");
        assert_eq!(browser.get(&link.target()).status, 302);
        assert!(browser.get("/user/alice/lab").text().contains("jupyterhub-session-id"));
    }
}

#[test]
fn a_link_for_the_same_user_renews_a_session_that_is_nearly_over_and_keeps_another() {
    let deployment = Deployment::new("max_session = \"10m\"", "");
    let (mut browser, first) = deployment.logged_in(&json!({ "username": "alice" }));
    let mut click_after = |seconds| {
        deployment.clock.advance(Duration::from_secs(seconds));
        assert_eq!(browser.get(&deployment.proxy.link("alice").target()).status, 302);
        browser.cookie("jupyterhub-session-id").expect("a session").to_owned()
    };
    assert_eq!(click_after(299), first, "half of its time is left");
    let second = click_after(2);
    assert!(second.starts_with("hl1.") && second != first, "{second}");
    // The first would be over by now.
    deployment.clock.advance(Duration::from_secs(400));
    assert!(browser.get("/user/alice/lab").text().contains("jupyterhub-user-alice"));
    assert!(!browser.get("/hub/home").text().contains("Your session has ended"));
}

#[test]
fn without_a_rule_the_hub_makes_the_session_and_decides() {
    let deployment = Deployment::new("", "");
    let (mut browser, session) = deployment.logged_in(&json!({ "username": "alice" }));
    assert!(!session.starts_with("hl1."), "{session}");
    deployment.clock.advance(Duration::from_hours(24 * 10));
    let answer = browser.get("/user/alice/lab");
    assert!(answer.text().contains("jupyterhub-user-alice") && forgotten(&answer).is_empty());
}

#[test]
fn an_order_for_a_session_has_bounds() {
    let deployment = Deployment::new("max_session = \"1h\"", "");
    for (seconds, good) in [(59, false), (60, true), (3600, true), (3601, false)] {
        let order = json!({ "username": "alice", "session_expires_in": seconds }).to_string();
        let answer = deployment.proxy.links().call("POST", "/api/v1/links", &[], order);
        assert_eq!(answer.status, if good { 201 } else { 422 }, "{seconds}: {}", answer.text());
        if !good {
            assert_eq!(answer.json()["code"], "invalid_session_expires_in");
        }
    }
}

#[test]
fn a_forged_id_is_no_session_and_every_replica_judges_alike() {
    let deployment = Deployment::new("max_session = \"10m\"", "");
    let (_, session) = deployment.logged_in(&json!({ "username": "alice" }));
    let replica = deployment.builder.another();
    let asked = |proxy: &TestProxy, id: &str| {
        let mut browser = proxy.browser();
        browser.set_cookie("jupyterhub-session-id", id, "/");
        browser.set_cookie("jupyterhub-user-alice", "x", "/");
        browser.request("GET", "/user/alice/lab").send().text()
    };
    let later = {
        let mut parts: Vec<&str> = session.split('.').collect();
        parts[1] = "4102444800";
        parts.join(".")
    };
    for proxy in [&deployment.proxy, &replica] {
        assert!(asked(proxy, &session).contains("jupyterhub-user-alice"));
        assert_eq!(asked(proxy, &later), "");
        assert_eq!(asked(proxy, "hl1.4102444800.x.AAAA"), "");
        assert!(asked(proxy, "0123456789abcdef0123456789abcdef").contains("jupyterhub-user-alice"));
    }
}

#[test]
fn a_clock_that_is_set_back_brings_no_session_back() {
    let deployment = Deployment::new("max_session = \"10m\"", "");
    let (mut browser, _) = deployment.logged_in(&json!({ "username": "alice" }));
    let begun = deployment.clock.now().wall;
    deployment.clock.advance(Duration::from_secs(600));
    deployment.clock.step(begun);
    assert_out(&mut browser);
    // Nor does it end those that begin then before their time, or keep them longer.
    let (mut next, _) = deployment.logged_in(&json!({ "username": "alice" }));
    deployment.clock.advance(Duration::from_secs(599));
    assert!(next.get("/user/alice/lab").text().contains("jupyterhub-user-alice"));
    deployment.clock.advance(Duration::from_secs(1));
    assert_out(&mut next);
}

#[test]
fn an_id_that_somebody_has_planted_beside_a_good_one_ends_nothing_and_goes_no_further() {
    let deployment = Deployment::new("max_session = \"1h\"", "");
    let (_, old) = deployment.logged_in(&json!({ "username": "mallory", "session_expires_in": 60 }));
    deployment.clock.advance(Duration::from_secs(60));
    let (mut browser, session) = deployment.logged_in(&json!({ "username": "alice" }));
    for planted in ["hl1.x", &old] {
        // For a path of its own a cookie comes before the one of the whole site; one of a domain may come behind it.
        browser.set_cookie("jupyterhub-session-id", planted, "/user/alice/");
        let sent = browser.get("/user/alice/lab").text();
        assert!(sent.contains("jupyterhub-user-alice") && sent.contains(&session), "{planted}: {sent}");
        assert!(!sent.contains(planted), "{sent}");
    }
    browser.set_cookie("jupyterhub-session-id", "hl1.x", "/hub/");
    assert!(forgotten(&browser.get("/hub/home")).is_empty());
    let seen = deployment.hub.wait_for_path("/hub/home");
    assert!(seen.headers.get("cookie").unwrap_or_default().contains("jupyterhub-hub-login"), "{seen:?}");
    deployment.clock.advance(Duration::from_hours(1));
    let answer = browser.request("GET", "/user/alice/lab").send();
    assert_eq!(answer.text(), "theme=dark", "all are over");
}

#[test]
fn a_session_id_under_the_name_that_no_other_site_can_set_counts_alone() {
    const HOST: &str = "__Host-jupyterhub-session-id";
    let deployment = Deployment::new("max_session = \"1h\"", "");
    let sent = |plain: &str, host: &str| {
        let mut browser = deployment.proxy.browser();
        browser.set_cookie("jupyterhub-session-id", plain, "/");
        browser.set_cookie(HOST, host, "/");
        browser.set_cookie("jupyterhub-user-alice", "x", "/");
        browser.request("GET", "/user/alice/lab").send().text()
    };
    let (_, good) = deployment.logged_in(&json!({ "username": "alice" }));
    assert!(sent("hl1.x", &good).contains("jupyterhub-user-alice"));
    assert_eq!(sent(&good, "hl1.x"), "");
    assert_eq!(sent("0123456789abcdef0123456789abcdef", "hl1.x"), "");

    // Where the hub does not use that name, its next login takes a planted one away.
    let (mut browser, _) = deployment.logged_in(&json!({ "username": "alice" }));
    browser.set_cookie(HOST, "hl1.x", "/");
    assert_eq!(browser.get("/user/alice/lab").status, 403);
    let login = browser.get(&deployment.proxy.link("alice").target());
    let gone = "__Host-jupyterhub-session-id=; Max-Age=0; Path=/; HttpOnly; Secure";
    assert!(login.status == 302 && login.headers.all("set-cookie").contains(&gone), "{login:?}");
    assert_eq!(browser.get("/user/alice/lab").status, 200);

    // Where it does, the new one takes its place.
    browser.set_cookie(HOST, "hl1.x", "/");
    deployment.hub.on("/hub/login", |exchange| {
        let set = "Set-Cookie: __Host-jupyterhub-session-id=new; Path=/; Secure; HttpOnly";
        exchange.answer(&format!("302 Found\r\nLocation: /hub/home\r\n{set}"), "")
    });
    let login = browser.get(&deployment.proxy.link("alice").target());
    assert!(login.status == 302 && forgotten(&login).is_empty(), "{login:?}");
}

#[test]
fn a_tunnel_ends_with_its_session() {
    let deployment = Deployment::new("max_session = \"10m\"", "");
    let (browser, _) = deployment.logged_in(&json!({ "username": "alice" }));
    let mut wire = deployment.tunnel(&browser);
    deployment.clock.advance(Duration::from_secs(600));
    assert!(wire.is_ended());
}

/// The hub's side: it ends the sessions of alice, and knows nobody else.
pub fn with_handler(hub: &FakeHub, sessions: Vec<String>) {
    hub.on("/hub/hublatch/sessions", move |exchange| {
        let token = exchange.seen.headers.get("x-hublatch-assertion").expect("an assertion").to_owned();
        let claims = hub_pages::claims_of(&token);
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!("hublatch"), &json!("jupyterhub:sessions")));
        if claims["sub"] == "alice" {
            return exchange
                .answer("200 OK", json!({ "sessions": sessions, "ended": sessions.len() }).to_string());
        }
        exchange.answer("404 Not Found", json!({ "status": 404, "message": "unknown" }).to_string())
    });
}

#[test]
fn an_app_ends_the_sessions_of_a_user_at_once_and_nobody_elses() {
    for limited in ["", "max_session = \"10m\""] {
        let deployment = Deployment::new(limited, "");
        let (mut browser, session) = deployment.logged_in(&json!({ "username": "alice" }));
        let mut other = deployment.proxy.browser();
        other.set_cookie("jupyterhub-session-id", "0123456789abcdef0123456789abcdef", "/");
        other.set_cookie("jupyterhub-user-alice", "x", "/");
        with_handler(&deployment.hub, vec![session.clone()]);
        let pending = deployment.proxy.link("alice");
        let mut wire = deployment.tunnel(&browser);

        let answer = deployment.end(deployment.proxy.key(), "alice");
        assert_eq!((answer.status, answer.json()), (200, json!({ "ended": 1 })), "{}", answer.text());
        assert!(wire.is_ended(), "the tunnel is closed");
        assert_out(&mut browser);
        assert!(
            other.get("/user/alice/lab").text().contains("jupyterhub-user-alice"),
            "another session goes on"
        );
        assert_eq!(click(&deployment.proxy, &pending).status, 403, "a link that waited is dead");
        assert_eq!(click(&deployment.proxy, &deployment.proxy.link("alice")).status, 302, "a new one works");
        let ended = deployment.proxy.audit().into_iter().find(|line| line["event"] == "session_ended");
        let ended = ended.expect("an audit line");
        assert_eq!(
            (&ended["app"], &ended["username"], &ended["count"], &ended["reason"]),
            (&json!("portal"), &json!("alice"), &json!(1), &json!("api"))
        );
        assert_eq!(deployment.proxy.metric("hublatch_sessions_ended_total{reason=\"api\"}"), 1);
        // It is remembered for as long as servers may believe what the hub has said.
        let mut late = deployment.proxy.browser();
        late.set_cookie("jupyterhub-session-id", &session, "/");
        late.set_cookie("jupyterhub-user-alice", "x", "/");
        deployment.clock.advance(Duration::from_secs(590));
        assert_eq!(late.request("GET", "/user/alice/lab").send().text(), "");
    }
}

/// What the audit tells of sessions that an app has ended: how many each time.
fn told_ended(proxy: &TestProxy) -> Vec<Value> {
    let lines = proxy.audit().into_iter().filter(|line| line["event"] == "session_ended");
    lines.map(|line| line["count"].clone()).collect()
}

#[test]
fn an_app_that_does_not_wait_for_the_hub_has_ended_the_sessions_all_the_same() {
    let deployment = Deployment::new("", "");
    let (mut browser, session) = deployment.logged_in(&json!({ "username": "alice" }));
    let mut wire = deployment.tunnel(&browser);
    let (gate, sessions) = (Gate::new(), json!({ "sessions": [session], "ended": 1 }).to_string());
    let waits = gate.clone();
    deployment.hub.on("/hub/hublatch/sessions", move |exchange| {
        waits.pass();
        exchange.answer("200 OK", &sessions)
    });
    let mut call = Wire::connect(deployment.proxy.management());
    let key = format!("Authorization: token {}", deployment.proxy.key());
    call.send(format!("DELETE /api/v1/users/alice/sessions HTTP/1.1\r\nHost: localhost\r\n{key}\r\n\r\n"));
    deployment.hub.wait_for_path("/hub/hublatch/sessions");
    call.close();
    // The call of another connection is answered when the first one's end has been noticed.
    assert_eq!(deployment.proxy.links().call("GET", "/api/v1/info", &[], "").status, 200);
    gate.open();
    assert!(wire.is_ended(), "the tunnel is closed");
    assert_out(&mut browser);
    wait_until("the audit tells", || told_ended(&deployment.proxy) == [json!(1)]);
    // Whoever asks again, because no answer has come, is told what the first call has done; it is counted once.
    assert_eq!(deployment.end(deployment.proxy.key(), "alice").json(), json!({ "ended": 1 }));
    assert_eq!(told_ended(&deployment.proxy), [json!(1), json!(0)]);
    assert_eq!(deployment.proxy.metric("hublatch_sessions_ended_total{reason=\"api\"}"), 1);
}

#[test]
fn sessions_that_the_hub_has_ended_are_in_the_audit_although_the_store_fails() {
    let (hub, store) = (FakeHub::start(), Arc::new(FaultyStore::new()));
    let proxy = TestProxy::before(&hub)
        .portal("scopes = [\"issue\", \"end\"]")
        .store(Arc::clone(&store) as _)
        .start();
    with_handler(&hub, vec!["0123456789abcdef0123456789abcdef".to_owned()]);
    let end = || proxy.links().call("DELETE", "/api/v1/users/alice/sessions", &[], "");
    store.arm(At::Each("end_sessions"), Fault::Fails);
    let answer = end();
    assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("store_unavailable")));
    assert_eq!(told_ended(&proxy), [json!(1)]);
    assert_eq!(proxy.metric("hublatch_sessions_ended_total{reason=\"api\"}"), 1);
    store.heal();
    assert_eq!(end().json(), json!({ "ended": 1 }));
    assert_eq!(
        store.calls().iter().filter(|call| **call == "end_sessions").count(),
        2,
        "the others are told"
    );
}

#[test]
fn whoever_may_not_end_sessions_ends_none() {
    let other = AppKey::generate(&aws_lc_rs::rand::SystemRandom::new()).expect("random bytes");
    let deployment = Deployment::new("", "usernames = \"a.*\"");
    with_handler(&deployment.hub, vec!["s".to_owned()]);
    let rooms = format!("[[apps]]\nname = \"rooms\"\nkeys = [\"{}\"]", other.digest());
    deployment.proxy.reload(&deployment.builder.clone().toml(&rooms)).unwrap();
    let code = |key: &str, name: &str| {
        let answer = deployment.end(key, name);
        (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(code(other.expose(), "alice"), (403, "insufficient_scope".to_owned()), "not in the default");
    assert_eq!(code(deployment.proxy.key(), "bob"), (403, "username_not_allowed".to_owned()));
    assert_eq!(code(deployment.proxy.key(), "admin"), (403, "username_not_allowed".to_owned()));
    assert_eq!(code("hk_unknown", "alice"), (401, "unauthorized".to_owned()));
    assert!(deployment.hub.seen_at("/hub/hublatch/sessions").is_empty());
    let nobody = deployment.end(deployment.proxy.key(), "anna");
    assert_eq!((nobody.status, nobody.json()), (200, json!({ "ended": 0 })), "the hub does not know them");
}

/// Lets the hub keep logins waiting until the gate is opened, and then log the user in as always.
fn slow_logins(deployment: &Deployment) -> Gate {
    let gate = Gate::new();
    let waits = gate.clone();
    deployment.hub.on("/hub/login", move |exchange| {
        exchange.read_body();
        waits.pass();
        let session = "Set-Cookie: jupyterhub-session-id=new; Path=/";
        let login = "Set-Cookie: jupyterhub-hub-login=secret; Path=/hub/";
        exchange.answer(&format!("302 Found\r\nLocation: /hub/home\r\n{session}\r\n{login}"), "")
    });
    gate
}

#[test]
fn a_login_that_was_on_its_way_to_the_hub_when_the_sessions_ended_lets_nobody_in() {
    for limited in ["", "max_session = \"10m\""] {
        let deployment = Deployment::new(limited, "");
        with_handler(&deployment.hub, Vec::new());
        let gate = slow_logins(&deployment);
        let click = |name: &str| {
            let link = deployment.proxy.link(name);
            (deployment.proxy.browser().navigate(&link.target()).begin(), link)
        };
        let ((mut alices, link), (mut bobs, _)) = (click("alice"), click("bob"));
        deployment.hub.wait_for(|seen| seen.iter().filter(|seen| seen.path() == "/hub/login").count() == 2);
        assert_eq!(deployment.end(deployment.proxy.key(), "alice").json(), json!({ "ended": 0 }));
        gate.open();

        let answer = alices.answer_to("GET").expect("an answer");
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert!(answer.text().contains("Your session has ended"), "{}", answer.text());
        let set = answer.headers.all("set-cookie");
        assert!(set.iter().all(|line| !line.contains("jupyterhub")), "{set:?}");
        assert_eq!(bobs.answer_to("GET").expect("an answer").status, 302, "nobody has ended his");
        let told: Vec<_> =
            deployment.proxy.audit().into_iter().filter(|line| line["id"] == *link.id).collect();
        let told: Vec<_> = told.iter().map(|line| (line["event"].clone(), line["reason"].clone())).collect();
        assert_eq!(
            told[1..],
            [(json!("redeemed"), Value::Null), (json!("login_failed"), json!("revoked"))],
            "{told:?}"
        );
        if !limited.is_empty() {
            let path = format!("/api/v1/links/{}", link.id);
            let told = deployment.proxy.links().call("GET", &path, &[], "").json();
            assert_eq!(told["session"]["ended"], json!(true), "{told}");
        }
        // What is clicked from now on is a login as any other.
        assert_eq!(click("alice").0.answer_to("GET").expect("an answer").status, 302);
    }
}

#[test]
fn a_login_is_not_sent_afresh_when_the_sessions_have_ended_meanwhile() {
    let deployment = Deployment::new("", "");
    with_handler(&deployment.hub, Vec::new());
    let gate = Gate::new();
    let (waits, clock) = (gate.clone(), Arc::clone(&deployment.clock));
    deployment.hub.on("/hub/login", move |exchange| {
        exchange.read_body();
        waits.pass();
        // Its assertion has expired in the hub's own queue.
        clock.advance(Duration::from_secs(11));
        exchange.answer("403 Forbidden", "expired")
    });
    let mut clicked = deployment.proxy.browser().navigate(&deployment.proxy.link("alice").target()).begin();
    deployment.hub.wait_for_path("/hub/login");
    assert_eq!(deployment.end(deployment.proxy.key(), "alice").status, 200);
    gate.open();
    let answer = clicked.answer_to("GET").expect("an answer");
    assert!(answer.status == 403 && answer.text().contains("Your session has ended"), "{}", answer.text());
    assert_eq!(deployment.hub.seen_at("/hub/login").len(), 1);
}

/// Whose sessions the hub was told to end.
fn ended_at_hub(hub: &FakeHub) -> Vec<String> {
    let of = |seen: &crate::support::Seen| {
        let assertion = seen.headers.get("x-hublatch-assertion").expect("an assertion");
        hub_pages::claims_of(assertion)["sub"].as_str().expect("a name").to_owned()
    };
    hub.seen_at("/hub/hublatch/sessions").iter().map(of).collect()
}

#[test]
fn a_name_is_the_one_in_the_path_in_whatever_spelling_and_never_another() {
    let deployment = Deployment::new("", "usernames = \"(alice|bob)\"");
    with_handler(&deployment.hub, vec!["0123456789abcdef0123456789abcdef".to_owned()]);
    for name in ["alice", "%61lice", "%61%6C%69%63%65"] {
        assert_eq!(deployment.end(deployment.proxy.key(), name).status, 200, "{name}");
    }
    for name in [
        "Alice",
        "ALICE",
        "alice%00",
        "alice%20",
        "%20alice",
        "alice%0a",
        "alice%2F",
        "alice%2F..%2Fbob",
        "..%2Fbob",
        "%2e%2e",
        "..",
        ".",
        "",
        "bob/alice",
        "alice;bob",
        "alice%3Bbob",
        "alice,bob",
        "alice%2Cbob",
        "alice%26bob",
        "%2561lice",
        "al%C0%AFice",
        "%E0%A0",
        "%",
        "%zz",
        "\u{FF41}lice",
        "%EF%BD%81lice",
        "alice%E2%80%8B",
        "*",
        "%2A",
    ] {
        let answer = deployment.end(deployment.proxy.key(), name);
        assert!((400..500).contains(&answer.status), "{name}: {} {}", answer.status, answer.text());
    }
    assert_eq!(ended_at_hub(&deployment.hub), ["alice"; 3]);
}

#[test]
fn an_app_with_a_prefix_ends_the_sessions_of_its_own_users_alone() {
    let rules = "username_prefix = \"lms-\"\nusernames = \"^lms-.*$\"";
    let deployment = Deployment::new("", rules);
    with_handler(&deployment.hub, Vec::new());
    for name in ["alice", "lms-alice"] {
        assert_eq!(deployment.end(deployment.proxy.key(), name).status, 200, "{name}");
    }
    assert_eq!(ended_at_hub(&deployment.hub), ["lms-alice", "lms-lms-alice"]);
}

#[test]
fn whoever_was_shut_out_stays_out_when_hublatch_is_restarted() {
    let files = tempfile::tempdir().expect("a directory");
    let url = format!("url = \"redb://{}\"", files.path().join("tokens.redb").display());
    let Deployment { hub, builder, proxy, clock } = Deployment::new("", "");
    drop(proxy);
    let builder = builder.set("store", &url);
    let deployment = Deployment { hub, proxy: builder.another(), builder, clock };
    let (alice, session) = deployment.logged_in(&json!({ "username": "alice" }));
    let alice = std::cell::RefCell::new(alice);
    with_handler(&deployment.hub, vec![session]);
    assert_eq!(deployment.end(deployment.proxy.key(), "alice").json(), json!({ "ended": 1 }));
    let (mut bob, _) = deployment.logged_in(&json!({ "username": "bob" }));
    let Deployment { hub, builder, proxy, clock } = deployment;
    drop(proxy);
    clock.advance(Duration::from_secs(300));
    let deployment = Deployment { hub, proxy: builder.another(), builder, clock };
    let address = deployment.proxy.address();
    let server =
        |browser: &mut Browser| browser.sent_to(address).request("GET", "/user/alice/lab").send().text();
    wait_until("it hears of it", || server(&mut alice.borrow_mut()) == "theme=dark");
    assert!(server(&mut bob).contains("jupyterhub-user-alice"));
}

#[test]
fn a_hub_that_does_not_end_them_is_told_and_nothing_is_claimed() {
    let deployment = Deployment::new("", "");
    let (mut browser, _) = deployment.logged_in(&json!({ "username": "alice" }));
    for (status, body, expected) in [
        ("503 Service Unavailable", "", 503),
        // A hub without our handler has pages for what it does not know.
        ("404 Not Found", "<html>404 : Not Found</html>", 502),
        ("403 Forbidden", r#"{"status":403,"message":"the assertion is not good"}"#, 502),
        ("200 OK", "{}", 502),
    ] {
        deployment.hub.on("/hub/hublatch/sessions", move |exchange| exchange.answer(status, body));
        let answer = deployment.end(deployment.proxy.key(), "alice");
        assert_eq!(answer.status, expected, "{status}: {}", answer.text());
        assert!(browser.get("/user/alice/lab").text().contains("jupyterhub-user-alice"));
    }
    assert!(deployment.proxy.audit().iter().all(|line| line["event"] != "session_ended"));
}

#[test]
fn a_link_tells_what_became_of_its_session() {
    let deployment = Deployment::new("max_session = \"10m\"", "");
    let link = deployment.proxy.link("alice");
    let told = || {
        let path = format!("/api/v1/links/{}", link.id);
        deployment.proxy.links().call("GET", &path, &[], "").json()["session"].clone()
    };
    assert_eq!(told(), Value::Null);
    let mut browser = deployment.proxy.browser();
    browser.get(&link.target());
    let until = format!("{:.3}", deployment.clock.now().plus(Duration::from_mins(10)).wall);
    assert_eq!(told(), json!({ "until": until, "ended": false }));
    let session = browser.cookie("jupyterhub-session-id").expect("a session").to_owned();
    with_handler(&deployment.hub, vec![session]);
    deployment.end(deployment.proxy.key(), "alice");
    assert_eq!(told(), json!({ "until": until, "ended": true }));
}

/// A session of alice that is over, and whatever the hub gets then.
fn over(deployment: &Deployment) -> Browser {
    let (browser, _) = deployment.logged_in(&json!({ "username": "alice", "session_expires_in": 60 }));
    deployment.clock.advance(Duration::from_secs(60));
    browser
}

#[test]
fn a_person_is_told_once_the_session_is_over_and_led_back_to_the_app_that_began_it() {
    let other = AppKey::generate(&aws_lc_rs::rand::SystemRandom::new()).expect("random bytes");
    let face = "url = \"https://portal.example/\"\ntitle = \"the portal\"";
    for others in [String::new(), format!("[[apps]]\nname = \"rooms\"\nkeys = [\"{}\"]", other.digest())] {
        let deployment = Deployment::new("", face);
        deployment.proxy.reload(&deployment.builder.clone().toml(&others)).unwrap();
        let mut browser = over(&deployment);
        let before = deployment.hub.seen_at("/user/alice/lab").len();
        let page = browser.get("/user/alice/lab");
        assert_eq!(page.status, 403);
        let text = page.text();
        for part in
            ["Your session has ended", "the portal", "href=\"https:&#x2f;&#x2f;portal.example&#x2f;\""]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(page.headers.get("cache-control"), Some("no-store"));
        assert!(forgotten(&page).contains(&"jupyterhub-user-alice"));
        assert_eq!(deployment.hub.seen_at("/user/alice/lab").len(), before, "the server hears nothing of it");
        // Where the hub leads whoever comes again, without a cookie that counts, it is the same.
        assert!(browser.get("/user/alice/lab").text().contains("theme=dark"));
        let page = browser.get("/hub/login?next=%2Fuser%2Falice%2Flab");
        assert_eq!(page.status, 403);
        assert!(page.text().contains("Your session has ended"), "{}", page.text());
        // And without any session it is not.
        let page = deployment.proxy.browser().get("/hub/login");
        assert!(!page.text().contains("Your session has ended"), "{}", page.text());
    }
}

#[test]
fn no_script_picture_or_program_gets_the_page_of_a_session_that_is_over() {
    let deployment = Deployment::new("", "");
    deployment.hub.on("/user/alice/api/kernels", |exchange| exchange.answer("403 Forbidden", "the server's"));
    let requests: [&[(&str, &str)]; 4] = [
        &[("Accept", "application/json"), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")],
        &[("Accept", "text/html"), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")],
        &[("Accept", "image/avif,*/*;q=0.8")],
        &[],
    ];
    for headers in requests {
        let mut browser = over(&deployment);
        let mut request = browser.request("GET", "/user/alice/api/kernels");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.send();
        assert_eq!((answer.status, answer.text().as_str()), (403, "the server's"), "{headers:?}");
        let names = forgotten(&answer);
        assert!(names.contains(&"jupyterhub-user-alice"), "{names:?}");
    }
    let mut browser = over(&deployment);
    deployment.hub.on("/user/alice/form", echo);
    let posted = browser.request("POST", "/user/alice/form").header("Accept", "text/html").body("a=1").send();
    assert_eq!(posted.text(), "theme=dark", "a form goes on, and is nobody's");
}

#[test]
fn where_the_app_is_the_way_in_a_session_that_is_over_leads_there_and_back() {
    let redirect = "without_token = \"redirect\"\napp_url = \"https://portal.example/open\"";
    let deployment = Deployment::new(redirect, "");
    let mut browser = over(&deployment);
    let answer = browser.get("/user/alice/lab?reset");
    assert_eq!(answer.status, 303);
    let location = answer.location();
    assert!(location.starts_with("https://portal.example/open?state="), "{location}");
    assert!(location.contains("&next=%2Fuser%2Falice%2Flab%3Freset&redirect_uri="), "{location}");
    assert!(forgotten(&answer).contains(&"jupyterhub-user-alice"));
}

#[test]
fn where_others_log_in_at_the_hub_itself_a_session_that_is_over_leads_to_the_hub() {
    let deployment = Deployment::new("without_token = \"forward\"", "");
    let mut browser = over(&deployment);
    let answer = browser.get("/user/alice/lab");
    assert_eq!((answer.status, answer.text().as_str()), (200, "theme=dark"));
    assert!(forgotten(&answer).contains(&"jupyterhub-user-alice"));
}

#[test]
fn an_open_connection_is_no_way_around() {
    let deployment = Deployment::new("max_session = \"10m\"", "");
    let (browser, _) = deployment.logged_in(&json!({ "username": "alice" }));
    let cookies = format!("Cookie: {}", browser.cookies_for("/user/alice/lab"));
    let mut wire = deployment.proxy.connect();
    assert!(wire.ask(get("/user/alice/lab", &[&cookies])).text().contains("jupyterhub-user-alice"));
    deployment.clock.advance(Duration::from_mins(10));
    assert_eq!(wire.ask(get("/user/alice/lab", &[&cookies])).text(), "theme=dark");
    wait_until("nothing is left open", || deployment.proxy.metric("hublatch_tunnels") == 0);
}
