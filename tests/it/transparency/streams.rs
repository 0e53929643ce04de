//! Bodies that take their time: events one by one, uploads that the hub answers early, `Expect: 100-continue`.

use crate::support::message::{Length, latin1};
use crate::support::requests::{chunk, get, request};
use crate::support::{Exchange, FakeHub, Gate, TestProxy, Then};

/// So much of a body that the hub is asked.
fn beginning() -> Vec<u8> {
    vec![b'x'; 64 * 1024]
}

/// Reads the beginning of the body, and no more.
fn take_beginning(exchange: &mut Exchange<'_>) {
    match exchange.length {
        Length::Chunked => drop(exchange.wire.chunk()),
        Length::Sized(_) | Length::UntilEnd => drop(exchange.wire.take(beginning().len())),
    }
}

#[test]
fn events_arrive_one_by_one_while_the_stream_is_open() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let gates: Vec<Gate> = (0..5).map(|_| Gate::new()).collect();
    let passing = gates.clone();
    hub.on("/progress", move |exchange| {
        exchange
            .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (number, gate) in passing.iter().enumerate() {
            gate.pass();
            exchange.send(chunk(format!("data: {{\"progress\":{number}}}\n\n")));
        }
        exchange.send("0\r\n\r\n");
        Then::Next
    });
    let mut wire = proxy.connect();
    wire.send(get("/progress", &["Accept: text/event-stream"]));
    // The head comes before the first event.
    let head = wire.head().expect("a head");
    assert_eq!(head.headers.get("content-type"), Some("text/event-stream"));
    for (number, gate) in gates.iter().enumerate() {
        gate.open();
        let event = wire.chunk().expect("an event");
        assert_eq!(latin1(&event), format!("data: {{\"progress\":{number}}}\n\n"));
    }
    assert_eq!(wire.chunk().expect("the end"), b"");
}

#[test]
fn an_upload_arrives_piece_by_piece_once_it_has_begun() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let arrived = [Gate::new(), Gate::new(), Gate::new()];
    let piece =
        |number: usize| if number == 0 { beginning() } else { format!("piece {number}").into_bytes() };
    let tell = arrived.clone();
    hub.on("/upload", move |exchange| {
        exchange.read = true;
        for (number, gate) in tell.iter().enumerate() {
            assert_eq!(exchange.wire.chunk().expect("a piece"), piece(number));
            gate.open();
        }
        assert_eq!(exchange.wire.chunk().expect("the end"), b"");
        exchange.answer("200 OK", "taken")
    });
    let mut wire = proxy.connect();
    wire.send(request("POST", "/upload", &["Transfer-Encoding: chunked"]));
    for (number, gate) in arrived.iter().enumerate() {
        wire.send(chunk(piece(number)));
        gate.pass();
    }
    wire.send("0\r\n\r\n");
    assert_eq!(wire.answer_to("POST").expect("an answer").text(), "taken");
}

#[test]
fn an_answer_to_an_unfinished_upload_comes_at_once() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on("/refused", |exchange| {
        take_beginning(exchange);
        exchange.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge");
        Then::Close
    });
    for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        let mut wire = proxy.connect();
        let begun = if framing.starts_with('C') { beginning() } else { chunk(beginning()) };
        wire.send([request("POST", "/refused", &[framing]), begun].concat());
        let answer = wire.answer_to("POST").expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (413, "large"), "{framing}");
    }
    // Neither connection carries another request.
    assert_eq!(proxy.connect().ask(get("/x", &[])).status, 200);
    assert_eq!(hub.only("/x").connection, 2);
}

#[test]
fn a_connection_with_an_unfinished_upload_is_not_used_again() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on("/early", |exchange| {
        take_beginning(exchange);
        exchange.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        // The hub keeps its side open and waits for the rest.
        exchange.wire.rest();
        Then::Close
    });
    let mut wire = proxy.connect();
    wire.send([request("POST", "/early", &["Content-Length: 100000"]), beginning()].concat());
    assert_eq!(wire.answer_to("POST").expect("an answer").status, 403);
    assert_eq!(proxy.connect().ask(get("/x", &[])).status, 200);
    assert_eq!((hub.only("/early").connection, hub.only("/x").connection), (0, 1));
}

#[test]
fn a_browser_that_expects_100_gets_it_and_its_upload_arrives() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for framing in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        hub.forget();
        let mut wire = proxy.connect();
        wire.send(request("PUT", "/x", &["Expect: 100-continue", framing]));
        let head = wire.head().expect("an interim answer");
        assert_eq!(head.line, "HTTP/1.1 100 Continue", "{framing}");
        wire.send(if framing.starts_with('C') {
            "hello".to_owned()
        } else {
            "5\r\nhello\r\n0\r\n\r\n".to_owned()
        });
        assert_eq!(wire.answer_to("PUT").expect("an answer").status, 200, "{framing}");
        assert_eq!(latin1(&hub.only("/x").body), "hello", "{framing}");
    }
}

#[test]
fn a_hub_that_refuses_an_expectation_is_heard_before_the_upload_is_sent() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on("/x", |exchange| {
        exchange.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
        Then::Close
    });
    let mut wire = proxy.connect();
    wire.send(request("PUT", "/x", &["Expect: 100-continue", "Content-Length: 1000000"]));
    let answer = wire.answer_to("PUT").expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (417, "no"));
}

#[test]
fn a_browser_that_goes_away_ends_the_request_at_the_hub() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on("/progress", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        exchange.send(chunk("first"));
        // Until the proxy hangs up.
        exchange.wire.rest();
        Then::Close
    });
    hub.on("/upload", |exchange| {
        exchange.read_body();
        Then::Close
    });
    let mut wire = proxy.connect();
    wire.send(get("/progress", &[]));
    wire.head().expect("a head");
    assert_eq!(wire.chunk().expect("a chunk"), b"first");
    wire.close();
    hub.wait_for_open(0);
    for framing in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let mut wire = proxy.connect();
        let begun = if framing.starts_with('C') { beginning() } else { chunk(beginning()) };
        wire.send([request("POST", "/upload", &[framing]), begun].concat());
        hub.wait_for_path("/upload");
        wire.close();
        hub.wait_for_open(0);
        // An upload that broke off must not look like one that ended.
        let seen = hub.seen_at("/upload").pop().expect("an upload");
        assert!(!seen.complete && seen.body == beginning(), "{framing}: {seen:?}");
    }
}
