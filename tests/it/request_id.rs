//! `X-Request-Id`: each request has one, and only a trusted proxy can choose it.

use serde_json::{Value, json};

use crate::support::requests::get;
use crate::support::{FakeHub, Process, TestProxy, Wire};

/// What the hub is told for a request with these lines.
fn told(hub: &FakeHub, proxy: &TestProxy, lines: &[&str]) -> String {
    hub.forget();
    assert_eq!(proxy.connect().ask(get("/x", lines)).status, 200);
    let seen = hub.only("/x");
    assert_eq!(seen.headers.all("x-request-id").len(), 1, "{:?}", seen.headers);
    seen.headers.get("x-request-id").unwrap().to_owned()
}

fn is_made(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[test]
fn an_answer_of_ours_names_its_request_in_a_header_and_in_the_footer_of_a_page() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("public", "trusted_proxies = [\"127.0.0.0/8\"]").start();
    for (given, accept, status) in [
        ("/hub/login?login_token=nothing", "text/html", 403),
        ("/hub/login?login_token=nothing", "application/json", 403),
        ("/hub/home%2F..%2f/..", "text/html", 400),
    ] {
        let lines =
            ["X-Request-Id: from-the-front", &format!("Accept: {accept}"), "Sec-Fetch-Mode: navigate"];
        let answer = proxy.connect().ask(get(given, &lines));
        assert_eq!(answer.status, status);
        assert_eq!(answer.headers.get("x-request-id"), Some("from-the-front"), "{given}");
        assert_eq!(
            answer.text().contains("Request <bdi>from-the-front</bdi>, <bdi>20"),
            accept == "text/html",
            "{given}"
        );
    }
    // What passes is left alone.
    assert_eq!(proxy.connect().ask(get("/x", &[])).headers.get("x-request-id"), None);
}

#[test]
fn each_request_has_one_of_its_own_and_a_clients_counts_for_nothing() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let ids: std::collections::HashSet<String> =
        (0..5).map(|_| told(&hub, &proxy, &["X-Request-Id: chosen"])).collect();
    // Nor may another spelling of the name stand beside it: some servers read both as one.
    for name in ["X_Request_Id", "x-request_id", "X_REQUEST-ID"] {
        told(&hub, &proxy, &[&format!("{name}: chosen")]);
        let names = hub.only("/x").headers;
        assert!(!names.has(&name.to_lowercase()), "{names:?}");
    }
    // Nor can a client have ours removed, as hop-by-hop (RFC 9110 § 7.6.1).
    assert!(is_made(&told(&hub, &proxy, &["Connection: close, X-Request-Id"])));
    assert!(ids.len() == 5 && ids.iter().all(|id| is_made(id)), "{ids:?}");
}

#[test]
fn a_trusted_proxys_is_passed_on_if_it_is_one_and_plain() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("public", "trusted_proxies = [\"127.0.0.1\"]").start();
    for good in ["7f3c", "req-1_2.3:4/5+6=7@8", &"a".repeat(128)] {
        assert_eq!(told(&hub, &proxy, &[&format!("X-Request-Id: {good}")]), good);
    }
    for bad in ["", "two words", "\"quoted\"", "a,b", "caf\u{e9}", &"a".repeat(129)] {
        assert!(is_made(&told(&hub, &proxy, &[&format!("X-Request-Id: {bad}")])), "{bad}");
    }
    assert!(is_made(&told(&hub, &proxy, &["X-Request-Id: one", "X-Request-Id: two"])));
    assert!(is_made(&told(&hub, &proxy, &[])));
}

#[test]
fn the_context_of_a_trace_is_not_ours_to_touch() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let lines =
        ["traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate: a=1,b=2"];
    told(&hub, &proxy, &lines);
    let seen = hub.only("/x");
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        assert_eq!(seen.headers.get(name), Some(value));
    }
}

#[test]
fn the_audit_names_the_request_by_which_the_hub_was_asked() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("login", "confirm = \"never\"").start();
    let (link, mut browser) = (proxy.link("alice"), proxy.browser());
    browser.set_cookie("jupyterhub-hub-login", "bob", "/hub/");
    let target = link.target();
    assert_eq!(browser.get(&target).status, 302);
    let login = hub.only("/hub/login");
    let lines = proxy.audit();
    let ids: Vec<_> = lines.iter().map(|line| (&line["event"], line["request_id"].as_str())).collect();
    let id = login.headers.get("x-request-id");
    assert!(id.is_some_and(is_made), "{id:?}");
    // The app's call is no request of a browser's.
    assert_eq!(ids, [(&json!("issued"), None), (&json!("redeemed"), id), (&json!("switched"), id)]);
}

#[test]
fn a_line_of_the_audit_and_one_of_the_access_log_are_of_one_request() {
    let hub = FakeHub::start();
    let text = TestProxy::before(&hub).set("log", "access = true\naudit = \"stderr\"").text();
    let mut process = Process::start(&text);
    let address = process.address("public");
    process.address("management");
    let target = format!("/hub/login?login_token=hl_{}", "A".repeat(43));
    for (path, status) in [("/x", 200), (&*target, 403), ("/y", 200)] {
        assert_eq!(Wire::connect(address).ask(get(path, &[])).status, status);
    }
    process.signal(rustix::process::Signal::TERM);
    assert!(process.ended().success());
    let lines: Vec<Value> =
        process.said().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let line = |name: &str, value: &str| {
        let mut found = lines.iter().filter(|line| line[name] == value);
        let line = found.next().unwrap_or_else(|| panic!("no {value} in {lines:#?}"));
        let id = line["request_id"].as_str().unwrap_or_default();
        assert!(found.next().is_none() && is_made(id), "{lines:#?}");
        line
    };
    let (audited, logged) = (line("event", "refused"), line("path", "/hub/login"));
    assert_eq!(audited["request_id"], logged["request_id"]);
    assert_ne!(line("path", "/x")["request_id"], logged["request_id"]);
    for line in [audited, logged] {
        assert!(line["timestamp"].is_string() && line["client_ip"] == "127.0.0.1", "the same names: {line}");
    }
}
