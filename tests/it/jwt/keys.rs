//! Keys from the app's server: asked for when they are needed, kept when it is away, and never too often.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hublatch::clock::{Clock as _, ManualClock};
use serde_json::{Value, json};

use super::signer::{AUDIENCE, ISSUER, Signer, claims};
use crate::support::proxy::{Builder, standing_clock, wait_until};
use crate::support::{Answer, FakeHub, Gate, TestProxy, Then};

/// A hublatch whose portal publishes its keys on a server.
struct Deployment {
    hub: FakeHub,
    portal: FakeHub,
    builder: Builder,
    proxy: TestProxy,
    clock: Arc<ManualClock>,
}

impl Deployment {
    fn new(algorithms: &str) -> Self {
        let (hub, portal, clock) = (FakeHub::start(), FakeHub::start(), standing_clock());
        let jwt = format!(
            "jwt = {{ issuer = {ISSUER:?}, audience = {AUDIENCE:?}, jwks_url = \"{}/keys?x=1\", algorithms = {algorithms} }}",
            portal.url()
        );
        let builder = TestProxy::before(&hub).clock(&clock).portal(&jwt);
        let proxy = builder.another();
        clock.advance(Duration::from_secs(20));
        Self { hub, portal, builder, proxy, clock }
    }

    fn publish(&self, keys: &[Value]) {
        let set = json!({ "keys": keys }).to_string();
        self.portal
            .on("/keys", move |exchange| exchange.answer("200 OK\r\nContent-Type: application/json", &set));
    }

    fn asked(&self) -> usize {
        self.portal.seen_at("/keys").len()
    }

    fn click(&self, signer: &Signer, id: Option<&str>) -> Answer {
        let claims = claims(self.clock.now().wall.as_second(), &json!({}));
        let token = signer.sign_as(&claims, |header| header.kid = id.map(str::to_owned));
        self.proxy.browser().get(&format!("/hub/login?login_token={token}"))
    }
}

#[test]
fn the_key_that_a_token_names_is_fetched_once_and_kept() {
    let deployment = Deployment::new("[\"EdDSA\", \"ES256\", \"RS256\"]");
    let (first, second, third) = (Signer::ed25519(), Signer::p256(), Signer::rsa());
    deployment.publish(&[
        json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "shared" }),
        first.jwk("a", &json!({ "alg": "EdDSA", "use": "sig" })),
        second.jwk("b", &json!({})),
        third.jwk("c", &json!({ "use": "sig" })),
    ]);
    for _ in 0..3 {
        assert_eq!(deployment.click(&first, Some("a")).status, 302);
        assert_eq!(deployment.click(&second, Some("b")).status, 302);
        assert_eq!(deployment.click(&third, Some("c")).status, 302);
    }
    assert_eq!(deployment.click(&first, None).status, 302, "the only one of its kind needs no name");
    assert_eq!(deployment.asked(), 1);
    assert_eq!(deployment.portal.only("/keys").query(), "x=1");
    assert_eq!(deployment.click(&first, Some("b")).status, 403, "the name of another key");
}

#[test]
fn an_unknown_key_is_asked_for_at_most_every_ten_seconds() {
    let deployment = Deployment::new("[\"EdDSA\"]");
    let (old, new) = (Signer::ed25519(), Signer::ed25519());
    deployment.publish(&[old.jwk("old", &json!({}))]);
    assert_eq!(deployment.click(&old, Some("old")).status, 302);
    deployment.publish(&[old.jwk("old", &json!({})), new.jwk("new", &json!({}))]);
    for _ in 0..5 {
        assert_eq!(deployment.click(&new, Some("new")).status, 403, "asked a moment ago");
    }
    assert_eq!(deployment.asked(), 1);
    deployment.clock.advance(Duration::from_secs(10));
    assert_eq!(deployment.click(&new, Some("new")).status, 302);
    assert_eq!(deployment.click(&old, Some("old")).status, 302);
    assert_eq!(deployment.asked(), 2);
}

#[test]
fn a_server_that_is_away_stops_no_key_that_is_known() {
    let deployment = Deployment::new("[\"EdDSA\"]");
    let (known, unknown) = (Signer::ed25519(), Signer::ed25519());
    deployment.publish(&[known.jwk("known", &json!({}))]);
    assert_eq!(deployment.click(&known, Some("known")).status, 302);
    for reply in ["HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "nonsense\r\n\r\n", ""] {
        deployment.portal.on("/keys", move |exchange| {
            exchange.send(reply);
            Then::Close
        });
        // Old, too: it would be asked for again.
        deployment.clock.advance(Duration::from_secs(601));
        assert_eq!(deployment.click(&known, Some("known")).status, 302, "{reply:?}");
        assert_eq!(deployment.click(&unknown, Some("unknown")).status, 503, "there is no telling");
    }
}

