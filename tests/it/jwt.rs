//! Tokens that an app has signed itself (RFC 7519): verified by its keys, used once, under its rules.

mod keys;
mod race;
mod revoked;
pub mod signer;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hublatch::clock::{Clock as _, ManualClock, SystemClock};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::redeem::logins;
use crate::support::proxy::{Builder, standing_clock};
use crate::support::{Answer, FakeHub, Process, TestProxy, Wire, hub_pages};
use signer::{AUDIENCE, ISSUER, Signer, claims};

/// A hublatch whose portal signs with one key, and a clock that stands some time after its start.
struct Deployment {
    hub: FakeHub,
    proxy: TestProxy,
    clock: Arc<ManualClock>,
    signer: Signer,
    _files: TempDir,
}

impl Deployment {
    fn new() -> Self {
        Self::with(Signer::ed25519(), |builder| builder)
    }

    fn with(signer: Signer, change: impl FnOnce(Builder) -> Builder) -> Self {
        let (hub, clock) = (FakeHub::start(), standing_clock());
        let files = tempfile::tempdir().expect("a directory");
        let path = files.path().join("portal.pem");
        std::fs::write(&path, &signer.pem).expect("write");
        let jwt = format!(
            "jwt = {{ issuer = {ISSUER:?}, audience = {AUDIENCE:?}, public_key_file = {path:?}, algorithms = [\"{:?}\"] }}",
            signer.algorithm
        );
        let proxy = change(TestProxy::before(&hub).clock(&clock).portal(&jwt)).start();
        clock.advance(Duration::from_secs(10));
        Self { hub, proxy, clock, signer, _files: files }
    }

    fn now(&self) -> i64 {
        self.clock.now().wall.as_second()
    }

    fn token(&self, more: &Value) -> String {
        self.signer.sign(&claims(self.now(), more))
    }

    /// Has the store forget what is old, as it does with each link that is issued.
    fn forget(&self) {
        self.proxy.link("somebody");
    }

    fn click(&self, token: &str) -> Answer {
        self.proxy.browser().get(&format!("/hub/login?login_token={token}"))
    }

    #[track_caller]
    fn assert_admitted(&self, token: &str) {
        let before = logins(&self.hub).len();
        let answer = self.click(token);
        assert_eq!(answer.status, 302, "{}", answer.text());
        assert_eq!(logins(&self.hub).len(), before + 1);
    }

    #[track_caller]
    fn assert_refused(&self, token: &str, code: &str) {
        let before = logins(&self.hub).len();
        let answer = self.click(token);
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert!(answer.text().contains(&format!("Error 403, {code}")), "not {code}: {}", answer.text());
        assert_eq!(logins(&self.hub).len(), before);
    }
}

#[test]
fn a_token_of_the_apps_own_logs_its_user_in_with_one_proof() {
    let deployment = Deployment::new();
    let token = deployment.token(&json!({ "next": "/user/alice/lab?x=1", "groups": ["course-7"] }));
    let answer = deployment.click(&token);
    assert_eq!((answer.status, answer.location()), (302, "/user/alice/lab?x=1"));
    let login = deployment.hub.only("/hub/login");
    assert_eq!(
        (login.query(), login.headers.get("remote_user")),
        ("next=%2Fuser%2Falice%2Flab%3Fx%3D1", Some("alice"))
    );
    let proof = hub_pages::claims_of(login.headers.get("x-hublatch-assertion").expect("a proof"));
    assert_eq!(proof["groups"], json!(["course-7"]));
    deployment.hub.accounts(|accounts| assert!(accounts.refused.is_empty(), "{:?}", accounts.refused));
    let received: Vec<u8> = deployment.hub.received().concat();
    assert!(
        !String::from_utf8_lossy(&received).contains(&token[token.len() - 20..]),
        "the token itself goes nowhere"
    );
}

#[test]
fn each_algorithm_verifies_what_it_has_signed() {
    for signer in [Signer::ed25519(), Signer::p256(), Signer::rsa()] {
        let deployment = Deployment::with(signer, |builder| builder);
        deployment.assert_admitted(&deployment.token(&json!({})));
    }
}

