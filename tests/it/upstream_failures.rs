//! A hub that is gone, silent, dies or talks nonsense: a clear answer or an aborted one, never a wrong one.

mod broken;
mod interim;
mod pool;
mod silence;

use crate::support::hub::absent;
use crate::support::message::latin1;
use crate::support::requests::{get, sized, websocket};
use crate::support::{FakeHub, TestProxy, Then};

#[test]
fn a_hub_that_is_not_there_is_a_bad_gateway_and_the_browser_may_ask_again() {
    let (_held, url) = absent();
    let proxy = TestProxy::before_url(&url).start();
    let mut wire = proxy.connect();
    for request in [get("/x", &[]), sized("POST", "/x", &[], "body"), sized("DELETE", "/x", &[], "body")] {
        let answer = wire.ask(request);
        assert_eq!((answer.status, answer.headers.get("cache-control")), (502, Some("no-store")));
        assert!(answer.headers.get("content-type").is_some_and(|kind| kind.starts_with("text/html")));
        // Where the hub should be is nobody's business.
        assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
    }
    assert_eq!(wire.ask(websocket("/x", &[])).status, 502);
    assert_eq!(proxy.metric("hublatch_upstream_errors_total{reason=\"connect\"}"), 4);
    assert_eq!(proxy.metric("hublatch_requests_total{code=\"5xx\",protocol=\"http/1.1\"}"), 4);
}

#[test]
fn a_program_gets_the_failure_as_json() {
    let (_held, url) = absent();
    let proxy = TestProxy::before_url(&url).start();
    for line in ["Accept: application/json", "Sec-Fetch-Mode: cors"] {
        let answer = proxy.connect().ask(get("/user/alice/api/contents", &[line]));
        let json = answer.json();
        assert_eq!((answer.status, json["status"].as_u64()), (502, Some(502)), "{line}");
        assert!(json["code"].is_string() && json["message"].is_string(), "{json}");
    }
}

#[test]
fn a_hub_that_comes_back_is_found_at_once() {
    let (socket, url) = absent();
    let proxy = TestProxy::before_url(&url).start();
    let mut wire = proxy.connect();
    assert_eq!(wire.ask(get("/x", &[])).status, 502);
    socket.listen(128).expect("listen");
    let hub = FakeHub::on_listener(socket.into());
    assert_eq!(wire.ask(get("/x", &[])).status, 200);
    drop(hub);
}

#[test]
fn a_dead_hub_of_a_name_that_does_not_resolve_is_a_bad_gateway() {
    let proxy = TestProxy::before_url("http://does-not-exist.invalid:8000").start();
    assert_eq!(proxy.connect().ask(get("/x", &[])).status, 502);
}

#[test]
fn one_dead_request_does_not_disturb_the_others() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on("/dies", |_| Then::Close);
    let mut wire = proxy.connect();
    for number in 0..10 {
        assert_eq!(wire.ask(get("/dies", &[])).status, 502, "{number}");
        let answer = wire.ask(get("/lives", &[]));
        assert_eq!(latin1(&answer.body), "GET /lives HTTP/1.1", "{number}");
    }
}
