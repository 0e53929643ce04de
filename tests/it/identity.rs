//! The identity header and its proof: nothing that a client sends becomes one, and ours is there exactly once, on the
//! request whose token was consumed and on no other.

use crate::support::hub_pages::claims_of;
use crate::support::message::folded;
use crate::support::requests::{chunked, get, holds, sized, websocket};
use crate::support::tables::{lines, unescaped};
use crate::support::wire::raw;
use crate::support::{FakeHub, Seen, TestProxy};

/// A cookie by which the hub knows alice, so that `/hub/login` without a token is passed on.
const ALICE: &str = "Cookie: jupyterhub-hub-login=alice";
/// Folded names that only hublatch may send.
const RESERVED: [&str; 4] = ["remote_user", "http_remote_user", "x_remote_user", "x_hublatch_assertion"];

fn reserved(seen: &Seen) -> Vec<(String, String)> {
    let names = seen.headers.0.iter().filter(|(name, _)| RESERVED.contains(&folded(name).as_str()));
    names.cloned().collect()
}

/// Nobody but hublatch spoke of an identity to `hub`: no byte of the name that the attacker sends has arrived.
#[track_caller]
fn assert_nothing_foreign(hub: &FakeHub, what: &str) {
    for (connection, bytes) in hub.received().iter().enumerate() {
        let text = String::from_utf8_lossy(bytes);
        assert!(!holds(bytes, "mallory"), "{what}, connection {connection}: {text}");
    }
}

#[test]
fn no_spelling_of_an_identity_arrives_on_an_ordinary_request() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut wire = proxy.connect();
    for name in lines("identity_headers.txt") {
        let spoof = format!("{name}: mallory");
        for path in ["/user/alice/lab", "/hub/login/", "/hub/api/users/admin/tokens", "/"] {
            assert_eq!(wire.ask(get(path, &["A: 1", &spoof, "B: 2"])).status, 200, "{name} at {path}");
        }
    }
    assert_eq!(hub.seen().len(), 4 * lines("identity_headers.txt").len());
    for seen in hub.seen() {
        assert_eq!(reserved(&seen), [], "{}", seen.target);
        assert_eq!((seen.headers.get("a"), seen.headers.get("b")), (Some("1"), Some("2")));
    }
    assert_nothing_foreign(&hub, "ordinary request");
}

#[test]
fn no_spelling_of_an_identity_arrives_with_any_method() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut wire = proxy.connect();
    for method in ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        for name in lines("identity_headers.txt") {
            wire.ask(sized(method, "/hub/api/users/admin/tokens", &[&format!("{name}: mallory")], "{}"));
        }
    }
    assert!(hub.seen().iter().all(|seen| reserved(seen).is_empty()));
    assert_nothing_foreign(&hub, "methods");
}

#[test]
fn no_spelling_of_an_identity_arrives_at_the_login_without_a_token() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut wire = proxy.connect();
    for name in lines("identity_headers.txt") {
        let spoof = format!("{name}: mallory");
        assert_eq!(wire.ask(get("/hub/login?next=/hub/home", &[ALICE, &spoof])).status, 302, "{name}");
        assert_eq!(wire.ask(get("/hub/login", &[&spoof])).status, 403, "{name}");
        assert_eq!(wire.ask(sized("POST", "/hub/login", &[ALICE, &spoof], "a=b")).status, 403, "{name}");
    }
    assert_eq!(hub.seen_at("/hub/login").len(), 2 * lines("identity_headers.txt").len());
    assert!(hub.seen().iter().all(|seen| reserved(seen).is_empty()));
    assert_nothing_foreign(&hub, "login without a token");
}

#[test]
fn no_spelling_of_an_identity_arrives_where_the_hubs_own_login_is_kept() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("login", "without_token = \"forward\"").start();
    for name in lines("identity_headers.txt") {
        let answer = proxy.connect().ask(get("/hub/login", &[&format!("{name}: mallory")]));
        assert_eq!((answer.status, answer.text().as_str()), (403, "403 : None"), "{name}");
    }
    assert!(hub.seen().iter().all(|seen| reserved(seen).is_empty()));
    assert_nothing_foreign(&hub, "the hub's own login");
}

#[test]
fn a_redeemed_token_brings_exactly_one_identity_whatever_came_along() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for name in lines("identity_headers.txt") {
        hub.forget();
        let link = proxy.link("alice");
        let spoof = format!("{name}: mallory");
        let answer = proxy.connect().ask(get(link.target(), &[&spoof, "A: 1", &spoof]));
        assert_eq!(answer.status, 302, "{name}: {}", answer.text());
        for seen in hub.seen() {
            let expected = if seen.path() == "/hub/login" { 2 } else { 0 };
            assert_eq!(reserved(&seen).len(), expected, "{name} at {}", seen.target);
        }
        let login = hub.only("/hub/login");
        assert_eq!(login.headers.all("remote_user"), ["alice"]);
        let claims = claims_of(login.headers.get("x-hublatch-assertion").expect("an assertion"));
        assert_eq!((claims["sub"].as_str(), claims["jti"].as_str()), (Some("alice"), Some(link.id.as_str())));
        assert_nothing_foreign(&hub, &name);
    }
}

