//! Hub API tokens as keys: whose count, and what their owners may do.

mod asking;
mod bad_hub;

use std::sync::Arc;
use std::time::Duration;

use hublatch::config::{self, Config};
use hublatch::store::{MemoryStore, TokenStore};
use serde_json::{Value, json};

use super::call::{call, delete, get, order, post};
use super::client::{PORTAL, TestApi, Variant};
use crate::support::{FakeHub, Gate};
pub use bad_hub::{BadHub, bad_hubs};

/// Tokens and their owners at the hub of these tests.
pub const SERVICE: &str = "5e5e5e5e5e5e5e5e";
pub const UNLISTED: &str = "0b0b0b0b0b0b0b0b";
pub const ALICE: &str = "a11cea11cea11ce0";
pub const ALICES_NOTEBOOK: &str = "a11cea11cea11ce1";
pub const BOB: &str = "b0bb0bb0bb0bb0b0";
pub const ROBOT: &str = "70b0770b0770b077";

pub fn owner(token: &str) -> Option<Value> {
    let user = |name: &str, groups: &[&str], scopes: &[String]| {
        json!({"name": name, "kind": "user", "admin": false, "groups": groups, "user_info": null, "token_id": "a1",
               "session_id": null, "scopes": scopes})
    };
    let service = |name: &str, scopes: &[&str]| json!({"name": name, "kind": "service", "admin": false, "scopes": scopes});
    let whole = |name: &str| [format!("access:servers!user={name}"), format!("tokens!user={name}")];
    Some(match token {
        SERVICE => service("issuer", &["read:users"]),
        UNLISTED => service("other", &[]),
        ROBOT => service("robot", &["custom:hublatch:issue"]),
        ALICE => user("alice", &["staff"], &whole("alice")),
        ALICES_NOTEBOOK => user("alice", &["staff"], &["access:servers!server=alice/".to_owned()]),
        BOB => user("bob", &[], &whole("bob")),
        _ => return None,
    })
}

/// A hub that knows them.
pub fn hub() -> FakeHub {
    let hub = FakeHub::start();
    hub.on("/hub/api/user", |exchange| {
        let line = exchange.seen.headers.all("authorization").join(",");
        let owner = line.strip_prefix("token ").and_then(owner);
        let (status, body) = match owner {
            Some(owner) => ("200 OK", owner),
            None => ("403 Forbidden", json!({"status": 403, "message": null})),
        };
        exchange.answer(&format!("{status}\r\nContent-Type: application/json"), body.to_string())
    });
    hub
}

pub const LISTED: &str = "services = [\"issuer\"]\nusers = [\"alice\"]\nscopes = [\"custom:hublatch:issue\"]";

/// The usual configuration, with that hub and these lines of `[hub_tokens]`.
pub fn with_hub(url: &str, lines: &str) -> Config {
    let digest = hublatch::token::KeyDigest::of(PORTAL.as_bytes());
    let text = format!(
        "[public]\nurl = \"http://127.0.0.1:8000\"\n[hub]\nurl = {url:?}\n\
         [[apps]]\nname = \"portal\"\nkeys = [\"{digest}\"]\n[hub_tokens]\n{lines}\n"
    );
    config::load_str(&text, std::path::Path::new("hublatch.toml"), [])
        .unwrap_or_else(|faults| panic!("{faults}"))
}

pub fn api(hub: &FakeHub, lines: &str) -> TestApi {
    TestApi::with(Variant { config: with_hub(&hub.url(), lines), ..Variant::default() })
}

fn asked(hub: &FakeHub) -> usize {
    hub.seen_at("/hub/api/user").len()
}

#[tokio::test]
async fn a_listed_service_issues_reads_and_revokes_links_of_its_own() {
    let hub = hub();
    let api = api(&hub, LISTED);
    for (scheme, token) in [("token", SERVICE), ("Bearer", SERVICE), ("token", ROBOT)] {
        let line = format!("{scheme} {token}");
        let issued = post("/api/v1/links").header("authorization", &line).json(&order()).send(&api).await;
        assert_eq!(issued.status, 201, "{}", issued.json);
        let one = format!("/api/v1/links/{}", issued.json["id"].as_str().unwrap());
        assert_eq!(get(&one).key(token).send(&api).await.json["status"], "pending");
        // Nobody else's, whatever else they may do.
        for key in [PORTAL, ALICE, if token == ROBOT { SERVICE } else { ROBOT }] {
            assert_eq!(get(&one).key(key).send(&api).await.code(), "link_not_found");
            assert_eq!(delete(&one).key(key).send(&api).await.code(), "link_not_found");
        }
        assert_eq!(delete(&one).key(token).send(&api).await.status, 204);
    }
    let audit = api.audit();
    assert!(
        audit.contains("\"app\":\"hub:service:issuer\"") && audit.contains("\"app\":\"hub:service:robot\""),
        "{audit}"
    );
    for secret in [SERVICE, ROBOT, ALICE] {
        assert!(!audit.contains(secret) && !api.metrics.text().contains(secret));
    }
}

