//! What an app may say of its users: groups and claims by its rules alone, and names in its own name space; at issue and at
//! redeem, for links and for tokens that it signs.

use std::time::Duration;

use hublatch::clock::Clock as _;
use serde_json::{Value, json};

use crate::jwt::signer::{AUDIENCE, ISSUER, Signer, claims};
use crate::redeem::{click, logins};
use crate::support::proxy::{Builder, standing_clock};
use crate::support::{Answer, FakeHub, TestProxy};

fn order(proxy: &TestProxy, order: &Value) -> (u16, String) {
    let answer = proxy.links().call("POST", "/api/v1/links", &[], order.to_string());
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn an_app_names_the_groups_and_makes_the_claims_that_its_rules_allow_and_no_others() {
    let hub = FakeHub::start();
    let bare = TestProxy::before(&hub).portal("groups = []\nclaims = false").start();
    let narrow = TestProxy::before(&hub).portal("groups = [\"stud-.*\"]\nclaims = false").start();
    let free = TestProxy::before(&hub).portal("groups = [\".*\"]\nclaims = true").start();
    for (groups, allowed) in [
        (json!(["stud-1", "stud-2"]), true),
        (json!([]), true),
        (json!(["stud-1", "admins"]), false),
        (json!(["xstud-1"]), false),
    ] {
        let wanted = json!({ "username": "alice", "groups": groups });
        let refused = (403, "groups_not_allowed".to_owned());
        assert_eq!(order(&bare, &wanted), refused, "{groups}: none by default");
        assert_eq!(order(&narrow, &wanted) != refused, allowed, "{groups}");
        assert_eq!(order(&free, &wanted).0, 201, "{groups}");
    }
    let claimed = json!({ "username": "alice", "claims": { "course": 7 } });
    assert_eq!(order(&bare, &claimed), (403, "claims_not_allowed".to_owned()));
    assert_eq!(order(&free, &claimed).0, 201);
}

#[test]
fn groups_and_claims_of_before_are_judged_by_the_rules_of_now() {
    for (more, rules, status) in [
        (json!({ "groups": ["staff"] }), "groups = [\"stud-.*\"]\nclaims = true", 403),
        (json!({ "groups": ["staff"] }), "groups = [\"staff\"]\nclaims = false", 302),
        (json!({ "claims": { "course": 7 } }), "groups = [\".*\"]\nclaims = false", 403),
    ] {
        let hub = FakeHub::start();
        let builder = TestProxy::before(&hub);
        let proxy = builder.clone().start();
        let mut wanted = json!({ "username": "alice" });
        wanted.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let link = proxy.links().issue(&wanted);
        proxy.reload(&builder.portal(rules)).unwrap();
        assert_eq!(click(&proxy, &link).status, status, "{wanted} {rules}");
    }
}

/// A click with a token that the app has signed, with `more` in its claims, where the app has these rules.
fn signed(rules: &str, more: &Value) -> (Answer, FakeHub) {
    let (hub, clock, signer) = (FakeHub::start(), standing_clock(), Signer::ed25519());
    let files = tempfile::tempdir().expect("a directory");
    let path = files.path().join("portal.pem");
    std::fs::write(&path, &signer.pem).expect("write");
    let jwt = format!("jwt = {{ issuer = {ISSUER:?}, audience = {AUDIENCE:?}, public_key_file = {path:?} }}");
    let proxy = TestProxy::before(&hub).clock(&clock).portal(&format!("{rules}\n{jwt}")).start();
    clock.advance(Duration::from_secs(20));
    let token = signer.sign(&claims(clock.now().wall.as_second(), more));
    let answer = proxy.browser().get(&format!("/hub/login?login_token={token}"));
    (answer, hub)
}

#[test]
fn a_token_that_an_app_has_signed_names_no_group_beyond_its_rules() {
    for (rules, status) in
        [("groups = []", 403), ("groups = [\"stud-.*\"]", 403), ("groups = [\"staff\"]", 302)]
    {
        let (answer, hub) = signed(rules, &json!({ "groups": ["staff"] }));
        assert_eq!((answer.status, logins(&hub).len()), (status, usize::from(status == 302)), "{rules}");
    }
}

#[test]
fn the_names_of_an_app_with_a_prefix_are_its_own() {
    let hub = FakeHub::start();
    let with_prefix = |builder: Builder| builder.portal("username_prefix = \"lms-\"");
    let builder = TestProxy::before(&hub);
    let proxy = with_prefix(builder.clone()).start();
    let link = proxy.links().issue(&json!({ "username": "alice", "path": "lab" }));
    assert_eq!(link.json["username"], "lms-alice");
    assert!(link.json["next"].as_str().unwrap().starts_with("/hub/spawn/lms-alice?"), "{}", link.json);
    assert_eq!(click(&proxy, &link).status, 302);
    assert_eq!(hub.only("/hub/login").headers.all("remote_user"), ["lms-alice"]);
    // Even its admin is nobody else.
    assert_eq!(order(&proxy, &json!({ "username": "lms-admin" })).0, 201);
    let pending = proxy.link("bob");
    let revoked = proxy.links().call("DELETE", "/api/v1/users/bob/links", &[], "");
    assert_eq!(
        (revoked.json(), proxy.links().status(&pending.id)),
        (json!({ "revoked": 1 }), "revoked".into())
    );
    let (answer, signed_at) = signed("username_prefix = \"lms-\"", &json!({}));
    assert_eq!(answer.status, 302);
    assert_eq!(signed_at.only("/hub/login").headers.all("remote_user"), ["lms-alice"]);
    // A link from before there was a prefix is no link for somebody else's alice.
    let before = builder.clone().start();
    let link = before.link("alice");
    before.reload(&with_prefix(builder)).unwrap();
    assert_eq!(click(&before, &link).status, 403);
}
