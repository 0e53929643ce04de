//! Reload: another configuration comes into force as a whole and at once, or not at all; connections stay.

mod bad_files;
mod clicks;
mod hub_tokens;
mod process;
mod stale;
mod tls;

use std::fs;

use aws_lc_rs::rand::SystemRandom;
use hublatch::app::ReloadError;
use hublatch::token::AppKey;
use serde_json::{Value, json};

use crate::redeem::click;
use crate::support::proxy::wait_until;
use crate::support::requests::{get, websocket};
use crate::support::{FakeHub, Links, PATIENCE, TestProxy, Then, Wire};

fn key() -> AppKey {
    AppKey::generate(&SystemRandom::new()).expect("random bytes")
}

/// A hub whose own login page can be told from ours.
fn hub_with_a_login() -> FakeHub {
    let hub = FakeHub::start();
    hub.on("/hub/login", |exchange| exchange.answer("200 OK", "the hub's own"));
    hub
}

fn info(proxy: &TestProxy) -> Value {
    proxy.links().call("GET", "/api/v1/info", &[], "").json()
}

/// The status of an order with `key`.
fn order(proxy: &TestProxy, key: &str) -> u16 {
    let order = json!({ "username": "alice" }).to_string();
    Links::new(proxy.management(), key).call("POST", "/api/v1/links", &[], order).status
}

#[test]
fn a_new_rule_is_in_force_for_the_next_request_of_a_connection_that_stays_open() {
    let hub = hub_with_a_login();
    let builder = TestProxy::before(&hub);
    let proxy = builder.clone().start();
    let mut wire = proxy.connect();
    let login = get("/hub/login", &[]);
    assert_eq!(wire.ask(&login).status, 403, "our page");
    proxy.reload(&builder.set("login", "without_token = \"forward\"")).unwrap();
    assert_eq!(wire.ask(&login).text(), "the hub's own");
}

#[test]
fn a_request_under_way_ends_as_it_began() {
    let hub = FakeHub::start();
    let builder = TestProxy::before(&hub);
    let proxy = builder.clone().start();
    let gate = crate::support::Gate::new();
    let waiting = gate.clone();
    hub.on("/slow", move |exchange| {
        waiting.pass();
        exchange.answer("200 OK", "slow")
    });
    let mut wire = proxy.connect();
    wire.send(get("/slow", &[]));
    hub.wait_for_path("/slow");
    proxy.reload(&builder.set("limits", "idle_timeout = \"60s\"")).unwrap();
    gate.open();
    let answer = wire.answer_to("GET").expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "slow"));
    assert_eq!(wire.ask(get("/after", &[])).status, 200, "and the connection goes on");
}

#[test]
fn another_hub_is_asked_from_then_on() {
    let (one, two) = (FakeHub::start(), FakeHub::start());
    let proxy = TestProxy::before_url(&one.url()).start();
    let other = TestProxy::before_url(&two.url());
    let mut wire = proxy.connect();
    assert_eq!(wire.ask(get("/x", &[])).status, 200);
    proxy.reload(&other).unwrap();
    assert_eq!(wire.ask(get("/x", &[])).status, 200);
    assert_eq!((one.seen_at("/x").len(), two.seen_at("/x").len()), (1, 1));
    one.wait_for_open(0);
}

#[test]
fn the_links_of_an_app_that_is_gone_are_dead_at_once_and_so_is_its_key() {
    let hub = FakeHub::start();
    let other = key();
    let rooms = format!("[[apps]]\nname = \"rooms\"\nkeys = [\"{}\"]", other.digest());
    let builder = TestProxy::before(&hub);
    let proxy = builder.clone().toml(&rooms).start();
    let links = Links::new(proxy.management(), other.expose());
    let (link, kept) = (links.issue(&json!({ "username": "alice" })), proxy.link("bob"));
    proxy.reload(&builder).unwrap();
    assert_eq!(order(&proxy, other.expose()), 401);
    assert_eq!(click(&proxy, &link).status, 403);
    assert_eq!(click(&proxy, &kept).status, 302, "another app's link works on");
    let refused = proxy
        .audit()
        .into_iter()
        .find(|line| line["event"] == "refused" && line["reason"].is_string())
        .expect("a refusal");
    assert_eq!((refused["reason"].as_str(), refused["app"].as_str()), (Some("not_allowed"), Some("rooms")));
}

#[test]
fn links_of_before_are_judged_by_the_rules_of_now() {
    let hub = FakeHub::start();
    let builder = TestProxy::before(&hub);
    let proxy = builder.clone().start();
    let (alice, bob) = (proxy.link("alice"), proxy.link("bob"));
    proxy.reload(&builder.portal("deny_usernames = [\"alice\"]")).unwrap();
    assert_eq!((click(&proxy, &alice).status, click(&proxy, &bob).status), (403, 302));
}

#[test]
fn what_is_counted_goes_on_counting() {
    let hub = FakeHub::start();
    let builder = TestProxy::before(&hub).portal("max_live_links = 2");
    let proxy = builder.clone().start();
    assert_eq!((order(&proxy, proxy.key()), order(&proxy, proxy.key())), (201, 201));
    proxy.reload(&builder.clone()).unwrap();
    assert_eq!(order(&proxy, proxy.key()), 429, "the links of before are still alive");
    assert_eq!(proxy.metric("hublatch_links_issued_total"), 2);
}

