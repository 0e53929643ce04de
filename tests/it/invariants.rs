//! What is true of every hublatch at all times: one test for each invariant of the design, under its name.

mod hostile;

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use hublatch::clock::ManualClock;
use hublatch::config::{Limits, load_str};
use hublatch::store::MemoryStore;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};
use serde_json::json;

use crate::canary;
use crate::redeem::{click, logins, nobody};
use crate::support::form::Form;
use crate::support::proxy::{standing_clock, wait_until};
use crate::support::{FakeHub, Gate, Links, TestProxy, Then, Wire, tables};
use crate::used_links::rules;

/// Requests of every kind, each with an identity of its own making.
const SPOOFED: &str = "REMOTE_USER: admin\r\nremote-user: admin\r\nX-Hublatch-Assertion: e30.e30.e30\r\n";

#[test]
fn the_identity_header_reaches_upstream_only_on_the_request_whose_token_was_consumed() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("login", "without_token = \"forward\"").start();
    let host = "Host: hub.test\r\nConnection: close\r\n";
    let used = proxy.link("alice");
    click(&proxy, &used);
    for target in
        ["/", "/hub/login", "/hub/login?a=1", "/hub/login/", "/hub/api/users/admin/tokens", "/user/a/ws"]
    {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"] {
            for more in ["", "Connection: REMOTE_USER\r\n", "Connection: upgrade\r\nUpgrade: websocket\r\n"] {
                let request = format!("{method} {target} HTTP/1.1\r\nHost: hub.test\r\n{SPOOFED}{more}\r\n");
                proxy.connect().ask(request);
            }
        }
    }
    for query in
        [format!("login_token={}", used.token), "login_token=x".to_owned(), "LOGIN_TOKEN=x".to_owned()]
    {
        proxy.connect().ask(format!("GET /hub/login?{query} HTTP/1.1\r\n{host}{SPOOFED}\r\n"));
    }
    let names = ["bob", "carol", "dora"];
    for name in names {
        let target = proxy.link(name).target();
        proxy.connect().ask(format!("GET {target} HTTP/1.1\r\n{host}{SPOOFED}\r\n"));
    }
    let with_identity = |seen: &&crate::support::Seen| {
        ["remote_user", "x_remote_user", "http_remote_user", "x_hublatch_assertion"]
            .iter()
            .any(|name| seen.headers.count_folded(name) > 0)
    };
    let seen = hub.seen();
    let identified: Vec<&str> = seen
        .iter()
        .filter(with_identity)
        .map(|seen| {
            assert_eq!((seen.method.as_str(), seen.path()), ("GET", "/hub/login"), "{seen:?}");
            seen.headers.get("remote_user").expect("one name")
        })
        .collect();
    let redeemed = proxy.audit().into_iter().filter(|line| line["event"] == "redeemed");
    let redeemed: Vec<String> =
        redeemed.map(|line| line["username"].as_str().expect("a name").to_owned()).collect();
    assert_eq!(identified, redeemed);
    assert_eq!(identified, ["alice", "bob", "carol", "dora"]);
    assert!(seen.len() > 100, "only {} requests arrived", seen.len());
}

#[test]
fn a_plain_token_never_reaches_a_store_a_log_a_metric_or_upstream() {
    let (store, clock) = (Arc::new(MemoryStore::new(100)), standing_clock());
    let login = rules::service(&store, &clock, "name = \"portal\"", "");
    let token = rules::issue(&login, "alice", Some("/hub/home"));
    let kept = format!("{store:?}");
    assert!(kept.contains("alice") && kept.contains("/hub/home"), "all of the store is told: {kept}");
    assert!(!kept.contains(&token.expose()[3..]), "the store holds the token");
    canary::a_login_and_what_follows_it_tell_nobody_the_token();
}

#[test]
fn consuming_comes_after_the_upstream_connection_and_before_the_first_upstream_byte_of_the_login() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    let states = Arc::new(Mutex::new(Vec::new()));
    let note = |links: Links, id: String, states: Arc<Mutex<Vec<(String, usize, String)>>>| {
        move |exchange: &mut crate::support::Exchange<'_>| {
            let state = (exchange.seen.path().to_owned(), exchange.seen.connection, links.status(&id));
            states.lock().unwrap().push(state);
            if exchange.seen.path() == "/hub/login" { Then::Close } else { nobody(exchange) }
        }
    };
    for path in ["/hub/api/user", "/hub/login"] {
        hub.on(path, note(proxy.links(), link.id.clone(), Arc::clone(&states)));
    }
    assert_eq!(click(&proxy, &link).status, 503);
    let expected = [("/hub/api/user", 0, "pending"), ("/hub/login", 0, "used")];
    let expected =
        expected.map(|(path, connection, status)| (path.to_owned(), connection, status.to_owned()));
    assert_eq!(*states.lock().unwrap(), expected);
    // The login failed in the end, and was not tried again.
    assert_eq!(logins(&hub).len(), 1);
}

#[test]
fn no_event_carries_a_query_string() {
    canary::no_event_carries_a_query_a_cookie_or_a_body();
}

const MINIMAL: &str = "[public]\nurl = \"http://hub.test\"\n[hub]\nurl = \"http://127.0.0.1:8400\"\n\
                       [[apps]]\nname = \"portal\"\nkeys = [\"sha256:abababababababababababababababababababababababababababababababab\"]\n";

