//! The PROXY protocol: who the client is, is said by a proxy that is trusted, and by nobody else.

use std::net::TcpStream;

use crate::support::proxy::Builder;
use crate::support::requests::get;
use crate::support::tables::{lines, unescaped};
use crate::support::{FakeHub, TestProxy, Wire};
use crate::tls::certificates::Authority;
use crate::tls::{H1, pump};

const V1: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn before(hub: &FakeHub) -> Builder {
    TestProxy::before(hub).set("public", "trusted_proxies = [\"127.0.0.1\"]\nproxy_protocol = true")
}

/// A header of version 2 with this command and family, and what follows them.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[0x20 | command, family], &length, rest].concat()
}

/// What the hub is told of the client of a connection that begins with `header`.
fn client(hub: &FakeHub, proxy: &TestProxy, header: impl AsRef<[u8]>) -> String {
    hub.forget();
    let mut wire = proxy.connect();
    // In one piece with the request: not a byte behind the header is lost.
    wire.send([header.as_ref(), &get("/x", &["X-Forwarded-For: 6.6.6.6"])].concat());
    assert_eq!(wire.answer_to("GET").expect("an answer").status, 200);
    let seen = hub.only("/x");
    assert_eq!(seen.headers.get("x-real-ip"), seen.headers.get("x-forwarded-for"));
    seen.headers.get("x-forwarded-for").unwrap().to_owned()
}

#[test]
fn the_client_is_whom_the_header_names() {
    let hub = FakeHub::start();
    let proxy = before(&hub).start();
    let four = [192, 0, 2, 9, 198, 51, 100, 1, 0, 1, 0, 2];
    let six: Vec<u8> = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[5], &[0; 16], &[0, 1, 0, 2]].concat();
    let mapped: Vec<u8> = [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 3], &[0; 16], &[0, 1, 0, 2]].concat();
    // Extensions (TLVs) are passed over: an authority, and padding.
    let extended = [&four[..], b"\x02\x00\x08hub.test", &[4, 0, 100], &[0; 100]].concat();
    for (header, expected) in [
        (V1.as_bytes().to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::5 ::1 1 65535\r\n".to_vec(), "2001:db8::5"),
        (b"PROXY TCP6 ::ffff:192.0.2.3 ::1 1 2\r\n".to_vec(), "192.0.2.3"),
        (v2(1, 0x11, &four), "192.0.2.9"),
        (v2(1, 0x11, &extended), "192.0.2.9"),
        (v2(1, 0x21, &six), "2001:db8::5"),
        (v2(1, 0x21, &mapped), "192.0.2.3"),
    ] {
        assert_eq!(client(&hub, &proxy, header), expected);
    }
}

#[test]
fn a_proxy_that_speaks_for_itself_is_the_client_whatever_its_headers_say() {
    let hub = FakeHub::start();
    let proxy = before(&hub).start();
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
        v2(0, 0, &[]),
        v2(0, 0x11, &[9; 12]),
        v2(1, 0, &[1; 20]),
        v2(1, 0x31, &[b'a'; 216]),
    ] {
        assert_eq!(client(&hub, &proxy, header), "127.0.0.1");
    }
}

#[test]
fn a_client_in_the_network_of_the_proxies_is_not_believed_as_one() {
    let hub = FakeHub::start();
    let rules = "trusted_proxies = [\"127.0.0.1\", \"192.0.2.0/24\"]\nproxy_protocol = true";
    let proxy = TestProxy::before(&hub).set("public", rules).start();
    assert_eq!(client(&hub, &proxy, V1), "192.0.2.7");
}

#[test]
fn what_is_no_header_is_no_connection() {
    let hub = FakeHub::start();
    let proxy = before(&hub).start();
    let table = lines("proxy_protocol_refused.txt");
    assert!(table.len() >= 50);
    for line in table {
        let mut wire = proxy.connect();
        // It may be closed before all is written.
        let _sent = wire.try_send([unescaped(&line), get("/x", &[])].concat());
        assert!(wire.rest().is_empty(), "{line}");
    }
    assert!(hub.seen().is_empty(), "{:?}", hub.seen());
    assert_eq!(client(&hub, &proxy, V1), "192.0.2.7", "and others are served");
}

#[test]
fn a_header_may_come_in_pieces_but_not_take_for_ever() {
    let hub = FakeHub::start();
    let proxy = before(&hub).set("limits", "handshake_timeout = \"1s\"").start();
    let mut slow = proxy.connect();
    slow.send("PROXY TCP4 192.0.");
    let mut silent = proxy.connect();
    assert!(slow.is_ended() && silent.is_ended());
    let mut wire = proxy.connect();
    for byte in V1.as_bytes() {
        wire.send([*byte]);
    }
    assert_eq!(wire.ask(get("/x", &[])).status, 200);
}

#[test]
fn nobody_but_a_trusted_proxy_is_listened_to() {
    let hub = FakeHub::start();
    let proxy =
        before(&hub).set("public", "trusted_proxies = [\"192.0.2.0/24\"]\nproxy_protocol = true").start();
    let mut wire = proxy.connect();
    let _sent = wire.try_send([V1.as_bytes(), &get("/x", &[])].concat());
    assert!(wire.rest().is_empty());
    assert!(hub.seen().is_empty());
}

#[test]
fn without_the_switch_a_header_is_a_bad_request() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("public", "trusted_proxies = [\"127.0.0.1\"]").start();
    let mut wire = proxy.connect();
    wire.send([V1.as_bytes(), &get("/x", &[])].concat());
    assert_eq!(wire.answer_to("GET").expect("an answer").status, 400);
    assert!(hub.seen().is_empty());
}

#[test]
fn it_comes_before_tls() {
    let hub = FakeHub::start();
    let authority = Authority::new("public");
    let builder = before(&hub).public_url("https://hub.test").set("public", &authority.files().toml());
    let proxy = builder.start();
    // A front that passes TLS through, and says for whom.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (front, back) = (listener.local_addr().unwrap(), proxy.address());
    let carried = std::thread::spawn(move || {
        let (mut near, _) = listener.accept().unwrap();
        let mut far = TcpStream::connect(back).unwrap();
        std::io::Write::write_all(&mut far, V1.as_bytes()).unwrap();
        let (mut near_in, mut far_out) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let up = std::thread::spawn(move || {
            let _ended = std::io::copy(&mut near_in, &mut far_out);
            let _closed = far_out.shutdown(std::net::Shutdown::Write);
        });
        let _ended = std::io::copy(&mut far, &mut near);
        up.join().unwrap();
    });
    let mut wire: Wire = pump::http1(front, &authority.client(H1, None));
    assert_eq!(wire.ask(get("/x", &["Connection: close"])).status, 200);
    assert_eq!(hub.only("/x").headers.get("x-forwarded-for"), Some("192.0.2.7"));
    drop(wire);
    carried.join().unwrap();
}

#[test]
fn the_audit_names_the_client_that_the_header_names() {
    let hub = FakeHub::start();
    let proxy = before(&hub).start();
    let link = proxy.link("alice");
    let mut wire = proxy.connect();
    wire.send([V1.as_bytes(), &proxy.browser().navigate(&link.target()).bytes()].concat());
    assert_eq!(wire.answer_to("GET").expect("an answer").status, 302);
    let redeemed = proxy.audit().pop().expect("a line");
    assert_eq!(
        (redeemed["event"].as_str(), redeemed["client_ip"].as_str()),
        (Some("redeemed"), Some("192.0.2.7"))
    );
}
