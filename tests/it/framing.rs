//! Where one request ends and the next begins: what two parsers could read in two ways is refused, and nothing behind
//! it ever becomes a request.

use crate::support::message::latin1;
use crate::support::requests::{chunked, get, request, sized};
use crate::support::tables::{lines, unescaped};
use crate::support::wire::raw;
use crate::support::{FakeHub, TestProxy};

/// A request that must never reach the hub: it stands behind one that is refused.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: hub.test\r\nREMOTE_USER: mallory\r\n\r\n";

#[test]
fn an_ambiguous_head_is_refused_and_nothing_reaches_the_hub() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for line in lines("framing_refused.txt") {
        let answer = raw(proxy.address(), [&unescaped(&line), SMUGGLED.as_bytes()].concat());
        let text = latin1(&answer);
        assert!(text.starts_with("HTTP/1.1 400 "), "{line}: {text}");
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{line}: {text}");
    }
    // The hub answers this one after whatever it may have got before.
    assert_eq!(proxy.connect().ask(get("/last", &[])).status, 200);
    assert_eq!(hub.seen().len(), 1, "{:?}", hub.seen());
    assert_eq!(hub.connections(), 1);
}

#[test]
fn an_ambiguous_head_is_refused_behind_a_good_one_too() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for line in lines("framing_refused.txt") {
        let good = sized("POST", "/good", &[], "body");
        let answer = raw(proxy.address(), [&good, unescaped(&line).as_slice(), SMUGGLED.as_bytes()].concat());
        let text = latin1(&answer);
        let statuses: Vec<&str> =
            text.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)).collect();
        assert_eq!(statuses, ["200", "400"], "{line}: {text}");
    }
    assert_eq!(hub.seen_at("/good").len(), lines("framing_refused.txt").len());
    assert_eq!(hub.seen().len(), hub.seen_at("/good").len());
}

#[test]
fn a_broken_chunked_body_never_ends_well_and_hides_no_request() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for line in lines("chunks_refused.txt") {
        for (method, path) in [("POST", "/stream"), ("DELETE", "/whole"), ("POST", "/hub/login")] {
            hub.forget();
            let form = "Content-Type: application/x-www-form-urlencoded";
            let head = request(method, path, &["Transfer-Encoding: chunked", form]);
            let answer =
                raw(proxy.address(), [&head, unescaped(&line).as_slice(), SMUGGLED.as_bytes()].concat());
            let text = latin1(&answer);
            assert!(!text.contains("HTTP/1.1 2") && !text.contains("HTTP/1.1 3"), "{line} {method}: {text}");
            assert!(text.matches("HTTP/1.1 ").count() <= 1, "{line} {method}: {text}");
            assert!(
                hub.seen().iter().all(|seen| seen.path() == "/stream" && !seen.complete),
                "{line} {method}"
            );
        }
    }
    assert_eq!(hub.seen_at("/smuggled").len(), 0);
}

#[test]
fn a_length_that_no_body_has_is_refused() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let head = request("POST", "/x", &["Content-Length: 18446744073709551615"]);
    let text = latin1(&raw(proxy.address(), [head.as_slice(), b"hello", SMUGGLED.as_bytes()].concat()));
    assert!(text.starts_with("HTTP/1.1 4"), "{text}");
    assert_eq!((text.matches("HTTP/1.1 ").count(), hub.seen().len()), (1, 0));
}

#[test]
fn good_requests_behind_each_other_are_answered_in_order() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let requests = [
        get("/1", &[]),
        sized("POST", "/2", &[], "GET /not-a-request HTTP/1.1\r\nHost: hub.test\r\n\r\n"),
        chunked(
            "PUT",
            "/3",
            &[],
            &[b"GET /not-a-request HTTP/1.1\r\n", b"Host: hub.test\r\n\r\n"],
            &["X: 1"],
        ),
        request("HEAD", "/4", &[]),
        sized("DELETE", "/5", &[], ""),
        chunked("DELETE", "/6", &[], &[b"0\r\n\r\n"], &[]),
        b"\r\n".to_vec(),
        get("/7", &["Connection: close"]),
        SMUGGLED.as_bytes().to_vec(),
    ];
    let mut wire = proxy.connect();
    wire.send(requests.concat());
    for method in ["GET", "POST", "PUT", "HEAD", "DELETE", "DELETE", "GET"] {
        assert_eq!(wire.answer_to(method).expect("an answer").status, 200);
    }
    assert!(wire.is_ended(), "it said close");
    let targets: Vec<String> = hub.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/1", "/2", "/3", "/4", "/5", "/6", "/7"]);
    assert_eq!(latin1(&hub.only("/2").body), "GET /not-a-request HTTP/1.1\r\nHost: hub.test\r\n\r\n");
    assert_eq!(hub.only("/3").body, hub.only("/2").body);
    assert_eq!(latin1(&hub.only("/6").body), "0\r\n\r\n");
}