#[test]
fn defaults_are_written_once() {
    let config =
        load_str(MINIMAL, Path::new("hublatch.toml"), []).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(format!("{:?}", config.limits), format!("{:?}", Limits::default()));
    // The manual is held to the same values by config_files::shipped; here: nobody else makes up a default for one.
    for key in ["lifetime", "replay_grace", "max_tokens", "drain_timeout", "upstream_head_timeout"] {
        assert!(!hostile::sources().contains(&format!("{key}.unwrap_or")), "{key} has a second default");
    }
}

#[test]
fn bodies_stream() {
    let hub = FakeHub::start();
    let (came, sent) = (Gate::new(), Gate::new());
    let (half_came, more_was_sent) = (came.clone(), sent.clone());
    hub.on("/up", move |exchange| {
        // The beginning is here although the rest has not been sent.
        assert_eq!(exchange.wire.take(64 * 1024), [b'x'; 64 * 1024]);
        half_came.open();
        assert_eq!(exchange.wire.take(4), b"rest");
        exchange.read = true;
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
        more_was_sent.pass();
        exchange.send("rest");
        Then::Next
    });
    let proxy = TestProxy::start(&hub);
    let mut wire = proxy.connect();
    wire.send("PUT /up HTTP/1.1\r\nHost: hub.test\r\nContent-Length: 65540\r\n\r\n");
    wire.send([b'x'; 64 * 1024]);
    came.pass();
    wire.send("rest");
    assert!(wire.head().is_some_and(|head| head.line.contains(" 200 ")));
    assert_eq!(wire.take(4), b"half", "the answer is here although the hub has not ended it");
    sent.open();
    assert_eq!(wire.take(4), b"rest");
}

#[test]
fn every_tunnel_is_tracked_and_a_drain_has_an_end() {
    let hub = FakeHub::start();
    hub.on("/ws", |exchange| {
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
        while exchange.wire.fill() {}
        Then::Close
    });
    let proxy = TestProxy::before(&hub).set("limits", "drain_timeout = \"50ms\"").start();
    let request = "GET /ws HTTP/1.1\r\nHost: hub.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let mut tunnels: Vec<Wire> = (0..5)
        .map(|_| {
            let mut wire = proxy.connect();
            wire.send(request);
            assert!(wire.head().is_some_and(|head| head.line.contains(" 101 ")));
            wire
        })
        .collect();
    wait_until("five tunnels", || proxy.metric("hublatch_tunnels") == 5);
    drop(tunnels.pop());
    wait_until("four tunnels", || proxy.metric("hublatch_tunnels") == 4);
    proxy.drain();
    proxy.join_within(Duration::from_secs(9)); // less than the default
    for wire in &mut tunnels {
        assert!(wire.is_ended());
    }
}

#[test]
fn unknown_config_keys_are_errors() {
    let sections = ["public", "management", "hub", "login", "assertion", "store", "limits", "log"];
    for section in sections {
        let section_text = format!("[{section}]\n");
        let text = if MINIMAL.contains(&section_text) {
            MINIMAL.replacen(&section_text, &format!("{section_text}canary = 1\n"), 1)
        } else {
            format!("{MINIMAL}{section_text}canary = 1\n")
        };
        let faults = load_str(&text, Path::new("hublatch.toml"), []).expect_err("an unknown key").to_string();
        assert!(faults.contains("canary"), "{section}: {faults}");
    }
    for text in
        [format!("canary = 1\n{MINIMAL}"), format!("{MINIMAL}canary = 1\n"), format!("{MINIMAL}[canary]\n")]
    {
        let faults = load_str(&text, Path::new("hublatch.toml"), []).expect_err("an unknown key").to_string();
        assert!(faults.contains("canary"), "{faults}");
    }
}

#[test]
fn any_failure_ends_in_no_identity() {
    let hub = FakeHub::start();
    let clock: Arc<ManualClock> = standing_clock();
    let proxy = TestProxy::before(&hub).clock(&clock).start();
    let expired = proxy.link("alice");
    clock.advance(Duration::from_secs(30));
    let revoked = proxy.link("alice");
    proxy.links().call("DELETE", &format!("/api/v1/links/{}", revoked.id), &[], "");
    let (good, switching) = (proxy.link("alice"), proxy.link("alice"));
    let mut seen: HashSet<u16> = HashSet::new();
    for target in [
        expired.target(),
        revoked.target(),
        format!("{}&login_token=x", good.target()),
        format!("{}&next=//evil.example", good.target()),
        format!("/hub/login?login_token={}x", good.token),
    ] {
        seen.insert(proxy.browser().get(&target).status);
    }
    for (status, body) in
        [("500 Oops", "{}"), ("403 Forbidden", "<p>"), ("200 OK", "alice"), ("302 Found", "")]
    {
        hub.on("/hub/api/user", move |exchange| exchange.answer(status, body));
        seen.insert(click(&proxy, &good).status);
    }
    hub.on("/hub/api/user", |exchange| exchange.answer("200 OK", r#"{"name":"bob"}"#));
    hub.on("/hub/logout", |exchange| exchange.answer("500 Oops", ""));
    let form = Form::of("/hub/login", &[("login_token", &switching.token)]);
    seen.insert(proxy.browser().post(&form).send().status);
    hub.drop_connections();
    assert_eq!(seen, HashSet::from([400, 403, 502, 503]));
    let received = hub.received().concat().to_ascii_lowercase();
    for name in ["remote_user", "remote-user", "x-hublatch-assertion"] {
        assert!(memchr::memmem::find(&received, name.as_bytes()).is_none(), "{name} reached the hub");
    }
    assert!(logins(&hub).is_empty());
}
