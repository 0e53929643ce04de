//! `/ready` and the metrics follow the store: gone and back, full and empty again.

use std::io::Write as _;
use std::path::Path;

use hublatch::clock::{Clock as _, SystemClock};

use crate::server::{RedisServer, until};
use crate::support::{Answer, FakeHub, TestProxy};

fn get(proxy: &TestProxy, path: &str) -> Answer {
    proxy.links().call("GET", path, &[], "")
}

/// The value of a metric in what `/metrics` answers.
fn metric(proxy: &TestProxy, name: &str) -> f64 {
    let text = get(proxy, "/metrics").text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
}

#[test]
#[ignore = "needs redis-server"]
fn without_redis_nothing_is_issued_or_redeemed_and_all_is_well_when_it_is_back() {
    let (hub, mut redis) = (FakeHub::start(), RedisServer::start());
    let url = format!("url = \"redis://127.0.0.1:{}\"", redis.port());
    let builder = TestProxy::before(&hub).set("store", &url);
    let (proxy, idle) = (builder.another(), builder.another());
    assert_eq!(get(&proxy, "/ready").status, 200);
    let link = proxy.link("alice");
    assert!(
        (metric(&idle, "hublatch_links_live") - 1.0).abs() < f64::EPSILON,
        "also one that has done nothing"
    );

    redis.kill();
    until("it is told", || get(&proxy, "/ready").status == 503);
    let said = get(&proxy, "/ready").json();
    assert!(said["store"].as_str().is_some_and(|store| store.contains("Redis")), "{said}");
    assert_eq!((said["hub"].as_str(), get(&proxy, "/health").status), (Some("ok"), 200));
    let order = serde_json::json!({ "username": "alice" }).to_string();
    assert_eq!(proxy.links().call("POST", "/api/v1/links", &[], order).status, 503);
    let refused = proxy.browser().get(&link.target());
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(hub.seen_at("/hub/login").is_empty());
    for name in ["insert", "find", "ping"] {
        assert!(
            metric(&proxy, &format!("hublatch_store_errors_total{{operation=\"{name}\"}}")) >= 1.0,
            "{name}"
        );
    }

    redis.start_again();
    until("it is ready", || get(&proxy, "/ready").status == 200);
    let new = proxy.link("alice");
    assert_eq!(proxy.browser().get(&new.target()).status, 302);
    assert_eq!(hub.seen_at("/hub/login").len(), 1);
}

/// Called on a disk of 8 MB by `disk.rs`, which no other test may run on.
pub fn a_full_disk_is_told(disk: &Path) {
    let hub = FakeHub::start();
    let path = disk.join("tokens.redb");
    let url = format!("url = \"redb://{}\"", path.display());
    let proxy = TestProxy::before(&hub).set("store", &url).set("login", "lifetime = \"5m\"").start();
    let link = proxy.link("alice");
    let ballast = disk.join("ballast");
    let mut filling = std::fs::File::create(&ballast).expect("a file");
    let order = serde_json::json!({ "username": "alice" }).to_string();
    let issue = || proxy.links().call("POST", "/api/v1/links", &[], &order).status;
    // Whatever is free is taken, until the file cannot grow for another link.
    let mut issued = 0;
    while issue() == 201 {
        for piece in [64 * 1024, 4096] {
            while filling.write_all(&vec![1; piece]).is_ok() {}
        }
        issued += 1;
        assert!(issued < 5000, "the disk is full some time");
    }
    println!("full after {issued} links");
    until("it is told", || get(&proxy, "/ready").status == 503);
    assert_eq!(issue(), 503);
    assert_eq!(proxy.browser().get(&link.target()).status, 503, "nobody is logged in");
    assert!(hub.seen_at("/hub/login").is_empty());
    assert_eq!(get(&proxy, "/health").status, 200);

    drop(filling);
    std::fs::remove_file(&ballast).expect("removed");
    until("it is ready", || get(&proxy, "/ready").status == 200);
    assert_eq!(proxy.browser().get(&link.target()).status, 302, "at {}", SystemClock::new().now().wall);
}
