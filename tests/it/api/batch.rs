//! Many links at once: all or none, and an error says which order it is about.

use serde_json::{Value, json};

use super::call::{Reply, get, post};
use super::client::{NARROW, OTHER, PORTAL, TestApi, Variant};
use hublatch::store::MemoryStore;
use std::sync::Arc;

async fn issue(api: &TestApi, app: &str, links: Value) -> Reply {
    post("/api/v1/links/batch").key(app).json(&json!({"links": links})).send(api).await
}

fn class(count: usize) -> Value {
    (0..count).map(|number| json!({"username": format!("stud-{number}"), "path": "lab"})).collect()
}

async fn live(api: &TestApi) -> String {
    let metrics = get("/metrics").send(api).await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    text.lines().find_map(|line| line.strip_prefix("hublatch_links_live ")).unwrap().to_owned()
}

#[tokio::test]
async fn a_thousand_links_come_in_the_order_of_the_batch() {
    let api = TestApi::new();
    let reply = issue(&api, PORTAL, class(1000)).await;
    assert_eq!(reply.status, 201);
    let links = reply.json["links"].as_array().unwrap();
    assert!(links.iter().enumerate().all(|(number, link)| link["username"] == format!("stud-{number}")));
    assert_eq!(links.len(), 1000);
    assert_eq!(live(&api).await, "1000");
}

#[tokio::test]
async fn more_than_a_thousand_or_none_is_refused() {
    let api = TestApi::new();
    for (links, message) in [
        (class(1001), "links: must be a list of 1 to 1000 orders"),
        (json!([]), "links: must be a list of 1 to 1000 orders"),
        (json!({}), "links: must be a list of 1 to 1000 orders"),
        (json!(null), "links: is required"),
        (json!([7]), "links[0]: must be an object"),
        (json!([{"username": "a"}, ["a"]]), "links[1]: must be an object"),
    ] {
        let reply = issue(&api, PORTAL, links).await;
        assert_eq!((reply.status, reply.message()), (422, message));
    }
    let stray = post("/api/v1/links/batch")
        .key(PORTAL)
        .json(&json!({"links": class(1), "app": "x"}))
        .send(&api)
        .await;
    assert_eq!((stray.status, stray.message()), (422, "app: there is no such field"));
}

#[tokio::test]
async fn one_bad_order_spoils_the_batch_and_is_named() {
    let api = TestApi::new();
    for (bad, status, code, message) in [
        (
            json!({"username": "Bob"}),
            400,
            "invalid_username",
            "links[3].username: the user name has upper-case letters",
        ),
        (json!({"username": "b", "next": "//x"}), 400, "invalid_next", "links[3].next: next must be a path"),
        (
            json!({"username": "b", "path": "../x"}),
            400,
            "invalid_path",
            "links[3].path: path must stay inside",
        ),
        (json!({"username": "b", "server": "a/b"}), 400, "invalid_server", "links[3].server: a server name"),
        (json!({"username": "admin"}), 403, "username_not_allowed", "links[3].username: the rules of app"),
        (json!({"username": "b", "expires_in": 301}), 422, "invalid_expires_in", "links[3].expires_in: "),
        (json!({"username": "b", "expires_in": "1"}), 422, "invalid_field", "links[3].expires_in: must be"),
        (json!({"username": "b", "x": 1}), 422, "unknown_field", "links[3].x: there is no such field"),
        (json!({"username": "b", "launch": true}), 422, "unsupported_field", "links[3].launch: "),
        (json!({}), 422, "missing_field", "links[3].username: is required"),
    ] {
        let mut links = class(5);
        links[3] = bad;
        let reply = issue(&api, PORTAL, links).await;
        assert_eq!((reply.status, reply.code()), (status, code));
        assert!(reply.message().starts_with(message), "{}", reply.message());
    }
    assert_eq!((live(&api).await.as_str(), api.has_done_nothing()), ("0", true), "and nothing was issued");
}

#[tokio::test]
async fn a_batch_that_does_not_fit_into_the_store_issues_nothing() {
    let api = TestApi::with(Variant { store: Arc::new(MemoryStore::new(10)), ..Variant::default() });
    let reply = issue(&api, PORTAL, class(11)).await;
    assert_eq!((reply.status, reply.code()), (503, "store_full"));
    assert_eq!(live(&api).await, "0");
    assert_eq!(issue(&api, PORTAL, class(10)).await.status, 201);
}

#[tokio::test]
async fn a_batch_above_the_apps_rate_is_told_how_many_it_may_ask_for() {
    let api = TestApi::new();
    let reply = issue(&api, NARROW, class(31)).await;
    assert_eq!((reply.status, reply.code()), (422, "batch_above_rate"));
    assert!(reply.message().contains("at most 30 links"), "{}", reply.message());
    assert_eq!(issue(&api, NARROW, class(30)).await.status, 201);
}

#[tokio::test]
async fn a_batch_counts_by_its_links() {
    let api = TestApi::new();
    let begun = std::time::Instant::now();
    assert_eq!(issue(&api, OTHER, class(900)).await.status, 201);
    let reply = issue(&api, OTHER, class(900)).await;
    assert_eq!((reply.status, reply.code()), (429, "rate_limited"));
    // A hundred a second, and eight hundred too many; less what passed meanwhile, up to a whole second.
    let wait: u64 = reply.header("retry-after").parse().expect("seconds");
    assert!(wait <= 8 && wait + begun.elapsed().as_secs() + 1 >= 8, "{wait} s");
}

#[tokio::test]
async fn a_batch_takes_no_idempotency_key() {
    let api = TestApi::new();
    let call = post("/api/v1/links/batch").key(PORTAL).header("idempotency-key", "k");
    let reply = call.json(&json!({"links": class(1)})).send(&api).await;
    assert_eq!((reply.status, reply.code()), (422, "invalid_idempotency_key"));
}
