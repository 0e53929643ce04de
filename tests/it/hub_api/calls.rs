//! Each call: what the hub is asked, and what its answers mean.

use std::time::Duration;

use hublatch::hub::{Call, Created, HubError, NewToken, OwnerKind, Started};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{OWN, answers, client, refuses};
use crate::support::FakeHub;

#[tokio::test]
async fn the_owner_of_a_token_is_asked_with_that_token() {
    let hub = FakeHub::start();
    let user = json!({"name": "yan", "kind": "user", "admin": false, "groups": ["staff"], "token_id": "a26",
                      "session_id": null, "scopes": ["access:servers!user=yan"]});
    answers(&hub, "/hub/api/user", "200 OK", user);
    let owner = client(&hub).whoami("deadbeef").await.unwrap().expect("known");
    assert_eq!(
        (owner.name.as_str(), owner.kind, owner.token_id.as_deref()),
        ("yan", OwnerKind::User, Some("a26"))
    );
    assert_eq!(
        (&owner.groups[..], &owner.scopes[..]),
        (&["staff".to_owned()][..], &["access:servers!user=yan".to_owned()][..])
    );
    let seen = hub.only("/hub/api/user");
    assert_eq!(seen.headers.all("authorization"), ["token deadbeef"]);
    assert!(
        !seen.headers.0.iter().any(|(name, _)| name.starts_with("sec-fetch")),
        "the hub would ask for _xsrf"
    );

    let service = json!({"name": "issuer", "kind": "service", "admin": false, "scopes": []});
    answers(&hub, "/hub/api/user", "200 OK", service);
    let owner = client(&hub).whoami("deadbeef").await.unwrap().expect("known");
    assert_eq!((owner.kind, owner.token_id), (OwnerKind::Service, None));
}

#[tokio::test]
async fn a_token_that_the_hub_does_not_know_is_nobodys() {
    let hub = FakeHub::start();
    for status in [401, 403] {
        let no = json!({"status": status, "message": null});
        answers(&hub, "/hub/api/user", &format!("{status} No"), no);
        assert_eq!(client(&hub).whoami("deadbeef").await.unwrap(), None);
    }
    hub.forget();
    for odd in ["", "two words", "line\r\nbreak", "caf\u{e9}"] {
        assert_eq!(client(&hub).whoami(odd).await.unwrap(), None, "{odd:?}");
    }
    assert!(hub.seen().is_empty(), "what can be no token is not asked about");
}

#[tokio::test]
async fn a_token_of_ours_is_needed_for_all_else_and_sent_with_it() {
    let hub = FakeHub::start();
    assert!(client(&hub).has_token());
    answers(&hub, "/hub/api/users/alice", "200 OK", json!({"name": "alice", "kind": "user"}));
    assert!(client(&hub).user("alice").await.unwrap().is_some());
    assert_eq!(hub.only("/hub/api/users/alice").headers.all("authorization"), [format!("token {OWN}")]);
    // The same configuration without the key.
    let config = crate::support::TestProxy::before(&hub).config();
    let none = hublatch::hub::HubClient::new(&config, std::sync::Arc::default()).unwrap();
    assert!(!none.has_token());
    hub.forget();
    let error = none.user("alice").await.unwrap_err();
    assert!(matches!(error, HubError::NoToken { call: Call::ReadUser }), "{error}");
    assert!(hub.seen().is_empty());
}

#[tokio::test]
async fn a_user_is_read_with_her_servers() {
    let hub = FakeHub::start();
    let server = json!({"name": "lab1", "ready": false, "pending": "spawn", "stopped": false, "url": "/user/alice/lab1/",
                        "user_options": {"cpu": 2}, "progress_url": "…", "last_activity": null});
    let user = json!({"name": "alice", "admin": true, "groups": ["staff"], "servers": {"lab1": server}, "auth_state": null});
    answers(&hub, "/hub/api/users/alice", "200 OK", user);
    let read = client(&hub).user("alice").await.unwrap().expect("there");
    assert!(read.admin && read.groups == ["staff"]);
    let server = client(&hub).server("alice", "lab1").await.unwrap().expect("there");
    assert_eq!(
        (server.ready, server.pending.as_deref(), server.url.as_deref()),
        (false, Some("spawn"), Some("/user/alice/lab1/"))
    );
    assert!(client(&hub).server("alice", "").await.unwrap().is_none(), "the default one does not run");
    refuses(&hub, "/hub/api/users/bob", 404, "");
    assert!(client(&hub).user("bob").await.unwrap().is_none());
}

