//! What is told of a call: a request id, a count, and of a refusal a line in the audit.

use serde_json::{Value, json};

use super::call::{Call, call, delete, get, order, post};
use super::client::{ISSUER, NARROW, PORTAL, READER, TestApi};
use crate::support::requests;
use crate::support::{FakeHub, Process, TestProxy, Wire};

/// The last line of the audit, or null.
fn last(api: &TestApi) -> Value {
    api.audit().lines().last().map_or(Value::Null, |line| serde_json::from_str(line).unwrap())
}

#[tokio::test]
async fn a_refused_call_is_in_the_audit_with_the_app_the_code_and_the_request_and_is_counted() {
    let api = TestApi::new();
    let links = "/api/v1/links";
    let cases: [(Call, &str, &str, &str); 7] = [
        (post(links).json(&order()), "", "401", "unauthorized"),
        (post(links).key("hk_nobody").json(&order()), "", "401", "unauthorized"),
        (post(links).key(READER).json(&order()), "reader", "403", "insufficient_scope"),
        (post(links).key(PORTAL).json(&json!({"username": "Alice"})), "portal", "400", "invalid_username"),
        (
            post(links).key(PORTAL).json(&json!({"username": "alice", "user": "alice"})),
            "portal",
            "422",
            "unknown_field",
        ),
        (
            post(links).key(NARROW).json(&json!({"username": "alice"})),
            "narrow",
            "403",
            "username_not_allowed",
        ),
        (delete("/api/v1/links/x").key(ISSUER), "issuer", "403", "insufficient_scope"),
    ];
    for (number, (call, app, status, code)) in cases.into_iter().enumerate() {
        let count = format!("hublatch_api_requests_total{{app=\"{app}\",code=\"{status}\"}}");
        let counted = |text: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&count));
            line.map_or(0, |value| value.trim().parse::<u32>().unwrap())
        };
        let before = counted(&api.metrics.text());
        let reply = call.send(&api).await;
        assert_eq!((reply.status.to_string().as_str(), reply.code()), (status, code));
        let line = last(&api);
        assert_eq!((&line["event"], &line["code"]), (&json!("refused"), &json!(code)), "{line}");
        assert_eq!(line["app"].as_str().unwrap_or_default(), app);
        assert_eq!((&line["client_ip"], &line["reason"]), (&json!("127.0.0.1"), &Value::Null));
        assert_eq!(line["request_id"], reply.header("x-request-id"), "{line}");
        assert_eq!(line["username"].as_str(), (code == "username_not_allowed").then_some("alice"));
        assert_eq!(api.audit().lines().count(), number + 1, "one line each");
        assert_eq!(counted(&api.metrics.text()), before + 1, "{count}");
    }
}

#[tokio::test]
async fn what_was_answered_as_asked_is_counted_and_no_refusal() {
    let api = TestApi::new();
    assert_eq!(post("/api/v1/links").key(PORTAL).json(&order()).send(&api).await.status, 201);
    assert_eq!(get("/api/v1/links/x").key(PORTAL).send(&api).await.status, 404);
    assert_eq!(call("PUT", "/api/v1/links").send(&api).await.status, 405);
    for path in ["/live", "/metrics"] {
        assert_eq!(get(path).send(&api).await.status, 200);
    }
    let audit = api.audit();
    assert!(!audit.contains("\"refused\""), "{audit}");
    let text = api.metrics.text();
    let counted: Vec<_> =
        text.lines().filter(|line| line.starts_with("hublatch_api_requests_total")).collect();
    assert_eq!(counted.len(), 3, "no probes, no scrapers: {counted:?}");
    assert!(counted.contains(&"hublatch_api_requests_total{app=\"portal\",code=\"201\"} 1"), "{counted:?}");
}

#[tokio::test]
async fn each_answer_has_a_request_id_of_ours() {
    let api = TestApi::new();
    let mut seen = std::collections::HashSet::new();
    for call in [get("/live"), get("/nowhere"), post("/api/v1/links").key(PORTAL).json(&order())] {
        let reply = call.header("x-request-id", "chosen").send(&api).await;
        let id = reply.header("x-request-id").to_owned();
        assert!(id.len() == 32 && seen.insert(id), "{:?}", reply.headers);
    }
}

#[tokio::test]
async fn an_error_names_its_field_and_where_it_is_explained() {
    let api = TestApi::new();
    let batch = json!({"links": [order(), {"username": "alice", "next": "//evil.example"}]});
    for (call, field) in [
        (
            post("/api/v1/links").key(PORTAL).json(&json!({"username": "alice", "expires_in": "30"})),
            "expires_in",
        ),
        (
            post("/api/v1/links").key(PORTAL).json(&json!({"username": "alice", "expires_in": 9999})),
            "expires_in",
        ),
        (post("/api/v1/links").key(PORTAL).json(&json!({"username": "Alice"})), "username"),
        (post("/api/v1/links").key(PORTAL).json(&json!({"username": "alice", "path": "../bob"})), "path"),
        (post("/api/v1/links/batch").key(PORTAL).json(&batch), "links[1].next"),
        (post("/api/v1/links").key(PORTAL).header("idempotency-key", " ").json(&order()), "Idempotency-Key"),
        (post("/api/v1/links").key(PORTAL).body("{}".into()), "Content-Type"),
        (post("/api/v1/links").json(&order()), "Authorization"),
    ] {
        let reply = call.send(&api).await;
        assert_eq!(reply.json["field"], field, "{}", reply.json);
        assert_eq!(reply.json["doc_url"], format!("/api/v1/errors.md#{}", reply.code()));
    }
    let reply = get("/api/v1/links/x").key(PORTAL).send(&api).await;
    assert!(reply.json.get("field").is_none(), "no field is at fault: {}", reply.json);
    let page = get("/api/v1/errors.md").send(&api).await;
    assert_eq!(page.header("content-type"), "text/markdown; charset=utf-8");
    assert!(String::from_utf8_lossy(&page.body).contains("<a id=\"link_not_found\"></a>`link_not_found`"));
}

#[test]
fn a_call_is_in_the_access_log_without_what_its_path_holds() {
    let hub = FakeHub::start();
    let text = TestProxy::before(&hub).set("log", "access = true\naudit = \"stderr\"").text();
    let mut process = Process::start(&text);
    process.address("public");
    let address = process.address("management");
    let secret = format!("hl_{}", "A".repeat(43));
    for (path, status) in
        [(format!("/api/v1/links/{secret}"), 401), ("/live".into(), 200), (format!("/{secret}"), 404)]
    {
        assert_eq!(Wire::connect(address).ask(requests::get(&path, &[])).status, status);
    }
    process.signal(rustix::process::Signal::TERM);
    assert!(process.ended().success());
    let said = process.said();
    assert!(!said.contains(&secret), "{said}");
    let lines: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let calls: Vec<_> =
        lines.iter().filter(|line| line["listener"] == "management" && line["status"].is_u64()).collect();
    let told: Vec<_> = calls
        .iter()
        .map(|line| (line["path"].as_str(), line["status"].as_u64(), line["code"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (Some("/api/v1/links/{id}"), Some(401), Some("unauthorized")),
            (Some("-"), Some(404), Some("not_found")),
        ]
    );
    let audited = lines.iter().find(|line| line["event"] == "refused").unwrap();
    assert_eq!(audited["request_id"], calls[0]["request_id"]);
    assert_eq!(calls[0]["client_ip"], "127.0.0.1");
}
