//! What passes through hublatch comes out as it went in: bodies, heads, streams and connections, both ways.

mod large;
mod streams;

use crate::support::message::latin1;
use crate::support::requests::{chunked, get, request, sized};
use crate::support::{FakeHub, TestProxy, Then};

#[test]
fn every_byte_of_a_body_arrives_however_it_is_framed() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let all: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let mut wire = proxy.connect();
    for method in ["POST", "PUT", "PATCH", "GET", "DELETE"] {
        for request in
            [sized(method, "/x", &[], &all), chunked(method, "/x", &[], &[&all[..7], &all[7..]], &[])]
        {
            hub.forget();
            assert_eq!(wire.ask(request).status, 200, "{method}");
            let seen = hub.only("/x");
            assert!(seen.body == all && seen.complete, "{method}: {} bytes", seen.body.len());
        }
    }
}

#[test]
fn no_body_is_no_body_and_an_empty_one_has_its_length() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut wire = proxy.connect();
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        hub.forget();
        wire.ask(request(method, "/x", &[]));
        let seen = hub.only("/x");
        assert!(!seen.headers.has("content-length") && !seen.headers.has("transfer-encoding"), "{method}");
    }
    for method in ["POST", "PUT", "GET", "DELETE"] {
        hub.forget();
        wire.ask(sized(method, "/x", &[], ""));
        assert_eq!(hub.only("/x").headers.all("content-length"), ["0"], "{method}");
    }
}

#[test]
fn answers_come_back_with_their_framing() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.reply("/sized", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    hub.reply("/empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    hub.reply(
        "/chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    );
    hub.reply("/no-chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    hub.on("/until-end", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\n\r\nhello");
        Then::Close
    });
    hub.on("/old", |exchange| {
        exchange.send("HTTP/1.0 200 OK\r\n\r\nhello");
        Then::Close
    });
    let mut wire = proxy.connect();
    for (path, body, length) in [
        ("/sized", "hello", Some("5")),
        ("/empty", "", Some("0")),
        ("/chunked", "hello", None),
        ("/no-chunk", "", None),
        ("/until-end", "hello", None),
        ("/old", "hello", None),
    ] {
        let answer = wire.ask(get(path, &[]));
        assert_eq!((answer.status, answer.text().as_str(), answer.complete), (200, body, true), "{path}");
        assert_eq!(answer.headers.get("content-length"), length, "{path}");
        assert_eq!(answer.version, "HTTP/1.1", "{path}");
    }
}

#[test]
fn an_answer_without_a_body_ends_with_its_head() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.reply("/204", "HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n");
    hub.reply("/304", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 7\r\n\r\n");
    hub.reply("/304-bare", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n");
    hub.reply("/head", "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n");
    hub.reply("/head-chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut wire = proxy.connect();
    for (method, path, status, length) in [
        ("GET", "/204", 204, None),
        ("DELETE", "/204", 204, None),
        // The length of a 304 is optional (RFC 9110 § 8.6), and hyper leaves it out.
        ("GET", "/304", 304, None),
        ("GET", "/304-bare", 304, None),
        ("HEAD", "/head", 200, Some("5000")),
        ("HEAD", "/head-chunked", 200, None),
        ("HEAD", "/304", 304, Some("7")),
    ] {
        let answer = wire.ask(request(method, path, &[]));
        assert_eq!(
            (answer.status, answer.headers.get("content-length")),
            (status, length),
            "{method} {path}"
        );
    }
    // The connections are still in step, downstream and upstream.
    assert_eq!(wire.ask(get("/last", &[])).text(), "GET /last HTTP/1.1");
    assert_eq!(hub.connections(), 1);
}

#[test]
fn the_head_of_an_answer_comes_back_byte_for_byte() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let lines = [
        "Set-Cookie: jupyterhub-session-id=0f; HttpOnly; Path=/",
        "Set-Cookie: jupyterhub-hub-login=\"2|1:0|10:1|20:x|44:y=|z\"; expires=Thu, 01 Jan 2026 00:00:00 GMT; Path=/hub/",
        "Set-Cookie: _xsrf=; Path=/hub/",
        "Location: /user/alice/lab/tree/a b/c.ipynb?x=1&y=+z",
        "Content-Type: text/html; charset=UTF-8",
        "Content-Encoding: gzip",
        "Content-Security-Policy: frame-ancestors 'self'; report-uri /x",
        "Cache-Control: no-cache",
        "ETag: W/\"abc\"",
        "Vary: Accept-Encoding",
        "Vary: Cookie",
        "X-Latin: caf\u{e9}",
        "X-Empty:",
        "Server: TornadoServer/6.6.1",
        "Date: Thu, 01 Jan 2026 00:00:00 GMT",
        "X-JupyterHub-Version: 6.1.1",
        "WWW-Authenticate: Basic",
        "REMOTE_USER: of-an-answer",
    ];
    let mut head = b"HTTP/1.1 302 Found\r\n".to_vec();
    for line in lines {
        head.extend(line.chars().map(|character| u8::try_from(character).expect("Latin-1")));
        head.extend(b"\r\n");
    }
    head.extend(b"Content-Length: 2\r\n\r\nok");
    hub.reply("/x", head);
    let answer = proxy.connect().ask(get("/x", &[]));
    assert_eq!((answer.status, answer.text().as_str()), (302, "ok"));
    assert!(answer.head.starts_with(b"HTTP/1.1 302 Found\r\n"));
    for line in lines {
        let (name, value) = line.split_once(':').expect("a header");
        assert!(answer.headers.all(name).contains(&value.trim_start()), "{line}: {:?}", answer.headers);
    }
    let names: Vec<&str> = answer.headers.all("set-cookie").iter().map(|line| &line[..5]).collect();
    assert_eq!(names, ["jupyt", "jupyt", "_xsrf"], "in their order");
    assert_eq!(answer.headers.0.len(), lines.len() + 1, "nothing is added: {:?}", answer.headers);
}

#[test]
fn any_status_comes_back_with_its_words() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut wire = proxy.connect();
    for status in [
        "200 OK",
        "201 Created",
        "206 Partial Content",
        "207 Multi-Status",
        "300 Multiple Choices",
        "404 Not Found",
        "404 No such notebook",
        "418 I'm a teapot",
        "424 Failed Dependency",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "503 Very busy",
        "599 Whatever this is",
    ] {
        hub.on("/x", move |exchange| exchange.answer(status, "x"));
        let answer = wire.ask(get("/x", &[]));
        assert!(latin1(&answer.head).starts_with(&format!("HTTP/1.1 {status}\r\n")), "{status}: {answer:?}");
    }
    hub.reply("/x", "HTTP/1.1 599\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(wire.ask(get("/x", &[])).status, 599);
}

#[test]
fn interim_answers_of_the_hub_do_not_disturb_the_final_one() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    hub.reply("/x", format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    let mut wire = proxy.connect();
    for request in [get("/x", &[]), sized("POST", "/x", &[], "body")] {
        let answer = wire.ask(request);
        assert_eq!((answer.status, answer.text().as_str(), answer.headers.has("link")), (200, "ok", false));
    }
    assert_eq!(hub.connections(), 1);
}

#[test]
fn trailers_of_an_answer_arrive_if_the_browser_takes_them() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
    hub.reply("/x", format!("{head}2\r\nok\r\n0\r\nX-Sum: abc\r\n\r\n"));
    let mut wire = proxy.connect();
    let answer = wire.ask(get("/x", &["TE: trailers", "Connection: TE"]));
    assert_eq!((answer.text().as_str(), answer.headers.get("trailer")), ("ok", Some("X-Sum")));
    assert_eq!(answer.trailers.iter().map(|line| line.to_lowercase()).collect::<Vec<_>>(), ["x-sum: abc"]);
    let answer = wire.ask(get("/x", &[]));
    assert_eq!((answer.text().as_str(), answer.complete, answer.trailers.len()), ("ok", true, 0));
}

