//! The hub over TLS: who is believed to be it.

use super::certificates::Authority;
use super::{Secure, pump};
use crate::support::requests::{get, websocket};
use crate::support::{FakeHub, TestProxy, Then};

/// The address of a TLS front before `hub`, with a certificate for `name`.
fn front(hub: &FakeHub, authority: &Authority, name: &str) -> std::net::SocketAddr {
    pump::front(hub.address(), authority.issue(&[name]).server())
}

fn hub_section(authority: &Authority) -> String {
    format!("ca_file = {:?}", authority.ca_file())
}

#[test]
fn a_hub_with_the_right_certificate_is_spoken_to() {
    let hub = FakeHub::start();
    let authority = Authority::new("hub");
    for name in ["127.0.0.1", "localhost"] {
        let port = front(&hub, &authority, name).port();
        let builder = TestProxy::before_url(&format!("https://{name}:{port}"));
        let proxy = builder.set("hub", &hub_section(&authority)).start();
        hub.forget();
        let before = hub.connections();
        let mut wire = proxy.connect();
        for _ in 0..10 {
            assert_eq!(wire.ask(get("/x", &[])).status, 200, "{name}");
        }
        // The pool keeps encrypted connections as well.
        assert_eq!((hub.seen().len(), hub.connections() - before), (10, 1), "{name}");
    }
}

#[test]
fn a_hub_with_a_wrong_certificate_is_a_bad_gateway() {
    let hub = FakeHub::start();
    let (right, wrong) = (Authority::new("hub"), Authority::new("hub"));
    let expired =
        right.issue_with(&["127.0.0.1"], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    for (what, address, section) in [
        ("another authority", front(&hub, &wrong, "127.0.0.1"), hub_section(&right)),
        ("another name", front(&hub, &right, "hub.test"), hub_section(&right)),
        ("an expired certificate", pump::front(hub.address(), expired.server()), hub_section(&right)),
        ("no authority but the system's", front(&hub, &right, "127.0.0.1"), String::new()),
        ("no TLS", hub.address(), hub_section(&right)),
    ] {
        let proxy = TestProxy::before_url(&format!("https://{address}")).set("hub", &section).start();
        assert_eq!(proxy.connect().ask(get("/x", &[])).status, 502, "{what}");
    }
    assert_eq!(hub.seen().len(), 0);
}

/// What `openssl req -x509` makes is an authority (CA:TRUE) and the server's own certificate in one.
#[test]
fn a_self_signed_certificate_that_is_named_is_accepted_for_its_name_and_time() {
    let hub = FakeHub::start();
    let good = Authority::named(&["127.0.0.1"], |_| ());
    let other = Authority::named(&["127.0.0.1"], |_| ());
    let misnamed = Authority::named(&["hub.test"], |_| ());
    let expired =
        Authority::named(&["127.0.0.1"], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    for (what, server, named, status) in [
        ("its own", &good, &good, 200),
        ("another's", &good, &other, 502),
        ("another name", &misnamed, &misnamed, 502),
        ("expired", &expired, &expired, 502),
    ] {
        let address = pump::front(hub.address(), server.itself().server());
        let builder = TestProxy::before_url(&format!("https://{address}"));
        let proxy = builder.set("hub", &hub_section(named)).start();
        assert_eq!(proxy.connect().ask(get("/x", &[])).status, status, "{what}");
    }
}

#[test]
fn a_login_and_a_websocket_pass_with_tls_on_both_sides() {
    let hub = FakeHub::start();
    hub.on("/ws", |exchange| {
        exchange
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        let message = exchange.wire.take(5);
        exchange.send(message);
        Then::Close
    });
    let authority = Authority::new("hub");
    let url = format!("https://{}", front(&hub, &authority, "127.0.0.1"));
    let secure =
        Secure::of(TestProxy::before_url(&url), |builder| builder.set("hub", &hub_section(&authority)));
    let link = secure.proxy.link("alice");
    let click = ["Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: none"];
    assert_eq!(secure.http1().ask(get(link.target(), &click)).status, 302);
    assert_eq!(hub.only("/hub/login").headers.all("remote_user"), ["alice"]);
    let mut wire = secure.http1();
    wire.send(websocket("/ws", &[]));
    wire.head().expect("a head");
    wire.send("hello");
    assert_eq!(wire.take(5), b"hello");
    assert!(wire.is_ended());
}
