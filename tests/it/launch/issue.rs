//! Issuing: what is done at the hub, in which order, and what is said when not all of it can be done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::{OWN, launching};
use crate::support::hub::absent;
use crate::support::{Answer, FakeHub, HubServer, Is, TestProxy};

fn issue(proxy: &TestProxy, order: &Value) -> Answer {
    proxy.links().call("POST", "/api/v1/links", &[], order.to_string())
}

fn refused(answer: &Answer) -> (u16, String) {
    let json = answer.json();
    (answer.status, format!("{}: {}", json["code"].as_str().unwrap(), json["message"].as_str().unwrap()))
}

fn methods(hub: &FakeHub) -> Vec<String> {
    hub.seen().iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect()
}

fn has_issued_nothing(proxy: &TestProxy) -> bool {
    proxy.audit().iter().all(|line| line["event"] != "issued")
}

#[test]
fn one_call_creates_the_user_starts_the_named_server_and_issues_the_link() {
    let hub = FakeHub::start();
    let server = HubServer::of(&hub, "me", "named");
    let proxy = launching(&hub).start();
    let order = json!({"username": "me", "server": "named", "path": "lab", "launch": {"cpu": 2}});
    let issued = proxy.links().issue(&order);
    assert_eq!(issued.json["next"], "/user/me/named/lab");
    let progress_url = format!("/api/v1/links/{}/progress", issued.id);
    assert_eq!(issued.json["server"], json!({"ready": false, "progress_url": progress_url}));
    let expected =
        ["GET /hub/api/users/me", "POST /hub/api/users/me", "POST /hub/api/users/me/servers/named"];
    assert_eq!(methods(&hub), expected);
    assert_eq!(server.starts(), [json!({"cpu": 2})]);
    for seen in hub.seen() {
        assert_eq!(seen.headers.all("authorization"), [format!("token {OWN}")]);
    }
}

#[test]
fn a_server_that_runs_or_starts_is_left_alone() {
    let hub = FakeHub::start();
    let server = HubServer::of(&hub, "me", "");
    let proxy = launching(&hub).start();
    for (is, ready) in [(Is::Ready, true), (Is::Starting(Vec::new()), false)] {
        server.set(is);
        let issued = proxy.links().issue(&json!({"username": "me", "launch": true}));
        assert_eq!(issued.json["server"]["ready"], ready);
        assert_eq!(issued.json["next"], "/user/me/");
    }
    assert_eq!(server.starts(), Vec::<Value>::new());
}

#[test]
fn the_call_does_not_wait_for_a_server_that_takes_its_time() {
    let hub = FakeHub::start();
    let server = HubServer::of(&hub, "me", "").known();
    let slow = server.clone();
    // As the hub does: no answer before the server is ready.
    hub.on("/hub/api/users/me/server", move |exchange| {
        slow.set(Is::Starting(Vec::new()));
        while exchange.wire.idle_head().is_some() {}
        crate::support::Then::Close
    });
    let proxy = launching(&hub).start();
    let issued = proxy.links().issue(&json!({"username": "me", "launch": true}));
    assert_eq!(issued.json["server"]["ready"], false);
}

#[test]
fn more_starts_than_calls_at_a_time_do_not_wait_for_each_other() {
    let hub = FakeHub::start();
    let names = ["ann", "bob", "cem", "dan", "eve", "fay"];
    for name in names {
        let server = HubServer::of(&hub, name, "").known();
        hub.on(&format!("/hub/api/users/{name}/server"), move |exchange| {
            server.set(Is::Starting(Vec::new()));
            while exchange.wire.idle_head().is_some() {}
            crate::support::Then::Close
        });
    }
    let proxy = launching(&hub).set("limits", "hub_api_calls = 2").start();
    std::thread::scope(|scope| {
        for name in names {
            let proxy = &proxy;
            scope.spawn(move || {
                let issued = proxy.links().issue(&json!({"username": name, "launch": true}));
                assert_eq!(issued.json["server"]["ready"], false);
            });
        }
    });
}

