//! Requests over TLS, HTTP/1.1 and HTTP/2: what the hub sees of their heads, and WebSockets.

use super::http2::{get, request};
use super::{H1, Secure, noise, pump};
use crate::support::message::folded;
use crate::support::requests::{holds, websocket};
use crate::support::tables::lines;
use crate::support::{FakeHub, Seen, Then};

/// A browser that opens a link by itself: without these, https links are asked about first.
const CLICK: [(&str, &str); 3] =
    [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("sec-fetch-site", "none")];

fn identities(seen: &Seen) -> Vec<String> {
    let reserved = ["remote_user", "http_remote_user", "x_remote_user", "x_hublatch_assertion"];
    let names = seen.headers.0.iter().map(|(name, _)| name);
    let mut names: Vec<_> = names.filter(|name| reserved.contains(&folded(name).as_str())).cloned().collect();
    names.sort();
    names
}

#[test]
fn the_hub_sees_the_same_request_whatever_the_protocol() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    let target = "/user/alice/files/a%20b%2Fc;d//e.ipynb?x=1&y=%20z&reset";
    let over_h1 =
        secure.http1().ask(crate::support::requests::get(target, &["Accept: text/html", "X-Own: 1"]));
    let over_h2 = secure.http2().ask(get(target, &[("accept", "text/html"), ("x-own", "1")]));
    assert_eq!((over_h1.status, over_h1.text()), (over_h2.status, over_h2.text()));
    for protocol in ["http/1.1", "h2"] {
        let answered = format!("hublatch_requests_total{{code=\"2xx\",protocol=\"{protocol}\"}}");
        assert_eq!(secure.proxy.metric(&answered), 1, "{protocol}");
    }
    let seen = hub.seen();
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("GET", target));
    assert_eq!((&seen[0].target, &seen[0].version), (&seen[1].target, &seen[1].version));
    let sorted = |seen: &Seen| {
        let headers = seen.headers.0.iter().map(|(name, value)| (name.to_lowercase(), value.clone()));
        // Each request has an id of its own.
        let mut headers: Vec<_> = headers.filter(|(name, _)| name != "x-request-id").collect();
        headers.sort();
        headers
    };
    assert_eq!(sorted(&seen[0]), sorted(&seen[1]));
    for (name, value) in [
        ("host", "hub.test"),
        ("x-forwarded-proto", "https"),
        ("x-scheme", "https"),
        ("x-forwarded-port", "443"),
    ] {
        assert_eq!(seen[1].headers.get(name), Some(value), "{name}");
    }
}

#[test]
fn a_link_logs_in_over_http2() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    let link = secure.proxy.link("alice");
    assert!(link.url.starts_with("https://hub.test/hub/login?"), "{}", link.url);
    let answer = secure.http2().ask(get(&link.target(), &CLICK));
    assert_eq!(answer.status, 302, "{}", answer.text());
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 3);
    assert_eq!(hub.only("/hub/login").headers.all("remote_user"), ["alice"]);
    assert_eq!(secure.proxy.links().status(&link.id), "used");
}

#[test]
fn no_spelling_of_an_identity_arrives_over_http2_and_ours_is_there_once() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    let mut http2 = secure.http2();
    let mut names: Vec<String> =
        lines("identity_headers.txt").iter().map(|name| name.to_lowercase()).collect();
    names.sort();
    names.dedup();
    // Names have no upper case in HTTP/2; what such a frame comes to is shown in `frames.rs`.
    assert!(names.len() >= 10, "{names:?}");
    for name in &names {
        let spoof = [(name.as_str(), "mallory"), (name.as_str(), "mallory2")];
        for method in ["GET", "POST", "DELETE"] {
            let answer = http2.ask(request(method, "/hub/api/users/admin/tokens", &spoof));
            assert_eq!(answer.status, 200, "{name}");
        }
        let link = secure.proxy.link("alice");
        let answer = http2.ask(get(&link.target(), &[&CLICK[..], &spoof].concat()));
        assert_eq!(answer.status, 302, "{name}: {}", answer.text());
    }
    for seen in hub.seen() {
        let expected: &[&str] =
            if seen.path() == "/hub/login" { &["remote_user", "x-hublatch-assertion"] } else { &[] };
        assert_eq!(identities(&seen), expected, "{}", seen.target);
    }
    assert_eq!(hub.seen_at("/hub/login").len(), names.len());
    assert!(hub.received().iter().all(|bytes| !holds(bytes, "mallory")));
}

#[test]
fn crumbs_of_a_cookie_are_one_cookie_before_anybody_looks() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    let crumbs = [
        ("cookie", "a=\"2|1:0\""),
        ("cookie", "hublatch-token=hl_x"),
        ("cookie", "b=2; c=3"),
        ("cookie", "d=4"),
    ];
    secure.http2().ask(get("/x", &crumbs));
    assert_eq!(hub.only("/x").headers.all("cookie"), ["a=\"2|1:0\"; b=2; c=3; d=4"]);
}

#[test]
fn as_many_crumbs_as_a_browser_has_cookies_are_one_header() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    let crumbs: Vec<(&str, String)> = (0..150).map(|n| ("cookie", format!("c{n}={n}"))).collect();
    let crumbs: Vec<(&str, &str)> = crumbs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(secure.http2().ask(get("/x", &crumbs)).status, 200);
    let others: Vec<(String, &str)> = (0..150).map(|n| (format!("x-{n}"), "1")).collect();
    let others: Vec<(&str, &str)> = others.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(secure.http2().ask(get("/y", &others)).status, 431);
    assert_eq!(hub.seen().len(), 1);
}

