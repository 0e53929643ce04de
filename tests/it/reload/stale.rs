//! Whatever is waited for, the rules in force when a token is consumed or granted decide: a reload comes in the middle of
//! each wait, takes away what the request began with, and nobody gets in by it.

use std::net::SocketAddr;
use std::time::Duration;

use hublatch::clock::Clock as _;
use serde_json::json;

use crate::jwt::signer::{AUDIENCE, ISSUER, Signer, claims};
use crate::launch::launching;
use crate::redeem::{logins, nobody};
use crate::support::proxy::{Builder, standing_clock};
use crate::support::requests::request;
use crate::support::{Answer, Exchange, FakeHub, Gate, Issued, TestProxy, Then, Wire};

/// A request whose body is asked for, and does not come yet: hublatch has judged its head.
struct Held {
    wire: Wire,
    body: String,
}

impl Held {
    fn begin(address: SocketAddr, target: &str, lines: &[&str], body: &str) -> Self {
        let length = format!("Content-Length: {}", body.len());
        let lines = [lines, &["Expect: 100-continue", &length]].concat();
        let mut wire = Wire::connect(address);
        wire.send(request("POST", target, &lines));
        let interim = wire.until(b"\r\n\r\n").expect("the body is asked for");
        assert!(interim.starts_with(b"HTTP/1.1 100"), "{}", String::from_utf8_lossy(&interim));
        Self { wire, body: body.to_owned() }
    }

    fn end(mut self) -> Answer {
        self.wire.send(&self.body);
        self.wire.answer_to("POST").expect("an answer")
    }
}

/// The form of our own page, posted by a browser.
fn form(proxy: &TestProxy, token: &str) -> Held {
    let origin = format!("Origin: {}", proxy.origin());
    let lines = [&*origin, "Sec-Fetch-Site: same-origin", "Content-Type: application/x-www-form-urlencoded"];
    Held::begin(proxy.address(), "/hub/login", &lines, &format!("login_token={token}"))
}

fn call(proxy: &TestProxy, path: &str, kind: &str, body: &str) -> Held {
    let (key, kind) = (format!("Authorization: token {}", proxy.key()), format!("Content-Type: {kind}"));
    Held::begin(proxy.management(), path, &[&key, &kind], body)
}

/// The same deployment, whose portal has another key.
fn with_another_key(builder: &Builder) -> Builder {
    let other = super::key();
    builder.clone().keys(&[&other])
}

