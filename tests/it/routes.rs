//! hublatch as the hub's own proxy: a table that the hub writes, and requests that go by it.

mod activity;
mod api;
mod forced_login;
mod healing;
mod hub_api;
mod limits;
mod model;
mod nobody;
mod process;
mod rewriting;
mod under_load;

use crate::support::requests::get;
use crate::support::{FakeHub, TestProxy, Wire};

/// A proxy with the routes `/` of the hub and `/user/alice` of a notebook.
fn house() -> (FakeHub, FakeHub, TestProxy) {
    let (hub, notebook) = (FakeHub::start(), FakeHub::start());
    let proxy = TestProxy::before(&hub).routed().start();
    proxy.add_route("/", &hub.url(), r#""hub":true,"jupyterhub":true"#);
    proxy.add_route("/user/alice", &notebook.url(), r#""user":"alice","server_name":"""#);
    (hub, notebook, proxy)
}

/// The status of a GET.
fn status(proxy: &TestProxy, target: &str, lines: &[&str]) -> u16 {
    proxy.connect().ask(get(target, lines)).status
}

#[test]
fn each_request_goes_to_the_server_of_its_route() {
    let (hub, notebook, proxy) = house();
    let mut wire = proxy.connect();
    for target in ["/user/alice/lab?x=1", "/user/alice", "/user/alice/%2Ftree", "/user/%61lice/x"] {
        assert_eq!(wire.ask(get(target, &[])).status, 200);
        assert!(notebook.seen().iter().any(|seen| seen.target == target), "{target}");
    }
    for target in ["/hub/home", "/user/alicia", "/user/al", "/x//user/alice"] {
        wire.ask(get(target, &[]));
        assert!(hub.seen().iter().any(|seen| seen.target == target), "{target}");
    }
}

#[test]
fn a_route_is_in_force_on_every_connection_when_its_201_is_there() {
    let (_hub, _notebook, proxy) = house();
    let (one, two) = (FakeHub::start(), FakeHub::start());
    let mut wires: Vec<Wire> = (0..8).map(|_| proxy.connect()).collect();
    for turn in 0..50 {
        let now = if turn % 2 == 0 { &one } else { &two };
        proxy.add_route("/user/bob", &now.url(), r#""user":"bob""#);
        for (number, wire) in wires.iter_mut().enumerate() {
            let path = format!("/user/bob/{turn}/{number}");
            assert_eq!(wire.ask(get(&path, &[])).status, 200);
            assert_eq!(now.seen_at(&path).len(), 1, "{path}");
        }
    }
}

#[test]
fn a_websocket_goes_by_its_route_and_goes_on_when_the_route_is_gone() {
    let (_hub, notebook, proxy) = house();
    notebook.on("/user/alice/ws", crate::upgrades::echo);
    let mut wire = proxy.connect();
    wire.send(crate::support::requests::websocket("/user/alice/ws", &[]));
    assert_eq!(wire.head().expect("a head").line, "HTTP/1.1 101 Switching Protocols");
    wire.send("before");
    assert_eq!(wire.take(6), b"before");
    assert_eq!(proxy.routes("DELETE", "/user/alice", "").status, 204);
    wire.send("behind");
    assert_eq!(wire.take(6), b"behind");
    // And may not: a new one finds the hub.
    assert_eq!(status(&proxy, "/user/alice/x", &[]), 200);
    assert!(notebook.seen_at("/user/alice/x").is_empty());
}

#[test]
fn a_reload_leaves_the_table_alone() {
    let (hub, notebook) = (FakeHub::start(), FakeHub::start());
    let builder = TestProxy::before(&hub).routed();
    let proxy = builder.clone().start();
    proxy.add_route("/user/alice", &notebook.url(), r#""user":"alice""#);
    proxy.reload(&builder.clone().set("limits", "head_timeout = \"3s\"")).expect("reloaded");
    assert_eq!(status(&proxy, "/user/alice/x", &[]), 200);
    assert_eq!(notebook.seen_at("/user/alice/x").len(), 1);
    // What is bound at the start is refused, and nothing else of it comes into force.
    assert!(proxy.reload(&builder.set("routes", "api_listen = \"127.0.0.1:1\"")).is_err());
}

#[test]
fn a_kept_table_is_there_after_a_restart_and_a_damaged_file_is_an_empty_one() {
    let (hub, notebook) = (FakeHub::start(), FakeHub::start());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("routes.json");
    let builder = TestProxy::before(&hub).routed().set("routes", &format!("state = {file:?}"));
    let proxy = builder.clone().start();
    proxy.add_route("/user/alice", &notebook.url(), r#""user":"alice""#);
    drop(proxy);
    let proxy = builder.clone().start();
    assert_eq!(status(&proxy, "/user/alice/x", &[]), 200);
    assert_eq!(notebook.seen_at("/user/alice/x").len(), 1);
    drop(proxy);
    std::fs::write(&file, "[{\"key\":\"/user").unwrap();
    let proxy = builder.start();
    assert_eq!(proxy.routes("GET", "", "").body, b"{}");
}

#[test]
fn a_kept_route_of_the_hub_is_not_undone_by_the_default_target_and_that_one_is_not_kept() {
    let (hub, other, dir) = (FakeHub::start(), FakeHub::start(), tempfile::tempdir().unwrap());
    let state = format!("state = {:?}", dir.path().join("routes.json"));
    let without = TestProxy::before(&hub).routed().set("routes", &state);
    let builder = without.clone().set("routes", &format!("default_target = {:?}", other.url()));
    let root = |proxy: &TestProxy| {
        let table: serde_json::Value = serde_json::from_slice(&proxy.routes("GET", "", "").body).unwrap();
        (table["/"]["target"].as_str().map(str::to_owned), table["/"]["hub"] == true)
    };
    let proxy = builder.clone().start();
    assert_eq!(root(&proxy), (Some(other.url()), false));
    drop(proxy);
    // One that was in force by an earlier configuration.
    assert_eq!(root(&without.start()), (None, false));
    let proxy = builder.clone().start();
    proxy.add_route("/", &hub.url(), r#""hub":true"#);
    drop(proxy);
    assert_eq!(root(&builder.start()), (Some(hub.url()), true));
}

#[test]
fn a_reload_of_the_hubs_address_is_in_force_for_the_routes_that_come_and_that_are_there() {
    let (hub, moved, notebook) = (FakeHub::start(), FakeHub::start(), FakeHub::start());
    let builder = TestProxy::before(&hub).routed();
    let proxy = builder.clone().pinned(&hub.url()).start();
    let write = |to: &FakeHub| {
        proxy.routes("POST", "/", &format!("{{\"target\":{:?},\"hub\":true}}", to.url())).status
    };
    assert_eq!((write(&hub), write(&moved)), (201, 409));
    let has_root = || {
        let table: serde_json::Value = serde_json::from_slice(&proxy.routes("GET", "", "").body).unwrap();
        table["/"].is_object()
    };
    proxy.add_route("/user/alice", &notebook.url(), r#""user":"alice""#);
    proxy.reload(&builder.clone().pinned(&moved.url())).expect("reloaded");
    // A login must not go on to where the hub is not any more; what is a user's stays.
    assert!(!has_root());
    assert_eq!(status(&proxy, "/user/alice/x", &[]), 200);
    assert_eq!((write(&hub), write(&moved)), (409, 201));
    // The same address once more changes nothing.
    proxy.reload(&builder.clone().pinned(&moved.url())).expect("reloaded");
    assert!(has_root());
    proxy.reload(&builder).expect("reloaded");
    assert!(has_root());
    assert_eq!(write(&hub), 201);
}

#[test]
fn where_the_hubs_route_is_taken_out_the_default_target_is_in_its_place() {
    let (hub, moved) = (FakeHub::start(), FakeHub::start());
    let target = format!("default_target = {:?}", moved.url());
    let builder = TestProxy::before(&hub).routed().set("routes", &target);
    let proxy = builder.clone().start();
    proxy.add_route("/", &hub.url(), r#""hub":true"#);
    proxy.reload(&builder.pinned(&moved.url())).expect("reloaded");
    assert_eq!(status(&proxy, "/hub/home", &[]), 200);
    assert_eq!((hub.seen_at("/hub/home").len(), moved.seen_at("/hub/home").len()), (0, 1));
}

#[test]
fn what_of_the_routes_needs_a_restart_is_named_as_long_as_it_does() {
    let hub = FakeHub::start();
    let builder = TestProxy::before(&hub).routed();
    let proxy = builder.clone().start();
    let needs_restart = || {
        let told = proxy.links().call("GET", "/api/v1/info", &[], "").json();
        told["configuration"]["needs_restart"].clone()
    };
    let dir = tempfile::tempdir().unwrap();
    let keys = format!(
        "host_routing = true\nstate = {:?}\ndefault_target = \"http://127.0.0.1:9\"",
        dir.path().join("routes.json")
    );
    let changed = builder.clone().set("routes", &keys);
    for _ in 0..2 {
        proxy.reload(&changed).expect("reloaded");
        let named = ["routes.host_routing", "routes.state", "routes.default_target"];
        assert_eq!(needs_restart(), serde_json::json!(named));
    }
    proxy.reload(&builder).expect("reloaded");
    assert_eq!(needs_restart(), serde_json::json!([]));
}

#[test]
fn a_table_that_an_earlier_version_has_kept_is_there_after_an_upgrade() {
    let made: serde_json::Value =
        serde_json::from_str(include_str!("../data/earlier/routes.json")).expect("what make.py writes");
    let (hub, dir) = (FakeHub::start(), tempfile::tempdir().unwrap());
    let file = dir.path().join("routes.json");
    std::fs::write(&file, made["it"].to_string()).unwrap();
    let proxy = TestProxy::before(&hub).routed().set("routes", &format!("state = {file:?}")).start();
    let table: serde_json::Value = serde_json::from_slice(&proxy.routes("GET", "", "").body).unwrap();
    assert_eq!(table["/user/ada"]["user"], "ada");
    assert_eq!(table["/services/docs"]["target"], "http://127.0.0.1:9/");
    assert_eq!(table["/user/ada"]["target"], "http://127.0.0.1:7/");
}

#[test]
fn the_routes_of_each_kind_are_counted() {
    let (_hub, _notebook, proxy) = house();
    proxy.add_route("/user/bob", "http://127.0.0.1:9", r#""user":"bob""#);
    proxy.add_route("/extra", "http://127.0.0.1:9", "");
    let told = |numbers: [u8; 4]| {
        let text =
            Wire::connect(proxy.management()).ask("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").text();
        for (kind, number) in ["hub", "user", "service", "extra"].iter().zip(numbers) {
            let line = format!("hublatch_routes{{kind=\"{kind}\"}} {number}\n");
            assert!(text.contains(&line), "no {line} in {text}");
        }
    };
    told([1, 2, 0, 1]);
    assert_eq!(proxy.routes("DELETE", "/user/bob", "").status, 204);
    told([1, 1, 0, 1]);
}
