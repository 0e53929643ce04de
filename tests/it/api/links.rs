//! One link: issue, read, revoke.

use std::time::Duration;

use serde_json::{Value, json};

use super::call::{delete, get, order, post};
use super::client::{ISSUER, NARROW, OTHER, PORTAL, READER, TestApi};

#[tokio::test]
async fn an_issued_link_is_answered_with_everything_an_app_needs() {
    let api = TestApi::new();
    let reply = post("/api/v1/links")
        .key(PORTAL)
        .json(&json!({"username": "alice", "next": "/hub/home"}))
        .send(&api)
        .await;
    assert_eq!(reply.status, 201);
    let link = &reply.json;
    let token = link["login_token"].as_str().unwrap();
    assert!(token.starts_with("hl_") && token.len() == 46);
    assert_eq!(
        link["url"],
        format!("http://127.0.0.1:8000/hub/login?login_token={token}&next=%2Fhub%2Fhome")
    );
    assert_eq!((&link["username"], &link["next"]), (&json!("alice"), &json!("/hub/home")));
    assert_eq!((&link["expires_in"], &link["expires_at"]), (&json!(30), &json!("2026-01-31T12:00:30.250Z")));
    assert_eq!(reply.header("location"), format!("/api/v1/links/{}", link["id"].as_str().unwrap()));
    assert_eq!(reply.header("content-type"), "application/json");
}

#[tokio::test]
async fn an_answer_never_repeats_a_token() {
    let api = TestApi::new();
    let link = api.issue(order()).await;
    let token = link["login_token"].as_str().unwrap();
    let read = get(&format!("/api/v1/links/{}", link["id"].as_str().unwrap())).key(PORTAL).send(&api).await;
    let metrics = get("/metrics").send(&api).await;
    for text in [&read.body, &metrics.body] {
        assert!(!String::from_utf8_lossy(text).contains(&token[3..]));
    }
    assert!(!api.audit().contains(&token[3..]));
}

#[tokio::test]
async fn a_path_and_a_server_lead_through_the_hubs_spawn_page() {
    let api = TestApi::new();
    for (order, next) in [
        (
            json!({"username": "alice", "path": "lab/tree/a%2Fb c.ipynb?x=1"}),
            "/hub/spawn/alice?next=%2Fuser%2Falice%2Flab%2Ftree%2Fa%252Fb%2520c.ipynb%3Fx%3D1",
        ),
        (
            json!({"username": "alice", "path": "lab", "server": "one"}),
            "/hub/spawn/alice/one?next=%2Fuser%2Falice%2Fone%2Flab",
        ),
        (json!({"username": "alice", "server": "one"}), "/hub/spawn/alice/one?next=%2Fuser%2Falice%2Fone%2F"),
        (json!({"username": "alice", "path": ""}), "/hub/spawn/alice?next=%2Fuser%2Falice%2F"),
        (
            json!({"username": "alice", "path": "lab", "server": ""}),
            "/hub/spawn/alice?next=%2Fuser%2Falice%2Flab",
        ),
    ] {
        assert_eq!(api.issue(order.clone()).await["next"], next, "{order}");
    }
}

#[tokio::test]
async fn without_a_place_the_hub_decides() {
    let api = TestApi::new();
    for order in [
        json!({"username": "alice"}),
        json!({"username": "alice", "next": ""}),
        json!({"username": "alice", "next": null, "path": null, "server": null, "state": null}),
    ] {
        assert_eq!(api.issue(order.clone()).await["next"], Value::Null, "{order}");
    }
}

