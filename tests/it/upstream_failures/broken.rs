//! Answers that are none, and answers that break off.

use crate::support::message::latin1;
use crate::support::requests::{chunk, get, holds, sized};
use crate::support::tables::{lines, unescaped};
use crate::support::{FakeHub, TestProxy, Then};

#[test]
fn what_is_no_answer_is_a_bad_gateway_and_not_a_byte_of_it_arrives() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut wire = proxy.connect();
    for line in lines("answers_refused.txt") {
        let bytes = unescaped(&line);
        hub.on("/x", move |exchange| {
            exchange.read_body();
            exchange.send(&bytes);
            Then::Close
        });
        for request in [get("/x", &[]), sized("POST", "/x", &[], "body")] {
            let answer = wire.ask(request);
            assert_eq!(
                (answer.status, answer.headers.get("cache-control")),
                (502, Some("no-store")),
                "{line}"
            );
            assert!(!holds(&answer.body, "hello"), "{line}: {}", answer.text());
        }
    }
    // Not one of these requests was repeated, and none of the connections is used again.
    assert_eq!(hub.seen_at("/x").len(), 2 * lines("answers_refused.txt").len());
    assert_eq!(hub.connections(), 2 * lines("answers_refused.txt").len());
}

#[test]
fn a_head_without_end_is_a_bad_gateway() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on("/long", |exchange| {
        let line = format!("X: {}\r\n", "x".repeat(8000));
        exchange.send("HTTP/1.1 200 OK\r\n");
        // Until the proxy has had enough.
        for _ in 0..1000 {
            if exchange.wire.try_send(&line).is_err() {
                break;
            }
        }
        Then::Close
    });
    hub.on("/many", |exchange| {
        exchange.send(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: 1\r\n".repeat(1001)));
        Then::Close
    });
    for path in ["/long", "/many"] {
        assert_eq!(proxy.connect().ask(get(path, &[])).status, 502, "{path}");
    }
}

#[test]
fn an_answer_whose_length_is_told_twice_goes_on_with_the_one_that_counts() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut wire = proxy.connect();
    for length in [0, 3, 5, 10] {
        for lines in [
            format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
            format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
        ] {
            hub.reply("/x", format!("HTTP/1.1 200 OK\r\n{lines}\r\n5\r\nhello\r\n0\r\n\r\n"));
            // Transfer-Encoding (RFC 9112 § 6.3).
            let answer = wire.ask(get("/x", &[]));
            assert_eq!((answer.text().as_str(), answer.complete), ("hello", true), "{lines:?}");
            assert!(!answer.headers.has("content-length"), "{lines:?}");
        }
    }
    assert_eq!(wire.ask(get("/next", &[])).text(), "GET /next HTTP/1.1");
}

#[test]
fn an_answer_that_breaks_off_never_ends_well() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (name, bytes) in [
        ("sized", sized.to_owned()),
        ("chunked", format!("{chunked}5\r\nhello\r\n")),
        ("in a chunk", format!("{chunked}a\r\nhello")),
        ("in a size", format!("{chunked}5\r\nhello\r\n1")),
        ("before the last line", format!("{chunked}5\r\nhello\r\n0\r\n")),
        ("in a trailer", format!("{chunked}5\r\nhello\r\n0\r\nX: 1\r\n")),
        ("a bad size", format!("{chunked}5\r\nhello\r\nxyz\r\nmore\r\n0\r\n\r\n")),
        ("a bad end of a chunk", format!("{chunked}5\r\nhello!!0\r\n\r\n")),
    ] {
        let dying = bytes.clone();
        hub.on("/closed", move |exchange| {
            exchange.send(&dying);
            Then::Close
        });
        let answer = proxy.connect().ask(get("/closed", &[]));
        assert!(answer.status == 200 && !answer.complete, "{name}: {answer:?}");
        assert!(b"hello".starts_with(answer.body.as_slice()), "{name}: {}", latin1(&answer.body));
    }
}

#[test]
fn an_answer_without_length_that_is_reset_never_ends_well() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on("/x", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\n\r\nhello");
        exchange.wire.reset_at_close();
        Then::Close
    });
    let answer = proxy.connect().ask(get("/x", &[]));
    assert!(answer.status == 200 && !answer.complete, "{answer:?}");
}

#[test]
fn a_browser_of_http_1_0_sees_a_broken_answer_by_its_length() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on("/x", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        Then::Close
    });
    let mut wire = proxy.connect();
    wire.send("GET /x HTTP/1.0\r\nHost: hub.test\r\n\r\n");
    let text = latin1(&wire.rest());
    assert!(text.to_lowercase().contains("content-length: 10\r\n") && text.ends_with("hello"), "{text}");
}

#[test]
fn a_stream_that_breaks_off_ends_the_browsers_connection_without_an_end() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let gate = crate::support::Gate::new();
    let dying = gate.clone();
    hub.on("/progress", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        exchange.send(chunk("data: 1\n\n"));
        dying.pass();
        Then::Close
    });
    let mut wire = proxy.connect();
    wire.send(get("/progress", &[]));
    wire.head().expect("a head");
    assert_eq!(latin1(&wire.chunk().expect("an event")), "data: 1\n\n");
    gate.open();
    assert_eq!(wire.chunk(), None, "no last chunk");
}
