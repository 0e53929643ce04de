//! A hub that does not answer, or does not read: each wait has its limit, and a slow upload is not silence.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::message::latin1;
use crate::support::requests::{chunk, get, request, sized};
use crate::support::{FakeHub, Gate, PATIENCE, TestProxy, Then};

const SHORT: &str = "upstream_head_timeout = \"150ms\"";

#[test]
fn a_hub_that_does_not_answer_is_a_gateway_timeout() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", SHORT).start();
    hub.on("/x", |exchange| {
        exchange.read_body();
        exchange.wire.rest();
        Then::Close
    });
    for request in [get("/x", &[]), sized("POST", "/x", &[], "body"), sized("POST", "/x", &[], "")] {
        let answer = proxy.connect().ask(request);
        assert_eq!((answer.status, answer.headers.get("cache-control")), (504, Some("no-store")));
        // And the hub is not waited for any longer.
        hub.wait_for_open(0);
    }
    // Not asked again, neither on the same nor on another connection.
    assert_eq!((hub.seen().len(), hub.connections()), (3, 3));
}

#[test]
fn half_a_head_is_no_answer() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", SHORT).start();
    hub.on("/x", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n");
        exchange.wire.rest();
        Then::Close
    });
    assert_eq!(proxy.connect().ask(get("/x", &[])).status, 504);
}

#[test]
fn interim_answers_without_end_are_no_answer() {
    let hub = FakeHub::start();
    let limits = format!("{SHORT}\nupstream_interim_answers = 1000000");
    let proxy = TestProxy::before(&hub).set("limits", &limits).start();
    hub.on("/x", |exchange| {
        // One after the other until the proxy hangs up, which ends the silence.
        while exchange.wire.is_silent_for(Duration::from_millis(20)) {
            exchange.send("HTTP/1.1 102 Processing\r\n\r\n");
        }
        Then::Close
    });
    assert_eq!(proxy.connect().ask(get("/x", &[])).status, 504);
    hub.wait_for_open(0);
}

#[test]
fn a_hub_is_not_waited_for_when_the_browser_is_gone() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on("/x", |exchange| {
        exchange.read_body();
        exchange.wire.rest();
        Then::Close
    });
    for (number, request) in [get("/x", &[]), sized("POST", "/x", &[], "body")].into_iter().enumerate() {
        let mut wire = proxy.connect();
        wire.send(request);
        hub.wait_for(|seen| seen.len() == number + 1 && seen[number].complete);
        wire.close();
        hub.wait_for_open(0);
    }
}

#[test]
fn a_hub_that_takes_no_upload_is_a_gateway_timeout() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", SHORT).start();
    let gate = Gate::new();
    let waiting = gate.clone();
    hub.on("/x", move |exchange| {
        exchange.wire.bound_receive_buffer(64 * 1024);
        waiting.pass();
        Then::Close
    });
    let mut wire = proxy.connect();
    wire.send(request("POST", "/x", &["Content-Length: 100000000"]));
    let mut writer = wire.writer();
    // More than all buffers on the way hold, until the proxy hangs up.
    let sending = std::thread::spawn(move || {
        let piece = vec![0; 1024 * 1024];
        (0..100).take_while(|_| std::io::Write::write_all(&mut writer, &piece).is_ok()).count()
    });
    assert_eq!(wire.answer_to("POST").expect("an answer").status, 504);
    gate.open();
    wire.close();
    assert!(sending.join().expect("ended") < 100);
}

#[test]
fn an_upload_that_moves_may_take_longer_than_the_wait_for_its_answer() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "upstream_head_timeout = \"1s\"").start();
    let mut wire = proxy.connect();
    wire.send(request("POST", "/x", &["Transfer-Encoding: chunked"]));
    // So much that the hub is asked.
    wire.send(chunk(vec![b'x'; 64 * 1024]));
    hub.wait_for_path("/x");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        wire.send(chunk("x"));
        assert!(wire.is_silent_for(Duration::from_millis(20)), "no answer yet");
    }
    wire.send("0\r\n\r\n");
    let answer = wire.answer_to("POST").expect("an answer");
    assert_eq!((answer.status, latin1(&answer.body).as_str()), (200, "POST /x HTTP/1.1"));
}

#[test]
fn an_answer_that_has_begun_may_take_its_time() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub)
        .set("limits", "upstream_head_timeout = \"1s\"\nidle_timeout = \"1s\"")
        .start();
    let gate = Gate::new();
    let waiting = gate.clone();
    hub.on("/progress", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        waiting.pass();
        exchange.send([chunk("late"), b"0\r\n\r\n".to_vec()].concat());
        Then::Next
    });
    let mut wire = proxy.connect();
    wire.send(get("/progress", &[]));
    wire.head().expect("a head");
    assert!(wire.is_silent_for(Duration::from_millis(2500)));
    gate.open();
    assert_eq!(latin1(&wire.chunk().expect("a chunk")), "late");
    assert_eq!(wire.chunk().expect("the end"), b"");
}

#[test]
fn a_hub_that_accepts_no_connection_is_a_bad_gateway_in_time() {
    // A socket whose queue is full: the kernel answers no more.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    socket.listen(0).expect("listen");
    let address = socket.local_addr().expect("an address").as_socket().expect("TCP");
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
        queue.push(stream);
        assert!(queue.len() < 100, "the queue is never full");
    }
    let limits = "upstream_connect_timeout = \"150ms\"";
    let proxy = TestProxy::before_url(&format!("http://{address}")).set("limits", limits).start();
    let begun = Instant::now();
    assert_eq!(proxy.connect().ask(get("/x", &[])).status, 502);
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
}
