//! A login by link through the table: at the hub's own route and nowhere else.

use super::{house, status};
use crate::support::hub::absent;
use crate::support::message::folded;
use crate::support::requests::{get, websocket};
use crate::support::tables::lines;
use crate::support::{FakeHub, Seen, TestProxy};
use crate::tls::certificates::Authority;
use crate::tls::http2::{self, Http2};

/// Folded names that only hublatch may send, and only to the hub.
const RESERVED: [&str; 4] = ["remote_user", "http_remote_user", "x_remote_user", "x_hublatch_assertion"];

fn has_identity(seen: &Seen) -> bool {
    seen.headers.0.iter().any(|(name, _)| RESERVED.contains(&folded(name).as_str()))
}

#[test]
fn a_link_logs_in_at_the_hub_that_the_table_names() {
    let (hub, notebook, proxy) = house();
    let answer = proxy.browser().get(&proxy.link("alice").target());
    assert_eq!(answer.status, 302, "{answer:?}");
    let logins: Vec<Seen> = hub.seen().into_iter().filter(has_identity).collect();
    assert_eq!(logins.len(), 1);
    assert_eq!(logins[0].headers.get("remote_user"), Some("alice"));
    assert!(notebook.seen().is_empty());
}

#[test]
fn without_a_route_of_the_hub_a_link_is_503_and_not_used_up() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).routed().start();
    let link = proxy.link("alice");
    assert_eq!(proxy.browser().get(&link.target()).status, 503);
    assert_eq!(proxy.links().status(&link.id), "pending");
    // A route that is not the hub's does not make it one, wherever it leads.
    proxy.add_route("/hub", &hub.url(), r#""extra":true"#);
    assert_eq!(proxy.browser().get(&link.target()).status, 403);
    assert_eq!(proxy.links().status(&link.id), "pending");
    assert_eq!(proxy.routes("DELETE", "/hub", "").status, 204);
    // One for whatever nobody else takes takes no login away.
    proxy.add_route("/", &hub.url(), r#""extra":true"#);
    assert_eq!(proxy.browser().get(&link.target()).status, 503);
    assert_eq!(proxy.links().status(&link.id), "pending");
    assert!(!hub.seen().iter().any(has_identity));
    proxy.add_route("/", &hub.url(), r#""hub":true"#);
    assert_eq!(proxy.browser().get(&link.target()).status, 302);
    assert_eq!(proxy.links().status(&link.id), "used");
}

#[test]
fn with_a_default_target_a_link_waits_for_the_hub_to_write_its_routes() {
    let hub = FakeHub::start();
    let target = format!("default_target = {:?}", hub.url());
    let proxy = TestProxy::before(&hub).routed().set("routes", &target).start();
    let link = proxy.link("alice");
    let answer = proxy.browser().get(&link.target());
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("http-equiv=\"refresh\""), "the page asks again by itself");
    assert_eq!(proxy.links().status(&link.id), "pending");
    assert!(hub.seen().is_empty(), "{:?}", hub.seen());
    // What is no login goes where the operator says.
    assert_eq!(status(&proxy, "/hub/home", &[]), 200);
    assert_eq!(hub.seen_at("/hub/home").len(), 1);
    proxy.add_route("/", &hub.url(), r#""hub":true"#);
    assert_eq!(proxy.browser().get(&link.target()).status, 302);
    assert_eq!(proxy.links().status(&link.id), "used");
}

#[test]
fn a_route_over_the_login_path_takes_it_away_and_no_identity_with_it() {
    let (hub, _notebook, proxy) = house();
    let thief = FakeHub::start();
    for data in [r#""user":"mallory""#, r#""service":"thief""#, r#""extra":true"#, ""] {
        for path in ["/hub/login", "/hub"] {
            proxy.add_route(path, &thief.url(), data);
            let link = proxy.link("alice");
            // What it answers to anybody who asks for a login without an identity.
            assert_eq!(proxy.browser().get(&link.target()).status, 403, "{path} {data}");
            assert_eq!(proxy.links().status(&link.id), "pending", "{path} {data}");
            assert_eq!(proxy.routes("DELETE", path, "").status, 204);
        }
    }
    assert_eq!(thief.seen().len(), 8);
    assert!(!thief.seen().iter().any(has_identity));
    // And no token either.
    assert!(thief.seen().iter().all(|seen| !seen.target.contains("login_token=")));
    assert!(!hub.seen().iter().any(has_identity));
}

#[test]
fn in_api_only_mode_an_extra_route_to_the_hub_is_the_hub() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).routed().start();
    proxy.add_route("/hub/api", &hub.url(), r#""hub":true"#);
    proxy.add_route("/hub/login", &format!("{}/", hub.url()), r#""extra":true"#);
    assert_eq!(proxy.browser().get(&proxy.link("alice").target()).status, 302);
    assert_eq!(hub.seen().iter().filter(|seen| has_identity(seen)).count(), 1);
}

/// What the spoofed requests are for: hub, user, named server, service, extra route, and nobody, whose page is the error
/// target's.
const SPOOFED: [(&str, u16); 7] = [
    ("/hub/home", 200),
    ("/user/alice/x", 200),
    ("/user/alice/named/x", 200),
    ("/services/s/x", 200),
    ("/extra/x", 200),
    ("/user/dead/x", 503),
    ("/user/broken/x", 500),
];

#[test]
fn no_spelling_of_an_identity_reaches_any_target() {
    let [hub, notebook, named, service, extra, errors] = std::array::from_fn(|_| FakeHub::start());
    let authority = Authority::new("public");
    let target = format!("error_target = \"{}/hub/error\"", errors.url());
    let proxy = TestProxy::before(&hub).routed().set("routes", &target);
    let secure =
        proxy.clone().public_url("https://hub.test").set("public", &authority.files().toml()).start();
    let proxy = proxy.start();
    let (_hold, dead) = absent();
    for proxy in [&proxy, &secure] {
        proxy.add_route("/", &hub.url(), r#""hub":true"#);
        proxy.add_route("/user/alice", &notebook.url(), r#""user":"alice","server_name":"""#);
        proxy.add_route("/user/alice/named", &named.url(), r#""user":"alice","server_name":"named""#);
        proxy.add_route("/services/s", &service.url(), r#""service":"s""#);
        proxy.add_route("/extra", &extra.url(), r#""extra":true"#);
        proxy.add_route("/user/dead", &dead, r#""user":"dead""#);
        proxy.add_route("/user/broken", "nonsense", r#""user":"broken""#);
    }
    let mut wire = proxy.connect();
    let mut http2 = Http2::connect(secure.address(), &authority.client(&["h2"], None));
    for name in lines("identity_headers.txt") {
        let spoof = format!("{name}: mallory");
        for (path, status) in SPOOFED {
            // A person's page, so that the error target is asked.
            let path = format!("{path}/{name}");
            assert_eq!(wire.ask(get(&path, &[&spoof, "Accept: text/html"])).status, status, "{name} {path}");
            let headers = [(&*name.to_lowercase(), "mallory"), ("accept", "text/html")];
            assert_eq!(http2.ask(http2::get(&path, &headers)).status, status, "{name} {path}");
            let mut upgrading = proxy.connect();
            upgrading.send(websocket(&path, &[&spoof]));
            upgrading.head().expect("a head");
        }
    }
    for target in [&hub, &notebook, &named, &service, &extra] {
        assert!(target.seen().len() >= 3 * lines("identity_headers.txt").len());
    }
    assert!(!errors.seen().is_empty());
    for target in [&hub, &notebook, &named, &service, &extra, &errors] {
        assert!(!target.seen().iter().any(has_identity));
        for bytes in target.received() {
            assert!(!crate::support::requests::holds(&bytes, "mallory"));
        }
    }
}

#[test]
fn a_login_parameter_is_cut_from_requests_to_every_target() {
    let (_hub, notebook, proxy) = house();
    assert_eq!(status(&proxy, "/user/alice/x?a=1&login_token=secret", &[]), 200);
    assert_eq!(notebook.seen()[0].target, "/user/alice/x?a=1");
}