#[test]
fn a_token_admits_once() {
    let deployment = Deployment::new();
    let token = deployment.token(&json!({}));
    deployment.assert_admitted(&token);
    for _ in 0..3 {
        deployment.assert_refused(&token, "link_used");
    }
    // As long as its time lasts, and after it.
    deployment.clock.advance(Duration::from_secs(64));
    deployment.assert_refused(&token, "link_used");
    deployment.clock.advance(Duration::from_hours(1));
    deployment.forget();
    deployment.assert_refused(&token, "link_expired");
}

#[test]
fn another_token_with_the_same_jti_is_the_same_token() {
    let deployment = Deployment::new();
    deployment.assert_admitted(&deployment.token(&json!({ "jti": "one" })));
    deployment.assert_refused(&deployment.token(&json!({ "jti": "one", "sub": "bob" })), "link_used");
    deployment.assert_admitted(&deployment.token(&json!({ "jti": "two" })));
}

#[test]
fn a_refresh_leads_the_same_user_on_and_nobody_else() {
    let deployment = Deployment::new();
    let target = format!("/hub/login?login_token={}", deployment.token(&json!({ "next": "/hub/home" })));
    let mut browser = deployment.proxy.browser();
    assert_eq!(browser.get(&target).status, 302);
    deployment.clock.advance(Duration::from_secs(29));
    let again = browser.get(&target);
    assert_eq!((again.status, again.location()), (303, "/hub/home"));
    assert_eq!(logins(&deployment.hub).len(), 1);
    assert_eq!(deployment.proxy.browser().get(&target).status, 403);
    deployment.clock.advance(Duration::from_secs(2));
    assert_eq!(browser.get(&target).status, 403);
}