#[test]
fn the_chunks_of_a_delete_or_options_go_on_with_a_length() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut wire = proxy.connect();
    for method in ["DELETE", "OPTIONS"] {
        for chunks in
            [&[][..], &[b"a".as_slice()], &[b"GET /smuggled HTTP/1.1\r\n", b"\r\n"], &[&[7; 65_536]]]
        {
            hub.forget();
            assert_eq!(wire.ask(chunked(method, "/x", &[], chunks, &["X: 1"])).status, 200, "{method}");
            let (seen, body) = (hub.only("/x"), chunks.concat());
            assert!(!seen.headers.has("transfer-encoding"), "{method}: {:?}", seen.headers);
            let length = seen.headers.get("content-length").map(str::to_owned);
            assert!(body.is_empty() || length == Some(body.len().to_string()), "{method}: {length:?}");
            assert_eq!((seen.body, seen.complete), (body, true), "{method}");
        }
    }
}

#[test]
fn more_chunks_of_a_delete_or_options_than_64_kib_are_413() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for method in ["DELETE", "OPTIONS"] {
        let request = chunked(method, "/x", &[], &[&[7; 65_536], b"8"], &[]);
        let mut wire = proxy.connect();
        wire.send([&request, SMUGGLED.as_bytes()].concat());
        assert_eq!(wire.answer_to(method).expect("an answer").status, 413, "{method}");
        assert!(wire.rest().is_empty(), "{method}: nothing follows");
        // With a length that is told there is nothing to lose.
        let large = sized(method, "/large", &[], vec![7; 100_000]);
        assert_eq!(proxy.connect().ask(large).status, 200, "{method}");
    }
    assert_eq!(hub.seen_at("/large").len(), hub.seen().len());
    assert!(hub.seen().iter().all(|seen| seen.body.len() == 100_000));
}

#[test]
fn other_chunked_bodies_stay_chunked() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut wire = proxy.connect();
    for method in ["POST", "PUT", "PATCH", "GET", "PROPFIND"] {
        hub.forget();
        assert_eq!(wire.ask(chunked(method, "/x", &[], &[b"hello ", b"world"], &[])).status, 200, "{method}");
        let seen = hub.only("/x");
        assert_eq!(seen.headers.all("transfer-encoding"), ["chunked"], "{method}");
        assert_eq!((latin1(&seen.body).as_str(), seen.complete), ("hello world", true), "{method}");
    }
}

#[test]
fn a_sound_chunked_body_may_have_extensions_and_any_case() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for (coding, body) in [
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ("transfer-encoding:CHUNKED", "5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: \tchunked \t", "5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "5;a=b;c=\"d\"\r\nhello\r\n0;x\r\n\r\n"),
        ("Transfer-Encoding: chunked", "05\r\nhello\r\n000\r\n\r\n"),
        ("Transfer-Encoding: chunked", "2\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer-Of: a client\r\n\r\n"),
    ] {
        hub.forget();
        let head = request("POST", "/x", &[coding]);
        assert_eq!(proxy.connect().ask([&head, body.as_bytes()].concat()).status, 200, "{coding} {body:?}");
        assert_eq!(latin1(&hub.only("/x").body), "hello", "{coding} {body:?}");
    }
}