#[tokio::test]
async fn the_status_of_a_link_follows_its_life() {
    let api = TestApi::new();
    let link =
        api.issue(json!({"username": "alice", "note": "ticket 1", "confirm": true, "expires_in": 10})).await;
    let target = format!("/api/v1/links/{}", link["id"].as_str().unwrap());
    let pending = get(&target).key(PORTAL).send(&api).await;
    assert_eq!(pending.status, 200);
    assert_eq!(
        pending.json,
        json!({
            "id": link["id"], "username": "alice", "next": null, "status": "pending", "confirm": true, "note": "ticket 1",
            "issued_at": "2026-01-31T12:00:00.250Z", "expires_at": "2026-01-31T12:00:10.250Z", "used_at": null,
            "session": null,
        })
    );
    api.clock.advance(Duration::from_secs(2));
    api.redeem(&link).await;
    let used = get(&target).key(PORTAL).send(&api).await;
    assert_eq!(
        (&used.json["status"], &used.json["used_at"]),
        (&json!("used"), &json!("2026-01-31T12:00:02.250Z"))
    );
    let late = api.issue(json!({"username": "alice", "expires_in": 1})).await;
    api.clock.advance(Duration::from_secs(1));
    assert_eq!(api.status(&late).await, "expired");
}

#[tokio::test]
async fn a_link_can_be_read_for_ten_minutes_after_its_end() {
    let api = TestApi::new();
    let link = api.issue(order()).await;
    api.clock.advance(Duration::from_secs(30 + 599));
    let _another = api.issue(order()).await;
    assert_eq!(api.status(&link).await, "expired");
    api.clock.advance(Duration::from_secs(3));
    let _another = api.issue(order()).await;
    let gone = get(&format!("/api/v1/links/{}", link["id"].as_str().unwrap())).key(PORTAL).send(&api).await;
    assert_eq!((gone.status, gone.code()), (404, "link_not_found"));
}

#[tokio::test]
async fn a_revoked_link_is_dead_and_can_be_revoked_again() {
    let api = TestApi::new();
    let link = api.issue(order()).await;
    let target = format!("/api/v1/links/{}", link["id"].as_str().unwrap());
    for _ in 0..2 {
        let reply = delete(&target).key(PORTAL).send(&api).await;
        assert_eq!((reply.status, reply.body.len()), (204, 0));
        assert_eq!(reply.header("content-length"), "", "RFC 9110 § 8.6");
    }
    assert_eq!(api.status(&link).await, "revoked");
    let login = post("/login").json(&json!({"token": link["login_token"]})).send(&api).await;
    assert_eq!((login.status, login.code()), (404, "revoked"));
}

#[tokio::test]
async fn a_used_link_cannot_be_revoked() {
    let api = TestApi::new();
    let link = api.issue(order()).await;
    api.redeem(&link).await;
    let reply =
        delete(&format!("/api/v1/links/{}", link["id"].as_str().unwrap())).key(PORTAL).send(&api).await;
    assert_eq!((reply.status, reply.code()), (409, "link_used"));
}

#[tokio::test]
async fn all_pending_links_of_a_user_are_revoked_at_once() {
    let api = TestApi::new();
    let alice =
        [api.issue(json!({"username": "a@b+c"})).await, api.issue(json!({"username": "a@b+c"})).await];
    let used = api.issue(json!({"username": "a@b+c"})).await;
    api.redeem(&used).await;
    let bob = api.issue(json!({"username": "bob"})).await;
    let reply = delete("/api/v1/users/a%40b+c/links").key(PORTAL).send(&api).await;
    assert_eq!((reply.status, &reply.json), (200, &json!({"revoked": 2})));
    assert_eq!(
        (api.status(&alice[0]).await, api.status(&alice[1]).await),
        ("revoked".into(), "revoked".into())
    );
    assert_eq!((api.status(&used).await, api.status(&bob).await), ("used".into(), "pending".into()));
    let again = delete("/api/v1/users/a%40b+c/links").key(PORTAL).send(&api).await;
    assert_eq!(again.json, json!({"revoked": 0}));
}

#[tokio::test]
async fn what_is_no_user_name_has_no_links() {
    let api = TestApi::new();
    for name in ["Alice", "a%2Fb", "a%20b", "%FF", "%00"] {
        let reply = delete(&format!("/api/v1/users/{name}/links")).key(PORTAL).send(&api).await;
        assert_eq!((reply.status, reply.code()), (400, "invalid_username"), "{name}");
    }
}

