//! Handshakes: which protocol comes of them, how long they may take, and who is turned away.

use std::time::{Duration, Instant};

use rustls::HandshakeKind;

use super::http2::get;
use super::{H1, H2, Secure, pump};
use crate::support::requests;
use crate::support::wire::raw;
use crate::support::{FakeHub, Wire};

#[test]
fn a_browser_without_http2_gets_http1() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    for (offered, agreed) in [(H1, Some("http/1.1")), (&[], None)] {
        let (mut wire, alpn) =
            pump::connect(secure.proxy.address(), &secure.client(offered)).expect("a handshake");
        assert_eq!(alpn.as_deref(), agreed, "{offered:?}");
        assert_eq!(wire.ask(requests::get("/x", &[])).status, 200);
        // More than one request on a connection.
        assert_eq!(wire.ask(requests::get("/y", &[])).status, 200);
    }
    assert_eq!(secure.http2().ask(get("/z", &[])).status, 200);
}

#[test]
fn a_protocol_that_we_do_not_speak_is_no_fallback() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    for offered in [&["h2c"][..], &["spdy/3", "http/1.0"]] {
        let error =
            pump::connect(secure.proxy.address(), &secure.client(offered)).expect_err("no common protocol");
        assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    }
}

#[test]
fn tls_1_2_and_1_3_are_spoken() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = secure.authority.client_of(&[version], H1, None);
        let mut wire = pump::http1(secure.proxy.address(), &config);
        assert_eq!(wire.ask(requests::get("/x", &[])).status, 200, "{version:?}");
    }
}

/// A ClientHello of TLS 1.0 to 1.2, as browsers of those days sent it.
fn client_hello(minor: u8) -> Vec<u8> {
    let extensions: &[u8] = &[
        0, 10, 0, 4, 0, 2, 0, 23, // supported_groups: secp256r1
        0, 11, 0, 2, 1, 0, // ec_point_formats: uncompressed
        0, 13, 0, 6, 0, 4, 4, 3, 8,
        4, // signature_algorithms: ecdsa_secp256r1_sha256, rsa_pss_rsae_sha256
        0, 23, 0, 0, // extended_master_secret
    ];
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    hello.push(0);
    // ECDHE-ECDSA with AES-128: GCM and CBC, and the renegotiation marker.
    hello.extend([0, 6, 0xc0, 0x2b, 0xc0, 0x09, 0, 0xff]);
    hello.extend([1, 0, 0, u8::try_from(extensions.len()).unwrap()]);
    hello.extend(extensions);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.append(&mut hello);
    record
}

#[test]
fn tls_1_1_and_older_are_refused() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    // The hello itself is good: with the version of TLS 1.2 it is answered by a ServerHello.
    let mut wire = Wire::connect(secure.proxy.address());
    wire.send(client_hello(3));
    let record = wire.take(6);
    assert_eq!((record[0], record[5]), (22, 2), "{record:?}");
    for minor in [0, 1, 2] {
        let answer = raw(secure.proxy.address(), client_hello(minor));
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, 70], "fatal alert protocol_version to 3.{minor}");
    }
}

#[test]
fn plain_http_on_the_tls_port_gets_no_answer() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    for request in ["GET / HTTP/1.1\r\nHost: hub.test\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let answer = raw(secure.proxy.address(), request);
        assert!(answer.len() <= 7 && !answer.starts_with(b"HTTP"), "{answer:?}");
    }
    assert_eq!(hub.seen().len(), 0);
}

#[test]
fn a_handshake_has_a_deadline_and_holds_up_nobody() {
    let hub = FakeHub::start();
    let secure = Secure::with(&hub, |builder| builder.set("limits", "handshake_timeout = \"3s\""));
    let begun = Instant::now();
    let mut silent: Vec<Wire> = (0..50).map(|_| secure.proxy.connect()).collect();
    for (number, wire) in silent.iter_mut().enumerate() {
        // Some say nothing, some stop in the middle of a hello.
        wire.send(&client_hello(3)[..if number % 2 == 0 { 0 } else { 40 }]);
    }
    assert_eq!(secure.http1().ask(requests::get("/x", &[])).status, 200);
    assert!(begun.elapsed() < Duration::from_secs(3), "others waited: {:?}", begun.elapsed());
    for mut wire in silent {
        assert!(wire.rest().len() <= 7);
    }
    assert!(begun.elapsed() >= Duration::from_secs(3));
}

#[test]
fn a_session_is_resumed() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = secure.authority.client_of(&[version], H1, None);
        let kinds: Vec<_> = (0..3).map(|_| pump::handshake(secure.proxy.address(), &config)).collect();
        assert_eq!(kinds[0], HandshakeKind::Full, "{version:?}");
        assert_eq!(kinds[1..], [HandshakeKind::Resumed; 2], "{version:?}");
    }
}

#[test]
fn a_plain_listener_beside_tls_only_redirects() {
    let hub = FakeHub::start();
    let authority = super::Authority::new("public");
    let builder = crate::support::TestProxy::before(&hub)
        .public_url("https://hub.test")
        .set("public", &authority.files().toml())
        .set("public", "redirect_listen = [\"127.0.0.1:0\", \"[::1]:0\"]");
    let running = hublatch::app::start(&builder.config(), hublatch::app::Dependencies::default()).unwrap();
    assert_eq!((running.public().len(), running.redirect().len()), (1, 2));
    for address in running.redirect() {
        let address = address.to_string().parse().unwrap();
        for (method, target, location) in [
            ("GET", "/", "/"),
            ("GET", "/hub/login?login_token=hl_x&next=/a%20b", "/hub/login?login_token=hl_x&next=/a%20b"),
            ("HEAD", "/a;b//c%2Fd", "/a;b//c%2Fd"),
            ("GET", "//evil.test/", "//evil.test/"),
            ("POST", "/hub/login", "/hub/login"),
            ("DELETE", "/x", "/x"),
            ("OPTIONS", "*", "/"),
            ("GET", "http://evil.test/x?y", "/x?y"),
        ] {
            let answer = Wire::connect(address).ask(requests::request(method, target, &[]));
            assert_eq!(answer.status, 308, "{method} {target}");
            assert_eq!(answer.location(), format!("https://hub.test{location}"), "{method} {target}");
            assert_eq!((answer.body.len(), answer.headers.get("cache-control")), (0, Some("no-store")));
        }
        // Not even a WebSocket or a TLS handshake gets through.
        assert_eq!(Wire::connect(address).ask(requests::websocket("/ws", &[])).status, 308);
        assert!(pump::connect(address, &authority.client(H2, None)).is_err());
    }
    assert_eq!(hub.seen().len(), 0);
    running.stop();
}
