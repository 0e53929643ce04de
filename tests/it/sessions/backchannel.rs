//! `OpenID` Connect Back-Channel Logout: an app's identity provider ends the sessions of its users, and of nobody else.

use std::sync::Arc;
use std::time::Duration;

use hublatch::clock::{Clock as _, ManualClock};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::with_handler;
use crate::jwt::signer::{AUDIENCE, ISSUER, Signer, claims};
use crate::redeem::click;
use crate::support::proxy::standing_clock;
use crate::support::{Answer, FakeHub, Links, TestProxy};

const PATH: &str = "/oidc/backchannel-logout";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

struct Provider {
    hub: FakeHub,
    proxy: TestProxy,
    clock: Arc<ManualClock>,
    signer: Signer,
    _files: TempDir,
}

impl Provider {
    fn new(portal: &str) -> Self {
        let (hub, clock, signer) = (FakeHub::start(), standing_clock(), Signer::ed25519());
        let files = tempfile::tempdir().expect("a directory");
        let path = files.path().join("portal.pem");
        std::fs::write(&path, &signer.pem).expect("write");
        let jwt =
            format!("jwt = {{ issuer = {ISSUER:?}, audience = {AUDIENCE:?}, public_key_file = {path:?} }}");
        let proxy = TestProxy::before(&hub).clock(&clock).portal(&jwt).portal(portal).start();
        clock.advance(Duration::from_secs(10));
        with_handler(&hub, vec!["0123456789abcdef0123456789abcdef".to_owned()]);
        Self { hub, proxy, clock, signer, _files: files }
    }

    fn claims(&self, more: &Value) -> Value {
        let mut all = json!({ "events": { EVENT: {} } });
        for (name, value) in more.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        claims(self.clock.now().wall.as_second(), &all)
    }

    fn token(&self, more: &Value) -> String {
        self.signer.sign(&self.claims(more))
    }

    fn post(&self, body: &str) -> Answer {
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        // Without a key: the token is the proof.
        Links::new(self.proxy.management(), "").call("POST", PATH, &form, body)
    }

    fn log_out(&self, token: &str) -> Answer {
        self.post(&format!("logout_token={token}"))
    }

    fn ended(&self) -> Vec<Value> {
        self.proxy.audit().into_iter().filter(|line| line["event"] == "session_ended").collect()
    }
}

const SCOPES: &str = "scopes = [\"issue\", \"end\"]";

#[test]
fn a_logout_at_the_identity_provider_ends_the_sessions_here_once() {
    let provider = Provider::new(SCOPES);
    let pending = provider.proxy.link("alice");
    let token = provider.token(&json!({ "sid": "s-1" }));
    let answer = provider.log_out(&token);
    assert_eq!((answer.status, answer.json()), (200, json!({ "ended": 1 })), "{}", answer.text());
    assert_eq!(answer.headers.get("cache-control"), Some("no-store"));
    assert_eq!(click(&provider.proxy, &pending).status, 403, "a link that waited is dead");
    let again = provider.log_out(&token);
    assert_eq!((again.status, &again.json()["error"]), (400, &json!("invalid_request")), "{}", again.text());
    let [line] = &provider.ended()[..] else { panic!("not one line: {:?}", provider.ended()) };
    assert_eq!(
        (&line["app"], &line["username"], &line["reason"]),
        (&json!("portal"), &json!("alice"), &json!("backchannel"))
    );
    assert_eq!(provider.proxy.metric("hublatch_sessions_ended_total{reason=\"backchannel\"}"), 1);
}

#[test]
fn what_is_no_logout_token_of_the_apps_ends_nothing() {
    let provider = Provider::new(SCOPES);
    let now = provider.clock.now().wall.as_second();
    for more in [
        json!({ "events": null }),
        json!({ "events": {} }),
        json!({ "events": { EVENT: "yes" } }),
        json!({ "events": [EVENT] }),
        json!({ "nonce": "n" }),
        json!({ "sub": null, "sid": "s-1" }),
        json!({ "jti": null }),
        json!({ "iss": "https://other.example" }),
        json!({ "aud": "https://other.example" }),
        json!({ "iat": now - 100, "exp": now - 40 }),
        json!({ "iat": now + 60, "exp": now + 100 }),
        json!({ "exp": now + 121 }),
        json!({ "sub": "Alice" }),
    ] {
        let answer = provider.log_out(&provider.token(&more));
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{more}");
    }
    let forged = Signer::ed25519().sign(&provider.claims(&json!({})));
    assert_eq!(provider.log_out(&forged).status, 400);
    for body in ["", "logout_token=", "logout_token=x", "logout_token=a&logout_token=b"] {
        assert_eq!(provider.post(body).status, 400, "{body}");
    }
    assert!(provider.hub.seen_at("/hub/hublatch/sessions").is_empty() && provider.ended().is_empty());
}