#[test]
fn a_head_that_is_too_large_is_431_and_one_below_the_limit_passes() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "head_bytes = \"8KiB\"\nhead_count = 20").start();
    let many: Vec<String> = (0..30).map(|number| format!("H{number}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = format!("Cookie: {}", "c".repeat(9000));
    for lines in [&many[..], &[&long], &["A: 1", &long]] {
        let answer = raw(proxy.address(), get("/x", lines));
        assert!(answer.starts_with(b"HTTP/1.1 431 "), "{}", latin1(&answer));
    }
    let target = format!("/{}", "a".repeat(9000));
    let answer = latin1(&raw(proxy.address(), get(&target, &[])));
    assert!(answer.starts_with("HTTP/1.1 431 ") || answer.starts_with("HTTP/1.1 414 "), "{answer}");
    assert_eq!(hub.seen().len(), 0);
    let cookie = format!("Cookie: {}", "c".repeat(7000));
    assert_eq!(proxy.connect().ask(get("/x", &[&cookie])).status, 200);
    assert_eq!(proxy.connect().ask(get("/x", &many[..18])).status, 200);
}

#[test]
fn a_head_that_comes_byte_by_byte_is_judged_like_a_whole_one() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut wire = proxy.connect();
    for byte in chunked("POST", "/x", &["A: 1"], &[b"he", b"llo"], &["X: 1"]) {
        wire.send([byte]);
    }
    assert_eq!(wire.answer_to("POST").expect("an answer").status, 200);
    assert_eq!(latin1(&hub.only("/x").body), "hello");
    for line in ["Content-Length: 05", "Transfer-Encoding: gzip, chunked", "A: 1\n", " folded"] {
        let mut wire = proxy.connect();
        for byte in get("/bad", &["A: 1", line, "B: 2"]) {
            // The proxy may have closed already.
            if wire.try_send([byte]).is_err() {
                break;
            }
        }
        let text = latin1(&wire.rest());
        assert!(text.starts_with("HTTP/1.1 400 "), "{line:?}: {text}");
    }
    assert_eq!(hub.seen().len(), 1);
}

#[test]
fn the_extensions_and_trailers_of_a_chunked_body_have_a_limit() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let extension = "x".repeat(200);
    for body in [
        format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(40_000)),
        format!("{}0\r\n\r\n", format!("1;{extension}\r\na\r\n").repeat(200)),
        format!("5\r\nhello\r\n0\r\n{}\r\n", format!("X: {extension}\r\n").repeat(400)),
    ] {
        hub.forget();
        let head = request("POST", "/x", &["Transfer-Encoding: chunked"]);
        let answer = raw(proxy.address(), [head.as_slice(), body.as_bytes(), SMUGGLED.as_bytes()].concat());
        assert!(!latin1(&answer).contains("HTTP/1.1 2"), "{:.40}: {}", body, latin1(&answer));
        assert!(hub.seen().iter().all(|seen| seen.path() == "/x" && !seen.complete), "{body:.40}");
    }
}

#[test]
fn a_login_with_a_body_sends_none_of_it_to_the_hub() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for chunks in [false, true] {
        hub.forget();
        let target = proxy.link("alice").target();
        let request = if chunks {
            chunked("GET", &target, &[], &[SMUGGLED.as_bytes()], &[])
        } else {
            sized("GET", &target, &[], SMUGGLED)
        };
        let mut wire = proxy.connect();
        assert_eq!(wire.ask(request).status, 302);
        let login = hub.only("/hub/login");
        for name in ["content-length", "transfer-encoding", "content-type"] {
            assert!(!login.headers.has(name), "{name}");
        }
        assert_eq!((login.body.len(), hub.seen_at("/smuggled").len()), (0, 0));
        // The connection is in step, or closed.
        if wire.try_send(get("/next", &["Connection: close"])).is_ok() {
            let rest = latin1(&wire.rest());
            assert!(rest.is_empty() || rest.ends_with("GET /next HTTP/1.1"), "{rest}");
        }
        assert_eq!(hub.seen_at("/smuggled").len(), 0);
    }
}

#[test]
fn a_broken_body_before_an_upgrade_is_refused_too() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for line in lines("chunks_refused.txt") {
        let upgrade = ["Connection: upgrade", "Upgrade: websocket", "Transfer-Encoding: chunked"];
        let head = request("POST", "/x", &upgrade);
        let answer = raw(proxy.address(), [&head, unescaped(&line).as_slice(), SMUGGLED.as_bytes()].concat());
        let text = latin1(&answer);
        assert!(!text.contains("HTTP/1.1 2"), "{line}: {text}");
        assert!(hub.seen().iter().all(|seen| seen.path() == "/x" && !seen.complete), "{line}");
    }
}