#[test]
fn a_browser_of_http_1_0_gets_an_unchunked_answer_and_the_end_of_the_connection() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.reply(
        "/chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    );
    hub.reply("/sized", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    for path in ["/chunked", "/sized"] {
        let mut wire = proxy.connect();
        wire.send(format!("GET {path} HTTP/1.0\r\nHost: hub.test\r\n\r\n"));
        let text = latin1(&wire.rest());
        assert!(text.ends_with("\r\n\r\nhello"), "{path}: {text}");
        assert!(!text.to_lowercase().contains("transfer-encoding"), "{path}: {text}");
    }
    // With a length told it may stay.
    let mut wire = proxy.connect();
    let request = "GET /sized HTTP/1.0\r\nHost: hub.test\r\nConnection: keep-alive\r\n\r\n";
    for _ in 0..2 {
        let answer = wire.ask(request);
        assert_eq!((answer.text().as_str(), answer.headers.get("connection")), ("hello", Some("keep-alive")));
    }
}

#[test]
fn requests_in_a_row_share_one_connection_to_the_hub_and_those_at_once_do_not() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for number in 0..20 {
        // Each from a browser of its own.
        let body = proxy.connect().ask(sized("POST", &format!("/{number}"), &[], "x")).text();
        assert_eq!(body, format!("POST /{number} HTTP/1.1"));
    }
    assert_eq!((hub.connections(), proxy.metric("hublatch_upstream_connections_total")), (1, 1));
    assert_eq!(proxy.metric("hublatch_upstream_reused_total"), 19);
    let gate = crate::support::Gate::new();
    let waiting = gate.clone();
    hub.on("/slow", move |exchange| {
        waiting.pass();
        exchange.answer("200 OK", "slow")
    });
    let mut slow = proxy.connect();
    slow.send(get("/slow", &[]));
    hub.wait_for_path("/slow");
    assert_eq!(proxy.connect().ask(get("/fast", &[])).status, 200);
    gate.open();
    assert_eq!(slow.answer_to("GET").expect("an answer").text(), "slow");
    assert_eq!(hub.connections(), 2);
}

#[test]
fn a_hub_that_closes_after_an_answer_does_not_close_the_browsers_connection() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on("/x", |exchange| {
        exchange.answer("200 OK\r\nConnection: close", "x");
        Then::Close
    });
    let mut wire = proxy.connect();
    for _ in 0..3 {
        let answer = wire.ask(get("/x", &[]));
        assert_eq!((answer.status, answer.headers.has("connection")), (200, false));
    }
    assert_eq!(hub.connections(), 3);
}
