//! `/metrics`: what is told before anything has happened, and in which form.

use hublatch::clock::{Clock as _, SystemClock};

use crate::support::{FakeHub, TestProxy, Then};

fn text(proxy: &TestProxy, accept: &str) -> (String, String) {
    let answer = proxy.links().call("GET", "/metrics", &[("Accept", accept)], "");
    (answer.headers.get("content-type").unwrap_or_default().to_owned(), answer.text().to_owned())
}

#[test]
fn every_closed_list_of_labels_starts_at_zero() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for series in [
        "hublatch_links_refused_total{reason=\"expired\"}",
        "hublatch_links_refused_total{reason=\"hub_unavailable\"}",
        "hublatch_handshakes_total{result=\"failed\",version=\"\",protocol=\"\"}",
        "hublatch_handshakes_total{result=\"ok\",version=\"1.3\",protocol=\"h2\"}",
        "hublatch_hub_api_calls_total{call=\"create_user\",result=\"answered\"}",
        "hublatch_hub_api_calls_total{call=\"whoami\",result=\"timed_out\"}",
        "hublatch_hub_api_calls_total{call=\"end_sessions\",result=\"answered\"}",
    ] {
        let line = format!("{series} 0");
        let (_, text) = text(&proxy, "*/*");
        assert!(text.lines().any(|each| each == line), "{line} in {text}");
    }
}

#[test]
fn the_hub_and_the_store_are_up_or_not() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let gauges = |proxy: &TestProxy| {
        let (_, text) = text(proxy, "*/*");
        ["hublatch_hub_up", "hublatch_store_up", "hublatch_config_last_reload_success"].map(|name| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<i64>().ok());
            value.unwrap_or_else(|| panic!("no {name} in {text}"))
        })
    };
    assert_eq!(gauges(&proxy), [1, 1, 1]);
    let dead = FakeHub::start();
    dead.on("/hub/api/", |_| Then::Close);
    assert_eq!(gauges(&TestProxy::start(&dead)), [0, 1, 1]);
    let store = std::sync::Arc::new(crate::api::broken_store::BrokenStore);
    assert_eq!(gauges(&TestProxy::before(&hub).store(store).start()), [1, 0, 1]);
}

#[test]
fn a_scraper_that_reads_only_the_older_text_gets_it() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for accept in ["text/plain;version=0.0.4;q=1,*/*;q=0.1", "text/plain"] {
        let (kind, text) = text(&proxy, accept);
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8", "{accept}");
        assert!(text.contains("# TYPE hublatch_links_issued_total counter\n"), "{text}");
        assert!(text.contains("# TYPE hublatch_build_info gauge\n") && !text.contains("# EOF"), "{text}");
        let start = text.lines().find_map(|line| line.strip_prefix("process_start_time_seconds "));
        let now = SystemClock::new().now().wall.as_duration().as_secs_f64();
        let age = now - start.expect("a time").parse::<f64>().unwrap();
        assert!((-2.0..3600.0).contains(&age), "{age}");
    }
    for accept in ["*/*", "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2"] {
        let (kind, text) = text(&proxy, accept);
        assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8", "{accept}");
        assert!(text.ends_with("# EOF\n"));
    }
}
