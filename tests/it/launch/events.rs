//! The events of a start: one by one, in a form of our own, to the page and to the app.

use serde_json::json;

use super::{launching, logged_in, waiting_page};
use crate::support::message::latin1;
use crate::support::{Browser, FakeHub, Gate, HubServer, Is, TestProxy, Then, Wire};

const PROGRESS: &str = "/hub/api/users/me/server/progress";
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// The hub sends one event, waits for the gate, sends another and ends.
fn gated(hub: &FakeHub, gate: &Gate) {
    let gate = gate.clone();
    hub.on(PROGRESS, move |exchange| {
        exchange.read_body();
        let first =
            json!({"progress": 33.4, "message": "one", "html_message": "<script>", "url": "/evil", "x": 1});
        exchange.send(HEAD.to_owned() + &chunk("\n\n") + &chunk(&format!("data: {first}\n\n")));
        gate.pass();
        let last = json!({"progress": 100, "ready": true, "message": "two", "url": "/evil"});
        exchange.send(chunk(&format!("data: {last}\n\n")) + "0\r\n\r\n");
        Then::Next
    });
}

const FIRST: &str = "data: {\"progress\":33,\"message\":\"one\",\"ready\":false,\"failed\":false}\n\n";
const LAST: &str = "data: {\"progress\":100,\"message\":\"two\",\"ready\":true,\"failed\":false}\n\n";

fn launched(proxy: &TestProxy) -> crate::support::Issued {
    proxy.links().issue(&json!({"username": "me", "launch": true}))
}

/// What the script of the waiting page at `page` asks for.
fn listen(browser: &mut Browser, page: &str) -> Wire {
    browser
        .request("GET", &format!("{page}/events"))
        .header("Accept", "text/event-stream")
        .header("Sec-Fetch-Site", "same-origin")
        .header("Sec-Fetch-Mode", "cors")
        .begin()
}

#[test]
fn the_page_gets_each_event_when_it_happens_and_no_field_that_it_does_not_know() {
    let hub = FakeHub::start();
    HubServer::of(&hub, "me", "");
    let proxy = launching(&hub).start();
    let page = waiting_page(&mut proxy.browser(), &launched(&proxy).target());
    let gate = Gate::new();
    gated(&hub, &gate);
    let mut browser = logged_in(&proxy, "me");
    let mut wire = listen(&mut browser, &page);
    let read = |wire: &mut Wire, end: &str| {
        let bytes = wire.until(end.as_bytes()).expect("it comes");
        String::from_utf8(bytes).expect("text")
    };
    let early = read(&mut wire, FIRST);
    let head = early.to_ascii_lowercase();
    for line in
        ["200 ok", "content-type: text/event-stream", "cache-control: no-store", "x-accel-buffering: no"]
    {
        assert!(head.contains(line), "{line}: {early}");
    }
    assert!(!early.contains("ready\":true"), "the second event waits for its time");
    gate.open();
    assert!(read(&mut wire, LAST).contains(LAST));
}

#[test]
fn they_end_with_the_session_of_their_reader() {
    let hub = FakeHub::start();
    HubServer::of(&hub, "me", "");
    let proxy = launching(&hub).start();
    let page = waiting_page(&mut proxy.browser(), &launched(&proxy).target());
    let gate = Gate::new();
    gated(&hub, &gate);
    let mut browser = logged_in(&proxy, "me");
    browser.set_cookie("jupyterhub-session-id", "s-me", "/");
    let mut wire = listen(&mut browser, &page);
    assert!(wire.head().expect("a head").line.contains(" 200 "));
    assert_eq!(latin1(&wire.chunk().expect("an event")), FIRST);
    assert_eq!(browser.get("/hub/logout").status, 200);
    // Ended like any other, before the hub said anything more.
    assert_eq!(wire.chunk(), Some(Vec::new()));
    gate.open();
}

#[test]
fn the_app_follows_its_own_launch_and_no_other() {
    let hub = FakeHub::start();
    HubServer::of(&hub, "me", "");
    let digest = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    let proxy = launching(&hub).toml(&format!("[[apps]]\nname = \"other\"\nkeys = [{digest:?}]")).start();
    let link = launched(&proxy);
    let url = link.json["server"]["progress_url"].as_str().unwrap().to_owned();
    let gate = Gate::new();
    gated(&hub, &gate);
    gate.open();
    let answer = proxy.links().call("GET", &url, &[], "");
    assert_eq!(answer.status, 200);
    assert!(answer.text().ends_with(&format!("{FIRST}{LAST}")), "{}", answer.text());

    let other = proxy.links().call("GET", &url, &[("Authorization", "token x")], "");
    assert_eq!((other.status, other.json()["code"].clone()), (404, "link_not_found".into()));
    let none = proxy.links().call("GET", &url, &[("Authorization", "token nobody's")], "");
    assert_eq!(none.status, 401);
    let plain = proxy.link("alice");
    let url = format!("/api/v1/links/{}/progress", plain.id);
    assert_eq!(proxy.links().call("GET", &url, &[], "").json()["code"], "not_launched");
}

#[test]
fn a_server_that_does_not_start_is_an_event_and_a_hub_in_trouble_an_error() {
    let hub = FakeHub::start();
    let server = HubServer::of(&hub, "me", "");
    let proxy = launching(&hub).start();
    let link = launched(&proxy);
    let url = link.json["server"]["progress_url"].as_str().unwrap().to_owned();
    for (is, expected) in [
        (Is::Stopped, "\"failed\":true"),
        (
            Is::Failed("Spawn failed: x".to_owned()),
            "\"message\":\"Spawn failed: x\",\"ready\":false,\"failed\":true",
        ),
        (Is::Ready, "\"ready\":true"),
    ] {
        server.set(is);
        let answer = proxy.links().call("GET", &url, &[], "");
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains(expected), "{}", answer.text());
        assert_eq!(answer.text().matches("data:").count(), 1);
    }
    hub.reply(PROGRESS, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(proxy.links().call("GET", &url, &[], "").json()["code"], "hub_unavailable");
    hub.reply(PROGRESS, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(proxy.links().call("GET", &url, &[], "").json()["code"], "hub_error");
}

#[test]
fn a_hub_that_dies_in_the_middle_is_a_broken_answer_and_no_clean_end() {
    let hub = FakeHub::start();
    HubServer::of(&hub, "me", "");
    let proxy = launching(&hub).start();
    let link = launched(&proxy);
    let url = link.json["server"]["progress_url"].as_str().unwrap().to_owned();
    hub.on(PROGRESS, |exchange| {
        exchange.read_body();
        exchange.send(HEAD.to_owned() + &chunk("data: {\"progress\": 1}\n\n"));
        Then::Close
    });
    let answer = proxy.links().call("GET", &url, &[], "");
    assert!(answer.text().contains("\"progress\":1"));
    assert!(!answer.complete);
}