#[tokio::test]
async fn a_name_is_one_segment_of_the_path_whatever_it_holds() {
    let hub = FakeHub::start();
    refuses(&hub, "/hub/api/users/a%20b%2F..%3Fx%23y", 404, "");
    assert!(client(&hub).user("a b/..?x#y").await.unwrap().is_none());
    refuses(&hub, "/hub/api/users/a+b@c~d", 404, "");
    assert!(client(&hub).user("a+b@c~d").await.unwrap().is_none());
}

#[tokio::test]
async fn a_user_is_created_or_was_there() {
    let hub = FakeHub::start();
    answers(&hub, "/hub/api/users/zed", "201 Created", json!({"name": "zed", "kind": "user"}));
    assert_eq!(client(&hub).create_user("zed").await.unwrap(), Created::New);
    assert_eq!(hub.only("/hub/api/users/zed").method, "POST");
    refuses(&hub, "/hub/api/users/zed", 409, "User zed already exists");
    assert_eq!(client(&hub).create_user("zed").await.unwrap(), Created::Existed);
    let words = "Action is not authorized with current scopes; requires any of [admin:users]";
    refuses(&hub, "/hub/api/users/zed", 403, words);
    let error = client(&hub).create_user("zed").await.unwrap_err();
    assert_eq!((error.refused_with(), error.message()), (Some(StatusCode::FORBIDDEN), Some(words)));
    assert_eq!(error.to_string(), format!("create a user at the hub: the hub answers 403: {words}"));
}

#[tokio::test]
async fn a_server_is_started_with_options_and_every_outcome_is_told_apart() {
    let hub = FakeHub::start();
    let path = "/hub/api/users/zed/servers/lab1";
    for (status, outcome) in [("201 Created", Started::Ready), ("202 Accepted", Started::Pending)] {
        hub.on(path, move |exchange| exchange.answer(status, ""));
        assert_eq!(client(&hub).start_server("zed", "lab1", None).await.unwrap(), outcome);
    }
    hub.forget();
    refuses(&hub, path, 400, "zed:lab1 is already running");
    let Value::Object(options) = json!({"cpu": 2}) else { unreachable!() };
    assert_eq!(client(&hub).start_server("zed", "lab1", Some(&options)).await.unwrap(), Started::Running);
    let seen = hub.only(path);
    assert_eq!(serde_json::from_slice::<Value>(&seen.body).unwrap(), json!({"cpu": 2}));

    hub.on("/hub/api/users/zed/server", |exchange| exchange.answer("201 Created", ""));
    assert_eq!(client(&hub).start_server("zed", "", None).await.unwrap(), Started::Ready);
    assert_eq!(hub.only("/hub/api/users/zed/server").body, b"");

    for (status, words) in
        [(400, "Invalid server_name"), (404, "Not Found"), (403, "no"), (424, "not running")]
    {
        refuses(&hub, path, status, words);
        let error = client(&hub).start_server("zed", "lab1", None).await.unwrap_err();
        assert_eq!((error.refused_with().unwrap().as_u16(), error.message()), (status, Some(words)));
    }
}

#[tokio::test]
async fn at_a_limit_the_hubs_time_to_come_again_is_kept() {
    let hub = FakeHub::start();
    let body =
        json!({"status": 429, "message": "User zed already has the maximum of 1 named servers."}).to_string();
    hub.on("/hub/api/users/zed/server", move |exchange| {
        exchange.answer("429 Too Many Requests\r\nRetry-After: 30", &body)
    });
    let error = client(&hub).start_server("zed", "", None).await.unwrap_err();
    assert_eq!(error.refused_with(), Some(StatusCode::TOO_MANY_REQUESTS));
    assert_eq!((error.retry_after(), error.gateway_status().as_u16()), (Some(Duration::from_secs(30)), 503));
}