#[test]
fn the_authority_is_the_host() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    let mut http2 = secure.http2();
    assert_eq!(http2.ask(get("/one", &[("host", "HUB.test")])).status, 200);
    for wrong in [
        &[("host", "evil.test")][..],
        &[("host", "hub.test:443")],
        &[("host", "")],
        &[("host", "hub.test"), ("host", "hub.test")],
        &[("host", "hub.test"), ("host", "evil.test")],
    ] {
        assert_eq!(http2.ask(get("/wrong", wrong)).status, 400, "{wrong:?}");
    }
    assert_eq!(hub.only("/one").headers.all("host"), ["HUB.test"]);
    assert_eq!(hub.seen_at("/wrong").len(), 0);
}

#[test]
fn what_the_next_hop_could_read_in_two_ways_is_refused() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    let mut http2 = secure.http2();
    for (name, value) in [
        ("x-a", " b"),
        ("x-a", "b\t"),
        ("content-length", "+1"),
        ("content-length", "01"),
        ("content-length", "1 "),
        ("content-length", "1,1"),
        ("content-length", "0x1"),
        ("content-length", "5"),
    ] {
        // Either we refuse it or the HTTP/2 layer does.
        if let Ok(answer) = http2.try_ask(request("POST", "/x", &[(name, value)])) {
            assert_eq!(answer.status, 400, "{name}: {value:?}");
        }
    }
    let twice = request("POST", "/x", &[("content-length", "0"), ("content-length", "0")]);
    assert_eq!(http2.ask(twice).status, 400);
    for path in ["/a/../b", "/a/%2e%2e/b", "/a\\b"] {
        assert_eq!(http2.ask(get(path, &[])).status, 400, "{path}");
    }
    assert_eq!(http2.ask(request("TRACE", "/x", &[])).status, 405);
    assert_eq!(http2.ask(get("/good", &[])).status, 200);
    assert_eq!(hub.seen().len(), 1);
}

#[test]
fn a_connect_is_refused_over_http2() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    let connect = hyper::Request::builder().method("CONNECT").uri("hub.test:443").body(()).unwrap();
    let status = secure.http2().run(async |sender| {
        let (response, _stream) = sender.ready().await.unwrap().send_request(connect, false).unwrap();
        response.await.unwrap().status().as_u16()
    });
    assert_eq!((status, hub.seen().len()), (405, 0));
}

#[test]
fn a_websocket_passes_over_tls_byte_for_byte() {
    let hub = FakeHub::start();
    let total = 3 * 1024 * 1024;
    hub.on("/user/alice/ws", move |exchange| {
        exchange.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello",
        );
        let mut left = total;
        while left > 0 {
            let piece = exchange.wire.take(left.min(64 * 1024));
            assert!(!piece.is_empty(), "{left} bytes are missing");
            left -= piece.len();
            exchange.send(&piece);
        }
        // Then the hub ends its side, and still hears the browser out.
        exchange.wire.end();
        let last = exchange.wire.rest();
        assert_eq!(last, b"bye");
        Then::Close
    });
    let secure = Secure::start(&hub);
    let mut wire = secure.http1();
    wire.send(websocket("/user/alice/ws", &[]));
    assert_eq!(wire.head().expect("a head").line, "HTTP/1.1 101 Switching Protocols");
    assert_eq!(wire.take(5), b"hello");
    let sent = noise(total);
    let mut writer = wire.writer();
    let copy = sent.clone();
    let writing = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &copy).unwrap());
    assert!(wire.take(total) == sent, "the same bytes");
    writing.join().unwrap();
    assert!(wire.is_ended());
    wire.send("bye");
    wire.end();
    hub.wait_for_open(0);
}

#[test]
fn small_messages_through_a_tunnel_do_not_wait_for_the_next_one() {
    let hub = FakeHub::start();
    hub.on("/ws", |exchange| {
        exchange
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        loop {
            let message = exchange.wire.take(4);
            if message.len() < 4 {
                return Then::Close;
            }
            exchange.send(message);
        }
    });
    let secure = Secure::start(&hub);
    let mut wire = pump::http1(secure.proxy.address(), &secure.client(H1));
    wire.send(websocket("/ws", &[]));
    wire.head().expect("a head");
    for n in 0..200_u32 {
        wire.send(n.to_be_bytes());
        assert_eq!(wire.take(4), n.to_be_bytes());
    }
}

#[test]
fn a_link_under_another_authority_is_misdirected_over_http2_too() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    let link = secure.proxy.link("alice");
    let at = |authority: &str| {
        let mut request = get(&link.target(), &CLICK);
        *request.uri_mut() = format!("https://{authority}{}", link.target()).parse().unwrap();
        secure.http2().ask(request)
    };
    for authority in ["evil.test", "hub.test:8443", "hub.test.", "www.hub.test"] {
        let answer = at(authority);
        assert_eq!(answer.status, 421, "{authority}: {}", answer.text());
    }
    assert!(hub.seen().is_empty(), "{:?}", hub.seen());
    assert_eq!(secure.proxy.links().status(&link.id), "pending");
    assert_eq!(at("HUB.test:443").status, 302);
}
