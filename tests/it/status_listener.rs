//! `[status] listen`: what probes and scrapers from elsewhere get, and what they do not.

use std::sync::Arc;

use hublatch::store::TokenStore;
use jiff::SignedDuration;

use crate::support::faulty_store::FaultyStore;
use crate::support::requests::{get, request};
use crate::support::{FakeHub, TestProxy, Wire};

#[test]
fn probes_and_scrapers_are_answered_and_nothing_else_is_there() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("status", "listen = \"127.0.0.1:0\"").start();
    let ask = |text: Vec<u8>| Wire::connect(proxy.status()).ask(text);
    for path in ["/live", "/ready", "/metrics"] {
        // By whatever name they come: a pod's address, a Service.
        let named = String::from_utf8_lossy(&get(path, &[])).replace("hub.test", "10.1.2.3:9100");
        assert_eq!(ask(named.into_bytes()).status, 200, "{path}");
    }
    assert!(ask(get("/metrics", &[])).text().contains("hublatch_build"), "metrics");
    for path in
        ["/", "/health", "/api/v1/info", "/api/v1/links", "/login", "/oauth2/token", "/ready/", "/hub/login"]
    {
        assert_eq!(ask(get(path, &[])).status, 404, "{path}");
    }
    assert_eq!(ask(request("POST", "/live", &["Content-Length: 0"])).status, 405);
    hub.forget();
    assert_eq!(ask(get("/user/alice/", &[])).status, 404);
    assert_eq!(hub.seen().len(), 0, "no way to the hub");
}

#[test]
fn a_store_whose_clock_differs_is_ready_and_says_so() {
    let hub = FakeHub::start();
    let store = Arc::new(FaultyStore::new());
    let proxy = TestProxy::before(&hub)
        .set("status", "listen = \"127.0.0.1:0\"")
        .store(Arc::clone(&store) as Arc<dyn TokenStore>)
        .start();
    for (ahead, said) in [
        (0, "ok"),
        (2, "ok"),
        (7, "ok, but its clock is 7 s ahead of ours; both need NTP"),
        (-3600, "ok, but its clock is 3600 s behind ours; both need NTP"),
    ] {
        store.run_ahead(SignedDuration::from_secs(ahead));
        let answer = Wire::connect(proxy.status()).ask(get("/ready", &[]));
        assert_eq!((answer.status, answer.json()["store"].as_str()), (200, Some(said)), "{ahead}");
    }
}
