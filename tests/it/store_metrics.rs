//! What `/metrics` tells of the token store: how long each kind of call takes, what failed, how many links are live.

use std::sync::Arc;

use crate::api::broken_store::BrokenStore;
use crate::redeem::click;
use crate::support::{FakeHub, TestProxy};

fn calls(proxy: &TestProxy, operation: &str) -> i64 {
    proxy.metric(&format!("hublatch_store_call_seconds_count{{operation=\"{operation}\"}}"))
}

fn errors(proxy: &TestProxy, operation: &str) -> i64 {
    proxy.metric(&format!("hublatch_store_errors_total{{operation=\"{operation}\"}}"))
}

#[test]
fn each_call_is_timed_under_its_name() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for operation in ["insert", "find", "consume", "get", "revoke", "revoke_user", "ping"] {
        assert_eq!((calls(&proxy, operation), errors(&proxy, operation)), (0, 0), "{operation}");
    }
    let (used, revoked) = (proxy.link("alice"), proxy.link("alice"));
    assert_eq!(calls(&proxy, "insert"), 2);
    assert_eq!(click(&proxy, &used).status, 302);
    assert_eq!((calls(&proxy, "find"), calls(&proxy, "consume")), (1, 1));
    proxy.links().status(&used.id);
    assert_eq!(calls(&proxy, "get"), 1);
    proxy.links().call("DELETE", &format!("/api/v1/links/{}", revoked.id), &[], "");
    proxy.links().call("DELETE", "/api/v1/users/alice/links", &[], "");
    assert_eq!((calls(&proxy, "revoke"), calls(&proxy, "revoke_user")), (1, 1));
    assert_eq!(proxy.links().call("GET", "/ready", &[], "").status, 200);
    assert_eq!(calls(&proxy, "ping"), 1);
    for operation in ["insert", "find", "consume", "get", "revoke", "revoke_user", "ping"] {
        assert_eq!(errors(&proxy, operation), 0, "{operation}");
    }
}

#[test]
fn the_live_links_are_counted_when_they_are_asked_for() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let live = || {
        let text = proxy.links().call("GET", "/metrics", &[], "").text();
        let value = text.lines().find_map(|line| line.strip_prefix("hublatch_links_live "));
        value.expect("the metric").parse::<i64>().expect("a number")
    };
    assert_eq!(live(), 0);
    let link = proxy.link("alice");
    proxy.link("bob");
    assert_eq!(live(), 2);
    assert_eq!(click(&proxy, &link).status, 302);
    assert_eq!(live(), 1);
}

#[test]
fn a_call_that_fails_is_counted() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).store(Arc::new(BrokenStore)).start();
    let order = serde_json::json!({ "username": "alice" }).to_string();
    assert_eq!(proxy.links().call("POST", "/api/v1/links", &[], order).status, 503);
    assert_eq!(proxy.links().call("GET", "/ready", &[], "").status, 503);
    for operation in ["insert", "ping"] {
        assert_eq!((errors(&proxy, operation), calls(&proxy, operation)), (1, 1), "{operation}");
    }
}
