//! Who may end a hub token.

use super::*;
use crate::api::call::get;

fn revoke(token: &str) -> Call {
    Form(Vec::new()).with("token", token).with("token_type_hint", "access_token").post("/oauth2/revoke")
}

async fn issued(api: &TestApi) -> String {
    let reply = Form::exchange(&login_token(api).await).token().send(api).await;
    reply.json["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_app_ends_the_tokens_that_it_got() {
    let hub = TokenHub::start();
    let api = api(&hub);
    let token = issued(&api).await;
    // Known here, too, from then on for some minutes.
    assert_eq!(get("/api/v1/forward-auth").key(&token).send(&api).await.status, 200);
    for _ in 0..2 {
        let reply = revoke(&token).key(PORTAL).send(&api).await;
        assert_eq!((reply.status, &reply.body[..]), (200, &b""[..]));
        assert!(hub.tokens().is_empty());
    }
    assert_eq!(get("/api/v1/forward-auth").key(&token).send(&api).await.status, 401, "and forgotten at once");
    let lines: Vec<Value> = api.audit().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["event"], &last["app"], &last["username"]),
        (&json!("token_revoked"), &json!("portal"), &json!("alice"))
    );
    assert_eq!((&last["id"], api.metrics.hub.tokens_revoked.get()), (&lines[0]["id"], 1), "once");
}

#[tokio::test]
async fn no_app_ends_another_token() {
    let hub = TokenHub::start();
    let api = api(&hub);
    let token = issued(&api).await;
    for (user, secret, note) in [
        ("alice", "her-own", "Requested via token page"),
        ("alice", "no-note", ""),
        ("bob", "of-other", "hublatch app=other link=x"),
        ("bob", "of-longer", "hublatch app=portal2 link=x"),
        ("bob", "of-none", "hublatch app=portal"),
        ("service-x", "of-service", "hublatch app=portal link=x"),
    ] {
        hub.add(user, secret, note);
        let reply = revoke(secret).key(PORTAL).send(&api).await;
        assert_eq!(error_of(&reply), (400, "invalid_grant"), "{secret}");
    }
    let stolen = revoke(&token).key(OTHER).send(&api).await;
    assert_eq!(error_of(&stolen), (400, "invalid_grant"));
    assert_eq!(error_of(&revoke(&token).send(&api).await), (401, "invalid_client"));
    assert_eq!(hub.tokens().len(), 7);
}

#[tokio::test]
async fn what_is_worth_nothing_is_no_error() {
    let hub = TokenHub::start();
    let api = api(&hub);
    let login_token = login_token(&api).await;
    for token in ["deadbeef", &login_token, PORTAL, &"x".repeat(2000), "two words"] {
        assert_eq!(revoke(token).key(PORTAL).send(&api).await.status, 200, "{token}");
    }
    assert!(is_live(&api, &login_token).await);
    let asked = hub.hub.seen_at("/hub/api/user");
    assert_eq!(asked.len(), 1, "keys and login tokens are no business of the hub's: {asked:?}");
    for body in ["", "token="] {
        assert_eq!(
            error_of(&raw("/oauth2/revoke", body).key(PORTAL).send(&api).await),
            (400, "invalid_request")
        );
    }
}

#[tokio::test]
async fn a_hub_that_does_not_tell_tokens_apart_ends_none() {
    let hub = TokenHub::start();
    let api = api(&hub);
    let token = issued(&api).await;
    hub.state().hides_ids = true;
    assert_eq!(error_of(&revoke(&token).key(PORTAL).send(&api).await), (400, "unsupported_token_type"));
    let mut config = config_before(&hub.url(), "");
    config.hub.api.token = None;
    let without = TestApi::with(Variant { config, ..Variant::default() });
    assert_eq!(error_of(&revoke(&token).key(PORTAL).send(&without).await), (400, "unauthorized_client"));
    assert_eq!(hub.tokens().len(), 1);
}