/// The hub says who somebody is only when `gate` is open.
fn gated(hub: &FakeHub, gate: &Gate, path: &str, answer: fn(&mut Exchange<'_>) -> Then) {
    let gate = gate.clone();
    hub.on(path, move |exchange| {
        gate.pass();
        answer(exchange)
    });
}

#[test]
fn a_form_that_was_held_is_judged_by_the_users_and_keys_of_now() {
    for change in [
        |builder: &Builder| builder.clone().portal("deny_usernames = [\"alice\"]"),
        |builder: &Builder| builder.clone().portal("next = [\"/nowhere\"]"),
        with_another_key,
        |builder: &Builder| {
            let bound = "require_state = true\nwithout_token = \"redirect\"\napp_url = \"http://app.test/\"";
            builder.clone().set("login", bound)
        },
    ] {
        let hub = FakeHub::start();
        let builder = TestProxy::before(&hub);
        let proxy = builder.clone().start();
        let link = proxy.links().issue(&json!({ "username": "alice", "next": "/hub/home" }));
        let held = form(&proxy, &link.token);
        proxy.reload(&change(&builder)).unwrap();
        let answer = held.end();
        assert!([400, 403].contains(&answer.status), "{} {}", answer.status, answer.text());
        assert!(logins(&hub).is_empty());
    }
}

#[test]
fn a_form_that_was_held_with_a_signed_token_is_judged_by_the_keys_of_now() {
    let (hub, signer, other) = (FakeHub::start(), Signer::ed25519(), Signer::ed25519());
    let clock = standing_clock();
    let files = tempfile::tempdir().expect("a directory");
    let path = files.path().join("portal.pem");
    let jwt = format!("jwt = {{ issuer = {ISSUER:?}, audience = {AUDIENCE:?}, public_key_file = {path:?} }}");
    std::fs::write(&path, &signer.pem).expect("write");
    let builder = TestProxy::before(&hub).clock(&clock).portal(&jwt);
    let proxy = builder.another();
    clock.advance(Duration::from_secs(20));
    let token = || signer.sign(&claims(clock.now().wall.as_second(), &json!({})));
    assert_eq!(form(&proxy, &token()).end().status, 302, "a held form logs in");
    let before = logins(&hub).len();
    let held = form(&proxy, &token());
    std::fs::write(&path, &other.pem).expect("write");
    proxy.reload(&builder).unwrap();
    assert_eq!(held.end().status, 403);
    assert_eq!(logins(&hub).len(), before);
}

#[test]
fn a_signed_token_that_the_hub_is_asked_about_is_judged_by_the_keys_of_now() {
    let (hub, signer, other, gate) = (FakeHub::start(), Signer::ed25519(), Signer::ed25519(), Gate::new());
    let clock = standing_clock();
    let files = tempfile::tempdir().expect("a directory");
    let path = files.path().join("portal.pem");
    let jwt = format!("jwt = {{ issuer = {ISSUER:?}, audience = {AUDIENCE:?}, public_key_file = {path:?} }}");
    std::fs::write(&path, &signer.pem).expect("write");
    let builder = TestProxy::before(&hub).clock(&clock).portal(&jwt);
    let proxy = builder.another();
    clock.advance(Duration::from_secs(20));
    let token = signer.sign(&claims(clock.now().wall.as_second(), &json!({})));
    gated(&hub, &gate, "/hub/api/user", nobody);
    let mut wire = proxy.browser().navigate(&format!("/hub/login?login_token={token}")).begin();
    hub.wait_for_path("/hub/api/user");
    std::fs::write(&path, &other.pem).expect("write");
    proxy.reload(&builder).unwrap();
    gate.open();
    assert_eq!(wire.answer_to("GET").expect("an answer").status, 403);
    assert!(logins(&hub).is_empty());
}

#[test]
fn while_the_hub_is_asked_who_somebody_is_a_rule_goes_and_so_does_the_login() {
    for change in [
        |builder: &Builder| builder.clone().portal("deny_usernames = [\"alice\"]"),
        with_another_key,
        |builder: &Builder| builder.clone().portal("next = [\"/nowhere\"]"),
    ] {
        let (hub, gate) = (FakeHub::start(), Gate::new());
        gated(&hub, &gate, "/hub/api/user", nobody);
        let builder = TestProxy::before(&hub);
        let proxy = builder.clone().start();
        let link = proxy.links().issue(&json!({ "username": "alice", "next": "/hub/home" }));
        let mut wire = proxy.browser().navigate(&link.target()).begin();
        hub.wait_for_path("/hub/api/user");
        proxy.reload(&change(&builder)).unwrap();
        gate.open();
        let answer = wire.answer_to("GET").expect("an answer");
        assert!([400, 403].contains(&answer.status), "{} {}", answer.status, answer.text());
        assert!(logins(&hub).is_empty());
    }
}

/// A click, while the hub takes its time to say who the browser is.
struct AskedWho {
    hub: FakeHub,
    gate: Gate,
    builder: Builder,
    proxy: TestProxy,
    link: Issued,
    wire: Wire,
}

impl AskedWho {
    fn begin() -> Self {
        let (hub, gate) = (FakeHub::start(), Gate::new());
        gated(&hub, &gate, "/hub/api/user", nobody);
        let builder = TestProxy::before(&hub);
        let proxy = builder.clone().start();
        let link = proxy.link("alice");
        let wire = proxy.browser().navigate(&link.target()).begin();
        hub.wait_for_path("/hub/api/user");
        Self { hub, gate, builder, proxy, link, wire }
    }
}

#[test]
fn a_login_that_a_reload_does_not_concern_goes_through() {
    let AskedWho { hub: _hub, gate, builder, proxy, mut wire, .. } = AskedWho::begin();
    proxy.reload(&builder.portal("deny_usernames = [\"bob\"]")).unwrap();
    gate.open();
    assert_eq!(wire.answer_to("GET").expect("an answer").status, 302);
}

#[test]
fn who_waits_behind_a_first_click_is_judged_by_the_rules_of_now() {
    let AskedWho { hub, gate, builder, proxy, link, wire: mut first } = AskedWho::begin();
    let mut second = proxy.browser().navigate(&link.target()).begin();
    proxy.reload(&builder.portal("deny_usernames = [\"alice\"]")).unwrap();
    gate.open();
    for wire in [&mut first, &mut second] {
        assert_eq!(wire.answer_to("GET").expect("an answer").status, 403);
    }
    assert!(logins(&hub).is_empty());
}

#[test]
fn the_button_of_a_confirm_page_from_before_is_judged_by_the_rules_of_now() {
    let hub = FakeHub::start();
    let builder = TestProxy::before(&hub);
    let proxy = builder.clone().start();
    let link = proxy.links().issue(&json!({ "username": "alice", "confirm": true }));
    let mut browser = proxy.browser();
    let page = browser.get(&link.target());
    proxy.reload(&builder.portal("deny_usernames = [\"alice\"]")).unwrap();
    assert_eq!(browser.press(&page).status, 403);
    assert!(logins(&hub).is_empty());
}

#[test]
fn an_order_that_was_held_is_judged_by_the_key_and_the_rules_of_now() {
    let hub = FakeHub::start();
    let builder = TestProxy::before(&hub);
    let order = r#"{"username":"alice"}"#;
    let batch = format!("{{\"links\":[{order}]}}");
    for (path, body) in [("/api/v1/links", order), ("/api/v1/links/batch", &*batch)] {
        for (change, expected) in [
            (with_another_key(&builder), (401, "unauthorized")),
            (builder.clone().portal("scopes = [\"read\"]"), (401, "unauthorized")),
            (builder.clone().portal("deny_usernames = [\"alice\"]"), (403, "username_not_allowed")),
        ] {
            let proxy = builder.clone().start();
            let held = call(&proxy, path, "application/json", body);
            proxy.reload(&change).unwrap();
            let answer = held.end();
            assert_eq!((answer.status, answer.json()["code"].as_str()), (expected.0, Some(expected.1)));
            assert!(proxy.audit().iter().all(|line| line["event"] != "issued"));
        }
    }
}

#[test]
fn a_link_whose_server_is_waited_for_is_issued_by_the_key_and_the_rules_of_now() {
    for (change, status) in [
        (with_another_key as fn(&Builder) -> Builder, 401),
        (|builder| builder.clone().portal("deny_usernames = [\"alice\"]"), 403),
        (|builder| builder.clone().portal("max_lifetime = \"10s\""), 422),
    ] {
        let (hub, gate) = (FakeHub::start(), Gate::new());
        gated(&hub, &gate, "/hub/api/users/alice", |exchange| {
            let alice = json!({ "name": "alice", "servers": { "": { "ready": true } } });
            exchange.answer("200 OK", alice.to_string())
        });
        let builder = launching(&hub);
        let proxy = builder.clone().start();
        let order = r#"{"username":"alice","launch":true}"#;
        let mut held = call(&proxy, "/api/v1/links", "application/json", order);
        held.wire.send(&held.body);
        hub.wait_for_path("/hub/api/users/alice");
        proxy.reload(&change(&builder)).unwrap();
        gate.open();
        let answer = held.wire.answer_to("POST").expect("an answer");
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(proxy.audit().iter().all(|line| line["event"] != "issued"));
    }
}

#[test]
fn a_token_that_was_held_at_the_exchange_endpoint_is_judged_by_the_rules_of_now() {
    let hub = FakeHub::start();
    let builder = TestProxy::before(&hub);
    let proxy = builder.clone().start();
    let token = json!({ "token": proxy.link("alice").token }).to_string();
    let held = call(&proxy, "/login", "application/json", &token);
    proxy.reload(&with_another_key(&builder)).unwrap();
    assert_eq!(held.end().status, 404);
}

/// What the portal may have.
const MAY: &str = "hub_tokens = { scopes = [\"access:servers!user\"] }";

/// A deployment whose hub makes tokens when `gate` is open.
fn token_hub(hub: &FakeHub, gate: &Gate) -> Builder {
    let gate = gate.clone();
    hub.on("/hub/api/users/alice/tokens", move |exchange| {
        gate.pass();
        let token = json!({ "token": "made-at-the-hub", "id": "a1", "expires_at": "2027-01-01T00:00:00Z" });
        exchange.answer("201 Created", token.to_string())
    });
    hub.on("/hub/api/users/alice/tokens/a1", |exchange| exchange.answer("204 No Content", ""));
    launching(hub)
}

fn exchange(proxy: &TestProxy, token: &str) -> Held {
    let form = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token={token}\
         &subject_token_type=urn%3Ahublatch%3Aparams%3Aoauth%3Atoken-type%3Alogin_token"
    );
    call(proxy, "/oauth2/token", "application/x-www-form-urlencoded", &form)
}

