//! What hublatch says of where a request came from, and what ends at it: forwarding and hop-by-hop headers, login
//! parameters, its own cookie.

use crate::support::requests::{get, holds, request, sized};
use crate::support::tables::lines;
use crate::support::{FakeHub, Seen, TestProxy};

/// The forwarding headers of a request that came straight from this machine.
const OURS: [(&str, &str); 5] = [
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-port", "80"),
    ("x-real-ip", "127.0.0.1"),
    ("x-scheme", "http"),
];

#[track_caller]
fn assert_forwarding(seen: &Seen, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(seen.headers.get(name), Some(*value), "{name}");
        assert_eq!(seen.headers.count_folded(name), 1, "{name} in any spelling");
    }
    for name in ["forwarded", "x-forwarded-host"] {
        // The Host header itself is untouched, so there is no other to tell of.
        assert_eq!(seen.headers.count_folded(name), 0, "{name}");
    }
}

#[test]
fn a_strangers_forwarding_headers_are_replaced_in_every_spelling() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for name in lines("forwarding_headers.txt") {
        hub.forget();
        let spoof = format!("{name}: 6.6.6.6");
        assert_eq!(proxy.connect().ask(get("/x", &[&spoof, &spoof])).status, 200);
        let seen = hub.only("/x");
        assert_forwarding(&seen, &OURS);
        assert!(!holds(&seen.head, "6.6.6.6"), "{name}: {}", String::from_utf8_lossy(&seen.head));
    }
}

#[test]
fn the_scheme_and_port_are_those_of_the_public_url() {
    let hub = FakeHub::start();
    for (url, scheme, port) in [
        ("https://hub.test", "https", "443"),
        ("https://hub.test:8443", "https", "8443"),
        ("http://hub.test:8000", "http", "8000"),
    ] {
        hub.forget();
        let proxy = TestProxy::before(&hub).public_url(url).start();
        proxy.connect().ask(get("/x", &["X-Forwarded-Proto: gopher"]));
        let expected = [("x-forwarded-proto", scheme), ("x-scheme", scheme), ("x-forwarded-port", port)];
        assert_forwarding(&hub.only("/x"), &expected);
    }
}

#[test]
fn a_trusted_proxy_is_believed_up_to_the_first_address_that_is_not_trusted() {
    let hub = FakeHub::start();
    let trusted = "trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\", \"2001:db8::/32\"]";
    let proxy = TestProxy::before(&hub).set("public", trusted).start();
    let mut wire = proxy.connect();
    for (lines, client) in [
        (&["X-Forwarded-For: 192.0.2.7"][..], "192.0.2.7"),
        (&["X-Forwarded-For: 6.6.6.6, 192.0.2.7"], "192.0.2.7"),
        (&["X-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.1.1.1"], "192.0.2.7"),
        (&["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 192.0.2.7"], "192.0.2.7"),
        (&["X-Forwarded-For: 192.0.2.7:4711"], "192.0.2.7"),
        (&["X-Forwarded-For: 2001:db9::1"], "2001:db9::1"),
        (&["X-Forwarded-For: [2001:db9::1]:443"], "2001:db9::1"),
        (&["X-Forwarded-For: ::ffff:192.0.2.7"], "192.0.2.7"),
        (&["X-Forwarded-For: 10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        // What cannot be read ends the chain: left of it anybody may have written.
        (&["X-Forwarded-For: 6.6.6.6, unknown, 10.1.1.1"], "10.1.1.1"),
        (&["X-Forwarded-For: unknown"], "127.0.0.1"),
        (&["X-Forwarded-For: 6.6.6.6,"], "127.0.0.1"),
        (&["X-Forwarded-For:"], "127.0.0.1"),
        (&["X_Forwarded_For: 6.6.6.6", "X-Real-IP: 6.6.6.6", "Forwarded: for=6.6.6.6"], "127.0.0.1"),
        (&[], "127.0.0.1"),
    ] {
        hub.forget();
        wire.ask(get("/x", lines));
        assert_forwarding(&hub.only("/x"), &[("x-forwarded-for", client), ("x-real-ip", client)]);
    }
}

#[test]
fn a_trusted_proxys_scheme_is_believed_if_it_is_one_word() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("public", "trusted_proxies = [\"127.0.0.1\"]").start();
    let mut wire = proxy.connect();
    for (lines, scheme, port) in [
        (&["X-Forwarded-Proto: https"][..], "https", "443"),
        (&["X-Forwarded-Proto: http"], "http", "80"),
        (&["X-Forwarded-Proto: https", "X-Forwarded-Proto: http"], "http", "80"),
        (&["X-Forwarded-Proto: https, http"], "http", "80"),
        (&["X-Forwarded-Proto: gopher"], "http", "80"),
        (&["X-Scheme: https", "X_Forwarded_Proto: https"], "http", "80"),
        (&["X-Forwarded-Host: evil.test", "X-Forwarded-Port: 1"], "http", "80"),
    ] {
        hub.forget();
        wire.ask(get("/x", lines));
        let expected = [("x-scheme", scheme), ("x-forwarded-proto", scheme), ("x-forwarded-port", port)];
        assert_forwarding(&hub.only("/x"), &expected);
    }
}

#[test]
fn hop_by_hop_headers_end_here_in_both_directions() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let gone =
        ["Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Upgrade"];
    let lines: String = gone.iter().map(|name| format!("{name}: x\r\n")).collect();
    hub.reply(
        "/x",
        format!("HTTP/1.1 200 OK\r\nConnection: x-hop, Content-Length\r\nX-Hop: 1\r\nX-End: 1\r\n{lines}Content-Length: 2\r\n\r\nok"),
    );
    let lines: Vec<String> = gone.iter().map(|name| format!("{name}: x")).collect();
    let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    lines.extend([
        "Connection: x-hop, x-hop-2",
        "Connection: x-hop-3",
        "X-Hop: 1",
        "x-hop-2: 1",
        "X-HOP-3: 1",
        "X-End: 1",
    ]);
    let answer = proxy.connect().ask(get("/x", &lines));
    let seen = hub.only("/x");
    assert_eq!((answer.text().as_str(), answer.headers.get("content-length")), ("ok", Some("2")));
    for name in gone.iter().chain(&["X-Hop", "X-Hop-2", "X-Hop-3"]) {
        assert!(!seen.headers.has(name), "{name} upstream");
        assert!(!answer.headers.has(name), "{name} downstream");
    }
    assert_eq!((seen.headers.get("x-end"), answer.headers.get("x-end")), (Some("1"), Some("1")));
}

