//! What an app may give for a hub token: its own tokens alone, by the rules of a redeeming browser.

use std::time::Duration;

use super::*;
use crate::jwt::signer::{AUDIENCE, ISSUER, Signer, claims};

#[tokio::test]
async fn the_token_of_another_app_is_not_taken_and_not_consumed() {
    let hub = TokenHub::start();
    let api = api(&hub);
    let token = login_token(&api).await;
    let reply = Form::exchange(&token).post("/oauth2/token").key(OTHER).send(&api).await;
    assert_eq!(error_of(&reply), (400, "invalid_request"));
    assert!(is_live(&api, &token).await && hub.hub.seen().is_empty());
    let audit = api.audit();
    assert!(audit.lines().last().unwrap().contains("other_app"), "{audit}");
}

#[tokio::test]
async fn a_link_that_does_not_log_in_by_itself_is_not_taken() {
    let hub = TokenHub::start();
    let api = api(&hub);
    let asks = api.issue(json!({"username": "alice", "confirm": true})).await["login_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let reply = Form::exchange(&asks).token().send(&api).await;
    assert_eq!((error_of(&reply), reply.code()), ((400, "invalid_request"), "confirm_required"));
    let state = hublatch::token::BrowserSecret::generate(&aws_lc_rs::rand::SystemRandom::new())
        .unwrap()
        .state()
        .to_string();
    let bound = api.issue(json!({"username": "alice", "state": state})).await["login_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let reply = Form::exchange(&bound).token().send(&api).await;
    assert_eq!((error_of(&reply), reply.code()), ((400, "invalid_request"), "bound"));
    assert!(is_live(&api, &asks).await && hub.hub.seen().is_empty());

    let late = login_token(&api).await;
    api.clock.advance(Duration::from_secs(31));
    let reply = Form::exchange(&late).token().send(&api).await;
    assert_eq!(reply.code(), "expired");
    let unknown = Form::exchange(&format!("hl_{}", "A".repeat(43))).token().send(&api).await;
    assert_eq!(unknown.code(), "unknown");
    let link = api.issue(json!({"username": "alice"})).await;
    crate::api::call::delete(&format!("/api/v1/links/{}", link["id"].as_str().unwrap()))
        .key(PORTAL)
        .send(&api)
        .await;
    let revoked = Form::exchange(link["login_token"].as_str().unwrap()).token().send(&api).await;
    assert_eq!(revoked.code(), "revoked");
}

/// An API whose portal signs its own tokens.
fn signing_api(hub: &TokenHub, signer: &Signer, more: &str) -> TestApi {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("portal.pem");
    std::fs::write(&path, &signer.pem).unwrap();
    let jwt = format!(
        "jwt = {{ issuer = {ISSUER:?}, audience = {AUDIENCE:?}, public_key_file = {path:?} }}\n{more}"
    );
    let api = TestApi::with(Variant { config: config_before(&hub.url(), &jwt), ..Variant::default() });
    // A token that may be older than the process is refused, by clocks that may differ by five seconds.
    api.clock.advance(Duration::from_secs(20));
    api
}

fn jwt_form(token: &str) -> Form {
    Form::exchange(token).with("subject_token_type", JWT)
}

#[tokio::test]
async fn a_token_that_the_app_has_signed_becomes_a_hub_token_once() {
    let (hub, signer) = (TokenHub::start(), Signer::ed25519());
    let api = signing_api(&hub, &signer, "");
    let now = hublatch::clock::Clock::now(&*api.clock).wall.as_second();
    let token = signer.sign(&claims(now, &json!({})));
    let first = jwt_form(&token).token().send(&api).await;
    assert_eq!(first.status, 200, "{}", first.json);
    let again = jwt_form(&token).token().send(&api).await;
    assert_eq!((again.status, again.code(), hub.tokens().len()), (400, "used", 1));
    // Each kind by its own name.
    let token = signer.sign(&claims(now, &json!({})));
    assert_eq!(Form::exchange(&token).token().send(&api).await.code(), "unknown");
    assert_eq!(jwt_form(&login_token(&api).await).token().send(&api).await.code(), "unknown");
    // And with the key of the app that has signed it.
    let other = jwt_form(&token).post("/oauth2/token").key(OTHER).send(&api).await;
    assert_eq!(error_of(&other), (400, "invalid_request"));
    assert_eq!(jwt_form(&token).token().send(&api).await.status, 200);
}

#[tokio::test]
async fn a_signed_token_of_a_user_whom_the_app_may_not_log_in_is_not_taken() {
    let (hub, signer) = (TokenHub::start(), Signer::ed25519());
    let api = signing_api(&hub, &signer, "deny_usernames = [\"bob\"]");
    let now = hublatch::clock::Clock::now(&*api.clock).wall.as_second();
    let reply = jwt_form(&signer.sign(&claims(now, &json!({"sub": "bob"})))).token().send(&api).await;
    assert_eq!((reply.status, reply.code()), (400, "not_allowed"));
    let stranger = Signer::ed25519().sign(&claims(now, &json!({})));
    assert_eq!(jwt_form(&stranger).token().send(&api).await.code(), "unknown");
    assert!(hub.hub.seen().is_empty());
}