#[test]
fn an_oauth_form_that_was_held_is_judged_by_the_key_of_now() {
    let (hub, gate) = (FakeHub::start(), Gate::new());
    gate.open();
    let builder = token_hub(&hub, &gate).portal(MAY);
    let proxy = builder.clone().start();
    assert_eq!(exchange(&proxy, &proxy.link("alice").token).end().status, 200, "a held form is answered");
    let held = exchange(&proxy, &proxy.link("alice").token);
    proxy.reload(&with_another_key(&builder)).unwrap();
    assert_eq!(held.end().status, 401);
}

#[test]
fn a_hub_token_that_is_waited_for_is_given_by_the_key_and_the_bounds_of_now() {
    for (change, status) in [
        ((|builder| with_another_key(&builder.portal(MAY))) as fn(Builder) -> Builder, 401),
        (|builder| builder.portal("hub_tokens = { scopes = [\"read:users:name!user\"] }"), 401),
        (|builder| builder.portal(MAY).portal("deny_usernames = [\"alice\"]"), 400),
        (|builder| builder, 400),
    ] {
        let (hub, gate) = (FakeHub::start(), Gate::new());
        let bare = token_hub(&hub, &gate);
        let proxy = bare.clone().portal(MAY).start();
        let mut held = exchange(&proxy, &proxy.link("alice").token);
        held.wire.send(&held.body);
        hub.wait_for_path("/hub/api/users/alice/tokens");
        proxy.reload(&change(bare)).unwrap();
        gate.open();
        let answer = held.wire.answer_to("POST").expect("an answer");
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(!answer.text().contains("made-at-the-hub"));
        hub.wait_for_path("/hub/api/users/alice/tokens/a1");
    }
}