#[test]
fn no_spelling_of_an_identity_arrives_on_an_upgrade() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for name in lines("identity_headers.txt") {
        let spoof = format!("{name}: mallory");
        for target in ["/user/alice/api/kernels/1/channels", "/hub/login"] {
            let answer = proxy.connect().ask(websocket(target, &[ALICE, &spoof]));
            assert!(matches!(answer.status, 200 | 302), "{name} at {target}: {}", answer.status);
        }
    }
    let upgrades = hub.seen_at("/user/alice/api/kernels/1/channels");
    assert_eq!(upgrades.len(), lines("identity_headers.txt").len());
    assert!(upgrades.iter().all(|seen| seen.headers.get("upgrade") == Some("websocket")));
    assert!(hub.seen().iter().all(|seen| reserved(seen).is_empty()));
    assert_nothing_foreign(&hub, "upgrade");
}

#[test]
fn an_upgrade_redeems_nothing() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    assert_eq!(proxy.connect().ask(websocket(&link.target(), &[])).status, 400);
    let form = format!("login_token={}", link.token);
    let lines = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Origin: http://hub.test",
        "Content-Type: application/x-www-form-urlencoded",
    ];
    assert_eq!(proxy.connect().ask(sized("POST", "/hub/login", &lines, form)).status, 400);
    assert_eq!(proxy.links().status(&link.id), "pending");
    assert_eq!(hub.seen_at("/hub/login").len(), 0);
    // The same link without an upgrade is good.
    assert_eq!(proxy.browser().get(&link.url).status, 302);
}

#[test]
fn many_identities_become_exactly_one() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let many = ["REMOTE_USER: mallory"; 60];
    let sets: [&[&str]; 5] = [
        &["REMOTE_USER:", "REMOTE_USER: mallory"],
        &["REMOTE_USER: mallory", "remote_user: mallory2", "Remote-User: mallory3"],
        &["REMOTE_USER: mallory, alice", "X-Remote-User: alice, mallory"],
        &["X-Hublatch-Assertion: mallory", "X-Hublatch-Assertion:", "X_Hublatch_Assertion: mallory"],
        &many,
    ];
    for set in sets {
        let link = proxy.link("alice");
        assert_eq!(proxy.connect().ask(get(link.target(), set)).status, 302, "{set:?}");
    }
    for seen in hub.seen_at("/hub/login") {
        assert_eq!(seen.headers.count_folded("remote_user"), 1);
        assert_eq!(seen.headers.all("remote_user"), ["alice"]);
        assert_eq!(seen.headers.count_folded("x-hublatch-assertion"), 1);
    }
    assert_eq!(hub.seen_at("/hub/login").len(), sets.len());
    assert_nothing_foreign(&hub, "duplicates");
}

#[test]
fn a_line_that_can_be_read_in_two_ways_is_refused_and_the_token_kept() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    for line in lines("header_lines_refused.txt") {
        for target in ["/user/alice/lab", &link.target()] {
            let begin = format!("GET {target} HTTP/1.1\r\nHost: hub.test\r\nA: 1\r\n");
            let bytes = [begin.as_bytes(), &unescaped(&line), b"\r\nB: 2\r\n\r\n"].concat();
            let answer = raw(proxy.address(), bytes);
            assert!(answer.starts_with(b"HTTP/1.1 400 "), "{line}: {}", String::from_utf8_lossy(&answer));
            assert_eq!(memchr::memmem::find_iter(&answer, b"HTTP/1.1 ").count(), 1, "{line}: one answer");
        }
    }
    assert_eq!(hub.seen().len(), 0);
    assert_eq!(proxy.links().status(&link.id), "pending");
    assert_eq!(proxy.connect().ask(get(link.target(), &[])).status, 302);
}