#[test]
fn a_key_that_is_taken_back_is_gone_when_the_set_is_old() {
    let deployment = Deployment::new("[\"EdDSA\"]");
    let (lost, other) = (Signer::ed25519(), Signer::ed25519());
    deployment.publish(&[lost.jwk("lost", &json!({}))]);
    assert_eq!(deployment.click(&lost, Some("lost")).status, 302);
    deployment.publish(&[other.jwk("other", &json!({}))]);
    deployment.clock.advance(Duration::from_mins(10));
    assert_eq!(deployment.click(&lost, Some("lost")).status, 403);
}

#[test]
fn without_any_answer_nobody_is_logged_in_and_nothing_is_used_up() {
    let deployment = Deployment::new("[\"EdDSA\"]");
    let signer = Signer::ed25519();
    let away = Arc::new(AtomicBool::new(true));
    let (set, is_away) = (json!({ "keys": [signer.jwk("a", &json!({}))] }).to_string(), Arc::clone(&away));
    deployment.portal.on("/keys", move |exchange| {
        if is_away.load(Ordering::Relaxed) { Then::Close } else { exchange.answer("200 OK", &set) }
    });
    let claims = claims(deployment.clock.now().wall.as_second(), &json!({}));
    let token = signer.sign_as(&claims, |header| header.kid = Some("a".to_owned()));
    let target = format!("/hub/login?login_token={token}");
    for _ in 0..3 {
        let answer = deployment.proxy.browser().get(&target);
        assert_eq!(answer.status, 503);
        assert!(answer.text().contains("store_unavailable"), "{}", answer.text());
    }
    assert_eq!(deployment.asked(), 1, "not every ten seconds only, but every time");
    away.store(false, Ordering::Relaxed);
    deployment.clock.advance(Duration::from_secs(10));
    assert_eq!(deployment.proxy.browser().get(&target).status, 302);
    assert_eq!(deployment.hub.seen_at("/hub/login").len(), 1);
}

/// Lets the server of the keys answer with these as soon as the gate is open.
fn publish_behind(gate: &Gate, deployment: &Deployment, keys: &[Value]) {
    let (waits, set) = (gate.clone(), json!({ "keys": keys }).to_string());
    deployment.portal.on("/keys", move |exchange| {
        waits.pass();
        exchange.answer("200 OK", &set)
    });
}

#[test]
fn whoever_goes_away_while_the_keys_are_asked_for_takes_them_from_nobody() {
    let deployment = Deployment::new("[\"EdDSA\"]");
    let (signer, gate) = (Signer::ed25519(), Gate::new());
    publish_behind(&gate, &deployment, &[signer.jwk("a", &json!({}))]);
    let claims = claims(deployment.clock.now().wall.as_second(), &json!({}));
    // Anybody can sign such a token: nobody knows its key.
    let token = Signer::ed25519().sign_as(&claims, |header| header.kid = Some("of-nobody".to_owned()));
    let gone = deployment.proxy.browser().navigate(&format!("/hub/login?login_token={token}")).begin();
    deployment.portal.wait_for_path("/keys");
    gone.close();
    wait_until("its connection is closed", || deployment.proxy.metric("hublatch_connections") == 0);
    gate.open();
    assert_eq!(deployment.click(&signer, Some("a")).status, 302);
    assert_eq!(deployment.asked(), 1, "and the server is not asked twice");
}

#[test]
fn while_a_server_is_asked_about_old_keys_nobody_waits_for_it_but_who_has_asked() {
    let deployment = Deployment::new("[\"EdDSA\"]");
    let (kept, lost, gate) = (Signer::ed25519(), Signer::ed25519(), Gate::new());
    let keys = [kept.jwk("kept", &json!({})), lost.jwk("lost", &json!({}))];
    deployment.publish(&keys);
    assert_eq!(deployment.click(&kept, Some("kept")).status, 302);
    publish_behind(&gate, &deployment, &keys[..1]);
    deployment.clock.advance(Duration::from_mins(10));
    let begin = |signer: &Signer, id: &str| {
        let claims = claims(deployment.clock.now().wall.as_second(), &json!({}));
        let token = signer.sign_as(&claims, |header| header.kid = Some(id.to_owned()));
        deployment.proxy.browser().navigate(&format!("/hub/login?login_token={token}")).begin()
    };
    let mut asks = begin(&kept, "kept");
    deployment.portal.wait_for(|seen| seen.iter().filter(|seen| seen.path() == "/keys").count() == 2);
    assert_eq!(deployment.click(&kept, Some("kept")).status, 302);
    assert!(asks.is_silent_for(Duration::from_millis(50)), "it waits for the answer");
    gate.open();
    assert_eq!(asks.answer_to("GET").expect("an answer").status, 302);
    assert_eq!(deployment.click(&lost, Some("lost")).status, 403, "taken back");
    assert_eq!(deployment.asked(), 2);
    // After a reload no key counts that the server has not named since, whoever is asking.
    let gate = Gate::new();
    publish_behind(&gate, &deployment, &[]);
    deployment.proxy.reload(&deployment.builder).unwrap();
    let clicks = [begin(&kept, "kept"), begin(&kept, "kept")];
    deployment.portal.wait_for(|seen| seen.iter().filter(|seen| seen.path() == "/keys").count() == 3);
    gate.open();
    for mut click in clicks {
        assert_eq!(click.answer_to("GET").expect("an answer").status, 403);
    }
}

