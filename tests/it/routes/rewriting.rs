//! What becomes of a request's path and headers on its way to the target of a route.

use crate::support::requests::get;
use crate::support::{FakeHub, TestProxy};

/// A proxy with these keys of `[routes]`, and one server.
fn with(keys: &str) -> (FakeHub, TestProxy) {
    let server = FakeHub::start();
    (server, TestProxy::before(&FakeHub::start()).routed().set("routes", keys).start())
}

/// What the server sees of a GET of `path`.
fn seen(server: &FakeHub, proxy: &TestProxy, path: &str) -> String {
    server.forget();
    assert_eq!(proxy.connect().ask(get(path, &[])).status, 200, "{path}");
    server.seen()[0].target.clone()
}

#[test]
fn the_path_of_a_target_comes_before_that_of_the_request() {
    let (server, proxy) = with("");
    proxy.add_route("/a", &format!("{}/pre/fix/", server.url()), "");
    proxy.add_route("/q", &format!("{}/?k=v", server.url()), "");
    for (path, wanted) in [
        ("/a/x?y=1", "/pre/fix/a/x?y=1"),
        ("/a", "/pre/fix/a"),
        ("/a/%2F%20", "/pre/fix/a/%2F%20"),
        ("/q/x", "/q/x?k=v"),
        ("/q/x?y=1", "/q/x?k=v&y=1"),
    ] {
        assert_eq!(seen(&server, &proxy, path), wanted);
    }
}

#[test]
fn without_its_prefix_a_request_begins_behind_the_route() {
    let (server, proxy) = with("include_prefix = false");
    proxy.add_route("/a%20b", &server.url(), "");
    proxy.add_route("/c", &format!("{}/pre", server.url()), "");
    proxy.add_route("/", &server.url(), "");
    for (path, wanted) in [
        ("/a%20b/r%65st?y", "/r%65st?y"),
        ("/%61%20b", "/"),
        ("/c/x", "/pre/x"),
        ("/c", "/pre"),
        ("/other/x", "/other/x"),
    ] {
        assert_eq!(seen(&server, &proxy, path), wanted, "{path}");
    }
}

#[test]
fn the_path_of_a_target_may_be_left_out() {
    let (server, proxy) = with("prepend_path = false");
    proxy.add_route("/a", &format!("{}/pre", server.url()), "");
    assert_eq!(seen(&server, &proxy, "/a/x"), "/a/x");
}

#[test]
fn a_custom_header_wins_over_the_clients_and_the_host_stays() {
    let (server, proxy) = with("custom_headers = [\"X-Ours: yes\", \"X-Frame-Options: DENY\"]");
    proxy.add_route("/", &server.url(), "");
    proxy.connect().ask(get("/x", &["X-Ours: no", "X-Ours: neither"]));
    let seen = &server.seen()[0];
    assert_eq!(seen.headers.get("x-ours"), Some("yes"));
    assert_eq!(seen.headers.get("x-frame-options"), Some("DENY"));
    assert_eq!(seen.headers.get("host"), Some("hub.test"));
}

#[test]
fn a_target_that_is_no_url_is_taken_and_nobody_is_reached() {
    let (_, proxy) = with("");
    proxy.add_route("/a", "nonsense", "");
    assert_eq!(proxy.connect().ask(get("/a", &["Accept: application/json"])).status, 500);
}
