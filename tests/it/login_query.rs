//! The query of the login path: the one spelling that logs in, and no other; what goes on to the hub, byte for byte.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::redeem::{assert_still_good, logins};
use crate::support::{FakeHub, TestProxy, tables};

#[test]
fn every_query_of_the_table_is_taken_as_it_says() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("login", "without_token = \"forward\"").start();
    let (mut live, other) = (proxy.link("alice"), proxy.link("alice"));
    for line in tables::lines("login_queries.txt") {
        let mut columns = line.split("  ->").map(str::trim);
        let mut column = || columns.next().unwrap_or_else(|| panic!("three columns: {line}")).to_owned();
        let (verdict, query, forwarded) = (column(), column(), column());
        let query = query.replace("$T", &live.token).replace("$U", &other.token);
        hub.forget();
        let answer = proxy.browser().get(&format!("/hub/login?{query}"));
        let sent = logins(&hub);
        match verdict.as_str() {
            "login" => {
                assert_eq!(answer.status, 302, "{line}: {}", answer.text());
                assert_eq!(sent.len(), 1, "{line}");
                assert_eq!(sent[0].query(), forwarded, "{line}");
                assert_eq!(sent[0].headers.get("remote_user"), Some("alice"), "{line}");
                live = proxy.link("alice");
            }
            "passes" => {
                assert_eq!(sent.len(), 1, "{line}");
                assert_eq!(sent[0].query(), forwarded, "{line}");
                assert_eq!(sent[0].headers.count_folded("remote_user"), 0, "{line}");
            }
            status => {
                assert_eq!(answer.status.to_string(), status, "{line}: {}", answer.text());
                assert!(hub.seen().is_empty(), "{line}: {:?}", hub.seen());
                assert_eq!(proxy.links().status(&live.id), "pending", "{line}");
            }
        }
        assert!(!sent.iter().any(|login| login.target.contains("hl_")), "{line}: {sent:?}");
    }
    assert_still_good(&proxy, &hub, &live, "the table");
    assert_still_good(&proxy, &hub, &other, "the table");
}

#[test]
fn a_link_that_was_escaped_twice_says_so_and_is_not_used_up() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    let answer = proxy.browser().get(&format!("/hub/login?login_token={}&amp;next=/hub/home", link.token));
    let text = answer.text();
    assert!(text.contains("Error 400, link_damaged") && text.contains("&amp;amp;"), "{text}");
    assert_still_good(&proxy, &hub, &link, "&amp;");
}

/// Whether a server could read `query` as one with a login token: `&` and `;` separate, names decode up to three times,
/// case and `-`/`_` do not matter, and a value may be a URL with such a query.
fn could_be_read_as_a_token(query: &str) -> bool {
    let mut text = query.to_owned();
    for _ in 0..=3 {
        let separators = |c: char| matches!(c, '&' | ';' | '?' | '#');
        let named = |part: &str| {
            let name = part.split('=').next().unwrap_or_default();
            part.contains('=') && name.to_ascii_lowercase().replace('-', "_") == "login_token"
        };
        if text.split(separators).any(named) {
            return true;
        }
        text = percent_decode_str(&text).decode_utf8_lossy().into_owned();
    }
    false
}