#[test]
fn a_name_that_an_app_takes_its_time_for_is_judged_by_the_rules_of_now() {
    for change in [
        |builder: &Builder, url: &str| {
            builder.clone().portal(&format!("exchange_url = {url:?}\ndeny_usernames = [\"alice\"]"))
        },
        |builder: &Builder, url: &str| {
            builder.clone().portal(&format!("exchange_url = {url:?}\nscopes = [\"read\"]"))
        },
        |builder: &Builder, _url: &str| builder.clone(),
    ] {
        let (hub, portal, gate) = (FakeHub::start(), FakeHub::start(), Gate::new());
        gated(&portal, &gate, "/exchange", |exchange| exchange.answer("200 OK", r#"{"name":"alice"}"#));
        let url = format!("{}/exchange", portal.url());
        let bare = TestProxy::before(&hub);
        let proxy = bare.clone().portal(&format!("exchange_url = {url:?}")).start();
        let mut wire = proxy.browser().navigate("/hub/login?login_token=of-the-portals-own").begin();
        portal.wait_for_path("/exchange");
        proxy.reload(&change(&bare, &url)).unwrap();
        gate.open();
        assert_eq!(wire.answer_to("GET").expect("an answer").status, 403);
        assert!(logins(&hub).is_empty());
    }
}

#[test]
fn keys_that_are_waited_for_count_only_while_their_app_signs_by_them() {
    for stays in [false, true] {
        let (hub, portal, gate, signer) =
            (FakeHub::start(), FakeHub::start(), Gate::new(), Signer::ed25519());
        let (set, until) = (json!({ "keys": [signer.jwk("a", &json!({}))] }).to_string(), gate.clone());
        portal.on("/keys", move |exchange| {
            until.pass();
            exchange.answer("200 OK\r\nContent-Type: application/json", &set)
        });
        let jwt = |url: &str| {
            format!("jwt = {{ issuer = {ISSUER:?}, audience = {AUDIENCE:?}, jwks_url = \"{url}/keys\" }}")
        };
        let clock = standing_clock();
        let bare = TestProxy::before(&hub).clock(&clock);
        let builder = bare.clone().portal(&jwt(&portal.url()));
        let proxy = builder.another();
        clock.advance(Duration::from_secs(20));
        let token = signer.sign(&claims(clock.now().wall.as_second(), &json!({})));
        let mut wire = proxy.browser().navigate(&format!("/hub/login?login_token={token}")).begin();
        portal.wait_for_path("/keys");
        proxy.reload(if stays { &builder } else { &bare }).unwrap();
        gate.open();
        let expected = if stays { 302 } else { 403 };
        assert_eq!(wire.answer_to("GET").expect("an answer").status, expected);
    }
}

#[test]
fn a_body_that_drips_is_given_up_as_a_whole() {
    let hub = FakeHub::start();
    let limits = "held_body_timeout = \"300ms\"\nbody_stall_timeout = \"60s\"";
    let proxy = TestProxy::before(&hub).set("limits", limits).start();
    let mut held = call(&proxy, "/api/v1/links", "application/json", r#"{"username":"alice"}"#);
    let body = std::mem::take(&mut held.body);
    for byte in body.as_bytes() {
        if held.wire.try_send([*byte]).is_err() || !held.wire.is_silent_for(Duration::from_millis(50)) {
            break;
        }
    }
    let answer = held.wire.answer_to("POST").expect("an answer");
    assert_eq!((answer.status, answer.json()["code"].as_str()), (408, Some("body_timeout")));
}