#[test]
fn an_order_that_is_refused_does_nothing_at_the_hub() {
    let hub = FakeHub::start();
    let proxy = launching(&hub).portal("usernames = \"me|you\"\nnext = [\"/user/me\"]").start();
    for (order, code) in [
        (json!({"username": "Me", "launch": true}), "invalid_username"),
        (json!({"username": "she", "launch": true}), "username_not_allowed"),
        (json!({"username": "you", "launch": true}), "next_not_allowed"),
        (json!({"username": "me", "server": "a/b", "launch": true}), "invalid_server"),
        (json!({"username": "me", "path": "../you", "launch": true}), "invalid_path"),
        (json!({"username": "me", "next": "/user/me/", "launch": true}), "conflicting_fields"),
        (json!({"username": "me", "expires_in": 3600, "launch": true}), "invalid_expires_in"),
    ] {
        assert_eq!(issue(&proxy, &order).json()["code"], code, "{order}");
    }
    let batch = json!({"links": [{"username": "me", "launch": true}, {"username": "she", "launch": true}]});
    let answer = proxy.links().call("POST", "/api/v1/links/batch", &[], batch.to_string());
    assert_eq!(answer.json()["code"], "username_not_allowed");
    assert_eq!(methods(&hub), Vec::<String>::new());
}

#[test]
fn what_the_hub_says_no_to_is_told_in_its_words_and_leaves_no_link() {
    let hub = FakeHub::start();
    let server = HubServer::of(&hub, "me", "").known();
    let proxy = launching(&hub).set("limits", "launch_queue_timeout = \"0s\"").start();
    let order = json!({"username": "me", "launch": true});
    for (head, message, status, code) in [
        ("429 Too Many Requests\r\nRetry-After: 70", "Try again in 70 seconds.", 429, "server_limit"),
        ("429 Too Many Requests", "Active user limit exceeded.", 429, "server_limit"),
        ("400 Bad Request", "me: is pending stop", 409, "server_refused"),
        ("404 Not Found", "Not Found", 409, "server_refused"),
        ("403 Forbidden", "requires any of [start:servers]", 502, "hub_forbidden"),
        ("500 Internal Server Error", "The image does not exist", 502, "server_failed"),
        ("503 Service Unavailable", "Starting up", 503, "hub_unavailable"),
    ] {
        server.refuse(head, message);
        let answer = issue(&proxy, &order);
        let (told, text) = refused(&answer);
        assert_eq!(told, status, "{head}: {text}");
        assert!(text.starts_with(code) && text.contains(message), "{head}: {text}");
        let retry = head.split_once("Retry-After: ").map(|(_, seconds)| seconds);
        assert_eq!(answer.headers.all("retry-after").first().copied(), retry, "{head}");
    }
    assert!(has_issued_nothing(&proxy));
    server.admit();
    assert_eq!(issue(&proxy, &order).status, 201);
}

#[test]
fn a_token_of_ours_that_the_hub_does_not_know_is_told_as_ours() {
    let hub = FakeHub::start();
    let server = HubServer::of(&hub, "me", "").known();
    let proxy = launching(&hub).start();
    server.refuse("403 Forbidden", "Missing or invalid credentials.");
    let (status, text) = refused(&issue(&proxy, &json!({"username": "me", "launch": true})));
    assert_eq!(status, 502);
    let meaning = "(the hub does not know the token in hub.api_token_file; see hublatch doctor)";
    assert!(text.starts_with("hub_forbidden") && text.ends_with(meaning), "{text}");
    // A scope that is lacking is another matter.
    server.refuse("403 Forbidden", "requires any of [start:servers]");
    let (_, text) = refused(&issue(&proxy, &json!({"username": "me", "launch": true})));
    assert!(text.ends_with("requires any of [start:servers]"), "{text}");
}

#[test]
fn a_user_who_was_created_for_nothing_is_told_of() {
    let hub = FakeHub::start();
    let server = HubServer::of(&hub, "me", "");
    server.refuse("429 Too Many Requests", "No room.");
    let proxy = launching(&hub).set("limits", "launch_queue_timeout = \"0s\"").start();
    let (status, text) = refused(&issue(&proxy, &json!({"username": "me", "launch": true})));
    assert_eq!(status, 429);
    assert!(text.ends_with("no link was issued; created at the hub: me"), "{text}");
    // Again: she exists now, so there is nothing to tell.
    let (_, text) = refused(&issue(&proxy, &json!({"username": "me", "launch": true})));
    assert!(text.ends_with("No room."), "{text}");
}

#[test]
fn a_link_that_cannot_be_kept_does_not_hide_what_was_started() {
    let hub = FakeHub::start();
    let server = HubServer::of(&hub, "me", "named");
    let proxy = launching(&hub).set("store", "max_tokens = 1").start();
    proxy.link("alice");
    let answer = issue(&proxy, &json!({"username": "me", "server": "named", "launch": true}));
    let (status, text) = refused(&answer);
    assert_eq!(status, 503);
    let done = "no link was issued; created at the hub: me; servers running or starting: 1";
    assert!(text.starts_with("store_full") && text.ends_with(done), "{text}");
    assert_eq!(server.starts().len(), 1);
}

