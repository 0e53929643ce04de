//! What an order may hold, field by field.

use serde_json::{Value, json};

use super::call::{Reply, post};
use super::client::{PORTAL, TestApi, Variant, config_before};
use super::document::DOCUMENT;
use crate::support::FakeHub;

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
        (json!({"expires_in": 0.0}), "expires_in"),
        (json!({"expires_in": -30.0}), "expires_in"),
        (json!({"expires_in": 1e300}), "expires_in"),
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
        "\u{feff}\u{feff}{}",
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
        (json!({"next": format!("/{}", "x".repeat(8192))}), "invalid_next"),
        (json!({"path": "../bob/lab"}), "invalid_path"),
        (json!({"path": "%2e%2e/bob"}), "invalid_path"),
        (json!({"path": "x\u{7f}"}), "invalid_path"),
        (json!({"path": "lab?login_token=x"}), "invalid_path"),
        (json!({"path": "x".repeat(8192)}), "invalid_path"),
        (json!({"path": "\u{6f22}".repeat(1000)}), "invalid_path"),
        (json!({"path": "https://hub.example/user/alice/lab"}), "invalid_path"),
        (json!({"path": "/user/alice/lab"}), "invalid_path"),
        (json!({"path": "lab", "server": "a/b"}), "invalid_server"),
        (json!({"server": ".."}), "invalid_server"),
        (json!({"server": "../bob"}), "invalid_server"),
    ] {
        let reply = issue(&api, &order(&fields).to_string()).await;
        assert_eq!((reply.status, reply.code()), (400, code), "{fields}");
        let field = code.strip_prefix("invalid_").unwrap();
        assert!(reply.message().contains(field), "{fields}: {}", reply.message());
    }
}

#[tokio::test]
async fn a_place_that_is_too_long_is_told_the_limit() {
    let api = TestApi::new();
    for (fields, limit) in [
        (json!({"next": format!("/{}", "x".repeat(8192))}), "next is longer than 8192 bytes"),
        (json!({"path": "x".repeat(8192)}), "path is longer than 8192 bytes"),
        (json!({"path": "\u{6f22}".repeat(1000)}), "path is too long for hub.head_bytes"),
    ] {
        let reply = issue(&api, &order(&fields).to_string()).await;
        assert_eq!(reply.status, 400);
        assert!(reply.message().starts_with(limit), "{}", reply.message());
    }
    for fields in [
        json!({"next": format!("/{}", "x".repeat(8191))}),
        json!({"path": "x".repeat(8192 - "/user/alice/".len())}),
        json!({"path": format!("lab/tree/{}.ipynb", "\u{6f22}".repeat(400))}),
    ] {
        let reply = issue(&api, &order(&fields).to_string()).await;
        assert_eq!(reply.status, 201, "{}", reply.json);
    }
}

#[tokio::test]
async fn whole_seconds_may_be_written_with_a_point_and_a_byte_order_mark_may_stand_first() {
    let api = TestApi::new();
    for (body, seconds) in [
        (r#"{"username": "alice", "expires_in": 30.0}"#, 30),
        (r#"{"username": "alice", "expires_in": 3e1}"#, 30),
        ("\u{feff}{\"username\": \"alice\", \"expires_in\": 60}", 60),
    ] {
        let reply = issue(&api, body).await;
        assert_eq!(
            (reply.status, &reply.json["expires_in"]),
            (201, &json!(seconds)),
            "{body:?}: {}",
            reply.json
        );
    }
}

#[tokio::test]
async fn a_path_that_says_where_the_server_is_is_told_what_to_send() {
    let api = TestApi::new();
    for path in ["http://127.0.0.1:8000/user/alice/lab", "/user/alice/lab", "user/alice/lab/tree/x.ipynb"] {
        let reply = issue(&api, &order(&json!({"path": path})).to_string()).await;
        assert_eq!((reply.status, reply.code()), (400, "invalid_path"), "{path}");
        assert!(reply.message().contains("\"lab/tree/x.ipynb\""), "{path}: {}", reply.message());
    }
}

#[tokio::test]
async fn the_version_of_the_hub_decides_which_names_servers_have() {
    for (version, takes_any) in [("4.1.6", true), ("5.5.0", true), ("6.0.0b1", false), ("10.0.0", false)] {
        let hub = FakeHub::start();
        let json = json!({"version": version}).to_string();
        let length = json.len();
        hub.reply(
            "/hub/api/",
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{json}"
            ),
        );
        let api = TestApi::with(Variant { config: config_before(&hub.url(), ""), ..Variant::default() });
        for name in ["GPU", "my_server", "a--b", "1a", "my server", "é"] {
            let order = order(&json!({"path": "lab", "server": name}));
            let reply = issue(&api, &order.to_string()).await;
            if takes_any {
                assert_eq!(reply.status, 201, "{version} {name}: {}", reply.json);
            } else {
                assert_eq!((reply.status, reply.code()), (400, "invalid_server"), "{version} {name}");
                assert_eq!(reply.json["field"], "server");
            }
        }
        assert_eq!(hub.seen_at("/hub/api/").len(), 1, "asked once in a minute");
        hub.forget();
        assert_eq!(issue(&api, &order(&json!({"server": "one-2"})).to_string()).await.status, 201);
        assert!(hub.seen().is_empty(), "a name that every hub takes costs the hub nothing");
    }
}

#[tokio::test]
async fn a_hub_that_does_not_say_its_version_leaves_the_name_open() {
    let api = TestApi::new();
    let reply = issue(&api, &order(&json!({"server": "GPU"})).to_string()).await;
    assert_eq!((reply.status, reply.code()), (503, "hub_unavailable"), "{}", reply.json);
}

#[tokio::test]
async fn where_no_server_is_named_the_hubs_default_one_is_meant() {
    let config = config_before("http://127.0.0.1:8400", "default_server_name = \"lab-1\"");
    let api = TestApi::with(Variant { config, ..Variant::default() });
    for (fields, next) in [
        (json!({"path": "lab"}), "/hub/spawn/alice/lab-1?next=%2Fuser%2Falice%2Flab-1%2Flab"),
        (json!({"path": "lab", "server": "two"}), "/hub/spawn/alice/two?next=%2Fuser%2Falice%2Ftwo%2Flab"),
        (json!({"path": "lab", "server": ""}), "/hub/spawn/alice?next=%2Fuser%2Falice%2Flab"),
    ] {
        assert_eq!(api.issue(order(&fields)).await["next"], next, "{fields}");
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