#[tokio::test]
async fn progress_comes_as_it_is_sent() {
    let hub = FakeHub::start();
    let path = "/hub/api/users/zed/servers/lab1/progress";
    let gate = std::sync::Arc::new(crate::support::Gate::default());
    let waits = std::sync::Arc::clone(&gate);
    hub.on(path, move |exchange| {
        exchange.read_body();
        exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {\"progress\":0}\n\n");
        waits.pass();
        exchange.send("data: {\"progress\":100,\"ready\":true}\n\n");
        crate::support::Then::Close
    });
    let mut progress = client(&hub).progress("zed", "lab1").await.unwrap();
    assert_eq!(progress.next().await.unwrap().unwrap(), "data: {\"progress\":0}\n\n");
    gate.open();
    assert_eq!(progress.next().await.unwrap().unwrap(), "data: {\"progress\":100,\"ready\":true}\n\n");
    assert_eq!(progress.next().await.unwrap(), None);

    refuses(&hub, path, 400, "zed:lab1 is not starting...");
    let error = client(&hub).progress("zed", "lab1").await.unwrap_err();
    assert_eq!(error.refused_with(), Some(StatusCode::BAD_REQUEST));
    answers(&hub, path, "200 OK", json!({}));
    let error = client(&hub).progress("zed", "lab1").await.unwrap_err();
    assert!(matches!(error, HubError::Unreadable { .. }), "{error}");
}

#[tokio::test]
async fn tokens_are_created_found_and_deleted() {
    let hub = FakeHub::start();
    let created = json!({"token": "feedface", "id": "a7", "kind": "api_token", "user": "zed", "roles": [], "scopes": ["x"],
                         "note": "n", "expires_at": "2026-11-22T05:00:00Z"});
    answers(&hub, "/hub/api/users/zed/tokens", "201 Created", created);
    let scopes = ["access:servers!user=zed".to_owned()];
    let new = NewToken { scopes: &scopes, expires_in: 60, note: "n" };
    let token = client(&hub).create_token("zed", &new).await.unwrap();
    assert_eq!(
        (token.token.as_str(), token.id.as_str(), token.expires_at.is_some()),
        ("feedface", "a7", true)
    );
    assert!(!format!("{token:?}").contains("feedface"));
    let body: Value = serde_json::from_slice(&hub.only("/hub/api/users/zed/tokens").body).unwrap();
    assert_eq!(body, json!({"scopes": scopes, "expires_in": 60, "note": "n"}));

    answers(&hub, "/hub/api/users/zed/tokens", "200 OK", json!({"api_tokens": [{"id": "a7", "note": "n"}]}));
    assert_eq!(client(&hub).tokens("zed").await.unwrap().unwrap()[0].id, "a7");
    answers(&hub, "/hub/api/users/zed/tokens/a7", "200 OK", json!({"id": "a7", "note": "n"}));
    assert_eq!(client(&hub).token("zed", "a7").await.unwrap().unwrap().note.as_deref(), Some("n"));
    hub.on("/hub/api/users/zed/tokens/a7", |exchange| {
        exchange.read_body();
        exchange.send("HTTP/1.1 204 No Content\r\n\r\n");
        crate::support::Then::Next
    });
    assert!(client(&hub).delete_token("zed", "a7").await.unwrap());
    for path in ["/hub/api/users/zed/tokens/a7", "/hub/api/users/zed/tokens"] {
        refuses(&hub, path, 404, "No such token");
    }
    assert!(!client(&hub).delete_token("zed", "a7").await.unwrap());
    assert!(
        client(&hub).token("zed", "a7").await.unwrap().is_none()
            && client(&hub).tokens("zed").await.unwrap().is_none()
    );
}
