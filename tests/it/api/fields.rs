//! What an order may hold, field by field.

use serde_json::{Value, json};

use super::call::{Reply, post};
use super::client::{PORTAL, TestApi};
use super::document::DOCUMENT;

async fn issue(api: &TestApi, body: &str) -> Reply {
    post("/api/v1/links").key(PORTAL).text(body).send(api).await
}

/// `fields` over a good order.
fn order(fields: &Value) -> Value {
    let mut order = json!({"username": "alice"});
    order.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    order
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_refused_by_name() {
    let api = TestApi::new();
    for (fields, name) in [
        (json!({"username": 7}), "username"),
        (json!({"username": ["alice"]}), "username"),
        (json!({"next": 7}), "next"),
        (json!({"path": false}), "path"),
        (json!({"server": {}}), "server"),
        (json!({"expires_in": "30"}), "expires_in"),
        (json!({"expires_in": 30.5}), "expires_in"),
        (json!({"expires_in": 30.0}), "expires_in"),
        (json!({"expires_in": 0}), "expires_in"),
        (json!({"expires_in": -1}), "expires_in"),
        (json!({"expires_in": true}), "expires_in"),
        (json!({"confirm": "yes"}), "confirm"),
        (json!({"confirm": 1}), "confirm"),
        (json!({"groups": "staff"}), "groups"),
        (json!({"groups": ["staff", 7]}), "groups"),
        (json!({"claims": ["x"]}), "claims"),
        (json!({"claims": "x"}), "claims"),
        (json!({"note": 7}), "note"),
        (json!({"note": "x".repeat(1025)}), "note"),
    ] {
        let reply = issue(&api, &order(&fields).to_string()).await;
        assert_eq!((reply.status, reply.code()), (422, "invalid_field"), "{fields}");
        assert!(reply.message().starts_with(&format!("{name}: must be ")), "{fields}: {}", reply.message());
    }
}

#[tokio::test]
async fn an_unknown_field_is_refused_by_name_and_not_ignored() {
    let api = TestApi::new();
    for name in ["usrname", "Username", "user", "id", "login_token", "expires", "app", ""] {
        let reply = issue(&api, &order(&json!({name: "x"})).to_string()).await;
        assert_eq!((reply.status, reply.code()), (422, "unknown_field"), "{name}");
        assert!(reply.message().starts_with(&format!("{name}: ")), "{}", reply.message());
    }
    // As openapi.yaml shows it.
    let shown = &DOCUMENT["components"]["responses"]["BadField"]["content"]["application/json"]["examples"]["unknown"];
    let reply = issue(&api, &order(&json!({"expires": 60})).to_string()).await;
    assert_eq!(reply.json, shown["value"]);
    let long = issue(&api, &order(&json!({"x".repeat(10_000): 1})).to_string()).await;
    assert!(long.body.len() < 300, "a long name is not repeated whole");
}

#[tokio::test]
async fn a_launch_without_a_hub_token_is_refused_and_not_ignored() {
    let api = TestApi::new();
    for fields in [json!({"launch": true}), json!({"launch": {}})] {
        let reply = issue(&api, &order(&fields).to_string()).await;
        assert_eq!((reply.status, reply.code()), (422, "unsupported_field"), "{fields}");
        assert!(reply.message().ends_with("configuration has no hub.api_token_file"), "{}", reply.message());
    }
    assert_eq!(issue(&api, &order(&json!({"launch": false})).to_string()).await.status, 201);
}

#[tokio::test]
async fn a_launch_is_yes_no_or_an_object_of_options_and_says_itself_where_it_leads() {
    let api = TestApi::new();
    for value in [json!(1), json!("yes"), json!([])] {
        let reply = issue(&api, &order(&json!({"launch": value})).to_string()).await;
        assert_eq!((reply.status, reply.code()), (422, "invalid_field"), "{value}");
    }
}

#[tokio::test]
async fn an_order_without_a_user_is_refused() {
    let api = TestApi::new();
    for body in ["{}", r#"{"username": null}"#, r#"{"next": "/hub/home"}"#] {
        let reply = issue(&api, body).await;
        assert_eq!((reply.status, reply.code()), (422, "missing_field"), "{body}");
        assert_eq!(reply.message(), "username: is required");
    }
}

#[tokio::test]
async fn next_and_path_exclude_each_other() {
    let api = TestApi::new();
    for fields in [
        json!({"next": "/hub/home", "path": "lab"}),
        json!({"next": "/hub/home", "server": "one"}),
        json!({"next": "", "path": ""}),
    ] {
        let reply = issue(&api, &order(&fields).to_string()).await;
        assert_eq!((reply.status, reply.code()), (422, "conflicting_fields"), "{fields}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_is_told_from_json_that_is_no_order() {
    let api = TestApi::new();
    for body in [
        "",
        "{",
        "username=alice",
        r#"{"username": "alice"} x"#,
        r#"{"username": "\ud800"}"#,
        "{\"username\": \"a\u{1}\"}",
        "\u{feff}{}",
    ] {
        let reply = issue(&api, body).await;
        assert_eq!((reply.status, reply.code()), (400, "invalid_json"), "{body:?}");
    }
    let deep = "[".repeat(30_000);
    assert_eq!(issue(&api, &deep).await.code(), "invalid_json");
    for body in ["[]", "null", "7", "\"alice\"", r#"["alice"]"#] {
        let reply = issue(&api, body).await;
        assert_eq!((reply.status, reply.code()), (422, "invalid_field"), "{body}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_utf_8_is_no_json() {
    let api = TestApi::new();
    let body = bytes::Bytes::from_static(b"{\"username\": \"\xff\"}");
    let reply = post("/api/v1/links")
        .key(PORTAL)
        .header("content-type", "application/json")
        .body(body)
        .send(&api)
        .await;
    assert_eq!((reply.status, reply.code()), (400, "invalid_json"));
}

#[tokio::test]
async fn a_field_that_is_there_twice_is_refused_whatever_it_says() {
    let api = TestApi::new();
    for body in [
        r#"{"username": "alice", "username": "bob"}"#,
        r#"{"username": "alice", "user\u006eame": "alice"}"#,
        r#"{"username": "alice", "claims": {"a": 1, "a": 2}}"#,
    ] {
        let reply = issue(&api, body).await;
        assert_eq!((reply.status, reply.code()), (422, "invalid_field"), "{body}");
        assert!(reply.message().contains("is there twice"), "{}", reply.message());
    }
}

#[tokio::test]
async fn a_bad_user_name_is_refused() {
    let api = TestApi::new();
    for name in ["", "Alice", "a b", "a/b", "..", "-x", "bob, admin", "björn", "a\nb", &"a".repeat(65)] {
        let reply = issue(&api, &json!({"username": name}).to_string()).await;
        assert_eq!((reply.status, reply.code()), (400, "invalid_username"), "{name:?}");
    }
}

#[tokio::test]
async fn a_bad_place_is_refused_in_the_words_of_its_field() {
    let api = TestApi::new();
    for (fields, code) in [
        (json!({"next": "//evil.example"}), "invalid_next"),
        (json!({"next": "https://evil.example/"}), "invalid_next"),
        (json!({"next": "/\\evil.example"}), "invalid_next"),
        (json!({"next": "lab"}), "invalid_next"),
        (json!({"next": "/x\ny"}), "invalid_next"),
        (json!({"next": "/x?login_token=hl_x"}), "invalid_next"),
        (json!({"next": format!("/{}", "x".repeat(2048))}), "invalid_next"),
        (json!({"path": "../bob/lab"}), "invalid_path"),
        (json!({"path": "%2e%2e/bob"}), "invalid_path"),
        (json!({"path": "x\u{7f}"}), "invalid_path"),
        (json!({"path": "lab?login_token=x"}), "invalid_path"),
        (json!({"path": "x".repeat(2048)}), "invalid_path"),
        (json!({"path": "lab", "server": "One"}), "invalid_server"),
        (json!({"server": "a--b"}), "invalid_server"),
        (json!({"server": "../bob"}), "invalid_server"),
    ] {
        let reply = issue(&api, &order(&fields).to_string()).await;
        assert_eq!((reply.status, reply.code()), (400, code), "{fields}");
        let field = code.strip_prefix("invalid_").unwrap();
        assert!(reply.message().contains(field), "{fields}: {}", reply.message());
    }
}

#[tokio::test]
async fn a_life_is_at_most_the_apps_maximum() {
    let api = TestApi::new();
    for (seconds, status) in [(1_u64, 201), (300, 201), (301, 422), (u64::MAX, 422)] {
        let reply = issue(&api, &order(&json!({"expires_in": seconds})).to_string()).await;
        assert_eq!(reply.status, status, "{seconds}");
    }
    let reply = issue(&api, r#"{"username": "alice", "expires_in": 1e400}"#).await;
    assert_eq!(reply.status, 400);
}

#[tokio::test]
async fn groups_and_claims_must_fit_into_a_header() {
    let api = TestApi::new();
    let fits = json!({"groups": ["a", "b"], "claims": {"course": {"id": 7}}});
    assert_eq!(issue(&api, &order(&fits).to_string()).await.status, 201);
    for fields in [json!({"groups": vec!["x".repeat(100); 50]}), json!({"claims": {"x": "y".repeat(4096)}})] {
        let reply = issue(&api, &order(&fields).to_string()).await;
        assert_eq!((reply.status, reply.code()), (422, "claims_too_large"));
    }
}