#[test]
fn what_a_hub_and_a_notebook_look_at_stays_byte_for_byte() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let lines = [
        "Origin: https://elsewhere.test",
        "Referer: https://hub.test/user/alice/lab?x=%20y&token=abc",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Mode: cors",
        "Sec-Fetch-Dest: empty",
        "Cookie: a=\"2|1:0|10:1|x=y\"; b; =c;; d = e;f=\"g h\"",
        "Cookie: second=line",
        "Authorization: token 0123456789abcdef",
        "X-XSRFToken: 2|abc|def",
        "Accept-Encoding: gzip, deflate, br",
        "If-None-Match: W/\"x\"",
        "Range: bytes=0-",
        "User-Agent: Mozilla/5.0 (X11)  two  spaces",
        "Via: 1.1 front",
        "X-Odd-Name_1.2~3!#$%&'*+^`|: v",
    ];
    assert_eq!(proxy.connect().ask(get("/x", &lines)).status, 200);
    let seen = hub.only("/x");
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a header");
        assert!(seen.headers.all(name).contains(&value), "{line}: {:?}", seen.headers);
    }
    assert_eq!(seen.headers.all("cookie").len(), 2);
    assert_eq!(seen.headers.all("host"), ["hub.test"]);
}

#[test]
fn a_login_parameter_leaves_every_query_and_what_stays_is_untouched() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut wire = proxy.connect();
    for line in lines("queries_with_a_token.txt") {
        let (query, rest) = line.split_once(" -> ").expect("two columns");
        hub.forget();
        assert_eq!(wire.ask(get(format!("/user/alice/lab?{query}"), &[])).status, 200);
        let expected =
            if rest == "(none)" { "/user/alice/lab".to_owned() } else { format!("/user/alice/lab?{rest}") };
        assert_eq!(hub.only("/user/alice/lab").target, expected, "{query}");
    }
}

#[test]
fn a_referer_with_a_token_does_not_arrive_and_another_does() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut wire = proxy.connect();
    for (referer, arrives) in [
        ("https://portal.test/", true),
        ("https://hub.test/search?q=login_token", true),
        ("https://hub.test/hub/login?login_token=hl_x", false),
        ("https://hub.test/hub/login?LOGIN-TOKEN=hl_x", false),
        ("https://hub.test/hub/login?a=b&login%5Ftoken=hl_x", false),
        ("https://hub.test/x?next=%2Fhub%2Flogin%3Flogin_token%3Dhl_x", false),
        ("https://hub.test/x?next=%252Fhub%252Flogin%253Flogin_token%253Dhl_x", false),
        ("https://hub.test/x#login_token=hl_x", false),
        ("/hub/login?login_token=hl_x", false),
    ] {
        hub.forget();
        wire.ask(get("/x", &[&format!("Referer: {referer}")]));
        assert_eq!(hub.only("/x").headers.has("referer"), arrives, "{referer}");
    }
}

#[test]
fn the_hand_over_cookie_is_ours_and_never_sent_on() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut wire = proxy.connect();
    for (cookies, rest) in [
        ("hublatch-token=hl_x", None),
        ("a=1; hublatch-token=hl_x; b=\"2|3\"", Some("a=1; b=\"2|3\"")),
        ("hublatch-token=hl_x;a=1", Some("a=1")),
        ("a=1; xhublatch-token=kept; hublatch-tokens=gone", Some("a=1; xhublatch-token=kept")),
    ] {
        hub.forget();
        wire.ask(get("/x", &[&format!("Cookie: {cookies}")]));
        assert_eq!(hub.only("/x").headers.get("cookie"), rest, "{cookies}");
    }
}

#[test]
fn a_head_of_http_1_0_goes_upstream_as_http_1_1_with_the_public_host() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut wire = proxy.connect();
    wire.send("GET /x HTTP/1.0\r\nA: 1\r\n\r\n");
    let answer = wire.answer_to("GET").expect("an answer");
    let seen = hub.only("/x");
    assert_eq!((answer.status, seen.version.as_str()), (200, "HTTP/1.1"));
    assert_eq!(seen.headers.all("host"), ["hub.test"]);
    assert!(wire.is_ended(), "HTTP/1.0 closes");
}

#[test]
fn every_method_but_two_passes_with_its_body() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut wire = proxy.connect();
    for method in
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "MKCOL", "get", "X-ANY"]
    {
        hub.forget();
        assert_eq!(wire.ask(sized(method, "/x", &[], "body")).status, 200, "{method}");
        let seen = hub.only("/x");
        assert_eq!((seen.method.as_str(), seen.body.as_slice()), (method, b"body".as_slice()));
        assert_eq!(seen.headers.get("content-length"), Some("4"), "{method}");
    }
    for method in ["CONNECT", "TRACE"] {
        hub.forget();
        let answer = proxy.connect().ask(request(method, "/x", &[]));
        assert_eq!((answer.status, hub.seen().len()), (405, 0), "{method}");
    }
}
