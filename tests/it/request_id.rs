//! `X-Request-Id`: each request has one, and only a trusted proxy can choose it.

use crate::support::requests::get;
use crate::support::{FakeHub, TestProxy};

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
fn each_request_has_one_of_its_own_and_a_clients_counts_for_nothing() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let ids: std::collections::HashSet<String> =
        (0..5).map(|_| told(&hub, &proxy, &["X-Request-Id: chosen"])).collect();
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