#[tokio::test]
async fn another_apps_link_is_not_there() {
    let api = TestApi::new();
    let link = api.issue(order()).await;
    let target = format!("/api/v1/links/{}", link["id"].as_str().unwrap());
    for call in [get(&target), delete(&target)] {
        let reply = call.key(OTHER).send(&api).await;
        assert_eq!((reply.status, reply.code()), (404, "link_not_found"));
    }
    let reply = delete("/api/v1/users/stud-1/links").key(OTHER).send(&api).await;
    assert_eq!(reply.json, json!({"revoked": 0}));
    assert_eq!(api.status(&link).await, "pending");
}

#[tokio::test]
async fn what_is_no_link_id_is_no_link() {
    let api = TestApi::new();
    for id in ["x", "7rU1cG0m6j1q0QfZ8pQ2Xw", "..", "%2e%2e", "7rU1cG0m6j1q0QfZ8pQ2X%77"] {
        let reply = get(&format!("/api/v1/links/{id}")).key(PORTAL).send(&api).await;
        assert_eq!((reply.status, reply.code()), (404, "link_not_found"), "{id}");
    }
}

#[tokio::test]
async fn each_call_needs_its_scope() {
    let api = TestApi::new();
    let id = api.issue(order()).await["id"].as_str().unwrap().to_owned();
    let one = format!("/api/v1/links/{id}");
    for (key, call, scope) in [
        (READER, post("/api/v1/links").json(&order()), "issue"),
        (READER, post("/api/v1/links/batch").json(&json!({"links": [order()]})), "issue"),
        (ISSUER, get(&one), "read"),
        (READER, delete(&one), "revoke"),
        (ISSUER, delete("/api/v1/users/alice/links"), "revoke"),
    ] {
        let reply = call.key(key).send(&api).await;
        assert_eq!((reply.status, reply.code()), (403, "insufficient_scope"), "{scope}");
        assert!(reply.message().ends_with(scope), "{}", reply.message());
    }
    let reply = post("/api/v1/links").key(ISSUER).json(&order()).send(&api).await;
    assert_eq!(reply.status, 201, "and with it, it passes");
}

#[tokio::test]
async fn the_rules_of_the_app_hold() {
    for (fields, status, code) in [
        (json!({"username": "stud-1", "path": "lab"}), 201, ""),
        (json!({"username": "stud-1", "next": "/hub/home"}), 201, ""),
        (json!({"username": "stud-1", "expires_in": 60}), 201, ""),
        (json!({"username": "alice"}), 403, "username_not_allowed"),
        (json!({"username": "stud-admin"}), 403, "username_not_allowed"),
        (json!({"username": "stud-1", "next": "/hub/homes"}), 403, "next_not_allowed"),
        (json!({"username": "stud-1", "next": "/hub/spawn/stud-1"}), 403, "next_not_allowed"),
        (json!({"username": "stud-1", "expires_in": 61}), 422, "invalid_expires_in"),
    ] {
        let api = TestApi::new();
        let reply = post("/api/v1/links").key(NARROW).json(&fields).send(&api).await;
        assert_eq!((reply.status, reply.code()), (status, code), "{fields}");
    }
}

#[tokio::test]
async fn above_its_rate_an_app_is_told_when_to_come_back() {
    let api = TestApi::new();
    let refused = loop {
        let reply = post("/api/v1/links").key(NARROW).json(&order()).send(&api).await;
        if reply.status != 201 {
            break reply;
        }
    };
    assert_eq!((refused.status, refused.code(), refused.header("retry-after")), (429, "rate_limited", "1"));
    let other = post("/api/v1/links").key(PORTAL).json(&order()).send(&api).await;
    assert_eq!(other.status, 201, "another app has its own rate");
}
