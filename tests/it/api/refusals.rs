//! Who is refused before anything is read: browsers, strangers, foreign hosts; and bodies that are not wanted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hublatch::config::Listen;
use serde_json::json;

use super::broken_store::BrokenStore;
use super::call::{Call, StrangeBody, call, delete, get, order, post};
use super::client::{PORTAL, TestApi, Variant, config};

/// One call to each endpoint, with its key.
fn everywhere() -> Vec<Call> {
    vec![
        post("/api/v1/links").key(PORTAL).json(&order()),
        post("/api/v1/links/batch").key(PORTAL).json(&json!({"links": [order()]})),
        get("/api/v1/links/7rU1cG0m6j1q0QfZ8pQ2Xw").key(PORTAL),
        delete("/api/v1/links/7rU1cG0m6j1q0QfZ8pQ2Xw").key(PORTAL),
        delete("/api/v1/users/alice/links").key(PORTAL),
        post("/oauth2/token").key(PORTAL),
        post("/oauth2/revoke").key(PORTAL),
        post("/api/v1/verify").json(&json!({"token": "x"})),
        post("/login").json(&json!({"token": "hl_x"})),
        get("/api/v1/info"),
        get("/api/v1/openapi.yaml"),
        get("/health"),
        get("/ready"),
        get("/metrics"),
        call("OPTIONS", "/api/v1/links"),
        get("/nowhere"),
    ]
}

#[tokio::test]
async fn a_browser_is_refused_whatever_it_asks_for() {
    let api = TestApi::new();
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "http://127.0.0.1:8001"),
        ("origin", "http://127.0.0.1:8000"),
        ("origin", "null"),
        ("origin", ""),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-site", "NONE"),
    ] {
        for call in everywhere() {
            let reply = call.header(name, value).send(&api).await;
            assert_eq!((reply.status, reply.code()), (403, "browser_request"), "{name}: {value}");
            assert_eq!(reply.header("access-control-allow-origin"), "");
        }
    }
    let doubled = get("/metrics").header("sec-fetch-site", "none").and_header("sec-fetch-site", "cross-site");
    assert_eq!(doubled.send(&api).await.code(), "browser_request");
    assert!(api.has_done_nothing());
}

