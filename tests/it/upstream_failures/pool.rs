//! Connections that are kept: what may be asked again, and which are not fit for another request.

use crate::support::requests::{get, request, sized};
use crate::support::{FakeHub, Gate, TestProxy, Then};

/// Answers the first request for `/x` of each connection, and dies of the second.
fn dies_of_the_second(hub: &FakeHub) {
    hub.on("/first", |exchange| exchange.answer("200 OK", "first"));
    hub.on("/second", |exchange| {
        exchange.read_body();
        if exchange.earlier == 0 { Then::Close } else { exchange.answer("200 OK", "second") }
    });
}

#[test]
fn connections_that_the_hub_has_closed_are_not_used() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for number in 0..5 {
        for request in [get("/x", &[]), sized("POST", "/x", &[], "body"), sized("DELETE", "/x", &[], "body")]
        {
            assert_eq!(proxy.connect().ask(request).status, 200, "{number}");
            hub.drop_connections();
        }
    }
    // Each request arrived once.
    assert_eq!((hub.seen_at("/x").len(), hub.connections()), (15, 15));
}

#[test]
fn a_connection_that_nobody_needs_is_closed_though_no_request_comes() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "upstream_idle_timeout = \"100ms\"").start();
    for _ in 0..3 {
        let mut wires: Vec<_> = (0..5).map(|_| proxy.connect()).collect();
        for wire in &mut wires {
            wire.send(get("/x", &[]));
        }
        for wire in &mut wires {
            assert_eq!(wire.answer_to("GET").unwrap().status, 200);
        }
        hub.wait_for_open(0);
    }
}

#[test]
fn a_get_that_fails_on_a_used_connection_is_asked_once_more() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    dies_of_the_second(&hub);
    let mut wire = proxy.connect();
    for method in ["GET", "HEAD"] {
        hub.forget();
        wire.ask(get("/first", &[]));
        let answer = wire.ask(request(method, "/second", &[]));
        assert_eq!((answer.status, hub.seen_at("/second").len()), (200, 2), "{method}");
        assert_ne!(hub.seen_at("/second")[0].connection, hub.seen_at("/second")[1].connection, "{method}");
    }
}

#[test]
fn a_request_that_was_written_and_may_do_something_is_never_repeated() {
    let hub = FakeHub::start();
    dies_of_the_second(&hub);
    let requests = [
        sized("POST", "/second", &[], "body"),
        sized("PUT", "/second", &[], "body"),
        sized("GET", "/second", &[], "body"),
        request("DELETE", "/second", &[]),
        request("POST", "/second", &[]),
        request("OPTIONS", "/second", &[]),
    ];
    // All wait at once.
    let proxies: Vec<TestProxy> = requests.iter().map(|_| TestProxy::start(&hub)).collect();
    let mut wires: Vec<_> = proxies.iter().map(TestProxy::connect).collect();
    for wire in &mut wires {
        wire.ask(get("/first", &[]));
    }
    for (wire, request) in wires.iter_mut().zip(requests) {
        hub.forget();
        let connections = hub.connections();
        assert_eq!(wire.ask(&request).status, 502, "{}", String::from_utf8_lossy(&request));
        assert_eq!(
            (hub.seen().len(), hub.connections()),
            (1, connections),
            "{}",
            String::from_utf8_lossy(&request)
        );
    }
}

#[test]
fn a_new_connection_that_fails_is_not_tried_again() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on("/dies", |_| Then::Close);
    assert_eq!(proxy.connect().ask(get("/dies", &[])).status, 502);
    assert_eq!((hub.seen().len(), hub.connections()), (1, 1));
}

#[test]
fn a_connection_with_bytes_behind_its_answer_is_not_used_again() {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for (method, answer) in [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 49\r\n\r\n"),
        ("POST", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ] {
        let hub = FakeHub::start();
        let proxy = TestProxy::start(&hub);
        hub.reply("/x", format!("{answer}{poison}"));
        let mut wire = proxy.connect();
        assert_eq!(
            wire.ask(request(method, "/x", &[])).status / 100,
            if answer.contains(" 304") { 3 } else { 2 }
        );
        let next = wire.ask(get("/next", &[]));
        assert_eq!(next.text(), "GET /next HTTP/1.1", "{method} {answer:?}");
        assert_eq!((hub.only("/x").connection, hub.only("/next").connection), (0, 1), "{method} {answer:?}");
    }
}

#[test]
fn a_connection_that_speaks_unasked_is_closed() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let gate = Gate::new();
    let idle = gate.clone();
    hub.on("/x", move |exchange| {
        exchange.answer("200 OK", "ok");
        idle.pass();
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
        Then::Next
    });
    let mut wire = proxy.connect();
    assert_eq!(wire.ask(get("/x", &[])).text(), "ok");
    gate.open();
    hub.wait_for_open(0);
    assert_eq!(wire.ask(get("/next", &[])).text(), "GET /next HTTP/1.1");
}

#[test]
fn an_answer_whose_browser_is_gone_gives_its_connection_back_to_nobody() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on("/large", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\nbegin");
        exchange.wire.rest();
        Then::Close
    });
    let mut wire = proxy.connect();
    wire.send(get("/large", &[]));
    wire.head().expect("a head");
    wire.reset();
    hub.wait_for_open(0);
    assert_eq!(proxy.connect().ask(get("/next", &[])).text(), "GET /next HTTP/1.1");
    assert_eq!(hub.only("/next").connection, 1);
}

#[test]
fn without_a_pool_every_request_has_a_connection_of_its_own() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "upstream_idle_connections = 0").start();
    let mut wire = proxy.connect();
    for _ in 0..3 {
        assert_eq!(wire.ask(get("/x", &[])).status, 200);
    }
    assert_eq!(hub.connections(), 3);
}

#[test]
fn an_answer_may_have_many_header_lines() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let lines: String = (0..600).map(|number| format!("X-Line: {number}\r\n")).collect();
    hub.reply("/x", format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok"));
    let answer = proxy.connect().ask(get("/x", &[]));
    let came = answer.headers.all("x-line").len();
    assert_eq!((answer.status, came), (200, 600));
}