#[test]
fn what_is_not_signed_by_the_app_for_us_now_is_refused() {
    let deployment = Deployment::new();
    let (now, stranger) = (deployment.now(), Signer::ed25519());
    let good = deployment.token(&json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = encoded(&json!({ "alg": "none", "typ": "JWT" }));
    let by_hmac = {
        // Algorithm confusion: the public key, which everybody may have, as a shared secret.
        let key = jsonwebtoken::EncodingKey::from_secret(deployment.signer.pem.as_bytes());
        jsonwebtoken::encode(&jsonwebtoken::Header::new(Algorithm::HS256), &claims(now, &json!({})), &key)
            .unwrap()
    };
    let altered = encoded(&claims(now, &json!({ "sub": "bob" })));
    for (what, token) in [
        ("another's signature", stranger.sign(&claims(now, &json!({})))),
        ("another algorithm", Signer::p256().sign(&claims(now, &json!({})))),
        ("no algorithm", format!("{unsigned}.{}.x", parts[1])),
        ("algorithm confusion", by_hmac),
        ("altered claims", format!("{}.{altered}.{}", parts[0], parts[2])),
        ("a cut signature", good[..good.len() - 2].to_owned()),
        ("another audience", deployment.token(&json!({ "aud": "http://hub.test/" }))),
        ("no audience in a list", deployment.token(&json!({ "aud": ["a", "b"] }))),
        ("an unknown issuer", deployment.token(&json!({ "iss": "https://evil.example" }))),
        ("a life above 120 s", deployment.token(&json!({ "exp": now + 121 }))),
        ("no life", deployment.token(&json!({ "exp": now }))),
        ("an end before the beginning", deployment.token(&json!({ "iat": now + 2, "exp": now + 1 }))),
        ("the future", deployment.token(&json!({ "iat": now + 6, "exp": now + 60 }))),
        ("not before", deployment.token(&json!({ "nbf": now + 6 }))),
        ("an empty jti", deployment.token(&json!({ "jti": "" }))),
        ("a long jti", deployment.token(&json!({ "jti": "x".repeat(256) }))),
        ("a jti that is a number", deployment.token(&json!({ "jti": 7 }))),
        ("a time that is a text", deployment.token(&json!({ "exp": "soon" }))),
        ("a state that is none", deployment.token(&json!({ "state": "x" }))),
        (
            "a critical extension",
            deployment.signer.sign_as(&claims(now, &json!({})), |header| {
                header.crit = Some(vec!["b64".to_owned()]);
            }),
        ),
    ] {
        let answer = deployment.click(&token);
        assert_eq!(answer.status, 403, "{what}: {}", answer.text());
        assert!(answer.text().contains("link_unknown"), "{what}: {}", answer.text());
    }
    for name in ["iss", "aud", "sub", "iat", "exp", "jti"] {
        deployment.assert_refused(&deployment.token(&json!({ name: null })), "link_unknown");
    }
    assert_eq!(logins(&deployment.hub).len(), 0);
    deployment.assert_admitted(&good);
}

#[test]
fn what_an_identity_provider_signs_for_another_purpose_is_no_login() {
    let deployment = Deployment::new();
    let typed = |kind: &str| {
        let claims = claims(deployment.now(), &json!({}));
        deployment.signer.sign_as(&claims, |header| header.typ = Some(kind.to_owned()))
    };
    for kind in ["logout+jwt", "at+jwt", "AT+JWT", "application/at+jwt", "application/logout+jwt"] {
        deployment.assert_refused(&typed(kind), "link_unknown");
    }
    deployment.assert_refused(&deployment.token(&json!({ "nonce": "n" })), "link_unknown");
    for kind in ["JWT", "login+jwt", ""] {
        deployment.assert_admitted(&typed(kind));
    }
}

#[test]
fn why_a_token_that_an_app_has_signed_is_refused_stands_in_the_log() {
    let (hub, signer) = (FakeHub::start(), Signer::ed25519());
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("portal.pem");
    std::fs::write(&path, &signer.pem).unwrap();
    let jwt = format!("jwt = {{ issuer = {ISSUER:?}, audience = {AUDIENCE:?}, public_key_file = {path:?} }}");
    let mut process = Process::start(&TestProxy::before(&hub).portal(&jwt).text());
    let address = process.address("public");
    process.address("management");
    let now = SystemClock::new().now().wall.as_second();
    let said = [
        (json!({ "aud": "http://other.test" }), "the aud is not ours"),
        (json!({ "exp": now + 3600 }), "exp - iat is longer than allowed, or nothing"),
        (
            json!({ "iat": now + 3600, "exp": now + 3660 }),
            "its time has not come: iat or nbf is in the future",
        ),
        (json!({ "jti": null }), "a claim is missing, or of the wrong type"),
        (json!({ "jti": "" }), "the jti is empty or too long"),
        (json!({ "nonce": "n" }), "it has a nonce: an ID token is no login"),
    ];
    let click = |token: &str| {
        let target = format!("GET /hub/login?login_token={token} HTTP/1.1\r\nHost: hub.test\r\n\r\n");
        assert_eq!(Wire::connect(address).ask(target).status, 403, "{token}");
    };
    for (more, why) in &said {
        click(&signer.sign(&claims(now, more)));
        let line = process.logged("login: a token that an app has signed is refused");
        assert_eq!(
            (&line["app"], &line["why"], &line["level"]),
            (&json!("portal"), &json!(why), &json!("INFO"))
        );
    }
    // What anybody can make fills no log.
    click(&Signer::ed25519().sign(&claims(now, &json!({ "aud": "http://other.test" }))));
    process.signal(rustix::process::Signal::TERM);
    assert!(process.ended().success());
    let rest = process.said();
    assert!(!rest.contains("signed"), "{rest}");
}

#[test]
fn the_clocks_may_differ_by_five_seconds() {
    let deployment = Deployment::new();
    let now = deployment.now();
    deployment
        .assert_admitted(&deployment.token(&json!({ "iat": now + 5, "exp": now + 125, "nbf": now + 5 })));
    deployment
        .assert_admitted(&deployment.token(&json!({ "iat": now - 1, "exp": now, "aud": ["x", AUDIENCE] })));
    let late = deployment.token(&json!({ "iat": now, "exp": now + 1 }));
    deployment.clock.advance(Duration::from_millis(5_900));
    deployment.assert_admitted(&late);
    let late = deployment.token(&json!({ "iat": now, "exp": now + 1, "jti": "another" }));
    deployment.clock.advance(Duration::from_millis(100));
    deployment.assert_refused(&late, "link_expired");
}

#[test]
fn a_token_that_may_have_been_used_before_this_start_is_refused() {
    let deployment = Deployment::new();
    let start = deployment.now() - 10;
    for (iat, admitted) in [(start - 30, false), (start, false), (start + 5, false), (start + 6, true)] {
        let token = deployment.token(&json!({ "iat": iat, "exp": iat + 60 }));
        if admitted {
            deployment.assert_admitted(&token)
        } else {
            deployment.assert_refused(&token, "link_expired")
        }
    }
}

#[test]
fn a_clock_that_is_set_back_brings_no_token_to_life() {
    let deployment = Deployment::new();
    let begin = deployment.clock.now().wall;
    let token = deployment.token(&json!({}));
    deployment.assert_admitted(&token);
    deployment.clock.advance(Duration::from_hours(2));
    deployment.forget();
    deployment.clock.step(begin);
    deployment.assert_refused(&token, "link_expired");
}

#[test]
fn the_rules_of_the_app_hold_for_what_it_signs() {
    let rules =
        "deny_usernames = [\"root\"]\nusernames = \"[a-z]+\"\nnext = [\"/user\"]\nmax_lifetime = \"30s\"";
    let deployment = Deployment::with(Signer::ed25519(), |builder| builder.portal(rules));
    let now = deployment.now();
    let short = |more: Value| {
        let mut all = json!({ "exp": now + 30, "next": "/user/alice" });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        deployment.token(&all)
    };
    for name in ["root", "a1", "Alice", "../x", "", "a,b"] {
        deployment.assert_refused(&short(json!({ "sub": name })), "link_not_allowed");
    }
    for next in ["/hub/admin", "//evil", "https://evil/", "/user/../hub/admin"] {
        assert_eq!(deployment.click(&short(json!({ "next": next }))).status, 400, "{next}");
    }
    deployment.assert_refused(&short(json!({ "exp": now + 31 })), "link_unknown");
    let many: Vec<String> = (0..500).map(|number| format!("group-{number}")).collect();
    assert!(deployment.token(&json!({ "groups": many })).len() > 3800);
    deployment.assert_refused(&short(json!({ "groups": many })), "link_unknown");
    assert_eq!(logins(&deployment.hub).len(), 0);
    deployment.assert_admitted(&short(json!({})));
}

#[test]
fn an_app_without_the_scope_to_issue_signs_nothing() {
    let deployment = Deployment::with(Signer::ed25519(), |builder| builder.portal("scopes = [\"read\"]"));
    deployment.assert_refused(&deployment.token(&json!({})), "link_not_allowed");
}

#[test]
fn a_refusal_burns_nothing() {
    let deployment = Deployment::new();
    let token = deployment.token(&json!({ "jti": "kept" }));
    let target = format!("/hub/login?login_token={token}");
    deployment.hub.on("/hub/api/user", |exchange| exchange.answer("500 Oops", "no"));
    assert_eq!(deployment.click(&token).status, 503);
    deployment.hub.on("/hub/api/user", crate::redeem::nobody);
    let mut browser = deployment.proxy.browser();
    assert_eq!(browser.request("HEAD", &target).send().status, 200);
    assert_eq!(browser.navigate(&target).header("Sec-Purpose", "prefetch").send().status, 503);
    assert_eq!(browser.request("GET", &target).header("Sec-Fetch-Mode", "cors").send().status, 403);
    assert_eq!(browser.get(&format!("{target}&next=%2F%2Fevil")).status, 400);
    deployment.assert_admitted(&token);
}

#[test]
fn a_user_is_asked_before_another_is_logged_in() {
    let deployment = Deployment::new();
    let mut browser = deployment.proxy.browser();
    browser.set_cookie("jupyterhub-hub-login", "bob", "/hub/");
    let token = deployment.token(&json!({ "next": "/hub/home" }));
    let page = browser.get(&format!("/hub/login?login_token={token}"));
    assert_eq!((page.status, logins(&deployment.hub).len()), (200, 0), "{}", page.text());
    assert!(page.text().contains("Continue as") && page.text().contains("bob"));
    let answer = browser.press(&page);
    assert_eq!((answer.status, answer.location()), (302, "/hub/home"));
    assert_eq!(deployment.hub.seen_at("/hub/logout").len(), 1);
    deployment.assert_refused(&token, "link_used");
}

#[test]
fn a_form_of_another_site_hands_a_long_token_over() {
    let deployment = Deployment::new();
    let groups: Vec<String> = (0..150).map(|number| format!("group-{number}")).collect();
    let token = deployment.token(&json!({ "groups": groups }));
    assert!(token.len() > 2000);
    let mut browser = deployment.proxy.browser();
    let posted = browser
        .request("POST", "/hub/login")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Origin", "https://portal.example")
        .header("Sec-Fetch-Site", "cross-site")
        .body(format!("login_token={token}"))
        .send();
    assert_eq!((posted.status, posted.location()), (303, "/hub/login"));
    assert_eq!(browser.get("/hub/login").status, 302);
    assert!(browser.cookies_named("hublatch-token").is_empty());
    assert_eq!(logins(&deployment.hub).len(), 1);
}

#[test]
fn a_token_can_be_bound_to_a_browser_and_must_be_where_that_is_required() {
    let redirect =
        "without_token = \"redirect\"\napp_url = \"https://portal.example/\"\nrequire_state = true";
    let deployment = Deployment::with(Signer::ed25519(), |builder| builder.set("login", redirect));
    deployment.assert_refused(&deployment.token(&json!({})), "link_needs_state");
    let mut browser = deployment.proxy.browser();
    let sent = browser.get("/hub/login");
    let state = sent.location().split("state=").nth(1).and_then(|rest| rest.split('&').next()).unwrap();
    let token = deployment.token(&json!({ "state": state }));
    deployment.assert_refused(&token, "link_bound");
    assert_eq!(browser.get(&format!("/hub/login?login_token={token}")).status, 302);
}

#[test]
fn each_redeem_in_the_audit_has_one_issue_and_the_api_shows_neither() {
    let deployment = Deployment::new();
    let token = deployment.token(&json!({}));
    deployment.assert_admitted(&token);
    deployment.assert_refused(&token, "link_used");
    let audit = deployment.proxy.audit();
    let events: Vec<&str> = audit.iter().filter_map(|line| line["event"].as_str()).collect();
    assert_eq!(events, ["issued", "redeemed", "refused"]);
    assert_eq!((&audit[0]["reason"], &audit[0]["app"]), (&json!("signed_by_app"), &json!("portal")));
    assert!(
        audit.iter().all(|line| line["id"] == audit[0]["id"] && line["username"] == "alice"),
        "{audit:?}"
    );
    let id = audit[0]["id"].as_str().unwrap();
    assert_eq!(deployment.proxy.links().call("GET", &format!("/api/v1/links/{id}"), &[], "").status, 404);
    let revoked = deployment.proxy.links().call("DELETE", "/api/v1/users/alice/links", &[], "");
    assert_eq!(revoked.json()["revoked"], 0);
    deployment.assert_refused(&token, "link_used");
}

#[test]
fn where_no_app_signs_a_token_of_this_shape_is_unknown() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let token = Signer::ed25519().sign(&claims(0, &json!({})));
    let answer = proxy.browser().get(&format!("/hub/login?login_token={token}"));
    assert!(answer.status == 403 && answer.text().contains("link_unknown"));
    assert!(hub.seen().is_empty(), "and costs the hub nothing");
}
