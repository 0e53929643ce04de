//! Requests that find nobody: no route, or a server that is not there.

use std::time::Instant;

use super::house;
use crate::support::hub::absent;
use crate::support::requests::{get, websocket};
use crate::support::{FakeHub, TestProxy};

const PERSON: &str = "Accept: text/html,application/xhtml+xml,*/*;q=0.8";

/// A proxy whose error target is a server of its own, and the route `/user/dead` to nobody.
fn with_errors() -> (FakeHub, TestProxy, socket2::Socket) {
    let errors = FakeHub::start();
    for code in [404, 503] {
        errors.on(&format!("/hub/error/{code}"), move |exchange| {
            exchange.read_body();
            exchange.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 8\r\n\r\npage-{code}"
            ));
            crate::support::Then::Next
        });
    }
    let hub = FakeHub::start();
    let target = format!("error_target = \"{}/hub/error\"", errors.url());
    let proxy = TestProxy::before(&hub).routed().set("routes", &target).start();
    let (hold, url) = absent();
    proxy.add_route("/user/dead", &url, r#""user":"dead""#);
    (errors, proxy, hold)
}

#[test]
fn a_person_sees_the_page_of_the_error_target_and_it_sees_nothing_of_hers() {
    let (errors, proxy, _hold) = with_errors();
    let lines = [PERSON, "Cookie: secret=1", "Authorization: token x", "REMOTE_USER: mallory"];
    for (path, status) in [("/nowhere?a=1&login_token=t", 404), ("/user/dead/lab", 503)] {
        let answer = proxy.connect().ask(get(path, &lines));
        assert_eq!((answer.status, answer.body.as_slice()), (status, format!("page-{status}").as_bytes()));
    }
    let seen = errors.seen();
    let targets: Vec<&str> = seen.iter().map(|seen| seen.target.as_str()).collect();
    assert_eq!(targets, ["/hub/error/404?url=%2Fnowhere%3Fa%3D1", "/hub/error/503?url=%2Fuser%2Fdead%2Flab"]);
    for seen in &seen {
        let names: Vec<&str> = seen.headers.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["host"], "{seen:?}");
    }
}

#[test]
fn a_storm_at_a_dead_notebook_asks_the_error_target_once_and_programs_not_at_all() {
    let (errors, proxy, _hold) = with_errors();
    let mut wire = proxy.connect();
    let begun = Instant::now();
    for number in 0..300 {
        assert_eq!(wire.ask(get(format!("/user/dead/{number}"), &[PERSON])).status, 503);
        let answer = wire.ask(get("/user/dead/api/kernels", &["Accept: */*"]));
        assert_eq!((answer.status, answer.headers.get("retry-after")), (503, Some("5")));
        let message: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert!(message["message"].is_string());
    }
    // One for each ten seconds that have begun.
    assert!(errors.seen().len() as u64 <= 1 + begun.elapsed().as_secs() / 10, "{}", errors.seen().len());
}

#[test]
fn a_page_that_repeats_what_was_asked_for_is_not_shown_to_others() {
    let (errors, proxy, _hold) = with_errors();
    errors.on("/hub/error/404", |exchange| {
        let url = exchange.seen.query().replace("url=", "").replace("%2F", "/");
        exchange.answer("200 OK", url)
    });
    for path in ["/of/alice", "/of/bob"] {
        assert_eq!(proxy.connect().ask(get(path, &[PERSON])).body, path.as_bytes());
    }
}

#[test]
fn a_websocket_that_finds_nobody_gets_a_bare_status_and_the_end() {
    let (errors, proxy, _hold) = with_errors();
    for (path, status) in [("/user/dead/ws", "503"), ("/nowhere", "404")] {
        let mut wire = proxy.connect();
        wire.send(websocket(path, &[]));
        let head = wire.head().expect("a head");
        assert!(head.line.contains(status), "{head:?}");
        assert!(wire.is_ended());
    }
    assert!(errors.seen().is_empty());
}

#[test]
fn a_server_that_comes_back_is_found_and_one_that_dies_is_503_and_not_502() {
    let (_hub, _notebook, proxy) = house();
    let notebook = FakeHub::start();
    proxy.add_route("/user/bob", &notebook.url(), r#""user":"bob""#);
    notebook.on("/user/bob/dies", |_| crate::support::Then::Close);
    let mut wire = proxy.connect();
    assert_eq!(wire.ask(get("/user/bob/dies", &["Accept: application/json"])).status, 503);
    assert_eq!(wire.ask(get("/user/bob/lives", &[])).status, 200);
}

#[test]
fn the_sign_of_life_of_configurable_http_proxy_is_there_and_only_there() {
    let (hub, _notebook, proxy) = house();
    let answer = proxy.connect().ask(get("/_chp_healthz", &[]));
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"{\"status\":\"OK\"}"[..]));
    proxy.connect().ask(get("/_chp_healthz/x", &[]));
    assert_eq!(hub.seen().len(), 1);
}
