//! What the log says of failures that come by the thousand: each server's own, at once and then once a minute.

use crate::support::proxy::ROUTING_TOKEN;
use crate::support::requests::get;
use crate::support::{FakeHub, Process, TestProxy, Then, Wire};

#[test]
fn a_server_that_fails_is_told_although_another_one_has_just_failed_in_the_same_way() {
    let (hub, servers) = (FakeHub::start(), [FakeHub::start(), FakeHub::start()]);
    let process = Process::start(&TestProxy::before(&hub).routed().text());
    let (public, management) = (process.address("public"), process.address("management"));
    for (number, server) in servers.iter().enumerate() {
        server.on(&format!("/user/{number}/x"), |_| Then::Close);
        let body = format!("{{\"target\":{:?},\"user\":\"{number}\"}}", server.url());
        let mut wire = Wire::connect(management);
        wire.send(format!(
            "POST /api/routes/user/{number} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: token {ROUTING_TOKEN}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(wire.answer_to("POST").expect("an answer").status, 201);
    }
    for number in [0, 0, 1] {
        assert_eq!(Wire::connect(public).ask(get(format!("/user/{number}/x"), &[])).status, 503);
    }
    for server in &servers {
        let line = process.logged("no answer of the upstream");
        assert_eq!((line["level"].as_str(), line["unlogged"].as_u64()), (Some("WARN"), Some(0)), "{line}");
        assert!(server.url().contains(line["server"].as_str().expect("which one")), "{line}");
    }
}

#[test]
fn logins_under_another_host_are_told_at_once_and_not_one_by_one() {
    let hub = FakeHub::start();
    let mut process = Process::start(&TestProxy::before(&hub).text());
    let public = process.address("public");
    for host in ["evil.test", "other.test", "evil.test"] {
        let click = format!("GET /hub/login?login_token={} HTTP/1.1\r\nHost: {host}\r\n\r\n", "x".repeat(43));
        let mut wire = Wire::connect(public);
        wire.send(click);
        assert_eq!(wire.answer_to("GET").expect("an answer").status, 421);
    }
    process.signal(rustix::process::Signal::TERM);
    process.ended();
    let said = process.said();
    assert_eq!(said.matches("under another Host").count(), 1, "{said}");
    assert!(said.contains("\"host\":\"evil.test\""), "{said}");
}