#[test]
fn no_query_that_goes_on_can_be_read_as_one_with_a_token() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub)
        .set("login", "without_token = \"forward\"")
        .portal("rate = \"100000/s\"")
        .start();
    let pieces = prop_oneof![
        4 => Just("login_token=hl_x".to_owned()),
        2 => Just("login_token".to_owned()),
        1 => "(LOGIN|login|%6Cogin|%256cogin|l%6fgin)(_|-|%5F|%5f|%2D|%255F)(token|TOKEN|%74oken)(=|%3D|%253D)?[a-z]{0,2}",
        1 => Just("next=%2Fhub%2Flogin%3F".to_owned()),
        1 => Just("next=/x?".to_owned()),
        1 => "[a-z0-9.~%25]{0,3}",
        1 => "%[0-9a-fA-F]{2}",
        3 => "[&;=]",
        1 => "(%26|%3B|%3b|%3D|%3F|%23|%2526|%253f|%2523|\\?|\\+|%20)",
    ];
    let queries = proptest::collection::vec(pieces, 0..10).prop_map(|pieces| pieces.concat());
    let mut runner = TestRunner::new(Config { cases: 400, ..Config::default() });
    let paths = prop_oneof![Just("/hub/login"), Just("/user/alice/lab"), Just("/hub/login/")];
    let outcome = runner.run(&(paths, queries), |(path, query)| {
        hub.forget();
        let lines = format!("Host: hub.test\r\nReferer: http://hub.test/x?{query}\r\nConnection: close");
        proxy.connect().ask(format!("GET {path}?{query} HTTP/1.1\r\n{lines}\r\n\r\n"));
        for seen in hub.seen() {
            prop_assert!(!could_be_read_as_a_token(seen.query()), "{query} -> {}", seen.target);
            let referer = seen.headers.get("referer").unwrap_or_default();
            prop_assert!(!could_be_read_as_a_token(referer), "{query} -> {referer}");
        }
        // Nor does a link lead there.
        let order = serde_json::json!({ "username": "alice", "next": format!("/x?{query}") }).to_string();
        let link = proxy.links().call("POST", "/api/v1/links", &[], order);
        prop_assert!(link.status == 400 || !could_be_read_as_a_token(&query), "{query}: {}", link.text());
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_login_with_other_parameters_loses_the_token_and_nothing_else() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let other = "([a-km-z][a-z0-9]{0,3}(=([a-z0-9.~!*'()/:@$,?+_-]|%[0-9A-F]{2}){0,8})?)";
    let others = proptest::collection::vec(other, 0..5);
    let mut runner = TestRunner::new(Config { cases: 60, ..Config::default() });
    let outcome = runner.run(&(others.clone(), others), |(before, after)| {
        let link = proxy.link("alice");
        hub.forget();
        let token = format!("login_token={}", link.token);
        let query: Vec<&str> = before
            .iter()
            .map(String::as_str)
            .chain([token.as_str()])
            .chain(after.iter().map(String::as_str))
            .collect();
        let answer = proxy.browser().get(&format!("/hub/login?{}", query.join("&")));
        prop_assert_eq!(answer.status, 302);
        let rest: Vec<&str> = before.iter().chain(&after).map(String::as_str).collect();
        let login = hub.only("/hub/login");
        prop_assert_eq!(login.query(), rest.join("&"));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_referer_with_a_token_does_not_reach_the_hub_with_the_login() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for (referer, arrives) in [
        ("https://portal.example/", true),
        ("https://portal.example/course?id=7", true),
        ("http://hub.test/hub/login?login_token=hl_x", false),
        ("https://portal.example/?LOGIN%5FTOKEN=hl_x", false),
        ("https://portal.example/?next=%2Fhub%2Flogin%3Flogin_token%3Dhl_x", false),
    ] {
        let link = proxy.link("alice");
        hub.forget();
        assert_eq!(proxy.browser().navigate(&link.target()).header("Referer", referer).send().status, 302);
        assert_eq!(hub.only("/hub/login").headers.get("referer"), arrives.then_some(referer), "{referer}");
    }
}

#[test]
fn a_query_of_nothing_but_tokens_costs_no_more_than_another() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "head_bytes = \"64KiB\"").start();
    for piece in [
        "login_token&",
        "%25256cogin_token&",
        "x=%26login_token&",
        "x=%2526login%255Ftoken%253D1&",
        ";login-token=",
    ] {
        hub.forget();
        let query = piece.repeat(60_000 / piece.len());
        let begun = std::time::Instant::now();
        proxy
            .connect()
            .ask(format!("GET /x?{query} HTTP/1.1\r\nHost: hub.test\r\nConnection: close\r\n\r\n"));
        // Cutting them out one by one would take minutes.
        assert!(begun.elapsed() < Duration::from_secs(30), "{piece}: {:?}", begun.elapsed());
        assert_eq!(hub.only("/x").target, "/x", "{piece}");
    }
}