#[test]
fn a_reload_asks_anew_so_that_a_key_that_was_taken_back_is_gone() {
    let deployment = Deployment::new("[\"EdDSA\"]");
    let (stolen, kept) = (Signer::ed25519(), Signer::ed25519());
    deployment.publish(&[stolen.jwk("stolen", &json!({})), kept.jwk("kept", &json!({}))]);
    assert_eq!(deployment.click(&stolen, Some("stolen")).status, 302);
    deployment.publish(&[kept.jwk("kept", &json!({}))]);
    deployment.proxy.reload(&deployment.builder).unwrap();
    assert_eq!(deployment.click(&stolen, Some("stolen")).status, 403);
    assert_eq!(deployment.click(&kept, Some("kept")).status, 302);
    assert_eq!(deployment.asked(), 2);
}

#[test]
fn a_reload_while_the_server_is_away_stops_no_key_that_is_known() {
    let deployment = Deployment::new("[\"EdDSA\"]");
    let signer = Signer::ed25519();
    deployment.publish(&[signer.jwk("a", &json!({}))]);
    assert_eq!(deployment.click(&signer, Some("a")).status, 302);
    deployment.portal.on("/keys", |exchange| exchange.answer("503 Service Unavailable", ""));
    deployment.proxy.reload(&deployment.builder).unwrap();
    for _ in 0..2 {
        assert_eq!(deployment.click(&signer, Some("a")).status, 302);
    }
    assert_eq!(deployment.asked(), 2);
}

#[test]
fn a_set_that_is_no_set_or_too_large_or_leads_elsewhere_is_no_answer() {
    let signer = Signer::ed25519();
    let good = json!({ "keys": [signer.jwk("a", &json!({}))] }).to_string();
    let large = format!("{}{good}", " ".repeat(256 * 1024));
    for (status, body) in [
        ("200 OK", "<html>".to_owned()),
        ("200 OK", "[]".to_owned()),
        ("404 Not Found", good.clone()),
        ("200 OK", large),
        ("302 Found\r\nLocation: /elsewhere", String::new()),
    ] {
        let deployment = Deployment::new("[\"EdDSA\"]");
        let answer = good.clone();
        deployment.portal.on("/elsewhere", move |exchange| exchange.answer("200 OK", &answer));
        deployment.portal.on("/keys", move |exchange| exchange.answer(status, &body));
        assert_eq!(deployment.click(&signer, Some("a")).status, 503, "{status}");
        assert!(deployment.portal.seen_at("/elsewhere").is_empty());
    }
}

#[test]
fn a_key_that_nobody_knows_what_to_make_of_spoils_no_other() {
    let signer = Signer::ed25519();
    for bad in [
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA", "kid": "new" }),
        json!({ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA" }),
        json!({ "kty": "RSA", "kid": "without-numbers" }),
        json!({ "kty": 7 }),
        json!("no key"),
        Value::Null,
    ] {
        let deployment = Deployment::new("[\"EdDSA\"]");
        deployment.publish(&[bad.clone(), signer.jwk("a", &json!({}))]);
        assert_eq!(deployment.click(&signer, Some("a")).status, 302, "{bad}");
    }
}

#[test]
fn a_key_is_used_only_for_what_it_says_it_is_for() {
    let signer = Signer::ed25519();
    for more in [json!({ "use": "enc" }), json!({ "alg": "ES256" }), json!({ "crv": "Ed448" })] {
        let deployment = Deployment::new("[\"EdDSA\"]");
        deployment.publish(&[signer.jwk("a", &more)]);
        assert_eq!(deployment.click(&signer, Some("a")).status, 403, "{more}");
    }
    let deployment = Deployment::new("[\"EdDSA\"]");
    deployment.publish(&[signer.jwk("a", &json!({})), Signer::ed25519().jwk("a", &json!({}))]);
    assert_eq!(deployment.click(&signer, Some("a")).status, 403, "two of one name are none");
}
