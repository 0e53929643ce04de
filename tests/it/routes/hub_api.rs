//! The listener of notebooks and services: the Hub API and nothing else.

use crate::support::message::folded;
use crate::support::requests::get;
use crate::support::tables::lines;
use crate::support::{FakeHub, TestProxy, Wire};

#[test]
fn a_notebook_gets_the_hub_api_alone_and_no_identity_through() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).routed().set("routes", "hub_api_listen = \"127.0.0.1:0\"").start();
    let mut wire = Wire::connect(proxy.hub_api());
    assert_eq!(wire.ask(get("/hub/api/", &[])).status, 503, "there is no hub yet");
    proxy.add_route("/", &hub.url(), r#""hub":true"#);
    proxy.add_route("/user/alice", &hub.url(), r#""user":"alice""#);
    let before = hub.seen().len();
    for target in [
        "/hub/login",
        "/hub/login?login_token=x",
        "/hub/home",
        "/hub/apiary",
        "/user/alice/x",
        "/",
        "//hub/api/",
        "/hub/%61pi/",
    ] {
        assert_eq!(
            Wire::connect(proxy.hub_api()).ask(get(target, &["Accept: application/json"])).status,
            404,
            "{target}"
        );
    }
    assert_eq!(Wire::connect(proxy.hub_api()).ask(get("/hub/api/../login", &[])).status, 400);
    assert_eq!(hub.seen().len(), before);
    // A server that starts asks for this one before all.
    assert_eq!(wire.ask(get("/hub/api", &[])).status, 200);
    assert_eq!(hub.only("/hub/api").target, "/hub/api");
    for name in lines("identity_headers.txt") {
        assert_eq!(wire.ask(get("/hub/api/x", &[&format!("{name}: mallory")])).status, 200, "{name}");
    }
    let folded_names = |seen: &crate::support::Seen| {
        seen.headers.0.iter().any(|(name, _)| folded(name).contains("remote_user"))
    };
    assert!(!hub.seen().iter().any(folded_names));
}
