//! `POST /login`: what `JupyterHub`'s own forced-login example calls.

use std::time::Duration;

use hublatch::config::Confirm;
use serde_json::{Value, json};

use super::call::{Reply, delete, order, post};
use super::client::{NARROW, PORTAL, TestApi, Variant, config};

async fn exchange(api: &TestApi, link: &Value) -> Reply {
    post("/login").json(&json!({"token": link["login_token"]})).send(api).await
}

#[tokio::test]
async fn a_token_is_exchanged_once_for_the_name_and_nothing_else() {
    let api = TestApi::new();
    let link = api.issue(json!({"username": "alice", "groups": ["staff"]})).await;
    let first = exchange(&api, &link).await;
    assert_eq!((first.status, &first.json), (200, &json!({"name": "alice"})));
    let second = exchange(&api, &link).await;
    assert_eq!((second.status, second.code()), (404, "used"));
    assert_eq!(api.status(&link).await, "used");
    let audit = api.audit();
    assert_eq!(audit.matches(r#""event":"redeemed""#).count(), 1, "{audit}");
    assert!(audit.contains(r#""event":"refused""#) && audit.contains(r#""reason":"used""#), "{audit}");
}

#[tokio::test]
async fn of_many_at_once_one_is_answered() {
    let api = TestApi::new();
    let link = api.issue(order()).await;
    let calls = (0..20).map(|_| exchange(&api, &link));
    let replies = futures_util::future::join_all(calls).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    assert_eq!(replies.iter().filter(|reply| reply.status == 404).count(), 19);
}

#[tokio::test]
async fn an_expired_token_is_400_as_in_the_example() {
    let api = TestApi::new();
    let link = api.issue(order()).await;
    api.clock.advance(Duration::from_secs(30));
    let reply = exchange(&api, &link).await;
    assert_eq!((reply.status, reply.code()), (400, "expired"));
}

#[tokio::test]
async fn an_unknown_token_is_404_whatever_its_shape() {
    let api = TestApi::new();
    for token in ["", "x", &format!("hl_{}", "A".repeat(43)), &"x".repeat(10_000), PORTAL] {
        let reply = post("/login").json(&json!({"token": token})).send(&api).await;
        assert_eq!((reply.status, reply.code()), (404, "unknown"), "{token}");
    }
}

#[tokio::test]
async fn the_body_is_held_to_its_one_field() {
    let api = TestApi::new();
    for body in ["{}", r#"{"token": null}"#, r#"{"token": 7}"#, r#"{"token": "x", "name": "admin"}"#, "[]"] {
        let reply = post("/login").text(body).send(&api).await;
        assert_eq!(reply.status, 422, "{body}");
    }
    let form = post("/login").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(form.body("token=x".into()).send(&api).await.status, 415);
}

#[tokio::test]
async fn a_link_that_asks_first_is_not_consumed_where_nobody_can_be_asked() {
    let api = TestApi::new();
    let link = api.issue(json!({"username": "alice", "confirm": true})).await;
    let reply = exchange(&api, &link).await;
    assert_eq!((reply.status, reply.code()), (403, "confirm_required"));
    assert_eq!(api.status(&link).await, "pending");
    let audit = api.audit();
    let refused: Value = serde_json::from_str(audit.lines().last().unwrap()).unwrap();
    assert_eq!((&refused["event"], &refused["reason"]), (&json!("refused"), &json!("confirm_required")));
    assert_eq!(
        (&refused["id"], &refused["app"], &refused["username"]),
        (&link["id"], &json!("portal"), &json!("alice"))
    );

    let mut always = config();
    always.login.confirm = Confirm::Always;
    let api = TestApi::with(Variant { config: always, ..Variant::default() });
    let link = api.issue(order()).await;
    assert_eq!(exchange(&api, &link).await.code(), "confirm_required");
}

#[tokio::test]
async fn a_revoked_token_is_worth_nothing() {
    let api = TestApi::new();
    let link = post("/api/v1/links").key(NARROW).json(&order()).send(&api).await.json;
    delete(&format!("/api/v1/links/{}", link["id"].as_str().unwrap())).key(NARROW).send(&api).await;
    let reply = exchange(&api, &link).await;
    assert_eq!((reply.status, reply.code()), (404, "revoked"));
}
