//! `Idempotency-Key`: an app whose call broke off may repeat it.

use std::time::Duration;

use serde_json::{Value, json};

use super::call::{Reply, post};
use super::client::{OTHER, PORTAL, TestApi};

async fn issue(api: &TestApi, app: &str, key: &str, order: &Value) -> Reply {
    post("/api/v1/links").key(app).header("idempotency-key", key).json(order).send(api).await
}

fn alice() -> Value {
    json!({"username": "alice", "next": "/hub/home"})
}

#[tokio::test]
async fn a_repeat_answers_a_new_token_under_the_same_id() {
    let api = TestApi::new();
    let first = issue(&api, PORTAL, "k1", &alice()).await;
    let second = issue(&api, PORTAL, "k1", &alice()).await;
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.json["id"], second.json["id"]);
    assert_ne!(first.json["login_token"], second.json["login_token"]);
    let lost = post("/login").json(&json!({"token": first.json["login_token"]})).send(&api).await;
    assert_eq!(lost.status, 404, "the first token is worth nothing any more");
    let good = post("/login").json(&json!({"token": second.json["login_token"]})).send(&api).await;
    assert_eq!((good.status, &good.json), (200, &json!({"name": "alice"})));
}

#[tokio::test]
async fn a_repeat_after_the_link_was_used_or_revoked_is_a_conflict() {
    let api = TestApi::new();
    let used = issue(&api, PORTAL, "k1", &alice()).await;
    api.redeem(&used.json).await;
    let revoked = issue(&api, PORTAL, "k2", &alice()).await;
    let target = format!("/api/v1/links/{}", revoked.json["id"].as_str().unwrap());
    super::call::delete(&target).key(PORTAL).send(&api).await;
    for key in ["k1", "k2"] {
        let reply = issue(&api, PORTAL, key, &alice()).await;
        assert_eq!((reply.status, reply.code()), (409, "idempotency_key_ended"), "{key}");
    }
}

#[tokio::test]
async fn a_repeat_after_the_link_expired_issues_again() {
    let api = TestApi::new();
    issue(&api, PORTAL, "k1", &alice()).await;
    api.clock.advance(Duration::from_secs(31));
    let again = issue(&api, PORTAL, "k1", &alice()).await;
    assert_eq!(again.status, 201);
    assert_eq!(api.status(&again.json).await, "pending");
}

#[tokio::test]
async fn a_key_with_another_body_is_refused() {
    let api = TestApi::new();
    let first = issue(&api, PORTAL, "k1", &alice()).await;
    let reply = issue(&api, PORTAL, "k1", &json!({"username": "bob"})).await;
    assert_eq!((reply.status, reply.code()), (422, "idempotency_key_reused"));
    assert_eq!(api.status(&first.json).await, "pending", "and the first link lives on");
}

#[tokio::test]
async fn keys_of_different_apps_are_different() {
    let api = TestApi::new();
    let portal = issue(&api, PORTAL, "k1", &alice()).await;
    let other = issue(&api, OTHER, "k1", &alice()).await;
    assert_eq!(other.status, 201);
    assert_ne!(portal.json["id"], other.json["id"]);
}

#[tokio::test]
async fn a_malformed_key_is_refused() {
    let api = TestApi::new();
    for key in ["", &"x".repeat(256), "a\tb"] {
        let reply = issue(&api, PORTAL, key, &alice()).await;
        assert_eq!((reply.status, reply.code()), (422, "invalid_idempotency_key"), "{key:?}");
    }
    let twice =
        post("/api/v1/links").key(PORTAL).header("idempotency-key", "a").and_header("idempotency-key", "a");
    let reply = twice.json(&alice()).send(&api).await;
    assert_eq!((reply.status, reply.code()), (422, "invalid_idempotency_key"));
    assert_eq!(issue(&api, PORTAL, &"x".repeat(255), &alice()).await.status, 201);
}
