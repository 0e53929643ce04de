//! Which requests are refused for their target, Host or method, and that all others pass byte for byte.

use crate::support::message::latin1;
use crate::support::requests::{get, holds, request};
use crate::support::tables::{lines, unescaped};
use crate::support::wire::raw;
use crate::support::{FakeHub, TestProxy, node};

#[test]
fn every_target_of_the_table_passes_byte_for_byte_or_is_refused() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let (mut passed, mut refused, mut wrong) = (0, 0, Vec::new());
    let mut wire = proxy.connect();
    for line in lines("targets.txt") {
        let (verdict, target) = line.split_once(' ').expect("two columns");
        let target = unescaped(target.trim_start());
        hub.forget();
        if verdict == "pass" {
            passed += 1;
            let answer = wire.ask(get(&target, &[]));
            let seen: Vec<String> = hub.seen().into_iter().map(|seen| seen.target).collect();
            if seen != [latin1(&target)] {
                wrong.push(format!("{line}: {} and the hub saw {seen:?}", answer.status));
            }
            if answer.headers.has("connection") {
                wire = proxy.connect();
            }
        } else {
            refused += 1;
            let answer = raw(proxy.address(), [get(&target, &[]), get("/smuggled", &[])].concat());
            let answers = memchr::memmem::find_iter(&answer, b"HTTP/1.1 ").count();
            if !answer.starts_with(b"HTTP/1.1 400 ") || answers != 1 || !hub.seen().is_empty() {
                wrong.push(format!("{line}: {answers} answers {}, {:?}", latin1(&answer), hub.seen()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(passed > 200 && refused > 100, "{passed} {refused}");
}

/// The paths of the table that pass, of those that are text.
fn passing_paths() -> Vec<String> {
    let rows = lines("targets.txt").into_iter().filter_map(|line| {
        let target = unescaped(line.strip_prefix("pass ")?);
        let text = String::from_utf8(target).ok()?;
        Some(text.split('?').next().unwrap_or_default().to_owned())
    });
    let paths: Vec<String> = rows.collect();
    assert!(paths.len() > 200, "{}", paths.len());
    paths
}

/// Whether a parser's path is what was sent, segment by segment: how a byte is written does not matter to whoever routes.
#[track_caller]
fn assert_same(sent: &str, seen: &str) {
    let segments = |path: &str| -> Vec<Vec<u8>> {
        path.split('/').map(|segment| percent_encoding::percent_decode_str(segment).collect()).collect()
    };
    assert_eq!(segments(sent), segments(seen), "{sent}");
    assert_eq!(sent == "/hub/login", seen == "/hub/login", "{sent}");
}

#[test]
fn the_url_crate_sees_every_path_that_passes_as_it_was_sent() {
    for path in passing_paths() {
        let url = url::Url::parse(&format!("http://hub.test{path}")).expect("a URL");
        assert_eq!(url.host_str(), Some("hub.test"), "{path}");
        assert_same(&path, url.path());
    }
}

/// Needs node, which `make test` installs for the hub: `cargo test -- --ignored` runs it.
#[test]
#[ignore = "needs node: on PATH, in $NODE, or in target/venv/bin"]
fn node_sees_every_path_that_passes_as_it_was_sent() {
    let paths = passing_paths();
    let urls: Vec<String> = paths.iter().map(|path| format!("http://hub.test{path}")).collect();
    for (path, seen) in paths.iter().zip(node::resolve(&urls, "http://other.test")) {
        assert_eq!(seen["origin"], "http://hub.test", "{path}");
        assert_same(path, seen["path"].as_str().expect("a path"));
    }
}

#[test]
fn nothing_near_the_login_path_redeems_or_brings_the_token_to_the_hub() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    let mut tried = 0;
    for line in
        lines("targets.txt").iter().filter(|line| line.to_lowercase().contains("log") && !line.contains('?'))
    {
        let (_, target) = line.split_once(' ').expect("two columns");
        let query = format!("?login_token={}&next=%2Fx", link.token);
        let target = [unescaped(target.trim_start()), query.into_bytes()].concat();
        let _answer = raw(proxy.address(), request("GET", &target, &["Connection: close"]));
        tried += 1;
    }
    assert!(tried > 60, "{tried}");
    assert_eq!(proxy.links().status(&link.id), "pending");
    for seen in hub.seen() {
        assert_eq!(seen.headers.count_folded("remote_user"), 0, "{}", seen.target);
        assert!(!holds(&seen.head, "hl_"), "{}", seen.target);
        assert_eq!(seen.query(), "next=%2Fx");
    }
    // And the login path itself does redeem.
    assert_eq!(proxy.browser().get(&link.url).status, 302);
}

#[test]
fn under_a_base_url_only_its_own_login_path_redeems() {
    let hub = FakeHub::start();
    hub.accounts(|accounts| accounts.base_url = "/jupyter/".to_owned());
    let proxy = TestProxy::before(&hub).base_url("/jupyter/").start();
    let link = proxy.link("alice");
    assert!(link.target().starts_with("/jupyter/hub/login?"), "{}", link.url);
    for path in ["/hub/login", "/jupyter/jupyter/hub/login", "/Jupyter/hub/login", "/jupyter//hub/login"] {
        let answer = proxy.connect().ask(get(format!("{path}?login_token={}", link.token), &[]));
        assert_eq!((answer.status, proxy.links().status(&link.id).as_str()), (200, "pending"), "{path}");
    }
    let answer = proxy.browser().get(&link.url);
    assert_eq!((answer.status, answer.location()), (302, "/jupyter/hub/spawn"));
    assert!(
        hub.seen()
            .iter()
            .all(|seen| seen.headers.has("remote_user") == (seen.path() == "/jupyter/hub/login"))
    );
}

#[test]
fn an_absolute_target_must_name_the_host_and_goes_on_as_a_path() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for (target, host, passed) in [
        ("http://hub.test/a%2Fb?c=d", "hub.test", Some("/a%2Fb?c=d")),
        ("http://hub.test", "hub.test", Some("/")),
        ("http://hub.test/", "hub.test", Some("/")),
        ("http://HUB.test/a", "hub.TEST", Some("/a")),
        ("https://hub.test/a", "hub.test", Some("/a")),
        ("http://hub.test:8000/a", "hub.test:8000", Some("/a")),
        ("http://hub.test//evil.test/a", "hub.test", Some("//evil.test/a")),
        ("http://hub.test/a/../b", "hub.test", None),
        ("http://hub.test/%2e%2e/b", "hub.test", None),
        ("http://hub.test/a\\b", "hub.test", None),
        ("http://hub.test/a#b", "hub.test", None),
        ("http://evil.test/a", "hub.test", None),
        ("http://hub.test:80/a", "hub.test", None),
        ("http://hub.test/a", "hub.test:80", None),
        ("http://hub.test.evil.test/a", "hub.test", None),
        ("http://user@hub.test/a", "hub.test", None),
        ("http://user:pass@hub.test/a", "hub.test", None),
        ("http://hub.test@evil.test/a", "hub.test", None),
        ("http:///a", "hub.test", None),
    ] {
        hub.forget();
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = raw(proxy.address(), request);
        let seen = hub.seen();
        match passed {
            Some(path) => {
                assert!(answer.starts_with(b"HTTP/1.1 200 "), "{target}: {}", latin1(&answer));
                assert_eq!(
                    (seen[0].target.as_str(), seen[0].headers.all("host")),
                    (path, vec![host]),
                    "{target}"
                );
            }
            None => {
                assert!(answer.starts_with(b"HTTP/1.1 400 "), "{target}: {}", latin1(&answer));
                assert_eq!(seen.len(), 0, "{target}");
            }
        }
    }
}

#[test]
fn an_absolute_target_redeems_like_a_path() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    assert_eq!(proxy.connect().ask(get(&link.url, &[])).status, 302);
    let login = hub.only("/hub/login");
    assert_eq!((login.target.as_str(), login.headers.all("host")), ("/hub/login", vec!["hub.test"]));
}

#[test]
fn a_request_has_exactly_one_readable_host_which_stays_byte_for_byte() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for host in [
        "hub.test",
        "HUB.Test",
        "hub.test:8000",
        "127.0.0.1:8000",
        "[::1]:8000",
        "[::1]",
        "x",
        "a_b.test",
        "hub.test.",
    ] {
        hub.forget();
        let request = format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(proxy.connect().ask(request).status, 200, "{host}");
        let seen = hub.only("/x");
        assert_eq!(seen.headers.all("host"), [host]);
    }
    hub.forget();
    for lines in [
        "",
        "Host:\r\n",
        "Host: \r\n",
        "Host: hub.test\r\nHost: hub.test\r\n",
        "Host: hub.test\r\nHost: evil.test\r\n",
        "Host: hub.test\r\nhost: evil.test\r\n",
        "Host: hub.test, evil.test\r\n",
        "Host: hub.test evil.test\r\n",
        "Host: hub.test/x\r\n",
        "Host: hub.test?x\r\n",
        "Host: hub.test#x\r\n",
        "Host: user@hub.test\r\n",
        "Host: http://hub.test\r\n",
        "Host: hub.test\\x\r\n",
        "Host: hub.test;x\r\n",
        "Host: h\u{fc}b.test\r\n",
        "Host: \"hub.test\"\r\n",
        "Host: <script>\r\n",
    ] {
        let answer = raw(proxy.address(), format!("GET /x HTTP/1.1\r\n{lines}A: 1\r\n\r\n"));
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{lines:?}: {}", latin1(&answer));
        assert_eq!(hub.seen().len(), 0, "{lines:?}");
    }
}

