//! Interim answers (1xx) without end.

use crate::support::requests::{get, sized, websocket};
use crate::support::{FakeHub, TestProxy, Then};

const INTERIM: &str = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
const FINAL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_train_of_interim_answers_is_a_bad_gateway_and_the_end_of_the_connection() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for (path, interim) in [("/early", INTERIM), ("/bare", "HTTP/1.1 100 Continue\n\n")] {
        let pieces = interim.repeat(100);
        hub.on(path, move |exchange| {
            // Until the proxy has had enough; far below what the kernel would take of it unread.
            while exchange.wire.try_send(&pieces).is_ok() {}
            Then::Close
        });
        for request in [get(path, &[]), sized("POST", path, &[], "body"), websocket(path, &[])] {
            assert_eq!(proxy.connect().ask(request).status, 502, "{path}");
            // Nobody reads on: the hub's end of it is closed.
            hub.wait_for_open(0);
        }
    }
    assert_eq!(proxy.metric("hublatch_upstream_errors_total{reason=\"interim\"}"), 6);
    assert_eq!(proxy.metric("hublatch_upstream_errors_total"), 6);
}

#[test]
fn as_many_interim_answers_as_the_limit_pass_each_time_and_not_one_more() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "upstream_interim_answers = 3").start();
    hub.reply("/three", [INTERIM, INTERIM, INTERIM, FINAL].concat());
    hub.reply("/four", [INTERIM, INTERIM, INTERIM, INTERIM, FINAL].concat());
    let mut wire = proxy.connect();
    for _ in 0..3 {
        let answer = wire.ask(get("/three", &[]));
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }
    assert_eq!((wire.ask(get("/four", &[])).status, hub.connections()), (502, 1));
    assert_eq!((wire.ask(get("/three", &[])).status, hub.connections()), (200, 2));
}

#[test]
fn interim_answers_are_counted_wherever_a_read_cuts_them() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "upstream_interim_answers = 1").start();
    for (path, interim, status) in [("/one", 1, 200), ("/two", 2, 502)] {
        hub.on(path, move |exchange| {
            // A write is a segment of its own, which the proxy mostly reads by itself.
            for byte in [INTERIM.repeat(interim).as_bytes(), FINAL.as_bytes()].concat() {
                exchange.send([byte]);
            }
            Then::Close
        });
        assert_eq!(proxy.connect().ask(get(path, &[])).status, status, "{path}");
    }
}

#[test]
fn what_looks_like_interim_answers_in_a_body_is_the_body() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "upstream_interim_answers = 1").start();
    let body = INTERIM.repeat(50);
    let sent = body.clone();
    hub.on("/log", move |exchange| {
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len()));
        for piece in sent.as_bytes().chunks(INTERIM.len()) {
            exchange.send(piece);
        }
        Then::Next
    });
    let mut wire = proxy.connect();
    for _ in 0..2 {
        assert_eq!(wire.ask(get("/log", &[])).text(), body);
    }
}

#[test]
fn an_upgrade_is_a_final_answer_and_what_follows_it_is_not_looked_at() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "upstream_interim_answers = 0").start();
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    for (path, begin, status) in
        [("/at-once", "", 101), ("/hints", INTERIM, 502), ("/102", "HTTP/1.1 102 x\r\n\r\n", 502)]
    {
        hub.on(path, move |exchange| {
            exchange.send([begin, switching, INTERIM].concat());
            Then::Close
        });
        let mut wire = proxy.connect();
        wire.send(websocket(path, &[]));
        let text = String::from_utf8(wire.rest()).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {text}");
        assert_eq!(text.ends_with(INTERIM), status == 101, "{path}: {text}");
    }
}
