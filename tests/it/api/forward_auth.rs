//! `GET /api/v1/forward-auth`: whom a front proxy may let through.

use serde_json::json;

use super::call::{call, get};
use super::hub_tokens::{ALICE, ALICES_NOTEBOOK, BOB, LISTED, ROBOT, SERVICE, api, hub, owner};

#[tokio::test]
async fn a_user_is_let_through_with_her_name_and_groups() {
    let hub = hub();
    let api = api(&hub, "");
    for call in [
        get("/api/v1/forward-auth").key(ALICE),
        get("/api/v1/forward-auth").header("authorization", &format!("Bearer {ALICE}")),
        get("/api/v1/forward-auth").header("x-hublatch-token", ALICE),
        // The application's own.
        get("/api/v1/forward-auth").header("x-hublatch-token", ALICE).header("authorization", "Basic eDp5"),
        call("HEAD", "/api/v1/forward-auth").key(ALICE),
    ] {
        let reply = call.send(&api).await;
        assert_eq!(
            (reply.status, reply.header("remote-user"), reply.header("remote-groups")),
            (200, "alice", "staff")
        );
    }
    assert_eq!(get("/api/v1/forward-auth").key(BOB).send(&api).await.header("remote-groups"), "");
}

#[tokio::test]
async fn a_browsers_request_is_judged_as_the_front_proxy_passes_it_on() {
    let hub = hub();
    let api = api(&hub, "");
    let passed_on = |call: super::call::Call| {
        call.header("origin", "https://docs.example.org")
            .header("sec-fetch-site", "cross-site")
            .header("host", "docs.example.org")
            .header("x-forwarded-method", "POST")
            .header("cookie", "a=b")
    };
    assert_eq!(passed_on(get("/api/v1/forward-auth").key(ALICE)).send(&api).await.status, 200);
    let refused = passed_on(get("/api/v1/forward-auth")).send(&api).await;
    assert_eq!((refused.status, refused.code()), (401, "unauthorized"));
    assert_eq!(refused.header("access-control-allow-origin"), "");
    // That holds for this path alone.
    for path in ["/api/v1/forward-auth/", "/api/v1/info", "/api/v1/verify"] {
        assert_eq!(passed_on(get(path).key(ALICE)).send(&api).await.code(), "browser_request", "{path}");
    }
}

#[tokio::test]
async fn without_a_good_token_nobody_is_let_through() {
    let hub = hub();
    let api = api(&hub, "");
    for (call, challenge) in [
        (get("/api/v1/forward-auth"), "Bearer realm=\"hublatch\""),
        (get("/api/v1/forward-auth").key("deadbeef"), "Bearer realm=\"hublatch\", error=\"invalid_token\""),
        (get("/api/v1/forward-auth").header("authorization", "Basic eDp5"), "Bearer realm=\"hublatch\""),
        (
            get("/api/v1/forward-auth").key(ALICE).header("x-hublatch-token", "deadbeef"),
            "Bearer realm=\"hublatch\", error=\"invalid_token\"",
        ),
        (
            get("/api/v1/forward-auth")
                .header("x-hublatch-token", ALICE)
                .and_header("x-hublatch-token", ALICE),
            "Bearer realm=\"hublatch\", error=\"invalid_token\"",
        ),
        (
            get("/api/v1/forward-auth").key(ALICE).and_header("authorization", "token x"),
            "Bearer realm=\"hublatch\", error=\"invalid_token\"",
        ),
    ] {
        let reply = call.send(&api).await;
        assert_eq!((reply.status, reply.header("remote-user")), (401, ""));
        assert_eq!(reply.header("www-authenticate"), challenge);
    }
}

#[tokio::test]
async fn the_query_says_who_is_let_in() {
    let hub = hub();
    let api = api(&hub, LISTED);
    for (query, token, status) in [
        ("?user=alice", ALICE, 200),
        ("?user=alice", BOB, 403),
        ("?user=alice&user=bob", BOB, 200),
        ("?group=staff", ALICE, 200),
        ("?group=staff", BOB, 403),
        ("?group=staff&user=bob", BOB, 200),
        ("?group=Staff", ALICE, 403),
        ("", SERVICE, 403),
        ("?service=issuer", SERVICE, 200),
        ("?service=issuer", ROBOT, 403),
        ("?service=issuer", ALICE, 403),
        ("?user=issuer", SERVICE, 403),
        ("?service=alice", ALICE, 403),
        ("?scope=tokens!user%3Dalice", ALICE, 200),
        ("?scope=tokens!user%3Dalice", ALICES_NOTEBOOK, 403),
        ("?scope=nothing&scope=access:servers!user=bob", BOB, 200),
        ("?scope=access:services!service=docs", ALICE, 403),
        ("?scope=read:users!user=alice&service=issuer", SERVICE, 200),
        ("?scope=access:services&service=issuer", SERVICE, 403),
    ] {
        let reply = get(&format!("/api/v1/forward-auth{query}")).key(token).send(&api).await;
        assert_eq!(reply.status, status, "{query} {}", reply.json);
        assert_eq!(reply.header("remote-user").is_empty(), status != 200, "{query}");
    }
    let service = get("/api/v1/forward-auth?service=issuer").key(SERVICE).send(&api).await;
    assert_eq!(service.header("remote-user"), "service:issuer");
}

#[tokio::test]
async fn a_rule_that_is_misspelt_lets_nobody_in() {
    let hub = hub();
    let api = api(&hub, "");
    for query in ["?groups=staff", "?user", "?user=", "?Group=staff", "?group=staff&x=y", "?a"] {
        let reply = get(&format!("/api/v1/forward-auth{query}")).key(ALICE).send(&api).await;
        assert_eq!((reply.status, reply.code()), (400, "invalid_parameter"), "{query}");
    }
    assert!(hub.seen().is_empty(), "and nobody is asked");
}

#[tokio::test]
async fn a_name_that_a_header_cannot_carry_is_not_sent_in_one() {
    for name in ["caf\u{e9}", "a b", "a,b", "Alice", "a\r\nb", "service:issuer", "..", "a\"b"] {
        let hub = hub();
        let mut user = owner(ALICE).unwrap();
        user["name"] = json!(name);
        hub.on("/hub/api/user", move |exchange| exchange.answer("200 OK", user.to_string()));
        let reply = get("/api/v1/forward-auth").key(ALICE).send(&api(&hub, "")).await;
        assert_eq!(
            (reply.status, reply.code(), reply.header("remote-user")),
            (403, "not_admitted", ""),
            "{name:?}"
        );
    }
    let hub = hub();
    let mut user = owner(ALICE).unwrap();
    user["groups"] = json!(["staff", "a,admin", "caf\u{e9}", "", " admin", "two words", "x\ny"]);
    hub.on("/hub/api/user", move |exchange| exchange.answer("200 OK", user.to_string()));
    let reply = get("/api/v1/forward-auth").key(ALICE).send(&api(&hub, "")).await;
    assert_eq!(reply.header("remote-groups"), "staff,two words");
}