#[test]
fn a_hub_that_is_down_slow_or_no_hub_is_told_from_the_others() {
    let order = json!({"username": "me", "launch": true});
    let (_port, url) = absent();
    let down = TestProxy::before_url(&url).set("hub", &format!("api_token = {OWN:?}")).start();
    assert_eq!(refused(&issue(&down, &order)).0, 503);

    let hub = FakeHub::start();
    hub.reply(
        "/hub/api/users/me",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
    );
    let (status, text) = refused(&issue(&launching(&hub).start(), &order));
    assert!(status == 502 && text.starts_with("hub_error") && text.contains("a page (HTML)"), "{text}");

    hub.on("/hub/api/users/me", |exchange| {
        while exchange.wire.idle_head().is_some() {}
        crate::support::Then::Close
    });
    let slow = launching(&hub).set("limits", "hub_api_timeout = \"100ms\"").start();
    assert_eq!(refused(&issue(&slow, &order)).0, 504);
    assert!(has_issued_nothing(&slow));
}

#[test]
fn a_repeat_with_its_key_finds_the_server_started_and_renews_the_link() {
    let hub = FakeHub::start();
    let server = HubServer::of(&hub, "me", "");
    let proxy = launching(&hub).start();
    let body = json!({"username": "me", "launch": true}).to_string();
    let call = || proxy.links().call("POST", "/api/v1/links", &[("Idempotency-Key", "k")], &body).json();
    let (first, again) = (call(), call());
    assert_eq!(first["id"], again["id"]);
    assert_ne!(first["login_token"], again["login_token"]);
    assert_eq!(server.starts().len(), 1);
}

#[test]
fn a_batch_launches_a_few_at_a_time_and_issues_all_or_none() {
    let hub = FakeHub::start();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let servers: Vec<HubServer> =
        (0..30).map(|number| HubServer::of(&hub, &format!("u{number}"), "").known()).collect();
    for server in &servers {
        server.set(Is::Ready);
    }
    // The hub's answers are counted by how many it gives at once.
    for number in 0..30 {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        let json = json!({"name": format!("u{number}"), "servers": {"": {"ready": true}}}).to_string();
        hub.on(&format!("/hub/api/users/u{number}"), move |exchange| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::yield_now();
            now.fetch_sub(1, Ordering::SeqCst);
            exchange.answer("200 OK\r\nContent-Type: application/json", &json)
        });
    }
    let proxy = launching(&hub).set("limits", "launch_queue_timeout = \"0s\"").start();
    let orders: Vec<Value> =
        (0..30).map(|number| json!({"username": format!("u{number}"), "launch": true})).collect();
    let batch = json!({ "links": orders }).to_string();
    let answer = proxy.links().call("POST", "/api/v1/links/batch", &[], &batch);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let links = answer.json()["links"].as_array().unwrap().clone();
    for (number, link) in links.iter().enumerate() {
        assert_eq!(link["username"], format!("u{number}"), "in the order of the batch");
        assert_eq!(link["server"]["ready"], true);
    }
    assert!(most.load(Ordering::SeqCst) <= 8, "{most:?} at once");

    let bad = HubServer::of(&hub, "u3", "");
    bad.refuse("429 Too Many Requests\r\nRetry-After: 5", "No room.");
    let issued = || proxy.audit().iter().filter(|line| line["event"] == "issued").count();
    let before = issued();
    let answer = proxy.links().call("POST", "/api/v1/links/batch", &[], &batch);
    let (status, text) = refused(&answer);
    assert_eq!((status, answer.headers.all("retry-after")), (429, vec!["5"]));
    assert!(text.starts_with("server_limit: links[3]: "), "{text}");
    let done = "no link was issued; created at the hub: u3; servers running or starting: 3";
    assert!(text.ends_with(done), "{text}");
    assert_eq!(issued(), before, "none of its links was issued");
}

#[test]
fn a_batch_may_launch_for_some_and_not_for_others() {
    let hub = FakeHub::start();
    let server = HubServer::of(&hub, "me", "");
    let proxy = launching(&hub).start();
    let batch = json!({"links": [{"username": "alice"}, {"username": "me", "launch": true}]}).to_string();
    let links = proxy.links().call("POST", "/api/v1/links/batch", &[], &batch).json()["links"].clone();
    assert!(links[0].get("server").is_none() && links[1]["server"]["ready"] == false, "{links}");
    assert_eq!(server.starts(), [Value::Null], "without options of its own");
}
