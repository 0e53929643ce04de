//! Tokens that an app has signed before it ended its user's sessions, or revoked their links: dead with those.

use std::time::Duration;

use serde_json::{Value, json};

use super::Deployment;
use super::signer::Signer;
use crate::redeem::nobody;
use crate::sessions::with_handler;
use crate::support::{Answer, Gate};

const SCOPES: &str = "scopes = [\"issue\", \"revoke\", \"end\"]";
const SECOND: Duration = Duration::from_secs(1);
/// So much may the clock of an app be ahead.
const LEEWAY: Duration = Duration::from_secs(5);

fn deployment() -> Deployment {
    let deployment = Deployment::with(Signer::ed25519(), |builder| builder.portal(SCOPES));
    with_handler(&deployment.hub, vec!["0123456789abcdef0123456789abcdef".to_owned()]);
    deployment
}

impl Deployment {
    fn delete(&self, path: &str) -> Answer {
        self.proxy.links().call("DELETE", path, &[], "")
    }

    #[track_caller]
    fn end(&self, name: &str) {
        let answer = self.delete(&format!("/api/v1/users/{name}/sessions"));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn a_token_from_before_the_end_logs_nobody_in_and_one_from_after_it_does() {
    let deployment = deployment();
    let (before, of_bob) = (deployment.token(&json!({})), deployment.token(&json!({ "sub": "bob" })));
    deployment.clock.advance(SECOND);
    let within_its_second = deployment.token(&json!({}));
    deployment.end("alice");
    deployment.assert_refused(&before, "link_revoked");
    deployment.assert_refused(&within_its_second, "link_revoked");
    deployment.assert_admitted(&of_bob);
    deployment.clock.advance(LEEWAY + SECOND);
    deployment.assert_admitted(&deployment.token(&json!({})));
    // The next end counts in its turn, and the first one is not forgotten for it.
    let between = deployment.token(&json!({}));
    deployment.clock.advance(SECOND);
    deployment.end("alice");
    deployment.assert_refused(&between, "link_revoked");
    deployment.assert_refused(&before, "link_revoked");
    let refused: Vec<Value> =
        deployment.proxy.audit().into_iter().filter(|line| line["reason"] == "revoked").collect();
    assert!(refused.len() == 4 && refused.iter().all(|line| line["username"] == "alice"), "{refused:?}");
}

#[test]
fn an_app_whose_clock_is_ahead_saves_no_token_from_the_end_nor_a_link_that_it_orders_then() {
    let deployment = deployment();
    let (now, ahead) = (deployment.now(), deployment.now() + 5);
    let before = deployment.token(&json!({ "iat": ahead, "exp": ahead + 30 }));
    deployment.end("alice");
    deployment.assert_refused(&before, "link_revoked");
    // Whether one of these seconds was signed before or after, nobody can tell. An order at hublatch needs no clock.
    deployment.clock.advance(SECOND);
    let doubtful = deployment.token(&json!({}));
    deployment.assert_refused(&doubtful, "link_revoked");
    let link = deployment.proxy.link("alice");
    assert_eq!(deployment.proxy.browser().get(&link.target()).status, 302);
    deployment.clock.advance(LEEWAY);
    deployment.assert_refused(&before, "link_revoked");
    assert_eq!(deployment.now(), now + 6);
    deployment.assert_admitted(&deployment.token(&json!({})));
}

#[test]
fn revoking_the_links_of_a_user_revokes_their_tokens_too() {
    let deployment = deployment();
    let (token, of_bob) = (deployment.token(&json!({})), deployment.token(&json!({ "sub": "bob" })));
    assert_eq!(deployment.delete("/api/v1/users/alice/links").status, 200);
    deployment.assert_refused(&token, "link_revoked");
    deployment.assert_admitted(&of_bob);
}

#[test]
fn a_token_that_is_about_to_be_redeemed_when_the_end_comes_is_refused() {
    let (deployment, gate) = (deployment(), Gate::new());
    let waits = gate.clone();
    deployment.hub.on("/hub/api/user", move |exchange| {
        waits.pass();
        nobody(exchange)
    });
    let token = deployment.token(&json!({}));
    let mut clicked = deployment.proxy.browser().navigate(&format!("/hub/login?login_token={token}")).begin();
    deployment.hub.wait_for_path("/hub/api/user");
    deployment.end("alice");
    gate.open();
    let answer = clicked.answer_to("GET").expect("an answer");
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("link_revoked"), "{}", answer.text());
    assert!(deployment.hub.seen_at("/hub/login").is_empty());
    // Nor later, when it is known to be used.
    assert_eq!(deployment.click(&token).status, 403);
}

#[test]
fn an_end_that_the_hub_does_not_do_kills_the_tokens_all_the_same() {
    let deployment = deployment();
    deployment.hub.on("/hub/hublatch/sessions", |exchange| exchange.answer("503 Service Unavailable", ""));
    let token = deployment.token(&json!({}));
    assert_eq!(deployment.delete("/api/v1/users/alice/sessions").status, 503);
    deployment.assert_refused(&token, "link_revoked");
}

#[test]
fn a_name_that_the_app_may_not_end_revokes_nothing() {
    let deployment =
        Deployment::with(Signer::ed25519(), |builder| builder.portal(SCOPES).portal("usernames = \"b.*\""));
    let token = deployment.token(&json!({ "sub": "bob" }));
    assert_eq!(deployment.delete("/api/v1/users/alice/sessions").status, 403);
    deployment.assert_admitted(&token);
}