#[test]
fn the_rules_of_the_app_hold() {
    for portal in ["", "scopes = [\"issue\", \"end\"]\nusernames = \"^b.*$\""] {
        let provider = Provider::new(portal);
        let answer = provider.log_out(&provider.token(&json!({})));
        assert_eq!(answer.status, 400, "{portal}: {}", answer.text());
        assert!(provider.hub.seen_at("/hub/hublatch/sessions").is_empty());
    }
    let provider =
        Provider::new("scopes = [\"issue\", \"end\"]\nusername_prefix = \"lms-\"\nusernames = \"^lms-.*$\"");
    assert_eq!(provider.log_out(&provider.token(&json!({}))).status, 200);
    let seen = provider.hub.seen_at("/hub/hublatch/sessions");
    let assertion = seen[0].headers.get("x-hublatch-assertion").expect("an assertion");
    assert_eq!(crate::support::hub_pages::claims_of(assertion)["sub"], "lms-alice");
}

#[test]
fn a_hub_that_does_not_end_them_is_a_400_and_the_same_token_may_try_again() {
    let provider = Provider::new(SCOPES);
    provider.hub.on("/hub/hublatch/sessions", |exchange| exchange.answer("503 Service Unavailable", ""));
    let token = provider.token(&json!({}));
    let answer = provider.log_out(&token);
    assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("temporarily_unavailable")));
    with_handler(&provider.hub, Vec::new());
    assert_eq!(provider.log_out(&token).status, 200);
}

#[test]
fn a_logout_token_logs_nobody_in_and_a_login_token_logs_nobody_out() {
    let provider = Provider::new(SCOPES);
    let logout = provider.token(&json!({}));
    let answer = provider.proxy.browser().get(&format!("/hub/login?login_token={logout}"));
    assert_eq!(answer.status, 403, "{}", answer.text());
    let login = provider.token(&json!({ "events": null }));
    assert_eq!(provider.log_out(&login).status, 400);
    assert_eq!(provider.proxy.browser().get(&format!("/hub/login?login_token={login}")).status, 302);
}

#[test]
fn the_apps_own_logout_page_leads_through_ours_and_back_to_the_app() {
    let provider = Provider::new("scopes = [\"issue\", \"end\"]\nurl = \"https://portal.example/\"");
    provider.hub.on("/hub/logout", |exchange| {
        exchange.answer(
            "302 Found\r\nLocation: /hub/login\r\nSet-Cookie: jupyterhub-hub-login=; Max-Age=0; Path=/hub/",
            "",
        )
    });
    let target = format!("/hub/logout?logout_token={}&all=1", provider.token(&json!({})));
    let mut browser = provider.proxy.browser();
    // No script and no picture of any page ends anything.
    browser
        .request("GET", &target)
        .header("Sec-Fetch-Mode", "no-cors")
        .header("Sec-Fetch-Dest", "image")
        .send();
    assert!(provider.ended().is_empty());
    for _ in 0..2 {
        let answer = browser.get(&target);
        assert_eq!((answer.status, answer.location()), (303, "https://portal.example/"), "{}", answer.text());
        assert_eq!(answer.headers.all("set-cookie").len(), 1, "the hub's cookie goes");
        assert_eq!(provider.ended().len(), 1, "once, and a page that is loaded again is none the worse");
    }
    for seen in provider.hub.seen_at("/hub/logout") {
        assert_eq!(seen.query(), "all=1", "the token is for us alone");
    }
}

#[test]
fn a_logout_page_by_a_token_that_does_not_count_logs_nobody_out() {
    let provider = Provider::new(SCOPES);
    let forged = Signer::ed25519().sign(&provider.claims(&json!({})));
    for token in ["x", &forged, &provider.token(&json!({ "events": null }))] {
        let answer = provider.proxy.browser().get(&format!("/hub/logout?logout_token={token}"));
        assert_eq!(answer.status, 403, "{}", answer.text());
    }
    assert!(provider.hub.seen_at("/hub/logout").is_empty() && provider.ended().is_empty());
    provider.hub.on("/hub/hublatch/sessions", |exchange| exchange.answer("503 Service Unavailable", ""));
    let target = format!("/hub/logout?logout_token={}", provider.token(&json!({})));
    assert_eq!(provider.proxy.browser().get(&target).status, 503, "nothing is claimed");
}