#[tokio::test]
async fn whoever_is_not_listed_issues_nothing() {
    let hub = hub();
    let api = api(&hub, LISTED);
    for (token, status, code) in [
        (UNLISTED, 403, "owner_not_listed"),
        (BOB, 403, "owner_not_listed"),
        (ALICES_NOTEBOOK, 403, "owner_not_listed"),
        ("0123456789abcdef", 401, "unauthorized"),
    ] {
        for call in [
            post("/api/v1/links").json(&order()),
            delete("/api/v1/users/alice/links"),
            get("/api/v1/links/x"),
        ] {
            let reply = call.key(token).send(&api).await;
            assert_eq!((reply.status, reply.code()), (status, code), "{token}");
            assert!(!reply.message().contains(token));
        }
    }
    assert!(api.has_done_nothing());
    // Without the section, nobody is asked about.
    hub.forget();
    let mut config = with_hub(&hub.url(), LISTED);
    config.hub_tokens = None;
    let api = TestApi::with(Variant { config, ..Variant::default() });
    assert_eq!(post("/api/v1/links").key(SERVICE).json(&order()).send(&api).await.code(), "unauthorized");
    assert_eq!(
        post("/api/v1/verify").json(&json!({"token": SERVICE})).send(&api).await.code(),
        "no_hub_tokens"
    );
    assert_eq!(get("/api/v1/forward-auth").key(SERVICE).send(&api).await.code(), "no_hub_tokens");
    assert_eq!(asked(&hub), 0);
}

#[tokio::test]
async fn a_user_issues_links_for_herself_alone() {
    let hub = hub();
    let listed = format!("{LISTED}\nservice_groups = [\"staff\"]\nservice_claims = true");
    let api = api(&hub, &listed);
    let issue = |name: &str| post("/api/v1/links").key(ALICE).json(&json!({"username": name}));
    assert_eq!(issue("alice").send(&api).await.status, 201);
    for other in ["bob", "admin", "alice2"] {
        assert_eq!(issue(other).send(&api).await.code(), "username_not_allowed", "{other}");
    }
    assert!(api.audit().contains("\"app\":\"hub:user:alice\""));
    let bare = self::api(&hub, LISTED);
    for (code, claims) in [
        ("groups_not_allowed", json!({"username": "alice", "groups": ["staff"]})),
        ("claims_not_allowed", json!({"username": "alice", "claims": {"admin": true}})),
    ] {
        let reply = post("/api/v1/links").key(ALICE).json(&claims).send(&api).await;
        assert_eq!((reply.status, reply.code()), (403, code), "{claims}");
        assert_eq!(post("/api/v1/links").key(SERVICE).json(&claims).send(&api).await.status, 201);
        assert_eq!(post("/api/v1/links").key(SERVICE).json(&claims).send(&bare).await.code(), code);
    }
    let admins = json!({"username": "alice", "groups": ["admins"]});
    assert_eq!(
        post("/api/v1/links").key(SERVICE).json(&admins).send(&api).await.code(),
        "groups_not_allowed"
    );
    let others = self::api(&hub, &format!("{LISTED}\nusers_for_others = true"));
    assert_eq!(issue("bob").send(&others).await.status, 201);
    let grouped = post("/api/v1/links").key(ALICE).json(&json!({"username": "bob", "groups": ["staff"]}));
    assert_eq!(grouped.send(&others).await.code(), "groups_not_allowed");
    assert_eq!(issue("admin").send(&others).await.code(), "username_not_allowed");
}

#[tokio::test]
async fn the_rules_of_the_section_bind_every_owner_and_each_has_a_rate_of_its_own() {
    let hub = hub();
    let lines = "usernames = \"stud-.*\"\nnext = [\"/user\"]\nmax_lifetime = \"10s\"\nrate = \"1/s\"";
    let api = api(&hub, &format!("{LISTED}\n{lines}"));
    let issue = |body: Value| post("/api/v1/links").key(SERVICE).json(&body);
    for (body, code) in [
        (json!({"username": "alice"}), "username_not_allowed"),
        (json!({"username": "stud-1", "next": "/hub/home"}), "next_not_allowed"),
        (json!({"username": "stud-1", "expires_in": 11}), "invalid_expires_in"),
    ] {
        assert_eq!(issue(body).send(&api).await.code(), code);
    }
    let mut issued = 0;
    let refused = loop {
        let reply = issue(json!({"username": "stud-1"})).send(&api).await;
        if reply.status != 201 {
            break reply;
        }
        issued += 1;
        assert!(issued < 100, "there is a rate");
    };
    assert_eq!(refused.code(), "rate_limited");
    let robot = post("/api/v1/links").key(ROBOT).json(&json!({"username": "stud-1"}));
    assert_eq!(robot.send(&api).await.status, 201, "the rate of another is another");
}