#[test]
fn a_tunnel_stays_open_and_a_logout_after_the_reload_still_finds_it() {
    let hub = FakeHub::start();
    hub.on("/user/alice/socket", |exchange| {
        exchange
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        exchange.wire.stop_recording();
        while exchange.wire.fill() {
            let bytes = exchange.wire.pending();
            exchange.send(bytes);
        }
        Then::Close
    });
    hub.on("/hub/logout", |exchange| {
        exchange.answer("200 OK\r\nSet-Cookie: jupyterhub-session-id=\"\"; Path=/", "bye")
    });
    let builder = TestProxy::before(&hub);
    let proxy = builder.clone().start();
    let mut socket: Wire = proxy.connect();
    socket.send(websocket("/user/alice/socket", &["Cookie: jupyterhub-session-id=0f"]));
    assert_eq!(socket.head().expect("an answer").line, "HTTP/1.1 101 Switching Protocols");
    proxy.reload(&builder.set("limits", "tunnel_idle_timeout = \"2h\"")).unwrap();
    socket.send("after the reload");
    assert_eq!(socket.take(16), b"after the reload");
    assert_eq!(proxy.metric("hublatch_tunnels"), 1);
    assert_eq!(proxy.connect().ask(get("/hub/logout", &["Cookie: jupyterhub-session-id=0f"])).status, 200);
    assert!(socket.is_ended());
}

#[test]
fn addresses_cannot_change_and_nothing_else_of_such_a_file_does() {
    let hub = FakeHub::start();
    let builder = TestProxy::before(&hub);
    let proxy = builder.clone().start();
    let moved = builder.clone().set("public", "listen = \"127.0.0.2:0\"").set("login", "lifetime = \"1m\"");
    match proxy.reload(&moved) {
        Err(ReloadError::Addresses(keys)) => assert_eq!(keys, ["public.listen"]),
        other => panic!("{other:?}"),
    }
    assert_eq!(info(&proxy)["lifetime"], 30);
    assert_eq!(info(&proxy)["configuration"]["last_reload"]["result"], "refused");
    assert_eq!(proxy.metric("hublatch_reloads_total{result=\"refused\"}"), 1);
    assert_eq!(proxy.metric("hublatch_config_last_reload_success"), 0);
    proxy.reload(&builder.set("login", "lifetime = \"1m\"")).unwrap();
    assert_eq!(info(&proxy)["lifetime"], 60);
    assert_eq!(proxy.metric("hublatch_reloads_total{result=\"reloaded\"}"), 1);
    assert_eq!(proxy.metric("hublatch_config_last_reload_success"), 1);
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_is_in_force() {
    let hub = FakeHub::start();
    let builder = TestProxy::before(&hub);
    let proxy = builder.clone().start();
    let changed = builder
        .clone()
        .set("public", "threads = 3")
        .set("store", "max_tokens = 1")
        .set("log", "level = \"error\"")
        .set("login", "lifetime = \"1m\"");
    proxy.reload(&changed).unwrap();
    let told = info(&proxy);
    assert_eq!(told["lifetime"], 60);
    assert_eq!(told["configuration"]["needs_restart"], json!(["public.threads", "store", "log.level"]));
    let orders = || (order(&proxy, proxy.key()), order(&proxy, proxy.key()));
    assert_eq!(orders(), (201, 201), "the store holds what it did");
    // Still so after the next one, and over when the old values are back.
    proxy.reload(&changed).unwrap();
    assert_eq!(
        info(&proxy)["configuration"]["needs_restart"],
        json!(["public.threads", "store", "log.level"])
    );
    proxy.reload(&builder).unwrap();
    assert_eq!(info(&proxy)["configuration"]["needs_restart"], json!([]));
}

#[test]
fn limits_are_those_of_today_for_connections_that_come() {
    let hub = FakeHub::start();
    let builder = TestProxy::before(&hub);
    let proxy = builder.clone().start();
    let mut before = proxy.connect();
    assert_eq!(before.ask(get("/x", &[])).status, 200);
    proxy.reload(&builder.set("limits", "connections = 1\nhead_bytes = \"8KiB\"")).unwrap();
    assert!(proxy.connect().is_ended(), "there is one already");
    assert_eq!(proxy.metric("hublatch_connections_refused_total{reason=\"limit\"}"), 1);
    let long = format!("X-Long: {}", "a".repeat(16 * 1024));
    assert_eq!(before.ask(get("/x", &[&long])).status, 200, "an old connection keeps its limits");
    before.close();
    wait_until("the end of the old connection", || proxy.metric("hublatch_connections") == 0);
    assert_eq!(proxy.connect().ask(get("/x", &[&long])).status, 431);
}

#[test]
fn the_drain_lasts_as_long_as_the_last_configuration_says() {
    let hub = FakeHub::start();
    let gate = crate::support::Gate::new();
    let waiting = gate.clone();
    hub.on("/slow", move |exchange| {
        waiting.pass();
        exchange.answer("200 OK", "slow")
    });
    let builder = TestProxy::before(&hub).set("limits", "drain_timeout = \"10m\"");
    let proxy = builder.clone().start();
    proxy.reload(&builder.set("limits", "drain_timeout = \"50ms\"")).unwrap();
    let mut wire = proxy.connect();
    wire.send(get("/slow", &[]));
    hub.wait_for_path("/slow");
    proxy.drain();
    proxy.join_within(PATIENCE);
    gate.open();
}

/// `text` in a file of `directory`.
fn file(directory: &tempfile::TempDir, name: &str, text: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}