#[tokio::test]
async fn an_address_typed_into_a_browser_may_read_what_needs_no_key() {
    let api = TestApi::new();
    let reply = get("/metrics").header("sec-fetch-site", "none").send(&api).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn a_page_that_rebound_its_name_to_our_address_reads_nothing() {
    let api = TestApi::new();
    for path in ["/api/v1/info", "/api/v1/openapi.yaml", "/health", "/ready", "/metrics"] {
        for host in ["evil.example:8001", "localhost.evil.example", "127.0.0.1.evil.example", "", "a b"] {
            for method in ["GET", "HEAD"] {
                let reply = call(method, path).header("host", host).send(&api).await;
                assert_eq!(reply.status, 403, "{method} {path} at {host:?}");
            }
        }
        let two = get(path).header("host", "127.0.0.1").and_header("host", "evil.example");
        assert_eq!(two.send(&api).await.code(), "host_not_allowed", "{path}");
    }
    let absolute = get("http://evil.example/metrics").header("host", "127.0.0.1:8001");
    assert_eq!(absolute.send(&api).await.code(), "host_not_allowed");
}

#[tokio::test]
async fn hosts_that_no_page_can_have_are_answered() {
    let api = TestApi::new();
    for host in ["127.0.0.1:8001", "[::1]:8001", "localhost", "hublatch:8001", "hublatch.ns.svc", "10.0.0.7"]
    {
        assert_eq!(get("/metrics").header("host", host).send(&api).await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn with_a_key_any_host_name_will_do() {
    let api = TestApi::new();
    let reply = get("/metrics").header("host", "hublatch.example.org:8001").key(PORTAL).send(&api).await;
    assert_eq!(reply.status, 200);
    let reply = get("/metrics").header("host", "hublatch.example.org:8001").key("hk_wrong").send(&api).await;
    assert_eq!(reply.status, 403);
    let call = post("/api/v1/links").header("host", "hublatch.example.org:8001").key(PORTAL);
    assert_eq!(call.json(&order()).send(&api).await.status, 201);
}

#[tokio::test]
async fn on_a_unix_socket_the_host_says_nothing() {
    let mut config = config();
    config.management.listen = Listen::Unix("/run/hublatch/management.sock".into());
    let api = TestApi::with(Variant { config, ..Variant::default() });
    assert_eq!(get("/metrics").header("host", "what.ever.example").send(&api).await.status, 200);
}

#[tokio::test]
async fn a_key_comes_in_one_header_and_by_one_of_two_schemes() {
    let api = TestApi::new();
    let issue = || post("/api/v1/links").json(&order());
    for credentials in ["token hk_portal", "Bearer hk_portal", "TOKEN hk_portal", "bearer  hk_portal"] {
        let reply = issue().header("authorization", credentials).send(&api).await;
        assert_eq!(reply.status, 201, "{credentials}");
    }
    for credentials in ["token hk_portal x", "token hk_portaL", "token hk_other,"] {
        let reply = issue().header("authorization", credentials).send(&api).await;
        assert_eq!((reply.status, reply.code()), (401, "unauthorized"), "{credentials}");
        assert_eq!(reply.message(), "this key is not known", "{credentials}");
        assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"hublatch\", error=\"invalid_token\"");
    }
    // A good key in another way is no unknown key: RFC 6750 § 3.1 has no error code for it.
    for credentials in ["hk_portal", "Basic hk_portal", "token", "token "] {
        let reply = issue().header("authorization", credentials).send(&api).await;
        assert_eq!((reply.status, reply.code()), (401, "unauthorized"), "{credentials}");
        assert_eq!(reply.message(), "send \"Authorization: token KEY\"", "{credentials}");
        assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"hublatch\"", "{credentials}");
    }
    let twice = issue().key(PORTAL).and_header("authorization", "token hk_portal").send(&api).await;
    assert_eq!(twice.status, 401);
    let none = issue().send(&api).await;
    assert_eq!((none.status, none.header("www-authenticate")), (401, "Bearer realm=\"hublatch\""));
    let in_query = post("/api/v1/links?token=hk_portal").json(&order()).send(&api).await;
    assert_eq!(in_query.status, 401);
}

#[tokio::test]
async fn a_body_that_nobody_wants_is_read_within_bounds_so_that_the_answer_is_seen() {
    let api = TestApi::new();
    let read = Arc::new(AtomicUsize::new(0));
    let call = || post("/api/v1/links").strange_body(StrangeBody::Endless(Arc::clone(&read)));
    assert_eq!(call().send(&api).await.status, 401);
    assert_eq!(read.swap(0, Ordering::Relaxed), 4_195_000, "a little above 4 MiB");
    assert_eq!(call().key(PORTAL).send(&api).await.status, 413);
    assert!(read.swap(0, Ordering::Relaxed) > 4_000_000);
    let waiting = || call().header("expect", "100-continue");
    assert_eq!(waiting().send(&api).await.status, 401);
    assert_eq!(waiting().key(PORTAL).send(&api).await.status, 413);
    assert_eq!(read.load(Ordering::Relaxed), 0, "a client that waits to be asked is not asked");
}

#[tokio::test]
async fn a_stranger_does_not_hold_the_answer_back() {
    let mut config = config();
    config.limits.held_body_timeout = Duration::from_millis(5);
    let api = TestApi::with(Variant { config, ..Variant::default() });
    let reply = post("/api/v1/links").strange_body(StrangeBody::NeverEnds).send(&api).await;
    assert_eq!(reply.status, 401);
}

#[tokio::test]
async fn a_body_must_be_said_to_be_json() {
    let api = TestApi::new();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", ""] {
        let reply =
            post("/api/v1/links").key(PORTAL).json(&order()).header("content-type", kind).send(&api).await;
        assert_eq!((reply.status, reply.code()), (415, "unsupported_media_type"), "{kind}");
    }
    let reply = post("/api/v1/links").key(PORTAL).body("{}".into()).send(&api).await;
    assert_eq!(reply.status, 415);
    let good = post("/api/v1/links")
        .key(PORTAL)
        .json(&order())
        .header("content-type", "application/json; charset=UTF-8");
    assert_eq!(good.send(&api).await.status, 201);
}

#[tokio::test]
async fn a_compressed_body_is_refused_and_told_what_would_do() {
    let api = TestApi::new();
    for coding in ["gzip", "br", "identity, gzip", "x"] {
        for path in ["/api/v1/links", "/api/v1/links/batch", "/login", "/oauth2/token"] {
            let kind = if path.starts_with("/oauth2") {
                "application/x-www-form-urlencoded"
            } else {
                "application/json"
            };
            let call = post(path).key(PORTAL).json(&order()).header("content-type", kind);
            let reply = call.header("content-encoding", coding).send(&api).await;
            assert_eq!((reply.status, reply.code()), (415, "unsupported_encoding"), "{path} {coding}");
            assert_eq!(reply.header("accept-encoding"), "identity", "{path} {coding}");
        }
    }
    let plain = post("/api/v1/links").key(PORTAL).json(&order()).header("content-encoding", "identity");
    assert_eq!(plain.send(&api).await.status, 201);
    let other = post("/api/v1/links").key(PORTAL).body("{}".into()).send(&api).await;
    assert_eq!(other.header("accept-encoding"), "", "its type is at fault");
}

#[tokio::test]
async fn a_body_has_a_largest_size_declared_or_not() {
    let api = TestApi::new();
    for (path, largest) in
        [("/api/v1/links", 64 * 1024), ("/login", 64 * 1024), ("/api/v1/links/batch", 1024 * 1024)]
    {
        let declared = post(path).key(PORTAL).text(&" ".repeat(largest + 1)).send(&api).await;
        assert_eq!((declared.status, declared.code()), (413, "body_too_large"), "{path}");
        let streamed = post(path).key(PORTAL).strange_body(StrangeBody::Zeros(largest + 1)).send(&api).await;
        assert_eq!(streamed.status, 413, "{path}");
        let fits = post(path).key(PORTAL).text(&" ".repeat(largest)).send(&api).await;
        assert_eq!(fits.code(), "invalid_json", "{path}");
    }
}

#[tokio::test]
async fn a_body_has_a_longest_time() {
    let mut config = config();
    config.limits.held_body_timeout = Duration::from_millis(5);
    let api = TestApi::with(Variant { config, ..Variant::default() });
    let reply = post("/api/v1/links").key(PORTAL).strange_body(StrangeBody::NeverEnds).send(&api).await;
    assert_eq!((reply.status, reply.code()), (408, "body_timeout"));
}

#[tokio::test]
async fn a_body_that_breaks_off_issues_nothing() {
    let api = TestApi::new();
    let reply = post("/api/v1/links").key(PORTAL).strange_body(StrangeBody::BreaksOff).send(&api).await;
    assert_eq!((reply.status, reply.code()), (400, "body_broken"));
}

#[tokio::test]
async fn an_unknown_path_is_404() {
    let api = TestApi::new();
    for path in [
        "/",
        "/api",
        "/api/v1/links/",
        "/api/v1/links/a/b",
        "/api/v1/users//links",
        "/API/v1/links",
        "//health",
        "/oauth2/tokens",
        "/login/",
        "/health/",
    ] {
        let reply = get(path).key(PORTAL).send(&api).await;
        assert_eq!((reply.status, reply.code()), (404, "not_found"), "{path}");
    }
}

#[tokio::test]
async fn another_method_is_405_with_those_that_are_allowed() {
    let api = TestApi::new();
    for (method, path, allowed) in [
        ("GET", "/api/v1/links", "POST"),
        ("PUT", "/api/v1/links", "POST"),
        ("GET", "/api/v1/links/batch", "POST"),
        ("DELETE", "/api/v1/links/batch", "POST"),
        ("POST", "/api/v1/links/7rU1cG0m6j1q0QfZ8pQ2Xw", "GET, HEAD, DELETE"),
        ("GET", "/api/v1/users/alice/links", "DELETE"),
        ("GET", "/login", "POST"),
        ("HEAD", "/login", "POST"),
        ("POST", "/health", "GET, HEAD"),
        ("OPTIONS", "/api/v1/info", "GET, HEAD"),
        ("TRACE", "/metrics", "GET, HEAD"),
    ] {
        let reply = call(method, path).key(PORTAL).send(&api).await;
        assert_eq!((reply.status, reply.header("allow")), (405, allowed), "{method} {path}");
    }
}

#[tokio::test]
async fn head_is_answered_as_get_without_its_body() {
    let api = TestApi::new();
    let id = api.issue(order()).await["id"].as_str().unwrap().to_owned();
    for path in [
        "/health",
        "/ready",
        "/metrics",
        "/api/v1/info",
        "/api/v1/openapi.yaml",
        &format!("/api/v1/links/{id}"),
    ] {
        let full = get(path).key(PORTAL).send(&api).await;
        let head = call("HEAD", path).key(PORTAL).send(&api).await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(head.header("content-type"), full.header("content-type"), "{path}");
        // The figures of the process (CPU time, memory) differ from one call to the next.
        if path != "/metrics" {
            assert_eq!(head.header("content-length"), full.body.len().to_string(), "{path}");
        }
    }
}

#[tokio::test]
async fn a_store_that_fails_is_503_and_says_so() {
    let api = TestApi::with(Variant { store: Arc::new(BrokenStore), ..Variant::default() });
    for call in [
        post("/api/v1/links").key(PORTAL).json(&order()),
        post("/api/v1/links/batch").key(PORTAL).json(&json!({"links": [order()]})),
        get("/api/v1/links/7rU1cG0m6j1q0QfZ8pQ2Xw").key(PORTAL),
        delete("/api/v1/links/7rU1cG0m6j1q0QfZ8pQ2Xw").key(PORTAL),
        delete("/api/v1/users/alice/links").key(PORTAL),
        post("/login").json(&json!({"token": format!("hl_{}", "A".repeat(43))})),
    ] {
        let reply = call.send(&api).await;
        assert_eq!((reply.status, reply.code()), (503, "store_unavailable"));
    }
}
