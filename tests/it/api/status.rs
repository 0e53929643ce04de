//! `/health`, `/ready`, `/metrics`, `/api/v1/info`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::broken_store::BrokenStore;
use super::call::{get, order, post};
use super::client::{PORTAL, TestApi, Variant, config};

#[tokio::test]
async fn it_is_ready_when_the_store_and_the_hub_are_there() {
    let api = TestApi::new();
    let reply = get("/ready").send(&api).await;
    let parts = json!({"status": 200, "message": "ready", "ready": true, "live": true, "store": "ok", "hub": "ok", "audit": "ok", "draining": false});
    assert_eq!((reply.status, &reply.json), (200, &parts));
}

#[tokio::test]
async fn without_the_hub_it_is_alive_and_not_ready() {
    let hub = Arc::new(|| Box::pin(async { Err("connect to upstream 127.0.0.1:8400".to_owned()) }) as _);
    let api = TestApi::with(Variant { hub, ..Variant::default() });
    let reply = get("/ready").send(&api).await;
    assert_eq!((reply.status, reply.code()), (503, "not_ready"));
    assert_eq!((&reply.json["ready"], &reply.json["store"]), (&json!(false), &json!("ok")));
    assert_eq!(reply.json["hub"], "connect to upstream 127.0.0.1:8400");
    for path in ["/health", "/live"] {
        assert_eq!(get(path).send(&api).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_hub_that_does_not_answer_is_not_waited_for() {
    let hub = Arc::new(|| Box::pin(std::future::pending()) as _);
    let api = TestApi::with(Variant { hub, patience: Duration::from_millis(5), ..Variant::default() });
    let reply = get("/ready").send(&api).await;
    assert_eq!((reply.status, reply.message()), (503, "the hub does not answer"));
}

#[tokio::test]
async fn without_the_store_it_is_not_ready() {
    let api = TestApi::with(Variant { store: Arc::new(BrokenStore), ..Variant::default() });
    let reply = get("/ready").send(&api).await;
    assert_eq!((reply.status, &reply.json["hub"]), (503, &json!("ok")));
    assert!(reply.message().contains("token store"), "{}", reply.message());
}

#[tokio::test]
async fn while_draining_it_is_alive_and_not_ready() {
    let api = TestApi::new();
    api.shutdown.drain();
    let reply = get("/ready").send(&api).await;
    assert_eq!((reply.status, &reply.json["draining"]), (503, &json!(true)));
    let live = get("/live").send(&api).await;
    assert_eq!((live.status, live.message()), (503, "draining"));
    assert_eq!(get("/health").send(&api).await.status, 200);
    let issued = post("/api/v1/links").key(PORTAL).json(&order()).send(&api).await;
    assert_eq!(issued.status, 201, "management answers to the end");
}

#[tokio::test]
async fn many_probes_ask_the_hub_once_a_second() {
    let api = TestApi::new();
    let probes = (0..20).map(|_| get("/ready").send(&api));
    let replies = futures_util::future::join_all(probes).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(api.probes.load(Ordering::Relaxed), 1);
    api.clock.advance(Duration::from_millis(999));
    get("/ready").send(&api).await;
    assert_eq!(api.probes.load(Ordering::Relaxed), 1);
    api.clock.advance(Duration::from_millis(1));
    get("/ready").send(&api).await;
    assert_eq!(api.probes.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_hub_that_comes_back_is_seen_within_a_second() {
    let up = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&up);
    let hub = Arc::new(move || {
        let up = seen.load(Ordering::Relaxed);
        Box::pin(async move { if up { Ok(()) } else { Err("down".to_owned()) } }) as _
    });
    let api = TestApi::with(Variant { hub, ..Variant::default() });
    assert_eq!(get("/ready").send(&api).await.status, 503);
    up.store(true, Ordering::Relaxed);
    api.clock.advance(Duration::from_secs(1));
    assert_eq!(get("/ready").send(&api).await.status, 200);
}

#[tokio::test]
async fn a_probe_that_gave_up_does_not_block_the_next() {
    let hub = Arc::new(|| Box::pin(std::future::pending()) as _);
    let api = TestApi::with(Variant { hub, patience: Duration::from_millis(5), ..Variant::default() });
    drop(tokio::time::timeout(Duration::ZERO, get("/ready").send(&api)).await);
    assert_eq!(get("/ready").send(&api).await.status, 503);
}

#[tokio::test]
async fn metrics_count_what_happened_to_links() {
    let api = TestApi::new();
    let link = api.issue(order()).await;
    api.issue(order()).await;
    api.redeem(&link).await;
    let reply = get("/metrics").send(&api).await;
    assert_eq!(reply.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    for line in
        ["hublatch_links_issued_total 2", "hublatch_links_redeemed_total 1", "hublatch_links_live 1", "# EOF"]
    {
        assert!(text.lines().any(|each| each == line), "{line} in {text}");
    }
}

#[tokio::test]
async fn info_tells_a_developer_what_to_expect_and_no_secret() {
    let mut config = config();
    config.warnings = vec!["running as root".to_owned()];
    let api = TestApi::with(Variant { config, ..Variant::default() });
    let reply = get("/api/v1/info").send(&api).await;
    assert_eq!(
        reply.json,
        json!({
            "version": env!("CARGO_PKG_VERSION"), "public_url": "http://127.0.0.1:8000",
            "login_url": "http://127.0.0.1:8000/hub/login", "parameter": "login_token", "store": "memory",
            "assertion": false, "lifetime": 30, "max_lifetime": 300, "features": [], "require_state": false, "batch_max": 1000, "warnings": ["running as root"],
            "configuration": {"since": "2026-01-31T12:00:00.25Z", "needs_restart": []},
        })
    );
}