#[test]
fn an_identity_behind_the_body_does_not_arrive() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for name in lines("identity_headers.txt") {
        let trailer = format!("{name}: mallory");
        for (method, path) in [("POST", "/user/alice/x"), ("DELETE", "/x"), ("OPTIONS", "/x"), ("GET", "/x")]
        {
            let announced = format!("Trailer: {name}");
            let request = chunked(method, path, &[&announced, "TE: trailers"], &[b"body"], &[&trailer]);
            assert_eq!(proxy.connect().ask(request).status, 200, "{name}, {method}");
        }
        let form = "Content-Type: application/x-www-form-urlencoded";
        let request = chunked("POST", "/hub/login", &[ALICE, form], &[b"username=a"], &[&trailer]);
        assert_eq!(proxy.connect().ask(request).status, 403, "{name}");
    }
    for seen in hub.seen() {
        assert_eq!(
            (seen.trailers.len(), seen.headers.has("trailer"), seen.headers.has("te")),
            (0, false, false)
        );
        assert!(seen.path() == "/hub/login" || seen.body == b"body", "{seen:?}");
        assert_eq!(reserved(&seen), []);
    }
    assert_nothing_foreign(&hub, "trailers");
}

#[test]
fn connection_cannot_remove_what_hublatch_adds_or_what_the_hub_needs() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let named = "Connection: close, REMOTE_USER, remote-user, x-hublatch-assertion, cookie, host, authorization, \
                 x-forwarded-for, x-forwarded-proto, x-forwarded-host, x-forwarded-port, x-real-ip, x-scheme, x-gone";
    let link = proxy.link("alice");
    let lines = [named, "Cookie: kept=\"1|2\"", "Authorization: token t", "X-Gone: 1", "Keep-Alive: 5"];
    assert_eq!(proxy.connect().ask(get(link.target(), &lines)).status, 302);
    let login = hub.only("/hub/login");
    for (name, value) in [
        ("remote_user", "alice"),
        ("host", "hub.test"),
        ("cookie", "kept=\"1|2\""),
        ("authorization", "token t"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-port", "80"),
        ("x-real-ip", "127.0.0.1"),
        ("x-scheme", "http"),
    ] {
        assert_eq!(login.headers.get(name), Some(value), "{name}");
    }
    assert!(login.headers.has("x-hublatch-assertion"));
    for gone in ["x-gone", "keep-alive", "connection"] {
        assert!(!login.headers.has(gone), "{gone}");
    }
}

#[test]
fn a_secret_identity_header_is_guarded_like_the_usual_one() {
    let hub = FakeHub::start();
    let secret = "X-0f8b2c9d4e5a6f708192a3b4c5d6e7f8";
    hub.accounts(|accounts| accounts.user_header = secret.to_owned());
    let proxy = TestProxy::before(&hub).set("login", &format!("user_header = {secret:?}")).start();
    for name in [secret, &secret.to_lowercase(), &secret.replace('-', "_"), "REMOTE_USER", "Remote-User"] {
        let spoof = format!("{name}: mallory");
        proxy.connect().ask(get("/x", &[&spoof]));
        let link = proxy.link("alice");
        assert_eq!(proxy.connect().ask(get(link.target(), &[&spoof])).status, 302, "{name}");
    }
    for seen in hub.seen() {
        let expected = usize::from(seen.path() == "/hub/login");
        assert_eq!(seen.headers.count_folded(secret), expected, "{}", seen.target);
        assert_eq!(seen.headers.count_folded("remote_user"), 0, "{}", seen.target);
    }
    assert_nothing_foreign(&hub, "secret header");
}

#[test]
fn without_an_assertion_the_identity_header_is_alone() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).without_assertion(&hub).start();
    assert_eq!(proxy.browser().get(&proxy.link("alice").url).status, 302);
    let login = hub.only("/hub/login");
    assert_eq!(reserved(&login), [("remote_user".to_owned(), "alice".to_owned())]);
}

#[test]
fn an_app_key_or_a_token_elsewhere_is_no_identity() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    let cookie = format!("Cookie: login_token={}", link.token);
    let bearer = format!("Authorization: Bearer {}", link.token);
    let header = format!("login_token: {}", link.token);
    for line in [&cookie, &bearer, &header] {
        assert_eq!(proxy.connect().ask(get("/hub/login", &[line])).status, 403, "{line}");
    }
    assert_eq!(hub.seen_at("/hub/login").len(), 0);
    assert_eq!(proxy.links().status(&link.id), "pending");
    // The proof of an app is worth nothing at the public side.
    let key = format!("Authorization: token {}", proxy.key());
    let answer = proxy.connect().ask(sized("POST", "/api/v1/links", &[&key], "{\"username\":\"alice\"}"));
    assert_eq!((answer.status, hub.only("/api/v1/links").method.as_str()), (200, "POST"));
}

#[test]
fn an_assertion_of_the_clients_never_arrives_also_where_none_is_made() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).without_assertion(&hub).start();
    for name in ["X-Hublatch-Assertion", "x_hublatch_assertion", "X-HUBLATCH_ASSERTION"] {
        hub.forget();
        assert_eq!(proxy.connect().ask(get("/x", &[&format!("{name}: forged")])).status, 200);
        let seen = hub.only("/x");
        assert!(!String::from_utf8_lossy(&seen.head).contains("forged"), "{name}");
    }
}