#[tokio::test]
async fn a_bad_hub_is_told_and_nothing_is_done_and_apps_with_keys_go_on() {
    let everything = || {
        vec![
            post("/api/v1/links").key(SERVICE).json(&order()),
            post("/api/v1/links/batch").key(SERVICE).json(&json!({"links": [order()]})),
            get("/api/v1/links/x").key(SERVICE),
            delete("/api/v1/links/x").key(SERVICE),
            delete("/api/v1/users/alice/links").key(SERVICE),
            post("/api/v1/verify").json(&json!({"token": SERVICE})),
            get("/api/v1/forward-auth").key(SERVICE),
        ]
    };
    for bad in bad_hubs() {
        let (api, status, code) = (&bad.api, bad.status, bad.code);
        for call in everything() {
            let reply = call.send(api).await;
            assert_eq!((reply.status, reply.code()), (status, code), "{}", reply.json);
        }
        assert!(api.has_done_nothing());
        assert_eq!(post("/api/v1/links").key(PORTAL).json(&order()).send(api).await.status, 201);
    }
}

#[tokio::test]
async fn the_hub_is_never_shown_a_key_or_a_login_token() {
    let hub = hub();
    let api = api(&hub, LISTED);
    let link = api.issue(order()).await;
    let long = "x".repeat(513);
    for key in ["hk_mistyped", "hl_x", link["login_token"].as_str().unwrap(), &long] {
        assert_eq!(post("/api/v1/links").key(key).json(&order()).send(&api).await.code(), "unauthorized");
        assert_eq!(post("/api/v1/verify").json(&json!({"token": key})).send(&api).await.code(), "unknown");
    }
    assert_eq!(get("/metrics").key(PORTAL).send(&api).await.status, 200);
    assert_eq!(asked(&hub), 0);
    // Nor is it asked for the sake of what needs no key.
    assert_eq!(get("/metrics").key("deadbeef").send(&api).await.status, 200);
    assert_eq!(asked(&hub), 0);
}

#[tokio::test]
async fn a_link_of_an_owner_who_is_listed_no_more_logs_nobody_in() {
    let hub = hub();
    let store: Arc<dyn TokenStore> = Arc::new(MemoryStore::new(100));
    let replica = |lines: &str| {
        TestApi::with(Variant {
            config: with_hub(&hub.url(), lines),
            store: Arc::clone(&store),
            ..Variant::default()
        })
    };
    let before = replica("services = [\"issuer\"]");
    let issue = || post("/api/v1/links").key(SERVICE).json(&json!({"username": "alice"}));
    let (first, second) = (issue().send(&before).await.json, issue().send(&before).await.json);
    let redeem = |link: &Value| post("/login").json(&json!({"token": link["login_token"]}));
    let after = replica("services = [\"another\"]");
    assert_eq!(redeem(&first).send(&after).await.code(), "not_allowed");
    let narrower = replica("services = [\"issuer\"]\ndeny_usernames = [\"alice\"]");
    assert_eq!(redeem(&first).send(&narrower).await.code(), "not_allowed");
    for link in [first, second] {
        assert_eq!(redeem(&link).send(&before).await.json, json!({"name": "alice"}));
    }
}

#[tokio::test]
async fn verify_tells_whose_a_token_is() {
    let hub = hub();
    let api = api(&hub, "");
    let verify = |token: &str| post("/api/v1/verify").json(&json!({"token": token}));
    let alice = json!({"name": "alice", "kind": "user", "groups": ["staff"],
                       "scopes": ["access:servers!user=alice", "tokens!user=alice"]});
    assert_eq!(verify(ALICE).send(&api).await.json, alice);
    let other = json!({"name": "other", "kind": "service", "groups": [], "scopes": []});
    assert_eq!(verify(UNLISTED).send(&api).await.json, other);
    let unknown = verify("deadbeef").send(&api).await;
    assert_eq!((unknown.status, unknown.code()), (404, "unknown"));
    for (body, status, code) in [
        (json!({}), 422, "missing_field"),
        (json!({"token": 7}), 422, "invalid_field"),
        (json!({"token": ALICE, "scope": "x"}), 422, "unknown_field"),
    ] {
        let reply = post("/api/v1/verify").json(&body).send(&api).await;
        assert_eq!((reply.status, reply.code()), (status, code), "{body}");
    }
    assert_eq!(call("GET", "/api/v1/verify").send(&api).await.status, 405);
}