#[test]
fn connect_and_trace_are_refused_in_every_form() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for line in [
        "CONNECT hub.test:443",
        "CONNECT /x",
        "CONNECT http://hub.test/x",
        "TRACE /x",
        "TRACE http://hub.test/",
        "TRACE *",
    ] {
        let answer = raw(proxy.address(), format!("{line} HTTP/1.1\r\nHost: hub.test\r\n\r\n"));
        assert!(answer.starts_with(b"HTTP/1.1 405 "), "{line}: {}", latin1(&answer));
    }
    assert_eq!(hub.seen().len(), 0);
}

#[test]
fn other_protocols_are_no_requests() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for bytes in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        b"GET /x HTTP/2.0\r\nHost: hub.test\r\n\r\n",
        b"GET /x HTTP/1.2\r\nHost: hub.test\r\n\r\n",
        b"GET /x HTTP/0.9\r\nHost: hub.test\r\n\r\n",
        b"GET /x http/1.1\r\nHost: hub.test\r\n\r\n",
        b"GET /x HTTP/1.1 \r\nHost: hub.test\r\n\r\n",
        b"GET  /x HTTP/1.1\r\nHost: hub.test\r\n\r\n",
        b"GET\t/x\tHTTP/1.1\r\nHost: hub.test\r\n\r\n",
        b" GET /x HTTP/1.1\r\nHost: hub.test\r\n\r\n",
        b"GET /x\r\n\r\n",
        b"G\xc3\x89T /x HTTP/1.1\r\nHost: hub.test\r\n\r\n",
        b"G(T /x HTTP/1.1\r\nHost: hub.test\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
    ] {
        let answer = raw(proxy.address(), bytes);
        let text = latin1(&answer);
        assert!(answer.is_empty() || text.starts_with("HTTP/1.1 400 "), "{}: {text}", latin1(bytes));
        assert_eq!(hub.seen().len(), 0, "{}", latin1(bytes));
    }
}
