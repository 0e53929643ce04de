//! A hub that fails, refuses or answers oddly: it costs the app nothing.

use super::*;
use crate::api::hub_tokens;

#[tokio::test]
async fn a_hub_that_fails_costs_the_app_nothing() {
    let hub = TokenHub::start();
    let api = api(&hub);
    let token = login_token(&api).await;
    let form = Form::exchange(&token);
    let path = "/hub/api/users/alice/tokens";
    for (answer, status, code) in [
        ("200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", 502, "hub_error"),
        ("201 Created\r\nContent-Length: 2\r\n\r\n{}", 502, "hub_error"),
        ("500 Oops\r\nContent-Length: 0\r\n\r\n", 502, "hub_error"),
        ("503 Later\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n", 503, "hub_unavailable"),
        (
            "429 Busy\r\nRetry-After: 9\r\nContent-Length: 29\r\n\r\n{\"status\":429,\"message\":\"hm\"}",
            503,
            "hub_unavailable",
        ),
    ] {
        hub.hub.reply(path, format!("HTTP/1.1 {answer}"));
        let reply = form.token().send(&api).await;
        assert_eq!((error_of(&reply), reply.code()), ((status, "temporarily_unavailable"), code), "{answer}");
        assert_eq!(reply.header("retry-after"), if status == 503 { "9" } else { "" });
    }
    for bad in hub_tokens::bad_hubs() {
        let api = before_bad(&bad);
        let token = login_token(&api).await;
        let reply = Form::exchange(&token).token().send(&api).await;
        assert_eq!((error_of(&reply), reply.code()), ((bad.status, "temporarily_unavailable"), bad.code));
        assert!(is_live(&api, &token).await);
    }
    assert!(is_live(&api, &token).await);
    hub.restore(path);
    assert_eq!(form.token().send(&api).await.status, 200);
}

#[tokio::test]
async fn what_the_hub_refuses_is_told_and_costs_nothing() {
    let hub = TokenHub::start();
    let api = api(&hub);
    let token = login_token(&api).await;
    let form = Form::exchange(&token);
    let path = "/hub/api/users/alice/tokens";
    for (status, message, error, code) in [
        (
            400,
            "Not assigning requested scopes access:servers!user=alice not held by alice",
            "invalid_scope",
            "invalid_scope",
        ),
        (400, "token expires_in: 600 must not exceed 60", "invalid_request", "invalid_request"),
    ] {
        hub.refuse(path, status, message);
        let reply = form.token().send(&api).await;
        assert_eq!((error_of(&reply), reply.code()), ((400, error), code));
        assert!(reply.message().contains(message), "{}", reply.message());
    }
    // 403 for both: the hub does not know her, or hublatch's role is too small.
    hub.restore(path);
    let stranger = api.issue(json!({"username": "nobody"})).await["login_token"].as_str().unwrap().to_owned();
    let reply = Form::exchange(&stranger).token().send(&api).await;
    assert_eq!((error_of(&reply), reply.code()), ((400, "invalid_request"), "no_such_user"));
    hub.refuse(path, 403, "Action is not authorized with current scopes; requires any of [tokens]");
    let reply = form.token().send(&api).await;
    assert_eq!((error_of(&reply), reply.code()), ((502, "temporarily_unavailable"), "hub_error"));
    assert!(is_live(&api, &token).await && is_live(&api, &stranger).await);
}

#[tokio::test]
async fn a_token_without_an_end_is_not_passed_on() {
    let hub = TokenHub::start();
    let api = api(&hub);
    let token = login_token(&api).await;
    hub.state().endless = true;
    let reply = Form::exchange(&token).token().send(&api).await;
    assert_eq!((error_of(&reply), hub.tokens().len()), ((502, "temporarily_unavailable"), 0));
    assert!(is_live(&api, &token).await);
}
