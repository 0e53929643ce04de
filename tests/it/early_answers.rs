//! A response that comes while its request is still being sent reaches a client that looks for it only afterwards
//! (RFC 9112 § 9.6): over HTTP/1.1, in the clear and over TLS, whoever has made it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::support::requests::request;
use crate::support::{FakeHub, PATIENCE, TestProxy, Then};
use crate::tls::H1;
use crate::tls::certificates::Authority;

const BODY_BYTES: usize = 2 * 1024 * 1024;

/// What is refused early, by whom, and with what status.
fn cases() -> Vec<(&'static str, Vec<u8>, u16)> {
    // The answer ends with its connection, so that one way of reading fits all.
    let length = format!("Connection: close\r\nContent-Length: {BODY_BYTES}");
    let form = "Content-Type: application/x-www-form-urlencoded";
    vec![
        ("our 400", request("PUT", "/a/../b", &[&length]), 400),
        ("our 400 for the framing", request("PUT", "/a", &[&length, "Transfer-Encoding: chunked"]), 400),
        (
            "our 400 for an upgrade",
            request("PUT", "/a", &[&length, "Connection: upgrade", "Upgrade: h2c"]),
            400,
        ),
        ("our 413", request("POST", "/hub/login", &[&length, form]), 413),
        ("the hub's 413", request("PUT", "/large", &[&length]), 413),
        ("the hub's 403", request("PUT", "/forbidden", &[&length]), 403),
        ("our 502", request("PUT", "/dead", &[&length]), 502),
        // Several times, because what comes first is another each time: the answer, the reset, or a write that fails.
        ("the hub's 400, then a reset", request("PUT", "/rude", &[&length]), 400),
        ("the same again", request("PUT", "/rude", &[&length]), 400),
        ("and again", request("PUT", "/rude", &[&length]), 400),
        ("and again", request("PUT", "/rude", &[&length]), 400),
    ]
}

fn hub() -> FakeHub {
    let hub = FakeHub::start();
    for (path, status) in [("/large", "413 Content Too Large"), ("/forbidden", "403 Forbidden")] {
        hub.on(path, move |exchange| {
            exchange.wire.take(64 * 1024);
            exchange.send(format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"));
            // It keeps its side open, as a server does that lingers.
            exchange.wire.rest();
            Then::Close
        });
    }
    // As Tornado does, and so JupyterHub: a head that ends with its connection, which is reset because of the bytes that
    // nobody has read.
    hub.on("/rude", |exchange| {
        exchange.wire.take(64 * 1024);
        exchange.send("HTTP/1.1 400 Bad Request\r\n\r\nno");
        Then::Close
    });
    hub.on("/dead", |_| Then::Close);
    hub
}

/// Sends all of `head` and its body, and only then reads what came, to the end of the connection.
fn send_all_then_read(
    mut stream: impl std::io::Read + std::io::Write,
    head: &[u8],
) -> Result<String, String> {
    stream.write_all(head).map_err(|error| format!("send the head: {error}"))?;
    let piece = vec![b'x'; 64 * 1024];
    for sent in 0..BODY_BYTES / piece.len() {
        stream.write_all(&piece).map_err(|error| format!("send piece {sent}: {error}"))?;
    }
    stream.flush().map_err(|error| format!("flush: {error}"))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(|error| format!("read: {error}"))?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn connect(proxy: &TestProxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("set a timeout");
    stream
}

#[test]
fn an_early_answer_reaches_a_client_that_reads_after_it_has_sent_all() {
    let hub = hub();
    let proxy = TestProxy::start(&hub);
    for (what, head, status) in cases() {
        let answer =
            send_all_then_read(connect(&proxy), &head).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
    }
}

#[test]
fn an_early_answer_reaches_such_a_client_over_tls_as_well() {
    let (hub, authority) = (hub(), Authority::new("public"));
    let builder =
        TestProxy::before(&hub).public_url("https://hub.test").set("public", &authority.files().toml());
    let (proxy, client) = (builder.start(), authority.client(H1, None));
    for (what, head, status) in cases() {
        let name = ServerName::try_from("hub.test").expect("a name");
        let session = ClientConnection::new(Arc::clone(&client), name).expect("a client");
        let answer = send_all_then_read(StreamOwned::new(session, connect(&proxy)), &head);
        let answer = answer.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
    }
}

#[test]
fn a_client_that_goes_on_sending_is_not_read_for_ever() {
    let proxy = TestProxy::start(&hub());
    let mut stream = connect(&proxy);
    stream.write_all(&cases()[0].1).expect("send");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 400");
    let piece = vec![b'x'; 1024 * 1024];
    let sent = (0..1024).take_while(|_| stream.write_all(&piece).is_ok()).count();
    assert!(sent < 1024, "it is cut off within its bound");
}
